"""Grippers: each is served by a process of its own, because their calls take long and hold Python's lock."""
