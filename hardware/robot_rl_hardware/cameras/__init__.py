"""Cameras behind one interface: RealSense, V4L2 and video files; ROS topics and the twin's join them under `ros`."""
