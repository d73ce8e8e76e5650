"""What tests show about learning from pictures, a row for each claim."""

from __future__ import annotations

from collections.abc import Sequence

from verify.children import Runner
from verify.claims import claim
from verify.rows import Row

STAGE = "tests"
SECONDS = 120.0

# What is claimed -> the files of the tests that show it.
CLAIMS: dict[str, Sequence[str]] = {
    "a trunk runs alike in torch, JAX and plain loops, and as its authors' network": (
        "tests/unit/test_trunk.py",
        "tests/unit/test_encoder.py",
    ),
    "features on the wire, in the log and in the replay; one view a sample; other encoders refused": (
        "tests/unit/test_features.py",
        "tests/unit/test_encoded_env.py",
    ),
    "eyes: SERL's spatial embeddings, alike in JAX and numpy, with the right gradient": ("tests/unit/test_eyes.py",),
    "a policy that learns to see from nothing, alike in JAX and numpy (obs.encoder=cnn)": ("tests/unit/test_cnn.py",),
    "a policy that sees is exported with its encoder": ("tests/unit/test_export_eyes.py",),
    "a classifier: whole episodes left out, thresholds, wrong labels found, hot swap, hard negatives": (
        "tests/rewards/test_training.py",
        "tests/rewards/test_scoring.py",
        "tests/rewards/test_audit.py",
        "tests/rewards/test_judges.py",
        "tests/rewards/test_labels.py",
    ),
    "a classifier that learns beside the policy takes in what deceived it, and goals still pass (reward=vice)": (
        "tests/rewards/test_vice.py",
    ),
    "a run from pictures trains, stops and goes on, judged by the task or by such a classifier": (
        "tests/integration/test_train_images.py",
    ),
}


def measure(runner: Runner) -> list[Row]:
    """Run the tests of each claim and return a row for it."""
    return [claim(runner, STAGE, what, files) for what, files in CLAIMS.items()]
