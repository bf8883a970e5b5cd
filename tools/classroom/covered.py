"""Covers the words in code that may answer a prediction before its cell was run.

`title="Biases add more"` becomes `title=WORDS[3]`, which is the same string when the cell is run. A
cell before the first of these, folded, decodes the strings of the notebook, so that no file is
needed beside it. A screen reader says "WORDS 3", and no code. Two rules:

- Covered is each text of several words in a drawing call: title, caption, alternative text, the
  titles of panels, the names of bars and axes. A drawing call is a call of `plots`, or of a
  function of the lesson that draws. A variable that is handed over as title or caption counts too.
- Covered is a text that is printed or shown, itself or by a variable of the cell, if it says how a
  comparison came out: if one of the words OUTCOME is in it.

Both rules read English and Chinese; three Chinese characters are several words.

All else stays: code, comments, names of one word, keys by which a value is looked up, and what is
printed about a number without saying how large it is.
"""

import ast
import base64
import re
from collections.abc import Iterable, Iterator

WORDS = frozenset({"alt", "caption", "title", "titles"})  # arguments, and variables of these names
SHOWN = frozenset({"print", "display", "Markdown", "HTML"})
NOT_DRAWN = frozenset({"calibration_bins", "png", "relevance_colours", "words"})
OUTCOME = re.compile(
    r"\b(more|less than|fewer|better|worse|larger|smaller|higher|lower|faster|slower|ahead"
    r"|falls|rises|equals?|refuse[sd]?|confirmed|refuted|allowed)\b"
    r"|更(?!新)|比较一致|[大小多少快慢]于|不如|领先|落后|下降|上升|降低|升高|[升降]到|超过|等于"
    r"|拒绝|得到证实|被否定|允许",
    re.IGNORECASE,
)
SEVERAL_WORDS = re.compile(
    r"[^\W\d]\S*\s+\S|\S\s+\S*[^\W\d]"  # a value in an f-string is one
    r"|[\u4e00-\u9fff][^\u4e00-\u9fff]*[\u4e00-\u9fff][^\u4e00-\u9fff]*[\u4e00-\u9fff]"
)
MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)


def with_covered_words(source: str, words: list[str], drawing: Iterable[str] = ()) -> str:
    """Code of a lesson whose findings cannot be read in passing; it does the same.

    Args:
        source: the code of a cell.
        words: the covered strings of the cells before; those of this one are added.
        drawing: names that put words into the lesson's figures, from `names_that_draw`.
    """
    tree = parsed(source)
    data = source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {id(node): node for node in findings(tree, frozenset(drawing))}
    in_order = sorted(found.values(), key=lambda each: (each.lineno, each.col_offset))
    new = [covered(node, words) for node in in_order]
    for node, code in list(zip(in_order, new, strict=True))[::-1]:
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        data = data[:first] + code.encode() + data[last:]
    return data.decode()


def decoding(words: list[str], comment: str) -> str:
    """The code of the cell that stands before all covered words."""
    text = base64.b64encode("\0".join(words).encode()).decode()
    return (
        f'# {comment}\nfrom xai_course import plots\n\nWORDS = plots.words("{text}").split("\\0")'
    )


def parsed(source: str) -> ast.Module:
    """The tree of a cell's code, its magics as comments that are as long."""
    return ast.parse(MAGIC.sub(lambda line: "#" * len(line[0].encode()), source))


def names_that_draw(sources: Iterable[str]) -> frozenset[str]:
    """The names in a lesson's cells that put words into figures.

    These are the functions whose code calls `plots`, those that a cell imports from there, and what
    is handed to a decision chart.

    Example:
        >>> sorted(names_that_draw(["def climb(title):\\n    plots.lines({}, [], title=title)"]))
        ['climb']
    """
    found = set[str]()
    for node in (node for source in sources for node in ast.walk(parsed(source))):
        if isinstance(node, ast.FunctionDef):
            found |= {node.name for part in ast.walk(node) if draws(part)}
        elif isinstance(node, ast.ImportFrom) and node.module == "xai_course.plots":
            found |= {alias.name for alias in node.names} - NOT_DRAWN
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("decision_chart"):
            found |= set(names(node.args))
    return frozenset(found)


def findings(tree: ast.AST, drawing: frozenset[str]) -> Iterator[ast.Constant | ast.JoinedStr]:
    """The strings that are covered, some of them more than once."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    drawn = [call for call in calls if draws(call, drawing)]
    shown = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in SHOWN]
    keywords = [k for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg in WORDS]
    titles = {k.value.id for k in keywords if isinstance(k.value, ast.Name)}
    titles |= WORDS | {"NOTE"} | drawing
    said = set(names([*drawn, *shown]))
    for part in (*keywords, *(part for call in drawn for part in (*call.args, *call.keywords))):
        yield from strings(part)
    for call in shown:
        yield from filter(says_an_outcome, strings(call))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            of = {target.id for target in targets if isinstance(target, ast.Name)}
            if of & titles:
                yield from strings(node.value)
            elif of & said:
                yield from filter(says_an_outcome, strings(node.value))


def draws(node: ast.AST, drawing: frozenset[str] = frozenset()) -> bool:
    """Whether a node is a call of `plots`, or of a function of these names."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        of = node.func.value
        return isinstance(of, ast.Name) and of.id == "plots" and node.func.attr not in NOT_DRAWN
    return isinstance(node.func, ast.Name) and node.func.id in drawing


def names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names of the variables that stand in these nodes."""
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                yield part.id


def strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """The strings of several words in a node, f-strings as a whole; keys are left out."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        if SEVERAL_WORDS.search(text_of(node)):
            yield node
    elif isinstance(node, ast.Subscript):
        yield from strings(node.value)
    elif not isinstance(node, ast.Compare):
        for part in ast.iter_child_nodes(node):
            yield from strings(part)


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """The words that a string holds, a value as a dot; nothing for other constants."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(text_of(p) if isinstance(p, ast.Constant) else "·" for p in node.values)


def says_an_outcome(node: ast.Constant | ast.JoinedStr) -> bool:
    """Whether a string says how a comparison came out."""
    return OUTCOME.search(text_of(node)) is not None


def covered(node: ast.Constant | ast.JoinedStr, words: list[str]) -> str:
    """The code that gives a string without showing it; the string is added to `words`."""
    values = list[str]()
    words.append(str(node.value) if isinstance(node, ast.Constant) else template(node, values))
    code = f"WORDS[{len(words) - 1}]"
    return code if isinstance(node, ast.Constant) else f"{code}.format({', '.join(values)})"


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
