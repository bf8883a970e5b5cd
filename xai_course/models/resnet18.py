"""ResNet-18 with a width of its own: torchvision's layers, with fewer channels."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xai_course.core.checks import check_count
from xai_course.data.transforms import check_image_batch
from xai_course.models.beetle_net import ResidualBlock

__all__ = ["ResNet18"]


class ResNet18(nn.Module):
    """ResNet-18: a stem with a max-pool, eight residual blocks, pooling, one linear layer.

    With a width of 64 it is torchvision's `resnet18`, layer by layer. The course's one has a width
    of 8, a 64th of the weights, so that it is trained in minutes and can be shipped. At 64 pixels
    the last map has 2x2 positions.

    Args:
        classes: number of logits.
        width: channels of the stem; the four stages have 1, 2, 4 and 8 times as many.

    Raises:
        ValueError: if a number is not whole and from 1, or images are not (N, 3, H, W).

    References:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016,
        arXiv:1512.03385.

    Example:
        >>> import torch
        >>> from xai_course.models import ResNet18
        >>> ResNet18(classes=10).eval()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        """Build the network with PyTorch's default initial weights."""
        super().__init__()
        check_count("classes", classes)
        check_count("width", width)
        self.arguments = {"classes": classes, "width": width}
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
                norm=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                pool=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        self.blocks, inputs = nn.Sequential(), width
        for stage in range(4):
            outputs = width * 2**stage
            self.blocks.append(ResidualBlock(inputs, outputs, 2 if stage else 1))
            self.blocks.append(ResidualBlock(outputs, outputs))
            inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) of any size to logits (N, classes)."""
        check_image_batch("images", images, channels=3)
        x = self.blocks(self.stem(images))  # (N, 8 width, H/32, W/32)
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits
