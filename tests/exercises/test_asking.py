"""What all checks share: feedback, random inputs, and copies for the learner."""

import random

import answers_01
import numpy as np
import torch

from xai_course.exercises import Feedback, Wrong, ask_tensor, check
from xai_course.exercises.lesson_01 import check_pixels


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
    check_pixels(answers_01.RIGHT[0][1])
    answers_01.check_differing(answers_01.differing)
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


def test_a_stub_that_raises_is_told_from_an_operation_that_torch_does_not_have():
    def stub(x):
        raise NotImplementedError("to do")

    def subtracts(x):
        return (x > 0) - (x > 1)

    def bare(x):
        return torch.nn.Module()(x)  # raised by PyTorch's own Python code

    ask = check(lambda answer: str(ask_tensor(answer, (3,), torch.rand(3))))
    assert ask(stub).status == "not yet"
    for wrong, words in ((subtracts, "two bool tensors"), (bare, "forward")):
        assert ask(wrong).status == "no"
        assert words in ask(wrong).words
