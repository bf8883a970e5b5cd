"""Every explainer of the one signature, with options that make it quick, and a network for all."""

import copy
from functools import partial

import torch
from stock_networks import CLASSES, pictures
from torch import Tensor, nn

from xai_course.methods import METHODS
from xai_course.relu import grad_cam
from xai_course.residual import expected_gradients, lrp


def expected_gradients_of_two(model: nn.Module, images: Tensor, targets: object = None) -> Tensor:
    """Expected gradients over the same two baselines, whatever the images."""
    channels, height, width = images.shape[-3:]
    baselines = pictures(2, 64, channels, seed=9)[..., :height, :width]
    if isinstance(images, Tensor) and images.is_floating_point():
        baselines = baselines.to(images.dtype)
    return expected_gradients(model, images, targets, baselines=baselines, steps=2)


# Options that make a method quick, by the name of its function.
QUICK = {
    "smooth_grad": {"samples": 3},
    "block_map": {"block": 0},
    "occlusion": {"window": 8, "stride": 8},
    "integrated_gradients": {"steps": 3},
    "deeplift": {"baseline": "blur"},  # a flat baseline has ties in its max-pools
}

FUNCTIONS = {method.function.__name__: method.function for method in METHODS.values()}

EXPLAINERS = {
    **{name: partial(function, **QUICK.get(name, {})) for name, function in FUNCTIONS.items()},
    "grad_cam of a named layer": partial(grad_cam, layer="conv1"),
    "expected_gradients": expected_gradients_of_two,
    "lrp with gamma": partial(lrp, rule="gamma"),
}


def state(model: nn.Module) -> list[object]:
    """What a method must leave as it was on a model."""
    facts: list[object] = []
    for module in model.modules():
        hooks = [value for name, value in vars(module).items() if name.endswith("_hooks")]
        facts += [module.training, copy.copy(hooks), sorted(vars(module))]
    for parameter in model.parameters():
        facts += [parameter.requires_grad, parameter.grad, parameter._version, id(parameter)]
    return [*facts, *(buffer._version for buffer in model.buffers())]


class Small(nn.Module):
    """Two convolutions, an overlapping max-pool, a residual block and a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Conv2d(6, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.branch = nn.Sequential(
            nn.Conv2d(5, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 5, 3, padding=1)
        )
        self.last = nn.Identity()
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.relu(self.norm(self.conv2(x)))
        out = self.branch(x)
        out += x
        return self.head(self.last(self.relu(out)).mean((2, 3)))


def small(channels: int = 3, classes: int = CLASSES, dtype: torch.dtype = torch.double) -> Small:
    """Return a small residual network with known random weights, in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    model = Small(channels, classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        model.norm.running_mean.normal_(0, 0.2, generator=generator)
    return model.to(dtype).eval()
