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
LINES, TEST_LINES = 400, 500

# The learner's half. Everything else must import on the robot's computer, which has no JAX and no simulator, and may
# or may not have ROS.
LEARNER_SIDE = ("robot_rl.agents", "robot_rl.learner")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


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
        if name.split(".")[0] in {"jax", "jaxlib", "optax", "mujoco", "rclpy", "launch", "torch", "ray", "wandb"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_the_robot_side_imports_without_learner_simulator_and_ros() -> None:
    modules = [
        name
        for package, folder in PACKAGES.items()
        if package != "robot_rl_sim"
        for path in folder.rglob("*.py")
        if not (name := module_name(path, folder.parent)).startswith(LEARNER_SIDE) and path.stem != "__main__"
    ]
    assert len(modules) > 20
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
    limits = dict.fromkeys(MODULES, LINES) | dict.fromkeys((ROOT / "benchmarks").rglob("*.py"), LINES)
    limits |= dict.fromkeys((ROOT / "tests").rglob("*.py"), TEST_LINES)
    long = []
    for path, limit in limits.items():
        text = path.read_text()
        if text.count("\n") > limit and "in one file" not in (ast.get_docstring(ast.parse(text)) or "").lower():
            long.append(path)
    assert not long, f"too long: {names(long)}; split them, or say in the docstring why all is in one file"


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
