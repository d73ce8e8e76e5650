"""`robot-rl status`, `stop`, `acknowledge` and `recover`: a person's word to an arm's node, from any terminal."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from robot_rl.cli.common import Parser, no_settings, parse, parser, say

REFUSED = 1


def status(arguments: Sequence[str]) -> int:
    """Print what an arm does; the exit status is 0 if it runs."""
    made = _parser("status", "Say what an arm does at the moment. Ends with status 1 unless it can be commanded.")
    made.add_argument("--json", action="store_true", help="print all that its node tells")
    options = _options(made, arguments)
    from robot_rl_hardware.ros.arm_calls import ArmCalls

    with ArmCalls(options.namespace, options.domain, options.wait) as arm:
        found = arm.status()
    say(json.dumps(found, indent=2) if options.json else arm.sentence(found))
    return 0 if found.get("mode") in ("RUN", "RESETTING") else REFUSED


def stop(arguments: Sequence[str]) -> int:
    """Latch a stop; the exit status is 0 only if the arm says that it is stopped."""
    made = _parser(
        "stop",
        "Stop an arm at once: it holds still until a person acknowledges. This is a program on a network, and no\n"
        "replacement for the emergency stop in your hand.",
    )
    made.add_argument("--reason", default="robot-rl stop", metavar="TEXT", help="for the log")
    options = _options(made, arguments)
    return _ask(options, "stop", options.reason)


def acknowledge(arguments: Sequence[str]) -> int:
    """End a stop or a hold on a person's word."""
    made = _parser(
        "acknowledge",
        "End a stop or a hold. Do it only after a look at the cell. The arm stays where it is until it is commanded.",
    )
    return _ask(_options(made, arguments), "acknowledge")


def recover(arguments: Sequence[str]) -> int:
    """End a hold within the budget."""
    made = _parser("recover", "End a hold, never a stop, without a person; it is granted some times only.")
    return _ask(_options(made, arguments), "recover")


def _parser(command: str, what: str) -> Parser:
    examples = f"  robot-rl {command}\n  robot-rl {command} --domain 7 --namespace /left\n"
    made = parser(command, what, examples, takes_settings=False)
    made.add_argument("--namespace", default="/arm", metavar="NAME", help="of the arm's node (/arm)")
    made.add_argument("--domain", type=int, metavar="N", help="ROS domain, 0 to 101 (ROS_DOMAIN_ID)")
    made.add_argument("--wait", type=float, default=10.0, metavar="S", help="how long to look for the arm's node (10)")
    return made


def _options(made: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    return options


def _ask(options: argparse.Namespace, service: str, reason: str = "") -> int:
    from robot_rl_hardware.ros.arm_calls import ArmCalls

    with ArmCalls(options.namespace, options.domain, options.wait) as arm:
        done, message = arm.stop(f"{reason} ({_person()})") if service == "stop" else arm.trigger(service)
        found = arm.status()
    say(message)
    say(arm.sentence(found))
    return 0 if done else REFUSED


def _person() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"
