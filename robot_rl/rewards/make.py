"""From settings to the judge of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.rewards.classifier import Classifier, load_classifier
from robot_rl.rewards.features import FrameEncoder, open_encoder, size_of
from robot_rl.rewards.harvest import ClaimKeeper
from robot_rl.rewards.judges import ClassifierJudge, HumanJudge
from robot_rl.rewards.settings import RewardConfig
from robot_rl.rewards.shared import RememberingEncoder
from robot_rl.rewards.vice import vice_file
from robot_rl.rewards.vice_judge import ViceJudge
from robot_rl.task import Judge, Task

if TYPE_CHECKING:
    from robot_rl.settings import Settings


def make_judge(config: RewardConfig, task: Task, beside: RememberingEncoder | None = None) -> Judge | None:
    """Return the judge that the settings ask for; None leaves the word to the task.

    Args:
        config: Settings.
        task: What is judged.
        beside: The policy's encoder, which is shared if it is the classifier's too.

    Raises:
        ConfigError: No classifier is named.
        CheckpointError: One is missing, damaged, or does not fit the encoder.
    """
    if config.source == "truth":
        return None
    if config.source == "human":
        return HumanJudge(task)
    check_reward(config)

    def encoder_for(classifier: Classifier) -> RememberingEncoder:
        if beside is not None and beside.field.encoder == classifier.mark:
            return beside
        made: FrameEncoder = open_encoder(config.encoder or classifier.encoder, size_of(classifier.cameras), views=1)
        classifier.check_encoder(made)
        return RememberingEncoder(made)

    if config.source == "vice":
        return ViceJudge(task, config, encoder_for)
    return ClassifierJudge(task, config, encoder_for)


def check_reward(config: RewardConfig) -> None:
    """See that what judges is there, before anything is started.

    Raises:
        ConfigError: A classifier shall judge, and none is named.
        CheckpointError: One is missing or damaged.
    """
    if config.source != "classifier":
        return
    if not config.path:
        raise ConfigError(
            "reward.path is empty; reward=classifier needs the file of a classifier, such as "
            "reward.path=sets/cube/classifier.ckpt (make one with: robot-rl reward train SET)"
        )
    for path in (*config.stages, config.path):
        load_classifier(Path(path))


def check_vice(settings: Settings) -> None:
    """Refuse settings with which a classifier cannot learn beside the policy, before anything is started.

    Raises:
        ConfigError: There is nothing that it could learn from, or more than one thing to learn.
    """
    if settings.reward.source != "vice":
        return
    if not settings.obs.encoder:
        raise ConfigError("reward.source is 'vice', which learns from what a policy sees of pictures; add obs=images")
    if settings.demos == 0:
        raise ConfigError("reward.source is 'vice' and demos is 0; the ends of demonstrations are its only goals")
    if settings.practice.on:
        raise ConfigError(
            f"reward.source is 'vice', and practice of {', '.join(settings.practice.nodes)} would need a classifier "
            "for each; use reward=truth or predicates that look (docs/resets.md)"
        )


def follow_run(env: RobotEnv, run: Path) -> None:
    """Tell a judge whose classifier is made in a run where that is."""
    judge = getattr(env, "judge", None)  # a car's environment has none
    if isinstance(judge, ViceJudge):
        judge.follow(vice_file(run))


def keep_claims(env: RobotEnv, config: RewardConfig, run: Path, index: int = 0) -> None:
    """Make ready for practice: let the judge of an actor keep frames to learn from, in RUN/judged.

    The frames that deceive the classifier of `reward=vice` reach its learner with the others, and are not kept apart.
    """
    judge = getattr(env, "judge", None)
    if isinstance(judge, ViceJudge):
        follow_run(env, run)
        judge.practising = True
    if isinstance(judge, ClassifierJudge) and config.keep:
        judge.keeper = ClaimKeeper(run / (f"judged-{index}" if index else "judged"), env.task.name)


def keep_no_claims(env: RobotEnv) -> None:
    """Let the judge keep no more frames: those of an evaluation are not for learning."""
    judge = getattr(env, "judge", None)
    if isinstance(judge, ViceJudge):
        judge.practising = False
    if isinstance(judge, ClassifierJudge):
        judge.close()
        judge.keeper = None
