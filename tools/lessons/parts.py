"""What a lesson holds, as data: its headings, its exercises with their checks, its quiz.

The teaching guide, the slides and the grader read lessons through this file, so that none of them
repeats by hand what a lesson says.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.lessons.languages import DIFFICULTIES, HEADINGS, RIGHT
from tools.lessons.source import Lesson, LessonError, tags_of

# In English and in Chinese: **1. Title** (10 minutes, easy), **1. 标题**（10 分钟，容易）
MARK = re.compile(
    r"\*\*(\d+)\. ([^*]+)\*\* ?[(（](\d+(?: (?:to|到) \d+)?) (?:minutes, |分钟，)(\w+)[)）]"
)
QUESTION = re.compile(r"\*\*(\d+)\. (.+?)\*\*\n", re.DOTALL)
WITHIN = r"((?:(?!</?(?:details|summary)>).)+?)"  # words without another fold in them
OPTION = re.compile(
    rf"<details><summary>([a-z])\) {WITHIN}</summary>\n\n{WITHIN}\n</details>\n?", re.DOTALL
)


@dataclass(frozen=True)
class Exercise:
    """An exercise: what it is called, what it takes, the learner's function and its check."""

    number: int
    title: str
    minutes: str  # such as "10" or "5 to 10"
    difficulty: str
    function: str
    room: str  # the module of the check
    check: str


@dataclass(frozen=True)
class Option:
    """One answer to a question, with the reason why it is right or not."""

    letter: str
    text: str
    right: bool
    reason: str


@dataclass(frozen=True)
class Question:
    """A quiz question with its options."""

    number: int
    text: str
    options: tuple[Option, ...]

    @property
    def answer(self) -> Option:
        """The right option."""
        return next(option for option in self.options if option.right)


# --- headings -------------------------------------------------------------------------------------


def headings(text: str) -> list[tuple[int, str]]:
    """The headings of a Markdown text, with their levels; not those within fenced code."""
    found, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and (match := re.match(r"(#{1,6}) +(.+)", line)):
            found.append((len(match[1]), match[2].strip()))
    return found


def lesson_headings(lesson: Lesson) -> list[str]:
    """All headings of a lesson below its title, as they are written."""
    texts = (cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    return [words for text in texts for level, words in headings(text) if level > 1]


def pieces(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, with text cut before each heading, so that a heading is always at the start."""
    found = []
    for cell in cells:
        parts, fenced = [""], False
        for line in cell.source.splitlines(keepends=True) if cell.cell_type == "markdown" else []:
            fenced ^= line.startswith("```")
            if not fenced and re.match(r"#{1,6} ", line) and parts[-1].strip():
                parts.append("")
            parts[-1] += line
        found += [new_markdown_cell(part.strip()) for part in parts] if parts[0] else [cell]
    return found


def section(cells: list[NotebookNode], words: str) -> list[NotebookNode]:
    """The pieces from a heading that begins with these words up to the next of its level or above.

    Empty if there is no such heading.
    """
    found, level = list[NotebookNode](), 0
    for cell in pieces(cells):
        opening = headings(cell.source)[:1] if cell.cell_type == "markdown" else []
        if opening and found and opening[0][0] <= level:
            break
        if opening and not found and begins(opening[0][1], words):
            level = opening[0][0]
        if level:
            found.append(cell)
    return found


def begins(heading: str, words: str) -> bool:
    """Whether a heading begins with these words, or with the Chinese of those that have one."""
    return heading.startswith((words, HEADINGS.get(words, words)))


def anchor(heading: str) -> str:
    """The anchor of a heading, as JupyterLab and nbconvert write it: with dashes for spaces."""
    return quote(plain(heading).replace(" ", "-"), safe="-._~!'()*:@/?,;=+&")


def plain(text: str) -> str:
    """Markdown without its marks for emphasis and code."""
    return re.sub(r"[*`]|(?<!\w)_|_(?!\w)", "", text)


# --- exercises ------------------------------------------------------------------------------------


def exercises(lesson: Lesson) -> list[Exercise]:
    """The exercises of a lesson in order.

    Raises LessonError for one without a line `**1. Title** (10 minutes, easy)` before it, or
    without a cell that checks it.
    """
    found = list[Exercise]()
    for index, cell in enumerate(lesson.cells):
        if "exercise" not in tags_of(cell):
            continue
        before = [c.source for c in lesson.cells[:index] if c.cell_type == "markdown"]
        marks = MARK.findall("\n".join(before).replace("\n", " "))
        where = f"{lesson.path.name}, the exercise {cell.source.splitlines()[0]!r}"
        if len(marks) != len(found) + 1 or int(marks[-1][0]) != len(found) + 1:
            raise LessonError(
                f"{where}: no line like '**{len(found) + 1}. Title** (10 minutes, easy)' before it"
            )
        _, title, minutes, difficulty = marks[-1]
        if difficulty not in {*DIFFICULTIES, *DIFFICULTIES.values()}:
            raise LessonError(f"{where}: {difficulty!r} is none of {', '.join(DIFFICULTIES)}")
        room, check, function = read_check(where, lesson.cells[index + 2].source)
        found.append(
            Exercise(len(found) + 1, title, minutes, difficulty, function, room, check),
        )
    return found


def read_check(where: str, source: str) -> tuple[str, str, str]:
    """Module, name and argument of the check that a cell calls: `check_it(learners_function)`."""
    rooms = dict[str, str]()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            rooms |= {alias.name: node.module for alias in node.names}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called, given = node.value.func, node.value.args
            if isinstance(called, ast.Name) and called.id in rooms and len(given) == 1:
                function = given[0]
                if isinstance(function, ast.Name):
                    return rooms[called.id], called.id, function.id
    raise LessonError(f"{where}: the cell after the solution does not import and call its check")


# --- quiz -----------------------------------------------------------------------------------------


def quiz(lesson: Lesson) -> list[Question]:
    """The quiz of a lesson; its questions and options are folds that GitHub and JupyterLab open.

    A question is a bold line `**1. Words?**`, an option a fold `<details><summary>a) …</summary>`
    with its reason; the reason of the right one begins with *Yes*, in Chinese with 对. Raises
    LessonError for anything else in the section: wrong numbers or letters, an option without a
    reason, not exactly one right option, text outside of the pattern.
    """
    cells = section(lesson.cells, "Quiz")
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    where = f"{lesson.path.name}, the quiz"
    _, _, text = text.partition("\n")
    parts = QUESTION.split(text)
    if parts[0].strip() or len(parts) < 4:
        raise LessonError(f"{where} does not begin with '**1. Words?**'")
    found = list[Question]()
    for number, words, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        options = tuple(read_options(rest))
        at = f"{where}, question {number}"
        if int(number) != len(found) + 1:
            raise LessonError(f"{at} comes where number {len(found) + 1} should")
        if left := OPTION.sub("", rest).strip():
            raise LessonError(f"{at} has words outside of its folds: {left[:60]!r}")
        if "".join(option.letter for option in options) != "abcdefgh"[: len(options)]:
            raise LessonError(f"{at}: the options are not a), b), c) …")
        if len(options) < 2 or sum(option.right for option in options) != 1:
            raise LessonError(f"{at}: of at least two reasons exactly one must begin with 'Yes'")
        found.append(Question(int(number), " ".join(words.split()), options))
    return found


def read_options(text: str) -> Iterator[Option]:
    """The options of one question."""
    for letter, words, reason in OPTION.findall(text):
        right = RIGHT.match(reason) is not None
        yield Option(letter, " ".join(words.split()), right, " ".join(reason.split()))
