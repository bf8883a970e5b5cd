"""Checks lessons/claims.toml, which says what stands behind each sentence of a verdict.

python -m tools.lessons.claims [07 ...]    prints what is wrong with the entries of some lessons
"""

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from tools.lessons.outputs import ROOT
from tools.lessons.parts import headings, pieces, plain, section
from tools.lessons.source import Lesson, read_lesson

FILE = ROOT / "lessons/claims.toml"
COUNTS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|twice"
FRACTIONS = "third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|fifteenth|twentieth|hundredth"
QUOTED = re.compile(rf"(?i)\d(?:[\d,.]*\d)?|\b(?:half|halves|{COUNTS}|(?:{FRACTIONS})s?)\b")
PLACES = re.compile(r"\b(?:lesson|section|column)s? \d+(?:(?:, | and | to |, and )\d+)*")
NUMBER = re.compile(r"(?<![\d./:])(\d+(?:\.\d+)?)(?![\d/:]|\.\d)(?=( ?%| to [\d.]+ ?%)?)")
NO_PROSE = ("Verdict", "Exercises", "Quiz", "References", "Predict", "Take it with you")


@dataclass(frozen=True)
class Claim:
    """An entry of the table; the top of lessons/claims.toml describes its fields."""

    lesson: str
    cell: str
    sentence: str
    numbers: tuple[dict[str, Any], ...] = ()
    given: tuple[str, ...] = ()
    null: str = ""
    second: str = ""
    networks: str = ""
    none: str = ""


def read_claims(path: Path = FILE) -> tuple[list[Claim], dict[str, list[str]]]:
    """Read the entries, and by lesson the numbers of the text that no output needs to hold."""
    table = tomllib.loads(path.read_text("utf-8"))
    known = dict[str, list[str]]()
    for entry in table.get("prose", []):
        known.setdefault(entry["lesson"], []).extend(entry["numbers"])
    return [Claim(**entry) for entry in table["claim"]], known


def one_line(text: str) -> str:
    """Return Markdown as plain words with single blanks."""
    return " ".join(plain(text).split())


def text_of(cells: list[NotebookNode]) -> str:
    """Return the text of Markdown cells in one line, without headings and bullets."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return one_line(re.sub(r"^#+ .*|^- ", "", "\n".join(texts), flags=re.MULTILINE))


def printed_text(lesson: Lesson, root: Path = ROOT) -> str:
    """Return what the built notebook with solutions printed: streams and Markdown."""
    notebook = nbformat.read(root / "notebooks/solutions" / f"{lesson.name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [out.get("text") or out.get("data", {}).get("text/markdown", "") for out in outputs]
    return "\n".join(map(str, data))


def measured_value(number: dict[str, Any], printed: str) -> float | None:
    """Find a number in the output: one, the quotient of two, or how often a pattern occurs."""
    patterns = number["at"] if isinstance(number["at"], list) else [number["at"]]
    if number.get("count"):
        return float(len(re.findall(patterns[0], printed, re.MULTILINE)))
    values = []
    for pattern in patterns:
        if not (match := re.search(pattern, printed, re.MULTILINE)):
            return None
        values.append(float(match[1].replace(",", "").replace("−", "-")))
    return float(number.get("times", 1)) * values[0] / (values[1] if values[1:] else 1)


def wrong_number(number: dict[str, Any], printed: str) -> str:
    """Say what is wrong with a quoted number; nothing if the output holds it."""
    text, value = number["text"], measured_value(number, printed)
    digits = re.search(r"\d(?:[\d,]*\d)?(?:\.\d+)?", text)
    if value is None:
        return f"{text!r}: the output has nothing like {number['at']}"
    if "low" in number or "high" in number:
        right = number.get("low", value) <= value <= number.get("high", value)
    elif digits:
        near = 0.501 * 10 ** -len(digits[0].partition(".")[2])
        right = abs(abs(value) - float(digits[0].replace(",", ""))) <= near
    else:
        return f"{text!r} is no figure; give `low` and `high`, between which it is true"
    return "" if right else f"{text!r}: the output says {value:g}"


def unaccounted(claim: Claim) -> list[str]:
    """List the numbers and number words of a sentence that have no entry."""
    left = PLACES.sub(" ", one_line(claim.sentence))
    texts = [*(number["text"] for number in claim.numbers), *claim.given]
    for text in sorted(texts, key=len, reverse=True):
        left = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", " ", left, count=1)
    return QUOTED.findall(left)


def not_printed(text: str, printed: str) -> list[str]:
    """List the decimals and percentages of a text that the output does not hold, as such."""
    shown = re.findall(r"\d+(?:\.\d+)? ?%?", printed.replace(",", ""))
    found = list[str]()
    for number, percent in NUMBER.findall(PLACES.sub(" ", text)):
        if not (percent or "." in number) or number == "95":  # a count; 95 %: of all intervals
            continue
        places = len(number.partition(".")[2])
        right = False
        for other in shown:
            value, digits = other.rstrip("% "), len(other.rstrip("% ").partition(".")[2])
            times = 100 if percent and "%" not in other else 1  # 0.25 is 25 %
            fine = digits >= places + (2 if times == 100 else 0)  # 0.6 does not say 0.62
            right |= fine and abs(times * float(value) - float(number)) <= 0.501 * 10**-places
        found += [] if right else [number]
    return found


def check_claim(claim: Claim, lesson: Lesson, printed: str) -> list[str]:
    """List what is wrong with an entry."""
    cells = section(lesson.cells, claim.cell)
    wrong = [] if cells else [f"no heading begins with {claim.cell!r}"]
    if one_line(claim.sentence) not in text_of(cells):
        wrong.append(f"the sentence does not stand under {claim.cell!r}")
    if not claim.none and not (claim.null and claim.second and claim.networks):
        wrong.append("a claim needs `null`, `second` and `networks`, or `none` with the reason")
    wrong += [text for number in claim.numbers if (text := wrong_number(number, printed))]
    behind = " ".join((claim.null, claim.second, claim.networks))
    wrong += [f"no output holds {text}" for text in not_printed(behind, printed)]
    wrong += [f"{text!r} is neither in `numbers` nor in `given`" for text in unaccounted(claim)]
    return [f"{claim.lesson}, “{one_line(claim.sentence)[:60]}”: {text}" for text in wrong]


def without_entry(claims: list[Claim], lesson: Lesson) -> list[str]:
    """List the sentences of a verdict that no entry holds; those that end in a colon need none."""
    left = text_of(section(lesson.cells, "Verdict"))
    for claim in sorted(claims, key=lambda claim: -len(claim.sentence)):
        left = left.replace(one_line(claim.sentence), "\n", 1)
    found = [part.strip(" .;") for part in re.split(r"\n|(?<=[.:;]) ", left)]
    return [part for part in found if re.search(r"\w", part) and not part.endswith(":")]


def unknown_in_prose(lesson: Lesson, printed: str) -> list[str]:
    """List decimals and percentages of the text that no output of the lesson holds."""
    texts, skipped = list[str](), False
    for cell in pieces(lesson.cells):
        opening = headings(cell.source)[:1] if cell.cell_type == "markdown" else []
        if opening and opening[0][0] == 2:
            skipped = opening[0][1].startswith(NO_PROSE)
        if cell.cell_type == "markdown" and not skipped:
            texts.append(re.sub(r"(?ms)^```.*?^```", "", cell.source))
    return not_printed("\n".join(texts), printed)


def problems(lesson: Lesson, claims: list[Claim], known: list[str]) -> list[str]:
    """List all that is wrong with what is said of a lesson; the claims may be of all lessons."""
    name, printed = lesson.name[:2], printed_text(lesson)
    own = [claim for claim in claims if claim.lesson == name]
    wrong = [text for claim in own for text in check_claim(claim, lesson, printed)]
    wrong += [f"{name}, Verdict: no entry for “{text}”" for text in without_entry(own, lesson)]
    unknown = [text for text in unknown_in_prose(lesson, printed) if text not in known]
    return wrong + [f"{name}, the text: no output holds {text}" for text in unknown]


def main(names: list[str]) -> int:
    """Print what is wrong with the entries of some lessons, or of all; return the exit status."""
    (claims, known), wrong = read_claims(), list[str]()
    for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py")):
        if not names or path.name[:2] in names:
            wrong += problems(read_lesson(path), claims, known.get(path.name[:2], []))
    print(*(wrong or ["nothing is wrong"]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
