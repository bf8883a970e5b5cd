"""The web site as a whole: pages, links, pictures, nothing from elsewhere."""

import re

import nbformat
import pytest
from site_pages import CHINESE, NOTEBOOKS, address, letters

from tools.lessons.claims import read_claims
from tools.lessons.outputs import ROOT
from tools.lessons.source import tags_of
from tools.site.text import read_terms
from tools.site.words import CHINESE as CHINESE_WORDS

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("site")]
TERMS = read_terms()
AWAY = re.compile(r"[a-z]+:")  # an address with a scheme


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


def test_the_exam_and_its_model_answers_are_not_on_the_site(site, pages):
    """Learners read the site; what is on no page is in no search either."""
    exam = (ROOT / "docs/assessment.md").read_text("utf-8")
    answers = re.findall(r"\*Model answer\.\* (.+?)(?=\n\d+\. |\n\n|\Z)", exam, re.DOTALL)
    assert len(answers) == 10
    assert min(map(len, answers)) > 60  # whole answers: the first words of one may stand anywhere
    assert not [name for name in pages if "assessment" in name]
    for name, page in pages.items():
        assert not any(letters(answer) in page.letters for answer in answers), name
        assert not any("assessment" in link for link in page.links), name
    assert not list(site.rglob("assessment*"))


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


def test_the_path_without_code_is_the_one_of_the_readme(pages):
    readme = (ROOT / "README.md").read_text("utf-8")
    steps = readme.partition("### 50 minutes without code")[2].partition("### A map")[0]
    there = re.findall(r"notebooks/(\d\w+)\.ipynb", steps)
    assert [name[:2] for name in there] == ["00", "01", "09", "09", "10", "11", "12", "13", "14"]
    minutes = [int(number) for number in re.findall(r"\((\d+) minutes\)", steps)]
    assert sum(minutes) == 50
    text = pages["verdicts.html"].text
    assert "One path, 50 minutes, no code." in text
    assert [int(n) for n in re.findall(r"\((\d+) minutes\)", text)][: len(minutes)] == minutes
    start = (ROOT / "lessons/00_start_here.py").read_text("utf-8")
    row = start.partition("**decide, and do not program**")[2].partition("\n")[0]
    assert "50 minutes" in row
    assert [int(n) for n in re.findall(r"\((\d+)(?: minutes;[^)]*)?\)", row)] == minutes


def test_beside_each_verdict_stand_its_null_and_its_second_reading(pages):
    claims, _ = read_claims()
    assert claims
    for claim in claims:
        for words in (claim.null, claim.second, claim.none):
            assert letters(words) in pages["verdicts.html"].letters, words


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.term)
def test_every_word_of_the_glossary_is_explained_and_used(pages, term):
    assert re.search("[\u4e00-\u9fff]", term.chinese) or term.chinese == term.term
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


# --- Chinese pages --------------------------------------------------------------------------------


def test_a_page_leads_to_the_other_language_where_it_is_there(pages):
    for page, found in pages.items():
        other = page.removeprefix("zh/") if page.startswith("zh/") else f"zh/{page}"
        leads = other in {address(page, link)[0] for link in found.switches}
        assert leads == (other in pages and not page.endswith("search.html")), page
        assert len(found.switches) <= 1, page


def test_there_is_a_chinese_page_for_each_chinese_notebook_and_no_other(site, pages):
    lessons = {page for page in pages if re.match(r"zh/lessons/\d", page)}
    assert lessons == {f"zh/lessons/{path.stem}.html" for path in CHINESE}
    assert (site / "zh").exists() == bool(CHINESE)


@pytest.mark.parametrize("notebook", CHINESE, ids=lambda path: path.stem)
def test_a_chinese_page_has_the_anchors_of_the_english_one(pages, notebook):
    page = f"lessons/{notebook.stem}.html"
    assert pages[page].sections == pages[f"zh/{page}"].sections


@pytest.mark.parametrize("notebook", CHINESE, ids=lambda path: path.stem)
def test_the_words_of_the_site_are_chinese_on_a_chinese_page(pages, notebook):
    page = pages[f"zh/lessons/{notebook.stem}.html"]
    folds = " ".join(page.summaries)
    cells = nbformat.read(notebook, 4).cells
    if any("exercise" in tags_of(cell) for cell in cells):
        assert CHINESE_WORDS.solution in folds
    assert (CHINESE_WORDS.further in folds) == any("further" in tags_of(cell) for cell in cells)
    for words in ("A solution", "Go further", "Read this page", "Show code", "Toggle"):
        assert words not in page.text + folds + " ".join(page.titles), words


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
            least = 8 if page.startswith("zh/") else 15
            says = alt is not None and len(alt) > least and ".png" not in alt
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
        assert found.language == ("zh-CN" if page.startswith("zh/") else "en"), page
