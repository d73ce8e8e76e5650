"""Rewards that are learnt or given by a person: labelled pictures, success classifiers, and what judges an episode."""
