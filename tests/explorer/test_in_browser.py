"""The explorer in a real browser: in JupyterLab, and alone, as `make explorer` serves it.

Skipped where there is no Chromium or no Playwright.
"""

import shutil
import sys
from dataclasses import replace

import pytest
from browser_server import WAIT, chromium, free_port, needs_browser, served

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import species_name
from xai_course.explorer.app import START
from xai_course.explorer.controls import BACKGROUNDS, OPTIONS
from xai_course.explorer.state import run_all
from xai_course.methods import METHODS

pytestmark = [needs_browser, pytest.mark.end_to_end]
NUMBERS = ".bx-parts-view tr[data-part] td:not([aria-hidden])"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """A page of JupyterLab, 900 pixels wide, with the app in a notebook."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(ROOT / "apps" / "explorer.ipynb", folder / "app.ipynb")
    port = free_port()
    flags = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0"]
    flags += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    flags += ["--LabApp.expose_app_in_browser=True", f"--LabApp.workspaces_dir={folder}"]
    flags += [f"--LabApp.user_settings_dir={folder}"]  # not those of whoever runs the tests
    flags += ["--ServerApp.jpserver_extensions={'voila.server_extension': False}"]
    command = [sys.executable, "-m", "jupyterlab", *flags]
    address = f"http://127.0.0.1:{port}"
    with served(command, port, folder / "log.txt"):
        page = browser.new_page(viewport={"width": 900, "height": 1000})
        page.set_default_timeout(WAIT)
        page.goto(f"{address}/lab/tree/app.ipynb")
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context")
        page.evaluate(
            """async () => {
                const app = window.jupyterapp, panel = app.shell.currentWidget;
                await panel.context.ready;
                await panel.sessionContext.ready;
                await app.commands.execute('notebook:run-all-cells');
            }"""
        )
        page.wait_for_selector(NUMBERS)
        yield page


def shows(page, choice):
    """Wait until the page has the numbers that the plain function finds."""
    expected = []
    for part in run_all(choice).parts:
        for value in (part.effect, part.relevance):
            expected.append(f"{value:+.2f}".replace("-", "−") if value else "0")
    page.wait_for_function(
        """([cells, expected]) => JSON.stringify(
            [...document.querySelectorAll(cells)].map(cell => cell.textContent)) === expected""",
        arg=[NUMBERS, dumped(expected)],
    )


def dumped(texts):
    """As JavaScript's JSON.stringify writes it."""
    return "[" + ",".join(f'"{text}"' for text in texts) + "]"


def image(page, place):
    return page.locator(".bx-pictures img").nth(place).get_attribute("src")


@pytest.fixture
def fresh(lab):
    """The same page with everything as in the beginning."""
    lab.locator(".bx-network select").select_option(START.network)
    lab.locator(".bx-species select").select_option(species_name(START.species))
    lab.locator(".bx-method select").select_option(START.method)
    lab.locator(".bx-reset").click()
    shows(lab, START)
    return lab


def test_the_mouse_takes_a_part_away(fresh):
    before = image(fresh, 0)
    fresh.get_by_label("horn", exact=True).click()
    shows(fresh, replace(START, without=("horn",)))
    assert fresh.locator(".bx-pictures img").count() == 4
    assert image(fresh, 0) == before
    assert image(fresh, 2) != before
    words = fresh.locator('.bx-words-view [role="status"]').inner_text()
    assert "The horn was worth +2.81" in words
    fresh.locator(".bx-reset").click()
    shows(fresh, START)
    assert fresh.locator(".bx-pictures img").count() == 2


def test_the_keyboard_does_all_of_it(fresh):
    """Tab from the first control to the last; on the way a part goes, and the method changes."""
    fresh.locator(".bx-network select").focus()
    reached = []
    for _ in range(40):
        name = fresh.evaluate(
            """() => [...(document.activeElement.closest('[class*="bx-"]')?.classList ?? [])]
                .find(name => name.startsWith('bx-')) ?? ''"""
        )
        reached.append(name)
        if name == "bx-has-antennae":
            fresh.keyboard.press("Space")
        if name == "bx-background":
            fresh.keyboard.press("ArrowDown")  # which JupyterLab would take to the next cell
        if name == "bx-pixel_noise":
            fresh.keyboard.press("ArrowUp")
        if name == "bx-method":
            fresh.keyboard.type("LRP")  # where R would make the cell raw
            fresh.locator(".bx-rule").wait_for(state="visible")
        if name == "bx-target":
            break
        fresh.keyboard.press("Tab")
    parts = [f"bx-has-{part}" for part in ("elytra", "head", "horn", "antennae", "legs")]
    for name in [
        "bx-species",
        "bx-seed",
        *parts,
        "bx-label",
        "bx-background",
        "bx-reset",
        "bx-rule",
    ]:
        assert name in reached
    assert reached[-1] == "bx-target"
    changed = replace(
        START, without=("antennae",), pixel_noise=0.02, background=BACKGROUNDS["leaf"]
    )
    shows(fresh, replace(changed, method="LRP"))


def test_a_slow_method_shows_that_it_runs_and_gives_way(fresh):
    fresh.locator(".bx-network select").select_option("article's network")
    fresh.locator(".bx-seed input").fill("4321")
    fresh.locator(".bx-seed input").press("Enter")
    fresh.locator(".bx-method select").select_option("occlusion")
    fresh.wait_for_function(
        "getComputedStyle(document.querySelector('.bx-progress')).visibility === 'visible'"
    )
    fresh.get_by_text("the map is being made").wait_for()
    fresh.locator(".bx-method select").select_option("gradient")
    shows(fresh, replace(START, network="article's network", seed=4321, method="gradient"))
    fresh.wait_for_function(
        "getComputedStyle(document.querySelector('.bx-progress')).visibility === 'hidden'"
    )
    fresh.locator(".bx-seed input").fill(str(START.seed))
    fresh.locator(".bx-seed input").press("Enter")


def test_an_error_is_a_sentence_on_the_page(fresh):
    fresh.locator(".bx-method select").select_option("DeconvNet")
    fresh.locator(".bx-network select").select_option("article's network")
    alert = fresh.get_by_role("alert").filter(has_text="no ReLU that can be seen")
    alert.wait_for()
    assert fresh.locator(".jp-OutputArea-output", has_text="Traceback").count() == 0
    fresh.locator(".bx-method select").select_option("gradient")
    shows(fresh, replace(START, network="article's network", method="gradient"))
    assert alert.count() == 0


def test_only_the_options_of_the_method_are_on_the_page(fresh):
    for method in ("SmoothGrad", "occlusion", "gradient"):
        fresh.locator(".bx-method select").select_option(method)
        for name in OPTIONS:
            state = "visible" if name in METHODS[method].options else "hidden"
            fresh.locator(f".bx-{name}").wait_for(state=state)


def test_nothing_is_cut_off_at_900_pixels(fresh):
    fresh.get_by_label("horn", exact=True).click()
    shows(fresh, replace(START, without=("horn",)))
    too_wide = fresh.evaluate(
        """() => {
            const app = document.querySelector('.beetle-explorer');
            const right = app.closest('.jp-WindowedPanel-outer, .jp-Notebook')
                .getBoundingClientRect().right;
            return [...app.querySelectorAll('*')]
                .filter(e => e.getBoundingClientRect().right > right + 1
                    || e.matches('th, td, dd, label') && e.scrollWidth > e.clientWidth + 1)
                .map(e => e.outerHTML.slice(0, 100));
        }"""
    )
    assert too_wide == []


def test_a_screen_reader_finds_its_way(fresh):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    fresh.locator(".bx-method select").select_option("SmoothGrad")
    fresh.locator(".bx-samples").wait_for(state="visible")
    found = axe.Axe().run(
        fresh,
        context={"include": [[".beetle-explorer"]]},
        # A trait's menu stands beside the part's name, and has its own name as a title.
        options={"rules": {"label-title-only": {"enabled": False}}},
    )
    problems = [
        (rule["id"], [node["html"] for node in rule["nodes"]])
        for rule in found.response["violations"]
        if rule["id"] != "region"  # landmarks are the page's affair
    ]
    assert problems == []


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_explorer_serves_the_app_alone(browser, tmp_path):
    pytest.importorskip("voila", reason="Voila is not installed")
    port = free_port()
    command = ["make", "-o", f"{sys.prefix}/.app-ready", f"VENV={sys.prefix}", "explorer"]
    command += [f"PORT={port}", "EXPLORER_FLAGS=--no-browser"]
    address = f"http://localhost:{port}/"
    elsewhere = []
    with served(command, port, tmp_path / "log.txt"):
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.on("response", lambda r: elsewhere.append(r.url) if address not in r.url else None)
        page.goto(address)
        page.wait_for_selector(NUMBERS)
        page.get_by_label("horn", exact=True).click()
        shows(page, replace(START, without=("horn",)))
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
