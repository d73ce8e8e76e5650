from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from labelled_pictures import CAMERAS, SIZE, fill

from robot_rl.rewards.audit import Audit, audit, suspected, wary
from robot_rl.rewards.audit_page import write_audit
from robot_rl.rewards.head import HeadConfig
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.pixels import PixelEncoder

CONFIG = HeadConfig(steps=60, folds=3, hidden=16, embeddings=4, batch=32, learning_rate=3e-3)
ENCODER = PixelEncoder(SIZE, views=2)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledSet, set[str], Audit]:
    """Return a set of which one label in ten is wrong, which ones are, and its audit."""
    frames = LabelledSet(tmp_path_factory.mktemp("poisoned") / "set", "climb", CAMERAS, writing=True)
    fill(frames, episodes=16)
    rng = np.random.default_rng(5)
    wrong = {str(name) for name in rng.choice([f.name for f in frames.frames], len(frames) // 10, replace=False)}
    for frame in frames.frames:
        if frame.name in wrong:
            frames.relabel([frame.name], 1 - int(frame.label or 0), "poison")
    frames.close()
    return frames, wrong, audit(frames, ENCODER, CONFIG)


def test_one_wrong_label_in_ten_is_found(poisoned: tuple[LabelledSet, set[str], Audit]) -> None:
    _, wrong, found = poisoned
    named = {s.name for s in found.suspects}
    assert len(named & wrong) / len(wrong) >= 0.9
    assert len(named & wrong) / len(named) >= 0.9


def test_the_surest_come_first_and_are_wrong(poisoned: tuple[LabelledSet, set[str], Audit]) -> None:
    _, wrong, found = poisoned
    losses = [s.loss for s in found.suspects]
    assert losses == sorted(losses, reverse=True)
    assert {s.name for s in found.suspects[: len(wrong) // 2]} <= wrong
    for suspect in found.suspects:
        assert (suspect.probability > 0.5) == (suspect.label == 0)


def test_what_the_audit_names_mends_the_set(poisoned: tuple[LabelledSet, set[str], Audit]) -> None:
    frames, _, found = poisoned
    truth = {f.name: int(bool(f.truth)) for f in frames.frames}
    before = sum(f.label != truth[f.name] for f in frames.frames)
    mended = {s.name: 1 - s.label for s in found.suspects}
    after = sum(mended.get(f.name, f.label) != truth[f.name] for f in frames.frames)
    assert after <= 0.2 * before


def test_the_page_shows_suspects_thresholds_and_the_way_to_mend_them(
    poisoned: tuple[LabelledSet, set[str], Audit], tmp_path: Path
) -> None:
    frames, _, found = poisoned
    page = write_audit(tmp_path / "audit.html", frames, found, 0.01).read_text()
    shown = re.findall(r'data-frame="([^"]+)"', page)
    assert shown == [s.name for s in found.suspects]
    assert page.count("data:image/png;base64,") == 2 * len(shown)
    assert page.count("<svg") == 3
    assert "(asked for)" in page
    assert "robot-rl reward relabel" in page
    assert not re.search(r'(src|href)="http', page), "the page needs nothing but itself"


def test_a_label_is_suspected_whichever_share_of_successes_is_taken() -> None:
    labels = np.array([0] * 9 + [1] * 3)
    p = np.array([0.1, 0.05, 0.6, 0.8] + [0.1] * 5 + [0.9, 0.6, 0.2])
    # A failure at 0.6 is none: with successes as rare as here it is still more likely a failure (0.33).
    np.testing.assert_array_equal(np.flatnonzero(suspected(labels, p)), [3, 11])
    np.testing.assert_array_equal(np.flatnonzero(suspected(1 - labels, 1.0 - p)), [3, 11])  # the two are alike
    clean = np.array([0.1, 0.2, 0.1, 0.2, 0.9, 0.8, 0.9, 0.8])
    assert not suspected(np.array([0, 0, 0, 0, 1, 1, 1, 1]), clean).any()
    assert suspected(np.array([0, 1]), np.array([1.0, 0.0])).all()


def test_a_head_that_may_not_trust_its_labels_is_held_back() -> None:
    given = HeadConfig(dropout=0.7, steps=9)
    made = wary(given)
    assert (made.steps, made.dropout) == (9, 0.7)
    assert made.weight_decay > given.weight_decay
    assert made.smoothing > given.smoothing
