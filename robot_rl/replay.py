"""Replay: every frame once, in a ring of rows, sampled as n-step transitions.

A row is a frame and, unless it ends an episode, the step taken from it. `next` links a row to the row of the following
observation, wherever that lies, so several actors may interleave. A step can be sampled once its link is known. Rows
are evicted oldest first and a link always points to a younger row, so a step never outlives its next observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, SpecError
from robot_rl.messages import SOURCES, StepBlock
from robot_rl.specs import ActionSpec, CameraField, FeatureField, ObservationSpec

Rows = NDArray[np.intp]
Batch = dict[str, NDArray[Any]]

POLICY, HUMAN, DEMO = (SOURCES.index(name) for name in ("policy", "human", "demo"))


@dataclass(slots=True)
class _Tail:
    """Where a stream's running episode stands.

    Attributes:
        episode, start: What the next block must carry to continue it.
        written: Number of rows ever written up to and including the step that waits for its next frame; 0 if none does.
        pieces: First and last number of the rows that the episode's blocks were written to.
    """

    episode: int
    start: int
    written: int
    pieces: list[tuple[int, int]] = field(default_factory=list)


class Replay:
    """A ring of frames from which single transitions are drawn uniformly. Not thread-safe.

    Args:
        capacity: Rows to keep; an episode of n steps takes n + 1.
        observation_spec: Names and shapes of what is seen.
        action_spec: Layout of the action.
        gamma: Discount per step.
        n_step: Steps that a sampled reward sums over, fewer where the episode or the known data ends.
        human_weight: What a person's step weighs in the clone loss; a demonstrated one weighs 1.
        success_weight: What a step of the policy weighs in it once its episode has succeeded without a person's help:
            what the policy did before a person took over may be what made them.
    """

    def __init__(
        self,
        capacity: int,
        observation_spec: ObservationSpec,
        action_spec: ActionSpec,
        gamma: float,
        n_step: int = 1,
        human_weight: float = 1.0,
        success_weight: float = 0.0,
    ) -> None:
        if capacity < 2:
            raise ConfigError(f"replay capacity is {capacity}, it must be at least 2 rows")
        if not 0.0 <= gamma <= 1.0:
            raise ConfigError(f"gamma is {gamma}, it must lie in [0, 1]")
        if n_step < 1:
            raise ConfigError(f"n_step is {n_step}, it must be at least 1")
        self.capacity, self.gamma, self.n_step = capacity, gamma, n_step
        self._success_weight = success_weight
        self._weights = np.array([{"policy": 0.0, "human": human_weight, "demo": 1.0}[s] for s in SOURCES], np.float32)
        self.observation_spec, self.action_spec = observation_spec, action_spec
        # Zeros, not empty: the pages are only taken from the system as rows fill.
        self._state = np.zeros((capacity, observation_spec.size), np.float32)
        self._images = {k: np.zeros((capacity, *f.shape), np.uint8) for k, f in observation_spec.images.items()}
        self._action = np.zeros((capacity, action_spec.size), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._demo = np.zeros(capacity, np.float32)
        self._terminated = np.zeros(capacity, np.bool_)
        self._next = np.full(capacity, -1, np.intp)
        # The rows that can be sampled, packed in front, and the place of each row among them (-1: cannot be sampled).
        self._packed = np.zeros(capacity, np.intp)
        self._place = np.full(capacity, -1, np.intp)
        self._ready = 0
        self._written = 0
        self._steps_total = 0
        self._tails: dict[str, _Tail] = {}

    def __len__(self) -> int:
        """Return how many steps can be sampled."""
        return self._ready

    @property
    def steps_total(self) -> int:
        """Steps ever added, evicted ones included."""
        return self._steps_total

    @property
    def nbytes_per_step(self) -> float:
        """Bytes that one row takes, bookkeeping included."""
        arrays = [self._state, *self._images.values(), self._action, self._reward, self._demo, self._terminated]
        return sum(a.nbytes for a in [*arrays, self._next, self._packed, self._place]) / self.capacity

    def add(self, stream: str, block: StepBlock, keep: NDArray[np.bool_] | None = None) -> None:
        """Store a block.

        A block that does not continue the stream's last one starts a new piece of episode; the step that was waiting
        for its next frame then stays out of the samples.

        Args:
            stream: Actor session that the block comes from.
            block: Consecutive steps of one episode.
            keep: (n,) steps to learn from. Of the others only the frame that follows a kept step is stored.

        A block that ends an episode which the operator discarded takes the whole episode out of the samples. Its
        earlier blocks arrived while it ran, so a few updates may have seen them: the alternative, to hold every
        episode back until its end, would leave the learner without work in a long one.
        """
        check_block(block, self.observation_spec, self.action_spec)
        keep = np.ones(block.steps, np.bool_) if keep is None else keep
        tail = self._tails.pop(stream, None)
        if tail is None or (tail.episode, tail.start) != (block.episode, block.start):
            tail = _Tail(block.episode, block.start, 0)
        follows = np.empty(block.steps + 1, np.bool_)  # frame i is the next observation of a kept step
        follows[0] = tail.written > 0
        follows[1:] = keep
        steps = np.flatnonzero(keep | follows[:-1])
        final = bool(block.ended and follows[-1])

        steps = steps[max(len(steps) + final - self.capacity, 0) :]
        rows = self._claim(len(steps) + final)
        tail.pieces.append((self._written - len(rows), self._written))
        self._write(rows, steps, block, final)
        self._link(rows, np.append(steps, block.steps) if final else steps, tail, follows, block)
        if block.ended and block.info.get("verdict") == "discard":
            self._discard(tail.pieces)
        elif block.ended and block.info.get("success") and not block.info.get("intervened"):
            rows = self._alive(tail.pieces)
            self._demo[rows] = np.maximum(self._demo[rows], np.float32(self._success_weight))
        self._steps_total += int(np.count_nonzero(keep))
        if not block.ended:
            waiting = bool(block.steps and keep[-1]) or (block.steps == 0 and tail.written > 0)
            written = 0 if not waiting else (self._written if block.steps else tail.written)
            self._tails[stream] = _Tail(block.episode, block.start + block.steps, written, tail.pieces)

    def sample(self, rng: np.random.Generator, n: int) -> Batch:
        """Draw n transitions, uniformly and with replacement.

        Returns:
            state (n, S), action (n, A), reward (n,), discount (n,), next_state (n, S), demo (n,), all float32, and
            `image/<camera>`, `next_image/<camera>` (n, H, W, 3) uint8, or (n, h, w, channels) features of one view,
            drawn for each of them. The value target is reward + discount * value of the next state; demo is what the
            step weighs in the clone loss: 1 where an expert demonstrated, `human_weight` where a person took over,
            `success_weight` where the policy acted in an episode that has succeeded by itself, else 0.
        """
        return {k: v[0] for k, v in self.sample_groups(rng, 1, n).items()}

    def sample_groups(self, rng: np.random.Generator, groups: int, n: int) -> Batch:
        """Draw `groups` batches at once: as `sample`, with a leading axis (groups, n, ...)."""
        out = self.empty(groups, n)
        self.fill(rng, out, 0, n)
        return out

    def empty(self, groups: int, n: int) -> Batch:
        """Return uninitialised arrays in the layout of `sample_groups`."""
        s, a = self.observation_spec.size, self.action_spec.size
        numbers = {"state": (s,), "action": (a,), "reward": (), "discount": (), "next_state": (s,), "demo": ()}
        frames = {k: _seen(f) for k, f in self.observation_spec.images.items()}
        images = {f"{prefix}/{k}": shape for prefix in ("image", "next_image") for k, shape in frames.items()}
        return _carve(numbers, np.float32, groups, n) | _carve(images, np.uint8, groups, n)

    def fill(self, rng: np.random.Generator, out: Mapping[str, NDArray[Any]], first: int, stop: int) -> None:
        """Draw into `out[key][:, first:stop]` of arrays made by `empty`."""
        if stop <= first:
            return
        if self._ready == 0:
            raise SpecError("the replay holds no complete step yet; add a block before sampling")
        groups = len(out["reward"])
        rows = self._packed[rng.integers(self._ready, size=(groups, stop - first))]
        reward, discount, next_rows = self._returns(rows)
        out["reward"][:, first:stop] = reward
        out["discount"][:, first:stop] = discount
        out["demo"][:, first:stop] = self._demo[rows]
        gathers: list[tuple[str, NDArray[Any], Rows]] = [
            ("state", self._state, rows),
            ("action", self._action, rows),
            ("next_state", self._state, next_rows),
        ]
        for name, frames in self._images.items():
            camera = self.observation_spec.images[name]
            for key, where in ((f"image/{name}", rows), (f"next_image/{name}", next_rows)):
                if isinstance(camera, FeatureField):
                    views = rng.integers(camera.views, size=rows.shape)
                    gathers.append((key, frames.reshape(-1, *camera.view_shape), where * camera.views + views))
                else:
                    gathers.append((key, frames, where))
        for key, source, where in gathers:
            for g in range(groups):  # a group's slice is contiguous, so that take writes into it without a copy
                np.take(source, where[g], axis=0, out=out[key][g, first:stop], mode="clip")

    def _returns(self, rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32], Rows]:
        """Return the n-step reward, the discount of the value at its end, and the row of that end."""
        reward = self._reward[rows]
        factor = np.full(rows.shape, self.gamma, np.float32)
        last = rows
        for k in range(1, self.n_step):
            following = self._next[last]
            going = self._place[following] >= 0
            if not going.any():
                break
            reward += np.where(going, np.float32(self.gamma**k) * self._reward[following], np.float32(0.0))
            factor[going] = self.gamma ** (k + 1)
            last = np.where(going, following, last)
        factor[self._terminated[last]] = 0.0
        return reward, factor, self._next[last]

    def _claim(self, n: int) -> Rows:
        """Take the n oldest rows for new frames."""
        rows = (self._written + np.arange(n)) % self.capacity
        if self._written + n > self.capacity:
            self._forget(rows)
        self._written += n
        self._next[rows] = -1
        self._terminated[rows] = False
        return rows

    def _forget(self, rows: Rows) -> None:
        """Take rows out of the sampleable ones, closing the holes with the last of the packed list."""
        rows = rows[self._place[rows] >= 0]
        holes = self._place[rows]
        self._place[rows] = -1
        self._ready -= len(rows)
        tail = self._packed[self._ready : self._ready + len(rows)]
        movers = tail[self._place[tail] >= 0]
        holes = holes[holes < self._ready]
        self._packed[holes] = movers
        self._place[movers] = holes

    def _discard(self, pieces: list[tuple[int, int]]) -> None:
        """Take an episode out of the samples."""
        self._forget(self._alive(pieces))

    def _alive(self, pieces: list[tuple[int, int]]) -> Rows:
        """Return an episode's rows; those that are overwritten meanwhile belong to others."""
        oldest = max(self._written - self.capacity, 0)
        return np.concatenate([np.arange(max(first, oldest), last) for first, last in pieces]) % self.capacity

    def _write(self, rows: Rows, steps: Rows, block: StepBlock, final: bool) -> None:
        at = rows[: len(steps)]
        whole = len(steps) == block.steps  # a slice spares the copy that an index array makes
        chosen = slice(None) if whole else steps
        self._state[at] = block.states[chosen]
        self._action[at] = block.actions[chosen]
        self._reward[at] = block.rewards[chosen]
        self._demo[at] = self._weights[block.sources[chosen]]
        for name, frames in self._images.items():
            frames[at] = block.images[name][chosen]
        if final:
            self._state[rows[-1]] = block.final_state
            for name, frames in self._images.items():
                frames[rows[-1]] = block.final_images[name]

    def _link(self, rows: Rows, frames: Rows, tail: _Tail, follows: NDArray[np.bool_], block: StepBlock) -> None:
        """Point every kept step at its next frame. `frames` holds each row's index in the block, n for the final."""
        pairs = np.flatnonzero(follows[frames[1:]] & (np.diff(frames) == 1))
        before, after = rows[pairs], rows[pairs + 1]
        waiting_alive = tail.written > self._written - self.capacity and tail.written > 0
        if waiting_alive and len(frames):
            before = np.insert(before, 0, (tail.written - 1) % self.capacity)
            after = np.insert(after, 0, rows[0])
        self._next[before] = after
        if block.ended and block.terminated and len(frames) and frames[-1] == block.steps and len(before):
            self._terminated[before[-1]] = True
        n = len(before)
        self._packed[self._ready : self._ready + n] = before
        self._place[before] = np.arange(self._ready, self._ready + n)
        self._ready += n


class Mixed:
    """Practice and demonstrations, each a fixed share of every batch.

    Added blocks are routed by who acted: policy steps to `online`, demonstrations to `demos`, a person's
    interventions to both. While one side is empty the other gives whole batches.

    Args:
        online: Replay of practice.
        demos: Replay of demonstrations and interventions.
        demo_fraction: Share of a batch that comes from `demos`.
    """

    def __init__(self, online: Replay, demos: Replay, demo_fraction: float = 0.5) -> None:
        if not 0.0 <= demo_fraction <= 1.0:
            raise ConfigError(f"demo_fraction is {demo_fraction}, it must lie in [0, 1]")
        self.online, self.demos, self.demo_fraction = online, demos, demo_fraction

    def __len__(self) -> int:
        """Return how many steps of both sides can be sampled; an intervention counts on both."""
        return len(self.online) + len(self.demos)

    @property
    def steps_total(self) -> int:
        """Steps of practice ever added."""
        return self.online.steps_total

    def add(self, stream: str, block: StepBlock) -> None:
        """Store a block's steps on the sides that they belong to."""
        self.online.add(stream, block, keep=block.sources != DEMO)
        self.demos.add(stream, block, keep=block.sources != POLICY)

    def sample(self, rng: np.random.Generator, n: int) -> Batch:
        """Draw n transitions, demonstrations first; see `Replay.sample`."""
        return {k: v[0] for k, v in self.sample_groups(rng, 1, n).items()}

    def sample_groups(self, rng: np.random.Generator, groups: int, n: int) -> Batch:
        """Draw `groups` batches at once: as `sample`, with a leading axis (groups, n, ...)."""
        n_demos = round(n * self.demo_fraction)
        if len(self.online) == 0:
            n_demos = n
        elif len(self.demos) == 0:
            n_demos = 0
        out = self.online.empty(groups, n)
        self.demos.fill(rng, out, 0, n_demos)
        self.online.fill(rng, out, n_demos, n)
        return out


def _seen(camera: CameraField) -> tuple[int, ...]:
    """Return the shape of what a sample holds of a camera: of its views one is drawn."""
    return camera.view_shape if isinstance(camera, FeatureField) else camera.shape


def _carve(shapes: Mapping[str, tuple[int, ...]], dtype: type, groups: int, n: int) -> Batch:
    """Return (groups, n, *shape) arrays out of one allocation, which malloc hands out again instead of unmapping it."""
    sizes = [groups * n * math.prod(shape) for shape in shapes.values()]
    parts = np.split(np.empty(sum(sizes), dtype), np.cumsum(sizes)[:-1])
    return {k: part.reshape(groups, n, *shape) for (k, shape), part in zip(shapes.items(), parts, strict=False)}


def check_block(block: StepBlock, observation_spec: ObservationSpec, action_spec: ActionSpec) -> None:
    """Raise `SpecError` unless the block's arrays fit the specs and are finite."""
    n = block.steps
    expected: dict[str, tuple[NDArray[Any] | None, tuple[int, ...]]] = {
        "states": (block.states, (n, observation_spec.size)),
        "actions": (block.actions, (n, action_spec.size)),
        "rewards": (block.rewards, (n,)),
        "sources": (block.sources, (n,)),
    }
    if block.ended:
        expected["final_state"] = (block.final_state, (observation_spec.size,))
    for name, f in observation_spec.images.items():
        expected[f"images[{name}]"] = (block.images.get(name), (n, *f.shape))
        if block.ended:
            expected[f"final_images[{name}]"] = (block.final_images.get(name), f.shape)
    for name, (value, shape) in expected.items():
        if value is None:
            raise SpecError(f"block of episode {block.episode} lacks {name}, expected an array of shape {shape}")
        if value.shape != shape:
            raise SpecError(f"{name} of episode {block.episode} has shape {value.shape}, expected {shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise SpecError(f"{name} of episode {block.episode}, block start {block.start}, is not finite")
