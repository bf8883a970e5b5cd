"""The editions for a class: what the student's leaves out, and that both work elsewhere."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from lessons_of_the_course import LESSONS, each_lesson
from nbformat.v4 import new_code_cell, new_notebook

from tools.classroom import check_before_install
from tools.classroom.covered import OUTCOME, parsed
from tools.classroom.editions import make_edition, student_notebook, teacher_notebook
from tools.classroom.guide_tables import Misconception
from tools.lessons.build import execute
from tools.lessons.catalogue import chinese_lesson
from tools.lessons.outputs import ROOT
from tools.lessons.parts import exercises, lesson_headings, section
from tools.lessons.source import LessonError, tags_of
from xai_course.core.paths import data_folder
from xai_course.environment import Miss, _data_folder


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
        assert len(line.strip()) < 20 or line not in text  # "is open." may stand anywhere
    names = {name for cell in verdict if cell.cell_type == "code" for name in assigned(cell)}
    assert names <= {name for cell in notebook.cells for name in assigned(cell)}
    assert "Yours first" in text if verdict else True
    assert "solutions/" not in text
    assert texts(student_notebook(lesson)) == text
    assert [cell.id for cell in student_notebook(lesson).cells] == [
        cell.id for cell in notebook.cells
    ]


def assigned(cell):
    """The names that a cell of code sets."""
    tree = parsed(cell.source) if cell.cell_type == "code" else ast.Module([], [])
    return [
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]


@each_lesson
def test_the_students_code_does_not_say_what_its_figures_show(lesson):
    """Nor what is printed; and the folded cell with the covered words comes before them."""
    words = []
    for cell in student_notebook(lesson).cells:
        if cell.cell_type != "code" or "exercise" in tags_of(cell):
            continue
        if "plots.words(" in cell.source:
            assert words == [], "one cell that no reader has to hear"
            assert cell.metadata["jupyter"] == {"source_hidden": True}
            space = {}
            exec(cell.source, space)
            words = space["WORDS"]
        assert all(
            int(number) < len(words) for number in re.findall(r"\bWORDS\[(\d+)", cell.source)
        )
        for node in ast.walk(parsed(cell.source)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            keys = [n.slice for n in ast.walk(node) if isinstance(n, ast.Subscript)]
            texts = [n for n in ast.walk(node) if isinstance(n, ast.Constant) and n not in keys]
            said = [n.value for n in texts if isinstance(n.value, str) and len(n.value.split()) > 3]
            if called in ("plots.figure", "decision_chart", "climb"):
                assert said == []
            elif called in ("print", "Markdown"):
                assert [text for text in said if OUTCOME.search(text)] == []


@pytest.fixture(scope="module", params=["00", "08"])
def both(request):
    """A lesson in English and in Chinese."""
    (lesson,) = [each for each in LESSONS if each.name.startswith(request.param)]
    return lesson, chinese_lesson(lesson, ROOT, go_on=True)


def covered_words(notebook):
    (cell,) = [cell for cell in notebook.cells if "plots.words(" in cell.source]
    space = {}
    exec(cell.source, space)
    return space["WORDS"]


def test_a_chinese_students_edition_covers_what_the_english_one_does(both):
    english, chinese = map(student_notebook, both)
    assert len(english.cells) == len(chinese.cells)
    assert len(covered_words(chinese)) == pytest.approx(len(covered_words(english)), rel=0.2)
    verdict = [c for c in section(both[1].cells, "Verdict") if c.cell_type == "markdown"]
    words = [line for cell in verdict for line in cell.source.split("\n")]
    assert "结论" in words[0]
    assert not [line for line in words[1:] if len(line) > 10 and line in texts(chinese)]
    assert "**先写你自己的结论**" in texts(chinese)
    assert "Yours first" not in texts(chinese)
    for cell in both[1].cells:
        if "exercise" in tags_of(cell):
            assert cell.source in texts(chinese)
    targets = re.findall(r"\]\((\.\.[^)]*)\)", texts(chinese))
    assert targets
    assert not [t for t in targets if "../../" in t or "/zh/" in t or "solutions" in t]


def test_a_chinese_teachers_edition_speaks_chinese(both):
    chinese = both[1]
    heading = next(words for words in lesson_headings(chinese) if "先预测" in words)
    notebook = teacher_notebook(chinese, [Misconception("00", "是吗？", heading, "问一问。")], [])
    assert "> **教师：学生可能会说“是吗？”** 问一问。" in texts(notebook)
    assert f"> **教师**：连同全部练习共 {chinese.minutes.total} 分钟。" in notebook.cells[1].source
    for exercise in exercises(chinese):
        assert f"{exercise.title}（{exercise.minutes} 分钟，" in notebook.cells[1].source
    for cell in chinese.cells:
        if "solution" in tags_of(cell):
            assert cell.source in texts(notebook)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_a_chinese_edition_has_published_lessons_in_chinese_and_the_others_in_english(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setattr("tools.classroom.editions.FILES", ())
    monkeypatch.setattr("tools.lessons.build.published", lambda root: [LESSONS[4].name])
    monkeypatch.setattr(
        "tools.lessons.build.chinese_lesson",
        lambda lesson, root, _: chinese_lesson(lesson, root, True),
    )
    monkeypatch.setattr("tools.classroom.editions.read_lessons", lambda folder: LESSONS[3:5])
    folder = make_edition(kind, tmp_path / "edition", language="zh")
    english, chinese = (
        texts(nbformat.read(folder / "notebooks" / f"{lesson.name}.ipynb", as_version=4))
        for lesson in LESSONS[3:5]
    )
    assert "## Verdict" in english
    assert "## 结论" in chinese
    if kind == "teacher":
        assert chinese.count("**教师：学生可能会说") == 2, "each at its heading"
        assert english.count("**Teacher: expect") == 2
    readme = (folder / "README.md").read_text("utf-8")
    assert re.search(r"pip install torch==\S+ torchvision==\S+ --index-url ADDRESS\n", readme)
    assert ("学生版" if kind == "student" else "教师版") in readme
    assert "made from" not in readme
    for target in re.findall(r"\]\(((?:docs/|TEACHING)[^)#]+)\)", readme):
        assert (ROOT / target).exists()


@each_lesson
def test_the_teachers_edition_has_solutions_outputs_and_notes(lesson):
    note = Misconception("00", "So?", "Quiz", "Ask.")
    notebook = teacher_notebook(lesson, [note], ["a course, 5 min"])
    text = texts(notebook)
    for cell in lesson.cells:
        if "solution" in tags_of(cell):
            assert cell.source in text
    assert "> **Teacher: expect “So?”** Ask." in text
    assert f"> **Teacher.** {lesson.minutes.total} minutes" in notebook.cells[1].source
    assert "../../" not in text
    built = ROOT / "notebooks" / "solutions" / f"{lesson.name}.ipynb"
    if built.exists():
        committed = nbformat.read(built, as_version=4).cells
        pictures = [o for c in committed for o in c.get("outputs", []) if "data" in o]
        shown = [o for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
        assert shown == pictures or len(shown) < len(pictures)  # a lesson edited since it was built


def test_what_a_machine_needs_is_in_the_editions(student, teacher):
    for folder in (student, teacher):
        text = (folder / "README.md").read_text("utf-8")
        for words in (
            "PIP_INDEX_URL=ADDRESS",
            "conda env create",
            "install.bat",
            "voila",
            "3.2 GB",
        ):
            assert words in text
        addresses = set(re.findall(r"https?://[^\s)]+", text))
        assert addresses == {"https://pytorch.org/get-started/locally/"}, "no registry is named"
        for name in ("environment.yml", "docs/glossary.md", "docs/handout.html", "docs/keras.md"):
            assert (folder / name).is_file()
        for name in ("checkpoints", "experiments", "grades", "specification"):
            assert any((folder / "data" / name).iterdir())
    assert (teacher / "docs/assessment.md").is_file()
    assert not (student / "docs/assessment.md").exists()


def test_the_wheel_of_an_edition_has_all_that_it_lists(student):
    """Building it, also as editable, fails where a folder is missing."""
    project = tomllib.loads((student / "pyproject.toml").read_text("utf-8"))
    for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        assert (student / name).exists(), name


def test_the_check_before_the_installation_needs_python_alone(student):
    path = student / "check_before_install.py"
    tree = ast.parse(path.read_text("utf-8"))
    names = [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert names
    assert set(names) <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path)], capture_output=True, encoding="ascii", check=False
    )
    assert "ok  Python: " in done.stdout, done.stderr
    assert done.returncode == ("NO  " in done.stdout)


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("sys.version_info", (3, 9, 1), "is too old"),
        ("sys.version_info", (3, 19, 0), "is newer than"),
        ("sys.maxsize", 2**31 - 1, "32-bit"),
        ("shutil.disk_usage", lambda _: SimpleNamespace(free=1e8), "0.1 GB free"),
        ("platform.machine", lambda: "x86_64", "no longer made for this processor"),
    ],
)
def test_the_check_before_the_installation_finds(monkeypatch, capsys, what, value, words):
    monkeypatch.setattr(check_before_install.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(check_before_install.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(f"tools.classroom.check_before_install.{what}", value)
    assert check_before_install.main() == 1
    monkeypatch.undo()
    assert words in capsys.readouterr().out


def test_the_check_takes_a_python_on_which_nobody_has_run_the_course_and_says_so(monkeypatch):
    monkeypatch.setattr("tools.classroom.check_before_install.sys.version_info", (3, 14, 0))
    found, remedy = check_before_install.python()
    monkeypatch.undo()
    assert "3.14.0" in found
    assert "nobody has run" in found
    assert not remedy


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


@pytest.mark.end_to_end
def test_the_students_edition_runs_elsewhere_with_the_package_installed(
    student, tmp_path, monkeypatch
):
    """Another folder, a package without a checkout: the first cells find networks and pictures."""
    shutil.copytree(student, tmp_path / "desk")
    shutil.copytree(student / "xai_course", tmp_path / "site" / "xai_course")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    for path in sorted((tmp_path / "desk" / "notebooks").glob("*.ipynb")):
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"][:3]
        first = "".join(cell.source for cell in cells)
        if "load_checkpoint(" in first and "plots.figure(" in first:
            break
    else:
        pytest.fail("no lesson loads a network and draws in its first three cells of code")
    where = (
        "from xai_course.data import data_folder as d; print(d().resolve(), d.__code__.co_filename)"
    )
    notebook = new_notebook(cells=[*cells, new_code_cell(where)])
    execute(notebook, [path.name] * 4, path.parent)
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


# --- data that all read and nobody writes ---------------------------------------------------------


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
