"""Everything before rclpy is imported: which ROS there is, where it looks for peers, where it logs.

Two ROS installations in one process crash at random, so a mixed one is refused before anything of it is loaded. Peers
are looked for on this machine only unless the user says otherwise. What the user has set keeps its meaning.

Fast DDS talks over UDP here. Its shared memory is faster for large messages, but a program that is killed can leave it
in a state in which others go deaf or dumb (Fast-DDS issues 5469 and 4728): a killed actor must not do that to an arm's
node. All that we send fits into datagrams. Only a program that takes raw pictures of another's topic gets shared memory
too. Where ROS is told to stay on this machine, it replaces the transports of a profile by its own, shared memory among
them (rmw_fastrtps issue 676), so our profiles say that themselves and ROS's own variable is put out of action.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from robot_rl.errors import ConfigError, MissingDependency

LARGEST_DOMAIN = 101
"""Above it the ports of a domain collide with those that Linux hands out to anyone (32768 to 60999)."""
UDP, SHARED_MEMORY, LOCAL_UDP, LOCAL_SHARED_MEMORY = (
    Path(__file__).with_name(name) for name in ("udp.xml", "shm.xml", "udp_local.xml", "shm_local.xml")
)
WHEELS = "ros_wheels_bootstrapper"
_BOOTSTRAPPED = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
_LIBRARY = "librcl.so"
_RANGE, _LOCALHOST_ONLY = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
_PROFILE_NAMES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def prepare(environ: dict[str, str] | os._Environ[str] | None = None, *, raw_pictures: bool = False) -> None:
    """Set what rclpy and Fast DDS read at their start, and refuse what cannot work. Calling it again is harmless.

    Args:
        environ: The process's own environment by default.
        raw_pictures: Whether the program takes pictures of a megabyte from another's topic, which need shared memory.
            It counts before the first node of a process only.

    Raises:
        ConfigError: Two ROS installations are mixed, or the domain is out of range.
        MissingDependency: There is no rclpy.
    """
    env = os.environ if environ is None else environ
    refuse_mixture(env)
    if importlib.util.find_spec("rclpy") is None:
        raise MissingDependency(
            "ROS 2 (rclpy)",
            "driving a robot",
            'pip install "robot-rl[ros]" on x86-64 Linux; elsewhere install ROS 2 Humble or Jazzy and source its setup',
        )
    check_domain(env.get("ROS_DOMAIN_ID", ""))
    local = is_local(env)
    if _transports_are_ours(env):
        if local:
            env[_RANGE] = "SYSTEM_DEFAULT"
            env.pop(_LOCALHOST_ONLY, None)
            profile = LOCAL_SHARED_MEMORY if raw_pictures else LOCAL_UDP
        else:
            profile = SHARED_MEMORY if raw_pictures else UDP
        for name in _PROFILE_NAMES:  # Fast DDS 2 reads the first, Fast DDS 3 the second
            env[name] = str(profile)
    if not env.get(_RANGE) and not env.get(_LOCALHOST_ONLY):  # a user's own profile, middleware or list of peers
        env[_RANGE] = "LOCALHOST"
        if env.get("ROS_DISTRO", "") == "humble":  # the only name that it knows; later ones warn of it
            env[_LOCALHOST_ONLY] = "1"
    if not env.get("ROS_LOG_DIR") and not env.get("ROS_HOME"):
        env["ROS_LOG_DIR"] = str(_log_folder(env))


def is_local(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether peers are looked for on this machine only: unless the user says otherwise."""
    env = os.environ if environ is None else environ
    if env.get("ROS_STATIC_PEERS"):
        return False
    if env.get(_LOCALHOST_ONLY):  # ROS heeds it above the newer one
        return env[_LOCALHOST_ONLY] == "1" or env.get(_RANGE) == "LOCALHOST"
    ours = {env.get(name) for name in _PROFILE_NAMES} & {str(LOCAL_UDP), str(LOCAL_SHARED_MEMORY)}
    return env.get(_RANGE, "") in ("", "LOCALHOST") or (env[_RANGE] == "SYSTEM_DEFAULT" and bool(ours))


def _transports_are_ours(environ: Mapping[str, str]) -> bool:
    """Return whether ROS runs on Fast DDS, and on no profile of the user's."""
    ours = {None, "", *map(str, (UDP, SHARED_MEMORY, LOCAL_UDP, LOCAL_SHARED_MEMORY))}
    theirs = {environ.get(name) for name in _PROFILE_NAMES} - ours
    return not theirs and "fastrtps" in (environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp")


def _log_folder(environ: Mapping[str, str]) -> Path:
    """Return a folder that can be written to, for the log that each node keeps by itself."""
    base = Path(environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".local" / "state")
    folder = base / "robot_rl" / "ros"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / f"robot_rl_ros_{os.getuid()}"


def refuse_mixture(environ: Mapping[str, str]) -> None:
    """Raise `ConfigError` when pip's ROS meets a sourced one, which crashes at random."""
    if importlib.util.find_spec(WHEELS) is None:
        return
    foreign = foreign_ros(environ)
    if foreign:
        raise ConfigError(
            f"two ROS installations are mixed: this Python environment ({sys.prefix}) has ROS 2 from pip, and "
            f"{foreign} is sourced too. Together they crash at random. Start a new shell without sourcing ROS, or use "
            'an environment made without the extra "ros"'
        )


def foreign_ros(environ: Mapping[str, str]) -> str:
    """Return what shows that a ROS installation outside of this Python environment is in use; empty if none is."""
    if environ.get("ROS_DISTRO"):
        return f"ROS 2 {environ['ROS_DISTRO']}"
    prefix = Path(sys.prefix).resolve()
    for name, below in (("AMENT_PREFIX_PATH", "lib"), ("LD_LIBRARY_PATH", "")):
        for entry in filter(None, environ.get(name, "").split(":")):
            folder = Path(entry, below)
            if (folder / _LIBRARY).exists() and not folder.resolve().is_relative_to(prefix):
                return entry
    return ""


def check_domain(domain: str | int) -> None:
    """Raise `ConfigError` unless a ROS domain, as a number or text, may be used; empty is the default domain 0."""
    text = str(domain).strip()
    if text and not (text.isascii() and text.isdecimal() and int(text) <= LARGEST_DOMAIN):
        raise ConfigError(
            f"the ROS domain is {text!r}; allowed: a whole number from 0 to {LARGEST_DOMAIN} (above it the ports of a "
            "domain collide with those that Linux gives to other programs). Set ROS_DOMAIN_ID or --domain"
        )


def domain_of(domain: int | None, environ: Mapping[str, str] | None = None) -> int:
    """Return the domain that is meant: the given one, else ROS_DOMAIN_ID, else 0."""
    text = str(domain) if domain is not None else (os.environ if environ is None else environ).get("ROS_DOMAIN_ID", "")
    check_domain(text)
    return int(text or 0)


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a program of another Python environment, without what ROS from pip left in ours.

    Its own bootstrap must run, and must not find our libraries: both marks are removed. A user's own library path is
    kept but for entries inside this Python environment.
    """
    env = dict(os.environ if environ is None else environ)
    if importlib.util.find_spec(WHEELS) is None:
        return env
    env.pop(_BOOTSTRAPPED, None)
    prefix = Path(sys.prefix).resolve()
    kept = [e for e in env.pop("LD_LIBRARY_PATH", "").split(":") if e and not Path(e).resolve().is_relative_to(prefix)]
    if kept:
        env["LD_LIBRARY_PATH"] = ":".join(kept)
    return env


def participants_on(domain: int, tables: Iterable[Path] = (Path("/proc/net/udp"), Path("/proc/net/udp6"))) -> int:
    """Return how many ROS programs of this machine use a domain: each holds one of the domain's discovery ports.

    It reads the kernel's table of sockets, so it takes no time and joins no domain. Programs of other machines, and of
    other network namespaces, are not seen.
    """
    check_domain(domain)
    first = 7400 + 250 * domain + 10
    wanted = range(first, first + 2 * 120, 2)
    ports: set[int] = set()
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        ports.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return len(ports & set(wanted))


def free_domain(beside: Iterable[int] = (), first: int = 1) -> int:
    """Return a domain that nobody on this machine uses at the moment, searched upwards from `first`.

    Raises:
        ConfigError: All are taken.
    """
    taken = set(beside)
    for step in range(LARGEST_DOMAIN):
        domain = (first - 1 + step) % LARGEST_DOMAIN + 1
        if domain not in taken and not participants_on(domain):
            return domain
    raise ConfigError(f"all ROS domains from 1 to {LARGEST_DOMAIN} are in use on this machine; end some ROS programs")
