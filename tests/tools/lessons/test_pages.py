"""The Chinese README and its like: current, well written, with the English code and links."""

import posixpath
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polib
import pytest
from lessons_of_the_course import LESSONS

from tools.lessons.catalogue import Addresses
from tools.lessons.chinese import left_in_english
from tools.lessons.outputs import ROOT
from tools.lessons.pages import (
    COMMENT,
    OF_EDITIONS,
    PAGES,
    chinese_name,
    chinese_page,
    framed,
    messages,
    problems,
    read_catalogue,
    read_course,
)
from tools.lessons.parts import anchor, lesson_headings, quiz

COURSE = read_course()
each_page = pytest.mark.parametrize("page", PAGES)


def chinese(page):
    return (ROOT / chinese_name(page)).read_text("utf-8")


def changed(folder, page, old, new):
    """A course whose page says something else."""
    text = (ROOT / page).read_text("utf-8")
    assert text.count(old) == 1
    (folder / page).write_text(text.replace(old, new), "utf-8")
    return replace(COURSE, root=folder)


@each_page
def test_the_chinese_page_is_current_and_well_written(page):
    catalogue = read_catalogue(page)
    assert problems(page, catalogue, COURSE) == [], "python -m tools.lessons.pages"
    assert chinese(page) == chinese_page(page, catalogue, COURSE), "python -m tools.lessons.pages"


def test_a_changed_paragraph_is_named_and_stays_english(tmp_path):
    course = changed(tmp_path, "README.md", "**Why a beetle?** ", "**And why a beetle?** ")
    catalogue = read_catalogue("README.md")
    before = problems("README.md", catalogue, COURSE)
    found = [each for each in problems("README.md", catalogue, course) if each not in before]
    assert len(found) == 2
    assert "no entry for '**And why a beetle?**" in found[0]
    assert "no longer says '**Why a beetle?**" in found[1]
    assert "\n**And why a beetle?** Wittgenstein" in chinese_page("README.md", catalogue, course)


def test_new_timings_need_no_translation(tmp_path):
    old = "| 16 s | 35 min | – | [2](notebooks/solutions/00_start_here.ipynb), 15 min |"
    new = "| 1234 s | 5 min | 6 min | [7](notebooks/solutions/00_start_here.ipynb), 8 min |"
    course, catalogue = changed(tmp_path, "README.md", old, new), read_catalogue("README.md")
    before = problems("README.md", catalogue, COURSE)
    assert problems("README.md", catalogue, course) == before
    row = "| 1234 秒 | 5 分钟 | 6 分钟 | [7](notebooks/solutions/00_start_here.ipynb)，8 分钟 |"
    assert row.split("(")[0] in chinese_page("README.md", catalogue, course)


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("5 + 5–10 min", ("5 + 5–10 分钟", "", "")),
        ("5 to 10 min", ("5–10 分钟", "", "")),
        ("week 2, 45–90", ("第 2 周，45–90", "", "")),
        ("0.97 torchcam", ("0.97 torchcam", "", "")),
        ("captum raises", ("captum 报错", "", "")),
        ("easy", ("容易", "", "")),
        ("“Why?”", ("“", "Why?", "”")),
        ("**b)** Both.", ("**b)** ", "Both.", "")),
        ("00: [2. Maps](notebooks/x.ipynb#2)", ("00：[", "2. Maps", "](notebooks/x.ipynb#2)")),
        ("[03.2 Bins](notebooks/x.ipynb)", ("[03.2 ", "Bins", "](notebooks/x.ipynb)")),
        ("**1e+00** sums unseen", ("**1e+00** ", "sums unseen", "")),
        ("Talk, one picture", ("", "Talk, one picture", "")),
    ],
)
def test_cells_of_generated_tables_are_taken_apart(cell, parts):
    assert framed(cell) == parts


def test_titles_questions_and_answers_come_from_the_lessons():
    texts = {message.text for page in PAGES for message in messages(page, COURSE)}
    for lesson in LESSONS:
        answers = {one.answer.text for one in quiz(lesson)}
        assert not texts & {lesson.question, *answers}
    guide = chinese("TEACHING.md")
    for entry in polib.pofile(str(ROOT / "lessons/zh/08_grading_the_explanations.po")):
        if entry.msgid.startswith("**1. A method agrees with the answer key"):
            assert f"| {entry.msgstr[5:-2]} |" in guide


def test_a_lesson_without_a_current_translation_is_named():
    texts = {**COURSE.texts, "00_start_here": {**COURSE.texts["00_start_here"], "Start here": ""}}
    course, catalogue = replace(COURSE, texts=texts), read_catalogue("README.md")
    assert any("00_start_here" in what for what in problems("README.md", catalogue, course))
    assert "[00 Start here](" in chinese_page("README.md", catalogue, course)


@each_page
def test_links_lead_to_chinese_notebooks_where_there_are_any(page, tmp_path):
    folder = tmp_path / "lessons/zh"
    folder.mkdir(parents=True)
    for path in (ROOT / "lessons/zh").glob("0[01]_*.po"):
        text = path.read_text("utf-8").replace("X-Published: no", "X-Published: yes")
        (folder / path.name).write_text(text, "utf-8")
    addresses = Addresses(tmp_path)
    assert len(addresses.anchors) == 2
    text = chinese_page(page, read_catalogue(page), replace(COURSE, addresses=addresses))
    if page == "README.md":
        assert "(notebooks/zh/00_start_here.ipynb)" in text
        assert "(notebooks/zh/01_a_world_with_an_answer_key.ipynb#6.-%E6%A0%87" in text
        assert "(notebooks/zh/solutions/01_a_world_with_an_answer_key.ipynb)" in text
        assert "jupyter lab notebooks\\zh\\00_start_here.ipynb\n" in text
        assert "(notebooks/02_a_classifier_that_runs.ipynb)" in text
    if page not in OF_EDITIONS:
        assert not re.search(r"notebooks[/\\](solutions/)?0[01]_", text)


@each_page
def test_every_link_leads_somewhere(page):
    text = chinese(page)
    if page in OF_EDITIONS or page.endswith(".html"):
        return
    known = {lesson.name: set(map(anchor, lesson_headings(lesson))) for lesson in LESSONS}
    for name, headings in COURSE.addresses.anchors.items():
        known[f"zh/{name}"] = set(headings.values())
    words = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # code has no links
    for address in re.findall(r"\]\(([^()\s]+)\)", words):
        path, _, heading = address.partition("#")
        if ":" in path:
            continue
        full = posixpath.normpath(
            posixpath.join(posixpath.dirname(page), path or chinese_name(page))
        )
        if full.startswith("notebooks/"):  # it may not have been built yet
            name = full.removeprefix("notebooks/").replace("solutions/", "").removesuffix(".ipynb")
            assert not heading or heading in known[name], address
            continue
        assert (ROOT / full).exists(), address
        if heading and full.endswith(".zh-CN.md"):
            assert f'<a id="{heading}"></a>' in (ROOT / full).read_text("utf-8"), address


@each_page
def test_the_code_is_the_same(page):
    def code(text):
        blocks = re.findall(r"^```.*?^```$", text, flags=re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.split("\n")]
        return [match[1] if (match := COMMENT.fullmatch(line)) else line for line in lines]

    english = (ROOT / page).read_text("utf-8")
    found = code(re.sub(r"notebooks([/\\])zh[/\\]", r"notebooks\1", chinese(page)))
    assert found == code(english)


@each_page
def test_no_english_sentence_is_left(page):
    text = re.sub(
        r"^```.*?^```$|<style>.*</style>", "", chinese(page), flags=re.MULTILINE | re.DOTALL
    )
    text = re.sub(
        r"《[^》]*》（[^）]*）|Stéfan van der Walt|<!--.*-->|\*Run → .*?\*", "", text
    )  # titles, a name, a menu
    for line in text.split("\n"):
        entry = SimpleNamespace(msgstr=line, comment="top, paragraph")
        assert list(left_in_english(entry)) == [], line


@pytest.mark.parametrize(
    "page", ["README.md", "TEACHING.md", "docs/assessment.md", "docs/keras.md"]
)
def test_both_pages_link_to_each_other(page):
    english, other = Path(page).name, Path(chinese_name(page)).name
    assert f"\n\n**English** · [简体中文]({other})\n\n" in (ROOT / page).read_text("utf-8")
    assert f"\n\n[English]({english}) · **简体中文**\n\n" in chinese(page)
