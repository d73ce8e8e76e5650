"""`python -m robot_rl` is `robot-rl`."""

from robot_rl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
