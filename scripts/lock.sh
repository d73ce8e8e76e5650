#!/usr/bin/env bash
# Write requirements.lock and requirements-dev.lock: every package, exactly, that set-up installs.
#   make lock              keep what is locked, add what pyproject.toml newly asks for
#   make lock UPGRADE=1    take the newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
constraints=()
if [ -z "${UPGRADE:-}" ] && [ -s requirements.lock ]; then
    cat requirements.lock requirements-dev.lock >"$box/locked"
    constraints=(-c "$box/locked")
fi

# Everything is resolved together, so that the second lock never asks for another version than the first; then the
# part that practising needs is installed alone, to see what it is. setuptools is frozen too: tensorboard asks for it,
# and Python 3.12 no longer brings it.
resolve() {  # folder, then what to install
    local folder=$box/$1
    shift
    "${PYTHON:-python3.11}" -m venv "$folder"
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-input --upgrade setuptools "$@"
    "$folder/bin/python" -m pip check >&2
    "$folder/bin/python" -m pip freeze --all 2>/dev/null | grep -E '^[A-Za-z0-9_.-]+==' | grep -vE '^(pip|wheel|robot-rl)==' | LC_ALL=C sort
}
resolve all -e ".[practice,dev]" "${constraints[@]}" >"$box/all.txt"
resolve practice -e ".[practice]" "hatchling>=1.27" "editables>=0.5" -c "$box/all.txt" >"$box/practice.txt"

header() { printf '# Exact versions for %s. Written by "make lock" from pyproject.toml; do not edit.\n' "$1"; }
{ header "practising in simulation"; sort -f "$box/practice.txt"; } >requirements.lock
{ header "tests and checks, on top of requirements.lock"; LC_ALL=C comm -13 "$box/practice.txt" "$box/all.txt" | sort -f; } >requirements-dev.lock
wc -l requirements.lock requirements-dev.lock
