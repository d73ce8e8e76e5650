"""What every test process needs before the first import."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

# Tests compare numbers, so they run on the processor everywhere; two pytest workers share two cores, so each
# library keeps to one thread. A value that is already set is kept: JAX_PLATFORMS=cuda make test tries the GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Mesa's worker threads do not survive a fork; without them a forked child can draw too.
os.environ.setdefault("LP_NUM_THREADS", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what some tests take: `--repeat 20` tries each fault over ROS 2 twenty times."""
    parser.addoption("--repeat", type=int, default=1, metavar="N", help="try each fault over ROS 2 N times (1)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a robot in real time: it has a command of its own, since it wants the processors to itself."""
    for item in items:
        real_time = "hardware_sim" in item.path.parts or item.path.name.startswith("test_realtime_")
        if real_time or item.get_closest_marker("ros"):
            item.add_marker("robot")


# The same examples each time, so that a change is judged by what it changed. HYPOTHESIS_RANDOM=1 searches for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=not os.environ.get("HYPOTHESIS_RANDOM"))
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """Fail a test that leaves its process with another priority: every later test would run beside nobody."""
    before = os.sched_getscheduler(0)
    yield
    after = os.sched_getscheduler(0)
    if after != before:
        os.sched_setscheduler(0, before, os.sched_param(0))
        pytest.fail(f"the test left its process with the scheduling policy {after} instead of {before}")
