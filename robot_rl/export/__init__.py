"""A trained policy for machines without this package: an ONNX or torch program, its description and a small runner.

Import from the modules: `writer` exports, `acting` lets an export act in an environment, `run_policy` is the runner.
"""
