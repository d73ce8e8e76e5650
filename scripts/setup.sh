#!/usr/bin/env bash
# Create or refresh the project's virtual environment. Safe to run any number of times, and by two commands at once.
#   scripts/setup.sh            what practising in simulation needs
#   scripts/setup.sh vision     that, and what learning from pictures needs
#   scripts/setup.sh dev        all that, what tests and checks need, and on x86-64 Linux ROS 2, the Franka and cameras
# PYTHON=/path/to/python3.12 chooses the interpreter. No cache, display, GPU or account is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

role=${1:-practice}
case $role in
    practice) locks=(requirements.lock) ;;
    vision) locks=(requirements.lock requirements-vision.lock) ;;
    dev)
        locks=(requirements.lock requirements-vision.lock requirements-dev.lock)
        # Wheels of ROS 2 and of the robot's libraries exist for this kind of machine only.
        [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ] || locks+=(requirements-robot.lock) ;;
    *) echo "setup: unknown role '$role'; allowed: practice, vision, dev" >&2; exit 2 ;;
esac
venv=.venv
log=$venv/setup.log
stamp=$venv/.ready-$role

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

wanted() { { printf '%s\n' "$PWD"; cat "$@" pyproject.toml scripts/setup.sh; } | sha256sum | cut -d' ' -f1; }
up_to_date() { [ -x $venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$1" ]; }

find_python() {
    local candidate candidates=(python3.11 python3.12 python3.13 python3 python /usr/bin/python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then
            if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
                command -v "$candidate"
                return 0
            fi
            no_venv=$candidate
        fi
    done
    return 1
}

explain() {  # what pip's log means, in one sentence
    if grep -qiE 'no space left|disk quota' "$log"; then
        fail "the disk is full: set-up needs about 2 GB in $PWD/$venv, 4 GB with what tests and pictures need; free some and run the same command again"
    elif grep -qiE 'name resolution|connection (refused|reset|aborted)|network is unreachable|timed out|ProxyError' "$log"; then
        fail "the package index cannot be reached; check the network or pip's settings ('pip config list') and run the same command again"
    fi
    tail -n 5 "$log" >&2
    fail "$1; the whole log is $PWD/$log"
}

# torch is not in a lock: which build of it is right depends on the machine. A build that is there already stays, such as
# one for a GPU. On x86-64 Linux the registry's build brings several GB of CUDA; the CPU's has an index of its own.
TORCH=2.13.0
install_torch() {
    "${pip[@]}" show torch >/dev/null 2>&1 && return 0
    say "installing torch $TORCH, the CPU's build (about 200 MB)"
    case $(uname -s)-$(uname -m) in
        Linux-x86_64)
            "${pip[@]}" install --no-deps "torch==$TORCH+cpu" >>"$log" 2>&1 ||
                "${pip[@]}" install --no-deps "torch==$TORCH+cpu" --extra-index-url https://download.pytorch.org/whl/cpu >>"$log" 2>&1 ;;
        *) "${pip[@]}" install --no-deps "torch==$TORCH" >>"$log" 2>&1 ;;
    esac || explain "pip could not install torch"
}

hash=$(wanted "${locks[@]}")
up_to_date "$hash" && exit 0

# Two make commands may start at once: the second waits here, then finds the work done.
if command -v flock >/dev/null 2>&1; then
    exec 9>.setup.lock
    flock 9
    up_to_date "$hash" && exit 0
fi

# A folder that was moved or half made is started afresh: its scripts hold the old path.
if [ -e $venv ] && ! { $venv/bin/python -m pip --version && [ "$(cat $venv/.path 2>/dev/null)" = "$PWD" ]; } >/dev/null 2>&1; then
    say "removing an unusable $venv"
    rm -rf $venv
fi
if [ ! -e $venv ]; then
    no_venv=
    if ! python=$(find_python); then
        find_python >/dev/null || true  # in this shell, to learn why
        [ -z "$no_venv" ] || fail "$no_venv cannot create virtual environments; install them with: apt-get install -y python3-venv"
        found=$("${PYTHON:-python3}" --version 2>/dev/null || echo none)
        fail "Python 3.11, 3.12 or 3.13 is needed, found ${PYTHON:+$PYTHON: }$found; install one, or name it: make setup PYTHON=/path/to/python3.12"
    fi
    say "creating $venv with $("$python" --version) ($python)"
    "$python" -m venv $venv >.setup.lock.log 2>&1 || { cat .setup.lock.log >&2; rm -rf $venv .setup.lock.log; fail "$python could not create $PWD/$venv"; }
    rm -f .setup.lock.log
    printf '%s\n' "$PWD" >$venv/.path
fi
: >"$log"
pip=($venv/bin/python -m pip --disable-pip-version-check --no-input)

# System libraries for pictures come meanwhile; training from state does not need them.
bash scripts/install_gl.sh >$venv/gl.log 2>&1 &
gl=$!

# mujoco's files moved between wheels in version 4: pip's in-place upgrade over it leaves a broken package.
locked=$(sed -n 's/^mujoco==//p' requirements.lock)
have=$("${pip[@]}" list --format=freeze 2>/dev/null | sed -n 's/^mujoco==//p')
if [ -n "$have" ] && [ "$have" != "$locked" ]; then
    "${pip[@]}" uninstall -y mujoco mujoco-core mujoco-studio >>"$log" 2>&1 || true
fi

say "installing $(cat "${locks[@]}" | grep -c '==') locked packages (about 500 MB where none is cached; log in $log)"
"${pip[@]}" install --no-deps $(printf -- '-r %s ' "${locks[@]}") >>"$log" 2>&1 || explain "pip could not install the locked packages"
[ "$role" = practice ] || install_torch

say "installing robot-rl from this folder, editable"
"${pip[@]}" install --no-deps --no-build-isolation -e . >>"$log" 2>&1 || explain "pip could not install robot-rl itself"

wait $gl || true
while IFS= read -r line; do say "$line"; done <$venv/gl.log

echo $(( $(cat $venv/.setup_s 2>/dev/null || echo 0) + SECONDS )) >$venv/.setup_s  # the demo's summary says what it took
wanted requirements.lock >$venv/.ready-practice  # whatever the role, this part of it is there
printf '%s\n' "$hash" >"$stamp"
[ "$role" != dev ] || [ "${#locks[@]}" = 4 ] ||
    say "no ROS 2 wheels exist for $(uname -s) on $(uname -m): tests over ROS are skipped; a system ROS 2 is used if it is sourced"
say "ready ($role) after $SECONDS s"
