"""The car's twin in lock-step: chassis, tyres, servo, VESC and sensors in MuJoCo, as fast as it goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarCommand, CarExecuted, CarReset, CarState, Vector, wrap
from robot_rl.errors import ConfigError, RobotError, nearest
from robot_rl_sim.cameras import CameraRenderer
from robot_rl_sim.car import tick
from robot_rl_sim.car.lidar import scan_into
from robot_rl_sim.car.scene import WHEELS, build_car_scene
from robot_rl_sim.car.settings import CarTwinConfig, Sensors, TyreModel
from robot_rl_sim.native import address_of, log_warnings
from robot_rl_sim.settings import whole_ticks
from robot_rl_tasks.car.place import Place

LIDAR_M = 0.27
"""Where the lidar stands in C, on the middle line."""
TOUCH_N = 1.0
"""A hull that is pushed harder than this has met something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarTruth:
    """What really is, for tests and statistics; nothing that drives may see it.

    Attributes:
        p_WC, yaw_rad: Pose, without noise and latency.
        v_C: (2,) velocity of the middle of the rear axle, forward and left [m/s].
        yaw_rate_rad_s: Turning rate.
        steering_rad: Where the servo is.
        impact_n: Largest push on the hull in the last period.
        collided: Whether the hull met anything in the last period.
        upright: Cosine of the lean; 1 on its wheels, -1 on its roof.
    """

    p_WC: Vector
    yaw_rad: float
    v_C: Vector
    yaw_rate_rad_s: float
    steering_rad: float
    impact_n: float
    collided: bool
    upright: float


class CarTwin:
    """A car in a place. Time passes only in `command`; the same resets and commands give the same bits.

    Args:
        place: Where it drives.
        config: The car, its sensors, and the settings of the twin.
    """

    def __init__(self, place: Place, config: CarTwinConfig | None = None) -> None:
        self.place, self.config = place, config or CarTwinConfig()
        config, car = self.config, self.config.car
        place.course.check_width(car.hull_m[1])
        self.period_s = 1.0 / config.control_hz
        self._ticks = whole_ticks(self.period_s, config.physics_dt_s)
        log_warnings()
        pacejka = config.tyres == "pacejka"
        self.model = build_car_scene(car, place, config.physics_dt_s, pacejka).compile()
        self.data = mujoco.MjData(self.model)
        for camera in config.cameras:
            if camera not in self.cameras():
                raise ConfigError(
                    f"car_twin.cameras names '{camera}'; the car has {self.cameras()}.{nearest(camera, self.cameras())}"
                )
        self._renderer = CameraRenderer(self.model)
        self._tyres = np.array([self.model.geom(f"{w}_tyre").id for w in WHEELS])
        self._parameters = self._pack()
        self._memory, self._queue = np.zeros(tick.MEMORY), np.zeros((tick.QUEUE, tick.COMMAND))
        self._history = np.zeros((tick.QUEUE, tick.POSE))
        self._bind_views()
        self._rng = np.random.default_rng(0)
        self._bias = np.zeros(6)
        self._delay = 0
        self._state: CarState | None = None

    def _pack(self) -> Vector:
        car, ground = self.config.car, self.place.surface
        p = np.zeros(tick.PARAMETERS)
        p[tick.DT], p[tick.BASE], p[tick.TRACK] = self.config.physics_dt_s, car.wheelbase_m, car.track_m
        p[tick.RADIUS], p[tick.MAX_STEER] = car.wheel_radius_m, car.max_steering_rad
        p[tick.STEER_RATE], p[tick.STEER_LAG] = car.steering_rate_rad_s, car.steering_lag_s
        p[tick.NM_PER_A] = car.torque_n_m_a * car.gear
        p[tick.KE] = car.torque_n_m_a * car.gear  # volt for each rad/s of the wheels: the torque constant once more
        p[tick.RESISTANCE], p[tick.BATTERY] = car.resistance_ohm, car.battery_v
        p[tick.MAX_A], p[tick.BRAKE_A] = car.max_current_a, car.brake_current_a
        p[tick.RAMP], p[tick.MIN_SPEED] = car.ramp_erpm_s / car.erpm_gain, car.min_erpm / car.erpm_gain
        p[tick.KP], p[tick.KI] = car.speed_kp_a, car.speed_ki_a
        p[tick.ROLLING] = ground.rolling * car.mass_kg * 9.81 / 4 * car.wheel_radius_m
        p[tick.FIRST_DRIVEN] = 0.0 if car.driven == "all" else 2.0
        p[tick.PACEJKA] = float(self.config.tyres == "pacejka")
        p[tick.B], p[tick.C], p[tick.D], p[tick.E] = ground.stiffness, ground.shape, ground.friction, ground.falloff
        return p

    def _bind_views(self) -> None:
        """Make the tuple of arguments that the compiled loop takes; MuJoCo never moves its arrays."""
        m, d = self.model, self.data
        addresses = np.array([address_of("mj_step1"), address_of("mj_step2"), m._address, d._address], np.int64)
        wheels = np.array([m.body(w).id for w in WHEELS], np.int64)
        self._spins = np.array([m.joint(w).dofadr[0] for w in WHEELS], np.int64)
        steers = np.array([m.actuator(f"{w}_steer").id for w in WHEELS[:2]], np.int64)
        motors = np.array([m.actuator(w).id for w in WHEELS], np.int64)
        self._loop = (
            self._parameters, self._memory, self._queue, self._history, addresses, d.qpos, d.qvel, d.ctrl, d.sensordata,
            wheels, self._spins, steers, motors, d.xmat, d.xpos, d.xfrc_applied, np.zeros(4),
        )  # fmt: skip

    def connect(self) -> None:
        """Nothing to open: the twin exists as soon as it is made."""

    def reset(self, request: CarReset) -> CarState:
        """Place the car where an episode begins and return the first reading.

        Raises:
            RobotError: A number is not finite, or the car would stand in a wall.
        """
        x, y, yaw, speed = *request.p_WC, request.yaw_rad, request.speed_m_s
        if not all(math.isfinite(v) for v in (x, y, yaw, speed)):
            raise RobotError(f"a car cannot start at {request.p_WC} m, {yaw} rad, {speed} m/s; give finite numbers")
        self._rng = np.random.default_rng([request.seed, 7])
        self._draw_episode()
        d, half = self.data, 0.5 * yaw
        mujoco.mj_resetData(self.model, d)
        d.qpos[:7] = x, y, 0.0, math.cos(half), 0.0, 0.0, math.sin(half)
        d.qvel[0], d.qvel[1] = speed * math.cos(yaw), speed * math.sin(yaw)
        d.qvel[self._spins] = speed / self.config.car.wheel_radius_m
        mujoco.mj_step1(self.model, d)
        if self._in_wall():
            raise RobotError(f"the car cannot start at ({x:.2f}, {y:.2f}) m: it would stand in a wall or an obstacle")
        self._memory[:] = 0.0
        self._memory[[tick.SET_POINT, tick.TIPPED, tick.AZ]] = speed, 1.0, 9.81
        self._queue[:] = 0.0
        self._queue[:, tick.SPEED_CMD] = speed
        self._history[:] = 0.0, x, y, wrap(yaw)
        self._state = self._read(0.0, self.config.cameras)
        return self._state

    def _draw_episode(self) -> None:
        """Draw what differs from episode to episode: biases, and with `spread` friction, delay and trim."""
        s, spread, rng = self.config.sensors, self.config.spread, self._rng
        self._bias[:3] = rng.normal(0.0, 1.0, 3) * s.accel_bias_m_s2
        self._bias[3:] = rng.normal(0.0, 1.0, 3) * s.gyro_bias_rad_s
        friction = self.place.surface.friction * (1.0 + 0.15 * spread * rng.uniform(-1.0, 1.0))
        delay_s = self.config.command_delay_s + 0.03 * spread * rng.uniform()
        self._parameters[tick.TRIM] = 0.02 * spread * rng.uniform(-1.0, 1.0)
        self._parameters[tick.D] = friction
        self.model.geom_friction[self._tyres, 0] = friction
        self._delay = round(delay_s / self.config.physics_dt_s)

    def _in_wall(self) -> bool:
        """Whether anything touches the car but the ground under it."""
        ground = self.model.geom("ground").id
        return any(ground not in contact.geom for contact in self.data.contact[: self.data.ncon])

    def command(self, command: CarCommand) -> CarExecuted:
        """Hold the command within the car's limits, run one control period, and return what was executed."""
        if self._state is None:
            raise RobotError("the car's twin was commanded before a reset, or after its physics diverged; reset it")
        command.check()
        car, events = self.config.car, []
        steering = min(max(command.steering_rad, -car.max_steering_rad), car.max_steering_rad)
        speed = min(max(command.speed_m_s, -car.max_speed_m_s), car.max_speed_m_s)
        current = command.current_a
        if current is not None:
            current = min(max(current, -car.max_current_a), car.max_current_a)
        for name, asked, got in (
            ("steering", command.steering_rad, steering), ("speed", command.speed_m_s, speed),
            ("current", command.current_a, current),
        ):  # fmt: skip
            if asked != got:
                events.append(name)
        # From the tick in which it takes effect on, until a newer one does.
        start = int(self._memory[tick.TICK]) + self._delay
        rows = (start + np.arange(self._ticks + self._delay + 1)) % tick.QUEUE
        self._queue[rows] = steering, speed, current or 0.0, current is not None
        self._memory[[tick.SHOCK, tick.IMPACT]] = 0.0
        if not tick.period(self._ticks, *self._loop):
            self._state = None
            raise RobotError("the physics of the car's twin diverged; reset it, and check car_twin.physics_dt_s")
        self._state = self._read(steering, self.config.cameras)
        return CarExecuted(steering, speed, current, tuple(events))

    def observe(self) -> CarState:
        """Return the newest reading. Raises `RobotError` before a reset or after physics diverged."""
        if self._state is None:
            raise RobotError("the car's twin was read before a reset, or after its physics diverged; reset it")
        return self._state

    def _read(self, steering_rad: float, cameras: Sequence[str]) -> CarState:
        s, m, rng = self.config.sensors, self._memory, self._rng
        k, dt = int(m[tick.TICK]), self.config.physics_dt_s
        pose = self._history[max(k - round(s.pose_latency_s / dt), 0) % tick.QUEUE]
        noise = rng.standard_normal(12)
        gyro = self.data.sensordata[tick.GYRO : tick.GYRO + 3] + self._bias[3:] + s.gyro_noise_rad_s * noise[:3]
        accel = m[tick.AX : tick.AX + 3] + self._bias[:3] + s.accel_noise_m_s2 * noise[3:6]
        rims = self.data.qvel[self._spins] * self.config.car.wheel_radius_m
        first = int(self._parameters[tick.FIRST_DRIVEN])
        scale = 1.0 + s.speed_noise * noise[6]
        return CarState(
            stamp_s=k * dt,
            pose_stamp_s=float(pose[tick.T]),
            p_WC=pose[tick.X : tick.Y + 1] + s.pose_noise_m * noise[7:9],
            yaw_rad=wrap(float(pose[tick.YAW]) + s.pose_noise_rad * float(noise[9])),
            speed_m_s=float(rims[first:].mean() * scale),
            yaw_rate_rad_s=float(gyro[2]),
            wheel_speeds_m_s=rims * scale,
            acceleration_m_s2=accel,
            angular_rate_rad_s=gyro,
            shock_m_s2=float(m[tick.SHOCK]),
            steering_rad=steering_rad,
            current_a=float(m[tick.CURRENT]),
            ranges_m=self._scan(),
            images={name: self.render(name, *[self.config.image_size] * 2) for name in cameras},
        )

    def _scan(self) -> Vector:
        s = self.config.sensors
        out = np.empty(s.beams)
        if s.beams:
            x, y, yaw = self._history[int(self._memory[tick.TICK]) % tick.QUEUE, tick.X :]
            at = x + LIDAR_M * math.cos(yaw), y + LIDAR_M * math.sin(yaw)
            step = s.beam_angle_rad / (s.beams - 1)
            first = yaw - 0.5 * s.beam_angle_rad
            scan_into(out, *at, first, step, s.range_m, self.place.segments, self.place.obstacles)
            out += s.range_noise_m * self._rng.standard_normal(s.beams)
        return out

    def truth(self) -> CarTruth:
        """Return what really is, without noise and latency."""
        m, d = self._memory, self.data
        _, x, y, yaw = self._history[int(m[tick.TICK]) % tick.QUEUE]
        c, s = math.cos(yaw), math.sin(yaw)
        vx, vy = d.qvel[:2]
        impact = float(m[tick.IMPACT])
        return CarTruth(
            p_WC=np.array([x, y]), yaw_rad=float(yaw), v_C=np.array([c * vx + s * vy, -s * vx + c * vy]),
            yaw_rate_rad_s=float(d.qvel[5]), steering_rad=float(m[tick.STEER]), impact_n=impact,
            collided=impact > TOUCH_N, upright=float(m[tick.TIPPED]),
        )  # fmt: skip

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) uint8 from a camera: "front", "chase" or "above"."""
        return self._renderer.render(self.data, camera, height, width)

    def cameras(self) -> Sequence[str]:
        """Return the names of the cameras."""
        return [self.model.camera(i).name for i in range(self.model.ncam)]

    def close(self) -> None:
        """Free what was opened for pictures, if any."""
        self._renderer.close()


class OnCourse(Protocol):
    """A task that says where it is driven."""

    place: Place | None
    control_hz: float
    beams: int


def make_car_twin(
    task: OnCourse, control_hz: float = 0.0, physics_dt_s: float = 0.002, tyres: TyreModel = "contact",
    command_delay_s: float = 0.02, spread: float = 0.0, cameras: tuple[str, ...] = (), image_size: int = 128,
) -> CarTwin:  # fmt: skip
    """Return the twin on a task's course, with as many lidar beams as the task reads.

    Args:
        task: The task.
        control_hz: Commands a second; 0 takes the task's.
        physics_dt_s, tyres, command_delay_s, spread, cameras, image_size: Of `CarTwinConfig`.

    Raises:
        ConfigError: The task has no place to build, or is no task of a car.
    """
    where = getattr(task, "place", None)
    if not isinstance(where, Place):
        name = getattr(task, "name", type(task).__name__)
        raise ConfigError(f"robot=car_twin drives task=lap, and '{name}' has no course; choose another robot or task")
    return CarTwin(
        where,
        CarTwinConfig(
            sensors=Sensors(beams=task.beams), control_hz=control_hz or task.control_hz, physics_dt_s=physics_dt_s,
            tyres=tyres, command_delay_s=command_delay_s, spread=spread, cameras=cameras, image_size=image_size,
        ),
    )  # fmt: skip


__all__ = ["CarTruth", "CarTwin", "CarTwinConfig", "make_car_twin"]
