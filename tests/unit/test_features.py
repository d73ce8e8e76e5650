"""Features travel, are kept and are sampled as pictures are, each frame once and a random view of it at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import SpecError, WireError
from robot_rl.link import session_spec, spec_difference, specs_of
from robot_rl.messages import StepBlock
from robot_rl.replay import Mixed, Replay
from robot_rl.replay_log import ReplayLog, read
from robot_rl.specs import (
    FEATURE_OFFSET,
    FEATURE_SCALE,
    ActionSpec,
    ContinuousGroup,
    FeatureField,
    ImageField,
    ObservationSpec,
    StateField,
)
from robot_rl.wire import decode, encode, encode_one

FRONT = FeatureField(views=4, height=2, width=3, channels=5, encoder="small/1")
WRIST = FeatureField(views=2, height=1, width=1, channels=7, encoder="small/1")
OBSERVATION = ObservationSpec(state={"where": StateField(size=1, unit="1")}, images={"front": FRONT, "wrist": WRIST})
ACTION = ActionSpec(continuous={"arm": ContinuousGroup(size=2, unit="m", scale=0.01)})


def features(camera: FeatureField, frame: int) -> np.ndarray:
    """Return features that tell frame and view: every number is 8 * frame + view."""
    return np.broadcast_to(
        8 * frame + np.arange(camera.views, dtype=np.uint8)[:, None, None, None], camera.shape
    ).copy()


def block_of(n: int, first: int = 0, ended: bool = True, source: int = 0) -> StepBlock:
    cameras = {"front": FRONT, "wrist": WRIST}
    return StepBlock(
        episode=0, start=0, states=np.arange(first, first + n, dtype=np.float32)[:, None],
        actions=np.zeros((n, 2), np.float32), rewards=np.zeros(n, np.float32), sources=np.full(n, source, np.uint8),
        policy_versions=np.zeros(n, np.int64),
        images={k: np.stack([features(f, first + i) for i in range(n)]) for k, f in cameras.items()}, ended=ended,
        final_state=np.array([first + n], np.float32) if ended else np.zeros(0, np.float32),
        final_images={k: features(f, first + n) for k, f in cameras.items()} if ended else {},
    )  # fmt: skip


def test_blocks_of_features_cross_the_wire_and_the_log_unchanged(tmp_path) -> None:
    block = block_of(6)
    frames = [bytes(f) for f in encode(block)]
    with ReplayLog(tmp_path) as log:
        log.append("a/1", 1, block)
    (_, _, logged), sent = next(iter(read(tmp_path))), decode(frames, (StepBlock,))
    for back in (logged, sent, decode([encode_one(block)], (StepBlock,))):
        for name in ("front", "wrist"):
            np.testing.assert_array_equal(back.images[name], block.images[name])
            np.testing.assert_array_equal(back.final_images[name], block.final_images[name])


def test_the_wire_refuses_what_is_neither_a_picture_nor_features() -> None:
    flat = StepBlock(**{**_fields(block_of(2)), "images": {"front": np.zeros((2, 3), np.uint8)}})
    with pytest.raises(WireError, match=r"images\[front\] has 2 axes, expected 4 or 5"):
        decode([bytes(f) for f in encode(flat)], (StepBlock,))


@given(seed=st.integers(0, 1000), n=st.integers(1, 9), capacity=st.integers(3, 30), n_step=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_sample_holds_one_view_of_each_frame_and_of_the_right_one(seed, n, capacity, n_step) -> None:
    replay = Replay(capacity, OBSERVATION, ACTION, 0.9, n_step)
    replay.add("a", block_of(n))
    batch = replay.sample(np.random.default_rng(seed), 16)
    for name, camera in OBSERVATION.images.items():
        for prefix, state in (("", batch["state"]), ("next_", batch["next_state"])):
            got = batch[f"{prefix}image/{name}"]
            assert got.shape == (16, *camera.view_shape)
            assert got.dtype == np.uint8
            frame, view = np.divmod(got[:, 0, 0, 0], 8)
            np.testing.assert_array_equal(frame, state[:, 0])
            assert (view < camera.views).all()
            assert (got == got[:, :1, :1, :1]).all()


def test_every_view_is_drawn_alike_and_for_each_camera_by_itself() -> None:
    replay = Replay(20, OBSERVATION, ACTION, 0.9)
    replay.add("a", block_of(5))
    batch = replay.sample(np.random.default_rng(0), 8000)
    keys = [f"{prefix}/{name}" for prefix in ("image", "next_image") for name in OBSERVATION.images]
    drawn = {key: batch[key][:, 0, 0, 0].astype(int) % 8 for key in keys}
    for key in keys:
        views = OBSERVATION.images[key.partition("/")[2]].views
        shares = np.bincount(drawn[key], minlength=views) / 8000
        np.testing.assert_allclose(shares, 1 / views, atol=0.03)
    for a in keys:
        for b in keys:
            if a != b:
                assert abs(np.corrcoef(drawn[a], drawn[b])[0, 1]) < 0.05


def test_the_same_seed_draws_the_same_views() -> None:
    draws = []
    for _ in range(2):
        made = [Replay(20, OBSERVATION, ACTION, 0.9) for _ in range(2)]
        both = Mixed(*made, demo_fraction=0.5)
        both.add("demo", block_of(5, source=2))
        both.add("a", block_of(4, first=10))
        draws.append(both.sample_groups(np.random.default_rng(7), 2, 8))
    for key, value in draws[0].items():
        np.testing.assert_array_equal(value, draws[1][key])
    assert draws[0]["image/front"].shape == (2, 8, 2, 3, 5)


def test_a_step_from_two_cameras_fits_into_40_kilobytes() -> None:
    camera = FeatureField(views=5, height=4, width=4, channels=48)
    spec = ObservationSpec(state=OBSERVATION.state, images={"front": camera, "wrist": camera})
    assert 7_680 < Replay(10, spec, ACTION, 0.9).nbytes_per_step < 7_860


def test_blocks_whose_features_do_not_fit_are_refused() -> None:
    replay = Replay(20, OBSERVATION, ACTION, 0.9)
    wrong = {"front": np.zeros((2, 3, 2, 3, 5), np.uint8), "wrist": np.zeros((2, *WRIST.shape), np.uint8)}
    with pytest.raises(SpecError, match=r"images\[front\] .* has shape \(2, 3, 2, 3, 5\), expected \(2, 4, 2, 3, 5\)"):
        replay.add("a", StepBlock(**{**_fields(block_of(2)), "images": wrong}))


def test_a_session_knows_views_sizes_and_the_encoder() -> None:
    spec = session_spec(OBSERVATION, ACTION)
    back, _ = specs_of(spec)
    assert dict(back.images) == dict(OBSERVATION.images)
    for change, told in (
        ({"encoder": "other/2"}, "image front encoder small/1, actor sends other/2"),
        ({"views": 3}, "image front views 4, actor sends 3"),
        ({"channels": 9}, "image front channels 5, actor sends 9"),
    ):
        fields = {"views": 4, "height": 2, "width": 3, "channels": 5, "encoder": "small/1", **change}
        other = ObservationSpec(state=OBSERVATION.state, images={"front": FeatureField(**fields), "wrist": WRIST})
        assert told in str(spec_difference(spec, session_spec(other, ACTION)))
    pictures = ObservationSpec(state=OBSERVATION.state, images={"front": ImageField(height=2, width=3), "wrist": WRIST})
    assert "image front to be [4, 2, 3, 5, 'small/1'], actor sends [2, 3, 3]" in str(
        spec_difference(spec, session_spec(pictures, ACTION))
    )


def test_a_feature_field_needs_numbers() -> None:
    with pytest.raises(SpecError, match=r"at least one view of at least one number, got \(0, 1, 1, 1\)"):
        FeatureField(views=0, height=1, width=1, channels=1)


def test_bytes_span_six_standard_deviations() -> None:
    assert FEATURE_OFFSET == -6.0
    assert pytest.approx(6.0) == 255 * FEATURE_SCALE + FEATURE_OFFSET


def _fields(block: StepBlock) -> dict:
    return {name: getattr(block, name) for name in StepBlock.__dataclass_fields__}
