"""Pages of lessons: each solution is folded after its exercise."""

import nbformat

from tools.site.lesson_pages import cut_after_hint, with_folded_sections, with_folded_solutions


def cell(kind, source, tags=()):
    """A cell with tags."""
    return nbformat.from_dict(
        {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}
    )


def test_a_section_to_skip_is_folded_below_its_heading():
    cells = [
        cell("markdown", "## 1. One"),
        cell("markdown", "## 2. Two\n\nWords.", ["further"]),
        cell("code", "two"),
        cell("markdown", "## 3. Three\n\nWords.", ["further"]),
        cell("markdown", "## 4. Four"),
    ]
    fold = '<details class="further"><summary>Go further: this section may be skipped</summary>'
    assert [each.source for each in with_folded_sections(cells)] == [
        "## 1. One",
        "## 2. Two", f"{fold}\n\nWords.", "two", "</details>",
        "## 3. Three", f"{fold}\n\nWords.", "</details>",
        "## 4. Four",
    ]  # fmt: skip


def test_a_solution_comes_after_the_check_and_the_hint():
    cells = [
        cell("markdown", "**1.** Do it."),
        cell("code", "stub", ["exercise"]),
        cell("code", "check"),
        cell("markdown", "[Hint 1](#Hints-and-answers)\n\n**2.** Now this."),
        cell("code", "second stub", ["exercise"]),
    ]
    solutions = [cell("code", "one"), cell("code", "two")]
    found = [each.source.split("\n")[0] for each in with_folded_solutions(cells, solutions)]
    hint = "[Hint 1](#Hints-and-answers)"
    assert found == [
        "**1.** Do it.", "stub", "check", hint, "one", "**2.** Now this.", "second stub", "two"
    ]  # fmt: skip
    assert cut_after_hint("No hint.") == ("", "No hint.")
