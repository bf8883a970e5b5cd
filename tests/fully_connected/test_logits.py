"""The head's sum by hand, as an identity on stock networks, and against torchcam."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn
from torchcam.methods import CAM
from torchvision import models

from xai_course.core import upsample_keep_sum
from xai_course.fully_connected import (
    class_activation_map,
    class_similarity,
    contrast,
    logit_contributions,
)
from xai_course.models import ArticleNet, BeetleNet

POOLED = {
    "resnet18": ("layer4", "fc"),
    "resnet50": ("layer4", "fc"),
    "mobilenet_v2": ("features", "classifier.1"),
    "densenet121": ("features", "classifier"),
    "efficientnet_lite0": ("features", "head"),
}
NAMES = [*POOLED, "vgg16", "mixed", "ArticleNet", "BeetleNet"]


def any_network(name: str) -> nn.Module:
    if name not in ("ArticleNet", "BeetleNet"):
        return network(name)
    torch.manual_seed(5)
    model = {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}[name](CLASSES).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def logits_of(model: nn.Module, images: torch.Tensor, classes: object) -> torch.Tensor:
    with torch.no_grad():
        logits = model(images.clone())
    return logits[torch.arange(len(images)), torch.as_tensor(classes).expand(len(images))]


def one_layer(weight: list[list[float]], bias: list[float]) -> nn.Module:
    """A network of one linear layer on the image's pixels."""
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return nn.Sequential(nn.Flatten(), layer).eval()


# ------------------------------------------------------------------ by hand


def test_one_layer_by_hand():
    model = one_layer([[1, 2, 0, -1], [3, 0, 1, 1]], [10, 20])
    images = torch.tensor([[[[1.0, 2], [3, 4]]]], dtype=torch.double)
    features, contributions, biases = logit_contributions(model, images, 0)
    assert features.tolist() == [[1, 2, 3, 4]]
    assert contributions.tolist() == [[1, 4, 0, -4]]  # 1·1, 2·2, 3·0, 4·-1
    assert biases.tolist() == [10]
    assert logit_contributions(model, images).contributions.tolist() == [[3, 0, 3, 4]]


def test_two_layers_with_their_gates_by_hand():
    first = one_layer([[1, 0], [0, 1], [1, -1]], [1, -5, 0])
    last = one_layer([[2, 100, 3]], [7])
    model = nn.Sequential(first, nn.ReLU(inplace=True), last[1]).eval()
    images = torch.tensor([[[[4.0, 2]]]], dtype=torch.double)
    # Hidden: 4 + 1 = 5, 2 - 5 < 0 (shut), 4 - 2 = 2. Logit: 2·5 + 3·2 + 7 = 23.
    _, contributions, biases = logit_contributions(model, images)
    assert contributions.tolist() == [[4 * (2 + 3), 2 * -3]]
    assert biases.tolist() == [2 * 1 + 7]
    assert contributions.sum() + biases == 23


def pooled_by_hand() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    model = model.double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 10]).view(2, 1, 1, 1))
        model[3].weight.copy_(torch.tensor([[4.0, 1], [0, 8]]))
        model[3].bias.copy_(torch.tensor([5.0, 6]))
    return model, torch.tensor([[[[1.0, 2], [3, -4]]]], dtype=torch.double)


def test_a_pooled_map_by_hand():
    model, images = pooled_by_hand()
    # Class 0: (4·x + 1·10 x) / 4 places = 3.5 x; class 1: 8·10 x / 4 = 20 x.
    assert torch.equal(class_activation_map(model, images, 0), 3.5 * images)
    assert torch.equal(class_activation_map(model, images, 1), 20 * images)
    assert torch.equal(contrast(model, images, 1, 0), 16.5 * images)
    assert logit_contributions(model, images, 1).features.tolist() == [[0.5, 5]]


def test_a_flattened_map_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 1))
    model = model.double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 10]).view(2, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([[1.0, 2, 3, 4, 0, 0, 1, -1]]))
    images = torch.tensor([[[[1.0, 2], [3, -4]]]], dtype=torch.double)
    by_place = torch.tensor([[[[1.0, 2], [3 + 10, 4 - 10]]]], dtype=torch.double)
    assert torch.equal(class_activation_map(model, images), by_place * images)


# ------------------------------------------------------------------ identities


@pytest.mark.parametrize("name", NAMES)
def test_the_sums_are_the_logit(name):
    model, images, classes = any_network(name), pictures(2, 64), torch.tensor([3, 1])
    expected = logits_of(model, images, classes)
    features, contributions, biases = logit_contributions(model, images, classes)
    assert features.shape == contributions.shape
    assert error(contributions.sum(1) + biases, expected) < 1e-10
    for enlarged in (True, False):
        relevance = class_activation_map(model, images, classes, enlarged=enlarged)
        assert error(relevance.sum((1, 2, 3)) + biases, expected) < 1e-10
        assert (relevance.shape[2:] == images.shape[2:]) or not enlarged
    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if name in POOLED:  # then the bias is the layer's own
        assert error(biases, last[-1].bias[classes]) < 1e-14


def test_the_bias_of_three_layers_is_gathered_through_their_gates():
    model, images = network("vgg16"), pictures(2, 64)
    features, contributions, biases = logit_contributions(model, images, 4)
    first, second, last = (model.classifier[number] for number in (0, 3, 6))
    for n in range(2):
        hidden = first(features[n])
        gates_1 = (hidden > 0).double()
        gates_2 = (second(hidden.relu()) > 0).double()
        through_2 = last.weight[4] * gates_2
        through_1 = (through_2 @ second.weight) * gates_1
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
    relevance = class_activation_map(model, pictures(3), [0, 1, 2])
    assert error(relevance.sum((1, 2, 3)) + biases, expected) < 1e-12


@given(
    widths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    pool=st.sampled_from(["average", "flatten", "max", "average to 2 × 3"]),
    bend=st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.3), nn.Identity()]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_the_sums_are_the_logit_for_random_heads(widths, pool, bend, bias, seed):
    torch.manual_seed(seed)
    pooling, places = {
        "average": (nn.AdaptiveAvgPool2d(1), 1),
        "flatten": (nn.Identity(), 9 * 7),
        "max": (nn.MaxPool2d(3, 2), 4 * 3),
        "average to 2 × 3": (nn.AdaptiveAvgPool2d((2, 3)), 6),
    }[pool]
    layers: list[nn.Module] = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), pooling, nn.Flatten()]
    for inputs, outputs in zip([4 * places, *widths], widths, strict=False):
        layers += [nn.Linear(inputs, outputs, bias=bias), bend]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 3)).double().eval()
    images = torch.randn(2, 2, 9, 7, dtype=torch.double)
    expected = logits_of(model, images, [2, 0])
    _, contributions, biases = logit_contributions(model, images, [2, 0])
    scale = contributions.abs().sum(1) + biases.abs()
    assert ((contributions.sum(1) + biases - expected).abs() < 1e-12 * scale).all()
    relevance = class_activation_map(model, images, [2, 0])
    assert ((relevance.sum((1, 2, 3)) + biases - expected).abs() < 1e-11 * scale).all()


def test_linear_in_the_logit_of_a_pooled_head():
    model, images = network("resnet18"), pictures()
    summed = nn.Linear(CLASSES, 1, bias=False).double()
    with torch.no_grad():
        summed.weight.copy_(torch.arange(CLASSES))
    whole = class_activation_map(nn.Sequential(model, summed).eval(), images, 0)
    parts = sum(k * class_activation_map(model, images, k) for k in range(CLASSES))
    assert error(whole, parts) < 1e-10


@pytest.mark.parametrize("name", ["vgg16", "mixed"])
def test_in_float32_it_stays_close(name):
    images = pictures(2, 64)
    expected = class_activation_map(network(name), images, 2)
    single = class_activation_map(copy.deepcopy(network(name)).float(), images.float(), 2)
    assert single.dtype == torch.float32
    assert error(single.double(), expected) < 1e-4


# ------------------------------------------------------------------ oracle


@pytest.mark.parametrize("name", POOLED)
def test_it_agrees_with_torchcam(name):
    model, images = network(name), pictures(2, 96)
    layer, head = POOLED[name]
    features = model.get_submodule(layer)
    if name == "densenet121":  # a ReLU follows its last layer, in the network's own forward
        model = nn.Sequential(
            features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)
        )
        model[4] = network(name).classifier
        model, features, head = model.eval(), model[1], "4"
    with CAM(model, target_layer=features, fc_layer=model.get_submodule(head)) as cam:
        model(images.clone())
        theirs = cam([3, 1], normalized=False)[0]
    ours = class_activation_map(network(name), images, [3, 1], enlarged=False)
    # Theirs is weight times map, without the mean's division by the number of places.
    assert error(ours[:, 0] * theirs[0].numel(), theirs.double()) < 1e-10
    enlarged = class_activation_map(network(name), images, [3, 1])
    assert torch.equal(enlarged, upsample_keep_sum(ours, (96, 96)))


# ------------------------------------------------------------------ contrast


def test_contrast_sums_to_the_difference_of_logits_and_biases():
    model, images = network("resnet18"), pictures(3, 64)
    with torch.no_grad():
        logits = model(images.clone())
    best = logits.topk(2).indices
    assert torch.equal(contrast(model, images), contrast(model, images, best[:, 0], best[:, 1]))
    expected = (logits.gather(1, best) - model.fc.bias[best]) @ torch.tensor([1.0, -1]).double()
    assert error(contrast(model, images).sum((1, 2, 3)), expected) < 1e-10
    assert error(contrast(model, images, 2, 5), -contrast(model, images, 5, 2)) < 1e-14


def test_the_runner_up_of_another_class_than_the_predicted_one_is_the_predicted_one():
    model, images = pooled_by_hand()
    assert torch.equal(contrast(model, images, 0), -16.5 * images)


def test_contrast_takes_any_explainer():
    def explain(model, images, targets):
        return images * torch.as_tensor(targets).view(-1, 1, 1, 1)

    model, images = tiny(), pictures()
    assert error(contrast(model, images, 5, 2, explain=explain), 3 * images) < 1e-14
    winners = model(images.clone()).argmax(1)
    against = contrast(model, images, None, winners, explain=class_activation_map)
    assert torch.equal(against, torch.zeros_like(images[:, :1]))


def test_contrast_names_the_argument_that_is_wrong():
    with pytest.raises(ValueError, match=r"^targets: got 9"):
        contrast(tiny(), pictures(), 9, 1)
    with pytest.raises(ValueError, match=r"^others: got 9"):
        contrast(tiny(), pictures(), 1, 9)
    with pytest.raises(ValueError, match=r"^others: the model has one class"):
        contrast(tiny(classes=1), pictures())


# ------------------------------------------------------------------ class similarity


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


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "bend", [nn.GELU(), nn.Tanh(), nn.Softplus(), nn.SiLU(), nn.LayerNorm(5), nn.Softmax(1)]
)
@pytest.mark.parametrize("where", ["between two linear layers", "after the last"])
def test_a_curved_head_is_refused(bend, where):
    torch.manual_seed(0)
    rest = [bend, nn.Linear(5, 5)] if where == "between two linear layers" else [bend]
    model = nn.Sequential(*tiny()[:-1], nn.Linear(5, 5), *rest).double().eval()
    for explain in (logit_contributions, class_activation_map):
        with pytest.raises(ValueError, match=r"^model: the sum misses the logit .*GELU"):
            explain(model, pictures() / 10)


def test_a_network_that_ends_in_a_convolution_is_refused():
    with torch.device("meta"):
        empty = models.squeezenet1_1(num_classes=3)
    model = empty.to_empty(device="cpu").double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    with pytest.raises(ValueError, match=r"^model: no linear layer .*grad_cam"):
        logit_contributions(model, pictures())
    with pytest.raises(ValueError, match=r"^model: got no such head; .*grad_cam"):
        class_activation_map(model, pictures())
    with pytest.raises(ValueError, match=r"^model: its output is not what a linear layer"):
        class_similarity(model, pictures())


def test_a_network_without_convolutions_has_a_sum_but_no_map():
    model = one_layer([[1.0] * 12, [2.0] * 12], [0, 0])
    assert logit_contributions(model, pictures(2, 2)).contributions.shape == (2, 12)
    with pytest.raises(ValueError, match=r"^model: got no convolution; .*gradient"):
        class_activation_map(model, pictures(2, 2))


def test_a_map_of_one_place_is_refused():
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 9, 1), nn.ReLU())
    model = nn.Sequential(*tiny()[:3], squeeze, nn.Flatten(), nn.Linear(9, 2)).double().eval()
    for network_and_images in ((model, pictures()), (network("resnet18"), pictures(2, 32))):
        with pytest.raises(ValueError, match=r"^model: got a last feature map of one place"):
            class_activation_map(*network_and_images)
        assert logit_contributions(*network_and_images).biases.shape == (2,)


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
    assert class_activation_map(model, pictures()).shape == (2, 1, 64, 64)
    with pytest.raises(ValueError, match=r"^model: no linear layer"):
        logit_contributions(Attention(nn.Identity()).double().eval(), pictures())


def test_a_head_that_takes_more_than_the_last_map_is_refused():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.head = nn.Linear(8, CLASSES)

        def forward(self, x):
            first = self.first(x).relu()
            return self.head(torch.cat([first.mean((2, 3)), self.last(first).mean((2, 3))], 1))

    torch.manual_seed(0)
    model = Two().double().eval()
    _, contributions, biases = logit_contributions(model, pictures(), 1)
    assert error(contributions.sum(1) + biases, logits_of(model, pictures(), 1)) < 1e-12
    with pytest.raises(ValueError, match=r"features from elsewhere"):
        class_activation_map(model, pictures(), 1)


@pytest.mark.parametrize(
    "step", [torch.Tensor.detach, lambda x: torch.from_numpy(x.numpy(force=True))]
)
def test_a_model_that_autograd_cannot_follow_is_refused(step):
    class Cut(nn.Module):
        def forward(self, x):
            return step(x)

    for explain in (logit_contributions, class_activation_map):
        with pytest.raises(ValueError, match=r"^model: its output has no derivative"):
            explain(nn.Sequential(tiny(), Cut()).eval(), pictures())


def test_a_model_that_is_frozen_is_explained_all_the_same():
    expected = class_activation_map(tiny(), pictures())
    assert torch.equal(class_activation_map(tiny().requires_grad_(False), pictures()), expected)
