"""What a learner asks of an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class LearningAgent(Protocol):
    """Pure functions over a state, a pytree of arrays. `tests/contracts/test_agent_contract.py` defines them."""

    def init(self, seed: int) -> Any:
        """Return a fresh state."""
        ...

    def update(self, state: Any, batches: Mapping[str, Any], schedule: Mapping[str, float]) -> tuple[Any, dict]:
        """Do a group of updates, one for each entry of the leading axis of `batches`; `state` is consumed."""
        ...

    def policy(self, state: Any) -> dict[str, NDArray[np.float32]]:
        """Return the acting weights for `Policy`."""
        ...
