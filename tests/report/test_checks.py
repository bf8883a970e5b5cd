"""What an explanation of one's own network rests on: layers, assumptions, methods that apply."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from own_network import CLASSES, network, photos, transform
from random_networks import Plan, RandomNetwork
from stock_networks import network as stock
from stock_networks import pictures, tiny, with_heavy
from torch import nn
from torchvision import models

from xai_course.methods import report_methods
from xai_course.relu import local_linear
from xai_course.report import (
    applicable_methods,
    check_assumptions,
    check_network,
    find_layers,
    wrap_model,
)


@pytest.fixture(scope="module")
def own():
    return wrap_model(network(), transform, CLASSES)


# ---- layers -------------------------------------------------------------------------------------


LAYERS = {
    "small_resnet": (["relu", "layer1", "layer2", "layer3", "layer4"], "layer4"),
    "small_mobilenet": (["features.1", "features.3", "features.5", "features"], "features"),
    "small_vgg": (["features.1", "features.4", "features.7", "features.12"], "features.17"),
    "mixed": (["conv1"], "relu"),  # its last run counts
    "small_densenet": (["features.relu0", "features.transition1.conv"], ""),  # a function's
    "resnet18": (["relu", "layer1", "layer2", "layer3", "layer4"], "layer4"),
    "efficientnet_lite0": (["blocks.0", "blocks.2", "blocks.4", "blocks.10"], "features"),
    "vgg16": (["features.3", "features.8", "features.15", "features.22"], "features.29"),
    "densenet121": (["features.relu0", "features.transition1.conv"], ""),
}


@pytest.mark.parametrize("name", with_heavy(LAYERS))
def test_layers_and_the_one_that_grad_cam_takes(name):
    names, default = LAYERS[name]
    layers = find_layers(stock(name), pictures(1, 64))
    assert [layer.name for layer in layers][: len(names)] == names
    assert [layer.name for layer in layers if layer.default] == [default]
    shapes = [tuple(layer.shape[1:]) for layer in layers[: len(names)]]
    assert shapes == sorted(shapes, reverse=True)


def test_layers_leave_no_hook_behind():
    model = tiny()
    find_layers(model, pictures(1, 16))
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        find_layers(copy.deepcopy(model).train(), pictures(1, 16))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    assert find_layers(flat, pictures(1, 2)) == []


# ---- assumptions --------------------------------------------------------------------------------


def passed(model, images):
    return {f.what: f.passed for f in check_assumptions(model, images)}


def test_a_plain_network_meets_all_but_residual_sums():
    found = passed(tiny(), pictures(3, 16))
    assert [what for what, yes in found.items() if not yes] == ["residual sums"]


@pytest.mark.parametrize("name", with_heavy(["small_resnet", "resnet18"]))
def test_a_residual_network_meets_all(name):
    assert all(passed(stock(name), pictures(2, 64)).values())


class Broken(nn.Module):
    """A network with one thing wrong."""

    def __init__(self, what):
        super().__init__()
        self.what, self.inner, self.calls = what, tiny(), 0

    def forward(self, x):
        self.calls += 1
        out = self.inner(x)
        if self.what == "the output is logits":
            return out.softmax(1)
        if self.what == "the same answer twice":
            return out + self.calls
        if self.what == "each image for itself":
            return out - out.mean(0)
        if self.what == "a derivative by the image":
            return out.detach()
        return F.gelu(out) if "ReLU" in self.what else out.tanh()


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("the output is logits", "take the softmax or sigmoid at the end away"),
        ("the same answer twice", "differ by"),
        ("each image for itself", "alone and in a batch of 3"),
        ("a derivative by the image", "without derivative"),
        ("all activations are ReLUs", "1 × gelu, which is none"),
        ("piecewise linear", "must be piecewise linear"),
    ],
)
def test_each_assumption_is_seen_to_fail(what, word):
    finding = {f.what: f for f in check_assumptions(Broken(what).eval(), pictures(3, 16))}[what]
    assert not finding.passed
    assert word in finding.why


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (nn.Softmax(1), "probabilities"),
        (nn.LogSoftmax(1), "log-probabilities"),
        (nn.Sigmoid(), "probabilities"),
    ],
)
def test_what_is_no_logit_is_said(last, kind):
    model = nn.Sequential(tiny(), last).eval()
    finding = {f.what: f for f in check_assumptions(model, pictures(3, 16))}["the output is logits"]
    assert not finding.passed
    assert f"these are {kind};" in finding.why


def test_batch_statistics_are_no_evaluation_mode():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).double().eval()  # fmt: skip
    with pytest.raises(ValueError, match="batch normalisation by the batch's own statistics"):
        check_assumptions(model, pictures(3, 16))
    finding = check_assumptions(tiny(), pictures(3, 16))[0]
    assert finding.why == "that of all 9 modules; no statistics of a batch"


def test_what_is_subtracted_is_a_constant_however_it_is_spelt():
    class Less(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny()

        def forward(self, x):
            return self.inner(torch.subtract(x, 0.3))

    images = pictures(2, 16)
    parts = local_linear(Less().eval(), images)
    total = parts.from_input + torch.stack(list(parts.biases.values())).sum(0)
    assert torch.allclose(total, parts.logit, atol=1e-12)
    assert passed(Less().eval(), images)["piecewise linear"]


# ---- methods ------------------------------------------------------------------------------------


def test_which_methods_refuse_and_why():
    torch.manual_seed(0)
    found = applicable_methods(
        models.mobilenet_v3_small(num_classes=3).eval(), pictures(1, 64).float()
    )
    refused = {name for name, reason in found.items() if reason}
    assert {"guided backpropagation", "FullGrad"} <= refused
    assert not refused & {"gradient", "Grad-CAM", "occlusion", "Integrated Gradients"}
    assert "hardswish, which is no ReLU" in found["guided backpropagation"]
    own = {"mine": lambda model, x, t: 1 / 0, "flat": lambda model, x, t: x[:, 0]}
    found = applicable_methods(tiny(), pictures(1, 16), own)
    assert found["mine"] == "it stopped with ZeroDivisionError: division by zero"
    assert found["flat"].startswith("explainer: got relevance of shape (1, 16, 16)")


def test_all_checks_are_plain_values(own):
    checks = check_network(own, photos(3), report_methods((32, 32)), [0, 1, 2])
    assert json.loads(json.dumps(checks)) == json.loads(json.dumps(checks))
    assert checks["images"] == 3
    assert set(checks["refused"]) == {"last block"}
    assert checks["random"] == ""
    assert checks["cost"]["gradient"][:2] == [1, 1]
    assert checks["cost"]["occlusion"][:2] == [65, 0]
    assert checks["transform"][0]["right"] is not None
    with pytest.raises(ValueError, match=r"^methods: got none that applies .* mine: it stopped"):
        check_network(own, photos(1), {"mine": lambda model, x, t: 1 / 0})


@pytest.mark.parametrize("name", ["hard swish by hand", "square", "leaky by maximum", "abs"])
def test_a_step_that_is_no_relu_is_found_whatever_its_spelling(name):
    plan = Plan(0, ("F.relu", name), "none", "none", "none", "zeros", "pooled")
    images = torch.randn(2, 2, 8, 8, dtype=torch.double)
    found = {finding.what: finding for finding in check_assumptions(RandomNetwork(plan), images)}
    assert not found["all activations are ReLUs"].passed


def test_relus_in_another_spelling_are_relus():
    plan = Plan(0, ("maximum", "where"), "none", "none", "none", "zeros", "pooled")
    images = torch.randn(2, 2, 8, 8, dtype=torch.double)
    found = {finding.what: finding for finding in check_assumptions(RandomNetwork(plan), images)}
    assert found["all activations are ReLUs"].passed
    assert found["all activations are ReLUs"].why == "2 × maximum, 1 × where"
