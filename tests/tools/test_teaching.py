"""What a teacher gets: the guide, the parts of lessons it is made from, the two editions."""

import mmap
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.classroom.editions import make_edition, student_notebook, teacher_notebook
from tools.classroom.guide_tables import (
    Misconception,
    plan,
    problems,
    read_teaching,
    tables,
    with_tables,
)
from tools.classroom.server_load import first_cells, megabytes
from tools.classroom.wheelhouse import make_wheelhouse, requirements
from tools.lessons.build import execute, read_lessons
from tools.lessons.outputs import ROOT
from tools.lessons.parts import (
    anchor,
    exercises,
    headings,
    lesson_headings,
    pieces,
    plain,
    quiz,
    section,
)
from tools.lessons.source import LessonError, tags_of
from xai_course.core.paths import data_folder
from xai_course.environment import Miss, _data_folder
from xai_course.explorer import Selection
from xai_course.explorer.catalogue import PHOTO_NETWORK
from xai_course.explorer.state import run_all
from xai_course.methods import METHODS

LESSONS = read_lessons(ROOT / "lessons")
GUIDE = (ROOT / "TEACHING.md").read_text("utf-8")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])


def lesson_with(*cells):
    """A lesson that holds these cells only."""
    return replace(LESSONS[0], cells=list(cells))


# ---- parts of lessons ----------------------------------------------------------------------------


def test_headings_are_those_outside_of_code():
    text = "# One\n```\n# not this\n```\n## Two *words*\ntext # no\n#no"
    assert headings(text) == [(1, "One"), (2, "Two *words*")]


def test_pieces_keep_all_text_and_begin_with_headings():
    cells = [new_markdown_cell("a\n\n## B\nb\n### C\n```\n# x\n```\nc"), new_code_cell("# code")]
    assert [cell.source for cell in pieces(cells)] == [
        "a",
        "## B\nb",
        "### C\n```\n# x\n```\nc",
        "# code",
    ]


def test_a_section_ends_where_one_of_its_level_begins():
    texts = ["## A", "## Quiz", "q", "### deeper", "d", "## B"]
    cells = [new_markdown_cell(text) for text in texts]
    assert [cell.source for cell in section(cells, "Quiz")] == texts[1:5]
    assert section(cells, "Nothing") == []


def test_anchors_are_jupyters():
    """JupyterLab takes the heading's text and puts a dash for each space."""
    assert anchor("4. Cut a block out") == "4.-Cut-a-block-out"
    assert unquote(anchor("99 % of *all* `x`?")) == "99-%-of-all-x?"
    assert plain("a `snake_case` name") == "a snake_case name"


@each_lesson
def test_every_exercise_is_known_with_its_check(lesson):
    found = exercises(lesson)
    assert len(found) == lesson.exercises >= 2
    defined = {cell.source for cell in lesson.cells if "exercise" in tags_of(cell)}
    for exercise in found:
        assert any(f"def {exercise.function}(" in source for source in defined)
        assert exercise.room == f"xai_course.exercises.lesson_{lesson.name[:2]}"


TASK = new_markdown_cell("**1. Twice** (5 minutes, easy). Double it.")
STUB = new_code_cell("def f(x): ...", metadata={"tags": ["exercise"]})
DONE = new_code_cell("def f(x): return 2 * x", metadata={"tags": ["solution"]})
CHECK = new_code_cell("from room import check_f\n\ncheck_f(f)")


def test_an_exercise_by_hand():
    (found,) = exercises(lesson_with(TASK, STUB, DONE, CHECK))
    assert vars(found) == {
        "number": 1,
        "title": "Twice",
        "minutes": "5",
        "difficulty": "easy",
        "function": "f",
        "room": "room",
        "check": "check_f",
    }


@pytest.mark.parametrize(
    ("task", "check", "words"),
    [
        ("**2. Twice** (5 minutes, easy)", CHECK.source, "no line like"),
        ("**1. Twice** (easy)", CHECK.source, "no line like"),
        ("**1. Twice** (5 minutes, simple)", CHECK.source, "'simple' is none of easy"),
        (TASK.source, "check_f(f)", "does not import and call its check"),
        (TASK.source, "from room import check_f", "does not import and call its check"),
    ],
)
def test_an_exercise_that_cannot_be_read_is_refused(task, check, words):
    lesson = lesson_with(new_markdown_cell(task), STUB, DONE, new_code_cell(check))
    with pytest.raises(LessonError, match=words):
        exercises(lesson)


# ---- quiz ----------------------------------------------------------------------------------------


@each_lesson
def test_three_questions_of_which_each_has_one_right_answer_and_a_reason_for_all(lesson):
    questions = quiz(lesson)
    assert [question.number for question in questions] == [1, 2, 3]
    for question in questions:
        assert len(question.options) >= 3
        assert len({option.text for option in question.options}) == len(question.options)
        assert all(len(option.reason) > 10 for option in question.options)


def fold(letter, reason):
    return f"<details><summary>{letter}) Words.</summary>\n\n{reason}\n</details>\n"


GOOD = f"## Quiz\n\n**1. Really\nso?**\n\n{fold('a', 'No. It is not.')}{fold('b', 'Yes, it is.')}"


def test_a_question_by_hand():
    (question,) = quiz(lesson_with(new_markdown_cell(GOOD), new_markdown_cell("## Next")))
    assert (question.text, question.answer.letter) == ("Really so?", "b")
    assert [option.reason for option in question.options] == ["No. It is not.", "Yes, it is."]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Yes, it is.", "It is.", "exactly one must begin with 'Yes'"),
        ("No. It is not.", "Yes. Also.", "exactly one must begin with 'Yes'"),
        ("No. It is not.", "Yesterday it was.", None),  # does not begin with the word Yes
        ("**1. ", "**2. ", "comes where number 1 should"),
        ("b) Words", "c) Words", "the options are not a"),
        ("</details>\n<details>", "</details>\nor\n<details>", "words outside of its folds: 'or'"),
        ("\n\nNo. It is not.\n", "\n", "words outside of its folds"),
        ("**1. Really\nso?**", "Really so?", "does not begin with"),
    ],
)
def test_a_quiz_that_does_not_follow_the_pattern_is_refused(old, new, words):
    assert old in GOOD
    lesson = lesson_with(new_markdown_cell(GOOD.replace(old, new)))
    if words is None:
        assert quiz(lesson)[0].answer.letter == "b"
        return
    with pytest.raises(LessonError, match=re.escape(words)):
        quiz(lesson)


# ---- the guide -----------------------------------------------------------------------------------


def test_the_tables_of_the_guide_are_current():
    assert with_tables(GUIDE, tables(ROOT)) == GUIDE, "python -m tools.classroom.guide_tables"


def test_a_table_without_its_place_is_refused():
    with pytest.raises(LessonError, match="no <!-- quiz:start -->"):
        with_tables("<!-- quiz:end -->", {"quiz": ""})


def test_every_link_of_the_guide_leads_somewhere():
    known = {lesson.name: lesson for lesson in LESSONS}
    own = {plain(words).lower().replace(" ", "-") for _, words in headings(GUIDE)}
    links = re.findall(r"\]\(([^)\s]+)\)", GUIDE)
    assert len(links) > 50
    for target in links:
        path, _, end = target.partition("#")
        if path.startswith("https:"):
            continue
        if not path:
            assert end in own, target
        elif path.startswith("notebooks/"):  # it may not have been built yet
            lesson = known[Path(path).stem]
            there = {anchor(heading) for heading in lesson_headings(lesson)} | {""}
            assert end in there, target
        else:
            assert (ROOT / path).exists(), target


def test_teaching_toml_fits_the_lessons():
    assert problems(read_teaching(ROOT / "lessons"), LESSONS) == []


def test_what_does_not_fit_is_found():
    teaching = read_teaching(ROOT / "lessons")
    course = teaching.courses[0]
    wrong = replace(
        teaching,
        misconceptions=(Misconception("03", "Ha.", "No such heading", "Do."),),
        courses=(replace(course, minutes=course.minutes + 1),),
    )
    found = problems(wrong, LESSONS)
    assert "'Ha.': lesson 03 has no heading 'No such heading'" in found
    total = sum(slot.minutes for slot in course.slots)
    assert f"{course.name}: its slots add up to {total}, not {total + 1} minutes" in found
    assert "lesson 00 has no misconception" in found


def test_the_clock_of_a_plan_runs_on_and_starts_anew_each_week():
    by_number = {lesson.name[:2]: lesson for lesson in LESSONS}
    for course in read_teaching(ROOT / "lessons").courses:
        times = re.findall(r"^\| (?:week (\d+), )?(\d+)–(\d+) ", plan(course, by_number), re.M)
        assert len(times) == len(course.slots)
        end, week = 0, ""
        for now, start, stop in times:
            assert int(start) == (end if now == week else 0) < int(stop)
            end, week = int(stop), now


# ---- editions ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return make_edition("student", tmp_path_factory.mktemp("editions") / "student")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return make_edition("teacher", tmp_path_factory.mktemp("editions") / "teacher")


def texts(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells)


@each_lesson
def test_the_students_edition_gives_nothing_away(lesson):
    notebook = student_notebook(lesson)
    text = texts(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    for cell in lesson.cells:
        if "solution" in tags_of(cell):
            assert cell.source not in text
        if "exercise" in tags_of(cell):
            assert cell.source in text
    for exercise in exercises(lesson):
        assert f"{exercise.check}({exercise.function})" in text
    verdict = section(lesson.cells, "Verdict")
    words = [
        line for cell in verdict if cell.cell_type == "markdown" for line in cell.source.split("\n")
    ]
    for line in words[1:]:
        assert not line.strip() or line not in text
    for cell in verdict:
        if cell.cell_type == "code":
            assert cell.source in text
    assert "Yours first" in text if verdict else True
    assert "solutions/" not in text
    assert texts(student_notebook(lesson)) == text
    assert [cell.id for cell in student_notebook(lesson).cells] == [
        cell.id for cell in notebook.cells
    ]


@each_lesson
def test_the_teachers_edition_has_solutions_outputs_and_notes(lesson):
    note = Misconception("00", "So?", "Quiz", "Ask.")
    notebook = teacher_notebook(lesson, [note], ["a course, 5 min"])
    text = texts(notebook)
    for cell in lesson.cells:
        if "solution" in tags_of(cell):
            assert cell.source in text
    assert "> **Teacher: expect “So?”** Ask." in text
    assert f"> **Teacher.** {lesson.minutes} minutes" in notebook.cells[1].source
    assert "../../" not in text
    built = ROOT / "notebooks" / "solutions" / f"{lesson.name}.ipynb"
    if built.exists():
        committed = nbformat.read(built, as_version=4).cells
        pictures = [o for c in committed for o in c.get("outputs", []) if "data" in o]
        shown = [o for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
        assert shown == pictures or len(shown) < len(pictures)  # a lesson edited since it was built


def test_the_links_of_the_editions_lead_to_files_in_them(student, teacher):
    for folder in (student, teacher):
        for path in [*folder.glob("notebooks/*.ipynb"), folder / "README.md"]:
            text = path.read_text("utf-8")
            if path.suffix == ".ipynb":
                cells = nbformat.reads(text, as_version=4).cells
                text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
            text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.fullmatch(r"[\w./-]+(#.*)?", target):  # not elsewhere, and no code
                    assert (path.parent / target.partition("#")[0]).exists(), (path.name, target)
    assert "notebooks/solutions/" not in (teacher / "TEACHING.md").read_text("utf-8")


def test_the_students_edition_runs_elsewhere_with_the_package_installed(
    student, tmp_path, monkeypatch
):
    """Another folder, a package without a checkout: the first cells find networks and pictures."""
    shutil.copytree(student, tmp_path / "desk")
    shutil.copytree(student / "xai_course", tmp_path / "site" / "xai_course")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    (path,) = (tmp_path / "desk" / "notebooks").glob("03*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"][:2]
    where = (
        "from xai_course.data import data_folder as d; print(d().resolve(), d.__code__.co_filename)"
    )
    notebook = new_notebook(cells=[*cells, new_code_cell(where)])
    execute(notebook, [path.name] * 3, path.parent)
    data, room = notebook.cells[-1].outputs[0].text.split()
    assert Path(data) == (tmp_path / "desk" / "data").resolve()
    assert Path(room).is_relative_to(tmp_path / "site")
    assert any("image/png" in o.get("data", {}) for c in notebook.cells for o in c.outputs)


def test_an_edition_replaces_only_an_edition(student, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(LessonError, match="is not empty and holds no edition"):
        make_edition("student", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


# ---- data that all read and nobody writes --------------------------------------------------------


def test_a_copied_edition_is_found_from_its_notebooks(tmp_path, monkeypatch):
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    monkeypatch.setattr("xai_course.core.paths.CHECKOUT", tmp_path / "site")
    monkeypatch.setattr("xai_course.core.paths.IN_WHEEL", tmp_path / "no wheel")
    (tmp_path / "desk" / "notebooks").mkdir(parents=True)
    networks = tmp_path / "desk" / "data" / "checkpoints"
    networks.mkdir(parents=True)  # anybody's
    monkeypatch.chdir(tmp_path / "desk" / "notebooks")
    with pytest.raises(ValueError, match="set the environment variable XAI_COURSE_DATA"):
        data_folder()
    (networks / "beetle_net.json").touch()
    assert data_folder() == tmp_path / "desk" / "data"
    monkeypatch.chdir(tmp_path / "desk")
    assert data_folder() == tmp_path / "desk" / "data"


def test_a_read_only_data_folder_is_enough_once_beetlebox_is_drawn(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("XAI_COURSE_DATA", str(tmp_path))
    monkeypatch.setattr("xai_course.environment.tempfile.TemporaryFile", refuse)

    with pytest.raises(Miss, match="cannot be written to"):
        _data_folder()
    (tmp_path / "beetlebox").mkdir()
    (tmp_path / "beetlebox" / "beetlebox.json").touch()
    assert _data_folder() == f"{tmp_path} is read-only, which is enough since BeetleBox is drawn"


# ---- without a network ---------------------------------------------------------------------------


def write_wheel(folder, name, code, needs=()):
    """Write a wheel of one module by hand."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


# Builds an editable install of any project: one line that leads to its folder.
BACKEND = """
import zipfile
def get_requires_for_build_editable(settings=None): return []
def build_editable(folder, settings=None, metadata=None):
    import os
    name, info = "course-1.0-py3-none-any.whl", "course-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("course.pth", os.getcwd())
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: course\\nVersion: 1.0\\n"
                       "Requires-Dist: outer\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
                       "Tag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_wheelhouse_installs_without_an_index(tmp_path, monkeypatch):
    """Two small wheels, one needing the other; a small course in place of ours; no index at all."""
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, "inner", "what = 'inner'")
    write_wheel(index, "outer", "from inner import what", ["inner"])
    write_wheel(index, "backend", BACKEND)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr("make_wheelhouse.BUILD", ("backend",))

    def small_course(kind, folder):
        folder.mkdir()
        (folder / "requirements.lock").write_text("outer==1.0\ninner==1.0\n")
        (folder / "pyproject.toml").write_text(
            "[build-system]\nrequires = ['backend']\nbuild-backend = 'backend'\n"
            "[project]\nname = 'course'\nversion = '1.0'\n"
        )

    monkeypatch.setattr("make_wheelhouse.make_edition", small_course)
    stick = make_wheelhouse(tmp_path / "a stick", ["outer"])
    names = sorted(path.name.split("-")[0] for path in (stick / "wheels").iterdir())
    assert names == ["backend", "inner", "outer"]

    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")  # whoever asked it would fail
    quick = tmp_path / "python"  # makes an environment without installing pip into it anew
    quick.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m venv --without-pip --system-site-packages "$3"\n'
    )
    quick.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(quick))
    desk = tmp_path / "a desk"
    done = subprocess.run(
        [str(stick / "install.sh"), str(desk)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = subprocess.run(
        [desk / ".venv/bin/python", "-c", "import outer; print(outer.what)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "inner\n", found.stderr


def test_a_wheelhouse_that_cannot_be_filled_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LessonError, match="could not download"):
        make_wheelhouse(tmp_path / "stick", ["no-such-package"])
    assert not (tmp_path / "stick" / "course").exists()


def test_what_goes_on_the_stick_is_what_the_course_needs():
    wanted = requirements()
    assert any(line.startswith("torch>=") for line in wanted)
    assert not any(line.startswith(("pytest", "captum")) for line in wanted)


# ---- one server ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_a_kernel_has_alone_is_part_of_its_share_and_that_of_what_it_sees():
    before = megabytes(os.getpid())
    assert 0 < before["USS"] <= before["PSS"] <= before["RSS"] <= before["peak RSS"] * 1.01
    with mmap.mmap(-1, 100_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), 4096):  # memory is given when it is written to
            block[page] = 1
        assert megabytes(os.getpid())["USS"] - before["USS"] == pytest.approx(100, abs=20)


def test_the_first_cells_of_a_lesson():
    every, half = first_cells("02", 1.0), first_cells("02", 0.5)
    assert half == every[: len(half)]
    assert len(half) == round(len(every) / 2)
    assert any(may_fail for _, may_fail in every)  # the bug hunt


# ---- what the guide shows with the explorer ------------------------------------------------------


def likeliest(found):
    """The class that the network names after the changes, and its probability."""
    share, which = found.logits[1].softmax(0).max(0)
    return found.classes[which], share.item()


def test_a_part_s_worth_depends_on_what_else_is_there():
    beetle = Selection(species="Ellipsa_longicornis", seed=59)
    whole = {part.name: part.effect for part in run_all(beetle).parts}
    without = run_all(replace(beetle, without=("antennae",)))
    horn = next(part.effect for part in without.parts if part.name == "horn")
    assert "horn" in sorted(whole, key=whole.get)[-2:]
    assert abs(horn) < 0.1 * whole["horn"]


def test_the_label_turns_the_shortcut_network_alone():
    beetle = Selection(species="Globaria_maculata")
    for network, label, says in (
        ("shortcut BeetleNet", False, "Globaria_maculata"),
        ("shortcut BeetleNet", True, "Globaria_cincta"),
        ("BeetleNet", True, "Globaria_maculata"),
    ):
        assert likeliest(run_all(replace(beetle, network=network, label=label)))[0] == says


def test_one_score_is_no_score():
    beetle = Selection(species="Globaria_maculata", seed=16_000_000, method="gradient")
    assert run_all(beetle).score < 0
    assert run_all(replace(beetle, seed=16_000_001)).score > 0.8


def test_the_baseline_decides():
    beetle = Selection(species="Tenuella_guttata", method="Integrated Gradients")
    black, mean = (run_all(replace(beetle, baseline=name)) for name in ("black", "mean"))
    assert abs(black.score) < 0.05
    assert mean.score == pytest.approx(0.9)
    assert black.null == pytest.approx(1)


def test_noise_changes_the_map_and_not_the_answer():
    noisy = Selection(species="Globaria_cervina", method="gradient", pixel_noise=0.06)
    clean = likeliest(run_all(replace(noisy, pixel_noise=0.0)))
    alike = {}
    for method in ("gradient", "Grad-CAM"):
        found = run_all(replace(noisy, method=method))
        assert likeliest(found)[0] == clean[0]
        assert abs(likeliest(found)[1] - clean[1]) < 0.02
        alike[method] = torch.corrcoef(found.maps.flatten(1))[0, 1].item()
    assert alike["gradient"] < 0.5
    assert alike["Grad-CAM"] > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_a_guess_has_a_map(method):
    found = run_all(Selection(network=PHOTO_NETWORK, photograph="grass", method=method))
    name, share = likeliest(found)
    assert name == "soccer ball"
    assert share < 0.1
    assert found.maps[1].abs().max() > 0
