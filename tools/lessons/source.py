"""Reads a lesson, refuses a malformed one, and makes its two editions.

A lesson is a text file in jupytext's py:percent format. Its header states the question it asks;
cell tags say what is an exercise, a solution, a checked output, a section that one may skip. The
minutes are counted from the text, and stand where the box under the title says `{minutes}`. The box
of every lesson ends with a link to the glossary.
"""

import copy
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.lessons.answers import with_answers_last
from tools.lessons.figures import only_draws
from tools.lessons.languages import ENGLISH, LANGUAGES, Language, has_heading, time_words
from tools.lessons.minutes import FURTHER, Minutes, lesson_minutes

TAGS = {
    "exercise": "a stub that the reader completes; the next cell is its solution",
    "solution": "what the solutions edition shows instead of the stub before it",
    "nbval-check-output": "the output must be the same when the notebook is tested",
    "nbval-ignore-output": "the output is never compared",
    "nbval-skip": "not run by the tests",
    "raises-exception": "the cell fails on purpose, and its error is shown",
    FURTHER: "a heading (##) whose section one may skip when reading",
}

# Headings that every lesson has, each found by a word in it (any level, any case).
REQUIRED_HEADINGS = {
    "predict": "Predict",
    "exercise": "Exercises",
    "verdict": "Verdict",
    "take it with you": "Take it with you",
    "quiz": "Quiz",
    "references": "References",
}
MAY_LACK = {"00": {"verdict"}, "01": {"verdict"}}
# Words of the box under the title: what you will be able to do, what you need, how long, for whom.
BOX_WORDS = ("able to", "need", "minutes", "for")

# What JupyterLab writes. It takes a notebook that holds anything else as changed when it is opened;
# where Python has another version, it still does, for that one line.
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.7",
    },
}

FURTHER_MARK = ENGLISH.further_mark


class LessonError(Exception):
    """A lesson cannot be built; the message names the file and the cell."""


@dataclass(frozen=True)
class Lesson:
    """A lesson as read from its source."""

    path: Path
    title: str
    question: str
    minutes: Minutes
    cells: list[NotebookNode]
    language: str = "en"

    @property
    def name(self) -> str:
        """The file's name without its ending, for example ``04_what_the_relus_let_through``."""
        return self.path.stem

    @property
    def exercises(self) -> int:
        """The number of exercise cells."""
        return sum("exercise" in tags_of(cell) for cell in self.cells)


def tags_of(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def cell_label(path: Path, number: int, cell: NotebookNode) -> str:
    """The name of a cell in errors: file, number from 1, and the cell's first line."""
    first_line = (cell.source.strip().splitlines() or ["empty"])[0]
    return f"{path.name}, cell {number} ({first_line[:60]})"


def read_lesson(path: Path) -> Lesson:
    """Read a lesson and check everything that can be checked without running it.

    Raises LessonError, which names the file and the cell, for a broken header, a missing title, an
    unknown tag, an empty cell, an exercise without a solution or a solution without an exercise.
    """
    text = path.read_text(encoding="utf-8")
    try:
        notebook = jupytext.reads(text, fmt="py:percent")
    except Exception as error:  # the YAML of the header can raise anything
        raise LessonError(f"{path.name}: the header cannot be read: {error}") from error
    question = read_question(path, notebook.metadata.get("course"))
    cells = list(notebook.cells)
    for cell in cells:
        cell.source = cell.source.strip("\n")
    check_cells(path, cells)
    title = read_title(path, cells)
    try:
        minutes = lesson_minutes(cells)
    except SyntaxError as error:
        raise LessonError(f"{path.name}: a cell is no Python: {error}") from error
    cells[0].source = cells[0].source.replace("{minutes}", time_words(minutes))
    return Lesson(path, title, question, minutes, cells)


def read_question(path: Path, course: Any) -> str:
    """The question that the header states under ``jupyter: course:``."""
    question = course.get("question") if isinstance(course, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise LessonError(f"{path.name}: the header has no `jupyter: course: question:` (text)")
    return question.strip()


def read_title(path: Path, cells: list[NotebookNode]) -> str:
    """The level-one heading that opens the lesson."""
    match = re.match(r"# +(.+)", cells[0].source) if cells else None
    if match is None or cells[0].cell_type != "markdown":
        raise LessonError(
            f"{path.name}, cell 1: a lesson opens with text whose first line is # Title"
        )
    return match[1].strip()


def check_cells(path: Path, cells: list[NotebookNode]) -> None:
    """Raise LessonError for unknown tags, empty cells, and exercises without their solutions."""
    previous, inside = None, False
    for number, cell in enumerate(cells, start=1):
        where = cell_label(path, number, cell)
        tags = tags_of(cell)
        for tag in tags:
            if tag not in TAGS:
                raise LessonError(f"{where}: unknown tag {tag!r}; must be one of {', '.join(TAGS)}")
        if not cell.source:
            raise LessonError(f"{where}: the cell is empty")
        if FURTHER in tags and not cell.source.startswith("## "):
            raise LessonError(f"{where}: only a heading (##) is tagged {FURTHER}")
        inside = FURTHER in tags or (inside and not cell.source.startswith("## "))
        if inside and cell.cell_type == "markdown" and "\n## " in cell.source:
            raise LessonError(f"{where}: the heading after a section tagged {FURTHER} opens a cell")
        if {"exercise", "solution"} <= set(tags):
            raise LessonError(f"{where}: a cell is an exercise or a solution, not both")
        before = tags_of(previous) if previous is not None else []
        if "exercise" in before and "solution" not in tags:
            raise LessonError(
                f"{cell_label(path, number - 1, cells[number - 2])}: an exercise without a "
                "solution; the cell after it must be tagged solution"
            )
        if "solution" in tags and "exercise" not in before:
            raise LessonError(
                f"{where}: a solution without an exercise; the cell before it must be the stub"
            )
        if "solution" in tags and previous is not None:
            if cell.cell_type != previous.cell_type:
                raise LessonError(f"{where}: the solution is {cell.cell_type}, its stub is not")
            if cell.source == previous.source:
                raise LessonError(f"{where}: the solution is the same as its stub")
        previous = cell
    if previous is not None and "exercise" in tags_of(previous):
        raise LessonError(
            f"{cell_label(path, len(cells), previous)}: an exercise without a solution"
        )


def edition(lesson: Lesson, solutions: bool) -> tuple[NotebookNode, list[int]]:
    """One edition as a notebook without outputs, and each cell's number in the source.

    The learner's edition leaves the solutions out; the solutions edition leaves the stubs out.
    """
    left_out = "exercise" if solutions else "solution"
    language = LANGUAGES[lesson.language]
    numbers, cells, seen, heading = [], [], dict[str, int](), ""
    for number, cell in enumerate(cells_with_answers_last(lesson.cells, language), start=1):
        if cell.cell_type == "markdown" and (found := re.findall(r"^## (.+)", cell.source, re.M)):
            heading = found[-1]
        if left_out in tags_of(cell):
            continue
        source = cell.source
        if cell.cell_type == "markdown":
            source = source if cells else with_glossary(source, language.glossary)
            source = deeper(source, (language is not ENGLISH) + solutions)
            if solutions and not cells:
                source = with_note(source, language.with_solutions)
        make = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        new = make(source=source)
        if tags_of(cell):
            new.metadata["tags"] = tags_of(cell)
        if FURTHER in tags_of(cell):
            new.source = source = with_further_mark(source, language.further_mark)
        if cell.cell_type == "code" and only_draws(source):
            new.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab folds the code
        if has_heading(heading, "Take it with you") and "display(Code(" in source:
            new.metadata["jupyter"] = {"outputs_hidden": True}  # screens of code to copy
        new["id"] = cell_id(cell.cell_type, source, seen)
        cells.append(new)
        numbers.append(number)
    notebook = new_notebook(
        cells=cells,
        metadata=copy.deepcopy(METADATA),
    )
    notebook.nbformat_minor = 5
    return notebook, numbers


def cells_with_answers_last(cells: list[NotebookNode], language: Language) -> list[NotebookNode]:
    """The cells, with what is folded in a text moved to a cell of its own at the end, if any."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    moved = with_answers_last(texts, language)
    cells = [copy.deepcopy(cell) for cell in cells]
    for cell, text in zip((c for c in cells if c.cell_type == "markdown"), moved, strict=False):
        cell.source = text
    return cells + [new_markdown_cell(text) for text in moved[len(texts) :]]


def with_further_mark(text: str, mark: str = FURTHER_MARK) -> str:
    """The text of a section that one may skip, with a line below its heading that says so."""
    heading, _, rest = text.partition("\n")
    return f"{heading}\n\n{mark}\n{rest}".rstrip("\n")


def with_glossary(text: str, link: str = ENGLISH.glossary) -> str:
    """The text under the title with a link to the glossary as the last line of its box, if any."""
    lines = text.split("\n")
    box = [number for number, line in enumerate(lines) if line.startswith(">")]
    if box:
        lines[box[-1] + 1 : box[-1] + 1] = [">", link]
    return "\n".join(lines)


def deeper(text: str, folders: int) -> str:
    """Text whose links start as many folders below notebooks/."""
    return re.sub(r"(\]\(|src=\"|href=\")\.\./", lambda m: m[1] + "../" * (1 + folders), text)


def with_note(text: str, note: str) -> str:
    """Text with a note behind its title."""
    title, line_break, rest = text.partition("\n")
    return f"{title}{note}{line_break}{rest}"


def cell_id(kind: str, source: str, seen: dict[str, int]) -> str:
    """An id that depends on the content alone, so that one changed cell changes one id."""
    content = f"{kind}\n{source}"
    seen[content] = seen.get(content, 0) + 1
    return hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()[:12]


def missing_parts(lesson: Lesson) -> list[str]:
    """The parts that every lesson must have and this one lacks, each as a sentence."""
    text = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    headings = [line.lower() for line in text.splitlines() if re.match(r"#{1,6} ", line)]
    may_lack = MAY_LACK.get(lesson.name[:2], set())
    missing = [
        f"{lesson.path.name}: no heading with {heading!r} in it"
        for word, heading in REQUIRED_HEADINGS.items()
        if word not in may_lack and not any(word in line for line in headings)
    ]
    box = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0].lower()
    missing += [
        f"{lesson.path.name}: the box before the first ## heading does not say {word!r}"
        for word in BOX_WORDS
        if not re.search(rf"\b{word}\b", box)
    ]
    if time_words(lesson.minutes) not in box:
        missing.append(f"{lesson.path.name}: the box does not hold '{{minutes}}'")
    return missing
