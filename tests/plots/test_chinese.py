"""Figures in Chinese: a font that has every character, and English figures as they were."""

import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from tools.assets.chinese_font import catalogues, is_han
from xai_course import plots
from xai_course.core.translation import use_language
from xai_course.plots.style import FONT, FONT_FILE, broken, fonts, in_words, png

LETTERS = set(TTFont(FONT_FILE).getBestCmap())


def test_the_font_has_every_chinese_character_of_every_catalogue():
    assert catalogues()
    for path in catalogues():
        used = {letter for letter in path.read_text(encoding="utf-8") if is_han(letter)}
        missing = sorted(letter for letter in used if ord(letter) not in LETTERS)
        assert missing == [], f"{path.name}: run python -m tools.assets.chinese_font"


def test_the_font_is_small_has_a_name_of_its_own_and_its_licence_beside_it():
    assert FONT_FILE.stat().st_size < 600_000
    names = {record.nameID: str(record) for record in TTFont(FONT_FILE)["name"].names}
    assert (names[1], names[4]) == (FONT, FONT)
    assert not any("Noto" in names[number] for number in (1, 3, 4, 6))
    licence = FONT_FILE.with_name("LICENSE.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "Reserved Font Name" in licence


def _figures() -> dict[str, Figure]:
    """Return a figure of each kind that has words of its own."""
    image, relevance = np.full((8, 8, 3), 0.5), np.linspace(-1, 1, 64).reshape(8, 8)
    epochs = [
        SimpleNamespace(epoch=k, train_loss=1 / k, train_accuracy=0.5, test_accuracy=0.4)
        for k in (1, 2)
    ]
    values = {"elytra": 0.5, "horn": -0.2}
    return {
        "bars": plots.bars(values, references={"horn": 0.1}, label="relevance"),
        "part_bars": plots.part_bars(values),
        "shares": plots.shares({"a": 0.4}, band=(0.1, 0.2)),
        "curves": plots.curves(epochs),
        "reliability": plots.reliability({"a": (np.array([0.2, 0.9]), np.array([0, 1]))}),
        "confusion": plots.confusion([[3, 1], [0, 2]], ["a", "b"]),
        "overlay": plots.overlay([image], [relevance]),
        "own scales": plots.overlay([image], [relevance], shared_scale=False, quantile=1),
        "specification": plots.specification_curve(
            [(0.1, 0.0, 0.2), (0.3, 0.2, 0.4)], {"unit": ["a", "b"]}, marked=[True, False]
        ),
        "chain": plots.residual_chain(
            [("image", (3, 8, 8)), ("branch", (3, 8, 8))], skips=["branch"]
        ),
    }


def _words(fig: Figure) -> str:
    texts = fig.findobj(matplotlib.text.Text)
    return " ".join(text.get_text() for text in texts)


@pytest.mark.parametrize("name", list(_figures()))
def test_a_figure_s_own_words_are_chinese_and_every_letter_is_drawn(name):
    with use_language("zh"), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing letter is a warning
        fig = _figures()[name]
        png(fig)
    assert any(is_han(letter) for letter in _words(fig))


def test_bold_chinese_is_drawn_without_a_warning_in_the_log(caplog):
    with use_language("zh"):
        png(plots.decision_chart([("问题", "积分梯度", "测得")], title="标题"))
    assert caplog.text == ""


def test_english_figures_keep_their_bytes_whatever_was_drawn_before():
    before = {name: png(fig) for name, fig in _figures().items()}
    with use_language("zh"):
        chinese = {name: png(fig) for name, fig in _figures().items()}
    after = {name: png(fig) for name, fig in _figures().items()}
    assert after == before
    assert all(chinese[name] != before[name] for name in before)
    assert fonts() == {}
    assert not any(is_han(letter) for fig in _figures().values() for letter in _words(fig))


def test_the_field_guide_in_chinese():
    from xai_course.beetlebox import field_guide

    with use_language("zh"), warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = field_guide(size=32)
        fig.draw_without_rendering()
    assert "触角" in _words(fig)
    assert "antennae" not in _words(fig)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a few plain words", ["a few", "plain", "words"]),
        ("哪些像素支持答案", ["哪些像素", "支持答案"]),
        ("它为什么不行，是", ["它为什么", "不行，是"]),
        ("甲虫的角落，在那里", ["甲虫的角落，", "在那里"]),
        ("甲虫乙（一次）", ["甲虫乙", "（一次）"]),
        ("用 Grad-CAM 看", ["用", "Grad-CAM", "看"]),
    ],
)
def test_lines_are_broken_by_their_width(text, lines):
    width = 10 if text == "甲虫的角落，在那里" else 8
    assert broken(text, width).split("\n") == lines


def test_names_of_several_words_are_translated_word_by_word():
    with use_language("zh"):
        assert in_words("null: bright edges") == "对照: 明亮边缘"
        assert in_words("gradient, signed") == "gradient, 带符号"
        assert in_words("+ pooling") == "+ 池化"
        assert in_words("plain") == "plain"  # a network, not a beetle's back
    with use_language("en"):
        assert in_words("null: bright edges") == "null: bright edges"
