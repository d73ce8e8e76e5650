"""Settings of the agents, checked once when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from robot_rl.errors import ConfigError, nearest

Activation = Literal["tanh", "relu"]
CriticLoss = Literal["mse", "hl_gauss"]
CloneLoss = Literal["nll", "mse"]
ActorQ = Literal["mean", "min"]
ChoiceLoss = Literal["gradient", "project"]


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Settings of `rlpd.Agent`, `bc.CloningAgent` and `iql.IqlAgent`.

    The discount is not here: it arrives with every transition, 0 where the task ended the episode, so that time
    limits bootstrap and n-step returns need nothing from the agent.

    Attributes:
        hidden: Width of each hidden layer, of the actor and of every critic.
        activation: Nonlinearity after each hidden layer.
        layer_norm: Normalise each hidden layer of the critics before its activation.
        actor_layer_norm: The same in the actor.
        critics: Size of the ensemble.
        target_subset: How many critics, drawn without replacement for every update, the target takes the minimum over.
        critic_loss: "mse", or "hl_gauss" for a cross entropy to a histogram of the target.
        value_min, value_max: Range of the histogram of "hl_gauss".
        value_bins: Number of its bins.
        polyak: Share of the online critics that enters the target critics with every update.
        batch_size: Rows of a batch that the learner shall draw; the agent takes any.
        updates_per_actor_update: Critic updates between two updates of the actor and the temperatures.
        critic_lr, actor_lr, temperature_lr, clone_lr: Step sizes of Adam.
        init_temperature: First weight of the entropy of the continuous action.
        target_entropy: Entropy [nat] that it is tuned to; None means minus half the continuous action size.
        init_choice_temperature: First weight of the entropy of the discrete choice.
        choice_entropy_ratio: Entropy that it is tuned to, as a share of the entropy of a uniform choice.
        entropy_backup: Whether the target counts the entropy of the next action (discounted like its value).
        min_std, max_std: Range of the standard deviation of the action before it is squashed by tanh.
        init_std: Its value before any training.
        actor_q: Value that the actor climbs: the mean or the minimum over critics.
        actor_subset: How many critics, drawn for every update of the actor, that is taken over; None means all.
        choice_loss: How the discrete choice follows the values. "gradient" climbs their expectation exactly; it keeps a
            cloned choice where values hardly differ, but its gradient vanishes once a choice is almost certain.
            "project" moves towards the softmax of the values over the choice temperature (cross entropy), which also
            corrects a choice that is certain and wrong.
        choice_weight: Weight of the loss of "project".
        normalise_q: Divide that value by its mean magnitude over the batch, so that a clone weight means the same
            whatever the rewards are.
        bc_loss: "nll" for the likelihood of the squashed Gaussian; "mse" for the squared error of its mode, with the
            standard deviation fitted beside it.
        bc_clip: Magnitude to which demonstrated actions are clipped in "nll", where an action of 1 is infinitely far.
        expectile: Of IQL: which expectile of the values of recorded actions V learns; 0.5 is their mean, near 1 the
            best.
        advantage_weight: Of IQL: how much more an action is cloned for each unit by which it was better than V.
        advantage_clip: Of IQL: the most that an action weighs.
        eye_masks: Learned spatial masks of each channel of a camera's features.
        eye_width: Numbers that are made of each camera.
        bc_std: Error of an action entry that counts as one standard deviation in "mse".
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: Activation = "tanh"
    layer_norm: bool = True
    actor_layer_norm: bool = True
    critics: int = 10
    target_subset: int = 2
    critic_loss: CriticLoss = "mse"
    value_min: float = 0.0
    value_max: float = 1.0
    value_bins: int = 51
    polyak: float = 0.005
    batch_size: int = 256
    updates_per_actor_update: int = 4
    critic_lr: float = 3e-4
    actor_lr: float = 3e-4
    temperature_lr: float = 3e-4
    clone_lr: float = 1e-3
    init_temperature: float = 0.01
    target_entropy: float | None = None
    init_choice_temperature: float = 0.01
    choice_entropy_ratio: float = 0.1
    entropy_backup: bool = False
    min_std: float = 0.02
    max_std: float = 2.0
    init_std: float = 0.5
    actor_q: ActorQ = "mean"
    actor_subset: int | None = None
    choice_loss: ChoiceLoss = "gradient"
    choice_weight: float = 0.1
    normalise_q: bool = False
    bc_loss: CloneLoss = "nll"
    bc_clip: float = 0.98
    bc_std: float = 0.1
    expectile: float = 0.7
    advantage_weight: float = 3.0
    advantage_clip: float = 100.0
    eye_masks: int = 8
    eye_width: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name, (kind, allowed) in _RULES.items():
            if not kind(getattr(self, name)):
                _refuse(name, getattr(self, name), allowed)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                hint = nearest(str(getattr(self, name)), words)
                _refuse(name, getattr(self, name), "one of " + ", ".join(words) + "." + hint)
        if self.target_subset > self.critics:
            _refuse("target_subset", self.target_subset, f"at most critics = {self.critics}")
        if self.actor_subset is not None and self.actor_subset > self.critics:
            _refuse("actor_subset", self.actor_subset, f"at most critics = {self.critics}, or null for all")
        if not self.min_std < self.init_std < self.max_std:
            _refuse("init_std", self.init_std, f"between min_std = {self.min_std} and max_std = {self.max_std}")
        if self.value_max <= self.value_min:
            _refuse("value_max", self.value_max, f"above value_min = {self.value_min}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _within(low: float, high: float, *, low_in: bool, high_in: bool) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if not isinstance(value, int | float) or not _is_number(value):
            return False
        return (low <= value if low_in else low < value) and (value <= high if high_in else value < high)

    return check


def _refuse(name: str, got: object, allowed: str) -> None:
    raise ConfigError(f"agent.{name} is {got!r}; allowed: {allowed}")


_COUNT = (lambda v: _is_int(v) and v >= 1, "a whole number of at least 1")
_POSITIVE = (_within(0.0, math.inf, low_in=False, high_in=False), "a finite number above 0")
_FINITE = (_is_number, "a finite number")
_SWITCH = (lambda v: isinstance(v, bool), "true or false")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hidden": (lambda v: len(v) > 0 and all(_is_int(h) and h > 0 for h in v), "at least one positive whole number"),
    **dict.fromkeys(("critics", "target_subset", "batch_size", "updates_per_actor_update"), _COUNT),
    **dict.fromkeys(("eye_masks", "eye_width"), _COUNT),
    "actor_subset": (lambda v: v is None or (_is_int(v) and v >= 1), "a whole number of at least 1, or null for all"),
    "value_bins": (lambda v: _is_int(v) and v >= 2, "a whole number of at least 2"),
    **dict.fromkeys(("layer_norm", "actor_layer_norm", "entropy_backup", "normalise_q"), _SWITCH),
    **dict.fromkeys(("critic_lr", "actor_lr", "temperature_lr", "clone_lr", "min_std", "bc_std"), _POSITIVE),
    **dict.fromkeys(("init_temperature", "init_choice_temperature", "choice_weight"), _POSITIVE),
    **dict.fromkeys(("advantage_weight", "advantage_clip"), _POSITIVE),
    "expectile": (_within(0.0, 1.0, low_in=False, high_in=False), "a number between 0 and 1, both excluded"),
    **dict.fromkeys(("value_min", "value_max", "max_std", "init_std"), _FINITE),
    "target_entropy": (
        lambda v: v is None or _is_number(v),
        "a finite number, or null for minus half the continuous action size",
    ),
    "polyak": (_within(0.0, 1.0, low_in=False, high_in=True), "a number above 0 and at most 1"),
    "choice_entropy_ratio": (_within(0.0, 1.0, low_in=True, high_in=True), "a number from 0 to 1"),
    "bc_clip": (_within(0.0, 1.0, low_in=False, high_in=False), "a number between 0 and 1, both excluded"),
}
_WORDS = {
    "activation": get_args(Activation),
    "critic_loss": get_args(CriticLoss),
    "bc_loss": get_args(CloneLoss),
    "actor_q": get_args(ActorQ),
    "choice_loss": get_args(ChoiceLoss),
}
