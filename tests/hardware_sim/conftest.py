"""Simulated robots that speak the Franka's own protocol; without them these tests are skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from fci_sim_process import Simulator, why_not


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A robot that enforces its rules, with a cube of 4 cm between its fingers."""
    if reason := why_not():
        pytest.skip(reason)
    with Simulator(object_width_m=0.04) as running:
        yield running


@pytest.fixture(scope="module")
def patient_simulator() -> Iterator[Simulator]:
    """A robot that lets late commands pass: for tests whose own process may be kept waiting."""
    if reason := why_not():
        pytest.skip(reason)
    with Simulator(object_width_m=0.04, lenient=True) as running:
        yield running


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a condition holds."""

    def wait(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"it never happened that {what}")
            time.sleep(0.005)

    return wait
