"""Pickles are read as data: whatever is plain comes back the same, and nothing that stands in one is ever called."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError, WireError
from robot_rl.formats import unpickle
from robot_rl.formats.pickled_arrays import ALLOWED

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", ">f4", "i8", "u1", "?", "<U3", "S2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
NESTS = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=10,
)


def same(a: Any, b: Any) -> bool:
    """Return whether two nests are equal, types and all."""
    if isinstance(a, np.ndarray | np.generic):
        equal = np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
        return equal and type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def refusal(data: bytes) -> str:
    """Return why a pickle is refused, or that it is read."""
    try:
        unpickle.loads(data)
    except WireError as e:
        return str(e)
    return "is read"


@given(value=NESTS, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(deadline=None, max_examples=100)
def test_plain_values_and_arrays_come_back_the_same(value: Any, protocol: int) -> None:
    assert same(value, unpickle.loads(pickle.dumps(value, protocol)))


@given(data=st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    assert refusal(data).startswith("is ")


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), protocol=st.integers(0, 5))
@settings(deadline=None, max_examples=200)
def test_a_changed_byte_is_read_or_refused_in_words(at: int, byte: int, protocol: int) -> None:
    value = [{"a": np.arange(6, dtype="f4").reshape(2, 3), "b": (1, "text", None), "c": np.float64(1.5), "d": {1, 2}}]
    data = bytearray(pickle.dumps(value, protocol))
    data[at % len(data)] = byte
    assert refusal(bytes(data)).startswith("is ")


class Payload:
    """What an attacker puts into a pickle: a call of a function."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_make_a_file_is_refused_by_name_and_makes_none(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    path = tmp_path / "demos.pkl"
    path.write_bytes(pickle.dumps([{"observations": Payload(os.system, f"touch {made}")}], protocol))
    with pytest.raises(
        CheckpointError, match=r"demos.pkl is refused, and nothing in it was run: it holds '\w+\.system'"
    ):
        unpickle.load(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())  # the same file does harm in Python's own reader
    assert made.exists()


@given(
    module=st.text("abcnumpy._", min_size=1), name=st.text("abcndary_", min_size=1), protocol=st.sampled_from([0, 4])
)
@settings(deadline=None)
def test_a_name_that_is_not_allowed_is_refused(module: str, name: str, protocol: int) -> None:
    if (module, name) in ALLOWED:
        return
    if protocol == 0:
        data = f"c{module}\n{name}\n.".encode()
    else:
        data = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(w)]) + w.encode() for w in (module, name)) + b"\x93."
    with pytest.raises(WireError, match="is refused, and nothing in it was run"):
        unpickle.loads(data)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, None], dtype=object),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.ma.masked_array([1, 2]),
        Path("x"),
        collections.deque([1]),
        np.dtype("f4"),
        np.ndarray,
        1j,
        eval,
        slice(1),
    ],
    ids=repr,
)
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    for protocol in range(2, 6):
        with pytest.raises(WireError, match="is refused"):
            unpickle.loads(pickle.dumps([value], protocol))


def test_an_ordered_dictionary_and_a_fortran_array_are_plain_data() -> None:
    value = {"a": collections.OrderedDict(x=1), "b": np.asfortranarray(np.arange(6).reshape(2, 3))}
    found = unpickle.loads(pickle.dumps(value))
    assert found["a"] == {"x": 1}
    np.testing.assert_array_equal(found["b"], value["b"])


def test_what_would_fill_the_memory_or_never_end_is_refused() -> None:
    lie = pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")
    with pytest.raises(WireError, match=r"an array of shape \(2147483647,\) and type float64 has 24 bytes"):
        unpickle.loads(lie)
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(WireError, match="something in it holds itself"):
        unpickle.loads(pickle.dumps(itself))
    deep: Any = 1
    for _ in range(220):
        deep = [deep]
    with pytest.raises(WireError, match="nested deeper than 200"):
        unpickle.loads(pickle.dumps(deep))
    laughs: Any = ["ha"]
    for _ in range(60):  # each level holds the one below twice: 2**60 of them, if each were walked
        laughs = [laughs, laughs]
    found = unpickle.loads(pickle.dumps(laughs))
    assert found[0] is found[1]


def test_a_state_is_never_given_to_anything_but_an_array() -> None:
    for protocol, made in ((2, b"}"), (2, b"]"), (2, b"cnumpy\nndarray\n")):
        with pytest.raises(WireError, match="is refused"):
            unpickle.loads(b"\x80" + bytes([protocol]) + made + b"(X\x01\x00\x00\x00aK\x01tb.")


def test_a_cut_file_and_one_that_is_none_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "demos.pkl"
    whole = pickle.dumps([{"a": np.zeros(100)}])
    for data in (b"", b"no pickle\n", whole[:-1], whole[:40]):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"demos\.pkl is no pickle"):
            unpickle.load(path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        unpickle.load(tmp_path / "missing.pkl")
