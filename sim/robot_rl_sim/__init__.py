"""MuJoCo twins behind the same interfaces as the drivers."""
