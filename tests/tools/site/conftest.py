"""The web site, made once for all of its tests."""

import subprocess
import sys

import pytest
from site_pages import PageReader

from tools.lessons.outputs import ROOT
from tools.site.reference import read_rooms
from tools.site.snippets import find_function, read_usages
from xai_course.snippets import snippet


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The site, made anew by the command that `make site` calls: its folder, and how that went."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed; `make test` installs it")
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "tools.site.build", "--output", str(folder)]
    return folder, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site(made):
    """The site's folder."""
    folder, result = made
    assert (folder / "index.html").exists(), result.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def pages(site):
    """Every page as read, by its place in the site."""
    return {
        path.relative_to(site).as_posix(): PageReader(path.read_text("utf-8"))
        for path in site.glob("**/*.html")
        if "_static" not in path.parts
    }


@pytest.fixture(scope="session")
def sources():
    """The source of each function of the page, in both forms, by name."""
    rooms = read_rooms()
    functions = {usage.name: find_function(usage.name, rooms) for usage in read_usages()[1]}
    return {
        checks: {name: snippet(each, checks=checks) for name, each in functions.items()}
        for checks in (True, False)
    }
