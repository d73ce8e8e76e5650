"""The machine's check-up: right verdicts, advice for each, and no crash where packages are missing."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from robot_rl import doctor
from robot_rl.probes import Check, check_mujoco, run_probe


def check_named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 14), "fail"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "fail")]
)
def test_python_outside_the_tested_range_fails(version: tuple[int, ...], status: str) -> None:
    assert doctor.check_python(version).status == status


def test_this_environment_has_the_packages_of_the_core() -> None:
    assert check_named(doctor.check_packages(), "Packages: core").status == "ok"


@pytest.mark.parametrize("package", [name for names in doctor.NEEDED.values() for name in names])
def test_a_missing_needed_package_fails_and_says_how_to_install_it(package: str) -> None:
    checks = doctor.check_packages(lambda name: None if name == package else "1.0")
    failed = [check for check in checks if check.status == "fail"]
    assert [package in check.found for check in failed] == [True]
    assert failed[0].advice.startswith("pip install")
    assert doctor.exit_status(checks) == 1


@pytest.mark.parametrize("roles", [doctor.USEFUL, doctor.OPTIONAL])
def test_a_package_of_another_role_never_fails(roles: dict[str, tuple[str, ...]]) -> None:
    gone = {name for names in roles.values() for name in names}
    checks = doctor.check_packages(lambda name: None if name in gone else "1.0")
    assert doctor.exit_status(checks) == 0
    assert all(any(name in check.found and check.advice for check in checks) for name in gone)


def test_the_defective_mujoco_is_named() -> None:
    checks = doctor.check_packages(lambda name: "4.0.0" if name == "mujoco" else "1.0")
    assert check_named(checks, "Packages: sim").status == "warn"
    assert "3.17.0" in check_named(checks, "Packages: sim").advice


def test_a_port_in_use_is_found_and_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        check = doctor.check_ports([port])
        assert check.status == "warn"
        assert str(port) in check.found
        assert "link.data_port" in check.advice


def test_a_ros_shell_with_another_python_in_front_is_a_warning() -> None:
    other = "/opt/ros/jazzy/lib/python3.99/site-packages"
    assert doctor.check_ros({"ROS_DISTRO": "jazzy", "PYTHONPATH": other}).status == "warn"
    assert doctor.check_ros({"ROS_DISTRO": "jazzy", "PYTHONPATH": "/home/me/src"}).status == "ok"
    assert doctor.check_ros({}).status == "ok"


def test_a_missing_folder_and_any_machine_give_an_answer(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert {check.name for check in doctor.check_machine(folder)} >= {"Cores"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("print('not json')", "exit status 0"),
        ("print('[1]')", "exit status 0"),
        ("raise SystemExit('what went wrong')", "what went wrong"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit status -9"),
        ("import threading; threading.Event().wait()", "no answer within 2 s"),
    ],
)
def test_a_trial_that_goes_wrong_is_a_sentence(code: str, error: str) -> None:
    found, said = run_probe(code, timeout_s=2.0 if "wait" in code else 60.0)
    assert found == {}
    assert error in said


def test_a_trial_gives_what_it_prints_last() -> None:
    assert run_probe("print('noise'); print('{\"a\": 1}')", 60.0) == ({"a": 1}, "")


def test_a_wrong_opengl_choice_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    check = check_mujoco()
    assert check.status == "fail"
    assert "MUJOCO_GL" in check.advice


def test_the_whole_check_up_runs_here_and_fits_a_terminal() -> None:
    checks = doctor.collect()
    assert doctor.exit_status(checks) == 0, checks
    assert all(check.found for check in checks)
    assert all(check.advice for check in checks if check.status != "ok")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(doctor.render(checks))
    text = console.export_text()
    assert all(check.name.split()[0] in text for check in checks)
    assert max(map(len, text.splitlines())) <= 100


def test_the_summary_names_what_to_mend() -> None:
    checks = [Check(name="A", status="ok", found="x"), Check(name="B", status="fail", found="y", advice="z")]
    assert "B" in doctor.summary(checks)
    assert "cannot" in doctor.summary(checks)
    assert "cannot" not in doctor.summary(checks[:1])


WITHOUT_PACKAGES = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"numpy", "rich", "jax", "mujoco", "numba", "zmq", "hydra"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Blocker())
import robot_rl.doctor as doctor
sys.exit(doctor.main())
"""


def test_it_runs_where_nothing_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "Python" in done.stdout
    assert "practise in the twin" in done.stdout
