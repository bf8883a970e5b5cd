"""What public docstrings promise: their sections, and an example that runs as it is shown."""

import doctest
import importlib
import inspect

import pytest
import torch

from tools.lessons.outputs import ROOT

PACKAGE = ROOT / "xai_course"
FILES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py", "template.py")
)
# Every public function of these rooms has an example.
TO_COPY = ("relu", "fully_connected", "residual", "metrics", "robustness", "beetlebox")


def public_functions():
    """The functions that the rooms to copy from hand out: (name, function)."""
    for room in TO_COPY:
        face = importlib.import_module(f"xai_course.{room}")
        for name in face.__all__:
            if inspect.isfunction(getattr(face, name)):
                yield pytest.param(getattr(face, name), id=f"{room}.{name}")


@pytest.mark.parametrize("name", FILES)
def test_examples_run_as_shown(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    report = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        with torch.random.fork_rng(devices=[]):
            runner.run(example, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


@pytest.mark.parametrize("function", public_functions())
def test_a_public_function_has_sections_and_an_example(function):
    text = inspect.getdoc(function) or ""
    sections = [line[:-1] for line in text.splitlines() if line.endswith(":") and line[:1].strip()]
    order = ("Args", "Returns", "Yields", "Raises", "Cost", "References", "Example")
    present = [section for section in order if section in sections]
    assert [s for s in sections if s in order] == present, f"sections in another order: {sections}"
    assert {"Args", "Raises", "Example"} <= set(present), present
    assert {"Returns", "Yields"} & set(present), present
    example = text.partition("Example:")[2]
    assert function.__name__ in example, "the example does not call the function"
    assert ">>>" in example
    for argument in inspect.signature(function).parameters:
        args = text.partition("Args:")[2].partition("Returns:")[0]
        assert f"{argument.lstrip('*')}:" in args or f"{argument}," in args, argument
