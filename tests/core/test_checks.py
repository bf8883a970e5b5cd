"""Checks of plain arguments: what they accept, and the one form of their errors."""

import math
from fractions import Fraction

import numpy as np
import pytest

from xai_course.core import check_choice, check_count, check_number


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_whole_numbers(value):
    check_count("steps", value)
    check_count("steps", value, least=value, most=value)


@pytest.mark.parametrize("value", [0, -1, 2.0, 2.5, "2", None, True, math.nan])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(ValueError, match=r"^steps: got ") as refused:
        check_count("steps", value)
    assert str(refused.value) == f"steps: got {value!r}; must be a whole number, at least 1."


def test_a_count_has_limits():
    check_count("block", 0, least=0, most=2)
    for value in (-1, 3):
        with pytest.raises(ValueError, match=rf"^block: got {value}; .* number, from 0 to 2\.$"):
            check_count("block", value, least=0, most=2)


@pytest.mark.parametrize("value", [0, -2.5, 1e30, np.float32(0.5), Fraction(1, 3)])
def test_numbers(value):
    check_number("noise", value)
    check_number("noise", value, least=value, most=value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, 1j])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=r"^noise: got ") as refused:
        check_number("noise", value)
    assert str(refused.value) == f"noise: got {value!r}; must be a finite number."


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        ({"least": 0}, [0, 5], [-0.1], "at least 0"),
        ({"most": 1.5}, [1.5, -9], [1.6], "at most 1.5"),
        ({"above": 0}, [0.1], [0, -1], "above 0"),
        ({"below": 1}, [0.9], [1, 2], "below 1"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "above 0 and below 1"),
        ({"least": 0, "below": 1}, [0, 0.5], [1, -1], "at least 0 and below 1"),
        ({"least": 0, "most": 1}, [0, 1], [1.1, -0.1], "at least 0 and at most 1"),
    ],
)
def test_numbers_have_limits(limits, inside, outside, words):
    for value in inside:
        check_number("level", value, **limits)
    for value in outside:
        with pytest.raises(ValueError, match=r"^level: got ") as refused:
            check_number("level", value, **limits)
        assert str(refused.value) == f"level: got {value!r}; must be a finite number, {words}."


def test_choices():
    check_choice("norm", "inf", ["inf", "2"])
    check_choice("norm", 2, (number for number in (1, 2)))
    with pytest.raises(ValueError, match=r"^norm: got '1'; must be one of inf, 2\.$"):
        check_choice("norm", "1", ["inf", "2"])
    with pytest.raises(ValueError, match=r"^norm: got 3; must be one of 1, None\.$"):
        check_choice("norm", 3, [1, None])
