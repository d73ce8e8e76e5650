"""Shared records: never torn, never lost where they must not be, gone with their last holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import RobotError
from robot_rl_controllers.drive.slots import Book, Layout, Memory, Queue, Slot

LAYOUT = Layout(numbers=120, words=4, text=200)

WRITER = """
import sys, time
from robot_rl_controllers.drive.slots import Layout, Memory, Slot
layout = Layout(numbers=120, words=4, text=200)
slot = Slot(Memory(Slot.size(layout), int(sys.argv[1])), 0, layout)
end = time.monotonic() + float(sys.argv[2])
i = 0
while time.monotonic() < end:
    i += 1
    slot.numbers[:] = i
    slot.words[:] = i
    slot.set_text(str(i) * (i % 7 + 1))
    slot.publish()
"""


def writer(memory: Memory, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(memory.fd), str(seconds)], pass_fds=(memory.fd,))


def test_readers_never_see_a_torn_record_while_another_process_writes() -> None:
    memory = Memory(Slot.size(LAYOUT))
    slot = Slot(memory, 0, LAYOUT)
    process = writer(memory, 3.0)
    try:
        last = read = 0
        while process.poll() is None:
            record = slot.read()
            if record is None:
                continue
            i = record.count
            assert (record.numbers == i).all()
            assert (record.words == i).all()
            assert record.text == str(i) * (i % 7 + 1)
            assert i >= last, "a reader never goes back"
            read += i > last
            last = i
        assert read > 100
        assert slot.read().count == slot.count > 1000
    finally:
        process.kill()
        process.wait()


def test_a_writer_killed_at_any_moment_leaves_a_whole_record() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        memory = Memory(Slot.size(LAYOUT))
        slot = Slot(memory, 0, LAYOUT)
        process = writer(memory, 60.0)
        try:
            while slot.count < 100 and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.01))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        record = slot.read()
        assert (record.numbers == record.count).all()


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(), min_size=3, max_size=3),
    words=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
    text=st.text(max_size=30),
)
def test_what_is_written_is_read(values: list[float], words: list[int], text: str) -> None:
    layout = Layout(numbers=3, words=2, text=16)
    memory = Memory(Slot.size(layout))
    here, there = Slot(memory, 0, layout), Slot(memory, 0, layout)
    here.numbers[:], here.words[:] = values, words
    here.set_text("something longer that was there before"[:16])
    here.set_text(text)
    assert here.publish() == 1
    record = there.read()
    np.testing.assert_array_equal(record.numbers, values)
    assert record.words.tolist() == words
    assert text.encode().startswith(record.text.encode()), "a text that does not fit is cut between characters"
    assert len(record.text.encode()) >= min(len(text.encode()), 16) - 3


def test_a_record_that_was_damaged_is_not_believed() -> None:
    layout = Layout(numbers=3, words=2)
    memory = Memory(Slot.size(layout))
    slot = Slot(memory, 0, layout)
    assert slot.read() is None
    slot.publish()
    memory.map[64 + layout.dtype().itemsize + 40] ^= 1  # the first record lies in the second place
    with pytest.raises(RobotError, match=r"record 1 .* is damaged; start the driver anew"):
        slot.read()


def test_a_queue_loses_nothing_and_refuses_what_it_cannot_hold() -> None:
    layout = Layout(numbers=1, words=1)
    memory = Memory(Queue.size(layout))
    sender, taker = Queue(memory, 0, layout), Queue(memory, 0, layout)
    rng = np.random.default_rng(0)
    sent = taken = 0
    for _ in range(2000):
        if rng.random() < 0.5:
            sender.words[0] = sent
            if sent - taken == 15:
                with pytest.raises(RobotError, match="its loop stands still"):
                    sender.publish()
            else:
                sender.publish()
                sent += 1
        elif taker.waiting:
            assert taker.take().words[0] == taken
            taken += 1
        else:
            assert taker.take() is None
            assert taken == sent
    assert taken > 500


def test_a_book_finds_its_last_records_by_number() -> None:
    layout = Layout(numbers=0, words=1)
    memory = Memory(Book.size(layout))
    writing, reading = Book(memory, 0, layout), Book(memory, 0, layout)
    for i in range(1, 41):
        assert reading.find(i) is None
        writing.words[0] = i * i
        writing.publish()
        assert reading.find(i).words[0] == i * i
    assert reading.find(40 - 15).words[0] == 25**2
    assert reading.find(10) is None, "it is no longer kept"


def test_the_memory_has_no_name_and_must_be_large_enough() -> None:
    memory = Memory(1000)
    if os.path.isdir("/proc/self/fd"):
        assert "deleted" in os.readlink(f"/proc/self/fd/{memory.fd}")
    with pytest.raises(RobotError, match="1000 bytes where 2000 are needed"):
        Memory(2000, memory.fd)
    memory.close()
    memory.close()
