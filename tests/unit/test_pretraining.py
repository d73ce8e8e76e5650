"""Pretraining an encoder: logs as files, steps with goals in hindsight, learning that resumes, the trunk it ends in."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from trunks import run_plainly

from robot_rl.agents.navigation import Navigation, trunk_features
from robot_rl.encoders.encoder import feature_field
from robot_rl.encoders.program import load_trunk
from robot_rl.errors import CheckpointError, ConfigError, EncoderError
from robot_rl.jsonl import read_json
from robot_rl.pretraining.logs import averaged, read_log, read_logs, save_log
from robot_rl.pretraining.run import PretrainConfig, held_out, pretrain
from robot_rl.pretraining.steps import REACHED_M, Sampler, drives_of

HZ = 10.0


def arrays(n: int = 60, seed: int = 0, side: int = 64, **more: np.ndarray) -> dict[str, np.ndarray]:
    """Return a drive along a circle of 3 m to the left at 1.5 m/s; how bright a picture is says where it was taken."""
    turn = 1.5 / 3.0 * np.arange(n) / HZ
    pictures = (
        np.random.default_rng(seed).integers(0, 40, (n, side, side, 3)) + (60 * (1 + np.sin(turn)))[:, None, None, None]
    )
    return {
        "pictures": pictures.astype(np.uint8), "stamp_s": 5.0 + np.arange(n) / HZ,
        "p_W": 3.0 * np.stack([np.sin(turn), 1.0 - np.cos(turn)], axis=1),
        "yaw_rad": (turn + math.pi) % (2 * math.pi) - math.pi,
    } | more  # fmt: skip


def logs(folder: Path, count: int = 3, **more):
    for i in range(count):
        save_log(folder / f"drive{i}.npz", **arrays(seed=i, **more))
    return read_logs(folder)


def test_a_log_comes_back_and_larger_pictures_are_averaged(tmp_path: Path) -> None:
    given = arrays(side=128)
    log = read_log(save_log(tmp_path / "a.npz", **given))
    assert log.pictures.shape == (60, 64, 64, 3)
    mean = given["pictures"][7, 10:12, 20:22, 1].mean()
    assert abs(float(log.pictures[7, 5, 10, 1]) - mean) <= 0.5
    np.testing.assert_array_equal(log.p_W, given["p_W"])
    assert not log.trouble.any()
    np.testing.assert_array_equal(averaged(log.pictures), log.pictures)
    assert len(log.digest) == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"yaw_rad": None}, r"has no array 'yaw_rad'; pictures, stamp_s, p_W and yaw_rad are what a log"),
        ({"pictures": np.zeros((60, 60, 60, 3), np.uint8)}, r"pictures are uint8 of shape .*H a multiple of 64"),
        ({"pictures": np.zeros((60, 64, 64, 3), np.float32)}, r"pictures are float32"),
        ({"pictures": np.zeros((59, 64, 64, 3), np.uint8)}, r"pictures are uint8 of shape \(59"),
        ({"p_W": np.zeros((60, 3))}, r"p_W is float64 of shape \(60, 3\); \(60, 2\) finite numbers"),
        ({"yaw_rad": np.full(60, np.nan)}, r"yaw_rad is float64"),
        ({"stamp_s": np.zeros(60)}, r"its 60 moments do not rise"),
        ({"trouble": np.zeros(3, np.bool_)}, r"trouble is bool of shape \(3,\); 60 truth values"),
    ],
)
def test_a_log_that_does_not_fit_is_refused_in_words(tmp_path: Path, change: dict, said: str) -> None:
    given = {k: v for k, v in (arrays() | change).items() if v is not None}
    with pytest.raises(EncoderError, match=said):
        read_log(save_log(tmp_path / "a.npz", **given))


class Nasty:
    def __reduce__(self):
        return (exec, ("raise AssertionError('it was run')",))


def test_nothing_in_a_log_is_run_and_a_folder_without_logs_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"holds no logs of navigation \(\*\.npz\)"):
        read_logs(tmp_path)
    np.savez(tmp_path / "a.npz", **(arrays() | {"p_W": np.array([Nasty()] * 60, object)}))
    with pytest.raises(EncoderError, match=r"cannot be read as plain arrays"):
        read_logs(tmp_path)
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Nasty()))
    with pytest.raises(EncoderError, match=r"cannot be read as plain arrays"):
        read_logs(tmp_path)
    np.save(tmp_path / "a", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(EncoderError, match=r"has no array 'pictures'"):
        read_logs(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(EncoderError, match=r"cannot be read as plain arrays"):
        read_logs(tmp_path)


def test_steps_take_a_third_of_a_second_and_motions_are_read_from_the_poses(tmp_path: Path) -> None:
    drives = drives_of(logs(tmp_path, 2))
    frames = drives.then - drives.first
    assert len(drives) == 2 * (60 - 2)
    assert sorted(frames)[:3] == [2, 2, 3], "at the end of a drive one is a frame shorter"
    assert frames.max() == 3
    np.testing.assert_allclose(drives.motion[:, 0], 1.5 / 3.0, rtol=0.01)  # m/s in units of 3
    np.testing.assert_allclose(drives.motion[:, 1], 0.5 / 2.0, rtol=0.01)  # rad/s in units of 2, across the seam of pi
    assert set(drives.last) == {59, 119}, "no step and no goal leads from one drive into another"


def test_a_drive_is_cut_at_gaps_jumps_and_trouble(tmp_path: Path) -> None:
    stamps, places = 5.0 + np.arange(60) / HZ, arrays()["p_W"]
    stamps[20:] += 4.0
    places = places + np.where(np.arange(60) >= 40, 30.0, 0.0)[:, None]
    trouble = np.zeros(60, np.bool_)
    trouble[50] = True
    drives = drives_of([read_log(save_log(tmp_path / "a.npz", **arrays(stamp_s=stamps, p_W=places, trouble=trouble)))])
    assert set(drives.last) == {19, 39, 50, 59}
    assert not ((drives.first < 20) & (drives.then >= 20)).any()
    into = drives.first[drives.trouble]
    assert list(into) == [47, 48, 49], "short steps lead into trouble too"
    assert (drives.then[drives.trouble] == 50).all()
    far = arrays(stamp_s=5.0 + 2.0 * np.arange(60))
    with pytest.raises(EncoderError, match=r"hold no step of 0.3 s; their frames are too far apart"):
        drives_of([read_log(save_log(tmp_path / "b.npz", **far))])


def test_goals_lie_further_along_the_drive_or_around_the_robot(tmp_path: Path) -> None:
    drives = drives_of(logs(tmp_path))
    batch = Sampler(drives, shift=False).sample(np.random.default_rng(0), 3000)
    ahead, away = batch["seen"][:, 0], batch["seen"][:, 2] * 4.0
    np.testing.assert_allclose(np.linalg.norm(batch["seen"][:, :2], axis=1), 1.0, atol=1e-3)
    left = batch["seen"][:, 1]
    soon = (away > 0.2) & (away < 3.0)
    assert 0.7 < ((ahead > 0.0) & (left > -0.05))[soon].mean() < 0.97, "a drive to the left leads to places there"
    then_away = batch["next_seen"][:, 2] * 4.0
    np.testing.assert_array_equal(batch["reached"], (then_away < REACHED_M).astype(np.float32))
    assert 0.05 < batch["reached"].mean() < 0.4
    rows = np.random.default_rng(0).integers(len(drives), size=3000)
    np.testing.assert_array_equal(batch["picture"][5], drives.pictures[drives.first[rows[5]]])
    shifted = Sampler(drives).sample(np.random.default_rng(0), 50)
    assert shifted["picture"].shape == (50, 64, 64, 3)
    assert not np.array_equal(shifted["picture"], batch["picture"][:50])


def test_the_value_of_a_near_goal_is_higher_and_the_trunk_learns(tmp_path: Path) -> None:
    drives = drives_of(logs(tmp_path))
    agent, sampler, rng = Navigation(hidden=(32, 32), rate=2e-3), Sampler(drives), np.random.default_rng(0)
    state = agent.init(0)
    before = {k: np.array(v) for k, v in state.params["trunk"].items()}
    judged = Sampler(drives, shift=False).sample(np.random.default_rng(1), 256)
    first, info = agent.value_error(state, judged), {}
    for _ in range(60):
        state, info = agent.update(state, sampler.sample(rng, 32))
    assert agent.value_error(state, judged) < 0.5 * first
    assert all(np.isfinite(float(v)) for v in info.values())
    assert any(not np.array_equal(before[k], state.params["trunk"][k]) for k in before)


def test_pretraining_goes_on_where_it_stopped_and_comes_to_the_same(tmp_path: Path) -> None:
    found = logs(tmp_path / "logs")
    config = PretrainConfig(updates=6, batch_size=8, seed=1)
    whole = pretrain(tmp_path / "whole", found, config)
    assert whole.complete
    asked = iter([False] * 3 + [True] * 9)
    half = pretrain(tmp_path / "parts", found, config, stopping=lambda: next(asked))
    assert not half.complete
    assert half.facts["updates"] == 3
    rest = pretrain(tmp_path / "parts", found, config)
    assert rest.complete
    assert rest.facts["encoder"] == whole.facts["encoder"], "the same weights, to the last bit"
    assert rest.facts["drives"] == 2
    assert rest.facts["unseen_drives"] == 1
    assert read_json(tmp_path / "parts" / "pretrain.json")["unseen_error"] == whole.facts["unseen_error"]
    with pytest.raises(CheckpointError, match=r"learnt with other batch_size than now.*--out"):
        pretrain(tmp_path / "parts", found, PretrainConfig(updates=8, batch_size=16, seed=1))
    with pytest.raises(CheckpointError, match=r"learnt with other logs than now"):
        pretrain(tmp_path / "parts", found[:2], config)


@pytest.mark.parametrize("size", [64, 128])
def test_the_file_is_a_trunk_that_computes_what_was_learnt(tmp_path: Path, size: int) -> None:
    found = logs(tmp_path / "logs", 2)
    made = pretrain(tmp_path / "out", found, PretrainConfig(updates=2, batch_size=8, size=size))
    trunk = load_trunk(made.trunk)
    assert (trunk.name, trunk.size, trunk.output) == ("navigation", size, (8, 8, 32))
    picture = np.kron(found[0].pictures[3], np.ones((size // 64, size // 64, 1), np.uint8)).astype(np.uint8)
    params = {}
    for i, op in enumerate(op for op in trunk.ops if hasattr(op, "weight")):
        params |= {f"w{i}": op.weight, f"b{i}": op.bias}
    wanted = np.asarray(trunk_features(params, found[0].pictures[3][None]))[0]
    np.testing.assert_allclose(run_plainly(trunk, picture), wanted, atol=2e-4)
    field = feature_field(str(made.trunk), size, 5)
    assert field.shape == (5, 8, 8, 32)
    assert field.encoder == f"navigation/{made.facts['encoder'][:12]}"
    stored = trunk.quantise(wanted)
    active = stored[..., trunk.feature_std > 2e-3 * trunk.feature_std.max()]
    assert ((active > 0) & (active < 255)).mean() > 0.98, "the spread of its features fits their bytes"
    drawn = pretrain(tmp_path / "drawn", found, PretrainConfig(updates=0, size=size))
    assert load_trunk(drawn.trunk).name == "drawn"
    assert drawn.complete
    assert drawn.facts["encoder"] != made.facts["encoder"]


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"size is 100 pixels; allowed are multiples of 64"):
        PretrainConfig(size=100)
    with pytest.raises(ConfigError, match=r"updates is -1"):
        PretrainConfig(updates=-1)
    seen, unseen = held_out(logs(tmp_path, 1))
    assert (len(seen), len(unseen)) == (1, 0)
