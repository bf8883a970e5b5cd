"""Makes the pages of the reference: one page a room, with every public function of its files.

The package is read, not imported, so no library has to be loaded and nothing runs. What is public
in a room is what its `__init__` hands out; what a room is for is the docstring of its `__init__`.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.lessons.outputs import ROOT
from tools.site.text import fenced

PACKAGE = "xai_course"
SECTIONS = "Args|Returns|Yields|Raises|Attributes|Cost|References|Example"
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class File:
    """A file of a room: its name, its docstring, and its public functions and classes."""

    name: str
    text: str
    public: list[Definition]


@dataclass(frozen=True)
class Room:
    """A folder of the package, or a file that stands alone, which is its own only file."""

    name: str
    text: str
    files: list[File]

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.text.partition("\n")[0]

    @property
    def public(self) -> list[Definition]:
        """The public functions and classes of all its files."""
        return [node for file in self.files for node in file.public]


def read_rooms(root: Path = ROOT) -> dict[str, Room]:
    """All rooms, by name, in the order in which the docstring of the package names them."""
    package = root / PACKAGE
    rooms = {}
    for path in package.iterdir():
        if (path / "__init__.py").is_file():
            rooms[path.name] = read_room(path)
        elif path.suffix == ".py" and not path.stem.startswith("__"):
            file = read_file(path, public_names(path))
            rooms[path.stem] = Room(path.stem, file.text, [file])
    text = read_docstring(package / "__init__.py")
    named = [name for name in re.findall(r"`(\w+)`", text) if name in rooms]
    order = [*named, *sorted(rooms.keys() - set(named))]
    return {name: rooms[name] for name in order}


def read_room(folder: Path) -> Room:
    """A folder, with what its face hands out of each file."""
    names: dict[str, set[str]] = {}
    for module, name in handed_out(folder):
        names.setdefault(module, set()).add(name)
    files = [read_file(folder / f"{module}.py", names[module]) for module in sorted(names)]
    return Room(folder.name, read_docstring(folder / "__init__.py"), files)


def handed_out(folder: Path) -> Iterator[tuple[str, str]]:
    """The names that a room's face imports, each after its file: ("gates", "dead_relus").

    A face that loads lazily keeps its imports in `__init__.pyi`. What it takes from another room is
    shown there.
    """
    stub = folder / "__init__.pyi"
    tree = ast.parse((stub if stub.exists() else folder / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            room, _, file = node.module.rpartition(".")
            if node.level == 1 or room == f"{PACKAGE}.{folder.name}":
                yield from ((file, alias.name) for alias in node.names)


def read_file(path: Path, names: set[str]) -> File:
    """A file with those of its functions and classes that have these names."""
    tree = ast.parse(path.read_text("utf-8"))
    public = [node for node in tree.body if isinstance(node, Definition) and node.name in names]
    return File(path.stem, ast.get_docstring(tree) or "", public)


def public_names(path: Path) -> set[str]:
    """The names in the `__all__` of a file."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise ValueError(f"{path}: a file that stands alone lists its public names in __all__")


def read_docstring(path: Path) -> str:
    """The docstring of a file."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


# --- pages ----------------------------------------------------------------------------------------


def reference_pages(
    rooms: dict[str, Room], snippets: set[str], root: Path = ROOT
) -> dict[str, str]:
    """The pages of the reference, by file name: an index, and one page a room.

    `snippets`: the functions that the page of snippets has.
    """
    lines = [
        f"| [{room.name}](/api/{room.name}.md) | {room.summary} | {file_names(room)} |"
        for room in rooms.values()
    ]
    toctree = "\n".join(rooms)
    index = f"""# API reference

{docstring(read_docstring(root / PACKAGE / "__init__.py"))}

To take a function along without the package, see [Snippets](/snippets.md).

| room | what is in it | its files |
|---|---|---|
{chr(10).join(lines)}

```{{toctree}}
:hidden:

{toctree}
```
"""
    return {"index": index} | {name: room_page(room, snippets) for name, room in rooms.items()}


def file_names(room: Room) -> str:
    """The files of a folder, each with a link to its part of the room's page."""
    if alone(room):
        return ""
    return ", ".join(f"[{file.name}](#file-{room.name}-{file.name})" for file in room.files)


def alone(room: Room) -> bool:
    """Whether a room is a file and no folder."""
    return [file.name for file in room.files] == [room.name]


def room_page(room: Room, snippets: set[str]) -> str:
    """A room: what it is about, then its files with their functions and classes."""
    parts = [
        f"(room-{room.name})=\n# {room.name}",
        f"```{{py:module}} {PACKAGE}.{room.name}\n```",
        docstring(room.text),
    ]
    if not alone(room):
        parts.append(f"Import from the room: `from {PACKAGE}.{room.name} import …`.")
    for file in room.files:
        if not alone(room):
            parts.append(f"(file-{room.name}-{file.name})=\n## {file.name}")
            parts.append(docstring(file.text))
        parts += [entry(node, snippets) for node in file.public]
    return "\n\n".join(parts) + "\n"


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
    """A docstring as Markdown: its sections with headings, its equations and examples as blocks."""
    opening, *rest = re.split(rf"^({SECTIONS}):\n", text, flags=re.MULTILINE)
    parts = [paragraphs(opening)]
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        parts.append(f"**{name}**")
        inner = textwrap.dedent(body).strip()
        if name == "Example":
            parts.append(example(inner))
        elif name in ("Args", "Raises", "Attributes"):
            parts.append(entries(inner))
        else:
            parts.append(paragraphs(inner))
    return "\n\n".join(parts)


def entries(text: str) -> str:
    """Entries such as `images: (N, C, H, W).` as a list; a line that is indented goes on."""
    items = re.split(r"\n(?=\S)", text)
    lines = []
    for item in items:
        name, _, words = item.partition(":")
        lines.append(f"- `{name.strip()}`: {escaped(' '.join(words.split()))}")
    return "\n".join(lines)


def example(text: str) -> str:
    """An example as a session of Python; words before or between are text."""
    parts = re.split(r"\n{2,}", text)
    return "\n\n".join(
        fenced(part, "pycon") if part.startswith(">>>") else paragraphs(part) for part in parts
    )


def paragraphs(text: str) -> str:
    """Text as Markdown: what is indented, an equation or code, as a block of its own."""
    parts = []
    for block in re.split(r"\n{2,}(?=\S)|\n{2,}(?=    )", text.strip("\n")):
        if not block.startswith("    "):
            parts.append(escaped(block))
            continue
        inner = textwrap.dedent(block)
        is_code = inner.startswith(("with ", "from ", "import "))
        parts.append(fenced(inner, "python" if is_code else "text"))
    return "\n\n".join(parts)


def escaped(text: str) -> str:
    """Text in which nothing is taken for a tag of HTML."""
    return text.replace("<", r"\<")
