"""Videos hold the frames that were written, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError, ConfigError, SpecError, StorageError
from robot_rl.video import VideoWriter, caption, episode_caption, read_frame, tile

av = pytest.importorskip("av")
pytest.importorskip("cv2")


def flat(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(
    height=st.integers(16, 65), width=st.integers(16, 65), n=st.integers(1, 12), fps=st.sampled_from([10, 12.5, 29.97])
)
def test_a_video_returns_its_frames_at_their_times(tmp_path: Path, height: int, width: int, n: int, fps: float) -> None:
    path = tmp_path / "v.mp4"
    values = [10 + 20 * i for i in range(n)]
    with VideoWriter(path, fps) as video:
        for value in values:
            video.write(flat(value, height, width))
    for i, value in enumerate(values):
        frame = read_frame(path, (i + 0.5) / fps)
        assert frame.shape == (height + height % 2, width + width % 2, 3)
        assert abs(float(frame.mean()) - value) < 4.0
    assert abs(float(read_frame(path, 1e3).mean()) - values[-1]) < 4.0


def test_colours_are_not_swapped(tmp_path: Path) -> None:
    red = flat(0)
    red[..., 0] = 220
    with VideoWriter(tmp_path / "v.mp4", 10, (48, 64)) as video:
        video.write(red)
    r, g, b = read_frame(tmp_path / "v.mp4", 0.0).reshape(-1, 3).mean(0)
    assert r > 180
    assert max(g, b) < 40


def test_the_file_plays_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with VideoWriter(path, 20) as video:
        for i in range(30):
            video.write(flat(i))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays while it loads
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.frames == 30
        assert float(stream.average_rate) == pytest.approx(20.0)


def test_an_unfinished_video_never_replaces_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with VideoWriter(path, 10) as video:
        video.write(flat(200))
    with pytest.raises(RuntimeError, match="arm stopped"), VideoWriter(path, 10) as video:  # noqa: PT012
        video.write(flat(10))
        raise RuntimeError("arm stopped")
    assert read_frame(path, 0.0).mean() > 190
    assert os.listdir(tmp_path) == ["v.mp4"]


def test_a_video_without_frames_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 10) as video:
        pass
    assert video.close() is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("frame", [flat(1).astype(np.float32), flat(1)[..., 0], flat(1)[..., :2], flat(1, 0)])
def test_what_is_no_picture_is_refused(tmp_path: Path, frame: np.ndarray) -> None:
    with pytest.raises(SpecError, match=r"\(height, width, 3\) uint8"):
        VideoWriter(tmp_path / "v.mp4", 10).write(frame)


def test_frames_of_another_size_and_impossible_rates_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 10) as video:
        video.write(flat(1))
        with pytest.raises(SpecError, match=r"\(48, 64\) \(height, width\), got \(50, 64\)"):
            video.write(flat(1, 50))
    with pytest.raises(ConfigError, match="frames per second"):
        VideoWriter(tmp_path / "w.mp4", 0)


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, sys; import numpy as np; from pathlib import Path; from robot_rl.video import VideoWriter\n"
        "from robot_rl.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        "rng = np.random.default_rng(0)\n"
        "try:\n"
        "    with VideoWriter(Path(sys.argv[1]), 10) as video:\n"
        "        for _ in range(20): video.write(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))\n"
        "except StorageError: sys.exit(0)\n"
        "sys.exit(1)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "v.mp4")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write the video"):
        VideoWriter(tmp_path / "file" / "v.mp4", 10).write(flat(1))


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    for name in ("v.mp4", "missing.mp4"):
        with pytest.raises(CheckpointError, match=name):
            read_frame(tmp_path / name, 0.0)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3), st.integers(2, 50))
def test_tiles_have_one_height_and_keep_their_proportions(sizes: list[tuple[int, int]], height: int) -> None:
    tiled = tile([flat(50 * i, h, w) for i, (h, w) in enumerate(sizes)], height)
    assert tiled.shape == (height, sum(max(round(w * height / h), 1) for h, w in sizes), 3)
    assert tiled[0, 0, 0] == 0
    assert tiled[-1, -1, 0] == 50 * (len(sizes) - 1)


def test_tiling_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="no image to tile"):
        tile({})


def test_a_caption_leaves_the_picture_alone_and_writes_below_it() -> None:
    picture = flat(90, 120, 160)
    plain = caption(picture, "")
    shown = episode_caption(picture, episode=0, t_s=1.5, success=True)
    failed = episode_caption(picture, episode=0, t_s=1.5, success=False)
    np.testing.assert_array_equal(shown[:120], picture)
    assert shown.shape == plain.shape == failed.shape
    assert shown[120:].max() > plain[120:].max()
    assert (shown != failed).any()
    assert caption(flat(0, 10, 20), "a text far too long for so small a picture").shape == (26, 20, 3)
