"""Everything that can be set for a run, as frozen dataclasses; YAML and the command line fill them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from robot_rl.actor import ActorConfig
from robot_rl.agents.config import AgentConfig
from robot_rl.cell import Cell
from robot_rl.errors import ConfigError
from robot_rl.learner import LearnerConfig
from robot_rl.link import LinkConfig
from robot_rl.practice.graph import PracticeConfig
from robot_rl.rewards.settings import RewardConfig
from robot_rl.typed import Target

PRIVATE_IPC = "ipc://"
OFFLINE = ("bc", "iql")
"""Algorithms that learn from what is recorded already and practise nothing."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the learner saves itself.

    Attributes:
        every_s: Wall time between two checkpoints. What practice came in since is in the replay log either way.
        keep: How many to keep.
    """

    every_s: float = 30.0
    keep: int = 2

    def __post_init__(self) -> None:
        if not self.every_s > 0.0:
            raise ConfigError(f"checkpoint.every_s is {self.every_s}; it must be positive")
        if self.keep < 1:
            raise ConfigError(f"checkpoint.keep is {self.keep}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What happens when training is complete.

    Attributes:
        episodes: Autonomous episodes of the final policy; 0 leaves the evaluation out.
        clone_episodes: The same for the cloned start.
        video_episodes: How many of the first ones are filmed; 0 makes no video.
        seed: Of the starts. They never coincide with those of practice or of demonstrations.
        sampled: Judge the final policy by sampling its actions, as it practises, instead of by its mode. For tasks with
            friction and contact, where noise searches and a mode may stand still.
    """

    episodes: int = 50
    clone_episodes: int = 50
    video_episodes: int = 4
    seed: int = 0
    sampled: bool = False

    def __post_init__(self) -> None:
        for name in ("episodes", "clone_episodes", "video_episodes", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"evaluation.{name} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True, kw_only=True)
class MetricsConfig:
    """Where numbers go.

    Attributes:
        every_s: Wall time between two rows of metrics.
        sinks: Any of jsonl, tensorboard, wandb.
        wandb: Arguments for `wandb.init`.
    """

    every_s: float = 1.0
    sinks: tuple[str, ...] = ("jsonl", "tensorboard")
    wandb: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.every_s > 0.0:
            raise ConfigError(f"metrics.every_s is {self.every_s}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """How the processes of a run are watched.

    Attributes:
        restarts: How many unexpected deaths, over all processes, are answered with a new start.
        stop_s: How long a process may take to stop when asked, before it is killed.
    """

    restarts: int = 20
    stop_s: float = 20.0

    def __post_init__(self) -> None:
        if self.restarts < 0:
            raise ConfigError(f"supervisor.restarts is {self.restarts}; it must not be negative")
        if not self.stop_s > 0.0:
            raise ConfigError(f"supervisor.stop_s is {self.stop_s}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """The page in the browser, see `robot-rl view`.

    Attributes:
        port: Where a session serves its page, on this machine alone; 0 takes a free port, and without one there is no
            page until somebody starts `robot-rl view`.
    """

    port: int | None = None

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port < 2**16:
            raise ConfigError(f"view.port is {self.port}; it must lie in 0 to {2**16 - 1}, or be null for no page")


@dataclass(frozen=True, kw_only=True)
class ObsConfig:
    """What a policy sees; `obs=images` sets it, `obs=state` leaves it as it is.

    Attributes:
        encoder: Frozen network that turns every picture into features: a packaged one (efficientnet_lite0), a file of
            weights, or a converted trunk; "cnn" for none, where the policy learns to see. Empty: no pictures are learnt
            from.
        views: How many views are kept of each picture: as it is, and shifted by up to 4 pixels to learn from.
    """

    encoder: str = ""
    views: int = 5

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"obs.views is {self.views}; it must be at least 1, the picture as it is")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run.

    Attributes:
        task, robot, expert: What is to be done, with what, and who demonstrates it.
        operator: The person beside the robot; `operator.make(task)` gives a `robot_rl.operator.Operator`.
        obs: What a policy sees.
        reward: What says reward and success: the task, a classifier of pictures, or a person.
        cell: Where the robot stands; kept with the run. The arm's own node is told it too, and enforces its bounds.
        name: Name of the run's folder; task and time when empty.
        runs: Folder of all runs.
        group: What a comparison puts together; empty for the agent's algorithm.
        seed: Of everything random; 0 to 2**24 - 1.
        mode: "two_process" runs learner and actors beside each other; "single" takes turns in one process and repeats
            exactly for a seed.
        actors: Number of actors that feed the learner.
        demos: How many demonstrations the scripted expert gives, or the folder of recorded ones.
        warm_start: Runs of the same task whose practice fills the replay before this one begins.
        algorithm: "rlpd" practises; "bc" only clones the demonstrations; "iql" learns offline, from the demonstrations
            and the practice of `warm_start`; "hgdagger" practises and clones demonstrations and what the operator did
            when taking over, without values.
        practice: Which tasks follow each other where nobody resets the scene; off without nodes.
        live: How progress is shown: "auto" draws on a terminal and prints lines elsewhere; "off" is silent.
    """

    task: Target
    robot: Target
    expert: Target
    operator: Target
    cell: Cell = field(default_factory=Cell)
    name: str = ""
    runs: str = "runs"
    group: str = ""
    seed: int = 0
    mode: Literal["two_process", "single"] = "two_process"
    actors: int = 1
    demos: int | str = 20
    warm_start: tuple[str, ...] = ()
    algorithm: Literal["rlpd", "bc", "iql", "hgdagger"] = "rlpd"
    live: Literal["auto", "off"] = "auto"
    obs: ObsConfig = field(default_factory=ObsConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    practice: PracticeConfig = field(default_factory=PracticeConfig)
    link: LinkConfig = field(default_factory=LinkConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    view: ViewConfig = field(default_factory=ViewConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**24:
            raise ConfigError(f"seed is {self.seed}; it must lie in 0 to {2**24 - 1}")
        if self.actors < 1:
            raise ConfigError(f"actors is {self.actors}; it must be at least 1")
        if self.mode == "single" and self.actors != 1:
            raise ConfigError(f"actors is {self.actors}; with mode=single it must be 1")
        if self.practice.on and self.mode != "single":
            raise ConfigError(
                f"mode is {self.mode}; practice of {', '.join(self.practice.nodes)} takes turns in one process: "
                "mode=single"
            )
        if self.practice.on and self.algorithm in OFFLINE:
            raise ConfigError(
                f"algorithm is {self.algorithm}, which practises nothing; leave practice=... out, or choose agent=rlpd"
            )
        if isinstance(self.demos, int) and self.demos < 0:
            raise ConfigError(f"demos is {self.demos}; it must be a number of at least 0, or a folder")
        if self.algorithm in ("bc", "hgdagger") and self.demos == 0:
            raise ConfigError(f"demos is 0; behaviour cloning (algorithm {self.algorithm}) needs demonstrations")
        if self.algorithm == "iql" and self.demos == 0 and not self.warm_start:
            raise ConfigError(
                "demos is 0 and warm_start names no run, so agent=iql has nothing to learn from; give either"
            )
