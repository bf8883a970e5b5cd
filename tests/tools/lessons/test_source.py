"""Lessons as text: what is refused by file and cell, and the two editions."""

import pytest
from trial_lesson import EXERCISE, HEADER, build, course

from tools.lessons.languages import ENGLISH
from tools.lessons.source import LessonError, edition, missing_parts, read_lesson, with_glossary

BROKEN = {
    "no header": ("# %% [markdown]\n# # Title\n", "question"),
    "code that is none": (HEADER + "\n# %%\nx = = 1\n", "a cell is no Python"),
    "header that is no YAML": (HEADER.replace("  course:", "  course: ["), "header"),
    "no title": (HEADER.replace("# # A title", "# A title"), "cell 1"),
    "code before the title": (HEADER.replace("# %% [m", "# %%\n1\n# %% [m"), "cell 1"),
    "unknown tag": (HEADER + '\n# %% tags=["excercise"]\nx = 1\n', "cell 2 (x = 1): unknown tag"),
    "empty cell": (HEADER + "\n# %%\n\n# %%\nx = 1\n", "cell 2 (empty): the cell is empty"),
    "exercise at the end": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n',
        "cell 2 (x = 1): an exercise without a solution",
    ),
    "exercise, then text": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% [markdown]\n# Text\n',
        "cell 2 (x = 1): an exercise without a solution",
    ),
    "solution alone": (
        HEADER + '\n# %%\nx = 1\n\n# %% tags=["solution"]\nx = 2\n',
        "cell 3 (x = 2): a solution without an exercise",
    ),
    "both at once": (
        HEADER + '\n# %% tags=["exercise", "solution"]\nx = 2\n',
        "cell 2 (x = 2): a cell is an exercise or a solution",
    ),
    "solution like the stub": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% tags=["solution"]\nx = 1\n',
        "cell 3 (x = 1): the solution is the same as its stub",
    ),
    "a tag for a heading on text": (
        HEADER + '\n# %% [markdown] tags=["further"]\n# Text\n',
        "cell 2 (Text): only a heading (##) is tagged further",
    ),
    "a heading within a section to skip": (
        HEADER + '\n# %% [markdown] tags=["further"]\n# ## 1. More\n#\n# ## 2. Again\n',
        "cell 2 (## 1. More): the heading after a section tagged further opens a cell",
    ),
    "solution in words": (
        HEADER + '\n# %% tags=["exercise"]\nx = 1\n\n# %% [markdown] tags=["solution"]\n# Text\n',
        "cell 3 (Text): the solution is markdown",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_lesson_is_refused_by_file_and_cell(tmp_path, text, complaint, capsys):
    path = course(tmp_path, text)
    with pytest.raises(LessonError) as error:
        read_lesson(path)
    assert "00_trial.py" in str(error.value)
    assert complaint in str(error.value)
    assert build(tmp_path) == 1
    assert "Not built: 00_trial.py" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


def test_each_edition_has_the_stub_or_the_solution(tmp_path):
    lesson = read_lesson(course(tmp_path, HEADER + EXERCISE))
    learner, learner_numbers = edition(lesson, solutions=False)
    solved, solved_numbers = edition(lesson, solutions=True)
    assert [cell.source for cell in learner.cells if cell.cell_type == "code"] == [
        "def double(x):\n    ...",
        'print("yes" if double(2) == 4 else "not yet")',
    ]
    assert [cell.source for cell in solved.cells if cell.cell_type == "code"] == [
        "def double(x):\n    return 2 * x",
        'print("yes" if double(2) == 4 else "not yet")',
    ]
    assert learner_numbers == [1, 2, 4]
    assert solved_numbers == [1, 3, 4]
    assert (lesson.title, lesson.question, lesson.exercises) == ("A title", "Is it so?", 1)


def test_the_code_of_a_drawing_is_folded_and_a_section_to_skip_says_so(tmp_path):
    text = """
# %% [markdown] tags=["further"]
# ## 1. More
#
# Text.

# %%
x = 1

# %%
plots.figure(plots.bars({"a": x}), alt="One bar.")
for i in range(3):
    print(i)

# %% [markdown]
# ## Take it with you

# %%
display(Code(source))
"""
    cells = edition(read_lesson(course(tmp_path, HEADER + text)), solutions=False)[0].cells
    assert [cell.metadata.get("jupyter") for cell in cells[2:]] == [
        None,
        {"source_hidden": True},
        None,
        {"outputs_hidden": True},
    ]
    assert cells[1].source.startswith("## 1. More\n\n*Go further: you may skip")
    assert cells[1].source.endswith("\n\nText.")


def test_the_solutions_edition_says_so_and_its_links_start_one_folder_deeper(tmp_path):
    lesson = read_lesson(course(tmp_path, HEADER))
    text = edition(lesson, solutions=True)[0].cells[0].source
    assert text.startswith("# A title (with solutions)\n")
    assert "(../../data/README.md)" in text
    assert "(01_next.ipynb)" in text
    assert "(../data/README.md)" in edition(lesson, solutions=False)[0].cells[0].source


def test_the_box_of_a_lesson_ends_with_a_link_to_the_glossary():
    box = "# A title\n\n> **You need** eyes.\n>\n> **For** all."
    assert with_glossary(f"{box}\n\nAnd so on.") == f"{box}\n>\n{ENGLISH.glossary}\n\nAnd so on."
    assert with_glossary("# A title\n\nNo box.") == "# A title\n\nNo box."


def test_an_inserted_cell_leaves_the_other_ids_alone(tmp_path):
    same_twice = "\n# %%\nx = 1\n\n# %%\nx = 1\n"
    before = read_lesson(course(tmp_path / "a", HEADER + same_twice))
    after = read_lesson(course(tmp_path / "b", HEADER + "\n# %%\ny = 2\n" + same_twice))
    old = [cell.id for cell in edition(before, solutions=False)[0].cells]
    new = [cell.id for cell in edition(after, solutions=False)[0].cells]
    assert len(set(old)) == 3
    assert [new[0], *new[2:]] == old


def test_missing_parts_are_named(tmp_path):
    missing = missing_parts(read_lesson(course(tmp_path / "a", HEADER, "02_trial")))
    for part in ("Predict", "Exercises", "Verdict", "Take it with you", "Quiz", "References"):
        assert any(part in sentence for sentence in missing), part
    assert any("{minutes}" in sentence for sentence in missing)
    whole = HEADER + "# You will be able to see. You need eyes. {minutes}, for all.\n"
    for heading in (
        "Predict",
        "Exercises",
        "Take it with you",
        "Three quiz questions",
        "References",
    ):
        whole += f"\n# %% [markdown]\n# ## {heading}\n"
    assert missing_parts(read_lesson(course(tmp_path / "b", whole, "00_trial"))) == []
    assert missing_parts(read_lesson(course(tmp_path / "c", whole, "02_trial"))) == [
        "02_trial.py: no heading with 'Verdict' in it"
    ]
