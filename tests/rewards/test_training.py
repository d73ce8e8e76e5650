from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_pictures import CAMERAS, SIZE, fill, pictures

from robot_rl.errors import CheckpointError, ConfigError, LabelError, SpecError
from robot_rl.rewards.classifier import Classifier, load_classifier, save_classifier
from robot_rl.rewards.features import features_of, labelled, open_encoder, size_of
from robot_rl.rewards.head import HeadConfig, head_logits, shapes
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.pixels import PixelEncoder
from robot_rl.rewards.training import judge_unseen, linear, split, train_classifier

CONFIG = HeadConfig(steps=60, folds=3, hidden=16, embeddings=4, batch=32, learning_rate=3e-3)
ENCODER = PixelEncoder(SIZE, views=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, LabelledSet]:
    folder = tmp_path_factory.mktemp("trained") / "set"
    with LabelledSet(folder, "climb", CAMERAS, writing=True) as frames:
        fill(frames)
    made, _ = train_classifier(frames, ENCODER, "pixels", CONFIG, 0.01)
    return made, frames


def test_it_judges_episodes_that_it_has_not_seen(trained: tuple[Classifier, LabelledSet]) -> None:
    made, _ = trained
    assert made.facts["accuracy"] > 0.95
    assert made.facts["area"] > 0.99
    rng = np.random.default_rng(77)
    for height, high in [(0.1, False), (0.5, False), (0.85, True), (0.95, True)]:
        seen = [pictures(height, rng) for _ in range(20)]
        features = {c: ENCODER.encode_centre(np.stack([p[c] for p in seen])) for c in CAMERAS}
        assert ((made.probability(features) >= made.threshold) == high).mean() >= 0.9


@pytest.fixture
def frames(tmp_path: Path) -> LabelledSet:
    with LabelledSet(tmp_path / "set", "climb", CAMERAS, writing=True) as made:
        fill(made)
    return LabelledSet(tmp_path / "set")


def test_a_file_gives_the_same_classifier(trained: tuple[Classifier, LabelledSet], tmp_path: Path) -> None:
    made, _ = trained
    read = load_classifier(save_classifier(tmp_path / "classifier.ckpt", made))
    seen = pictures(0.9, np.random.default_rng(3))
    features = {c: ENCODER.encode_centre(seen[c][None]) for c in CAMERAS}
    np.testing.assert_allclose(read.logits(features), made.logits(features), rtol=1e-6)
    assert (read.threshold, read.temperature, read.encoder, read.task) == (
        made.threshold, made.temperature, "pixels", "climb",
    )  # fmt: skip
    assert dict(read.cameras) == CAMERAS
    assert read.facts["frames"] == made.facts["frames"]


def test_a_damaged_or_other_file_is_refused(trained: tuple[Classifier, LabelledSet], tmp_path: Path) -> None:
    from robot_rl import checkpoint

    path = save_classifier(tmp_path / "classifier.ckpt", trained[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        load_classifier(path)
    other = checkpoint.save(tmp_path / "other.ckpt", {"a": np.zeros(1, np.float32)}, {"kind": "policy"})
    with pytest.raises(CheckpointError, match="holds a policy, no success classifier"):
        load_classifier(other)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_classifier(tmp_path / "none.ckpt")


def test_another_encoder_is_refused(trained: tuple[Classifier, LabelledSet]) -> None:
    trained[0].check_encoder(PixelEncoder(SIZE, views=1))
    with pytest.raises(CheckpointError, match=r"trained on features \(16, 16, 3\) of 'pixels/1'.*\(8, 8, 3\)"):
        trained[0].check_encoder(PixelEncoder(SIZE, grid=8))


def test_the_same_seed_gives_the_same_weights() -> None:
    from robot_rl.agents.success import train_heads

    rng = np.random.default_rng(0)
    features = {"front": rng.integers(0, 256, (20, 2, 2, 2, 3), np.uint8)}
    few = HeadConfig(steps=12, folds=2, hidden=4, embeddings=2, batch=8)

    def trained(config: HeadConfig) -> np.ndarray:
        heads = train_heads(features, np.arange(20) % 2, np.ones((1, 20), bool), *linear(ENCODER), config)
        return heads[0]["dense"]

    np.testing.assert_array_equal(trained(few), trained(few))
    assert (trained(few) != trained(replace(few, seed=1))).any()


def test_parts_never_share_an_episode_and_each_has_both_labels() -> None:
    rng = np.random.default_rng(0)
    episodes = [f"e{i}" for i in rng.integers(0, 30, 400)]
    first = {e: i for i, e in enumerate(dict.fromkeys(episodes))}
    labels = np.array([int(first[e] < 10 and rng.random() < 0.5) for e in episodes])
    part = split(labels, episodes, 5, rng)
    of: dict[str, set[int]] = {}
    for e, p in zip(episodes, part, strict=True):
        of.setdefault(e, set()).add(int(p))
    assert all(len(parts) == 1 for parts in of.values())
    shares = [labels[part == i].sum() for i in range(5)]
    assert min(shares) > 0
    assert max(shares) <= 0.5 * sum(shares)


def test_unseen_means_unseen(frames: LabelledSet) -> None:
    """A head that sees noise with random labels by episode learns them by heart, and is worth nothing on the others."""
    rng = np.random.default_rng(1)
    n, episodes = 240, [f"e{i // 12}" for i in range(240)]
    labels = np.repeat(rng.permutation(np.arange(20) % 2), 12)
    centre = rng.integers(0, 256, (20, 1, 4, 4, 3)).repeat(12, 0)
    noise = np.clip(centre + rng.integers(-3, 4, (n, 1, 4, 4, 3)), 0, 255).astype(np.uint8)
    reading = linear(ENCODER)
    config = HeadConfig(steps=60, folds=3, learning_rate=1e-2, hidden=16, embeddings=4, batch=32)
    judged, weights = judge_unseen({"front": noise}, [str(i) for i in range(n)], labels, episodes, reading, config)
    by_heart = head_logits(weights, ("front",), {"front": noise[:, 0] * reading[0] + reading[1]})
    assert ((by_heart > 0) == labels).mean() > 0.9
    assert ((judged.logits > 0) == labels).mean() < 0.8


def test_features_are_computed_once_and_follow_the_pictures(frames: LabelledSet) -> None:
    class Counting(PixelEncoder):
        encoded = 0

        def encode(self, images: np.ndarray) -> np.ndarray:
            self.encoded += len(images)
            return super().encode(images)

    names = [f.name for f in frames.frames]
    first = Counting(SIZE, 2)
    half = features_of(frames, names[:70], first)
    assert first.encoded == 2 * 70
    second = Counting(SIZE, 2)
    whole = features_of(frames, names, second)
    assert second.encoded == 2 * (len(names) - 70)
    np.testing.assert_array_equal(whole["front"][:70], half["front"])
    name = names[90]
    np.testing.assert_array_equal(whole["wrist"][90], second.encode(frames.pictures(name)["wrist"][None])[0])
    kept = next(frames.folder.glob("features-*.ckpt"))
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(features_of(frames, names[:3], second)["front"], whole["front"][:3])


def test_a_set_without_both_labels_says_what_is_missing(tmp_path: Path) -> None:
    with LabelledSet(tmp_path / "set", "climb", CAMERAS, writing=True) as frames:
        fill(frames, episodes=1)
        with pytest.raises(LabelError, match=r"labelled success from 1 episode.*at least 2; collect more with"):
            labelled(frames)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch": 3}, "batch is 3; it must be an even number"),
        ({"folds": 1}, "folds is 1; it must be at least 2"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_bad_settings_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        HeadConfig(**settings)


def test_a_head_refuses_features_of_another_shape() -> None:
    weights = {n: np.zeros(s, np.float32) for n, s in shapes(("front",), (4, 4, 3), HeadConfig()).items()}
    with pytest.raises(SpecError, match=r"\(16, 3\), got \(64, 3\)"):
        head_logits(weights, ("front",), {"front": np.zeros((1, 8, 8, 3), np.float32)})


def test_pictures_must_be_square_and_alike() -> None:
    assert size_of({"a": (8, 8, 3), "b": (8, 8, 3)}) == 8
    with pytest.raises(LabelError, match="square pictures of one size"):
        size_of({"a": (8, 10, 3)})
    with pytest.raises(ConfigError, match="multiple of 16"):
        open_encoder("pixels", 100)


def test_pixel_views_are_the_picture_and_shifts_of_it() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 64, 64, 3), np.uint8)
    encoder = PixelEncoder(64, 5)
    made = encoder.encode(image)
    np.testing.assert_array_equal(made[:, 0], encoder.encode_centre(image))
    moved = np.roll(image, (3, -4), (1, 2))
    inside = (slice(None), 0, slice(2, -2), slice(2, -2))
    other = (slice(None), 2, slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(encoder.encode(moved)[inside], made[other])
