"""Numbers in words."""

import pytest

from xai_course.report.words import (
    chance_words,
    least_count,
    precise,
    short_source,
    without_arguments,
)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        *((1.0, "100 %"), (0.9999, "100 %"), (0.5, "50 %"), (0.144, "14 %"), (0.0996, "10 %")),
        *((0.0352, "3.5 %"), (0.004, "0.4 %"), (0.001, "0.1 %"), (0.0004, "less than 0.1 %")),
    ],
)
def test_chance_in_percent(share, words):
    assert chance_words(share) == words


def test_how_many_in_a_row_no_coin_gives():
    assert least_count(0.05) == 5  # 1 in 32
    assert least_count(0.05 / 2) == 6


def test_small_numbers_are_not_zero():
    assert precise(0.4567) == "0.46"
    assert precise(-0.004) == "−0.004"
    assert precise(0.0) == "0.00"


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ("torchvision:resnet50", "torchvision:resnet50"),
        ("torchvision:resnet50:lists/mine/w.pth", "torchvision:resnet50:w.pth"),
        ("lists/mine/net.py:build", "net.py:build"),
        (r"D:\lists\mine\net.py:build", "net.py:build"),
        ("data/checkpoints/beetle_net", "beetle_net"),
        ("lists/mine/photos/", "photos"),
    ],
)
def test_paths_of_the_machine_are_not_shown(source, short):
    assert short_source(source) == short


def test_sentences_with_arguments_are_left_out():
    assert without_arguments("got A; must be B. Pass it as model=") == "got A; must be B."
    assert without_arguments("got A; must be B.") == "got A; must be B."
    assert without_arguments("pass layer=") == "pass layer="
    assert without_arguments("got A. Name them (branches=), or not.") == "got A."
    assert without_arguments("see f(x=1). Yes.") == "see f(x=1). Yes."
