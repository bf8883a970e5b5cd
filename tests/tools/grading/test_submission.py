"""Reading a submitted notebook without running it."""

import builtins

import pytest
from lessons_of_the_course import each_lesson

from tools.grading.grade import course_exercises
from tools.grading.submission import read_submission
from tools.lessons.source import edition

EXERCISES = course_exercises()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys\ndef double(x): return sys._getframe(1).f_locals['x']", "double uses sys"),
        (
            "from xai_course.exercises import lesson_04\ndef double(x): return lesson_04._right(x)",
            "double uses xai_course.exercises",
        ),
        ("def double(x):\n    return __import__('gc').get_objects()", "double uses builtins"),
        ("def double(x): return eval(open('answers.txt').read())", "double uses builtins"),
        (
            "import pathlib\ndef double(x): return pathlib.Path(x).read_text()",
            "double uses pathlib",
        ),
        ("import tracemalloc\ndef double(x): tracemalloc.stop()", "double uses tracemalloc"),
        ("import system\ndef double(x): return 2 * x + 0 * system", ""),
    ],
)
def test_code_that_reaches_around_is_named(code, words):
    assert read_submission([code]).suspicious(["double"]) == ([words] if words else [])


def solutions(lesson) -> list[str]:
    return [cell.source for cell in edition(lesson, True)[0].cells if cell.cell_type == "code"]


@each_lesson
def test_of_every_solution_is_taken_what_it_needs(lesson):
    submission = read_submission(solutions(lesson))
    assert submission.problems == []
    for exercise in EXERCISES[lesson.name]:
        taken = submission._needed(exercise.function)
        known = {name for s in taken for name in s.binds} | set(dir(builtins))
        assert {name for s in taken for name in s.reads} <= known | {"__file__"}, exercise
        assert submission.suspicious([exercise.function]) == []


@pytest.mark.parametrize(
    "comprehension", ["{k: gain for k, gain in x}", "[gain for gain in x]", "{gain for gain in x}"]
)
def test_the_variable_of_a_comprehension_is_not_the_function_of_that_name(comprehension):
    """Python 3.12 and later list it among the names of the statement around it."""
    cells = ["import unknown_module as x", f"show = {comprehension}", "def gain(a): return a"]
    assert read_submission(cells).needed("gain") == "def gain(a):\n    return a"
