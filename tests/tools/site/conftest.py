"""The web site, made once for all of its tests."""

import json
import subprocess
import sys

import pytest
from filelock import FileLock
from site_pages import PageReader

from tools.lessons.outputs import ROOT
from tools.site.reference import read_rooms
from tools.site.snippets import find_function, read_usages
from xai_course.snippets import snippet


@pytest.fixture(scope="session")
def made(tmp_path_factory, worker_id):
    """The site, made anew by the command that `make site` calls: its folder, and how that went.

    It is made once, also where several processes run the tests: the first one makes it.
    """
    pytest.importorskip("sphinx", reason="Sphinx is not installed; `make test` installs it")
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent  # of all processes of this run
    folder, told = shared / "site", shared / "site.json"
    command = [sys.executable, "-m", "tools.site.build", "--output", str(folder)]
    with FileLock(shared / "site.lock"):
        if not told.exists():
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            told.write_text(json.dumps([run.returncode, run.stdout, run.stderr]), encoding="utf-8")
    return folder, subprocess.CompletedProcess(command, *json.loads(told.read_text("utf-8")))


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
