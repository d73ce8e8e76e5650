"""Environments whose observations hold features in the place of pictures: what runs beside the robot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_rl.car import Car, CarState
from robot_rl.car_env import CarEnv, CarTask
from robot_rl.encoders.encoder import Encoder
from robot_rl.encoders.raw import RawEncoder
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, EncoderError
from robot_rl.messages import StepBlock
from robot_rl.robot import Robot, RobotState
from robot_rl.specs import ImageField, ObservationSpec
from robot_rl.task import Task


class Sight:
    """What is seen through cameras, encoded; an arm's environment and a car's both have one.

    Args:
        encoder: The frozen network, or what keeps pictures in its place.
        pictures: Specification of the observations with their pictures.
    """

    def __init__(self, encoder: Encoder | RawEncoder, pictures: ObservationSpec) -> None:
        if not pictures.images:
            raise ConfigError("obs=images needs the pictures of a camera; name some: robot.cameras=[front,wrist]")
        self._encoder, self.pictures, self.cameras = encoder, pictures, tuple(pictures.images)
        self.spec = dataclasses.replace(pictures, images=dict.fromkeys(self.cameras, encoder.field))

    @property
    def space(self) -> gymnasium.spaces.Dict:
        """Of the observations."""
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (self.spec.size,), np.float32)
        }
        spaces |= {name: gymnasium.spaces.Box(0, 255, self._encoder.shape, np.uint8) for name in self.cameras}
        return gymnasium.spaces.Dict(spaces)

    def features(self, images: Mapping[str, NDArray[np.uint8]], learning: bool) -> dict[str, NDArray[np.uint8]]:
        """Return (views, height, width, channels) uint8 features of the newest picture of each camera.

        Args:
            images: (H, W, 3) uint8 by camera.
            learning: Whether shifted views are wanted; else all views are the picture as it is.
        """
        pictures = np.stack([images[name] for name in self.cameras])
        if learning:
            features = self._encoder.encode(pictures)
        else:
            centre = self._encoder.encode_centre(pictures)[:, None]
            features = np.repeat(centre, self._encoder.views, axis=1)
        return dict(zip(self.cameras, features, strict=True))

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
        super().__init__(robot, task, images, render_camera, render_mode)
        self._sight = Sight(encoder, self.observation_spec)
        self.observation_spec, self.observation_space = self._sight.spec, self._sight.space

    @property
    def recorded_spec(self) -> ObservationSpec:
        """What recorders write and viewers show: the pictures."""
        return self._sight.pictures

    def shown(self, observation: Any) -> Any:
        """Return the newest observation with the pictures that its features were made of."""
        return _with_pictures(observation, self.robot_state.images, self.cameras)

    def encoded(self, block: StepBlock) -> StepBlock:
        """Return a block of recorded pictures with their features instead."""
        return self._sight.encoded(block)

    def _observation(self, state: RobotState) -> Any:
        seen = self._sight.features(state.images, self.learning)
        return {"state": self.task.state_vector(state), **seen}


class EncodedCarEnv(CarEnv):
    """A `CarEnv` that encodes every picture once, when it arrives: `EncodedEnv` for a car.

    Args:
        car, task, images, render_camera, render_mode: As for `CarEnv`.
        encoder: The frozen network, or what keeps pictures in its place.
    """

    def __init__(
        self, car: Car, task: CarTask, images: dict[str, ImageField], encoder: Encoder | RawEncoder,
        render_camera: str = "chase", render_mode: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(car, task, images, render_camera, render_mode)
        self._sight = Sight(encoder, self.observation_spec)
        self.observation_spec, self.observation_space = self._sight.spec, self._sight.space

    @property
    def recorded_spec(self) -> ObservationSpec:
        """What viewers show: the pictures."""
        return self._sight.pictures

    def shown(self, observation: Any) -> Any:
        """Return the newest observation with the pictures that its features were made of."""
        return _with_pictures(observation, self.robot_state.images, self.cameras)

    def encoded(self, block: StepBlock) -> StepBlock:
        """Return a block of recorded pictures with their features instead."""
        return self._sight.encoded(block)

    def _observation(self, state: CarState) -> Any:
        seen = self._sight.features(state.images, self.learning)
        return {"state": self.task.state_vector(state, self.last_action), **seen}


def _with_pictures(observation: Any, images: Mapping[str, Any], cameras: Sequence[str]) -> dict[str, Any]:
    return {"state": observation["state"], **{name: images[name] for name in cameras}}
