"""Makes the editions for a class; called by `make student` and `make teacher`.

    python -m tools.classroom.editions student|teacher [--to FOLDER] [--language zh]

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

In the Chinese editions, a lesson that is not published in Chinese is in English.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
import polib
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools.classroom.covered import decoding, names_that_draw, with_covered_words
from tools.classroom.freshness import is_older
from tools.classroom.guide_tables import Misconception, read_teaching
from tools.lessons.build import lessons_in, notebook_path, read_lessons
from tools.lessons.catalogue import ZH
from tools.lessons.languages import HEADINGS, in_language
from tools.lessons.outputs import ROOT
from tools.lessons.parts import Lesson, exercises, headings, lesson_headings, pieces, section
from tools.lessons.source import LessonError, cell_id, edition, tags_of

HANDOUT, GUIDE, EXAM = "docs/handout.html", "TEACHING.md", "docs/assessment.md"
# What a folder needs beside its notebooks; what does not exist is not copied. A page comes with its
# Chinese edition.
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
    HANDOUT,
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
README = "tools/classroom/edition_readme.md"
SOLUTIONS = re.compile(r"\[([^\]]+)\]\([./]*notebooks/(?:zh/)?solutions/[^)]*\)")  # a link
KINDS = ("student", "teacher")
# What an edition says of its own.
SAYS = {
    "en": {
        "student": "student",
        "teacher": "teacher",
        "student more": "Predict before you run. An exercise is done when its check says *yes*. A "
        "page for your predictions, to print: [handout]({handout}).",
        "teacher more": "What to teach when is in [{guide}]({guide}); exam questions and a rubric "
        "are in [{exam}]({exam}).",
        "yours": """**Yours first.** Go back to *{claim}*. For each sentence of it that this lesson
tested: **confirmed, refuted, or depends?** (If it tested none, write one that you can say now.)
Write the number that it rests on, its interval, and what a map that knows nothing scores.{numbers}

*(Double-click here and write.)*""",
        "numbers": " The next cells print numbers to use.",
        "words": "The words of the figures below: each is read when its figure is drawn.",
        "older": "**The outputs are older than the text**: cells that changed since have none, and "
        "others may show other numbers. Run the notebook from top to bottom, or build it with "
        "`make notebooks`.",
        "note": "**Teacher: expect “{says}”** {cure}",
        "overview": "**Teacher.** {minutes} minutes with all exercises: {tasks}.",
        "task": "{title} ({minutes} min, {difficulty})",
        "courses": "In the courses of TEACHING.md: {slots}.",
        "slot": "{course}, {minutes} min",
        "and": "; ",
    },
    "zh": {
        "student": "学生版",
        "teacher": "教师版",
        "student more": "先预测，再运行。检查说“正确”，练习才算完成。写预测用的一页，可以打印："
        "[预测单]({handout})。检查显示的是英文？先设环境变量 `LANG_COURSE=zh`，再打开课程。",
        "teacher more": "什么时候教什么，见 [{guide}]({guide})；考题和评分标准见 "
        "[{exam}]({exam})。",
        "yours": """**先写你自己的结论**。回到 *{claim}*，判断其中这一课检验过的每句话：\
**得到证实，被否定，还是视情况而定**？（一句也没检验过？就写一句你现在能说的话。）写下依据的数和它的区间，再写下一无所知的图得多少分。{numbers}

*（双击这里，开始写。）*""",
        "numbers": "接下来的单元格会打印出可用的数。",
        "words": "下面各图中的文字，画图时才读取。",
        "older": "**输出比课文旧**：后来改过的单元格没有输出，其余单元格的数字也可能不同。请从头"
        "到尾运行这个 notebook，或者用 `make chinese` 重新生成。",
        "note": "**教师：学生可能会说“{says}”** {cure}",
        "overview": "**教师**：连同全部练习共 {minutes} 分钟。练习：{tasks}。",
        "task": "{title}（{minutes} 分钟，{difficulty}）",
        "courses": "用到这一课的课程安排（见 TEACHING.zh-CN.md）：{slots}。",
        "slot": "{course}（{minutes} 分钟）",
        "and": "；",
    },
}


# --- notebooks ------------------------------------------------------------------------------------


def student_notebook(lesson: Lesson) -> NotebookNode:
    """A lesson with stubs, without solutions, verdict and outputs."""
    notebook, _ = edition(lesson, solutions=False)
    cells = pieces(notebook.cells)
    verdict = {id(cell) for cell in verdict_of(cells)}
    drawing = names_that_draw(c.source for c in cells if c.cell_type == "code")
    kept, words, first = list[NotebookNode](), list[str](), 0
    for cell in cells:
        if id(cell) in verdict and cell.cell_type == "markdown":
            if headings(cell.source):  # the section's first cell; the others are the verdict
                kept.append(new_markdown_cell(prompt(lesson, cell.source, verdict_of(cells))))
            continue
        if cell.cell_type == "markdown":
            cell.source = flat(SOLUTIONS.sub(r"\1", cell.source))
        elif "exercise" not in tags_of(cell):
            first = first if words else len(kept)
            cell.source = with_covered_words(cell.source, words, drawing)
        kept.append(cell)
    if words:
        kept.insert(first, new_code_cell(decoding(words, SAYS[lesson.language]["words"])))
        kept[first].metadata["jupyter"] = {"source_hidden": True}
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
    heading, says = opening.lstrip().splitlines()[0], SAYS[lesson.language]
    claim = "The claim" if section(lesson.cells, "The claim") else "Predict"
    claim = claim if lesson.language == "en" else HEADINGS[claim]
    code = any(cell.cell_type == "code" for cell in verdict)
    numbers = says["numbers"] if code else ""
    return f"{heading}\n\n{says['yours'].format(claim=claim, numbers=numbers)}"


def flat(text: str) -> str:
    """Text whose links fit a folder with one README, and with all notebooks in notebooks/."""
    text = re.sub(r"(\.\./)+", "../", text)
    text = re.sub(r"notebooks/(?:zh/)?(?:solutions/)?", "notebooks/", text)
    return re.sub(r"(?<!data/)README\.zh-CN\.md", "README.md", text)


def teacher_notebook(lesson: Lesson, notes: list[Misconception], slots: list[str]) -> NotebookNode:
    """A lesson with solutions, verdict, the outputs of the committed notebook, and notes."""
    notebook, _ = edition(lesson, solutions=True)
    path, older = notebook_path(lesson, ROOT / "notebooks", solutions=True), ""
    if path.exists():
        read = nbformat.read(path, as_version=4)
        if is_older(lesson, read, solutions=True):
            older = f"\n>\n> {SAYS[lesson.language]['older']}"
        built = {cell.id: cell for cell in read.cells}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in built:
                cell.outputs = built[cell.id].outputs
                cell.execution_count = built[cell.id].execution_count
    kept = list[NotebookNode]()
    for cell in pieces(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = flat(cell.source)
            found = [words for _, words in headings(cell.source)]
            here = [note for note in notes if [note.heading] == found[:1]]
            cell.source += "".join(said(note, lesson.language) for note in here)
        kept.append(cell)
    kept.insert(1, new_markdown_cell(overview(lesson, slots) + older))
    return numbered(notebook, kept)


def said(note: Misconception, language: str = "en") -> str:
    """A teacher's note about a misconception."""
    return "\n\n> " + SAYS[language]["note"].format(says=note.says, cure=note.cure)


def overview(lesson: Lesson, slots: list[str]) -> str:
    """What a teacher wants to know before the lesson."""
    says = SAYS[lesson.language]
    tasks = says["and"].join(says["task"].format(**vars(each)) for each in exercises(lesson))
    used = "\n>\n> " + says["courses"].format(slots=says["and"].join(slots)) if slots else ""
    return "> " + says["overview"].format(minutes=lesson.minutes.total, tasks=tasks) + used


def numbered(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    """The notebook with these cells, whose ids depend on what they hold alone."""
    seen = dict[str, int]()
    for cell in cells:
        cell["id"] = cell_id(cell.cell_type, cell.source, seen)
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


# --- folders --------------------------------------------------------------------------------------


def make_edition(kind: str, folder: Path, root: Path = ROOT, language: str = "en") -> Path:
    """Write an edition into a folder, in place of one that is there; return the folder.

    Raises LessonError if the folder holds something else.
    """
    mark = folder / ".edition"
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise LessonError(f"{folder} is not empty and holds no edition; name another with --to")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "notebooks").mkdir(parents=True)
    teaching, chinese = read_teaching(root / "lessons"), guide_in_chinese(root)
    translated = {lesson.name: lesson for lesson in lessons_in(language, root)}
    for english in read_lessons(root / "lessons"):
        number, lesson = english.name[:2], translated.get(english.name, english)
        if kind == "student":
            notebook = student_notebook(lesson)
        else:
            say = chinese if lesson.language == "zh" else {}
            slots = [
                SAYS[lesson.language]["slot"].format(
                    course=say.get(course.name, course.name), minutes=slot.minutes
                )
                for course in teaching.courses
                for slot in course.slots
                if slot.lesson == number
            ]
            heading = dict(zip(lesson_headings(english), lesson_headings(lesson), strict=True))
            notes = [
                Misconception(
                    number,
                    say.get(note.says, note.says),
                    heading[note.heading],
                    say.get(note.cure, note.cure),
                )
                for note in teaching.misconceptions
                if note.lesson == number
            ]
            notebook = teacher_notebook(lesson, notes, slots)
        nbformat.write(notebook, part / "notebooks" / f"{lesson.name}.ipynb")
    for name in with_chinese(root, *FILES, *([EXAM, GUIDE] if kind == "teacher" else [])):
        copy(root / name, part / name)
    copy(root / CHECK, part / Path(CHECK).name)
    for path in part.glob("TEACHING*"):
        path.write_text(flat(path.read_text(encoding="utf-8")), encoding="utf-8")
    (part / "README.md").write_text(readme(kind, root, language), encoding="utf-8")
    (part / ".edition").write_text(f"{kind}\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder


def readme(kind: str, root: Path, language: str) -> str:
    """The README of an edition."""
    says, text = SAYS[language], (root / in_chinese(README, root, language)).read_text("utf-8")
    more = says[f"{kind} more"].format(
        handout=in_chinese(HANDOUT, root, language),
        guide=in_chinese(GUIDE, root, language),
        exam=in_chinese(EXAM, root, language),
    )
    text = re.sub(r"\A<!--.*?-->\n", "", text)
    lock = (root / "requirements.lock").read_text("utf-8")
    networks = " ".join(re.findall(r"^torch(?:vision)?==[^\s;]+", lock, re.MULTILINE))
    return text.format(kind=says[kind], more=more, networks=networks)


def in_chinese(page: str, root: Path, language: str) -> str:
    """The path of a page, in Chinese if that is asked for and there: TEACHING.zh-CN.md."""
    stem, _, end = page.rpartition(".")
    chinese = f"{stem}.zh-CN.{end}"
    return chinese if language == "zh" and (root / chinese).exists() else page


def with_chinese(root: Path, *pages: str) -> list[str]:
    """Paths of pages, and of their Chinese editions that are there."""
    return list(dict.fromkeys(in_chinese(page, root, code) for page in pages for code in SAYS))


def guide_in_chinese(root: Path) -> dict[str, str]:
    """The texts of TEACHING.md with their Chinese; none if it is not translated."""
    path = root / ZH / "pages" / "TEACHING.po"
    entries = polib.pofile(str(path), encoding="utf-8") if path.exists() else []
    return {entry.msgid: entry.msgstr for entry in entries if entry.translated()}


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
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--to", type=Path, help="the folder (default: build/student, student-zh …)")
    parser.add_argument("--language", choices=sorted(SAYS), default="en", help="of the lessons")
    asked = parser.parse_args(arguments)
    folder = asked.to or ROOT / "build" / in_language(asked.kind, asked.language)
    try:
        made = make_edition(asked.kind, folder, language=asked.language)
        print(f"The {asked.kind}'s edition: {made}")
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
