"""DeepLIFT by hand, by its sum on every network, and against captum and shap."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, CLASSES, error, network, pictures, tiny, with_heavy
from torch import nn
from toy_models import WITHOUT_RULE, Function, any_network

from xai_course.relu import gradient
from xai_course.residual import deeplift
from xai_course.residual.deeplift import _check_change


def by_hand(function, numbers, baseline):
    """Relevance of a few numbers, seen as an image of one row, for a function of that row."""
    model = Function(lambda x: function(x.flatten(1))[:, None])
    images = torch.tensor(numbers, dtype=torch.double).view(1, 1, 1, -1)
    base = torch.tensor(baseline, dtype=torch.double).view(1, 1, -1)
    return deeplift(model, images, baseline=base).flatten().tolist()


# ---- by hand -------------------------------------------------------------------------------------


def test_rescale_by_hand():
    # The ReLU's input goes from -1 to 2, its output from 0 to 2: two thirds of each change.
    assert by_hand(lambda x: F.relu(x[:, 0] - x[:, 1]), [3, 1], [0, 1]) == pytest.approx([2, 0])
    # Closed at the image, open at the baseline: from 3 to -1, output from 3 to 0, slope 3/4.
    found = by_hand(lambda x: torch.relu(x[:, 0] - x[:, 1]), [1, 2], [4, 1])
    assert found == pytest.approx([-2.25, -0.75])
    # Where the input does not change, the derivative: here 1 for an open ReLU, and nothing moves.
    assert by_hand(lambda x: F.relu(x[:, 0] + x[:, 1]), [1, 2], [2, 1]) == pytest.approx([-1, 1])


def test_a_max_pool_by_hand():
    def pool(x):
        return F.max_pool2d(x.view(-1, 1, 1, 2), (1, 2)).flatten()

    # The maximum goes from 2, at the second position, to 3, at the first: a · 3 + (1 - a) · -1 = 1.
    assert by_hand(pool, [3, 1], [0, 2]) == pytest.approx([1.5, -0.5])
    assert by_hand(pool, [3, 1], [2, 0]) == pytest.approx([1, 0])
    assert by_hand(pool, [3, 1], [3, 1]) == [0, 0]
    assert by_hand(pool, [3, 3], [4, 4]) == pytest.approx([-1, 0])


def test_rounding_does_not_decide_where_a_maximum_is():
    def pool(x):
        return F.max_pool2d(x.view(-1, 1, 1, 2), (1, 2)).flatten()

    # Equal but for the last digit, at the image and at the baseline: the first position gets all.
    assert by_hand(pool, [1, 1 + 2**-52], [0.3 + 2**-54, 0.3]) == pytest.approx([0.7, 0])


# ---- the sum -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "ArticleNet", "BeetleNet"])
def test_relevance_sums_to_the_change_with_random_baselines(name):
    model, targets = any_network(name), [3, 1]
    images, baselines = pictures(), 2 * pictures(seed=8)
    relevance = deeplift(model, images, targets, baseline=baselines)
    with torch.no_grad():
        change = (model(images.clone()) - model(baselines.clone()))[[0, 1], targets]
    assert error(relevance.sum((1, 2, 3)), change) < 1e-10
    assert error(relevance, gradient(model, images, targets) * (images - baselines)) > 1e-3 or (
        name == "ArticleNet"
    )


@given(seed=st.integers(0, 10**6), target=st.integers(0, CLASSES - 1), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_it_sums_for_any_network_and_baseline(seed, target, scale):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.MaxPool2d(3, 2, 1), tiny())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1, generator=generator)
    images, baselines = scale * pictures(2, 12, seed=seed), scale * pictures(2, 12, seed=seed + 1)
    relevance = deeplift(model.eval(), images, target, baseline=baselines)
    with torch.no_grad():
        change = (model(images.clone()) - model(baselines.clone()))[:, target]
    size = relevance.abs().sum((1, 2, 3))
    assert ((relevance.sum((1, 2, 3)) - change).abs() <= 1e-11 * size).all()


ACTIVATIONS = {
    "relu6": nn.ReLU6(inplace=True),
    "hardtanh": nn.Hardtanh(),
    "leaky": nn.LeakyReLU(0.1, inplace=True),
    "prelu": nn.PReLU(6),
    "elu": nn.ELU(),
    "selu": nn.SELU(inplace=True),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(inplace=True),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "hardswish": nn.Hardswish(),
    "threshold": nn.Threshold(0.1, 0.5),
    "tanhshrink": nn.Tanhshrink(),
    "logsigmoid": nn.LogSigmoid(),
    "clamp": Function(lambda x: x.clamp(min=0)),
    "clamp_": Function(lambda x: x.clamp_(-0.5, 0.5)),
    "relu_": Function(torch.relu_),
    "input=": Function(lambda x: torch.sigmoid(input=x)),
    "Tensor.tanh": Function(torch.Tensor.tanh),
}


def with_activation(activation):
    model = copy.deepcopy(tiny())
    model[1] = copy.deepcopy(activation).double()
    return model.eval()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_and_spelling(name):
    model, images, baselines = with_activation(ACTIVATIONS[name]), pictures(), pictures(seed=4)
    relevance = deeplift(model, images, 2, baseline=baselines)
    with torch.no_grad():
        change = (model(images.clone()) - model(baselines.clone()))[:, 2]
    assert error(relevance.sum((1, 2, 3)), change) < 1e-12


def test_an_activation_has_its_own_derivative_where_its_input_does_not_change():
    """A smooth one, beside a unit that changes: the sum alone would not show the derivative."""
    model = Function(lambda x: torch.tanh(x[:, 0, 0]).sum(1, keepdim=True) + 0 * x[:, 0, 0, :1])
    images = torch.tensor([0.5, 0.5], dtype=torch.double).view(1, 1, 1, 2)
    base = torch.tensor([0.5, 0.0], dtype=torch.double).view(1, 1, 2)
    expected = [0, float(torch.tanh(images[0, 0, 0, 1]))]
    assert deeplift(model, images, baseline=base).flatten().tolist() == pytest.approx(expected)


POOLS = {
    "ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "padding": nn.MaxPool2d(5, 3, 2),
    "dilation": nn.MaxPool2d(2, 1, dilation=3),
    "adaptive": nn.AdaptiveMaxPool2d((5, 7)),
    "with indices": Function(lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0]),
    "adaptive with indices": Function(lambda x: F.adaptive_max_pool2d(x, 3, True)[0]),
    "torch": Function(lambda x: torch.max_pool2d(x, 3, 2, 1)),
    "unpooled": Function(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
}


@pytest.mark.parametrize("name", [n for n in POOLS if n != "unpooled"])
def test_every_max_pool(name):
    model = nn.Sequential(POOLS[name], tiny()).eval()
    images, baselines = pictures(2, 30), pictures(2, 30, seed=4)
    relevance = deeplift(model, images, 2, baseline=baselines)
    with torch.no_grad():
        change = (model(images.clone()) - model(baselines.clone()))[:, 2]
    assert error(relevance.sum((1, 2, 3)), change) < 1e-12


# ---- oracles -------------------------------------------------------------------------------------


def apart():
    """A network as the oracles need it: each ReLU a module of its own, no step in place, no max."""
    block = [nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1)]
    head = [nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(80, 9), nn.ReLU()]
    model = nn.Sequential(*block, *head, nn.Linear(9, CLASSES)).double().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in [*model.parameters(), model[1].running_mean]:
            tensor.normal_(0, 0.5, generator=generator)
    return model


def test_deeplift_agrees_with_captum():
    images, baselines = pictures(), pictures(seed=4)
    ours = deeplift(apart(), images, [3, 1], baseline=baselines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        theirs = DeepLift(apart()).attribute(images, baselines, torch.tensor([3, 1]))
    assert error(ours, theirs) < 1e-6
    gradients = gradient(apart(), images, [3, 1]) * (images - baselines)
    assert error(gradients, theirs) > 1e-2


def test_deeplift_agrees_with_shap():
    shap = pytest.importorskip("shap", reason="shap is not installed on Intel Macs")
    images, baselines = pictures(), pictures(1, seed=4)
    ours = torch.stack([deeplift(apart(), images, k, baseline=baselines[0]) for k in range(2)], -1)
    explainer = shap.DeepExplainer(apart(), baselines)
    theirs = explainer.shap_values(images, check_additivity=False)[..., :2]
    assert error(ours, torch.from_numpy(theirs).double()) < 1e-6


# ---- axioms --------------------------------------------------------------------------------------


def test_a_linear_model_has_its_weights_times_the_change():
    weight = pictures(1, 4, 2, seed=3).view(1, 32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 1)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(weight)
    images = pictures(3, 4, 2)
    expected = weight.view(1, 2, 4, 4) * (images - 0.3)
    assert error(deeplift(model, images, baseline=0.3), expected) < 1e-14


@pytest.mark.parametrize("name", ALL)
def test_compared_with_itself_an_image_has_no_relevance(name):
    relevance = deeplift(network(name), pictures(), baseline=pictures())
    assert torch.equal(relevance, torch.zeros_like(relevance))


def test_what_does_not_change_has_no_relevance():
    images, baselines = pictures(2, 32), pictures(2, 32, seed=4)
    baselines[:, :, 10:20, 5:] = images[:, :, 10:20, 5:]
    relevance = deeplift(network("mixed"), images, baseline=baselines)
    assert not relevance[:, :, 10:20, 5:].any()
    assert relevance[:, :, :10].abs().min() > 0


def test_a_saturated_unit_has_no_gradient_and_yet_a_change():
    saturated = Function(lambda x: (1 - F.relu(1 - x.sum((1, 2, 3))))[:, None]).eval()
    images = torch.ones(1, 1, 2, 2, dtype=torch.double)
    assert not gradient(saturated, images).any()
    assert deeplift(saturated, images, baseline=0).flatten().tolist() == [0.25] * 4


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_RULE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_where_the_sum_fails_it_refuses(name, dtype):
    model, images = copy.deepcopy(WITHOUT_RULE[name]).to(dtype).eval(), pictures().to(dtype)
    with pytest.raises(ValueError, match=r"^model: got relevance that does not sum"):
        deeplift(model, images, 0, baseline=pictures(seed=4).to(dtype))


@pytest.mark.parametrize("freeze", [True, False])
def test_a_model_that_autograd_cannot_follow_is_refused(freeze):
    cut = Function(torch.Tensor.detach)
    for model in (nn.Sequential(cut, tiny()).eval(), nn.Sequential(tiny(), cut).eval()):
        model.requires_grad_(not freeze)
        with pytest.raises(ValueError, match=r"^model: got"):
            deeplift(model, pictures())


def test_a_baseline_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^baseline: got \(5, 1, 1\)"):
        deeplift(tiny(), pictures(), baseline=torch.zeros(5, 1, 1))


SMALL_AND_LARGE = ["small_resnet", "small_densenet", "small_mobilenet"]
SMALL_AND_LARGE += ["resnet18", "densenet121", "mobilenet_v2"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*with_heavy(SMALL_AND_LARGE), "BeetleNet"])
def test_lower_precision_is_not_refused(dtype, name):
    model, images = any_network(name), pictures()
    relevance = deeplift(copy.deepcopy(model).to(dtype), images.to(dtype), [3, 1])
    assert relevance.dtype == dtype
    if dtype == torch.float32:
        assert error(relevance.double(), deeplift(model, images, [3, 1])) < 1e-3


def test_the_sum_may_miss_by_rounding_and_by_no_more():
    relevance, zero = torch.ones(1, 1, 10, 10), torch.zeros(1)
    _check_change(relevance, torch.tensor([100.0 + 1e-3]), zero)  # 1e-5 of the relevance's size
    with pytest.raises(ValueError, match=r"^model: got relevance that does not sum"):
        _check_change(relevance, torch.tensor([100.0 + 2e-2]), zero)
    with pytest.raises(ValueError, match=r"^model: got relevance that does not sum"):
        _check_change(relevance, torch.tensor([torch.nan]), zero)
