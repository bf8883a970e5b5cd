"""The lesson builder, tried on small lessons, whole and broken."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import tools.lessons.build as build_notebooks
from tools.lessons.build import (
    LessonError,
    disagreements,
    execute,
    read_lessons,
    timing_table,
    with_table,
)
from tools.lessons.outputs import ROOT, normalise_outputs, tidy
from tools.lessons.source import edition, missing_parts, read_lesson

HEADER = """\
# ---
# jupyter:
#   course:
#     question: "Is it so?"
#     minutes: 25
# ---

# %% [markdown]
# # A title
#
# See [the data](../data/README.md) and [the next lesson](01_next.ipynb).
"""

EXERCISE = """
# %% tags=["exercise"]
def double(x):
    ...

# %% tags=["solution"]
def double(x):
    return 2 * x

# %% tags=["nbval-check-output"]
print("yes" if double(2) == 4 else "not yet")
"""

EVERYTHING = (
    HEADER
    + EXERCISE
    + """
# %%
import os, sys, warnings
print("one")
sys.stdout.flush()
print("two")
warnings.warn("this goes to stderr")
print(os.getcwd())
object()

# %%
from tqdm.auto import tqdm
from IPython.display import Image, display
for _ in tqdm(range(3)):
    pass
view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "w"}
display(view, raw=True)
print(sorted({"b", "a"}), {"b", "a", "c", "d"})

# %% tags=["raises-exception"]
{}["missing"]
"""
)


def course(folder: Path, text: str, name: str = "00_trial") -> Path:
    """A folder laid out like the repository, with one lesson; returns the lesson's path."""
    (folder / "lessons").mkdir(parents=True)
    (folder / "README.md").write_text(
        "# T\n<!-- timings:start -->\nold\n<!-- timings:end -->\nend\n"
    )
    path = folder / "lessons" / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def build(folder: Path, *arguments: str) -> int:
    return build_notebooks.main(["--root", str(folder), *arguments])


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


# --- what can be seen without running -------------------------------------------------------------

BROKEN = {
    "no header": ("# %% [markdown]\n# # Title\n", "question"),
    "no minutes": (HEADER.replace("#     minutes: 25\n", ""), "minutes"),
    "minutes in words": (HEADER.replace("25", "half an hour"), "half an hour"),
    "header that is no YAML": (HEADER.replace("  course:", "  course: ["), "header"),
    "no title": (HEADER.replace("# # A title", "# A title"), "cell 1"),
    "code before the title": (HEADER.replace("# %% [m", "# %%\n1\n# %% [m"), "cell 1"),
    "unknown tag": (HEADER + '\n# %% tags=["excercise"]\nx = 1\n', "cell 2 (x = 1): unknown tag"),
    "empty cell": (HEADER + "\n# %%\n\n# %%\nx = 1\n", "cell 2 (empty): the cell is empty"),
    "exercise at the end": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n',
        "cell 2 (x = 1): an exercise without a solution",
    ),
    "exercise, then text": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% [markdown]\n# Text\n',
        "cell 2 (x = 1): an exercise without a solution",
    ),
    "solution alone": (
        HEADER + '\n# %%\nx = 1\n\n# %% tags=["solution"]\nx = 2\n',
        "cell 3 (x = 2): a solution without an exercise",
    ),
    "both at once": (
        HEADER + '\n# %% tags=["exercise", "solution"]\nx = 2\n',
        "cell 2 (x = 2): a cell is an exercise or a solution",
    ),
    "solution like the stub": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% tags=["solution"]\nx = 1\n',
        "cell 3 (x = 1): the solution is the same as its stub",
    ),
    "solution in words": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% [markdown] tags=["solution"]\n# Text\n',
        "cell 3 (Text): the solution is markdown",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_lesson_is_refused_by_file_and_cell(tmp_path, text, complaint, capsys):
    path = course(tmp_path, text)
    with pytest.raises(LessonError) as error:
        read_lesson(path)
    assert "00_trial.py" in str(error.value)
    assert complaint in str(error.value)
    assert build(tmp_path) == 1
    assert "Not built: 00_trial.py" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


def test_each_edition_has_the_stub_or_the_solution(tmp_path):
    lesson = read_lesson(course(tmp_path, HEADER + EXERCISE))
    learner, learner_numbers = edition(lesson, solutions=False)
    solved, solved_numbers = edition(lesson, solutions=True)
    assert [cell.source for cell in learner.cells if cell.cell_type == "code"] == [
        "def double(x):\n    ...",
        'print("yes" if double(2) == 4 else "not yet")',
    ]
    assert [cell.source for cell in solved.cells if cell.cell_type == "code"] == [
        "def double(x):\n    return 2 * x",
        'print("yes" if double(2) == 4 else "not yet")',
    ]
    assert learner_numbers == [1, 2, 4]
    assert solved_numbers == [1, 3, 4]
    assert (lesson.title, lesson.question, lesson.minutes, lesson.exercises) == (
        "A title",
        "Is it so?",
        25,
        1,
    )


def test_the_solutions_edition_says_so_and_its_links_start_one_folder_deeper(tmp_path):
    lesson = read_lesson(course(tmp_path, HEADER))
    text = edition(lesson, solutions=True)[0].cells[0].source
    assert text.startswith("# A title (with solutions)\n")
    assert "(../../data/README.md)" in text
    assert "(01_next.ipynb)" in text
    assert "(../data/README.md)" in edition(lesson, solutions=False)[0].cells[0].source


def test_an_inserted_cell_leaves_the_other_ids_alone(tmp_path):
    same_twice = "\n# %%\nx = 1\n\n# %%\nx = 1\n"
    before = read_lesson(course(tmp_path / "a", HEADER + same_twice))
    after = read_lesson(course(tmp_path / "b", HEADER + "\n# %%\ny = 2\n" + same_twice))
    old = [cell.id for cell in edition(before, solutions=False)[0].cells]
    new = [cell.id for cell in edition(after, solutions=False)[0].cells]
    assert len(set(old)) == 3
    assert [new[0], *new[2:]] == old


def test_missing_parts_are_named(tmp_path):
    missing = missing_parts(read_lesson(course(tmp_path / "a", HEADER, "02_trial")))
    for part in ("Predict", "Exercises", "Verdict", "Take it with you", "Quiz", "References"):
        assert any(part in sentence for sentence in missing), part
    assert any("25 minutes" in sentence for sentence in missing)
    whole = HEADER + "# You will be able to see. You need eyes. 25 minutes, for all.\n"
    for heading in (
        "Predict",
        "Exercises",
        "Take it with you",
        "Three quiz questions",
        "References",
    ):
        whole += f"\n# %% [markdown]\n# ## {heading}\n"
    assert missing_parts(read_lesson(course(tmp_path / "b", whole, "00_trial"))) == []
    assert missing_parts(read_lesson(course(tmp_path / "c", whole, "02_trial"))) == [
        "02_trial.py: no heading with 'Verdict' in it"
    ]


# --- outputs --------------------------------------------------------------------------------------


def test_addresses_and_paths_are_replaced(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere/ann")
    monkeypatch.setenv("USERPROFILE", "/somewhere/ann")
    assert tidy("<object object at 0x7f12ab34cd56>") == "<object object at 0x…>"
    assert tidy("0x7f12 is a number") == "0x7f12 is a number"
    assert tidy(f"{ROOT}/data/beetlebox") == "data/beetlebox"
    assert tidy(f"in {ROOT}: 3 files") == "in .: 3 files"
    assert tidy(f"It is {ROOT}.") == "It is .."
    assert not tidy(f"{ROOT}2/data").startswith(("2", "."))  # another folder
    assert tidy("/somewhere/ann/.cache/torch") == "~/.cache/torch"
    assert tidy("/somewhere/anna/.cache") == "/somewhere/anna/.cache"
    assert tidy(f"{tempfile.gettempdir()}/tmpab12/x.png") == "/tmp/…/x.png"


def test_outputs_are_normalised():
    cell = new_code_cell(
        "x",
        execution_count=17,
        metadata={"execution": {"iopub.status.busy": "2026-01-01"}},
        outputs=[
            new_output("stream", name="stdout", text="a\n"),
            new_output("stream", name="stderr", text="  50%|█████     | 1/2"),
            new_output("stream", name="stdout", text="1 %\r2 %\rdone\n"),
            new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
            new_output("error", ename="E", evalue="no", traceback=["File /somewhere", "E: no"]),
            new_output(
                "display_data", {"image/png": "at 0x00"}, metadata={"image/png": {"alt": "t"}}
            ),
            new_output("execute_result", {"text/plain": "<A at 0x7f00>"}, execution_count=17),
        ],
    )
    changes = normalise_outputs(cell, count=3)
    assert [output.output_type for output in cell.outputs] == [
        "stream",
        "error",
        "display_data",
        "execute_result",
    ]
    stream, error, picture, result = cell.outputs
    assert stream.text == "a\ndone\n"
    assert error.traceback == ["E: no"]
    assert picture.data == {"image/png": "at 0x00"}
    assert picture.metadata == {"image/png": {"alt": "t"}}
    assert result.data == {"text/plain": "<A at 0x…>"}
    assert cell.execution_count == result.execution_count == 3
    assert cell.metadata == {}
    assert [change.split(" (")[0] for change in changes] == [
        "it writes to stderr",
        "it shows a widget",
        "its output holds a memory address or a path of this machine",
    ]


# --- what needs a kernel --------------------------------------------------------------------------


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
    assert metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


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
    assert "| 25 min | [1](notebooks/solutions/00_trial.ipynb) |" in readme
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
    assert build_notebooks.strays([lesson], tmp_path / "notebooks") == [
        "07_old.ipynb has no lesson"
    ]
    assert build(tmp_path, "--check") == 1


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
        "a checked cell cannot repeat its output: it writes to stderr",
    ),
    "checked, address": (
        "object()",
        "nbval-check-output",
        "cell 2 (object()): a checked cell cannot repeat its output: its output holds",
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
