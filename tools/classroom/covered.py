"""Covers the words of a figure in code: its title, caption and text may answer a prediction.

`title="Biases add more"` becomes `title=plots.words("Qmlhc2Vz…")`, which gives the same string when
the cell is run. So a cell stays whole, and needs no file beside the notebook.
"""

import ast
import base64
import re
from collections.abc import Iterator

WORDS = frozenset({"alt", "caption", "title"})  # arguments, and variables of these names
MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)


def with_covered_words(source: str) -> str:
    """Code of a lesson whose figures' words cannot be read in passing; it does the same."""
    tree = ast.parse(MAGIC.sub(lambda line: "#" * len(line[0].encode()), source))
    data = source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {id(node): node for value in texts(tree) for node in strings(value)}
    for node in sorted(found.values(), key=lambda each: (each.lineno, each.col_offset))[::-1]:
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        data = data[:first] + covered(node).encode() + data[last:]
    return data.decode()


def texts(tree: ast.AST) -> Iterator[ast.expr]:
    """The expressions that become the title, caption or alternative text of a figure."""
    passed = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in WORDS and isinstance(node.value, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in WORDS:
            yield node.value
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id in passed | WORDS | {"NOTE"} for t in targets):
                yield node.value


def strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """The strings of several words in an expression, f-strings as a whole."""
    if isinstance(node, ast.JoinedStr):
        yield node
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node
    else:
        for part in ast.iter_child_nodes(node):
            yield from strings(part)


def covered(node: ast.Constant | ast.JoinedStr) -> str:
    """The code that gives a string without showing it."""
    if isinstance(node, ast.Constant):
        return f'plots.words("{base64.b64encode(str(node.value).encode()).decode()}")'
    values = list[str]()
    text = base64.b64encode(template(node, values).encode()).decode()
    return f'plots.words("{text}").format({", ".join(values)})'


def template(node: ast.JoinedStr, values: list[str]) -> str:
    """An f-string as a text for `str.format`; its expressions are added to `values`."""
    found = ""
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            values.append(ast.unparse(part.value))
            kind = f"!{chr(part.conversion)}" if part.conversion > 0 else ""
            number, form = len(values) - 1, part.format_spec
            form = f":{template(form, values)}" if isinstance(form, ast.JoinedStr) else ""
            found += f"{{{number}{kind}{form}}}"
        elif isinstance(part, ast.Constant):
            found += str(part.value).replace("{", "{{").replace("}", "}}")
    return found
