"""What `robot-rl doctor --robot` makes of what was measured at an arm: checks with a status and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_rl.cell import Cell
from robot_rl.cell_file import bounds_hash, cell_hash
from robot_rl.errors import RobotError
from robot_rl.preflight import check_preflight, is_simulator
from robot_rl.probes import Check, Status
from robot_rl.probes_robot import check_disk, check_fci, check_network, check_rights

RATE_HZ, SLOW_HZ = 80.0, 40.0
AGE_WARN_MS, AGE_FAIL_MS = 30.0, 100.0
SKEW_WARN_MS, SKEW_FAIL_MS = 2.0, 50.0
LATENCY_WARN_MS, LATENCY_FAIL_MS = 30.0, 100.0
CAMERA_AGE_WARN_MS, CAMERA_AGE_FAIL_MS, CAMERA_HZ = 60.0, 200.0, 10.0
RESPONSE_WARN_US, RESPONSE_FAIL_US = 300.0, 800.0
GRIPPER_MIN_M = 0.01


@dataclass(frozen=True, kw_only=True)
class TopicTiming:
    """How one topic came.

    Attributes:
        rate_hz: Messages a second.
        age_ms: Age at arrival by the stamps: smallest, median, 99th percentile.
    """

    rate_hz: float = 0.0
    age_ms: tuple[float, float, float] = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class ArmMeasurement:
    """What was measured at an arm node, or found missing.

    Attributes:
        where: Namespace and domain.
        trouble: Why ROS itself could not be used; empty if it could.
        status: The node's newest status; {} if no node answered.
        topics: Timing by topic.
        cameras: Timing of each camera's pictures, by name.
        camera_status: What each camera node says.
        latency_ms: From a request to its answer, while the arm held.
        latency_note: Why there is none.
        gripper_m: Narrowest and widest opening that were reached; None if it was not moved.
        others: Programs that command the arm.
        participants: ROS programs of this machine in the domain.
    """

    where: str
    trouble: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    topics: Mapping[str, TopicTiming] = field(default_factory=dict)
    cameras: Mapping[str, TopicTiming] = field(default_factory=dict)
    camera_status: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    latency_ms: tuple[float, ...] = ()
    latency_note: str = ""
    gripper_m: tuple[float, float] | None = None
    others: int = 0
    participants: int = 0


def robot_checks(
    measured: ArmMeasurement, cell: Cell, folder: Path, *, signing: bool, moved: bool, state: Path | None = None
) -> list[Check]:
    """Return every check.

    Args:
        measured: At the arm node.
        cell: The cell that is meant.
        folder: Where runs are written.
        signing: Whether a person is about to sign: hardware starts only afterwards, so a missing node is no fault.
        moved: Whether the gripper was to be moved.
        state: Where preflight records are kept; the user's own folder by default.
    """
    hardware = bool(cell.address) and not is_simulator(cell.address)
    checks = [check_ros(measured), check_node(measured, signing)]
    if measured.status:
        checks += [*check_topics(measured), check_clock(measured), check_latency(measured), check_loop(measured)]
        checks.append(check_mode(measured))
        if moved:
            checks.append(check_gripper(measured))
    checks += [*check_cameras(measured, cell), *check_cell(cell, hardware), *check_rights(hardware)]
    if hardware:
        checks.append(check_network(cell.address))
    if cell.address:
        checks.append(_fci(measured, cell))
    checks.append(check_disk(folder))
    if hardware and not signing:
        checks.append(check_record(cell, state))
    return checks


def check_ros(measured: ArmMeasurement) -> Check:
    """Say whether ROS can be used here, and who else is in the domain."""
    if measured.trouble:
        return Check(name="ROS 2", status="fail", found=measured.trouble, advice="mend it, then try again")
    found = f"{measured.where}; {measured.participants} other ROS programs of this machine in the domain"
    return Check(name="ROS 2", status="ok", found=found)


def check_node(measured: ArmMeasurement, signing: bool) -> Check:
    """Say whether an arm node answers."""
    if measured.status:
        known = [str(measured.status.get(k)) for k in ("driver", "task", "node") if measured.status.get(k)]
        return Check(name="Arm node", status="ok", found=", ".join(known) or "answers")
    if signing:
        advice = "sign, start it, and look again with: robot-rl doctor --robot"
        return Check(name="Arm node", status="warn", found="not running yet", advice=advice)
    advice = "start one: robot-rl node arm driver=twin task=reach, or give its --domain and --namespace"
    return Check(name="Arm node", status="fail", found=f"none answers on {measured.where}", advice=advice)


def check_topics(measured: ArmMeasurement) -> list[Check]:
    """Judge rate and age of each topic."""
    checks = []
    for name, timing in measured.topics.items():
        age_ms = timing.age_ms[2]
        status: Status = "ok"
        if timing.rate_hz < SLOW_HZ or not age_ms < AGE_FAIL_MS:
            status = "fail"
        elif timing.rate_hz < RATE_HZ or age_ms > AGE_WARN_MS:
            status = "warn"
        found = f"{timing.rate_hz:.0f} Hz, age median {timing.age_ms[1]:.1f} ms, p99 {age_ms:.1f} ms"
        if timing.rate_hz == 0.0:
            found = "nothing came"
        advice = "" if status == "ok" else "is the arm's computer busy? Close other programs; node.publish_hz is 100"
        checks.append(Check(name=f"Topic {name}", status=status, found=found, advice=advice))
    return checks


def check_clock(measured: ArmMeasurement) -> Check:
    """Judge the clocks of both ends: a message cannot arrive before it is sent, nor does the fastest take long."""
    ages = [t.age_ms[0] for t in measured.topics.values() if not math.isnan(t.age_ms[0])]
    if not ages:
        return Check(name="Clock skew", status="fail", found="no stamped message came", advice="see the topics above")
    least_ms = min(ages)
    off_ms = max(-least_ms, least_ms - LATENCY_WARN_MS, 0.0)
    status: Status = "fail" if off_ms > SKEW_FAIL_MS else "warn" if off_ms > SKEW_WARN_MS else "ok"
    advice = "" if status == "ok" else "let both computers follow one clock: sudo apt install chrony on each"
    found = f"the fastest message was {least_ms:.1f} ms old at its arrival"
    return Check(name="Clock skew", status=status, found=found, advice=advice)


def check_latency(measured: ArmMeasurement) -> Check:
    """Judge the time from a request to the guard's answer."""
    name, values = "Latency", sorted(measured.latency_ms)
    if not values:
        return Check(
            name=name, status="warn", found=f"not measured: {measured.latency_note or 'no answers'}", advice=""
        )
    p50, p99 = values[len(values) // 2], values[int(0.99 * (len(values) - 1))]
    status: Status = "fail" if p99 > LATENCY_FAIL_MS else "warn" if p99 > LATENCY_WARN_MS else "ok"
    found = f"request to answer: median {p50:.1f} ms, p99 {p99:.1f}, max {values[-1]:.1f} ({len(values)} requests)"
    advice = "" if status == "ok" else "commands come late to the arm: close other programs, use a cable"
    return Check(name=name, status=status, found=found, advice=advice)


def check_loop(measured: ArmMeasurement) -> Check:
    """Judge the driver's own loop by what its status tells."""
    ticks = measured.status.get("ticks")
    name = "1 kHz loop"
    try:
        response = [float(v) for v in ticks["response_us"]]  # pyright: ignore[reportOptionalSubscript]
        count, missed, rights = int(ticks["n"]), int(ticks["missed"]), str(ticks["real_time"])  # pyright: ignore[reportOptionalSubscript]
        p99 = response[1]
    except (TypeError, KeyError, ValueError, IndexError):
        return Check(name=name, status="ok", found="this driver does not tell")
    status: Status = "fail" if p99 > RESPONSE_FAIL_US else "warn" if p99 > RESPONSE_WARN_US else "ok"
    if measured.status.get("driver") == "twin" and status == "fail":
        status = "warn"  # a twin that is late is only slower
    if count and missed / count > 0.001 and status == "ok":
        status = "warn"
    found = f"answers within {p99:.0f} us (p99), {missed} of {count} ticks missed, {rights}"
    advice = (
        "" if status == "ok" else "see Kernel, Priority, CPU governor; keep learners and browsers off this computer"
    )
    return Check(name=name, status=status, found=found, advice=advice)


def check_mode(measured: ArmMeasurement) -> Check:
    """Say what the driver does and what its guard counted."""
    mode, reason = str(measured.status.get("mode", "")), str(measured.status.get("reason", "") or "")
    counts = measured.status.get("counts")
    counted = ", ".join(f"{k} {v}" for k, v in sorted(counts.items())) if isinstance(counts, Mapping) else ""
    found = f"{mode}{': ' if reason else ''}{reason}; {counted or 'nothing counted'}"
    advice = {
        "RUN": "",
        "HOLD": "robot-rl recover",
        "STOPPED": "look at the cell, then robot-rl acknowledge",
        "RESETTING": "wait until it is there",
    }.get(mode, "read the arm node's log")
    status: Status = "ok" if mode == "RUN" else "fail" if mode in ("FAULT", "CLOSED") else "warn"
    if measured.others:
        found += f"; {measured.others} program(s) command it"
    return Check(name="Guard", status=status, found=found, advice=advice)


def check_gripper(measured: ArmMeasurement) -> Check:
    """Judge how far the gripper went."""
    name = "Gripper"
    if measured.gripper_m is None:
        found = f"not moved: {measured.latency_note or 'the arm does not run'}"
        return Check(name=name, status="warn", found=found, advice="bring the arm to RUN, then --move again")
    low, high = measured.gripper_m
    well = high - low >= GRIPPER_MIN_M
    found = f"{1e3 * low:.1f} to {1e3 * high:.1f} mm"
    advice = "" if well else "it does not open and close: home it in Desk, take out what it holds, check its power"
    return Check(name=name, status="ok" if well else "fail", found=found, advice=advice)


def check_cameras(measured: ArmMeasurement, cell: Cell) -> list[Check]:
    """Judge each camera of the cell and of the topics."""
    checks = []
    for name in sorted({*cell.cameras, *measured.cameras}):
        timing = measured.cameras.get(name)
        if timing is None or timing.rate_hz == 0.0:
            advice = f"start it: robot-rl node camera, with a cell whose cameras hold {name}"
            checks.append(Check(name=f"Camera {name}", status="warn", found="no pictures come", advice=advice))
        else:
            checks.append(_camera(name, timing, measured.camera_status.get(name, {})))
        if name in cell.cameras:
            checks.append(_exposure(name, cell.cameras[name]))
    return checks


def _camera(name: str, timing: TopicTiming, told: Mapping[str, Any]) -> Check:
    age_ms, advice = timing.age_ms[2], ""
    status: Status = "ok"
    if told.get("ok") is False or not age_ms < CAMERA_AGE_FAIL_MS:
        status, advice = (
            "fail",
            str(told.get("reason") or "its pictures are too old: use another USB port or a lower rate"),
        )
    elif age_ms > CAMERA_AGE_WARN_MS or timing.rate_hz < CAMERA_HZ:
        status, advice = "warn", "its pictures come late: use a USB 3 port of its own, a lower rate or size"
    found = f"{timing.rate_hz:.0f} Hz, age median {timing.age_ms[1]:.0f} ms, p99 {age_ms:.0f} ms"
    return Check(name=f"Camera {name}", status=status, found=found, advice=advice)


def _exposure(name: str, settings: Any) -> Check:
    values = settings if isinstance(settings, Mapping) else {}
    title = f"Exposure {name}"
    if values.get("kind") in ("twin", "topic"):
        return Check(name=title, status="ok", found="not ours to lock")
    if not values.get("lock", True):
        advice = f"set cameras.{name}.lock to true: a policy that learnt at one brightness fails at another"
        return Check(name=title, status="warn", found="automatic", advice=advice)
    fixed = values.get("exposure")
    return Check(
        name=title, status="ok", found=f"fixed at {fixed:g}" if isinstance(fixed, int | float) else "locked at start"
    )


def check_cell(cell: Cell, hardware: bool) -> list[Check]:
    """Say whether the bounds were measured, and which they are."""
    where = f"cell '{cell.name}' ({cell_hash(cell)})"
    if cell.bounds is None:
        status: Status = "fail" if hardware else "ok"
        advice = "robot-rl calibrate bounds --cell my_cell.yaml" if hardware else ""
        return [Check(name="Bounds", status=status, found=f"{where}: never measured", advice=advice)]
    size = " x ".join(f"{s:.2f}" for s in cell.bounds.sides_m)
    found = f"{where}: {size} m, {len(cell.keep_out)} keep-out boxes, hash {bounds_hash(cell)}"
    return [Check(name="Bounds", status="ok", found=found)]


def check_record(cell: Cell, state: Path | None = None) -> Check:
    """Say whether a fresh preflight was signed."""
    try:
        record = check_preflight(cell, state)
    except RobotError as e:
        return Check(
            name="Signed", status="fail", found=str(e), advice="robot-rl doctor --robot --cell FILE --sign NAME"
        )
    return Check(name="Signed", status="ok", found=f"by {record.who}" if record else "not needed")


def _fci(measured: ArmMeasurement, cell: Cell) -> Check:
    """Ask the robot for its version, unless it is being driven: a second connection might disturb it."""
    if measured.status.get("driver") == "fci" and measured.status.get("mode") not in ("FAULT", "CLOSED"):
        return Check(name="FCI", status="ok", found="in use by the arm node")
    if measured.participants and not measured.status and not is_simulator(cell.address):
        advice = (
            "give the arm node's --namespace, or end the other ROS programs: a second connection may disturb an arm"
        )
        return Check(name="FCI", status="warn", found="not asked: other ROS programs run here", advice=advice)
    return check_fci(cell.address)


def verdict(checks: Sequence[Check]) -> str:
    """Return one sentence: whether the robot can be driven."""
    failed = [c.name for c in checks if c.status == "fail"]
    warned = [c.name for c in checks if c.status == "warn"]
    if failed:
        return f"The robot cannot be driven like this; mend first: {', '.join(failed)}."
    return f"The robot can be driven; look at: {', '.join(warned)}." if warned else "The robot can be driven."
