"""The built Chinese notebooks: the same code as in English, and the same numbers."""

import re
from collections import Counter

import nbformat
import pytest
from lessons_of_the_course import LESSONS, each_lesson

from tools.grading.submission import read_submission
from tools.lessons.build import disagreements, notebook_path
from tools.lessons.catalogue import chinese_lesson, more_words, published, usage_of
from tools.lessons.code_words import difference, read_usage, translated_code
from tools.lessons.outputs import ROOT

NOTEBOOKS = ROOT / "notebooks"
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
CLOCKS = {"perf_counter", "take_turns", "tracemalloc"}
PUBLISHED = [lesson for lesson in LESSONS if lesson.name in published(ROOT)]
in_both_editions = pytest.mark.parametrize("solutions", [False, True], ids=["learner", "solved"])
each_published = pytest.mark.parametrize("lesson", PUBLISHED, ids=lambda lesson: lesson.name)


def code_cells(lesson, solutions):
    notebook = nbformat.read(notebook_path(lesson, NOTEBOOKS, solutions), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def numbers(cell):
    """The numbers in what a cell printed and in its tables; how often each occurs."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/markdown") or data.get("text/html", ""))
    return Counter(NUMBER.findall("\n".join(texts)))


def are_timed(sources):
    """Whether each of these cells measures time or memory, or uses a name of a cell that does."""
    names, found = set(CLOCKS), []
    for source in sources:
        found.append(bool(names & set(re.findall(r"\w+", source))))
        if found[-1]:
            names |= set(read_submission([source]).names)
    return found


@each_lesson
def test_the_chinese_code_does_the_same(lesson):
    usage = usage_of(lesson, more_words(lesson))
    chinese = chinese_lesson(lesson, ROOT, go_on=True)
    for cell, other in zip(lesson.cells, chinese.cells, strict=True):
        if cell.cell_type == "code":
            assert difference(cell.source, other.source, usage) == ""


@each_published
def test_the_chinese_notebooks_agree_with_the_lesson(lesson):
    assert disagreements(chinese_lesson(lesson, ROOT), NOTEBOOKS) == [], "run `make chinese`"


@in_both_editions
@each_published
def test_the_numbers_are_those_of_the_english_notebook(lesson, solutions):
    english = code_cells(lesson, solutions)
    chinese = code_cells(chinese_lesson(lesson, ROOT), solutions)
    timed = are_timed([cell.source for cell in english])
    for cell, other, is_timed in zip(english, chinese, timed, strict=True):
        if not is_timed:
            here, there = numbers(cell), numbers(other)
            assert here == there, f"{cell.source}\nEnglish {here - there}, Chinese {there - here}"


def test_a_timed_cell_is_found_through_the_names_that_it_uses():
    sources = ["x = 1", "def pace():\n    return perf_counter()", "y = pace()", "print(y)", "x"]
    assert are_timed(sources) == [False, True, True, True, False]


def test_what_is_looked_up_is_translated_at_all_its_places():
    chinese = {"mean colour": "平均颜色", "fill {n}": "填充 {n}", "by {n}": "按 {n}"}
    source = (
        'table = {"mean colour": 1, f"fill {n}": 2}\n'
        "print(f\"by {n}\", table['mean colour'], f\"{table['mean colour']:.2f}\")\n"
        'assert "mean colour" in table and table[f"fill {n}"] == 2\n'
    )
    usage = read_usage([source], ["mean colour", "fill {n}"])
    new = translated_code(source, usage, lambda words: chinese.get(words.text, words.text))
    assert "mean" not in new
    assert "fill" not in new
    assert new.count("平均颜色") == 4
    assert new.count("填充 {n}") == 2
    assert difference(source, new, usage) == ""
    assert difference(source, new.replace("== 2", "== 3"), usage) != ""
