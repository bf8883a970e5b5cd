"""DeepLIFT and LRP against values by hand, dense matrices, captum, shap and zennit."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn

from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import gradient
from xai_course.residual import RelevanceRule, RescaleRule, deeplift, lrp

STOCK = ["resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121", "efficientnet_lite0"]
RELUS = ["resnet18", "resnet50", "vgg16", "densenet121", "mixed", "ArticleNet", "BeetleNet"]
everywhere = pytest.mark.parametrize("name", [*STOCK, "mixed", "ArticleNet", "BeetleNet"])


def any_network(name):
    if name in ("ArticleNet", "BeetleNet"):
        torch.manual_seed(3)
        return {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}[name](CLASSES).double().eval()
    return network(name)


class Function(nn.Module):
    """A model made of a function, with logits (N, 1) or (N, classes)."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def by_hand(function, numbers, baseline=None, **options):
    """Relevance of a few numbers, seen as an image of one row, for a function of that row."""
    model = Function(lambda x: function(x.flatten(1))[:, None]).eval()
    images = torch.tensor(numbers, dtype=torch.double).view(1, 1, 1, -1)
    if baseline is None:
        return lrp(model, images, **options).flatten().tolist()
    base = torch.tensor(baseline, dtype=torch.double).view(1, 1, -1)
    return deeplift(model, images, baseline=base).flatten().tolist()


# ------------------------------------------------------------------ DeepLIFT


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

    # The maximum goes from 2, at the second place, to 3, at the first: a · 3 + (1 - a) · -1 = 1.
    assert by_hand(pool, [3, 1], [0, 2]) == pytest.approx([1.5, -0.5])
    assert by_hand(pool, [3, 1], [2, 0]) == pytest.approx([1, 0])
    assert by_hand(pool, [3, 1], [3, 1]) == [0, 0]
    assert by_hand(pool, [3, 3], [4, 4]) == pytest.approx([-1, 0])


@everywhere
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


def apart():
    """A network as the peers want it: each ReLU a module of its own, nothing in place, no max."""
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


def test_a_linear_model_has_its_weights_times_the_change():
    weight = pictures(1, 4, 2, seed=3).view(1, 32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 1)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(weight)
    images = pictures(3, 4, 2)
    expected = weight.view(1, 2, 4, 4) * (images - 0.3)
    assert error(deeplift(model, images, baseline=0.3), expected) < 1e-14


@pytest.mark.parametrize("name", ["mixed", "resnet18", "efficientnet_lite0"])
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


class Squeeze(nn.Module):
    """Squeeze-and-excitation: a feature map times an activation of its means."""

    def forward(self, x):
        return x * torch.sigmoid(3 * x.mean((2, 3), keepdim=True))


REFUSED = {
    "squeeze and excitation": nn.Sequential(Squeeze(), tiny()),
    "swish as a product": nn.Sequential(Function(lambda x: x * torch.sigmoid(x)), tiny()),
    "layer normalisation": nn.Sequential(nn.LayerNorm([3, 64, 64]).double(), tiny()),
    "a norm of the batch": nn.Sequential(nn.GroupNorm(1, 3).double(), tiny()),
    "softmax": nn.Sequential(tiny(), nn.Softmax(1)),
    "a square": nn.Sequential(Function(torch.square), tiny()),
    "attention": nn.Sequential(
        nn.Flatten(2), Function(lambda x: F.scaled_dot_product_attention(x / 50, x, x)),
        nn.Flatten(), nn.Linear(3 * 64 * 64, CLASSES).double(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_where_the_sum_fails_it_refuses(name, dtype):
    model, images = copy.deepcopy(REFUSED[name]).to(dtype).eval(), pictures().to(dtype)
    with pytest.raises(ValueError, match=r"^model: the relevance does not sum .*integrated_grad"):
        deeplift(model, images, 0, baseline=pictures(seed=4).to(dtype))
    with pytest.raises(ValueError, match=r"^model: .* lrp has no rule .*integrated_gradients"):
        lrp(model, images, 0)


@pytest.mark.parametrize("explain", [deeplift, lrp])
@pytest.mark.parametrize("freeze", [True, False])
def test_a_model_that_autograd_cannot_follow_is_refused(explain, freeze):
    cut = Function(torch.Tensor.detach)
    for model in (nn.Sequential(cut, tiny()).eval(), nn.Sequential(tiny(), cut).eval()):
        model.requires_grad_(not freeze)
        with pytest.raises(ValueError, match=r"^model: "):
            explain(model, pictures())


def test_the_two_modes_know_the_same_activations():
    assert RescaleRule.activations == RelevanceRule.activations


# ------------------------------------------------------------------ LRP by hand and in matrices


def test_lrp_by_hand():
    row, bias = torch.tensor([[3.0, -1.0]]).double(), torch.tensor([0.5]).double()

    def unit(x):
        return F.linear(x, row, bias)[:, 0]

    # z = 3 - 2 + 0.5 = 1.5, and 2 with ε: 3/2 and -2/2 of the logit 1.5.
    assert by_hand(unit, [1, 2], epsilon=0.5) == pytest.approx([2.25, -1.5])
    assert by_hand(unit, [1, 2], epsilon=0) == pytest.approx([3, -2])
    # γ = 1, z > 0: 6, -2 and bias 1 of 5 in all.
    options = {"rule": "gamma", "gamma": 1, "epsilon": 0}
    assert by_hand(unit, [1, 2], **options) == pytest.approx([6 / 5 * 1.5, -2 / 5 * 1.5])
    # z = 3 - 4 + 0.5 < 0: what is negative counts double, 3 - 8 + 0.5 = -4.5.
    expected = [3 / -4.5 * -0.5, -8 / -4.5 * -0.5]
    assert by_hand(unit, [1, 4], **options) == pytest.approx(expected)
    # A negative input turns the signs of its contribution: -3 and -1 · -4 = 4, 0.5; z = 1.5.
    expected = [-3 / 6 * 1.5, 8 / 6 * 1.5]
    assert by_hand(unit, [-1, -4], **options) == pytest.approx(expected)


def test_a_sum_hands_on_in_proportion_and_does_not_double():
    assert by_hand(lambda x: x[:, 0] + x[:, 1], [3, 1]) == pytest.approx([3, 1])
    row = torch.tensor([[1.0, 1.0]]).double()

    def block(x):
        out = F.linear(x, 2 * row.expand(2, 2))
        out += x
        return F.linear(out, row)[:, 0]

    assert sum(by_hand(block, [3, 1], epsilon=0)) == pytest.approx(4 * 4 + 4)
    # What is added is no input: it keeps its share.
    assert by_hand(lambda x: 1 - x[:, 0] + x[:, 1], [3, 1]) == pytest.approx([-3, 1])


def test_activations_and_max_pools_hand_on_all():
    assert by_hand(lambda x: F.relu6(x).sum(1), [9, -1]) == pytest.approx([6, 0])
    row = torch.tensor([[1.0, 2.0]]).double()
    y = float(F.gelu(torch.tensor(5.0).double()))
    found = by_hand(lambda x: F.gelu(F.linear(x, row))[:, 0], [1, 2], epsilon=0)
    assert found == pytest.approx([y / 5, 4 * y / 5])
    found = by_hand(lambda x: F.max_pool2d(x[:, None, None], (1, 3)).flatten(), [1, 7, 2])
    assert found == [0, 7, 0]
    found = by_hand(lambda x: F.avg_pool2d(x[:, None, None], (1, 3)).flatten(), [1, 8, 3])
    assert found == pytest.approx([1 / 3, 8 / 3, 1])


def small(seed):
    """Convolution, batch normalisation, ReLU; convolution, ReLU6; average pooling; linear."""
    first = [nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    second = [nn.Conv2d(4, 3, 3, bias=False), nn.ReLU6()]
    model = nn.Sequential(*first, *second, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 4))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1, generator=generator)
        model[1].running_mean.normal_(0, 0.5, generator=generator)
        model[1].running_var.uniform_(0.5, 2, generator=generator)
    return model.double().eval()


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_lrp_is_what_dense_matrices_give(rule, epsilon, seed):
    model, images = small(seed), pictures(1, 8, 2, seed=seed)
    gamma = 0.6 if rule == "gamma" else 0.0
    layers = [model[:2], model[2], model[3], model[4], model[5:7], model[7]]
    inputs = [images]
    with torch.no_grad():
        for layer in layers:
            inputs.append(layer(inputs[-1].clone()))
    relevance = torch.zeros(4).double()
    relevance[2] = inputs[-1][0, 2]
    for number, layer in reversed(list(enumerate(layers))):
        a, z = inputs[number], inputs[number + 1].flatten()
        if number in (1, 3):  # an activation
            continue
        matrix = torch.autograd.functional.jacobian(layer, a).reshape(len(z), -1)
        contributions = matrix * a.flatten()
        bias = z - contributions.sum(1)
        all_of_it = torch.cat([contributions, bias[:, None]], 1)
        if number != 4:  # average pooling is LRP-0
            same_sign = (all_of_it * z[:, None] > 0).double()
            all_of_it = all_of_it * (1 + gamma * same_sign)
            total = all_of_it.sum(1)
            total = total + epsilon * torch.where(total < 0, -1.0, 1.0).double()
        else:
            total = all_of_it.sum(1)
        shares = torch.where(total[:, None] == 0, 0, all_of_it / total[:, None])
        relevance = (shares * relevance[:, None]).sum(0)[:-1]
    found = lrp(model, images, 2, rule=rule, epsilon=epsilon, gamma=0.6)
    assert error(found.flatten(), relevance) < 1e-10


# ------------------------------------------------------------------ LRP on whole networks


@pytest.mark.parametrize("name", RELUS)
def test_lrp_0_is_gradient_times_input(name):
    model, images = any_network(name), pictures()
    expected = gradient(model, images, [3, 1]) * images
    assert error(lrp(model, images, [3, 1], epsilon=0), expected) < 1e-10
    assert error(lrp(model, images, [3, 1], epsilon=0.1), expected) > 1e-2


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("resnet18", "gamma"),
        ("resnet50", "epsilon"),
        ("vgg16", "epsilon"),
        ("mobilenet_v2", "epsilon"),
        ("densenet121", "gamma"),
    ],
)
def test_without_biases_relevance_is_conserved(name, rule):
    model, images = copy.deepcopy(network(name)), pictures(2, 40)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.zero_()
        if getattr(part, "bias", None) is not None:
            part.bias.data.zero_()
    relevance = lrp(model, images, [3, 1], rule=rule, epsilon=0)
    with torch.no_grad():
        logits = model(images.clone())[[0, 1], [3, 1]]
    assert error(relevance.sum((1, 2, 3)), logits) < 1e-9
    # ε takes some away, and the more the larger it is.
    short = [
        (lrp(model, images, [3, 1], rule=rule, epsilon=e).sum((1, 2, 3)) - logits).abs().sum()
        for e in (1e-6, 1e-2)
    ]
    assert 0 < short[0] < short[1]


@pytest.mark.parametrize(
    ("name", "rule"),
    [("resnet18", "epsilon"), ("resnet18", "gamma"), ("resnet50", "epsilon"), ("vgg16", "gamma")],
)
def test_lrp_agrees_with_zennit(name, rule):
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite, layer_map_base
    from zennit.rules import Epsilon, Gamma
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer
    from zennit.types import Convolution, Linear

    model, images = copy.deepcopy(network(name)), pictures(2, 40)
    targets = torch.tensor([3, 1])
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):  # zennit adds ε a second time, after merging
            part.running_var.add_(part.eps)
            part.eps = 0.0
    hook = Gamma(0.25, stabilizer=0.01) if rule == "gamma" else Epsilon(0.01)
    canonizer = VGGCanonizer() if name == "vgg16" else ResNetCanonizer()
    rules = [((Convolution, Linear), hook), *layer_map_base(1e-12)]
    composite = LayerMapComposite(rules, canonizers=[canonizer])
    with torch.no_grad():
        logits = model(images.clone())
    start = F.one_hot(targets, CLASSES) * logits
    with Gradient(model, composite) as attributor:
        _, theirs = attributor(images.clone(), start)
    assert error(lrp(network(name), images, targets, rule=rule), theirs) < 1e-4


def test_a_batch_normalisation_before_a_convolution_is_a_layer_of_its_own():
    norm, conv = nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3)
    model = nn.Sequential(norm, conv, nn.Flatten(), nn.Linear(48, 3)).double().eval()
    with torch.no_grad():
        norm.running_mean.fill_(0.3)
        norm.running_var.fill_(2)
        norm.weight.fill_(-0.7)
        as_conv = nn.Conv2d(2, 2, 1, groups=2).double()
        as_conv.weight.fill_(-0.7 / (2 + norm.eps) ** 0.5)
        as_conv.bias.copy_(as_conv.weight.flatten() * -0.3)
    other = nn.Sequential(as_conv, *model[1:]).eval()
    for rule in ("epsilon", "gamma"):
        ours, expected = (lrp(m, pictures(2, 6, 2), 0, rule=rule) for m in (model, other))
        assert error(ours, expected) < 1e-12


def test_a_norm_after_an_in_place_change_is_not_merged():
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

        def forward(self, x):
            y = self.conv(x)
            y.relu_()
            return self.norm(y).mean((2, 3))

    torch.manual_seed(0)
    model, images = Careless().double().eval(), pictures(2, 6, 2)
    expected = gradient(model, images, 0) * images
    assert error(lrp(model, images, 0, epsilon=0), expected) < 1e-12


def test_lrp_of_a_network_of_its_own_batch_statistics_is_refused():
    norm = nn.BatchNorm2d(3, track_running_stats=False).double()
    with pytest.raises(ValueError, match=r"^model: batch statistics"):
        lrp(nn.Sequential(norm, tiny()).eval(), pictures())


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"rule": "alpha"}, "rule: got 'alpha'"),
        ({"epsilon": -1}, "epsilon: got -1"),
        ({"epsilon": float("nan")}, "epsilon: got nan"),
        ({"gamma": "0.25"}, "gamma: got '0.25'"),
        ({"gamma": float("inf")}, "gamma: got inf"),
    ],
)
def test_options_that_are_refused_by_name(options, came):
    with pytest.raises(ValueError, match=f"^{came}.*allowed"):
        lrp(tiny(), pictures(), **options)


def test_a_baseline_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^baseline: got \(5, 1, 1\)"):
        deeplift(tiny(), pictures(), baseline=torch.zeros(5, 1, 1))


@pytest.mark.parametrize("explain", [deeplift, lrp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "BeetleNet"])
def test_lower_precision_is_not_refused(explain, dtype, name):
    model, images = any_network(name), pictures()
    relevance = explain(copy.deepcopy(model).to(dtype), images.to(dtype), [3, 1])
    expected = explain(model, images, [3, 1])
    if dtype == torch.float32:
        assert error(relevance.double(), expected) < 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lrp_does_not_take_the_rounding_of_thirty_layers_for_a_missing_rule(seed):
    """In float32 each layer rounds, and merging its normalisation rounds otherwise."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for channels in [3] + [8] * 29:
            norm = nn.BatchNorm2d(8)
            nn.init.normal_(norm.bias)
            layers += [nn.Conv2d(channels, 8, 1, bias=False), norm, nn.ReLU()]
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        with torch.no_grad():
            for _ in range(60):
                model(torch.randn(16, 3, 8, 8))
        images = torch.randn(20, 3, 8, 8)
    found = lrp(model.eval(), images, rule="gamma")
    exact = lrp(model.double(), images.double(), rule="gamma")
    assert (found - exact).abs().max() < 1e-3 * exact.abs().max()
