"""ROS 2 bags as episodes, one each: sqlite3 or MCAP, read without ROS, resampled to the control period.

At each tick, a control period apart from the moment on at which every topic of the map has spoken, the newest message
counts that was stamped by then; its stamp and its age go into the episode. A column of the map is a topic and a field
of its message, such as "/arm/current_pose:pose.position[0:3]": numbers lie there in the order of the message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.schema import messages, nanoseconds
from robot_rl.episodes.writer import Picture, decode_picture
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats.field_map import FieldMap, needed
from robot_rl.formats.incoming import Goal, Incoming, resized

COMPRESSED, PLAIN = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"
_ORDER = {"rgb8": slice(None), "bgr8": slice(None, None, -1)}  # of the colours of a plain picture
_LISTED = 12


def episodes(paths: Sequence[Path], goal: Goal, fields: FieldMap | None) -> Iterator[Incoming]:
    """Yield the episode of each bag.

    Args:
        paths: Their folders.
        goal: The task.
        fields: Which topics its fields come from.

    Raises:
        CheckpointError: A bag cannot be read.
        ConfigError: The map is missing or does not fit.
    """
    for path in paths:
        with _opened(path) as bag:
            if fields is None:
                raise ConfigError(
                    f"nothing says which topics of {path} the fields of task {goal.task} come from: "
                    f"{needed(goal.observation_spec, goal.action_spec)}. The bag has {bag.listed()}. Write a map and "
                    "give it with --map, see docs/formats.md"
                )
            yield _episode(bag, goal, fields)


class _Bag:
    """An open bag: the numbers of its topics, and their pictures."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path, self._reader = path, reader
        self.types: Mapping[str, str] = {c.topic: c.msgtype for c in reader.connections}
        self._numbers: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._stamps: dict[str, NDArray[np.int64]] = {}

    def listed(self) -> str:
        """Return its topics in words."""
        found = [f"{topic} ({kind})" for topic, kind in sorted(self.types.items())]
        return ", ".join(found[:_LISTED]) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")

    def read(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield (stamp [ns], message) of a topic in the order of the bag; the bag's time where a header has none."""
        connections = [c for c in self._reader.connections if c.topic == topic]
        if not connections:
            raise ConfigError(f"{self.path} has no topic '{topic}'; it has {self.listed()}")
        try:
            for connection, at_ns, raw in self._reader.messages(connections=connections):
                message = self._reader.deserialize(raw, connection.msgtype)
                header = getattr(message, "header", None)
                stamp_ns = nanoseconds(header.stamp) if header is not None else 0
                yield stamp_ns or at_ns, message
        except Exception as e:
            if isinstance(e, ConfigError | CheckpointError):
                raise
            raise CheckpointError(f"topic {topic} of {self.path} cannot be read: {_line(e)}") from e

    def numbers(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return (m,) stamps that do not fall and (m, k) numbers of a column."""
        if key not in self._numbers:
            topic, _, field = key.partition(":")
            stamps, rows = [], []
            for stamp_ns, message in self.read(topic):
                stamps.append(stamp_ns)
                rows.append(_flat(_field(message, field, key, self.path), key))
            if not rows:
                raise ConfigError(f"topic {topic} of {self.path} has no message")
            if len({len(r) for r in rows}) > 1:
                raise ConfigError(f"'{key}' of {self.path} changes its size from message to message")
            self._numbers[key] = (_rising(stamps), np.array(rows, np.float64))
        return self._numbers[key]

    def stamps(self, topic: str) -> NDArray[np.int64]:
        """Return the (m,) stamps of a topic of pictures."""
        if topic not in self._stamps:
            found = [stamp_ns for stamp_ns, _ in self.read(topic)]
            if self.types[topic] not in (COMPRESSED, PLAIN) or not found:
                raise ConfigError(f"topic {topic} of {self.path} ({self.types[topic]}) has no pictures")
            self._stamps[topic] = _rising(found)
        return self._stamps[topic]

    def pictures(self, topic: str, places: NDArray[np.int64]) -> Iterator[Picture]:
        """Yield the pictures of a topic at places in the order of the bag, which do not fall."""
        left = enumerate(self.read(topic))
        number, picture = -1, np.zeros((0, 0, 3), np.uint8)
        for place in places:
            if number < place:
                number, (_, message) = next(found for found in left if found[0] == place)
                picture = self._decoded(topic, message)
            yield picture

    def _decoded(self, topic: str, message: Any) -> Picture:
        if self.types[topic] == COMPRESSED:
            return decode_picture(np.asarray(message.data, np.uint8))
        order = _ORDER.get(str(message.encoding))
        if order is None:
            raise ConfigError(
                f"pictures of {topic} in {self.path} are '{message.encoding}'; allowed: {', '.join(_ORDER)}, or "
                "compressed ones"
            )
        rows = np.asarray(message.data, np.uint8).reshape(message.height, message.step)
        return np.ascontiguousarray(rows[:, : 3 * message.width].reshape(message.height, message.width, 3)[:, :, order])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Bag]:
    store = messages().store
    from rosbags.highlevel import AnyReader, AnyReaderError

    if not path.is_dir():
        raise CheckpointError(f"{path} is no folder; a ROS 2 bag is one, with metadata.yaml in it")
    try:
        reader = AnyReader([path], default_typestore=store)
        reader.open()
    except (AnyReaderError, OSError, ValueError, KeyError) as e:
        raise CheckpointError(f"{path} cannot be read as a ROS 2 bag: {_line(e)}") from e
    try:
        yield _Bag(path, reader)
    finally:
        reader.close()


def _episode(bag: _Bag, goal: Goal, fields: FieldMap) -> Incoming:
    period_s = fields.period_s or goal.period_s
    state_keys = sorted({p.key for p in fields.state.values() if p.key})
    step_keys = sorted({p.key for p in (*fields.action.values(), *([fields.reward] if fields.reward else [])) if p.key})
    if not state_keys:
        raise ConfigError("the map takes no state field from a topic, so nothing says when the robot was where")
    used = [bag.numbers(key)[0] for key in (*state_keys, *step_keys)]
    used += [bag.stamps(topic) for topic in fields.images.values()]
    first_ns, last_ns = max(int(s[0]) for s in used), min(int(bag.numbers(k)[0][-1]) for k in state_keys)
    period_ns = round(period_s * 1e9)
    n = (last_ns - first_ns) // period_ns
    if n < 1:
        raise ConfigError(
            f"{bag.path} holds no step: from the first moment at which every topic of the map has spoken it lasts "
            f"{max(0.0, 1e-9 * (last_ns - first_ns)):.3f} s, less than a control period of {period_s:g} s"
        )
    ticks = first_ns + period_ns * np.arange(n + 1, dtype=np.int64)

    def at(key: str, when: NDArray[np.int64]) -> NDArray[np.float64]:
        stamps, rows = bag.numbers(key)
        return rows[_newest(stamps, when)]

    stamps = np.min([bag.numbers(k)[0][_newest(bag.numbers(k)[0], ticks)] for k in state_keys], axis=0)
    actions = fields.actions(goal.action_spec, lambda key: at(key, ticks[:-1]), n)
    shown = {name: _newest(bag.stamps(topic), ticks) for name, topic in fields.images.items()}
    picture_stamps = {name: bag.stamps(fields.images[name])[places] for name, places in shown.items()}
    rewards = np.zeros(n)
    if fields.reward is not None:
        rewards = fields.reward.values(lambda key: at(key, ticks[1:]), n)[:, 0]
    good = bool(rewards[-1] > 0.0) if fields.success is None else fields.success
    if fields.reward is None and good:
        rewards[-1] = 1.0
    last = np.arange(n) == n - 1
    unknown = [
        "executed actions: taken to be the recorded ones",
        *([] if fields.reward or fields.success is not None else ["success: neither a reward nor the map says it"]),
        *([] if fields.reward else ["reward: 1 at the end of a success, 0 before"]),
        "who acted",
        "readings of the robot",
    ]
    topics = sorted({k.partition(":")[0] for k in (*state_keys, *step_keys)} | set(fields.images.values()))
    origin = {"format": "ROS 2 bag", "bag": bag.path.name, "topics": topics, "unknown": unknown}
    return Incoming(
        start=goal.start(origin, period_s=period_s, real_time=True),
        states=fields.states(goal.observation_spec, lambda key: at(key, ticks), n + 1),
        actions=actions,
        executed=actions,
        rewards=rewards.astype(np.float32),
        terminated=last & good,
        truncated=last & (not good),
        success=last & good,
        sources=["demo"] * n,
        reasons=[*[""] * (n - 1), "success" if good else "the bag ends"],
        images={
            name: _images(bag, topic, shown[name], goal, name, fields.resize) for name, topic in fields.images.items()
        },
        stamps_ns=stamps,
        log_ns=ticks[1:],
        picture_stamps_ns=picture_stamps,
        timing=[
            {
                "state_age_ms": 1e-6 * float(ticks[k] - stamps[k]),
                **{f"image_age_ms/{c}": 1e-6 * float(ticks[k] - s[k]) for c, s in picture_stamps.items()},
            }
            for k in range(1, n + 1)
        ],
    )


def _images(
    bag: _Bag, topic: str, places: NDArray[np.int64], goal: Goal, camera: str, resize: bool
) -> Iterator[Picture]:
    field = goal.observation_spec.images[camera]
    for picture in bag.pictures(topic, places):
        yield resized(picture, field.height, field.width) if resize else picture


def _newest(stamps: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of the newest stamp by each tick; every topic has spoken by the first."""
    return np.searchsorted(stamps, ticks, side="right") - 1


def _rising(stamps: Sequence[int]) -> NDArray[np.int64]:
    """Return stamps that do not fall: a message that comes late is as new as the one before it."""
    return np.maximum.accumulate(np.array(stamps, np.int64))


def _field(message: Any, path: str, key: str, bag: Path) -> Any:
    found = message
    for word in path.split(".") if path else ():
        names = _names(found)
        if word not in names:
            raise ConfigError(
                f"'{key}': the messages of {bag} have no field '{word}' there; there are {', '.join(names) or 'none'}"
            )
        found = getattr(found, word)
    return found


def _names(message: Any) -> list[str]:
    return [n for n in getattr(message, "__dataclass_fields__", {}) if not n.startswith("__")]


def _flat(value: Any, key: str) -> list[float]:
    """Return the numbers of a field in the order of the message; a header has none."""
    if isinstance(value, bool | int | float | np.generic):
        return [float(value)]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return [float(v) for v in value.ravel()]
    names = [n for n in _names(value) if n != "header"]
    if not names:
        raise ConfigError(f"'{key}' holds a {type(value).__name__}, which is no number; name a field that is one")
    return [number for name in names for number in _flat(getattr(value, name), key)]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
