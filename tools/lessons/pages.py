"""Builds the Chinese pages: README.zh-CN.md and the others of `PAGES`, each beside its English one.

    python -m tools.lessons.pages [--check]

Each has a catalogue in lessons/zh/pages/, with an entry for every paragraph, item, cell of a table
and comment in code. In tables that are made of the lessons, titles, questions and answers come from
the catalogues of the lessons, and numbers need no translation. The command takes over what changed
in English, names each entry that is not current or breaks a rule, and writes the pages; what has no
translation stays English in them. `make notebooks` and `make chinese` call it. With `--check` it
writes nothing.
"""

import argparse
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polib

from tools.lessons.build import write
from tools.lessons.catalogue import HEADER, ZH, Addresses, Message, is_done, is_message, stale
from tools.lessons.catalogue import updated as updated_catalogue
from tools.lessons.chinese import broken_entries
from tools.lessons.languages import DIFFICULTIES
from tools.lessons.markdown_pieces import Piece, kept
from tools.lessons.markdown_pieces import pieces as markdown_pieces
from tools.lessons.outputs import ROOT
from tools.lessons.parts import MARK, plain

# In a repository; the last one is the README of the student's and the teacher's editions.
PAGES = (
    "README.md",
    "TEACHING.md",
    "docs/assessment.md",
    "docs/handout.html",
    "docs/keras.md",
    "docs/networks.md",
    "data/README.md",
    "tools/classroom/edition_readme.md",
)
OF_EDITIONS = PAGES[-1:]  # its links start at the edition's own folder
BILINGUAL = ("docs/glossary.md",)
COMMENT = re.compile(r"((?:.*\s)?# +)(\S.*)")  # a line of code with a comment
ELEMENT = re.compile(r"(<(title|h1|h2|p|th|td)>)(.+?)(</\2>)")
LINK = re.compile(r"\]\(([^()\s]+)\)((?: (?!\|))?)")
SWITCH = re.compile(r"\*\*English\*\* · \[简体中文\]\([^()]+\)")
NOTEBOOK = re.compile(r"notebooks([/\\])((?:solutions/)?(\d\d_\w+)\.ipynb)")

# Cells of generated tables. First those that are numbers and fixed words alone.
FIXED = (
    (r"([\d +–]+) min", r"\1 分钟"),
    (r"(\d+) to (\d+) min", r"\1–\2 分钟"),
    (r"(\d+) s", r"\1 秒"),
    (r"week (\d+), (.+)", r"第 \1 周，\2"),
    (r"(\[\d+\]\(\S+\)), (\d+) min", r"\1，\2 分钟"),
    (r"(\[[\d.]+\]\(\S+\))", r"\1"),
    (r"([\d.]+ [\w-]+)", r"\1"),  # a ratio, and of which peer
    (r"([\w-]+) raises", r"\1 报错"),
    (r"(.+), (\d+) of (\d+) cores, (PyTorch .+)", r"\1，\3 核中用了 \2 核，\4"),
    *((english, chinese) for english, chinese in DIFFICULTIES.items()),
)
# Then words with a mark around them: what stays before them, the words, what stays after.
FRAMED = (
    r"(“)(.+)(”)",
    r"(\*\*[a-z]\)\*\* )(.+)()",
    r"((?:\d\d: )?\[(?:\d\d(?:\.\d+)? )?)(.+)(\]\(\S+\))",
    r"(\*\*\d\S*\*\* )(.+)()",
)


@dataclass(frozen=True)
class PageMessage(Message):
    """A text of a page, and where it stands."""

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.heading}, {self.kind}"


@dataclass(frozen=True)
class Part(Piece):
    """A piece of a page; in a generated table it may be a text of a lesson."""

    heading: str = ""
    lesson: str = ""


def chinese_name(page: str) -> str:
    """The path of a page's Chinese edition: README.zh-CN.md."""
    stem, end = posixpath.splitext(page)
    return f"{stem}.zh-CN{end}"


def catalogue_path(page: str, root: Path = ROOT) -> Path:
    """Where the catalogue of a page lies."""
    name = "data" if page == "data/README.md" else Path(page).stem
    return root / ZH / "pages" / f"{name}.po"


def read_catalogue(page: str, root: Path = ROOT) -> polib.POFile:
    """The catalogue of a page; an empty one if there is none."""
    path = catalogue_path(page, root)
    if path.exists():
        return polib.pofile(str(path), wrapwidth=0, encoding="utf-8")
    catalogue = polib.POFile(wrapwidth=0, encoding="utf-8")
    catalogue.metadata = {**HEADER, "X-Published": "yes"}
    return catalogue


# --- what a page says -----------------------------------------------------------------------------


def parts(page: str, root: Path = ROOT) -> Iterator[Part]:
    """The pieces of a page in order, with the headings and lessons that they belong to."""
    text = (root / page).read_text("utf-8")
    cut = html_pieces(text) if page.endswith(".html") else with_comments(markdown_pieces(text))
    heading, lesson, generated = "top", "", False
    for piece in cut:
        if not piece.words:
            if marker := re.fullmatch(r"<!-- \w+:(start|end) -->", piece.text.strip()):
                generated, lesson = marker[1] == "start", ""
            yield Part(piece.text, False)
            continue
        if piece.kind == "heading":
            heading = plain(piece.text)
        if found := NOTEBOOK.search(piece.text):
            lesson = found[3]
        before, words, after = framed(piece.text) if generated else ("", piece.text, "")
        said = is_message(replace(piece, text=words)) and not SWITCH.fullmatch(words)
        yield Part(before, False)
        yield Part(words, said, piece.kind, heading, lesson if generated else "")
        yield Part(after, False)


def framed(text: str) -> tuple[str, str, str]:
    """A cell of a generated table: what stands before its words, the words, and what after."""
    for pattern, template in FIXED:
        if match := re.fullmatch(pattern, text):
            return match.expand(template), "", ""
    for pattern in FRAMED:
        if match := re.fullmatch(pattern, text):
            return match[1].replace(": ", "："), match[2], match[3]
    return "", text, ""


def with_comments(cut: list[Piece]) -> Iterator[Piece]:
    """The pieces of a Markdown text, with the comments in blocks of code cut out as words."""
    for piece in cut:
        if piece.words or not piece.text.startswith("```"):
            yield piece
            continue
        for number, line in enumerate(piece.text.split("\n")):
            match = COMMENT.fullmatch(line)
            yield kept("\n" * bool(number) + (match[1] if match else line))
            if match:
                yield Piece(match[2], True, "comment")


def html_pieces(text: str) -> Iterator[Piece]:
    """The pieces of a page in HTML: what its headings, paragraphs and cells say."""
    end = 0
    for match in ELEMENT.finditer(text):
        yield kept(text[end : match.start(3)])
        yield Piece(match[3], True, "heading" if match[2][0] == "h" else "paragraph")
        end = match.end(3)
    yield kept(text[end:])


@dataclass(frozen=True)
class Course:
    """What pages take from the lessons of a repository."""

    root: Path
    texts: dict[str, dict[str, str]]  # by lesson: a text and its Chinese, "" if not current
    addresses: Addresses

    def has(self, part: Part) -> bool:
        """Whether a part of a page is a text of its lesson."""
        return unescaped(part.text) in self.texts.get(part.lesson, {})

    def chinese(self, part: Part) -> str:
        """The Chinese of a part that is a text of its lesson; "" if that is not current."""
        said = self.texts.get(part.lesson, {}).get(unescaped(part.text), "")
        return said.replace("|", "\\|")

    def notebook(self, match: re.Match[str]) -> str:
        """The path of a Chinese notebook, if the lesson is published."""
        ready = match[3] in self.addresses.anchors
        return f"notebooks{match[1]}zh{match[1]}{match[2]}" if ready else match[0]


def read_course(root: Path = ROOT) -> Course:
    """The lessons as their catalogues have them."""
    return Course(root, lesson_texts(root), Addresses(root))


def lesson_texts(root: Path) -> dict[str, dict[str, str]]:
    """For each lesson its texts and their Chinese.

    Among them headings without emphasis, titles of exercises, and questions of the quiz.
    """
    found = dict[str, dict[str, str]]()
    for path in sorted((root / ZH).glob("[0-9][0-9]_*.po")):
        texts = found[path.stem] = dict[str, str]()
        for entry in polib.pofile(str(path), encoding="utf-8"):
            chinese = entry.msgstr if is_done(entry) else ""
            texts.setdefault(entry.msgid, chinese)
            for find in (plain, exercise_title, question):
                texts.setdefault(find(entry.msgid), find(chinese))
        del texts[""]
    return found


def exercise_title(text: str) -> str:
    """The title in the first line of an exercise; "" if there is none."""
    match = MARK.match(text)
    return match[2] if match else ""


def question(text: str) -> str:
    """The words of a question of a quiz; "" if it is none."""
    match = re.fullmatch(r"\*\*\d+\. (.+)\*\*", text)
    return match[1] if match else ""


def messages(page: str, course: Course) -> list[Message]:
    """The texts of a page that its own catalogue has to translate."""
    return [
        PageMessage(part.text, part.kind, 0, part.heading)
        for part in parts(page, course.root)
        if part.words and not course.has(part)
    ]


def unescaped(text: str) -> str:
    """A text from a cell of a table, with its bars as the lesson writes them."""
    return text.replace("\\|", "|")


# --- the Chinese page -----------------------------------------------------------------------------


def chinese_page(page: str, catalogue: polib.POFile, course: Course) -> str:
    """A page in Chinese. What has no current translation stays English."""
    own = {entry.msgid: entry.msgstr for entry in catalogue if is_done(entry)}
    text = ""
    for part in parts(page, course.root):
        words = part.text
        if part.words:
            words = course.chinese(part) or own.get(part.text, part.text)
            if part.kind == "heading" and page.endswith(".md"):
                text = with_anchor(text, part.text)
        text += words
    if page.endswith(".html"):
        text = text.replace('<html lang="en">', '<html lang="zh-CN">')
    else:
        languages = f"[English]({posixpath.basename(page)}) · **简体中文**"
        text = SWITCH.sub(languages, LINK.sub(links(page, course), text))
    if page not in OF_EDITIONS:
        text = NOTEBOOK.sub(course.notebook, text)
    source = catalogue_path(page, Path()).as_posix()
    return f"<!-- made from {page} and {source} by python -m tools.lessons.pages -->\n{text}"


def with_anchor(text: str, heading: str) -> str:
    """A text that ends before the words of a heading, with the anchor of the English heading."""
    before, line, marks = text.rpartition("\n")
    if marks.strip() == "#":
        return text
    name = re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")
    return f'{before}{line}<a id="{name}"></a>\n\n{marks}'


def links(page: str, course: Course) -> Callable[[re.Match[str]], str]:
    """How the links of a page are written: to Chinese pages where there are any.

    A page that is there in English only is followed by a word that says so.
    """
    folder = "" if page in OF_EDITIONS else posixpath.dirname(page)

    def written(match: re.Match[str]) -> str:
        path, hash_, heading = match[1].partition("#")
        full = new = posixpath.normpath(posixpath.join(folder, path))
        if not path or ":" in path or full == chinese_name(page):
            return match[0]
        if full.startswith("notebooks/"):
            target = course.addresses.target(f"../{full}{hash_}{heading}").removeprefix("../")
            new, hash_, heading = target.partition("#")
        elif full in PAGES or (course.root / chinese_name(full)).exists():
            new = chinese_name(full)
        elif full.endswith(".md") and full not in BILINGUAL:
            return match[0].rstrip() + "（英文）"
        return f"]({posixpath.relpath(new, folder or '.')}{hash_}{heading}){match[2]}"

    return written


# --- the command ----------------------------------------------------------------------------------


def problems(page: str, catalogue: polib.POFile, course: Course) -> list[str]:
    """What keeps a Chinese page from being current and well written, each as a sentence."""
    found = stale(catalogue, messages(page, course))
    found += [
        f"{part.heading}: lesson {part.lesson} has no current translation of {part.text[:60]!r}"
        for part in parts(page, course.root)
        if course.has(part) and not course.chinese(part)
    ]
    return found + broken_entries(catalogue)


def main(arguments: list[str] | None = None) -> int:
    """Update catalogues and write pages, or only look; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with README.md, lessons/")
    asked = parser.parse_args(arguments)
    root, failed = asked.root, False
    course = read_course(root)
    for page in PAGES:
        catalogue = read_catalogue(page, root)
        if not asked.check:
            catalogue = updated_catalogue(catalogue, messages(page, course))
            catalogue_path(page, root).parent.mkdir(parents=True, exist_ok=True)
            write(catalogue_path(page, root), str(catalogue).rstrip("\n") + "\n")
        wrong = problems(page, catalogue, course)
        text, target = chinese_page(page, catalogue, course), root / chinese_name(page)
        if not asked.check:
            write(target, text)
        elif not target.exists() or target.read_text("utf-8") != text:
            wrong.append("the page is not what the catalogue gives: run this without --check")
        print("\n\n".join(wrong) + "\n" * bool(wrong), end="")
        done = sum(is_done(entry) for entry in catalogue)
        print(
            f"{chinese_name(page)}: {done} of {len(catalogue)} translated; {len(wrong)} to look at"
        )
        failed |= bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
