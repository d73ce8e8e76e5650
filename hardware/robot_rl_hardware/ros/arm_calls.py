"""A person's word to an arm's node: one question or one request, then gone."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

from robot_rl.errors import ConfigError, RobotError, WireError
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.environment import domain_of
from robot_rl_hardware.ros.node import SpinningNode, call, wait_until


class ArmCalls:
    """The status and the services of one arm's node, from a program that lives for a moment.

    Args:
        namespace, domain: Where the arm's node is.
        patience_s: How long to look for it, and to wait for each answer.
    """

    def __init__(self, namespace: str = "/arm", domain: int | None = None, patience_s: float = 10.0) -> None:
        if not 0.0 < patience_s <= 600.0:
            raise ConfigError(f"--wait is {patience_s}; allowed: above 0, up to 600 seconds")
        self._namespace, self._domain, self._patience_s = namespace, domain, patience_s
        self._newest: dict[str, Any] = {}
        self._spinning: SpinningNode | None = None

    def __enter__(self) -> ArmCalls:
        from std_msgs.msg import String

        self._spinning = SpinningNode("operator_call", self._namespace, self._domain)
        node = self._spinning.node
        self._stop = node.create_publisher(String, "stop_request", qos.request(10))
        node.create_subscription(String, "status", self._on_status, qos.latched())
        self._spinning.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spinning is not None:
            self._spinning.close()

    def _on_status(self, message: Any) -> None:
        try:
            self._newest = messages.from_text(message)
        except WireError:
            return

    def status(self) -> dict[str, Any]:
        """Return the newest status of the arm's node.

        Raises:
            RobotError: No arm node is there.
        """
        try:
            wait_until(lambda: bool(self._newest), self._patience_s, "a status")
        except RobotError as e:
            raise RobotError(
                f"no arm node answers at {self._namespace} in ROS domain {domain_of(self._domain)} within "
                f"{self._patience_s:.0f} s; start one with: robot-rl node arm. If one runs, compare --namespace and "
                "--domain"
            ) from e
        return self._newest

    def trigger(self, service: str) -> tuple[bool, str]:
        """Call one of recover, acknowledge, stop, home, reset; return whether it was done, and what the node said."""
        from std_srvs.srv import Trigger

        self.status()
        assert self._spinning is not None  # entered
        answer = call(self._spinning.node, Trigger, service, Trigger.Request(), self._patience_s)
        return bool(answer.success), str(answer.message)

    def stop(self, reason: str) -> tuple[bool, str]:
        """Stop the arm on both ways that there are, topic and service; return whether it says that it is stopped."""
        from std_msgs.msg import String

        assert self._spinning is not None  # entered
        text = String(data=reason)

        def heard() -> bool:
            return self._stop.get_subscription_count() > 0 or bool(self._newest)

        try:
            wait_until(heard, self._patience_s, "an arm node")
        except RobotError:
            self.status()  # says what to do
        self._stop.publish(text)
        with contextlib.suppress(RobotError):  # the topic carries the reason; the service follows whatever came of it
            wait_until(lambda: self._newest.get("mode") == "STOPPED", 0.3, "the stop")
        done, message = self.trigger("stop")
        try:
            wait_until(lambda: self._newest.get("mode") in ("STOPPED", "FAULT", "CLOSED"), self._patience_s, "the stop")
        except RobotError:
            return False, f"the node answered '{message}', but says that the arm is in {self._newest.get('mode')}"
        return done, message

    def sentence(self, found: dict[str, Any]) -> str:
        """Return a status in words."""
        reason = f" ({found['reason']})" if found.get("reason") else ""
        left = found.get("recoveries_left", "?")
        return (
            f"{self._namespace} in ROS domain {domain_of(self._domain)}: {found.get('mode', '?')}{reason}; driver "
            f"{found.get('driver', '?')}, task {found.get('task', '?')}, {left} recoveries left"
        )
