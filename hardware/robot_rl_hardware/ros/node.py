"""Opening a node and closing it in an order that never aborts: own context, one thread that spins, joined at the end.

A spinning thread that is not joined kills the interpreter at its exit ("terminate called without an active exception"),
so nothing here is a daemon and `close` always joins. Signals stay with the program: rclpy installs no handlers.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.ros import environment

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

_SPIN_S = 0.2
_JOIN_S = 10.0
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NAMESPACE = re.compile(r"/?|(/[A-Za-z_]\w*)+", re.ASCII)


def check_names(name: str, namespace: str) -> None:
    """Raise `ConfigError` for what ROS would not take as the name of a node or a namespace."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' cannot name a ROS node; allowed: letters, digits and underscores, no digit first")
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(f"'{namespace}' cannot be a ROS namespace; write it as /arm or /cell_1/arm")


class SpinningNode:
    """A node whose callbacks run, one at a time, in a thread of its own.

    Args:
        name: Of the node.
        namespace: Such as "/arm".
        domain: ROS domain; ROS_DOMAIN_ID when None.
        ros_arguments: As after `--ros-args`: remappings and parameters.
        raw_pictures: Whether it takes large pictures of another's topic (`environment.prepare`).
    """

    def __init__(
        self,
        name: str,
        namespace: str = "",
        domain: int | None = None,
        ros_arguments: Sequence[str] = (),
        *,
        raw_pictures: bool = False,
    ) -> None:
        check_names(name, namespace)
        environment.prepare(raw_pictures=raw_pictures)
        environment.domain_of(domain)
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions
        from rclpy.utilities import try_shutdown

        self._context = Context()
        arguments = ["--ros-args", *ros_arguments] if ros_arguments else []
        try:
            rclpy.init(
                args=arguments,
                context=self._context,
                domain_id=domain,
                signal_handler_options=SignalHandlerOptions.NO,
            )
            self.node: Node = rclpy.create_node(name, namespace=namespace, context=self._context)
        except Exception as e:  # rcl raises its own types for what a user mistyped: names, remappings, parameters
            try_shutdown(context=self._context)
            raise RobotError(
                f"the ROS node '{name}' could not be opened in the namespace '{namespace}': {e}. Look at what follows "
                f"--ros-args: {' '.join(ros_arguments) or 'nothing'}"
            ) from e
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=f"ros-{name}", daemon=False)
        self._closed = False

    def start(self) -> None:
        """Begin to run callbacks."""
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException, ShutdownException

        while not self._stopping.is_set() and self._context.ok():
            try:
                self._executor.spin_once(timeout_sec=_SPIN_S)
            except (ExternalShutdownException, ShutdownException):
                return
            except Exception:  # one bad callback must not silence the others
                if self._context.ok():
                    log.exception("a callback of the node %s failed", self.node.get_name())

    def close(self) -> None:
        """Stop the callbacks, then leave the domain. Safe to call twice; not from a callback."""
        if self._closed:
            return
        self._closed = True
        from rclpy.utilities import try_shutdown

        self._stopping.set()
        self._executor.wake()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                log.error("a callback of the node %s did not return within %.0f s", self.node.get_name(), _JOIN_S)
        self._executor.shutdown(timeout_sec=2)
        self.node.destroy_node()
        try_shutdown(context=self._context)


@contextlib.contextmanager
def open_node(
    name: str,
    namespace: str = "",
    domain: int | None = None,
    ros_arguments: Sequence[str] = (),
    *,
    raw_pictures: bool = False,
) -> Iterator[Node]:
    """Yield a node whose callbacks run in a thread; it is closed in order whatever happens.

    Args:
        name: Of the node.
        namespace: Such as "/arm".
        domain: ROS domain; ROS_DOMAIN_ID when None.
        ros_arguments: As after `--ros-args`.
        raw_pictures: Whether it takes large pictures of another's topic (`environment.prepare`).
    """
    spinning = SpinningNode(name, namespace, domain, ros_arguments, raw_pictures=raw_pictures)
    spinning.start()
    try:
        yield spinning.node
    finally:
        spinning.close()


def call(node: Node, kind: Any, name: str, request: Any, patience_s: float) -> Any:
    """Call a service from a thread other than the node's own and return the answer.

    Args:
        node: A node that spins.
        kind: Type of the service.
        name: Of the service, relative to the node or absolute.
        request: What to ask.
        patience_s: How long to wait for the service to appear, and again for its answer.

    Raises:
        RobotError: Nobody offers the service, or nobody answers.
    """
    client = node.create_client(kind, name)
    try:
        if not client.wait_for_service(timeout_sec=patience_s):
            raise RobotError(
                f"nobody offers the service {client.srv_name} within {patience_s:.1f} s; start the arm node with: "
                "robot-rl node arm. If it runs, compare domain and namespace"
            )
        future = client.call_async(request)
        wait_until(future.done, patience_s, f"an answer of {client.srv_name}")
        return future.result()
    finally:
        node.destroy_client(client)


def wait_until(condition: Callable[[], bool], patience_s: float, what: str, poll_s: float = 0.005) -> None:
    """Wait, outside of callbacks, until a condition holds.

    Raises:
        RobotError: It did not within `patience_s`.
    """
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline_s:
            raise RobotError(f"waited {patience_s:.1f} s in vain for {what}")
        time.sleep(poll_s)


def arm_is_there(namespace: str, domain: int | None = None, patience_s: float = 3.0) -> bool:
    """Return whether an arm node answers in a namespace of a domain. Joins the domain for up to `patience_s`.

    A domain that no program of this machine uses costs no time, while discovery is restricted to this machine.
    """
    number = environment.domain_of(domain)
    environment.prepare()
    if environment.is_local() and not environment.participants_on(number):
        return False
    topic = f"{namespace.rstrip('/')}/status"
    with open_node("arm_finder", domain=number) as node, contextlib.suppress(RobotError):
        wait_until(lambda: node.count_publishers(topic) > 0, patience_s, "an arm node")
        return True
    return False
