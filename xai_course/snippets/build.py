"""Take a function along: its source with all that it needs, as one text for an empty file."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from xai_course import __version__

__all__ = ["definitions", "snippet"]

PACKAGE = __name__.partition(".")[0]
SHORT = f"{PACKAGE}.snippets.short"

# What the functions of this version were tested with: the pins of requirements.lock.
TESTED = {"torch": "2.14.1"}
PYTHONS = "3.11 to 3.13"


def snippet(*functions: Callable[..., Any], checks: bool = True) -> str:
    """Return the source of functions, with everything of this package that they need, as one file.

    A header (origin, version, licence, what it was tested with) comes first, then the imports, then
    what the functions call, each with one line of docstring, then the functions. The text runs
    where `xai_course` is not installed.

    Args:
        functions: public functions of this package.
        checks: True for the functions as they stand in the course, for a project. False for the
            method alone, to read: the equation in code, without the checks of arguments and of the
            result, and with the shortest `validate_inputs`. The two agree within rounding.

    Returns:
        The text of a Python file.

    Raises:
        ValueError: if a function is not this package's own.

    Example:
        >>> from xai_course.relu import gradient
        >>> from xai_course.snippets import snippet
        >>> text = snippet(gradient, checks=False)
        >>> "def gradient(" in text and "xai_course import" not in text
        True
    """
    needed = dict.fromkeys(
        name for function in functions for name in definitions(function, checks=checks)
    )
    names = [name for _, name in needed]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"functions: got two things called {twice.pop()}; must be copied apart.")
    asked = {(function.__module__, function.__name__) for function in functions}
    sources = dict.fromkeys(
        _source(*pair, checks) if pair in asked else first_lines(_source(*pair, checks))
        for pair in needed
    )
    plain: set[str] = set()
    parts: dict[str, set[str]] = {}
    for module, name in needed:
        for line in _imports(module, _names(_source(module, name, checks))):
            if line.startswith("import"):
                plain.add(line)
            else:
                _, home, _, part = line.split(" ", 3)
                parts.setdefault(home, set()).add(part)
    others = [f"from {home} import {', '.join(sorted(parts[home]))}" for home in sorted(parts)]
    annotated = any(module != SHORT for module, _ in needed)
    future = ["from __future__ import annotations", ""] if annotated else []
    head = _header(functions, checks) + "\n".join([*future, *sorted(plain), *others])
    return ("\n\n\n" if checks else "\n\n").join([head, *sources]) + "\n"


def definitions(function: Callable[..., Any], *, checks: bool = True) -> list[tuple[str, str]]:
    """List what a function of this package needs of it: (module, name) pairs, itself last.

    Args:
        function: a function of this package.
        checks: as in `snippet`.

    Returns:
        Pairs of a module and a name defined in it, each after those that it needs.

    Raises:
        ValueError: if the function is not this package's own.
    """
    module = getattr(function, "__module__", None) or ""
    if not module.startswith(f"{PACKAGE}."):
        raise ValueError(f"functions: got {function!r}; must be functions of {PACKAGE}.")
    result: list[tuple[str, str]] = []
    _collect(module, function.__name__, checks, result, set())
    return result


def _header(functions: tuple[Callable[..., Any], ...], checks: bool) -> str:
    """Return the comment that says where the functions come from and under which licence."""
    homes = sorted({function.__module__.replace(".", "/") + ".py" for function in functions})
    names = ", ".join(function.__name__ for function in functions)
    versions = ", ".join(f"{name} {version}" for name, version in TESTED.items())
    alone = "" if checks else ", the method alone (nothing is checked)"
    lines = [
        f"{names}{alone}: Beetle in a Box {__version__}, {', '.join(homes)}",
        "MIT licence, copyright 2026 The Beetle in a Box developers. "
        f"Tested with Python {PYTHONS}, {versions}.",
    ]
    return "".join(f"# {line}\n" for line in lines)


# ---- what is needed ------------------------------------------------------------------------------


def _collect(
    module: str,
    name: str,
    checks: bool,
    result: list[tuple[str, str]],
    visited: set[tuple[str, str]],
) -> None:
    """Add a definition to `result`, after the definitions that it names."""
    if not checks and name in _short_forms():
        module = SHORT
    if (module, name) in visited:
        return
    visited.add((module, name))
    for other in _names(_source(module, name, checks)):
        home = _home(module, other)
        if home:
            _collect(home, other, checks, result, visited)
    result.append((module, name))


@cache
def _names(source: str) -> list[str]:
    """List the names that a piece of code uses, in order; annotations too."""
    nodes = ast.walk(ast.parse(source))
    return list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))


@cache
def _source(module: str, name: str, checks: bool) -> str:
    """Return a definition's source, without its checks if they are not asked for."""
    source = _defined(module)[name]
    return source if checks else method_alone(source)


@cache
def _short_forms() -> set[str]:
    """Return the names of what has a short form written by hand."""
    importlib.import_module(SHORT)
    return set(_defined(SHORT))


@cache
def _tree(module: str) -> tuple[ast.Module, str]:
    """Return a module's syntax tree and its text."""
    text = inspect.getsource(sys.modules[module])
    return ast.parse(text), text


@cache
def _import_nodes(module: str) -> list[ast.Import | ast.ImportFrom]:
    """Return all imports of a module, those within functions too."""
    nodes = ast.walk(_tree(module)[0])
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def _defined(module: str) -> dict[str, str]:
    """Return the source of every function, class and constant that a module defines."""
    tree, text = _tree(module)
    lines = text.splitlines()
    result: dict[str, str] = {}
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
            result[name] = f"{result[name]}\n{piece}" if name in result else piece
    result.pop("__all__", None)
    return result


def _home(module: str, name: str) -> str | None:
    """Return the module of this package in which a name of `module` is defined, if it is one."""
    if name in _defined(module):
        return module
    value = vars(sys.modules[module]).get(name)
    home = getattr(value, "__module__", None) or ""
    if not isinstance(value, ModuleType) and home.startswith(f"{PACKAGE}."):
        return home
    return _imported_from(module, name)  # a constant does not know its module


def _imported_from(module: str, name: str) -> str | None:
    """Return the module of this package from which a name is imported, if it is defined there."""
    for node in _import_nodes(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            home = node.module or ""
            if name in [alias.asname or alias.name for alias in node.names]:
                return home if name in _defined(home) else None
    return None


def _imports(module: str, names: list[str]) -> set[str]:
    """Return the import lines that bring these names into a module, one name a line."""
    lines = set()
    for node in _import_nodes(module):
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


# ---- less ceremony -------------------------------------------------------------------------------


def method_alone(source: str) -> str:
    """Return a definition without ceremony: no checks, no progress bars, one line of docstring.

    Left out are: `if …: raise …`; calls of functions whose name begins with `check_` or `_check_`;
    a `try` whose only purpose is a better error; the argument `progress`; all of a docstring but
    its first line.
    """
    tree = ast.parse(source)
    lines: list[str | None] = list(source.splitlines())
    kept: list[ast.AST] = []  # what is all that a function does
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            steps = node.body[ast.get_docstring(node) is not None :]
            if all(map(_is_check, steps)):
                kept += [part for step in steps for part in ast.walk(step)]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            _shorten_docstring(node, lines)
        if isinstance(node, ast.stmt) and _is_check(node) and node not in kept:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = None
        if isinstance(node, ast.Try) and _only_reports(node):
            _unwrap(node, lines)
    text = "\n".join(line for line in lines if line is not None)
    text = re.sub(r", progress=progress(?=[,)])", "", text)
    text = re.sub(r"progress_bar\((.+), f?\"[^\"]*\", progress\)", r"\1", text)
    if len(re.findall(r"\bprogress\b", text)) == 1:  # nothing uses the argument any more
        text = re.sub(r"\n +progress: bool = False,(?=\n)", "", text)
        text = re.sub(r", progress: bool = False(?=[,)])", "", text)
    return re.sub(r"\n(?:[ ]*\n)+", "\n", text)  # blank lines separate definitions alone


@cache
def first_lines(source: str) -> str:
    """Return a definition with the first line of each docstring: what a helper needs."""
    lines: list[str | None] = list(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            _shorten_docstring(node, lines, inside=True)
    return "\n".join(line for line in lines if line is not None)


def _shorten_docstring(
    node: ast.FunctionDef | ast.ClassDef, lines: list[str | None], *, inside: bool = False
) -> None:
    """Keep the first line of a docstring; of a definition inside another only if asked for."""
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if not is_text or not isinstance(first.value.value, str):  # type: ignore[attr-defined]
        return
    begin, end = first.lineno - 1, first.end_lineno or first.lineno
    for number in range(begin, end):
        lines[number] = None
    words = first.value.value.strip().splitlines()[0]  # type: ignore[attr-defined]
    if inside or node.col_offset == 0 or len(node.body) == 1:
        lines[begin] = f'{" " * first.col_offset}"""{words}"""'


def _is_check(node: ast.stmt) -> bool:
    """Say whether a statement only refuses: an `if` that raises, a call of a check, such a loop."""
    if isinstance(node, ast.If):
        return not node.orelse and (_raises(node.body) or all(map(_is_check, node.body)))
    if isinstance(node, ast.For | ast.With):
        return all(map(_is_check, node.body))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        name = called.id if isinstance(called, ast.Name) else ""
        return name.lstrip("_").startswith("check_") or name.lstrip("_") == "check"
    return False


def _only_reports(node: ast.Try) -> bool:
    """Say whether a `try` does no more than raise another error; a `finally` does more."""
    return (
        bool(node.handlers) and not node.finalbody and all(_raises(h.body) for h in node.handlers)
    )


def _raises(body: list[ast.stmt]) -> bool:
    """Say whether statements end in an error, with nothing but names for it before."""
    return isinstance(body[-1], ast.Raise) and all(isinstance(s, ast.Assign) for s in body[:-1])


def _unwrap(node: ast.Try, lines: list[str | None]) -> None:
    """Replace a `try` by its body."""
    body_end = node.body[-1].end_lineno or node.lineno
    lines[node.lineno - 1] = None
    for number in range(node.lineno, body_end):
        line = lines[number]
        lines[number] = line[4:] if line is not None and line.startswith("    ") else line
    for number in range(body_end, node.end_lineno or body_end):
        lines[number] = None
