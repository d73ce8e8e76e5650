"""Everything that touches a device or ROS 2."""
