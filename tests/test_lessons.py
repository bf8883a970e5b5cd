"""Every lesson: its notebooks agree with it, and it has what a lesson has.

`make test` runs the notebooks with solutions. The learner's notebooks differ from them in the stubs
and in what follows from a stub; the tests at the end of this file prove that, and run the rest.
"""

import ast
import contextlib
import io
from itertools import pairwise

import nbformat
import pytest
from lessons_of_the_course import LESSONS, each_lesson

from tools.grading.submission import read_submission
from tools.lessons.build import (
    disagreements,
    notebook_path,
    read_seconds,
    strays,
    timing_table,
    with_table,
)
from tools.lessons.outputs import ROOT
from tools.lessons.source import Lesson, edition, missing_parts, tags_of

NOTEBOOKS = ROOT / "notebooks"
LARGEST = 3_000_000  # bytes of one notebook
WIDEST = 85  # characters of a printed line that the site and JupyterLab show without scrolling


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
def test_no_printed_line_is_wider_than_the_page(lesson):
    wide = []
    for name, notebook in editions(lesson).items():
        for cell in code_cells(notebook):
            for output in cell.outputs:
                plain = set(output.get("data", {})) == {"text/plain"}  # else a table or a picture
                text = output.data["text/plain"] if plain else output.get("text", "")
                wide += [
                    f"{name}, cell [{cell.execution_count}], {len(line)} characters: {line}"
                    for line in text.splitlines()
                    if len(line) > WIDEST
                ]
    assert not wide, "\n".join([lesson.name, *wide])


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


# --- what the learner's notebooks prove beyond those with solutions -------------------------------


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def names_of_exercises(cells):
    """The names that the stubs or solutions among these cells define."""
    chosen = [cell.source for cell in cells if {"exercise", "solution"} & set(tags_of(cell))]
    return read_submission(chosen).names


def depends_on_an_answer(cell, names):
    """Whether a cell is a stub or a solution, or uses what one defines."""
    reads = {name for one in read_submission([cell.source]).statements for name in one.reads}
    return bool({"exercise", "solution"} & set(tags_of(cell)) or reads & names)


@each_lesson
def test_a_solution_defines_what_its_stub_defines(lesson):
    for stub, solution in pairwise(lesson.cells):
        if "exercise" in tags_of(stub):
            defined, solved = (read_submission([cell.source]).names for cell in (stub, solution))
            assert defined == solved, stub.source


@each_lesson
def test_both_notebooks_have_the_same_code_and_print_the_same_but_for_the_answers(lesson):
    """So a cell that passes in the notebook with solutions passes in the learner's, too."""
    learner, solved = (code_cells(notebook) for notebook in editions(lesson).values())
    names = names_of_exercises(learner) | names_of_exercises(solved)
    for cell, other in zip(learner, solved, strict=True):
        assert depends_on_an_answer(cell, names) == depends_on_an_answer(other, names)
        if "exercise" in tags_of(cell):
            assert "solution" in tags_of(other)
            continue
        assert (cell.source, cell.metadata) == (other.source, other.metadata)
        if "nbval-check-output" in tags_of(cell) and not depends_on_an_answer(cell, names):
            assert printed(cell) == printed(other), cell.source


def printed(cell):
    """The output of a cell, without images."""
    texts = []
    for output in cell.outputs:
        data = {kind: text for kind, text in output.get("data", {}).items() if "image" not in kind}
        texts.append((output.output_type, output.get("text"), output.get("evalue"), data))
    return texts


# Where a stub's answer starts a computation, these run for minutes.
SLOW_STUBS = {"a_world_with_an_answer_key", "faster_and_better", "methods_you_have_heard_of"}
assert {lesson.name[3:] for lesson in LESSONS} >= SLOW_STUBS


def speed(lesson):
    """The marks of a lesson in the test below."""
    return [pytest.mark.heavy] if lesson.name[3:] in SLOW_STUBS else []


@pytest.mark.parametrize(
    "lesson", [pytest.param(lesson, id=lesson.name, marks=speed(lesson)) for lesson in LESSONS]
)
def test_what_uses_a_stub_runs_and_its_check_says_not_yet(lesson):
    """Runs the cells that use an exercise, each with the statements that it needs."""
    cells = code_cells(edition(lesson, solutions=False)[0])
    submission = read_submission([cell.source for cell in cells])
    names, answers = names_of_exercises(cells), 0
    for cell in cells:
        statements = read_submission([cell.source]).statements
        if "exercise" in tags_of(cell) or not depends_on_an_answer(cell, names):
            continue
        reads = {name for statement in statements for name in reads_with_a_stub(statement)}
        space = {"__name__": "learner"}
        for name in sorted(reads & submission.names):
            exec(submission.needed(name), space)
        *rest, last = (compile_statement(statement) for statement in statements)
        with contextlib.redirect_stdout(io.StringIO()):
            for code in rest:
                exec(code, space)
            result = eval(last, space)
        answers += "not yet" in repr(result)
    assert answers == lesson.exercises


def reads_with_a_stub(statement):
    """The names that a statement reads; of `if check(it).status == "yes":` its condition's."""
    node = statement.node
    if isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test).endswith("== 'yes'"):
        return {each.id for each in ast.walk(node.test) if isinstance(each, ast.Name)}
    return statement.reads


def compile_statement(statement):
    """A statement as code; an expression as one that has a value."""
    node = statement.node
    if isinstance(node, ast.Expr):
        return compile(ast.Expression(node.value), "cell", "eval")
    return compile(ast.Module([node], []), "cell", "exec")
