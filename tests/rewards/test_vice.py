"""A classifier that learns beside the policy: what deceives it becomes what it learns from, and goals still pass."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from screen_robot import SHAPE, SIZE, STILL, Screen

from robot_rl.agents.discriminator import Discriminator
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, RobotError
from robot_rl.messages import StepBlock
from robot_rl.replay import Replay
from robot_rl.rewards.classifier import load_classifier
from robot_rl.rewards.make import keep_claims, keep_no_claims, make_judge
from robot_rl.rewards.settings import RewardConfig, ViceConfig
from robot_rl.rewards.vice import ViceLearner, split_demos, vice_file
from robot_rl.rewards.vice_judge import ViceJudge
from robot_rl.specs import ActionSpec, ContinuousGroup, FeatureField, ImageField, ObservationSpec, StateField
from robot_rl.train import start_run
from robot_rl_tasks.pick_cube import PickCube

FIELD = FeatureField(views=2, height=2, width=2, channels=6, encoder="made/0")
SPEC = ObservationSpec(state={"x": StateField(size=1, unit="1")}, images={"front": FIELD})
ACTION = ActionSpec(continuous={"arm": ContinuousGroup(size=1, unit="m", scale=0.1)})
CONFIG = ViceConfig(first_steps=150, steps=60, every_steps=50, batch=32, learning_rate=3e-3, embeddings=4, hidden=16)
STEPS = 12


def frames(rng: np.random.Generator, n: int, lifted: bool, closed: bool) -> np.ndarray:
    """Return (n, views, 2, 2, 6) features: channel 0 says that something is up, channel 1 that the hand holds it."""
    out = rng.integers(110, 146, (n, *FIELD.shape))
    out[..., 0] += 60 if lifted else -60
    out[..., 1] += 30 if closed else -30
    return out.astype(np.uint8)


def episode(rng: np.random.Generator, number: int, parts: list[np.ndarray], success: bool, source: int) -> StepBlock:
    """Return an episode that shows the parts one after the other."""
    seen = np.concatenate(parts)
    n = len(seen) - 1
    return StepBlock(
        episode=number, start=0, states=np.zeros((n, 1), np.float32), actions=np.zeros((n, 1), np.float32),
        rewards=np.zeros(n, np.float32), sources=np.full(n, source, np.uint8), policy_versions=np.zeros(n, np.int64),
        images={"front": seen[:-1]}, ended=True, terminated=success, final_state=np.zeros(1, np.float32),
        final_images={"front": seen[-1]}, info={"success": success},
    )  # fmt: skip


def demos(rng: np.random.Generator) -> list[StepBlock]:
    """Return demonstrations: nothing is up and the hand is open, then both are not so."""
    return [episode(rng, i, [frames(rng, STEPS, False, False), frames(rng, 2, True, True)], True, 2) for i in range(6)]


def learner(run: Path, practice: Replay, config: ViceConfig = CONFIG) -> ViceLearner:
    rng = np.random.default_rng(0)
    return ViceLearner(run, config, SPEC, {"front": (8, 8, 3)}, "made", "lift", demos(rng), practice, seed=3)


def says(run: Path, rng: np.random.Generator, lifted: bool, closed: bool) -> float:
    made = load_classifier(vice_file(run))
    return float((made.probability({"front": frames(rng, 100, lifted, closed)[:, 0]}) >= made.threshold).mean())


def test_the_ends_of_demonstrations_are_the_goals_and_what_is_just_before_them_is_neither() -> None:
    rng = np.random.default_rng(1)
    good = episode(rng, 0, [frames(rng, 10, False, False), frames(rng, 2, True, True)], True, 2)
    bad = episode(rng, 1, [frames(rng, 10, False, False)], False, 2)
    goals, early = split_demos([good, bad], ("front",), ViceConfig(goal_frames=2, gap_frames=3))
    np.testing.assert_array_equal(goals["front"][0], good.images["front"][-1])
    np.testing.assert_array_equal(goals["front"][1], good.final_images["front"])
    np.testing.assert_array_equal(early["front"], good.images["front"][:7])


def test_what_deceives_the_classifier_in_practice_becomes_what_it_learns_from(tmp_path: Path) -> None:
    rng, practice = np.random.default_rng(2), Replay(2000, SPEC, ACTION, 0.97, 1)
    teacher = learner(tmp_path, practice)
    teacher.begin(0)
    assert says(tmp_path, rng, True, True) == 1.0
    assert says(tmp_path, rng, False, False) == 0.0
    # No demonstration shows a thing that is up without being held: at first most of it passes.
    assert says(tmp_path, rng, True, False) > 0.4
    steps = 0
    for number in range(12):  # the policy finds that, and now and then the goal too
        ends = frames(rng, 2, True, True) if number % 3 == 0 else frames(rng, 2, True, False)
        block = episode(rng, number, [frames(rng, 6, False, False), frames(rng, 3, True, False), ends], True, 0)
        practice.add("a", block)
        steps += block.steps
        teacher.turn(steps)
    assert says(tmp_path, rng, True, False) < 0.05
    assert says(tmp_path, rng, True, True) > 0.9, "goals that the policy reaches itself still pass"
    told = teacher.metrics()
    assert told["vice/goal_probability"] > 0.5 > told["vice/practice_probability"]


def test_lessons_come_every_so_many_steps_and_the_file_says_after_how_many(tmp_path: Path) -> None:
    practice = Replay(100, SPEC, ACTION, 0.97, 1)
    teacher = learner(tmp_path, practice)
    assert not teacher.turn(1000), "nothing is taught before the run begins"
    teacher.begin(1000)
    assert load_classifier(vice_file(tmp_path)).facts["env_steps"] == 1000
    assert [teacher.turn(n) for n in (1049, 1050, 1099, 1101)] == [False, True, False, True]
    assert load_classifier(vice_file(tmp_path)).facts["env_steps"] == 1101


def test_a_resumed_run_goes_on_with_its_own_classifier(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    practice = Replay(100, SPEC, ACTION, 0.97, 1)
    learner(tmp_path, practice).begin(0)
    first = load_classifier(vice_file(tmp_path)).weights
    learner(tmp_path, practice).begin(70)
    np.testing.assert_array_equal(load_classifier(vice_file(tmp_path)).weights["dense"], first["dense"])
    with caplog.at_level(logging.WARNING):
        learner(tmp_path, practice, ViceConfig(first_steps=1, batch=8, hidden=5)).begin(70)
    assert "of other cameras or sizes" in caplog.text
    assert load_classifier(vice_file(tmp_path)).weights["head"].shape == (5,)
    vice_file(tmp_path).write_bytes(b"RRLCKPT\nbroken")
    with caplog.at_level(logging.WARNING):
        learner(tmp_path, practice).begin(70)
    assert "made anew from the demonstrations" in caplog.text
    assert load_classifier(vice_file(tmp_path)).facts["env_steps"] == 70


def test_a_disk_that_is_full_leaves_the_classifier_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher = learner(tmp_path / "run", Replay(100, SPEC, ACTION, 0.97, 1))
    teacher.begin(0)
    before = vice_file(tmp_path / "run").read_bytes()
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert teacher.turn(60)
    assert "The classifier before goes on judging" in caplog.text
    assert vice_file(tmp_path / "moved").read_bytes() == before


def test_mixing_and_smoothing_keep_the_classifier_from_growing_sure() -> None:
    rng = np.random.default_rng(4)
    rows = {"front": np.concatenate([frames(rng, 16, True, True)[:, 0], frames(rng, 16, False, False)[:, 0]])[None]}
    rows = {"front": np.repeat(rows["front"], 200, axis=0)}
    labels = np.tile(np.repeat([1.0, 0.0], 16), (200, 1)).astype(np.float32)
    surest = {}
    for name, config in {
        "plain": ViceConfig(mixup=0.0, smoothing=0.0, learning_rate=3e-3),
        "held back": ViceConfig(mixup=1.0, smoothing=0.1, learning_rate=3e-3),
    }.items():
        made = Discriminator(("front",), FIELD.view_shape, 12 / 255, -6.0, config, seed=0)
        losses = [made.learn(rows, labels) for _ in range(2)]
        assert losses[1] < losses[0]
        weights = made.weights()
        from robot_rl.rewards.head import head_logits

        values = {"front": rows["front"][0].astype(np.float32) * np.float32(12 / 255) - np.float32(6.0)}
        logits = head_logits(weights, ("front",), values)
        assert ((logits > 0) == (labels[0] > 0)).all()
        surest[name] = float(np.abs(logits).max())
    assert surest["held back"] < 3.0 < surest["plain"]


def rig() -> tuple[RobotEnv, Screen, ViceJudge]:
    screen, task = Screen(), PickCube(max_steps=30, object_state=False)
    encoder: Any = SimpleNamespace(centre=lambda camera, image: np.full((2, 2, 6), image[0, 0, 0], np.uint8))
    judge = ViceJudge(task, RewardConfig(source="vice", confirm=(1, 1)), lambda classifier: encoder)
    return RobotEnv(screen, task, images={"front": ImageField(height=SIZE, width=SIZE)}, judge=judge), screen, judge


def bright_file(run: Path, sign: float) -> None:
    """Let a run's classifier say that bright is success, or dark."""
    from robot_rl.rewards.classifier import Classifier, save_classifier
    from robot_rl.rewards.head import HeadConfig, shapes

    weights = {n: np.zeros(s, np.float32) for n, s in shapes(("front",), (2, 2, 6), HeadConfig(hidden=2)).items()}
    weights["masks/front"][:, :, 0] = sign / 24
    weights["dense"][::8, 0], weights["dense"][::8, 1] = 1.0, -1.0
    weights["scale"][:], weights["head"][:] = 1.0, (3.0, -3.0)
    ones = np.ones(6, np.float32)
    save_classifier(vice_file(run), Classifier(
        weights=weights, encoder="made", mark="made/0", cameras={"front": SHAPE}, view=(2, 2, 6), scale=ones / 255,
        offset=-0.5 * ones, temperature=1.0, threshold=0.5,
    ))  # fmt: skip


def test_demonstrations_end_by_the_demonstrators_word_and_practice_by_the_classifiers_alone(tmp_path: Path) -> None:
    env, screen, judge = rig()
    env.reset(seed=0)
    screen.cube_m = 0.2
    _, reward, terminated, _, info = env.step(STILL)
    assert (reward, terminated, info["judged"]["truth"]) == (1.0, True, True)
    keep_claims(env, RewardConfig(source="vice"), tmp_path)
    env.reset()
    with pytest.raises(RobotError, match=r"the learner has made no classifier yet \(.*vice.ckpt\)"):
        env.step(STILL)
    bright_file(tmp_path, 1.0)
    screen.bright, screen.cube_m = 0, 0.2
    env.reset()
    _, reward, terminated, _, info = env.step(STILL)
    assert (reward, terminated, info["judged"]["truth"]) == (0.0, False, True)
    bright_file(tmp_path, -1.0)
    assert not env.step(STILL)[2], "within an episode the judge stays the same"
    env.reset()
    assert env.step(STILL)[2], "the next lesson is taken up by the next episode"
    keep_no_claims(env)
    assert not judge.practising


def test_where_nobody_knows_the_truth_a_script_cannot_demonstrate() -> None:
    env, screen, _ = rig()
    screen.knows = False
    env.reset(seed=0)
    with pytest.raises(RobotError, match=r"a script cannot demonstrate here; record demonstrations with a person"):
        env.step(STILL)


def test_the_settings_make_its_judge_and_refuse_what_it_cannot_do() -> None:
    chosen = compose(["task=pick_cube", "obs=images", "reward=vice", "reward.vice.steps=7"]).settings()
    assert chosen.reward.vice.steps == 7
    assert isinstance(make_judge(chosen.reward, PickCube()), ViceJudge)
    for words, sentence in (
        (["obs=images", "reward=vice", "reward.path=c.ckpt"], "reward=vice makes its own"),
        (["obs=images", "reward=vice", "reward.vice.batch=10"], "must be a multiple of 4"),
        (["obs=images", "reward=vice", "reward.vice.mixup=-1"], "not be negative"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            compose(["task=pick_cube", *words]).settings()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reward=vice"], "add obs=images"),
        (["obs=images", "reward=vice", "demos=0"], "the ends of demonstrations are its only goals"),
        (
            ["task=bin_relocate", "practice=forward_backward", "obs=images", "reward=vice"],
            "would need a classifier for each",
        ),
    ],
)
def test_a_run_that_cannot_teach_a_classifier_is_refused_before_it_begins(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    chosen = compose(
        [*([] if words[0].startswith("task=") else ["task=pick_cube"]), f"runs={tmp_path}", "name=none", *words]
    )
    with pytest.raises(ConfigError, match=sentence):
        start_run(chosen)
    assert not (tmp_path / "none").exists()


def test_demonstrations_without_an_end_are_told_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    failed = [episode(rng, 0, [frames(rng, 8, False, False)], False, 2)]
    practice = Replay(100, SPEC, ACTION, 0.97, 1)
    with pytest.raises(ConfigError, match=r"there are 0 and 0 such frames; give demonstrations that succeed"):
        ViceLearner(tmp_path, CONFIG, SPEC, {"front": (8, 8, 3)}, "made", "lift", failed, practice, seed=0)
    blind = ObservationSpec(state=SPEC.state)
    with pytest.raises(ConfigError, match="add obs=images"):
        ViceLearner(tmp_path, CONFIG, blind, {}, "made", "lift", failed, practice, seed=0)
