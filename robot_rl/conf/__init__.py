"""The configuration tree; Hydra finds it because this file makes the folder a package."""
