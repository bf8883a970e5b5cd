"""Checks the translations in a catalogue: that nothing was lost, and how the Chinese is written.

    python -m tools.lessons.chinese [03 ...] [--strings]

prints each broken rule with its entry; with `--strings` also the strings of the code that are in no
catalogue, since code may look them up (lessons/zh/words.toml can add them).

An entry that breaks a rule for a reason says so in a translator's comment, by the rule's name or by
the word of the glossary: `# allow: numbers, bias`.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import polib

from tools.lessons.catalogue import (
    catalogue_path,
    is_done,
    is_published,
    lesson_paths,
    messages,
    more_words,
    read_catalogue,
    stale,
    usage_of,
)
from tools.lessons.code_words import field_shape, other_strings, parts_of
from tools.lessons.languages import CHINESE, DIFFICULTIES, ENGLISH, HEADINGS, RIGHT
from tools.lessons.outputs import ROOT
from tools.lessons.source import LessonError, read_lesson
from tools.site.text import read_terms

HAN = "\u3400-\u9fff"
FULL = "，。；：！？、（）《》“”‘’…—"
FORMULA = re.compile(r"\$\$.*?\$\$|\$(?:\\.|[^$])+\$", re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?\1")
TARGET = re.compile(r"\]\(([^()\s]+)\)")
TAG = re.compile(r"</?[A-Za-z][^<>]*>")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
ARXIV = re.compile(r"arXiv:[\w./-]+|doi:\S+|§+\d+")
AUTHORS = re.compile(r"([A-ZÀ-Ž][\w’'-]+) (?:and others|et al)")
IN_CODE = ("string", "f-string", "docstring", "comment")


def kind_of(entry: polib.POEntry) -> str:
    """The kind of an entry's text, such as paragraph, heading, f-string."""
    return str(entry.comment).partition(";")[0].rpartition(", ")[2].strip()


def allowed(entry: polib.POEntry) -> set[str]:
    """The rules and words that an entry's translator has set aside."""
    lines = re.findall(r"allow:(.*)", str(entry.tcomment))
    return {word.strip() for line in lines for word in line.split(",")}


# --- what has to be the same on both sides --------------------------------------------------------


def same_parts(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """The rules about what a translation keeps; each broken one by name, with what is wrong."""
    old, new, kind = entry.msgid, entry.msgstr, kind_of(entry)
    if kind == "f-string":
        try:
            parts_of(new)
        except ValueError as error:
            yield "fields", str(error)
            return
    finders: dict[str, Callable[[str], list[str]]] = {
        "fields": lambda text: fields(text, kind),
        "numbers": lambda text: NUMBER.findall(without_code(text, kind)),
        "citations": ARXIV.findall,
    }
    if kind not in IN_CODE:
        finders |= {
            "formulas": lambda text: FORMULA.findall(CODE.sub("", text)),
            "code": lambda text: [match[0] for match in CODE.finditer(text)],
            "links": TARGET.findall,
            "tags": TAG.findall,
        }
    for rule, find in finders.items():
        before, after = Counter(find(old)), Counter(find(new))
        if before != after:
            lost, added = list((before - after).elements()), list((after - before).elements())
            said = [f"lacks {lost}"] * bool(lost) + [f"has {added} too many"] * bool(added)
            yield rule, " and ".join(said)
    for name in AUTHORS.findall(old):
        if name not in new:
            yield "citations", f"lacks the author {name}"
    if kind in ("string", "f-string"):
        if ends(old) != ends(new):
            yield "spaces", "begins or ends with other spaces"
        if old.count("\n") != new.count("\n") or old.count("|") != new.count("|"):
            yield "lines", "has other line breaks or bars of a table"
    elif "\n" in new or (kind == "cell" and "|" in new.replace("\\|", "")):
        yield "lines", "a line break, or a bar in a table's cell"


def fields(text: str, kind: str) -> list[str]:
    """The expressions of an f-string, or the places of a text where something is put in."""
    if kind == "f-string":
        return [field_shape(part) for part in parts_of(text) if part.is_field]
    found = re.findall(r"\{[^{}]*\}", text if kind in IN_CODE else FORMULA.sub("", text))
    return [] if kind == "comment" else found


def without_code(text: str, kind: str) -> str:
    """A text without its code, formulas, addresses, tags and expressions."""
    if kind == "f-string":
        text = "".join("␣" if part.is_field else part.text for part in parts_of(text))
    elif kind not in IN_CODE:
        text = TARGET.sub("]", CODE.sub("␣", text))
        text = TAG.sub("", FORMULA.sub("␣", text))
    return re.sub(r"\{minutes\}", "␣", text)


def ends(text: str) -> tuple[str, str]:
    """The white space before and after a text."""
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


# --- what the tools look for ----------------------------------------------------------------------


def marks(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """The rules about headings, exercises and quiz, which slides, site and grader read."""
    old, new, kind = entry.msgid, entry.msgstr, kind_of(entry)
    if kind == "heading":
        for words, chinese in HEADINGS.items():
            bare, bare_new = (re.sub(r"^\d+\. ", "", text) for text in (old, new))
            if bare.startswith(words) and not bare_new.startswith(chinese):
                yield "headings", f"“{words}” has to be “{chinese}” at the beginning"
    if match := re.match(r"\*\*(\d+)\. [^*]+\*\* \(([\d to]+) minutes, (\w+)\)", old):
        minutes = match[2].replace(" to ", " 到 ")
        mark = rf"\*\*{match[1]}\. [^*]+\*\*（{minutes} 分钟，{DIFFICULTIES.get(match[3])}）"
        if not re.match(mark, new):
            wanted = f"**{match[1]}. …**（{minutes} 分钟，{DIFFICULTIES.get(match[3])}）"
            yield "exercise", f"has to begin with {wanted}"
    elif match := re.fullmatch(r"\*\*(\d+)\. .+\*\*", old):
        bold = re.fullmatch(rf"\*\*{match[1]}\. .+\*\*", new)
        yield from [] if bold else [("quiz", f"has to be **{match[1]}. …**")]
    elif " (Quiz), paragraph" in entry.comment and bool(RIGHT.match(old)) != bool(RIGHT.match(new)):
        yield "quiz", "the reason of the right answer, and no other, begins with 对。"
    able = [f"**{language.able}**" for language in (ENGLISH, CHINESE)]
    if old.startswith(able[0]) and not new.startswith(able[1]):
        yield "box", f"has to begin with {able[1]}"


# --- how Chinese is written -----------------------------------------------------------------------


def style(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """The rules about spaces, punctuation and words."""
    new, kind = entry.msgstr, kind_of(entry)
    if not re.search(f"[{HAN}]", new):
        return
    text = spoken(new, kind)
    for pattern, rule, what in STYLE:
        for match in re.finditer(pattern, text):
            around = text[max(0, match.start() - 8) : match.end() + 8]
            yield rule, f"{what}: …{around}…"
    if kind not in IN_CODE:
        if new.count("**") % 2:
            yield "bold", "an odd number of **"
        for match in re.finditer(r"\*\*(.+?)\*\*", new):
            before, after = new[: match.start()][-1:], new[match.end() :][:1]
            inner = match[1]
            if is_mark(inner[-1]) and after and not after.isspace() and not is_mark(after):
                yield "bold", f"**{inner}** is not shown bold: move {inner[-1]} behind the **"
            if is_mark(inner[0]) and before and not before.isspace() and not is_mark(before):
                yield "bold", f"**{inner}** is not shown bold: move {inner[0]} before the **"


STYLE = (
    (f"[{HAN}][A-Za-z0-9␣]|[A-Za-z0-9%␣][{HAN}]", "spaces", "a space is missing"),
    (
        rf"(?<=[{HAN}”）》]) ?[,;:!?](?!\d)|(?<=[{HAN}”）》])\.(?!\w)",
        "punctuation",
        "full width after Chinese",
    ),
    (rf"(?<=[{HAN}])\(|\((?=[{HAN}])|\)(?=[{HAN}])|(?<=[{HAN}])\)", "punctuation", "brackets （）"),
    (rf"(?<=[{HAN}])[\"']|[\"'](?=[{HAN}])", "punctuation", "quotation marks “”"),
    (
        r"(?<! ) (?=[，。；：！？、）》”])|(?<=[，。；：！？、（《“]) (?! )",
        "spaces",
        "no space beside full-width marks",
    ),
    ("您", "you", "你, not 您"),
)


def is_mark(letter: str) -> bool:
    """Whether Markdown takes a letter for punctuation."""
    return not letter.isalnum() and not letter.isspace()


def spoken(text: str, kind: str) -> str:
    """A text as it is read: code, formulas and expressions are one sign, emphasis is left out."""
    text = without_code(text, kind)
    if kind not in IN_CODE:
        text = re.sub(r"\[([^\[\]]*)\]", r"\1", text)
        text = re.sub(r"\*+|(?<![\w])_|_(?![\w])", "", text)
    return text


def left_in_english(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """Four English words in a row; titles of papers, and terms in brackets, may stay."""
    kind, text = kind_of(entry), entry.msgstr
    if " (References)" in entry.comment:
        text = re.sub(r"\*[^*]+\*", "", text)
    text = spoken(text, kind)
    text = re.sub(r"（[A-Za-z0-9 ,，、'’/-]+）", "", text)
    for match in re.finditer(r"[A-Za-z][A-Za-z'’-]*(?:,? [A-Za-z][A-Za-z'’-]*){3,}", text):
        small = re.findall(r"\b[a-z]{2,}", match[0])
        if len(small) >= 2:
            yield "english", f"English is left: {match[0]}"


@cache
def glossary() -> list[tuple[str, re.Pattern[str], tuple[str, ...]]]:
    """The words of the glossary: the word, how it is found, and the Chinese words that may do.

    The longest spelling comes first, so that *adversarial training* is not taken for *training*.
    """
    found = []
    for term in read_terms():
        words = re.split(r"[（）]|、|\s/\s", term.chinese) + list(term.chinese_also)
        for spelling in (term.term, *term.also):
            first = re.escape(spelling[0])
            start = f"[{first.upper()}{first}]" if spelling[0].islower() else first
            pattern = rf"(?<![\w-]){start}{re.escape(spelling[1:])}(?![\w-])"
            names = {spelling} if re.search("[A-Z]", spelling) else set[str]()
            found.append((term.term, pattern, tuple({w for w in words if w} | names)))
    found.sort(key=lambda each: -len(each[1]))
    return [(name, re.compile(pattern), words) for name, pattern, words in found]


def terms(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """Words of the glossary that the translation calls something else."""
    kind = kind_of(entry)
    if " (References)" in entry.comment:
        return
    old, new = spoken(entry.msgid, kind), spoken(entry.msgstr, kind)
    for name, pattern, words in glossary():
        old, count = pattern.subn("␣", old)
        in_code = kind in ("string", "f-string") and pattern.search(new)  # the name of a method
        if count and not in_code and not any(word in new for word in words):
            yield "glossary", f"“{name}” is {' or '.join(words)}"
            yield name, ""


# --- all rules ------------------------------------------------------------------------------------


def broken(entry: polib.POEntry) -> list[str]:
    """The rules that a translated entry breaks, each as a sentence."""
    free = allowed(entry)
    if "english" in free and entry.msgstr == entry.msgid:
        return []
    found = list[str]()
    for rules in (same_parts, marks, style, left_in_english):
        found += [f"{rule}: {what}" for rule, what in rules(entry) if rule not in free]
    if "glossary" not in free:
        said = list(terms(entry))
        for (rule, what), (name, _) in zip(said[::2], said[1::2], strict=True):
            if name not in free:
                found.append(f"{rule}: {what}")
    return list(dict.fromkeys(found))


def broken_entries(catalogue: polib.POFile) -> list[str]:
    """All broken rules of a catalogue's translated entries, each with its entry."""
    found = list[str]()
    for entry in catalogue:
        place = str(entry.comment).partition(";")[0]
        for what in broken(entry) if is_done(entry) else []:
            found.append(f"{place}\n  {entry.msgid[:100]}\n  {entry.msgstr[:100]}\n  ✗ {what}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the broken rules of catalogues; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons, such as 03 (default: all)")
    parser.add_argument("--strings", action="store_true", help="list strings that stay English")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with lessons/")
    asked = parser.parse_args(arguments)
    failed = False
    try:
        for path in lesson_paths(asked.root, asked.names):
            lesson = read_lesson(path)
            target = catalogue_path(lesson, asked.root)
            if not target.exists():
                continue
            catalogue, more = read_catalogue(lesson, asked.root), more_words(lesson, asked.root)
            wrong = broken_entries(catalogue)
            waiting = stale(catalogue, messages(lesson, more))
            wrong += waiting if is_published(catalogue) else []
            print("\n\n".join(wrong) + "\n" * bool(wrong), end="")
            done = sum(is_done(entry) for entry in catalogue)
            for number, cell in enumerate(lesson.cells if asked.strings else [], start=1):
                if cell.cell_type == "code":
                    for text in other_strings(cell.source, usage_of(lesson, more)):
                        print(f"cell {number} stays English: {text!r}")
            state = "published" if is_published(catalogue) else "not published"
            print(
                f"{target.name} ({state}): {done} of {len(catalogue)} translated, "
                f"{len(waiting)} left; {len(wrong)} rules broken"
            )
            failed |= bool(wrong)
    except LessonError as error:
        print(f"Not checked: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
