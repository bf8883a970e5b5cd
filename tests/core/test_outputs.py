"""Logits, probabilities and their logarithms."""

import pytest
import torch
from torch import nn

from xai_course.core import class_probabilities, output_kind
from xai_course.metrics import deletion, insertion
from xai_course.relu import gradient
from xai_course.robustness import (
    certify,
    fgsm,
    max_softmax_uncertainty,
    pgd,
    smooth_prediction,
)
from xai_course.training import TrainingConfig, evaluate, fit

HEADS = {
    "logits": (nn.Identity(), "logits"),
    "softmax": (nn.Softmax(1), "probabilities"),
    "log-softmax": (nn.LogSoftmax(1), "log-probabilities"),
    "sigmoid": (nn.Sigmoid(), "probabilities"),
    "log-sigmoid": (nn.LogSigmoid(), "log-probabilities"),
}


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("head", HEADS)
def test_the_kind_is_read_from_the_last_step(head, classes):
    step, kind = HEADS[head]
    for scale in (0.01, 10):
        logits = nn.Linear(4, classes)(scale * torch.randn(2, 4))
        assert output_kind(step(logits)) == kind
        assert output_kind(step(logits).clone()[:1]) == kind


def test_without_a_graph_the_values_tell():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 4.0]])
    by_hand = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert output_kind(logits) == "logits"
    assert output_kind(by_hand) == "probabilities"
    assert output_kind(by_hand.log()) == "log-probabilities"


def test_one_logit_is_a_sigmoid_and_several_a_softmax():
    logit = torch.tensor([[-2.9444], [0.0]])
    assert class_probabilities(logit).flatten().tolist() == pytest.approx([0.05, 0.5], abs=1e-4)
    pair = torch.cat([logit, torch.zeros(2, 1)], 1)
    assert torch.allclose(class_probabilities(pair)[:, :1], class_probabilities(logit))
    with pytest.raises(ValueError, match=r"^model: got probabilities; must return logits"):
        class_probabilities(class_probabilities(pair))


def network(*last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1 if not last else 3), *last).eval()


def test_deletion_of_a_yes_or_no_network_is_that_of_the_two_classes():
    one, images = network(), torch.randn(3, 1, 4, 4)
    two = nn.Sequential(one, nn.ZeroPad2d((0, 1, 0, 0))).eval()  # the logit of "no" is 0
    for measure in (deletion, insertion):
        ours = measure(one, gradient, images, steps=4)
        assert torch.allclose(ours, measure(two, gradient, images, targets=0, steps=4))
        assert (ours < 0.999).all()


LABELS = torch.zeros(3, dtype=torch.long)
NEEDS_TWO = {
    "fgsm": lambda model, x: fgsm(model, x, LABELS, epsilon=0.1),
    "pgd": lambda model, x: pgd(model, x, LABELS, epsilon=0.1, steps=1),
    "certify": lambda model, x: certify(model, x),
    "smooth_prediction": lambda model, x: smooth_prediction(model, x),
    "max_softmax_uncertainty": max_softmax_uncertainty,
    "evaluate": lambda model, x: evaluate(model, [(x, LABELS)]),
    "fit": lambda model, x: fit(model, TrainingConfig(epochs=1), [(x, LABELS)], [(x, LABELS)]),
}


@pytest.mark.parametrize("name", NEEDS_TWO)
def test_what_asks_for_another_class_refuses_one_logit(name):
    with pytest.raises(ValueError, match=r"^model: got one logit, .*must have two or more"):
        NEEDS_TWO[name](network(), torch.rand(3, 1, 4, 4))


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid()])
def test_probabilities_are_refused_where_others_would_be_made_of_them(last):
    model, images = network(last), torch.randn(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"^model: got probabilities; must return logits"):
        deletion(model, torch.zeros(2, 1, 4, 4), images)


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1)])
def test_an_explanation_of_other_outputs_than_logits_warns(last):
    with pytest.warns(UserWarning, match="not logits: relevance has their unit"):
        gradient(network(last), torch.randn(2, 1, 4, 4))
