"""Statistics of a LeRobot data set: of each episode, and of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_FEWEST, _PIXELS = 100, 150  # pictures looked at in an episode, and how fine
Stats = dict[str, NDArray[np.float64]]


def of_numbers(values: NDArray[Any]) -> Stats:
    """Return the statistics of (n,) or (n, k) numbers, each of shape (k,)."""
    return _stats(np.asarray(values, np.float64).reshape(len(values), -1), len(values))


def of_pictures(pictures: Sequence[NDArray[np.uint8]]) -> Stats:
    """Return the statistics of (H, W, 3) pictures as values from 0 to 1, each of shape (3, 1, 1)."""
    step = max(1, max(pictures[0].shape[:2]) // _PIXELS)
    pixels = np.concatenate([p[::step, ::step].reshape(-1, 3) for p in pictures])
    found = _stats(pixels.astype(np.float64) / 255.0, len(pictures))
    return {k: v if k == "count" else v.reshape(3, 1, 1) for k, v in found.items()}


def sample(n: int) -> list[int]:
    """Return which of the n pictures of an episode its statistics look at."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, _FEWEST))})


def combined(parts: Sequence[Stats]) -> Stats:
    """Return the statistics of several episodes together; quantiles, which do not add up, as weighted means."""
    count = np.array([p["count"][0] for p in parts])
    weight = (count / count.sum()).reshape(-1, *[1] * parts[0]["mean"].ndim)

    def mean(name: str) -> NDArray[np.float64]:
        return (np.stack([p[name] for p in parts]) * weight).sum(axis=0)

    centre = mean("mean")
    spread = np.stack([p["std"] ** 2 + (p["mean"] - centre) ** 2 for p in parts])
    return {
        "min": np.min([p["min"] for p in parts], axis=0),
        "max": np.max([p["max"] for p in parts], axis=0),
        "mean": centre,
        "std": np.sqrt((spread * weight).sum(axis=0)),
        "count": np.array([count.sum()]),
        **{name: mean(name) for name in QUANTILES},
    }


def plain(stats: Mapping[str, Stats]) -> dict[str, dict[str, Any]]:
    """Return statistics as what JSON and parquet hold."""
    return {name: {k: v.tolist() for k, v in found.items()} for name, found in stats.items()}


def _stats(rows: NDArray[np.float64], count: int) -> Stats:
    found = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([count]),
        **dict(zip(QUANTILES, found, strict=True)),
    }
