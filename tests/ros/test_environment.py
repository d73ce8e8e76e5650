from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ros_rig import own_domain, program, ros_environ, wait_for

from robot_rl.errors import ConfigError, MissingDependency
from robot_rl_hardware.ros import environment
from robot_rl_hardware.ros.environment import (
    child_environment,
    domain_of,
    foreign_ros,
    free_domain,
    participants_on,
    prepare,
    refuse_mixture,
)
from robot_rl_hardware.ros.node import arm_is_there, check_names, open_node

wheels = pytest.mark.skipif(
    environment.importlib.util.find_spec(environment.WHEELS) is None, reason="ROS here is not from pip"
)
with_ros = pytest.mark.skipif(environment.importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


LOCAL = [{}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {"ROS_LOCALHOST_ONLY": "1"}]
NOT_LOCAL = [
    {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"},
    {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT"},
    {"ROS_LOCALHOST_ONLY": "0"},
    {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "192.0.2.7"},
]
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


@with_ros
@pytest.mark.parametrize("told", LOCAL)
def test_peers_are_looked_for_on_this_machine_unless_told_otherwise(told: dict[str, str]) -> None:
    ours = {"HOME": "/nonexistent", **told}
    for raw_pictures in (False, True, False):  # a launcher hands its own environment on to a camera's node
        prepare(ours, raw_pictures=raw_pictures)
        assert environment.is_local(ours)
        # LOCALHOST would undo the transports of the profiles, which stay on this machine themselves.
        assert (ours["ROS_AUTOMATIC_DISCOVERY_RANGE"], ours.get("ROS_LOCALHOST_ONLY")) == ("SYSTEM_DEFAULT", None)
        profile = ElementTree.parse(ours[PROFILES[0]]).getroot()
        assert ours[PROFILES[0]] == ours[PROFILES[1]]
        assert [e.text for e in profile.iterfind(".//{*}address")] == ["127.0.0.1", "127.0.0.1"]
        assert next(profile.iterfind(".//{*}avoid_builtin_multicast")).text == "true"
        assert ("SHM" in {e.text for e in profile.iterfind(".//{*}type")}) == raw_pictures


@with_ros
@pytest.mark.parametrize("told", NOT_LOCAL)
def test_a_user_may_let_ros_look_beyond_this_machine(told: dict[str, str]) -> None:
    theirs = {"HOME": "/nonexistent", **told}
    for raw_pictures in (False, True, False):
        prepare(theirs, raw_pictures=raw_pictures)
        assert not environment.is_local(theirs)
        assert told.items() <= theirs.items()
        profile = ElementTree.parse(theirs[PROFILES[0]]).getroot()
        assert not list(profile.iterfind(".//{*}address"))
        assert ("SHM" in {e.text for e in profile.iterfind(".//{*}type")}) == raw_pictures


@with_ros
@pytest.mark.parametrize("told", [{PROFILES[0]: "mine.xml"}, {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}])
def test_a_users_profile_or_middleware_is_kept_and_told_to_stay_on_this_machine(told: dict[str, str]) -> None:
    theirs = {"ROS_LOG_DIR": "mine", **told}
    prepare(theirs)
    assert theirs == {"ROS_LOG_DIR": "mine", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **told}


@with_ros
def test_the_log_of_nodes_lies_in_the_home_folder(tmp_path: Path) -> None:
    ours: dict[str, str] = {"HOME": str(tmp_path)}
    prepare(ours)
    assert Path(ours["ROS_LOG_DIR"]).is_relative_to(tmp_path)


SOCKETS = """
import os, sys
from pathlib import Path
from robot_rl_hardware.ros.node import open_node
with open_node("sockets", raw_pictures=sys.argv[1] == "raw"):
    threads = [Path(f"/proc/self/task/{t}/comm").read_text() for t in os.listdir("/proc/self/task")]
    files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    own = {os.readlink(f) for f in files if os.path.lexists(f)}
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    print("addresses", sorted({r[1].split(":")[0] for r in rows if f"socket:[{r[9]}]" in own}))
    print("shared memory", any(t.startswith("dds.shm") for t in threads))
"""


@pytest.mark.ros
@wheels
@pytest.mark.parametrize("way", ["plain", "raw"])
def test_a_node_has_sockets_of_this_machine_only_and_shared_memory_for_raw_pictures_only(
    way: str, tmp_path: Path
) -> None:
    """What Fast DDS really does: it would silently leave out a profile that it does not like."""
    script = tmp_path / "sockets.py"
    script.write_text(SOCKETS)
    with own_domain() as domain, program([sys.executable, str(script), way], domain) as child:
        assert child.wait() == 0, child.said()
        assert f"addresses ['0100007F']\nshared memory {way == 'raw'}" in child.said()


def test_a_machine_without_ros_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"robot-rl\[ros\].*Humble or Jazzy"):
        prepare({})


@wheels
def test_a_sourced_ros_beside_that_of_pip_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "opt" / "ros"
    (other / "lib").mkdir(parents=True)
    (other / "lib" / "librcl.so").touch()
    for mixed in (
        {"ROS_DISTRO": "jazzy"},
        {"AMENT_PREFIX_PATH": f"{sys.prefix}:{other}"},
        {"LD_LIBRARY_PATH": f"/usr/lib:{other / 'lib'}"},
    ):
        with pytest.raises(ConfigError, match="two ROS installations are mixed"):
            refuse_mixture(mixed)
    refuse_mixture({"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""), "AMENT_PREFIX_PATH": sys.prefix})
    assert foreign_ros({}) == ""


@wheels
def test_a_command_in_a_mixed_shell_ends_with_the_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl", "status"], env={**os.environ, "ROS_DISTRO": "jazzy"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "two ROS installations are mixed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("domain", ["102", "-1", "x", "1.5", "٣"])
def test_a_domain_that_cannot_be_used_is_refused(domain: str) -> None:
    with pytest.raises(ConfigError, match="0 to 101"):
        domain_of(None, {"ROS_DOMAIN_ID": domain})


def test_the_domain_is_the_given_one_then_the_shells_then_the_default() -> None:
    assert domain_of(3, {"ROS_DOMAIN_ID": "5"}) == 3
    assert domain_of(None, {"ROS_DOMAIN_ID": "5"}) == 5
    assert domain_of(None, {}) == 0


@pytest.mark.parametrize(("name", "namespace"), [("a b", "/arm"), ("1a", ""), ("a", "arm"), ("a", "/arm/"), ("", "")])
def test_names_that_ros_would_not_take_are_refused(name: str, namespace: str) -> None:
    with pytest.raises(ConfigError):
        check_names(name, namespace)


@wheels
def test_a_child_of_another_environment_inherits_nothing_of_ours() -> None:
    env = child_environment({**os.environ, "LD_LIBRARY_PATH": f"{sys.prefix}/lib:/usr/local/lib", "MINE": "1"})
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in env
    assert env["LD_LIBRARY_PATH"] == "/usr/local/lib"
    assert env["MINE"] == "1"


@pytest.mark.ros
@with_ros
def test_a_domain_counts_those_who_use_it_and_is_free_when_they_left() -> None:
    with own_domain() as domain:
        assert participants_on(domain) == 0
        with open_node("someone", domain=domain) as node:
            assert node.get_name() == "someone"
            assert participants_on(domain) == 1
            assert free_domain(first=domain) != domain
            assert not arm_is_there("/arm", domain, 1.0)
        assert participants_on(domain) == 0
        assert free_domain(first=domain) == domain


NODE = """
import os, signal, sys
from robot_rl_hardware.ros.environment import is_local
from robot_rl_hardware.ros.node import open_node
with open_node("sleeper") as node:
    from std_msgs.msg import String
    node.create_subscription(String, "words", print, 1)
    print("is ready", is_local())
    if sys.argv[1] == "wait":
        signal.sigwait([signal.SIGINT])
    elif sys.argv[1] == "raise":
        raise SystemExit(7)
"""


@pytest.mark.ros
@with_ros
@pytest.mark.parametrize(("way", "status"), [("return", 0), ("raise", 7), ("wait", 0)])
def test_a_program_with_a_node_ends_without_aborting(way: str, status: int, tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n" + NODE)
    with own_domain() as domain, program([sys.executable, str(script), way], domain) as child:
        child.wait_for_words("is ready True")
        if way == "wait":
            child.send(2)
        assert child.wait() == status, child.said()
        wait_for(lambda: participants_on(domain) == 0, "the domain to be left")


def test_the_environment_of_tests_stays_on_this_machine() -> None:
    assert ros_environ(1)["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
