"""Other people's formats: recorded episodes as their data sets, and their data sets as recorded episodes.

What goes out: LeRobot (`lerobot_write`), robomimic (`robomimic`). What comes in: LeRobot (`lerobot_read`), pickles of
SERL and HIL-SERL (`serl`, without running anything that is in them), ROS 2 bags (`bag`). A file or folder gets its name
when it is complete, and nothing is ever overwritten. The extra `export` brings the libraries.
"""
