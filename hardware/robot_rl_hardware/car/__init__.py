"""The RC car's hardware: the VESC on a serial port, the deadman, the watchdog, and `car.yaml` with its calibration."""
