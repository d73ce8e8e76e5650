#!/usr/bin/env bash
# Write requirements.lock and the ones for vision, tests and robots on top of it: every package, exactly, that set-up
# installs. Only torch is left out, and what its builds for a GPU bring along: scripts/setup.sh chooses the build.
#   make lock              keep what is locked, add what pyproject.toml newly asks for
#   make lock UPGRADE=1    take the newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
constraints=()
if [ -z "${UPGRADE:-}" ] && [ -s requirements.lock ]; then
    cat requirements*.lock | sed 's/ ;.*//' >"$box/locked"
    constraints=(-c "$box/locked")
fi

# Everything is resolved together, so that no lock asks for another version than the first; then the part that practising
# needs is installed alone, and with what tests need, to see what those are. setuptools is frozen too: tensorboard asks
# for it, and Python 3.12 no longer brings it. ROS wheels carry the metadata of what they were built from (rclpy in
# ros-rclpy), which no index has: those lines are left out.
resolve() {  # folder, then what to install
    local folder=$box/$1
    shift
    "${PYTHON:-python3.11}" -m venv "$folder"
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-input --upgrade setuptools "$@"
    "$folder/bin/python" -m pip check >&2
    "$folder/bin/python" -m pip freeze --all 2>/dev/null | grep -E '^[A-Za-z0-9_.-]+==' | grep -vE '^(pip|wheel|robot-rl|torch|triton|nvidia-.*|cuda-.*)==' |
        awk -F== '{ line[NR] = $0; name[NR] = $1; gsub(/_/, "-", name[NR]); have[name[NR]] = 1 }
                  END { for (i = 1; i <= NR; i++) if (!(("ros-" name[i]) in have)) print line[i] }' | LC_ALL=C sort
}
torch="torch==$(sed -n 's/^TORCH=//p' scripts/setup.sh)"
resolve all -e ".[practice,dev,robot]" "$torch" "${constraints[@]}" >"$box/all.txt"
resolve practice -e ".[practice]" "hatchling>=1.27" "editables>=0.5" -c "$box/all.txt" >"$box/practice.txt"
resolve vision -e ".[practice,vision]" "hatchling>=1.27" "editables>=0.5" "$torch" -c "$box/all.txt" >"$box/vision.txt"
resolve tested -e ".[practice,dev]" "$torch" -c "$box/all.txt" >"$box/tested.txt"

header() { printf '# Exact versions for %s. Written by "make lock" from pyproject.toml; do not edit.\n' "$1"; }
beyond() { LC_ALL=C comm -13 "$box/$1.txt" "$box/$2.txt"; }
{ header "practising in simulation"; sort -f "$box/practice.txt"; } >requirements.lock
{ header "learning from pictures, on top of requirements.lock"; beyond practice vision | sort -f; } >requirements-vision.lock
{ header "tests and checks, on top of requirements-vision.lock"; beyond vision tested | sort -f; } >requirements-dev.lock
{
    header "ROS 2, the Franka and cameras on x86-64 Linux, on top of requirements-dev.lock"
    beyond tested all | sed 's/^pylibfranka==.*/& ; python_version < "3.13"/' | sort -f
} >requirements-robot.lock
wc -l requirements*.lock
