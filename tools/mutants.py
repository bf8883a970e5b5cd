"""Mutation testing: change the package a little, one place at a time, and see whether a test fails.

    python -m tools.mutants --share 0.1 --out runs/mutants.json

A change that no test notices (a survivor) shows what the tests do not look at, or changes nothing
that could be noticed. The layout (a TOML file) says which tests belong to which source file.

First each test file runs once, unchanged, and every test's running lines and seconds are noted.
Then each mutant meets the tests that run its line, the quickest first, until one fails. The
drawing of mutants depends on a seed and on the text of the change alone, so that code that moves
to another file is drawn again. Nothing is written into the checkout: a mutant lives in a forked
process, whose import gets the changed code. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
PAIRS = (
    "min max, amin amax, argmin argmax, minimum maximum, clamp_min clamp_max, sum mean, any all, "
    "zeros ones, zeros_like ones_like"
)
SWAPS = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}
BUILTINS = {"min", "max", "any", "all"}  # of those, what is also called without a dot
SILENT = {"warn", "tqdm"}  # calls that only talk to the reader
CPU_SECONDS = 20  # what a mutant may use for imports, besides three times its tests


# ---- mutants -------------------------------------------------------------------------------------


@dataclass
class Mutant:
    """One change of one source file: in `holder`, `name` (at `index`) becomes `new`."""

    file: str
    function: str
    line: int  # where the change is
    runs: int  # the line of the statement that a test must run
    before: str
    after: str
    tree: ast.Module = field(repr=False)
    statement: ast.AST = field(repr=False)  # the innermost that holds the change
    holder: ast.AST = field(repr=False)
    name: str
    index: int | None
    new: ast.AST = field(repr=False)

    def put(self, value: Any) -> Any:
        """Put a value into the mutant's place; return what stood there."""
        part = getattr(self.holder, self.name)
        if self.index is None:
            setattr(self.holder, self.name, value)
            return part
        old, part[self.index] = part[self.index], value
        return old

    def describe(self) -> dict[str, Any]:
        """Return what a reader wants to know, for JSON."""
        keys = ("file", "function", "line", "before", "after")
        return {key: getattr(self, key) for key in keys}


def find_mutants(file: str, source: str) -> list[Mutant]:
    """List all mutants of a source file, in order."""
    tree = ast.parse(source)
    found = list(_walk(tree, file, tree, "", tree))
    for mutant in found:
        mutant.before, mutant.after = _one_line(mutant)
    return [mutant for mutant in found if mutant.before != mutant.after]


def _walk(
    tree: ast.Module, file: str, node: ast.AST, function: str, statement: ast.AST
) -> Iterator[Mutant]:
    """Yield the mutants inside a node, which stands in a statement of a function."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "op", "ops", "ctx"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_left_alone(node, name, index, child):
                continue
            inner = child if isinstance(child, ast.stmt) else statement
            asked = name in ("ifs", "test") and not _has_opposite(child)
            for new in [*_variants(child), *([_negated(child)] if asked else [])]:
                ast.fix_missing_locations(ast.copy_location(new, child))
                line, runs = getattr(child, "lineno", 0), _line_that_runs(inner, child)
                place = (tree, inner, node, name, index, new)
                yield Mutant(file, function, line, runs, "", "", *place)
            yield from _walk(tree, file, child, function, inner)


def _is_left_alone(parent: ast.AST, name: str, index: int | None, child: ast.AST) -> bool:
    """Say whether a node holds nothing to change: messages, imports, types, `__all__`."""
    if isinstance(child, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__all__":
        return True
    if isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in SILENT:
        return True
    is_check = isinstance(parent, ast.Call) and ast.unparse(parent.func) == "isinstance"
    return is_check and name == "args" and index == 1


def _variants(node: ast.AST) -> list[ast.AST]:
    """List what may stand in a node's place."""
    found: list[ast.AST] = []
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        found.append(ast.Constant(not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        found.append(ast.Constant(node.value + 1))
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            new = copy.copy(node)
            new.ops = list(node.ops)
            new.ops[place] = OPERATORS[type(operator)]()  # type: ignore[call-overload]
            found.append(new)
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        if not any(_is_text(getattr(node, side, None)) for side in ("left", "right", "value")):
            found.append(_changed(node, op=OPERATORS[type(node.op)]()))
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        found.append(copy.copy(node.operand))  # without not, - or ~
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in SWAPS:
            called = _changed(node.func, attr=SWAPS[node.func.attr])
            found.append(_changed(node, func=called))
        elif isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            found.append(_changed(node, func=_changed(node.func, id=SWAPS[node.func.id])))
        names = [keyword.arg for keyword in node.keywords]
        if ("min" in names) != ("max" in names):
            words = [_changed(k, arg=SWAPS.get(k.arg or "", k.arg)) for k in node.keywords]
            found.append(_changed(node, keywords=words))
    return found


def _changed(node: ast.AST, **fields: Any) -> Any:
    """Return a copy of a node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _has_opposite(test: ast.AST) -> bool:
    """Say whether the opposite of a condition is among its variants already."""
    exact = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    is_exact = (
        isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], exact)
    )
    return is_exact or (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))


def _negated(test: ast.AST) -> ast.AST:
    """Return the opposite of a condition."""
    return ast.UnaryOp(ast.Not(), test)  # type: ignore[arg-type]


def _is_text(node: ast.AST | None) -> bool:
    """Say whether a node is a string."""
    is_plain = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_plain or isinstance(node, ast.JoinedStr)


def _is_docstring(node: ast.AST) -> bool:
    """Say whether a statement is a string alone."""
    return isinstance(node, ast.Expr) and _is_text(node.value)


def _line_that_runs(statement: ast.AST, child: ast.AST) -> int:
    """Return the line that a test must run to meet a change: of a function, its first one."""
    if isinstance(statement, ast.FunctionDef) and child is not statement:  # a default argument
        body = [each for each in statement.body if not _is_docstring(each)]
        statement = body[0] if body else statement
    return getattr(statement, "lineno", 0)


def _one_line(mutant: Mutant) -> tuple[str, str]:
    """Return the one line that differs when the mutant is put in, before and after."""
    if isinstance(mutant.new, ast.stmt):
        return ast.unparse(mutant.statement), ast.unparse(mutant.new)
    before = ast.unparse(mutant.statement).splitlines()
    old = mutant.put(mutant.new)
    after = ast.unparse(mutant.statement).splitlines()
    mutant.put(old)
    pairs = ((a, b) for a, b in zip(before, after, strict=False) if a != b)
    first, second = next(pairs, ("", ""))
    return first.strip(), second.strip()


def draw(mutants: list[Mutant], share: float, seed: int) -> list[Mutant]:
    """Draw a share of mutants; the text of a change decides, not where it stands."""

    def lot(mutant: Mutant) -> str:
        text = f"{seed}|{mutant.before}|{mutant.after}"
        return hashlib.sha256(text.encode()).hexdigest()

    count = max(1, round(share * len(mutants)))
    return sorted(sorted(mutants, key=lot)[:count], key=lambda mutant: mutant.line)


# ---- code that a child imports in place of the file's --------------------------------------------


class ChangedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from code that is already compiled."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        """Return that code."""
        return self.code


class ChangedFinder(importlib.abc.MetaPathFinder):
    """Finds the modules whose code was changed: module name to file and code."""

    def __init__(self, changed: dict[str, tuple[str, CodeType]]) -> None:
        """Keep the code."""
        self.changed = changed

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Return the changed module, if it is one."""
        if fullname not in self.changed:
            return None
        file, code = self.changed[fullname]
        loader = ChangedLoader(fullname, file)
        loader.code = code
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def module_name(file: str) -> str:
    """Return the import name of a file, given from the root."""
    parts = Path(file).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def with_marks(file: str, source: str) -> ast.Module:
    """Return a module's tree with a mark before every statement that says that it runs."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                setattr(node, name, [part for each in statements for part in _marked(file, each)])
    return ast.fix_missing_locations(tree)


def _marked(file: str, statement: ast.stmt) -> list[ast.stmt]:
    """Return a statement with its mark before it."""
    if isinstance(statement, ast.ImportFrom) or _is_docstring(statement):
        return [statement]
    call = ast.parse(f"__reach__({f'{file}:{statement.lineno}'!r})").body[0]
    for node in ast.walk(call):
        ast.copy_location(node, statement)
    return [call, statement]


# ---- pytest in a child process -------------------------------------------------------------------


class Watcher:
    """A pytest plugin: runs the chosen tests in their order, and notes what each test did."""

    def __init__(self, chosen: list[str] | None = None) -> None:
        """Run the chosen tests, or all."""
        self.order = None if chosen is None else {name: k for k, name in enumerate(chosen)}
        self.marks: set[str] = set()
        self.tests: dict[str, dict[str, Any]] = {}
        self.shared: set[str] = set()  # marks of imports and fixtures: of all tests of the file
        self.failed = ""
        self.clock = 0.0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Choose tests, and put them in order."""
        if self.order is not None:
            order = self.order
            items[:] = [item for item in items if item.nodeid in order]
            items.sort(key=lambda item: order[item.nodeid])

    def pytest_collection_finish(self) -> None:
        """Start the clock."""
        self.shared |= self.marks
        self.marks.clear()
        self.clock = sum(os.times()[:4])

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note one phase of a test: its marks, its seconds, how it ended."""
        test = self.tests.setdefault(report.nodeid, {"seconds": 0.0, "passed": False, "lines": []})
        now = sum(os.times()[:4])
        test["seconds"] += now - self.clock
        self.clock = now
        if report.when == "call":
            test["passed"] = report.passed
            test["lines"] = sorted(self.marks)
        else:
            self.shared |= self.marks
        self.marks.clear()
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run_pytest(files: list[str], watcher: Watcher, folder: str, *options: str) -> int:
    """Run pytest on files in this process; return its exit code."""
    import pytest

    return int(
        pytest.main(
            [
                *("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"),
                *("--rootdir=.", f"--basetemp={folder}/tests", "--hypothesis-profile=mutants"),
                *options,
                *files,
            ],
            plugins=[watcher],
        )
    )


Work = Callable[[str], dict[str, Any]]
"""What a child does, with an empty folder of its own; it returns something for JSON."""


def run_children(
    works: list[tuple[Work, int]], workers: int, say: Callable[[int, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """Run works, each in a forked process with a limit of CPU seconds, some at a time.

    A result is what the work returned, or {"ended": why} for a process that came to an end.
    """
    results: list[dict[str, Any]] = [{} for _ in works]
    running: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as top:
        waiting = list(range(len(works)))
        while waiting or running:
            while waiting and len(running) < workers:
                number = waiting.pop(0)
                running[_start(works[number], Path(top, str(number)))] = number
            pid, status = os.waitpid(-1, 0)
            if pid not in running:
                continue
            number = running.pop(pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what its tests may have started
            answer = Path(top, str(number), "answer.json")
            if answer.exists():
                results[number] = json.loads(answer.read_text("utf-8"))
            elif os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM):
                results[number] = {"ended": "out of time"}
            else:
                output = Path(top, str(number), "output.txt").read_text("utf-8", "replace")
                results[number] = {"ended": f"status {status}", "output": output[-2000:]}
            say(number, results[number])
    return results


def _start(work: tuple[Work, int], folder: Path) -> int:
    """Fork a process for a work; return its number."""
    folder.mkdir()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        with (folder / "output.txt").open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        call, seconds = work
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        signal.alarm(10 * seconds + 60)  # for one that waits and does not work
        answer = call(str(folder))
        part = folder / "part.json"
        part.write_text(json.dumps(answer), "utf-8")
        part.rename(folder / "answer.json")
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watch_tests(tests: str, sources: dict[str, str]) -> Work:
    """Return the work that runs one test file unchanged and notes which lines each test runs."""

    def work(folder: str) -> dict[str, Any]:
        watcher = Watcher()
        vars(__import__("builtins"))["__reach__"] = watcher.marks.add
        code = {
            module_name(file): (
                os.path.abspath(file),
                compile(with_marks(file, text), os.path.abspath(file), "exec", dont_inherit=True),
            )
            for file, text in sources.items()
        }
        sys.meta_path.insert(0, ChangedFinder(code))
        status = run_pytest([tests], watcher, folder)
        for test in watcher.tests.values():
            test["lines"] = sorted({*test["lines"], *watcher.shared})
        return {"status": status, "tests": watcher.tests}

    return work


def try_mutant(mutant: Mutant, tests: list[str], *, control: bool = False) -> Work:
    """Return the work that runs tests on a mutant, or for a control without the change."""

    def work(folder: str) -> dict[str, Any]:
        if not control:
            mutant.put(mutant.new)
        file, name = os.path.abspath(mutant.file), module_name(mutant.file)
        code = compile(mutant.tree, file, "exec", dont_inherit=True)
        sys.meta_path.insert(0, ChangedFinder({name: (file, code)}))
        watcher = Watcher(tests)
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        status = run_pytest(files, watcher, folder, "-x")
        assert name in sys.modules or status, f"{name} was not imported"
        return {"status": status, "failed": watcher.failed}

    return work


# ---- the whole run -------------------------------------------------------------------------------


def choose_tests(
    mutant: Mutant, files: list[str], tests: dict[str, Any], longest: float, seconds: float
) -> tuple[list[str], float, int]:
    """Choose a mutant's tests: those that run its line, the quickest of each file first.

    Returns the tests, their seconds, and how many were left out because all together would take
    more than `seconds` or one alone more than `longest`.
    """
    line = f"{mutant.file}:{mutant.runs}"
    chosen: list[str] = []
    total, left_out = 0.0, 0
    for file in files:
        own = [name for name in tests if name.startswith(f"{file}::") and tests[name]["passed"]]
        own = [name for name in own if line in tests[name]["lines"]]
        for name in sorted(own, key=lambda name: tests[name]["seconds"]):
            cost = tests[name]["seconds"]
            if cost > longest or total + cost > seconds:
                left_out += 1
                continue
            chosen.append(name)
            total += cost
    return chosen, total, left_out


def prepare_parent(root: Path, modules: list[str], examples: int) -> None:
    """Import once what all children need, and nothing of the package."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["MPLBACKEND"] = "agg"
    os.chdir(root)
    sys.path.insert(0, str(root))
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not preloaded: {name} ({error})", file=sys.stderr)
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=examples,
        phases=[Phase.explicit, Phase.generate],  # a failure is enough, it need not be small
        suppress_health_check=list(HealthCheck),
    )
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def show(results: list[dict[str, Any]], sizes: dict[str, int]) -> None:
    """Print the table and the survivors."""
    print(f"\n{'file':<44}{'all':>7}{'mutants':>9}{'caught':>8}{'survived':>10}{'caught %':>10}")
    rows = [(file, [r for r in results if r["file"] == file]) for file in sizes]
    for file, some in [*rows, ("together", results)]:
        caught = sum(r["result"] == "caught" for r in some)
        every = sizes.get(file, sum(sizes.values()))
        share = f"{100 * caught / len(some):.1f}" if some else "-"
        print(f"{file:<44}{every:>7}{len(some):>9}{caught:>8}{len(some) - caught:>10}{share:>10}")
    print("\nSurvivors:")
    for r in results:
        if r["result"] != "caught":
            print(f"\n{r['file']}:{r['line']}  {r['function']}  ({r['result']})")
            before, after = shorten(r["before"], r["after"])
            print(f"  - {before}\n  + {after}")


def shorten(before: str, after: str, around: int = 45) -> tuple[str, str]:
    """Cut two long lines down to where they differ."""
    if len(before) <= 100:
        return before, after
    first = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    last = next(k for k in range(len(before)) if before[-1 - k :] != after[-1 - k :])

    def cut(text: str) -> str:
        start, stop = max(first - around, 0), min(len(text) - last + around, len(text))
        return "…" * (start > 0) + text[start:stop] + "…" * (stop < len(text))

    return cut(before), cut(after)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    layout = Path(__file__).with_suffix(".toml")
    parser.add_argument(
        "layout", type=Path, nargs="?", default=layout, help="TOML: source file = [test files]"
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout")
    parser.add_argument("--share", type=float, default=0.2, help="share of the mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--longest", type=float, default=20, help="seconds: longer tests stay out")
    parser.add_argument("--seconds", type=float, default=30, help="of tests for one mutant")
    parser.add_argument("--examples", type=int, default=10, help="of hypothesis, where not named")
    parser.add_argument("--files", nargs="*", help="only these source files")
    parser.add_argument("--again", type=Path, help="only the survivors of an earlier --out")
    parser.add_argument("--control", action="store_true", help="change nothing: all must survive")
    parser.add_argument("--list", action="store_true", help="list the mutants drawn and stop")
    parser.add_argument("--out", type=Path, help="JSON for the results")
    options = parser.parse_args()
    out = options.out and options.out.absolute()

    start = time.time()
    layout = tomllib.loads(options.layout.read_text("utf-8"))
    table: dict[str, list[str]] = layout["tests"]
    table = {file: table[file] for file in table if not options.files or file in options.files}
    sources = {file: (options.root / file).read_text("utf-8") for file in table}
    every = {file: find_mutants(file, text) for file, text in sources.items()}
    drawn = [m for mutants in every.values() for m in draw(mutants, options.share, options.seed)]
    if options.again:
        earlier = json.loads(options.again.read_text("utf-8"))["mutants"]
        wanted = {(m["before"], m["after"]) for m in earlier if m["result"] != "caught"}
        drawn = [m for found in every.values() for m in found if (m.before, m.after) in wanted]
    if options.list:
        for m in drawn:
            before, after = shorten(m.before, m.after)
            print(f"{m.file}:{m.line}  {m.function}\n  - {before}\n  + {after}")
        return

    with tempfile.TemporaryDirectory(prefix="mutants-pyc-") as compiled:
        sys.pycache_prefix = compiled  # nothing compiled is written into the checkout
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{compiled}/hypothesis"
        prepare_parent(options.root.resolve(), layout.get("preload", []), options.examples)
        package = {Path(file).parts[0] for file in table}
        assert not package & set(sys.modules), "the package was imported before the fork"

        files = list(dict.fromkeys(t for file in {m.file: 0 for m in drawn} for t in table[file]))
        print(f"{len(drawn)} mutants of {sum(map(len, every.values()))}; unchanged tests first")
        base = run_children(
            [(watch_tests(file, sources), 3600) for file in files],
            options.workers,
            lambda k, r: print(f"  {files[k]}: {len(r.get('tests', []))} tests", flush=True),
        )
        tests: dict[str, Any] = {}
        for file, result in zip(files, base, strict=True):
            if "tests" not in result:
                sys.exit(f"{file} does not run: {result}")
            tests |= result["tests"]
        failing = [name for name, test in tests.items() if not test["passed"]]
        long = [name for name, test in tests.items() if test["seconds"] > options.longest]
        for name in failing:
            print(f"  left out, since it does not pass (or is skipped): {name}")
        for name in long:
            print(f"  left out, as it takes {tests[name]['seconds']:.0f} s: {name}")
        print(f"unchanged tests: {time.time() - start:.0f} s on the wall", flush=True)

        chosen = [
            choose_tests(m, table[m.file], tests, options.longest, options.seconds) for m in drawn
        ]
        met = [k for k, (names, _, _) in enumerate(chosen) if names]

        def say(k: int, r: dict[str, Any]) -> None:
            m = drawn[met[k]]
            text = shorten(m.before, m.after)[1]
            print(f"  {k + 1}/{len(met)} {judge(r)} {m.file}:{m.line} {text}"[:140], flush=True)

        found = run_children(
            [
                (
                    try_mutant(drawn[k], chosen[k][0], control=options.control),
                    int(CPU_SECONDS + 3 * chosen[k][1]),
                )
                for k in met
            ],
            options.workers,
            say,
        )
    results = []
    for k, mutant in enumerate(drawn):
        names, seconds, left_out = chosen[k]
        result = found[met.index(k)] if k in met else {"status": 0, "failed": ""}
        row = mutant.describe() | {"result": judge(result) if names else "runs in no test"}
        row |= {"by": result.get("failed") or result.get("ended", ""), "tests": len(names)}
        row |= {"seconds": round(seconds, 2), "left_out": left_out}
        results.append(row)
    show(results, {file: len(mutants) for file, mutants in every.items()})
    cut = sum(r["left_out"] > 0 and r["result"] != "caught" for r in results)
    minutes = (time.time() - start) / 60
    print(f"\n{cut} of the survivors did not meet all of their tests (--seconds, --longest).")
    print(f"{minutes:.1f} minutes on the wall with {options.workers} processes.")
    if out:
        keys = ("share", "seed", "workers", "longest", "seconds", "examples", "control")
        facts: dict[str, Any] = {key: getattr(options, key) for key in keys}
        facts |= {"minutes": round(minutes, 1), "not passing": failing, "too long": long}
        facts |= {"all": {file: len(mutants) for file, mutants in every.items()}}
        times = {name: round(test["seconds"], 2) for name, test in tests.items()}
        facts |= {"mutants": results, "test seconds": times}
        out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")


def judge(result: dict[str, Any]) -> str:
    """Say in a word how a mutant fared: a failed, broken or endless run has caught it."""
    return "survived" if result.get("status") == 0 else "caught"


if __name__ == "__main__":
    main()
