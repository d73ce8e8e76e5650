"""Domain randomisation: what of the twin is drawn anew in each episode, so that a policy does not rely on it.

Every draw follows from the request that the episode begins with, whose numbers are recorded: the same request gives the
same light, colours, cameras, friction, masses and delays, in a replay too, and drawing them takes nothing from the
random numbers that choose the starts. Each knob has numbers of its own, so turning one leaves the others as they were.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from robot_rl.errors import ConfigError, RobotError
from robot_rl.geometry import quat_from_rotvec, quat_mul
from robot_rl.robot import ResetRequest
from robot_rl.typed import build

WORLD = 0
_CHANGED = (
    "light_pos", "light_diffuse", "geom_rgba", "cam_pos", "cam_quat", "cam_fovy", "geom_friction", "body_mass",
    "body_inertia",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Randomise:
    """Half widths of what is drawn uniformly in each episode; 0 leaves it as it is, and all are 0 by default.

    Attributes:
        light_m: Of the lamp's position, along each axis.
        brightness_share: Of the brightness of lamp and surrounding light, as a share of it.
        colour_share: Of red, green and blue of table, floor and objects, each between 0 and 1.
        camera_m, camera_rad: Of each camera's position and orientation, along and about each axis.
        fov_rad: Of each camera's vertical field of view.
        friction_share: Of the sliding friction of each body, as a share of it.
        mass_share: Of each object's mass and inertia, as a share of it.
        action_delay_s: Longest delay until a command reaches the control law; drawn between 0 and this.
        observation_delay_s: Longest age of a reading when it is given out, at most a control period; likewise.
    """

    light_m: float = 0.0
    brightness_share: float = 0.0
    colour_share: float = 0.0
    camera_m: float = 0.0
    camera_rad: float = 0.0
    fov_rad: float = 0.0
    friction_share: float = 0.0
    mass_share: float = 0.0
    action_delay_s: float = 0.0
    observation_delay_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse half widths that leave nothing sensible."""
        most = {"brightness_share": 0.9, "colour_share": 1.0, "friction_share": 0.9, "mass_share": 0.9}
        most |= {"light_m": 1.0, "camera_m": 0.2, "camera_rad": 0.5, "fov_rad": 0.3}
        most |= {"action_delay_s": 0.5, "observation_delay_s": 0.5}
        for name, limit in most.items():
            if not 0.0 <= getattr(self, name) <= limit:
                raise ConfigError(
                    f"robot.randomise.{name} must lie between 0 and {limit}, got {getattr(self, name)}; 0 turns it off"
                )

    @property
    def on(self) -> bool:
        """Whether anything is drawn at all."""
        return any(getattr(self, field.name) > 0.0 for field in dataclasses.fields(self))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What one episode was drawn from: with it, the same is drawn again.

    Attributes:
        seed: Of the draws.
        settings: The half widths.
    """

    seed: int
    settings: Randomise

    def plain(self) -> dict[str, Any]:
        """Return it as plain numbers, for a record."""
        return {"seed": self.seed, "settings": dataclasses.asdict(self.settings)}


def variation_for(request: ResetRequest, settings: Randomise) -> Variation | None:
    """Return the variation of the episode that begins with a request, or None if nothing is drawn."""
    if not settings.on:
        return None
    told = hashlib.blake2b(digest_size=8)
    for values in (request.p_BE, request.quat_BE, [request.gripper_width_m]):
        told.update(np.asarray(values, np.float64).tobytes())
    for name in sorted(request.objects):
        told.update(name.encode() + np.asarray(request.objects[name], np.float64).tobytes())
    return Variation(seed=int.from_bytes(told.digest(), "little") >> 1, settings=settings)  # fits a signed 64-bit


def variation_of(record: Any) -> Variation | None:
    """Return the variation of a record that `Variation.plain` made; None of an episode without.

    Raises:
        RobotError: It is no such record.
    """
    if record is None:
        return None
    try:
        settings: Mapping[str, Any] = record["settings"]
        return Variation(seed=int(record["seed"]), settings=build(Randomise, dict(settings), "robot.randomise"))
    except (KeyError, TypeError, ValueError, ConfigError) as e:
        raise RobotError(f"the recorded randomisation of the twin cannot be used ({e!r}); reset without it") from e


class Randomiser:
    """Changes a compiled model to what a variation draws, always starting from what was compiled.

    Args:
        model: The model that is changed in place.
        objects: Names of the task's objects.
    """

    def __init__(self, model: mujoco.MjModel, objects: Sequence[str]) -> None:
        self._model = model
        self._objects = [int(model.body(name).id) for name in objects]
        self._nominal = {name: getattr(model, name).copy() for name in _CHANGED}
        headlight = model.vis.headlight
        self._headlight = {name: np.array(getattr(headlight, name)) for name in ("ambient", "diffuse")}
        self._scratch: mujoco.MjData | None = None
        self._touched = self._heavy = False

    def apply(self, variation: Variation | None) -> tuple[float, float]:
        """Draw a variation into the model.

        Returns:
            How late commands are and how old readings are in this episode [s].
        """
        if self._touched:
            for name, values in self._nominal.items():
                getattr(self._model, name)[:] = values
            for name, values in self._headlight.items():
                getattr(self._model.vis.headlight, name)[:] = values
        self._touched = variation is not None
        masses = variation is not None and variation.settings.mass_share > 0.0
        delays = (0.0, 0.0)
        if variation is not None:
            delays = self._draw(variation.settings, variation.seed)
        if masses or self._heavy:
            # Constants that follow from masses; a scratch state, because this writes into the one it is given.
            self._scratch = self._scratch or mujoco.MjData(self._model)
            mujoco.mj_setConst(self._model, self._scratch)
        self._heavy = masses
        return delays

    def _draw(self, how: Randomise, seed: int) -> tuple[float, float]:
        fields = [field.name for field in dataclasses.fields(Randomise)]
        rng = {name: np.random.default_rng((seed, i)) for i, name in enumerate(fields)}
        m = self._model

        def share(name: str, size: int | None = None) -> Any:
            return 1.0 + rng[name].uniform(-1.0, 1.0, size) * getattr(how, name)

        def offset(name: str, shape: tuple[int, ...]) -> np.ndarray:
            return rng[name].uniform(-1.0, 1.0, shape) * getattr(how, name)

        m.light_pos[:] += offset("light_m", m.light_pos.shape)
        bright, around = share("brightness_share", m.nlight), share("brightness_share")
        m.light_diffuse[:] = np.clip(m.light_diffuse * bright[:, None], 0.0, 1.0)
        for name in self._headlight:
            values = getattr(m.vis.headlight, name)
            values[:] = np.clip(values * around, 0.0, 1.0)
        colours, frictions = offset("colour_share", (m.ngeom, 3)), share("friction_share", m.nbody)
        for g in range(m.ngeom):
            body = int(m.geom_bodyid[g])
            if body == WORLD or body in self._objects:
                # The shapes of one object change together; table and floor each for themselves.
                drawn = colours[g if body == WORLD else int(m.body_geomadr[body])]
                m.geom_rgba[g, :3] = np.clip(m.geom_rgba[g, :3] + drawn, 0.0, 1.0)
            m.geom_friction[g, 0] *= frictions[body]
        m.cam_pos[:] += offset("camera_m", m.cam_pos.shape)
        if how.camera_rad > 0.0:
            for i, turn in enumerate(offset("camera_rad", (m.ncam, 3))):
                m.cam_quat[i] = quat_mul(m.cam_quat[i].copy(), quat_from_rotvec(turn))
        m.cam_fovy[:] += np.rad2deg(offset("fov_rad", (m.ncam,)))
        masses = share("mass_share", m.nbody)
        for body in self._objects:
            m.body_mass[body] *= masses[body]
            m.body_inertia[body] *= masses[body]
        return (
            float(rng["action_delay_s"].uniform(0.0, how.action_delay_s)),
            float(rng["observation_delay_s"].uniform(0.0, how.observation_delay_s)),
        )
