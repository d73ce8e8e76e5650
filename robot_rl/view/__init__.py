"""A running session in the browser, served by a process of its own: the control process never meets a browser."""
