"""Teach a real robot a skill: environment, actor, transport, replay and learner.

Imported after gymnasium, it registers its environments there, see `robot_rl.registration`.
"""

import sys

__version__ = "0.1.0"

if "gymnasium.envs.registration" in sys.modules:
    import robot_rl.registration  # noqa: F401 - light: gymnasium is there already
