"""The catalogues of the Chinese lessons: every text of a lesson, and its translation.

    python -m tools.lessons.catalogue [03 ...]

makes or updates lessons/zh/NN_title.po (called by `make chinese`). The English text is the key. A
text that changed keeps its translation, marked *fuzzy*, with the English before; what the lesson no
longer says is dropped. The header `X-Published: yes` says that readers get the lesson, so that all
of it has to be translated.
"""

import argparse
import difflib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polib
from nbformat import NotebookNode

from tools.lessons.code_words import Usage, read_usage, translated_code, words_of
from tools.lessons.languages import time_words
from tools.lessons.markdown_pieces import Piece, pieces
from tools.lessons.outputs import ROOT
from tools.lessons.parts import anchor
from tools.lessons.source import Lesson, LessonError, read_lesson

ZH = Path("lessons/zh")
HEADER = {
    "Content-Type": "text/plain; charset=UTF-8",
    "Content-Transfer-Encoding": "8bit",
    "Language": "zh_CN",
    "X-Published": "no",
}
ALIKE = 0.6  # a changed text is as much like the one before, on a scale from 0 to 1
UNTRANSLATED = " 〔本段尚未译成中文〕"
LINK = re.compile(r"(\]\()([^()\s]+)(\))")


@dataclass(frozen=True)
class Message:
    """A text of a lesson, and where it stands."""

    text: str
    kind: str  # question, paragraph, item, cell, heading, fold, string, f-string, …
    cell: int  # its number in the lesson, from 1; 0 for the header
    heading: str  # the last one before it

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"cell {self.cell} ({self.heading}), {self.kind}"


# --- what a lesson says ---------------------------------------------------------------------------


def messages(lesson: Lesson, more: Iterable[str] = ()) -> list[Message]:
    """Every text of a lesson in order. `more`: see `read_usage`."""
    usage = usage_of(lesson, more)
    found, heading = [Message(lesson.question, "question", 0, "header")], lesson.title
    for number, cell in enumerate(lesson.cells, start=1):
        if cell.cell_type == "code":
            words = words_of(cell.source, usage)
            found += [Message(each.text, each.kind, number, heading) for each in words]
            continue
        for piece in pieces(source_of(lesson, number)):
            heading = piece.text if piece.kind == "heading" else heading
            if is_message(piece):
                found.append(Message(piece.text, piece.kind, number, heading))
    return found


def is_message(piece: Piece) -> bool:
    """Whether a piece says something, other than code and formulas."""
    bare = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<[^>]*>", " ", piece.text)
    return piece.words and bool(re.search("[A-Za-z]{2}", bare))


def source_of(lesson: Lesson, number: int) -> str:
    """The text of a cell as the lesson's file has it, with `{minutes}` in the box."""
    source = str(lesson.cells[number - 1].source)
    return source.replace(time_words(lesson.minutes), "{minutes}") if number == 1 else source


def usage_of(lesson: Lesson, more: Iterable[str] = ()) -> Usage:
    """What the code of a lesson shows."""
    return read_usage([c.source for c in lesson.cells if c.cell_type == "code"], more)


def more_words(lesson: Lesson, root: Path = ROOT) -> list[str]:
    """The strings of a lesson's code that are words although no rule finds them."""
    path = root / ZH / "words.toml"
    listed = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    return list(listed.get(lesson.name[:2], []))


# --- catalogues -----------------------------------------------------------------------------------


def catalogue_path(lesson: Lesson, root: Path = ROOT) -> Path:
    """Where the catalogue of a lesson lies."""
    return root / ZH / f"{lesson.path.stem}.po"


def read_catalogue(lesson: Lesson, root: Path = ROOT) -> polib.POFile:
    """The catalogue of a lesson; an empty one if there is none."""
    path = catalogue_path(lesson, root)
    if path.exists():
        return polib.pofile(str(path), wrapwidth=0, encoding="utf-8")
    catalogue = polib.POFile(wrapwidth=0, encoding="utf-8")
    catalogue.metadata = dict(HEADER)
    return catalogue


def is_published(catalogue: polib.POFile) -> bool:
    """Whether readers get this lesson in Chinese."""
    return str(catalogue.metadata.get("X-Published", "no")) == "yes"


def is_done(entry: polib.POEntry) -> bool:
    """Whether an entry has a translation of the text as it is today."""
    return bool(entry.msgstr) and not entry.fuzzy


def updated(catalogue: polib.POFile, wanted: list[Message]) -> polib.POFile:
    """The catalogue with an entry for each text, in the order of the lesson."""
    places = dict[str, list[Message]]()
    for message in wanted:
        places.setdefault(message.text, []).append(message)
    old = {(entry.msgid, entry.msgctxt): entry for entry in catalogue if not entry.obsolete}
    vanished = [entry for (text, _), entry in old.items() if text not in places and entry.msgstr]
    new = polib.POFile(wrapwidth=0, encoding="utf-8")
    new.header, new.metadata = catalogue.header, {**HEADER, **catalogue.metadata}
    for text, found in places.items():
        comment = "; ".join(dict.fromkeys(message.place for message in found[:4]))
        headings_here = {message.heading for message in found}
        kept = [e for (t, c), e in old.items() if t == text and (c is None or c in headings_here)]
        if not any(entry.msgctxt is None for entry in kept):
            before = most_alike(text, vanished)
            entry = polib.POEntry(msgid=text)
            if before is not None:
                vanished.remove(before)
                entry.msgstr, entry.tcomment = before.msgstr, before.tcomment
                entry.flags, entry.previous_msgid = ["fuzzy"], before.msgid
            kept.insert(0, entry)
        for entry in kept:
            entry.comment = comment
            new.append(entry)
    return new


def most_alike(text: str, entries: list[polib.POEntry]) -> polib.POEntry | None:
    """The entry whose text is most like this one, if one is like it."""
    best, found = ALIKE, None
    for entry in entries:
        matcher = difflib.SequenceMatcher(None, entry.msgid, text, autojunk=False)
        if matcher.quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, found = ratio, entry
    return found


def stale(catalogue: polib.POFile, wanted: list[Message]) -> list[str]:
    """What keeps a lesson from being published, each as a sentence."""
    known = {entry.msgid: entry for entry in catalogue if entry.msgctxt is None}
    problems = list[str]()
    for text, place in {message.text: message.place for message in wanted[::-1]}.items():
        entry = known.get(text)
        if entry is None:
            problems.append(f"{place}: no entry for {text[:60]!r}")
        elif not is_done(entry):
            what = "changed since it was translated" if entry.fuzzy else "not translated"
            problems.append(f"{place}: {what}: {text[:60]!r}")
    problems.reverse()
    texts = {message.text for message in wanted}
    gone = [entry.msgid for entry in catalogue if entry.msgid not in texts]
    return problems + [f"the lesson no longer says {text[:60]!r}" for text in gone]


# --- the Chinese lesson ---------------------------------------------------------------------------


def chinese_lesson(lesson: Lesson, root: Path = ROOT, go_on: bool = False) -> Lesson:
    """A lesson in Chinese, with the same code.

    Raises LessonError for a text without a current translation; with `go_on` such a text stays in
    English, and a paragraph says so.
    """
    catalogue, more = read_catalogue(lesson, root), more_words(lesson, root)
    wanted = messages(lesson, more)
    if not go_on and (problems := stale(catalogue, wanted)):
        listed = "\n  ".join(problems[:10])
        raise LessonError(
            f"{catalogue_path(lesson, root).name}: {len(problems)} entries are not current; "
            f"`make chinese` updates the catalogue:\n  {listed}"
        )
    found = {(entry.msgid, entry.msgctxt): entry.msgstr for entry in catalogue if is_done(entry)}
    usage, addresses = usage_of(lesson, more), Addresses(root)
    heading, cells = lesson.title, list[NotebookNode]()

    def say(text: str) -> str:
        if text in more:  # wherever it stands the same
            return found.get((text, None)) or text
        return found.get((text, heading)) or found.get((text, None)) or text

    for number, cell in enumerate(lesson.cells, start=1):
        cells.append(cell.copy())
        if cell.cell_type == "code":
            cells[-1].source = translated_code(cell.source, usage, lambda words: say(words.text))
            continue
        source = ""
        for piece in pieces(source_of(lesson, number)):
            heading = piece.text if piece.kind == "heading" else heading
            missing = is_message(piece) and (piece.text, None) not in found
            source += marked(piece.text) if missing else say(piece.text)
        source = source.replace("{minutes}", time_words(lesson.minutes, "zh"))
        cells[-1].source = addresses.in_chinese(source)
    return replace(
        lesson,
        title=say(lesson.title),
        question=say(lesson.question),
        cells=cells,
        language="zh",
    )


def marked(text: str) -> str:
    """An English paragraph with words that say that it is not translated yet.

    What the tools read (questions, exercises, headings, short texts) stays as it is.
    """
    if re.match(r"\*\*\d+\. ", text) or text.count(" ") < 8:
        return text
    return text + UNTRANSLATED


class Addresses:
    """Where links of a Chinese lesson lead: to Chinese pages and headings where there are any."""

    def __init__(self, root: Path):
        """Read which lessons are published, and their headings."""
        self.root = root
        self.anchors = dict[str, dict[str, str]]()  # by lesson: English to Chinese
        for path in sorted((root / ZH).glob("[0-9][0-9]_*.po")):
            catalogue = polib.pofile(str(path), encoding="utf-8")
            if is_published(catalogue):
                self.anchors[path.stem] = {
                    anchor(entry.msgid): anchor(entry.msgstr)
                    for entry in catalogue
                    if "heading" in entry.comment and is_done(entry)
                }

    def in_chinese(self, text: str) -> str:
        """Markdown whose links lead to Chinese pages; they start at notebooks/, as in English."""
        return LINK.sub(lambda match: match[1] + self.target(match[2]) + match[3], text)

    def target(self, address: str) -> str:
        """Where a link leads in Chinese."""
        path, hash_, heading = address.partition("#")
        name = Path(path).stem
        if path.startswith("../notebooks/") and name in self.anchors:
            new = path.replace("../notebooks/", "../notebooks/zh/", 1)
            return new + hash_ + self.anchors[name].get(heading, heading)
        if path.startswith("../") and path.endswith(".md"):
            page = self.root / path.removeprefix("../").replace(".md", ".zh-CN.md")
            if page.exists() and (not heading or f'id="{heading}"' in page.read_text("utf-8")):
                return path.replace(".md", ".zh-CN.md") + hash_ + heading
        return address


def published(root: Path = ROOT) -> list[str]:
    """The names of the lessons that readers get in Chinese."""
    return list(Addresses(root).anchors)


# --- the command ----------------------------------------------------------------------------------


def lesson_paths(root: Path, names: list[str]) -> Iterator[Path]:
    """The lessons of a repository, or those with one of these names or numbers."""
    for path in sorted((root / "lessons").glob("[0-9][0-9]_*.py")):
        if not names or any(path.stem.startswith(Path(name).stem) for name in names):
            yield path


def main(arguments: list[str] | None = None) -> int:
    """Make or update catalogues; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons, such as 03 (default: all)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with lessons/")
    asked = parser.parse_args(arguments)
    for path in lesson_paths(asked.root, asked.names):
        lesson = read_lesson(path)
        target = catalogue_path(lesson, asked.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        catalogue = updated(
            read_catalogue(lesson, asked.root), messages(lesson, more_words(lesson, asked.root))
        )
        target.write_text(f"{catalogue}\n".replace("\n\n\n", "\n\n"), encoding="utf-8")
        done = sum(is_done(entry) for entry in catalogue)
        fuzzy = sum(entry.fuzzy for entry in catalogue)
        note = f", {fuzzy} to look at again" if fuzzy else ""
        print(f"{target.name}: {done} of {len(catalogue)} texts translated{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
