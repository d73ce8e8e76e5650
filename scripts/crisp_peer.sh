#!/usr/bin/env bash
# Fetch CRISP's Python client, unchanged, into .peers/crisp, so that a test can move our arm with it.
# Its own requirements (an older numpy) are not installed: it runs with ours.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x $python ] || python=${PYTHON:-python3}
[ -d .peers/crisp/crisp_py ] && exit 0
mkdir -p .peers
"$python" -m pip install -q --disable-pip-version-check --no-input --no-deps --target .peers/crisp crisp-python==3.6.0
echo "crisp_peer: CRISP's client is in .peers/crisp"
