"""LRP by hand, against dense matrices, by conservation, and against zennit."""

import copy
from importlib.metadata import version

import pytest
import torch
import torch.nn.functional as F
from stock_networks import CLASSES, error, network, pictures, tiny, with_heavy
from torch import nn
from toy_models import WITHOUT_RULE, Function, any_network

from xai_course.relu import gradient
from xai_course.residual import lrp
from xai_course.residual.lrp import _check_conservation

RELUS = ["small_resnet", "bottleneck", "small_vgg", "small_densenet", "mixed"]
RELUS += ["ArticleNet", "BeetleNet", "resnet18", "resnet50", "vgg16", "densenet121"]


def by_hand(function, numbers, **options):
    """Relevance of a few numbers, seen as an image of one row, for a function of that row."""
    model = Function(lambda x: function(x.flatten(1))[:, None])
    images = torch.tensor(numbers, dtype=torch.double).view(1, 1, 1, -1)
    return lrp(model, images, **options).flatten().tolist()


# ---- by hand and in matrices ---------------------------------------------------------------------


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
    # Negative inputs and z = -6 + 1 + 0.5 < 0: the first counts double, -12 + 1 + 0.5 = -10.5.
    expected = [-12 / -10.5 * -4.5, 1 / -10.5 * -4.5]
    assert by_hand(unit, [-2, -1], **options) == pytest.approx(expected)


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


def test_a_sum_of_zero_by_hand():
    row = torch.tensor([[1.0, -1.0]]).double()
    # Without ε a layer whose terms cancel hands on all, as gradient × input does.
    assert by_hand(lambda x: F.linear(x, row)[:, 0], [1, 1], epsilon=0) == [1, -1]
    assert by_hand(lambda x: F.linear(x, row)[:, 0], [1, 1], epsilon=0.1) == [0, 0]
    # An activation hands on none for an input of 0.
    assert by_hand(lambda x: F.gelu(F.linear(x, row))[:, 0], [1, 1], epsilon=0) == [0, 0]


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


# ---- whole networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", with_heavy(RELUS))
def test_lrp_0_is_gradient_times_input(name):
    model, images = any_network(name), pictures()
    expected = gradient(model, images, [3, 1]) * images
    assert error(lrp(model, images, [3, 1], epsilon=0), expected) < 1e-10
    assert error(lrp(model, images, [3, 1], epsilon=0.1), expected) > 1e-2


CONSERVING = {
    "small_resnet": "gamma",
    "bottleneck": "epsilon",
    "small_vgg": "epsilon",
    "small_mobilenet": "epsilon",
    "small_densenet": "gamma",
    "resnet18": "gamma",
    "resnet50": "epsilon",
    "vgg16": "epsilon",
    "mobilenet_v2": "epsilon",
    "densenet121": "gamma",
}


@pytest.mark.parametrize("name", with_heavy(CONSERVING))
def test_without_biases_relevance_is_conserved(name):
    rule = CONSERVING[name]
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
    "name", with_heavy(["small_resnet", "bottleneck", "small_vgg", "resnet18", "resnet50", "vgg16"])
)
@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
@pytest.mark.skipif(
    int(version("zennit").partition(".")[0]) < 1,
    reason="zennit before 1.0 adds ε twice; 1.0 needs Python 3.11.11 or newer",
)
def test_lrp_agrees_with_zennit(name, rule):
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite, layer_map_base
    from zennit.rules import Epsilon, Gamma
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer
    from zennit.types import Convolution, Linear

    model, images = copy.deepcopy(network(name)), pictures(2, 40)
    targets = torch.tensor([3, 1])
    hook = Gamma(0.25, stabilizer=0.01) if rule == "gamma" else Epsilon(0.01)
    canonizer = VGGCanonizer() if "vgg" in name else ResNetCanonizer()
    rules = [((Convolution, Linear), hook), *layer_map_base(1e-12)]
    composite = LayerMapComposite(rules, canonizers=[canonizer])
    with torch.no_grad():
        logits = model(images.clone())
    start = F.one_hot(targets, CLASSES) * logits
    with Gradient(model, composite) as attributor:
        _, theirs = attributor(images.clone(), start)
    assert error(lrp(network(name), images, targets, rule=rule), theirs) < 1e-5


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
    model.norm.running_mean.fill_(0.3)  # so that the order of ReLU and normalisation matters
    expected = gradient(model, images, 0) * images
    assert error(lrp(model, images, 0, epsilon=0), expected) < 1e-12


def test_a_batch_normalisation_with_its_defaults():
    mean, variance = pictures(1, 1, 2)[0, :, 0, 0], torch.tensor([0.7, 2.0]).double()
    conv, head = nn.Conv2d(2, 2, 1).double(), nn.Linear(2, 3).double()
    for before in (conv, nn.Identity()):  # merged into the convolution, and a layer of its own
        model = Function(
            lambda x, before=before: head(F.batch_norm(before(x), mean, variance).mean((2, 3)))
        )
        images = pictures(2, 6, 2)
        expected = gradient(model, images, 0) * images
        assert error(lrp(model, images, 0, epsilon=0), expected) < 1e-12


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


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_RULE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_where_the_sum_fails_it_refuses(name, dtype):
    model, images = copy.deepcopy(WITHOUT_RULE[name]).to(dtype).eval(), pictures().to(dtype)
    with pytest.raises(ValueError, match=r"^model: .* lrp has no rule.*integrated_gradients"):
        lrp(model, images, 0)


@pytest.mark.parametrize("call", [torch.mm, torch.matmul])
def test_a_product_without_a_rule_is_refused_by_its_name(call):
    weight = torch.ones(12, 2).double()
    model = Function(lambda x: call(x.flatten(1), weight))
    with pytest.raises(ValueError, match=f"^model: got a call of {call.__name__}, .*no rule"):
        lrp(model, pictures(2, 2))


@pytest.mark.parametrize("freeze", [True, False])
def test_a_model_that_autograd_cannot_follow_is_refused(freeze):
    cut = Function(torch.Tensor.detach)
    for model in (nn.Sequential(cut, tiny()).eval(), nn.Sequential(tiny(), cut).eval()):
        model.requires_grad_(not freeze)
        with pytest.raises(ValueError, match=r"^model: got"):
            lrp(model, pictures())


def test_a_model_that_takes_images_one_by_one_is_refused():
    layers = tiny().double().eval()
    model = Function(lambda x: torch.cat([layers(image) for image in x.split(1)]))
    with pytest.raises(ValueError, match=r"^model: got a step on a tensor .*one by one"):
        lrp(model, pictures(7))


def test_lrp_of_a_network_of_its_own_batch_statistics_is_refused():
    norm = nn.BatchNorm2d(3, track_running_stats=False).double()
    with pytest.raises(ValueError, match=r"^model: got batch normalisation by the batch"):
        lrp(nn.Sequential(norm, tiny()).eval(), pictures())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "alpha"}, "rule: got 'alpha'"),
        ({"epsilon": -1}, "epsilon: got -1"),
        ({"epsilon": float("nan")}, "epsilon: got nan"),
        ({"gamma": "0.25"}, "gamma: got '0.25'"),
        ({"gamma": float("inf")}, "gamma: got inf"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        lrp(tiny(), pictures(), **options)


SMALL_AND_LARGE = ["small_resnet", "small_densenet", "small_mobilenet"]
SMALL_AND_LARGE += ["resnet18", "densenet121", "mobilenet_v2"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*with_heavy(SMALL_AND_LARGE), "BeetleNet"])
def test_lower_precision_is_not_refused(dtype, name):
    model, images = any_network(name), pictures()
    relevance = lrp(copy.deepcopy(model).to(dtype), images.to(dtype), [3, 1])
    assert relevance.dtype == dtype
    if dtype == torch.float32:
        assert error(relevance.double(), lrp(model, images, [3, 1])) < 1e-3


@pytest.mark.parametrize(("gap", "fits"), [(1e-3, True), (2e-2, False), (torch.nan, False)])
def test_the_sum_may_miss_by_rounding_and_by_no_more(gap, fits):
    """A gap of 1e-3 is 1e-5 of the relevance's size."""
    relevance, absorbed = torch.ones(1, 1, 10, 10), torch.tensor([-40.0])
    exact, off = torch.tensor([60.0]), torch.tensor([60.0 + gap])
    for by_rules, plain in ((off, off), (exact, off), (off, exact)):
        if fits:
            _check_conservation(relevance, absorbed, by_rules, plain, 3)
        else:
            with pytest.raises(ValueError, match=r"^model: got relevance that, with what biases"):
                _check_conservation(relevance, absorbed, by_rules, plain, 3)
