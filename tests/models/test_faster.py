"""A faster copy explains as the original does."""

import pytest
import torch
from explainers import QUICK
from stock_networks import ALL, CLASSES, error, network, pictures
from torch import nn

from xai_course.methods import METHODS
from xai_course.metrics import randomisation, reinitialised
from xai_course.models import faster
from xai_course.relu import grad_cam

FOLDED = {"small_resnet": 15, "bottleneck": 20, "small_vgg": 0, "mixed": 1}


@pytest.mark.parametrize("name", ALL)
def test_the_copy_is_the_same_function_with_the_same_maps(name):
    model, images = network(name), pictures(2, 40)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    copied = faster(model, images)
    assert len(copied.folded) == FOLDED.get(name, len(copied.folded))
    others = pictures(3, 48, seed=5)
    assert error(copied(others.clone()), model(others.clone())) < 1e-9
    for method in METHODS.values():
        options = dict(QUICK.get(method.function.__name__, {}))
        if method.name == "expected gradients":
            options["baselines"] = others[:1, :, :40, :40]
        try:
            expected = method.explainer(**options)(model, images, 1)
        except ValueError as refusal:
            with pytest.raises(ValueError, match=str(refusal)[:20]):
                method.explainer(**options)(copied, images, 1)
            continue
        assert error(method.explainer(**options)(copied, images, 1), expected) < 1e-6, method.name
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not any(weight.requires_grad for weight in copied.parameters())


def test_layers_keep_their_names():
    model, images = network("small_resnet"), pictures(2, 40)
    copied = faster(model, images)
    layers = [grad_cam(each, images, 1, layer="layer2.0.conv1") for each in (copied, model)]
    assert layers[0].shape == layers[1].shape
    assert isinstance(copied.get_submodule(copied.folded[0]), nn.Identity)


class Twice(nn.Module):
    """A convolution whose output is used before and after its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, CLASSES, 3), nn.BatchNorm2d(CLASSES)
        nn.init.constant_(self.norm.bias, 3)

    def forward(self, images):
        out = self.conv(images)
        return (out + self.norm(out).relu()).mean((2, 3))


class Shared(nn.Module):
    """A convolution that runs twice, with a normalisation of its own each time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        nn.init.constant_(self.norms[1].weight, 3)

    def forward(self, images):
        for norm in self.norms:
            images = norm(self.conv(images))
        return images.mean((2, 3))


class Clamped(nn.Module):
    """A convolution whose output is changed in place before its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, CLASSES, 3), nn.BatchNorm2d(CLASSES)

    def forward(self, images):
        out = self.conv(images)
        out.clamp_(max=50)  # does nothing to small images
        return self.norm(out).mean((2, 3))


def test_an_output_that_was_changed_in_place_is_not_folded():
    torch.manual_seed(0)
    model, images = Clamped().eval(), torch.rand(2, 3, 8, 8)
    copied = faster(model, images)
    assert copied.folded == []
    torch.testing.assert_close(copied(400 * images), model(400 * images))


def test_what_cannot_be_folded():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"^model: got one whose copy differs by .* must be"):
        faster(Twice().eval(), torch.rand(2, 3, 8, 8))
    copied = faster(Shared().eval(), torch.rand(2, 3, 8, 8))
    assert copied.folded == []


def test_a_copy_is_not_randomised():
    model, images = network("small_resnet"), pictures(2, 40)
    copied = faster(model, images)
    for refuse in (
        lambda: reinitialised(copied, images),
        lambda: randomisation(copied, grad_cam, images),
    ):
        with pytest.raises(ValueError, match=r"^model: got a copy whose batch .* must be the orig"):
            refuse()


def test_refusals():
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        faster(nn.Sequential(nn.Dropout()).train(), pictures(1, 8))
    with pytest.raises(ValueError, match=r"^images: got str"):
        faster(network("mixed"), "cat.png")
    with pytest.raises(ValueError, match=r"^model: got the output \(2, 0\); must return numbers"):
        faster(nn.Sequential(nn.Flatten(), nn.Linear(192, 0)).eval(), torch.rand(2, 3, 8, 8))


def test_of_several_outputs_one_may_be_empty():
    class Boxes(nn.Module):
        def forward(self, images):
            return {"none": images[:, :0], "means": images.mean((2, 3))}

    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(faster(Boxes().eval(), images)(images)["means"], images.mean((2, 3)))
