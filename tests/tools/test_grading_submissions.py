"""Grading a folder of notebooks: right, wrong, unfinished, stuck, greedy, broken and dishonest."""

import builtins
import csv
import os
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.grading.grade import (
    Limits,
    course_exercises,
    grade_folder,
    main,
    safe,
)
from tools.grading.submission import read_submission
from tools.lessons.build import read_lessons
from tools.lessons.outputs import ROOT
from tools.lessons.parts import Exercise
from tools.lessons.source import edition

# A course of two lessons, whose checks need no PyTorch: its process starts in a tenth of a second.
CHECKS = """
from dataclasses import dataclass

@dataclass
class Said:
    status: str
    words: str

def equal(a, b):
    return a == b

def check_double(answer):
    try:
        found = answer(21)
    except Exception as error:
        return Said("no", f"Your function stopped with {type(error).__name__}: {error}")
    if found is ...:
        return Said("not yet", "Replace the dots.")
    if equal(found, 42):
        return Said("yes", "Twice as much.")
    return Said("no", f"It gives {found}, and should give 42.")

check_triple = check_double
"""
TINY = {
    "03_tiny": [
        Exercise(1, "Double", "5", "easy", "double", "tiny_checks", "check_double"),
        Exercise(2, "Again", "5", "hard", "again", "tiny_checks", "check_double"),
    ],
    "05_other": [Exercise(1, "Triple", "5", "easy", "triple", "other_checks", "check_triple")],
}
IMPORT = "from tiny_checks import check_double"
RIGHT = "def double(x):\n    return 2 * x"
AGAIN = "def again(x):\n    return x + x"
QUICK = Limits(seconds=0.5, memory=200, starting=2)
unix = pytest.mark.skipif(sys.platform == "win32", reason="limits on processes need Unix")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for submissions to the tiny course."""
    (tmp_path / "checks").mkdir()
    for name in ("tiny_checks", "other_checks"):
        (tmp_path / "checks" / f"{name}.py").write_text(CHECKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "checks"))
    monkeypatch.setattr("grade_submissions.course_exercises", lambda: TINY)
    (tmp_path / "submissions").mkdir()
    return tmp_path / "submissions"


def put(path: Path, *cells: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    return path


def grade(folder: Path, **options) -> dict[str, dict[str, str]]:
    options = {"limits": QUICK} | options
    rows = list(grade_folder(folder, folder.parent / "grades.csv", **options))
    with (folder.parent / "grades.csv").open(newline="") as table:
        assert list(csv.DictReader(table)) == rows
    return {row["file"]: row for row in rows}


def grade_one(folder: Path, *cells: str, **options) -> dict[str, str]:
    put(folder / "one.ipynb", *cells)
    return grade(folder, **options)["one.ipynb"]


# ---- what a learner hands in ---------------------------------------------------------------------


def test_right_wrong_and_unfinished(folder):
    put(folder / "ada" / "03.ipynb", IMPORT, RIGHT, AGAIN)
    put(folder / "ben" / "03.ipynb", IMPORT, "def double(x): return x", "def again(x): return ...")
    put(folder / "cid" / "03.ipynb", IMPORT, RIGHT)
    rows = grade(folder)
    ada, ben, cid = (rows[f"{name}/03.ipynb"] for name in ("ada", "ben", "cid"))
    assert (ada["lesson"], ada["exercise_1"], ada["exercise_2"]) == ("03_tiny", "passed", "passed")
    assert (ada["points"], ada["of"], ada["wrong"], ada["look"]) == ("2", "2", "", "")
    assert ada["says_1"] == "Twice as much."
    assert (ben["exercise_1"], ben["exercise_2"], ben["points"]) == ("wrong", "not yet", "0")
    assert ben["says_1"] == "It gives 21, and should give 42."
    assert (cid["exercise_1"], cid["exercise_2"], cid["points"]) == ("passed", "error", "1")
    assert cid["says_2"] == "there is no function again in this notebook"


def test_helpers_imports_and_constants_come_along_and_nothing_else(folder, tmp_path):
    trace = tmp_path / "ran"
    row = grade_one(
        folder,
        f"{IMPORT}\nimport math\nfrom pathlib import Path",
        f"Path({str(trace)!r}).touch()",
        "%matplotlib inline\nfactor = {}\nfactor['x'] = 1\nfactor['x'] += 1",
        "def times(a, b):\n    return math.floor(a * b)",
        "def double(x):\n    return ...",
        "def double(x):\n    return times(x, factor['x'])",
        "raise SystemExit",
    )
    assert row["exercise_1"] == "passed", row
    assert not trace.exists()


def test_a_cell_that_is_not_python_spoils_its_own_exercise_only(folder):
    row = grade_one(folder, IMPORT, RIGHT, "def again(x)\n    return 2 * x")
    assert (row["exercise_1"], row["exercise_2"]) == ("passed", "error")
    assert row["wrong"].startswith("code cell 3 is not Python (line 1:")


def test_what_the_answer_needs_may_stop(folder):
    row = grade_one(folder, IMPORT, "two = 1 / 0", "def double(x): return two * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("error", "passed")
    assert "stopped with ZeroDivisionError: division by zero" in row["says_1"]


@pytest.mark.parametrize("name", ["again", "print"])
def test_an_exercise_sees_no_other_exercise(folder, name):
    """Each has a namespace of its own, also for what it does to the built-in names."""
    row = grade_one(folder, IMPORT, f"{name} = abs\ndef double(x): return 2 * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("passed", "passed")


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


def test_files_that_are_no_notebooks(folder):
    (folder / "a.ipynb").write_text("not JSON")
    (folder / "b.ipynb").write_text("[1, 2]")
    (folder / "c.ipynb").write_bytes(b"\xff\xfe\x00")
    (folder / "dora").mkdir()
    (folder / "dora" / "essay.pdf").touch()
    put(folder / "e.ipynb", "x = 1")
    put(folder / ".ipynb_checkpoints" / "old.ipynb", RIGHT)
    rows = grade(folder)
    assert list(rows) == ["a.ipynb", "b.ipynb", "c.ipynb", "dora/", "e.ipynb"]
    for name in ("a.ipynb", "b.ipynb", "c.ipynb"):
        assert rows[name]["wrong"].startswith("it cannot be read as a notebook (")
    assert rows["dora/"]["wrong"] == "there is no notebook in this folder"
    assert rows["e.ipynb"]["wrong"] == "no exercise of this course is in it"
    assert {row["points"] for row in rows.values()} == {"0"}


def test_the_wrong_lesson(folder):
    put(folder / "one.ipynb", "from other_checks import check_triple", "def triple(x): return 42")
    assert grade(folder)["one.ipynb"]["points"] == "1"
    row = grade(folder, lesson="03")["one.ipynb"]
    assert (row["points"], row["wrong"]) == ("0", "this is lesson 05, and 03 was asked for")


def test_the_lesson_is_known_without_its_checks(folder):
    row = grade_one(folder, "def triple(x): return 42")
    assert (row["lesson"], row["exercise_1"]) == ("05_other", "passed")


def test_two_notebooks_of_one_name_are_two_rows(folder):
    put(folder / "ada" / "03.ipynb", IMPORT, RIGHT)
    put(folder / "ben" / "03.ipynb", IMPORT, AGAIN)
    rows = grade(folder)
    assert [rows[f"{name}/03.ipynb"]["exercise_1"] for name in ("ada", "ben")] == [
        "passed",
        "error",
    ]


# ---- who tries to cheat --------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys\ndef double(x): return sys._getframe(1).f_locals['x']", "double uses sys"),
        (
            "from xai_course.exercises import lesson_03\ndef double(x): return lesson_03._right(x)",
            "double uses xai_course.exercises",
        ),
        ("def double(x):\n    return __import__('gc').get_objects()", "double uses builtins"),
        ("import system\ndef double(x): return 2 * x + 0 * system", ""),
    ],
)
def test_code_that_reaches_around_is_named(code, words):
    assert read_submission([code]).suspicious(["double"]) == ([words] if words else [])


# ---- the table -----------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(folder, monkeypatch):
    for name in ("a", "b", "c"):
        put(folder / f"{name}.ipynb", IMPORT, RIGHT, AGAIN)
    whole = grade(folder)
    table = folder.parent / "grades.csv"
    table.unlink()
    run = grade_folder(folder, table, QUICK)
    next(run)
    next(run)
    run.close()  # as Ctrl-C would end it
    graded = []
    real = __import__("grade_submissions").grade_file
    monkeypatch.setattr(
        "grade_submissions.grade_file", lambda path, *rest: graded.append(path) or real(path, *rest)
    )
    again = grade(folder)
    assert [path.name for path in graded] == ["c.ipynb"]
    assert without_seconds(again) == without_seconds(whole)
    put(folder / "a.ipynb", IMPORT, RIGHT)  # handed in anew
    assert grade(folder)["a.ipynb"]["points"] == "1"
    assert [path.name for path in graded] == ["c.ipynb", "a.ipynb"]


def without_seconds(rows):
    return {name: {k: v for k, v in row.items() if k != "seconds"} for name, row in rows.items()}


def test_a_run_that_is_stopped_early_keeps_the_later_rows_of_the_table(folder):
    for name in ("a", "b", "c"):
        put(folder / f"{name}.ipynb", IMPORT, RIGHT, AGAIN)
    grade(folder)
    put(folder / "a.ipynb", IMPORT, RIGHT)
    run = grade_folder(folder, folder.parent / "grades.csv", QUICK)
    next(run)
    run.close()
    with (folder.parent / "grades.csv").open(newline="") as table:
        assert [row["file"] for row in csv.DictReader(table)] == ["a.ipynb", "b.ipynb", "c.ipynb"]


def test_no_cell_of_the_table_is_a_formula(folder):
    assert safe("=1+1") == "'=1+1"
    put(folder / "=1+1.ipynb", IMPORT, RIGHT)
    assert list(grade(folder)) == ["'=1+1.ipynb"]
    assert list(grade(folder)) == ["'=1+1.ipynb"]  # and it is found again


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main([str(folder)]) == 2
    assert "holds no notebooks" in capsys.readouterr().err
    put(folder / "one.ipynb", IMPORT, RIGHT)
    assert main([str(folder), "--lesson", "77"]) == 2
    assert "no lesson is called '77'" in capsys.readouterr().err
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert main([str(folder), "--to", str(tmp_path / "other.csv")]) == 2
    assert "is another table" in capsys.readouterr().err
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
    assert main([str(folder)]) == 0
    assert (folder / "grades.csv").exists()
    assert "1 of 2" in capsys.readouterr().out


# ---- the course's own lessons --------------------------------------------------------------------

LESSONS = read_lessons(ROOT / "lessons")
EXERCISES = course_exercises()


def solutions(lesson) -> list[str]:
    return [cell.source for cell in edition(lesson, True)[0].cells if cell.cell_type == "code"]


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_of_every_solution_is_taken_what_it_needs(lesson):
    submission = read_submission(solutions(lesson))
    assert submission.problems == []
    for exercise in EXERCISES[lesson.name]:
        taken = submission._needed(exercise.function)
        known = {name for s in taken for name in s.binds} | set(dir(builtins))
        assert {name for s in taken for name in s.reads} <= known | {"__file__"}, exercise
        assert submission.suspicious([exercise.function]) == []


def test_a_lesson_with_a_right_an_unfinished_and_a_dishonest_answer(tmp_path):
    """The real checks, with PyTorch: the right answer passes, and only it."""
    lesson = next(lesson for lesson in LESSONS if lesson.name.startswith("03"))
    _, second, third = (exercise.function for exercise in EXERCISES[lesson.name])
    unfinished = f"def {second}(*a):\n    ..."
    dishonest = (
        f"def {third}(*a):\n    import xai_course.exercises as e\n"
        "    e.close = lambda *b: True\n    return a[0]"
    )
    put(tmp_path / "in" / "03.ipynb", *solutions(lesson), unfinished, dishonest)
    (row,) = grade_folder(tmp_path / "in", tmp_path / "grades.csv", Limits())
    found = [row[f"exercise_{number}"] for number in (1, 2, 3)]
    assert found == ["passed", "not yet", "error"]
    assert "it changed xai_course.exercises.close" in row["says_3"]
