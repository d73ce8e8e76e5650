"""Looks at the computer beside a robot and at the way to the robot, for `robot-rl doctor --robot`. None of them raises.

They read and time; nothing is sent to the robot that could change what it does.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import statistics
import struct
import time
from pathlib import Path

from robot_rl.probes import Check, Status

FCI_PORT, DESK_PORT = 1337, 443
FCI_VERSION = 10
PRIORITY = 80
PINGS, PING_GAP_S, PING_WAIT_S = 100, 0.005, 0.2
JITTER_WARN_MS, JITTER_FAIL_MS = 0.5, 1.0
DISK_WARN_GB, DISK_FAIL_GB = 20.0, 1.0


def check_rights(hardware: bool) -> list[Check]:
    """Say whether a loop may run at 1 kHz here: kernel, priority, locked memory, processor speed.

    Args:
        hardware: Whether a real arm is driven from here; what only costs jitter in a twin then fails.
    """
    bad: Status = "fail" if hardware else "warn"
    note = "" if hardware else "only hardware needs it: "
    realtime = "PREEMPT_RT" in platform.version()
    with contextlib.suppress(OSError):
        realtime = realtime or Path("/sys/kernel/realtime").read_text().strip() == "1"
    kernel = f"{platform.release()}, {'PREEMPT_RT' if realtime else 'no PREEMPT_RT'}"
    priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    may = priority == resource.RLIM_INFINITY or priority >= PRIORITY or os.geteuid() == 0
    told = "unlimited" if priority == resource.RLIM_INFINITY else str(priority)
    told += ", root" if os.geteuid() == 0 else ""
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    lock = locked == resource.RLIM_INFINITY or os.geteuid() == 0
    limits = "in /etc/security/limits.d/robot.conf, then log in anew"
    return [
        _check("Kernel", realtime, bad, kernel, f"{note}install a PREEMPT_RT kernel and start it"),
        _check("Priority", may, bad, f"rtprio {told}", f"{note}'{_user()} - rtprio 99' {limits}"),
        _check(
            "Locked memory",
            lock,
            "warn",
            "unlimited" if lock else f"{locked / 1e6:.0f} MB",
            f"{note}'{_user()} - memlock unlimited' {limits}",
        ),
        check_governor(),
    ]


def check_governor(root: Path = Path("/sys/devices/system/cpu")) -> Check:
    """Say whether the processors keep their full speed."""
    found = sorted({p.read_text().strip() for p in root.glob("cpu[0-9]*/cpufreq/scaling_governor")})
    if not found:
        return Check(name="CPU governor", status="ok", found="none: the speed is not scaled here")
    advice = "sudo cpupower frequency-set -g performance (it does not survive a restart)"
    return _check("CPU governor", found == ["performance"], "warn", ", ".join(found), advice)


def check_disk(folder: Path) -> Check:
    """Say whether a day of recordings fits on the disk of `folder`."""
    try:
        free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError as e:
        return Check(
            name="Disk", status="fail", found=f"{folder}: {e.strerror}", advice="run this in a folder of yours"
        )
    status: Status = "fail" if free_gb < DISK_FAIL_GB else "warn" if free_gb < DISK_WARN_GB else "ok"
    advice = "" if status == "ok" else f"a day of full camera frames needs more than {DISK_WARN_GB:g} GB; free some"
    return Check(name="Disk", status=status, found=f"{free_gb:.1f} GB free in {folder}", advice=advice)


def check_network(address: str) -> Check:
    """Time the way to the robot's control box and back."""
    try:
        family, host = _resolve(address)
    except OSError as e:
        advice = "correct the cell's address, or this computer's network settings (docs/hardware.md)"
        return Check(name="Network", status="fail", found=f"'{address}' is unknown here: {e}", advice=advice)
    times_ms, how = ping(host) if family == socket.AF_INET else ([], "")
    if not how:
        times_ms, how = time_connects(host, DESK_PORT), f"TCP to port {DESK_PORT}"
    if not times_ms:
        times_ms, how = time_connects(host, FCI_PORT), f"TCP to port {FCI_PORT}"
    if not times_ms:
        advice = "check cable, power and address: the computer's port must be in the robot's network (docs/hardware.md)"
        return Check(name="Network", status="fail", found=f"{address} does not answer", advice=advice)
    lost = PINGS - len(times_ms)
    p99 = sorted(times_ms)[int(0.99 * (len(times_ms) - 1))]
    found = (
        f"{address}: {statistics.median(times_ms):.2f} ms there and back, p99 {p99:.2f}, max {max(times_ms):.2f}, "
        f"{lost} of {PINGS} lost ({how})"
    )
    status: Status = "fail" if p99 > JITTER_FAIL_MS or lost else "warn" if p99 > JITTER_WARN_MS else "ok"
    advice = "join computer and control box by one cable, no switch, no Wi-Fi; no other traffic on that port"
    return Check(name="Network", status=status, found=found, advice="" if status == "ok" else advice)


def ping(host: str) -> tuple[list[float], str]:
    """Return the times [ms] of echoes that came back, and how they were made; "" if this user may not send any."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except OSError:
        return [], ""
    times_ms = []
    with sock:
        sock.settimeout(PING_WAIT_S)
        for number in range(PINGS):
            start = time.perf_counter()
            with contextlib.suppress(OSError):
                sock.sendto(_echo(number), (host, 0))
                while struct.unpack("!H", sock.recv(1024)[6:8])[0] != number:
                    pass
                times_ms.append(1e3 * (time.perf_counter() - start))
            if number == 9 and not times_ms:
                break  # nobody is there
            time.sleep(PING_GAP_S)
    return times_ms, "ICMP"


def _echo(number: int) -> bytes:
    """Return an ICMP echo request; the kernel fills in identifier and checksum."""
    return struct.pack("!BBHHH", 8, 0, 0, 0, number) + b"robot_rl"


def time_connects(host: str, port: int) -> list[float]:
    """Return the times [ms] of connections to a port that were made, or refused, which takes the same way."""
    times_ms = []
    for number in range(PINGS):
        start = time.perf_counter()
        try:
            socket.create_connection((host, port), timeout=1.0).close()
        except ConnectionRefusedError:
            pass
        except OSError:
            if number == 0:
                return []
            continue
        times_ms.append(1e3 * (time.perf_counter() - start))
        time.sleep(PING_GAP_S)
    return times_ms


def check_fci(address: str, port: int = FCI_PORT, timeout_s: float = 2.0) -> Check:
    """Ask the control box which version of its protocol it speaks. Only while nobody drives the arm."""
    name = "FCI"
    unlock = "in Desk: unlock the joints, activate FCI, end other programs that use the robot"
    try:
        version, accepted = fci_version(address, port, timeout_s)
    except ConnectionRefusedError:
        return Check(name=name, status="fail", found=f"{address} refuses port {port}", advice=unlock)
    except (OSError, ValueError, struct.error) as e:
        return Check(name=name, status="fail", found=f"{address}, port {port}: {e or type(e).__name__}", advice=unlock)
    found = f"protocol version {version}"
    if accepted and version == FCI_VERSION:
        return Check(name=name, status="ok", found=found)
    advice = f"pylibfranka speaks version {FCI_VERSION}: an FR3 with system 5.9 or newer. Update it, or use CRISP"
    return Check(name=name, status="fail", found=f"{found}, ours is {FCI_VERSION}", advice=advice)


def fci_version(address: str, port: int, timeout_s: float) -> tuple[int, bool]:
    """Return the version of the robot's protocol and whether it took ours, as its own library asks when it connects.

    Raises:
        OSError: There is no connection.
        ValueError: The answer is none of this protocol.
    """
    with (
        socket.create_connection((address, port), timeout=timeout_s) as command,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as states,
    ):
        states.bind(("", 0))
        header, request = struct.Struct("<III"), struct.Struct("<HH")
        command.settimeout(timeout_s)
        size = header.size + request.size
        command.sendall(header.pack(0, 1, size) + request.pack(FCI_VERSION, states.getsockname()[1]))
        kind, number, size = header.unpack(_exactly(command, header.size))
        if kind != 0 or number != 1 or not header.size + 3 <= size <= 64:
            raise ValueError("the answer is none of a Franka's")
        status, version = struct.unpack("<BH", _exactly(command, size - header.size)[:3])
        return version, status == 0


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ValueError("the connection was closed before the answer was whole")
        data += more
    return data


def _resolve(address: str) -> tuple[int, str]:
    family, _, _, _, where = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0]
    return family, str(where[0])


def _check(name: str, well: bool, otherwise: Status, found: str, advice: str) -> Check:
    return Check(name=name, status="ok" if well else otherwise, found=found, advice="" if well else advice)


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())
