"""Trials for `robot-rl doctor` that could crash, hang or take long, each in a process of its own with a time limit."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SLOW_FRAME_MS = 10.0
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one look at the machine found.

    Attributes:
        name: What was looked at.
        status: "fail" when practising in the twin cannot work, "warn" when it will be poorer or slower.
        found: What is there, in a few words.
        advice: What to do about it; empty when there is nothing to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def run_probe(code: str, timeout_s: float) -> tuple[dict[str, object], str]:
    """Run Python code in a process of its own; it prints one JSON object as its last line.

    Returns:
        The object and an empty string, or an empty object and the last line of what went wrong.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {timeout_s:g} s"
    except OSError as error:
        return {}, str(error)
    with contextlib.suppress(ValueError, IndexError):
        found = json.loads(done.stdout.strip().splitlines()[-1])
        if done.returncode == 0 and isinstance(found, dict):
            return found, ""
    lines = done.stderr.strip().splitlines()
    if not lines:
        return {}, f"exit status {done.returncode}"
    kind, _, sentence = lines[-1].partition(": ")
    return {}, sentence if kind.startswith("robot_rl.errors.") else lines[-1]


JAX_PROBE = """
import json, os
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
import jax, jax.numpy as jnp
x = jnp.ones((64, 64))
assert float((x @ x)[0, 0]) == 64.0
print(json.dumps({"devices": [d.device_kind for d in jax.devices()], "backend": jax.default_backend()}))
"""

NUMBA_PROBE = """
import json, time, numba, numpy as np
t = time.perf_counter()
@numba.njit
def total(x):
    s = 0.0
    for v in x:
        s += v
    return s
assert total(np.ones(3)) == 3.0
print(json.dumps({"compile_s": time.perf_counter() - t}))
"""

MUJOCO_PROBE = """
import json, robot_rl_sim, mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
mujoco.mj_step(model, mujoco.MjData(model))
print(json.dumps({"version": mujoco.__version__}))
"""

GL_PROBE = """
import json, time
from robot_rl_sim.gl import require_gl
backend = require_gl("a camera picture")
import mujoco
from OpenGL import GL
xml = '''<mujoco><visual><quality offsamples="0"/></visual><worldbody><light castshadow="false"/>
<geom type="plane" size="3 3 1"/><geom type="box" size=".1 .1 .1" pos="0 0 .1"/>
<camera name="c" pos="0 -1 1" xyaxes="1 0 0 0 .7 .7"/></worldbody></mujoco>'''
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 128, 128)
for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
    renderer.scene.flags[flag] = 0
times = []
for _ in range(12):
    t = time.perf_counter()
    renderer.update_scene(data, "c")
    picture = renderer.render()
    times.append(time.perf_counter() - t)
driver = GL.glGetString(GL.GL_RENDERER)
renderer.close()
assert picture.std() > 0, "the picture is empty"
print(json.dumps({"backend": backend, "driver": driver.decode(), "frame_ms": 1e3 * sorted(times)[5]}))
"""


def check_jax(timeout_s: float = 90.0) -> Check:
    """Compute with JAX and say on which device; a GPU that JAX does not use is a warning."""
    found, error = run_probe(JAX_PROBE, timeout_s)
    if error:
        advice = 'pip install -e ".[learner]"'
        return Check(name="JAX", status="fail", found=error, advice=advice)
    devices = found["devices"] if isinstance(found["devices"], list) else []
    text = f"{found['backend']}: {', '.join(map(str, devices))}"
    if found["backend"] == "cpu" and (Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi")):
        advice = 'this machine has an NVIDIA GPU that JAX does not use: pip install -e ".[cuda]" (driver 580 or newer)'
        return Check(name="JAX", status="warn", found=text, advice=advice)
    return Check(name="JAX", status="ok", found=text)


def check_numba(timeout_s: float = 90.0) -> Check:
    """Compile a function, as the controller and the guard are compiled."""
    found, error = run_probe(NUMBA_PROBE, timeout_s)
    if error:
        advice = "reinstall it: pip install --force-reinstall --no-deps numba llvmlite"
        return Check(name="numba", status="fail", found=error, advice=advice)
    return Check(name="numba", status="ok", found=f"compiles a function in {found['compile_s']:.1f} s")


def check_mujoco(timeout_s: float = 90.0) -> Check:
    """Step a model."""
    found, error = run_probe(MUJOCO_PROBE, timeout_s)
    if not error:
        return Check(name="MuJoCo", status="ok", found=f"{found['version']} steps")
    advice = 'pip install -e ".[sim]"'
    if "core bindings" in error:
        advice = "pip uninstall -y mujoco mujoco-core mujoco-studio, then make setup"
    elif "MUJOCO_GL" in error:
        advice = "unset MUJOCO_GL, or install what it names"
    return Check(name="MuJoCo", status="fail", found=error, advice=advice)


def check_gl(timeout_s: float = 90.0) -> Check:
    """Draw pictures off-screen and time them."""
    found, error = run_probe(GL_PROBE, timeout_s)
    if error:
        advice = (
            "pictures and videos need: apt-get install -y --no-install-recommends libegl1 libgl1 (state works without)"
        )
        return Check(name="Pictures", status="warn", found=error, advice=advice)
    text = f"{found['backend']}, {found['driver']}: {found['frame_ms']:.1f} ms for 128x128"
    slow = isinstance(found["frame_ms"], float) and found["frame_ms"] > SLOW_FRAME_MS
    advice = "slower than a software renderer should be (1 to 2 ms); is the machine busy, or the driver softpipe?"
    return Check(name="Pictures", status="warn" if slow else "ok", found=text, advice=advice if slow else "")
