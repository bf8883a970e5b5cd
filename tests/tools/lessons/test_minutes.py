"""The minutes of a lesson, by hand."""

from nbformat.v4 import new_code_cell, new_markdown_cell

from tools.lessons.figures import only_draws
from tools.lessons.minutes import Minutes, further_cells, lesson_minutes, reading_seconds


def test_words_lines_and_figures_are_counted_and_folds_are_not():
    words = "one two three " * 50
    assert reading_seconds(new_markdown_cell(words)) == 60
    assert reading_seconds(new_markdown_cell(f"<details>\n{words}</details>")) == 0
    code = new_code_cell("x = 1\n\ny = 2\nplots.figure(\n    plots.bars(x),\n)")
    assert reading_seconds(code) == 2 * 3 + 40


def test_a_section_to_skip_is_counted_apart():
    words = "one two three " * 250
    cells = [
        new_markdown_cell(f"# Title\n{words}"),
        new_markdown_cell("## 1. More", metadata={"tags": ["further"]}),
        new_markdown_cell(f"### 1.1 Still more\n{words * 2}"),
        new_markdown_cell("## Exercises\n\n**1. Twice** (5 minutes, easy). Double it."),
        new_code_cell("..."),
        new_code_cell("x = 1\n" * 10_000, metadata={"tags": ["solution"]}),
        new_markdown_cell("**2. Thrice** (5 to\n10 minutes, hard). Triple it."),
    ]
    assert further_cells(cells) == [False, True, True, False, False, False, False]
    assert lesson_minutes(cells) == Minutes(core=5, further=10, exercises=15)
    assert lesson_minutes(cells).total == 30


def test_a_cell_only_draws_if_it_computes_nothing():
    figure = "plots.figure(plots.bars(x), alt='Bars.')\n"
    assert only_draws(figure)
    assert only_draws(f"# a remark\n{figure}for i in x:\n    print(i)\nprint(x)")
    assert not only_draws("print(x)")
    assert not only_draws(f"x = 1\n{figure}")
    assert not only_draws(f"for i in x:\n    y = i\n{figure}")
    assert not only_draws(f"{figure}learn(x)")
