"""Every lesson: its notebooks agree with it, and it has what a lesson has."""

from itertools import pairwise

import nbformat
import pytest

from tools.lessons.build import (
    disagreements,
    notebook_path,
    read_lessons,
    read_seconds,
    strays,
    timing_table,
    with_table,
)
from tools.lessons.outputs import ROOT
from tools.lessons.source import Lesson, missing_parts, tags_of

NOTEBOOKS = ROOT / "notebooks"
LARGEST = 3_000_000  # bytes of one notebook
LESSONS = read_lessons(ROOT / "lessons")

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])


def editions(lesson: Lesson) -> dict[str, nbformat.NotebookNode]:
    paths = {name: notebook_path(lesson, NOTEBOOKS, name == "yes") for name in ("not yet", "yes")}
    return {name: nbformat.read(path, as_version=4) for name, path in paths.items()}


def test_every_notebook_has_a_lesson():
    assert strays(LESSONS, NOTEBOOKS) == []


def test_the_table_in_the_readme_is_current():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = timing_table(LESSONS, read_seconds(ROOT / "lessons"))
    assert readme == with_table(readme, table), "run `make notebooks`"


@each_lesson
def test_the_notebooks_agree_with_the_lesson(lesson):
    assert disagreements(lesson, NOTEBOOKS) == [], "run `make notebooks`"


@each_lesson
def test_the_lesson_has_its_parts(lesson):
    assert missing_parts(lesson) == []


@each_lesson
def test_the_lesson_was_timed(lesson):
    assert lesson.name in read_seconds(ROOT / "lessons"), "run `make notebooks`"


@each_lesson
def test_every_picture_has_alternative_text(lesson):
    for notebook in editions(lesson).values():
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    alt = output.metadata.get("image/png", {}).get("alt", "")
                    assert alt.strip(), f"no alt text: {cell.source}"


@each_lesson
def test_the_notebooks_are_small(lesson):
    for solutions in (False, True):
        path = notebook_path(lesson, NOTEBOOKS, solutions)
        assert path.stat().st_size <= LARGEST, path.name


@each_lesson
def test_every_check_says_not_yet_to_the_stub_and_yes_to_the_solution(lesson):
    for answer, notebook in editions(lesson).items():
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell, check in pairwise(code):
            if {"exercise", "solution"} & set(tags_of(cell)):
                shown = str([output.get("data", output) for output in check.outputs]).lower()
                assert answer in shown, f"the check after {cell.source!r} shows {shown}"
