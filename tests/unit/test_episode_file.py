"""What goes into an episode file comes out of it, here and in two libraries that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from episode_maker import make_episode, make_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, end_of, start_of, to_text
from robot_rl.episodes.folder import entry, episode_files, find_files
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.errors import CheckpointError, ConfigError


def test_an_episode_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        made = make_episode(
            recorder, n=7, cameras=("wrist", "side"), seed=3, config="a: 1\n", calibration={"wrist": [1.5, 2.5]},
            changes={2: {"source": "human"}, 4: {"guard_events": ("box", "step")}},
        )  # fmt: skip
    episode = Episode(tmp_path / "000001.mcap")
    steps = episode.steps
    assert len(steps) == steps.gap == 7
    assert episode.cut == ""
    assert episode.success is True
    states = np.array([o["state"] for o in made.observations])
    assert np.array_equal(steps.state, states[:-1])
    assert np.array_equal(steps.next_state, states[1:])
    assert np.array_equal(steps.action, [s["action"] for s in made.steps])
    assert np.array_equal(steps.executed, [s["executed"] for s in made.steps])
    assert steps.source == [s["source"] for s in made.steps]
    assert steps.guard_events[4] == ["box", "step"]
    assert list(steps.policy_version) == list(range(100, 107))
    assert list(steps.terminated) == [False] * 6 + [True]
    for (camera, full), frames in episode.cameras().items():
        assert not full
        assert list(frames.observation) == list(range(8))
        for frame, observation in zip(frames, made.observations, strict=True):
            assert np.array_equal(frame, observation[camera])
    assert episode.start.seed == 3
    assert (episode.start.config, episode.start.calibration) == ("a: 1\n", {"wrist": [1.5, 2.5]})
    assert episode.end == EpisodeEnd(
        steps=7, success=True, terminated=True, reason="done", total_reward=1.0, duration_s=episode.end.duration_s,
        sources={"policy": 6, "human": 1}, guard={"box": 1, "step": 1},
    )  # fmt: skip


def test_readings_of_the_robot_come_back_bit_for_bit(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        made = make_episode(recorder, n=4)
    found = Episode(tmp_path / "000001.mcap").readings()
    assert len(found) == 5
    for a, b in zip(found, made.readings, strict=True):
        for name in ("q", "dq", "p_BE", "quat_BE", "V_BE", "F_BE"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert (a.gripper_width_m, a.gripper_closing) == (b.gripper_width_m, b.gripper_closing)
        assert np.array_equal(a.objects["cube"], b.objects["cube"])
        assert a.stamp_s == pytest.approx(b.stamp_s, abs=1e-9)


numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
steps_strategy = st.lists(
    st.tuples(
        st.lists(numbers, min_size=7, max_size=7), numbers, st.lists(st.text(max_size=8), max_size=3),
        st.sampled_from(["policy", "human", "demo"]),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps_strategy)
def test_any_numbers_and_words_survive(tmp_path: Path, steps) -> None:
    changes = {
        k: {
            "action": np.array(a, np.float32),
            "reward": r,
            "guard_events": [w.replace("\0", "") for w in e],
            "source": s,
        }
        for k, (a, r, e, s) in enumerate(steps)
    }
    found = Episode(make_file(tmp_path, n=len(steps), changes=changes)).steps
    assert np.array_equal(found.action, [c["action"] for c in changes.values()], equal_nan=True)
    assert np.array_equal(found.reward, np.array([c["reward"] for c in changes.values()], np.float32), equal_nan=True)
    assert found.guard_events == [c["guard_events"] for c in changes.values()]
    assert found.source == [c["source"] for c in changes.values()]


def test_rosbags_decodes_every_topic(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    path = make_file(tmp_path, n=5, cameras=("wrist",))
    ours = Episode(path)
    with AnyReader([path]) as reader:
        assert {c.topic: c.msgcount for c in reader.connections} == ours.topics
        decoded = [(c.topic, reader.deserialize(raw, c.msgtype)) for c, _, raw in reader.messages()]
    assert len(decoded) == sum(ours.topics.values())
    rewards = [m.reward for topic, m in decoded if topic == "/rl/step"]
    assert np.array_equal(rewards, ours.steps.reward)
    picture = next(m for topic, m in decoded if topic == "/cameras/wrist/image/compressed")
    assert picture.format == "png"
    assert picture.data.tobytes() == ours.cameras()["wrist", False].encoded(0)


def test_mcap_and_its_ros_decoder_read_every_message_and_checksum(tmp_path: Path) -> None:
    from mcap.reader import make_reader
    from mcap.stream_reader import StreamReader
    from mcap_ros2.decoder import DecoderFactory

    path = make_file(tmp_path, n=5, cameras=("wrist",))
    ours = Episode(path)
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        counts = {c.topic: summary.statistics.channel_message_counts[i] for i, c in summary.channels.items()}
        assert counts == ours.topics
        decoded = [(channel.topic, found) for _, channel, _, found in reader.iter_decoded_messages()]
        assert [m.index for topic, m in decoded if topic == "/rl/step"] == [0, 1, 2, 3, 4]
        assert [m.name for m in reader.iter_metadata()] == ["robot_rl/start", "robot_rl/end"]
        file.seek(0)
        assert sum(1 for _ in StreamReader(file, validate_crcs=True).records) > 20


def test_both_stamps_are_kept(tmp_path: Path) -> None:
    episode = Episode(make_file(tmp_path, n=3))  # in lock-step, where the log's clock is the robot's
    at, logged = episode.stamps("/arm/current_pose")
    assert np.allclose(np.diff(at), 1e8, atol=1)
    assert np.array_equal(at, logged)
    real = Episode(make_file(tmp_path, n=3, real_time=True))
    at, logged = real.stamps("/arm/current_pose")
    assert np.allclose(np.diff(at), 1e8, atol=1)
    assert not np.array_equal(at, logged)  # handed over when it was handed over
    assert np.array_equal(real.steps.after_ns, at[1:])


def test_numbers_go_on_after_a_restart_and_two_recorders_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "000041.mcap.part").write_bytes(b"")  # left by a kill
    (tmp_path / "notes.txt").write_text("mine")
    with EpisodeRecorder(tmp_path) as one, EpisodeRecorder(tmp_path) as two:
        for seed in range(3):
            make_episode(one, n=2, seed=seed)
            make_episode(two, n=2, seed=10 + seed)
    names = [p.name for p in episode_files(tmp_path)]
    assert names == ["000041.mcap.part", *(f"0000{i}.mcap" for i in range(42, 48))]
    assert sorted(Episode(p).start.seed for p in episode_files(tmp_path)[1:]) == [0, 1, 2, 10, 11, 12]


def test_a_listing_reads_the_end_alone_and_agrees_with_reading_all(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path / "run" / "episodes") as recorder:
        make_episode(recorder, n=3)
        make_episode(recorder, n=4, success=False, verdict="discard")
    files = find_files([tmp_path])
    assert files == find_files([tmp_path / "run"]) == find_files([tmp_path / "run" / "episodes"]) == find_files(files)
    for path in files:
        listed, episode = entry(path), Episode(path)
        assert (listed.start, listed.end, listed.steps, listed.trouble) == (
            episode.start,
            episode.end,
            len(episode),
            "",
        )
        assert listed.size == episode.size
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no episodes"):
        find_files([tmp_path / "empty"])
    with pytest.raises(ConfigError, match="does not exist"):
        find_files([tmp_path / "nowhere"])


def test_what_is_no_episode_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from mcap.writer import Writer

    text = tmp_path / "000001.mcap"
    text.write_text("not an episode")
    with pytest.raises(CheckpointError, match="is no MCAP file"):
        Episode(text)
    bag = tmp_path / "000002.mcap"
    with open(bag, "wb") as file:
        writer = Writer(file)
        writer.start()
        writer.finish()
    with pytest.raises(CheckpointError, match="no episode that robot_rl recorded"):
        Episode(bag)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        Episode(tmp_path / "000003.mcap")
    path = make_file(tmp_path, n=2)
    data = path.read_bytes()
    assert data.count(b"format\x01\x00\x00\x001") == 1
    path.write_bytes(data.replace(b"format\x01\x00\x00\x001", b"format\x01\x00\x00\x009"))
    with pytest.raises(CheckpointError, match="has format 9, this version of robot_rl reads format 1"):
        Episode(path)


def test_facts_are_text_and_come_back() -> None:
    start = EpisodeStart(
        task="a", spec={"x": [1]}, period_s=0.1, real_time=True, joint_names=("a", "b"), versions={"numpy": "2"},
        config="k: v", started="2026-01-01", robot="twin",
    )  # fmt: skip
    assert start_of(to_text(start)) == start
    end = EpisodeEnd(steps=3, success=True, verdict="failure", guard={"box": 2}, dropped={"side": 1})
    assert end_of(to_text(end)) == end
    assert not end.succeeded
    assert all(isinstance(v, str) for v in to_text(end).values())
    assert json.loads(to_text(end)["guard"]) == {"box": 2}
    with pytest.raises(ConfigError, match="allowed: success, failure, discard"):
        EpisodeEnd(steps=1, verdict="maybe")
