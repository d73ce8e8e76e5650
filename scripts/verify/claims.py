"""A row for what a set of tests shows."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from verify.children import Runner
from verify.rows import Row
from verify.suite import Case, read_cases

TIMEOUT_S = 900.0


def claim(runner: Runner, stage: str, what: str, files: Sequence[str], options: Sequence[str] = ("-n", "2")) -> Row:
    """Run the tests of a claim and return its row.

    Args:
        runner: Runs them.
        stage: Of the row.
        what: The claim in words.
        files: Test files, or single tests as pytest names them.
        options: Further words for pytest.
    """
    there = [name for name in files if (runner.root / name.partition("::")[0]).exists()]
    if len(there) < len(files):
        missing = ", ".join(sorted({*files} - {*there}))
        return Row(stage=stage, what=what, measured=f"{missing} missing", bar="all pass", holds=False)
    name = there[0].replace("/", "-").replace("::", "-").replace(".py", "")
    results = runner.work / f"{name}.xml"
    results.unlink(missing_ok=True)
    words = ["-q", *options, f"--junitxml={results}", *there]
    ended = runner.run(f"{stage}-{name}", [sys.executable, "-m", "pytest", *words], TIMEOUT_S)
    cases: list[Case] = read_cases(results) if results.is_file() else []
    count = {result: sum(c.result == result for c in cases) for result in ("passed", "failed", "skipped")}
    failed = [c.name for c in cases if c.result == "failed"]
    measured = (
        f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed" if cases else ended.how()
    )
    if failed:
        measured += ": " + ", ".join(failed[:5])
    return Row(
        stage=stage,
        what=what,
        measured=measured,
        bar="all pass",
        holds=None if ended.status == 0 and count["skipped"] else ended.status == 0 and count["passed"] > 0,
    )
