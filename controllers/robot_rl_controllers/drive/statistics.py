"""Histograms of the loop's times, counted in place in shared memory: a tick adds one, a reader works out the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl_controllers.drive.slots import Memory

FINE_US = 4000  # one bin per microsecond up to here, then one per 100 us
COARSE_US = 100
COARSE_BINS = 1000
BINS = FINE_US + COARSE_BINS
_LARGEST = BINS  # after the bins: the largest value [us], rounded up
_SIZE = BINS + 1
HISTOGRAM_BYTES = 2 * 8 * _SIZE


class Histogram:
    """How often a time fell into each bin."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        if counts.shape != (_SIZE,):
            raise ConfigError(f"a histogram needs {_SIZE} counters, got {counts.shape}")
        self._counts = counts

    def add(self, ns: int) -> None:
        """Count one time in nanoseconds."""
        us = max(ns // 1000, 0)
        where = us if us < FINE_US else min(FINE_US + (us - FINE_US) // COARSE_US, BINS - 1)
        self._counts[where] += 1
        if us > self._counts[_LARGEST]:
            self._counts[_LARGEST] = us

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the bins' upper edges [us] and a copy of the counts, both (5000,)."""
        fine = np.arange(1.0, FINE_US + 1.0)
        coarse = FINE_US + COARSE_US * np.arange(1.0, COARSE_BINS + 1.0)
        return np.concatenate([fine, coarse]), self._counts[:BINS].copy()

    def percentiles(self) -> tuple[float, float, float, float]:
        """Return the 50th, 99th and 99.9th percentile and the largest [us]; zeros before the first time."""
        edges, counts = self.counts()
        total = counts.cumsum()
        if total[-1] == 0:
            return (0.0, 0.0, 0.0, 0.0)
        largest = float(self._counts[_LARGEST])
        p50, p99, p999 = (
            min(float(edges[np.searchsorted(total, share * total[-1])]), largest) for share in (0.5, 0.99, 0.999)
        )
        return (p50, p99, p999, largest)


class Histograms:
    """Response (from state arrived to torque sent) and period (from reading to reading) of a driver's loop."""

    def __init__(self, memory: Memory, offset: int) -> None:
        counts = np.frombuffer(memory.map, np.int64, 2 * _SIZE, offset).reshape(2, _SIZE)
        self.response, self.period = Histogram(counts[0]), Histogram(counts[1])
