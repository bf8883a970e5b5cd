"""Hints and the reasons of quiz answers come last in a notebook."""

import pytest

from tools.lessons.answers import with_answers_last
from tools.lessons.build import read_lessons
from tools.lessons.languages import CHINESE, ENGLISH
from tools.lessons.outputs import ROOT
from tools.lessons.parts import quiz
from tools.lessons.source import edition

LESSONS = read_lessons(ROOT / "lessons")


def fold(summary, words):
    return f"<details><summary>{summary}</summary>\n\n{words}\n</details>"


EXERCISE = "**2. Do it** (5 minutes, easy). So."
AFTER = f"{fold('Hint', 'Think.')}\n\nNow use it."
OPTIONS = f"{fold('a) This.', 'No. Never.')}\n{fold('b) That.', 'Yes. Always.')}"
QUIZ = f"## Quiz\n\n**1. What?**\n\n{OPTIONS}"


def test_hints_and_reasons_move_to_the_end():
    assert with_answers_last([EXERCISE, AFTER, QUIZ, "## References"], ENGLISH) == [
        EXERCISE,
        "[Hint 2](#Hints-and-answers)\n\nNow use it.",
        "## Quiz\n\n**1. What?**\n\n- a) This.\n- b) That.\n\n"
        "Which answer is right, and why: see [Hints and answers](#Hints-and-answers).",
        "## References",
        "## Hints and answers\n\n"
        f"{fold('Hint 2', 'Think.')}\n{fold('Question 1 a)', 'No. Never.')}\n"
        f"{fold('Question 1 b)', 'Yes. Always.')}",
    ]


def test_in_chinese():
    texts = with_answers_last([EXERCISE, AFTER.replace("Hint", "提示")], CHINESE)
    assert texts[1].startswith("[提示 2](#提示与答案)\n")
    assert texts[2].startswith("## 提示与答案\n\n<details><summary>提示 2</summary>")


def test_texts_without_folds_are_left_as_they_are():
    assert with_answers_last(["# Title", "words"], ENGLISH) == ["# Title", "words"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_no_reason_stands_before_the_last_cell_of_a_lesson(lesson):
    *before, last = [cell.source for cell in edition(lesson, solutions=False)[0].cells]
    options = [option for question in quiz(lesson) for option in question.options]
    assert not any("<details>" in text for text in before)
    assert last.count("<details>") == len(options) + lesson.exercises
    assert [f"Hint {n + 1}<" in last for n in range(lesson.exercises)] == [True] * lesson.exercises
    for option in options:
        assert option.reason in " ".join(last.split())
        assert any(option.text in " ".join(text.split()) for text in before)
