"""The learner of a run, around `Learner`: what arrives is logged, learnt from and confirmed; policies go out; it saves.

`turn` does a little of each and never waits longer than it is told, so one loop serves a process of its own and the
single-process mode. A block is confirmed to its actor only after the log holds it: whatever kills this process, what
was confirmed comes back with `prepare`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from robot_rl.checkpoint import Checkpoints
from robot_rl.demos import Demos, load
from robot_rl.errors import CheckpointError, StorageError
from robot_rl.evaluate import POLICIES, save_policy
from robot_rl.jsonl import read_json
from robot_rl.learner import Learner, LearnerConfig
from robot_rl.link import LearnerSide, session_spec, spec_difference
from robot_rl.messages import StepBlock
from robot_rl.metrics import MetricsWriter
from robot_rl.replay_log import ReplayLog, read
from robot_rl.rewards.vice import ViceLearner
from robot_rl.runs import resolve_run
from robot_rl.settings import OFFLINE, Settings
from robot_rl.specs import ActionSpec, ObservationSpec
from robot_rl.warm_start import warm_up

log = logging.getLogger(__name__)

Specs = tuple[ObservationSpec, ActionSpec]

# What the agent calls its scalars, and what a run's metrics call them.
NAMES = {
    "critic_loss": "critic/loss",
    "q_mean": "critic/q_mean",
    "q_std": "critic/q_std",
    "target_mean": "critic/target_mean",
    "target_max": "critic/target_max",
    "value_loss": "critic/value_loss",
    "value_mean": "critic/value_mean",
    "advantage_weight": "actor/advantage_weight",
    "actor_loss": "actor/loss",
    "actor_q": "actor/q",
    "entropy": "actor/entropy",
    "choice_entropy": "actor/choice_entropy",
    "action_std": "actor/std",
    "bc_loss": "actor/bc_nll",
    "actor_updates": "actor/updates_per_call",
    "temperature": "temperature/value",
    "choice_temperature": "temperature/choice",
}


class OpenLink(Protocol):
    """Opens the learner's end of the link."""

    def __call__(self, last_seq: Mapping[str, int]) -> LearnerSide:
        """Return the end.

        Args:
            last_seq: Newest logged block of each stream.
        """
        ...


class LearnerRun:
    """A learner with the files of its run.

    Args:
        folder: The run.
        settings: All settings.
        specs: Of observations and actions.
        period_s: Control period, seconds of the robot's time.
        open_link: Opens the learner's end of the link.
        more: Returns what else there is to say of the episode of a row.
    """

    def __init__(
        self, folder: Path, settings: Settings, specs: Specs, period_s: float, open_link: OpenLink,
        more: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda row: {},
    ) -> None:  # fmt: skip
        self._more = more
        self.folder, self.settings, self._period_s, self._specs = folder, settings, period_s, specs
        self._checkpoints = Checkpoints(folder / "checkpoints", settings.checkpoint.keep)
        with contextlib.ExitStack() as opened:
            self._log = opened.enter_context(ReplayLog(folder / "replay"))
            self._writer = opened.enter_context(MetricsWriter(folder, settings.metrics.sinks, settings.metrics.wandb))
            self.last_seq = self._log.last_seq()
            self.link = open_link(self.last_seq)
            opened.callback(self.link.close)
            demos = self._demos()
            how = "rlpd" if settings.algorithm == "bc" else settings.algorithm  # cloning is how rlpd begins, too
            self.learner = Learner(*self._specs, self._config(demos), settings.agent, settings.seed, how)
            self.learner.add_demos(demos.blocks)
            self._vice = self._made_vice(demos)
            for name in settings.warm_start:
                steps = warm_up(self.learner, resolve_run(name, Path(settings.runs)), *self._specs)
                log.info("%d steps of %s fill the replay", steps, name)
            self._opened = opened.pop_all()
        self._published = -1
        self._saved_s = self._measured_s = time.monotonic()
        self._measured = (0, 0)
        self._policy_age = 0.0

    def _demos(self) -> Demos:
        folder = self.folder / "demos"
        return load(folder, *self._specs) if (folder / "demos.json").is_file() else Demos(blocks=(), rows=(), tried=0)

    def _made_vice(self, demos: Demos) -> ViceLearner | None:
        """Return what teaches the judge of the run, where it learns beside the policy."""
        if self.settings.reward.source != "vice":
            return None
        from robot_rl.build import images_of

        return ViceLearner(
            self.folder, self.settings.reward.vice, self._specs[0],
            {name: field.shape for name, field in images_of(self.settings).items()}, self.settings.obs.encoder,
            str(read_json(self.folder / "run.json").get("task", "")), demos.blocks, self.learner.replay.online,
            self.settings.seed,
        )  # fmt: skip

    def _config(self, demos: Demos) -> LearnerConfig:
        if demos.blocks or self.settings.algorithm == "iql":
            return self.settings.learner
        return dataclasses.replace(self.settings.learner, clone_updates=0)  # nothing to clone: no hold either

    @property
    def finished(self) -> bool:
        """Whether all practice is in and learnt from."""
        return self.settings.algorithm in OFFLINE or self.learner.finished

    def prepare(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Come back from the newest checkpoint and the log, or clone the demonstrations.

        Args:
            stopping: Asked between groups of updates whether to give up.

        Returns:
            False when it was stopped before it was ready.
        """
        found = self._checkpoints.newest()
        if found is not None:
            difference = spec_difference(session_spec(*self._specs), found.meta.get("spec", {}))
            if difference:
                told = difference.replace("learner expects", "the task has").replace("actor sends", "it has")
                raise CheckpointError(f"the checkpoint {found.path} is of another task: {told}")
            self.learner.from_arrays(found.arrays, found.meta)
        for stream, _, block in read(self._log.folder):
            self.learner.ingest(stream, block)
        if found is not None:
            log.info("resumed at %d updates and %d steps", self.learner.updates, self.learner.env_steps)
        elif not self._clone(stopping):
            return False
        if self._vice is not None:  # before a policy goes out, so that whoever acts finds a judge
            self._vice.begin(self.learner.env_steps)
        self._publish()
        return True

    def _clone(self, stopping: Callable[[], bool]) -> bool:
        """Learn from what is recorded: clone the demonstrations, and keep the result as a policy of its own."""
        began_s, cloned = time.monotonic(), False
        for share in self.learner.clone():
            cloned = True
            if stopping():
                return False
            if time.monotonic() - self._measured_s > self.settings.metrics.every_s or share >= 1.0:
                self._measured_s = time.monotonic()
                self._write_metrics("clone", {"clone/done": share, **self._scalars()})
        if cloned:
            path = self.folder / "checkpoints" / POLICIES["clone"]
            save_policy(path, self.learner.policy(), *self._specs, sampled=True)
            log.info("learnt from what was recorded in %.1f s", time.monotonic() - began_s)
        self.checkpoint()
        return True

    def turn(self, wait_s: float = 0.0) -> bool:
        """Take in what arrived, do a group of updates if one is due, and return whether there was anything to do.

        Args:
            wait_s: How long to wait for data when no update is due.

        Raises:
            StorageError: The log cannot be written, so nothing more can be promised to the actors.
        """
        received = self.receive(0.0 if self.learner.due else wait_s)
        if self._vice is not None:
            self._vice.turn(self.learner.env_steps)
        updated = self.learner.step()
        if received or updated:
            self.link.set_status(self.learner.status())
        if self.learner.updates >= self._published + self.settings.learner.publish_every_updates:
            self._publish()
        now_s = time.monotonic()
        if now_s - self._measured_s >= self.settings.metrics.every_s:
            self.measure()
        if now_s - self._saved_s >= self.settings.checkpoint.every_s:
            self.checkpoint()
        return received or updated

    def receive(self, wait_s: float) -> bool:
        """Log, learn and confirm the blocks that arrived; return whether there were any."""
        received = self.link.poll(wait_s)
        newest: dict[str, int] = {}
        for stream, seq, block in received:
            self._log.append(stream, seq, block)
            newest[stream] = seq
            self.learner.ingest(stream, block)
            if block.ended:
                self._write_episode(stream, block)
        for stream, seq in newest.items():
            self.link.acknowledge(stream, seq, self.learner.status())
        return bool(received)

    def finish(self) -> None:
        """Tell the actors that the run is complete, and save; raises `StorageError` if the disk does not take it."""
        self._publish()
        self.link.set_status(self.learner.status())
        self.measure()
        self.checkpoint(required=True)

    def measure(self) -> None:
        """Write a row of metrics."""
        now_s = time.monotonic()
        steps, updates = self._measured
        seconds = max(now_s - self._measured_s, 1e-9)
        schedule = {f"schedule/{k}": v for k, v in self.learner.schedule().items()}
        values = {
            **self._scalars(),
            **schedule,
            "rate/env_steps_per_s": (self.learner.env_steps - steps) / seconds,
            "rate/updates_per_s": (self.learner.updates - updates) / seconds,
            "link/policy_age_steps": self._policy_age,
            "replay/steps": len(self.learner.replay),
            **({} if self._vice is None else self._vice.metrics()),
        }
        self._measured_s, self._measured = now_s, (self.learner.env_steps, self.learner.updates)
        self._write_metrics("train", values)

    def checkpoint(self, required: bool = False) -> None:
        """Save everything that changes, and the policy alone.

        Args:
            required: Whether a disk that does not take it is an error; else it is told of, and training goes on.
        """
        self._saved_s = time.monotonic()
        arrays, meta = self.learner.to_arrays()
        meta = {**meta, "kind": "learner", "spec": session_spec(*self._specs)}
        try:
            self._checkpoints.save(self.learner.updates, arrays, meta)
            sampled = self.settings.algorithm != "rlpd" or self.settings.evaluation.sampled
            path = self._checkpoints.folder / POLICIES["final"]
            save_policy(path, self.learner.policy(), *self._specs, sampled=sampled)
        except StorageError as e:
            if required:
                raise
            log.warning("%s", e)

    def close(self) -> None:
        """Close link and files; saves nothing."""
        self._opened.close()

    def _publish(self) -> None:
        self.link.publish(self.learner.policy())
        self.link.set_status(self.learner.status())
        self._published = self.learner.updates

    def _scalars(self) -> dict[str, float]:
        return {NAMES.get(name, f"agent/{name}"): value for name, value in self.learner.metrics().items()}

    def _write_metrics(self, kind: str, values: Mapping[str, float]) -> None:
        try:
            self._writer.write(self.learner.env_steps, self.learner.updates, values, kind=kind)
        except StorageError as e:
            log.warning("%s", e)

    def _write_episode(self, stream: str, block: StepBlock) -> None:
        version = int(block.policy_versions[-1]) if block.steps else 0
        self._policy_age = self.learner.policy_age_steps(version)
        steps = int(block.info.get("steps", block.steps))
        row = {
            **block.info,
            "episode": block.episode,
            "actor": stream.partition("/")[0],
            "source": "human" if block.info.get("intervened") else "policy",
            "policy_version": version,
            "policy_age_steps": self._policy_age,
            "duration_s": steps * self._period_s,
        }
        try:
            self._writer.episode(self.learner.env_steps, {**row, **self._more(row)})
        except StorageError as e:
            log.warning("%s", e)
