"""The replay pairs every step with its true successor, whatever was dropped, interleaved or overwritten."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, SpecError
from robot_rl.messages import SOURCES, StepBlock
from robot_rl.replay import Mixed, Replay
from robot_rl.specs import ActionSpec, ContinuousGroup, ImageField, ObservationSpec, StateField

OBSERVATION = ObservationSpec(
    state={"stream": StateField(size=1, unit="1"), "where": StateField(size=2, unit="1")},
    images={"front": ImageField(height=2, width=3)},
)
ACTION = ActionSpec(continuous={"arm": ContinuousGroup(size=2, unit="m", scale=0.01)})
GAMMA = 0.5  # powers of a half are exact, so sums compare exactly

Key = tuple[int, int, int]  # stream, episode, step


class EveryIndex(np.random.Generator):
    """Draws 0, 1, 2, ...: one batch of the size of a replay then holds each of its steps once."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        shape = kwargs["size"]
        return (np.arange(math.prod(shape)) % args[0]).reshape(shape)


def state_of(key: Key) -> np.ndarray:
    return np.asarray(key, np.float32)


def image_of(key: Key) -> np.ndarray:
    return np.full((2, 3, 3), (key[0] * 101 + key[1] * 17 + key[2]) % 256, np.uint8)


def reward_of(key: Key) -> float:
    return float(key[0] * 64 + key[1] * 8 + key[2] % 8)


def block_of(stream: int, episode: int, start: int, n: int, end: str, sources: list[int] | None = None) -> StepBlock:
    keys = [(stream, episode, start + i) for i in range(n)]
    last = (stream, episode, start + n)
    ended = end in ("terminated", "truncated")
    return StepBlock(
        episode=episode,
        start=start,
        states=np.array([state_of(k) for k in keys], np.float32).reshape(n, 3),
        images={"front": np.array([image_of(k) for k in keys], np.uint8).reshape(n, 2, 3, 3)},
        actions=np.array([[k[2], -k[2]] for k in keys], np.float32).reshape(n, 2),
        rewards=np.array([reward_of(k) for k in keys], np.float32),
        sources=np.array(sources if sources is not None else [0] * n, np.uint8),
        policy_versions=np.zeros(n, np.int64),
        ended=ended,
        terminated=end == "terminated",
        final_state=state_of(last) if ended else np.zeros(0, np.float32),
        final_images={"front": image_of(last)} if ended else {},
    )


@dataclass
class Event:
    stream: int
    gap: int
    n: int
    end: str
    sources: list[int]


@st.composite
def events(draw: st.DrawFn) -> Event:
    n = draw(st.integers(0, 7))
    return Event(
        stream=draw(st.integers(0, 2)),
        gap=draw(st.sampled_from([0, 0, 0, 1, 2])),
        n=n,
        end=draw(st.sampled_from(["open", "open", "terminated", "truncated", "cut"])),
        sources=draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)),
    )


@dataclass
class Model:
    """The same history as plain lists: which frames were stored, and which were told to follow which."""

    capacity: int
    keep_sources: tuple[int, ...] = (0, 1, 2)
    frames: list[Key] = field(default_factory=list)
    followed: set[Key] = field(default_factory=set)
    failed: set[Key] = field(default_factory=set)
    waiting: dict[int, Key] = field(default_factory=dict)

    def add(self, block: StepBlock, stream: int) -> None:
        first = (stream, block.episode, block.start)
        previous = self.waiting.pop(stream, None)
        if previous is not None and (*previous[:2], previous[2] + 1) != first:
            previous = None
        for i in range(block.steps):
            key = (stream, block.episode, block.start + i)
            kept = block.sources[i] in self.keep_sources
            if previous is not None or kept:
                self.frames.append(key)
            if previous is not None:
                self.followed.add(previous)
            previous = key if kept else None
        if previous is None:
            return
        if block.ended:
            self.frames.append((stream, block.episode, block.start + block.steps))
            self.followed.add(previous)
            if block.terminated:
                self.failed.add(previous)
        else:
            self.waiting[stream] = previous

    def ready(self) -> set[Key]:
        return set(self.frames[-self.capacity :]) & self.followed

    def expected(self, key: Key, n_step: int) -> tuple[float, float, Key]:
        """Return reward sum, discount and the frame that the value is taken at."""
        ready, total = self.ready(), 0.0
        for k in range(n_step):
            here = (key[0], key[1], key[2] + k)
            total += GAMMA**k * reward_of(here)
            after = (key[0], key[1], key[2] + k + 1)
            if k == n_step - 1 or after not in ready:
                return total, 0.0 if here in self.failed else GAMMA ** (k + 1), after
        raise AssertionError


def play(history: list[Event]) -> list[tuple[int, StepBlock]]:
    """Turn events into blocks: gaps skip steps, an ended or cut episode is followed by the next."""
    episode, step, out = dict.fromkeys(range(3), 0), dict.fromkeys(range(3), 0), []
    for e in history:
        start = step[e.stream] + e.gap
        out.append((e.stream, block_of(e.stream, episode[e.stream], start, e.n, e.end, e.sources)))
        step[e.stream] = start + e.n
        if e.end != "open":
            episode[e.stream] += 1
            step[e.stream] = 0
    return out


def check_against(replay: Replay, model: Model) -> None:
    ready = model.ready()
    assert len(replay) == len(ready)
    if not ready:
        return
    batch = replay.sample(EveryIndex(), len(replay))
    found = [tuple(int(x) for x in s) for s in batch["state"]]
    assert set(found) == ready
    for i, key in enumerate(found):
        reward, discount, end = model.expected(key, replay.n_step)
        assert (batch["reward"][i], batch["discount"][i]) == (reward, discount)
        np.testing.assert_array_equal(batch["next_state"][i], state_of(end))
        np.testing.assert_array_equal(batch["image/front"][i], image_of(key))
        np.testing.assert_array_equal(batch["next_image/front"][i], image_of(end))
        np.testing.assert_array_equal(batch["action"][i], [key[2], -key[2]])


@pytest.mark.parametrize("n_step", [1, 3])
@settings(max_examples=250, deadline=None)
@given(history=st.lists(events(), max_size=25), capacity=st.integers(2, 60))
def test_every_step_that_can_be_sampled_has_its_true_successor(
    n_step: int, history: list[Event], capacity: int
) -> None:
    replay, model = Replay(capacity, OBSERVATION, ACTION, GAMMA, n_step), Model(capacity)
    for stream, block in play(history):
        replay.add(f"s{stream}", block)
        model.add(block, stream)
        check_against(replay, model)
    assert replay.steps_total == sum(e.n for e in history)


@settings(max_examples=150, deadline=None)
@given(history=st.lists(events(), max_size=25), capacity=st.integers(2, 60))
def test_mixed_keeps_interventions_on_both_sides_and_demonstrations_on_one(history: list[Event], capacity: int) -> None:
    mixed = Mixed(Replay(capacity, OBSERVATION, ACTION, GAMMA, 2), Replay(capacity, OBSERVATION, ACTION, GAMMA, 2))
    policy, human, demo = (SOURCES.index(s) for s in ("policy", "human", "demo"))
    online, demos = Model(capacity, (policy, human)), Model(capacity, (human, demo))
    for stream, block in play(history):
        mixed.add(f"s{stream}", block)
        online.add(block, stream)
        demos.add(block, stream)
        check_against(mixed.online, online)
        check_against(mixed.demos, demos)
        if len(mixed.demos):
            assert mixed.demos.sample(np.random.default_rng(0), 4)["demo"].all()


def filled(capacity: int, steps: int, source: str = "policy", n_step: int = 1) -> Replay:
    replay = Replay(capacity, OBSERVATION, ACTION, GAMMA, n_step)
    for episode in range(-(-steps // 10)):
        n = min(10, steps - 10 * episode)
        replay.add("a", block_of(0, episode, 0, n, "truncated", [SOURCES.index(source)] * n))
    return replay


def test_a_time_limit_bootstraps_and_a_termination_does_not() -> None:
    for end, expected in (("truncated", 0.125), ("terminated", 0.0)):
        replay = Replay(10, OBSERVATION, ACTION, GAMMA, 3)
        replay.add("a", block_of(0, 0, 0, 3, end))
        batch = replay.sample(EveryIndex(), 3)
        np.testing.assert_array_equal(batch["reward"], [0 + 0.5 * 1 + 0.25 * 2, 1 + 0.5 * 2, 2])
        np.testing.assert_array_equal(batch["discount"], expected * np.array([1, 2, 4]))
        np.testing.assert_array_equal(batch["next_state"][:, 2], [3, 3, 3])


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    succeeded=st.lists(st.booleans(), min_size=1, max_size=6),
    weight=st.sampled_from([0.0, 0.5, 2.0]),
    capacity=st.integers(4, 60),
)
def test_steps_of_the_policy_count_as_demonstrated_once_their_episode_has_succeeded(
    sizes: list[int], succeeded: list[bool], weight: float, capacity: int
) -> None:
    replay = Replay(capacity, OBSERVATION, ACTION, GAMMA, success_weight=weight)
    for episode, success in enumerate(succeeded):
        start = 0
        for i, n in enumerate(sizes):
            last = i == len(sizes) - 1
            block = block_of(0, episode, start, n, "terminated" if last else "open")
            replay.add("a", StepBlock(**{**_fields(block), "info": {"success": success} if last else {}}))
            start += n
            if len(replay) and not last:
                batch = replay.sample(EveryIndex(), len(replay))
                assert not batch["demo"][batch["state"][:, 1] == episode].any(), "nobody knows yet how it ends"
    if len(replay):
        batch = replay.sample(EveryIndex(), len(replay))
        expected = [weight if succeeded[int(episode)] else 0.0 for episode in batch["state"][:, 1]]
        np.testing.assert_array_equal(batch["demo"], np.float32(expected))


@pytest.mark.parametrize(("intervened", "weight"), [(False, 2.0), (True, 0.0)])
def test_what_a_person_had_to_mend_is_no_success_of_the_policys_own(intervened: bool, weight: float) -> None:
    replay = Replay(10, OBSERVATION, ACTION, GAMMA, success_weight=2.0)
    info = {"success": True, "intervened": intervened}
    replay.add("a", StepBlock(**{**_fields(block_of(0, 0, 0, 3, "terminated")), "info": info}))
    np.testing.assert_array_equal(replay.sample(EveryIndex(), 3)["demo"], [weight] * 3)


def test_samples_are_uniform() -> None:
    replay = filled(1000, 50)
    drawn = replay.sample(np.random.default_rng(3), 50_000)["state"]
    counts = np.bincount((drawn[:, 1] * 10 + drawn[:, 2]).astype(int), minlength=50)
    assert ((counts - 1000) ** 2 / 1000).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001


def test_groups_have_a_leading_axis_and_follow_the_generator() -> None:
    replay = filled(100, 50, n_step=2)
    a = replay.sample_groups(np.random.default_rng(1), 4, 6)
    b = replay.sample_groups(np.random.default_rng(1), 4, 6)
    assert a["image/front"].shape == (4, 6, 2, 3, 3)
    assert a["discount"].shape == (4, 6)
    for key, value in a.items():
        np.testing.assert_array_equal(value, b[key])
    flat = replay.sample(np.random.default_rng(1), 24)
    np.testing.assert_array_equal(flat["next_state"], a["next_state"].reshape(24, 3))


@pytest.mark.parametrize(("online", "demos", "share"), [(20, 20, 4), (0, 20, 8), (20, 0, 0)])
def test_mixed_takes_its_share_of_demonstrations(online: int, demos: int, share: int) -> None:
    mixed = Mixed(filled(50, online), filled(50, demos, "demo"), demo_fraction=0.5)
    batch = mixed.sample_groups(np.random.default_rng(0), 3, 8)
    np.testing.assert_array_equal(batch["demo"].sum(axis=1), [share] * 3)


def test_mistakes_are_named() -> None:
    replay = Replay(10, OBSERVATION, ACTION, GAMMA)
    with pytest.raises(SpecError, match="holds no complete step"):
        replay.sample(np.random.default_rng(0), 1)
    with pytest.raises(SpecError, match=r"final_state of episode 0 has shape \(0,\), expected \(3,\)"):
        replay.add("a", StepBlock(**{**_fields(block_of(0, 0, 0, 1, "open")), "ended": True}))
    with pytest.raises(SpecError, match=r"rewards .* not finite"):
        replay.add("a", StepBlock(**{**_fields(block_of(0, 0, 0, 1, "open")), "rewards": np.array([np.nan])}))
    with pytest.raises(SpecError, match=r"lacks images\[front\]"):
        replay.add("a", StepBlock(**{**_fields(block_of(0, 0, 0, 1, "open")), "images": {}}))
    with pytest.raises(ConfigError, match="capacity is 1"):
        Replay(1, OBSERVATION, ACTION, GAMMA)
    with pytest.raises(ConfigError, match="demo_fraction"):
        Mixed(replay, replay, demo_fraction=1.5)
    assert len(replay) == 0


def _fields(block: StepBlock) -> dict:
    return {name: getattr(block, name) for name in StepBlock.__dataclass_fields__}
