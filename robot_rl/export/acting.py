"""An exported policy in the place of a run's own, so that the normal evaluation can judge it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ExportError
from robot_rl.export.description import spec_of
from robot_rl.export.run_policy import ExportedPolicy, PolicyError
from robot_rl.link import session_spec, spec_difference
from robot_rl.specs import ActionSpec, ObservationSpec


class ExportedActor:
    """Acts as `robot_rl.policy.NumpyPolicy` does, by the runner of an export.

    Args:
        folder: Of the export.
        observation_spec, action_spec: Of the task that it is to act in.

    Raises:
        ExportError: The export cannot be used, or is of another task.
    """

    def __init__(self, folder: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> None:
        try:
            self._policy = ExportedPolicy(folder)
        except PolicyError as e:
            raise ExportError(str(e)) from e
        theirs = spec_of(self._policy.description)
        ours = session_spec(observation_spec, action_spec)
        if not theirs["observation"]["images"]:  # it learnt without pictures and is not bothered by some
            ours["observation"]["images"] = {}
        difference = spec_difference(ours, theirs)
        if difference:
            told = difference.replace("learner expects", "the task has").replace("actor sends", "the export has")
            raise ExportError(f"the exported policy {folder} is of another task: {told}")
        self.version, self.sampled = self._policy.version, self._policy.sampled

    def act(self, observation: Any, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
        """Return the (A,) action in [-1, 1] for an observation of the environment; see `NumpyPolicy.act`."""
        seen = observation if isinstance(observation, Mapping) else {"state": observation}
        try:
            return self._policy.act(seen["state"], seen, rng)
        except PolicyError as e:
            raise ExportError(str(e)) from e
