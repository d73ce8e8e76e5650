"""All benchmarks by one command, with ratios in one run; leaves `benchmarks/latest.json`.

make bench                       # everything
make bench ARGS=--quick          # briefly
make bench ARGS="env learner"    # some of them
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAMES = ("learner", "images", "env", "controller", "replay", "transport", "fci")
LATEST = Path(__file__).parent / "latest.json"


def main() -> int:
    """Run them in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="which; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: seconds instead of minutes")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    names = arguments.names or NAMES
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        print(f"[{i + 1}/{len(names)}] {name} ...", flush=True)
        start = time.monotonic()
        module = importlib.import_module(f"benchmarks.bench_{name}")
        found = [{"benchmark": name, **row} for row in module.run(quick=arguments.quick)]
        rows += found
        for row in found:
            _show(row)
        print(f"      {time.monotonic() - start:.0f} s", flush=True)
    _save(rows, arguments.quick)
    print(f"written to {LATEST}")
    return 0


def _show(row: dict[str, Any]) -> None:
    baseline = "" if row.get("baseline") is None else f"{row['baseline']:,.2f}"
    ratio = "" if row.get("ratio") is None else f"x{row['ratio']:,.2f}"
    print(f"  {row['name']:<44} {row['value']:>14,.2f} {row['unit']:<15} {baseline:>14} {ratio:>10}  {row['note']}")


def _save(rows: list[dict[str, Any]], quick: bool) -> None:
    from robot_rl.jsonl import write_json_atomic
    from robot_rl.runs import git_commit, machine, versions

    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "quick": quick,
        "rows": json.loads(json.dumps(rows, default=float)),
    }
    write_json_atomic(LATEST, facts)


if __name__ == "__main__":
    sys.exit(main())
