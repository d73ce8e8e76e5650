"""How often a judge was right where the truth is known: counted step by step, told by episode, summed up over a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robot_rl.rewards.scoring import clopper_pearson
from robot_rl.stats import wilson

FACTS = ("failures", "false_positives", "successes", "false_negatives")


class JudgedCounts:
    """Counts over the steps of an episode what a judge said of frames whose truth is known.

    Attributes:
        failures, false_positives: Frames that are no success, and those of them above the threshold.
        successes, false_negatives: Frames that are a success, and those of them below it.
    """

    def __init__(self) -> None:
        self.failures = self.false_positives = self.successes = self.false_negatives = 0
        self.truth: bool | None = None
        self._any = False

    def add(self, info: Mapping[str, Any]) -> None:
        """Take the info of a step; one without a judge changes nothing."""
        told = info.get("judged")
        if told is None:
            return
        self.truth, self._any = told["truth"], True
        if self.truth is None or "positive" not in told or not told["last"]:
            return
        if self.truth:
            self.successes += 1
            self.false_negatives += not told["positive"]
        else:
            self.failures += 1
            self.false_positives += bool(told["positive"])

    def facts(self) -> dict[str, int | bool]:
        """Return what belongs into the row of an episode: nothing without a judge or where nobody knows the truth.

        "true_success" is whether the task's own rule held at the end of the episode.
        """
        if not self._any or self.truth is None:
            return {}
        return {"true_success": self.truth, **{f"judged/{name}": getattr(self, name) for name in FACTS}}


def judged_summary(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what episodes of a judged run say of the judge; {} if the truth was never known.

    Rates have exact 95 % intervals over frames, which lean on each other within an episode, and Wilson intervals over
    episodes, which do not.
    """
    known = [row for row in rows if "true_success" in row]
    if not known:
        return {}
    total = {name: sum(int(row.get(f"judged/{name}", 0)) for row in known) for name in FACTS}
    claims = [row for row in known if row.get("success")]
    false_claims = sum(not row["true_success"] for row in claims)
    true_successes = sum(bool(row["true_success"]) for row in known)
    of_claims, of_all = wilson(false_claims, len(claims)), wilson(true_successes, len(known))
    positive = clopper_pearson(total["false_positives"], total["failures"])
    negative = clopper_pearson(total["false_negatives"], total["successes"])
    return {
        "episodes": len(known), **total, "false_positive_high": positive.high, "false_negative_high": negative.high,
        "claims": len(claims), "false_claims": false_claims, "false_claims_low": of_claims.low,
        "false_claims_high": of_claims.high, "true_successes": true_successes, "true_low": of_all.low,
        "true_high": of_all.high,
    }  # fmt: skip


def judged_sentence(found: Mapping[str, Any]) -> str:
    """Return a summary in words."""
    return (
        f"the judge claimed {found['claims']} successes in {found['episodes']} episodes, {found['false_claims']} of "
        f"them false (95 % interval {100 * found['false_claims_low']:.1f} to "
        f"{100 * found['false_claims_high']:.1f} %); "
        f"of {found['failures']} failure frames {found['false_positives']} passed (at most "
        f"{100 * found['false_positive_high']:.2f} %), of {found['successes']} success frames "
        f"{found['false_negatives']} were missed; true successes {found['true_successes']} of {found['episodes']} "
        f"(95 % interval {100 * found['true_low']:.0f} to {100 * found['true_high']:.0f} %)"
    )
