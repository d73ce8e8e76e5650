"""A session of the twin as a process of its own: nobody acts, and each episode's end is printed as a row of JSON.

python session_child.py FOLDER [CAMERA ...]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.console import show_session


def main() -> None:
    """Run episodes until killed."""
    folder, cameras = Path(sys.argv[1]), sys.argv[2:]
    settings = compose(["task=reach", f"robot.cameras=[{','.join(cameras)}]"]).settings()
    env = AssistedEnv(make_env(settings))
    show_session(env, folder, "eval")
    still = np.zeros(env.env.task.action_spec.size, np.float32)
    episode = 0
    while True:
        env.reset(seed=episode, facts={"episode": episode})
        terminated, done, info = False, False, {}
        while not done:
            time.sleep(0.02)
            _, _, terminated, truncated, info = env.step(still, policy_version=7)
            done = terminated or truncated
        row = {"episode": episode, "success": bool(info["success"]), "terminated": terminated}
        sys.stdout.write(json.dumps({**row, "reason": info["reason"], "verdict": info["verdict"]}) + "\n")
        sys.stdout.flush()
        episode += 1
        while env.paused:
            env.poll()
            time.sleep(0.02)


if __name__ == "__main__":
    main()
