"""Every check says *not yet* to a stub, *yes* to a right answer, and what is wrong to others."""

import random
from dataclasses import fields

import numpy as np
import pytest
import torch

from xai_course.beetles import SPECIES, Traits
from xai_course.exercises import Feedback, Wrong, ask_tensor, check
from xai_course.exercises.lesson_01 import check_differing, check_effect, check_pixels

COLUMN = (slice(None), None, None)


def shared(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) == getattr(second, f.name)]


def differing(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) != getattr(second, f.name)]


RIGHT = [
    (check_pixels, lambda images, mean, std: images * std[COLUMN] + mean[COLUMN]),
    (check_effect, lambda logit, scene, part: logit(scene) - logit(scene.without(part))),
    (check_differing, differing),
]
WRONG = [
    (check_pixels, lambda i, m, s: (i + m[COLUMN]) * s[COLUMN], "adds it last"),
    (check_pixels, lambda i, m, s: (i - m[COLUMN]) / s[COLUMN], "once more"),
    (check_pixels, lambda i, m, s: (i * s[COLUMN] + m[COLUMN]).clamp(0, 1), "clips"),
    (check_pixels, lambda i, m, s: i * m[COLUMN] + s[COLUMN], "changed places"),
    (check_pixels, lambda i, m, s: 255 * (i * s[COLUMN] + m[COLUMN]), "0 to 255"),
    (check_pixels, lambda i, m, s: i * s + m, "stopped with RuntimeError"),
    (check_pixels, lambda i, m, s: i[0], "shape (3, 5, 7)"),
    (check_effect, lambda f, scene, part: f(scene.without(part)) - f(scene), "sign"),
    (check_effect, lambda f, scene, part: f(scene.without(part)), "without the part"),
    (check_effect, lambda f, scene, part: f(scene) - f(scene.without("legs")), "with it and"),
    (check_effect, lambda f, scene, part: abs(f(scene) - f(scene.without(part))), "sign"),
    (check_effect, lambda f, scene, part: "large", "a number"),
    (check_differing, shared, "share"),
    (check_differing, lambda a, b: [getattr(b, n) for n in differing(a, b)], "are values"),
    (check_differing, lambda a, b: differing(a, b)[:1], "differ in"),
    (check_differing, lambda a, b: len(differing(a, b)), "a list of names"),
]


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_yes_to_the_right_answer(check, answer):
    for _ in range(5):
        assert check(answer).status == "yes", check(answer).words


@pytest.mark.parametrize("check", [check for check, _ in RIGHT])
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
        assert words in feedback.words


def test_something_that_is_no_function_is_told_apart():
    assert "without ()" in check_pixels(torch.ones(3)).words


def test_feedback_reads_well_as_text_and_as_markdown():
    feedback = Feedback("not yet", "Go on.")
    assert repr(feedback) == "not yet: Go on."
    assert feedback._repr_markdown_() == "⏳ **Not yet.** Go on."


def test_a_check_leaves_the_random_state_alone_and_the_input_unchanged():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    check_pixels(RIGHT[0][1])
    check_differing(differing)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_an_answer_that_changes_its_input_is_still_judged_by_its_result():
    @check
    def examine(answer):
        given = torch.ones(3)
        if not torch.equal(ask_tensor(answer, (3,), given), torch.full((3,), 2.0)):
            raise Wrong("no")
        assert torch.equal(given, torch.ones(3))
        return "fine"

    assert examine(lambda x: x.add_(1)).status == "yes"


def test_the_reference_of_differing_is_right_by_hand():
    first, second = SPECIES["Ellipsa_furcata"], SPECIES["Ellipsa_longicornis"]
    assert differing(first, second) == ["antennae"]
