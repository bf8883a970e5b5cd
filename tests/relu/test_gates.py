"""Which ReLUs are open, and the linear map that follows: by hand, and exact on any network."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import BUILDERS, error, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.core.inputs import upsample_keep_sum
from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import (
    capture_relu_masks,
    dead_relus,
    full_grad,
    gradient,
    gradient_times_input,
    local_linear,
    mask_agreement,
    relu_masks,
)


def ours(kind):
    torch.manual_seed(0)
    return kind().double().eval()


NETWORKS = {name: network for name in BUILDERS} | {
    "ArticleNet": lambda _: ours(ArticleNet),
    "BeetleNet": lambda _: ours(BeetleNet),
}
networks = pytest.mark.parametrize("name", with_heavy(NETWORKS))
# How many ReLUs run in a forward pass.
CALLS = {
    "small_resnet": 11,
    "bottleneck": 16,
    "small_vgg": 9,
    "small_mobilenet": 15,
    "small_densenet": 15,
    "mixed": 5,
    "BeetleNet": 7,
    "resnet18": 17,
    "resnet50": 49,
    "vgg16": 15,
    "mobilenet_v2": 35,
    "densenet121": 121,
    "efficientnet_lite0": 33,
}


def two_layers(first, second, bias=0.0):
    """Return relu(first · x + bias) times second, for images of 1 x 1 pixel."""
    first, second = torch.tensor(first).double(), torch.tensor(second).double()
    one = nn.Linear(first.shape[1], len(first))
    two = nn.Linear(second.shape[1], len(second))
    model = nn.Sequential(nn.Flatten(), one, nn.ReLU(), two).double().eval()
    with torch.no_grad():
        one.weight.copy_(first)
        one.bias.copy_(torch.as_tensor(bias))
        two.weight.copy_(second)
        two.bias.fill_(0.5)
    return model


# ------------------------------------------------------------------ open and closed


def test_masks_by_hand():
    model = two_layers([[1, 0], [0, 1], [-1, -1]], [[1, 1, 1]])
    images = torch.tensor([[1, -2], [3, 4], [0, 0]]).double().view(3, 2, 1, 1)
    assert list(relu_masks(model, images)) == ["2"]
    expected = [[True, False, True], [True, True, False], [False, False, False]]
    assert relu_masks(model, images)["2"].tolist() == expected
    assert relu_masks(model, images, batch_size=2)["2"].tolist() == expected


@pytest.mark.parametrize("name", with_heavy(CALLS))
def test_every_relu_of_any_network_is_seen(name):
    model, images = NETWORKS[name](name), pictures(3, 32)
    masks = relu_masks(model, images)
    assert len(masks) == CALLS[name]
    assert all(mask.dtype == torch.bool and len(mask) == 3 for mask in masks.values())
    batches = relu_masks(model, images, batch_size=2)
    assert list(batches) == list(masks)
    assert all(torch.equal(batches[key], masks[key]) for key in masks)


def test_a_relu_is_open_where_its_input_is_positive():
    model, images = network("mixed"), pictures(2, 32)
    masks = relu_masks(model, images)
    assert list(masks) == ["after conv1", "relu", "after conv3", "relu (2)", "after fc1"]
    with torch.no_grad():
        inner = model.conv1(images - 0.1)
        assert torch.equal(masks["after conv1"], inner > 0)
        pooled = F.max_pool2d(inner.relu(), 3, 2, 1)
        assert torch.equal(masks["relu"], model.bn2(model.conv2(pooled)) + pooled > 0)


@pytest.mark.parametrize(
    "relu6", [nn.ReLU6(True), nn.Hardtanh(0, 6), lambda x: x.clamp_(0, 6), F.relu6]
)
def test_a_relu6_is_closed_at_both_ends(relu6):
    class Model(nn.Module):
        def forward(self, x):
            return relu6(x).flatten(1)

    images = torch.tensor([-1.0, 0, 3, 6, 7]).double().view(1, 1, 1, 5)
    (mask,) = relu_masks(Model().eval(), images).values()
    assert mask.flatten().tolist() == [False, False, True, False, False]


def test_a_network_without_relus_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Hardtanh(), nn.GELU(), nn.Flatten()).double()
    for call in (relu_masks, dead_relus):
        with pytest.raises(ValueError, match=r"^model: got no ReLU that can be seen"):
            call(model.eval(), pictures(1, 4))
        with pytest.raises(ValueError, match=r"^images: got shape \(3, 4, 4\)"):
            call(tiny(), pictures(1, 4)[0])


def test_nothing_is_left_on_the_model_after_an_interruption():
    class Interrupted(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = nn.Sequential(*tiny()[:5], Interrupted()).eval()
    for call in (relu_masks, dead_relus, local_linear, full_grad):
        with pytest.raises(KeyboardInterrupt):
            call(model, pictures(1, 8))
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


def test_masks_can_be_used_like_any_tensor_whatever_the_caller_switched_off():
    with torch.inference_mode():
        results = [*relu_masks(tiny(), pictures(1, 8)).values()]
        results += dead_relus(tiny(), pictures(1, 8)).values()
    assert len(results) == 4
    assert not any(result.is_inference() for result in results)


def test_dead_relus_by_hand_and_on_maps():
    # The third unit needs both inputs below 0; the fourth never opens.
    model = two_layers([[1, 0], [0, 1], [-1, -1], [0, 0]], [[1, 1, 1, 1]], [0, 0, 0, -1.0])
    images = torch.tensor([[1, -2], [3, 4]]).double().view(2, 2, 1, 1)
    assert dead_relus(model, images)["2"].tolist() == [False, False, False, True]
    assert dead_relus(model, images[1:])["2"].tolist() == [False, False, True, True]
    model, images = tiny(), pictures(5, 8)
    with torch.no_grad():
        model[0].bias[2] = -1e3
    dead = dead_relus(model, images, batch_size=2)
    assert dead["1"].tolist() == [False, False, True, False, False, False]
    for name, part in relu_masks(model, images).items():
        assert torch.equal(dead[name], ~part.flatten(2).any(2).any(0))


def test_agreement_by_hand():
    a = {"relu": torch.tensor([[[True, True]], [[False, True]]])}
    b = {"relu": torch.tensor([[[True, True]], [[False, False]], [[True, False]]])}
    assert mask_agreement(a, b)["relu"].tolist() == [[1, 0, 0.5], [0.5, 0.5, 0]]
    assert mask_agreement(a)["relu"].tolist() == [[1, 0.5], [0.5, 1]]
    for other in ({"relu": torch.ones(2, 3)}, {"other": a["relu"]}):
        with pytest.raises(ValueError, match=r"^others: got masks of other ReLUs; must be"):
            mask_agreement(a, other)


def test_one_entry_a_pass_is_kept():
    model = tiny()
    with (
        torch.no_grad(),
        capture_relu_masks(model, lambda is_open: is_open.flatten(1).sum(1)) as seen,
    ):
        model(pictures(2, 8))
        model(pictures(3, 8))
    assert {name: [len(part) for part in parts] for name, parts in seen.items()} == {
        "1": [2, 3],
        "4": [2, 3],
    }


@pytest.mark.parametrize("keep", [-1, None, "relu", ["relu"]])
def test_what_is_kept_is_said_by_a_function(keep):
    model = tiny()
    refused = pytest.raises(ValueError, match=r"^keep: got .*; must be a function of")
    with refused, capture_relu_masks(model, keep):
        model(pictures(1, 8))
    assert all(not module._forward_pre_hooks for module in model.modules())


# ------------------------------------------------------------------ the local linear map


def test_local_linear_by_hand():
    # relu([x + 1, 2y - 3, -x - y]) · [2, 5, 7] + 0.5 at (1, 4): units open, open, closed.
    model = two_layers([[1, 0], [0, 2], [-1, -1]], [[2, 5, 7]], [1.0, -3, 0])
    split = local_linear(model, torch.tensor([1.0, 4]).double().view(1, 2, 1, 1))
    assert split.weights.flatten().tolist() == [2, 10]
    assert split.from_input.tolist() == [42]
    assert {name: share.tolist() for name, share in split.biases.items()} == {
        "1.bias": [2 - 15],
        "3.bias": [0.5],
    }
    assert split.logit.tolist() == [29.5]


@networks
def test_the_logit_is_the_images_share_and_the_biases_exactly(name):
    model, images = NETWORKS[name](name), pictures(2, 32)
    for targets in (None, 2):
        split = local_linear(model, images, targets)
        assert error(split.from_input + sum(split.biases.values()), split.logit) < 1e-12
        logits = model(images.clone()).detach()
        assert error(split.logit, logits.amax(1) if targets is None else logits[:, 2]) < 1e-14
        assert torch.equal(split.weights, gradient(model, images, targets))
        share = gradient_times_input(model, images, targets).sum((1, 2, 3))
        assert error(split.from_input, share) < 1e-12
    assert all(not part.requires_grad for part in (*split[:3], *split.biases.values()))


@networks
def test_as_long_as_no_relu_turns_the_network_is_that_linear_map(name):
    # The step is so small that no ReLU opens or closes: there, too, the same weights and biases
    # give the logit.
    model, images = NETWORKS[name](name), pictures(1, 32)
    here = local_linear(model, images, 1)
    step = 1e-9 * pictures(1, 32, seed=1)
    there = local_linear(model, images + step, 1)
    constant = sum(here.biases.values())
    predicted = (here.weights * (images + step)).sum((1, 2, 3)) + constant
    assert error(predicted, there.logit) < 1e-12


layer_kinds = st.sampled_from(
    ["conv", "norm", "relu", "relu_", "relu6", "pool", "average", "sum", "shift", "double"]
)


class Random(nn.Module):
    """A network of layers of any kind in any order."""

    def __init__(self, kinds, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.kinds, self.layers = kinds, nn.ModuleList()
        self.stem, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)
        for kind in kinds:
            layer = nn.BatchNorm2d(4) if kind == "norm" else nn.Conv2d(4, 4, 3, padding=1)
            if kind == "norm":
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                nn.init.normal_(layer.bias)
            self.layers.append(layer)

    def forward(self, x):
        x = identity = self.stem(x)
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            if kind in ("conv", "norm"):
                x = layer(x)
            elif kind == "relu":
                x = torch.relu(x)
            elif kind == "relu_":
                x = F.relu(x + 0, inplace=True)
            elif kind == "relu6":
                x = F.relu6(5 * x)
            elif kind == "pool":
                x = F.max_pool2d(x, 3, 1, 1)
            elif kind == "average":
                x = F.avg_pool2d(x, 3, 1, 1)
            elif kind == "sum":
                x, identity = layer(x) + identity, x
            elif kind == "shift":
                x = 0.3 - x
            elif kind == "double":
                x = torch.cat([x[:, :2], 2 * x[:, 2:]], 1)
        return self.head(x.mean((2, 3)))


@given(kinds=st.lists(layer_kinds, max_size=8), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_the_identity_holds_for_random_networks(kinds, seed):
    model, images = Random(kinds, seed).double().eval(), pictures(2, 6, 2, seed=seed)
    split = local_linear(model, images, 1)
    total = split.from_input + sum(split.biases.values())
    size = split.from_input.abs() + sum(share.abs() for share in split.biases.values())
    assert ((total - model(images)[:, 1]).abs() <= 1e-12 * size).all()
    relevance = full_grad(model, images, 1)
    assert ((relevance.sum((1, 2, 3)) - split.logit).abs() <= 1e-12 * size).all()


# Each takes one of several values as it is, or puts them into an order. x: (N, 4, H, W).
CHOICES = {
    "amax": lambda x: x.amax(1, keepdim=True),
    "amin": lambda x: x.amin(1, keepdim=True),
    "aminmax": lambda x: torch.cat(x.aminmax(dim=1, keepdim=True), 1),
    "cummax": lambda x: x.cummax(1).values,
    "cummin": lambda x: x.cummin(1).values,
    "kthvalue": lambda x: x.kthvalue(2, 1, keepdim=True).values,
    "max": lambda x: x.max(1, keepdim=True).values,
    "median": lambda x: x.median(1, keepdim=True).values,
    "min": lambda x: x.min(1, keepdim=True).values,
    "nanmedian": lambda x: x.nanmedian(1, keepdim=True).values,
    "sort": lambda x: x.sort(1, descending=True).values,
    "topk": lambda x: x.topk(2, 1).values,
}


class Chooses(nn.Module):
    """A network that chooses among its channels, between two convolutions."""

    def __init__(self, choice, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.choice = choice
        self.first, self.second = nn.Conv2d(2, 4, 3), nn.LazyConv2d(3, 3)

    def forward(self, x):
        return self.second(self.choice(self.first(x))).mean((2, 3))


@given(name=st.sampled_from(sorted(CHOICES)), seed=st.integers(0, 1000))
@settings(max_examples=24, deadline=None)
def test_what_chooses_among_values_is_piecewise_linear(name, seed):
    model, images = Chooses(CHOICES[name], seed), pictures(2, 6, 2, seed=seed)
    model(images.float())  # the lazy layer gets its size
    model = model.double().eval()
    split = local_linear(model, images, 1)
    constant = sum(split.biases.values())
    for x in (images, images + 1e-9 * pictures(2, 6, 2, seed=seed + 1)):
        predicted = (split.weights * x).sum((1, 2, 3)) + constant
        assert error(predicted, model(x)[:, 1].detach()) < 1e-12
    assert error(full_grad(model, images, 1).sum((1, 2, 3)), split.logit) < 1e-12


@pytest.mark.parametrize(
    "choice",
    [lambda x: x.prod(1, keepdim=True), lambda x: x.std(1, keepdim=True), lambda x: x.logsumexp(1)],
    ids=["prod", "std", "logsumexp"],
)
def test_what_mixes_values_is_not(choice):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), Steps(choice), nn.Flatten()).double().eval()
    for call in (local_linear, full_grad):
        with pytest.raises(ValueError, match=r"^model: got .*must be piecewise linear"):
            call(model, pictures(2, 6, 2))


class Steps(nn.Module):
    """One function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Attention(nn.Module):
    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    "step",
    [nn.GELU(), nn.Sigmoid(), nn.SiLU(), nn.Tanh(), nn.GroupNorm(1, 5), Attention(), nn.Softmax(1)],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize("call", [local_linear, full_grad])
def test_a_network_that_is_not_piecewise_linear_is_refused(call, step):
    model = tiny()
    model[4] = step.double()
    with pytest.raises(
        ValueError, match=r"^model: got gradient and biases that do not sum .* integrat"
    ):
        call(model.eval(), pictures(2, 8))


@pytest.mark.parametrize("call", [local_linear, full_grad])
def test_a_square_is_refused_also_where_it_is_zero(call):
    class Square(nn.Module):
        """0 for negative inputs, x² for positive ones."""

        def forward(self, x):
            return (x * x.relu()).flatten(1)

    images = torch.tensor([-1.0, 2.0]).double().view(2, 1, 1, 1)
    with pytest.raises(ValueError, match=r"^model: got the step Mul, which is not piecewise"):
        call(Square().eval(), images[:1], 0)
    with pytest.raises(ValueError, match=r"^model: got gradient and biases that do not sum"):
        call(Square().eval(), images, 0)


@pytest.mark.parametrize(
    "gate", [torch.sigmoid, lambda x: (x > 0).double(), lambda x: x], ids=["sigmoid", "mask", "x"]
)
def test_a_detached_factor_counts_as_a_fixed_gate(gate):
    # The sum is right, and the map is that of the network with these factors held.
    held = []
    model, images = tiny(), pictures(2, 8)
    model[4] = Steps(lambda x: x * (held[0] if held else gate(x).detach()))
    split = local_linear(model.eval(), images, 1)
    total = split.from_input + sum(split.biases.values())
    assert error(total, model(images)[:, 1].detach()) < 1e-12
    assert error(full_grad(model, images, 1).sum((1, 2, 3)), split.logit) < 1e-12
    inner = model[:4](images)
    held.append(gate(inner).detach())
    assert torch.equal(local_linear(model, images, 1).weights, split.weights)


@pytest.mark.parametrize("call", [local_linear, full_grad])
def test_a_network_cut_off_from_the_image_is_refused(call):
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach()

    for model in (nn.Sequential(Cut(), tiny()), nn.Sequential(tiny(), Cut())):
        with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
            call(model.eval(), pictures(1, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_comes_close(dtype):
    model, images = tiny(dtype=dtype), pictures(2, 16).to(dtype)
    exact = local_linear(tiny(), images.double(), 1)
    split = local_linear(model, images, 1)
    limit = 1e-5 if dtype == torch.float32 else 0.05
    assert (split.from_input.double() - exact.from_input).abs().max() < limit
    assert split.weights.dtype == full_grad(model, images).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_wrong_split_is_off_by_no_more_than_is_said(dtype):
    # The ½ of a hardsigmoid is not traced. It is found where it is more than √ε of the terms' size.
    missed, refusals, least = [], [], torch.finfo(dtype).eps ** 0.5
    for weight in (1e-5, 1e-3, 0.1, 1.0, 10.0):
        model = tiny()
        model[4] = Steps(lambda x, weight=weight: x.relu() + weight * F.hardsigmoid(x))
        try:
            split = local_linear(model.to(dtype).eval(), pictures(2, 8).to(dtype), 1)
        except ValueError as error:
            refusals.append(str(error))
            continue
        terms = torch.stack([split.from_input, *split.biases.values(), -split.logit]).double()
        missed.append(float((terms.sum(0).abs() / terms.abs().sum(0)).max()))
    assert missed
    assert max(missed) <= least
    assert refusals
    assert all("gradient and biases that do not sum" in each for each in refusals)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("step", [nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Softplus()])
def test_a_curved_step_is_refused_in_half_precision_too(step, dtype):
    model = nn.Sequential(*tiny()[:4], Steps(lambda x: x.relu() + 0.01 * step(x)), *tiny()[5:])
    with pytest.raises(ValueError, match=r"^model: got .*must be piecewise linear"):
        local_linear(model.to(dtype).eval(), pictures(2, 8).to(dtype), 1)


# ------------------------------------------------------------------ the full gradient


@networks
def test_the_map_sums_to_the_logit_and_so_do_its_parts(name):
    model, images = NETWORKS[name](name), pictures(2, 48)[..., :32]
    relevance = full_grad(model, images, [2, 0])
    assert relevance.shape == (2, 1, 48, 32)
    split = local_linear(model, images, [2, 0])
    assert error(relevance.sum((1, 2, 3)), split.logit) < 1e-12
    for part in [*split.biases][:2] + [*split.biases][-1:]:
        alone = full_grad(model, images, [2, 0], only=part)
        assert (alone.sum((1, 2, 3)) - split.biases[part]).abs().max() < 1e-12
    alone = full_grad(model, images, [2, 0], only="input")
    product = gradient_times_input(model, images, [2, 0]).sum(1, keepdim=True)
    assert error(alone, product) < 1e-12


def test_a_bias_stands_where_its_relu_is_open_and_a_linear_layers_everywhere():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)

        def forward(self, x):
            return self.head(self.conv(x).relu().sum((2, 3)))

    model = Model().double().eval()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (1.0, 0.5, 2.0, 8.0), strict=True):
            parameter.fill_(value)
    images = torch.tensor([[[[1.0, -1.0], [-0.25, -3.0]]]]).double()
    # Open where x > -0.5: at two of four positions. 2 · (x + 0.5) there, and 8 / 4 everywhere.
    assert full_grad(model, images, only="input").tolist() == [[[[2.0, 0], [-0.5, 0]]]]
    assert full_grad(model, images, only="conv.bias").tolist() == [[[[1.0, 0], [1.0, 0]]]]
    assert full_grad(model, images, only="head.bias").tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]
    assert full_grad(model, images).tolist() == [[[[5.0, 2.0], [2.5, 2.0]]]]
    with pytest.raises(ValueError, match=r"^only: got 'fc'; must be None, input, conv.bias, h"):
        full_grad(model, images, only="fc")


def test_a_constant_with_positions_stands_where_it_is_added():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.offset = nn.Parameter(torch.tensor([[1.0, 2], [3, 4]]))

        def forward(self, x):
            return F.relu6(x + self.offset).sum((2, 3))

    images = torch.tensor([[[[0.5, -9.0], [1.0, 9.0]]]]).double()
    model = Model().double().eval()
    # Open, closed below, open, closed above: there only the bound, 6, is left.
    assert full_grad(model, images, only="input").tolist() == [[[[0.5, 0], [1, 0]]]]
    assert full_grad(model, images, only="offset").tolist() == [[[[1, 0], [3, 0]]]]
    assert full_grad(model, images, only="relu6").tolist() == [[[[0, 0], [0, 6]]]]
    assert full_grad(model, images).tolist() == [[[[1.5, 0], [4, 6]]]]


def test_full_grad_of_a_network_of_tokens_keeps_its_sum():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mix, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)  # (N, positions, 4)
            return self.head(torch.relu(self.mix(tokens)).mean(1))

    torch.manual_seed(0)
    model, images = Tokens().double().eval(), pictures(2, 16)
    assert error(full_grad(model, images, 1).sum((1, 2, 3)), model(images)[:, 1]) < 1e-12


@pytest.mark.parametrize("count", [4, 6])  # 4 are as many as rows
def test_a_bias_of_channels_that_come_last_stands_at_its_places(count):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, count, 1, bias=False)
            self.offset = nn.Parameter(torch.randn(count))
            self.head = nn.Linear(count, 2, bias=False)

        def forward(self, x):
            maps = self.conv(x).permute(0, 2, 3, 1)  # (N, h, w, K), as in Keras
            return self.head((maps + self.offset).relu().sum((1, 2)))

    torch.manual_seed(0)
    model, images = Last().double().eval(), pictures(2, 4)
    maps = model.conv(images) + model.offset[:, None, None]
    by_hand = (maps > 0) * (model.offset * model.head.weight[1])[:, None, None]
    relevance = full_grad(model, images, 1, only="offset")
    assert error(relevance, by_hand.sum(1, keepdim=True)) < 1e-12
    assert error(full_grad(model, images, 1).sum((1, 2, 3)), model(images)[:, 1]) < 1e-12


def test_a_layer_over_channels_that_come_last_has_its_bias_at_its_places():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(3, 4), nn.Linear(4, 2, bias=False)

        def forward(self, x):
            return self.head(self.mix(x.permute(0, 2, 3, 1)).relu().sum((1, 2)))

    torch.manual_seed(0)
    model, images = Mixed().double().eval(), pictures(2, 4)
    maps = model.mix(images.permute(0, 2, 3, 1))
    by_hand = ((maps > 0) * model.mix.bias * model.head.weight[0]).sum(-1)[:, None]
    assert error(full_grad(model, images, 0, only="mix.bias"), by_hand) < 1e-12


def test_as_many_tokens_as_features_keep_their_sum():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mix, self.head = (
                nn.Conv2d(3, 4, 4, 4),
                nn.Linear(4, 16),
                nn.Linear(16, 2),
            )

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)  # (N, 16 positions, 4)
            return self.head(torch.relu(self.mix(tokens)).mean(1))

    torch.manual_seed(0)
    model, images = Tokens().double().eval(), pictures(2, 16)
    assert error(full_grad(model, images, 1).sum((1, 2, 3)), model(images)[:, 1]) < 1e-12


# Of a map (N, channels, h, w) or (N, h, w, channels): the layout, channels, h, w, the constant.
# The image has 12 times 12 pixels, or 12 times 8.
PLACES = [
    ("first", 9, 6, 6, (6,)),
    ("first", 9, 6, 6, (1, 1, 1, 6)),
    ("first", 9, 6, 6, (1, 9, 6, 6)),
    ("first", 6, 6, 6, (6, 1, 1)),
    ("first", 1, 6, 6, (1,)),
    ("first", 8, 8, 7, (1,)),
    ("first", 9, 6, 1, (9, 6, 1)),
    ("first", 11, 6, 4, (4,)),
    ("last", 9, 6, 6, (9,)),
    ("last", 6, 6, 6, (6,)),
    ("last", 6, 6, 6, (1, 1, 1, 6)),
    ("last", 9, 6, 6, (6, 6, 9)),
    ("last", 9, 6, 6, (1, 6, 6, 1)),
    ("last", 1, 6, 6, (1,)),
    ("last", 9, 6, 4, (6, 4, 9)),
]


@pytest.mark.parametrize(("layout", "count", "h", "w", "shape"), PLACES)
def test_a_constant_stands_where_the_layout_of_the_tensor_says(layout, count, h, w, shape):
    torch.manual_seed(0)
    whole = (count, h, w) if layout == "first" else (h, w, count)
    weights, constant = torch.randn(whole).double(), nn.Parameter(torch.randn(shape).double())

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.constant = nn.Conv2d(3, count, 1, bias=False), constant

        def forward(self, x):
            maps = F.adaptive_avg_pool2d(self.mix(x), (h, w))
            maps = maps if layout == "first" else maps.permute(0, 2, 3, 1)
            return (weights * (maps + self.constant)).flatten(1).sum(1, keepdim=True)

    images = torch.rand(2, 3, 12, 8 if w == 4 else 12).double()
    added = weights * constant.detach().reshape(shape[-3:])
    by_hand = added.sum(0) if layout == "first" else added.sum(-1)
    relevance = full_grad(Model().double().eval(), images, 0, only="constant")
    enlarged = upsample_keep_sum(by_hand.expand(2, 1, h, w), relevance.shape[2:])
    assert error(relevance, enlarged) < 1e-12
