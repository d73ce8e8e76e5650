"""Runs ordinary ROS 2 launch files where only the wheels of ROS are installed.

A file in `launch/` runs unchanged under `ros2 launch` on a system ROS and under `robot-rl launch` here, as long as it
keeps to a subset of launch's vocabulary (`vocabulary.NAMES`). The parts: values that are worked out when the file runs
(`substitutions`), what a file can ask for (`actions`), reading a file (`files`), a child process and the ladder that
ends it (`children`), and the loop over all of them (`runner`).
"""
