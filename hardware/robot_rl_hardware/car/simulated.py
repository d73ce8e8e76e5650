"""`SimulatedVesc`: the driver of a twin in real time, what `Vesc` is to a car of metal; the same `Pilot` speaks."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from types import TracebackType

from robot_rl.car import Car, CarReset, CarState
from robot_rl.errors import RobotError
from robot_rl.typed import Target
from robot_rl_hardware.car import vesc_messages as vm
from robot_rl_hardware.car.file import load_car
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.twin_plant import TwinPlant
from robot_rl_hardware.car.vesc import ImuState, VescState, state_of
from robot_rl_hardware.car.vesc_pilot import Pilot, VescError, VescGone, VescSettings

log = logging.getLogger(__name__)

CATCH_UP = 5
"""How many periods late the twin may be and still do all of them; what is more is lost time."""


class SimulatedVesc:
    """What `Vesc` is, with a twin instead of a port; a `with` block that ends with the car standing.

    Args:
        twin: In lock-step; its control period is this driver's.
        car: What the person believes of the car: conversions and limits of the pilot.
        really: What the twin is; the same by default.
        start: Where it stands at first.
    """

    def __init__(self, twin: Car, car: CarSettings, really: CarSettings | None, start: CarReset) -> None:
        self.settings = VescSettings(imu=True)
        self.late = 0
        self._plant, self._start = TwinPlant(twin, really or car), start
        self._pilot = Pilot(car, self.settings)
        self._change = threading.Condition()  # guards the pilot and what was read
        self._steering, self._heard_s = 0.0, -math.inf
        self._state: CarState | None = None
        self._values, self._true = vm.MotorValues(), (0.0, 0.0, 0.0)
        self._place: CarReset | None = None
        self._ending, self._gone = False, ""
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SimulatedVesc:
        """Connect, and return itself."""
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the car and end the twin."""
        self.close()

    @property
    def what(self) -> str:
        """What is driven, for people."""
        return "the twin"

    @property
    def stopping_s(self) -> float:
        """Monotonic time at which the twin was first told to stop; nan while it drives."""
        return self._pilot.stopping_s

    def connect(self) -> None:
        """Build the twin and let time pass from now on. Returns once it stands where it begins."""
        if self._thread:
            return
        self._gone, self._ending = "", False
        self._thread = threading.Thread(target=self._run, name="car-twin", daemon=False)
        self._thread.start()
        with self._change:
            self._change.wait_for(lambda: self._gone or self._state is not None)
        if self._gone:
            self.close()
            raise VescError(self._gone)

    def drive(self, speed_m_s: float, steering_rad: float, stamp_s: float | None = None) -> None:
        """Ask for a speed and a steering angle; see `Vesc.drive`."""
        with self._open():
            self._pilot.drive(speed_m_s, steering_rad, time.monotonic() if stamp_s is None else stamp_s)

    def stop(self, reason: str) -> None:
        """Brake, then let the motor go, until something is asked for again."""
        with self._change:
            self._pilot.stop(reason)

    def read(self) -> VescState:
        """Return the newest state, without waiting.

        Raises:
            VescError: The twin has ended, or has not come along for `answer_age_s`.
        """
        with self._open():
            age_s = time.monotonic() - self._heard_s
            if not age_s <= self.settings.answer_age_s:
                raise VescError(
                    f"the car's twin is {age_s:.2f} s late, allowed are {self.settings.answer_age_s:g} s; this "
                    "machine is too busy for it"
                )
            return state_of(self._pilot, self._heard_s, self._values, self._steering)

    def imu(self) -> ImuState | None:
        """Return the newest reading of the inertial sensor."""
        state = self._state
        if state is None:
            return None
        ax, ay, az = (float(a) for a in state.acceleration_m_s2)
        wx, wy, wz = (float(w) for w in state.angular_rate_rad_s)
        return ImuState(
            stamp_s=self._heard_s, attitude_rad=(0.0, 0.0, 0.0), acceleration_m_s2=(ax, ay, az),
            rates_rad_s=(wx, wy, wz),
        )  # fmt: skip

    def surroundings(self) -> tuple[float, CarState, tuple[float, float, float]] | None:
        """Return the monotonic time, what all sensors tell, and where the twin really is; None before the first."""
        with self._change:
            return None if self._state is None else (self._heard_s, self._state, self._true)

    def place(self, request: CarReset) -> None:
        """Put the car elsewhere, at rest, in the next period; whoever drives it must begin anew."""
        with self._change:
            self._place = request
            self._pilot.stop("the twin was put elsewhere")

    def close(self) -> None:
        """Stop the car, wait until it stands for at most `brake_blind_s`, and end the twin. Safe to call twice."""
        thread = self._thread
        if thread and thread.is_alive():
            with self._change:
                self._pilot.stop("the driver was closed")
                stands = lambda: self._gone or self._pilot.moves(time.monotonic()) is False  # noqa: E731
                self._change.wait_for(stands, self.settings.brake_blind_s)
                self._ending = True
        if thread:
            thread.join()
        self._thread = None

    def _open(self) -> threading.Condition:
        if self._gone:
            raise VescGone(self._gone)
        if self._thread is None:
            raise VescError("the car's twin is not connected; call connect first")
        return self._change

    def _run(self) -> None:
        try:
            self._loop()
        except RobotError as e:
            self._lose(f"the car's twin has ended: {e}")
        except Exception as e:
            log.exception("the car's twin failed")
            self._lose(f"the car's twin failed: {e}")
        finally:
            with contextlib.suppress(RobotError):
                self._plant.close()

    def _loop(self) -> None:
        period_s = 1.0 / self.settings.rate_hz
        self._plant.reset(self._start)
        self._plant.step()  # the first one on a machine compiles the physics' loop, which takes a while
        self._take(self._plant.reset(self._start))
        deadline_s = time.monotonic()
        while True:
            deadline_s += period_s
            late_s = time.monotonic() - deadline_s
            more = min(max(int(late_s / period_s), 0), CATCH_UP)
            deadline_s += more * period_s
            if late_s > 0.0:
                self.late += 1
            if late_s > (more + 1) * period_s:
                deadline_s = time.monotonic()
            time.sleep(max(deadline_s - time.monotonic(), 0.0))
            with self._change:
                if self._ending:
                    return
                place, self._place = self._place, None
            self._take(self._plant.step(1 + more) if place is None else self._replaced(place))
            with self._change:
                commands = self._pilot.tick(time.monotonic())
            for command in commands:  # what is told now shows in the next answers, as in the world
                self._plant.obey(command)
                if isinstance(command, vm.SetServo):
                    self._steering = self._pilot.car.steering_of(command.position)

    def _replaced(self, place: CarReset) -> vm.MotorValues:
        try:
            return self._plant.reset(place)
        except RobotError as e:
            log.warning("the twin begins where it began first: %s", e)
            return self._plant.reset(self._start)

    def _take(self, values: vm.MotorValues) -> None:
        now_s, true = time.monotonic(), self._plant.true_pose()
        with self._change:
            self._state, self._heard_s, self._values, self._true = self._plant.state, now_s, values, true
            self._pilot.heard(values, now_s)
            self._change.notify_all()

    def _lose(self, reason: str) -> None:
        log.debug("%s", reason)  # whoever drives it is told by the next call
        with self._change:
            self._gone = reason
            self._change.notify_all()


def make_simulated(
    car: CarSettings, twin: Target, really: str = "", p_WC: tuple[float, float] | None = None, yaw_rad: float = 0.0,
    seed: int = 0,
) -> SimulatedVesc:  # fmt: skip
    """Return the driver of a twin, as the configuration names it.

    Args:
        car: The car file that is meant.
        twin: Makes the twin from the numbers of a car.
        really: Another car file that the twin is made from, to see what a wrong one does; the same if empty.
        p_WC: Where it stands at first; None leaves it to the course.
        yaw_rad: Heading there.
        seed: Of the sensors' noise.
    """
    truth = load_car(really) if really else car
    made = twin.make({name: getattr(truth, name) for name in NUMBERS_OF_TWIN}, VescSettings().rate_hz)
    start = CarReset(p_WC=p_WC, yaw_rad=yaw_rad, seed=seed) if p_WC is not None else made.start(seed)
    return SimulatedVesc(made, car, truth, start)


NUMBERS_OF_TWIN = (
    "speed_to_erpm_gain", "wheelbase_m", "max_speed_m_s", "max_reverse_m_s", "max_steering_rad", "max_current_a",
    "brake_current_a", "latency_s", "steering_lag_s", "friction",
)  # fmt: skip
"""Names in a car file that say what a twin is made of."""
