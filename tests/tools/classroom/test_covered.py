"""Code whose figures' words are covered: nothing to read, and the same when it is run."""

import ast

import pytest

from tools.classroom.covered import decoding, names_that_draw, with_covered_words
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
    space = {"show": lambda *given, **named: found.append((given, named))}
    exec(source.replace("%matplotlib inline", ""), space)
    return found


def test_a_covered_cell_does_the_same_and_its_words_cannot_be_read():
    words = ["of a cell before"]
    new = with_covered_words(CELL, words)
    assert shown(f"{decoding(words, 'Words.')}\n{new}") == shown(CELL)
    for part in ("gains", "right on", "rises", "one note", "A horn", "no beetle"):
        assert part in CELL
        assert part not in new + decoding(words, "Words.")
    assert 'size="left as it is"' in new
    assert ': "horn × 2"' in new
    assert new.startswith("%matplotlib inline\n")


def readable(code, drawing=()):
    """The strings of several words that are left, in their order."""
    new = with_covered_words(code, [], drawing)
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
    assert '"horn"' in with_covered_words(code, [])


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
    assert with_covered_words(label, []) == label


CHINESE = """title = f"{rate:.1%} 认对" if rate else "一只甲虫也没有"
show(1, title=title, alt="角让 logit 上升 "
    f"{rate:{'.2f'}}。", caption="两幅图，一个说明", size="照原样留下")
plots.figure(plots.bars({"角": 1, "触角": 2}, label="失去的 logit"), "图中有两条", None)
"""


def test_chinese_words_are_covered_and_single_ones_are_not():
    words = []
    new = with_covered_words(CHINESE, words)
    assert words == [
        "{0:.1%} 认对",
        "一只甲虫也没有",
        "角让 logit 上升 {0:{1}}。",
        "两幅图，一个说明",
        "失去的 logit",
        "图中有两条",
    ]
    assert all(part in new for part in ('size="照原样留下"', '"角": 1', '"触角": 2'))
    before, after = (f"rate, plots = 0.125, Drawn()\n{code}" for code in (CHINESE, new))
    drawn = (
        "from types import SimpleNamespace\nDrawn = lambda: SimpleNamespace(figure=show, bars=dict)"
    )
    assert shown(f"{drawn}\n{decoding(words, 'Words.')}\n{after}") == shown(f"{drawn}\n{before}")


@pytest.mark.parametrize(
    ("code", "is_covered"),
    [
        ('print(f"盖住腿：logit 下降 {x} 到 {y}")', True),
        ('print("两者之差小于 0.001：", x)', True),
        ('display(Markdown("ReLU **被否定**"))', True),
        ('print(f"BeetleNet 认对 {x} 只，共 {y} 只")', False),
        ('print("更新之后的权重", x)', False),
    ],
)
def test_a_chinese_text_that_says_how_a_comparison_came_out_is_covered(code, is_covered):
    assert (with_covered_words(code, []) != code) == is_covered


def test_words_that_were_changed_by_hand_are_refused():
    with pytest.raises(ValueError, match="base64"):
        plots.words("A beetle!")
    assert plots.words("QSBiZWV0bGU=") == "A beetle"
