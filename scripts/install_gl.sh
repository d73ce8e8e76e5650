#!/usr/bin/env bash
# Make off-screen rendering possible: install the OpenGL libraries when they are missing and when this user may.
# Prints one sentence for a person and always succeeds: training from state works without pictures.
set -u
line="apt-get install -y --no-install-recommends libegl1 libgl1"

present() {  # the linker's own search, so a library in any configured folder counts
    local cache
    cache=$( { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null)
    grep -q 'libEGL\.so\.1' <<<"$cache" && grep -qE 'libGL\.so\.1|libOpenGL\.so\.0' <<<"$cache" && return 0
    grep -q 'libOSMesa\.so\.8' <<<"$cache"
}

if [ "$(uname -s)" != Linux ] || present; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "OpenGL libraries are missing, so there will be no pictures or videos (training from state works);" \
        "install libEGL and libGL with this system's package manager"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "OpenGL libraries are missing, so there will be no pictures or videos (training from state works);" \
        "to have them run: sudo $line"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
wait_for_dpkg=(-o DPkg::Lock::Timeout=120 -o Acquire::Retries=2)
# shellcheck disable=SC2086  # the line is words
if { $line "${wait_for_dpkg[@]}" || { apt-get update && $line "${wait_for_dpkg[@]}"; }; } >/dev/null 2>&1 </dev/null && present; then
    echo "installed libegl1 and libgl1, for pictures and videos"
else
    echo "libegl1 and libgl1 could not be installed, so there will be no pictures or videos (training from state works);" \
        "try: apt-get update && $line"
fi
exit 0
