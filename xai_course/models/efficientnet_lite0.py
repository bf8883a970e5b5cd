"""EfficientNet-Lite0: the ImageNet network for photographs, small enough to read.

Sixteen inverted residual blocks between a stem and a head. A block widens to more channels, mixes
neighbouring positions by a depthwise convolution, and narrows again; every activation is a ReLU6.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EfficientNetLite0"]


STAGES = (  # blocks, channels out, kernel size, stride of the first block, expansion
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)


class Convolution(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does, where the weights were trained.

    (N, C, H, W) to (N, K, ⌈H/stride⌉, ⌈W/stride⌉). If the padding is odd, the extra row and column
    of zeros are below and to the right.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        """Build a `kernel` x `kernel` convolution from `inputs` to `outputs` channels."""
        padding = kernel // 2 if stride == 1 else 0  # with stride 1 it is the same on all sides
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve."""
        if self.stride == (1, 1):
            return super().forward(x)
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        top, left = down // 2, across // 2
        return super().forward(F.pad(x, (left, across - left, top, down - top)))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch normalisation with TensorFlow's ε."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class InvertedResidual(nn.Module):
    """One block: branch(x) + x where the shape stays, otherwise branch(x). No ReLU after the sum.

    (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉). `skip` is the identity, or None.

    Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks.
    CVPR 2018, arXiv:1801.04381.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        """Build a block with `expansion` times as many channels inside as it takes in."""
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [Convolution(inputs, hidden, 1), batch_norm(hidden), nn.ReLU6()]
        depthwise = Convolution(hidden, hidden, kernel, stride, groups=hidden)
        layers += [depthwise, batch_norm(hidden), nn.ReLU6()]
        layers += [Convolution(hidden, outputs, 1), batch_norm(outputs)]
        self.branch = nn.Sequential(*layers)
        self.skip = nn.Identity() if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch's output to the input, where there is a skip connection."""
        change: Tensor = self.branch(x)
        return change if self.skip is None else self.skip(x) + change


class EfficientNetLite0(nn.Module):
    """A network from images (N, 3, H, W) to logits (N, classes).

    It is made for 224 x 224 pixels, scaled to [-1, 1].

    Args:
        classes: number of logits.

    References:
        Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML
        2019, arXiv:1905.11946.
    """

    def __init__(self, classes: int = 1000) -> None:
        """Build the network with PyTorch's initial weights."""
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, 32, 3, stride=2), batch_norm(32), nn.ReLU6())
        blocks, inputs = [], 32
        for count, outputs, kernel, stride, expansion in STAGES:
            for number in range(count):
                # Only the first block of a stage changes the size.
                own_stride = stride if number == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, kernel, own_stride, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.features = nn.Sequential(Convolution(inputs, 1280, 1), batch_norm(1280), nn.ReLU6())
        self.head = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Stem, blocks, features, mean over positions, one linear layer."""
        x = self.features(self.blocks(self.stem(images)))  # (N, 1280, H/32, W/32)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits
