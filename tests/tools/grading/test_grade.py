"""Grading a folder of notebooks: what is handed in, and the table."""

import csv
import re
from pathlib import Path

import nbformat
import pytest
from tiny_course import AGAIN, IMPORT, QUICK, RIGHT, grade, grade_one, put

from tools.grading import grade as grader
from tools.grading.chinese import translated
from tools.grading.grade import grade_folder, main, safe
from xai_course.core.translation import use_language

GRADER = Path(grader.__file__).parent

# --- what a learner hands in ----------------------------------------------------------------------


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
    assert row["wrong"].startswith(
        "code cell 3 from the top, `def again(x)`, is not Python (line 1:"
    )
    assert row["says_2"] == row["wrong"]


def test_a_cell_is_named_by_the_number_that_jupyterlab_shows(folder):
    path = put(folder / "one.ipynb", IMPORT, RIGHT, "def again(x)：\n    return 2 * x")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].execution_count = 12
    nbformat.write(notebook, path)
    words = grade(folder)["one.ipynb"]["says_2"]
    assert words.startswith("cell [12] is not Python (line 1: ")
    assert (
        "： is a full-width sign: switch the keyboard to English and type : in its place" in words
    )


def test_a_later_cell_that_is_right_counts(folder):
    row = grade_one(folder, IMPORT, "def double(x)\n    return 2 * x", RIGHT, AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("passed", "passed")


def test_the_table_says_to_excel_that_it_is_utf_8(folder):
    put(folder / "王.ipynb", IMPORT, RIGHT)
    assert list(grade(folder)) == ["王.ipynb"]
    assert (folder.parent / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbffile,")


def test_what_the_answer_needs_may_stop(folder):
    row = grade_one(folder, IMPORT, "two = 1 / 0", "def double(x): return two * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("error", "passed")
    assert "stopped with ZeroDivisionError: division by zero" in row["says_1"]


@pytest.mark.parametrize("name", ["again", "print"])
def test_an_exercise_sees_no_other_exercise(folder, name):
    """Each has a namespace of its own, also for what it does to the built-in names."""
    row = grade_one(folder, IMPORT, f"{name} = abs\ndef double(x): return 2 * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("passed", "passed")


def test_files_that_are_no_notebooks(folder):
    (folder / "a.ipynb").write_text("not JSON")
    (folder / "b.ipynb").write_text("[1, 2]")
    (folder / "c.ipynb").write_bytes(b"\xff\xfe\x00")
    (folder / "c2.ipynb").touch()
    (folder / "dora").mkdir()
    (folder / "dora" / "essay.pdf").touch()
    put(folder / "e.ipynb", "x = 1")
    put(folder / ".ipynb_checkpoints" / "old.ipynb", RIGHT)
    rows = grade(folder)
    assert list(rows) == ["a.ipynb", "b.ipynb", "c.ipynb", "c2.ipynb", "dora/", "e.ipynb"]
    for name in ("a.ipynb", "b.ipynb", "c.ipynb"):
        assert rows[name]["wrong"].startswith("it cannot be read as a notebook (")
    empty = "the file is empty: save the notebook and hand it in again"
    assert rows["c2.ipynb"]["wrong"] == empty
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


def test_the_table_speaks_chinese_if_asked(folder):
    """Only the names of errors and Python's own words stay English."""
    put(
        folder / "ada.ipynb",
        IMPORT,
        "def double(x):\n    import sys\n    return 2 * x",
        "def again(x：",
    )
    put(folder / "ben.ipynb", IMPORT, "two = 1 / 0", "def double(x): return two * x")
    put(folder / "cid.ipynb", "x = 1")
    rows = grade(folder, speak="zh")
    ada, ben, cid = (rows[f"{name}.ipynb"] for name in ("ada", "ben", "cid"))
    assert (ada["exercise_1"], ada["exercise_2"], ada["points"]) == ("passed", "error", "1")
    assert ada["look"] == "double 用到了 sys"
    assert ada["wrong"].startswith("从上往下第 3 个代码单元格（`")
    assert "全角符号" in ada["says_2"]
    assert ben["says_1"].startswith("它需要的代码报错中止，ZeroDivisionError：")
    assert ben["says_2"] == "这个 notebook 里没有函数 again"
    assert cid["wrong"] == "里面没有本课程的练习"


RAISED = re.compile(r"(?:LessonError|Ended|Died)\(\s*f?\"([^\"]+)\"")


def test_every_sentence_of_the_grader_has_its_chinese():
    """Those that a row can hold; a sentence that changes in the code is missed here."""
    texts = {path.stem: path.read_text("utf-8") for path in GRADER.glob("*.py")}
    raised = {words for text in texts.values() for words in RAISED.findall(text)}
    of_the_command = ("no lesson is called", "{folder}", "{path}", "{died}", "the process ended")
    raised = {words for words in raised if not words.startswith(of_the_command)}
    assert len(raised) > 9
    for words in raised:
        with use_language("zh"):
            example = re.sub(r"\{[^}]*\}", "7", words)
            assert translated(example) != example, words


# --- the table ------------------------------------------------------------------------------------


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
    real = grader.grade_file
    monkeypatch.setattr(
        grader, "grade_file", lambda path, *rest: graded.append(path) or real(path, *rest)
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
    with (folder.parent / "grades.csv").open(encoding="utf-8-sig", newline="") as table:
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
