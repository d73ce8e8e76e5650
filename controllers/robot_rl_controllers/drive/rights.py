"""What a real-time loop asks of the operating system, as far as it is granted."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys

from robot_rl_controllers.drive.spec import RealTime

log = logging.getLogger(__name__)

LATENCY = "/dev/cpu_dma_latency"
_MCL_CURRENT, _MCL_FUTURE = 1, 2


def ask_for(wanted: RealTime) -> str:
    """Ask for priority, processors, locked memory and processors that do not sleep; return in words what is granted."""
    granted = [_schedule(wanted)]
    if wanted.lock_memory:
        granted.append("memory locked" if _lock_memory() else "memory not locked")
    if wanted.keep_awake:
        granted.append("processors awake" if keep_awake() else "processors may sleep")
    return ", ".join(granted)


def freeze_garbage() -> None:
    """Collect once, then never again: a collection may take longer than a tick."""
    gc.collect()
    gc.freeze()
    gc.disable()


def keep_awake(device: str = LATENCY) -> bool:
    """Ask for processors that wake without delay, as long as this process lives; return whether that is granted.

    The kernel forgets the wish when the descriptor closes, so it stays open until the process ends.
    """
    try:
        fd = os.open(device, os.O_WRONLY)
    except OSError as error:
        log.warning("processors may sleep between ticks (%s): allow this user to write to it, see docs/fci.md", error)
        return False
    try:
        os.write(fd, (0).to_bytes(4, sys.byteorder))  # microseconds
    except OSError as error:
        os.close(fd)
        log.warning("processors may sleep between ticks: %s refuses the wish (%s)", device, error)
        return False
    return True


def _schedule(wanted: RealTime) -> str:
    if wanted.cpus:
        try:
            os.sched_setaffinity(0, wanted.cpus)
        except (AttributeError, OSError) as error:
            log.warning("the loop cannot be kept on processors %s (%s)", wanted.cpus, error)
    if not wanted.fifo:
        return "normal"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(wanted.priority))
    except (AttributeError, OSError) as error:
        log.warning("no real-time priority (%s): allow rtprio to this user, or expect missed ticks", error)
        return "normal"
    return "fifo"


def _lock_memory() -> bool:
    try:
        failed = ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE)
    except (AttributeError, OSError):
        failed = 1
    if failed:
        why = os.strerror(ctypes.get_errno()) if ctypes.get_errno() else "not supported here"
        log.warning("memory cannot be locked (%s): allow memlock to this user, or expect missed ticks", why)
    return not failed
