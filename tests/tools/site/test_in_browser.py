"""The web site in a real browser.

Skipped where there is no Chromium or no Playwright.
"""

import re

import nbformat
import pytest
from browser_server import chromium, needs_browser
from site_pages import CHINESE, NOTEBOOKS

pytestmark = [needs_browser, pytest.mark.end_to_end, pytest.mark.xdist_group("site")]

LESSON = f"lessons/{NOTEBOOKS[0].stem}.html"
LOOKED_AT = ["index.html", LESSON, "api/relu.html", "snippets.html", "glossary.html"]
LOOKED_AT += [f"zh/lessons/{path.stem}.html" for path in CHINESE[:1]]
WIDE, PHONE = 1280, 390


@pytest.fixture(scope="module")
def browser():
    """Chromium, as the system has it."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser, site):
    """Open a page from the disk, with a width and a colour scheme; no network is asked for."""
    open_ = []

    def opened(page, width=WIDE, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        context.set_default_timeout(300_000)  # a busy machine is no fault
        open_.append(context)
        tab = context.new_page()
        tab.asked = []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto(f"{site.as_uri()}/{page}")
        tab.wait_for_load_state("load")
        return tab

    yield opened
    for context in open_:
        context.close()


def test_equations_are_drawn(visit):
    tab = visit(LESSON)
    tab.wait_for_selector("mjx-container svg")
    tab.evaluate("MathJax.startup.promise")
    assert tab.locator("mjx-container[display] svg").count() >= 1
    assert tab.locator("mjx-container svg").first.bounding_box()["width"] > 3
    assert tab.locator("mjx-merror").count() == 0
    assert not re.search(r"\\\[|\\\(|\\frac|\\sum", tab.inner_text("article"))
    assert tab.locator("mjx-assistive-mml").count() >= 1, "for screen readers"
    assert all(url.startswith("file:") for url in tab.asked)


def searched(visit, words, page="index.html"):
    """The addresses that the search finds."""
    tab = visit(page)
    tab.locator("button.search-button-field").first.click()
    field = tab.locator("dialog input[type=search]")
    field.fill(words)
    field.press("Enter")
    tab.wait_for_selector("ul.search li a")
    tab.wait_for_function("Search._pulse_status < 0")  # all results are shown
    return tab.locator("ul.search li a").evaluate_all("all => all.map(a => a.href)")


def test_the_search_finds_grad_cam(visit):
    found = searched(visit, "Grad-CAM")
    assert any("lessons/00_start_here.html" in link for link in found)
    assert any("glossary.html" in link for link in found)


@pytest.mark.parametrize(
    "words", ["gradcam", "GradCAM", "SHAP", "梯度", "显著图", "对抗样本", "激活"]
)
def test_the_search_finds_words_of_the_glossary_as_people_type_them(visit, words):
    """The first link leads to the word's entry, not to the top of the page."""
    assert "glossary.html#" in searched(visit, words)[0]


# --- Chinese pages: those that there are ----------------------------------------------------------

needs_chinese = pytest.mark.skipif(not CHINESE, reason="no lesson is published in Chinese")


@needs_chinese
@pytest.mark.parametrize("words", ["归因", "全连接层", "显著图", "gradcam"])
def test_the_search_of_chinese_pages_finds_words_of_the_glossary(visit, words):
    assert "zh/glossary.html#" in searched(visit, words, "zh/index.html")[0]


@needs_chinese
def test_the_search_of_chinese_pages_finds_words_that_no_list_knows(visit):
    """Words within the title of a lesson, which are cut out of it by their place."""
    text = re.search("[\u4e00-\u9fff]{4,}", nbformat.read(CHINESE[0], 4).cells[0].source)[0]
    found = searched(visit, text[1:4], "zh/index.html")
    assert any(f"zh/lessons/{CHINESE[0].stem}.html" in link for link in found)


@needs_chinese
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_switch_of_the_language_keeps_the_page_and_the_place(visit, width):
    page = f"lessons/{CHINESE[0].stem}.html"
    tab = visit(f"{page}#exercises", width)
    tab.evaluate("window.MathJax?.startup?.promise")
    for name, folder in (("中文", "zh/lessons"), ("English", "site/lessons")):
        tab.get_by_role("link", name=name, exact=True).click()
        tab.wait_for_url(f"**/{folder}/{CHINESE[0].stem}.html#exercises")
        heading = tab.locator("#exercises > h2")
        assert 0 <= heading.bounding_box()["y"] < 900


@needs_chinese
def test_the_switch_keeps_the_section_that_was_scrolled_to(visit):
    tab = visit(f"zh/lessons/{CHINESE[0].stem}.html")
    tab.evaluate("window.MathJax?.startup?.promise")
    tab.locator("#predict > h2").evaluate("h => h.scrollIntoView()")
    box = tab.get_by_role("link", name="English", exact=True).bounding_box()
    tab.mouse.click(box["x"] + 9, box["y"] + 9)  # Playwright's own click would scroll
    tab.wait_for_url(f"**/site/lessons/{CHINESE[0].stem}.html#predict")


@pytest.mark.parametrize(("width", "name"), [(1400, "hero.png"), (PHONE, "hero_phone.png")])
def test_the_first_picture_is_seen_at_once_and_can_be_read(visit, width, name):
    """Also on a phone, where the wide picture would have letters of five pixels."""
    (picture,) = (
        p for p in visit("index.html", width).locator("article img").all()[:2] if p.is_visible()
    )
    assert picture.get_attribute("src").endswith(name)
    box = picture.bounding_box()
    assert box["y"] + box["height"] <= 900
    natural = picture.evaluate("p => p.naturalWidth")
    letters = {"hero.png": 100, "hero_phone.png": 160}[name] * 10 / 72  # of 10 points
    assert letters * box["width"] / natural >= 9


@pytest.mark.parametrize(("width", "columns"), [(WIDE, 2), (PHONE, 1)])
def test_the_four_cards_stand_two_by_two(visit, width, columns):
    boxes = [
        card.bounding_box() for card in visit("index.html", width).locator(".readers li").all()
    ]
    assert len(boxes) == 4
    assert len({round(box["x"]) for box in boxes}) == columns
    assert len({round(box["y"]) for box in boxes}) == 4 / columns


def test_a_wide_table_scrolls_in_its_own_box_on_a_phone(visit):
    tab = visit("networks.html", PHONE)
    box = tab.locator("article table").first.locator("xpath=..")
    assert box.evaluate("b => b.scrollWidth > b.clientWidth && getComputedStyle(b).overflowX") in (
        "auto",
        "scroll",
    )
    hint = tab.locator("article .scroll-hint")
    assert hint.count() == 1
    assert hint.is_visible()
    assert box.get_attribute("tabindex") == "0", "for the keyboard"


def test_a_table_that_fits_has_no_hint(visit):
    tab = visit("lessons/index.html", WIDE)
    tab.wait_for_selector("article table")
    assert tab.locator("article .scroll-hint").count() == 0


def test_a_picture_has_no_frame_in_the_dark(visit):
    picture = visit(LESSON, scheme="dark").locator(".cell_output img").first
    assert picture.evaluate("p => getComputedStyle(p).padding") == "0px"


def test_text_is_legible_on_a_phone(visit):
    tab = visit(LESSON, PHONE)
    for place, least in (("article p", 15), ("article td", 13), (".cell_input pre", 12)):
        size = tab.locator(place).first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
        assert size >= least, f"{place}: {size} pixels"


def test_light_and_dark(visit):
    grounds = {}
    for scheme in ("light", "dark"):
        tab = visit("index.html", scheme=scheme)
        ground = "getComputedStyle(document.body).backgroundColor"
        grounds[scheme] = tab.evaluate(ground)
        seen = set()
        for mode in ("light", "dark"):
            tab.locator("button.theme-switch-button").first.click()
            tab.locator(f"button.theme-change-button[data-mode={mode}]").first.click()
            seen.add(tab.evaluate(ground))
        assert len(seen) == 2, "the switch changes the page"
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("width", [pytest.param(WIDE, marks=pytest.mark.heavy), PHONE])
def test_no_page_is_wider_than_the_screen(visit, pages, width):
    tab = visit("index.html", width)
    for page in sorted(pages):
        tab.goto(re.sub(r"index\.html$", page, tab.asked[0]))
        tab.evaluate("window.MathJax?.startup?.promise")
        over = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert over <= 0, f"{page} is {over} pixels too wide"


def test_what_is_folded_unfolds(visit):
    tab = visit(LESSON)
    solution = tab.locator("details", has_text="A solution").first
    code = solution.locator("pre").first
    assert not code.is_visible()
    solution.locator("summary").click()
    assert code.is_visible()


def test_the_code_can_be_hidden(visit):
    tab = visit(LESSON)
    code, picture = tab.locator(".cell_input").first, tab.locator(".cell_output img").first
    assert code.is_visible()
    tab.get_by_role("button", name="Hide the code").click()
    assert not code.is_visible()
    assert picture.is_visible()
    tab.get_by_role("button", name="Show the code").click()
    assert code.is_visible()


@pytest.mark.parametrize(
    ("scheme", "width"),
    [pytest.param("light", WIDE, marks=pytest.mark.heavy), ("dark", PHONE)],
)
def test_pages_can_be_used_by_all(visit, scheme, width):
    """No violation of the rules of axe, with none of them left out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for page in LOOKED_AT:
        tab = visit(page, width, scheme)
        tab.evaluate("window.MathJax?.startup?.promise")
        tab.wait_for_timeout(200)  # for what site.js does after it
        violations = axe.run(tab).response["violations"]
        told = [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in violations]
        assert not told, page
