"""What a loop asks of the system: the wish that processors stay awake, and what is said where it is not granted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from robot_rl_controllers.drive.rights import ask_for, keep_awake
from robot_rl_controllers.drive.spec import ORDINARY


def test_the_wish_is_written_and_stays_open_with_the_process(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    assert keep_awake(str(device))
    assert device.read_bytes() == bytes(4)
    [fd] = [int(p.name) for p in Path("/proc/self/fd").iterdir() if p.resolve() == device]
    os.close(fd)


@pytest.mark.parametrize(("device", "why"), [("missing", "No such file"), ("/dev/full", "No space left")])
def test_a_wish_that_is_not_granted_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, device: str, why: str
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with caplog.at_level(logging.WARNING):
        assert not keep_awake(os.path.join(tmp_path, device))
    [record] = caplog.records
    assert "processors may sleep between ticks" in record.message
    assert why in record.message
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_ordinary_process_asks_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert ask_for(ORDINARY) == "normal"
    assert not caplog.records
