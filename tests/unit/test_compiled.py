"""The cache of compiled code: reused when nothing changed, dropped when a callee in another file did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import robot_rl

CALLEE = "from robot_rl.compiled import kernel\n@kernel\ndef callee(x):\n    return x + {0}\n"
CALLER = (
    "from robot_rl.compiled import kernel\nfrom callee import callee\n@kernel\ndef caller(x):\n    return callee(x)\n"
)
SCRIPT = "from caller import caller\nprint(caller(1.0), sum(caller.stats.cache_hits.values()))\n"


def run(folder: Path) -> list[str]:
    root = Path(robot_rl.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{root}", "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_change_in_a_callee_of_another_file_reaches_its_callers(tmp_path: Path) -> None:
    (tmp_path / "callee.py").write_text(CALLEE.format(1.0))
    (tmp_path / "caller.py").write_text(CALLER)
    assert run(tmp_path) == ["2.0", "0"]
    assert run(tmp_path) == ["2.0", "1"]
    (tmp_path / "callee.py").write_text(CALLEE.format(10.0))
    assert run(tmp_path) == ["11.0", "0"]
    assert run(tmp_path) == ["11.0", "1"]


def test_a_constant_of_another_file_that_changes_reaches_the_code(tmp_path: Path) -> None:
    (tmp_path / "callee.py").write_text("GAIN = 1.0\n")
    (tmp_path / "caller.py").write_text(
        "from robot_rl.compiled import kernel\nfrom callee import GAIN\n@kernel\ndef caller(x):\n    return GAIN * x\n"
    )
    assert run(tmp_path) == ["1.0", "0"]
    (tmp_path / "callee.py").write_text("GAIN = 3.0\n")
    assert run(tmp_path) == ["3.0", "0"]


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "callee.py").write_text(CALLEE.format(1.0))
    (tmp_path / "caller.py").write_text(CALLER)
    run(tmp_path)
    for lock in (tmp_path / "cache").rglob("*.lock"):
        lock.unlink()
        lock.mkdir()
    assert run(tmp_path) == ["2.0", "0"]
