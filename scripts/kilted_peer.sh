#!/usr/bin/env bash
# Create .peers/kilted, an environment with ROS 2 Kilted from wheels, so that a test can read our topics from another
# distribution. Only x86-64 Linux has the wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || { echo "kilted_peer: no wheels of ROS 2 exist for this machine" >&2; exit 1; }
[ -e .peers/kilted/.ready ] && exit 0
rm -rf .peers/kilted
mkdir -p .peers
"${PYTHON:-python3.11}" -m venv .peers/kilted
env -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE .peers/kilted/bin/python -m pip install -q \
    --disable-pip-version-check --no-input \
    'ros-rclpy[fastrtps]==9.1.2' 'ros-std-msgs~=5.5' 'ros-std-srvs~=5.5' 'ros-geometry-msgs~=5.5' 'ros-sensor-msgs~=5.5'
touch .peers/kilted/.ready
echo "kilted_peer: ROS 2 Kilted is in .peers/kilted"
