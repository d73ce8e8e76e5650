"""Pretraining an encoder for driving on logs of navigation: logs as files, goals in hindsight, implicit Q-learning."""
