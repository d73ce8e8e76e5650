"""What is to be done: observations, reward, success, reset, limits."""
