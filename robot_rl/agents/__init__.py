"""Agents: the JAX half of the learner. Import from the modules: `config`, `rlpd`, `bc`."""
