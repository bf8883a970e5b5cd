"""Activations of any layer, and which part each channel detects: by hand and by chance."""

import pytest
import torch
import torch.nn.functional as F
from stock_networks import error, network, pictures, tiny
from torch import nn

from xai_course.relu import activations, unit_report

# ------------------------------------------------------------------ activations


@pytest.mark.parametrize("batch_size", [None, 1, 2, 10])
def test_activations_of_several_layers_by_name_and_by_module(batch_size):
    model, images = network("mixed"), pictures(3, 16)
    outputs = activations(model, images, ["conv1", model.bn2, "fc2"], batch_size=batch_size)
    assert list(outputs) == ["conv1", "bn2", "fc2"]
    with torch.no_grad():
        first = model.conv1(images - 0.1)
        before = model.bn2(model.conv2(F.max_pool2d(first.relu(), 3, 2, 1)))
        logits = model(images.clone())
    assert error(outputs["conv1"], first) < 1e-12
    assert error(outputs["bn2"], before) < 1e-12  # and not what `out += identity` made of it
    assert error(outputs["fc2"], logits) < 1e-12
    assert all(not output.requires_grad for output in outputs.values())
    assert torch.equal(activations(model, images, "fc2")["fc2"], logits)


def test_the_model_is_left_alone_and_grad_mode_does_not_matter():
    model, images = tiny(), pictures(2, 8)
    with torch.inference_mode():
        outputs = activations(model, images, "3")["3"]
    assert not outputs.is_inference()
    assert torch.equal(outputs, activations(model, images, "3")["3"])
    assert all(not module._forward_hooks for module in model.modules())
    with torch.inference_mode():
        report = unit_report(model, images, torch.ones(2, 1, 8, 8), "3", permutations=2, top=1)
    assert not any(part.is_inference() for part in report)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"model": None}, "model: got NoneType"),
        ({"images": pictures()[0]}, r"images: got shape \(3, 64, 64\)"),
        ({"images": None}, "images: got NoneType"),
        ({"images": pictures(0)}, "images: got shape"),
        ({"layers": "cnv"}, "layer: got 'cnv'"),
        ({"layers": ["0", nn.ReLU()]}, r"layer: got ReLU\(\)"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"batch_size": -1}, "batch_size: got -1"),
    ],
)
def test_wrong_arguments_are_refused_by_name(change, got):
    given = {"model": tiny(), "images": pictures(), "layers": "0"} | change
    with pytest.raises(ValueError, match=f"^{got}"):
        activations(**given)
    given["layer"] = given.pop("layers")
    if isinstance(given["layer"], str):
        with pytest.raises(ValueError, match=f"^{got}"):
            unit_report(**{"batch_size": 1} | given, masks=torch.zeros(2, 1, 4, 4), top=1)


# ------------------------------------------------------------------ unit report


class Channels(nn.Module):
    """Channel 0 sees red, channel 1 green, channel 2 nothing, channel 3 the middle of the image."""

    def __init__(self):
        super().__init__()
        self.eyes = nn.Conv2d(3, 4, 1)
        self.out = nn.Identity()

    def forward(self, x):
        x = self.eyes(x)
        middle = torch.zeros_like(x)
        middle[:, 3, 3:5, 3:5] = 1
        return self.out(x + middle).mean((2, 3))


def world(count=24, size=8):
    """Return images with a red square anywhere and a green row, and the masks of the two."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(count, 2, size, size, dtype=torch.double)
    for scene in masks:
        top, left, row = torch.randint(0, size - 1, (3,), generator=generator).tolist()
        scene[0, top : top + 2, left : left + 2] = 1
        scene[1, row] = 1
    images = torch.zeros(count, 3, size, size, dtype=torch.double)
    images[:, :2] = masks
    model = Channels().double().eval()
    with torch.no_grad():
        model.eyes.bias.zero_()
        model.eyes.weight.copy_(
            torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])[:, :, None, None]
        )
    return model, images, masks


def test_each_channel_is_matched_with_what_it_sees():
    model, images, masks = world()
    report = unit_report(model, images, masks, "out", quantile=0.8, permutations=200)
    assert report.iou.shape == report.null.shape == report.p.shape == (4, 2)
    assert report.iou[0, 0] == report.iou[1, 1] == 1
    assert (report.p[[0, 1], [0, 1]] == 1 / 201).all()
    # The null: never a better match, and none for the blind channel and the one that stands still.
    assert (report.null[:2].diagonal() < 0.3).all()
    assert report.iou[2].tolist() == [0, 0]
    assert report.p[2].tolist() == [1, 1]
    assert (report.p[3] == 1).all()
    assert report.threshold.tolist() == [0, 0, 0, 0]


def test_the_overlap_by_hand_with_soft_masks_and_an_enlarged_map():
    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            return self.layer(x).mean((2, 3))

    images = torch.tensor([[0.0, 4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    masks = torch.tensor([[0.0, 0.25, 0.5, 1.0], [0.5, 0, 0, 0]]).view(2, 1, 1, 4)
    # Enlarged: 0 1 3 4 and 0 0 0 0. The quantile 0.5 of {0, 4, 0, 0} is 0; above it lie three.
    report = unit_report(Raw().eval(), images, masks, "layer", quantile=0.5, top=1, permutations=50)
    both = 0.25 + 0.5 + 1
    assert float(report.iou) == pytest.approx(both / (3 + 2.25 - both))
    assert report.top.tolist() == [[0]]
    assert float(report.threshold) == 0
    # In half of the permutations the masks are exchanged: 0.5 lies where nothing is.
    exchanged, straight = 0.0 / 5.25, both / (3 + 2.25 - both)
    share = (float(report.null) - exchanged) / (straight - exchanged)
    assert 0.2 < share < 0.8
    assert share * 50 == pytest.approx(round(share * 50), abs=1e-6)


def test_p_is_that_of_the_largest_distance_in_standard_deviations():
    """Everything anew in plain loops, for parts of very different size."""
    images = pictures(8, 6, 2, seed=1).float()
    masks = torch.zeros(8, 2, 6, 6)
    masks[:, 0] = (images[:, 0] > 0.3).float()  # a large part, which the first channel sees
    masks[torch.arange(8), 1, torch.arange(8) % 6, 2] = 1  # a part of one pixel
    model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    report = unit_report(model, images, masks, "0", quantile=0.6, permutations=30, seed=5)
    active = images > report.threshold[:, None, None]
    generator = torch.Generator().manual_seed(5)
    orders = [torch.arange(8), *(torch.randperm(8, generator=generator) for _ in range(30))]
    iou = torch.zeros(31, 2, 2, dtype=torch.double)
    for r, order in enumerate(orders):
        for k in range(2):
            for p in range(2):
                mask = masks[order, p] > 0
                both = (active[:, k] & mask).sum().double()
                iou[r, k, p] = both / (active[:, k] | mask).sum()
    assert torch.allclose(report.iou, iou[0])
    assert torch.allclose(report.null, iou[1:].mean(0))
    distance = (iou - iou[1:].mean(0)) / iou[1:].std(0, correction=0)
    largest = distance[1:].amax((1, 2))
    expected = [[(1 + int((largest >= d).sum())) / 31 for d in row] for row in distance[0]]
    assert torch.allclose(report.p.double(), torch.tensor(expected).double())
    assert len(set(report.p.flatten().tolist())) > 1


def test_batches_seeds_and_layouts():
    model, images, masks = world()
    whole = unit_report(model, images, masks, model.out, permutations=20, quantile=0.9, seed=3)
    parts = unit_report(
        model, images, masks, "out", permutations=20, quantile=0.9, seed=3, batch_size=5
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    other = unit_report(model, images, masks, "out", permutations=20, quantile=0.9, seed=4)
    assert not torch.equal(whole.null, other.null)
    assert torch.equal(whole.iou, other.iou)


def test_top_scenes_are_those_with_the_largest_output():
    model, images = tiny(), pictures(6, 8)
    report = unit_report(model, images, torch.ones(6, 1, 8, 8), "0", top=3, permutations=1)
    strongest = activations(model, images, "0")["0"].flatten(2).amax(2)
    assert torch.equal(report.top, strongest.argsort(0, descending=True)[:3].T)


def test_random_masks_are_seldom_taken_for_a_detection():
    # Masks that have nothing to do with the images: over many worlds, about 5 % have any p < 0.05.
    detections = 0
    for seed in range(40):
        images = pictures(12, 6, 2, seed=seed).float()
        masks = torch.rand(12, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).round()
        model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        report = unit_report(model, images, masks, "0", quantile=0.7, permutations=99, seed=seed)
        detections += bool((report.p < 0.05).any())
    assert detections <= 6  # more than 6 of 40 has a probability of about one in two hundred


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"masks": torch.zeros(2, 4, 4)}, r"masks: got \(2, 4, 4\)"),
        ({"masks": torch.zeros(3, 1, 4, 4)}, r"masks: got \(3, 1, 4, 4\)"),
        ({"masks": None}, "masks: got NoneType"),
        ({"masks": torch.full((2, 1, 4, 4), 2.0)}, r"masks: got values outside \[0, 1\]"),
        ({"masks": torch.full((2, 1, 4, 4), torch.nan)}, "masks: got values outside"),
        ({"layer": "7"}, r"layer: got one that returns \(2, 7\)"),
        ({"layer": "8"}, "layer: got '8'"),
        ({"quantile": 1}, "quantile: got 1; must be"),
        ({"quantile": 0}, "quantile: got 0; must be"),
        ({"permutations": 0}, "permutations: got 0; must be"),
        ({"top": 3}, "top: got 3; must be a whole number, from 1 to 2"),
        ({"top": 0}, "top: got 0; must be"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_wrong_arguments_of_the_report_are_refused(change, got):
    given = {"masks": torch.zeros(2, 1, 4, 4), "layer": "0", "top": 1} | change
    with pytest.raises(ValueError, match=f"^{got}"):
        unit_report(tiny(), pictures(2, 8), **given)
