"""Every explainer of the one signature, with options that make it quick, and a network for all."""

from functools import partial

import torch
from stock_networks import CLASSES, pictures
from torch import Tensor, nn

from xai_course.fully_connected import class_activation_map, contrast
from xai_course.relu import (
    deconvnet,
    full_grad,
    grad_cam,
    gradient,
    gradient_times_input,
    guided_backprop,
    smooth_grad,
)
from xai_course.residual import (
    block_map,
    deeplift,
    expected_gradients,
    integrated_gradients,
    lrp,
    occlusion,
)


def expected_gradients_of_two(model: nn.Module, images: Tensor, targets: object = None) -> Tensor:
    """Expected gradients over the same two baselines, whatever the images."""
    channels, height, width = images.shape[-3:]
    baselines = pictures(2, 64, channels, seed=9)[..., :height, :width]
    if isinstance(images, Tensor) and images.is_floating_point():
        baselines = baselines.to(images.dtype)
    return expected_gradients(model, images, targets, baselines=baselines, steps=2)


EXPLAINERS = {
    "gradient": gradient,
    "gradient_times_input": gradient_times_input,
    "deconvnet": deconvnet,
    "guided_backprop": guided_backprop,
    "smooth_grad": partial(smooth_grad, samples=3),
    "grad_cam": grad_cam,
    "grad_cam of a named layer": partial(grad_cam, layer="conv1"),
    "full_grad": full_grad,
    "class_activation_map": class_activation_map,
    "contrast": contrast,
    "block_map": partial(block_map, block=0),
    "occlusion": partial(occlusion, window=8, stride=8),
    "integrated_gradients": partial(integrated_gradients, steps=3),
    "expected_gradients": expected_gradients_of_two,
    "deeplift": partial(deeplift, baseline="blur"),  # a flat baseline has ties in its max-pools
    "lrp": lrp,
    "lrp with gamma": partial(lrp, rule="gamma"),
}


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
