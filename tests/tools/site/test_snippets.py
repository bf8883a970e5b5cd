"""The page of snippets: every function in both forms, with a usage."""

import importlib
import inspect
import re
from html import unescape

import pytest

from tools.site.reference import read_rooms
from tools.site.snippets import read_usages

BEFORE, USAGES = read_usages()
ROOMS = read_rooms()
pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("site")]


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_a_snippet_is_shown_as_it_was_run(snippets, sources, usage):
    assert usage.name in usage.code, "a usage uses its function"
    assert usage.code.strip() in snippets
    for checks, title in ((False, "the method alone"), (True, "for a project")):
        source = sources[checks][usage.name]
        assert source.strip() in snippets
        assert re.search(f"{usage.name},? {title}.*: {len(source.splitlines())} lines", snippets)


@pytest.fixture(scope="module")
def snippets(site):
    """The text of the page of snippets, code as it can be copied."""
    return unescape(re.sub(r"<[^>]+>", "", (site / "snippets.html").read_text("utf-8")))


def test_every_function_that_a_reader_would_copy_is_there():
    names = {usage.name for usage in USAGES}
    assert len(names) == len(USAGES)
    for room in ("relu", "fully_connected", "residual", "metrics", "robustness"):
        module = importlib.import_module(f"xai_course.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and "scenes" not in inspect.signature(value).parameters:
                assert name in names, f"{name} has no usage in docs/usages.py"
