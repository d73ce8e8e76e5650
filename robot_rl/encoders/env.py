"""An environment whose observations hold features in the place of pictures: what runs beside the robot."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np

from robot_rl.encoders.encoder import Encoder
from robot_rl.encoders.raw import RawEncoder
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, EncoderError
from robot_rl.messages import StepBlock
from robot_rl.robot import Robot, RobotState
from robot_rl.specs import ImageField, ObservationSpec
from robot_rl.task import Task


class EncodedEnv(RobotEnv):
    """A `RobotEnv` that encodes every picture once, when it arrives.

    Observations are a dictionary of "state" and one (views, height, width, channels) uint8 array for each camera. The
    pictures themselves stay in `robot_state.images`, and recorders and viewers are given those.

    Args:
        robot, task, images, render_camera, render_mode: As for `RobotEnv`.
        encoder: The frozen network, or what keeps pictures in its place.

    While nothing is `learning` from it no shifted views are made. All views are then the picture as it is, which is all
    that acting reads, and encoding takes a fifth of the time.
    """

    def __init__(
        self, robot: Robot, task: Task, images: dict[str, ImageField], encoder: Encoder | RawEncoder,
        render_camera: str = "video", render_mode: str | None = None,
    ) -> None:  # fmt: skip
        if not images:
            raise ConfigError("obs=images needs the pictures of a camera; name some: robot.cameras=[front,wrist]")
        super().__init__(robot, task, images, render_camera, render_mode)
        self._encoder = encoder
        self._pictures = self.observation_spec
        field = encoder.field
        self.observation_spec = dataclasses.replace(self._pictures, images=dict.fromkeys(images, field))
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (task.observation_spec.size,), np.float32)
        }
        spaces |= {name: gymnasium.spaces.Box(0, 255, field.shape, np.uint8) for name in images}
        self.observation_space = gymnasium.spaces.Dict(spaces)

    @property
    def recorded_spec(self) -> ObservationSpec:
        """What recorders write and viewers show: the pictures."""
        return self._pictures

    def shown(self, observation: Any) -> Any:
        """Return the newest observation with the pictures that its features were made of."""
        return {"state": observation["state"], **{name: self.robot_state.images[name] for name in self.cameras}}

    def _observation(self, state: RobotState) -> Any:
        pictures = np.stack([state.images[name] for name in self.cameras])
        if self.learning:
            features = self._encoder.encode(pictures)
        else:
            centre = self._encoder.encode_centre(pictures)[:, None]
            features = np.repeat(centre, self._encoder.views, axis=1)
        seen = dict(zip(self.cameras, features, strict=True))
        return {"state": self.task.state_vector(state), **seen}

    def encoded(self, block: StepBlock) -> StepBlock:
        """Return a block of recorded pictures with their features instead."""
        for name in self.cameras:
            if name not in block.images:
                raise EncoderError(f"episode {block.episode} has no pictures of the camera '{name}' to encode")
        images = {name: self._each(block.images[name]) for name in self.cameras}
        final = {name: self._each(block.final_images[name][None])[0] for name in self.cameras} if block.ended else {}
        return dataclasses.replace(block, images=images, final_images=final)

    def _each(self, pictures: Any) -> Any:
        """Encode picture by picture, as practice does: in batches the last bit may differ."""
        made = [self._encoder.encode(picture[None])[0] for picture in pictures]
        return np.stack(made) if made else np.zeros((0, *self._encoder.shape), np.uint8)
