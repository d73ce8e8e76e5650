"""A SpaceMouse, read from the kernel's /dev/hidraw*: six axes under one hand; nothing to install.

It reports again and again while its cap is deflected and falls silent at rest, after a report of zeros. So silence
while the last report was deflected is the death of the device or of its link, and a deflection that repeats itself
without the least change is a link that hangs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from robot_rl.errors import RobotError
from robot_rl_hardware.operator.device import Sample

AUTO = "auto"
FULL = 350.0
"""What an axis says at full deflection, about, on all of them."""
REPORT = 64
MOST_READS = 64
RULES = "/etc/udev/rules.d/70-spacemouse.rules"  # below 73, where the seat's user is let in

# Vendor and product -> name. 3Dconnexion's own vendor, and Logitech's, under which it sold the older ones.
KNOWN: dict[tuple[int, int], str] = {
    (0x046D, 0xC603): "SpaceMouse Plus",
    (0x046D, 0xC605): "CADman",
    (0x046D, 0xC606): "SpaceMouse Classic",
    (0x046D, 0xC621): "SpaceBall 5000",
    (0x046D, 0xC623): "SpaceTraveler",
    (0x046D, 0xC625): "SpacePilot",
    (0x046D, 0xC626): "SpaceNavigator",
    (0x046D, 0xC627): "SpaceExplorer",
    (0x046D, 0xC628): "SpaceNavigator for Notebooks",
    (0x046D, 0xC629): "SpacePilot Pro",
    (0x046D, 0xC62B): "SpaceMouse Pro",
    (0x256F, 0xC62C): "LIPARI",
    (0x256F, 0xC62E): "SpaceMouse Wireless (cabled)",
    (0x256F, 0xC62F): "SpaceMouse Wireless (receiver)",
    (0x256F, 0xC631): "SpaceMouse Pro Wireless (cabled)",
    (0x256F, 0xC632): "SpaceMouse Pro Wireless (receiver)",
    (0x256F, 0xC633): "SpaceMouse Enterprise",
    (0x256F, 0xC635): "SpaceMouse Compact",
    (0x256F, 0xC636): "SpaceMouse Module",
    (0x256F, 0xC638): "SpaceMouse Pro Wireless (Bluetooth)",
    (0x256F, 0xC63A): "SpaceMouse Wireless (Bluetooth)",
    (0x256F, 0xC652): "Universal Receiver",
}
_SIX_AXES = bytes((0x05, 0x01, 0x09, 0x08))
"""How a report descriptor begins that is of a multi-axis controller: a receiver has other interfaces too."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A SpaceMouse that is plugged in: its device file, its name and its ids."""

    path: str
    name: str
    vendor: int
    product: int


def find_spacemice(sys: Path = Path("/sys/class/hidraw"), dev: Path = Path("/dev")) -> list[Found]:
    """Return what is plugged in, by its ids in /sys; reading those needs no rights.

    Args:
        sys, dev: Where the kernel lists hidraw devices, and where their files are.
    """
    made = []
    for folder in sorted(sys.glob("hidraw*")):
        ids = _ids(folder / "device" / "uevent")
        if ids not in KNOWN:
            continue
        with contextlib.suppress(OSError):
            descriptor = (folder / "device" / "report_descriptor").read_bytes()
            if not descriptor.startswith(_SIX_AXES):
                continue
        made.append(Found(path=str(dev / folder.name), name=KNOWN[ids], vendor=ids[0], product=ids[1]))
    return made


def _ids(uevent: Path) -> tuple[int, int]:
    """Return vendor and product of a line such as HID_ID=0003:0000256F:0000C635; zeros if there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in uevent.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("HID_ID="):
                _, vendor, product = line.partition("=")[2].split(":")
                return int(vendor, 16), int(product, 16)
    return 0, 0


def udev_rule(vendors: tuple[int, ...] = (0x256F, 0x046D)) -> str:
    """Return the lines of a udev rule that lets the user at the seat read the device."""
    return "\n".join(
        f'SUBSYSTEM=="hidraw", ATTRS{{idVendor}}=="{vendor:04x}", MODE="0660", TAG+="uaccess"' for vendor in vendors
    )


class SpaceMouseReports:
    """What the reports of a SpaceMouse add up to.

    Report 1 is the translation, 2 the rotation, 3 the buttons as bits; newer ones send all six axes in a report 1 of
    13 bytes. Axes 0 to 5 are x right, y towards the person, z down, and rotations about them, as the device says them.
    """

    def __init__(self) -> None:
        self.axes: dict[int, float] = dict.fromkeys(range(6), 0.0)
        self.held: set[int] = set()

    def take(self, report: bytes) -> list[int]:
        """Take in a report and return the buttons that went down; one of another kind, or cut short, says nothing."""
        kind, size = report[0] if report else 0, len(report)
        if kind == 1 and size >= 13:
            self._set(0, struct.unpack_from("<6h", report, 1))
        elif kind in (1, 2) and size >= 7:
            self._set(3 * (kind - 1), struct.unpack_from("<3h", report, 1))
        elif kind == 3 and size >= 2:
            bits = int.from_bytes(report[1:5], "little")
            now = {i for i in range(32) if bits >> i & 1}
            pressed = sorted(now - self.held)
            self.held = now
            return pressed
        return []

    def _set(self, first: int, values: tuple[int, ...]) -> None:
        for i, value in enumerate(values):
            self.axes[first + i] = min(max(value / FULL, -1.0), 1.0)


class SpaceMouseSource:
    """A SpaceMouse's axes and buttons.

    Args:
        path: The device file; "auto" takes the only SpaceMouse that is plugged in.
    """

    def __init__(self, path: str = AUTO) -> None:
        self._wanted = self.path = path
        self.gone = ""
        self._fd = -1
        self._what = "SpaceMouse"
        self._reports = SpaceMouseReports()

    @property
    def name(self) -> str:
        """What it is, for sentences."""
        return f"the {self._what} {self.path}"

    def open(self) -> None:
        """Open the device; raises `RobotError` when it cannot, with the udev rule when that is why."""
        self.close()
        if self._wanted == AUTO:
            found = _the_only_one(find_spacemice())
            self.path, self._what = found.path, found.name
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise RobotError(_cannot_open(self.name, self.path, e)) from e
        self._reports = SpaceMouseReports()
        self.gone = ""

    def close(self) -> None:
        """Close the device. Safe to call twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def poll(self) -> Sample:
        """Return what it says now."""
        if self._fd < 0 or self.gone:
            return Sample(trouble=self.gone or f"{self.name} is not open")
        arrived, pressed = False, list[int]()
        try:
            for _ in range(MOST_READS):
                report = os.read(self._fd, REPORT)  # hidraw gives one report at a time
                if not report:
                    self.gone = f"{self.name} was unplugged"
                    break
                arrived = True
                pressed += self._reports.take(report)
        except BlockingIOError:
            pass
        except OSError as e:
            self.gone = f"{self.name} is gone: {os.strerror(e.errno or errno.EIO)}"
        return Sample(
            axes=dict(self._reports.axes), held=frozenset(self._reports.held), pressed=pressed, arrived=arrived,
            trouble=self.gone,
        )  # fmt: skip


def _the_only_one(found: list[Found]) -> Found:
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{f.path} ({f.name})" for f in found)
        raise RobotError(f"there are {len(found)} SpaceMice: {listed}; choose one with operator.device=")
    raise RobotError(
        "no SpaceMouse is plugged in (none of the hidraw devices in /sys/class/hidraw has a known id); plug one in, or "
        "give its device file with operator.device=/dev/hidraw0"
    )


def _cannot_open(name: str, path: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path} may not be read by this user. Write these lines to {RULES}:\n{udev_rule()}\n"
            "then: sudo udevadm control --reload && sudo udevadm trigger, and plug it in anew"
        )
    there = ", ".join(f"{f.path} ({f.name})" for f in find_spacemice()) or "none is plugged in"
    return f"{name} cannot be opened: {os.strerror(error.errno or errno.EIO)}; SpaceMice here: {there}"
