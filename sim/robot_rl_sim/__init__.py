"""MuJoCo twins behind the same interfaces as the drivers."""

from robot_rl_sim.gl import choose_gl

# MuJoCo reads MUJOCO_GL while it is imported, which every other module of this package does.
choose_gl()
