"""Score-CAM: by hand, against a plain loop, and against torchcam and grad-cam."""

import pytest
import torch
import torch.nn.functional as F
from explainers import state
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from stock_networks import CLASSES, SMALL, Spy, error, network, pictures, tiny
from torch import nn
from torchcam.methods import ScoreCAM as TorchcamScoreCAM

from xai_course.core import baseline_images, capture_layer
from xai_course.fully_connected import score_cam
from xai_course.fully_connected.score_cam import _masks
from xai_course.models import BeetleNet

# A layer of few channels, since each is a pass. The network changes some outputs in place a moment
# later.
LAYERS = {
    "small_resnet": "layer1",
    "bottleneck": "layer1",
    "small_vgg": "features.7",
    "small_mobilenet": "features.3.conv.2",
    "small_densenet": "features.pool0",
    "mixed": None,
}
# Networks that leave their input as it is, which grad-cam takes for granted.
LAST = {"small_resnet": "layer4", "small_vgg": "features.17"}


def by_loop(model, images, targets, layer=None, weights="softmax", baseline=0.0):
    """Score-CAM channel by channel and image by image."""
    maps = []
    with torch.no_grad():
        for image, target in zip(images.split(1), targets, strict=True):
            with capture_layer(model, layer) as captured:
                model(image.clone())
            features, fill = captured[0], baseline_images(image, baseline)
            scores = []
            for k in range(features.shape[1]):
                mask = F.interpolate(features[:, k : k + 1], image.shape[2:], mode="bilinear")
                if mask.max() - mask.min() > 1e-12:
                    mask = (mask - mask.min()) / (mask.max() - mask.min())
                else:
                    mask = torch.zeros_like(mask)
                shown = mask * image + (1 - mask) * fill
                scores.append(model(shown)[0, target] - model(fill.clone())[0, target])
            weight = torch.stack(scores)
            if weights == "softmax":
                weight = weight.exp() / weight.exp().sum()
            summed = (weight[:, None, None] * features[0]).sum(0)
            maps.append(F.interpolate(summed[None, None], image.shape[2:], mode="bilinear"))
    return torch.cat(maps)


def two_channels(second: float) -> nn.Module:
    """Channels x and `second` times x; the logit is the sum of the first."""
    layers = nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 1, bias=False)
    model = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, second]).view(2, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([[1.0] * 4 + [0] * 4]))
    return model


def test_score_cam_by_hand():
    images = torch.tensor([[[[0.0, 1, 2, 4]]]], dtype=torch.double)
    # Masks (0, 1, 2, 4) / 4 and, of the negative channel, (4, 3, 2, 0) / 4.
    first, second = (0 + 1 + 4 + 16) / 4, (0 + 3 + 4 + 0) / 4
    increase = score_cam(two_channels(-1), images, layer="0", weights="increase")
    assert error(increase, (first - second) * images) < 1e-12
    # The larger logit gets 1 / (1 + exp(second - first)) of the weight.
    share = torch.tensor(first - second, dtype=torch.double).sigmoid()
    published = score_cam(two_channels(-1), images, layer="0")
    assert error(published, (2 * share - 1) * images) < 1e-12
    # With a baseline of 1, the increase is mask · (x - 1).
    first, second = (0 + 0 + 2 + 12) / 4, (-4 + 0 + 2 + 0) / 4
    increase = score_cam(two_channels(-1), images, layer="0", weights="increase", baseline=1)
    assert error(increase, (first - second) * images) < 1e-12


def test_relu_sets_negative_values_to_zero():
    images = torch.tensor([[[[0.0, 1, 2, -4]]]], dtype=torch.double)
    signed = score_cam(two_channels(0), images, layer="0")
    assert (signed < 0).any()
    assert torch.equal(score_cam(two_channels(0), images, layer="0", relu=True), signed.relu())


# ---- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"weights": "increase", "baseline": "blur"}])
def test_score_cam_agrees_with_a_plain_loop(name, options):
    model, images, targets = network(name), pictures(2, 32), torch.tensor([3, 1])
    options = options | {"layer": LAYERS[name]}
    ours = score_cam(model, images, targets, batch_size=7, **options)
    assert error(ours, by_loop(model, images, targets, **options)) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_score_cam_agrees_with_torchcam(seed):
    # torchcam scales a map before it enlarges it, so the map has the size of the image here.
    torch.manual_seed(seed)
    steps = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 9, 3, padding=1), nn.ReLU()
    layers = *steps, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(36, CLASSES)
    model, images = nn.Sequential(*layers).double().eval(), pictures(2, 16, seed=seed)
    with TorchcamScoreCAM(model, "2", input_shape=(3, 16, 16)) as extractor:
        with torch.no_grad():
            model(images)
        (expected,) = extractor([3, 1], normalized=False)
    ours = score_cam(model, images, [3, 1], layer="2", relu=True)
    assert error(ours[:, 0], expected) < 1e-6  # it adds 1e-8 to each range


@pytest.mark.parametrize("name", LAST)
def test_the_image_agrees_with_grad_cam(name, monkeypatch):
    model, images = network(name), pictures(2, 64)
    # It enlarges with the corners aligned, and does the rest in float32.
    bilinear = F.interpolate

    class Upsample(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = tuple(size)

        def forward(self, x):
            return bilinear(x, self.size, mode="bilinear", align_corners=False)

    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", Upsample)
    wanted = [ClassifierOutputTarget(3), ClassifierOutputTarget(1)]
    with ScoreCAM(model=model, target_layers=[model.get_submodule(LAST[name])]) as cam:
        expected = torch.from_numpy(cam(input_tensor=images.clone(), targets=wanted))
    at_layer = at_the_layer(model, images, [3, 1], monkeypatch, layer=LAST[name])
    ours = span(bilinear(span(at_layer.relu()), images.shape[2:], mode="bilinear"))
    assert error(ours[:, 0].float(), expected) < 1e-5


def at_the_layer(model, images, targets, monkeypatch, **options):
    """Return Score-CAM at the layer's resolution, by way of the public function."""
    seen, enlarge = [], F.interpolate

    def keep(x, *args, **kwargs):
        seen[:] = [x]
        return enlarge(x, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(F, "interpolate", keep)
        score_cam(model, images, targets, **options)
    return seen[0]


def span(maps):
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (1e-7 + high - low)


# ---- properties ----------------------------------------------------------------------------------


def test_channels_that_are_the_same_everywhere_let_nothing_through():
    model, images = tiny(), pictures(2, 16)
    with torch.no_grad():
        model[3].weight[1:3] = 0  # two of five channels are constant: 0 and 0.7
        model[3].bias[1], model[3].bias[2] = -1, 0.7
    for options in ({}, {"weights": "increase"}, {"weights": "increase", "baseline": "mean"}):
        relevance = score_cam(model, images, 2, **options)
        assert relevance.isfinite().all()
        assert error(relevance, by_loop(model, images, [2, 2], **options)) < 1e-10
    # Not even where enlarging a constant rounds, in any dtype.
    for dtype in (torch.float32, torch.float64):
        maps = torch.rand(200, 1, 1, 1).to(dtype).expand(-1, 1, 7, 5)
        assert torch.equal(_masks(maps, (64, 48)), torch.zeros(200, 1, 64, 48, dtype=dtype))


def test_a_network_with_only_flat_channels_gets_no_nan():
    model = tiny()
    with torch.no_grad():
        model[3].weight.zero_()
    assert torch.isfinite(score_cam(model, pictures(2, 16))).all()
    assert torch.equal(
        score_cam(model, pictures(2, 16), weights="increase"), torch.zeros(2, 1, 16, 16).double()
    )


@example(shape=(4, 1), size=(1, 6), scale=1.0, seed=45)  # it averages to one number a row
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 2),
    size=st.tuples(*[st.integers(1, 20)] * 2),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_masks_reach_from_0_to_1(shape, size, scale, seed):
    maps = pictures(3, 9, 1, seed)[:, :, : shape[0], : shape[1]] * scale
    masks = _masks(maps, size)
    assert masks.shape == (3, 1, *size)
    low, high = masks.amin((2, 3)), masks.amax((2, 3))
    assert (low == 0).all()
    assert ((high - 1).abs() < 1e-12).logical_or(high == 0).all()
    again = _masks(5 * maps + scale, size)  # neither unit nor zero of a map matters
    assert torch.allclose(masks, again, atol=1e-6)


@given(
    count=st.integers(1, 3),
    height=st.integers(6, 20),
    width=st.integers(6, 20),
    batch_size=st.integers(1, 30),
)
@settings(max_examples=20, deadline=None)
def test_softmax_is_a_weighted_mean_and_any_batch_size_gives_the_same(
    count, height, width, batch_size
):
    model, images = tiny(), pictures(count, 20)[:, :, :height, :width]
    relevance = score_cam(model, images, 1, batch_size=batch_size)
    assert relevance.shape == (count, 1, height, width)
    assert error(relevance + 1, score_cam(model, images, 1) + 1) < 1e-12
    with capture_layer(model) as captured:
        model(images.clone())
    maps = captured[0].detach()
    assert (relevance >= -1e-12).all()  # the maps come from a ReLU
    assert (relevance.amax((1, 2, 3)) <= maps.amax((1, 2, 3)) + 1e-12).all()
    # What is added to all logits is no increase, and changes nothing.
    with torch.no_grad():
        model[-1].bias.add_(3)
    for weights in ("softmax", "increase"):
        moved = score_cam(model, images, 1, weights=weights)
        assert error(moved + 1, score_cam(tiny(), images, 1, weights=weights) + 1) < 1e-10


@pytest.mark.parametrize("name", SMALL)
def test_an_image_does_not_depend_on_the_others_and_the_model_stays_as_it_was(name):
    model, images = network(name), pictures(3, 32)
    before, kept = state(model), images.clone()
    options = {"layer": LAYERS[name], "weights": "increase"}
    with torch.no_grad():
        together = score_cam(model, images, [1, 2, 3], **options)
    assert state(model) == before
    assert torch.equal(images, kept)
    assert not together.requires_grad
    alone = [score_cam(model, images[n : n + 1], n + 1, **options) for n in range(3)]
    assert error(together, torch.cat(alone)) < 1e-10


def test_score_cam_of_our_own_network():
    model, images = BeetleNet().eval(), pictures(1, 64).float()
    relevance = score_cam(model, images)
    assert relevance.shape == (1, 1, 64, 64)
    assert relevance.dtype == torch.float32
    assert torch.equal(relevance, score_cam(model, images, layer="blocks"))


def test_the_cost_is_as_stated_and_a_pass_is_no_larger_than_the_batch():
    spy = Spy()
    model, images = nn.Sequential(spy, tiny()).eval(), pictures(5, 16)
    score_cam(model, images)  # a new model is first measured on two images
    for weights, passes in (("softmax", 5 + 2), ("increase", 5 + 3)):
        spy.seen.clear()
        score_cam(model, images, weights=weights, batch_size=3)
        assert sum(map(len, spy.seen)) == 5 * passes
        assert max(map(len, spy.seen)) == 3


def test_a_function_of_the_logits_can_be_explained():
    model, images = tiny(), pictures(2, 16)
    ours = score_cam(model, images, lambda logits: logits[:, 4], weights="increase")
    assert torch.equal(ours, score_cam(model, images, 4, weights="increase"))


def test_the_progress_bar_changes_nothing(capsys):
    quiet = score_cam(tiny(), pictures(2, 16))
    assert capsys.readouterr().err == ""
    loud = score_cam(tiny(), pictures(2, 16), progress=True)
    assert "score_cam" in capsys.readouterr().err
    assert torch.equal(quiet, loud)


def test_maps_with_channels_last_are_refused():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.swap = Swap()

        def forward(self, x):
            return self.swap(x).mean((1, 2))

    class Swap(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    with pytest.raises(ValueError, match=r"^layer: got 'swap', which returns .*, channels last"):
        score_cam(Last().eval(), pictures(2, 16), layer="swap")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "cnv"}, "layer: got 'cnv'"),
        (
            {"layer": "fc1"},
            r"layer: got 'fc1', which returns \(2, 16\); must return \(2, K, h, w\)",
        ),
        ({"layer": "unused"}, "layer: got 'unused', which does not run"),
        ({"weights": "mean"}, "weights: got 'mean'"),
        ({"baseline": "black"}, "baseline: got 'black'"),
        ({"baseline": "inpaint"}, "baseline: got 'inpaint'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"targets": 7}, "targets: got 7"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        score_cam(network("mixed"), pictures(2, 32), **options)
