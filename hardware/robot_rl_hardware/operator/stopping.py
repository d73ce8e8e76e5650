"""A stop that is asked for again and again until the arm says that it is stopped."""

from __future__ import annotations

from collections.abc import Callable

AGAIN_S = 0.1
CONFIRM_S = 1.0
ENDED = ("STOPPED", "FAULT", "CLOSED")
"""Modes in which nothing moves and nothing more can be asked."""


class StopRequest:
    """Sends a stop until it is confirmed, and says how that stands.

    Args:
        send: Asks the arm to stop, with the reason in words.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._reason = ""
        self._since_s = self._sent_s = 0.0
        self._count = 0

    @property
    def pending(self) -> bool:
        """Whether a stop was asked for and is not confirmed."""
        return bool(self._reason)

    def press(self, reason: str, now_s: float) -> None:
        """Ask for a stop, at once."""
        if not self._reason:
            self._reason, self._since_s, self._count = reason, now_s, 0
        self._again(now_s)

    def tick(self, mode: str, now_s: float) -> str:
        """Ask again while it is not confirmed, and return how it stands, in words; empty if none was asked for.

        Args:
            mode: Of the arm's newest status.
            now_s: Monotonic time.
        """
        if not self._reason:
            return ""
        # A status may be older than the request, so the first three are sent whatever it says.
        if mode in ENDED and self._count >= 3:
            self._reason = ""
            return ""
        if now_s - self._sent_s >= AGAIN_S:
            self._again(now_s)
        if now_s - self._since_s > CONFIRM_S:
            return "STOP NOT CONFIRMED: USE THE EMERGENCY STOP"
        return "stop asked for"

    def _again(self, now_s: float) -> None:
        self._send(self._reason)
        self._sent_s = now_s
        self._count += 1
