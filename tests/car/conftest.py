"""Cars and a VESC for the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cars import F1TENTH, MIRRORED
from vesc_peer import VescPeer

from robot_rl_hardware.car.settings import CarSettings


@pytest.fixture(params=[F1TENTH, MIRRORED], ids=["f1tenth", "mirrored"])
def car(request: pytest.FixtureRequest) -> CarSettings:
    """Return a car; the tests must hold for each."""
    return request.param


@pytest.fixture
def f1tenth() -> CarSettings:
    """Return F1TENTH's car."""
    return F1TENTH


@pytest.fixture
def peer() -> Iterator[VescPeer]:
    """Yield a VESC on a pseudo-terminal."""
    with VescPeer() as made:
        yield made
