"""Teach a real robot a skill: environment, actor, transport, replay and learner."""

__version__ = "0.1.0"
