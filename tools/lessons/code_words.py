"""Finds the words in a lesson's code: strings that a reader sees, docstrings and comments.

A string is words where it is shown: printed, given to a figure, or assigned to a name that is. It
is none where it is looked up: in `[...]`, in a comparison, as the key of a table that code reads.
What these rules miss is listed in lessons/zh/words.toml; that is translated wherever it stands in a
lesson, so that what looks it up finds it.

An f-string is one text, with each `{expression}` as the code has it.
"""

import ast
import io
import re
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from tools.lessons.figures import without_magics

WORD_ARGUMENTS = frozenset(
    {"alt", "band_label", "caption", "label", "labels", "note", "reference_label", "sides"}
    | {"title", "titles", "x_label", "xlabel", "y_label", "ylabel"}
)
SHOW = frozenset({"print", "display", "Markdown", "HTML"})
OF_STRINGS = frozenset(
    {"capitalize", "center", "expandtabs", "format", "join", "ljust", "lstrip", "replace"}
    | {"rjust", "rstrip", "strip", "title"}
)
LOOKS_UP = frozenset({"endswith", "get", "index", "pop", "removeprefix", "startswith"})
HARMLESS_CALLS = frozenset({"enumerate", "len", "list", "max", "reversed", "zip"})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WIDTH = 100  # columns of a line of code; a Chinese character takes two
HAN = re.compile("[\u3400-\u9fff]")
LETTERS = re.compile(r"[A-Za-z]{2}")
STRING_OPENING = re.compile(r"""([A-Za-z]*)("{3}|'{3}|"|')""")


@dataclass(frozen=True)
class Words:
    """Words in code: where they stand (offsets in the source's bytes), and what they say."""

    start: int
    end: int
    text: str
    kind: str  # string, f-string, docstring, comment


@dataclass
class Usage:
    """What the code of a whole lesson shows and looks up."""

    shown: set[str] = field(default_factory=set)  # names of variables
    # Of variables that hold rows: which places in a row are shown; of a dict 0: keys, 1: values.
    columns: set[tuple[str, int]] = field(default_factory=set)
    drawing: set[str] = field(default_factory=set)  # functions of plots that a cell imports
    functions: dict[str, list[str]] = field(default_factory=dict)  # the lesson's, with parameters
    shown_functions: set[str] = field(default_factory=set)  # their results are shown
    looked_up: set[str] = field(default_factory=set)  # names of variables
    passed: set[str] = field(default_factory=set)  # names that are given to other functions
    keys: set[str] = field(default_factory=set)  # strings
    tables: set[str] = field(default_factory=set)  # dicts that are only gone through
    counts: Counter[str] = field(default_factory=Counter)  # how often each string occurs
    more: frozenset[str] = frozenset()  # strings that are words wherever they stand


# --- what a lesson shows --------------------------------------------------------------------------


def read_usage(sources: Iterable[str], more: Iterable[str] = ()) -> Usage:
    """What the cells of a lesson show and look up, from their code.

    `more`: strings that are words wherever they stand, although the rules miss them.
    """
    trees = [ast.parse(without_magics(source)) for source in sources]
    usage = Usage(more=frozenset(more))
    for tree in trees:
        for node in ast.walk(tree):
            note_lookups(node, usage)
            if isinstance(node, ast.ImportFrom) and node.module == "xai_course.plots":
                usage.drawing |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, FUNCTIONS):
                usage.functions[node.name] = [argument.arg for argument in node.args.args]
    usage.tables = only_gone_through(trees)
    before = -1
    while before != (before := len(usage.shown | usage.shown_functions) + len(usage.columns)):
        for tree in trees:
            note_loops(tree, usage)
            for value in roots(tree, usage):
                for node in shown_parts(value, usage):
                    note_shown(node, usage)
    return usage


def note_lookups(node: ast.AST, usage: Usage) -> None:
    """Add to `usage` what this node looks up or gives to a function."""
    if isinstance(node, ast.Call) and not plots(node, usage):
        name = method(node) or ast.unparse(node.func)
        if name not in SHOW | HARMLESS_CALLS | OF_STRINGS:
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            usage.passed |= {each.id for each in given if isinstance(each, ast.Name)}
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        usage.counts[node.value] += 1
    places = list[ast.AST]()
    if isinstance(node, ast.Subscript):
        places = [node.slice]
    elif isinstance(node, ast.Compare):
        places = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and method(node) in LOOKS_UP:
        places = list(node.args)
    for place in places:
        for part in place.elts if isinstance(place, ast.Tuple | ast.List) else [place]:
            if isinstance(part, ast.Name):
                usage.looked_up.add(part.id)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                usage.keys.add(part.value)


def only_gone_through(trees: list[ast.Module]) -> set[str]:
    """Names whose every use goes through them from end to end, so that no key is asked for."""
    uses, harmless = Counter[str](), Counter[str]()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                uses[node.id] += 1
            for name in gone_through(node):
                harmless[name] += 1
    return {name for name in uses if uses[name] == harmless[name]}


def gone_through(node: ast.AST) -> Iterator[str]:
    """The names that a node goes through from end to end."""
    inner = list[ast.expr]()
    if isinstance(node, ast.Attribute) and node.attr in ("items", "values", "keys"):
        inner = [node.value]
    elif isinstance(node, ast.For | ast.comprehension):
        inner = [node.iter]
    elif isinstance(node, ast.Starred):
        inner = [node.value]
    elif isinstance(node, ast.Call) and (
        plots(node) or (isinstance(node.func, ast.Name) and node.func.id in HARMLESS_CALLS)
    ):
        inner = [*node.args, *(keyword.value for keyword in node.keywords)]
    for each in inner:
        if isinstance(each, ast.Name):
            yield each.id


def note_shown(node: ast.expr, usage: Usage) -> None:
    """Add a name or function whose value is shown."""
    if isinstance(node, ast.Name) and node.id not in usage.looked_up:
        usage.shown.add(node.id)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        usage.shown_functions.add(node.func.id)
    elif isinstance(node, ast.Call) and method(node) == "values":
        assert isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name):
            usage.columns.add((node.func.value.id, 1))


def note_loops(tree: ast.AST, usage: Usage) -> None:
    """Add the variables that a loop goes through, where what it takes from them is shown."""
    for target, rows in loops(tree):
        if isinstance(rows, ast.Name) and is_shown(target, usage):
            usage.shown.add(rows.id)
        elif is_shown(target, usage) and isinstance(rows, ast.Call):
            note_shown(rows, usage)
        for place, part in enumerate(target.elts if isinstance(target, ast.Tuple) else []):
            owner = rows.func.value if items(rows) else rows
            if is_shown(part, usage) and isinstance(owner, ast.Name):
                usage.columns.add((owner.id, place))


def items(node: ast.expr) -> TypeGuard[Any]:
    """Whether an expression goes through the keys and values of a dict."""
    return isinstance(node, ast.Call) and method(node) == "items"


def is_shown(target: ast.expr, usage: Usage) -> bool:
    """Whether a loop gives its values to a name that is shown, and is not looked up."""
    safe = usage.shown - usage.looked_up - usage.passed
    return isinstance(target, ast.Name) and target.id in safe


def loops(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The loops: what takes the values, and what they are taken from."""
    waiting = [
        (node.target, node.iter)
        for node in ast.walk(tree)
        if isinstance(node, ast.For | ast.comprehension)
    ]
    while waiting:
        target, rows = waiting.pop()
        called = (
            rows.func.id if isinstance(rows, ast.Call) and isinstance(rows.func, ast.Name) else ""
        )
        if called == "zip" and isinstance(target, ast.Tuple):
            assert isinstance(rows, ast.Call)
            waiting += list(zip(target.elts, rows.args, strict=False))
        elif called == "enumerate" and isinstance(target, ast.Tuple):
            assert isinstance(rows, ast.Call)
            waiting.append((target.elts[1], rows.args[0]))
        else:
            yield target, rows


def method(node: ast.Call) -> str:
    """The name of the method that is called; empty for a function."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def plots(node: ast.Call, usage: Usage | None = None) -> bool:
    """Whether a call draws."""
    name = ast.unparse(node.func)
    return name.startswith("plots.") or (usage is not None and name in usage.drawing)


def roots(tree: ast.AST, usage: Usage) -> Iterator[ast.expr]:
    """The expressions that are shown."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from shown_arguments(node, usage)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from assigned(target, node.value, usage)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value is not None:
            yield from assigned(node.target, node.value, usage)
        elif isinstance(node, ast.For | ast.comprehension):
            for target, rows in loops(node):
                yield from shown_columns(target, rows, usage)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from node.exc.args
        elif isinstance(node, ast.Assert) and node.msg is not None:
            yield node.msg
        elif isinstance(node, FUNCTIONS) and node.name in usage.shown_functions:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield inner.value


def shown_arguments(node: ast.Call, usage: Usage) -> Iterator[ast.expr]:
    """The arguments of a call that are shown."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    for keyword in node.keywords:
        ends = name == "print" and keyword.arg in ("end", "sep")
        passed = keyword.arg in usage.shown and keyword.arg in usage.functions.get(name, ())
        table = plots(node, usage) and isinstance(keyword.value, ast.Dict | ast.List)
        unit = plots(node, usage) and keyword.arg == "unit"
        if keyword.arg in WORD_ARGUMENTS or ends or passed or table or unit:
            yield keyword.value
    if name in SHOW or plots(node, usage):
        yield from node.args
    elif name in usage.functions:
        for parameter, value in zip(usage.functions[name], node.args, strict=False):
            if parameter in usage.shown | WORD_ARGUMENTS:
                yield value
    elif isinstance(node.func, ast.Attribute) and method(node) in ("append", "extend"):
        owner = node.func.value
        if isinstance(owner, ast.Name) and owner.id in usage.shown:
            yield from node.args


def assigned(target: ast.expr, value: ast.expr, usage: Usage) -> Iterator[ast.expr]:
    """The value, or its parts, that a shown name is given."""
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=False))
    for name, part in pairs:
        if not isinstance(name, ast.Name):
            continue
        if name.id in usage.shown | WORD_ARGUMENTS:
            yield from part.keys if isinstance(part, ast.Dict) else [part]  # type: ignore[misc]
        for owner, place in usage.columns:
            if owner == name.id:
                yield from column(part, place)


def shown_columns(target: ast.expr, rows: ast.expr, usage: Usage) -> Iterator[ast.expr]:
    """What a loop takes from a literal and shows."""
    if is_shown(target, usage) and isinstance(rows, ast.Tuple | ast.List):
        yield from rows.elts
    for place, part in enumerate(target.elts if isinstance(target, ast.Tuple) else []):
        if is_shown(part, usage):
            yield from column(rows.func.value if items(rows) else rows, place)


def column(rows: ast.expr, place: int) -> Iterator[ast.expr]:
    """The values at a place of every row of a literal; of a dict the keys or the values."""
    if isinstance(rows, ast.Dict):
        yield from (key for key in (rows.values if place else rows.keys) if key is not None)
    elif isinstance(rows, ast.Tuple | ast.List):
        for row in rows.elts:
            if isinstance(row, ast.Tuple) and place < len(row.elts):
                yield row.elts[place]


def shown_parts(node: ast.expr, usage: Usage) -> Iterator[ast.expr]:
    """The strings, f-strings, names and calls of which a shown expression is made."""
    inner = list[ast.expr | None]()
    if isinstance(node, ast.Constant | ast.Name):
        yield node
    elif isinstance(node, ast.JoinedStr):
        yield node
        for value in (part.value for part in node.values if isinstance(part, ast.FormattedValue)):
            inner.append(value)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        inner = [*node.elts]
    elif isinstance(node, ast.Dict):
        inner = [*node.keys, *node.values]
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        inner = [node.elt]
    elif isinstance(node, ast.DictComp):
        inner = [node.key, node.value]
    elif isinstance(node, ast.IfExp):
        inner = [node.body, node.orelse]
    elif isinstance(node, ast.BoolOp):
        inner = [*node.values]
    elif isinstance(node, ast.Starred | ast.NamedExpr):
        inner = [node.value]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.BitOr | ast.Mult):
        inner = [node.left, node.right]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in OF_STRINGS:
            inner = [node.func.value, *(node.args if node.func.attr == "join" else [])]
        elif node.func.attr == "values":
            yield node
        elif node.func.attr == "keys":
            inner = [node.func.value]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in usage.functions:
            yield node
        elif node.func.id in HARMLESS_CALLS | SHOW:
            inner = [*node.args]
    for each in inner:
        if each is not None:
            yield from shown_parts(each, usage)


# --- words of a cell ------------------------------------------------------------------------------


def words_of(source: str, usage: Usage) -> list[Words]:
    """The words in a cell's code, in order."""
    tree = ast.parse(blanked_magics(source))
    data, starts = source.encode(), line_starts(source)
    found = dict[int, Words]()
    for node, kind in strings_of(tree, usage):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        text = text_of(node, data[start:end].decode())
        if has_words(text):
            found[start] = Words(start, end, text, kind)
    for words in comments_of(source):
        found[words.start] = words
    return [found[start] for start in sorted(found)]


def strings_of(tree: ast.Module, usage: Usage) -> Iterator[tuple[ast.expr, str]]:
    """The strings of a cell that are words, each with its kind."""
    keys = keys_that_stay(tree, usage) | within_f_strings(tree)
    for value in roots(tree, usage):
        for node in shown_parts(value, usage):
            if isinstance(node, ast.JoinedStr) and id(node) not in keys:
                yield node, "f-string"
            elif is_string(node) and id(node) not in keys:
                yield node, "string"
    nested = within_f_strings(tree)
    for node in ast.walk(tree):
        if is_string(node) and node.value in usage.more and id(node) not in nested:
            yield node, "string"
        if isinstance(node, ast.JoinedStr) and listed(node, usage) and id(node) not in nested:
            yield node, "f-string"
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and ast.get_docstring(node):
            opening = node.body[0]
            assert isinstance(opening, ast.Expr)
            yield opening.value, "docstring"


def listed(node: ast.JoinedStr, usage: Usage) -> bool:
    """Whether words.toml lists an f-string; there it stands without the f and its quotes."""
    return ast.unparse(node)[2:-1] in usage.more


def within_f_strings(tree: ast.AST) -> set[int]:
    """The ids of strings within f-strings, which are a part of their text."""
    found = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found |= {id(inner) for inner in ast.walk(node) if inner is not node}
    return found


def is_string(node: ast.AST) -> TypeGuard[ast.Constant]:
    """Whether a node is a string as it stands, no f-string."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def other_strings(source: str, usage: Usage) -> list[str]:
    """The strings of several words in a cell's code that no rule takes for words."""
    tree = ast.parse(blanked_magics(source))
    words = {id(node) for node, _ in strings_of(tree, usage)} | within_f_strings(tree)
    strings = [node for node in ast.walk(tree) if is_string(node) and id(node) not in words]
    return [str(node.value) for node in strings if re.search(r"[a-z]\W*\s\W*[a-z]", node.value)]


def keys_that_stay(tree: ast.Module, usage: Usage) -> set[int]:
    """The ids of strings that may be looked up: of keys of dicts, and of equal strings.

    Keys of a dict that stands in the call which draws it are words, and so are the keys of a dict
    that is only gone through, where nothing else in the lesson is called so.
    """
    stay, drawn = set[int](), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and plots(node, usage):
            values = [*node.args[:1], *(keyword.value for keyword in node.keywords)]
            if node.args and isinstance(node.args[0], ast.Dict):
                drawn |= {id(key) for v in values if isinstance(v, ast.Dict) for key in v.keys}
    gone = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if isinstance(node.value, ast.Dict) and names & usage.tables:
                gone |= {id(key) for key in node.value.keys}
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and part.value in usage.keys:
                    stay.add(id(part))
    for node in ast.walk(tree):
        for key in node.keys if isinstance(node, ast.Dict) else []:
            alone = isinstance(key, ast.Constant) and usage.counts[str(key.value)] == 1
            if id(key) not in drawn and not (id(key) in gone and alone):
                stay.add(id(key))
    return stay


def comments_of(source: str) -> Iterator[Words]:
    """The comments of a cell; whole lines of comment that follow one another are one."""
    starts = line_starts(source)
    lines = source.splitlines()
    block: list[tuple[int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(blanked_magics(source)).readline):
        if token.type != tokenize.COMMENT or not has_words(token.string):
            continue
        line, column = token.start
        if re.match(r"#\s*(?:type:|noqa|%%)", token.string):
            continue
        before = lines[line - 1][:column]
        start = starts[line - 1] + len(before.encode())
        piece = (start, start + len(token.string.encode()), token.string.lstrip("# ").rstrip())
        whole = not before.strip()
        if block and not (whole and follows(source, block[-1][1], start)):
            yield joined(block)
            block = []
        block.append(piece)
        if not whole:
            yield joined(block)
            block = []
    if block:
        yield joined(block)


def follows(source: str, end: int, start: int) -> bool:
    """Whether only one line break and an indent stand between two places."""
    return re.fullmatch(rb"\n[ ]*", source.encode()[end:start]) is not None


def joined(block: list[tuple[int, int, str]]) -> Words:
    """One comment of several lines."""
    return Words(block[0][0], block[-1][1], " ".join(text for *_, text in block), "comment")


def has_words(text: str) -> bool:
    """Whether a text holds letters, other than in the expressions of an f-string."""
    return any(
        LETTERS.search(part.text if not part.is_field else " ".join(quoted(part)))
        for part in parts_of(text)
    )


def blanked_magics(source: str) -> str:
    """Code with the lines that are for IPython alone made comments of the same length."""
    return re.sub(r"^[%!].*$", lambda line: "#" * len(line[0].encode()), source, flags=re.M)


def line_starts(source: str) -> list[int]:
    """Where each line starts, in bytes."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


# --- texts of strings -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of an f-string's text: what it says, or an expression with its braces."""

    text: str
    is_field: bool


def text_of(node: ast.expr, segment: str) -> str:
    """What a string says; an f-string with its expressions as they are, and `{{` for a brace."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    found, at = "", 0
    while match := STRING_OPENING.search(segment, at):
        at = match.end()
        prefix, close = match[1].lower(), match[2]
        raw = ""
        while not segment.startswith(close, at):
            if "f" in prefix and segment[at] == "{" and segment[at + 1] != "{":
                found += value(raw, prefix, close)
                end = field_end(segment, at)
                found, raw, at = found + segment[at:end], "", end
                continue
            step = 2 if segment[at] == "\\" or segment[at : at + 2] in ("{{", "}}") else 1
            raw += segment[at : at + step]
            at += step
        found += value(raw, prefix, close)
        at += len(close)
    return found


def value(raw: str, prefix: str, quote: str) -> str:
    """The text of a piece of a literal's source; braces of one that is no f-string are doubled."""
    text = raw if "r" in prefix else str(ast.literal_eval(f"{quote}{raw}{quote}"))
    return text if "f" in prefix else text.replace("{", "{{").replace("}", "}}")


def field_end(text: str, start: int) -> int:
    """The place after the expression that opens at a brace."""
    depth, quote = 0, ""
    for at in range(start, len(text)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if not depth:
                return at + 1
    raise ValueError(f"a brace is not closed: {text[start:]}")


def parts_of(text: str) -> list[Part]:
    """The text of an f-string cut at its expressions. Raises ValueError for an open brace."""
    parts, at, plain = list[Part](), 0, ""
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            plain, at = plain + text[at : at + 2], at + 2
        elif text[at] == "{" and "}" in text[at:]:
            end = field_end(text, at)
            parts += [Part(plain, False), Part(text[at:end], True)]
            plain, at = "", end
        else:
            plain, at = plain + text[at], at + 1
    return [part for part in (*parts, Part(plain, False)) if part.text]


def expression(part: Part) -> tuple[ast.expr | None, str]:
    """The expression of a field and what follows it: `=`, a conversion, a format."""
    inner = part.text[1:-1]
    for end in range(len(inner), 0, -1):
        if end == len(inner) or inner[end] in "!:=":
            try:
                return ast.parse(f"({inner[:end].strip()})", mode="eval").body, inner[end:]
            except SyntaxError:
                continue
    return None, inner


def quoted(part: Part) -> list[str]:
    """The strings in a field that are words."""
    tree, _ = expression(part)
    if tree is None:
        return []
    found = shown_parts(tree, Usage())
    return [str(n.value) for n in found if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def field_shape(part: Part, more: frozenset[str] = frozenset()) -> str:
    """A field without its words: equal for an expression and its translation.

    `more`: strings that are words, too, wherever they stand; in a translation they are Chinese.
    """
    tree, rest = expression(part)
    if tree is None:
        return part.text
    words = quoted(part)
    for node in shown_parts(tree, Usage()):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    for inner in ast.walk(tree):
        if more and is_string(inner) and (inner.value in more or HAN.search(str(inner.value))):
            inner.value = ""
    return ast.dump(tree) + (re.sub(r"(?<=:)([<>^]?)\d+", r"\1", rest) if words else rest)


# --- translated code ------------------------------------------------------------------------------


def translated_code(source: str, usage: Usage, translate: Callable[[Words], str]) -> str:
    """A cell's code with its words translated; nothing else is changed.

    What words.toml lists is translated within the expressions of f-strings, too.
    """
    data = source.encode()
    for words in words_of(source, usage)[::-1]:
        new = translate(words)
        if new != words.text:
            line_start = data.rfind(b"\n", 0, words.start) + 1
            before = data[line_start : words.start].decode()
            old = data[words.start : words.end].decode()
            code = literal(words, new, before, old).encode()
            data = data[: words.start] + code + data[words.end :]
    return with_translated_fields(data.decode(), usage, translate) if usage.more else data.decode()


def with_translated_fields(source: str, usage: Usage, translate: Callable[[Words], str]) -> str:
    """A cell's code with what words.toml lists translated in the expressions of its f-strings."""
    words = "|".join(re.escape(text) for text in sorted(usage.more))
    quoted_word = re.compile(rf"""(["'])({words})\1""")

    def other(match: re.Match[str]) -> str:
        return match[1] + translate(Words(0, 0, match[2], "string")) + match[1]

    tree = ast.parse(blanked_magics(source))
    inner, starts, data = within_f_strings(tree), line_starts(source), source.encode()
    found = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) and id(n) not in inner]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        segment = data[start:end].decode()
        for first, last in fields_of(segment)[::-1]:
            field_code = quoted_word.sub(other, segment[first:last])
            segment = segment[:first] + field_code + segment[last:]
        data = data[:start] + segment.encode() + data[end:]
    return data.decode()


def fields_of(segment: str) -> list[tuple[int, int]]:
    """Where the expressions stand in the code of an f-string, which may be several literals."""
    spans, at = list[tuple[int, int]](), 0
    while match := STRING_OPENING.search(segment, at):
        at, close = match.end(), match[2]
        while not segment.startswith(close, at):
            if "f" in match[1].lower() and segment[at] == "{" and segment[at + 1] != "{":
                end = field_end(segment, at)
                spans.append((at, end))
                at = end
            else:
                at += 2 if segment[at] == "\\" or segment[at : at + 2] in ("{{", "}}") else 1
        at += len(close)
    return spans


def literal(words: Words, text: str, before: str, old: str) -> str:
    """Code for words: a comment or a string, over several lines where the old one was.

    `before`: what stands before it in its line. `old`: its code until now.
    """
    indent = " " * len(before)
    room = WIDTH - len(before) - 4
    if words.kind == "comment":
        if before.strip():
            return f"# {text}"
        return f"\n{indent}# ".join(["", *wrapped(text, room)])[len(f"\n{indent}") :]
    if words.kind == "docstring":
        return quoted_literal(text, "string", '"""')
    if re.match(r"""[A-Za-z]*("{3}|'{3})""", old):
        return quoted_literal(text, words.kind, '"""')
    if "\n" not in old:
        return quoted_literal(text, words.kind)
    return f"\n{indent}".join(quoted_literal(part, words.kind) for part in wrapped(text, room))


def quoted_literal(text: str, kind: str, quote: str = '"') -> str:
    """A string literal, or an f-string where the kind says so and it holds expressions."""
    if kind != "f-string":
        return f"{quote}{escaped(text, quote)}{quote}"
    parts = parts_of(text)
    if not any(part.is_field for part in parts):
        return quoted_literal(text.replace("{{", "{").replace("}}", "}"), "string", quote)
    if any(part.is_field and '"' in part.text for part in parts):
        quote = '"""'
    inner = "".join(part.text if part.is_field else escaped(part.text, quote) for part in parts)
    return f"f{quote}{inner}{quote}"


def escaped(text: str, quote: str) -> str:
    """Text as it stands within quotes; within three of them lines may break."""
    for old, new in {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}.items():
        if old != "\n" or len(quote) == 1:
            text = text.replace(old, new)
    return text


def wrapped(text: str, room: int) -> list[str]:
    """Text cut into lines that fit, between words or Chinese characters, never in an expression."""
    atoms = list[str]()
    for part in parts_of(text) if "{" in text else [Part(text, False)]:
        atoms += [part.text] if part.is_field else re.findall(r"[\x21-\x7e]+ ?|\s|.", part.text)
    lines = [""]
    for atom in atoms:
        if lines[-1] and columns(lines[-1] + atom) > room and atom not in "，。；：、！？）”’》 ":
            lines.append("")
        lines[-1] += atom
    return lines


def columns(text: str) -> int:
    """The width of a text in a fixed-width font."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


# --- the same code in two languages ---------------------------------------------------------------


def difference(source: str, other: str, usage: Usage) -> str:
    """Where a cell's translation does something else than the cell; empty if nowhere.

    Words and comments may differ, and the order of the expressions in an f-string that is words.
    """
    tree, other_tree = ast.parse(blanked_magics(source)), ast.parse(blanked_magics(other))
    free = {id(node) for node, _ in strings_of(tree, usage)}
    free |= {id(node) for node in ast.walk(tree) if is_string(node) and node.value in usage.more}
    waiting: list[tuple[object, object]] = [(tree, other_tree)]
    while waiting:
        old, new = waiting.pop()
        if isinstance(old, ast.expr) and isinstance(new, ast.expr) and id(old) in free:
            if shapes(old, source, usage) != shapes(new, other, usage):
                return f"{ast.unparse(old)} became {ast.unparse(new)}"
        elif isinstance(old, ast.AST) and type(old) is type(new):
            names = [name for name in old._fields if name != "kind"]  # the prefix of a string
            waiting += [(getattr(old, name, None), getattr(new, name, None)) for name in names]
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            waiting += zip(old, new, strict=True)
        elif old != new:
            return f"{shown_as(old)} became {shown_as(new)}"
    return ""


def shapes(node: ast.expr, source: str, usage: Usage) -> list[str]:
    """The expressions in a string, without their words, in alphabetical order."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return []
    if not isinstance(node, ast.JoinedStr):
        return [ast.dump(node)]
    starts = line_starts(source)
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
    text = text_of(node, source.encode()[start:end].decode())
    return sorted(field_shape(part, usage.more) for part in parts_of(text) if part.is_field)


def shown_as(node: object) -> str:
    """A piece of code in a message."""
    return ast.unparse(node) if isinstance(node, ast.AST) else repr(node)
