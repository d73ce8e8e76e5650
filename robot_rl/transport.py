"""The actor-learner link over ZMQ: blocks one way, policy weights and status the other, at any time of an episode.

Data goes from the actors' DEALER to the learner's ROUTER, numbered, confirmed and sent again after any loss. Weights
go from the learner's XPUB to SUB sockets that keep only the newest. Each end has one thread that owns its sockets.
"""

from robot_rl.link import ActorSide, LearnerSide, LinkConfig, Received, session_spec
from robot_rl.link_actor import ActorLink
from robot_rl.link_learner import LearnerLink

__all__ = ["ActorLink", "ActorSide", "LearnerLink", "LearnerSide", "LinkConfig", "Received", "session_spec"]
