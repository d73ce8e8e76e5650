"""Frozen image encoders: what turns a camera's picture into a small map of features, once, when it arrives.

Import from the modules: `encoder` for use, `program` for what a trunk is, `convert` for where trunks come from.
"""
