"""What a person at the cell uses: keys, a gamepad's stop button, jogging, touching corners. No ROS in here."""
