"""The Franka Research 3 with the Franka hand as MuJoCo primitives: real kinematics, inertias, limits and friction.

Link frames, masses, centres of mass, inertias and joint limits are those of the maker's published description
(franka_description, Apache-2.0); armature and joint friction are identified values in use for this arm. The visuals are
primitive shapes, so that nothing has to be downloaded and a picture costs half a millisecond on a CPU. Tests hold
mass, reach, limits and gravity torques against numbers computed from the official description.

Frames: B is link 0, on the table top (z = 0). E, the tool centre point, lies between the fingertips, 0.1034 m along
the hand's z axis; the hand is turned by -45 degrees about the flange.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from robot_rl.geometry import matrix_to_quat
from robot_rl_sim.looks import DARK, PAD, WHITE, add_looks

ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("fr3_finger_left", "fr3_finger_right")
# A posture with the tool straight down over the middle of the table, well inside every joint limit.
HOME_Q = (0.0, -0.38, 0.0, -2.32, 0.0, 1.94, 0.785398)
TORQUE_LIMITS_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
FINGER_TRAVEL_M = 0.04
GRASP_FORCE_N = 60.0  # the hand holds 70 N continuously; a little less, so that a cube is not crushed through a pad
TCP_IN_HAND_M = 0.1034
HAND_ANGLE_RAD = -np.pi / 4.0


@dataclass(frozen=True)
class Link:
    """One link: pose of its joint frame in the parent, joint limits and friction, and inertia.

    Lengths in m, angles in rad, masses in kg, inertias in kg m^2 about the centre of mass, friction in N m.
    """

    pos: tuple[float, float, float]
    quat: tuple[float, float, float, float]
    range: tuple[float, float]
    armature: float
    frictionloss: float
    mass: float
    com: tuple[float, float, float]
    inertia: tuple[float, float, float, float, float, float]  # xx yy zz xy xz yz


_MINUS_X = (0.7071067811865476, -0.7071067811865476, 0.0, 0.0)
_PLUS_X = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)
JOINT_DAMPING = 0.21  # N m s/rad

LINKS: tuple[Link, ...] = (
    Link(
        (0, 0, 0.333), (1, 0, 0, 0), (-2.7501, 2.7501), 0.195, 1.137, 2.9274653454,
        (4.128e-07, -0.0181251324, -0.038603597),
        (0.023927316485107913, 0.0224821613275756, 0.006350098258530016,
         1.3317903455714081e-05, -0.00011404774918616684, -0.0019950320628240115),
    ),
    Link(
        (0, 0, 0), _MINUS_X, (-1.7918, 1.7918), 0.195, 1.137, 2.9355370338,
        (0.0031828864, -0.0743221644, 0.0088146084),
        (0.041938946257609425, 0.02514514885014724, 0.06170214472888839,
         0.00020257331521090626, 0.004077784227179924, -0.0042252158006570156),
    ),
    Link(
        (0, -0.316, 0), _PLUS_X, (-2.9065, 2.9065), 0.195, 1.137, 2.2449013699,
        (0.0407015686, -0.0048200565, -0.0289730823),
        (0.02410142547240885, 0.01974053266708178, 0.019044494482244823,
         0.002404694559042109, -0.002856269270114313, -0.002104212683891874),
    ),
    Link(
        (0.0825, 0, 0), _PLUS_X, (-3.0481, -0.1458), 0.195, 1.137, 2.6155955791,
        (-0.0459100965, 0.063049296, -0.0085187868),
        (0.03452998321913202, 0.028881621933049058, 0.04125471171146641,
         0.01322552265982813, 0.01015142998484113, -0.0009762833870704552),
    ),
    Link(
        (-0.0825, 0.384, 0), _MINUS_X, (-2.8101, 2.8101), 0.074, 0.763, 2.3271207594,
        (-0.0016039605, 0.0292536262, -0.097296599),
        (0.051610278463662895, 0.04787729713371481, 0.016423625579357254,
         -0.005715173387783472, -0.0035673167625872135, 0.010673985108535986),
    ),
    Link(
        (0, 0, 0), _PLUS_X, (0.54092, 4.5205), 0.074, 0.44, 1.8170376524,
        (0.0597131221, -0.0410294666, -0.0101692726),
        (0.005412333594383447, 0.014058329545509979, 0.016080817924212554,
         0.006193456360285834, 0.0014219289306117652, -0.0013140753741120031),
    ),
    Link(
        (0.088, 0, 0), _PLUS_X, (-3.0196, 3.0196), 0.074, 0.248, 0.6271432862,
        (0.0045225817, 0.0086261921, -0.0161633251),
        (0.00021092389150104718, 0.00017718568002411474, 5.993190599659971e-05,
         -2.433299114461931e-05, 4.564480393778983e-05, 8.744070223226438e-05),
    ),
)  # fmt: skip
BASE_MASS, BASE_COM = 2.3966, (-0.0172, 0.0004, 0.0745)
BASE_INERTIA = (0.009, 0.0115, 0.0085, 0.0, 0.002, 0.0)
FLANGE_OFFSET_M = 0.107
HAND_MASS = 0.73
HAND_COM = (-0.01, 0.0, 0.03)
HAND_INERTIA = (0.001, 0.0025, 0.0017)
FINGER_MASS = 0.015

# Collision bits: the world and the table are 1, tools are 2, task objects are 4. Arm links only look.
TOOL_CONTYPE, TOOL_CONAFFINITY = 2, 5


def add_arm(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Add the FR3 with hand at the world's origin and return the body of the tool centre point.

    Every arm joint gets a torque motor and every finger a position servo. Gravity of the arm and hand is compensated,
    as the robot's own controller does.
    """
    parent = spec.worldbody.add_body(name="fr3_link0", mass=BASE_MASS, ipos=BASE_COM)
    parent.fullinertia, parent.explicitinertial = BASE_INERTIA, True
    add_looks(parent)
    for number, link in enumerate(LINKS, start=1):
        parent = _add_link(spec, parent, number, link)
    flange = parent.add_body(name="fr3_flange", pos=(0, 0, FLANGE_OFFSET_M))
    return _add_hand(spec, flange)


def _add_link(spec: mujoco.MjSpec, parent: mujoco.MjsBody, number: int, link: Link) -> mujoco.MjsBody:
    body = parent.add_body(name=f"fr3_link{number}", pos=link.pos, quat=link.quat, gravcomp=1.0)
    body.mass, body.ipos, body.fullinertia, body.explicitinertial = link.mass, link.com, link.inertia, True
    name = ARM_JOINTS[number - 1]
    joint = body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=(0, 0, 1), range=link.range)
    joint.limited = 1
    joint.damping[0] = JOINT_DAMPING
    joint.armature, joint.frictionloss = link.armature, link.frictionloss
    limit = TORQUE_LIMITS_NM[number - 1]
    motor = spec.add_actuator(name=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, target=name)
    motor.ctrlrange, motor.ctrllimited = (-limit, limit), 1
    add_looks(body)
    return body


def _add_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> mujoco.MjsBody:
    quat = (np.cos(HAND_ANGLE_RAD / 2), 0.0, 0.0, np.sin(HAND_ANGLE_RAD / 2))
    hand = flange.add_body(name="fr3_hand", quat=quat, gravcomp=1.0)
    hand.mass, hand.ipos, hand.inertia, hand.explicitinertial = HAND_MASS, HAND_COM, HAND_INERTIA, True
    _add_box(hand, (0.0, 0.0, 0.033), (0.0315, 0.102, 0.033), WHITE, collides=True)
    for side, name in ((1.0, FINGER_JOINTS[0]), (-1.0, FINGER_JOINTS[1])):
        finger = hand.add_body(name=name, pos=(0, 0, 0.0584), gravcomp=1.0)
        finger.mass, finger.ipos, finger.inertia = FINGER_MASS, (0, 0.01 * side, 0.02), (2.4e-6, 2.4e-6, 7.5e-7)
        finger.explicitinertial = True
        joint = finger.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, side, 0))
        joint.range, joint.limited = (0.0, FINGER_TRAVEL_M), 1
        joint.damping[0], joint.armature = 8.0, 0.1
        servo = spec.add_actuator(name=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, target=name)
        servo.set_to_position(kp=4000.0)
        servo.forcerange, servo.forcelimited = (-GRASP_FORCE_N, GRASP_FORCE_N), 1
        servo.ctrlrange, servo.ctrllimited = (0.0, FINGER_TRAVEL_M), 1
        _add_box(finger, (0, 0.012 * side, 0.018), (0.009, 0.009, 0.018), DARK, collides=False)
        pad = _add_box(finger, (0, 0.005 * side, 0.044), (0.0105, 0.005, 0.0105), PAD, collides=True)
        pad.name, pad.friction, pad.condim, pad.priority = f"{name}_pad", (1.2, 0.01, 0.0001), 4, 1
        pad.solimp = (0.95, 0.99, 0.001, 0.5, 2)
        pad.solref = (0.006, 1.0)
    # The hand's rack couples its fingers: without it an object could drift sideways between two free springs.
    couple = spec.add_equality(name="fr3_fingers", type=mujoco.mjtEq.mjEQ_JOINT)
    couple.name1, couple.name2, couple.objtype = FINGER_JOINTS[0], FINGER_JOINTS[1], mujoco.mjtObj.mjOBJ_JOINT
    couple.data[1] = 1.0
    couple.solref = (0.005, 1.0)
    tcp = hand.add_body(name="fr3_tcp", pos=(0, 0, TCP_IN_HAND_M))
    wrist = hand.add_camera(name="wrist", pos=(0.075, 0.0, 0.035), fovy=75.0)
    # Looks along the fingers, tilted 15 degrees inwards so that the fingertips stay in the picture.
    tilt = np.deg2rad(15.0)
    x, y = np.array([0.0, 1.0, 0.0]), np.array([np.cos(tilt), 0.0, np.sin(tilt)])
    wrist.quat = matrix_to_quat(np.stack([x, y, np.cross(x, y)], axis=1))
    return tcp


def _add_box(
    body: mujoco.MjsBody,
    pos: tuple[float, float, float],
    half: tuple[float, float, float],
    rgba: tuple[float, float, float, float],
    *,
    collides: bool,
) -> mujoco.MjsGeom:
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=half, rgba=rgba, mass=0.0, group=2)
    geom.contype = TOOL_CONTYPE if collides else 0
    geom.conaffinity = TOOL_CONAFFINITY if collides else 0
    return geom
