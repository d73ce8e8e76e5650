"""Suggestions for a mistyped word."""

from __future__ import annotations

import pytest

from robot_rl.errors import nearest


@pytest.mark.parametrize(
    ("word", "allowed", "expected"),
    [
        ("arn", ["arm", "car", "camera"], "arm"),  # as like 'car' by ratio: what begins alike wins
        ("arn", ["camera", "car", "arm"], "arm"),
        ("pick_cub", ["peg_insert", "pick_cube"], "pick_cube"),
    ],
)
def test_the_likest_word_is_suggested_and_of_two_the_one_that_begins_alike(
    word: str, allowed: list[str], expected: str
) -> None:
    assert nearest(word, allowed) == f" Did you mean '{expected}'?"


@pytest.mark.parametrize("allowed", [[], ["zebra"]])
def test_nothing_is_suggested_where_nothing_is_like_it(allowed: list[str]) -> None:
    assert nearest("quick", allowed) == ""
