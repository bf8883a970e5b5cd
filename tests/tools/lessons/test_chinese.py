"""The Chinese lessons: pieces, words in code, catalogues, and rules for what is translated."""

import dataclasses

import polib
import pytest
from lessons_of_the_course import LESSONS, each_lesson

from tools.lessons.catalogue import (
    catalogue_path,
    is_done,
    is_published,
    messages,
    more_words,
    read_catalogue,
    stale,
    updated,
    usage_of,
)
from tools.lessons.chinese import broken, broken_entries
from tools.lessons.code_words import difference, parts_of, translated_code
from tools.lessons.markdown_pieces import pieces


def entry(old, new, kind="paragraph", comment="", heading="1. Maps"):
    return polib.POEntry(
        msgid=old, msgstr=new, comment=f"cell 4 ({heading}), {kind}", tcomment=comment
    )


@each_lesson
def test_the_pieces_of_a_text_are_the_text(lesson):
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            joined = "".join(piece.text for piece in pieces(cell.source))
            assert joined.replace(">", "").split() == cell.source.replace(">", "").split()


@each_lesson
def test_code_stays_the_same_when_its_words_are_others(lesson):
    usage = usage_of(lesson, more_words(lesson))

    def other(words):
        parts = parts_of(words.text) if words.kind == "f-string" else []
        if parts:
            return "".join(p.text if p.is_field else p.text.replace("e", '热 "') for p in parts)
        return words.text.replace("e", "热")

    for cell in lesson.cells:
        if cell.cell_type == "code":
            new = translated_code(cell.source, usage, other)
            assert difference(cell.source, new, usage) == ""
            assert translated_code(cell.source, usage, lambda words: words.text) == cell.source


@each_lesson
def test_no_translated_entry_breaks_a_rule(lesson):
    if catalogue_path(lesson).exists():
        assert broken_entries(read_catalogue(lesson)) == []


@each_lesson
def test_a_published_lesson_is_translated_as_it_is_today(lesson):
    catalogue = read_catalogue(lesson)
    if is_published(catalogue):
        assert stale(catalogue, messages(lesson, more_words(lesson))) == [], "run `make chinese`"


def test_a_changed_text_is_fuzzy_and_a_lost_one_is_dropped():
    lesson = LESSONS[0]
    wanted = messages(lesson)[:4]
    catalogue = updated(polib.POFile(), wanted)
    for each in catalogue:
        each.msgstr = "译文"
    assert stale(catalogue, wanted) == []
    changed = dataclasses.replace(wanted[2], text=wanted[2].text + " More.")
    after = updated(catalogue, [*wanted[:2], changed])
    assert [is_done(each) for each in after] == [True, True, False]
    assert (after[2].previous_msgid, after[2].msgstr) == (wanted[2].text, "译文")
    assert len(stale(after, [*wanted[:2], changed])) == 1


@pytest.mark.parametrize(
    ("old", "new", "kind", "rule"),
    [
        ("All 12 maps.", "全部 13 张图。", "paragraph", "numbers"),
        ("Let $x$ be it.", "设 $y$ 为它。", "paragraph", "formulas"),
        ("Run `make lab` now.", "现在运行 `make` 。", "paragraph", "code"),
        ("See [it](../a.md).", "见[它](../b.md)。", "paragraph", "links"),
        ("So (Adebayo and others).", "如此（某某等）。", "paragraph", "citations"),
        ("says {name}", "说 {names}", "f-string", "fields"),
        ("Some words.", "一些word。", "paragraph", "spaces"),
        ("Some words, more.", "一些词,更多。", "paragraph", "punctuation"),
        ("You know.", "您知道。", "paragraph", "you"),
        ("Some words.", "这 is not a translation 呀。", "paragraph", "english"),
        ("**Done.** Next.", "**完成。**下一步。", "paragraph", "bold"),
        ("Verdict", "判决", "heading", "headings"),
        (
            "**1. Add** (5 minutes, easy). Do.",
            "**1. 加**（5 分钟，简单）。做。",
            "item",
            "exercise",
        ),
        ("It has a saliency map.", "它有一张图。", "paragraph", "glossary"),
    ],
)
def test_a_broken_rule_is_named(old, new, kind, rule):
    found = broken(entry(old, new, kind))
    assert any(each.startswith(f"{rule}:") for each in found), found
    assert not any(
        each.startswith(f"{rule}:") for each in broken(entry(old, new, kind, f"allow: {rule}"))
    )


def test_the_right_answer_begins_with_its_word():
    assert broken(entry("Yes. So it is.", "对。就是这样。", heading="Quiz")) == []
    assert broken(entry("No. Not so.", "对。就是这样。", heading="Quiz")) != []
