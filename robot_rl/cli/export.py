"""`robot-rl export`: a policy for machines without this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.cli.common import parse, parser, say
from robot_rl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from robot_rl.encoders.encoder import Encoder
    from robot_rl.encoders.raw import RawEncoder
    from robot_rl.evaluate import SavedPolicy
    from robot_rl.export.recorded import Observations
    from robot_rl.settings import Settings
    from robot_rl.specs import ActionSpec

EXAMPLES = """\
  robot-rl export latest
  robot-rl export my_run --format torch --to policies/my_run
  robot-rl export my_run --policy clone
  python runs/my_run/export-onnx/run_policy.py
  robot-rl eval my_run --policy runs/my_run/export-onnx
"""
POLICIES = ("final", "clone")


def export(arguments: Sequence[str]) -> int:
    """Export a run's policy."""
    made = parser(
        "export",
        "Write a run's policy as a program for a machine without JAX and without this package, such as a Jetson: an\n"
        "ONNX graph or torch's ExportedProgram, policy.json that says what it reads and gives, and run_policy.py that\n"
        "acts with it, checks it and measures its latency. The program is opened again and compared with the network\n"
        "of the learner on 100 observations of the run; one that differs by more than 1e-4 is not kept.",
        EXAMPLES,
    )
    made.add_argument("run", metavar="RUN", help="folder or name of the run, the beginning of a name, or 'latest'")
    made.add_argument("--format", default="onnx", metavar="FORMAT", help="onnx or torch (onnx)")
    made.add_argument(
        "--to", "--out", default="", metavar="FOLDER", help="what to make; export-FORMAT in the run's folder"
    )
    made.add_argument("--policy", default="final", metavar="WHICH", help="final or clone (final)")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, settings = parse(made, arguments)
    from robot_rl.export.programs import check_format, check_installed

    check_format(options.format)
    if options.policy not in POLICIES:
        raise ConfigError(
            f"there is no policy '{options.policy}'; allowed: {', '.join(POLICIES)}.{nearest(options.policy, POLICIES)}"
        )
    from robot_rl import config
    from robot_rl.build import observed
    from robot_rl.evaluate import read_policy
    from robot_rl.export.description import Origin
    from robot_rl.export.writer import export_policy
    from robot_rl.jsonl import read_json
    from robot_rl.runs import resolve_run
    from robot_rl.train import policy_path

    folder = resolve_run(options.run, Path(options.runs))
    path = policy_path(folder, options.policy)
    check_installed(options.format)
    chosen = config.compose_run(folder, settings, options.config_dir).settings()
    task = chosen.task.make()
    observation_spec = observed(chosen, task)
    saved = read_policy(path, observation_spec, task.action_spec)
    encoder, observations = _seen(folder, chosen, saved, task.action_spec)
    done = export_policy(
        Path(options.to) if options.to else folder / f"export-{options.format}",
        options.format,
        saved.observation_spec,
        task.action_spec,
        saved.weights,
        observations,
        Origin(
            task=task.name,
            control_hz=float(chosen.robot.settings.get("control_hz") or task.control_hz),
            run=folder.name,
            policy=options.policy,
            version=saved.version,
            sampled=saved.sampled,
            run_commit=read_json(folder / "run.json").get("commit"),
        ),
        encoder,
    )
    say(
        f"{options.policy} policy of {folder}: {done.folder}, {done.size_bytes / 1e6:.2f} MB; differs from "
        f"the learner's network by at most {done.deviation:.1e} on {done.observations}"
    )
    say(f"try it    python {done.folder / 'run_policy.py'}")
    return 0


def _seen(
    folder: Path, chosen: Settings, saved: SavedPolicy, action_spec: ActionSpec
) -> tuple[Encoder | RawEncoder | None, Observations]:
    """Return the encoder of a policy that sees, and observations of its run."""
    from robot_rl.build import images_of, make_env
    from robot_rl.export.parity import OBSERVATIONS
    from robot_rl.export.recorded import practised_pictures, recorded_pictures, recorded_states
    from robot_rl.specs import FeatureField

    spec = saved.observation_spec
    if not any(isinstance(camera, FeatureField) for camera in spec.images.values()):
        return None, recorded_states(folder, spec, OBSERVATIONS)
    from robot_rl.encoders.encoder import load_encoder
    from robot_rl.evaluate import FIRST_SEED
    from robot_rl.policy import NumpyPolicy
    from robot_rl.rewards.settings import RewardConfig

    pictures = images_of(chosen)
    encoder = load_encoder(chosen.obs.encoder, next(iter(pictures.values())).height, views=1)
    recorded = recorded_pictures(folder, dataclasses.replace(spec, images=pictures), action_spec, OBSERVATIONS)
    if recorded is not None:
        return encoder, recorded
    # Its pictures are wanted and no word on success, so a classifier of the run's may be gone by now.
    env = make_env(dataclasses.replace(chosen, reward=RewardConfig()))
    try:
        policy = NumpyPolicy(env.observation_spec, action_spec, saved.weights)
        return encoder, practised_pictures(env, policy, OBSERVATIONS, FIRST_SEED - OBSERVATIONS)
    finally:
        env.close()
