"""What the page shows of a session, as JSON can hold it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from robot_rl.jsonl import plain
from robot_rl.view.feed import Feed

SILENT_S = 2.0
_SHOWN_EVENTS = 12


def session_state(feed: Feed) -> dict[str, Any]:
    """Return the newest of a session.

    `status` is "live", "silent" when it has not spoken for a while, which it does not while it resets or waits, or
    "none" when there is no session.
    """
    step = feed.step
    silent_s = time.monotonic() - feed.heard_s
    status = "none" if not feed.live else "silent" if step is None or silent_s > SILENT_S else "live"
    shown: dict[str, Any] = {
        "status": status,
        "why": feed.why,
        "silent_s": round(silent_s) if status == "silent" else 0,
        "cameras": list(feed.images),
    }
    if step is None:
        return {**shown, "session": feed.address.session if feed.address else ""}
    values = plain(dataclasses.asdict(step))
    assert isinstance(values, dict)  # a dataclass as JSON
    left_s = max(0, step.max_steps - step.step) * step.period_s if step.max_steps else None
    # Stamps change with every message; what is the same need not be sent again.
    values = {name: value for name, value in values.items() if name not in ("stamp_s", "events")}
    events = [[n, t, episode, rule] for n, t, episode, rule in list(feed.events)[-_SHOWN_EVENTS:]]
    return {**values, **shown, "left_s": left_s, "log": events}
