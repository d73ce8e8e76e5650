"""Driving an arm at 1 kHz in a process of its own: the same loop for hardware and for the twin in real time."""
