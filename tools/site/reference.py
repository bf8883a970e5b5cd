"""Makes the pages of the reference: every public function, by floor, from its docstring.

The package is read, not imported, so no library has to be loaded and nothing runs.
"""

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tools.lessons.outputs import ROOT
from tools.site.text import fenced

PACKAGE = "xai_course"
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Room:
    """A file of the package."""

    name: str
    text: str
    public: list[Definition]
    elsewhere: list[str]  # public names that it takes from other rooms

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.text.partition("\n")[0]


def read_rooms(root: Path = ROOT) -> dict[str, Room]:
    """All rooms of the package, by name."""
    paths = sorted((root / PACKAGE).glob("*.py"))
    return {path.stem: read_room(path) for path in paths if path.stem != "__init__"}


def read_room(path: Path) -> Room:
    """A room with what is public in it: the names of `__all__`, or those without an underscore."""
    tree = ast.parse(path.read_text("utf-8"))
    named: list[str] | None = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            named = ast.literal_eval(node.value)
    defined = [node for node in tree.body if isinstance(node, Definition)]
    public = [
        node
        for node in defined
        if (node.name in named if named is not None else not node.name.startswith("_"))
    ]
    here = {name for node in tree.body for name in names_bound(node)}
    elsewhere = [name for name in named or [] if name not in here]
    return Room(path.stem, ast.get_docstring(tree) or "", public, elsewhere)


def names_bound(node: ast.stmt) -> list[str]:
    """The names that a statement defines, imports not counted."""
    if isinstance(node, Definition):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def read_floors(rooms: dict[str, Room], root: Path = ROOT) -> dict[str, tuple[str, list[str]]]:
    """Each floor's description and its rooms, from the table in CONTRIBUTING.md, bottom first."""
    floors = {}
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    table = text.partition("| floor |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        _, floor, words, _ = line.split("|")
        names = [name for name in re.findall(r"`(\w+)`", words) if name in rooms]
        floors[floor.strip()] = (words.strip(), names)
    return floors


# --- pages ----------------------------------------------------------------------------------------


def reference_pages(
    floors: dict[str, tuple[str, list[str]]], rooms: dict[str, Room], snippets: set[str]
) -> dict[str, str]:
    """The pages of the reference, by file name: an index, and one page a floor.

    `snippets`: the functions that the page of snippets has.
    """
    files = {floor: floor.replace(" ", "_") for floor in floors}
    lines = [
        f"| [{floor.capitalize()}](/api/{files[floor]}.md) | {words} |"
        for floor, (words, _) in floors.items()
    ]
    toctree = "\n".join(files.values())
    pages = {
        "index": f"""# API reference

The functions of `{PACKAGE}`, floor by floor; each floor builds on those above it in this table.
To take a function along without the package, see [Snippets](/snippets.md).

| floor | rooms |
|---|---|
{chr(10).join(lines)}

```{{toctree}}
:hidden:

{toctree}
```
"""
    }
    for floor, (_, names) in floors.items():
        parts = [f"# {floor.capitalize()}"]
        parts += [room_section(rooms[name], snippets) for name in names]
        pages[files[floor]] = "\n\n".join(parts) + "\n"
    return pages


def room_section(room: Room, snippets: set[str]) -> str:
    """A room: what it is about, then its functions and classes."""
    parts = [
        f"(room-{room.name})=\n## {room.name}",
        f"```{{py:module}} {PACKAGE}.{room.name}\n```",
        docstring(room.text),
    ]
    if room.elsewhere:
        names = ", ".join(f"`{name}`" for name in sorted(room.elsewhere))
        parts.append(f"Can be imported from here, too: {names}.")
    parts += [entry(node, snippets) for node in room.public]
    return "\n\n".join(parts)


def entry(node: Definition, snippets: set[str]) -> str:
    """A function or class with its signature and docstring; a class with its methods."""
    inside = [docstring(raw_docstring(node))]
    decorators = [ast.unparse(each) for each in node.decorator_list]
    if "contextmanager" in decorators:
        inside.append("To be used with `with`.")
    if node.name in snippets:
        inside.append(f"[Copy it](#snippet-{node.name})")
    if isinstance(node, ast.ClassDef):
        kind, call = "class", f"{node.name}({class_arguments(node)})"
        inside += [method(each) for each in node.body if is_public_method(each)]
    else:
        kind, call = "function", signature(node)
    return directive(f"py:{kind}", call, "\n\n".join(inside))


def method(node: ast.FunctionDef) -> str:
    """A method or property of a class."""
    kind = "method"
    if any(ast.unparse(each) in ("property", "cached_property") for each in node.decorator_list):
        return directive("py:property", node.name, docstring(raw_docstring(node)))
    return directive(f"py:{kind}", signature(node, drop=1), docstring(raw_docstring(node)))


def is_public_method(node: ast.stmt) -> bool:
    """Whether a statement of a class is a method to be shown."""
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("_")


def directive(name: str, argument: str, content: str) -> str:
    """A directive of MyST around content that may hold others."""
    longest = max((len(run) for run in re.findall(r"`{3,}", content)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{{{name}}} {argument}\n\n{content}\n{fence}"


# --- signatures and docstrings --------------------------------------------------------------------


class Shorter(ast.NodeTransformer):
    """Default values that Sphinx cannot print are shown as three dots."""

    def visit_Lambda(self, _node: ast.Lambda) -> ast.expr:
        """Replace a function by dots."""
        return ast.Constant(...)


def signature(node: ast.FunctionDef, drop: int = 0) -> str:
    """A function's name, arguments but for the first `drop`, and what it returns."""
    arguments = Shorter().visit(node.args)
    arguments.args = arguments.args[drop:]
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(arguments)}){returned}"


def class_arguments(node: ast.ClassDef) -> str:
    """What a class is called with: the arguments of `__init__`, or the fields of a record."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return signature(each, drop=1).partition("(")[2].rpartition(")")[0]
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return ", ".join(
        ast.unparse(each.target)
        + ": "
        + ast.unparse(each.annotation)
        + (
            f" = {ast.unparse(each.value)}"
            if each.value and "field(" not in ast.unparse(each.value)
            else ""
        )
        for each in fields
    )


def raw_docstring(node: Definition) -> str:
    """A docstring with the indentation of its equations, also where nothing else stands below."""
    text = ast.get_docstring(node, clean=False) or ""
    first, _, rest = text.partition("\n")
    margin = " " * (node.col_offset + 4)
    lines = [line.removeprefix(margin).rstrip() for line in rest.splitlines()]
    return "\n".join([first.strip(), *lines]).strip()


def docstring(text: str) -> str:
    """A docstring as Markdown: what is indented, an equation or code, as a block of its own."""
    parts = []
    for block in re.split(r"\n{2,}(?=\S)|\n{2,}(?=    )", text):
        if not block.startswith("    "):
            parts.append(block.replace("<", r"\<"))
            continue
        inner = textwrap.dedent(block)
        is_code = inner.startswith(("with ", "from ", "import "))
        parts.append(fenced(inner, "python" if is_code else "text"))
    return "\n\n".join(parts)
