"""What stands behind each verdict: every sentence has its number, its null, its second reading."""

from dataclasses import replace

import pytest
from lessons_of_the_course import LESSONS
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools.lessons.claims import (
    Claim,
    check_claim,
    not_printed,
    printed_text,
    problems,
    read_claims,
    unaccounted,
    unknown_in_prose,
    without_entry,
    wrong_number,
)
from tools.site.lesson_pages import claims_table

CLAIMS, KNOWN = read_claims()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_verdict_says_what_the_output_says_beside_a_null_and_a_second_reading(lesson):
    wrong = problems(lesson, CLAIMS, KNOWN.get(lesson.name[:2], []))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_number_of_the_table_can_be_found_wrong(lesson):
    """An output without numbers contradicts every entry that quotes one."""
    for claim in CLAIMS:
        if claim.lesson == lesson.name[:2] and claim.numbers:
            assert check_claim(claim, lesson, "nothing was printed"), claim.sentence


def test_the_table_names_lessons_that_there_are_and_no_sentence_twice():
    assert {claim.lesson for claim in CLAIMS} <= {lesson.name[:2] for lesson in LESSONS}
    assert len({(claim.lesson, claim.sentence) for claim in CLAIMS}) == len(CLAIMS)


# --- the checks themselves ------------------------------------------------------------------------

OUTPUT = "share   0.198 (0.16 to 0.24)\nwon 3 of 8\nwon 2 of 8\nweights 1,147,466\nlower −0.25"


def lesson_that_says(verdict, *before):
    """A lesson that holds some cells and a verdict."""
    cells = [*before, new_markdown_cell("## Verdict\n\n" + verdict)]
    return replace(LESSONS[0], cells=cells)


@pytest.mark.parametrize(
    ("number", "right"),
    [
        ({"text": "0.20", "at": r"share +([\d.]+)"}, True),
        ({"text": "0.19", "at": r"share +([\d.]+)"}, False),
        ({"text": "20 %", "at": r"share +([\d.]+)", "times": 100}, True),
        ({"text": "19 %", "at": r"share +([\d.]+)", "times": 100}, False),
        ({"text": "a fifth", "at": r"share +([\d.]+)", "low": 0.18, "high": 0.22}, True),
        ({"text": "an eighth", "at": r"share +([\d.]+)", "low": 0.11, "high": 0.14}, False),
        ({"text": "less than a third", "at": r"share +([\d.]+)", "high": 0.33}, True),
        ({"text": "a fifth", "at": r"share +([\d.]+)"}, False),  # words without bounds
        ({"text": "two", "at": r"^won", "count": True, "low": 2, "high": 2}, True),
        ({"text": "1.5", "at": [r"won (3)", r"won (2)"]}, True),
        ({"text": "1,147,466", "at": r"weights ([\d,]+)"}, True),
        ({"text": "0.25", "at": r"lower ([−\d.]+)"}, True),
        ({"text": "0.2", "at": r"missing ([\d.]+)"}, False),
    ],
)
def test_a_number_is_the_rounded_number_of_the_output(number, right):
    assert (wrong_number(number, OUTPUT) == "") is right


def test_an_eighth_in_words_needs_an_entry():
    claim = Claim("10", "Verdict", "Twice the **ease**, in an eighth of the time, of lesson 08.")
    assert unaccounted(claim) == ["Twice", "eighth"]
    assert unaccounted(replace(claim, given=("Twice",), numbers=({"text": "an eighth"},))) == []


def test_a_claim_needs_its_sentence_a_null_and_a_second_reading():
    claim = Claim("10", "Verdict", "It *works*.", null="noise", second="ranks", networks="one")
    lesson = lesson_that_says("It\nworks. It is cheap. The numbers:")
    assert check_claim(claim, lesson, OUTPUT) == []
    assert check_claim(replace(claim, null="", none="a definition"), lesson, OUTPUT) == []
    for changed, message in [
        (replace(claim, null=""), "`null`, `second` and `networks`"),
        (replace(claim, second=""), "`null`, `second` and `networks`"),
        (replace(claim, sentence="It fails."), "the sentence does not stand under 'Verdict'"),
        (replace(claim, cell="Quiz"), "no heading begins with 'Quiz'"),
    ]:
        found = "\n".join(check_claim(changed, lesson, OUTPUT))
        assert message in found
        assert found.startswith("10, “It ")
    assert without_entry([claim], lesson) == ["It is cheap"]


def test_numbers_behind_a_claim_stand_in_the_output():
    printed = "edges 0.62, centre -0.351, share 0.25, right 43.4% of 1,147 scenes, by size 0.6"
    text = "edges 0.62, centre −0.35, 25 % and 43 %; 95 % intervals; sections 2 and 3; 5 scenes"
    assert not_printed(text, printed) == []
    wrong = ["0.61", "0.60", "24", "44"]
    assert not_printed("0.61, 0.60, 24 to 25 %, 44 %, 62 %", printed) == wrong
    claim = Claim("10", "Verdict", "It works.", null="edges 0.2", second="0.71", networks="one")
    assert "no output holds 0.71" in check_claim(claim, lesson_that_says("It works."), OUTPUT)[0]


def test_numbers_of_the_text_stand_in_an_output():
    text = new_markdown_cell("## 1. Look\n\n0.2, 25 %, 95 %, 0.71 of 4/255 in arXiv:1234.5678.")
    lesson = lesson_that_says("Only 0.99 here.", new_code_cell("print()"), text)
    assert unknown_in_prose(lesson, OUTPUT) == ["0.71"]


def test_printed_text_has_streams_and_tables():
    text = printed_text(next(lesson for lesson in LESSONS if lesson.name.startswith("10")))
    assert "the same count: True" in text
    assert "rung | weights | optimiser" in text


def test_the_site_shows_null_and_second_reading_beside_each_sentence():
    claim = Claim("10", "Verdict", "It\n**works**.", null="a | b", second="ranks", networks="one")
    assert claims_table([claim]).splitlines()[-1] == "| It works. | a / b | ranks | one |"
    other = Claim("10", "Verdict", "So.", none="a definition")
    assert claims_table([other]).endswith("| So. | no score: a definition |  |  |")
    assert claims_table([]) == ""
