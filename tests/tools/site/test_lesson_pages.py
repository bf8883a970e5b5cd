"""Pages of lessons: each solution is folded after its exercise."""

import nbformat

from tools.site.lesson_pages import cut_after_hint, with_folded_solutions


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
