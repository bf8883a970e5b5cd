"""The web site: made once, read page by page, and looked at in a browser."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from functools import cached_property
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from test_house import FLOORS, ROOMS

from tools.lessons.outputs import ROOT
from tools.lessons.source import tags_of
from tools.site.lesson_pages import cut_after_hint, with_folded_solutions
from tools.site.reference import docstring, raw_docstring, read_floors, read_rooms
from tools.site.snippets import find_function, read_usages
from tools.site.text import fenced, read_terms, with_site_links
from xai_course.snippets import snippet

pytest.importorskip("sphinx", reason="Sphinx makes the site: install the extra `site`")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
BEFORE, USAGES = read_usages()
PUBLIC_ROOMS = read_rooms()
TERMS = read_terms()
AWAY = re.compile(r"[a-z]+:")  # an address with a scheme


class PageReader(HTMLParser):
    """What a page holds: links, anchors, what it loads, pictures, and its text."""

    NEVER_CLOSED = frozenset({"img", "input", "link", "meta", "br", "hr", "source", "path"})
    CODE = frozenset({"pre", "code", "script", "style"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loads, self.pictures = [], set(), [], []
        self.words, self.everything, self.summaries, self.folded = [], [], [], 0
        self.language, self.open = None, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.ids |= {known[name] for name in ("id", "name") if known.get(name)}
        if tag == "html":
            self.language = known.get("lang")
        if tag == "a" and known.get("href"):
            self.links.append(known["href"])
        if tag in ("script", "img", "iframe", "source") and known.get("src"):
            self.loads.append(known["src"])
        if tag == "link" and known.get("rel") not in ("index", "search", "next", "prev"):
            self.loads.append(known["href"])
        if tag == "img":
            self.pictures.append((known.get("src"), known.get("alt")))
        self.folded += tag == "details"
        if tag not in self.NEVER_CLOSED:
            signature = tag == "dt" and "sig" in known.get("class", "")
            self.open.append((tag, signature or tag in self.CODE))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        self.everything.append(data)
        if ("summary", False) in self.open:
            self.summaries.append(data.strip())
        if not any(is_code for _, is_code in self.open):
            self.words.append(data)

    @cached_property
    def text(self):
        """What stands outside code."""
        return " ".join("".join(self.words).split())

    @cached_property
    def letters(self):
        """All of the text, code too, as letters and digits: however quotes and code are set."""
        return letters("".join(self.everything))


def letters(text):
    return re.sub(r"[\W_]+", "", text)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The site, made anew by the command that `make site` calls: its folder, and how that went."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "tools.site.build", "--output", str(folder)]
    return folder, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(made):
    """The site's folder."""
    folder, result = made
    assert (folder / "index.html").exists(), result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page as read, by its place in the site."""
    return {
        path.relative_to(site).as_posix(): PageReader(path.read_text("utf-8"))
        for path in site.glob("**/*.html")
        if "_static" not in path.parts
    }


def address(page, link):
    """The page and the anchor that a link on a page leads to."""
    parts = urlsplit(link)
    place = Path(page).parent / unquote(parts.path) if parts.path else Path(page)
    whole = Path("/") / place  # so that .. ends at the site
    resolved = whole.resolve().relative_to(Path("/").resolve()).as_posix()
    return resolved, unquote(parts.fragment)


# --- pages ----------------------------------------------------------------------------------------


def test_the_site_is_made_without_a_warning(made):
    _, result = made
    assert result.returncode == 0, f"a warning fails, too:\n{result.stderr[-4000:]}"
    assert "The site is ready" in result.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_lesson_has_a_page_with_its_number_in_the_navigation(site, pages, notebook):
    page = f"lessons/{notebook.stem}.html"
    title = nbformat.read(notebook, 4).cells[0].source.splitlines()[0].removeprefix("# ")
    for text in (pages["index.html"].text, pages[page].text):
        assert f"{notebook.stem[:2]} {title}" in text
    assert page in {address("index.html", link)[0] for link in pages["index.html"].links}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_and_hints_are_folded(pages, notebook):
    page = pages[f"lessons/{notebook.stem}.html"]
    cells = nbformat.read(notebook, 4).cells
    exercises = sum("exercise" in tags_of(cell) for cell in cells)
    solved = notebook.parent / "solutions" / notebook.name
    if solved.exists():
        assert page.summaries.count("A solution") >= exercises > 0
    for cell in cells:
        for words in re.findall(r"<summary>(.*?)</summary>", cell.source):
            assert plain(words) in " ".join(page.summaries), words
    assert page.folded >= exercises + sum(cell.source.count("<details>") for cell in cells)


def plain(text):
    """Text without the marks of HTML and Markdown, up to the first of them."""
    return re.split(r"[<*`$&]", text)[0].strip()


@pytest.mark.parametrize("reader", ["lessons/index", "teaching", "snippets", "verdicts"])
def test_the_start_page_leads_each_reader_to_their_page_in_one_click(site, pages, reader):
    text = (site / "index.html").read_text("utf-8")
    cards = text.partition('class="readers')[2].partition("</ul>")[0]
    assert f'href="{reader}.html"' in cards
    assert len(pages[f"{reader}.html"].text) > 500


def test_the_teaching_guide_is_there_with_links_to_sections_of_lessons(pages):
    text = (ROOT / "TEACHING.md").read_text("utf-8")
    for heading in re.findall(r"^#+ .+", text, re.MULTILINE):
        assert letters(heading) in pages["teaching.html"].letters
    named = set(re.findall(r"notebooks/(\d\w+)\.ipynb#", text)) & {n.stem for n in NOTEBOOKS}
    links = pages["teaching.html"].links
    for name in named:
        assert any(link.startswith(f"lessons/{name}.html#") for link in links), name


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_for_policy_makers_has_every_verdict(pages, notebook):
    cells = nbformat.read(notebook, 4).cells
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    verdicts = re.findall(r"^## .*Verdict$(.*?)(?=^## )", texts, re.MULTILINE | re.DOTALL)
    assert verdicts or notebook.stem[:2] in ("00", "01")
    for verdict in verdicts:
        words = re.findall(r"\b[a-z]{4,}(?: [a-z]+){3,}", verdict)
        assert words
        assert all(part in pages["verdicts.html"].text for part in words)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.term)
def test_every_word_of_the_glossary_is_explained_and_used(pages, term):
    assert re.search("[\u4e00-\u9fff]", term.chinese)
    entry = letters(term.term + term.chinese + term.text)
    assert entry in pages["glossary.html"].letters
    assert term.text.count(". ") == 0, "one sentence"
    assert term.text.endswith(".")
    for page in [name for name in pages if name.startswith(f"lessons/{term.lesson}_")]:
        used = pages[page].text.lower()
        assert any(word.lower() in used for word in (term.term, *term.also)), page


def test_the_glossary_is_linked_at_the_first_mention_alone(site, pages):
    for notebook in NOTEBOOKS:
        page = f"lessons/{notebook.stem}.html"
        words = [link for link in pages[page].links if "glossary.html#term-" in link]
        assert len(words) == len(set(words)) >= 10, page
    text = (site / "lessons/00_start_here.html").read_text("utf-8")
    linked = re.search(r'<a class="word[^>]*href="\.\./glossary\.html#term-logit"', text)
    assert linked is not None
    assert "logit" not in re.sub(r"<[^>]+>", "", text[text.index("<article") : linked.start()])


def test_the_floors_are_those_of_the_house():
    floors = {floor: set(names) for floor, (_, names) in read_floors(PUBLIC_ROOMS).items()}
    assert floors == {floor: rooms & set(ROOMS) for floor, rooms in FLOORS.items()}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_its_place(pages, room):
    module = importlib.import_module(f"xai_course.{room}")
    floor = next(floor for floor, rooms in FLOORS.items() if room in rooms)
    page = pages[f"api/{floor.replace(' ', '_')}.html"]
    public = getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"])
    for name in public:
        value = getattr(module, name)
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if value.__module__ != module.__name__:  # it has its place in its own room
            continue
        assert f"xai_course.{room}.{name}" in page.ids
        first = (inspect.getdoc(value) or "").splitlines()[0]
        assert letters(first) in page.letters


def test_equations_stand_on_their_own_lines(site):
    text = (site / "api/techniques.html").read_text("utf-8")
    blocks = [re.sub(r"<[^>]+>", "", block) for block in re.findall(r"<pre>.*?</pre>", text, re.S)]
    assert "relevance = ∂ logit[target] / ∂ images\n" in [block.lstrip() for block in blocks]


# --- links ----------------------------------------------------------------------------------------


def test_every_link_within_the_site_leads_somewhere(site, pages):
    broken = []
    for page, found in pages.items():
        for link in found.links:
            if AWAY.match(link):
                continue
            place, anchor = address(page, link)
            if place not in pages and not (site / place).is_file():
                broken.append(f"{page}: {link}")
            elif anchor and place in pages and anchor not in pages[place].ids:
                broken.append(f"{page}: {link} (no such anchor)")
    assert not broken


def test_links_that_lead_out_are_to_papers_and_sources(pages):
    """There is no network in a test, so they are listed and not followed."""
    out = {link for found in pages.values() for link in found.links if AWAY.match(link)}
    assert out
    assert all(link.startswith("https://") for link in out), out
    print(*sorted(out), sep="\n")


def test_a_page_loads_nothing_from_elsewhere(site, pages):
    for page, found in pages.items():
        for load in found.loads:
            assert not AWAY.match(load), f"{page} loads {load}"
            assert not load.startswith("//"), f"{page} loads {load}"
            place, _ = address(page, load)
            assert (site / place).is_file(), f"{page} loads {load}, which is not there"
    for path in site.glob("**/*.css"):
        assert not re.search(
            r"(url\(\s*['\"]?|@import\s+['\"])(https?:)?//", path.read_text("utf-8")
        )


def test_no_file_knows_the_address_of_a_content_server():
    """The rule of the test below, tried on what it is to find."""
    assert CONTENT_SERVER.search('src="https://cdn.jsdelivr.net/npm/mathjax@3"')
    assert CONTENT_SERVER.search("//fonts.googleapis.com/css")
    assert not CONTENT_SERVER.search("https://arxiv.org/abs/1312.6034")


CONTENT_SERVER = re.compile(
    r"(https?:)?//[\w.-]*(cdn|jsdelivr|cloudflare|unpkg|googleapis|gstatic|polyfill|esm\.sh)"
)


def test_no_file_holds_the_address_of_a_content_server(site):
    for path in site.glob("**/*"):
        if path.suffix in (".html", ".css", ".js", ".svg", ".json"):
            found = CONTENT_SERVER.search(path.read_text("utf-8"))
            assert found is None, f"{path.relative_to(site)}: {found}"


# --- what a newcomer would stumble on -------------------------------------------------------------


def test_every_picture_has_a_text_and_is_there(site, pages):
    count = 0
    for page, found in pages.items():
        for source, alt in found.pictures:
            says = alt is not None and len(alt) > 15 and ".png" not in alt
            assert says, f"{page}: {source} has alt {alt!r}"
            count += 1
    shown = sum(
        "image/png" in output.get("data", {})
        for notebook in NOTEBOOKS
        for cell in nbformat.read(notebook, 4).cells
        for output in cell.get("outputs", [])
    )
    assert count >= shown > 0


RAW = re.compile(r"\*\*\w|\]\(|\$\$|```|\{\w+\}`|<details|<summary|^\|[- |]+\|$", re.MULTILINE)


def test_no_page_shows_raw_markup(pages):
    for page, found in pages.items():
        match = RAW.search(found.text)
        assert match is None, (
            f"{page}: …{found.text[max(0, match.start() - 60) : match.end() + 60]}…"
        )
        assert found.language == "en", page


def test_a_link_to_a_file_of_the_repository_becomes_one_to_a_page():
    pages = {"03_relus": {"2-three-rules-50--each"}, "relu": set()}
    for text, expected in {
        "[a](../notebooks/03_relus.ipynb)": "[a](/lessons/03_relus.ipynb)",
        "[a](../notebooks/solutions/03_relus.ipynb)": "[a](/lessons/03_relus.ipynb)",
        "[`b`](../xai_course/relu.py)": "[`b`](#room-relu)",
        "[a](../notebooks/03_relus.ipynb#2.-Three-rules:-50-%25-each)": (
            "[a](/lessons/03_relus.ipynb#2-three-rules-50--each)"
        ),
        "[a](../notebooks/03_relus.ipynb#gone)": "[a](/lessons/03_relus.ipynb)",
        "[a](../notebooks/99_not_there.ipynb)": "a",
        "[a](https://arxiv.org)": "[a](https://arxiv.org)",
        "`x[0](../notebooks/03_relus.ipynb)`": "`x[0](../notebooks/03_relus.ipynb)`",
        "![a](../notebooks/03_relus.ipynb)": "![a](../notebooks/03_relus.ipynb)",
    }.items():
        assert with_site_links(text, "notebooks", pages) == expected
    assert with_site_links("[a](xai_course/relu.py)", "", pages) == "[a](#room-relu)"


def test_a_solution_comes_after_the_check_and_the_hint():
    def cell(kind, source, tags=()):
        return nbformat.from_dict(
            {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}
        )

    cells = [
        cell("markdown", "**1.** Do it."),
        cell("code", "stub", ["exercise"]),
        cell("code", "check"),
        cell("markdown", "<details><summary>Hint</summary>\n\nSo.\n</details>\n\n**2.** Now this."),
        cell("code", "second stub", ["exercise"]),
    ]
    solutions = [cell("code", "one"), cell("code", "two")]
    found = [each.source.split("\n")[0] for each in with_folded_solutions(cells, solutions)]
    hint = "<details><summary>Hint</summary>"
    assert found == [
        "**1.** Do it.", "stub", "check", hint, "one", "**2.** Now this.", "second stub", "two"
    ]  # fmt: skip
    assert cut_after_hint("No hint.") == ("", "No hint.")


def test_a_docstring_keeps_its_equations():
    source = (
        'def f():\n    """Return x.\n\n        x = Σ y\n        y = 2\n\n    In logits.\n    """\n'
    )
    text = raw_docstring(ast.parse(source).body[0])
    assert docstring(text) == "Return x.\n\n```text\nx = Σ y\ny = 2\n```\n\nIn logits."
    only = 'class A:\n    """An A.\n\n        x = y\n    """\n'
    assert "```text\nx = y\n```" in docstring(raw_docstring(ast.parse(only).body[0]))


def test_a_fence_is_longer_than_any_within():
    assert fenced("a\n````\nb", "text") == "`````text\na\n````\nb\n`````"


# --- snippets -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What went wrong with each usage, all run in one process that has the snippets alone."""
    folder = tmp_path_factory.mktemp("usages")
    functions = [find_function(usage.name, PUBLIC_ROOMS) for usage in USAGES]
    case = {
        "before": BEFORE,
        "usages": [
            {"name": usage.name, "code": usage.code, "snippet": snippet(function)}
            for usage, function in zip(USAGES, functions, strict=True)
        ],
    }
    (folder / "usages.json").write_text(json.dumps(case), encoding="utf-8")
    script = ROOT / "tests/run_usages.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return json.loads((folder / "found.json").read_text("utf-8"))


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_a_usage_runs_as_it_is_shown_with_the_snippet_alone(ran, usage):
    assert usage.name in usage.code, "a usage uses its function"
    assert usage.name not in ran, ran.get(usage.name)


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_a_snippet_is_shown_as_it_was_run(snippets, usage):
    shown = snippet(find_function(usage.name, PUBLIC_ROOMS))
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
    for room in ("relu", "gates", "units", "expectation", "faithfulness", "localisation", "nulls"):
        module = importlib.import_module(f"xai_course.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and "scenes" not in inspect.signature(value).parameters:
                assert name in names, f"{name} has no usage in docs/usages.py"


# --- in a browser ---------------------------------------------------------------------------------

LESSON = f"lessons/{NOTEBOOKS[0].stem}.html"
LOOKED_AT = ["index.html", LESSON, "api/models.html", "snippets.html", "glossary.html"]
WIDE, PHONE = 1280, 390


@pytest.fixture(scope="module")
def browser():
    """Chromium, as the system has it."""
    playwright = pytest.importorskip("playwright.sync_api")
    where = shutil.which("chromium") or shutil.which("google-chrome")
    if where is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


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


def test_the_search_finds_grad_cam(visit):
    tab = visit("index.html")
    tab.locator("button.search-button-field").first.click()
    field = tab.locator("dialog input[type=search]")
    field.fill("Grad-CAM")
    field.press("Enter")
    tab.wait_for_selector("ul.search li a")
    tab.wait_for_function("!document.querySelector('#search-progress')?.textContent.includes('.')")
    found = tab.locator("ul.search li a").evaluate_all("all => all.map(a => a.href)")
    assert any("lessons/00_start_here.html" in link for link in found)
    assert any("glossary.html" in link for link in found)


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


@pytest.mark.parametrize("width", [WIDE, PHONE])
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


@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", PHONE)])
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
