"""Makes the editions for a class; called by `make student` and `make teacher`.

    python -m tools.classroom.editions student|teacher [--to FOLDER]

Each is a folder that works wherever it is copied: notebooks, the networks and tables that they
read, the package, and a README that says how to start. No cell is run.

The student's edition has stubs with their checks, and hints and quiz folded as in the course. It
has no solutions, no verdicts and no outputs. All outputs are left out, since an image further down
answers the prediction above it; running the cells makes them again. For the same reason the code
covers the words of figures, and printed words that say how a comparison came out. In place of the
verdict, the student writes one; the cells that print its numbers stay.

The teacher's edition has the solutions, the verdicts and all outputs, and notes from
lessons/teaching.toml: misconceptions where they come up, and the slots of the courses. A lesson
whose notebook is older than its text says so; one whose notebook was not run is refused.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.classroom.covered import names_that_draw, with_covered_words
from tools.classroom.freshness import is_older
from tools.classroom.guide_tables import Misconception, read_teaching
from tools.lessons.build import notebook_path, read_lessons
from tools.lessons.languages import HEADINGS
from tools.lessons.outputs import ROOT
from tools.lessons.parts import Lesson, exercises, headings, pieces, section
from tools.lessons.source import LessonError, cell_id, edition, tags_of

# What a folder needs beside its notebooks; what does not exist is not copied.
FILES = (
    "xai_course",
    "apps",
    "benchmarks",
    "scripts",
    "data/README.md",
    "data/checkpoints",
    "data/experiments",
    "data/grades",
    "data/specification",
    "docs/glossary.md",
    "docs/handout.html",
    "docs/keras.md",
    "environment.yml",
    "pyproject.toml",
    "requirements.lock",
    "Makefile",
    "tools/find_python.sh",
    "LICENSE",
    "LICENSE-TEXT",
)
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.part", "*.lock")

CHECK = "tools/classroom/check_before_install.py"
README = Path(__file__).with_name("edition_readme.md").read_text(encoding="utf-8")
OLDER = (
    "**The outputs are older than the text**: cells that changed since have none, and others may "
    "show other numbers. Run the notebook from top to bottom, or build it with `make notebooks`."
)
MORE = {
    "student": "Predict before you run. An exercise is done when its check says *yes*. A page for "
    "your predictions, to print: [handout](docs/handout.html).",
    "teacher": "What to teach when is in [TEACHING.md](TEACHING.md); exam questions and a rubric "
    "are in [docs/assessment.md](docs/assessment.md).",
}
PLOTS = re.compile(r"^from xai_course import .*\bplots\b", re.MULTILINE)
YOURS = """**Yours first.** Go back to *{claim}*. For each of its sentences: **confirmed, refuted,
or depends?** Write the number that it rests on, its interval, and what a map that knows
nothing scores.{numbers}

*(Double-click here and write.)*"""


# --- notebooks ------------------------------------------------------------------------------------


def student_notebook(lesson: Lesson) -> NotebookNode:
    """A lesson with stubs, without solutions, verdict and outputs."""
    notebook, _ = edition(lesson, solutions=False)
    cells = pieces(notebook.cells)
    verdict = {id(cell) for cell in verdict_of(cells)}
    code = [c.source for c in cells if c.cell_type == "code"]
    drawing, loaded = names_that_draw(code), False
    kept = list[NotebookNode]()
    for cell in cells:
        if id(cell) in verdict and cell.cell_type == "markdown":
            if headings(cell.source):  # the section's first cell; the others are the verdict
                kept.append(new_markdown_cell(prompt(lesson, cell.source, verdict_of(cells))))
            continue
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"\[([^\]]+)\]\([./]*notebooks/solutions/[^)]*\)", r"\1", cell.source
            )
        elif "exercise" not in tags_of(cell):
            loaded = loaded or PLOTS.search(cell.source) is not None
            if loaded:  # a covered word is read by `plots`
                cell.source = with_covered_words(cell.source, drawing)
        kept.append(cell)
    return numbered(notebook, kept)


def verdict_of(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells of the section *Verdict*; the same objects as in a list without inner headings."""
    start = next((i for i, c in enumerate(cells) if is_verdict(c)), len(cells))
    return cells[start : start + len(section(cells[start:], "Verdict"))]


def is_verdict(cell: NotebookNode) -> bool:
    """Whether a cell opens the section *Verdict*."""
    opening = headings(cell.source)[:1] if cell.cell_type == "markdown" else []
    return bool(opening) and opening[0][1] in ("Verdict", HEADINGS["Verdict"])


def prompt(lesson: Lesson, opening: str, verdict: list[NotebookNode]) -> str:
    """What stands in place of the verdict: its heading, and what the student is to write."""
    heading = opening.lstrip().splitlines()[0]
    claim = "The claim" if section(lesson.cells, "The claim") else "Predict"
    code = any(cell.cell_type == "code" for cell in verdict)
    numbers = " The next cells print numbers to use." if code else ""
    return f"{heading}\n\n{YOURS.format(claim=claim, numbers=numbers)}"


def teacher_notebook(lesson: Lesson, notes: list[Misconception], slots: list[str]) -> NotebookNode:
    """A lesson with solutions, verdict, the outputs of the committed notebook, and notes."""
    notebook, _ = edition(lesson, solutions=True)
    path, older = notebook_path(lesson, ROOT / "notebooks", solutions=True), ""
    if path.exists():
        read = nbformat.read(path, as_version=4)
        older = f"\n>\n> {OLDER}" if is_older(lesson, read, solutions=True) else ""
        built = {cell.id: cell for cell in read.cells}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in built:
                cell.outputs = built[cell.id].outputs
                cell.execution_count = built[cell.id].execution_count
    kept = list[NotebookNode]()
    for cell in pieces(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("../../", "../").replace(
                "notebooks/solutions/", "notebooks/"
            )
            found = [words for _, words in headings(cell.source)]
            cell.source += "".join(said(note) for note in notes if [note.heading] == found[:1])
        kept.append(cell)
    kept.insert(1, new_markdown_cell(overview(lesson, slots) + older))
    return numbered(notebook, kept)


def said(note: Misconception) -> str:
    """A teacher's note about a misconception."""
    return f"\n\n> **Teacher: expect “{note.says}”** {note.cure}"


def overview(lesson: Lesson, slots: list[str]) -> str:
    """What a teacher wants to know before the lesson."""
    tasks = "; ".join(f"{e.title} ({e.minutes} min, {e.difficulty})" for e in exercises(lesson))
    used = f"\n>\n> In the courses of TEACHING.md: {'; '.join(slots)}." if slots else ""
    return f"> **Teacher.** {lesson.minutes.total} minutes with all exercises: {tasks}.{used}"


def numbered(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    """The notebook with these cells, whose ids depend on what they hold alone."""
    seen = dict[str, int]()
    for cell in cells:
        cell["id"] = cell_id(cell.cell_type, cell.source, seen)
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


# --- folders --------------------------------------------------------------------------------------


def make_edition(kind: str, folder: Path, root: Path = ROOT) -> Path:
    """Write an edition into a folder, in place of one that is there; return the folder.

    Raises LessonError if the folder holds something else.
    """
    mark = folder / ".edition"
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise LessonError(f"{folder} is not empty and holds no edition; name another with --to")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "notebooks").mkdir(parents=True)
    teaching = read_teaching(root / "lessons")
    for lesson in read_lessons(root / "lessons"):
        number = lesson.name[:2]
        if kind == "student":
            notebook = student_notebook(lesson)
        else:
            slots = [
                f"{course.name}, {slot.minutes} min"
                for course in teaching.courses
                for slot in course.slots
                if slot.lesson == number
            ]
            notes = [note for note in teaching.misconceptions if note.lesson == number]
            notebook = teacher_notebook(lesson, notes, slots)
        nbformat.write(notebook, part / "notebooks" / f"{lesson.name}.ipynb")
    for name in FILES:
        copy(root / name, part / name)
    copy(root / CHECK, part / Path(CHECK).name)
    if kind == "teacher":
        copy(root / "docs/assessment.md", part / "docs/assessment.md")
        guide = (root / "TEACHING.md").read_text(encoding="utf-8")
        guide = guide.replace("notebooks/solutions/", "notebooks/")
        (part / "TEACHING.md").write_text(guide, encoding="utf-8")
    (part / "README.md").write_text(README.format(kind=kind, more=MORE[kind]), encoding="utf-8")
    (part / ".edition").write_text(f"{kind}\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder, if it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=NOT_COPIED)
    elif source.exists():
        shutil.copy(source, target)


def main(arguments: list[str] | None = None) -> int:
    """Make what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(MORE))
    parser.add_argument("--to", type=Path, help="the folder (default: build/student or …/teacher)")
    asked = parser.parse_args(arguments)
    folder = asked.to or ROOT / "build" / asked.kind
    try:
        print(f"The {asked.kind}'s edition: {make_edition(asked.kind, folder)}")
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
