"""Makes a deck of slides of each lesson from its committed notebook; called by `make slides`.

    python -m tools.classroom.slides [03 ...] [--to build/slides] [--language zh] [--sharp]

No slide is made by hand, and no cell is run, except with `--sharp`: then each lesson runs again, to
draw its pictures at twice the resolution. These rules say what becomes a slide:

- the text of the title with the question and the aims, the claim, the prediction (with what its
  cell lists), identities (with the equation of their section), where it breaks, and the verdict, on
  as many slides as it needs; not what is for a reader at the keyboard;
- each image and each table of results, on a slide of its own under its section's heading, or a
  tall image beside it; a line printed before a table, if it ends with a colon, stands above it;
- what is printed under an identity, where it breaks, and under the verdict;
- a list of the exercises; each quiz question twice, first without and then with its answers.

What is printed with another image, and the text after an image, are in the speaker's notes (press
S). A lesson whose notebook was not run is refused; a deck of a notebook that is older than its
lesson says so on its first slide.

nbconvert renders the Markdown. Its own slides are not used: they load jQuery, require.js and
MathJax from the network, and tall cells are cut off. reveal.js and MathJax come from Python
packages that hold them, so a deck needs no network, neither to be made nor to be shown.
"""

import argparse
import ast
import base64
import html
import io
import re
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import files
from math import ceil
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbformat import NotebookNode
from PIL import Image, ImageChops

from tools.classroom.freshness import is_older
from tools.classroom.slide_text import (
    LINES,
    blocks,
    cut,
    for_a_room,
    inline,
    is_table,
    is_wide,
    letters,
    lines,
    rendered,
)
from tools.lessons.build import build_edition, lessons_in, notebook_path, write
from tools.lessons.figures import without_magics
from tools.lessons.languages import HEADINGS, LANGUAGES, in_language
from tools.lessons.outputs import ROOT
from tools.lessons.parts import Question, exercises, headings, pieces, quiz
from tools.lessons.source import Lesson, LessonError

WIDTH, HEIGHT = 1200, 560  # of the area below a heading, in the deck's pixels
# Of the area beside a heading and a caption in a column on the left. Only 5 pixels stay free at the
# edges: with more, the tallest could not be read from the back. Some projectors cut off the edges;
# for those, reveal.js takes a margin from the address (`?margin=0.04`).
BESIDE = 908, 710
ENOUGH = 1.0  # of a picture's size in the deck's pixels: 1.5 times, on a screen of 1080 rows
RETINA = "from xai_course.plots import style\nstyle.retina = True\ndel style\n"  # for a kernel
LARGE = 8  # this many lines or fewer are shown in larger letters
# The sections whose words become slides, and how the slides look.
SPOKEN = {
    "the claim": "claim",
    "predict": "predict",
    "the identity": "identity",
    "where it breaks": "breaks",
    "verdict": "verdict",
}
PRINTED = ("identity", "breaks", "verdict")  # looks of slides that show what a cell has printed
LEFT_OUT = (
    "exercises",
    "take it with you",
    "quiz",
    "references",
    "reading paths",
    "hints and answers",
)
PACKAGES = {
    "sphinx-revealjs": {
        "revealjs/dist/reveal.js": "reveal.js",
        "revealjs/dist/reveal.css": "reveal.css",
        "revealjs/plugin/notes/notes.js": "notes.js",
    },
    # The parts that the decks load; the complete bundles hold addresses of other servers.
    "sphinx-mathjax-offline": {
        f"static/mathjax/{part}": f"mathjax/{part}"
        for part in (
            "startup.js",
            "core.js",
            "input/tex.js",
            "output/svg.js",
            "output/svg/fonts/tex.js",
        )
    },
}


# What a deck says of its own.
SAYS = {
    "en": {
        "html": "en",
        "course": "Beetle in a Box · lesson {number} · {minutes} minutes with all exercises",
        "older": "These slides were made from an older text of the lesson: pictures and numbers "
        "may differ.",
        "more": " (continued)",
        "order": "In which order?",
        "guess": "Your guess?",
        "exercises": "Exercises",
        "do": "In the notebook. Replace the dots, run the cell, then the check below it.",
        "task": "{minutes} minutes, {difficulty}",
        "quiz": "Quiz {number}. {question}",
        "all": "Beetle in a Box: slides",
        "keys": "Arrows turn the pages; G, a number and Enter lead to a page; S opens the "
        "speaker's notes, ? lists all keys. If the projector cuts off the edges, add ?margin=0.04 "
        "to a deck's address.",
    },
    "zh": {
        "html": "zh-CN",
        "course": "盒中甲虫 · 第 {number} 课 · 连同全部练习 {minutes} 分钟",
        "older": "这些幻灯片由旧版课文生成，图和数字可能与现在的不同。",
        "more": "（续）",
        "order": "按什么顺序排？",
        "guess": "你猜是多少？",
        "exercises": HEADINGS["Exercises"],
        "do": "在 notebook 里做：把省略号换成你自己的代码，运行这个单元格，再运行下面的检查。",
        "task": "{minutes} 分钟，{difficulty}",
        "quiz": "小测验 {number}：{question}",
        "all": "盒中甲虫（Beetle in a Box）：幻灯片",
        "keys": "方向键翻页；按 G，输入页码再按 Enter，跳到那一页；S 打开演讲者备注，"
        "? 列出所有按键。投影仪切掉了边缘？在幻灯片的地址后面加上 ?margin=0.04。",
    },
}


@dataclass(frozen=True)
class Slide:
    """A slide: its look, and as HTML its heading, its body and the notes.

    `room`: the lines of text that it takes. `printed`: whether it shows what a cell has printed.
    """

    kind: str
    heading: str
    body: str
    notes: str = ""
    room: float = LINES
    printed: bool = False


# --- which cells become slides --------------------------------------------------------------------


def deck(lesson: Lesson, notebook: NotebookNode, older: bool = False) -> list[Slide]:
    """All slides of a lesson, made from its executed notebook; `older`: say that it is old."""
    slides, heading, kind, depth = [title_slide(lesson, older)], lesson.title, "figure", 1
    language = lesson.language
    cells, equation = pieces(notebook.cells), ""
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            opening, words = split_heading(cell.source)
            if opening and opening[0] > 1:
                level, heading = opening
                kind, depth = kind_of(level, heading, kind, depth)
                equation = "" if level == 2 else equation
            equations = [block for block in blocks(words) if block.startswith("$$")]
            if equations:
                equation = equations[-1]
            elif kind == "identity":
                words, equation = f"{equation}\n\n{words}", ""
            if kind == "quiz":
                slides += quiz_slides(quiz(lesson), language)
            elif kind == "exercises":
                slides.append(exercises_slide(lesson))
            elif kind in SPOKEN.values():
                words = for_a_room(words)
                if kind == "predict":
                    words += listed(cells[index + 1 :], language)
                slides += text_slides(kind, heading, words, language)
            kind = "skip" if kind in ("quiz", "exercises") else kind
        elif kind != "skip":
            notes = "" if kind in PRINTED else printed_notes(cell)
            notes += following_words(cells, index)
            for slide in output_slides(cell, kind, heading, notes, language):
                slides = [*slides[:-1], *joined(slides[-1], slide)]
            kind = kind if kind in PRINTED else "figure"
            if kind == "identity" and cells[index + 1].cell_type == "markdown":
                kind = "figure"  # what follows is no longer the identity
    return slides


def kind_of(level: int, heading: str, above: str, depth: int) -> tuple[str, int]:
    """How the slides of a section look, and the level of the heading that says so.

    "figure": only its pictures become slides. `above`, `depth`: the same of the section before; a
    deeper heading does not end it.
    """
    lower = re.sub(r"^\d+\. ", "", heading.lower())
    for word, kind in SPOKEN.items():
        if begins(lower, word):
            return kind, level
    for name in LEFT_OUT:
        if begins(lower, name):
            return (name if name in ("quiz", "exercises") else "skip"), level
    if level > depth and above in ("skip", "breaks", "verdict"):
        return above, depth
    return "figure", level


def begins(heading: str, words: str) -> bool:
    """Whether a heading begins with words of the tables above, in English or in Chinese."""
    return heading.startswith((words, HEADINGS[words.capitalize()]))


def joined(first: Slide, second: Slide) -> list[Slide]:
    """Two slides, or one where words are followed by what was printed and both fit."""
    heading = first.heading
    for words in SAYS.values():
        heading = heading.removesuffix(words["more"])
    same = (first.kind.split()[0], heading) == (second.kind, second.heading)
    if same and second.printed and first.room + second.room <= LINES:
        body = first.body + second.body
        room = first.room + second.room
        return [replace(second, heading=first.heading, body=body, room=room, printed=False)]
    return [first, second]


def split_heading(text: str) -> tuple[tuple[int, str] | None, str]:
    """The heading that a text opens with, if it does, and the rest."""
    found = headings(text)[:1] if text.lstrip().startswith("#") else []
    if not found:
        return None, text
    return found[0], text.lstrip().partition("\n")[2]


def following_words(cells: list[NotebookNode], index: int) -> str:
    """What the lesson says after a cell, as HTML, if it is not a new section."""
    after = cells[index + 1] if index + 1 < len(cells) else None
    if after is None or after.cell_type != "markdown" or after.source.lstrip().startswith("#"):
        return ""
    return rendered(after.source)


def printed_notes(cell: NotebookNode) -> str:
    """What a cell printed, as HTML: the words after it may be about these lines."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream").rstrip()
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def listed(cells: list[NotebookNode], language: str) -> str:
    """What a prediction is about, if its cell is a list to put in order, or names with numbers."""
    source = without_magics(cells[0].source) if cells and cells[0].cell_type == "code" else ""
    body = ast.parse(source).body
    value = body[0].value if len(body) == 1 and isinstance(body[0], ast.Assign) else None
    if not isinstance(value, ast.List | ast.Dict):
        return ""
    asked = value.elts if isinstance(value, ast.List) else value.keys
    items = [f"- {item.value}" for item in asked if isinstance(item, ast.Constant)]
    lead = SAYS[language]["order" if isinstance(value, ast.List) else "guess"]
    return f"\n\n{lead}\n\n" + "\n".join(items)


def title_slide(lesson: Lesson, older: bool = False) -> Slide:
    """The first slide: title, question, aims; and whether what follows is older than the lesson."""
    words, says = LANGUAGES[lesson.language].able, SAYS[lesson.language]
    able = re.search(rf"\*\*{words}\*\*(.+?)\n>\n", lesson.cells[0].source, re.DOTALL)
    aims = " ".join((able[1] if able else "").replace("\n>", " ").split())
    course = says["course"].format(number=lesson.name[:2], minutes=lesson.minutes.total)
    body = (
        f'<p class="small">{course}</p><h1>{html.escape(lesson.title)}</h1>'
        f'<p class="question">{html.escape(lesson.question)}</p>'
        f"<p><b>{words}</b> {inline(aims)}</p>"
    )
    return Slide("title", "", f"{body}<p class='small'>{says['older']}</p>" if older else body)


def exercises_slide(lesson: Lesson) -> Slide:
    """What there is to do, and how long it takes."""
    says = SAYS[lesson.language]
    items = (
        f"<li><b>{inline(e.title)}</b> <span class='small'>"
        f"{says['task'].format(minutes=e.minutes, difficulty=e.difficulty)}</span></li>"
        for e in exercises(lesson)
    )
    return Slide("text", says["exercises"], f"<p>{says['do']}</p><ol>{''.join(items)}</ol>")


def quiz_slides(questions: list[Question], language: str = "en") -> Iterator[Slide]:
    """Each question alone, then once more with its answers and reasons."""
    for question in questions:
        words = inline(question.text)
        heading = SAYS[language]["quiz"].format(number=question.number, question=words)
        bare = (f"<li>{inline(option.text)}</li>" for option in question.options)
        yield Slide("quiz", heading, f"<ol class='options'>{''.join(bare)}</ol>")
        full = (
            f"<li class='{'right' if option.right else ''}'>{inline(option.text)}"
            f"<span class='reason'>{inline(option.reason)}</span></li>"
            for option in question.options
        )
        yield Slide("quiz answers", heading, f"<ol class='options'>{''.join(full)}</ol>")


# --- words ----------------------------------------------------------------------------------------


def text_slides(kind: str, heading: str, text: str, language: str = "en") -> Iterator[Slide]:
    """Words on as many slides as they need."""
    parts, room = list[list[str]]([[]]), LINES
    for block in (piece for whole in blocks(text) for piece in cut(whole)):
        if parts[-1] and lines(block) > room:
            parts.append([])
            room = LINES
        parts[-1].append(block)
        room -= lines(block)
    for number, part in enumerate(parts):
        if part:
            taken, body = sum(map(lines, part)), rendered("\n\n".join(part))
            look = f"{kind} large" if taken <= LARGE else kind
            more = SAYS[language]["more"] if number else ""
            yield Slide(look, inline(heading) + more, body, room=taken)


# --- what cells have shown ------------------------------------------------------------------------


def output_slides(
    cell: NotebookNode, kind: str, heading: str, notes: str, language: str = "en"
) -> Iterator[Slide]:
    """A slide for each picture and table of a cell; in some sections, also what it printed."""
    outputs = cell.outputs
    for index, output in enumerate(outputs):
        data = output.get("data", {})
        if "image/png" in data:
            after = outputs[index + 1].get("data", {}) if index + 1 < len(outputs) else {}
            caption = after.get("text/markdown", "")
            alt = output.metadata.get("image/png", {}).get("alt", "")
            caption = caption if caption.startswith("*") else ""
            shown = output.metadata.get("image/png", {}).get("width")
            yield picture_slide(kind, heading, data["image/png"], alt, caption, notes, shown)
        elif is_table(rows := data.get("text/markdown", "").splitlines()):
            if len(rows) <= 14 and rows[0].count("|") <= 6:  # larger ones are for the notebook
                words = caption_before(outputs, index) + data["text/markdown"]
                for slide in text_slides(kind, heading, words, language):
                    yield replace(slide, kind=kind, notes=notes)
        elif output.output_type == "stream" and kind in PRINTED:
            yield from printed_slides(kind, heading, output.text, notes)


def caption_before(outputs: list[NotebookNode], index: int) -> str:
    """What a cell printed just before a table, if that says what the table is: "twins:"."""
    printed = outputs[index - 1].get("text", "") if index else ""
    last = (printed.rstrip().splitlines() or [""])[-1]
    return f"{last}\n\n" if last.endswith((":", "：")) else ""


def picture_slide(
    kind: str,
    heading: str,
    png: str,
    alt: str,
    caption: str,
    notes: str,
    shown: int | None = None,
) -> Slide:
    """A slide with an image as large as it allows, at most twice its size, and its caption.

    The image stands below the heading; where it would be too small to be read from the back, beside
    it, without its blank margins. `shown`: its width in the notebook, if it has more pixels.
    """
    sharpness = size_of(png)[0] / shown if shown else 1
    width, height = (pixels / sharpness for pixels in size_of(png))
    available = HEIGHT - (12 + 28 * ceil(letters(caption) / 110) if caption else 0)
    scale = min(WIDTH / width, available / height, 2)
    if scale < ENOUGH:
        cropped = without_margins(png)
        wide, high = (pixels / sharpness for pixels in size_of(cropped))
        beside = min(BESIDE[0] / wide, BESIDE[1] / high, 2)
        if beside > scale:
            png, width, height, scale, kind = cropped, wide, high, beside, f"{kind} beside"
    below = f"<figcaption>{rendered(caption)}</figcaption>" if caption else ""
    body = (
        f'<figure><img src="data:image/png;base64,{"".join(png.split())}" '
        f'alt="{html.escape(alt)}" width="{width * scale:.0f}" height="{height * scale:.0f}">'
        f"{below}</figure>"
    )
    return Slide(kind, inline(heading), body, notes)


def size_of(png: str) -> tuple[int, int]:
    """Width and height of an image in base64."""
    width, height = struct.unpack(">II", base64.b64decode(png[:64])[16:24])
    return width, height


def without_margins(png: str) -> str:
    """An image in base64 without the rows and columns at its edges that hold its ground alone."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    colours = image.convert("RGB")
    ground = Image.new("RGB", colours.size, colours.getpixel((0, 0)))
    made = io.BytesIO()
    image.crop(ImageChops.difference(colours, ground).getbbox()).save(made, "PNG", optimize=True)
    return base64.b64encode(made.getvalue()).decode()


def printed_slides(kind: str, heading: str, text: str, notes: str) -> Iterator[Slide]:
    """Printed lines in letters that let the longest fit, at most 20 lines a slide."""
    rows = text.rstrip().splitlines()
    for start in range(0, len(rows), 20):
        part = rows[start : start + 20]
        size = min(
            22, WIDTH / (0.62 * max(1, *map(letters, part), 40)), HEIGHT / (1.35 * len(part))
        )
        words = "".join(f"<b>{c}</b>" if is_wide(c) else html.escape(c) for c in "\n".join(part))
        body = f'<pre style="font-size: {size:.1f}px">{words}</pre>'
        room = 1 + len(part) * size * 1.35 / 35
        yield Slide(kind, inline(heading), body, notes, room, printed=True)


# --- files ----------------------------------------------------------------------------------------


def page(title: str, slides: Iterable[Slide], language: str = "en") -> str:
    """A deck as a page."""
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=False)
    return templates.get_template("slides.html.j2").render(
        title=html.escape(title), slides=slides, language=SAYS[language]["html"]
    )


def copy_libraries(folder: Path) -> None:
    """Copy reveal.js and MathJax from their packages. Raises LessonError if one is missing."""
    for package, wanted in PACKAGES.items():
        try:
            present = files(package) or []
        except ModuleNotFoundError:
            present = []
        for end, name in wanted.items():
            source = next((p for p in present if p.as_posix().endswith(f"/{end}")), None)
            if source is None:
                raise LessonError(f"{package} is not installed, or has no {end}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(source.locate()), folder / name)


def contents(lessons: list[Lesson], language: str = "en") -> str:
    """A page with a link to each deck."""
    says = SAYS[language]
    items = "".join(
        f'<li value="{int(lesson.name[:2])}"><a href="{lesson.name}.html">'
        f"{html.escape(lesson.title)}</a></li>"
        for lesson in lessons
    )
    return (
        f'<!doctype html><html lang="{says["html"]}"><head><meta charset="utf-8">'
        f"<title>{says['all']}</title></head>"
        '<body style="font: 20px system-ui, sans-serif; margin: 3em auto; max-width: 40em">'
        f"<h1>{says['all']}</h1><p>{says['keys']}</p><ol>{items}</ol></body></html>\n"
    )


def make_slides(
    folder: Path, names: list[str] | None = None, language: str = "en", sharp: bool = False
) -> list[Path]:
    """Write the decks of all lessons that have a notebook, or of those named; return the paths.

    `sharp`: run each lesson again, its pictures at twice the resolution.
    """
    lessons = [
        lesson
        for lesson in lessons_in(language, ROOT, names)
        if notebook_path(lesson, ROOT / "notebooks", False).exists()
    ]
    copy_libraries(folder / "lib")
    made = []
    for lesson in lessons:
        path = notebook_path(lesson, ROOT / "notebooks", False)
        notebook = sharp_notebook(lesson, path.parent) if sharp else nbformat.read(path, 4)
        older = is_older(lesson, notebook, solutions=False)
        if older:
            print(f"  note: {lesson.name}: the notebook is older than its lesson", file=sys.stderr)
        made.append(folder / f"{lesson.name}.html")
        title = f"{lesson.name[:2]} {lesson.title}"
        write(made[-1], page(title, deck(lesson, notebook, older), language))
    there = [path.stem for path in sorted(folder.glob("[0-9][0-9]_*.html"))]
    every = lessons_in(language, ROOT, there) if there else []
    write(folder / "index.html", contents(every, language))
    return made


def sharp_notebook(lesson: Lesson, folder: Path) -> NotebookNode:
    """The lesson's notebook, run now in `folder`, with pictures at twice the resolution."""
    print(f"  {lesson.name}: its cells are running", file=sys.stderr)
    text, _ = build_edition(lesson, folder, solutions=False, startup=RETINA)
    notebook = nbformat.reads(text, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [
        output.metadata["image/png"] for output in outputs if "image/png" in output.metadata
    ]
    if not all("width" in picture for picture in pictures):  # IPython swallows errors at its start
        raise LessonError(f"{lesson.name}: its pictures were not drawn at twice the resolution")
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Make the decks; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons, such as 03 (default: all)")
    parser.add_argument("--to", type=Path, help="the folder (default: build/slides, slides-zh)")
    parser.add_argument("--language", choices=sorted(SAYS), default="en", help="of the lessons")
    parser.add_argument(
        "--sharp",
        action="store_true",
        help="run the lessons again, pictures at twice the resolution (about a minute a lesson)",
    )
    asked = parser.parse_args(arguments)
    folder = asked.to or ROOT / "build" / in_language("slides", asked.language)
    try:
        made = make_slides(folder, asked.names, asked.language, asked.sharp)
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    print(f"{len(made)} decks in {folder}; open index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
