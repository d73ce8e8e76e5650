"""What a list of episodes says: success with an interval, time to success, the worst stretch, when a level was reached.

An episode is a mapping as in `episodes.jsonl`: `success`, `source` ("policy", "human" or "demo"), `intervened`,
`duration_s`, `env_steps`, `t_s`. Autonomous means that the policy acted alone from start to end; episodes in which a
person took over are counted apart, never mixed in. Everything here is a pure function of its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_rl.errors import ConfigError

Episode = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a probability."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Success and time of a set of episodes.

    Attributes:
        n, successes: Autonomous episodes, and how many of them succeeded.
        rate: `successes / n`, nan when n is 0.
        low, high: 95 % Wilson interval of the rate.
        median_time_to_success_s: Median duration of the autonomous successes, seconds; nan without one.
        restricted_mean_time_s: Mean over all autonomous episodes of min(time to success, `time_limit_s`), a failure
            counting as the limit. Unlike the median it cannot look good by failing the slow starts.
        time_limit_s: The limit used for it.
        intervened, intervened_successes: Episodes in which a person acted, and how many of them succeeded.
    """

    n: int
    successes: int
    rate: float
    low: float
    high: float
    median_time_to_success_s: float
    restricted_mean_time_s: float
    time_limit_s: float
    intervened: int
    intervened_successes: int

    def to_dict(self) -> dict[str, float | int]:
        """Return plain values for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the summary in words, such as for a terminal."""
        if self.n == 0:
            text = "no autonomous episodes"
        else:
            text = (
                f"{self.successes} of {self.n} autonomous successes ({100 * self.rate:.0f} %, "
                f"95 % interval {100 * self.low:.0f} to {100 * self.high:.0f} %)"
            )
            if self.successes:
                text += f", median time to success {self.median_time_to_success_s:.1f} s"
        if self.intervened:
            text += f"; with a person's help {self.intervened_successes} of {self.intervened}"
        return text


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of consecutive episodes: index of its first one, its length, and its successes."""

    start: int
    n: int
    successes: int

    @property
    def rate(self) -> float:
        """Share of successes."""
        return self.successes / self.n


@dataclass(frozen=True, slots=True)
class Reached:
    """When a success level was first held: index of the window's last episode, env steps, wall time [s]."""

    episode: int
    env_steps: int
    t_s: float


def number(value: object, default: float = math.nan) -> float:
    """Return `value` as a float, or `default` when it is no number, not finite or absurdly large (beyond 1e30)."""
    if isinstance(value, (int, float, np.number)) and abs(value) <= 1e30:
        return float(value)
    return default


def wilson(successes: int, n: int, z: float = 1.96) -> Interval:
    """Return the Wilson score interval of a success probability; (0, 1) when nothing was tried."""
    if n < 0 or not 0 <= successes <= n:
        raise ConfigError(f"an interval needs 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    rate = successes / n
    denominator = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / denominator
    half = z / denominator * math.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    # At the ends the formula gives exactly 0 and 1; rounding must not push the rate outside its own interval.
    low = 0.0 if successes == 0 else min(max(centre - half, 0.0), rate)
    high = 1.0 if successes == n else max(min(centre + half, 1.0), rate)
    return Interval(low, high)


def autonomous(episodes: Iterable[Episode]) -> list[Episode]:
    """Return the episodes in which the policy acted alone; none that was discarded."""
    return [e for e in episodes if e.get("source", "policy") == "policy" and not was_helped(e) and not was_discarded(e)]


def helped(episodes: Iterable[Episode]) -> list[Episode]:
    """Return the practice episodes in which a person acted; no demonstrations, and none that was discarded."""
    return [e for e in episodes if e.get("source", "policy") != "demo" and was_helped(e) and not was_discarded(e)]


def was_helped(episode: Episode) -> bool:
    """Return whether a person acted in some of its steps."""
    return bool(episode.get("intervened", False)) or episode.get("source") == "human"


def was_discarded(episode: Episode) -> bool:
    """Return whether the operator discarded it: it is not learnt from, and counts in no rate."""
    return episode.get("verdict") == "discard"


def human_share(episode: Episode) -> float:
    """Return the share of its steps in which a person acted; nan when a person did and nobody counted."""
    if not was_helped(episode):
        return 0.0
    steps = number(episode.get("steps"))
    return number(episode.get("human_steps")) / steps if steps > 0 else math.nan


def success_summary(episodes: Iterable[Episode], time_limit_s: float | None = None) -> Summary:
    """Summarise episodes: autonomous ones with interval and times, the others apart.

    Args:
        episodes: Rows as in `episodes.jsonl`.
        time_limit_s: What a failure counts as in the restricted mean; the longest episode when None.
    """
    rows = list(episodes)
    alone, with_help = autonomous(rows), helped(rows)
    ok = np.array([bool(e.get("success")) for e in alone], bool)
    time_s = np.array([number(e.get("duration_s")) for e in alone], float)
    known = np.isfinite(time_s)
    if time_limit_s is None:
        time_limit_s = float(time_s[known].max()) if known.any() else math.nan
    # A failure that broke off early still counts as the limit: the task was not done by then.
    restricted = np.where(ok, np.minimum(time_s, time_limit_s), time_limit_s)[known | ~ok]
    times_ok = time_s[ok & known]
    n, successes = len(alone), int(ok.sum())
    interval = wilson(successes, n)
    return Summary(
        n=n,
        successes=successes,
        rate=successes / n if n else math.nan,
        low=interval.low,
        high=interval.high,
        median_time_to_success_s=float(np.median(times_ok)) if times_ok.size else math.nan,
        restricted_mean_time_s=float(restricted.mean()) if restricted.size else math.nan,
        time_limit_s=time_limit_s,
        intervened=len(with_help),
        intervened_successes=sum(bool(e.get("success")) for e in with_help),
    )


def rolling_rate(successes: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return (n,) the success share over the last k episodes at each episode; over fewer at the beginning."""
    if k < 1:
        raise ConfigError(f"a window needs at least one episode, got {k}")
    total = np.concatenate([[0.0], np.cumsum(np.asarray(successes, float))])
    end = np.arange(1, len(total))
    start = np.maximum(end - k, 0)
    return (total[end] - total[start]) / np.maximum(end - start, 1)


def worst_window(episodes: Iterable[Episode], k: int = 50) -> Window | None:
    """Return the k consecutive autonomous episodes with the fewest successes, or None when there are fewer than k."""
    ok = np.array([bool(e.get("success")) for e in autonomous(episodes)], int)
    if k < 1:
        raise ConfigError(f"a window needs at least one episode, got {k}")
    if len(ok) < k:
        return None
    total = np.concatenate([[0], np.cumsum(ok)])
    counts = total[k:] - total[:-k]
    start = int(np.argmin(counts))
    return Window(start, k, int(counts[start]))


def first_reaching(episodes: Iterable[Episode], rate: float = 0.95, k: int = 20) -> Reached | None:
    """Return when k consecutive autonomous episodes first held `rate`, or None if they never did."""
    if not 0.0 < rate <= 1.0:
        raise ConfigError(f"a success level lies in (0, 1], got {rate}")
    alone = autonomous(episodes)
    window = rolling_rate([bool(e.get("success")) for e in alone], k)
    for i in range(k - 1, len(alone)):
        if window[i] >= rate - 1e-9:
            return Reached(i, int(number(alone[i].get("env_steps"), 0.0)), number(alone[i].get("t_s")))
    return None


def percentiles(values: ArrayLike, at: Sequence[float] = (50.0, 90.0, 99.0)) -> dict[str, float]:
    """Return percentiles of the finite values as {"p50": ...}; nan without any."""
    array = np.asarray(values, float).ravel()
    array = array[np.isfinite(array)]
    found = np.percentile(array, at) if array.size else np.full(len(at), math.nan)
    return {f"p{q:g}": float(v) for q, v in zip(at, found, strict=True)}
