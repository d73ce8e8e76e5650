"""`robot-rl doctor --robot`: against a real arm node, without one, and its checks of machine and network."""

from __future__ import annotations

import json
import math
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preflight_rig import ROBOT_RL, environment

from robot_rl.cell import Box, Cell
from robot_rl.cell_file import save_cell
from robot_rl.doctor_robot import ArmMeasurement, TopicTiming, robot_checks, verdict
from robot_rl.preflight import STATEMENTS, check_preflight, preflight_path
from robot_rl.probes import Check
from robot_rl.probes_robot import FCI_VERSION, check_fci, check_governor, check_network

pytestmark = pytest.mark.ros

BOUNDS = Box(min_m=(0.3, -0.2, 0.0), max_m=(0.6, 0.2, 0.4))
WELL = ArmMeasurement(
    where="/arm, ROS domain 1",
    status={"mode": "RUN", "driver": "fci", "counts": {"workspace": 2}},
    topics={"current_pose": TopicTiming(rate_hz=100.0, age_ms=(0.4, 1.0, 3.0))},
    latency_ms=(2.0, 3.0, 4.0),
)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {c.name: c for c in checks}


def look(measured: ArmMeasurement, cell: Cell | None = None, **options: Any) -> dict[str, Check]:
    """Return the checks of a measurement in a simulated cell."""
    return by_name(robot_checks(measured, cell or Cell(), Path(), **{"signing": False, "moved": False, **options}))


def changed(**values: Any) -> ArmMeasurement:
    return ArmMeasurement(**{**{f: getattr(WELL, f) for f in WELL.__dataclass_fields__}, **values})


@pytest.mark.parametrize(
    ("measured", "name", "status"),
    [
        (WELL, "Topic current_pose", "ok"),
        (WELL, "Latency", "ok"),
        (WELL, "Clock skew", "ok"),
        (WELL, "Guard", "ok"),
        (changed(topics={"wrench": TopicTiming()}), "Topic wrench", "fail"),
        (changed(topics={"wrench": TopicTiming(rate_hz=60.0, age_ms=(1.0, 2.0, 3.0))}), "Topic wrench", "warn"),
        (changed(topics={"wrench": TopicTiming(rate_hz=100.0, age_ms=(-80.0, -79.0, -70.0))}), "Clock skew", "fail"),
        (changed(topics={"wrench": TopicTiming(rate_hz=100.0, age_ms=(90.0, 91.0, 92.0))}), "Clock skew", "fail"),
        (changed(latency_ms=(2.0,) * 50 + (200.0,) * 50), "Latency", "fail"),
        (changed(latency_ms=(), latency_note="another program commands the arm"), "Latency", "warn"),
        (changed(status={"mode": "STOPPED", "reason": "operator's key"}), "Guard", "warn"),
        (changed(status={"mode": "FAULT", "reason": "gone"}), "Guard", "fail"),
        (changed(status={}), "Arm node", "fail"),
        (changed(trouble="two ROS installations are mixed"), "ROS 2", "fail"),
        (changed(cameras={"front": TopicTiming(rate_hz=30.0, age_ms=(20.0, 30.0, 40.0))}), "Camera front", "ok"),
        (changed(cameras={"front": TopicTiming(rate_hz=30.0, age_ms=(20.0, 30.0, 400.0))}), "Camera front", "fail"),
    ],
)
def test_each_measurement_is_judged(measured: ArmMeasurement, name: str, status: str) -> None:
    check = look(measured)[name]
    assert check.status == status
    assert status == "ok" or check.advice or "not measured" in check.found


def test_the_grippers_range_is_judged_only_when_it_was_to_move() -> None:
    assert "Gripper" not in look(WELL)
    assert look(changed(gripper_m=(0.001, 0.079)), moved=True)["Gripper"].status == "ok"
    assert look(changed(gripper_m=(0.04, 0.041)), moved=True)["Gripper"].status == "fail"
    assert look(WELL, moved=True)["Gripper"].status == "warn"


def test_hardware_needs_measured_bounds_and_a_signature(tmp_path: Path) -> None:
    cell = Cell(name="bench", address="192.0.2.1", bounds=None)
    checks = look(changed(status={}), cell, state=tmp_path)
    assert checks["Bounds"].status == "fail"
    assert checks["Signed"].status == "fail"
    signing = look(changed(status={}), cell, signing=True, state=tmp_path)
    assert signing["Arm node"].status == "warn"
    assert "Signed" not in signing


def test_a_robot_that_is_driven_is_not_asked_for_its_version() -> None:
    cell = Cell(address="127.0.0.1", bounds=BOUNDS)
    assert look(WELL, cell)["FCI"].found == "in use by the arm node"


def test_cameras_of_the_cell_are_missed_and_their_exposure_is_looked_at() -> None:
    cameras: Mapping[str, Any] = {
        "front": {"kind": "realsense", "exposure": 120},
        "wrist": {"kind": "opencv", "lock": False},
    }
    checks = look(WELL, Cell(cameras=cameras))
    assert checks["Camera front"].status == "warn"
    assert checks["Exposure front"].found == "fixed at 120"
    assert checks["Exposure wrist"].status == "warn"


odd = st.floats() | st.none() | st.text(max_size=3)


@given(st.dictionaries(st.sampled_from(["mode", "reason", "driver", "counts", "ticks"]), odd), st.lists(st.floats()))
@settings(deadline=None, max_examples=40)
def test_nothing_that_a_node_tells_breaks_the_doctor(status: dict[str, Any], latency: list[float]) -> None:
    finite = tuple(v for v in latency if math.isfinite(v))
    assert verdict(list(look(changed(status=status, latency_ms=finite)).values()))


class Box1337:
    """A peer that answers a connection as a control box does, with a version of its choice."""

    def __init__(self, answer: Callable[[bytes], bytes], host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self._server = socket.create_server((host, port))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer:
                if request := peer.recv(16, socket.MSG_WAITALL):
                    peer.sendall(self._answer(request))

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(20.0)


def speaks(version: int) -> Callable[[bytes], bytes]:
    def answer(request: bytes) -> bytes:
        command, number, size = struct.unpack("<III", request[:12])
        (asked,) = struct.unpack("<H", request[12:14])
        assert (command, size) == (0, 16)
        return struct.pack("<IIIBH", command, number, 15, int(asked != version), version)

    return answer


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (speaks(FCI_VERSION), "ok", f"version {FCI_VERSION}"),
        (speaks(5), "fail", "version 5, ours is 10"),
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "fail", "none of a Franka's"),
        (lambda _: b"\x00\x00", "fail", "before the answer was whole"),
    ],
)
def test_the_robots_version_is_asked_for(answer: Callable[[bytes], bytes], status: str, told: str) -> None:
    box = Box1337(answer)
    try:
        check = check_fci("127.0.0.1", box.port)
    finally:
        box.close()
    assert check.status == status
    assert told in check.found


def test_an_address_where_nobody_is_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert check_fci("127.0.0.1", port).status == "fail"
    check = check_network("no-such-robot.invalid")
    assert check.status == "fail"
    assert "address" in check.advice


def test_a_governor_that_saves_power_is_a_warning(tmp_path: Path) -> None:
    assert check_governor(tmp_path).status == "ok"
    for i, governor in enumerate(("performance", "powersave")):
        folder = tmp_path / f"cpu{i}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
        assert check_governor(tmp_path).status == ("ok" if governor == "performance" else "warn")


def doctor(state: Path, *arguments: str) -> tuple[int, dict[str, Check]]:
    """Return the exit status and the checks of `robot-rl doctor --robot --json`."""
    done = subprocess.run(
        [*ROBOT_RL, "doctor", "--robot", "--json", *arguments],
        capture_output=True,
        text=True,
        env=environment(state),
        cwd=state,
        timeout=120,
        check=False,
    )
    told = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0), done.stderr
    return done.returncode, by_name([Check(**c) for c in told["checks"]])


def test_a_running_arm_is_measured_and_left_running(arm_domain: int, tmp_path: Path) -> None:
    _, checks = doctor(tmp_path, "--domain", str(arm_domain), "--wait", "60", "--move")
    assert checks["Arm node"].status == "ok"
    assert "twin" in checks["Arm node"].found
    assert {f"Topic {t}" for t in ("current_pose", "joint_states", "wrench")} <= set(checks)
    assert "requests" in checks["Latency"].found
    # On a busy machine a request may come too late, for which the arm rightly holds.
    assert checks["Gripper"].status == "ok" or "too late" in checks["Gripper"].found
    assert checks["Guard"].found.startswith("RUN")
    if checks["Gripper"].status == "ok":
        assert "80.0 mm" in checks["Gripper"].found
        _, again = doctor(tmp_path, "--domain", str(arm_domain), "--wait", "60")
        assert again["Guard"].found.startswith("RUN")


def test_without_an_arm_the_doctor_says_what_is_missing(arm_domain: int, tmp_path: Path) -> None:
    status, checks = doctor(tmp_path, "--domain", str(arm_domain), "--namespace", "/nowhere", "--wait", "1")
    assert status == 1
    assert checks["Arm node"].status == "fail"
    assert "robot-rl node arm" in checks["Arm node"].advice
    assert "Latency" not in checks


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Cell]:
    """A cell whose control box answers, on an address of this machine."""
    for last in range(2, 250):
        try:
            peer = Box1337(speaks(FCI_VERSION), f"127.77.7.{last}", 1337)
        except OSError:
            continue
        cell = Cell(name="bench", address=f"127.77.7.{last}", bounds=BOUNDS)
        save_cell(tmp_path / "bench.yaml", cell)
        yield cell
        peer.close()
        return
    pytest.skip("no loopback address has a free port 1337")


@pytest.mark.parametrize("sure", [True, False])
def test_a_person_ticks_the_list_and_signs(terminal: Any, tmp_path: Path, box: Cell, sure: bool) -> None:
    signing = terminal(["doctor", "--robot", "--cell", "bench.yaml", "--sign", "Ada Lovelace", "--wait", "0.1"])
    for i in range(len(STATEMENTS)):
        signing.expect("true? [y/N]")
        last = i == len(STATEMENTS) - 1
        signing.type("y\r" if sure or not last else "n\r")
    assert signing.wait() == (0 if sure else 1)
    path = preflight_path(box, tmp_path / "robot-rl")
    assert path.exists() == sure
    if sure:
        assert "Signed by Ada Lovelace" in signing.look()
        record = json.loads(path.read_text())
        assert record["who"] == "Ada Lovelace"
        assert any(c["name"] == "FCI" and c["status"] == "ok" for c in record["checks"])
        assert check_preflight(box, tmp_path / "robot-rl") is None  # a simulator's address needs none
