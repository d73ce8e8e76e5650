"""The learner's side of `reward=vice`: a classifier that is taught beside the policy, and the file that actors read.

Goals are the last frames of the demonstrations. What is no goal are their earlier frames, and whatever practice shows:
also frames that passed for a success without being one, so that what deceives the classifier becomes what it learns
from. The features lie in the learner's replay already, and nothing is encoded for this.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ConfigError, StorageError
from robot_rl.messages import StepBlock
from robot_rl.replay import Replay
from robot_rl.rewards.classifier import Classifier, load_classifier, save_classifier
from robot_rl.rewards.head import HeadConfig, shapes
from robot_rl.rewards.settings import ViceConfig
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, FeatureField, ObservationSpec

log = logging.getLogger(__name__)

FILE = "vice.ckpt"
THRESHOLD = 0.5  # more like a goal than like the rest, of which half of each batch was
CHUNK = 20  # gradient steps in one compiled call
Features = dict[str, NDArray[np.uint8]]


def vice_file(run: Path) -> Path:
    """Return where a run keeps the classifier that learns in it."""
    return run / FILE


class ViceLearner:
    """Teaches the classifier of a run.

    Args:
        run: The run's folder, which takes the file.
        config: Settings.
        observation_spec: What the policy is shown; features of at least one camera.
        pictures: (H, W, 3) of the cameras' pictures.
        encoder: Name or file of the trunk, as the settings have it.
        task: Name of the task.
        demos: Demonstrations, whole episodes.
        practice: Replay of what the policy did.
        seed: Of the weights and of what is drawn.

    Raises:
        ConfigError: There are no features, or no demonstration that succeeded.
    """

    def __init__(
        self, run: Path, config: ViceConfig, observation_spec: ObservationSpec,
        pictures: Mapping[str, tuple[int, int, int]], encoder: str, task: str, demos: Sequence[StepBlock],
        practice: Replay, seed: int,
    ) -> None:  # fmt: skip
        self._path, self._config, self._practice, self._task = vice_file(run), config, practice, task
        self._cameras = {k: f for k, f in observation_spec.images.items() if isinstance(f, FeatureField)}
        if not self._cameras:
            raise ConfigError("reward=vice learns from what the policy's encoder makes of pictures; add obs=images")
        self._pictures, self._encoder = dict(pictures), encoder
        self._goals, self._early = split_demos(demos, tuple(self._cameras), config)
        if not len(_any(self._goals)) or not len(_any(self._early)):
            raise ConfigError(
                "reward=vice takes the ends of demonstrations for goals and what is before them for the rest, and "
                f"there are {len(_any(self._goals))} and {len(_any(self._early))} such frames; give demonstrations "
                "that succeed (demos=20, or a folder), or set reward.vice.goal_frames and gap_frames"
            )
        self._rng, self._seed = np.random.default_rng([seed, 12]), seed
        self._discriminator = None
        self._taught_at = 0
        self._told: dict[str, float] = {}

    def begin(self, env_steps: int) -> None:
        """Go on with the run's file, or make the first one from the demonstrations.

        Raises:
            StorageError: The disk does not take the first one, without which nobody can judge.
        """
        from robot_rl.agents.discriminator import Discriminator  # JAX is the learner's alone

        view = next(iter(self._cameras.values())).view_shape
        weights = self._kept(view)
        self._discriminator = Discriminator(
            tuple(self._cameras), view, FEATURE_SCALE, FEATURE_OFFSET, self._config, self._seed, weights
        )
        self._taught_at = env_steps
        if weights is None:
            self._teach(self._config.first_steps)
            self._save(env_steps)

    def turn(self, env_steps: int) -> bool:
        """Teach when a lesson is due, and return whether one was."""
        if self._discriminator is None or env_steps - self._taught_at < self._config.every_steps:
            return False
        self._taught_at = env_steps
        self._teach(self._config.steps)
        try:
            self._save(env_steps)
        except StorageError as e:
            log.warning("%s. The classifier before goes on judging", e)
        return True

    def metrics(self) -> dict[str, float]:
        """Return the loss of the last lesson and what it says of goals and of practice, means of probabilities."""
        return dict(self._told)

    def _kept(self, view: tuple[int, int, int]) -> Mapping[str, NDArray[np.float32]] | None:
        """Return the weights of the run's own file if it is there, whole, and of these settings."""
        if not self._path.is_file():
            return None
        try:
            weights = load_classifier(self._path).weights
        except CheckpointError as e:
            log.warning("%s. It is made anew from the demonstrations", e)
            return None
        sizes = HeadConfig(embeddings=self._config.embeddings, hidden=self._config.hidden)
        if {name: a.shape for name, a in weights.items()} == shapes(tuple(self._cameras), view, sizes):
            return weights
        log.warning("%s is of other cameras or sizes than the settings. It is made anew", self._path)
        return None

    def _teach(self, steps: int) -> None:
        assert self._discriminator is not None
        half, quarter = self._config.batch // 2, self._config.batch // 4
        losses: list[float] = []
        for start in range(0, steps, CHUNK):
            n = min(CHUNK, steps - start)
            seen = len(self._practice) > 0
            others = self._early_rows(n, quarter if seen else half)
            parts = [self._goal_rows(n, half), others] + ([self._practised(n, quarter)] if seen else [])
            rows = {name: np.concatenate([part[name] for part in parts], axis=1) for name in self._cameras}
            labels = np.zeros((n, self._config.batch), np.float32)
            labels[:, :half] = 1.0
            losses.append(self._discriminator.learn(rows, labels))
        self._told = {"vice/loss": float(np.mean(losses))}

    def _goal_rows(self, n: int, count: int) -> Features:
        return self._drawn(self._goals, n, count)

    def _early_rows(self, n: int, count: int) -> Features:
        return self._drawn(self._early, n, count)

    def _drawn(self, frames: Features, n: int, count: int) -> Features:
        """Return (n, count, h, w, C) frames by camera, each in one of its views."""
        rows = self._rng.integers(len(_any(frames)), size=(n, count))
        return {
            name: frames[name][rows, self._rng.integers(field.views, size=rows.shape)]
            for name, field in self._cameras.items()
        }

    def _practised(self, n: int, count: int) -> Features:
        batch = self._practice.sample_groups(self._rng, n, count)
        return {name: batch[f"next_image/{name}"] for name in self._cameras}

    def _save(self, env_steps: int) -> None:
        assert self._discriminator is not None
        channels = next(iter(self._cameras.values())).channels
        made = Classifier(
            weights=self._discriminator.weights(), encoder=self._encoder,
            mark=next(iter(self._cameras.values())).encoder,
            cameras={name: self._pictures[name] for name in self._cameras},
            view=next(iter(self._cameras.values())).view_shape,
            scale=np.full(channels, FEATURE_SCALE, np.float32), offset=np.full(channels, FEATURE_OFFSET, np.float32),
            temperature=1.0, threshold=THRESHOLD, task=self._task,
            facts={"kind": "vice", "env_steps": env_steps, "goals": len(_any(self._goals)), **self._told},
        )  # fmt: skip
        save_classifier(self._path, made)
        goals, others = self._goal_rows(1, 64), self._practised(1, 64) if len(self._practice) else None
        self._told["vice/goal_probability"] = _mean(made, goals)
        if others is not None:
            self._told["vice/practice_probability"] = _mean(made, others)


def split_demos(blocks: Sequence[StepBlock], cameras: Sequence[str], config: ViceConfig) -> tuple[Features, Features]:
    """Return frames of demonstrations that show the goal, and those that do not, (N, views, h, w, C) by camera.

    Args:
        blocks: Whole episodes; those that did not succeed are left out.
        cameras: Names.
        config: How many frames show the goal, and how many before them are left out.
    """
    goals: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in cameras}
    early: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in cameras}
    for block in blocks:
        if not (block.ended and block.info.get("success")):
            continue
        for name in cameras:
            frames = np.concatenate([block.images[name], block.final_images[name][None]])
            goals[name].append(frames[-config.goal_frames :])
            early[name].append(frames[: max(len(frames) - config.goal_frames - config.gap_frames, 0)])
    return {n: _joined(f) for n, f in goals.items()}, {n: _joined(f) for n, f in early.items()}


def _joined(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate(parts) if parts else np.zeros((0, 1, 1, 1, 1), np.uint8)


def _any(frames: Features) -> NDArray[np.uint8]:
    return next(iter(frames.values()))


def _mean(made: Classifier, rows: Features) -> float:
    return float(made.probability({name: a[0] for name, a in rows.items()}).mean())
