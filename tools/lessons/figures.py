"""Tells which cells of a lesson only draw; the notebooks and the site fold their code."""

import ast
import re


def is_figure(node: ast.expr) -> bool:
    """Whether an expression is the call `plots.figure(...)`."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "plots.figure"


def only_draws(source: str) -> bool:
    """Whether a cell draws a figure and, besides, does nothing but print."""
    body = ast.parse(without_magics(source)).body
    return all(map(only_shows, body)) and any(
        isinstance(node, ast.Expr) and is_figure(node.value) for node in body
    )


def only_shows(node: ast.stmt) -> bool:
    """Whether a statement draws or prints, or repeats that in a loop."""
    if isinstance(node, ast.For):
        return all(map(only_shows, node.body)) and not node.orelse
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    return is_figure(node.value) or ast.unparse(node.value.func) == "print"


def without_magics(source: str) -> str:
    """Code without the lines that are for IPython alone."""
    return re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)
