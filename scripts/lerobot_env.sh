#!/usr/bin/env bash
# Create .venv-lerobot, an environment with the real package lerobot (and robomimic's loader), so that what we export is
# read by those it is meant for. It takes about 6 GB and ten minutes: the registry's torch brings CUDA with it. Python
# 3.12 or newer is needed, as lerobot 0.6 asks for it; PYTHON names another than python3.12.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e .venv-lerobot/.ready ] && exit 0
python="${PYTHON:-}"
if [ -z "$python" ]; then
    for found in python3.12 python3.13 "$HOME"/.pyenv/versions/3.12.*/bin/python "$HOME"/.pyenv/versions/3.13.*/bin/python; do
        if "$found" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            python="$found"
            break
        fi
    done
fi
[ -n "$python" ] || { echo "lerobot_env: no Python 3.12 or newer here; install one, or name it: PYTHON=..." >&2; exit 1; }
rm -rf .venv-lerobot
"$python" -m venv .venv-lerobot
.venv-lerobot/bin/python -m pip install -q --disable-pip-version-check --no-input \
    'lerobot[dataset]==0.6.1' 'torch==2.11.0' 'torchvision==0.26.0'
# Its loader alone: what else robomimic asks for is simulators and a build of its own.
.venv-lerobot/bin/python -m pip install -q --disable-pip-version-check --no-input --no-deps \
    'robomimic==0.3.0' h5py tensorboardX psutil imageio protobuf
touch .venv-lerobot/.ready
echo "lerobot_env: lerobot 0.6.1 is in .venv-lerobot"
