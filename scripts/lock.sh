#!/usr/bin/env bash
# Write requirements.lock and requirements-dev.lock: every package, exactly, that set-up installs.
#   make lock              keep what is locked, add what pyproject.toml newly asks for
#   make lock UPGRADE=1    take the newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
"${PYTHON:-python3.11}" -m venv "$box/venv"
pip=("$box/venv/bin/python" -m pip --disable-pip-version-check --no-input)

constraints=()
if [ -z "${UPGRADE:-}" ] && [ -s requirements.lock ]; then
    cat requirements.lock requirements-dev.lock >"$box/constraints.txt"
    constraints=(-c "$box/constraints.txt")
fi
# setuptools is frozen too: tensorboard asks for it, and Python 3.12 no longer brings it.
freeze() { "${pip[@]}" freeze --all 2>/dev/null | grep -E '^[A-Za-z0-9_.-]+==' | grep -vE '^(pip|wheel)==' | LC_ALL=C sort -f; }
head_of() { printf '# Exact versions for %s. Written by "make lock" from pyproject.toml; do not edit.\n' "$1"; }

"${pip[@]}" install -q --upgrade setuptools "${constraints[@]}"
"${pip[@]}" install -q -e ".[practice]" "hatchling>=1.27" "editables>=0.5" "${constraints[@]}"
freeze >"$box/practice"
"${pip[@]}" install -q -e ".[practice,dev]" "${constraints[@]}"
freeze >"$box/all"
"${pip[@]}" check

{ head_of "practising in simulation (extras learner, sim, report)"; cat "$box/practice"; } >requirements.lock
{ head_of "tests and checks, on top of requirements.lock"; LC_ALL=C comm -13 <(LC_ALL=C sort "$box/practice") <(LC_ALL=C sort "$box/all") | LC_ALL=C sort -f; } >requirements-dev.lock
wc -l requirements.lock requirements-dev.lock
