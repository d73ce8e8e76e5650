"""The compiled inner loop of the car's twin: servo, VESC, tyres, physics, sensors, repeat.

One call runs a whole control period. A command takes effect after its delay; the servo follows with a lag and a
limited rate; the VESC ramps its set point, regulates the current and is held back by its limits and the battery;
physics takes one step; the filters of the sensors take theirs. As in the arm's twin, `mj_step2` comes before
`mj_step1`, so that all positions are those of the newest state when the loop returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl_sim.native import call_mj

F64 = NDArray[np.float64]

# The parameters that `pack` fills.
(DT, BASE, TRACK, RADIUS, MAX_STEER, STEER_RATE, STEER_LAG, TRIM, NM_PER_A, KE, RESISTANCE, BATTERY, MAX_A, BRAKE_A,
 RAMP, MIN_SPEED, KP, KI, ROLLING, FIRST_DRIVEN, PACEJKA, B, C, D, E) = range(25)  # fmt: skip
PARAMETERS = 25
# The memory of servo, VESC and sensors.
(TICK, STEER, SET_POINT, INTEGRAL, CURRENT, SHOCK, IMPACT, MODE, AX, AY, AZ, TIPPED) = range(12)
MEMORY = 12
# A command in the queue, and a pose in the history.
STEERING_CMD, SPEED_CMD, CURRENT_CMD, BY_CURRENT, COMMAND = 0, 1, 2, 3, 4
T, X, Y, YAW, POSE = 0, 1, 2, 3, 4
QUEUE = 512
"""Ticks that the queue of commands and the history of poses reach back: over a second at 2 ms."""
# Sensor data, in the order of `scene`.
ACCEL, GYRO, HIT, LOADS = 0, 3, 6, 7
FILTER_S = 0.004
"""Time constant of the accelerometer's filter; bare contacts of one tick would read as crashes."""
UNSOUND = 1e6


@kernel
def motor_current(p: F64, memory: F64, command: F64, speed: float) -> float:
    """Return the motor's current [A] and advance the memory of the speed loop. `speed` is that of the driven rims."""
    dt = p[DT]
    forward = 1.0 if speed >= 0.0 else -1.0
    if command[BY_CURRENT] > 0.5:
        memory[INTEGRAL], memory[MODE] = 0.0, 1.0
        current = command[CURRENT_CMD]
    else:
        if memory[MODE] > 0.5:  # from current to speed: the set point begins where the car is
            memory[SET_POINT], memory[MODE] = speed, 0.0
        step = p[RAMP] * dt
        memory[SET_POINT] += min(max(command[SPEED_CMD] - memory[SET_POINT], -step), step)
        if abs(memory[SET_POINT]) < p[MIN_SPEED]:
            memory[INTEGRAL] = 0.0
            # The firmware lets go of the motor below its least speed; whoever asks for none at all gets the brake.
            current = -p[KP] * speed if command[SPEED_CMD] == 0.0 else 0.0
        else:
            error = memory[SET_POINT] - speed
            current = p[KP] * error + memory[INTEGRAL]
            if abs(current) < p[MAX_A]:  # a saturated loop does not wind up
                memory[INTEGRAL] += p[KI] * error * dt
    with_motion, against = p[MAX_A], p[BRAKE_A]
    high = with_motion if forward > 0.0 else against
    low = -against if forward > 0.0 else -with_motion
    current = min(max(current, low), high)
    # The battery against the motor's own voltage.
    back = p[KE] * speed / p[RADIUS]
    return min(max(current, (-p[BATTERY] - back) / p[RESISTANCE]), (p[BATTERY] - back) / p[RESISTANCE])


@kernel
def wheel_angles(steering: float, base: float, track: float) -> tuple[float, float]:
    """Return the angles of the left and the right front wheel whose axes meet on that of the rear axle."""
    if abs(steering) < 1e-6:
        return steering, steering
    radius = base / np.tan(steering)
    return np.arctan(base / (radius - 0.5 * track)), np.arctan(base / (radius + 0.5 * track))


@kernel
def tyre_force(
    slip_x: float, slip_y: float, load: float, b: float, c: float, d: float, e: float
) -> tuple[float, float]:
    """Return the lengthwise and sideways force [N] of a tyre by Pacejka's formula over the combined slip."""
    slip = np.sqrt(slip_x * slip_x + slip_y * slip_y)
    if slip < 1e-9 or load <= 0.0:
        return 0.0, 0.0
    bs = b * slip
    size = load * d * np.sin(c * np.arctan(bs - e * (bs - np.arctan(bs))))
    return size * slip_x / slip, size * slip_y / slip


@kernel
def _push_tyres(
    p: F64, wheels: NDArray[np.int64], spins: NDArray[np.int64], qvel: F64, xmat: F64, xpos: F64, chassis: F64,
    sensors: F64, xfrc: F64,
) -> None:  # fmt: skip
    """Apply the tyres' forces in the ground's plane to the wheels; the contacts carry the load."""
    vx, vy, w = qvel[0], qvel[1], chassis[3]
    for i in range(4):
        body = wheels[i]
        # The axle is y of the upright: the wheel's own y, whatever it has turned.
        ax, ay = xmat[body, 1], xmat[body, 4]
        norm = np.sqrt(ax * ax + ay * ay)
        if norm < 0.3:  # it lies on its side
            xfrc[body, 0] = xfrc[body, 1] = xfrc[body, 2] = xfrc[body, 3] = xfrc[body, 4] = xfrc[body, 5] = 0.0
            continue
        lx, ly = ay / norm, -ax / norm  # forward: the left axis turned by -90 degrees
        rx, ry = xpos[body, 0] - chassis[0], xpos[body, 1] - chassis[1]
        ux, uy = vx - w * ry, vy + w * rx
        along, left = lx * ux + ly * uy, -ly * ux + lx * uy
        rim = qvel[spins[i]] * p[RADIUS]
        # Below 1 m/s slip is taken over 1 m/s: a ratio to nothing has no limit, and a standing car must not tremble.
        scale = max(abs(along), abs(rim), 1.0)
        fx, fy = tyre_force((rim - along) / scale, -left / scale, sensors[LOADS + i], p[B], p[C], p[D], p[E])
        wx, wy = fx * lx - fy * ly, fx * ly + fy * lx
        # At the ground, a radius below the centre of the wheel that the force is given for.
        r = p[RADIUS]
        xfrc[body, 0], xfrc[body, 1], xfrc[body, 2] = wx, wy, 0.0
        xfrc[body, 3], xfrc[body, 4], xfrc[body, 5] = r * wy, -r * wx, 0.0


@kernel
def period(
    ticks: int,
    p: F64,
    memory: F64,
    queue: F64,
    history: F64,
    addresses: NDArray[np.int64],
    qpos: F64,
    qvel: F64,
    ctrl: F64,
    sensors: F64,
    wheels: NDArray[np.int64],
    spins: NDArray[np.int64],
    steers: NDArray[np.int64],
    motors: NDArray[np.int64],
    xmat: F64,
    xpos: F64,
    xfrc: F64,
    chassis: F64,
) -> bool:
    """Run `ticks` physics steps under the commands in the queue, and return whether physics is still sound.

    Args:
        ticks: Number of physics steps.
        p: (PARAMETERS,) of the car and the ground.
        memory: (MEMORY,) of servo, VESC and filters, updated in place.
        queue: (QUEUE, COMMAND) commands by the tick in which they take effect.
        history: (QUEUE, POSE) poses by tick, updated in place.
        addresses: mj_step1, mj_step2, mjModel, mjData.
        qpos, qvel, ctrl, sensors, xmat, xpos, xfrc: Views of MuJoCo's data.
        wheels, spins, steers, motors: Wheels' bodies, their degrees of freedom, and the actuators.
        chassis: (4,) work space: position of the car's body, and its turning rate.
    """
    dt = p[DT]
    share = 1.0 - np.exp(-dt / FILTER_S)
    first = int(p[FIRST_DRIVEN])
    driven = 4 - first
    for _ in range(ticks):
        k = int(memory[TICK])
        command = queue[k % QUEUE]
        # The servo: a lag whose rate is limited, to one side as far as to the other.
        wanted = min(max(command[STEERING_CMD], -p[MAX_STEER]), p[MAX_STEER])
        rate = (wanted - memory[STEER]) / max(p[STEER_LAG], dt)
        memory[STEER] += min(max(rate, -p[STEER_RATE]), p[STEER_RATE]) * dt
        left, right = wheel_angles(memory[STEER] + p[TRIM], p[BASE], p[TRACK])
        ctrl[steers[0]], ctrl[steers[1]] = left, right
        spin = 0.0
        for i in range(first, 4):
            spin += qvel[spins[i]]
        current = motor_current(p, memory, command, spin / driven * p[RADIUS])
        memory[CURRENT] = current
        for i in range(4):
            # Rolling resistance, which turns with the sign of the speed and fades where that is none.
            torque = -p[ROLLING] * np.tanh(qvel[spins[i]] * 2.0)
            if i >= first:
                torque += current * p[NM_PER_A] / driven
            ctrl[motors[i]] = torque
        if p[PACEJKA] > 0.5:
            chassis[0], chassis[1], chassis[3] = qpos[0], qpos[1], qvel[5]
            _push_tyres(p, wheels, spins, qvel, xmat, xpos, chassis, sensors, xfrc)
        call_mj(addresses[1], addresses[2], addresses[3])
        for i in range(3):
            memory[AX + i] += share * (sensors[ACCEL + i] - memory[AX + i])
        memory[SHOCK] = max(memory[SHOCK], np.sqrt(memory[AX] ** 2 + memory[AY] ** 2))
        memory[IMPACT] = max(memory[IMPACT], sensors[HIT])
        for i in range(len(qvel)):
            if not abs(qvel[i]) < UNSOUND:
                return False
        call_mj(addresses[0], addresses[2], addresses[3])
        k += 1
        memory[TICK] = k
        row = history[k % QUEUE]
        w, x, y, z = qpos[3], qpos[4], qpos[5], qpos[6]
        row[T], row[X], row[Y] = k * dt, qpos[0], qpos[1]
        row[YAW] = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        memory[TIPPED] = 1.0 - 2.0 * (x * x + y * y)
    return True
