"""Everything of ROS 2: the only package that imports rclpy and ROS messages.

Importing a module from here imports nothing of ROS: a machine without ROS still has the sentences that say so, and
`environment.prepare` must speak before rclpy is loaded.
"""
