from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.config import compose
from robot_rl.errors import ConfigError
from robot_rl.practice.graph import Graph, NodeConfig, PracticeConfig

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def edges(draw: st.DrawFn) -> dict[str, tuple[str, str]]:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    to = st.sampled_from(names)
    return {name: (draw(to), draw(to)) for name in names}


def config_of(edges: Mapping[str, tuple[str, str]]) -> PracticeConfig:
    return PracticeConfig(nodes={n: NodeConfig(on_success=s, on_failure=f) for n, (s, f) in edges.items()})


def reached(edges: Mapping[str, tuple[str, str]], start: str) -> set[str]:
    """By brute force: follow every edge as often as there are nodes."""
    found = {start}
    for _ in edges:
        found |= {to for name in found for to in edges[name]}
    return found


@given(edges())
def test_a_graph_is_accepted_exactly_when_every_node_leads_to_every_other(edges: dict[str, tuple[str, str]]) -> None:
    whole = all(reached(edges, name) == set(edges) for name in edges)
    if not whole:
        with pytest.raises(ConfigError, match=r"no edge ever leads to '.'"):
            config_of(edges)
        return
    graph = Graph(config_of(edges))
    for name in graph.nodes:
        assert graph.reachable(name)[0] == name
        assert sorted(graph.reachable(name)) == sorted(edges), "each once"
        assert (graph.follows(name, success=True), graph.follows(name, success=False)) == edges[name]


@given(edges(), st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES))
def test_the_next_node_may_begin_and_is_the_wanted_one_if_that_may(
    edges: dict[str, tuple[str, str]], begins: set[str], wanted: str
) -> None:
    if wanted not in edges or any(reached(edges, name) != set(edges) for name in edges):
        return
    chosen = Graph(config_of(edges)).choose(wanted, lambda name: name in begins)
    assert (chosen is None) == (not begins & set(edges)), "there is a next node as long as any may begin"
    assert chosen is None or chosen in begins
    assert wanted not in begins or chosen == wanted


def test_forward_and_backward_take_turns_by_success_and_a_failure_is_tried_again() -> None:
    graph = Graph(compose(["task=bin_relocate", "practice=forward_backward"]).settings().practice)
    assert graph.nodes == ("forward", "backward")
    for node, other in (("forward", "backward"), ("backward", "forward")):
        assert graph.follows(node, success=True) == other
        assert graph.follows(node, success=False) == node


@pytest.mark.parametrize(
    ("nodes", "more", "sentence"),
    [
        ({"a": NodeConfig(on_success="bb")}, {}, r"nodes\.a\.on_success is 'bb'; there are the nodes a"),
        ({"../x": NodeConfig()}, {}, r"'\.\./x'; a node's name is made of letters"),
        ({"a": NodeConfig()}, {"first": "c"}, r"first is 'c'; there are the nodes a"),
        ({"a": NodeConfig()}, {"rungs": ("regrasp",)}, r"'ask' must be the last"),
        ({"a": NodeConfig()}, {"rungs": ("ask", "ask")}, r"each may be there once"),
    ],
)
def test_a_mistake_in_the_graph_is_told(nodes: dict[str, NodeConfig], more: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        PracticeConfig(nodes=nodes, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("practice.motion.speed_m_s=0", r"practice\.motion\.speed_m_s is 0\.0; it must be positive"),
        ("practice.trouble.tries=-1", r"practice\.trouble\.tries is -1"),
        ("practice.ask.webhook=ftp://x", r"must begin with http"),
        ("practice.rungs=[lift,ask]", r"practice\.rungs\[0\] is 'lift'; allowed: one of put_down"),
        ("practice.nodes.forward.on_succes=backward", r"there is no setting 'practice\.nodes\.forward\.on_succes'"),
        (
            "practice.nodes.forward.start=3",
            r"practice\.nodes\.forward\.start is 3; allowed: text or a group with a _target_",
        ),
        ("mode=two_process", r"takes turns in one process: mode=single"),
        ("agent=bc", r"algorithm is bc, which practises nothing"),
    ],
)
def test_a_wrong_setting_is_told(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose(["task=bin_relocate", "practice=forward_backward", override]).settings()


def test_without_a_practice_nothing_is_different() -> None:
    assert not compose(["task=reach"]).settings().practice.on
