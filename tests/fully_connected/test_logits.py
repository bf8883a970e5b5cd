"""The head's sum by hand and as an identity on stock networks; similarity of classes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, CLASSES, error, network, pictures, tiny, with_heavy
from torch import nn
from torchvision import models
from toy_models import any_network, logits_of, one_layer

from xai_course.fully_connected import (
    class_activation_map,
    class_similarity,
    logit_contributions,
)

# ---- by hand -------------------------------------------------------------------------------------


def test_one_layer_by_hand():
    model = one_layer([[1, 2, 0, -1], [3, 0, 1, 1]], [10, 20])
    images = torch.tensor([[[[1.0, 2], [3, 4]]]], dtype=torch.double)
    features, contributions, biases = logit_contributions(model, images, 0)
    assert features.tolist() == [[1, 2, 3, 4]]
    assert contributions.tolist() == [[1, 4, 0, -4]]  # 1·1, 2·2, 3·0, 4·-1
    assert biases.tolist() == [10]
    assert logit_contributions(model, images).contributions.tolist() == [[3, 0, 3, 4]]


def test_two_layers_with_a_relu_by_hand():
    first = one_layer([[1, 0], [0, 1], [1, -1]], [1, -5, 0])
    last = one_layer([[2, 100, 3]], [7])
    model = nn.Sequential(first, nn.ReLU(inplace=True), last[1]).eval()
    images = torch.tensor([[[[4.0, 2]]]], dtype=torch.double)
    # Hidden: 4 + 1 = 5, 2 - 5 < 0 (closed), 4 - 2 = 2. Logit: 2·5 + 3·2 + 7 = 23.
    _, contributions, biases = logit_contributions(model, images)
    assert contributions.tolist() == [[4 * (2 + 3), 2 * -3]]
    assert biases.tolist() == [2 * 1 + 7]
    assert contributions.sum() + biases == 23


# ---- identities ----------------------------------------------------------------------------------


# The layer whose bias is the whole constant of the head, for networks that end in one layer.
ONE_LAYER_HEADS = {"small_resnet", "bottleneck", "small_mobilenet", "small_densenet"}
ONE_LAYER_HEADS |= {"resnet18", "resnet50", "mobilenet_v2", "densenet121", "efficientnet_lite0"}


@pytest.mark.parametrize("name", [*ALL, "ArticleNet", "BeetleNet"])
def test_the_sum_is_the_logit(name):
    model, images, classes = any_network(name), pictures(2, 64), torch.tensor([3, 1])
    expected = logits_of(model, images, classes)
    features, contributions, biases = logit_contributions(model, images, classes)
    assert features.shape == contributions.shape
    assert error(contributions.sum(1) + biases, expected) < 1e-10
    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if name in ONE_LAYER_HEADS:  # then the bias is the layer's own
        assert error(biases, last[-1].bias[classes]) < 1e-14


@pytest.mark.parametrize("name", with_heavy(["small_vgg", "vgg16"]))
def test_the_bias_of_three_layers_is_gathered_through_their_relus(name):
    model, images = network(name), pictures(2, 64)
    features, contributions, biases = logit_contributions(model, images, 4)
    first, second, last = (model.classifier[number] for number in (0, 3, 6))
    for n in range(2):
        hidden = first(features[n])
        open_1 = (hidden > 0).double()
        open_2 = (second(hidden.relu()) > 0).double()
        through_2 = last.weight[4] * open_2
        through_1 = (through_2 @ second.weight) * open_1
        expected = through_1 @ first.bias + through_2 @ second.bias + last.bias[4]
        assert error(biases[n], expected) < 1e-10
        assert error(contributions[n], (through_1 @ first.weight) * features[n]) < 1e-10


def test_batch_normalisation_in_the_head_counts_among_the_biases():
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    model = nn.Sequential(*tiny()[:-1], head).double().eval()
    head[1].running_mean.normal_()
    head[1].running_var.uniform_(0.5, 2)
    _, contributions, biases = logit_contributions(model, pictures(3), [0, 1, 2])
    expected = logits_of(model, pictures(3), [0, 1, 2])
    assert error(contributions.sum(1) + biases, expected) < 1e-12


@given(
    widths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    pool=st.sampled_from(["average", "flatten", "max", "average to 2 × 3"]),
    activation=st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.3), nn.Identity()]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_the_sums_are_the_logit_for_random_heads(widths, pool, activation, bias, seed):
    torch.manual_seed(seed)
    pooling, positions = {
        "average": (nn.AdaptiveAvgPool2d(1), 1),
        "flatten": (nn.Identity(), 9 * 7),
        "max": (nn.MaxPool2d(3, 2), 4 * 3),
        "average to 2 × 3": (nn.AdaptiveAvgPool2d((2, 3)), 6),
    }[pool]
    layers: list[nn.Module] = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), pooling, nn.Flatten()]
    for inputs, outputs in zip([4 * positions, *widths], widths, strict=False):
        layers += [nn.Linear(inputs, outputs, bias=bias), activation]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 3)).double().eval()
    images = torch.randn(2, 2, 9, 7, dtype=torch.double)
    expected = logits_of(model, images, [2, 0])
    _, contributions, biases = logit_contributions(model, images, [2, 0])
    scale = contributions.abs().sum(1) + biases.abs()
    assert ((contributions.sum(1) + biases - expected).abs() < 1e-12 * scale).all()


def test_a_logit_that_depends_on_no_feature_is_its_bias():
    class Constant(nn.Module):
        """A linear layer on features whose output is not used, and one on zeros."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.side, self.main = nn.Conv2d(3, 4, 1), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            features = self.conv(x).mean((2, 3))
            self.side(features)
            return self.main(torch.zeros_like(features.detach()))

    model, images = Constant().double().eval(), pictures(2, 8)
    _, contributions, biases = logit_contributions(model, images, 1)
    assert torch.equal(contributions, torch.zeros(2, 4).double())
    assert torch.equal(biases, model.main.bias[[1, 1]].detach())


def test_features_are_those_before_a_change_in_place():
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = one_layer([[1, 2], [3, 0]], [0, 0])[1].requires_grad_(False)

        def forward(self, x):
            features = x.flatten(1) * 1
            logits = self.head(features)
            features.zero_()
            return logits

    images = torch.tensor([[[[3.0, 4.0]]]], dtype=torch.double)
    features, contributions, _ = logit_contributions(Careless().eval(), images, 0)
    assert features.tolist() == [[3, 4]]
    assert contributions.tolist() == [[3, 8]]


def test_a_network_of_zeros_has_a_sum():
    model = one_layer([[0.0] * 12], [0.0])
    assert not logit_contributions(model, pictures(2, 2)).contributions.any()


# ---- class similarity ----------------------------------------------------------------------------


def test_class_similarity_by_hand():
    model = one_layer([[1, 0, 5], [-1, 0, 5], [0, 3, 5]], [0, 0, 0])
    images = torch.ones(1, 1, 1, 3, dtype=torch.double)
    rows = torch.tensor([[1.0, 0, 5], [-1, 0, 5], [0, 3, 5]]).double()
    plain = F.cosine_similarity(rows[:, None], rows[None], dim=2)
    assert error(class_similarity(model, images, centred=False), plain) < 1e-14
    # Centred: (1, -1, 0), (-1, -1, 0), (0, 2, 0).
    half = 0.5**0.5
    centred = torch.eye(3).double()
    centred[2, :2] = centred[:2, 2] = -half
    assert error(class_similarity(model, images), centred) < 1e-14


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_what_all_classes_share_does_not_count(seed, classes):
    torch.manual_seed(seed)
    weight, shared = torch.randn(classes, 12), 3 * torch.randn(12)
    images = torch.randn(1, 3, 2, 2, dtype=torch.double)
    zeros = [0.0] * classes
    plain = one_layer(weight.tolist(), zeros)
    shifted = one_layer((weight + shared).tolist(), zeros)
    assert torch.allclose(plain(images).softmax(1), shifted(images).softmax(1), atol=1e-5)
    similar = class_similarity(plain, images)
    assert error(class_similarity(shifted, images), similar) < 1e-5
    assert torch.allclose(similar.diagonal(), torch.ones(classes).double())
    assert (similar.abs() <= 1 + 1e-12).all()


def test_the_last_layer_is_the_last_to_run():
    class Swapped(nn.Module):
        """Its layers stand in the order opposite to that in which they run."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(12, 4)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu())

    torch.manual_seed(0)
    model, images = Swapped().double().eval(), pictures(1, 2)
    rows = model.last.weight - model.last.weight.mean(0)
    expected = F.cosine_similarity(rows[:, None], rows[None], dim=2)
    assert error(class_similarity(model, images), expected) < 1e-14


# ---- refusals ------------------------------------------------------------------------------------


# Steps that are neither linear nor a ReLU, so that a head with one of them has no such sum.
CURVED = [nn.GELU(), nn.Tanh(), nn.Softplus(), nn.SiLU(), nn.LayerNorm(5), nn.Softmax(1)]


@pytest.mark.parametrize("curved", CURVED)
@pytest.mark.parametrize("where", ["between two linear layers", "after the last"])
def test_a_curved_head_is_refused(curved, where):
    torch.manual_seed(0)
    rest = [curved, nn.Linear(5, 5)] if where == "between two linear layers" else [curved]
    model = nn.Sequential(*tiny()[:-1], nn.Linear(5, 5), *rest).double().eval()
    with pytest.raises(ValueError, match=r"^model: got a sum that misses the logit .*GELU"):
        logit_contributions(model, pictures() / 10)


def test_a_head_that_is_almost_linear_for_small_images_is_refused():
    torch.manual_seed(0)
    rest = [nn.Linear(5, 5), nn.Hardswish(), nn.Linear(5, 5)]
    model = nn.Sequential(*tiny()[:-1], *rest).eval().float()
    for layer in (model[-1], model[-3]):
        nn.init.zeros_(layer.bias)
        layer.weight.data *= 1e-5  # the sum of Hardswish's slopes misses the logit by rounding
    for explain in (logit_contributions, class_activation_map):
        with pytest.raises(ValueError, match=r"^model: got the step Hardswish after its last conv"):
            explain(model, pictures().float())


class WatchedHead(nn.Module):
    """A linear layer that nothing depends on stands beside the head, without a graph."""

    def __init__(self):
        super().__init__()
        self.watch, self.last = nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x):
        with torch.no_grad():
            self.watch(x)
        return self.last(x)


def test_a_linear_layer_without_a_graph_adds_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(*tiny()[:-1], WatchedHead()).double().eval()
    images = pictures()
    parts = logit_contributions(model, images, 0)
    assert error(parts.contributions.sum(1) + parts.biases, model(images)[:, 0]) < 1e-12
    assert class_activation_map(model, images, 0).shape[0] == len(images)


def test_what_lies_before_the_head_may_be_curved():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(4, 5), nn.ReLU6(), nn.Linear(5, 2)).double().eval()
    images = pictures()
    parts = logit_contributions(model, images, 0)
    assert error(parts.contributions.sum(1) + parts.biases, model(images)[:, 0]) < 1e-12
    assert class_activation_map(model, images, 0).shape[0] == len(images)


def test_a_network_that_ends_in_a_convolution_is_refused():
    with torch.device("meta"):
        empty = models.squeezenet1_1(num_classes=3)
    model = empty.to_empty(device="cpu").double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    with pytest.raises(ValueError, match=r"^model: got no linear layer .*grad_cam"):
        logit_contributions(model, pictures())
    with pytest.raises(ValueError, match=r"^model: got an output that no linear layer"):
        class_similarity(model, pictures())


def test_a_linear_layer_before_the_last_convolution_is_no_head():
    class Attention(nn.Module):
        """Channels weighted by a linear layer on their means, as in squeeze-and-excitation."""

        def __init__(self, head: nn.Module) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
            self.weigh, self.head = nn.Linear(5, 5), head

        def forward(self, x):
            x = self.first(x)
            x = x * self.weigh(x.mean((2, 3))).sigmoid()[:, :, None, None]
            return self.head(self.last(x).relu().mean((2, 3)))

    torch.manual_seed(0)
    model = Attention(nn.Linear(5, CLASSES)).double().eval()
    assert error(logit_contributions(model, pictures(), 1).biases, model.head.bias[[1, 1]]) == 0
    with pytest.raises(ValueError, match=r"^model: got no linear layer"):
        logit_contributions(Attention(nn.Identity()).double().eval(), pictures())


@pytest.mark.parametrize(
    "step", [torch.Tensor.detach, lambda x: torch.from_numpy(x.numpy(force=True))]
)
def test_a_model_that_autograd_cannot_follow_is_refused(step):
    class Cut(nn.Module):
        def forward(self, x):
            return step(x)

    with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
        logit_contributions(nn.Sequential(tiny(), Cut()).eval(), pictures())


def test_the_similarity_can_be_used_in_further_derivatives():
    with torch.inference_mode():
        similarity = class_similarity(tiny(), pictures())
    assert not similarity.is_inference()
