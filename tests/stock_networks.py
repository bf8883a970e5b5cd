"""Networks for the tests of the explainers: stock ones with random weights, and a mixed one.

A test of all networks takes `ALL`, or `with_heavy` of some names: the small networks always run,
and the full-size ones, of the same structure, only in `make test-all`.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import make_layers

from xai_course.models import EfficientNetLite0

CLASSES = 7


class Mixed(nn.Module):
    """Every spelling of ReLU, in place and not, one module used twice, and `out += identity`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, CLASSES)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.1)  # works on its own input, as careless networks do
        x = F.max_pool2d(torch.relu(self.conv1(x)), 3, 2, 1)
        identity = x
        out = self.bn2(self.conv2(x))
        out += identity
        out = self.relu(out)
        out = F.relu(self.conv3(out))
        out = self.relu(out + 0.1 * identity)
        out = F.adaptive_avg_pool2d(out, 1).flatten(1)
        return self.fc2(self.fc1(out).relu_())


def vgg16(num_classes: int) -> nn.Module:
    """Return torchvision's VGG-16 with 64 instead of 4096 hidden units, which would fill memory."""
    network = models.vgg16(num_classes=num_classes)
    network.classifier[0] = nn.Linear(512 * 7 * 7, 64)
    network.classifier[3] = nn.Linear(64, 64)
    network.classifier[6] = nn.Linear(64, num_classes)
    return network


class NarrowResNet(models.ResNet):
    """A ResNet of torchvision's blocks with an eighth of the channels."""

    def __init__(self, block: type[BasicBlock | Bottleneck]) -> None:
        # The first block of layer1 has a projection on its skip path, the second has none.
        super().__init__(block, [2, 1, 1, 1])
        self.fc = nn.Linear(512 // 8 * block.expansion, CLASSES)

    def _make_layer(self, block: Any, planes: int, *others: Any, **options: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *others, **options)


def small_vgg() -> nn.Module:
    """Return torchvision's VGG with few channels: in-place ReLUs, max-pools, a hidden layer."""
    widths = [8, "M", 16, "M", 16, "M", 32, 32, "M", 32, 32, "M"]
    network = models.VGG(make_layers(widths))
    network.classifier[0] = nn.Linear(32 * 7 * 7, 64)
    network.classifier[3] = nn.Linear(64, 64)
    network.classifier[6] = nn.Linear(64, CLASSES)
    return network


def small_mobilenet() -> nn.Module:
    """Return torchvision's MobileNetV2 with 7 of 17 blocks: ReLU6, linear bottlenecks, sums."""
    blocks = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 2, 2]]
    return models.MobileNetV2(CLASSES, width_mult=0.25, inverted_residual_setting=blocks)


def small_densenet() -> nn.Module:
    """Return torchvision's DenseNet with two blocks: concatenations, a function as last ReLU."""
    return models.DenseNet(
        growth_rate=8, block_config=(3, 3), num_init_features=16, num_classes=CLASSES
    )


BUILDERS = {
    "small_resnet": lambda: NarrowResNet(BasicBlock),
    "bottleneck": lambda: NarrowResNet(Bottleneck),
    "small_vgg": small_vgg,
    "small_mobilenet": small_mobilenet,
    "small_densenet": small_densenet,
    "mixed": Mixed,
    "resnet18": lambda: models.resnet18(num_classes=CLASSES),
    "resnet50": lambda: models.resnet50(num_classes=CLASSES),
    "vgg16": lambda: vgg16(CLASSES),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=CLASSES),
    "densenet121": lambda: models.densenet121(num_classes=CLASSES),
    "efficientnet_lite0": lambda: EfficientNetLite0(CLASSES),
}
# One block a stage, of torchvision's classes.
SHORT = {"resnet10": lambda: models.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)}
SMALL = ("small_resnet", "bottleneck", "small_vgg", "small_mobilenet", "small_densenet", "mixed")
HEAVY = (
    "resnet18",
    "resnet50",
    "vgg16",
    "mobilenet_v2",
    "densenet121",
    "efficientnet_lite0",
)


def with_heavy(names: Iterable[str]) -> list[Any]:
    """Return names of networks as parameters of a test, the full-size ones marked as heavy."""
    return [
        pytest.param(name, marks=pytest.mark.heavy) if name in HEAVY else name for name in names
    ]


ALL = with_heavy(BUILDERS)


@cache
def network(name: str) -> nn.Module:
    """Return a network in float64 with random weights and random batch statistics."""
    with torch.device("meta"):
        model = (BUILDERS | SHORT)[name]()
    model = model.double().to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.0, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.num_batches_tracked.zero_()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
    return model


def pictures(count: int = 2, size: int = 64, channels: int = 3, seed: int = 0) -> Tensor:
    """Return random images (count, channels, size, size) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, dtype=torch.double, generator=generator)


def tiny(channels: int = 3, classes: int = CLASSES, dtype: torch.dtype = torch.double) -> nn.Module:
    """Return a small network of two convolutions."""
    generator = torch.Generator().manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, classes),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.to(dtype).eval()


class Spy(nn.Module):
    """Keep a copy of all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return x


def error(ours: Tensor, reference: Tensor) -> float:
    """Return the largest absolute error over the largest absolute reference value."""
    ours, reference = ours.detach(), reference.detach()
    assert ours.shape == reference.shape
    assert reference.abs().max() > 0
    return float((ours - reference).abs().max() / reference.abs().max())


def linear_model() -> nn.Module:
    """Return a model of 64-pixel images in which parts add up, with 4 classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)).eval()


def curved_model() -> nn.Module:
    """Return a model of 64-pixel images in which parts interact, with 4 classes."""
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 6, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 15 * 15, 4)
    return nn.Sequential(*layers).eval()
