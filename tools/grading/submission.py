"""Reads a submitted notebook without running it: the statements that a function needs."""

import ast
import copy
import re
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from tools.grading.hints import syntax_hint

# Modules with which code can inspect or change the process that runs it, start others, read files,
# and those of the checks.
SUSPICIOUS = (
    *("xai_course.exercises", "tools", "builtins", "ctypes", "gc", "importlib", "inspect", "sys"),
    *("io", "multiprocessing", "os", "pathlib", "runpy", "socket", "subprocess", "tracemalloc"),
)
HIDDEN = ("__import__", "__builtins__", "exec", "eval", "open")  # built in, and as telling


@dataclass(frozen=True)
class Statement:
    """A top-level statement: its code, the names that it binds and the names that it reads."""

    node: ast.stmt
    binds: frozenset[str]
    reads: frozenset[str]


@dataclass
class Submission:
    """The statements of a notebook in order, and what could not be read."""

    statements: list[Statement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # functions of cells that are not Python

    @property
    def names(self) -> set[str]:
        """All names that the notebook binds."""
        return {name for statement in self.statements for name in statement.binds}

    @property
    def modules(self) -> set[str]:
        """All modules that the notebook imports from, at the top level."""
        nodes = (statement.node for statement in self.statements)
        return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}

    def needed(self, name: str) -> str:
        """The code that a name needs, as one text; "" if nothing binds it.

        These are, up to the last statement that binds the name, all that bind it, and all that bind
        a name which one of these statements reads. Their order is kept.
        """
        return ast.unparse(ast.Module([s.node for s in self._needed(name)], []))

    def suspicious(self, names: list[str]) -> list[str]:
        """What a teacher should look at: code that uses one of the suspicious modules."""
        found = []
        for name in names:
            nodes = [node for s in self._needed(name) for node in ast.walk(s.node)]
            imports = [f"{module}." for node in nodes for module in imported(node)]
            used = {m for m in SUSPICIOUS if any(each.startswith(f"{m}.") for each in imports)}
            found += [f"{name} uses {', '.join(sorted(used))}"] if used else []
        return found

    def _needed(self, name: str) -> list[Statement]:
        binding = [i for i, s in enumerate(self.statements) if name in s.binds]
        before = self.statements[: binding[-1] + 1] if binding else []
        wanted, taken = {name}, set[int]()
        while True:
            new = {i for i, s in enumerate(before) if i not in taken and (s.binds & wanted)}
            new |= {i for i, s in enumerate(before) if i not in taken and "*" in s.binds}
            if not new:
                return [before[i] for i in sorted(taken)]
            taken |= new
            wanted |= {read for i in new for read in before[i].reads}


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that a node imports, and some built-in functions."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Name) and node.id in HIDDEN:
        yield f"builtins.{node.id}"


def read_submission(cells: list[str], counts: list[int | None] | None = None) -> Submission:
    """Read the code cells of a notebook; cells that are not Python become problems.

    `counts`: the number in brackets that JupyterLab shows beside each cell, None if it has none.
    """
    submission, magics = Submission(), TransformerManager()
    for number, cell in enumerate(cells):
        where = place(number, counts[number] if counts else None, cell)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the learner's text, such as an invalid escape
                nodes = ast.parse(magics.transform_cell(cell)).body
                read = [read_statement(node) for node in nodes]
                submission.statements += read
                for name in {name for statement in read for name in statement.binds}:
                    submission.broken.pop(name, None)  # a later cell has it right
                continue
        except SyntaxError as error:
            why = f"(line {error.lineno}: {error.msg}{syntax_hint(error)})"
            words = f"{where} is not Python {why}"
        except (ValueError, RecursionError, MemoryError) as error:
            words = f"{where} cannot be read ({error})"
        submission.problems.append(words)
        for name in re.findall(r"^[ \t]*def\s+(\w+)", cell, re.MULTILINE):
            submission.broken[name] = words
    return submission


def place(number: int, count: int | None, code: str) -> str:
    """A code cell as its reader finds it: by JupyterLab's number; if not run, by its first line."""
    if count is not None:
        return f"cell [{count}]"
    first = (code.strip().splitlines() or [""])[0][:60]
    return f"code cell {number + 1} from the top, `{first}`,"


def read_statement(node: ast.stmt) -> Statement:
    """The names that a statement binds and reads, in the notebook's own scope."""
    # Since Python 3.12 the variables of comprehensions stand in the table of what surrounds them.
    alone = AsGenerators().visit(copy.deepcopy(node))
    table = symtable.symtable(ast.unparse(alone), "cell", "exec")
    binds = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    }
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        binds.add("*")
    binds |= set(changed(node))
    reads = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    return Statement(node, frozenset(binds), frozenset(reads | set(read_within(table))))


class AsGenerators(ast.NodeTransformer):
    """Writes every comprehension as a generator, whose variables are its own in every Python."""

    def visit_ListComp(self, node: ast.ListComp) -> ast.GeneratorExp:
        """A list."""
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.GeneratorExp:
        """A dictionary."""
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


def read_within(table: symtable.SymbolTable) -> Iterator[str]:
    """The names of the notebook that functions and classes within a statement read."""
    for inner in table.get_children():
        for symbol in inner.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield symbol.get_name()
        yield from read_within(inner)


def changed(node: Any) -> Iterator[str]:
    """Names whose items or attributes a statement sets, outside of functions: `table[0] = 1`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return
    if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
        root: ast.expr = node
        while isinstance(root, ast.Subscript | ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            yield root.id
    for child in ast.iter_child_nodes(node):
        yield from changed(child)
