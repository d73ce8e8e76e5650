"""What the twin of a car is made of: the car itself, its sensors, and what differs from one episode to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from robot_rl.errors import ConfigError, nearest

TyreModel = Literal["contact", "pacejka"]
GRAVITY_M_S2 = 9.81


@dataclass(frozen=True, kw_only=True)
class CarModel:
    """A 1/10 car; the defaults are those of an F1TENTH car (mass, inertia and axles as its community measured them).

    Attributes:
        mass_kg, yaw_inertia_kg_m2: Of the whole car.
        front_m, rear_m: From the centre of gravity to the axles.
        height_m: Of the centre of gravity.
        track_m: Between the middles of left and right tyres.
        wheel_radius_m, wheel_width_m, wheel_kg, upright_kg: Of each wheel and what carries it.
        spring_n_m, damper_n_s_m, travel_m: Suspension of each wheel; travel to either side.
        hull_m: Length, width of what a wall meets; it begins `overhang_m` behind the rear axle.
        max_steering_rad, steering_rate_rad_s, steering_lag_s: Of the servo.
        driven: Which wheels the motor turns.
        erpm_gain: Electrical revolutions a minute for each m/s.
        gear, torque_n_m_a, resistance_ohm, battery_v: Motor: turns for one of a wheel, torque constant, winding,
            supply.
        max_current_a, brake_current_a: Largest motor currents with and against the motion.
        max_speed_m_s: Speeds beyond are not commanded.
        ramp_erpm_s: How fast the VESC lets its set point move, as its `s_pid_ramp_erpms_s`.
        min_erpm: Set points below release the motor, as its `s_pid_min_erpm`.
        speed_kp_a, speed_ki_a: Gains of its speed loop, in ampere for each m/s, and that per second.
    """

    mass_kg: float = 3.74
    yaw_inertia_kg_m2: float = 0.04712
    front_m: float = 0.15875
    rear_m: float = 0.17145
    height_m: float = 0.074
    track_m: float = 0.25
    wheel_radius_m: float = 0.05
    wheel_width_m: float = 0.045
    wheel_kg: float = 0.10
    upright_kg: float = 0.05
    spring_n_m: float = 1000.0
    damper_n_s_m: float = 25.0
    travel_m: float = 0.02
    hull_m: tuple[float, float] = (0.56, 0.31)
    overhang_m: float = 0.11
    max_steering_rad: float = 0.4189
    steering_rate_rad_s: float = 3.2
    steering_lag_s: float = 0.05
    driven: Literal["all", "rear"] = "all"
    erpm_gain: float = 4614.0
    gear: float = 12.08
    torque_n_m_a: float = 0.00273
    resistance_ohm: float = 0.03
    battery_v: float = 11.1
    max_current_a: float = 50.0
    brake_current_a: float = 40.0
    max_speed_m_s: float = 8.0
    ramp_erpm_s: float = 40000.0
    min_erpm: float = 300.0
    speed_kp_a: float = 60.0
    speed_ki_a: float = 60.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float) and not 0.0 < value < math.inf and f.name not in ("steering_lag_s", "min_erpm"):
                raise ConfigError(f"car.{f.name} must be a positive number, got {value}")
        if self.driven not in ("all", "rear"):
            raise ConfigError(f"car.driven is 'all' or 'rear', got '{self.driven}'")
        wheels = 4.0 * (self.wheel_kg + self.upright_kg)
        if wheels >= 0.7 * self.mass_kg:
            raise ConfigError(
                f"wheels and uprights weigh {wheels:.2f} kg of the car's {self.mass_kg:.2f}; raise car.mass_kg or "
                "lower car.wheel_kg"
            )
        arm2 = self.wheelbase_m**2 / 4 + self.track_m**2 / 4
        if self.yaw_inertia_kg_m2 <= wheels * arm2:
            raise ConfigError(
                f"car.yaw_inertia_kg_m2 {self.yaw_inertia_kg_m2:g} is less than that of its wheels alone, "
                f"{wheels * arm2:.4f}; raise it or lower car.wheel_kg"
            )

    @property
    def wheelbase_m(self) -> float:
        """Between the axles."""
        return self.front_m + self.rear_m

    @property
    def newton_per_ampere(self) -> float:
        """Push at the tyres for each ampere of motor current."""
        return self.torque_n_m_a * self.gear / self.wheel_radius_m


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """What the twin's readings are like.

    Attributes:
        pose_noise_m, pose_noise_rad, pose_latency_s: Of the localisation.
        speed_noise: Standard deviation of the measured speeds, as a share of them.
        gyro_noise_rad_s, gyro_bias_rad_s: Noise of each reading; the bias is drawn once an episode.
        accel_noise_m_s2, accel_bias_m_s2: Likewise.
        beams: Of the lidar; 0 has none.
        beam_angle_rad: From the first beam, on the right, to the last.
        range_m, range_noise_m: Furthest distance, and noise of each.
    """

    pose_noise_m: float = 0.01
    pose_noise_rad: float = 0.005
    pose_latency_s: float = 0.04
    speed_noise: float = 0.005
    gyro_noise_rad_s: float = 0.01
    gyro_bias_rad_s: float = 0.005
    accel_noise_m_s2: float = 0.1
    accel_bias_m_s2: float = 0.05
    beams: int = 0
    beam_angle_rad: float = 4.7
    range_m: float = 10.0
    range_noise_m: float = 0.01

    def __post_init__(self) -> None:
        for f in fields(self):
            if not 0.0 <= getattr(self, f.name) < math.inf:
                raise ConfigError(f"sensors.{f.name} must not be negative, got {getattr(self, f.name)}")
        if self.beams > 2000 or self.beams == 1:
            raise ConfigError(f"sensors.beams is 0 for no lidar or 2 to 2000, got {self.beams}")
        if self.pose_latency_s > 0.4:
            raise ConfigError(f"sensors.pose_latency_s is at most 0.4 s, got {self.pose_latency_s}")

    @classmethod
    def perfect(cls, beams: int = 0) -> Sensors:
        """Return sensors without noise, bias and latency."""
        return cls(
            pose_noise_m=0.0, pose_noise_rad=0.0, pose_latency_s=0.0, speed_noise=0.0, gyro_noise_rad_s=0.0,
            gyro_bias_rad_s=0.0, accel_noise_m_s2=0.0, accel_bias_m_s2=0.0, beams=beams, range_noise_m=0.0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CarTwinConfig:
    """Settings of the twin.

    Attributes:
        car: The car.
        sensors: Its readings.
        control_hz: Commands a second.
        physics_dt_s: Physics step.
        tyres: "contact" is Coulomb friction in MuJoCo's contacts; "pacejka" adds the peak and the fall of a real tyre's
            force over slip, and shares one ellipse between lengthwise and sideways.
        command_delay_s: From a command to the servo and the motor.
        spread: How much friction, delay and steering trim differ from episode to episode: 0 not at all, 1 by +-15 %
            friction, 0 to 30 ms delay and +-0.02 rad.
        cameras: Which cameras `observe` renders: "front".
        image_size: Height and width of their pictures.
    """

    car: CarModel = field(default_factory=CarModel)
    sensors: Sensors = field(default_factory=Sensors)
    control_hz: float = 20.0
    physics_dt_s: float = 0.002
    tyres: TyreModel = "contact"
    command_delay_s: float = 0.02
    spread: float = 0.0
    cameras: tuple[str, ...] = ()
    image_size: int = 128

    def __post_init__(self) -> None:
        if not 0.0 < self.physics_dt_s <= 0.005:
            raise ConfigError(
                f"car_twin.physics_dt_s must be above 0 and at most 0.005 s, got {self.physics_dt_s}; 0.002 is usual"
            )
        if self.tyres not in get_args(TyreModel):
            allowed = list(get_args(TyreModel))
            raise ConfigError(f"car_twin.tyres is one of {allowed}, got '{self.tyres}'.{nearest(self.tyres, allowed)}")
        if self.tyres == "pacejka" and self.physics_dt_s > 0.002:
            raise ConfigError(f"Pacejka tyres need car_twin.physics_dt_s of 0.002 s or less, got {self.physics_dt_s}")
        if not 0.0 <= self.command_delay_s <= 0.3:
            raise ConfigError(f"car_twin.command_delay_s is from 0 to 0.3 s, got {self.command_delay_s}")
        if not 0.0 <= self.spread <= 2.0:
            raise ConfigError(f"car_twin.spread is from 0 to 2, got {self.spread}")
        if not 8 <= self.image_size <= 960:
            raise ConfigError(f"car_twin.image_size must be from 8 to 960 pixels, got {self.image_size}; 128 is usual")
        if not 1.0 <= self.control_hz <= 200.0:
            raise ConfigError(f"car_twin.control_hz is from 1 to 200, got {self.control_hz}")
