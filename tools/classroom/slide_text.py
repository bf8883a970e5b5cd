"""Markdown for slides: how many lines a block takes, how it is cut to fit, and its HTML."""

import re
import unicodedata
from collections.abc import Iterator
from math import ceil

from nbconvert.filters import markdown2html

LINES = 15  # of text that fit below a slide's heading
LETTERS = 92  # that fit in a line
# What is for a reader at the keyboard, and not for a room.
TRY_IT = re.compile(r"\*\*(Try it|试一试)")
NEXT_CELL = re.compile(r"\bnext cell\b|下一个单元格|下面的单元格")
# Where a sentence ends: before a space, or after a Chinese mark with what closes it.
SENTENCE_END = re.compile(
    r"(?<=[.?!] )|(?<=[.?!]\*\* )|(?<=[。？！])(?![”’）*])|(?<=[。？！][”’）])"
)


def blocks(text: str) -> list[str]:
    """The paragraphs, lists, tables, formulas and code of a Markdown text."""
    found, fenced = list[str](), False
    for part in re.split(r"\n\s*\n", text.strip()):
        if fenced:
            found[-1] += f"\n\n{part}"
        elif part:
            found.append(part)
        fenced ^= part.count("```") % 2 == 1
    return found


def letters(text: str) -> int:
    """How many letters wide a text is; a Chinese character counts as two."""
    return sum(2 if is_wide(character) else 1 for character in text)


def is_wide(character: str) -> bool:
    """Whether a character is as wide as two letters."""
    return unicodedata.east_asian_width(character) in "WF"


def for_a_room(text: str) -> str:
    """A Markdown text without **Try it**, and without sentences about the next cell."""
    kept = list[str]()
    for block in blocks(text):
        if NEXT_CELL.search(block) and not block.startswith("```"):
            sentences = SENTENCE_END.split(" ".join(block.splitlines()))
            block = "".join(s for s in sentences if not NEXT_CELL.search(s) or "**" in s).strip()
        if block and not TRY_IT.search(block):
            kept.append(block)
    return "\n\n".join(kept)


def lines(block: str) -> float:
    """An upper estimate of the lines that a block takes on a slide, with the space below it."""
    rows = block.splitlines()
    if is_table(rows):
        return 0.5 + sum(table_lines(row) for row in rows if not is_rule(row))
    if block.startswith("```"):
        return len(rows)
    if block.startswith("$$"):
        return 2.5
    items = re.split(r"\n(?=(?:[-*]|\d+\.) )", block)
    return 0.4 * len(items) + sum(ceil(letters(" ".join(item.split())) / LETTERS) for item in items)


def is_table(rows: list[str]) -> bool:
    """Whether lines are a Markdown table."""
    return len(rows) > 1 and is_rule(rows[1])


def is_rule(row: str) -> bool:
    """Whether a line is the rule below a table's head."""
    return re.fullmatch(r"[|\s:-]*---[|\s:-]*", row) is not None


def table_lines(row: str) -> float:
    """How many lines of the slide's text a row of a table takes; its letters are smaller."""
    return 0.35 + 0.72 * ceil(letters(row) / 95)


def cut(block: str) -> Iterator[str]:
    """A block in pieces that fit a slide: a list by items, a table by rows, words by sentences."""
    if lines(block) <= LINES or block.startswith(("```", "$$")):
        yield block
        return
    rows = block.splitlines()
    if is_table(rows):
        head, pieces, glue = "\n".join(rows[:2]) + "\n", rows[2:], "\n"
    elif re.match(r"(?:[-*]|\d+\.) ", block):
        head, pieces, glue = "", re.split(r"\n(?=(?:[-*]|\d+\.) )", block), "\n"
    else:
        head, pieces, glue = "", SENTENCE_END.split(" ".join(rows)), ""
    piece = ""
    for part in pieces:
        if piece and lines(head + piece + glue + part) > LINES:
            yield head + piece
            piece = part
        else:
            piece = piece + glue + part if piece else part
    yield head + piece


def rendered(text: str) -> str:
    """Markdown as HTML; links to files become plain words, since a deck is shown without them."""
    made = str(markdown2html(text))
    made = re.sub(r'<a class="anchor-link".*?</a>', "", made)
    return re.sub(r'<a href="(?!https?:)[^"]*"[^>]*>(.*?)</a>', r"\1", made, flags=re.DOTALL)


def inline(text: str) -> str:
    """A line of Markdown as HTML, without a paragraph around it; "1. Words" is no list here."""
    made = rendered(re.sub(r"^(\d+)\. ", r"\1\\. ", text))
    return re.sub(r"^<p>|</p>\s*$", "", made.strip())
