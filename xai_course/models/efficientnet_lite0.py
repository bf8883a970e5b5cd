"""EfficientNet-Lite0: the ImageNet network for photographs, small enough to read.

Sixteen inverted residual blocks between a stem and a head. A block widens, looks around with a
depthwise convolution, and narrows again; every activation is a ReLU6.

Tan, Le: EfficientNet. ICML 2019, arXiv:1905.11946. Sandler et al.: MobileNetV2 (the block). CVPR
2018, arXiv:1801.04381.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EfficientNetLite0"]


STAGES = (  # blocks, channels out, kernel size, stride of the first block, widening
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

    (N, C, H, W) to (N, K, ⌈H/stride⌉, ⌈W/stride⌉). If the padding is odd, the extra row and
    column of zeros stand below and to the right.
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
        high, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        return super().forward(F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def normalise(channels: int) -> nn.BatchNorm2d:
    """Return the batch normalisation of this network, with TensorFlow's ε."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class InvertedResidual(nn.Module):
    """One block: branch(x) + x where the shape stays, otherwise branch(x). No ReLU after the sum.

    (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉). `skip` is the identity, or None.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, widening: int) -> None:
        """Build a block that is `widening` times as wide inside as at its entrance."""
        super().__init__()
        wide = inputs * widening
        widen = [Convolution(inputs, wide, 1), normalise(wide), nn.ReLU6()] if widening > 1 else []
        look = [Convolution(wide, wide, kernel, stride, groups=wide), normalise(wide), nn.ReLU6()]
        narrow = [Convolution(wide, outputs, 1), normalise(outputs)]
        self.branch = nn.Sequential(*widen, *look, *narrow)
        self.skip = nn.Identity() if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Add what the branch found to what came in."""
        change: Tensor = self.branch(x)
        return change if self.skip is None else self.skip(x) + change


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes); made for 224 x 224 pixels in [-1, 1]."""

    def __init__(self, classes: int = 1000) -> None:
        """Build the network with PyTorch's initial weights."""
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, 32, 3, stride=2), normalise(32), nn.ReLU6())
        blocks, inputs = [], 32
        for count, outputs, kernel, stride, widening in STAGES:
            for number in range(count):
                first = stride if number == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, kernel, first, widening))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.features = nn.Sequential(Convolution(inputs, 1280, 1), normalise(1280), nn.ReLU6())
        self.head = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Stem, blocks, features, mean over places, one linear layer."""
        x = self.features(self.blocks(self.stem(images)))  # (N, 1280, H/32, W/32)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits
