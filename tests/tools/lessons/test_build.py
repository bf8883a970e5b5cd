"""The builder of notebooks, tried on small lessons that are run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from trial_lesson import EVERYTHING, HEADER, build, course

from tools.lessons.build import (
    LessonError,
    disagreements,
    execute,
    read_lessons,
    strays,
    timing_table,
    with_table,
)
from tools.lessons.source import METADATA, read_lesson


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A course with one whole lesson, built; and the bytes of both notebooks."""
    folder = tmp_path_factory.mktemp("course")
    course(folder, EVERYTHING)
    assert build(folder) == 0
    return folder, {path: path.read_bytes() for path in folder.rglob("*.ipynb")}


def test_both_editions_are_executed(built):
    folder, files = built
    learner = code_cells(folder / "notebooks" / "00_trial.ipynb")
    solved = code_cells(folder / "notebooks" / "solutions" / "00_trial.ipynb")
    assert len(files) == 2
    for cells in (learner, solved):
        assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, 5]
    assert printed(learner[1]) == "not yet\n"
    assert printed(solved[1]) == "yes\n"


def test_built_outputs_hold_nothing_of_the_run(built):
    folder, files = built
    for path in files:
        outputs = str([cell.outputs for cell in code_cells(path)])
        for trace in ("stderr", "widget-view", "it/s", str(folder), "iopub", "0x7"):
            assert trace not in outputs, trace
    learner = code_cells(folder / "notebooks" / "00_trial.ipynb")
    assert printed(learner[2]).startswith("one\ntwo\n")
    assert learner[2].outputs[-1].data == {"text/plain": "<object at 0x…>"}
    assert learner[4].outputs[0].traceback == ["KeyError: 'missing'"]
    metadata = nbformat.read(folder / "notebooks" / "00_trial.ipynb", as_version=4).metadata
    assert metadata == METADATA  # whatever kernel ran it


@pytest.mark.end_to_end
def test_the_same_bytes_twice_and_only_what_changed(built, capsys):
    folder, files = built
    assert build(folder) == 0
    assert "00_trial" not in capsys.readouterr().out  # nothing to do
    assert build(folder, "--force") == 0
    assert "00_trial" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.rglob("*.ipynb")} == files


def test_seconds_and_table(built):
    folder, _ = built
    seconds = json.loads((folder / "lessons" / "timings.json").read_text())
    assert list(seconds) == ["00_trial"]
    assert seconds["00_trial"] > 0
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# T\n<!-- timings:start -->\n| lesson |")
    assert readme.endswith("<!-- timings:end -->\nend\n")
    assert "[00 A title](notebooks/00_trial.ipynb) | Is it so? | " in readme
    assert "| 5 min | – | [1](notebooks/solutions/00_trial.ipynb), 0 min |" in readme
    table = timing_table(read_lessons(folder / "lessons"), {"00_trial": 12.4})
    assert "| 12 s |" in table
    with pytest.raises(LessonError, match="timings:start"):
        with_table("no markers", table)


def test_check_finds_what_drifted(built, tmp_path, capsys):
    folder, files = built
    course(tmp_path, EVERYTHING)
    assert build(tmp_path, "--check") == 1
    assert "00_trial.ipynb is missing" in capsys.readouterr().out
    for path, content in files.items():
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    assert build(tmp_path, "--check") == 0

    source = tmp_path / "lessons" / "00_trial.py"
    source.write_text(EVERYTHING.replace("return 2 * x", "return x + x"), encoding="utf-8")
    (lesson,) = read_lessons(tmp_path / "lessons")
    assert disagreements(lesson, tmp_path / "notebooks") == [
        "solutions/00_trial.ipynb differs from 00_trial.py"
    ]
    source.write_text(EVERYTHING, encoding="utf-8")

    path = tmp_path / "notebooks" / "00_trial.ipynb"
    path.write_text(path.read_text().replace('"execution_count": 2', '"execution_count": 7'))
    assert disagreements(lesson := read_lesson(source), tmp_path / "notebooks") == [
        "00_trial.ipynb was not executed from top to bottom"
    ]
    (tmp_path / "notebooks" / "07_old.ipynb").write_text("{}")
    assert strays([lesson], tmp_path / "notebooks") == ["07_old.ipynb has no lesson"]
    assert build(tmp_path, "--check") == 1


@pytest.mark.end_to_end
def test_both_editions_pass_nbval(built):
    folder, _ = built
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
    arguments += ["--nbval-current-env", "--rootdir", str(folder), str(folder / "notebooks")]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "10 passed" in result.stdout, result.stdout + result.stderr


RUNS_BADLY = {
    "raises": ("x = 1 / 0", "", "cell 2 (x = 1 / 0): raised ZeroDivisionError: division by zero"),
    "raises in the solution": (
        '0\n\n# %% tags=["exercise"]\nx = 1\n\n# %% tags=["solution"]\nx = y',
        "",
        "cell 4 (x = y): raised NameError",
    ),
    "checked, silent": (
        "x = 1",
        "nbval-check-output",
        "cell 2 (x = 1): a checked cell without output",
    ),
    "checked, stderr": (
        "import sys; print('a'); print('b', file=sys.stderr)",
        "nbval-check-output",
        "a checked cell whose output can change: it writes to stderr",
    ),
    "checked, address": (
        "object()",
        "nbval-check-output",
        "cell 2 (object()): a checked cell whose output can change: its output holds",
    ),
    "does not raise": ("x = 1", "raises-exception", "tagged raises-exception, but it raises none"),
}


@pytest.mark.parametrize(("code", "tag", "complaint"), RUNS_BADLY.values(), ids=RUNS_BADLY.keys())
def test_a_lesson_that_runs_badly_is_refused(tmp_path, code, tag, complaint, capsys):
    tags = f' tags=["{tag}"]' if tag else ""
    course(tmp_path, f"{HEADER}\n# %%{tags}\n{code}\n")
    assert build(tmp_path) == 1
    error = capsys.readouterr().err
    assert "Not built: 00_trial.py, cell" in error
    assert complaint in error
    assert not list(tmp_path.rglob("*.ipynb*"))


def test_an_unknown_name_is_refused(tmp_path, capsys):
    course(tmp_path, HEADER)
    assert build(tmp_path, "05") == 1
    assert "no lesson is called '05' in lessons/" in capsys.readouterr().err


def test_a_kernel_ends_with_its_notebook(tmp_path):
    """Or twenty-two of them would fill the memory while all lessons are built."""
    notebook = new_notebook(cells=[new_code_cell("import os\nprint(os.getpid())")])
    execute(notebook, ["cell 0"], tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(notebook.cells[0].outputs[0].text), 0)
