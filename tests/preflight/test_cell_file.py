from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.cell_file import bounds_hash, cell_hash, load_cell, save_cell
from robot_rl.config import compose, compose_run
from robot_rl.errors import ConfigError, RobotRLError

MEASURED = Cell(name="bench", address="172.16.0.2", bounds=Box(min_m=(0.3, -0.2, 0.01), max_m=(0.6, 0.2, 0.4)))

_metres = st.floats(-1.2, 1.2, allow_nan=False)
_corners = st.tuples(_metres, _metres)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    sides = [sorted(draw(_corners.filter(lambda c: c[0] != c[1]))) for _ in range(3)]
    return Box(min_m=tuple(s[0] for s in sides), max_m=tuple(s[1] for s in sides))


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
settings_of_things = st.dictionaries(words, st.one_of(words, st.integers(), st.booleans(), st.lists(st.integers())))
cells = st.builds(
    Cell,
    name=words,
    address=words,
    bounds=st.none() | boxes(),
    keep_out=st.lists(boxes(), max_size=2).map(tuple),
    cameras=st.dictionaries(words, settings_of_things, max_size=2),
    gripper=settings_of_things,
)


@given(cell=cells)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cells") / "cell.yaml"
    save_cell(path, cell)
    assert load_cell(path) == cell
    assert cell_hash(load_cell(path)) == cell_hash(cell)


@given(box=boxes(), other=boxes())
@settings(max_examples=30, deadline=None)
def test_the_hash_of_the_bounds_tells_boxes_apart(box: Box, other: Box) -> None:
    same = bounds_hash(Cell(bounds=box)) == bounds_hash(Cell(name="another", address="x", bounds=other))
    assert same == (box == other)
    assert bounds_hash(Cell()) == ""


def test_each_old_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    texts = []
    for i in range(3):
        backup = save_cell(path, Cell(name=f"cell {i}"))
        assert (backup is None) == (i == 0)
        if backup is not None:
            assert backup.read_text() == texts[-1]
        texts.append(path.read_text())
    assert len(list(tmp_path.iterdir())) == 3


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    save_cell(folder / "cell.yaml", MEASURED)
    (tmp_path / "file").write_text("")
    with pytest.raises(RobotRLError, match="nothing was changed"):
        save_cell(tmp_path / "file" / "cell.yaml", MEASURED)
    assert load_cell(folder / "cell.yaml") == MEASURED


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adress: 172.16.0.2", "Did you mean 'address'"),
        ("bounds: {min_m: [0, 0, 0], max_n: [1, 1, 1]}", "Did you mean 'bounds.max_m'"),
        ("bounds: {min_m: [0, 0], max_m: [1, 1, 1]}", r"bounds.min_m is \[0, 0\]; allowed: a list of 3"),
        ("bounds: {min_m: [0, 0, 1], max_m: [1, 1, 1]}", "min_m below max_m"),
        ("bounds: {min_m: [0, 0, .nan], max_m: [1, 1, 1]}", "finite"),
        ("bounds: {min_m: [0, 0, 0], max_m: [1, 1, 1]}\nbounds: null", "line 2, sets 'bounds' twice"),
        ("name: [", "not valid YAML"),
        ("- name", "holds list"),
        ("name: 3", "name is 3; allowed: text"),
        ("cameras: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "cell.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        load_cell(path)
    assert str(path) in str(error.value)


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="calibrate bounds --cell"):
        load_cell(tmp_path / "none.yaml")


def test_a_box_must_be_finite_and_know_its_points() -> None:
    with pytest.raises(ConfigError):
        Box(min_m=(0.0, 0.0, -math.inf), max_m=(1.0, 1.0, 1.0))
    box = MEASURED.bounds
    assert box.contains((0.3, 0.0, 0.4))
    assert not box.contains((0.3, 0.0, 0.41))
    assert box.sides_m == pytest.approx((0.3, 0.4, 0.39))


def test_a_cell_is_chosen_by_name_or_by_file(tmp_path: Path) -> None:
    path = tmp_path / "my_cell.yaml"
    save_cell(path, MEASURED)
    assert compose().settings().cell == Cell()
    assert compose(["cell=example"]).settings().cell.address == "172.16.0.2"
    composed = compose([f"cell={path}", "cell.address=10.0.0.1"])
    assert composed.choices["cell"] == str(path)
    assert composed.settings().cell.bounds == MEASURED.bounds
    assert composed.settings().cell.address == "10.0.0.1"
    with pytest.raises(ConfigError, match=r"there is no cell 'exampel'.*Did you mean 'example'"):
        compose(["cell=exampel"])
    with pytest.raises(ConfigError, match=r"there is no cell file nowhere\.yaml"):
        compose(["cell=nowhere.yaml"])


def test_a_run_keeps_its_cell_when_the_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "my_cell.yaml"
    save_cell(path, Cell(name="bench", cameras={"front": {"serial": "123"}}, bounds=MEASURED.bounds))
    composed = compose([f"cell={path}"])
    (tmp_path / "config.yaml").write_text(composed.text())
    path.unlink()
    again = compose_run(tmp_path)
    assert again.settings().cell == composed.settings().cell
    assert again.choices["cell"] == str(path)
    assert compose_run(tmp_path, ["cell=twin"]).settings().cell == Cell()
