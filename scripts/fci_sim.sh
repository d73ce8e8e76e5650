#!/usr/bin/env bash
# A simulator of the Franka's network protocol, in an environment of its own: it needs numpy 1 and an old MuJoCo.
#   scripts/fci_sim.sh              create or refresh .venv-fci
#   scripts/fci_sim.sh run ARGS     start it (scripts/fci_sim_server.py --help lists ARGS), with priority where permitted
# PYTHON=/path/to/python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-fci
wanted="franka-sim==1.1.7 in $PWD"

say() { printf 'fci-sim: %s\n' "$*"; }
fail() { printf 'fci-sim: %s\n' "$*" >&2; exit 1; }

create() {
    exec 9>.setup.lock.fci
    flock 9
    [ "$(cat $venv/.ready 2>/dev/null)" = "$wanted" ] && return 0
    local python=${PYTHON:-}
    for candidate in ${python:-python3.11 python3.12 python3.10 python3}; do
        "$candidate" -c 'import ensurepip, sys; sys.exit(not (3, 9) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && python=$candidate && break
    done
    [ -n "$python" ] || fail "Python 3.9 to 3.12 with venv is needed (numpy 1.26 has no wheel for later ones); name one: make fci-sim PYTHON=/path/to/python3.11"
    rm -rf $venv
    "$python" -m venv $venv || fail "$python could not create $venv; on Debian: apt-get install python3-venv"
    say "installing franka-sim 1.1.7 into $venv (about 175 MB; log in $venv/setup.log)"
    $venv/bin/python -m pip install --disable-pip-version-check --no-input 'franka-sim==1.1.7' >$venv/setup.log 2>&1 ||
        { tail -n 5 $venv/setup.log >&2; fail "pip could not install franka-sim; the whole log is $venv/setup.log"; }
    printf '%s\n' "$wanted" >$venv/.ready
    say "ready; start it with: bash scripts/fci_sim.sh run --host 127.0.0.1"
}

case ${1:-create} in
    create) create ;;
    run)
        shift
        create
        # Without priority its own receiving thread starves on a busy machine and it blames us for lost packets.
        first=()
        chrt -r 50 true 2>/dev/null && first=(chrt -r 50)
        exec "${first[@]}" $venv/bin/python scripts/fci_sim_server.py "$@"
        ;;
    *) fail "unknown command '$1'; allowed: nothing, or run" ;;
esac
