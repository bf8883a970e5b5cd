"""A course of two small lessons, whose checks need no PyTorch, to try the grader on."""

import csv
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.grading.grade import grade_folder
from tools.grading.judge import Limits
from tools.lessons.parts import Exercise

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
QUICK = Limits(seconds=0.5, memory=200)
unix = pytest.mark.skipif(sys.platform == "win32", reason="limits on processes need Unix")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")


def put(path: Path, *cells: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    return path


def grade(folder: Path, **options) -> dict[str, dict[str, str]]:
    options = {"limits": QUICK} | options
    rows = list(grade_folder(folder, folder.parent / "grades.csv", **options))
    with (folder.parent / "grades.csv").open(encoding="utf-8-sig", newline="") as table:
        assert list(csv.DictReader(table)) == rows
    return {row["file"]: row for row in rows}


def grade_one(folder: Path, *cells: str, **options) -> dict[str, str]:
    put(folder / "one.ipynb", *cells)
    return grade(folder, **options)["one.ipynb"]
