"""Episodes on disk: one MCAP file each, with ROS 2 messages, that survives a kill at any byte.

`recorder` writes them beside a control loop, `reader` reads them, whole or cut, `repair` completes cut ones, and
`replay_source` turns them into what a learner takes. The extra `data` brings the libraries; nothing here needs ROS.
"""
