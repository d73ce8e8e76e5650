"""`robot-rl record` as a person uses it: in a terminal, by keys, looking at what it shows."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils import seeding
from operator_rig import DeviceFile, js_axis, js_button
from preflight_rig import PATIENCE_S, Terminal

from robot_rl import demos
from robot_rl.episodes.reader import Episode
from robot_rl.errors import CheckpointError
from robot_rl.record_folder import start_seed
from robot_rl_tasks.arm import relative_yaw
from robot_rl_tasks.reach import Reach

Start = Callable[[Sequence[str]], Terminal]
_TOOL = re.compile(r"tool  x (\S+)  y (\S+)  z (\S+) m  yaw (\S+) deg")
KEYS = (("w", "s"), ("a", "d"), ("r", "f"), ("u", "o"))
PATIENT_S = 3.0 * PATIENCE_S  # a loaded machine starts slowly


def shown(screen: Terminal) -> np.ndarray:
    """Wait for the next reading on the screen and return x, y, z [m] and yaw [rad]."""
    screen.drawn.clear()
    end_s = time.monotonic() + PATIENT_S
    while not (found := _TOOL.findall(screen.look(0.05))):
        assert time.monotonic() < end_s, screen.look()[-1500:]
        if screen.child.poll() is not None:
            return np.full(4, np.nan)
    if "keep it?" in screen.look():  # asked below a reading that is drawn on
        return np.full(4, np.nan)
    x, y, z, yaw_deg = map(float, found[-1])
    return np.array([x, y, z, math.radians(yaw_deg)])


def demonstrate_reach(screen: Terminal, number: int) -> None:
    """Steer the tool to the goal of an episode by keys, looking at what the screen says after each."""
    rng, _ = seeding.np_random(start_seed(0, number))
    goal = Reach().sample_reset(rng).objects["goal"]
    w, x, y, z = goal[3:7]
    target = np.array([*goal[:3], math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))])
    end_s = time.monotonic() + PATIENT_S
    while time.monotonic() < end_s:
        now = shown(screen)
        if np.isnan(now).any():
            return
        away = target - now
        turns = away / np.array([0.008, 0.008, 0.008, 0.08])
        worst = int(np.abs(turns).argmax())
        screen.type(KEYS[worst][0 if away[worst] > 0 else 1])
    pytest.fail(f"the goal was not reached: {screen.look()[-1500:]}")


def test_the_goal_of_the_script_is_that_of_the_task() -> None:
    rng, _ = seeding.np_random(start_seed(0, 0))
    request = Reach().sample_reset(rng)
    assert abs(relative_yaw(request.quat_BE, request.objects["goal"][3:7])) <= 1.3


def steps_on_disk(part: Path) -> int:
    """Return how many steps of an episode that is being recorded can be read: 0 while its start is not yet written."""
    try:
        return len(Episode(part))
    except (FileNotFoundError, CheckpointError):
        return 0


@pytest.mark.slow
def test_a_person_demonstrates_by_keys_is_killed_and_goes_on(terminal: Start, tmp_path: Path) -> None:
    command = ["record", "task=reach", "operator=keyboard", "n=2", "name=mine", "live=off"]
    screen = terminal(command)
    screen.expect("READY", PATIENT_S)
    demonstrate_reach(screen, 0)
    screen.expect("keep it?", PATIENT_S)
    screen.type("\r")
    screen.expect("1 done", PATIENT_S)
    screen.expect("READY", PATIENT_S)
    episodes = tmp_path / "runs" / "mine" / "episodes"
    part = episodes / "000002.mcap.part"
    end_s = time.monotonic() + PATIENT_S
    while (steps := steps_on_disk(part)) < 3:
        assert time.monotonic() < end_s
        screen.type("w")
        screen.look(0.05)
    screen.child.send_signal(signal.SIGKILL)
    screen.child.wait(PATIENCE_S)

    screen = terminal(command)
    screen.expect("1 of 2 demonstrations", PATIENT_S)
    assert sorted(p.name for p in episodes.iterdir()) == ["000001.mcap", "000002.mcap"]
    cut = Episode(episodes / "000002.mcap")
    assert len(cut) >= steps
    assert cut.end is None
    screen.expect("READY", PATIENT_S)
    screen.type("w")
    screen.expect("RECORDING", PATIENT_S)
    screen.type("x")  # not this one
    screen.expect("discarded", PATIENT_S)
    screen.expect("READY", PATIENT_S)
    screen.type("\x03")
    assert screen.wait() == 130
    assert "go on with the same command" in screen.look(0.2)

    first, discarded = Episode(episodes / "000001.mcap"), Episode(episodes / "000003.mcap")
    assert first.success
    assert first.start.kind == "demo"
    assert first.start.period_s == pytest.approx(0.1)
    assert set(first.steps.source) == {"human"}
    assert discarded.end.verdict == "discard"
    task = Reach()
    loaded = demos.load(tmp_path / "runs" / "mine", task.observation_spec, task.action_spec)
    assert len(loaded.blocks) == 1
    assert loaded.blocks[0].steps == len(first)
    assert np.abs(loaded.blocks[0].actions).max() <= 0.26 + 1e-6  # one key, a quarter of a step


def test_a_gamepad_that_is_unplugged_ends_the_recording_in_a_sentence(terminal: Start, tmp_path: Path) -> None:
    pad = DeviceFile(tmp_path / "js0")
    screen = terminal(["record", "task=reach", "operator=gamepad", f"operator.device={pad.path}", "n=2", "name=mine"])
    screen.expect("READY", PATIENT_S)
    pad.write(js_button(4) + js_axis(1, -0.5))
    screen.expect("RECORDING", PATIENT_S)
    screen.expect("you act", PATIENT_S)
    time.sleep(0.5)
    pad.unplug()
    assert screen.wait() == 2
    told = screen.look(0.2)
    assert "js0 was unplugged, so the recording ends here" in told
    assert "0 of 2 demonstrations are safe" in told
    assert "Traceback" not in told
    episode = Episode(tmp_path / "runs" / "mine" / "episodes" / "000001.mcap")
    assert episode.cut == ""
    assert len(episode) >= 3
    assert not episode.success
    assert "unplugged" in episode.end.reason
