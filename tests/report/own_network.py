"""A network as a reader may bring one: a function that builds it, its transform and its classes."""

import torch
from torch import nn
from torchvision.transforms import v2

CLASSES = ("dark", "middle", "bright")


def network() -> nn.Module:
    """Return a small network whose batch normalisation knows pictures of 32 pixels from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8, momentum=None),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, len(CLASSES)),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        model.train()(torch.rand(64, 3, 32, 32, generator=generator))
    return model.eval()


def transform(picture):
    """Resize to 32 pixels; values from 0 to 1."""
    resized = v2.functional.resize(picture, [32, 32])
    return v2.functional.to_dtype(v2.functional.pil_to_tensor(resized), torch.float32, scale=True)


def with_all():
    """Return all three."""
    return network(), transform, CLASSES


def nothing():
    """Return what is no network."""
    return "a network"


def fails():
    """Stop."""
    raise RuntimeError("no weights here")
