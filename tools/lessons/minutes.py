"""How long a lesson takes, from its text: for a reader whose first language is not English.

The rates are assumptions, and stand here alone: a word, a line of code, a figure. Exercises take
the minutes that they state. What the sections marked *go further* take is counted apart.
"""

import ast
import re
from typing import NamedTuple

from nbformat import NotebookNode

from tools.lessons.figures import is_figure, without_magics

WORDS_A_MINUTE = 150
SECONDS_A_LINE = 3  # of code that is no drawing
SECONDS_A_FIGURE = 40
FURTHER = "further"  # the tag of a heading whose section one may skip when reading
MARK = re.compile(r"\*\*\d+\. [^*]+\*\* \((?:\d+ to )?(\d+) minutes, \w+\)")


class Minutes(NamedTuple):
    """The minutes of a lesson, rounded to five."""

    core: int
    further: int
    exercises: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def lesson_minutes(cells: list[NotebookNode]) -> Minutes:
    """The minutes of a lesson's core, of its sections marked *go further*, and of its exercises."""
    seconds = {False: 0.0, True: 0.0}
    for cell, is_further in zip(cells, further_cells(cells), strict=True):
        if "solution" not in cell.metadata.get("tags", []):
            seconds[is_further] += reading_seconds(cell)
    text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = sum(int(number) for number in MARK.findall(" ".join(text.split())))
    return Minutes(in_fives(seconds[False]), in_fives(seconds[True]), exercises)


def in_fives(seconds: float) -> int:
    """Minutes, rounded to five; a short section takes one five, none takes none."""
    return 5 * max(round(seconds / 300), 1) if seconds else 0


def further_cells(cells: list[NotebookNode]) -> list[bool]:
    """For each cell, whether it is in a section that one may skip."""
    found, inside = [], False
    for cell in cells:
        if cell.cell_type == "markdown" and re.match(r"#{1,2} ", cell.source):
            inside = FURTHER in cell.metadata.get("tags", [])
        found.append(inside)
    return found


def reading_seconds(cell: NotebookNode) -> float:
    """How long one reads a cell. What is folded, such as hints and quiz answers, is not counted."""
    if cell.cell_type == "markdown":
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
        return len(re.findall(r"\w+", text)) * 60 / WORDS_A_MINUTE
    figures, drawn = 0, set[int]()
    for node in ast.walk(ast.parse(without_magics(cell.source))):
        if isinstance(node, ast.Expr) and is_figure(node.value):
            figures += 1
            drawn |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [
        line
        for number, line in enumerate(cell.source.splitlines(), start=1)
        if line.strip() and number not in drawn
    ]
    return len(lines) * SECONDS_A_LINE + figures * SECONDS_A_FIGURE
