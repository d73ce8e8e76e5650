"""The benchmarks, briefly: the lines of the plan that a slow machine or a slow change would break."""

from __future__ import annotations

STAGE = "bench"


def measure(runner):
    return []
