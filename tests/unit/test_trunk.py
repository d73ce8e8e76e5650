"""A trunk is a program: what may be said in it, how it is kept on a disk, and that everything runs it alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from trunks import run_plainly, small_trunk

from robot_rl.agents.trunk import jax_trunk
from robot_rl.checkpoint import save
from robot_rl.encoders.program import Conv, load_trunk, out_size, pads, save_trunk
from robot_rl.errors import EncoderError


def pictures(n: int, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)


def test_jax_runs_a_program_as_plain_loops_do() -> None:
    trunk, images = small_trunk(), pictures(3)
    got = np.asarray(jax_trunk(trunk)(images))
    assert got.shape[1:] == trunk.output == (2, 2, 6)
    np.testing.assert_allclose(got, np.stack([run_plainly(trunk, i) for i in images]), atol=1e-4)


def test_torch_runs_a_program_as_plain_loops_do() -> None:
    pytest.importorskip("torch")
    from robot_rl.encoders.torch_trunk import TorchTrunk

    trunk, images = small_trunk(), pictures(3)
    got = TorchTrunk(trunk)(images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.stack([run_plainly(trunk, i) for i in images]), atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "half"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (7, 2)])
def test_padding_leaves_as_many_windows_as_promised(padding, kernel, stride) -> None:
    for size in (8, 9, 16, 31):
        before, behind = pads(size, kernel, stride, padding)
        assert (size + before + behind - kernel) // stride + 1 == out_size(size, kernel, stride, padding)
        assert 0 <= behind - before <= 1


def test_flops_count_two_for_every_product_of_a_convolution() -> None:
    # Sides 8, 8, 8, 4, 4: stem 3x3x3x8, depthwise 5x5x8, then 1x1x8x8, 1x1x8x6 and 3x3x8x6.
    assert small_trunk().flops == 2 * (64 * 216 + 64 * 200 + 64 * 64 + 16 * 48 + 16 * 432)


def test_features_come_back_from_bytes_within_half_a_step() -> None:
    from robot_rl.encoders.encoder import Encoder

    trunk = small_trunk()
    rng = np.random.default_rng(1)
    spread = rng.uniform(-5.9, 5.9, (50, 2, 2, 6)).astype(np.float32)
    stored = trunk.quantise(spread * trunk.feature_std + trunk.feature_mean)
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(Encoder.dequantise(stored), spread, atol=0.5 * 12 / 255 + 1e-4)
    far = np.array([-1e6, 1e6], np.float32)[:, None] * np.ones(6, np.float32)
    assert trunk.quantise(far)[:, 0].tolist() == [0, 255]


def test_a_trunk_comes_back_from_its_file_bit_for_bit(tmp_path) -> None:
    trunk = small_trunk(3)
    back = load_trunk(save_trunk(trunk, tmp_path / "a.trunk"))
    assert (back.name, back.size, back.source, back.shapes) == (trunk.name, trunk.size, trunk.source, trunk.shapes)
    for ours, theirs in zip(trunk.ops, back.ops, strict=True):
        for field in dataclasses.fields(ours):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    image = pictures(1)[0]
    np.testing.assert_array_equal(run_plainly(trunk, image), run_plainly(back, image))


def test_a_damaged_or_foreign_file_is_refused_in_words(tmp_path) -> None:
    path = save_trunk(small_trunk(), tmp_path / "a.trunk")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(EncoderError, match=r"a\.trunk cannot be read.*checksum.*converted anew"):
        load_trunk(path)
    with pytest.raises(EncoderError, match=r"b\.trunk cannot be read: there is no checkpoint"):
        load_trunk(tmp_path / "b.trunk")
    save(tmp_path / "c.trunk", {}, {"kind": "policy"})
    with pytest.raises(EncoderError, match="is a policy, expected a trunk"):
        load_trunk(tmp_path / "c.trunk")
    save(tmp_path / "d.trunk", {}, {"kind": "trunk", "ops": [{"op": "conv"}]})
    with pytest.raises(EncoderError, match="lacks a part"):
        load_trunk(tmp_path / "d.trunk")


def conv(kernel: int, inputs: int, outputs: int, **settings) -> Conv:
    weight = np.ones((kernel, kernel, inputs, outputs), np.float32)
    return Conv(weight=weight, bias=np.zeros(outputs, np.float32), **settings)


@pytest.mark.parametrize(
    ("ops", "match"),
    [
        ((), "no operations"),
        ((conv(3, 4, 6),), r"operation 0 .* reads 3 channels"),
        ((conv(3, 3, 6, source=1),), "reads value 1; allowed are 0 to 0"),
        ((conv(3, 3, 6), conv(1, 6, 6, source=1, stride=2, add=1)), "needs equal shapes"),
        ((conv(3, 3, 6), conv(1, 6, 6, source=1, add=5)), "reads value 5; allowed are 0 to 1"),
    ],
)
def test_a_program_that_does_not_fit_together_is_refused(ops, match) -> None:
    with pytest.raises(EncoderError, match=match):
        dataclasses.replace(small_trunk(), ops=ops)


def test_weights_and_spreads_must_be_finite_and_positive() -> None:
    trunk = small_trunk()
    with pytest.raises(EncoderError, match="feature_std that is not positive"):
        dataclasses.replace(trunk, feature_std=np.zeros(6, np.float32))
    with pytest.raises(EncoderError, match="needs 6 finite numbers as feature_mean"):
        dataclasses.replace(trunk, feature_mean=np.zeros(5, np.float32))
    first = trunk.ops[0]
    bad = dataclasses.replace(first, bias=np.full_like(first.bias, np.nan))
    with pytest.raises(EncoderError, match="not finite"):
        dataclasses.replace(trunk, ops=(bad, *trunk.ops[1:]))
