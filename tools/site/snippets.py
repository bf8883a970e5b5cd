"""Makes the page of snippets: each function to copy in its two forms, and one usage.

The usages stand in docs/usages.py, one a cell; a test runs each of them as it is shown.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

from tools.lessons.outputs import ROOT
from tools.site.reference import PACKAGE, Room
from tools.site.text import fenced


@dataclass(frozen=True)
class Usage:
    """One function to copy, how it is used, and the heading it stands under."""

    name: str
    code: str
    heading: str


def read_usages(path: Path = ROOT / "docs/usages.py") -> tuple[str, list[Usage]]:
    """What every usage needs before it, and the usages in order."""
    before, heading, usages = "", "", []
    for cell in jupytext.reads(path.read_text("utf-8"), fmt="py:percent").cells:
        name = cell.metadata.get("title", "")
        if cell.cell_type == "markdown":
            heading = cell.source.removeprefix("## ").strip()
        elif name == "before":
            before = cell.source
        elif name:
            usages.append(Usage(name, cell.source, heading))
    return before, usages


def room_of(name: str, rooms: dict[str, Room]) -> str:
    """The room, with the package, that hands out a function or class of this name."""
    homes = [room for room in rooms.values() if name in {node.name for node in room.public}]
    if len(homes) != 1:
        raise ValueError(f"{name} is public in {len(homes)} rooms; a snippet needs one")
    return f"{PACKAGE}.{homes[0].name}"


def find_function(name: str, rooms: dict[str, Room]) -> Callable[..., Any]:
    """A public function or class of the package, by its name alone."""
    function: Callable[..., Any] = getattr(importlib.import_module(room_of(name, rooms)), name)
    return function


def first_map() -> str:
    """The README's section with one cell that makes a map of the reader's own network."""
    text = (ROOT / "README.md").read_text("utf-8").partition("### A map of your own ResNet-50\n")[2]
    here = text.partition("\n### ")[0].replace("](#", "](README.md#")  # its other sections
    return "## A map of your own ResNet-50\n" + here


def snippets_page(rooms: dict[str, Room], first: str = "") -> str:
    """The page: how to copy, what comes before, and each function under its heading.

    `first`: what stands before all functions.
    """
    from xai_course.snippets import snippet

    before, usages = read_usages()
    parts = [
        f"""# Snippets

Functions to copy. Each is plain PyTorch: unfold one of its two forms, copy it into an empty file,
and it runs without this course. *The method alone* is short, to read and to change; nothing is
checked. The form *for a project* also checks its arguments and its result. Both return the same.

They work on any PyTorch classifier that gives logits (N, classes); below, on torchvision's
ResNet-50. The code is under the MIT licence: keep the notice at its top.

{first}

## Before all functions

{len(usages)} functions, each with one usage. Before any of them comes this:

{fenced(before)}
"""
    ]
    heading = ""
    for usage in usages:
        if usage.heading != heading:
            heading = usage.heading
            parts.append(f"## {heading}")
        function = find_function(usage.name, rooms)
        first = (inspect.getdoc(function) or "").partition("\n")[0]
        full = f"{room_of(usage.name, rooms)}.{usage.name}"
        parts.append(
            f"(snippet-{usage.name})=\n### {usage.name}\n\n{first} [Reference](#{full})\n\n"
            f"{fenced(usage.code)}\n\n"
            f"{folded(f'{usage.name}, the method alone', snippet(function, checks=False))}\n\n"
            f"{folded(f'{usage.name} for a project, with checks', snippet(function))}"
        )
    return "\n\n".join(parts) + "\n"


def folded(title: str, source: str) -> str:
    """Source to copy, folded under its title and its number of lines."""
    lines = len(source.splitlines())
    return (
        f'<details class="source"><summary>{title}: {lines} lines</summary>\n\n'
        f"{fenced(source, 'text')}\n\n</details>"
    )
