"""The process that runs a learner's code: stuck, greedy, dying and dishonest answers."""

import os
import time
from pathlib import Path

import pytest
from lessons_of_the_course import LESSONS
from tiny_course import AGAIN, IMPORT, RIGHT, Limits, grade_one, linux, put, unix

from tools.grading.grade import course_exercises, grade_folder
from tools.lessons.source import edition


@unix
def test_an_endless_loop_costs_its_own_exercise_only(folder):
    loop = "def double(x):\n    while True:\n        try: x += 1\n        except Exception: pass"
    row = grade_one(folder, IMPORT, loop, AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("error", "passed")
    assert row["says_1"] == "it did not end within 0.5 seconds"


STUBBORN = """
import os, time
from pathlib import Path
def again(x):
    Path({trace!r}).write_text(str(os.getpid()))
    while True:
        try: {body}
        except BaseException: pass
"""


@unix
@pytest.mark.parametrize(
    ("body", "starting", "words"),
    [
        ("time.sleep(9)", 1, "the process was killed"),
        ("sum(range(10**7))", 60, "too much time of the processor"),
    ],
)
def test_a_loop_that_will_not_be_interrupted_is_killed(folder, tmp_path, body, starting, words):
    trace = tmp_path / "pid"
    code, limits = STUBBORN.format(trace=str(trace), body=body), Limits(0.5, 200, starting)
    row = grade_one(folder, IMPORT, RIGHT, code, limits=limits)
    assert (row["exercise_1"], row["exercise_2"], row["points"]) == ("passed", "error", "1")
    assert words in row["wrong"]
    assert words in row["says_2"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(trace.read_text()), 0)


@linux
def test_a_process_that_a_notebook_leaves_behind_is_killed(folder, tmp_path):
    trace = tmp_path / "pid"
    leave = (
        "import os, time\ndef double(x):\n    if (child := os.fork()) == 0:\n"
        f"        time.sleep(60)\n    open({str(trace)!r}, 'w').write(str(child))\n    return 2 * x"
    )
    row = grade_one(folder, IMPORT, leave)
    assert row["exercise_1"] == "passed"
    assert row["look"] == "double uses os"
    child = Path("/proc") / trace.read_text() / "stat"
    until = time.monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not child.exists() or child.read_text().split()[2] == "Z"


@linux
def test_a_memory_hog_gets_no_more_than_its_limit(folder):
    row = grade_one(folder, IMPORT, "def double(x): return len(bytes(10**9)) * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("wrong", "passed")
    assert "MemoryError" in row["says_1"]


@unix
def test_a_process_that_dies(folder):
    row = grade_one(folder, IMPORT, RIGHT, "import os\ndef again(x): os.abort()")
    assert (row["exercise_1"], row["exercise_2"]) == ("passed", "error")
    assert "ended before its time: SIGABRT" in row["wrong"]


# --- who tries to cheat ---------------------------------------------------------------------------

WRONG = "def double(x): return 41"
CHEATS = {
    "a check of one's own": [
        IMPORT,
        WRONG,
        "def check_double(f):\n    return 'yes'",
        "print('yes: Twice as much.')\ncheck_double(double)",
    ],
    "a check of one's own, as the answer's helper": [
        "import tiny_checks\ntiny_checks.check_double = lambda f: 'yes'",
        IMPORT,
        "def double(x):\n    tiny_checks\n    return 41",
    ],
    "another equal": [
        IMPORT,
        "def double(x):\n    import tiny_checks\n    tiny_checks.equal = lambda a, b: True",
    ],
    "another equal, put back by itself": [
        IMPORT,
        "import tiny_checks\nold = tiny_checks.equal\ndef fake(a, b):\n"
        "    tiny_checks.equal = old\n    return True\n"
        "def double(x):\n    tiny_checks.equal = fake\n    return 41",
    ],
    "the code of equal": [
        IMPORT,
        "def double(x):\n    import tiny_checks\n"
        "    tiny_checks.equal.__code__ = (lambda a, b: True).__code__\n    return 41",
    ],
    "another built-in": [
        IMPORT,
        "import builtins\ndef double(x):\n    builtins.isinstance = lambda *_: True\n    return 41",
    ],
    "something equal to everything": [
        IMPORT,
        "class Any:\n    def __eq__(self, other): return True\ndef double(x): return Any()",
    ],
    "something of Python's that is equal to everything": [
        IMPORT,
        "from unittest.mock import ANY\ndef double(x): return ANY",
    ],
    "the process ended early": [IMPORT, "import os\ndef double(x): os._exit(0)"],
    "a line where the results go": [
        IMPORT,
        "import json, os\ndef double(x):\n    for n in range(3, 20):\n        try: os.write(n, "
        "(json.dumps({'number': 1, 'status': 'yes', 'words': ''}) + chr(10)).encode())\n"
        "        except OSError: pass\n    return 41",
    ],
}


@pytest.mark.parametrize("cells", CHEATS.values(), ids=CHEATS)
def test_cheating_brings_no_points(folder, cells):
    row = grade_one(folder, *cells)
    assert (row["lesson"], row["points"]) == ("03_tiny", "0"), row
    assert row["exercise_1"] in ("wrong", "error")


def test_one_who_changes_the_checks_is_named(folder):
    row = grade_one(folder, *CHEATS["another equal"])
    assert "it changed tiny_checks.equal" in row["says_1"]
    row = grade_one(folder, *CHEATS["something equal to everything"])
    assert "an object of the class Any: look at this notebook yourself" in row["says_1"]


# --- the course's own checks ----------------------------------------------------------------------


def test_a_lesson_with_a_right_an_unfinished_and_a_dishonest_answer(tmp_path):
    """The real checks, with PyTorch: the right answer passes, and only it."""
    lesson = next(lesson for lesson in LESSONS if lesson.name.startswith("03"))
    _, second, third = (exercise.function for exercise in course_exercises()[lesson.name])
    solutions = [cell.source for cell in edition(lesson, True)[0].cells if cell.cell_type == "code"]
    unfinished = f"def {second}(*a):\n    ..."
    dishonest = (
        f"def {third}(*a):\n    import xai_course.exercises as e\n"
        "    e.close = lambda *b: True\n    return a[0]"
    )
    put(tmp_path / "in" / "03.ipynb", *solutions, unfinished, dishonest)
    (row,) = grade_folder(tmp_path / "in", tmp_path / "grades.csv", Limits())
    found = [row[f"exercise_{number}"] for number in (1, 2, 3)]
    assert found == ["passed", "not yet", "error"]
    assert "it changed xai_course.exercises.close" in row["says_3"]
