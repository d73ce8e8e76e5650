from __future__ import annotations

import contextlib
import dataclasses
import importlib
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.config import GROUPS, compose, compose_run, options, plain_defaults
from robot_rl.errors import CheckpointError, ConfigError, RobotRLError
from robot_rl.settings import Settings
from robot_rl.typed import Target, build, convert

CONF = Path(importlib.import_module("robot_rl.conf").__path__[0])


PRIMARY = {"driver": "node", "car_driver": "car_node"}
"""Where a group belongs that a training has no use for."""


def sentence(*overrides: str) -> str:
    """Return what a user is told for overrides that are wrong."""
    with pytest.raises(ConfigError) as told:
        compose(overrides).settings().task.make()
    return str(told.value)


def test_every_option_of_every_group_composes_and_is_valid() -> None:
    for group, names in options().items():
        assert names
        if group == "camera":
            continue  # composed by the camera node's own command, see tests/cameras
        for name in names:
            composed = compose([f"{group}={name}"], PRIMARY.get(group, "train"))
            assert composed.choices[group] == name
            if group not in PRIMARY:
                composed.settings()


def test_every_target_can_be_imported_and_takes_its_settings() -> None:
    paths = {t for p in CONF.rglob("*.yaml") for t in re.findall(r"_target_:\s*(\S+)", p.read_text())}
    assert paths
    for path in paths:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    for task in options()["task"]:
        chosen = compose([f"task={task}"]).settings()
        assert chosen.task.make().name == task
        chosen.expert.make()


def test_yaml_names_no_setting_that_does_not_exist() -> None:
    for path in CONF.rglob("*.yaml"):
        text = path.read_text()
        if "@package _global_" in text:
            known = set(plain_defaults()) | {"task", "robot", "expert", "operator", "defaults"}
            assert set(yaml.safe_load(text)) <= known, path


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["agent.critcs=3"], "there is no setting 'agent.critcs'. Did you mean 'agent.critics'?"),
        (["task=pick_cub"], "Did you mean 'pick_cube'?"),
        (["task=pick_cub"], "there is no task 'pick_cub'; there are"),
        (["tsk=reach"], "there is no setting 'tsk'. Did you mean 'task'?"),
        (["agent.batch_size=-1"], "agent.batch_size is -1; allowed: a whole number of at least 1"),
        (["agent.batch_size=big"], "agent.batch_size is 'big'; allowed: a whole number"),
        (["agent.batch_size=1.5"], "agent.batch_size is 1.5; allowed: a whole number"),
        (["agent.layer_norm=1"], "agent.layer_norm is 1; allowed: true or false"),
        (["learner.gamma=2"], "learner.gamma is 2.0"),
        (["learner.total_env_steps=0"], "learner.total_env_steps is 0"),
        (["mode=singel"], "mode is 'singel'; allowed: one of two_process, single. Did you mean 'single'?"),
        (["seed=???"], "seed has no value; set it with seed="),
        (["seed=-1"], "seed is -1"),
        (["actors=0"], "actors is 0"),
        (["actors=2", "mode=single"], "with mode=single it must be 1"),
        (["demos=-3"], "demos is -3"),
        (["demos=0", "agent=bc"], "behaviour cloning"),
        (["foo"], "'foo' is no setting; write it as name=value"),
        (["seed={a"], "'seed={a' cannot be read"),
        (["robot.physics_dt=0.01"], "Did you mean 'robot.physics_dt_s'?"),
        (["task.area_x_m=[1,2,3]"], "task.area_x_m is [1, 2, 3]; allowed: a list of 2"),
        (["+task.speed=1"], "there is no setting 'task.speed'"),
        (["link.address=nowhere"], "link.address is 'nowhere'"),
        (["checkpoint.every_s=0"], "checkpoint.every_s is 0.0; it must be positive"),
        (["agent=null"], "there is no agent 'null'; there are bc, hgdagger, iql, rlpd"),
        (["experiment=null"], "there is no experiment 'null'"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(overrides: list[str], told: str) -> None:
    found = sentence(*overrides)
    assert told in found
    assert "\n" not in found


def test_defaults_are_written_once() -> None:
    defaults = plain_defaults()
    composed = compose(["task=reach"]).values
    for name in ("actor", "checkpoint", "metrics", "supervisor"):
        assert composed[name] == defaults[name]
    assert dataclasses.asdict(build(Settings, {**composed}).actor) == defaults["actor"]


def test_a_user_adds_a_task_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    text = (CONF / "task" / "reach.yaml").read_text().replace("max_steps: 50", "max_steps: 77")
    (tmp_path / "task" / "far_reach.yaml").write_text(text)
    composed = compose(["task=far_reach"], config_dirs=[str(tmp_path)])
    assert composed.task == "far_reach"
    assert composed.settings().task.make().max_steps == 77
    with pytest.raises(ConfigError, match="far_reach"):
        compose(["task=far_reech"], config_dirs=[str(tmp_path)])
    with pytest.raises(ConfigError, match="is no folder"):
        compose(["task=reach"], config_dirs=[str(tmp_path / "nowhere")])


def test_a_run_is_read_back_as_it_was_started(tmp_path: Path) -> None:
    before = compose(["task=reach", "agent.critics=3", "seed=7", "robot.image_size=64"])
    (tmp_path / "config.yaml").write_text(before.text())
    after = compose_run(tmp_path)
    assert after.settings() == before.settings()
    assert after.choices == before.choices
    assert compose_run(tmp_path, ["seed=8"]).settings().seed == 8
    assert compose_run(tmp_path, ["seed=8"]).settings().agent.critics == 3


def test_a_recorded_target_is_never_followed(tmp_path: Path) -> None:
    text = compose(["task=reach"]).text().replace("robot_rl_tasks.reach.Reach", "os.system")
    (tmp_path / "config.yaml").write_text(text)
    assert compose_run(tmp_path).settings().task.path == "robot_rl_tasks.reach.Reach"


@pytest.mark.parametrize("text", ["", "seed: 1", "{a: [", "choices: {task: gone}", "- 1", "choices: 3"])
def test_a_damaged_record_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RobotRLError) as told:
        compose_run(tmp_path)
    assert "\n" not in str(told.value)


def test_a_missing_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing"):
        compose_run(tmp_path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    needed: float
    inner: Inner = dataclasses.field(default_factory=Inner)
    pair: tuple[float, float] = (0.0, 1.0)
    words: tuple[str, ...] = ()
    maybe: int | None = None


def test_plain_values_become_typed_ones() -> None:
    made = build(Outer, {"needed": 1, "inner": {"size": 2}, "pair": [3, 4], "words": ["a"], "maybe": None})
    assert made == Outer(needed=1.0, inner=Inner(size=2), pair=(3.0, 4.0), words=("a",))
    assert isinstance(made.needed, float)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "needed has no value"),
        ({"needed": True}, "needed is True; allowed: a number"),
        ({"needed": 1, "inner": 3}, "inner is 3; allowed: a group of settings"),
        ({"needed": 1, "inner": {"sise": 3}}, "there is no setting 'inner.sise'. Did you mean 'inner.size'?"),
        ({"needed": 1, "words": "abc"}, "words is 'abc'; allowed: a list"),
        ({"needed": 1, "pair": [1, "x"]}, "pair[1] is 'x'; allowed: a number"),
        ({"needed": 1, "maybe": "x"}, "maybe is 'x'; allowed: a whole number"),
        ({"needed": None}, "needed is nothing; allowed: a number"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Outer, values)
    assert told in str(error.value)


def test_a_target_that_does_not_exist_is_a_sentence() -> None:
    for path in ("nowhere.at.All", "robot_rl.typed.Nothing", "robot_rl.nothing.X"):
        with pytest.raises(ConfigError, match=r"task\._target_"):
            Target(path=path, where="task").make()
    with pytest.raises(ConfigError, match="needs a _target_"):
        convert(Target, {"a": 1}, "task")


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(["seed", "agent.critics", "task", "learner", "robot.cameras", "x.y"]), value=TEXT)
def test_no_value_gives_a_traceback(name: str, value: str) -> None:
    with contextlib.suppress(RobotRLError):
        compose([f"{name}={value}"]).settings()


def test_the_groups_are_those_of_the_tree() -> None:
    assert sorted(GROUPS) == sorted(p.name for p in CONF.iterdir() if p.is_dir() and not p.name.startswith("__"))
