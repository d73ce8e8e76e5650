"""Which episode does otherwise than the rest where they were: its actions beside those of others in like states.

A demonstrator who goes another way round, a controller with another sign, labels of another camera: each alone looks
well. Beside the others, what is done in the same place tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEPS = 40  # of each episode that are compared, evenly spread
MOST = 4000  # of all of them
NEIGHBOURS = 5
NEAR = 2.0  # of the usual distance; what has no neighbours as near as this is not judged
LEAST = 5  # steps with neighbours from which on an episode is judged


def disagreement(states: Sequence[NDArray[np.float64]], actions: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return how far the actions of each episode lie from those of others in like states; nan where none is like it.

    Args:
        states: (n_i, S) of each episode, each number of the size that it usually has.
        actions: (n_i, A) executed in them.

    Returns:
        (m,) mean distance to the mean action of the nearest steps of other episodes.
    """
    each = max(min(STEPS, MOST // max(len(states), 1)), 1)
    picked = [np.unique(np.linspace(0, len(s) - 1, each).astype(int)) for s in states]
    x = np.concatenate([s[i] for s, i in zip(states, picked, strict=True)])
    a = np.concatenate([b[i] for b, i in zip(actions, picked, strict=True)])
    owner = np.repeat(np.arange(len(states)), [len(i) for i in picked])
    squares = (x**2).sum(axis=1)
    near, off = np.full(len(x), np.inf), np.full(len(x), np.nan)
    for k in range(len(states)):
        mine, others = np.flatnonzero(owner == k), np.flatnonzero(owner != k)
        if len(others) < NEIGHBOURS:
            continue
        gaps = squares[mine, None] + squares[None, others] - 2.0 * x[mine] @ x[others].T
        nearest = np.argpartition(gaps, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        near[mine] = np.sqrt(np.maximum(np.take_along_axis(gaps, nearest, axis=1), 0.0)).mean(axis=1)
        off[mine] = np.linalg.norm(a[mine] - a[others][nearest].mean(axis=1), axis=1)
    usual = float(np.median(near[np.isfinite(near)])) if np.isfinite(near).any() else 0.0
    judged = np.isfinite(off) & (near <= NEAR * max(usual, 1e-9))
    scores = np.full(len(states), np.nan)
    for k in range(len(states)):
        ours = judged & (owner == k)
        if ours.sum() >= LEAST:
            scores[k] = float(off[ours].mean())
    return scores
