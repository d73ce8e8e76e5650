"""Goal-conditioned implicit Q-learning over pictures: what pretrains an encoder for driving.

A step is (picture, motion, goal as the robot sees it) -> (next picture, the same goal as it is seen then). Every step
costs 1 - gamma until the goal is reached, trouble ends at the worst value of -1, so V lies between -1 and 0 and says
how soon a robot that drives as well as the logs' better steps gets there: to tell it, the encoder has to see where the
way is free. V and critics stand on one trunk of convolutions; both of their losses train it (`robot_rl.agents.iql` has
them). No actor is learnt, for its gradient would stop before the trunk.

The trunk is a program of `robot_rl.encoders.program` with weights that are learnt: `Navigation.trunk` gives it as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents.compiling import compile_update
from robot_rl.agents.iql import expectile_loss
from robot_rl.agents.networks import LN_EPS, Mlp
from robot_rl.agents.trees import on_device, zeros_of
from robot_rl.encoders.program import Conv, Op, Pool

SIDE = 64
"""Pixels to which pictures are averaged before the first convolution."""
LAYERS = ((16, 2), (32, 2), (32, 2), (32, 1))
"""Channels and stride of each convolution, of 3 by 3."""
MEAN, STD = 0.5, 0.25
SEEN, MOTION = 5, 2
"""Numbers of what is known beside the picture (goal's direction and distance, speed, turning rate), and of a motion."""

Info = dict[str, Array]


class NavigationState(NamedTuple):
    """Parameters of everything that is trained, target critics, the optimiser's state, and the updates done."""

    params: Any
    target: Any
    opt: Any
    step: Any


class Navigation:
    """Trunk, V and critics.

    Args:
        hidden: Width of each hidden layer of V and critics.
        code: Numbers that V and critics are told of a picture.
        critics: Size of the ensemble; the minimum over all is V's target.
        gamma: Discount per step.
        expectile: Of the critics' values that V learns.
        rate: Step size of Adam.
        polyak: Share of the critics that enters their targets with every update.
    """

    def __init__(
        self, hidden: Sequence[int] = (128, 128), code: int = 64, critics: int = 2, gamma: float = 0.95,
        expectile: float = 0.9, rate: float = 3e-4, polyak: float = 0.005,
    ) -> None:  # fmt: skip
        self.gamma, self._expectile, self._polyak, self._code = gamma, expectile, polyak, code
        self._positions = SIDE // int(np.prod([stride for _, stride in LAYERS]))
        self.value = Mlp(1, code + SEEN, hidden, 1, "relu", norm=True)
        self.critic = Mlp(critics, code + SEEN + MOTION, hidden, 1, "relu", norm=True)
        self._opt = optax.adam(rate)
        self._update = compile_update(self._once)
        self._judge = jax.jit(self._value_error)

    def init(self, seed: int) -> NavigationState:
        """Return a fresh state."""
        rng, inputs = np.random.default_rng(seed), 3
        trunk: dict[str, NDArray[np.float32]] = {}
        for i, (channels, _) in enumerate(LAYERS):
            gain = np.float32(np.sqrt(2.0 / (9 * inputs)))
            trunk[f"w{i}"] = gain * rng.standard_normal((3, 3, inputs, channels), np.float32)
            trunk[f"b{i}"] = np.zeros(channels, np.float32)
            inputs = channels
        flat = self._positions**2 * inputs
        dense = rng.standard_normal((flat, self._code), np.float32) / np.float32(np.sqrt(flat))
        critic = self.critic.init(rng)
        params = {"trunk": trunk, "dense": dense, "value": self.value.init(rng), "critic": critic}
        return on_device(
            NavigationState(params=params, target=critic, opt=zeros_of(self._opt, params), step=np.zeros((), np.int32))
        )

    def update(self, state: NavigationState, batch: Mapping[str, Any]) -> tuple[NavigationState, Info]:
        """Do one update.

        Args:
            state: Consumed: its buffers are donated to the result.
            batch: "picture", "next_picture" (B, 64, 64, 3) uint8; "seen", "next_seen" (B, 5) and "motion" (B, 2), see
                `robot_rl.pretraining.steps`; "reached", "trouble" (B,) 1 where the step led there.
        """
        return self._update(state, dict(batch))

    def value_error(self, state: NavigationState, batch: Mapping[str, Any]) -> float:
        """Return the mean squared error of V against the one-step target."""
        return float(self._judge(state, dict(batch)))

    def trunk(self, state: NavigationState, size: int) -> tuple[Op, ...]:
        """Return the trunk as a program for square pictures of `size` pixels, a multiple of 64."""
        ops: list[Op] = []
        if size != SIDE:
            ops.append(Pool(kind="average", kernel=size // SIDE, stride=size // SIDE))
        for i, (_, stride) in enumerate(LAYERS):
            weight, bias = (np.array(state.params["trunk"][f"{part}{i}"], np.float32) for part in "wb")
            ops.append(Conv(weight=weight, bias=bias, stride=stride, activation="relu", source=len(ops)))
        return tuple(ops)

    def _once(self, state: NavigationState, batch: dict[str, Array]) -> tuple[NavigationState, Info]:
        next_code = self._see(state.params, batch["next_picture"])
        next_v = self.value(state.params["value"], jnp.concatenate([next_code, batch["next_seen"]], axis=1))[0, :, 0]
        y = jax.lax.stop_gradient(self._target(batch, next_v))

        def loss_of(params: Mapping[str, Any]) -> tuple[Array, Info]:
            code = self._see(params, batch["picture"])
            x = jnp.concatenate([code, batch["seen"]], axis=1)
            x_a = jnp.concatenate([x, batch["motion"]], axis=1)
            taken = self.critic(state.target, jax.lax.stop_gradient(x_a))[:, :, 0].min(axis=0)
            v = self.value(params["value"], x)[0, :, 0]
            q = self.critic(params["critic"], x_a)[:, :, 0]
            value_loss = expectile_loss(taken - v, self._expectile).mean()
            critic_loss = jnp.square(q - y).mean(axis=1).sum()
            info = {"value_loss": value_loss, "critic_loss": critic_loss / len(q), "value_mean": v.mean()}
            return value_loss + critic_loss, info

        grads, info = jax.grad(loss_of, has_aux=True)(state.params)
        updates, opt = self._opt.update(grads, state.opt)
        params: Any = optax.apply_updates(state.params, updates)
        target = jax.tree.map(lambda t, p: t + self._polyak * (p - t), state.target, params["critic"])
        return NavigationState(params=params, target=target, opt=opt, step=state.step + 1), info

    def _value_error(self, state: NavigationState, batch: dict[str, Array]) -> Array:
        def value(picture: Array, seen: Array) -> Array:
            x = jnp.concatenate([self._see(state.params, picture), seen], axis=1)
            return self.value(state.params["value"], x)[0, :, 0]

        y = self._target(batch, value(batch["next_picture"], batch["next_seen"]))
        return jnp.square(value(batch["picture"], batch["seen"]) - y).mean()

    def _target(self, batch: Mapping[str, Array], next_v: Array) -> Array:
        """Return the (B,) values that the critics regress to."""
        going = -(1.0 - self.gamma) + self.gamma * next_v
        return jnp.where(batch["trouble"] > 0.0, -1.0, jnp.where(batch["reached"] > 0.0, 0.0, going))

    def _see(self, params: Mapping[str, Any], picture: Array) -> Array:
        """Return (B, code) numbers of (B, 64, 64, 3) uint8 pictures."""
        x = trunk_features(params["trunk"], picture)
        h = x.reshape(len(x), -1) @ params["dense"]
        h = h - h.mean(axis=-1, keepdims=True)
        return jnp.tanh(h * jax.lax.rsqrt(jnp.square(h).mean(axis=-1, keepdims=True) + LN_EPS))


def trunk_features(trunk: Mapping[str, Any], picture: Any) -> Array:
    """Return the (B, 8, 8, 32) map of (B, 64, 64, 3) uint8 pictures."""
    x = (picture.astype(jnp.float32) / 255.0 - MEAN) / STD
    for i, (_, stride) in enumerate(LAYERS):
        x = jax.lax.conv_general_dilated(
            x, trunk[f"w{i}"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + trunk[f"b{i}"])
    return x
