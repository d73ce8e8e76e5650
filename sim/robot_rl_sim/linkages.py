"""Objects that turn on other objects: building their joints and ties, and laying a tied chain at an episode's start.

A cable is a chain of links on ball joints with springs. MuJoCo's own cable is a plugin that version 4 removed; a chain
needs nothing beyond what every version has, and its links are objects of the task like any other, so their poses are
read and shown like any other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from robot_rl.errors import RobotError, nearest
from robot_rl.geometry import matrix_to_quat, quat_conj, quat_mul, rotate
from robot_rl.robot import Vector
from robot_rl.task import Joint, SceneObject, Tie

# As stiff as a physics step of 2 ms allows: light links make a tie soft, and the arm pulls with 10 N.
TIE_SOLREF, TIE_SOLIMP = (0.004, 1.0), (0.98, 0.995, 0.001, 0.5, 2.0)
LONGEST_BEND_RAD = np.pi / 3  # between two links of a chain that is laid


def carrier_of(scene: Mapping[str, SceneObject], name: str) -> str:
    """Return the object at the root of an object's joints: itself, if it is not jointed."""
    joint = scene[name].joint
    return name if joint is None else carrier_of(scene, joint.to)


def on_tool(scene: Mapping[str, SceneObject], name: str) -> bool:
    """Return whether an object is held in the hand, or hangs on one that is."""
    return scene[carrier_of(scene, name)].motion == "held"


def add_jointed(spec: mujoco.MjSpec, name: str, obj: SceneObject) -> mujoco.MjsBody:
    """Add the body and the joint of a jointed object, whose carrier the specification has.

    Raises:
        RobotError: It says not how it hangs on what, or its carrier does not come before it.
    """
    joint = obj.joint
    if joint is None:
        raise RobotError(f"object '{name}' is jointed, but says not to what; give it a joint=Joint(to=...)")
    carrier = spec.body(joint.to)
    if carrier is None or joint.to == "world":
        raise RobotError(
            f"object '{name}' hangs on '{joint.to}', which is no object before it in the scene; name one that is"
        )
    body = carrier.add_body(name=name, pos=obj.pos_m, quat=obj.quat)
    hinge = joint.axis is not None
    made = body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE if hinge else mujoco.mjtJoint.mjJNT_BALL)
    if joint.axis is not None:
        made.axis = joint.axis
        if joint.range_rad is not None:
            made.range, made.limited = joint.range_rad, 1
    made.stiffness[0], made.damping[0] = joint.stiffness_n_m_rad, joint.damping_n_m_s_rad
    made.armature = joint.armature_kg_m2
    spec.add_exclude(bodyname1=joint.to, bodyname2=name)
    return body


def add_tie(spec: mujoco.MjSpec, name: str, tie: Tie) -> None:
    """Tie a point of an object to a point of another.

    Raises:
        RobotError: The other is no object of the scene.
    """
    other = spec.body(tie.to)
    if other is None:
        known = [body.name for body in spec.bodies]
        raise RobotError(f"object '{name}' is tied to '{tie.to}', which does not exist.{nearest(tie.to, known)}")
    ends = (f"{name}_tie", f"{name}_tie_there")
    spec.body(name).add_site(name=ends[0], pos=tie.at_m, size=(0.001,) * 3)
    other.add_site(name=ends[1], pos=tie.there_m, size=(0.001,) * 3)
    # Between sites, which coincide wherever the bodies are when the model is compiled.
    equality = spec.add_equality(name=f"{name}_tie", type=mujoco.mjtEq.mjEQ_CONNECT)
    equality.objtype, equality.name1, equality.name2 = mujoco.mjtObj.mjOBJ_SITE, *ends
    equality.solref, equality.solimp = TIE_SOLREF, TIE_SOLIMP


class Chain:
    """The ball-jointed links between a held or placed object and the tie at the end of the last link.

    Args:
        model: The compiled scene.
        scene: Objects by name.
        last: Name of the link that is tied.
    """

    def __init__(self, model: mujoco.MjModel, scene: Mapping[str, SceneObject], last: str) -> None:
        names = [last]
        while (joint := scene[names[0]].joint) is not None and scene[joint.to].motion == "jointed":
            names.insert(0, joint.to)
        tie, first = scene[last].tie, scene[names[0]].joint
        assert tie is not None  # only tied links end a chain
        assert first is not None  # a chain hangs on something
        self._qpos = [int(model.joint(name).qposadr[0]) for name in names]
        self._dofs = [int(model.joint(name).dofadr[0]) for name in names]
        self._carrier = int(model.body(first.to).id)
        self._offset = np.array(scene[names[0]].pos_m, float)
        self._steps = [np.array(scene[name].pos_m, float) for name in names[1:]] + [np.array(tie.at_m, float)]
        self._there = int(model.body(tie.to).id)
        self._there_m = np.array(tie.there_m, float)
        self._tie = int(model.equality(f"{last}_tie").id)

    def untie(self, data: mujoco.MjData) -> None:
        """Let the chain hang from its carrier alone, until it is laid again."""
        data.eq_active[self._tie] = 0

    def lay(self, data: mujoco.MjData) -> None:
        """Tie the chain, and set its joints so that it rises in an even arc from its carrier to its tie, at rest.

        Poses of all bodies must be up to date. A chain that is too short is stretched out towards its tie.
        """
        data.eq_active[self._tie] = 1
        p, quat = data.xpos[self._carrier], data.xquat[self._carrier]
        start = p + rotate(quat, self._offset)
        away = data.xpos[self._there] + rotate(data.xquat[self._there], self._there_m) - start
        bend = _bend_for(self._steps, float(np.linalg.norm(away)))
        along = rotate(quat_conj(quat), away)
        up = rotate(quat_conj(quat), np.array([0.0, 0.0, 1.0]))
        end = _end(self._steps, bend)
        # The arc bends about the links' y axis, with its middle towards their z axis: turn its chord into the way to
        # the tie, and its middle upwards.
        turn = _frame(along, up) @ _frame(end, np.array([0.0, 0.0, 1.0])).T
        for i, at in enumerate(self._qpos):
            about_y = np.array([np.cos(0.5 * bend), 0.0, np.sin(0.5 * bend), 0.0])
            data.qpos[at : at + 4] = matrix_to_quat(turn) if i == 0 else about_y
            data.qvel[self._dofs[i] : self._dofs[i] + 3] = 0.0


def joint_position(joint: Joint, rest: Vector, carrier: Vector, quat: Vector) -> Vector:
    """Return what a joint reads, (4,) wxyz of a ball or (1,) [rad] of a hinge, from orientations in B.

    Args:
        joint: The joint.
        rest: (4,) orientation of the object in its carrier's frame at rest.
        carrier, quat: (4,) orientations of carrier and object in B.
    """
    turn = quat_mul(quat_conj(quat_mul(carrier, rest)), quat)
    if joint.axis is None:
        return turn
    angle = 2.0 * np.arctan2(np.dot(turn[1:], joint.axis), turn[0])
    return np.array([(angle + np.pi) % (2.0 * np.pi) - np.pi])


def find_chains(model: mujoco.MjModel, scene: Mapping[str, SceneObject]) -> list[Chain]:
    """Return the chains of a scene that end in a tie."""
    tied = [name for name, obj in scene.items() if obj.tie is not None and obj.motion == "jointed"]
    return [Chain(model, scene, name) for name in tied]


def _end(steps: Sequence[Vector], bend: float) -> Vector:
    """Return where a chain ends, seen from its first link, that turns by `bend` about y at every further joint."""
    half = 0.5 * bend
    turn, at, quat = np.array([np.cos(half), 0.0, np.sin(half), 0.0]), np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    for i, step in enumerate(steps):
        at = at + rotate(quat, step)
        if i < len(steps) - 1:
            quat = quat_mul(quat, turn)
    return at


def _bend_for(steps: Sequence[Vector], distance_m: float) -> float:
    """Return the bend per joint with which a chain of links along x spans a distance; 0 if it is too short."""
    low, high = 0.0, min(LONGEST_BEND_RAD, 2.0 * np.pi / max(len(steps), 1))
    if np.linalg.norm(_end(steps, low)) <= distance_m:
        return 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        longer = np.linalg.norm(_end(steps, middle)) > distance_m
        low, high = (middle, high) if longer else (low, middle)
    return 0.5 * (low + high)


def _frame(x: Vector, up: Vector) -> Vector:
    """Return the rotation matrix (3, 3) whose x axis is along `x` and whose z axis is as near to `up` as can be."""
    x = x / np.linalg.norm(x)
    y = np.cross(up, x)
    if np.linalg.norm(y) < 1e-6:  # straight up or down, where any direction is as good
        y = np.cross((x[2], x[0], x[1]), x)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
