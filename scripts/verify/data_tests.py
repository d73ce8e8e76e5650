"""What tests show about episodes, operators, formats and the view, a row for each claim."""

from __future__ import annotations

from collections.abc import Sequence

from verify.children import Runner
from verify.claims import claim
from verify.rows import Row

STAGE = "tests"
SECONDS = 300.0

# What is claimed -> the files of the tests that show it.
CLAIMS: dict[str, Sequence[str]] = {
    "rosbags and mcap-ros2-support decode every topic; a doctor finds nothing": (
        "tests/unit/test_episode_file.py",
        "tests/unit/test_episode_doctor.py",
    ),
    "a file cut at any byte gives every complete step before the cut": ("tests/unit/test_episode_cut.py",),
    "SIGKILL while recording and training, a full disk: the step in flight at most": (
        "tests/faults/test_episode_faults.py",
    ),
    "keyboard, gamepad, SpaceMouse, scripted: one contract; a device that dies or sticks lets go": (
        "tests/contracts/test_operator_contract.py",
        "tests/operators/test_hand.py",
        "tests/operators/test_watchdog.py",
        "tests/operators/test_keyboard_operator.py",
        "tests/operators/test_gamepad_operator.py",
        "tests/operators/test_spacemouse.py",
    ),
    "a person-like script at a pseudo-terminal records a demonstration that counts; resume, unplugging": (
        "tests/operators/test_record_terminal.py",
        "tests/operators/test_record.py",
        "tests/operators/test_lent_terminal.py",
    ),
    "a recorded twin episode comes out again bit for bit; trimming, relabelling, merging": (
        "tests/unit/test_replaying.py",
        "tests/unit/test_replay_command.py",
        "tests/unit/test_episode_edit.py",
    ),
    "a person's steps reach both replays with their true neighbours; discards, counts, HG-DAgger, warm starts": (
        "tests/unit/test_assisted.py",
        "tests/unit/test_interventions.py",
        "tests/unit/test_help_counted.py",
        "tests/integration/test_helped_runs.py",
    ),
    "LeRobot, robomimic, pickles of SERL, bags: there and back; a pickle with code in it is refused": (
        "tests/unit/test_formats_lerobot.py",
        "tests/unit/test_formats_hdf5.py",
        "tests/unit/test_formats_serl.py",
        "tests/unit/test_formats_bag.py",
        "tests/unit/test_formats_cli.py",
        "tests/unit/test_unpickle.py",
    ),
    "the page of a running session in headless Chromium: pictures, buttons, foreign pages refused": (
        "tests/unit/test_console.py",
        "tests/unit/test_view_server.py",
        "tests/integration/test_view.py",
    ),
}


def measure(runner: Runner) -> list[Row]:
    """Run the tests of each claim and return a row for it."""
    return [claim(runner, STAGE, what, files) for what, files in CLAIMS.items()]
