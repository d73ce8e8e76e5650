"""`CarEnv`: a car and a task as a gymnasium environment with honest `terminated` and `truncated`.

The sibling of `RobotEnv`. A car's steering and speed may only change so much in one control period, so an action says
where in the window that is open now they shall lie: -1 is its lower end, 1 its upper. Whatever a policy samples, and
whatever the critic's target samples for the next state, is therefore possible, and its density is exact: the map from
an action to a command is one to one, and the state holds what it depends on. What comes back in
`info["executed_action"]` is the action that the car's own limits let through, and that is what must be learnt from.

Practice is continuous: `reset` without a seed begins where the car stands, after it has got back on the course by
itself. With a seed it brings the car to a start that the task draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_rl.car import Car, CarCommand, CarReset, CarState
from robot_rl.errors import RobotError, SpecError
from robot_rl.messages import StepBlock
from robot_rl.specs import ActionSpec, ImageField, ObservationSpec
from robot_rl.task import Outcome
from robot_rl.timing import is_real_time, timing_of


class CarRecovery(Protocol):
    """One way back onto the course.

    Attributes:
        rung: "done" or "person" when it is over.
        climbed: What was tried, in order.
    """

    rung: str
    climbed: list[str]

    def command(self, state: CarState) -> CarCommand | None:
        """Return what to do now, or None when it is over."""
        ...


@runtime_checkable
class CarTask(Protocol):
    """Observations, actions, reward and end of one way to drive. It remembers where on the course the car is.

    Per episode the environment calls `begin` with the first reading of a car that was placed, or `resume` for one that
    goes on where it stands, and then for each step `outcome` once, with the reading that the step led to;
    `state_vector` and `window` change nothing. Steering and speed as numbers from -1 to 1 are called a setting.

    Attributes:
        rest_action: (2,) setting of a car that begins to drive.
    """

    name: str
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    control_hz: float
    max_steps: int
    rest_action: NDArray[np.float32]

    def sample_reset(self, rng: np.random.Generator) -> CarReset:
        """Draw where the next episode begins."""
        ...

    def begin(self, state: CarState) -> None:
        """Find the car on the course."""
        ...

    def resume(self, state: CarState) -> None:
        """Find the car again where it stands or rolls; a lap in progress may go on."""
        ...

    def recovery(self, state: CarState) -> CarRecovery | None:
        """Return the way back for a car that is in trouble; None for one that can drive on."""
        ...

    def recovering(self, state: CarState) -> None:
        """See a reading of a recovery, for the time and the way that it takes."""
        ...

    def rescued(self, recovery: CarRecovery) -> CarReset | None:
        """Count how a recovery ended, and return where a person puts a car that did not get back; None if it did."""
        ...

    def facts(self) -> Mapping[str, float | int | str | bool]:
        """Return what is to be kept of the episode that has just ended."""
        ...

    def window(self, state: CarState, last: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the lowest and the highest setting (2,) that may follow the last one."""
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
    (H, W, 3) uint8 image per camera. Actions are (2,) float32 in [-1, 1]: steering, left positive, and speed, each as a
    place in the window that is open now.

    Args:
        car: Lock-step twin, real-time twin or hardware.
        task: What is to be done.
        images: The cameras to include, with the sizes of their pictures; none learns from state alone.
        render_camera: Camera of `render()`.

    Attributes:
        learning: Whether anything is learnt from what is seen; where not, what only learning needs is left out.
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
        self.learning = True
        self._scale, self._offset = task.mapping()
        self._last = np.array(task.rest_action, np.float32)
        self._connected = False
        self._state: CarState | None = None
        self._step = 0
        self._low, self._high = -np.ones(2, np.float32), np.ones(2, np.float32)

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
    def recorded_spec(self) -> ObservationSpec:
        """What recorders write and viewers show of an observation; see `shown`."""
        return self.observation_spec

    def shown(self, observation: Any) -> Any:
        """Return the newest observation as a person sees it: its pictures where a policy reads something else."""
        return observation

    def encoded(self, block: StepBlock) -> StepBlock:
        """Return a block of recorded observations as a policy reads them."""
        return block

    @property
    def last_action(self) -> NDArray[np.float32]:
        """(2,) the setting of steering and speed that was executed last."""
        return self._last

    def connect(self) -> None:
        """Open the car, unless that is done; raises `RobotError` when something that the task needs is missing."""
        if not self._connected:
            self.car.connect()
            self._connected = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and observe.

        Args:
            seed: Draw a start from the task and bring the car there. None goes on where the car stands, and lets it
                get back on the course by itself if it is in trouble.
            options: "request" is a `CarReset` to begin from instead of a drawn one.

        Raises:
            RobotError: The car cannot get back by itself, or its own limits hold it; a person has to help.
        """
        super().reset(seed=seed)
        self.connect()
        given = options or {}
        self._step = 0
        if seed is None and self._state is not None and "request" not in given:
            self._state = self._go_on()
        else:
            self._state = self._place(given.get("request") or self.task.sample_reset(self.np_random))
        self._low, self._high = self.task.window(self._state, self._last)
        return self._observation(self._state), {}

    def _place(self, request: CarReset) -> CarState:
        state = self.car.reset(request)
        self._last = np.array(self.task.rest_action, np.float32)
        self.task.begin(state)
        return state

    def _go_on(self) -> CarState:
        """Return the reading from which the next episode begins, after a recovery if the car needs one."""
        state = self.robot_state
        if self.real_time:  # time has passed, and somebody may have moved it
            state = self._state = self.car.observe()
        recovery = self.task.recovery(state)
        if recovery is None:
            self.task.resume(state)
            return state
        while (command := recovery.command(state)) is not None:
            executed = self.car.command(command)
            if executed.stopped:
                raise RobotError(executed.reason or "the car's own limits hold it; look at it, then acknowledge")
            self._last = self._setting(executed.steering_rad, executed.speed_m_s)
            state = self._state = self.car.observe()
            self.task.recovering(state)
        request = self.task.rescued(recovery)
        if request is not None:
            if self.real_time:
                raise RobotError(
                    f"the car did not get back on the course by itself (it tried {', '.join(recovery.climbed)}); put "
                    "it on the course by hand, facing along it"
                )
            return self._place(request)
        self.task.resume(state)
        return state

    def action_of(self, steering_rad: float, speed_m_s: float) -> NDArray[np.float32]:
        """Return the action nearest to a command, within the window that is open now."""
        return self._place_in_window(self._setting(steering_rad, speed_m_s))

    def _setting(self, steering_rad: float, speed_m_s: float) -> NDArray[np.float32]:
        value = np.array([steering_rad, speed_m_s], np.float32)
        action = np.clip((value - self._offset) / np.where(self._scale > 0.0, self._scale, 1.0), -1.0, 1.0)
        return action.astype(np.float32)

    def _place_in_window(self, setting: NDArray[np.float32]) -> NDArray[np.float32]:
        width = self._high - self._low
        share = np.where(width > 1e-6, (setting - self._low) / np.maximum(width, 1e-6), 0.5)
        return np.clip(2.0 * share - 1.0, -1.0, 1.0).astype(np.float32)

    def limited(self, action: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the (2,) setting that an action (2,) stands for: a place in the window that is open now."""
        share = 0.5 * (np.clip(np.asarray(action, np.float32), -1.0, 1.0) + 1.0)
        return (self._low + share * (self._high - self._low)).astype(np.float32)

    def step(self, action: NDArray[np.floating]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the car drive for one control period.

        Args:
            action: (2,) in [-1, 1]; what exceeds that is clipped, and the clipped action is the executed one.

        Returns:
            Observation, reward, terminated (the task ended), truncated (the clock or a stop ended), info.
        """
        if self._state is None:
            raise SpecError("the environment was used before its first reset; call reset() first")
        asked = np.asarray(action, np.float32)
        if asked.shape != (2,) or not np.isfinite(asked).all():
            raise SpecError(f"an action has shape (2,) and finite entries, got {asked}")
        self._last = self.limited(asked)
        taken = np.clip(asked, -1.0, 1.0)
        steering, speed = (self._offset + self._scale * self._last).tolist()
        try:
            executed = self.car.command(CarCommand(steering, speed))
        except RobotError:
            if not self.real_time:  # a twin whose physics diverged has nowhere to go on from
                self._state = None
            raise
        if executed.events:
            self._last = self._setting(executed.steering_rad, executed.speed_m_s)
            taken = self._place_in_window(self._last)
        state = self._state = self.car.observe()
        self._step += 1
        outcome = self.task.outcome(state, executed.stopped)
        truncated = not outcome.terminated and (executed.stopped or self._step >= self.task.max_steps)
        info: dict[str, Any] = {
            "executed_action": taken,
            "success": outcome.success,
            "guard_events": executed.events,
            "reason": outcome.reason
            or ((executed.reason or "stopped") if executed.stopped else "time limit" if truncated else ""),
        }
        if self.real_time:
            info["timing"] = timing_of(self.car)
        if outcome.terminated or truncated:
            info["facts"] = self.task.facts()
        self._low, self._high = self.task.window(state, self._last)
        return self._observation(state), outcome.reward, outcome.terminated, truncated, info

    def _observation(self, state: CarState) -> Any:
        vector = self.task.state_vector(state, self._last)
        if not self.cameras:
            return vector
        return {"state": vector, **{name: state.images[name] for name in self.cameras}}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a (480, 640, 3) uint8 picture of the scene, if the car can draw itself."""
        draw = getattr(self.car, "render", None)
        return draw(self._render_camera, 480, 640) if draw is not None else None

    def stop(self, reason: str) -> bool:
        """Latch a stop, if the car has one; return whether it has. From then on its limits refuse to move."""
        stop = getattr(self.car, "stop", None)
        if stop is None:
            return False
        stop(reason)
        return True

    def close(self) -> None:
        """Stop and release the car. A later reset connects to it again."""
        self._connected = False
        self.car.close()
