"""Take a function along: its source with all that it needs, as one text for an empty file."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["definitions", "snippet"]


PACKAGE = __name__.partition(".")[0]


def snippet(*functions: Callable[..., Any]) -> str:
    """Return the source of functions and of everything of this package that they need, as one file.

    Imports first, then what the functions name, then the functions, as they stand in the course.
    The text runs where `xai_course` is not installed. Raises ValueError for a function that is not
    this package's own.
    """
    needed = dict.fromkeys(name for function in functions for name in definitions(function))
    sources = dict.fromkeys(_defined(module)[name] for module, name in needed)
    plain: set[str] = set()
    parts: dict[str, set[str]] = {}
    for module, name in needed:
        for line in _imports(module, _names(_defined(module)[name])):
            if line.startswith("import"):
                plain.add(line)
            else:
                _, home, _, part = line.split(" ", 3)
                parts.setdefault(home, set()).add(part)
    others = [f"from {home} import {', '.join(sorted(parts[home]))}" for home in sorted(parts)]
    head = "\n".join(["from __future__ import annotations", "", *sorted(plain), *others])
    return "\n\n\n".join([head, *sources]) + "\n"


def definitions(function: Callable[..., Any]) -> list[tuple[str, str]]:
    """List what a function of this package needs of it, itself last: (module, name) pairs.

    Raises ValueError for a function that is not this package's own.
    """
    module = getattr(function, "__module__", "")
    if not module.startswith(f"{PACKAGE}."):
        raise ValueError(f"functions: got {function!r}; allowed are functions of {PACKAGE}.")
    found: list[tuple[str, str]] = []
    _collect(module, function.__name__, found, set())
    return found


def _collect(
    module: str, name: str, found: list[tuple[str, str]], open_: set[tuple[str, str]]
) -> None:
    """Add a definition to `found`, after the definitions that it names."""
    if (module, name) in open_:
        return
    open_.add((module, name))
    for other in _names(_defined(module)[name]):
        home = _home(module, other)
        if home:
            _collect(home, other, found, open_)
    found.append((module, name))


def _names(source: str) -> list[str]:
    """List the names that a piece of code uses, in order; annotations too."""
    nodes = ast.walk(ast.parse(source))
    return list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))


@cache
def _tree(module: str) -> tuple[ast.Module, str]:
    """Return a module's syntax tree and its text."""
    text = inspect.getsource(sys.modules[module])
    return ast.parse(text), text


@cache
def _defined(module: str) -> dict[str, str]:
    """Return the source of every function, class and constant that a module defines."""
    tree, text = _tree(module)
    lines = text.splitlines()
    found: dict[str, str] = {}
    for node in tree.body:
        names: list[str] = []
        start = node.lineno
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            every = [part for target in targets for part in ast.walk(target)]
            names = [part.id for part in every if isinstance(part, ast.Name)]
        for name in names:
            piece = "\n".join(lines[start - 1 : node.end_lineno])
            found[name] = f"{found[name]}\n{piece}" if name in found else piece
    return found


def _home(module: str, name: str) -> str | None:
    """Return the module of this package in which a name of `module` is defined, if it is one."""
    if name in _defined(module):
        return module
    value = vars(sys.modules[module]).get(name)
    home = getattr(value, "__module__", None) or ""
    is_own = not isinstance(value, ModuleType) and home.startswith(f"{PACKAGE}.")
    return home if is_own else None


def _imports(module: str, names: list[str]) -> set[str]:
    """Return the import lines that bring these names into a module, one name a line."""
    lines = set()
    for node in ast.walk(_tree(module)[0]):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            renamed = f" as {alias.asname}" if alias.asname else ""
            if bound not in names:
                continue
            if isinstance(node, ast.Import):
                lines.add(f"import {alias.name}{renamed}")
            elif not (node.module or "").startswith(PACKAGE):
                lines.add(f"from {node.module} import {alias.name}{renamed}")
    return lines - {"from __future__ import annotations"}
