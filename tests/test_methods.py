"""The registry: what it says of each method is true, and every set of methods comes from it."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from stock_networks import pictures, tiny
from torch import nn

from xai_course import fully_connected, relu, residual
from xai_course.beetlebox import SPECIES, Scene, scenes, stack_images
from xai_course.core import describe_callable, relevance_maps
from xai_course.data import normalise
from xai_course.explorer import Selection
from xai_course.methods import (
    METHODS,
    NULL_MAPS,
    choose_methods,
    course_methods,
    further_methods,
    map_unit,
    report_methods,
    report_null_maps,
    training_baselines,
    with_null_maps,
)
from xai_course.models import BeetleNet
from xai_course.report import applicable_methods, check_assumptions

ROOMS = {"ReLU": relu, "fully connected": fully_connected, "residual": residual}


def explainers():
    """Every method with options for any network."""
    baselines = {"baselines": pictures(2, 16)}
    return {
        name: method.explainer(**(baselines if name == "expected gradients" else {}))
        for name, method in METHODS.items()
    }


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_described(name):
    method = METHODS[name]
    assert method.name == name
    assert method.family in ROOMS
    assert getattr(ROOMS[method.family], method.function.__name__) is method.function
    assert method.unit in ("logits", "logits per unit of the input", "none")
    assert method.readout in ("signed sum", "size")
    arguments = inspect.signature(method.function).parameters
    assert set(method.options) <= set(arguments)
    assert method.makes_copies == ("batch_size" in arguments)
    unit = {"none": "without a unit"}.get(method.unit, f"in {method.unit}")
    returns = inspect.getdoc(method.function).partition("Returns:")[2].partition("\n\n")[0]
    assert unit in " ".join(returns.split())


def test_a_map_in_logits_is_a_sum_and_a_derivative_a_slope():
    units = {name: map_unit(explainer) for name, explainer in course_methods().items()}
    slopes = {"gradient", "SmoothGrad", "DeconvNet", "guided backpropagation"}
    assert {name for name, unit in units.items() if unit == "slope"} == slopes
    assert set(units.values()) == {"slope", "sum"}
    for unknown in (*NULL_MAPS.values(), torch.zeros(1), lambda model, images, targets: images):
        assert map_unit(unknown) is None


def test_the_three_families_are_all_there():
    assert {method.family for method in METHODS.values()} == set(ROOMS)
    assert {METHODS[name].family for name in report_methods()} == set(ROOMS)


class Without(nn.Module):
    """A network without one thing that methods need."""

    def __init__(self, what):
        super().__init__()
        self.what, self.inner = what, tiny()

    def forward(self, x):
        if self.what == "a derivative by the image":
            return self.inner(x).detach()
        if self.what == "all activations are ReLUs":
            return F.gelu(self.inner(x))
        if self.what == "piecewise linear":
            return self.inner(x).tanh()
        if self.what == "a linear head":
            return F.adaptive_avg_pool2d(x, (1, 7)).flatten(1)
        return self.inner(x)  # without residual sums


NEEDS = (
    "a derivative by the image",
    "all activations are ReLUs",
    "piecewise linear",
    "a linear head",
    "residual sums",
)


@pytest.mark.parametrize("what", NEEDS)
def test_a_method_refuses_a_network_that_lacks_what_it_needs(what):
    model, images = Without(what).eval(), pictures(2, 16)
    findings = {finding.what: finding.passed for finding in check_assumptions(model, images)}
    assert not findings[what]
    reasons = applicable_methods(model, images, explainers())
    need = {name for name, method in METHODS.items() if what in method.needs}
    assert need
    refused = {name for name, reason in reasons.items() if reason}
    assert need <= refused
    assert not any("stopped with" in reason for reason in reasons.values())
    assert "occlusion" not in refused  # which needs a baseline alone


def test_what_has_all_that_is_needed_is_explained_by_all():
    torch.manual_seed(0)
    model = BeetleNet(classes=4, depth=2, width=4).eval()
    images = torch.rand(1, 3, 16, 16)
    baselines = {"baselines": torch.rand(2, 3, 16, 16)}
    for name, method in METHODS.items():
        options = baselines if name == "expected gradients" else {}
        maps = relevance_maps(model, method.explainer(**options), images, torch.tensor([0]))
        assert maps.shape[2:] == images.shape[2:]


def test_an_explainer_has_the_course_s_options_or_others():
    assert METHODS["gradient"].explainer() is METHODS["gradient"].function
    assert METHODS["Grad-CAM"].explainer() is METHODS["Grad-CAM"].function  # None: its default
    method = METHODS["SmoothGrad"]
    assert method.explainer().keywords == {"samples": 8}
    assert method.explainer(noise=0.1, samples=2).keywords == {"samples": 2, "noise": 0.1}
    assert method.explainer(samples=None) is method.function


def test_the_course_s_methods_are_those_of_the_tables_on_file():
    described = {name: describe_callable(method) for name, method in course_methods().items()}
    assert described == {
        "gradient": "gradient",
        "gradient × input": "gradient_times_input",
        "DeconvNet": "deconvnet",
        "guided backpropagation": "guided_backprop",
        "SmoothGrad": "smooth_grad(samples=8, batch_size=100)",
        "Grad-CAM": "grad_cam",
        "FullGrad": "full_grad",
        "CAM": "class_activation_map",
        "CAM, contrast": "contrast",
        "last block": "block_map",
        "occlusion": "occlusion(window=8, stride=8, batch_size=100)",
        "IG, black": "integrated_gradients(baseline=tensor (1, 3, 1, 1), steps=8, batch_size=100)",
        "IG, mean": "integrated_gradients(steps=8, batch_size=100)",
        "IG, blur": "integrated_gradients(baseline='blur', steps=8, batch_size=100)",
        "expected gradients": "expected_gradients(baselines=tensor (20, 3, 64, 64), steps=2, "
        "batch_size=100)",
        "DeepLIFT": "deeplift",
        "LRP": "lrp(rule='gamma')",
    }
    without = {name for name in course_methods() if not name.startswith("IG")}
    assert without == set(METHODS) - {"Integrated Gradients"} - set(further_methods())


def test_expected_gradients_compare_with_two_training_scenes_of_each_species():
    first = [scene for name in SPECIES for scene in scenes("train", name, 2)]
    assert torch.equal(training_baselines(), normalise(stack_images(first)))
    assert course_methods()["expected gradients"].keywords["baselines"] is training_baselines()


def test_the_report_s_methods_fit_the_size_of_the_input():
    described = {n: describe_callable(m) for n, m in report_methods((64, 96)).items()}
    assert described == {
        "gradient": "gradient",
        "SmoothGrad": "smooth_grad(samples=8, batch_size=16)",
        "guided backpropagation": "guided_backprop",
        "Grad-CAM": "grad_cam",
        "FullGrad": "full_grad",
        "CAM": "class_activation_map",
        "last block": "block_map",
        "occlusion": "occlusion(window=(8, 12), stride=(8, 12), batch_size=16)",
        "Integrated Gradients": "integrated_gradients(baseline='blur', steps=8, batch_size=16)",
        "DeepLIFT": "deeplift(baseline='blur')",
        "LRP": "lrp(rule='gamma')",
    }
    assert report_methods((4, 4))["occlusion"].keywords["window"] == (1, 1)


def test_some_of_the_report_s_methods_are_chosen_by_name():
    assert list(choose_methods(["LRP", "gradient"], (32, 32))) == ["LRP", "gradient"]
    for names, got in ((["gradient", "lime"], "'lime'"), ([], "''")):
        with pytest.raises(ValueError, match=f"^methods: got {got}; must be one of gradient, "):
            choose_methods(names, (32, 32))


def test_null_maps_know_no_network():
    images = pictures(2, 16)
    for null in NULL_MAPS.values():
        one, other = (null(model, images) for model in (tiny(), nn.Flatten().eval()))
        assert torch.equal(one, other)
    assert report_null_maps() == {n: NULL_MAPS[n] for n in ("null: edges", "null: centre")}


def test_tables_have_null_maps_and_the_ground_truth_beside_the_methods():
    torch.manual_seed(0)
    model = BeetleNet(classes=10, depth=1, width=4).eval()
    two = [Scene(name, 70) for name in list(SPECIES)[:2]]
    every = with_null_maps(model, two, {"mine": relu.gradient})
    assert list(every) == ["mine", *NULL_MAPS, "null: silhouette", "the key itself"]
    for name in ("null: silhouette", "the key itself"):
        assert every[name].shape == (2, 1, 64, 64)


def test_the_explorer_can_set_every_option():
    fields = set(inspect.signature(Selection).parameters)
    assert {option for method in METHODS.values() for option in method.options} <= fields
