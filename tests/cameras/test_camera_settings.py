"""Which cameras are meant by a cell and a command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_rl.cli.camera_settings import cameras_of, compose_cameras
from robot_rl.errors import ConfigError
from robot_rl_hardware.cameras.settings import OF_KIND, camera_settings


def test_the_yaml_of_each_kind_says_what_the_code_says() -> None:
    for kind in OF_KIND:
        words = [f"camera={kind}"]
        assert cameras_of(compose_cameras(words, []), words) == {"front": camera_settings({"kind": kind})}


def test_a_cell_s_cameras_are_what_the_cell_says_and_the_command_line_adds(tmp_path: Path) -> None:
    cell = tmp_path / "cell.yaml"
    cell.write_text(
        json.dumps({"cameras": {"a": {"kind": "realsense", "serial": "01"}, "b": {"kind": "opencv", "device": 2}}})
    )
    words = [f"cell={cell}", "camera.fps=15"]
    made = cameras_of(compose_cameras(words, []), words)
    assert list(made) == ["a", "b"]
    assert (made["a"].device, made["a"].kind, made["a"].fps) == ("01", "realsense", 15)
    assert (made["b"].device, made["b"].fps, made["b"].width) == (2, 15, 640)
    words = [f"cell={cell}", "names=[b]"]
    assert list(cameras_of(compose_cameras(words, []), words)) == ["b"]
    words = [f"cell={cell}", "camera=opencv", "names=[a,c]"]
    made = cameras_of(compose_cameras(words, []), words)
    assert (made["a"].kind, made["a"].device, made["c"].kind) == ("realsense", "01", "opencv")
    words = [f"cell={cell}", "names=[a]", "camera.device=/dev/video7"]
    assert cameras_of(compose_cameras(words, []), words)["a"].device == "/dev/video7"
    words = [f"cell={cell}", "camera.device=3"]
    with pytest.raises(ConfigError, match="one device, and a, b are meant"):
        cameras_of(compose_cameras(words, []), words)
    words = [f"cell={cell}", "camera=twin"]
    assert {name: one.kind for name, one in cameras_of(compose_cameras(words, []), words).items()} == {
        "a": "twin", "b": "twin",
    }  # fmt: skip
    words = [f"cell={cell}", "camera=opencv"]
    assert list(cameras_of(compose_cameras(words, []), words, replace=True)) == ["front"]
