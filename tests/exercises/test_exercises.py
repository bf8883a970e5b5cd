"""Every check says *not yet* to a stub, *yes* to a right answer, and what is wrong to others."""

import re
from itertools import count

import answers_00
import answers_01
import answers_02
import answers_03
import answers_04
import answers_05
import answers_06
import answers_07
import answers_08
import answers_09
import answers_10
import answers_11
import answers_12
import answers_13
import answers_14
import answers_15
import pytest
import torch

from xai_course.beetlebox import SPECIES
from xai_course.core.translation import use_language

LESSONS = (
    answers_00,
    answers_01,
    answers_02,
    answers_03,
    answers_04,
    answers_05,
    answers_06,
    answers_07,
    answers_08,
    answers_09,
    answers_10,
    answers_11,
    answers_12,
    answers_13,
    answers_14,
    answers_15,
)
RIGHT = [pair for lesson in LESSONS for pair in lesson.RIGHT]
WRONG = [case for lesson in LESSONS for case in lesson.WRONG]
CHECKS = list(dict.fromkeys(check for check, _ in RIGHT))


@pytest.fixture(autouse=True)
def _known_inputs(monkeypatch):
    """Let the checks draw known inputs: a wrong answer that is right by chance fails no test."""
    seeds = count()
    monkeypatch.setattr(torch, "seed", lambda: torch.manual_seed(next(seeds)).initial_seed())


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_yes_to_the_right_answer(check, answer):
    for _ in range(5):
        assert check(answer).status == "yes", check(answer).words


@pytest.mark.parametrize("check", CHECKS)
def test_not_yet_to_every_kind_of_stub(check):
    def unwritten(*_):
        raise NotImplementedError

    for stub in (lambda *_: ..., lambda *_: None, unwritten):
        assert check(stub).status == "not yet"


@pytest.mark.parametrize(("check", "answer", "words"), WRONG)
def test_no_says_what_is_wrong(check, answer, words):
    for _ in range(5):
        feedback = check(answer)
        assert feedback.status == "no"
        assert any(part in feedback.words for part in words.split("|")), feedback.words


@pytest.mark.parametrize("check", CHECKS)
def test_every_exercise_knows_at_least_two_wrong_answers(check):
    assert sum(other is check for other, _, _ in WRONG) >= 2


def test_the_answers_to_lesson_00_by_hand():
    logits = torch.tensor([0.0, 2.0, 1.0]).log1p()  # odds 1 : 3 : 2
    assert answers_00.likely_classes(logits, ("a", "b", "c"), 0.4) == ["b"]
    assert answers_00.likely_classes(logits, ("a", "b", "c"), 0.6) == ["b", "c"]
    first, second = torch.tensor([[4.0, 3], [2, 1]]), torch.tensor([[4.0, 1], [2, 3]])
    assert answers_00.overlap(first, second, 0.5) == 0.5
    assert answers_00.overlap(first, first, 0.5) == 1
    assert answers_00.overlap(first, -first, 0.5) == 0


def test_the_answers_to_lesson_01_by_hand():
    first, second = SPECIES["Ellipsa_furcata"], SPECIES["Ellipsa_longicornis"]
    assert answers_01.differing(first, second) == ["antennae"]


def test_the_answers_to_lesson_03_by_hand():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    labels = torch.tensor([0, 0, 1])
    assert answers_03.precision(logits, labels).tolist() == [0.5, 0]
    confidence = torch.arange(20) / 20  # two images a group; their mean confidence: 0.025, ...
    assert answers_03.calibration(confidence, torch.zeros(20)) == pytest.approx(0.475)


def test_no_answer_can_change_the_scenes_of_the_next():
    before = answers_08.check_null(answers_08.bright_edges)
    answers_08.check_null(lambda pixels: pixels.zero_()[:, :1])
    assert answers_08.check_null(answers_08.bright_edges) == before


@pytest.mark.parametrize(("check", "answer", "words"), WRONG)
def test_the_words_are_chinese_where_the_reader_is(check, answer, words):
    with use_language("zh"):
        found = check(answer)
    assert found.status == "no"
    # What the learner's own error says comes from Python.
    said = found.words.partition("报错中止")[0] if "报错中止" in found.words else found.words
    assert re.search(r"[\u3400-\u9fff]", said), said
    assert not re.search(r"\b(the|of|is|and|it|by|with) ", said), said


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_praise_and_stubs_are_chinese_where_the_reader_is(check, answer):
    with use_language("zh"):
        praise, stub = check(answer), check(lambda *_: ...)
        shown = praise._repr_markdown_(), repr(stub)
    assert re.search(r"[\u3400-\u9fff]", praise.words), praise.words
    assert shown[0].startswith("✅ **正确。**")
    assert shown[1].startswith("还没完成：把上面")
