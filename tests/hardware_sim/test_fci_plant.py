"""The plant of a Franka, tick by tick, against a simulator of the robot's protocol."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fci_sim_process import Simulator, why_not
from verify.children import descendants

from robot_rl.errors import RobotError
from robot_rl.geometry import Vector, quat_angle
from robot_rl.task import Compliance
from robot_rl_controllers.drive.fr3_kinematics import Fr3Kinematics
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_controllers.impedance import Impedance
from robot_rl_hardware.fci.plant import FciPlant
from robot_rl_hardware.fci.settings import FciSettings

Until = Callable[..., None]


@pytest.fixture
def plant(patient_simulator: Simulator) -> Iterator[FciPlant]:
    made = FciPlant(FciSettings(address=patient_simulator.host))
    made.connect()
    yield made
    made.close()


def hold(
    plant: FciPlant,
    sample: Sample,
    seconds: float,
    push: Vector | None = None,
    finger_m: float = 0.04,
    stall_s: float = 0.0,
    floor_m: float = -1.0,
) -> None:
    """Hold the measured pose, or go from it at the speed `push` [m/s]; sleep `stall_s` every tenth of a second.

    It ends early once the tool is below `floor_m`.
    """
    law = Impedance(Compliance())
    law.start(sample.q, sample.p_BE, sample.quat_BE)
    start, began_s = sample.p_BE.copy(), sample.robot_s
    while sample.robot_s - began_s < seconds and sample.p_BE[2] > floor_m:
        if push is not None:
            law.set_target(start + (sample.robot_s - began_s) * push, law.target[3:])
        tau = law.update(
            sample.q, sample.dq, sample.p_BE, sample.quat_BE, sample.J, sample.coriolis, plant.dt_s, sample.tau_prev
        )
        plant.write(tau, finger_m)
        plant.tell_more(sample)
        if stall_s and round((sample.robot_s - began_s) / plant.dt_s) % 100 == 99:
            time.sleep(stall_s)
        plant.read(sample)


def press(plant: FciPlant, sample: Sample) -> None:
    """Go down to the table, fast, then slowly, and press on it."""
    near_m = 0.0095 + 0.02  # the fingertips lie 9.5 mm beyond E
    hold(plant, sample, 20.0, np.array([0.0, 0.0, -0.15]), floor_m=near_m)
    hold(plant, sample, 1.5, np.array([0.0, 0.0, -0.03]))


def test_frames_are_ours(plant: FciPlant) -> None:
    sample, kinematics = Sample(), Fr3Kinematics()
    plant.begin(sample)
    hold(plant, sample, 0.3, np.array([0.05, 0.05, -0.05]))
    p, quat = kinematics.tool_pose(sample.q)
    np.testing.assert_allclose(sample.p_BE, p, atol=1e-5)
    assert quat_angle(sample.quat_BE, quat) < 1e-5
    step = 1e-6
    for joint in range(7):
        q = sample.q.copy()
        q[joint] += step
        np.testing.assert_allclose(sample.J[:3, joint], (kinematics.tool_pose(q)[0] - p) / step, atol=1e-4)


def test_connecting_leaves_the_priority_as_it_was(patient_simulator: Simulator) -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    plant = FciPlant(FciSettings(address=patient_simulator.host, gripper="none"))
    plant.connect()
    plant.close()
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before


def test_holds_its_pose(plant: FciPlant) -> None:
    sample = Sample()
    plant.begin(sample)
    p = sample.p_BE.copy()
    hold(plant, sample, 0.5)
    assert np.linalg.norm(sample.p_BE - p) < 1e-3


def test_the_world_pushes_up_on_a_tool_that_presses_down(plant: FciPlant) -> None:
    sample = Sample()
    plant.begin(sample)
    press(plant, sample)
    assert sample.F_BE[2] > 5.0
    hold(plant, sample, 1.5, np.array([0.0, 0.0, 0.15]))
    assert np.abs(sample.F_BE).max() < 1e-3


def test_the_hand_grasps_what_is_there(plant: FciPlant, until: Until) -> None:
    sample = Sample()
    plant.begin(sample)

    def width_after(finger_m: float, wanted_m: float) -> bool:
        hold(plant, sample, 0.02, finger_m=finger_m)
        return abs(sample.width_m - wanted_m) < 1e-3

    until(lambda: width_after(0.04, 0.08), "the fingers opened")
    until(lambda: width_after(0.0, 0.04), "the fingers closed on the cube")
    until(lambda: width_after(0.03, 0.06), "the fingers opened again")


def test_a_gripper_whose_process_dies_stops_the_arm_until_it_is_started_again(plant: FciPlant) -> None:
    sample = Sample()
    plant.begin(sample)
    [gripper] = [
        pid for pid in descendants(os.getpid()) if b"grippers.server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(gripper, signal.SIGKILL)
    with pytest.raises(PlantFault, match="the gripper's process ended") as fault:
        hold(plant, sample, 20.0)
    assert not fault.value.soft
    plant.recover()
    plant.begin(sample)
    hold(plant, sample, 0.2)
    assert np.isfinite(sample.width_m)


@pytest.mark.parametrize(("word", "told"), [("user-stop", "user stop"), ("guide", "by hand")])
def test_a_person_at_the_robot_is_no_error(plant: FciPlant, patient_simulator: Simulator, word: str, told: str) -> None:
    sample = Sample()
    plant.begin(sample)
    patient_simulator.say(word)
    with pytest.raises(PlantFault, match=told) as fault:
        hold(plant, sample, 5.0)
    assert fault.value.recoverable
    assert not fault.value.soft
    seen = sample.robot_s
    plant.read(sample)
    plant.read(sample)
    assert sample.robot_s > seen  # its state is still told
    with pytest.raises(PlantFault, match=told):
        plant.recover()
    patient_simulator.say("release")
    plant.recover()
    plant.begin(sample)
    hold(plant, sample, 0.1)


def test_a_collision_waits_for_a_person(plant: FciPlant, patient_simulator: Simulator) -> None:
    sample = Sample()
    plant.begin(sample)
    patient_simulator.say("reflex")
    with pytest.raises(PlantFault, match="cartesian_reflex") as fault:
        hold(plant, sample, 5.0)
    assert fault.value.recoverable
    assert not fault.value.soft
    with pytest.raises(PlantFault, match="cartesian_reflex"):
        plant.begin(sample)  # it never clears its own error
    plant.recover()
    plant.begin(sample)
    hold(plant, sample, 0.1)


def test_the_robots_own_limit_ends_a_hard_press(patient_simulator: Simulator) -> None:
    plant = FciPlant(FciSettings(address=patient_simulator.host, reflex_force_n=8.0, gripper="none"))
    plant.connect()
    sample = Sample()
    try:
        plant.begin(sample)
        with pytest.raises(PlantFault, match="cartesian_reflex"):
            press(plant, sample)
        plant.recover()
        plant.begin(sample)
        hold(plant, sample, 1.0, np.array([0.0, 0.0, 0.15]))
    finally:
        plant.close()


def test_a_stall_is_soft_and_ends_by_recovery(simulator: Simulator) -> None:
    plant = FciPlant(FciSettings(address=simulator.host, gripper="none"))
    plant.connect()
    sample = Sample()
    try:
        plant.begin(sample)
        with pytest.raises(PlantFault, match="communication_constraints_violation") as fault:
            hold(plant, sample, 20.0, stall_s=0.06)
        assert fault.value.soft
        assert fault.value.recoverable
        plant.recover()
        plant.begin(sample)
        assert np.abs(sample.dq).max() < 0.05
    finally:
        plant.close()


def test_a_robot_that_loses_power_is_gone_until_it_answers_again() -> None:
    if reason := why_not():
        pytest.skip(reason)
    with Simulator(lenient=True) as robot:
        plant = FciPlant(FciSettings(address=robot.host, gripper="none"))
        plant.connect()
        sample = Sample()
        plant.begin(sample)
        robot.stop()
        with pytest.raises(PlantFault, match="the connection to") as fault:
            hold(plant, sample, 30.0)
        assert not fault.value.recoverable
        with pytest.raises(PlantFault, match="could not be used") as fault:
            plant.recover()
        assert not fault.value.recoverable
        robot.start()
        plant.recover()
        plant.begin(sample)
        hold(plant, sample, 0.1)
        plant.close()
        plant.close()


def test_nobody_at_the_address_is_told_in_a_sentence() -> None:
    pytest.importorskip("pylibfranka")
    plant = FciPlant(FciSettings(address="127.63.255.254"))
    with pytest.raises(RobotError, match=r"the Franka at 127\.63\.255\.254 could not be used: .*FCI is active"):
        plant.connect()
