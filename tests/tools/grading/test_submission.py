"""Reading a submitted notebook without running it."""

import ast
import builtins

import pytest
from lessons_of_the_course import each_lesson

from tools.classroom.editions import student_notebook
from tools.grading.grade import course_exercises, lesson_of
from tools.grading.submission import read_submission
from tools.lessons.catalogue import chinese_lesson
from tools.lessons.outputs import ROOT
from tools.lessons.parts import exercises
from tools.lessons.source import edition, tags_of

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


def solved(lesson):
    """The code of a student's notebook with every exercise done, as it is handed in."""
    pairs = zip(lesson.cells, lesson.cells[1:], strict=False)
    answers = {stub.source: answer.source for stub, answer in pairs if "exercise" in tags_of(stub)}
    cells = [cell.source for cell in student_notebook(lesson).cells if cell.cell_type == "code"]
    return [answers.get(source, source) for source in cells]


def without_words(source):
    """A function's code without what its strings say: docstrings are translated."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


@each_lesson
def test_an_answer_in_a_chinese_notebook_is_the_same_code(lesson):
    chinese = chinese_lesson(lesson, ROOT, go_on=True)
    for ours, theirs in zip(exercises(lesson), exercises(chinese), strict=True):
        for same in ("number", "function", "room", "check"):
            assert getattr(ours, same) == getattr(theirs, same)
    english, handed_in = (read_submission(solved(each)) for each in (lesson, chinese))
    assert handed_in.problems == []
    assert lesson_of(handed_in, EXERCISES) == lesson.name
    for exercise in EXERCISES[lesson.name]:
        taken = handed_in.needed(exercise.function)
        assert taken
        assert without_words(taken) == without_words(english.needed(exercise.function))
        assert handed_in.suspicious([exercise.function]) == []


@pytest.mark.parametrize(
    "comprehension", ["{k: gain for k, gain in x}", "[gain for gain in x]", "{gain for gain in x}"]
)
def test_the_variable_of_a_comprehension_is_not_the_function_of_that_name(comprehension):
    """Python 3.12 and later list it among the names of the statement around it."""
    cells = ["import unknown_module as x", f"show = {comprehension}", "def gain(a): return a"]
    assert read_submission(cells).needed("gain") == "def gain(a):\n    return a"
