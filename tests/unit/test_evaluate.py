from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl import demos, evaluate
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import CheckpointError
from robot_rl.messages import Policy
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ObservationSpec


def some_weights(observation_spec: ObservationSpec, action_spec: ActionSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Return weights of a policy that does something."""
    rng = np.random.default_rng(seed)
    outputs = 2 * action_spec.continuous_size + (action_spec.joint_choices if action_spec.joint_choices > 1 else 0)
    return {
        "w0": rng.normal(0.0, 0.3, (observation_spec.size, 8)).astype(np.float32),
        "shift0": np.zeros(8, np.float32),
        "head": rng.normal(0.0, 0.3, (8, outputs)).astype(np.float32),
        "bias": np.zeros(outputs, np.float32),
        "activation": np.zeros(1, np.float32),
        "std_bounds": np.array([0.02, 1.0], np.float32),
    }


@pytest.fixture(scope="module")
def env() -> RobotEnv:
    return make_env(compose(["task=reach", "task.max_steps=12"]).settings())


@pytest.fixture
def policy(env: RobotEnv) -> NumpyPolicy:
    spec = (env.observation_spec, env.task.action_spec)
    return NumpyPolicy(*spec, some_weights(*spec))


def test_episodes_are_counted_in_the_robots_time_and_never_overrun(env: RobotEnv, policy: NumpyPolicy) -> None:
    told: list[tuple[int, int]] = []
    rows = evaluate.evaluate(env, policy, 3, progress=lambda done, successes: told.append((done, successes)))
    assert [row["episode"] for row in rows] == [0, 1, 2]
    assert [done for done, _ in told] == [1, 2, 3]
    for row in rows:
        assert row["steps"] <= 12
        assert row["duration_s"] == pytest.approx(0.1 * row["steps"])
        assert row["reason"] == ("reached" if row["success"] else "time limit")


def test_a_seed_chooses_the_starts_whatever_the_policy(env: RobotEnv, policy: NumpyPolicy) -> None:
    first = evaluate.evaluate(env, policy, 2, seed=5)
    assert evaluate.evaluate(env, policy, 2, seed=5) == first
    assert {row["seed"] for row in evaluate.evaluate(env, policy, 2, seed=6)}.isdisjoint(row["seed"] for row in first)


def test_starts_are_never_those_of_practice_or_of_demonstrations() -> None:
    practice_end, most = 2**32, 2**24
    demos_end = demos.FIRST_SEED + (most << 16)
    assert practice_end <= demos.FIRST_SEED
    assert demos_end <= evaluate.FIRST_SEED


def test_a_sampled_policy_repeats_for_a_seed(env: RobotEnv, policy: NumpyPolicy) -> None:
    policy.sampled = True
    sampled = evaluate.evaluate(env, policy, 2, seed=1)
    assert evaluate.evaluate(env, policy, 2, seed=1) == sampled


def test_a_saved_policy_acts_alike(tmp_path: Path, env: RobotEnv, policy: NumpyPolicy) -> None:
    spec = (env.observation_spec, env.task.action_spec)
    saved = Policy(version=80, weights=some_weights(*spec))
    path = evaluate.save_policy(tmp_path / "policy.ckpt", saved, *spec, sampled=True)
    back = evaluate.load_policy(path, *spec)
    assert back.version == 80
    assert back.sampled
    state = np.linspace(-1.0, 1.0, env.observation_spec.size).astype(np.float32)
    assert np.array_equal(back.act(state), policy.act(state))


def test_a_policy_of_another_task_is_refused_in_words(tmp_path: Path, env: RobotEnv) -> None:
    spec = (env.observation_spec, env.task.action_spec)
    path = evaluate.save_policy(tmp_path / "p.ckpt", Policy(version=1, weights=some_weights(*spec)), *spec)
    other = compose(["task=pick_cube"]).settings().task.make()
    with pytest.raises(CheckpointError, match="is of another task: "):
        evaluate.load_policy(path, other.observation_spec, other.action_spec)


def test_a_checkpoint_of_the_learner_is_no_policy(tmp_path: Path, env: RobotEnv) -> None:
    from robot_rl.checkpoint import save

    path = save(tmp_path / "c.ckpt", {"a": np.zeros(1, np.float32)}, {"kind": "learner"})
    with pytest.raises(CheckpointError, match="another kind"):
        evaluate.load_policy(path, env.observation_spec, env.task.action_spec)


@pytest.mark.gl
def test_the_film_shows_the_first_episodes_and_their_outcome(
    tmp_path: Path, env: RobotEnv, policy: NumpyPolicy
) -> None:
    from robot_rl.errors import MissingDependency
    from robot_rl.video import read_frame
    from robot_rl_sim.gl import require_gl

    try:
        require_gl()
    except MissingDependency as e:
        pytest.skip(str(e))
    path = tmp_path / "video.mp4"
    rows = evaluate.evaluate(env, policy, 2, video=path, video_episodes=1)
    frame = read_frame(path, 0.1 * rows[0]["steps"])
    assert frame.shape[1] == 640
    assert frame.std() > 10.0
    import av

    with av.open(str(path)) as film:
        assert film.streams.video[0].frames == rows[0]["steps"] + evaluate.HOLD_FRAMES


def test_without_pictures_there_is_a_warning_and_no_film(
    tmp_path: Path, env: RobotEnv, policy: NumpyPolicy, caplog, monkeypatch
) -> None:
    from robot_rl.errors import MissingDependency

    def no_gl(*_: object) -> None:
        raise MissingDependency("OpenGL", "a camera picture", "apt-get install libegl1")

    monkeypatch.setattr(env.robot, "render", no_gl)
    rows = evaluate.evaluate(env, policy, 1, video=tmp_path / "video.mp4", video_episodes=1)
    assert len(rows) == 1
    assert "there will be no video" in caplog.text
    assert list(tmp_path.iterdir()) == []
