"""From episode files to blocks: what a learner gets is what the robot did, of this task, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from episode_maker import PERIOD_S, make_episode, make_file, specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl import demos
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.replay_source import demonstrations, holds_episodes, replay_blocks, to_block
from robot_rl.errors import CheckpointError
from robot_rl.messages import SOURCES
from robot_rl.replay import check_block
from robot_rl.specs import ObservationSpec


def test_a_block_holds_the_executed_actions_and_every_frame_once(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        made = make_episode(
            recorder, n=6, cameras=("wrist",), changes={2: {"source": "human"}, 3: {"guard_events": ("box",)}}
        )
    observation_spec, action_spec = specs("wrist")
    block = to_block(Episode(tmp_path / "000001.mcap"), observation_spec, action_spec, 9)
    check_block(block, observation_spec, action_spec)
    assert (block.episode, block.start, block.steps, block.ended, block.terminated) == (9, 0, 6, True, True)
    assert np.array_equal(block.states, [o["state"] for o in made.observations[:-1]])
    assert np.array_equal(block.final_state, made.observations[-1]["state"])
    assert np.array_equal(block.actions, [s["executed"] for s in made.steps])
    assert np.array_equal(block.images["wrist"], [o["wrist"] for o in made.observations[:-1]])
    assert np.array_equal(block.final_images["wrist"], made.observations[-1]["wrist"])
    assert [SOURCES[i] for i in block.sources] == [s["source"] for s in made.steps]
    assert list(block.policy_versions) == list(range(100, 106))
    assert dict(block.info) == {
        "success": True, "steps": 6, "return": 1.0, "reason": "done", "intervened": True,
        "duration_s": pytest.approx(6 * PERIOD_S), "guard/box": 1,
    }  # fmt: skip


def test_a_time_limit_does_not_terminate(tmp_path: Path) -> None:
    block = to_block(Episode(make_file(tmp_path, n=3, success=False)), *specs(), 0)
    assert block.ended
    assert not block.terminated
    assert block.info["success"] is False


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.0))
def test_a_cut_episode_gives_its_complete_steps_and_claims_no_end(tmp_path: Path, share: float) -> None:
    path = make_file(tmp_path / "whole", n=5)
    data = path.read_bytes()
    folder = tmp_path / "cut"
    folder.mkdir(exist_ok=True)
    part = folder / "000001.mcap.part"
    part.write_bytes(data[: round(share * (len(data) - 1))])
    blocks = list(replay_blocks(folder, *specs()))
    try:
        complete = len(Episode(part))
    except CheckpointError:
        complete = 0
    assert sum(b.steps for b in blocks) == complete
    whole = to_block(Episode(path), *specs(), 0)
    for block in blocks:
        assert np.array_equal(block.states, whole.states[:complete])
        assert np.array_equal(block.actions, whole.actions[:complete])
        assert block.terminated == (complete == 5)  # only the step that was recorded as the end is one
        assert block.ended


def test_only_successes_are_demonstrations_and_discarded_episodes_are_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "episodes"
    with EpisodeRecorder(folder) as recorder:
        for success, verdict in ((1, ""), (0, ""), (1, "discard"), (0, "success"), (1, "failure")):
            make_episode(recorder, n=3, success=bool(success), verdict=verdict)
        make_episode(recorder, n=3, end=False)
        recorder.wait()
        part = next(folder.glob("*.part"))
        (folder / "000099.mcap.part").write_bytes(part.read_bytes())  # what a kill would leave
    (folder / "000100.mcap.part").write_bytes(b"")
    assert holds_episodes(tmp_path / "run")
    assert not holds_episodes(tmp_path)
    blocks, rows, tried = demonstrations(tmp_path / "run", *specs())
    assert (len(blocks), tried) == (2 + 1, 6)  # the last one was ended when the recorder was closed, as a success
    assert [b.episode for b in blocks] == [r["episode"] for r in rows] == [0, 1, 2]
    assert all(r["source"] == "demo" and r["success"] and r["duration_s"] > 0 for r in rows)
    assert len(list(replay_blocks(tmp_path / "run", *specs()))) == 6


def test_episodes_of_another_task_are_refused_in_words(tmp_path: Path) -> None:
    make_file(tmp_path, n=2)
    observation_spec, action_spec = specs()
    fewer = ObservationSpec(state={"position": observation_spec.state["position"]})
    with pytest.raises(CheckpointError, match="recorded for 'point', another task: the episode has state width"):
        demonstrations(tmp_path, fewer, action_spec)
    with pytest.raises(CheckpointError, match="the task has image wrist, the episode does not have it"):
        demonstrations(tmp_path, *specs("wrist"))
    make_file(tmp_path / "failures", n=2, success=False)
    with pytest.raises(CheckpointError, match="nothing to imitate"):
        demonstrations(tmp_path / "failures", observation_spec, action_spec)


def test_a_task_that_looks_through_fewer_cameras_can_use_the_episode(tmp_path: Path) -> None:
    make_file(tmp_path, n=2, cameras=("wrist", "side"))
    blocks, _, _ = demonstrations(tmp_path, *specs("side"))
    assert list(blocks[0].images) == ["side"]
    assert demonstrations(tmp_path, *specs())[0][0].images == {}


def test_what_follows_a_damaged_part_is_not_joined_to_what_lies_before(tmp_path: Path) -> None:
    from robot_rl.episodes.scan import Scan, scan

    path = make_file(tmp_path, n=6)
    data = bytearray(path.read_bytes())
    data[[m.chunk for m in scan(path, Scan()) if m.topic == "/rl/step"][3] + 80] ^= 0xFF
    path.write_bytes(data)
    block = to_block(Episode(path), *specs(), 0)
    assert block.steps == 3
    assert not block.terminated
    assert block.info["reason"] == "the record was cut"
    assert block.info["success"] is False


def test_demos_are_loaded_from_the_episodes_of_a_killed_run(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "episodes"
    whole = make_file(folder, n=4, seed=1)
    make_file(folder, n=5, seed=2, success=False)
    data = whole.read_bytes()
    (folder / "000003.mcap.part").write_bytes(data[: len(data) // 2])
    for place in (tmp_path / "run", folder):
        found = demos.load(place, *specs())
        assert (len(found.blocks), found.tried) == (1, 3)
        assert np.array_equal(found.blocks[0].actions, Episode(whole).steps.executed)
        assert found.median_s == pytest.approx(4 * PERIOD_S)
    demos.save(tmp_path / "kept", found, *specs(), "point")
    again = demos.load(tmp_path / "kept", *specs())
    assert np.array_equal(again.blocks[0].states, found.blocks[0].states)
    with pytest.raises(CheckpointError, match="holds no demonstrations"):
        demos.load(tmp_path, *specs())
