"""Cuts Markdown into what a translator translates: one piece a paragraph, item, cell or heading.

Joined, the pieces are the text again, with wrapped lines made one. Marks of lists and headings, the
letters of quiz options, formulas that stand alone, blocks of code and lines of tags are no words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

ITEM = re.compile(r"( *(?:[-*+]|\d+\.) +)(.*)")
HEADING = re.compile(r"(#{1,6} +)(.*)")
SUMMARY = re.compile(r"(.*<summary>(?:[a-z]\) )?)(.*?)(</summary>.*)")
RULE = re.compile(r"\|?[ :|-]*-{3}[ :|-]*")  # below the head of a table
ONLY_TAGS = re.compile(r"(?:\s*<[^<>]+>)+\s*|\s*<!--.*-->\s*")
CELL_ENDS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Piece:
    """A part of a text: words to translate, or what stays as it is."""

    text: str
    words: bool
    kind: str = ""  # of words: paragraph, item, cell, heading, fold


def pieces(text: str) -> list[Piece]:
    """The parts of a Markdown text in order; joined, they are the text with its lines unwrapped."""
    return list(cut_blocks(text.split("\n")))


def cut_blocks(lines: list[str]) -> Iterator[Piece]:
    """The parts of these lines; a line break stands between two lines, none at the end."""
    at = 0
    while at < len(lines):
        if at:
            yield kept("\n")
        end, parts = next_block(lines, at)
        yield from parts
        at = end


def next_block(lines: list[str], at: int) -> tuple[int, list[Piece]]:
    """Where the block that starts at a line ends, and its parts."""
    line = lines[at]
    if line.startswith(("```", "$$")):
        end = fence_end(lines, at, line[:3] if line.startswith("`") else "$$")
        return end, [kept("\n".join(lines[at:end]))]
    if line.startswith(">"):
        return quote(lines, at)
    if line.lstrip().startswith("|"):
        return at + 1, list(row(line))
    if match := HEADING.fullmatch(line):
        return at + 1, [kept(match[1]), Piece(match[2], True, "heading")]
    if "<summary>" in line:
        end = at + 1
        while "</summary>" not in line and end < len(lines):
            line, end = f"{line} {lines[end].strip()}", end + 1
        if match := SUMMARY.fullmatch(line):
            return end, [kept(match[1]), Piece(match[2], True, "fold"), kept(match[3])]
    if not line.strip() or ONLY_TAGS.fullmatch(line):
        return at + 1, [kept(line)]
    end = at + 1
    while end < len(lines) and not opens_block(lines[end]):
        end += 1
    words = " ".join(each.strip() for each in lines[at:end])
    if match := ITEM.match(line):
        return end, [kept(match[1]), Piece(words[len(match[1].lstrip()) :], True, "item")]
    indent = line[: len(line) - len(line.lstrip())]
    return end, [kept(indent), Piece(words, True, "paragraph")]


def opens_block(line: str) -> bool:
    """Whether a line ends the paragraph before it."""
    return not line.strip() or bool(
        line.startswith(("```", "$$", ">"))
        or line.lstrip().startswith("|")
        or ITEM.match(line)
        or HEADING.match(line)
        or "<summary>" in line
        or ONLY_TAGS.fullmatch(line)
    )


def fence_end(lines: list[str], at: int, fence: str) -> int:
    """The line after a block of code or a formula that stands alone."""
    if fence == "$$" and lines[at].count("$$") > 1:
        return at + 1
    for number in range(at + 1, len(lines)):
        if fence in lines[number]:
            return number + 1
    return len(lines)


def quote(lines: list[str], at: int) -> tuple[int, list[Piece]]:
    """A quotation: its words are cut like any others, and each line gets its mark again."""
    end = at
    while end < len(lines) and lines[end].startswith(">"):
        end += 1
    inner = cut_blocks([re.sub(r"^> ?", "", line) for line in lines[at:end]])
    parts = [kept("> ")]
    parts += [part if part.words else kept(part.text.replace("\n", "\n> ")) for part in inner]
    text = [
        kept(re.sub(r"> (?=\n)", ">", p.text)) if not p.words else p for p in without_gaps(parts)
    ]
    return end, text


def without_gaps(parts: list[Piece]) -> list[Piece]:
    """The parts, with neighbours that stay as they are joined."""
    found = list[Piece]()
    for part in parts:
        if found and not part.words and not found[-1].words:
            found[-1] = kept(found[-1].text + part.text)
        else:
            found.append(part)
    return found


def row(line: str) -> Iterator[Piece]:
    """A row of a table: each cell that is not empty is a piece."""
    if RULE.fullmatch(line.strip()):
        yield kept(line)
        return
    for number, cell in enumerate(CELL_ENDS.split(line)):
        if number:
            yield kept("|")
        words = cell.strip()
        if words:
            before, _, after = cell.partition(words)
            yield from (kept(before), Piece(words, True, "cell"), kept(after))
        else:
            yield kept(cell)


def kept(text: str) -> Piece:
    """A part that stays as it is."""
    return Piece(text, words=False)
