"""The RC car's twin."""
