"""What `mcap doctor` looks at, with the official library for Python: the command itself is a Go program, on no registry
for Python. Everything that a file says about itself must be so.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from episode_maker import a_start, make_episode, observed, reading

from robot_rl.cli import main
from robot_rl.episodes.recorder import EpisodeRecorder

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of every kind that is written: recorded with everything, trimmed, relabelled, repaired, merged."""
    folder = tmp_path_factory.mktemp("doctor")
    with EpisodeRecorder(folder / "run" / "episodes", pictures=True) as recorder:
        rng = np.random.default_rng(0)
        state = reading(rng, 0.0)
        recorder.begin(a_start("wrist", "side"), state, observed(rng, state, ("wrist", "side")))
        for k in range(1, 9):
            recorder.sample(reading(rng, 0.1 * k - 0.05))
            recorder.frame("wrist", FRAME, 0.1 * k - 0.04)
            state = reading(rng, 0.1 * k)
            seen = observed(rng, state, ("wrist", "side"))
            recorder.step(state, seen, np.zeros(7, np.float32), 1.0, False, k == 8, {"guard_events": ["box"]})
        recorder.end("success")
        make_episode(recorder, n=6, seed=1, cameras=("wrist", "side"))
        make_episode(recorder, n=6, seed=2, cameras=("wrist", "side"))
        make_episode(recorder, n=6, seed=3, cameras=("wrist", "side"))
    here = folder / "run" / "episodes"
    assert main(["data", "trim", str(here / "000002.mcap"), "--from", "1", "--to", "3"]) == 0
    assert main(["data", "relabel", str(here / "000003.mcap"), "--verdict", "failure"]) == 0
    cut = here / "000004.mcap"
    (here / "000004.mcap.part").write_bytes(cut.read_bytes()[:-5000])
    cut.unlink()
    assert main(["data", "repair", str(here / "000004.mcap.part")]) == 0
    assert main(["data", "merge", str(folder / "run"), "--out", str(folder / "all")]) == 0
    names = ("recorded", "trimmed", "relabelled", "repaired")
    return {name: here / f"00000{k}.mcap" for k, name in enumerate(names, 1)} | {
        "merged": folder / "all" / "episodes" / "000002.mcap"
    }


KINDS = ("recorded", "trimmed", "relabelled", "repaired", "merged")


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_a_file_says_of_itself_is_so(files: dict[str, Path], kind: str) -> None:
    from mcap import records
    from mcap.reader import SeekingReader, make_reader
    from mcap.stream_reader import StreamReader

    data = files[kind].read_bytes()
    assert data[:8] == data[-8:] == b"\x89MCAP0\r\n"
    found = list(StreamReader(io.BytesIO(data), validate_crcs=True).records)
    assert isinstance(found[0], records.Header)
    assert isinstance(found[-1], records.Footer)
    messages = [r for r in found if isinstance(r, records.Message)]
    summary = SeekingReader(io.BytesIO(data), validate_crcs=True).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    counted = summary.statistics
    assert counted.message_count == len(messages)
    assert counted.channel_message_counts == Counter(m.channel_id for m in messages)
    assert counted.chunk_count == len(summary.chunk_indexes)
    assert counted.metadata_count == sum(isinstance(r, records.Metadata) for r in found)
    assert (counted.channel_count, counted.schema_count) == (len(summary.channels), len(summary.schemas))
    times = [m.log_time for m in messages]
    assert (counted.message_start_time, counted.message_end_time) == (min(times), max(times))
    assert all(channel.schema_id in summary.schemas for channel in summary.channels.values())
    # The index by offsets: what it points at is there, and holds what it says.
    raw = list(StreamReader(io.BytesIO(data), emit_chunks=True, validate_crcs=True).records)
    assert sum(isinstance(r, records.Chunk) for r in raw) == len(summary.chunk_indexes)
    for index in summary.chunk_indexes:
        opcode, length = struct.unpack_from("<BQ", data, index.chunk_start_offset)
        assert (opcode, length + 9) == (6, index.chunk_length)
        start_ns, end_ns, _size, crc = struct.unpack_from("<QQQI", data, index.chunk_start_offset + 9)
        assert (start_ns, end_ns) == (index.message_start_time, index.message_end_time)
        assert crc != 0, "without a checksum damage goes unseen"
        for offset in index.message_index_offsets.values():
            assert data[offset] == 7  # a message index
    for index in summary.metadata_indexes:
        assert data[index.offset] == 12
        length = struct.unpack_from("<Q", data, index.offset + 1)[0]
        assert length + 9 == index.length
    # The checksum of the summary, which covers everything from its start to the checksum itself.
    footer = found[-1]
    assert footer.summary_crc == zlib.crc32(data[footer.summary_start : -12])
    # The index leads to the same messages as reading all of it.
    indexed = [m for _, _, m in make_reader(io.BytesIO(data), validate_crcs=True).iter_messages(log_time_order=False)]
    assert sorted((m.channel_id, m.sequence, m.data) for m in indexed) == sorted(
        (m.channel_id, m.sequence, m.data) for m in messages
    )
    last: dict[int, int] = {}
    for m in messages:
        assert m.log_time >= last.get(m.channel_id, 0), "a log's time never goes back"
        last[m.channel_id] = m.log_time


@pytest.mark.parametrize("kind", KINDS)
def test_two_other_libraries_decode_every_topic(files: dict[str, Path], kind: str) -> None:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory
    from rosbags.highlevel import AnyReader

    with open(files[kind], "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        by_ros2 = [(c.topic, m.publish_time, found) for _, c, m, found in reader.iter_decoded_messages()]
    with AnyReader([files[kind]]) as bag:
        by_rosbags = [(c.topic, bag.deserialize(raw, c.msgtype)) for c, _, raw in bag.messages()]
        topics = {c.topic: c.msgcount for c in bag.connections}
    assert Counter(topic for topic, *_ in by_ros2) == Counter(topic for topic, _ in by_rosbags) == topics
    wanted = {"/rl/step", "/arm/joint_states", "/arm/current_pose", "/arm/current_twist", "/arm/wrench"}
    wanted |= {"/arm/gripper/joint_states", "/arm/objects/cube"}
    wanted |= {f"/cameras/{name}/image/compressed" for name in ("wrist", "side")}
    wanted |= {"/cameras/wrist/image_full/compressed"} if kind == "recorded" else set()
    assert set(topics) == wanted
    steps = ([m for topic, _, m in by_ros2 if topic == "/rl/step"], [m for t, m in by_rosbags if t == "/rl/step"])
    for mine, theirs in zip(*steps, strict=True):
        assert mine.index == theirs.index
        assert list(mine.executed) == theirs.executed.tolist()
        assert (mine.source, mine.truncated, mine.reason) == (theirs.source, theirs.truncated, theirs.reason)
    assert [m.index for m in steps[0]] == list(range(len(steps[0])))
