"""The command `robot-rl`: one module for each group of commands, imported only when it is called.

A mistake of the user's ends with one sentence on standard error and status 2, Ctrl-C with status 130.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence

from robot_rl.errors import RobotRLError, nearest

# Command -> (module in this package, what it does).
COMMANDS = {
    "demo": ("demo", "teach the arm twin to pick up a cube: demonstrations, training, evaluation, video, report"),
    "train": ("train", "train a policy, go on with a run, or sweep over settings"),
    "eval": ("evaluate", "measure a run's policy: success with its interval, time to success, a video"),
    "export": ("export", "write a policy as ONNX or torch, with a runner that needs nothing of this package"),
    "report": ("pages", "write a run's report, one HTML page"),
    "compare": ("pages", "compare runs, seeds and baselines on one HTML page"),
    "runs": ("pages", "list the runs"),
    "record": ("record", "record demonstrations by a person: keyboard, gamepad, SpaceMouse, ROS 2 topic"),
    "pretrain": ("pretrain", "learn an encoder of pictures for driving, offline, from logs of navigation"),
    "course": ("course", "record a course for a car to race on, by one slow lap"),
    "view": ("view", "show a running session in the browser, with buttons for the person beside it"),
    "demos": ("demos", "record demonstrations by the scripted expert"),
    "data": ("data", "look at, check, complete and edit recorded episodes"),
    "reward": ("reward", "learn from pictures what a success is: label, train, audit, relabel, harvest"),
    "replay": ("replay", "replay a recorded episode through the guard, in the twin or on a robot"),
    "learner": ("processes", "run the learner alone, for actors on other machines"),
    "actor": ("processes", "run one actor alone, for a learner elsewhere"),
    "launch": ("launch", "run a launch file: an arm, cameras or a whole session over ROS 2"),
    "node": ("node", "be a ROS 2 node: an arm, a car or cameras"),
    "status": ("arm", "say what an arm does at the moment"),
    "stop": ("arm", "stop an arm at once; it stays stopped until a person acknowledges"),
    "acknowledge": ("arm", "end a stop or a hold, after a look at the cell"),
    "recover": ("arm", "end a hold, never a stop, within the budget"),
    "watch": ("jog", "show an arm, and stop it on SPACE or a gamepad's button"),
    "jog": ("jog", "move an arm by keys, slowly, through the guard"),
    "calibrate": ("calibrate", "measure the bounds of a cell, boxes to keep out of, cameras, a car"),
    "camera": ("camera", "look through cameras in the browser, and choose what the policy sees"),
    "keys": ("keys", "make the keys that encrypt the link between machines"),
    "doctor": ("doctor", "say what works on this machine and what to install"),
}
USER_ERROR, INTERRUPTED = 2, 130


def overview() -> str:
    """Return what `robot-rl` prints without a command."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return (
        "Teach a robot a skill by its own practice.\n\n"
        "  robot-rl COMMAND [options] [setting=value ...]\n\n"
        f"Commands:\n{listed}\n\n"
        "Begin with:\n"
        "  robot-rl demo                    some minutes, no robot, no GPU\n"
        "  robot-rl train task=reach        the smallest task\n"
        "  robot-rl COMMAND --help          what a command does, its settings and examples\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if arguments[0] in ("--version", "-V"):
        from robot_rl import __version__

        sys.stdout.write(f"robot-rl {__version__}\n")
        return 0
    command, *rest = arguments
    debug = "--debug" in rest
    rest = [a for a in rest if a != "--debug"]
    try:
        if command not in COMMANDS:
            listed = ", ".join(COMMANDS)
            return _complain(f"there is no command '{command}'; there are {listed}.{nearest(command, COMMANDS)}")
        _log_to_stderr(debug)
        module = importlib.import_module(f"robot_rl.cli.{COMMANDS[command][0]}")
        return int(getattr(module, command.replace("-", "_").replace("eval", "evaluate"))(rest))
    except RobotRLError as e:
        if debug:
            raise
        return _complain(str(e))
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("robot-rl: stopped\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as e:
        if debug or (e.name or "").partition(".")[0].startswith("robot_rl"):
            raise
        return _complain(
            f"the package '{e.name}' is not installed; run make setup, or: pip install 'robot-rl[practice]'"
        )


def _complain(sentence: str) -> int:
    sys.stderr.write(f"robot-rl: {sentence}\n")
    return USER_ERROR


def _log_to_stderr(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s" if debug else "robot-rl: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("numba").setLevel(logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)


__all__ = ["COMMANDS", "main", "overview"]
