"""The rules that keep the house in order: who imports whom, what importing does, and how long a file may be."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "robot_rl": ROOT / "robot_rl",
    "robot_rl_controllers": ROOT / "controllers" / "robot_rl_controllers",
    "robot_rl_hardware": ROOT / "hardware" / "robot_rl_hardware",
    "robot_rl_tasks": ROOT / "tasks" / "robot_rl_tasks",
    "robot_rl_sim": ROOT / "sim" / "robot_rl_sim",
}
MODULES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
LINES = 400

# What the robot's computer imports: it has no learner, no simulator, and may or may not have ROS.
ROBOT_SIDE = [
    name
    for name in (
        "robot_rl", "errors", "specs", "robot", "task", "messages", "policy", "env", "actor", "wire", "transport",
        "replay", "replay_log", "link", "link_local", "metrics", "stats", "runs", "doctor", "cli",
    )
    if name == "robot_rl" or (ROOT / "robot_rl" / f"{name}.py").exists() or (ROOT / "robot_rl" / name).is_dir()
]  # fmt: skip


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def imported(path: Path) -> set[str]:
    """Return the top-level names that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_the_import_contracts_hold() -> None:
    lint_imports = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if lint_imports is None:
        pytest.skip("import-linter is not installed: pip install 'robot-rl[dev]'")
    done = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


BLOCKER = """
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"jax", "jaxlib", "optax", "mujoco", "rclpy", "launch", "torch", "matplotlib", "cv2"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_the_robot_side_imports_without_learner_simulator_and_ros() -> None:
    modules = [name if name == "robot_rl" else f"robot_rl.{name}" for name in ROBOT_SIDE]
    modules += ["robot_rl_controllers", "robot_rl_hardware", "robot_rl_tasks"]
    for package in ("robot_rl_controllers", "robot_rl_tasks"):
        modules += [f"{package}.{path.stem}" for path in PACKAGES[package].glob("*.py") if path.stem != "__init__"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER, *modules], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "importing prints"


def test_importing_the_core_loads_nothing_heavy() -> None:
    code = (
        "import sys, robot_rl\n"
        "print([m for m in ('numpy', 'zmq', 'jax', 'mujoco', 'numba', 'hydra', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_launch_is_no_python_package() -> None:
    # ROS 2 owns the name: a regular package called launch here would hide its own.
    assert not list((ROOT / "launch").rglob("__init__.py"))
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").exists()


def test_the_wheel_holds_exactly_these_packages() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sorted(build["packages"]) == sorted(names(list(PACKAGES.values())))


def test_files_stay_small_or_say_why() -> None:
    long = []
    for path in [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        text = path.read_text()
        if text.count("\n") > LINES and "in one file" not in (ast.get_docstring(ast.parse(text)) or "").lower():
            long.append(path)
    assert not long, (
        f"longer than {LINES} lines: {names(long)}; split them, or say in the docstring why all is in one file"
    )


def test_nothing_unpickles_or_evaluates() -> None:
    forbidden = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
    assert not names([path for path in MODULES if forbidden & imported(path)])
    calls = [
        path
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"})
            or any(
                keyword.arg == "allow_pickle"
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                for keyword in node.keywords
            )
        )
    ]
    assert not names(calls)


def test_every_module_says_what_it_is() -> None:
    assert not names([path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))])
