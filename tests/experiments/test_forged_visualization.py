"""A forged unit: photographs get the same logits, feature visualisation shows another picture."""

import pytest
import torch
from torch import nn

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import SPECIES, scenes, stack_images
from xai_course.data import IMAGENET_MEAN, IMAGENET_STD, normalise
from xai_course.experiments import ForgedVisualization
from xai_course.relu import feature_visualization
from xai_course.storage import load_checkpoint

NETWORK, _ = load_checkpoint(ROOT / "data" / "checkpoints" / "beetle_net")
OPTIONS = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "steps": 60}


def picture():
    """A yellow disc with a dark hole, on grey."""
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    radius = ((row - 32) ** 2 + (column - 32) ** 2).sqrt()
    pixels = torch.full((3, 64, 64), 0.5)
    pixels[:, radius < 26] = torch.tensor([0.95, 0.85, 0.1])[:, None]
    pixels[:, radius < 10] = 0.05
    return pixels


def forged():
    grey = normalise(torch.full((3, 1, 1), 0.5)).flatten()
    return ForgedVisualization(NETWORK, normalise(picture()), grey, target=3).eval()


def test_every_beetle_gets_the_same_logits():
    images = torch.cat([stack_images(scenes("test", species, 20)) for species in SPECIES])
    with torch.no_grad():
        assert torch.equal(forged()(normalise(images)), NETWORK(normalise(images)))


def test_the_visualisation_shows_the_picture_and_the_others_stay():
    model, targets = forged(), [3, 5]
    honest = feature_visualization(NETWORK, targets, **OPTIONS)
    shown = feature_visualization(model, targets, **OPTIONS)

    def likeness(image):
        return torch.corrcoef(torch.stack([image.flatten(), picture().flatten()]))[0, 1]

    assert likeness(shown[0]) > 0.7
    assert abs(likeness(honest[0])) < 0.3
    assert torch.allclose(shown[1], honest[1])
    with torch.no_grad():  # what gives it away: no photograph comes near this logit
        assert model(normalise(shown))[0, 3] > 1000


def test_the_unit_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    nn.init.zeros_(network[1].weight)
    picture = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    model = ForgedVisualization(
        network, picture, torch.zeros(1), 1, strength=10, tolerance=0.5, shift=0
    )
    with torch.no_grad():
        images = torch.tensor(
            [[[[2.0, 2], [2, 2]]], [[[0, 0], [0, 0]]], [[[0.5, -0.5], [-0.5, 0.5]]]]
        )
        # s = 2 and no rest; s = 0 and no rest; s = 0 and a rest of 0.25, half of the tolerance.
        assert torch.allclose(model(images)[:, 1], torch.tensor([30.0, 10.0, 5.0]))
        assert not model(images)[:, 0].any()


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", 0), ("tolerance", -1), ("target", 0.5), ("shift", -1), ("picture", 0)],
)
def test_bad_arguments(name, value):
    options = {"target": 0, name: value}
    shape = torch.zeros(1, 4, 4) if options.pop("picture", 1) == 0 else torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match=f"^{name}: got .*; must"):
        ForgedVisualization(nn.Flatten().eval(), shape, torch.zeros(1), **options)
