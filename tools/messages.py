"""Collect the texts that the package marks for translation, and compile their Chinese.

    python -m tools.messages            # what `make messages` runs
    python -m tools.messages --missing  # list what has no Chinese yet

A text is marked by `translate(...)` or `message(...)` (xai_course/core/translation.py), or is the
first argument of an exception that translates its own text. The texts go into `course.po`, in the
order of the code, and keep the Chinese that they have. A text whose English changed is a new text:
its Chinese is written anew. Then `course.mo` is compiled, which the package reads.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "xai_course"
PO = PACKAGE / "locale" / "zh" / "LC_MESSAGES" / "course.po"
MO = PO.with_suffix(".mo")
TEMPLATE = PACKAGE / "report" / "template.ipynb"
MARKS = ("translate", "message", "Wrong", "Unanswered")
HEADER = """\
# The course's own words in Chinese. Written by `make messages`: edit the msgstr lines alone.
# {name} and {number:.2f} stand for values and stay as they are.
#"""


def marked_texts() -> dict[str, list[str]]:
    """Return every marked text, with the files that hold it, in the order of the code."""
    texts: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(REPOSITORY).as_posix()
        for text in texts_of(path.read_text(encoding="utf-8"), name):
            files = texts.setdefault(text, [])
            if name not in files:
                files.append(name)
    for text in template_texts():
        texts.setdefault(text, []).append(TEMPLATE.relative_to(REPOSITORY).as_posix())
    return texts


def template_texts() -> list[str]:
    """Return the texts of the report's notebook: of its code, and each cell of text as a whole."""
    texts = []
    for cell in json.loads(TEMPLATE.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        texts += [source] if cell["cell_type"] == "markdown" else texts_of(source, TEMPLATE.name)
    return list(dict.fromkeys(texts))


def texts_of(code: str, name: str) -> list[str]:
    """Return the marked texts of a file in their order, or raise ValueError for an f-string."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if getattr(node.func, "id", None) not in MARKS:
            continue
        text = node.args[0]
        place = (text.lineno, text.col_offset)
        if isinstance(text, ast.JoinedStr):
            raise ValueError(f"{name}, line {text.lineno}: a marked text cannot be an f-string.")
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            found.append((place, text.value))
    return [text for _, text in sorted(found)]


def read_catalogue() -> Catalog:
    """Return the Chinese catalogue as it is on file."""
    if not PO.exists():
        return Catalog(locale="zh")
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


def updated(old: Catalog) -> Catalog:
    """Return a catalogue of the marked texts, with the Chinese that the old one has for them."""
    new = Catalog(
        locale="zh", project="Beetle in a Box", header_comment=HEADER, fuzzy=False, charset="utf-8"
    )
    for text, files in marked_texts().items():
        entry = old.get(text)
        chinese = entry.string if entry and not entry.fuzzy else ""
        new.add(text, chinese, locations=[(name, 0) for name in files])
    return new


def po_text(catalogue: Catalog) -> bytes:
    """Return a catalogue as the text of its file, without the date of its making."""
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=100, include_lineno=False)
    return re.sub(
        rb'"(POT-Creation|PO-Revision)-Date: .*\n|"Last-Translator: .*\n', b"", buffer.getvalue()
    )


def mo_bytes(catalogue: Catalog) -> bytes:
    """Return the compiled catalogue; the same texts give the same bytes."""
    day = datetime(2000, 1, 1, tzinfo=UTC)  # or the file would change every minute
    plain = Catalog(locale="zh", charset="utf-8", fuzzy=False, creation_date=day, revision_date=day)
    plain.mime_headers = [("Content-Type", "text/plain; charset=utf-8"), ("Language", "zh")]
    for entry in catalogue:
        if entry.id and entry.string and not entry.fuzzy:
            plain.add(entry.id, entry.string)
    buffer = io.BytesIO()
    write_mo(buffer, plain)
    return buffer.getvalue()


def main() -> None:
    """Update and compile the catalogue, and say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missing", action="store_true", help="list the texts without Chinese")
    asked = parser.parse_args()
    catalogue = updated(read_catalogue())
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(po_text(catalogue))
    MO.write_bytes(mo_bytes(catalogue))
    missing = [entry.id for entry in catalogue if entry.id and not entry.string]
    if asked.missing:
        print("\n".join(missing))
    print(f"{PO.relative_to(REPOSITORY)}: {len(catalogue)} texts, {len(missing)} without Chinese")


if __name__ == "__main__":
    main()
