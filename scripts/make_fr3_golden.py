"""Compute numbers of the real FR3 from its maker's description, with a library that is not ours.

The twin's model is held against them by tests/unit/test_fr3_model.py. Run it again only when the description changes:

    python -m venv golden && golden/bin/pip install franka-sim==1.1.7 pin
    golden/bin/python scripts/make_fr3_golden.py golden/lib/python3.11/site-packages/franka_sim/models/fr3.urdf

franka-sim carries the URDF that xacro makes of franka_description (Apache-2.0), unchanged; Pinocchio computes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import pathlib
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARM = [f"joint{i}" for i in range(1, 8)]
FLANGE = "link8"
SHOULDER_M = (0.0, 0.0, 0.333)
CONFIGURATIONS = 20
MASS_MATRICES = 5


def numbers(text: str | None) -> list[float]:
    """Return the numbers of an attribute such as xyz; three zeros where it is missing."""
    return [float(x) for x in (text or "0 0 0").split()]


def links(root: ET.Element) -> dict[str, dict[str, Any]]:
    """Return mass [kg], centre of mass [m] and inertia [kg m^2] (xx yy zz xy xz yz) of every link with mass.

    Raises:
        ValueError: An inertia is turned against its link, which neither we nor the test expect.
    """
    found = {}
    for link in root.findall("link"):
        inertial = link.find("inertial")
        if inertial is None:
            continue
        origin, mass, inertia = (inertial.find(tag) for tag in ("origin", "mass", "inertia"))
        if origin is None or mass is None or inertia is None:
            raise ValueError(f"link {link.get('name')} has an incomplete inertial element")
        if any(numbers(origin.get("rpy"))):
            raise ValueError(
                f"the inertia of link {link.get('name')} is turned; read its rpy before trusting this file"
            )
        found[str(link.get("name"))] = {
            "mass_kg": float(mass.get("value", "nan")),
            "com_m": numbers(origin.get("xyz")),
            "inertia_kg_m2": [float(inertia.get(k, "nan")) for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")],
        }
    return found


def limits(root: ET.Element) -> dict[str, dict[str, float]]:
    """Return position [rad], velocity [rad/s] and effort [N m] limits of the seven joints."""
    found = {}
    for joint in root.findall("joint"):
        limit = joint.find("limit")
        if joint.get("name") in ARM and limit is not None:
            found[str(joint.get("name"))] = {
                k: float(limit.get(k, "nan")) for k in ("lower", "upper", "velocity", "effort")
            }
    return {name: found[name] for name in ARM}


class Arm:
    """Pinocchio's model of the URDF, its base fixed in the world, gravity along -z."""

    def __init__(self, urdf: pathlib.Path) -> None:
        self._pin: Any = importlib.import_module("pinocchio")
        self._model: Any = self._pin.buildModelFromUrdf(str(urdf))
        self._data: Any = self._model.createData()
        self._flange = self._model.getFrameId(FLANGE)
        self.version = str(self._pin.__version__)
        self.lower, self.upper = np.array(self._model.lowerPositionLimit), np.array(self._model.upperPositionLimit)
        self.gravity_m_s2 = np.array(self._model.gravity.linear).tolist()

    def flange(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return position (3,) [m] and rotation (3, 3) of the flange in the base."""
        self._pin.framesForwardKinematics(self._model, self._data, q)
        pose = self._data.oMf[self._flange]
        return np.array(pose.translation), np.array(pose.rotation)

    def gravity(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the torques (7,) [N m] that hold the arm against gravity."""
        return np.array(self._pin.computeGeneralizedGravity(self._model, self._data, q))

    def mass_matrix_diagonal(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the diagonal (7,) [kg m^2] of the joint-space inertia of the links, without motors."""
        return np.diag(np.array(self._pin.crba(self._model, self._data, q))).copy()

    def farthest(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
        """Return a configuration within the limits and the largest distance [m] of the flange from the shoulder."""

        def distance(q: NDArray[np.float64]) -> float:
            return float(np.linalg.norm(self.flange(q)[0] - SHOULDER_M))

        best = max((rng.uniform(self.lower, self.upper) for _ in range(5000)), key=distance)
        step = 0.3
        while step > 1e-9:
            tries = [np.clip(best + step * d, self.lower, self.upper) for d in (*np.eye(7), *-np.eye(7))]
            better = max(tries, key=distance)
            best, step = (better, step) if distance(better) > distance(best) else (best, 0.5 * step)
        return best, distance(best)


def golden(urdf: pathlib.Path) -> dict[str, Any]:
    """Return everything the test compares."""
    root = ET.parse(urdf).getroot()
    arm = Arm(urdf)
    rng = np.random.default_rng(0)
    weights = links(root)
    poses = []
    for i in range(CONFIGURATIONS):
        q = rng.uniform(arm.lower, arm.upper)
        p, R = arm.flange(q)
        entry = {"q": q.tolist(), "p": p.tolist(), "R": R.tolist(), "gravity_Nm": arm.gravity(q).tolist()}
        if i < MASS_MATRICES:
            entry["mass_matrix_diagonal"] = arm.mass_matrix_diagonal(q).tolist()
        poses.append(entry)
    far_q, far_m = arm.farthest(rng)
    return {
        "provenance": {
            "description": "franka_description fr3.urdf, Apache-2.0, Copyright Franka Robotics GmbH",
            "carried_by": f"franka-sim {importlib.metadata.version('franka-sim')}, Apache-2.0",
            "sha256": hashlib.sha256(urdf.read_bytes()).hexdigest(),
            "computed_by": f"pinocchio {arm.version}, scripts/make_fr3_golden.py",
            "frames": "p [m] and R are the flange's (link8) in link0; gravity [0, 0, -9.81] m/s^2; no hand",
        },
        "gravity_m_s2": arm.gravity_m_s2,
        "links": weights,
        "total_mass_kg": sum(link["mass_kg"] for link in weights.values()),
        "limits": limits(root),
        "reach": {"from_m": SHOULDER_M, "q": far_q.tolist(), "distance_m": far_m},
        "poses": poses,
    }


def main() -> None:
    """Read the URDF named on the command line and write the golden file."""
    default = pathlib.Path(__file__).parents[1] / "tests" / "golden" / "fr3_official.json"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urdf", type=pathlib.Path, help="fr3.urdf of franka_description")
    parser.add_argument("--out", type=pathlib.Path, default=default, help="where to write (default: %(default)s)")
    args = parser.parse_args()
    args.out.write_text(json.dumps(golden(args.urdf), indent=1) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
