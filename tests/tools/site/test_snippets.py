"""The page of snippets: each usage runs as it is shown, with the snippet alone."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tools.site.reference import read_rooms
from tools.site.snippets import find_function, read_usages
from xai_course.snippets import snippet

BEFORE, USAGES = read_usages()
ROOMS = read_rooms()
pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What went wrong with each usage, all run in one process that has the snippets alone."""
    folder = tmp_path_factory.mktemp("usages")
    functions = [find_function(usage.name, ROOMS) for usage in USAGES]
    case = {
        "before": BEFORE,
        "usages": [
            {"name": usage.name, "code": usage.code, "snippet": snippet(function)}
            for usage, function in zip(USAGES, functions, strict=True)
        ],
    }
    (folder / "usages.json").write_text(json.dumps(case), encoding="utf-8")
    script = Path(__file__).with_name("run_usages.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return json.loads((folder / "found.json").read_text("utf-8"))


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_a_usage_runs_as_it_is_shown_with_the_snippet_alone(ran, usage):
    assert usage.name in usage.code, "a usage uses its function"
    assert usage.name not in ran, ran.get(usage.name)


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_a_snippet_is_shown_as_it_was_run(snippets, usage):
    shown = snippet(find_function(usage.name, ROOMS))
    assert usage.code.strip() in snippets
    assert shown.strip() in snippets
    assert f"Source of {usage.name}: {len(shown.splitlines())} lines" in snippets


@pytest.fixture(scope="module")
def snippets(site):
    """The text of the page of snippets, code as it can be copied."""
    return unescape(re.sub(r"<[^>]+>", "", (site / "snippets.html").read_text("utf-8")))


def test_every_function_that_a_reader_would_copy_is_there():
    names = {usage.name for usage in USAGES}
    assert len(names) == len(USAGES)
    for room in ("relu", "fully_connected", "residual", "metrics"):
        module = importlib.import_module(f"xai_course.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and "scenes" not in inspect.signature(value).parameters:
                assert name in names, f"{name} has no usage in docs/usages.py"
