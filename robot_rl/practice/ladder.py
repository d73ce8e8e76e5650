"""Out of trouble one rung at a time: scripted motions first, a person last. Each rung that is tried is recorded."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.practice.ask import Asker, Question
from robot_rl.practice.detect import Kind, StuckWatch, Trouble
from robot_rl.practice.graph import PracticeConfig, Rung
from robot_rl.practice.motion import Outcome
from robot_rl.practice.primitives import Primitives
from robot_rl.practice.record import ASK, ResetLog
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl.task import Task

log = logging.getLogger(__name__)

DRAWS = 64  # starts whose middle is where an object is put back
EDGE_M = 0.012  # an object this far outside the tool's workspace can still be grasped at its edge
GRASPS = 2  # with a drag in between
MOST_ANSWERS = 5  # a person who says so often that it is done, and it is not, has misunderstood

HELPFUL: Mapping[Kind, Sequence[Rung]] = {
    "stopped": ("ask",),  # a latched stop is a person's to end
    "blocked": ("put_down", "retreat", "ask"),
    "misplaced": ("retreat", "regrasp", "ask"),
    "stuck": ("regrasp", "ask"),
    "lost": ("ask",),
}
"""The rungs that can help with each trouble."""


class Hand(Protocol):
    """What a person does in the cell once they were called."""

    def acknowledge(self) -> None:
        """End a latched stop."""
        ...

    def help(self, task: Task, rng: np.random.Generator, guide: bool) -> None:
        """Bring the scene to where an episode of a task can begin; guide the arm there too if it cannot get away."""
        ...


class NoHand:
    """A real cell: the person has done it by the time they answer."""

    def acknowledge(self) -> None:
        """The person has done so, with the robot's own means."""

    def help(self, task: Task, rng: np.random.Generator, guide: bool) -> None:
        """Nothing is left to do."""


class TwinHand:
    """A person's hand in a twin.

    Args:
        robot: A twin, with `place` and `acknowledge`.
    """

    def __init__(self, robot: Any) -> None:
        self._robot = robot

    def acknowledge(self) -> None:
        """End a latched stop."""
        self._robot.acknowledge()

    def help(self, task: Task, rng: np.random.Generator, guide: bool) -> None:
        """Put the objects where an episode begins, and the arm if it is to be guided; set up a twin without a scene.

        An arm that has wound itself up to the end of a joint does not get out of there by motions of its tool.
        """
        request = task.sample_reset(rng)
        if not guide:
            try:
                self._robot.place(request.objects)
            except RobotError as e:
                log.warning("the twin is set up anew: %s", e)
            else:
                return
        self._robot.reset(ResetRequest(p_BE=request.p_BE, quat_BE=request.quat_BE, objects=request.objects))


class Ladder:
    """Tries the rungs that can help, in their order, until the trouble is over.

    Args:
        config: Rungs, tries and budget.
        primitives: Moves the arm.
        asker: Reaches a person.
        hand: What the person does.
        record: Where each try is written.
        run: Name of the run, for people.
        rng: Of where objects are put.

    Attributes:
        stuck: Counts failures; whoever puts objects elsewhere lets it begin anew.
    """

    def __init__(
        self,
        config: PracticeConfig,
        primitives: Primitives,
        asker: Asker,
        hand: Hand,
        record: ResetLog,
        run: str,
        rng: np.random.Generator,
    ) -> None:
        self.stuck = StuckWatch(config.trouble)
        self._config, self._primitives, self._asker, self._hand = config, primitives, asker, hand
        self._record, self._run, self._rng = record, run, rng

    def climb(self, node: str, task: Task, trouble: Trouble, diagnose: Callable[[], Trouble | None]) -> bool:
        """Get out of a trouble.

        Args:
            node, task: Which shall begin.
            trouble: What is wrong.
            diagnose: Says what is wrong now; None when nothing is.

        Returns:
            False when a person was asked in vain; then practice cannot go on.

        Raises:
            RobotError: A person has answered again and again, and the trouble is the same.
        """
        tried: Counter[str] = Counter()
        spent_s, now = 0.0, trouble
        while True:
            rung = self._next(now, tried, spent_s)
            tried[rung] += 1
            if rung == ASK:
                if tried[ASK] > MOST_ANSWERS:
                    raise RobotError(
                        f"a person was asked {MOST_ANSWERS} times and still {now.text}; look at the cell and at the "
                        "predicates of practice.nodes, then resume the run"
                    )
                following = self._ask(node, task, now, diagnose)
                if following == "nobody":
                    return False
            else:
                done = self._try(rung, task, tried[rung] - 1)
                spent_s += done.seconds
                if rung == "regrasp" and done.reached:
                    self.stuck.forget()
                following = diagnose()
                self._record.write(
                    rung, node, now.kind, done.result, done.seconds, following is None, done.reason or now.text
                )
            if following is None:
                return True
            assert not isinstance(following, str)  # "nobody" has returned
            now = following

    def put_down(self, node: str) -> Outcome:
        """Put down what an episode left in the hand, and record it."""
        done = self._motion(self._primitives.put_down, "put_down")
        self._record.write("put_down", node, "holding", done.result, done.seconds, done.reached, done.reason)
        return done

    def _next(self, trouble: Trouble, tried: Counter[str], spent_s: float) -> Rung:
        limits = self._config.trouble
        for rung in self._config.rungs:
            if rung == "ask" or rung not in HELPFUL[trouble.kind]:
                continue
            if tried[rung] < limits.tries and spent_s < limits.budget_s and self._possible(rung):
                return rung
        return "ask"

    def _possible(self, rung: Rung) -> bool:
        try:
            state = self._primitives.robot.observe()
        except RobotError:
            return False
        if rung == "put_down":
            return self._primitives.holds(state)
        if rung == "regrasp":
            return any(self._reachable(pose) for pose in self._free(state).values())
        return True

    def _free(self, state: RobotState) -> dict[str, Vector]:
        scene = self._primitives.task.scene
        return {name: state.objects[name] for name, o in scene.items() if o.motion == "free" and name in state.objects}

    def _reachable(self, pose: Vector) -> bool:
        limits = self._primitives.task.limits
        low, high = np.array(limits.box_min_m[:2]) - EDGE_M, np.array(limits.box_max_m[:2]) + EDGE_M
        return bool((pose[:2] > low).all() and (pose[:2] < high).all())

    def _try(self, rung: Rung, task: Task, turns: int) -> Outcome:
        if rung == "put_down":
            return self._motion(self._primitives.put_down, rung)
        if rung == "retreat":
            return self._motion(self._primitives.retreat, rung)
        return self._motion(lambda: self._regrasp(task, turns), rung)

    def _motion(self, move: Callable[[], Outcome], name: str) -> Outcome:
        try:
            done = move()
        except RobotError as e:
            done = Outcome(motion=name, result="blocked", off_m=float("nan"), seconds=0.0, reason=str(e))
        self._record.robot_s += done.seconds
        return done

    def _regrasp(self, task: Task, turns: int) -> Outcome:
        """Grasp every object that can be reached, and put it in the middle of where the task would have it.

        Where no finger fits beside an object, it is dragged towards that place first.
        """
        p, limits = self._primitives, task.limits
        wanted = [task.sample_reset(self._rng).objects for _ in range(DRAWS)]
        done = Outcome(motion="regrasp", result="missed", off_m=float("nan"), seconds=0.0, reason="no object")
        for name, pose in self._free(p.robot.observe()).items():
            if name not in wanted[0] or not self._reachable(pose):
                continue
            place = np.mean([objects[name][:3] for objects in wanted], axis=0)
            seconds = done.seconds
            for _ in range(GRASPS):
                done = p.grasp(np.clip(pose[:3], limits.box_min_m, limits.box_max_m), pose[3:], turns)
                seconds += done.seconds
                if done.reached or done.result == "blocked":
                    break
                seconds += p.drag(pose[:3], place).seconds
                pose = p.robot.observe().objects[name]
            if done.reached:
                done = p.place(place)
                seconds += done.seconds
            done = dataclasses.replace(done, motion="regrasp", seconds=seconds)
            if not done.reached:
                break
        return done

    def _ask(self, node: str, task: Task, now: Trouble, diagnose: Callable[[], Trouble | None]) -> Any:
        """Ask, let the person help, and return what is wrong then; "nobody" when nobody answered."""
        began_s = time.monotonic()
        question = Question(run=self._run, node=node, trouble=now.kind, text=_asked(now, node))
        if not self._asker.ask(question):
            self._record.write(ASK, node, now.kind, "nobody", time.monotonic() - began_s, False, now.text)
            return "nobody"
        seconds = time.monotonic() - began_s
        self._hand.acknowledge()
        away = self._motion(self._primitives.retreat, "retreat")  # from whoever reaches into the cell
        self._hand.help(task, self._rng, guide=now.kind == "blocked" or not away.reached)
        self.stuck.forget()
        following = diagnose()
        self._record.write(ASK, node, now.kind, "answered", seconds, following is None, now.text)
        return following


def _asked(trouble: Trouble, node: str) -> str:
    if trouble.kind == "stopped":
        return f"{trouble.text}. Look at the cell, acknowledge the stop, and put the scene where '{node}' can begin"
    return f"{trouble.text}. Put the scene where '{node}' can begin"
