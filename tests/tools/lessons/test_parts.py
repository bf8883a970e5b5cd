"""What a lesson holds, as data: headings, exercises with their checks, the quiz."""

import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from lessons_of_the_course import LESSONS, each_lesson
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools.lessons.parts import anchor, exercises, headings, pieces, plain, quiz, section
from tools.lessons.source import LessonError, tags_of


def lesson_with(*cells):
    """A lesson that holds these cells only."""
    return replace(LESSONS[0], cells=list(cells))


# --- headings -------------------------------------------------------------------------------------


def test_headings_are_those_outside_of_code():
    text = "# One\n```\n# not this\n```\n## Two *words*\ntext # no\n#no"
    assert headings(text) == [(1, "One"), (2, "Two *words*")]


def test_pieces_keep_all_text_and_begin_with_headings():
    cells = [new_markdown_cell("a\n\n## B\nb\n### C\n```\n# x\n```\nc"), new_code_cell("# code")]
    assert [cell.source for cell in pieces(cells)] == [
        "a",
        "## B\nb",
        "### C\n```\n# x\n```\nc",
        "# code",
    ]


def test_a_section_ends_where_one_of_its_level_begins():
    texts = ["## A", "## Quiz", "q", "### deeper", "d", "## B"]
    cells = [new_markdown_cell(text) for text in texts]
    assert [cell.source for cell in section(cells, "Quiz")] == texts[1:5]
    assert section(cells, "Nothing") == []


def test_anchors_are_jupyters():
    """JupyterLab takes the heading's text and puts a dash for each space."""
    assert anchor("4. Cut a block out") == "4.-Cut-a-block-out"
    assert unquote(anchor("99 % of *all* `x`?")) == "99-%-of-all-x?"
    assert plain("a `snake_case` name") == "a snake_case name"


# --- exercises ------------------------------------------------------------------------------------


@each_lesson
def test_every_exercise_is_known_with_its_check(lesson):
    found = exercises(lesson)
    assert len(found) == lesson.exercises >= 2
    defined = {cell.source for cell in lesson.cells if "exercise" in tags_of(cell)}
    for exercise in found:
        assert any(f"def {exercise.function}(" in source for source in defined)
        assert exercise.room == f"xai_course.exercises.lesson_{lesson.name[:2]}"


TASK = new_markdown_cell("**1. Twice** (5 minutes, easy). Double it.")
STUB = new_code_cell("def f(x): ...", metadata={"tags": ["exercise"]})
DONE = new_code_cell("def f(x): return 2 * x", metadata={"tags": ["solution"]})
CHECK = new_code_cell("from room import check_f\n\ncheck_f(f)")


def test_an_exercise_by_hand():
    (found,) = exercises(lesson_with(TASK, STUB, DONE, CHECK))
    assert vars(found) == {
        "number": 1,
        "title": "Twice",
        "minutes": "5",
        "difficulty": "easy",
        "function": "f",
        "room": "room",
        "check": "check_f",
    }


@pytest.mark.parametrize(
    ("task", "check", "words"),
    [
        ("**2. Twice** (5 minutes, easy)", CHECK.source, "no line like"),
        ("**1. Twice** (easy)", CHECK.source, "no line like"),
        ("**1. Twice** (5 minutes, simple)", CHECK.source, "'simple' is none of easy"),
        (TASK.source, "check_f(f)", "does not import and call its check"),
        (TASK.source, "from room import check_f", "does not import and call its check"),
    ],
)
def test_an_exercise_that_cannot_be_read_is_refused(task, check, words):
    lesson = lesson_with(new_markdown_cell(task), STUB, DONE, new_code_cell(check))
    with pytest.raises(LessonError, match=words):
        exercises(lesson)


# --- quiz ----------------------------------------------------------------------------------------


@each_lesson
def test_three_questions_of_which_each_has_one_right_answer_and_a_reason_for_all(lesson):
    questions = quiz(lesson)
    assert [question.number for question in questions] == [1, 2, 3]
    for question in questions:
        assert len(question.options) >= 3
        assert len({option.text for option in question.options}) == len(question.options)
        assert all(len(option.reason) > 10 for option in question.options)


def fold(letter, reason):
    return f"<details><summary>{letter}) Words.</summary>\n\n{reason}\n</details>\n"


GOOD = f"## Quiz\n\n**1. Really\nso?**\n\n{fold('a', 'No. It is not.')}{fold('b', 'Yes, it is.')}"


def test_a_question_by_hand():
    (question,) = quiz(lesson_with(new_markdown_cell(GOOD), new_markdown_cell("## Next")))
    assert (question.text, question.answer.letter) == ("Really so?", "b")
    assert [option.reason for option in question.options] == ["No. It is not.", "Yes, it is."]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Yes, it is.", "It is.", "exactly one must begin with 'Yes'"),
        ("No. It is not.", "Yes. Also.", "exactly one must begin with 'Yes'"),
        ("No. It is not.", "Yesterday it was.", None),  # does not begin with the word Yes
        ("**1. ", "**2. ", "comes where number 1 should"),
        ("b) Words", "c) Words", "the options are not a"),
        ("</details>\n<details>", "</details>\nor\n<details>", "words outside of its folds: 'or'"),
        ("\n\nNo. It is not.\n", "\n", "words outside of its folds"),
        ("**1. Really\nso?**", "Really so?", "does not begin with"),
    ],
)
def test_a_quiz_that_does_not_follow_the_pattern_is_refused(old, new, words):
    assert old in GOOD
    lesson = lesson_with(new_markdown_cell(GOOD.replace(old, new)))
    if words is None:
        assert quiz(lesson)[0].answer.letter == "b"
        return
    with pytest.raises(LessonError, match=re.escape(words)):
        quiz(lesson)
