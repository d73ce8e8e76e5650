"""Every rung of the ladder in the twin: what it is tried for, what it brings, and when a person is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from practice_rig import START, bins, ladder, primitives

from robot_rl.errors import RobotError
from robot_rl.jsonl import read_jsonl
from robot_rl.practice.ask import Scripted
from robot_rl.practice.detect import Trouble
from robot_rl.practice.graph import PracticeConfig, TroubleConfig
from robot_rl.practice.record import summarise
from robot_rl.robot import ResetRequest
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import upright_quat, yaw_quat
from robot_rl_tasks.bins import in_left, in_right, lost

MISPLACED = Trouble(kind="misplaced", text="the scene is none that forward may begin from")


def rows(folder: Path) -> list[tuple[str, str, bool]]:
    return [(r["rung"], r["outcome"], r["cleared"]) for r in read_jsonl(folder / "resets.jsonl")]


def in_left_or(twin: ArmTwin, trouble: Trouble) -> Callable[[], Trouble | None]:
    return lambda: None if in_left(twin.observe()) else trouble


def test_a_misplaced_object_is_grasped_and_put_where_the_task_begins(tmp_path: Path) -> None:
    twin = bins((0.5, -0.09, 0.029))
    assert ladder(twin, tmp_path).climb("forward", twin.task, MISPLACED, in_left_or(twin, MISPLACED))
    assert [rung for rung, _, _ in rows(tmp_path)] == ["retreat", "retreat", "regrasp"], "the cheapest first"
    assert rows(tmp_path)[-1] == ("regrasp", "reached", True)
    cube = twin.observe().objects["cube"]
    assert np.linalg.norm(cube[:2] - [0.5, 0.09]) < 0.02, "in the middle of where episodes begin"
    assert twin.scene_resets == 1


def test_what_is_held_is_put_down(tmp_path: Path) -> None:
    twin = bins()
    steps = ladder(twin, tmp_path)
    primitives(twin).grasp(np.array([0.5, 0.09, 0.029]), upright_quat(0.0))
    assert steps.put_down("forward").reached
    assert rows(tmp_path) == [("put_down", "reached", True)]
    assert in_left(twin.observe())


def test_a_stuck_node_gets_its_object_moved_and_counts_anew(tmp_path: Path) -> None:
    twin = bins((0.53, 0.06, 0.029))
    steps = ladder(twin, tmp_path)
    objects = twin.observe().objects
    for _ in range(4):
        steps.stuck.ended("forward", False, objects)
    trouble = steps.stuck.trouble("forward")
    assert trouble is not None
    assert steps.climb("forward", twin.task, trouble, lambda: steps.stuck.trouble("forward"))
    assert rows(tmp_path)[-1] == ("regrasp", "reached", True)


def test_a_lost_object_needs_a_person_who_brings_it_back(tmp_path: Path) -> None:
    twin = bins((0.7, 0.3, 0.025))
    assert lost(twin.observe())
    trouble, person = Trouble(kind="lost", text="the cube lies beside the bins"), Scripted()
    steps = ladder(twin, tmp_path, channel=person)
    assert steps.climb("forward", twin.task, trouble, in_left_or(twin, trouble))
    assert [r[0] for r in rows(tmp_path)] == ["ask"], "no motion is tried for it"
    (question,) = person.questions
    assert "the cube lies beside the bins. Put the scene where 'forward' can begin" in question.text
    assert summarise([], read_jsonl(tmp_path / "resets.jsonl"))["human_calls"] == 1
    assert twin.scene_resets == 1, "a hand, not the simulator"


def test_a_latched_stop_is_a_persons_to_end(tmp_path: Path) -> None:
    twin = bins()
    twin.stop("contact force 90 N")
    arm = primitives(twin)

    def diagnose() -> Trouble | None:
        return Trouble(kind="stopped", text=arm.held()) if arm.held() else None

    trouble = diagnose()
    assert trouble is not None
    assert ladder(twin, tmp_path).climb("forward", twin.task, trouble, diagnose)
    assert rows(tmp_path) == [("ask", "answered", True)]
    assert not twin.guard.stopped


def test_each_rung_is_tried_so_often_and_a_budget_ends_them_all(tmp_path: Path) -> None:
    always = Trouble(kind="misplaced", text="nothing helps")
    left = iter([always] * 6)
    for name, config, tried in (
        ("tries", TroubleConfig(tries=1), ["retreat", "regrasp", "ask"]),
        ("budget", TroubleConfig(tries=5, budget_s=0.5), ["retreat", "ask"]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        twin = bins()
        steps = ladder(twin, folder, PracticeConfig(trouble=config))
        left = iter([always] * (len(tried) - 1))
        assert steps.climb("forward", twin.task, always, lambda left=left: next(left, None))
        assert [r[0] for r in rows(folder)] == tried
        assert [r[2] for r in rows(folder)] == [False] * (len(tried) - 1) + [True]


def test_only_configured_rungs_are_tried(tmp_path: Path) -> None:
    twin = bins((0.5, -0.09, 0.029))
    steps = ladder(twin, tmp_path, PracticeConfig(rungs=("ask",)))
    assert steps.climb("forward", twin.task, MISPLACED, in_left_or(twin, MISPLACED))
    assert [r[0] for r in rows(tmp_path)] == ["ask"]


def test_practice_ends_in_order_when_nobody_comes(tmp_path: Path) -> None:
    twin = bins((0.7, 0.3, 0.025))
    steps = ladder(twin, tmp_path, channel=Scripted(answers=0))
    steps._asker._stopping = lambda: True
    trouble = Trouble(kind="lost", text="gone")
    assert not steps.climb("forward", twin.task, trouble, in_left_or(twin, trouble))
    assert rows(tmp_path) == [("ask", "nobody", False)]


def test_a_person_who_says_again_and_again_that_it_is_done_ends_it_in_words(tmp_path: Path) -> None:
    twin = bins()
    trouble = Trouble(kind="lost", text="the classifier sees no cube")
    with pytest.raises(RobotError, match=r"asked 5 times and still the classifier sees no cube; look at the cell"):
        ladder(twin, tmp_path).climb("forward", twin.task, trouble, lambda: trouble)


def test_a_hand_places_objects_and_nothing_else(tmp_path: Path) -> None:
    twin = bins()
    before = twin.observe()
    pose = np.array([0.5, -0.09, 0.029, 1.0, 0.0, 0.0, 0.0])
    after = twin.place({"cube": pose})
    np.testing.assert_allclose(after.objects["cube"], pose, atol=1e-6)
    np.testing.assert_array_equal(after.q, before.q)
    assert in_right(after)
    with pytest.raises(RobotError, match="no object 'cup'"):
        twin.place({"cup": pose})
    with pytest.raises(RobotError, match="no scene yet"):
        ArmTwin(twin.task).place({"cube": pose})
    assert ResetRequest(p_BE=before.p_BE, quat_BE=yaw_quat(0.0)).keep_scene is False


def test_an_arm_that_does_not_get_away_is_guided_by_the_person_too(tmp_path: Path) -> None:
    twin = bins()
    climber = ladder(twin, tmp_path)
    troubles = iter([Trouble(kind="blocked", text="wound up")] * (1 + PracticeConfig().trouble.tries) + [None])
    aside = START + np.array([0.03, -0.12, 0.04])
    assert primitives(twin).move("aside", aside, yaw_quat(0.0), close=False).reached
    assert climber.climb("forward", twin.task, Trouble(kind="blocked", text="wound up"), lambda: next(troubles))
    (last,) = read_jsonl(tmp_path / "resets.jsonl")[-1:]
    assert (last["rung"], last["outcome"], last["cleared"]) == ("ask", "answered", True)
    assert np.abs(twin.observe().p_BE[:2] - START[:2]).max() < 0.04, "above the bin that the episode begins from"
