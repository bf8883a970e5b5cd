"""Makes the pages of lessons: one for each notebook, with solutions folded below their exercises.

A page shows the learner's edition, which has the stubs. Nothing can be typed into a page, so the
solution is folded after the check and the hint. A page of the edition with solutions would be
nearly the same.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.classroom.freshness import is_older, refuse_unrun
from tools.lessons.build import minutes_or_dash, read_seconds
from tools.lessons.claims import Claim, one_line, read_claims
from tools.lessons.languages import HEADINGS, LANGUAGES
from tools.lessons.minutes import FURTHER, Minutes, further_cells
from tools.lessons.outputs import ROOT
from tools.lessons.parts import headings, section
from tools.lessons.source import LessonError, read_lesson, tags_of
from tools.site.text import Pages, anchor, fenced, with_site_links

FOLD = '<details class="further"><summary>Go further: this section may be skipped</summary>'
HIDDEN = {"source_hidden": "hide-input", "outputs_hidden": "hide-output"}
FOLDED = {"code_prompt_show": "A solution", "code_prompt_hide": "A solution"}
HOW_TO_READ = (
    '<p class="how-to-read">Read this page, or run it: <code>make lab</code> opens the lesson as a '
    "notebook. A solution lies folded below each exercise. "
    '<button type="button" class="code-switch" hidden>Hide the code</button></p>'
)
OLDER = (
    '<p class="how-to-read">This page was made from an older text of the lesson: its pictures and '
    "numbers may differ from those of the notebook that you run.</p>"
)
VERDICT = re.compile(rf"^## .*(?:Verdict|{HEADINGS['Verdict']})", re.M)
BREAKS = re.compile(rf"^#+ .*(?:Where it breaks|{HEADINGS['Where it breaks']})", re.M)


@dataclass(frozen=True)
class Page:
    """A lesson as the site shows it."""

    name: str
    title: str
    question: str
    minutes: Minutes | None
    seconds: float | None
    notebook: NotebookNode

    @property
    def number(self) -> str:
        """The two digits of the lesson."""
        return self.name[:2]


def read_headings(root: Path = ROOT) -> dict[str, set[str]]:
    """The anchors of the headings of every notebook, by its name."""
    found = {}
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        found[path.stem] = {anchor(words) for words in re.findall(r"^#{2,4} +(.+)", text, re.M)}
    return found


def read_pages(pages: Pages, root: Path = ROOT) -> list[Page]:
    """The notebooks that there are, in order; `pages` are the names that links may use."""
    seconds = read_seconds(root / "lessons")
    found = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        solved = path.parent / "solutions" / path.name
        notebook = nbformat.read(path, as_version=4)
        with_solutions = nbformat.read(solved, as_version=4) if solved.exists() else None
        question, minutes, older = "", None, False
        refuse_unrun(path.stem, notebook)
        try:
            lesson = read_lesson(root / "lessons" / f"{path.stem}.py")
            question, minutes = lesson.question, lesson.minutes
            older = is_older(lesson, notebook, solutions=False)
        except (LessonError, OSError):  # a lesson that is being edited; its notebook can be shown
            print(f"  note: lessons/{path.stem}.py cannot be read, so its question is missing")
        title = re.sub(r"^# +", "", notebook.cells[0].source.splitlines()[0])
        if older:
            print(
                f"  note: {path.stem}: the notebook is older than its lesson, and its page says so"
            )
        page = lesson_page(path.stem, notebook, with_solutions, pages)
        page.cells[0].source += f"\n\n{OLDER}" if older else ""
        found.append(Page(path.stem, title, question, minutes, seconds.get(path.stem), page))
    return found


def lesson_page(
    name: str, notebook: NotebookNode, with_solutions: NotebookNode | None, pages: Pages
) -> NotebookNode:
    """A notebook as its page: solutions folded in, links within the site, outputs as Markdown."""
    cells = with_folded_solutions(list(notebook.cells), solutions_of(with_solutions))
    cells = with_folded_sections(cells)
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            cell.source = with_site_links(cell.source, "notebooks", pages)
        else:
            cell.outputs = [as_markdown(output) for output in cell.outputs]
            for part, tag in HIDDEN.items():
                if cell.metadata.get("jupyter", {}).get(part):
                    cell.metadata["tags"] = [*tags_of(cell), tag]
        if number == 0:
            cell.source = f"{cell.source.replace('# ', f'# {name[:2]} ', 1)}\n\n{HOW_TO_READ}"
    set_mark(cells, VERDICT, f"verdict-{name[:2]}")
    set_mark(cells, BREAKS, f"breaks-{name[:2]}")
    return nbformat.from_dict({**notebook, "cells": cells})


# --- solutions ------------------------------------------------------------------------------------


def solutions_of(notebook: NotebookNode | None) -> list[NotebookNode]:
    """The solution cells of an edition with solutions, made to be folded."""
    cells = [cell for cell in notebook.cells if "solution" in tags_of(cell)] if notebook else []
    for cell in cells:
        cell.metadata["tags"] = [*tags_of(cell), "hide-cell" if cell.outputs else "hide-input"]
        cell.metadata["mystnb"] = dict(FOLDED)
    return cells


def with_folded_solutions(
    cells: list[NotebookNode], solutions: list[NotebookNode]
) -> list[NotebookNode]:
    """The cells with each solution after its exercise, the check of it and the link to the hint.

    What follows the link in its cell becomes a cell of its own.
    """
    found, waiting, left = [], list[NotebookNode](), list(solutions)
    for cell in cells:
        if waiting and cell.cell_type == "markdown":
            hint, rest = cut_after_hint(cell.source)
            if hint:
                found.append(new_markdown_cell(hint))
            found += waiting
            waiting = []
            if rest:
                found.append(new_markdown_cell(rest))
            continue
        found.append(cell)
        if "exercise" in tags_of(cell) and left:
            waiting.append(left.pop(0))
    return found + waiting


def cut_after_hint(text: str) -> tuple[str, str]:
    """The link to the hint at the start of a text, and the rest; without one, "" and the text."""
    first, _, rest = text.strip().partition("\n")
    words = "|".join(language.hint for language in LANGUAGES.values())
    return (first, rest.strip()) if re.match(rf"\[({words}) \d+\]\(#", first) else ("", text)


def with_folded_sections(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells with each section that one may skip folded below its heading."""
    found, inside = [], False
    for cell, is_further in zip(cells, further_cells(cells), strict=True):
        opens = FURTHER in tags_of(cell)
        if inside and (opens or not is_further):
            found.append(new_markdown_cell("</details>"))
        inside = is_further
        if opens:
            heading, _, rest = cell.source.partition("\n")
            for language in LANGUAGES.values():
                rest = rest.replace(language.further_mark, "").strip()
            found.append(new_markdown_cell(heading))
            cell.source = f"{FOLD}\n\n{rest}"
        found.append(cell)
    return found


# --- text and outputs -----------------------------------------------------------------------------


def set_mark(cells: list[NotebookNode], heading: re.Pattern[str], mark: str) -> None:
    """Set a mark before the first heading of a kind, for other pages to link to."""
    for cell in cells:
        if cell.cell_type == "markdown" and heading.search(cell.source):
            cell.source = heading.sub(lambda match: f"({mark})=\n{match[0]}", cell.source, count=1)
            return


def as_markdown(output: NotebookNode) -> NotebookNode:
    """An output with its image or code written as Markdown, which keeps an image's alt text."""
    data = output.get("data", {})
    if "image/png" in data:
        alt = output.metadata.get("image/png", {}).get("alt", "")
        words = re.sub(r"([\\\[\]*_`<$])", r"\\\1", alt)
        text = f"![{words}](/lessons/pictures/{picture_name(data['image/png'])})"
    elif 'class="highlight"' in data.get("text/html", ""):  # IPython's Code, in its own colours
        text = fenced(data["text/plain"])
    else:
        return output
    return nbformat.from_dict(
        {"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}}
    )


def picture_name(encoded: str) -> str:
    """The file's name of a picture, which depends on the picture alone."""
    return f"{hashlib.sha256(encoded.strip().encode()).hexdigest()[:16]}.png"


def write_pictures(folder: Path, root: Path = ROOT) -> None:
    """Write the pictures of all notebooks into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (root / "notebooks").glob("**/[0-9][0-9]_*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                encoded = output.get("data", {}).get("image/png")
                if encoded:
                    (folder / picture_name(encoded)).write_bytes(base64.b64decode(encoded))


# --- pages about lessons --------------------------------------------------------------------------


def lessons_index(pages: list[Page]) -> str:
    """The page of all lessons: for whoever learns on their own."""
    lines = ["| lesson | the question | reading | to go further | exercises |", "|---" * 5 + "|"]
    for page in pages:
        minutes = " | ".join(minutes_or_dash(part) for part in page.minutes or (0, 0, 0))
        link = f"[{page.number} {page.title}](/lessons/{page.name}.ipynb)"
        lines.append(f"| {link} | {page.question} | {minutes} |")
    names = "\n".join(page.name for page in pages)
    table = "\n".join(lines)
    return f"""# Lessons

Take them in order, and **predict before you look**: each lesson asks you to, and answers a little
later. A lesson ends with exercises that have checks, a verdict, and a quiz whose answers lie
folded.

{table}

Each lesson can be read here as it stands. To run and change it, open it with `make lab` (see
[the start page](/index.md)). A word with a dotted line under it is explained in the
[glossary](/glossary.md).

```{{toctree}}
:hidden:

{names}
```
"""


def verdicts_page(pages: list[Page]) -> str:
    """The page of all verdicts: for whoever decides, and does not program."""
    claims, _ = read_claims()
    parts = [
        f"""# What may one rely on?

For whoever has to decide what an explanation may be relied on for, and does not program. In this
course a claim about an explanation is a number that could have come out otherwise. Below are the
verdicts of all lessons, each with its numbers folded. They hold for the networks and pictures of
the lesson; how far they carry is said there. The table below a verdict says of each sentence what
it was held against: the strongest *null*, which knows nothing of the network or of the question,
and a *second reading* of the same measurements.

**Five words.** The *answer key*: what each part of a beetle is worth to the network, measured.
*Agreement* with the key: 1 is the same order of the parts, 0 none. A *null*: a map that knows
nothing of the network. *Skill*: 0 for the best null, 1 for the key. A *seed*: one training;
another seed gives another network.

{path_without_code(pages)}**Three questions** to ask of any explanation that is put before you:

1. *Compared with what?* An explanation without its baseline named is half a sentence
   (lesson {number_of("what_each_block_changed")}).
2. *What does a map score that knows nothing of the network?* A good score is worth what it has
   above that (lesson {number_of("grading_the_explanations")}).
3. *What happened when somebody took the thing away?* That is a measurement; a map is an estimate
   (lesson {number_of("when_there_is_no_answer_key")}).
"""
    ]
    for page in pages:
        cells = verdict_cells(page.notebook)
        if not cells:
            continue
        links = [f"[The lesson](/lessons/{page.name}.ipynb)"]
        if any(BREAKS.search(cell.source) for cell in page.notebook.cells):
            links.append(f"[where it breaks](#breaks-{page.number})")
        parts.append(f"## {page.number} {page.title}\n\n*{page.question}* {', '.join(links)}.\n")
        for cell in cells:
            parts.append(cell.source if cell.cell_type == "markdown" else numbers(cell))
        parts.append(claims_table([claim for claim in claims if claim.lesson == page.number]))
    text = "\n\n".join(parts)
    number, table = relied_on(pages)
    if table:
        text += f"\n\n## The article's table, rewritten\n\nFrom lesson {number}.\n\n{table}"
    return text + "\n"


# The path of README.md: the heading by which a lesson is found (none: the first one), what one
# finds there, the minutes.
WITHOUT_CODE = (
    ("", "three explanations of one photograph disagree", 20),
    ("6. The answer key", "what a test of an explanation looks like", 6),
    ("Which method for which question", "the chart: which method for which question", 3),
    ("7. What you may say, and what not", "what a finished report may say, and what not", 5),
)
REPORT = (
    "The first page of a report on BeetleNet and 60 pictures of beetles. No method passed the test "
    "by covering; occlusion, LRP, gradient and CAM passed the test with random weights. Below "
    "stand what may be said, and what not."
)
REST = 11  # minutes for the verdicts from that of the chart's lesson on


def path_without_code(pages: list[Page]) -> str:
    """One way through the lessons for whoever does not program; empty without its headings."""
    found = [page_with_heading(pages, heading) for heading, *_ in WITHOUT_CODE]
    stops, numbers = [], []
    for page, (heading, what, minutes) in zip(found, WITHOUT_CODE, strict=True):
        if page is None:
            return ""
        numbers.append(page.number)
        end = f"#{anchor(heading)}" if heading else ""
        link = f"[Lesson {page.number}](/lessons/{page.name}.ipynb{end})"
        stops.append(f"1. {link}: {what} ({minutes} minutes)")
    total = sum(minutes for *_, minutes in WITHOUT_CODE) + REST
    *_, chart, report = numbers
    return f"""**One path, {total} minutes, no code.** Each lesson has a button that hides the code.

{chr(10).join(stops)}
1. Below: the verdicts from lesson {chart} on ({REST} minutes)

![{REPORT}](/report.png)

*A finished report, as lesson {report} makes it. A sentence that it allows: "On these 60 pictures,
most of each of the four maps is gone when the network has lost all that it learnt." One that it
does not: "The maps mark what the answer needs."*

"""


def page_with_heading(pages: list[Page], heading: str) -> Page | None:
    """The first page that has a heading; None without one, and for "" the first page."""
    for page in pages:
        texts = (cell.source for cell in page.notebook.cells if cell.cell_type == "markdown")
        if not heading or any(heading == words for text in texts for _, words in headings(text)):
            return page
    return None


def number_of(name: str) -> str:
    """The two digits of the lesson of this name. Raises LessonError if there is none."""
    for path in (ROOT / "lessons").glob(f"[0-9][0-9]_{name}.py"):
        return path.name[:2]
    raise LessonError(f"the page of verdicts names the lesson {name}, and there is none")


def claims_table(claims: list[Claim]) -> str:
    """What stands behind each sentence of a lesson's verdict; empty without entries."""
    lines = ["| it says | the strongest null | read another way | it rests on |", "|---" * 4 + "|"]
    for claim in claims:
        cells = [claim.sentence, claim.null, claim.second, claim.networks]
        if claim.none:
            cells = [claim.sentence, f"no score: {claim.none}", "", ""]
        lines.append(f"| {' | '.join(one_line(cell).replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) if claims else ""


def verdict_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells below the heading *Verdict*, without the heading and without marks."""
    found = section(list(notebook.cells), "Verdict")
    for cell in found:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                rf"^(\(.*\)=|## .*(?:Verdict|{HEADINGS['Verdict']}))\n*",
                "",
                cell.source,
                flags=re.M,
            )
    return found


def numbers(cell: NotebookNode) -> str:
    """What a cell printed, folded; pictures and Markdown as they are."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            text = fenced(output.text, "text")
            parts.append(f"<details><summary>The numbers</summary>\n\n{text}\n\n</details>")
        elif "text/markdown" in output.get("data", {}):
            parts.append(output.data["text/markdown"])
    return "\n\n".join(parts)


def relied_on(pages: list[Page]) -> tuple[str, str]:
    """The table that says of each claim what one may rely on, after its lesson's number.

    Both are empty without it.
    """
    for page in pages:
        for cell in page.notebook.cells:
            for output in cell.get("outputs", []):
                text = output.get("data", {}).get("text/markdown", "")
                if "so one may rely on" in text.partition("\n")[0]:
                    return page.number, str(text)
    return "", ""
