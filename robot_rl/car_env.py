"""`CarEnv`: a car and a task as a gymnasium environment with honest `terminated` and `truncated`.

The sibling of `RobotEnv`. An arm's action moves the measured tool pose; a car's is a steering angle and a speed that
may only change so much in one control period. What comes back in `info["executed_action"]` is the action after that
limit and after the car's own, and that is what must be learnt from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_rl.car import Car, CarCommand, CarExecuted, CarReset, CarState
from robot_rl.errors import SpecError
from robot_rl.specs import ActionSpec, ImageField, ObservationSpec
from robot_rl.task import Outcome
from robot_rl.timing import is_real_time, timing_of


class CarTask(Protocol):
    """Observations, actions, reward and end of one way to drive. It remembers where on the course the car is.

    Per episode the environment calls `sample_reset`, `begin` with the first reading, and then for each step `outcome`
    once, with the reading that the step led to; `state_vector` and `command` change nothing.

    Attributes:
        slew: Largest change of each action entry in one control period.
        rest_action: (A,) action of a car that begins to drive; the first step may differ from it by `slew`.
    """

    name: str
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    control_hz: float
    max_steps: int
    slew: float
    rest_action: NDArray[np.float32]

    def sample_reset(self, rng: np.random.Generator) -> CarReset:
        """Draw where the next episode begins."""
        ...

    def begin(self, state: CarState) -> None:
        """Find the car on the course."""
        ...

    def outcome(self, state: CarState, stopped: bool) -> Outcome:
        """Judge the state that a step led to, for the goal that was seen before it; then aim for the next."""
        ...

    def state_vector(self, state: CarState, last_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the flat state of `observation_spec`."""
        ...

    def mapping(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scale and offset (2,) of steering [rad] and speed [m/s]: value = offset + scale * action."""
        ...


class CarEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """One task on one car.

    Observations are the flat float32 state of `task.observation_spec`; with cameras, a dictionary of "state" and one
    (H, W, 3) uint8 image per camera. Actions are (2,) float32 in [-1, 1]: steering, left positive, and speed.

    Args:
        car: Lock-step twin, real-time twin or hardware.
        task: What is to be done.
        images: The cameras to include, with the sizes of their pictures; none learns from state alone.
        render_camera: Camera of `render()`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's own signature)

    def __init__(
        self, car: Car, task: CarTask, images: Mapping[str, ImageField] | None = None, render_camera: str = "chase",
        render_mode: str | None = None,
    ) -> None:  # fmt: skip
        self.car, self.task, self.cameras = car, task, tuple(images or ())
        self.observation_spec = dataclasses.replace(task.observation_spec, images=dict(images or {}))
        self.render_mode, self._render_camera = render_mode, render_camera
        if tuple(task.action_spec.slices) != ("steering", "speed") or task.action_spec.size != 2:
            raise SpecError(
                f"a car's action has the groups 'steering' and 'speed', got {list(task.action_spec.slices)} of size "
                f"{task.action_spec.size}"
            )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        state_space = gymnasium.spaces.Box(-np.inf, np.inf, (task.observation_spec.size,), np.float32)
        self.observation_space: gymnasium.Space[Any] = state_space
        if self.cameras:
            spaces: dict[str, gymnasium.Space[Any]] = {"state": state_space}
            for name in self.cameras:
                spaces[name] = gymnasium.spaces.Box(0, 255, self.observation_spec.images[name].shape, np.uint8)
            self.observation_space = gymnasium.spaces.Dict(spaces)
        self.real_time = is_real_time(car)
        self._scale, self._offset = task.mapping()
        self._last = np.array(task.rest_action, np.float32)
        self._connected = False
        self._state: CarState | None = None
        self._step = 0

    @property
    def period_s(self) -> float:
        """Control period, seconds of the car's time."""
        return float(getattr(self.car, "period_s", 1.0 / self.task.control_hz))

    @property
    def robot_state(self) -> CarState:
        """The reading that the last observation was made of."""
        if self._state is None:
            raise SpecError("the environment was used before its first reset; call reset() first")
        return self._state

    @property
    def last_action(self) -> NDArray[np.float32]:
        """(2,) the action that was executed last."""
        return self._last

    def connect(self) -> None:
        """Open the car, unless that is done; raises `RobotError` when something that the task needs is missing."""
        if not self._connected:
            self.car.connect()
            self._connected = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a start from the task, bring the car there, and observe."""
        super().reset(seed=seed)
        self.connect()
        self._state = self.car.reset(self.task.sample_reset(self.np_random))
        self._last = np.array(self.task.rest_action, np.float32)
        self._step = 0
        self.task.begin(self._state)
        return self._observation(self._state), {}

    def limited(self, action: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the action that is executed for one that is asked for: in [-1, 1], and near the one before.

        Args:
            action: (2,).
        """
        low = np.maximum(self._last - self.task.slew, -1.0)
        high = np.minimum(self._last + self.task.slew, 1.0)
        return np.minimum(np.maximum(np.asarray(action, np.float32), low), high).astype(np.float32)

    def step(self, action: NDArray[np.floating]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the car drive for one control period.

        Args:
            action: (2,) in [-1, 1]; what exceeds that or the slew limit is clipped, and the clipped action is the
                executed one.

        Returns:
            Observation, reward, terminated (the task ended), truncated (the clock or a stop ended), info.
        """
        if self._state is None:
            raise SpecError("the environment was used before its first reset; call reset() first")
        asked = np.asarray(action, np.float32)
        if asked.shape != (2,) or not np.isfinite(asked).all():
            raise SpecError(f"an action has shape (2,) and finite entries, got {asked}")
        taken = self.limited(asked)
        steering, speed = (self._offset + self._scale * taken).tolist()
        executed = self.car.command(CarCommand(steering, speed))
        self._last = taken if not executed.events else self._from_executed(taken, executed)
        state = self._state = self.car.observe()
        self._step += 1
        outcome = self.task.outcome(state, executed.stopped)
        truncated = not outcome.terminated and (executed.stopped or self._step >= self.task.max_steps)
        info: dict[str, Any] = {
            "executed_action": self._last.copy(),
            "success": outcome.success,
            "guard_events": executed.events,
            "reason": outcome.reason
            or ((executed.reason or "stopped") if executed.stopped else "time limit" if truncated else ""),
        }
        if self.real_time:
            info["timing"] = timing_of(self.car)
        return self._observation(state), outcome.reward, outcome.terminated, truncated, info

    def _from_executed(self, asked: NDArray[np.float32], executed: CarExecuted) -> NDArray[np.float32]:
        """Express what the car's limits let through as an action, so that the learner sees what happened."""
        value = np.array([executed.steering_rad, executed.speed_m_s], np.float32)
        return np.where(self._scale > 0.0, np.clip((value - self._offset) / self._scale, -1.0, 1.0), asked)

    def _observation(self, state: CarState) -> Any:
        vector = self.task.state_vector(state, self._last)
        if not self.cameras:
            return vector
        return {"state": vector, **{name: state.images[name] for name in self.cameras}}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a (480, 640, 3) uint8 picture of the scene, if the car can draw itself."""
        draw = getattr(self.car, "render", None)
        return draw(self._render_camera, 480, 640) if draw is not None else None

    def close(self) -> None:
        """Stop and release the car. A later reset connects to it again."""
        self._connected = False
        self.car.close()
