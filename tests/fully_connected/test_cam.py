"""Class activation maps by hand, as an identity on stock networks, and against torchcam."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, CLASSES, error, network, pictures, tiny, with_heavy
from torch import nn
from torchcam.methods import CAM
from torchvision import models
from toy_models import any_network, logits_of, one_layer

from xai_course.core import upsample_keep_sum
from xai_course.fully_connected import class_activation_map, contrast, logit_contributions
from xai_course.relu import hires_cam

# ---- by hand -------------------------------------------------------------------------------------


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
    # Class 0: (4·x + 1·10 x) / 4 positions = 3.5 x; class 1: 8·10 x / 4 = 20 x.
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


# ---- identities ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "ArticleNet", "BeetleNet"])
def test_the_map_and_the_biases_sum_to_the_logit(name):
    model, images, classes = any_network(name), pictures(2, 64), torch.tensor([3, 1])
    expected = logits_of(model, images, classes)
    biases = logit_contributions(model, images, classes).biases
    for enlarged in (True, False):
        relevance = class_activation_map(model, images, classes, enlarged=enlarged)
        assert error(relevance.sum((1, 2, 3)) + biases, expected) < 1e-10
        assert (relevance.shape[2:] == images.shape[2:]) or not enlarged


@given(
    widths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    pool=st.sampled_from(["average", "flatten", "max", "average to 2 × 3"]),
    activation=st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.3), nn.Identity()]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_the_map_and_the_biases_sum_to_the_logit_for_random_heads(
    widths, pool, activation, bias, seed
):
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
    relevance = class_activation_map(model, images, [2, 0])
    assert ((relevance.sum((1, 2, 3)) + biases - expected).abs() < 1e-11 * scale).all()


def test_batch_normalisation_in_the_head_counts_among_the_biases():
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    model = nn.Sequential(*tiny()[:-1], head).double().eval()
    head[1].running_mean.normal_()
    head[1].running_var.uniform_(0.5, 2)
    biases = logit_contributions(model, pictures(3), [0, 1, 2]).biases
    expected = logits_of(model, pictures(3), [0, 1, 2])
    relevance = class_activation_map(model, pictures(3), [0, 1, 2])
    assert error(relevance.sum((1, 2, 3)) + biases, expected) < 1e-12


class OverPlaces(nn.Module):
    """A linear layer over every place (N, h·w, F), before the mean over the places."""

    def __init__(self):
        super().__init__()
        self.each, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, maps):
        return self.last(self.each(maps.flatten(2).transpose(1, 2)).relu().mean(1))


class Moved(nn.Module):
    """A head that first moves the places of its map: to another axis, or to another place."""

    def __init__(self, move, size=6):
        super().__init__()
        self.move, self.last = move, nn.Linear(4 * size * size, 2)

    def forward(self, maps):
        return self.last(self.move(maps).relu().flatten(1))


MOVES = [
    lambda maps: maps.permute(0, 2, 3, 1),
    lambda maps: maps.transpose(2, 3),
    lambda maps: maps.flip(3),
    lambda maps: maps.rot90(1, (2, 3)),
    lambda maps: torch.roll(maps, (1, 2), (2, 3)),
    lambda maps: maps.cumsum(2),
    lambda maps: maps.mT,
    lambda maps: torch.einsum("nchw->ncwh", maps),
    lambda maps: maps[:, :, torch.arange(maps.shape[2] - 1, -1, -1)],
    lambda maps: maps.flatten(2).flip(2).unflatten(2, maps.shape[2:]),
    lambda maps: maps.permute(0, 2, 3, 1).permute(0, 3, 2, 1),
    lambda maps: torch.flip(input=maps, dims=[3]),
    lambda maps: torch.transpose(input=maps, dim0=2, dim1=3),
    lambda maps: maps[..., np.arange(maps.shape[3])[::-1].copy()],
    lambda maps: maps[..., tuple(range(maps.shape[3]))[::-1]],
    lambda maps: maps[:, :, None].transpose(3, 4)[:, :, 0],
    lambda maps: maps.flatten(0, 1).mT.reshape(maps.shape),
    lambda maps: torch.cat(maps.split(1, 3)[::-1], 3),
    lambda maps: torch.stack(maps.unbind(3), 2),
    lambda maps: maps @ torch.eye(maps.shape[3]).flip(0).to(maps),
    lambda maps: maps.flatten(2).mT.reshape(maps.shape),
    lambda maps: torch.einsum("nkij,k->nkji", maps, torch.ones(4).to(maps)),
    lambda maps: torch.vmap(lambda each: each.mT)(maps),
]


def normed_head():
    """Pooling, batch normalisation and a linear layer, as in the heads of fastai."""
    norm = nn.BatchNorm1d(4)
    for numbers in (norm.running_mean, norm.weight, norm.bias):
        nn.init.normal_(numbers)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), norm, nn.Linear(4, 2))


@pytest.mark.parametrize(
    "make_head", [OverPlaces, normed_head, *(partial(Moved, m) for m in MOVES)]
)
@pytest.mark.parametrize("side", [6, 8])  # with 6 the map has as many channels as rows and columns
def test_what_follows_the_last_map_is_the_head(make_head, side):
    """Constants before the first linear layer are biases; places that move later stay in place."""
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), make_head()
    if isinstance(head, Moved):
        head = Moved(head.move, side - 2)
    model = nn.Sequential(body, head).double().eval()
    images = torch.rand(2, 3, side, side).double()
    relevance = class_activation_map(model, images, 1, enlarged=False)  # its sum is checked
    maps = body(images).detach().requires_grad_()
    (grad,) = torch.autograd.grad(head(maps)[:, 1].sum(), maps)
    assert error(relevance, (grad * maps).sum(1, keepdim=True).detach()) < 1e-12


@pytest.mark.parametrize("move", [move for move in MOVES if "cumsum" not in move.__code__.co_names])
def test_the_sisters_of_grad_cam_refuse_a_map_whose_places_are_moved(move):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Moved(move, 4)).double().eval()
    images = torch.rand(2, 3, 6, 6).double()
    assert model[:2](images).shape == (2, 4, 4, 4)
    with pytest.raises(ValueError, match=r"^layer: .*the places of its map are moved"):
        hires_cam(model, images, 1)
    assert hires_cam(model, images, 1, layer="1").shape == (2, 1, 6, 6)


@pytest.mark.parametrize(
    "step",
    [
        lambda maps: maps.flip(1),
        lambda maps: maps[:, [3, 1, 0, 2]],
        lambda maps: maps.index_select(1, torch.tensor([1, 0, 3, 2])),
        lambda maps: maps.cumsum(1),
        lambda maps: maps.flip(3).flip(3),
        lambda maps: maps.mT.mT,
        lambda maps: maps.permute(0, 3, 2, 1).permute(0, 3, 2, 1),
        lambda maps: torch.cat(maps.split(1, 3), 3),
    ],
)
def test_a_step_that_leaves_every_place_where_it_was_is_part_of_the_map(step):
    """A curved step after it is then no part of the head, which stays a sum."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    last = nn.Linear(4 * 16, 2)

    class Curved(nn.Module):
        def forward(self, maps):
            self.seen = nn.functional.gelu(step(maps))
            return self.seen.flatten(1)

    curved = Curved()
    model = nn.Sequential(body, curved, last).double().eval()
    images = torch.rand(2, 3, 6, 6).double()
    relevance = class_activation_map(model, images, 1, enlarged=False)
    expected = (last.weight[1].view(4, 4, 4) * curved.seen).sum(1, keepdim=True)
    assert error(relevance, expected.detach()) < 1e-12


@pytest.mark.parametrize(
    "both",
    [
        lambda maps: torch.cat([maps.relu(), maps.flip(3).relu()], 1),
        lambda maps: torch.cat([1e-3 * maps + maps.flip(3)] * 2, 1),
        lambda maps: torch.cat([maps.flip(3) + 1e-3 * maps, maps.relu()], 1),
    ],
)
def test_a_map_beside_its_mirror_image_is_split_at_the_convolution(both):
    class Both(nn.Module):
        def forward(self, maps):
            return both(maps).flatten(1)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Both(), nn.Linear(8 * 16, 2)).double().eval()
    images = torch.rand(2, 3, 6, 6).double()
    relevance = class_activation_map(model, images, 1, enlarged=False)
    maps = model[0](images).detach().requires_grad_()
    (grad,) = torch.autograd.grad(model[1:](maps)[:, 1].sum(), maps)
    assert error(relevance, (grad * maps).sum(1, keepdim=True).detach()) < 1e-12


@pytest.mark.parametrize(
    "overwrite",
    [
        lambda maps: maps.masked_scatter_(torch.ones_like(maps) > 0, maps.flip(3).clone()),
        lambda maps: maps.add_(maps.flip(3) - maps),
        lambda maps: maps.index_copy_(3, torch.arange(4), maps.flip(3).clone()),
    ],
)
def test_a_map_that_is_overwritten_by_its_mirror_image_is_refused(overwrite):
    class Overwritten(nn.Module):
        def forward(self, maps):
            return overwrite(maps).mean((2, 3))

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Overwritten(), nn.Linear(4, 2)).double().eval()
    with pytest.raises(ValueError, match=r"^model: got (places that are moved in place|a sum)"):
        class_activation_map(model, torch.rand(2, 3, 6, 6).double(), 1)


def test_a_map_after_attention_is_taken_where_the_one_before_has_no_sum():
    """Attention mixes the places, but with a residual each stays mostly where it was."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.each, self.last = nn.MultiheadAttention(4, 1, batch_first=True), nn.Linear(4, 2)

        def forward(self, maps):
            places = maps.flatten(2).mT
            mixed = self.each(places, places, places, need_weights=False)[0]
            self.seen = maps + mixed.mT.unflatten(2, maps.shape[2:])
            return self.last(self.seen.mean((2, 3)))

    torch.manual_seed(0)
    head = Attention()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), head).double().eval()
    images = torch.rand(2, 3, 8, 9).double()
    relevance = class_activation_map(model, images, 1, enlarged=False)
    expected = torch.einsum("k,nkhw->nhw", head.last.weight[1], head.seen).unsqueeze(1) / 42
    assert error(relevance, expected.detach()) < 1e-12


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda maps, norm: norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        lambda maps, norm: norm(maps.movedim(1, -1)).movedim(-1, 1),
        lambda maps, norm: (
            norm(maps.flatten(2).transpose(1, 2)).unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2)
        ),
    ],
)
def test_a_change_of_layout_and_back_moves_no_place(there_and_back):
    """As in ConvNeXt, PVT and MaxViT: what follows the norm over the channels is the map."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 2)

        def forward(self, maps):
            self.seen = there_and_back(maps, self.norm)
            return self.last(self.seen.mean((2, 3)))

    torch.manual_seed(0)
    head = Normed()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), head).double().eval()
    images = torch.rand(2, 3, 8, 9).double()
    relevance = class_activation_map(model, images, 1, enlarged=False)
    expected = torch.einsum("k,nkhw->nhw", head.last.weight[1], head.seen).unsqueeze(1) / 42
    assert error(relevance, expected.detach()) < 1e-12


def test_linear_in_the_logit_of_a_pooled_head():
    model, images = network("small_resnet"), pictures()
    summed = nn.Linear(CLASSES, 1, bias=False).double()
    with torch.no_grad():
        summed.weight.copy_(torch.arange(CLASSES))
    whole = class_activation_map(nn.Sequential(model, summed).eval(), images, 0)
    parts = sum(k * class_activation_map(model, images, k) for k in range(CLASSES))
    assert error(whole, parts) < 1e-10


@pytest.mark.parametrize("name", with_heavy(["small_vgg", "mixed", "vgg16"]))
def test_in_float32_it_stays_close(name):
    images = pictures(2, 64)
    expected = class_activation_map(network(name), images, 2)
    single = class_activation_map(copy.deepcopy(network(name)).float(), images.float(), 2)
    assert single.dtype == torch.float32
    assert error(single.double(), expected) < 1e-4


# ---- oracle --------------------------------------------------------------------------------------


POOLED = {  # the module that returns the last map, and the linear layer
    "small_resnet": ("layer4", "fc"),
    "bottleneck": ("layer4", "fc"),
    "small_mobilenet": ("features", "classifier.1"),
    "small_densenet": ("features", "classifier"),
    "resnet18": ("layer4", "fc"),
    "resnet50": ("layer4", "fc"),
    "mobilenet_v2": ("features", "classifier.1"),
    "densenet121": ("features", "classifier"),
    "efficientnet_lite0": ("features", "head"),
}


@pytest.mark.parametrize("name", with_heavy(POOLED))
def test_it_agrees_with_torchcam(name):
    model, images = network(name), pictures(2, 96)
    layer, head = POOLED[name]
    features = model.get_submodule(layer)
    if "densenet" in name:  # a ReLU follows its last layer, in the network's own forward
        model = nn.Sequential(
            features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)
        )
        model[4] = network(name).classifier
        model, features, head = model.eval(), model[1], "4"
    with CAM(model, target_layer=features, fc_layer=model.get_submodule(head)) as cam:
        model(images.clone())
        theirs = cam([3, 1], normalized=False)[0]
    ours = class_activation_map(network(name), images, [3, 1], enlarged=False)
    # Theirs is weight times map, without the mean's division by the number of positions.
    assert error(ours[:, 0] * theirs[0].numel(), theirs.double()) < 1e-10
    enlarged = class_activation_map(network(name), images, [3, 1])
    assert torch.equal(enlarged, upsample_keep_sum(ours, (96, 96)))


# ---- contrast ------------------------------------------------------------------------------------


def test_contrast_sums_to_the_difference_of_logits_and_biases():
    model, images = network("small_resnet"), pictures(3, 64)
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
    with pytest.raises(ValueError, match=r"^others: got a model of one class"):
        contrast(tiny(classes=1), pictures())


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("curved", [nn.GELU(), nn.Tanh(), nn.LayerNorm(5), nn.Softmax(1)])
@pytest.mark.parametrize("where", ["between two linear layers", "after the last"])
def test_a_curved_head_is_refused(curved, where):
    torch.manual_seed(0)
    rest = [curved, nn.Linear(5, 5)] if where == "between two linear layers" else [curved]
    model = nn.Sequential(*tiny()[:-1], nn.Linear(5, 5), *rest).double().eval()
    with pytest.raises(ValueError, match=r"^model: got a sum that misses the logit .*GELU"):
        class_activation_map(model, pictures() / 10)


def test_a_network_that_ends_in_a_convolution_is_refused():
    with torch.device("meta"):
        empty = models.squeezenet1_1(num_classes=3)
    model = empty.to_empty(device="cpu").double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    with pytest.raises(ValueError, match=r"^model: got no linear layer .*grad_cam"):
        class_activation_map(model, pictures())


def test_a_network_without_convolutions_has_a_sum_but_no_map():
    model = one_layer([[1.0] * 12, [2.0] * 12], [0, 0])
    assert logit_contributions(model, pictures(2, 2)).contributions.shape == (2, 12)
    with pytest.raises(
        ValueError, match=r"^model: got no convolution that can be seen; .*gradient"
    ):
        class_activation_map(model, pictures(2, 2))


def test_a_map_of_one_position_is_refused():
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 9, 1), nn.ReLU())
    model = nn.Sequential(*tiny()[:3], squeeze, nn.Flatten(), nn.Linear(9, 2)).double().eval()
    for network_and_images in ((model, pictures()), (network("small_resnet"), pictures(2, 32))):
        with pytest.raises(ValueError, match=r"^model: got a last convolution of one position"):
            class_activation_map(*network_and_images)
        assert logit_contributions(*network_and_images).biases.shape == (2,)


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
    with pytest.raises(ValueError, match=r"features or constants from elsewhere"):
        class_activation_map(model, pictures(), 1)


@pytest.mark.parametrize(
    "step", [torch.Tensor.detach, lambda x: torch.from_numpy(x.numpy(force=True))]
)
def test_a_model_that_autograd_cannot_follow_is_refused(step):
    class Cut(nn.Module):
        def forward(self, x):
            return step(x)

    with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
        class_activation_map(nn.Sequential(tiny(), Cut()).eval(), pictures())


def test_a_model_that_is_frozen_is_explained_all_the_same():
    expected = class_activation_map(tiny(), pictures())
    assert torch.equal(class_activation_map(tiny().requires_grad_(False), pictures()), expected)
