"""The reference: every public function in its room, with its docstring in sections."""

import ast
import importlib
import inspect
import re

import pytest
from site_pages import letters

from tools.lessons.outputs import ROOT
from tools.site.reference import docstring, raw_docstring, read_rooms

pytestmark = pytest.mark.xdist_group("site")
ROOMS = read_rooms()


def test_the_rooms_are_those_of_the_package():
    folders = {path.parent.name for path in (ROOT / "xai_course").glob("*/__init__.py")}
    files = {path.stem for path in (ROOT / "xai_course").glob("[a-z]*.py")}
    assert folders | files == ROOMS.keys()
    assert next(iter(ROOMS)) == "relu", "the order of the package's docstring"


@pytest.mark.end_to_end
@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_its_place(pages, room):
    module = importlib.import_module(f"xai_course.{room}")
    page = pages[f"api/{room}.html"]
    for name in module.__all__:
        value = getattr(module, name)
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if not value.__module__.startswith(module.__name__):  # it has its place in its own room
            continue
        assert f"xai_course.{room}.{name}" in page.ids
        first = (inspect.getdoc(value) or "").splitlines()[0]
        assert letters(first) in page.letters
    for file in ROOMS[room].files:
        assert (
            len(ROOMS[room].files) == 1 or f"file-{room}-{file.name}".replace("_", "-") in page.ids
        )


@pytest.mark.end_to_end
def test_equations_stand_on_their_own_lines(site):
    text = (site / "api/relu.html").read_text("utf-8")
    blocks = [re.sub(r"<[^>]+>", "", block) for block in re.findall(r"<pre>.*?</pre>", text, re.S)]
    assert any(block.lstrip().startswith("relevance = ∂") for block in blocks)


def test_a_docstring_keeps_its_equations():
    source = (
        'def f():\n    """Return x.\n\n        x = Σ y\n        y = 2\n\n    In logits.\n    """\n'
    )
    text = raw_docstring(ast.parse(source).body[0])
    assert docstring(text) == "Return x.\n\n```text\nx = Σ y\ny = 2\n```\n\nIn logits."
    only = 'class A:\n    """An A.\n\n        x = y\n    """\n'
    assert "```text\nx = y\n```" in docstring(raw_docstring(ast.parse(only).body[0]))


SECTIONS = """Return the square.

    y = x²

Args:
    x: a number, < 10; a long line
        goes on.
    options: more.

Returns:
    The square, in m².

Raises:
    ValueError: if x is not a number.

Cost:
    One product.

References:
    Somebody: On squares. arXiv:1312.6034.

Example:
    >>> for x in (1, 2):
    ...     square(x)
    1
    4
"""


def test_the_sections_of_a_docstring_have_headings_and_the_example_is_a_session():
    assert (
        docstring(SECTIONS)
        == """\
Return the square.

```text
y = x²
```

**Args**

- `x`: a number, \\< 10; a long line goes on.
- `options`: more.

**Returns**

The square, in m².

**Raises**

- `ValueError`: if x is not a number.

**Cost**

One product.

**References**

Somebody: On squares. arXiv:1312.6034.

**Example**

```pycon
>>> for x in (1, 2):
...     square(x)
1
4
```"""
    )
