"""Grades a folder of submitted notebooks; called by `make grade SUBMISSIONS=folder`.

    python -m tools.grading.grade FOLDER [--to grades.csv] [--lesson 04] [--seconds 20]
                                      [--memory 2000] [--language zh] [--anew]

Of each notebook only the learner's functions are run, each with the statements that it needs
(imports, helpers, constants). They run in a process for each exercise (sandbox.py), with limits on
time and memory, and only compute; the course's own checks draw the inputs and judge the answers in
this process (judge.py). What a notebook prints or shows, and checks that it defines itself, do not
count. The table is a CSV with one row for each notebook, written after each one: an interrupted run
is resumed.

Why not nbgrader or Otter-Grader? Both run a notebook from top to bottom, which takes half a minute
and a gigabyte here, and both need their own format: cell metadata and a database, or test files.
The checks of this course take a function and return a sentence, so to grade is to call them. For
hundreds of learners with accounts and deadlines, use nbgrader, for its exchange and its gradebook.

What this does not protect against: TEACHING.md, "Grading".
"""

import argparse
import csv
import hashlib
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tools.grading.chinese import translated
from tools.grading.hints import with_hint
from tools.grading.judge import Limits, Sandbox, can_confine, judge
from tools.grading.submission import Submission, read_submission
from tools.lessons.build import read_lessons, write
from tools.lessons.outputs import ROOT
from tools.lessons.parts import Exercise, exercises
from tools.lessons.source import LessonError
from xai_course.core.translation import LANGUAGES, language, use_language

LARGEST = 20_000_000  # bytes of one notebook
OPEN = (
    "This machine has no Linux namespaces, or does not allow them: the notebooks' code can reach "
    "your files, your processes and the network. Grade strangers in a container (TEACHING.md)."
)
WORDS = {"yes": "passed", "not yet": "not yet", "no": "wrong", "error": "error"}


def grade_folder(
    folder: Path,
    table: Path,
    limits: Limits,
    lesson: str | None = None,
    anew: bool = False,
    speak: str = "en",
) -> Iterator[dict[str, str]]:
    """Grade all notebooks below a folder; yield each row, and write the table after each.

    Notebooks in any language are graded alike; the table's sentences are in the language `speak`.
    Rows that the table holds of unchanged files are kept, except with `anew`. Raises LessonError if
    the folder does not exist or is empty, or if the course has no such lesson.
    """
    known = course_exercises()
    expected = None
    if lesson is not None:
        expected = next((name for name in known if name.startswith(lesson)), None)
        if expected is None:
            raise LessonError(f"no lesson is called {lesson!r}")
    names = list(submitted(folder))
    if not names:
        raise LessonError(f"{folder} holds no notebooks and no folders")
    columns = column_names(max(map(len, known.values())))
    kept = {} if anew else read_table(table, columns)
    keys = [(safe(name), digest_of(folder / name), lesson or "") for name in names]
    with Sandbox(submissions=folder) as sandbox:
        for name, key in zip(names, keys, strict=True):
            if key not in kept:
                with use_language(speak):
                    row = grade_file(folder / name, known, expected, limits, sandbox)
                named = dict(zip(("file", "sha256", "asked"), key, strict=True))
                kept[key] = dict.fromkeys(columns, "") | row | named
            write_table(table, columns, [kept[key] for key in keys if key in kept])
            yield kept[key]


def submitted(folder: Path) -> Iterator[str]:
    """What is graded in a folder: each notebook, and each first-level folder without any."""
    if not folder.is_dir():
        raise LessonError(f"{folder} is not a folder")
    notebooks = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts and path.is_file() and not path.is_symlink()
    )
    full = {path.parts[0] for path in notebooks}
    for path in sorted({*notebooks, *(Path(entry.name) for entry in folder.iterdir())}):
        if path in notebooks:
            yield path.as_posix()
        elif (folder / path).is_dir() and path.name not in full | {".ipynb_checkpoints"}:
            yield f"{path.as_posix()}/"


def grade_file(
    path: Path,
    known: dict[str, list[Exercise]],
    expected: str | None,
    limits: Limits,
    sandbox: Sandbox,
) -> dict[str, str]:
    """Grade one notebook: the row of the table, without the file's name."""
    start = time.perf_counter()
    try:
        submission = read_submission(*read_notebook(path))
        name = lesson_of(submission, known)
        if expected is not None and name != expected:
            raise LessonError(f"this is lesson {name[:2]}, and {expected[:2]} was asked for")
    except LessonError as error:
        return {"points": "0", "wrong": sentence(translated(str(error)))}
    row, points, found = {"lesson": name}, 0, []
    for exercise in known[name]:
        status, words = "error", f"there is no function {exercise.function} in this notebook"
        if exercise.function in submission.broken:
            words = submission.broken[exercise.function]
        elif source := submission.needed(exercise.function):
            found.append(exercise.function)
            status, words = judge({**vars(exercise), "source": source}, limits, sandbox)
        points += status == "yes"
        row[f"exercise_{exercise.number}"] = WORDS[status]
        row[f"says_{exercise.number}"] = sentence(with_hint(translated(words)))
    row |= {"points": str(points), "of": str(len(known[name]))}
    row["wrong"] = sentence("; ".join(map(translated, submission.problems)))
    row["look"] = sentence("; ".join(map(translated, submission.suspicious(found))))
    return row | {"seconds": f"{time.perf_counter() - start:.1f}"}


def course_exercises() -> dict[str, list[Exercise]]:
    """The exercises of each lesson of the course, by its name."""
    return {lesson.name: exercises(lesson) for lesson in read_lessons(ROOT / "lessons")}


def read_notebook(path: Path) -> tuple[list[str], list[int | None]]:
    """The code of a notebook's cells and their numbers, or LessonError with a sentence."""
    if path.is_dir():
        raise LessonError("there is no notebook in this folder")
    if path.stat().st_size == 0:
        raise LessonError("the file is empty: save the notebook and hand it in again")
    if path.stat().st_size > LARGEST:
        raise LessonError(f"the file is larger than {LARGEST // 1_000_000} MB; not opened")
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return [str(cell.source) for cell in cells], [count_of(cell) for cell in cells]
    except Exception as error:  # a file that is no notebook can raise anything
        raise LessonError(f"it cannot be read as a notebook ({type(error).__name__})") from error


def count_of(cell: nbformat.NotebookNode) -> int | None:
    """The number that JupyterLab shows beside a cell, if it was run."""
    count = cell.get("execution_count")
    return count if isinstance(count, int) else None


def lesson_of(submission: Submission, known: dict[str, list[Exercise]]) -> str:
    """The lesson of a notebook: found by the checks that it imports, else by its functions."""
    names = submission.names | set(submission.broken)
    for wanted in (
        {name: {e.room for e in found} & submission.modules for name, found in known.items()},
        {name: {e.function for e in found} & names for name, found in known.items()},
    ):
        best = max(wanted, key=lambda name: len(wanted[name]))
        if sum(len(found) == len(wanted[best]) for found in wanted.values()) == 1:
            return best
    raise LessonError("no exercise of this course is in it")


# --- the table ------------------------------------------------------------------------------------


def column_names(most: int) -> list[str]:
    """The columns of the table, for lessons with at most this many exercises."""
    pairs = [f"{word}_{n + 1}" for n in range(most) for word in ("exercise", "says")]
    return ["file", "lesson", *pairs, "points", "of", "wrong", "look", "asked", "sha256", "seconds"]


def read_table(path: Path, columns: list[str]) -> dict[tuple[str, str, str], dict[str, str]]:
    """The rows of a table, by file, content and requested lesson.

    Raises LessonError for a table with other columns.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened))
    if rows and list(rows[0]) != columns:
        raise LessonError(f"{path} is another table; name a new one with --to")
    return {(row["file"], row["sha256"], row["asked"]): row for row in rows}


def write_table(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    """Write the table as a whole, or not at all; with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, f"\ufeff{text.getvalue()}")


def sentence(words: str) -> str:
    """Text as one short line that no spreadsheet reads as a formula."""
    return safe(" ".join(words.split())[:300])


def safe(words: str) -> str:
    """Text that can be written to a file, and that no spreadsheet reads as a formula."""
    words = words.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{words}" if words[:1] in ("=", "+", "-", "@") else words


def digest_of(path: Path) -> str:
    """The beginning of the SHA-256 of a file's content; of a folder, nothing."""
    return "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    """Grade what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with notebooks, at any depth")
    parser.add_argument("--to", type=Path, help="the table (default: FOLDER/grades.csv)")
    parser.add_argument("--lesson", help="the lesson that was set, such as 03 (default: any)")
    parser.add_argument("--seconds", type=float, default=20, help="for one exercise (20)")
    parser.add_argument("--memory", type=int, default=2000, help="MB for one exercise (2000)")
    parser.add_argument(
        "--language",
        choices=sorted(LANGUAGES),
        default=language(),
        help="of the table's sentences (default: LANG_COURSE, or the system's)",
    )
    parser.add_argument("--anew", action="store_true", help="also grade what the table has already")
    asked = parser.parse_args(arguments)
    table = asked.to or asked.folder / "grades.csv"
    limits = Limits(asked.seconds, asked.memory)
    if not can_confine():
        print(OPEN, file=sys.stderr)
    try:
        rows = grade_folder(asked.folder, table, limits, asked.lesson, asked.anew, asked.language)
        for row in rows:
            points = f"{row['points']} of {row['of']}" if row["of"] else "–"
            print(f"{points:8} {row['file']}  {row['wrong']}", flush=True)
    except LessonError as error:
        print(f"Not graded: {error}", file=sys.stderr)
        return 2
    print(f"The table: {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
