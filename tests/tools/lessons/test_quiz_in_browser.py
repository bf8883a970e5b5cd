"""The answers of a quiz in JupyterLab, in a real browser: folded, by link, click and keyboard.

Skipped where there is no Chromium or no Playwright.
"""

import platform
import sys

import nbformat
import pytest
from browser_server import WAIT, chromium, free_port, needs_browser, served
from nbformat.v4 import new_notebook

from tools.lessons.build import read_lessons
from tools.lessons.outputs import ROOT
from tools.lessons.parts import quiz
from tools.lessons.source import edition

pytestmark = [needs_browser, pytest.mark.end_to_end]
LESSON = read_lessons(ROOT / "lessons", ["07"])[0]


@pytest.fixture
def lab(tmp_path):
    """A page of JupyterLab with the texts of a lesson."""
    built, _ = edition(LESSON, solutions=False)
    built.metadata.language_info.version = platform.python_version()
    cells = [cell for cell in built.cells if cell.cell_type == "markdown"]
    notebook = new_notebook(cells=cells, metadata=built.metadata)
    nbformat.write(notebook, tmp_path / "quiz.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", f"--ServerApp.root_dir={tmp_path}", "--IdentityProvider.token="]
    with served(command, port, tmp_path / "log.txt"), chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/lab/tree/quiz.ipynb")
        page.locator(".jp-RenderedMarkdown details").first.wait_for(timeout=WAIT)
        page.locator(".jp-Notebook-ExecutionIndicator").first.wait_for(timeout=WAIT)
        yield page


def test_the_answers_are_folded_and_open_by_click_and_by_keyboard(lab):
    options = [option for question in quiz(LESSON) for option in question.options]
    lab.get_by_role("link", name="Hints and answers").first.click()
    folds = lab.locator(".jp-RenderedMarkdown details", has_text="Question")
    summaries = folds.locator("summary")
    assert folds.count() == len(options)
    assert [text.split()[-1] for text in summaries.all_inner_texts()] == [
        f"{option.letter})" for option in options
    ]
    summaries.nth(1).wait_for(timeout=WAIT)

    def open_ones():
        return folds.evaluate_all("all => all.map(one => one.open)")

    closed = [False] * len(options)
    assert open_ones() == closed
    summaries.nth(1).click()
    assert open_ones() == [False, True, *closed[2:]]
    assert folds.nth(1).get_by_text(options[1].reason.split()[0]).first.is_visible()
    lab.keyboard.press("Tab")  # to the next option
    assert summaries.nth(2).evaluate("one => one === document.activeElement")
    lab.keyboard.press("Enter")
    assert open_ones() == [False, True, True, *closed[3:]]
    lab.keyboard.press("Space")
    assert open_ones() == [False, True, *closed[2:]]
    assert lab.locator(".jp-Notebook.jp-mod-editMode").count() == 0


def test_a_lesson_that_was_only_opened_is_not_changed(lab):
    """JupyterLab compares the metadata with those of the kernel once it answers."""
    lab.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=WAIT)
    lab.wait_for_timeout(2000)
    assert lab.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0
