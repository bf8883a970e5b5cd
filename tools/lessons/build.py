"""Builds the notebooks from the lessons; called by `make notebooks`.

    python -m tools.lessons.build [03 ...] [--force] [--check] [--language zh [--go-on]]

Every lesson becomes two notebooks, both executed: the learner's edition in notebooks/ and the
edition with solutions in notebooks/solutions/. Without names, only changed lessons are built.

With `--language zh` the notebooks are Chinese and lie in notebooks/zh/: those of the lessons whose
catalogue in lessons/zh/ is published, or those named. `--go-on` leaves in English what has no
translation yet.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.lessons.catalogue import chinese_lesson, published
from tools.lessons.columns import STARTUP
from tools.lessons.outputs import ROOT, normalise_outputs
from tools.lessons.source import Lesson, LessonError, cell_label, edition, read_lesson, tags_of

TABLE_START, TABLE_END = "<!-- timings:start -->", "<!-- timings:end -->"
LONGEST = 60  # seconds that a lesson should run at most, on two cores

# The same conditions for every build: two threads, no accelerator, a fixed order of sets.
KERNEL_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "MKL_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "PYTHONHASHSEED": "0",
}


class ThisPython(KernelSpecManager):
    """Starts the Python that runs the builder, whichever kernels are installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """A kernel of this Python under any name."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append("--IPKernelApp.log_level=ERROR")  # its warnings are not the lesson's
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


# --- one lesson -----------------------------------------------------------------------------------


def notebook_path(lesson: Lesson, notebooks: Path, solutions: bool) -> Path:
    """The path of a lesson's notebook, in one of its two editions."""
    if lesson.language != "en":
        notebooks = notebooks / lesson.language
    return (notebooks / "solutions" if solutions else notebooks) / f"{lesson.name}.ipynb"


def build_edition(
    lesson: Lesson, folder: Path, solutions: bool, startup: str = ""
) -> tuple[str, float]:
    """Execute one edition in its own folder; return the file's text and the seconds it ran.

    `startup`: code that the kernel runs before the first cell. Raises LessonError if a cell fails,
    or if a checked cell has no output or one that changes from run to run.
    """
    notebook, numbers = edition(lesson, solutions)
    labels = [
        cell_label(lesson.path, number, cell)
        for number, cell in zip(numbers, notebook.cells, strict=True)
    ]
    metadata = json.loads(json.dumps(notebook.metadata))
    seconds = execute(notebook, labels, folder, lesson.language, startup)
    notebook.metadata = nbformat.from_dict(metadata)
    count = 0
    for cell, where in zip(notebook.cells, labels, strict=True):
        if cell.cell_type != "code":
            continue
        count += 1
        changes = normalise_outputs(cell, count)
        if "nbval-check-output" in tags_of(cell):
            if changes:
                raise LessonError(f"{where}: a checked cell whose output can change: {changes[0]}")
            if not cell.outputs:
                raise LessonError(f"{where}: a checked cell without output")
        elif changes and changes[0].startswith("it writes to stderr (") and "%|" not in changes[0]:
            print(f"  note: {where}: {changes[0]}; dropped", file=sys.stderr)
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n", seconds


def execute(
    notebook: NotebookNode,
    labels: list[str],
    folder: Path,
    language: str = "en",
    startup: str = "",
) -> float:
    """Run a notebook's cells, in the working directory `folder`; return the seconds.

    The outputs are written into the notebook. `labels`: how an error names each cell. `language`:
    in which the course's checks and figures speak. `startup`: code to run before the first cell.
    """
    current = 0

    def note_cell(cell: NotebookNode, cell_index: int) -> None:
        nonlocal current
        current = cell_index

    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=600,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=note_cell,
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as profile:  # not the IPython settings of whoever builds
        environment = {**os.environ, **KERNEL_ENVIRONMENT, "IPYTHONDIR": profile}
        environment["LANG_COURSE"] = language
        if language != "en":
            startup += STARTUP.format(root=str(ROOT))
        if startup:
            file = Path(profile) / "profile_default" / "startup" / "startup.py"
            file.parent.mkdir(parents=True)
            file.write_text(startup, encoding="utf-8")
        environment.pop("MPLBACKEND", None)
        try:
            client.execute(env=environment, cleanup_kc=True)
        except Exception as error:
            raise LessonError(f"{labels[current]}: {reason(error)}") from error
    for cell, where in zip(notebook.cells, labels, strict=True):
        failed = any(output.output_type == "error" for output in cell.get("outputs", []))
        if "raises-exception" in tags_of(cell) and not failed:
            raise LessonError(f"{where}: tagged raises-exception, but it raises none")
    return time.perf_counter() - start


def reason(error: Exception) -> str:
    """What went wrong in a cell, in one line."""
    name = getattr(error, "ename", type(error).__name__)
    value = getattr(error, "evalue", str(error))
    return f"raised {name}: {value}".splitlines()[0]


def build_lesson(lesson: Lesson, notebooks: Path) -> float:
    """Build and write both editions, or neither; return the seconds of the learner's edition."""
    built = []
    for solutions in (False, True):
        path = notebook_path(lesson, notebooks, solutions)
        path.parent.mkdir(parents=True, exist_ok=True)
        built.append((path, *build_edition(lesson, path.parent, solutions)))
    for path, text, _ in built:
        write(path, text)
    return built[0][2]


def write(path: Path, text: str) -> None:
    """Write a file as a whole, or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


# --- all lessons ----------------------------------------------------------------------------------


def read_lessons(folder: Path, names: list[str] | None = None) -> list[Lesson]:
    """The lessons of a folder in order; with names or their beginnings ("03"), those alone."""
    paths = sorted(folder.glob("[0-9][0-9]_*.py"))
    if names:
        chosen = set[Path]()
        for name in names:
            matching = [path for path in paths if path.stem.startswith(Path(name).stem)]
            if not matching:
                raise LessonError(f"no lesson is called {name!r} in {folder.name}/")
            chosen.update(matching)
        paths = sorted(chosen)
    return [read_lesson(path) for path in paths]


def lessons_in(
    language: str, root: Path = ROOT, names: list[str] | None = None, go_on: bool = False
) -> list[Lesson]:
    """The lessons in a language; in Chinese those that are published, or those named.

    Raises LessonError for one of these without current translations, except with `go_on`.
    """
    lessons = read_lessons(root / "lessons", names)
    if language == "en":
        return lessons
    ready = set(published(root))
    chosen = [lesson for lesson in lessons if names or lesson.name in ready]
    return [chinese_lesson(lesson, root, go_on) for lesson in chosen]


def disagreements(lesson: Lesson, notebooks: Path) -> list[str]:
    """How a lesson's notebooks differ from its source, each as a sentence; no cell is run."""
    problems = []
    for solutions in (False, True):
        path = notebook_path(lesson, notebooks, solutions)
        label = f"{'solutions/' if solutions else ''}{path.name}"
        if not path.exists():
            problems.append(f"{label} is missing")
            continue
        expected, _ = edition(lesson, solutions)
        built = nbformat.read(path, as_version=4)
        if [without_outputs(cell) for cell in built.cells] != [
            without_outputs(cell) for cell in expected.cells
        ]:
            problems.append(f"{label} differs from {lesson.path.name}")
        elif built.metadata != expected.metadata:
            problems.append(f"{label} has other metadata than the builder writes")
        elif [cell.execution_count for cell in built.cells if cell.cell_type == "code"] != list(
            range(1, 1 + sum(cell.cell_type == "code" for cell in built.cells))
        ):
            problems.append(f"{label} was not executed from top to bottom")
    return problems


def without_outputs(cell: NotebookNode) -> dict[str, object]:
    """The parts of a cell that its source decides."""
    keys = ("id", "cell_type", "source", "metadata")
    return {key: cell[key] for key in keys}


def strays(lessons: list[Lesson], notebooks: Path) -> list[str]:
    """Notebooks that have no lesson, each as a sentence."""
    names = {lesson.name for lesson in lessons}
    paths = sorted([*notebooks.glob("*.ipynb"), *notebooks.glob("solutions/*.ipynb")])
    return [
        f"{path.relative_to(notebooks)} has no lesson" for path in paths if path.stem not in names
    ]


def timing_table(lessons: list[Lesson], seconds: dict[str, float]) -> str:
    """The README's table: for each lesson its question, how long it runs, how long it takes."""
    lines = ["| lesson | the question | runs in | reading | to go further | exercises |"]
    lines.append("|---|---|---|---|---|---|")
    for lesson in lessons:
        title = f"{lesson.name[:2]} {lesson.title}".replace("|", "\\|")
        question = lesson.question.replace("|", "\\|")
        run = f"{max(1, round(seconds[lesson.name]))} s" if lesson.name in seconds else "–"
        lines.append(
            f"| [{title}](notebooks/{lesson.name}.ipynb) | {question} | {run} "
            f"| {lesson.minutes.core} min | {minutes_or_dash(lesson.minutes.further)} "
            f"| [{lesson.exercises}](notebooks/solutions/{lesson.name}.ipynb), "
            f"{lesson.minutes.exercises} min |"
        )
    return "\n".join(lines) if lessons else "The first lessons are being written."


def minutes_or_dash(minutes: int) -> str:
    """Minutes, or a dash for none."""
    return f"{minutes} min" if minutes else "–"


def with_table(readme: str, table: str) -> str:
    """The README's text with the table between its two markers."""
    before, start, rest = readme.partition(TABLE_START)
    _, end, after = rest.partition(TABLE_END)
    if not start or not end:
        raise LessonError(f"README.md has no {TABLE_START} … {TABLE_END}")
    return f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}"


def read_seconds(lessons_folder: Path) -> dict[str, float]:
    """The seconds of each lesson as last measured."""
    path = lessons_folder / "timings.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Build, or check with ``--check``; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons to build, such as 03, even if unchanged")
    parser.add_argument("--force", action="store_true", help="build all, even if unchanged")
    parser.add_argument("--check", action="store_true", help="only compare lessons and notebooks")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="folder with lessons/ and notebooks/"
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the notebooks")
    parser.add_argument("--go-on", action="store_true", help="leave what is not translated English")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    lessons_folder, notebooks = root / "lessons", root / "notebooks"
    try:
        if options.language == "zh":
            return build_chinese(root, options)
        lessons = read_lessons(lessons_folder)
        if options.check:
            problems = strays(lessons, notebooks)
            problems += [text for lesson in lessons for text in disagreements(lesson, notebooks)]
            print("\n".join(problems) if problems else f"{len(lessons)} lessons agree")
            return 1 if problems else 0
        chosen = read_lessons(lessons_folder, options.names) if options.names else lessons
        everything = options.force or bool(options.names)
        seconds = read_seconds(lessons_folder)
        for lesson in chosen:
            if everything or disagreements(lesson, notebooks):
                print(f"{lesson.name} …", flush=True)
                seconds[lesson.name] = round(build_lesson(lesson, notebooks), 1)
                slow = f"; more than {LONGEST} s" if seconds[lesson.name] > LONGEST else ""
                print(f"  {seconds[lesson.name]} s{slow}", flush=True)
                record(root, lessons, seconds)
        record(root, lessons, seconds)
    except LessonError as error:
        print(f"Not built: {error}", file=sys.stderr)
        return 1
    return 0


def build_chinese(root: Path, options: argparse.Namespace) -> int:
    """The same for the Chinese notebooks; what they take is not recorded. Return the exit status.

    Raises LessonError for a published lesson, or one that is named, without current translations.
    """
    lessons = lessons_in("zh", root, options.names, options.go_on)
    notebooks = root / "notebooks"
    if options.check:
        problems = [text for lesson in lessons for text in disagreements(lesson, notebooks)]
        problems += [] if options.names else strays(lessons, notebooks / "zh")
        print("\n".join(problems) if problems else f"{len(lessons)} Chinese lessons agree")
        return 1 if problems else 0
    for lesson in lessons:
        if options.force or options.names or disagreements(lesson, notebooks):
            print(f"{lesson.name} …", flush=True)
            print(f"  {build_lesson(lesson, notebooks):.1f} s", flush=True)
    return 0


def record(root: Path, lessons: list[Lesson], seconds: dict[str, float]) -> None:
    """Write the seconds to lessons/timings.json and the table to README.md."""
    known = {lesson.name: seconds[lesson.name] for lesson in lessons if lesson.name in seconds}
    write(root / "lessons" / "timings.json", json.dumps(known, indent=1, sort_keys=True) + "\n")
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    write(readme, with_table(text, timing_table(lessons, known)))


if __name__ == "__main__":
    sys.exit(main())
