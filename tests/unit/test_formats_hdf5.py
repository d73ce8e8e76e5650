"""The layout of robomimic: what its loader asks for, and what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from format_maker import a_run

from robot_rl.episodes.reader import Episode
from robot_rl.errors import ConfigError
from robot_rl.formats import robomimic


def opened(path: Path) -> Any:
    """Return a file whose groups are not told apart from its types by a checker."""
    return h5py.File(path)


def test_the_file_holds_steps_observations_and_masks(tmp_path: Path) -> None:
    selection = a_run(tmp_path / "run", "wrist", episodes=4)
    done = robomimic.export(selection, tmp_path / "demos.hdf5", valid=0.25)
    assert (done.episodes, done.samples, done.valid) == (4, 26, 1)
    with opened(tmp_path / "demos.hdf5") as file:
        data = file["data"]
        assert sorted(data) == ["demo_0", "demo_1", "demo_2", "demo_3"]
        assert data.attrs["total"] == 26
        environment = json.loads(data.attrs["env_args"])
        assert environment["env_name"] == "point"
        assert environment["type"] == 2
        assert environment["env_kwargs"]["spec"]["observation"]["state"]["width"][0] == 1
        train, valid = ([n.decode() for n in file[f"mask/{k}"]] for k in ("train", "valid"))
        assert sorted(train + valid) == sorted(data)
        assert len(valid) == 1
        for i, path in enumerate(selection.paths):
            episode, demo = Episode(path), data[f"demo_{i}"]
            steps, n = episode.steps, len(episode)
            assert demo.attrs["num_samples"] == n
            assert demo.attrs["success"]
            assert demo.attrs["file"] == path.name
            np.testing.assert_array_equal(demo["actions"], steps.executed)
            np.testing.assert_array_equal(demo["rewards"], steps.reward)
            assert demo["dones"][:].tolist() == [0] * (n - 1) + [1]
            np.testing.assert_array_equal(demo["obs/position"], steps.state[:, :3])
            np.testing.assert_array_equal(demo["next_obs/width"], steps.next_state[:, 3:])
            frames = episode.cameras()["wrist", False]
            for name, first in (("obs", 0), ("next_obs", 1)):
                pictures = demo[f"{name}/wrist_image"][:]
                assert pictures.dtype == np.uint8
                np.testing.assert_array_equal(pictures, np.stack(frames[first : n + first]))


def test_a_time_limit_is_no_end_of_the_task(tmp_path: Path) -> None:
    robomimic.export(a_run(tmp_path / "run", success=False, episodes=1), tmp_path / "demos.hdf5")
    with opened(tmp_path / "demos.hdf5") as file:
        demo = file["data/demo_0"]
        assert not demo["dones"][:].any()
        assert demo["truncated"][-1] == 1
        assert not demo.attrs["success"]


def test_without_validation_there_is_no_such_mask(tmp_path: Path) -> None:
    selection = a_run(tmp_path / "run")
    robomimic.export(selection, tmp_path / "demos.hdf5", valid=0.0)
    with opened(tmp_path / "demos.hdf5") as file:
        assert list(file["mask"]) == ["train"]
    with pytest.raises(ConfigError, match=r"--valid is 1\.0; it must lie in 0 to 1"):
        robomimic.export(selection, tmp_path / "other.hdf5", valid=1.0)
