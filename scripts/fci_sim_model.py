"""Writes the arm that the simulator of the Franka's protocol moves: an FR3 with hand, as MuJoCo primitives.

Kinematics and inertias are read from the robot description that the simulator itself sends to its clients, so that a
client's Jacobian and the simulated arm agree. No mesh is needed, so nothing is downloaded. Runs in `.venv-fci`.

    .venv-fci/bin/python scripts/fci_sim_model.py fr3.xml
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

# Identified values in use for this arm; the description has none.
DAMPING = 0.21
ARMATURE = (0.195,) * 4 + (0.074,) * 3
FRICTION = (1.137, 1.137, 1.137, 1.137, 0.763, 0.44, 0.248)
FLANGE = "0 0 0.107"
HAND_QUAT = "0.9238795325 0 0 -0.3826834324"  # -45 degrees about the flange
PEG_M = 0.06


def write_model(path: Path, urdf: Path, tool: str = "hand") -> None:
    """Write the model.

    Args:
        path: Where.
        urdf: Description of the arm.
        tool: "hand", or "peg": a hand that holds a peg of 12 mm, reaching 6 cm beyond the tool centre point.
    """
    root = ElementTree.parse(urdf).getroot()
    links = {link.get("name"): link for link in root.iter("link")}
    joints = {joint.get("name"): joint for joint in root.iter("joint")}
    model = Element("mujoco", model="fr3_for_fci")
    # rpy of a description turns about fixed axes, which MuJoCo writes in capitals.
    SubElement(model, "compiler", angle="radian", eulerseq="XYZ")
    parent = _body(SubElement(model, "worldbody"), "fr3_link0", links["link0"])
    for i in range(1, 8):
        # The simulator takes body "fr3_link7" for the flange, and the description means the flange too: so the wrist,
        # which is link 7 for everyone else, has another name here.
        parent = _body(
            parent, f"fr3_link{i}" if i < 7 else "fr3_wrist", links[f"link{i}"], _origin(joints[f"joint{i}"])
        )
        limit = joints[f"joint{i}"].find("limit")
        assert limit is not None
        joint = SubElement(parent, "joint", name=f"fr3_joint{i}", axis="0 0 1", damping=str(DAMPING), limited="true")
        joint.set("range", f"{limit.get('lower')} {limit.get('upper')}")
        joint.set("armature", str(ARMATURE[i - 1]))
        joint.set("frictionloss", str(FRICTION[i - 1]))
    _hand(SubElement(parent, "body", name="fr3_link7", pos=FLANGE), tool)
    ElementTree.indent(model)
    path.write_text(ElementTree.tostring(model, encoding="unicode"), encoding="utf-8")


def _origin(element: Element | None) -> dict[str, str]:
    origin = None if element is None else element.find("origin")
    return {} if origin is None else {"pos": origin.get("xyz", "0 0 0"), "euler": origin.get("rpy", "0 0 0")}


def _body(parent: Element, name: str, link: Element, at: dict[str, str] | None = None) -> Element:
    body = SubElement(parent, "body", {"name": name, **(at or {})})
    inertial = link.find("inertial")
    assert inertial is not None, name
    tensor, mass = inertial.find("inertia"), inertial.find("mass")
    assert tensor is not None, name
    assert mass is not None, name
    numbers = " ".join(tensor.get(k, "0") for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"))
    place = _origin(inertial).get("pos", "0 0 0")
    SubElement(body, "inertial", pos=place, mass=mass.get("value", "0"), fullinertia=numbers)
    return body


def _hand(flange: Element, tool: str) -> None:
    hand = SubElement(flange, "body", {"name": "fr3_hand", "quat": HAND_QUAT})
    inertia = {"pos": "-0.01 0 0.03", "mass": "0.73", "diaginertia": "0.001 0.0025 0.0017"}
    SubElement(hand, "inertial", inertia)
    box = {"type": "box", "mass": "0"}
    SubElement(hand, "geom", {"name": "fr3_palm", "pos": "0 0 0.033", "size": "0.0315 0.102 0.033", **box})
    SubElement(hand, "geom", {"name": "fr3_fingers", "pos": "0 0 0.0895", "size": "0.0105 0.01 0.0234", **box})
    if tool == "peg":
        ends = f"0 0 0.1 0 0 {0.1034 + PEG_M - 0.006}"
        SubElement(hand, "geom", {"name": "fr3_peg", "type": "capsule", "fromto": ends, "size": "0.006", "mass": "0"})


if __name__ == "__main__":
    import franka_sim  # pyright: ignore[reportMissingImports]

    bundled = Path(str(franka_sim.__file__)).parent / "models" / "fr3.urdf"
    write_model(Path(sys.argv[1]), bundled, *sys.argv[2:3])
