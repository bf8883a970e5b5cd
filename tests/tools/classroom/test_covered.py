"""Code whose figures' words are covered: nothing to read, and the same when it is run."""

import ast

import pytest

from tools.classroom.covered import names_that_draw, with_covered_words
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


def readable(code, drawing=()):
    """The strings of several words that are left, in their order."""
    new = with_covered_words(code, drawing)
    found = [n.value for n in ast.walk(ast.parse(new)) if isinstance(n, ast.Constant)]
    return [text for text in found if isinstance(text, str) and " " in text]


def test_every_text_of_a_drawing_call_is_covered_and_its_keys_are_not():
    code = """plots.figure(
    plots.bars(
        {"the horn": told["the horn"], **{f"no {p} at all": v for p, v in some["as it is"]}},
        label="logits that are lost",
        titles=["a map", "horn"] if name == "the horn" else [],
    )
)
rest = plots.calibration_bins(sure, "ten of them")
"""
    assert sorted(readable(code)) == ["as it is", "ten of them", "the horn", "the horn"]
    assert '"horn"' in with_covered_words(code)


def test_a_function_of_the_lesson_that_draws_is_a_drawing_call():
    cells = [
        "def climb(title, alt):\n    plots.figure(plots.lines(x, title=title), alt)",
        "from xai_course.plots import decision_chart",
        "decision_chart(answers)",
    ]
    drawing = names_that_draw(cells)
    assert drawing == {"climb", "decision_chart", "answers"}
    code = 'climb("One learns soonest", "Two lines.")\nanswers = [("which one?", "no map")]\n'
    assert readable(code) == ["One learns soonest", "Two lines.", "which one?", "no map"]
    assert readable(code, drawing) == []


@pytest.mark.parametrize(
    "finding",
    [
        'print(f"the logit falls by {x}")',
        'print("they differ by less than 0.1:", x)',
        'print(f"A is {x} better", end=" ")',
        'display(Markdown("ReLU is **refuted** here"))',
        'TABLE = "ReLU is **confirmed** here"\ndisplay(Markdown(TABLE.format(x)))',
        'told = f"{x} are slower than {y}"\nprint(told)',
    ],
)
def test_a_printed_text_that_says_how_a_comparison_came_out_is_covered(finding):
    assert [text for text in readable(finding) if len(text) > 1] == []


@pytest.mark.parametrize(
    "label",
    [
        'print(f"share named right {x}", "of 200 images")',
        'print(f"{x:.2f} logits, largest difference {y:.0e}")',
        'guess = {"the horn is ahead in": 3}',
        'def mean(x):\n    """The mean, which is larger."""\n    return x',
        'if name == "more or less":\n    print(name)',
        'print(told["falls by, in %"])',
    ],
)
def test_what_is_measured_stays_readable(label):
    assert with_covered_words(label) == label


def test_words_that_were_changed_by_hand_are_refused():
    with pytest.raises(ValueError, match="base64"):
        plots.words("A beetle!")
    assert plots.words("QSBiZWV0bGU=") == "A beetle"
