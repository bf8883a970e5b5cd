"""Odd functions as `targets`, for every public function that takes them: right, or refused by name.

The blame is never on the model, and model and images stay as they were.
"""

import inspect
from functools import partial

import pytest
import torch
from explainers import EXPLAINERS, MASK, REPRESENTER_FIT, small, state
from stock_networks import error, pictures

from xai_course import fully_connected, metrics, relu, residual, robustness
from xai_course.beetlebox import ground_truth_effects, scenes, score_against_ground_truth
from xai_course.core import relevance_maps
from xai_course.models import Predictions
from xai_course.relu import feature_visualization, gradient

MAPS = pictures(2, 16)
REGION = MASK.expand(2, 1, 16, 16)
OF_EXPLAINER = {
    "deletion": {"steps": 3},
    "insertion": {"steps": 3},
    "deletion_curve": {"steps": 3},
    "insertion_curve": {"steps": 3},
    "deletion_and_insertion": {"steps": 3},
    "infidelity": {"samples": 3},
    "sensitivity_max": {"samples": 2},
    "randomisation": {},
    "randomisation_null": {},
}
# Each as a function of model, images and targets.
FUNCTIONS = {
    **EXPLAINERS,
    **{
        name: lambda model, x, targets, name=name, options=options: getattr(metrics, name)(
            model, gradient, x, targets, **options
        )
        for name, options in OF_EXPLAINER.items()
    },
    **{name: getattr(residual, name) for name in ("block_contributions", "path_contributions")},
    "path_gradients": residual.path_gradients,
    "logit_contributions": fully_connected.logit_contributions,
    "local_linear": relu.local_linear,
    "lime_coefficients": partial(residual.lime_coefficients, samples=40),
    "shapley_estimates": partial(residual.shapley_estimates, samples=256),
    "deletion of maps": lambda model, x, targets: metrics.deletion(model, MAPS, x, targets),
    "null_battery": lambda model, x, targets: metrics.null_battery(model, x, gradient, targets),
    **{f"{name}_map": getattr(metrics, f"{name}_map") for name in ("noise", "constant", "centre")},
    **{f"{name}_map": getattr(metrics, f"{name}_map") for name in ("edge", "bright_edge")},
    "pointing_game": lambda model, x, t: metrics.pointing_game(model, gradient, x, REGION, t),
    "relevance_mass": lambda model, x, t: metrics.relevance_mass(model, gradient, x, REGION, t),
    "tcav": lambda model, x, targets: fully_connected.tcav(
        model, x, targets, {"c": (torch.rand(4, 5), torch.rand(4, 5))}, layer="conv2"
    ),
    # These take classes alone, and say so.
    "contrast": fully_connected.contrast,
    "representer_points": partial(fully_connected.representer_points, REPRESENTER_FIT),
    "grid_pointing_game": lambda model, x, targets: metrics.grid_pointing_game(
        model, gradient, x, targets, grid=(1, 2)
    ),
    "fgsm": partial(robustness.fgsm, epsilon=0.1),
    "pgd": partial(robustness.pgd, epsilon=0.1, steps=2),
    "learn_patch": partial(robustness.learn_patch, mask=MASK, steps=2),
    "manipulate_map": lambda model, x, targets: robustness.manipulate_map(
        model, x, x, targets, steps=2
    ),
}
OTHERS = {"feature_visualization"}  # its targets are units, see its own test

# What each returns for logits `y` (N, classes).
REFUSED = {
    "a column": lambda y: y[:, :1],
    "one number": lambda y: y[0, 0],
    "truth values": lambda y: y[:, 0] > 0,
    "whole numbers": lambda y: y.argmax(1),
    "NaN": lambda y: y[:, 0] * torch.nan,
    "complex": lambda y: y[:, 0] + 1j,
    "IndexError": lambda y: y[:, 99],
    "KeyError": lambda y: {}["out"],
    "None": lambda y: None,
    "a list": lambda y: [1.0] * len(y),
    "a list of tensors": lambda y: list(y[:, 0]),
    "an array": lambda y: y[:, 0].detach().numpy(),
    "random": lambda y: y[:, 0] + torch.rand(len(y)),
    "mixing": lambda y: y[:, 0] - y[:, 0].mean(),
    "mixing by place": lambda y: y[:, 0] + torch.arange(len(y)),
    "sparse": lambda y: y[:, 0].to_sparse(),
}
# Refused by what needs a derivative; else as good as another function.
WITHOUT_DERIVATIVE = {
    "detached": lambda y: y[:, 0].detach(),
    "constant": lambda y: torch.ones(len(y), dtype=y.dtype),
    "by NumPy": lambda y: torch.from_numpy(y[:, 0].detach().numpy()),
}
RIGHT = {
    "float64": (lambda y: y[:, 0].double(), lambda y: y[:, 0]),
    "in place": (lambda y: y.mul_(2)[:, 0], lambda y: (2 * y)[:, 0]),
}


def numbers(result):
    """The tensors of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, dict):
        return [tensor for one in result.values() for tensor in numbers(one)]
    if isinstance(result, list | tuple):
        return [tensor for one in result for tensor in numbers(one)]
    return []


def tried(call, function, count=2):
    """What a call returns, or the sentence of its refusal; all stays as it was."""
    torch.manual_seed(0)
    model, images = small(), pictures(count, 16)
    before, kept = state(model), images.clone()
    try:
        result = call(model, images, function)
    except ValueError as refusal:
        result = str(refusal)
    assert state(model) == before
    assert torch.equal(images, kept)
    return result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_odd_function_is_refused_by_name(name):
    for kind, function in REFUSED.items():
        found = tried(FUNCTIONS[name], function)
        assert isinstance(found, str), kind
        assert found.startswith("targets: got "), (kind, found)
        assert "must" in found, (kind, found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_without_a_derivative_is_refused_by_name_or_right(name):
    for kind, function in WITHOUT_DERIVATIVE.items():
        found = tried(FUNCTIONS[name], function)
        if isinstance(found, str):
            assert found.startswith("targets: got a function"), (kind, found)
        elif kind != "constant":
            expected = tried(FUNCTIONS[name], lambda y: y[:, 0])
            for first, second in zip(numbers(found), numbers(expected), strict=True):
                assert error(first, second) < 1e-9, kind


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unusual_function_is_right(name):
    for kind, (function, plain) in RIGHT.items():
        found, expected = (tried(FUNCTIONS[name], one) for one in (function, plain))
        if isinstance(expected, str):
            assert found == expected
            continue
        assert not isinstance(found, str), (kind, found)
        for first, second in zip(numbers(found), numbers(expected), strict=True):
            assert torch.allclose(first.double(), second.double(), atol=1e-9), kind


def test_a_function_may_work_in_place_on_what_the_derivative_needs():
    model, images = small(), pictures(2, 16)
    model.head = torch.nn.Sequential(model.head, torch.nn.Sigmoid())
    for weight in model.head.parameters():
        weight.data.mul_(1e-3)  # so that the sigmoid has a slope
    found, expected = (gradient(model.eval(), images, one) for one in RIGHT["in place"])
    assert error(found, expected) < 1e-9


@pytest.mark.parametrize("name", ["gradient", "occlusion", "lrp", "logit_contributions"])
def test_a_function_that_mixes_is_found_for_one_image(name):
    found = tried(FUNCTIONS[name], REFUSED["mixing"], count=1)
    assert found.startswith("targets: got a function whose number"), found


def test_every_public_function_with_targets_is_here():
    rooms = (relu, fully_connected, residual, metrics, robustness)
    known = {getattr(one, "func", one).__name__ for one in FUNCTIONS.values()} | set(FUNCTIONS)
    for room in rooms:
        for name in room.__all__:
            function = getattr(room, name)
            if inspect.isfunction(function) and "targets" in inspect.signature(function).parameters:
                assert name in known | OTHERS, name
    assert "targets" in inspect.signature(feature_visualization).parameters


# ------------------------------------------------------------------ functions that explain

ODD_EXPLAINERS = {
    "one map": lambda model, x, targets: x[0],
    "truth values": lambda model, x, targets: x > 0,
    "whole numbers": lambda model, x, targets: x.long(),
    "NaN": lambda model, x, targets: x * torch.nan,
    "complex": lambda model, x, targets: x + 1j,
    "None": lambda model, x, targets: None,
    "a list": lambda model, x, targets: [1.0],
    "two arguments": lambda model, x: x,
    "four arguments": lambda model, x, targets, more: x,
}
WITH_EXPLAINER = {
    **{
        name: lambda model, x, explain, name=name, options=options: getattr(metrics, name)(
            model, explain, x, **options
        )
        for name, options in OF_EXPLAINER.items()
    },
    "pointing_game": lambda model, x, e: metrics.pointing_game(model, e, x, REGION),
    "relevance_mass": lambda model, x, e: metrics.relevance_mass(model, e, x, REGION),
    "grid_pointing_game": lambda model, x, e: metrics.grid_pointing_game(
        model, e, x, torch.arange(2), grid=(1, 2)
    ),
    "null_battery": lambda model, x, e: metrics.null_battery(model, x, e),
    "contrast": lambda model, x, e: fully_connected.contrast(model, x, explain=e),
}


@pytest.mark.parametrize("name", WITH_EXPLAINER)
def test_an_odd_explainer_is_refused_by_name(name):
    for kind, explain in ODD_EXPLAINERS.items():
        found = tried(WITH_EXPLAINER[name], explain)
        assert isinstance(found, str), kind
        argument = "explain: got " if name == "contrast" else "explainer: got "
        assert found.startswith(argument), (kind, found)
        assert "must" in found, (kind, found)


@pytest.mark.parametrize("name", WITH_EXPLAINER)
def test_an_explainer_may_work_in_place(name):
    found, expected = (
        tried(WITH_EXPLAINER[name], explain)
        for explain in (
            lambda model, x, targets: x.mul_(2).add_(1),
            lambda model, x, targets: 2 * x + 1,
        )
    )
    for first, second in zip(numbers(found), numbers(expected), strict=True):
        assert torch.allclose(first.double(), second.double(), atol=1e-12, equal_nan=True)


def mode_and_flags(model):
    weights = list(model.parameters())
    return (
        [part.training for part in model.modules()],
        [(weight.requires_grad, id(weight.grad)) for weight in weights],
    )


def first_layer(model):
    return next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d))


def trains(model, x, targets):
    model.train()
    return x + 0 * model(x).sum()


def adds_to_a_weight(model, x, targets):
    with torch.no_grad():
        first_layer(model).weight.add_(1)
    return x


def writes_past_autograd(model, x, targets):
    first_layer(model).weight.data.mul_(2)
    return x


def moves_weight_between_classes(model, x, targets):
    with torch.no_grad():  # as a step of cross-entropy does: their sum stays
        first_layer(model).weight[0] += 0.5
        first_layer(model).weight[1] -= 0.5
    return x


def replaces_a_weight(model, x, targets):
    layer = first_layer(model)
    layer.weight = torch.nn.Parameter(2 * layer.weight.detach())
    return x


def updates_batch_statistics(model, x, targets):
    model.train()
    model(x)
    model.eval()
    return x


def freezes(model, x, targets):
    model.requires_grad_(False)
    return x


def fills_gradients(model, x, targets):
    with torch.enable_grad():
        model(x).sum().backward()
    return x


def stops_midway(model, x, targets):
    for change in (trains, fills_gradients, freezes):
        change(model, x, targets)
    raise RuntimeError("midway")


CHANGES = {
    trains: "got a function that leaves the model in training mode",
    adds_to_a_weight: "got a function that changes the model's weights",
    writes_past_autograd: "got a function that changes the model's weights",
    moves_weight_between_classes: "got a function that changes the model's weights",
    updates_batch_statistics: "got a function that changes the model's weights or batch stat",
    freezes: "",
    fills_gradients: "",
    stops_midway: "midway",
}


@pytest.mark.parametrize("name", WITH_EXPLAINER)
def test_an_explainer_that_changes_the_model_is_undone_or_refused(name):
    for change, words in CHANGES.items():
        torch.manual_seed(0)
        model, images = small(), pictures(2, 16)
        first_layer(model).weight.grad = torch.ones_like(first_layer(model).weight)
        before = mode_and_flags(model)
        refusal = ""
        try:
            WITH_EXPLAINER[name](model, images, change)
        except (RuntimeError, ValueError) as error:
            refusal = str(error)
        assert mode_and_flags(model) == before, change
        assert words in refusal, (change, refusal)
        assert bool(words) == bool(refusal), (change, refusal)


def test_an_explainer_that_replaces_a_weight_is_refused():
    with pytest.raises(ValueError, match="got a function that changes the model's weights"):
        relevance_maps(small(), replaces_a_weight, pictures(2, 16), torch.arange(2))


def test_a_change_that_an_explainer_takes_back_is_its_own_business():
    def doubles(model, x, targets):
        weight = first_layer(model).weight
        with torch.no_grad():
            kept = weight.clone()
            weight.mul_(2)
            model(x)
            weight.copy_(kept)
        return x

    model, images = small(), pictures(2, 16)
    assert torch.equal(relevance_maps(model, doubles, images, torch.arange(2)), images)
    model.train()  # what a caller of its own may pass
    relevance_maps(model, lambda model, x, t: model.eval() and x, images, torch.arange(2))
    assert all(part.training for part in model.modules())


def test_a_map_to_manipulate_is_asked_for_by_name():
    images = pictures(1, 16).sigmoid()
    with pytest.raises(ValueError, match=r"^explainer: got <function .*; must be one of gradient"):
        robustness.manipulate_map(small(), images, images[:, :1], explainer=gradient)


def test_an_error_of_an_explainer_is_its_own():
    def stops(model, x, targets):
        raise TypeError("no such thing")

    with pytest.raises(TypeError, match=r"^no such thing$"):
        metrics.deletion(small(), stops, pictures(2, 16), steps=3)


@pytest.mark.parametrize(
    ("predict", "got"),
    [
        (lambda x: None, "predict: got a function that returns NoneType"),
        (lambda x: [[1.0], [1.0, 2.0]], "predict: got a function that returns list"),
        (lambda x: x.mean((2, 3)) + 1j, "predict: got a function that returns torch.complex128"),
        (lambda x: x.mean(), r"model: got the output \(\)"),
    ],
)
def test_what_a_service_predicts_is_refused_by_name(predict, got):
    with pytest.raises(ValueError, match=f"^{got}.* must return"):
        residual.occlusion(Predictions(predict), pictures(2, 16), window=8, stride=8)


# ------------------------------------------------------------------ other functions


@pytest.mark.parametrize(
    ("score", "got"),
    [
        (lambda relevance, effects: None, "a function that returns NoneType for 2 scenes"),
        (lambda relevance, effects: relevance, r"a function that returns \(2, \d+\) for 2 scenes"),
        (lambda relevance, effects: relevance.sum(), r"a function that returns \(\) for 2 scenes"),
        ("spearman", "str"),
    ],
)
def test_an_odd_score_is_refused_by_name(score, got):
    model, beetles, effects = scored()
    with pytest.raises(ValueError, match=f"^score: got {got}; must"):
        score_against_ground_truth(model, gradient, beetles, effects=effects, size=32, score=score)


def test_a_score_may_work_in_place():
    model, beetles, effects = scored()
    kept = effects.clone()
    options = {"effects": effects, "size": 32}
    found = score_against_ground_truth(
        model,
        gradient,
        beetles,
        score=lambda maps, truth: maps.mul_(truth.mul_(2)).nansum(1),
        **options,
    )
    expected = score_against_ground_truth(
        model, gradient, beetles, score=lambda maps, truth: (2 * maps * truth).nansum(1), **options
    )
    assert torch.allclose(found, expected, equal_nan=True)  # NaN where a part is absent
    assert torch.allclose(effects, kept, rtol=0, atol=0, equal_nan=True)


def scored():
    """A linear network, two scenes, and the effects of their parts."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3)).eval()
    beetles = scenes("test", "Ellipsa_polita", 2)
    return model, beetles, ground_truth_effects(model, beetles, size=32)


@pytest.mark.parametrize(
    ("compute", "got"),
    [
        (lambda count: None, "a function that returns NoneType"),
        (lambda count: torch.ones(count), r"a function that returns \(2,\)"),
        ("maps", "str"),
    ],
)
def test_odd_maps_of_a_convergence_are_refused_by_name(compute, got):
    with pytest.raises(ValueError, match=f"^compute_maps: got {got}; must"):
        metrics.convergence(compute, [1, 2])
