"""`RobotEnv`: a robot and a task as a gymnasium environment with honest `terminated` and `truncated`.

The only code between an action and the robot: scale the action, move the measured tool pose by it, command, read and
judge. What comes back in `info["executed_action"]` is the action after the guard, and that is what must be learnt from.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import SpecError
from robot_rl.geometry import tool_delta_into, tool_delta_inverse_into
from robot_rl.messages import StepBlock
from robot_rl.robot import ArmCommand, Executed, ResetRequest, Robot, RobotState
from robot_rl.specs import ImageField, ObservationSpec
from robot_rl.task import Judge, Task
from robot_rl.timing import is_real_time, timing_of

SWITCH_S = 0.0005
"""In real time a thread that computes gives way this soon: Python's own 5 ms would be the lateness of the loop."""

Observation = NDArray[np.float32] | dict[str, NDArray[Any]]


class RobotEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """One task on one robot.

    Observations are the flat float32 state of `task.observation_spec`; with cameras, a dictionary of "state" and one
    (H, W, 3) uint8 image per camera. Actions are (A,) float32 in [-1, 1], see `task.action_spec`.

    Args:
        robot: Lock-step twin, real-time twin or hardware.
        task: What is to be done.
        images: The cameras to include, with the sizes of their pictures; none learns from state alone.
        render_camera: Camera of `render()`.
        judge: What says reward and success in the place of the task, such as a classifier of pictures.
        keep_scene: Whether a drawn start moves the arm alone: every object stays where the last episode left it.

    Attributes:
        request: Where the last reset was asked to begin; None before the first.
        learning: Whether anything is learnt from what is seen; where not, what only learning needs is left out.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's own signature)

    def __init__(
        self, robot: Robot, task: Task, images: Mapping[str, ImageField] | None = None, render_camera: str = "video",
        render_mode: str | None = None, judge: Judge | None = None, keep_scene: bool = False,
    ) -> None:  # fmt: skip
        self.robot, self.task, self.cameras, self.judge = robot, task, tuple(images or ()), judge
        self.keep_scene = keep_scene
        self.observation_spec = dataclasses.replace(task.observation_spec, images=dict(images or {}))
        self.render_mode, self._render_camera = render_mode, render_camera
        spec = task.action_spec
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.size,), np.float32)
        state_space = gymnasium.spaces.Box(-np.inf, np.inf, (task.observation_spec.size,), np.float32)
        self.observation_space: gymnasium.Space[Any] = state_space
        self.real_time = is_real_time(robot)
        self.learning = True
        self._connected = False
        if self.cameras:
            spaces: dict[str, gymnasium.Space[Any]] = {"state": state_space}
            for name in self.cameras:
                spaces[name] = gymnasium.spaces.Box(0, 255, self.observation_spec.images[name].shape, np.uint8)
            self.observation_space = gymnasium.spaces.Dict(spaces)
        translation, rotation = spec.slices["translation"], spec.slices["rotation"]
        if (translation, rotation) != (slice(0, 3), slice(3, 6)):
            raise SpecError("an arm's action must begin with the groups 'translation' (3) and 'rotation' (3)")
        self._scale = np.repeat([spec.continuous["translation"].scale, spec.continuous["rotation"].scale], 3)
        self._gripper = spec.discrete.get("gripper")
        self._delta = np.zeros(6)
        self._low, self._high = np.full(spec.size, -1.0, np.float32), np.full(spec.size, 1.0, np.float32)
        self._state: RobotState | None = None
        self.request: ResetRequest | None = None
        self._step = 0

    @property
    def period_s(self) -> float:
        """Control period, seconds of the robot's time."""
        return float(getattr(self.robot, "period_s", 1.0 / self.task.control_hz))

    @property
    def robot_state(self) -> RobotState:
        """The reading that the last observation was made of."""
        if self._state is None:
            raise SpecError("the environment was used before its first reset; call reset() first")
        return self._state

    @property
    def recorded_spec(self) -> ObservationSpec:
        """What recorders write and viewers show of an observation; see `shown`."""
        return self.observation_spec

    def shown(self, observation: Observation) -> Observation:
        """Return the newest observation as a person sees it: its pictures where a policy reads something else."""
        return observation

    def encoded(self, block: StepBlock) -> StepBlock:
        """Return a block of recorded observations as a policy reads them."""
        return block

    def connect(self) -> None:
        """Open the robot, unless that is done; raises `RobotError` when something that the task needs is missing."""
        if not self._connected:
            if self.real_time:
                sys.setswitchinterval(SWITCH_S)
            self.robot.connect()
            self._connected = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a start from the task, bring the robot there, and observe.

        Args:
            seed: Of the starts from here on; None goes on with those of the last seed.
            options: "request" is a `ResetRequest` to begin from instead of a drawn one; "snapshot" is what the
                `snapshot` of a twin of the same scene returned, which brings it to that very state instead.
        """
        super().reset(seed=seed)
        self.connect()
        given = options or {}
        request = self.request = given.get("request") or self._draw_start()
        restore = getattr(self.robot, "restore", None) if given.get("snapshot") else None
        state: RobotState = restore(given["snapshot"]) if restore is not None else self.robot.reset(request)
        self._state = state
        self._step = 0
        if self.judge is not None:
            self.judge.begin()
        return self._observation(state), {}

    def see(self, state: RobotState) -> Observation:
        """Take in a reading between episodes, and return what is observed of it."""
        self._state = state
        return self._observation(state)

    def _draw_start(self) -> ResetRequest:
        request = self.task.sample_reset(self.np_random)
        return dataclasses.replace(request, objects={}, keep_scene=True) if self.keep_scene else request

    def step(self, action: NDArray[np.floating]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the robot act for one control period.

        Args:
            action: (A,) in [-1, 1]; values outside are clipped, and the clipped action is the executed one.

        Returns:
            Observation, reward, terminated (the task ended), truncated (the clock or the guard ended), info. With a
            judge all of these are its word, and info["judged"] holds what it told beside that.
        """
        before = self.robot_state
        requested = np.asarray(action, np.float32)
        if requested.shape != self._low.shape:
            raise SpecError(f"an action has shape {self._low.shape}, got {requested.shape}")
        requested = np.minimum(np.maximum(requested, self._low), self._high)  # np.clip takes four times as long
        executed = self.robot.command(self._to_command(requested, before))
        state = self._state = self.robot.observe()
        self._step += 1
        if self.judge is None:
            outcome, judged = self.task.outcome(state), {}
        else:
            outcome, told = self.judge.outcome(state)
            judged = {"judged": told}
        truncated = not outcome.terminated and (executed.stopped or self._step >= self.task.max_steps)
        taken = requested if not executed.events else self._from_executed(requested, executed, before)
        info: dict[str, Any] = {
            "executed_action": taken,
            "success": outcome.success,
            "guard_events": executed.events,
            "reason": outcome.reason
            or ((executed.reason or "stopped") if executed.stopped else "time limit" if truncated else ""),
            **judged,
        }
        if self.real_time:
            info["timing"] = timing_of(self.robot)
        return self._observation(state), outcome.reward, outcome.terminated, truncated, info

    def _to_command(self, action: NDArray[np.float32], state: RobotState) -> ArmCommand:
        self._delta[:] = action[:6]
        self._delta *= self._scale
        p, q = np.empty(3), np.empty(4)
        tool_delta_into(p, q, state.p_BE, state.quat_BE, self._delta[:3], self._delta[3:])
        close = self._gripper is not None and self._gripper.index(float(action[6])) == 1
        return ArmCommand(p, q, close)

    def _from_executed(
        self, requested: NDArray[np.float32], executed: Executed, state: RobotState
    ) -> NDArray[np.float32]:
        """Express what the guard let through as an action, so that the learner sees what happened."""
        tool_delta_inverse_into(
            self._delta[:3], self._delta[3:], state.p_BE, state.quat_BE, executed.p_BE, executed.quat_BE
        )
        taken = requested.copy()
        taken[:6] = np.clip(self._delta / self._scale, -1.0, 1.0)
        if self._gripper is not None:
            taken[6] = self._gripper.value(1 if executed.close_gripper else 0)
        return taken

    def _observation(self, state: RobotState) -> Observation:
        vector = self.task.state_vector(state)
        if not self.cameras:
            return vector
        return {"state": vector, **{name: state.images[name] for name in self.cameras}}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a (480, 640, 3) uint8 picture of the scene, if the robot can draw itself."""
        draw = getattr(self.robot, "render", None)
        return draw(self._render_camera, 480, 640) if draw is not None else None

    def stop(self, reason: str) -> bool:
        """Latch a stop, if the robot has one; return whether it has. From then on its guard refuses to move."""
        stop = getattr(self.robot, "stop", None)
        if stop is None:
            return False
        stop(reason)
        return True

    def close(self) -> None:
        """Hold and release the robot. A later reset connects to it again."""
        self._connected = False
        if self.judge is not None:
            self.judge.close()
        self.robot.close()
