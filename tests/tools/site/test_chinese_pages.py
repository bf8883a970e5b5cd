"""Chinese pages: which there are, what they say, and what the search knows of them."""

import re
from dataclasses import asdict

import nbformat
import pytest

pytest.importorskip("sphinx", reason="Sphinx is not installed; `make test` installs it")

from tools.lessons.outputs import ROOT
from tools.site.build import (
    glossary_page,
    pages_of,
    with_chinese_anchors,
    without_entries,
    write_chinese,
)
from tools.site.chinese_search import ChineseSearch
from tools.site.lesson_pages import lessons_index, path_without_code, verdicts_page
from tools.site.sphinx_links import chinese_words
from tools.site.text import read_terms
from tools.site.words import CHINESE, ENGLISH

HAN = re.compile("[\u4e00-\u9fff]")
NAME = "00_start_here"


@pytest.fixture
def repository(tmp_path):
    """A repository with one lesson in English, and a start page in both languages."""
    for folder in ("docs", "lessons", "notebooks/zh"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (f"lessons/{NAME}.py", "docs/index.zh-CN.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    write_notebook(tmp_path / f"notebooks/{NAME}.ipynb", "# Start here\n\n## Verdict\n\nSo.")
    return tmp_path


def write_notebook(path, *texts):
    """Write a notebook of text."""
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_there_are_no_chinese_pages_without_a_chinese_lesson(repository, tmp_path):
    write_chinese(tmp_path / "pages", {NAME: {"verdict"}}, repository)
    assert pages_of(tmp_path / "pages") == set()


def test_a_chinese_lesson_has_its_page_and_links_to_english_ones(repository, tmp_path):
    text = "# 从这里开始\n\n见[指南](../../TEACHING.md)。\n\n## 结论\n\n可以说。"
    write_notebook(repository / f"notebooks/zh/{NAME}.ipynb", text)
    folder = tmp_path / "pages"
    write_chinese(folder, {NAME: {"verdict"}}, repository)
    lists = {"index", "glossary", "verdicts", "lessons/index"}
    assert pages_of(folder) == {f"lessons/{NAME}", *lists}
    first = nbformat.read(folder / f"lessons/{NAME}.ipynb", 4).cells[0].source
    assert first.startswith("# 00 从这里开始")
    assert "[指南](inv:en:std:doc#teaching)" in first
    assert CHINESE.how_to_read in first
    assert CHINESE.older in first, "the notebook is not that of the lesson"
    assert "可以说。" in (folder / "verdicts.md").read_text("utf-8")
    start = (folder / "index.md").read_text("utf-8")
    assert "教学指南 <teaching>" not in start
    assert "课程 <lessons/index>" in start
    assert "(inv:en:std:doc#teaching)" in start


def test_an_entry_of_the_navigation_stays_if_its_page_is_there():
    text = "课程 <lessons/index>\n指南 <teaching>\n见 <teaching> 页\n"
    assert without_entries(text, {"lessons/index"}) == "课程 <lessons/index>\n见 <teaching> 页\n"
    assert without_entries(text, {"lessons/index", "teaching"}) == text


def test_a_mark_before_a_heading_becomes_the_heading_s_own_anchor():
    text = '<a id="two"></a>\n\n## 2. 第二节\n\n见[一](#two)、[二](#three)和[三](A.md#two)。\n'
    expected = "## 2. 第二节\n\n见[一](#2-第二节)、[二](#three)和[三](A.md#two)。\n"
    assert with_chinese_anchors(text) == expected


def test_the_start_pages_have_the_same_parts():
    english, chinese = ((ROOT / f"docs/index{end}.md").read_text("utf-8") for end in ("", ".zh-CN"))
    for part in (r"^(#+) ", r"^```\{\w+\} ?.*$", r"^:class:.*"):
        assert re.findall(part, english, re.M) == re.findall(part, chinese, re.M)


@pytest.mark.parametrize("name", [name for name in asdict(ENGLISH) if name != "language"])
def test_each_word_of_the_site_is_there_in_both_languages(name):
    english, chinese = asdict(ENGLISH)[name], asdict(CHINESE)[name]
    assert HAN.search("".join(chinese))
    assert not HAN.search("".join(english))
    if isinstance(english, tuple):
        assert len(english) == len(chinese)
    else:
        values = [sorted(re.findall(r"\{\w*\}", text)) for text in (english, chinese)]
        assert values[0] == values[1]


def test_the_head_of_the_last_table_is_that_of_the_lesson():
    texts = "".join(path.read_text("utf-8") for path in (ROOT / "lessons/zh").glob("*.po"))
    for words in (ENGLISH.relied_on, CHINESE.relied_on):
        assert f"| {words}" in texts


def test_a_path_without_code_needs_all_its_headings():
    assert path_without_code([], CHINESE) == ""
    assert "第 09 课" in verdicts_page([], CHINESE)
    assert "|---|" in lessons_index([], CHINESE)


def test_the_glossary_has_both_names_of_each_word():
    terms = read_terms()
    text = glossary_page(terms, {"07_what_each_block_changed"}, CHINESE)
    assert "\n归因\nattribution\n" in text
    assert "[第 07 课](/lessons/07_what_each_block_changed.ipynb)" in text
    assert text.count("\nDeepLIFT\n") == 1
    for term in terms:
        assert HAN.search(term.chinese_text), term.term
        assert term.chinese_text.endswith("。"), term.term
        assert term.chinese_text.count("。") == 1, "one sentence"


def test_a_word_of_the_glossary_is_linked_as_chinese_texts_write_it():
    words = {term.term: chinese_words(term) for term in read_terms()}
    assert words["guided backpropagation"] == ["导向反向传播", "引导反向传播"]
    assert words["relevance"] == ["相关性得分"]
    assert words["batch"] == [], "批 is part of other words"


def test_the_search_knows_characters_pairs_and_latin_words():
    search = ChineseSearch({})
    assert search.split("用Grad-CAM，全连接层") == [
        "用", "Grad", "CAM", "全", "连", "接", "层", "全连", "连接", "接层"
    ]  # fmt: skip
    assert all(map(search.word_filter, ["全", "全连"]))
    assert search.stem("Gradients") == "gradient"
