from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screen_robot import SHAPE, SIZE, STILL, Presses, Screen

from robot_rl.assisted import AssistedEnv
from robot_rl.env import RobotEnv
from robot_rl.errors import CheckpointError, ConfigError, RobotError
from robot_rl.report_reward import reward
from robot_rl.rewards.classifier import Classifier, load_classifier, save_classifier
from robot_rl.rewards.counts import JudgedCounts, judged_sentence, judged_summary
from robot_rl.rewards.harvest import ClaimKeeper, harvest
from robot_rl.rewards.head import HeadConfig, shapes
from robot_rl.rewards.judges import ClassifierJudge, HumanJudge, truth_of
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.make import make_judge
from robot_rl.rewards.pixels import PixelEncoder
from robot_rl.rewards.settings import GeometricGuard, RewardConfig
from robot_rl.rewards.shared import RememberingEncoder
from robot_rl.run_data import RunData
from robot_rl.specs import ImageField
from robot_rl_tasks.pick_cube import PickCube


def brightness_classifier(path: Path, threshold: float = 0.5, sign: float = 1.0) -> Path:
    """Write a classifier that says how bright a picture is: success for white, failure for black."""
    weights = {n: np.zeros(s, np.float32) for n, s in shapes(("front",), (16, 16, 3), HeadConfig(hidden=2)).items()}
    weights["masks/front"][:, :, 0] = sign / 256
    weights["dense"][::8, 0], weights["dense"][::8, 1] = 1.0, -1.0
    weights["scale"][:], weights["head"][:] = 1.0, (3.0, -3.0)
    encoder = PixelEncoder(SIZE, 1)
    return save_classifier(path, Classifier(
        weights=weights, encoder="pixels", mark=encoder.field.encoder, cameras={"front": SHAPE}, view=(16, 16, 3),
        scale=encoder.scale, offset=encoder.offset, temperature=1.0, threshold=threshold, task="pick_cube",
    ))  # fmt: skip


def rig(config: RewardConfig) -> tuple[RobotEnv, Screen]:
    screen, task = Screen(), PickCube(max_steps=30, object_state=False)
    front = {"front": ImageField(height=SIZE, width=SIZE)}
    return RobotEnv(screen, task, images=front, judge=make_judge(config, task)), screen


def play(env: RobotEnv, screen: Screen, bright: list[int], high: set[int] = frozenset()) -> list[dict[str, Any]]:
    """Run an episode of these brightnesses until it ends; the cube is high in the given steps."""
    screen.bright, screen.cube_m = 0, 0.025
    env.reset(seed=0)
    out = []
    for i, value in enumerate(bright):
        screen.bright, screen.cube_m = value, 0.2 if i in high else 0.025
        _, reward, terminated, truncated, info = env.step(STILL)
        out.append({"reward": reward, "terminated": terminated, "truncated": truncated, **info})
        if terminated or truncated:
            break
    return out


def classified(path: Path, **other: Any) -> RewardConfig:
    return RewardConfig(source="classifier", path=str(path), **other)


def test_reward_success_and_end_are_the_classifiers_alone(tmp_path: Path) -> None:
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(1, 1)))
    steps = play(env, screen, [0, 0, 0, 255], high={1, 2})  # the cube is up, and nobody sees it
    assert [s["reward"] for s in steps] == [0.0, 0.0, 0.0, 1.0]
    assert [s["terminated"] for s in steps] == [False, False, False, True]
    assert [s["success"] for s in steps] == [False, False, False, True]
    assert [s["judged"]["truth"] for s in steps] == [False, True, True, False]  # the twin knows, and only says so
    assert steps[-1]["reason"] == "seen by the classifier"


@pytest.mark.parametrize(
    ("confirm", "bright", "ends"),
    [((1, 1), [0, 255, 0, 0, 0], 1), ((2, 2), [255, 0, 255, 0, 255, 255], 5), ((2, 3), [255, 0, 255, 0], 2),
     ((3, 5), [255, 0, 255, 0, 0, 255, 255, 0], 6)],
)  # fmt: skip
def test_a_success_counts_when_k_of_the_last_n_frames_say_so(
    tmp_path: Path, confirm: tuple[int, int], bright: list[int], ends: int
) -> None:
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=confirm))
    for _ in range(2):  # nothing is carried over into the next episode
        steps = play(env, screen, bright)
        assert [s["terminated"] for s in steps] == [False] * ends + [True]


def test_the_guard_takes_no_success_where_the_hand_is_empty(tmp_path: Path) -> None:
    guard = GeometricGuard(gripper_width_m=(0.02, 0.07), gripper="closing")
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(1, 1), guard=guard))
    screen.width_m = 0.0
    assert not any(s["terminated"] for s in play(env, screen, [255] * 4))
    screen.width_m = 0.05
    assert play(env, screen, [255] * 4)[-1]["terminated"]


def test_a_guard_checks_box_and_fingers() -> None:
    state = Screen().observe()
    assert GeometricGuard().admits(state)
    assert GeometricGuard(box_min_m=(0.4, -0.1, 0.1), box_max_m=(0.6, 0.1, 0.3)).admits(state)
    assert not GeometricGuard(box_min_m=(-1.0, -1.0, 0.21)).admits(state)
    assert not GeometricGuard(gripper="opening").admits(state)
    with pytest.raises(ConfigError, match="must not exceed its counterpart"):
        GeometricGuard(box_min_m=(1.0, 0.0, 0.0), box_max_m=(0.0, 1.0, 1.0))


def test_stages_are_asked_in_their_order(tmp_path: Path) -> None:
    dark = brightness_classifier(tmp_path / "dark.ckpt", sign=-1.0)
    config = classified(
        brightness_classifier(tmp_path / "c.ckpt"), stages=(str(dark),), stage_reward=0.25, confirm=(1, 1)
    )
    env, screen = rig(config)
    steps = play(env, screen, [255, 255, 0, 0, 255])
    assert [s["reward"] for s in steps] == [0.0, 0.0, 0.25, 0.0, 1.0]
    assert [s["judged"]["stage"] for s in steps] == [0, 0, 0, 1, 1]
    assert [s["terminated"] for s in steps] == [False] * 4 + [True]


def test_a_newer_classifier_judges_from_the_next_episode_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = brightness_classifier(tmp_path / "c.ckpt")
    env, screen = rig(classified(path, confirm=(1, 1)))
    assert play(env, screen, [255])[-1]["terminated"]
    env.reset()
    brightness_classifier(path, sign=-1.0)
    screen.bright = 255
    assert env.step(STILL)[2], "within an episode the judge stays the same"
    assert not play(env, screen, [255])[-1]["terminated"]
    assert play(env, screen, [0])[-1]["terminated"]
    path.write_bytes(b"RRLCKPT\nbroken")
    with caplog.at_level(logging.WARNING):
        assert play(env, screen, [0])[-1]["terminated"]
    assert "The classifier before goes on judging" in caplog.text
    assert env.judge.classifiers[0].threshold == 0.5


def test_a_classifier_of_other_cameras_is_not_swapped_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = brightness_classifier(tmp_path / "c.ckpt")
    env, screen = rig(classified(path, confirm=(1, 1)))
    other = dataclasses.replace(load_classifier(path), cameras={"wrist": SHAPE})
    save_classifier(path, other)
    with caplog.at_level(logging.WARNING):
        assert play(env, screen, [255])[-1]["terminated"]
    assert "start the run anew with it" in caplog.text


def test_a_missing_file_camera_or_size_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        rig(classified(tmp_path / "none.ckpt"))
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt")))
    env.reset(seed=0)
    state = screen.observe()
    with pytest.raises(RobotError, match=r"pictures of camera 'front', and the robot gives none"):
        env.judge.outcome(dataclasses.replace(state, images={}))
    small = {"front": np.zeros((16, 16, 3), np.uint8)}
    with pytest.raises(RobotError, match=r"trained on pictures \(32, 32, 3\).*set robot.image_size=32"):
        env.judge.outcome(dataclasses.replace(state, images=small))


def test_a_robot_that_measures_no_objects_can_be_judged(tmp_path: Path) -> None:
    task, screen = PickCube(), Screen()
    screen.knows = False
    assert truth_of(task, screen.observe()) is None
    judge = make_judge(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(1, 1)), task)
    judge.begin()
    screen.bright = 255
    outcome, told = judge.outcome(screen.observe())
    assert outcome.success
    assert told["truth"] is None


def test_a_persons_keys_are_the_whole_reward() -> None:
    env, screen = rig(RewardConfig(source="human"))
    assert isinstance(env.judge, HumanJudge)
    person = Presses()
    helped = AssistedEnv(env, person)
    helped.reset(seed=0)
    screen.cube_m = 0.2  # a success of the task's own rule, which counts for nothing
    _, reward, terminated, _, info = helped.step(STILL)
    assert (reward, terminated, info["success"], info["judged"]["truth"]) == (0.0, False, False, True)
    person.next = ("success",)
    _, reward, terminated, _, info = helped.step(STILL)
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    helped.reset()
    person.next = ("failure",)
    _, reward, terminated, _, info = helped.step(STILL)
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def test_practice_keeps_what_deceived_the_classifier_and_it_is_harvested(tmp_path: Path) -> None:
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(2, 2)))
    run = tmp_path / "run"
    env.judge.keeper = ClaimKeeper(run / "judged", "pick_cube")
    play(env, screen, [0, 255, 0, 0], high={3})  # a failure that passes, and a success that is missed
    play(env, screen, [255, 255], high={0, 1})  # a claim that is right
    screen.knows = False
    play(env, screen, [255, 0])  # a claim that nobody can check
    env.close()
    kept = LabelledSet(run / "judged")
    assert [(f.kind, f.label, f.by) for f in kept.frames] == [
        ("claim", 0, "twin"), ("missed", 1, "twin"), ("claim", 1, "twin"), ("claim", 1, "twin"),
        ("claim", None, "classifier"),
    ]  # fmt: skip
    with LabelledSet(tmp_path / "set", "pick_cube", {"front": SHAPE}, writing=True) as into:
        found = harvest(run, into)
        assert (found.false_positives, found.false_negatives, found.right, found.waiting) == (1, 1, 2, 1)
        assert [f.label for f in into.frames] == [0, 1]
        harvest(run, into)
        assert len(into) == 2, "twice is once"
    kept.relabel([kept.frames[-1].name], 0, "person")
    with LabelledSet(tmp_path / "set", "pick_cube", {"front": SHAPE}, writing=True) as into:
        assert harvest(run, into).waiting == 0
        assert into.count(0) == 2


def test_a_persons_word_in_practice_is_kept_as_a_label(tmp_path: Path) -> None:
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(2, 2)))
    env.judge.keeper = ClaimKeeper(tmp_path / "run" / "judged", "pick_cube")
    screen.knows, person = False, Presses()
    helped = AssistedEnv(env, person)
    for bright, said in ((0, "success"), (255, "failure")):
        helped.reset(seed=0)
        screen.bright, person.next = bright, (said,)
        assert helped.step(STILL)[2]
    helped.close()
    kept = LabelledSet(tmp_path / "run" / "judged").frames
    assert [(f.label, f.by, f.kind) for f in kept] == [(1, "person", "missed"), (0, "person", "claim")]


def test_counts_compare_the_judge_with_the_truth_of_each_frame(tmp_path: Path) -> None:
    env, screen = rig(classified(brightness_classifier(tmp_path / "c.ckpt"), confirm=(2, 2)))
    rows = []
    for bright, high in (([0, 255, 0, 255, 255], {0, 4}), ([255, 255], set())):
        counts = JudgedCounts()
        steps = play(env, screen, bright, high)
        for info in steps:
            counts.add(info)
        rows.append({"success": steps[-1]["success"], **counts.facts()})
    assert rows[0] == {
        "success": True, "true_success": True, "judged/failures": 3, "judged/false_positives": 2,
        "judged/successes": 2, "judged/false_negatives": 1,
    }  # fmt: skip
    found = judged_summary(rows)
    assert (found["claims"], found["false_claims"], found["true_successes"], found["false_positives"]) == (2, 1, 1, 4)
    assert "claimed 2 successes in 2 episodes, 1 of them false" in judged_sentence(found)
    assert judged_summary([{"success": True}]) == {}
    run = RunData(folder=tmp_path, episodes=rows)
    told = reward(run)
    assert "4 of 5 (at most" in told
    assert "1 of 2 (95 % interval" in told
    assert reward(RunData(folder=tmp_path, episodes=[{"success": True}])) == ""


def test_a_picture_that_policy_and_classifier_look_at_is_encoded_once() -> None:
    inner = PixelEncoder(SIZE, 3)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, SHAPE, np.uint8)
    shared = RememberingEncoder(inner, whole=lambda: True)
    centre = shared.centre("front", image)
    views = shared.encode(image[None])
    assert shared.encoded == 1
    np.testing.assert_array_equal(views, inner.encode(image[None]))
    np.testing.assert_array_equal(centre, views[0, 0])
    other = image.copy()
    other[0, 0, 0] ^= 255
    assert shared.encode(other[None]).shape == views.shape
    assert shared.encoded == 2
    alone = RememberingEncoder(inner)
    np.testing.assert_array_equal(alone.centre("front", image), centre)
    np.testing.assert_array_equal(alone.encode_centre(image[None])[0], centre)
    assert alone.encoded == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"confirm": (3, 2)}, "k and n with 1 <= k <= n"),
        ({"threshold": 1.0}, "0 to below 1"),
        ({"source": "oracle"}, "allowed: truth, classifier, vice, human"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RewardConfig(**settings)


def test_settings_come_from_the_command_line(tmp_path: Path) -> None:
    from robot_rl.config import compose

    path = brightness_classifier(tmp_path / "c.ckpt")
    chosen = compose([
        "reward=classifier", f"reward.path={path}", "reward.confirm=[2,3]", "robot.cameras=[front]",
        "robot.image_size=32", "reward.guard.gripper_width_m=[0.02,0.07]",
    ]).settings().reward  # fmt: skip
    assert (chosen.source, chosen.confirm, chosen.guard.gripper_width_m) == ("classifier", (2, 3), (0.02, 0.07))
    assert compose(["reward=human"]).settings().reward.source == "human"
    assert compose([]).settings().reward.source == "truth"
    with pytest.raises(ConfigError, match=r"reward.path is empty"):
        make_judge(compose(["reward=classifier"]).settings().reward, PickCube())
    assert isinstance(make_judge(chosen, PickCube()), ClassifierJudge)
