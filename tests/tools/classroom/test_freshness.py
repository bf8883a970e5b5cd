"""Notebooks that are older than their lesson, or were not run."""

import nbformat
import pytest
from lessons_of_the_course import LESSONS

from tools.classroom.freshness import is_older
from tools.lessons.source import LessonError, edition

LESSON = LESSONS[0]


def built():
    """A notebook as the builder leaves it."""
    notebook = nbformat.from_dict(edition(LESSON, solutions=False)[0])
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.execution_count = number + 1
    return notebook


def test_a_notebook_of_another_text_is_older():
    notebook = built()
    assert not is_older(LESSON, notebook, solutions=False)
    assert is_older(LESSON, notebook, solutions=True)
    notebook.cells[0].source += " And more."
    assert is_older(LESSON, notebook, solutions=False)


def test_a_notebook_that_was_not_run_is_refused():
    notebook = built()
    notebook.cells[-1].execution_count = None
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[2].execution_count = None
    with pytest.raises(LessonError, match=r"1 of \d+ cells of its notebook were not run"):
        is_older(LESSON, notebook, solutions=False)
