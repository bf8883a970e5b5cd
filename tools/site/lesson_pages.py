"""Makes the pages of lessons: one for each notebook, with solutions folded below their exercises.

A page shows the learner's edition, which has the stubs. Nothing can be typed into a page, so the
solution is folded after the check and the hint. A page of the edition with solutions would be
nearly the same.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.classroom.freshness import is_older, refuse_unrun
from tools.lessons.build import read_seconds
from tools.lessons.catalogue import chinese_lesson
from tools.lessons.claims import Claim, one_line, read_claims
from tools.lessons.languages import HEADINGS, LANGUAGES
from tools.lessons.minutes import FURTHER, Minutes, further_cells
from tools.lessons.outputs import ROOT
from tools.lessons.parts import section
from tools.lessons.source import LessonError, read_lesson, tags_of
from tools.site.text import Pages, anchor, fenced, with_site_links
from tools.site.words import ENGLISH, WORDS, Words

HIDDEN = {"source_hidden": "hide-input", "outputs_hidden": "hide-output"}
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
    headings: dict[str, str]  # the English ones, with those of this page

    @property
    def number(self) -> str:
        """The two digits of the lesson."""
        return self.name[:2]


def notebook_paths(root: Path, language: str) -> list[Path]:
    """The notebooks that there are in a language, in order."""
    folder = root / "notebooks" if language == "en" else root / "notebooks" / language
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def headings_of(notebook: NotebookNode) -> list[str]:
    """The headings of a notebook below its title, in order."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^#{2,4} +(.+)", text, re.M)


def read_headings(root: Path = ROOT, language: str = "en") -> dict[str, set[str]]:
    """The anchors of the headings of every notebook, by its name."""
    return {
        path.stem: set(map(anchor, headings_of(nbformat.read(path, as_version=4))))
        for path in notebook_paths(root, language)
    }


def read_pages(
    pages: Pages,
    root: Path = ROOT,
    language: str = "en",
    address_of: Callable[[str], str] = str,
) -> list[Page]:
    """The notebooks that there are in a language, in order.

    `pages` are the names that links may use; `address_of`: see `with_site_links`.
    """
    seconds, words = read_seconds(root / "lessons"), WORDS[language]
    found = []
    for path in notebook_paths(root, language):
        solved = path.parent / "solutions" / path.name
        notebook = nbformat.read(path, as_version=4)
        with_solutions = nbformat.read(solved, as_version=4) if solved.exists() else None
        question, minutes, older = "", None, False
        refuse_unrun(path.stem, notebook)
        try:
            lesson = read_lesson(root / "lessons" / f"{path.stem}.py")
            if language != "en":
                lesson = chinese_lesson(lesson, root, go_on=True)
            question, minutes = lesson.question, lesson.minutes
            older = is_older(lesson, notebook, solutions=False)
        except (LessonError, OSError):  # a lesson that is being edited; its notebook can be shown
            print(f"  note: lessons/{path.stem}.py cannot be read, so its question is missing")
        title = re.sub(r"^# +", "", notebook.cells[0].source.splitlines()[0])
        if older:
            print(
                f"  note: {path.stem}: the notebook is older than its lesson, and its page says so"
            )
        english = nbformat.read(root / "notebooks" / path.name, as_version=4)
        both = dict(zip(headings_of(english), headings_of(notebook), strict=False))
        page = lesson_page(path.stem, notebook, with_solutions, pages, words, address_of)
        if older:
            page.cells[0].source += f'\n\n<p class="how-to-read">{words.older}</p>'
        found.append(Page(path.stem, title, question, minutes, seconds.get(path.stem), page, both))
    return found


def lesson_page(
    name: str,
    notebook: NotebookNode,
    with_solutions: NotebookNode | None,
    pages: Pages,
    words: Words = ENGLISH,
    address_of: Callable[[str], str] = str,
) -> NotebookNode:
    """A notebook as its page: solutions folded in, links within the site, outputs as Markdown."""
    cells = with_folded_solutions(list(notebook.cells), solutions_of(with_solutions, words))
    cells = with_folded_sections(cells, words)
    how_to_read = (
        f'<p class="how-to-read">{words.how_to_read} '
        f'<button type="button" class="code-switch" hidden>{words.hide}</button></p>'
    )
    folder = "notebooks" if words is ENGLISH else f"notebooks/{words.language}"
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            cell.source = with_site_links(cell.source, folder, pages, address_of)
        else:
            cell.outputs = [as_markdown(output) for output in cell.outputs]
            for part, tag in HIDDEN.items():
                if cell.metadata.get("jupyter", {}).get(part):
                    cell.metadata["tags"] = [*tags_of(cell), tag]
        if number == 0:
            cell.source = f"{cell.source.replace('# ', f'# {name[:2]} ', 1)}\n\n{how_to_read}"
    set_mark(cells, VERDICT, f"verdict-{name[:2]}")
    set_mark(cells, BREAKS, f"breaks-{name[:2]}")
    return nbformat.from_dict({**notebook, "cells": cells})


# --- solutions ------------------------------------------------------------------------------------


def solutions_of(notebook: NotebookNode | None, words: Words = ENGLISH) -> list[NotebookNode]:
    """The solution cells of an edition with solutions, made to be folded."""
    cells = [cell for cell in notebook.cells if "solution" in tags_of(cell)] if notebook else []
    for cell in cells:
        cell.metadata["tags"] = [*tags_of(cell), "hide-cell" if cell.outputs else "hide-input"]
        cell.metadata["mystnb"] = {
            "code_prompt_show": words.solution,
            "code_prompt_hide": words.solution,
        }
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


def with_folded_sections(cells: list[NotebookNode], words: Words = ENGLISH) -> list[NotebookNode]:
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
            fold = f'<details class="further"><summary>{words.further}</summary>'
            cell.source = f"{fold}\n\n{rest}"
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


def write_pictures(folder: Path, root: Path = ROOT, language: str = "en") -> None:
    """Write the pictures of all notebooks of a language into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    learner = notebook_paths(root, language)
    for path in [*learner, *(each.parent / "solutions" / each.name for each in learner)]:
        if not path.exists():
            continue
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                encoded = output.get("data", {}).get("image/png")
                if encoded:
                    (folder / picture_name(encoded)).write_bytes(base64.b64decode(encoded))


# --- pages about lessons --------------------------------------------------------------------------


def lessons_index(pages: list[Page], words: Words = ENGLISH) -> str:
    """The page of all lessons: for whoever learns on their own."""
    lines = []
    for page in pages:
        spent = page.minutes or (0, 0, 0)
        minutes = " | ".join(words.minutes.format(part) if part else "–" for part in spent)
        link = f"[{page.number} {page.title}](/lessons/{page.name}.ipynb)"
        lines.append(f"| {link} | {page.question} | {minutes} |")
    names = "\n".join(page.name for page in pages)
    text = words.lessons.format(table="\n".join(lines))
    return f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def verdicts_page(pages: list[Page], words: Words = ENGLISH) -> str:
    """The page of all verdicts: for whoever decides, and does not program."""
    claims = read_claims()[0] if words is ENGLISH else []  # their sentences are English
    parts = [
        words.verdicts.format(
            path=path_without_code(pages, words),
            compared=number_of("what_each_block_changed"),
            scored=number_of("grading_the_explanations"),
            taken=number_of("when_there_is_no_answer_key"),
        )
    ]
    for page in pages:
        cells = verdict_cells(page.notebook)
        if not cells:
            continue
        links = [f"[{words.the_lesson}](/lessons/{page.name}.ipynb)"]
        if any(BREAKS.search(cell.source) for cell in page.notebook.cells):
            links.append(f"[{words.breaks}](#breaks-{page.number})")
        parts.append(f"(lesson-{page.number})=\n## {page.number} {page.title}\n")
        parts.append(f"*{page.question}* {' · '.join(links)}\n")
        for cell in cells:
            parts.append(cell.source if cell.cell_type == "markdown" else numbers(cell, words))
        parts.append(claims_table([claim for claim in claims if claim.lesson == page.number]))
    text = "\n\n".join(parts)
    number, table = relied_on(pages, words)
    if table:
        text += f"\n\n{words.rewritten.format(number=number)}\n\n{table}"
    return text + "\n"


# The path of README.md: the English heading by which a lesson is found (none: the first one), and
# the minutes.
WITHOUT_CODE = (
    ("", 21),
    ("6. The answer key", 5),
    ("Which method for which question", 3),
    ("7. What you may say, and what not", 4),
)
REST = 17  # minutes for the verdicts from that of the chart's lesson on


def path_without_code(pages: list[Page], words: Words = ENGLISH) -> str:
    """One way through the lessons for whoever does not program; empty without its headings."""
    stops, numbers = [], []
    for (heading, minutes), what in zip(WITHOUT_CODE, words.stops, strict=True):
        page = page_with_heading(pages, heading)
        if page is None:
            return ""
        numbers.append(page.number)
        end = f"#{anchor(page.headings[heading])}" if heading else ""
        link = f"/lessons/{page.name}.ipynb{end}"
        stops.append(words.stop.format(number=page.number, link=link, what=what, minutes=minutes))
    *_, chart, report = numbers
    return words.path.format(
        total=sum(minutes for _, minutes in WITHOUT_CODE) + REST,
        stops="\n".join(stops),
        chart=chart,
        rest=REST,
        picture=words.report,
        report=report,
    )


def page_with_heading(pages: list[Page], heading: str) -> Page | None:
    """The first page with an English heading; None without one, and for "" the first page."""
    for page in pages:
        if not heading or heading in page.headings:
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


def numbers(cell: NotebookNode, words: Words = ENGLISH) -> str:
    """What a cell printed, folded; pictures and Markdown as they are."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            text = fenced(output.text, "text")
            fold = f"<details><summary>{words.numbers}</summary>"
            parts.append(f"{fold}\n\n{text}\n\n</details>")
        elif "text/markdown" in output.get("data", {}):
            parts.append(output.data["text/markdown"])
    return "\n\n".join(parts)


def relied_on(pages: list[Page], words: Words = ENGLISH) -> tuple[str, str]:
    """The table that says of each claim what one may rely on, after its lesson's number.

    Both are empty without it.
    """
    for page in pages:
        for cell in page.notebook.cells:
            for output in cell.get("outputs", []):
                text = output.get("data", {}).get("text/markdown", "")
                if words.relied_on in text.partition("\n")[0]:
                    return page.number, str(text)
    return "", ""
