"""Pads what a Chinese lesson prints by columns, as a Chinese character is two wide.

Python counts characters, so `f"{name:12}"` leaves the columns of a table crooked where names are
Chinese. The builder has a Chinese notebook's kernel run `install` first. So the widths in a
translation stay those of the English text.
"""

import ast
import builtins
import re
from typing import Any

from tools.lessons.code_words import columns

STARTUP = """import sys
sys.path.insert(0, {root!r})
from tools.lessons.columns import install
install(get_ipython())
del sys.path[0], install, sys
"""


def install(shell: Any) -> None:
    """Let an IPython shell pad by columns in the f-strings of the cells that it runs."""
    builtins.padded_by_columns = padded  # type: ignore[attr-defined]
    shell.ast_transformers.append(ByColumns())


class ByColumns(ast.NodeTransformer):
    """Exchanges `{value:12}` in f-strings for a call of `padded`."""

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.FormattedValue:
        """Exchange one field, if its format is a width and nothing else."""
        self.generic_visit(node)
        parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
        width = parts[0].value if len(parts) == 1 and isinstance(parts[0], ast.Constant) else ""
        plain = node.conversion == -1 and re.fullmatch(r"[<>^]?\d+", str(width))
        if not plain:
            return node
        name = ast.Name("padded_by_columns", ast.Load())
        node.value = ast.Call(name, [node.value, ast.Constant(width)], [])
        node.format_spec = None
        return ast.fix_missing_locations(node)


def padded(value: object, width: str) -> str:
    """A value as `format(value, width)` writes it, where a Chinese character takes two columns."""
    if not isinstance(value, str):
        return format(value, width)
    side, number = re.fullmatch(r"([<>^]?)(\d+)", width).groups()  # type: ignore[union-attr]
    return format(value, f"{side}{max(0, int(number) - columns(value) + len(value))}")
