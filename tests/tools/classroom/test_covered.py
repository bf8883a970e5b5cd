"""Code whose figures' words are covered: nothing to read, and the same when it is run."""

import pytest

from tools.classroom.covered import with_covered_words
from xai_course import plots

CELL = """%matplotlib inline
ß, rate, names = "größer als", 0.125, {"a b": "horn × 2"}
NOTE = "one note for two figures"
title = f"{names['a b']}: right on {rate:.1%} of {{all}}" if rate else "no beetle at all"
show(1, title=title, alt="The horn gains, "
    f"by {rate:{'.2f'}} and {ß!r}.", caption=NOTE, size="left as it is")
show(2, title="A horn", alt="Two: " + " ".join(f"{name} rises." for name in names), caption=None)
"""


def shown(source):
    found = []
    space = {"show": lambda *given, **named: found.append((given, named)), "plots": plots}
    exec(source.replace("%matplotlib inline", ""), space)
    return found


def test_a_covered_cell_does_the_same_and_its_words_cannot_be_read():
    new = with_covered_words(CELL)
    assert shown(new) == shown(CELL)
    for words in ("gains", "right on", "rises", "one note", "A horn", "no beetle"):
        assert words in CELL
        assert words not in new
    assert 'size="left as it is"' in new
    assert ': "horn × 2"' in new
    assert new.startswith("%matplotlib inline\n")


def test_code_without_figures_stays_as_it_is():
    code = 'print("The biases add more", end=" or not ")\n'
    assert with_covered_words(code) == code


def test_words_that_were_changed_by_hand_are_refused():
    with pytest.raises(ValueError, match="base64"):
        plots.words("A beetle!")
    assert plots.words("QSBiZWV0bGU=") == "A beetle"
