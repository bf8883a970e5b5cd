"""SmallVGG, a plain chain of convolutions in the manner of VGG."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xai_course.core.checks import check_count
from xai_course.data.transforms import check_image_batch

__all__ = ["SmallVGG"]


class SmallVGG(nn.Module):
    """A small network in the manner of VGG: no skip connections, and a flattened head.

        logits = layers of the head (4x4 mean of A, flattened)

    A is the output of three stages. Each stage is two 3x3 convolutions, with BatchNorm and ReLU,
    and a max-pool that halves the size; they have `width`, 2 `width` and 4 `width` channels. The
    head is two linear layers with a ReLU between them. So it differs from `BeetleNet` in all that
    an explanation may depend on: skips, max-pools, and a head that knows the position.

    Args:
        classes: number of logits.
        width: channels of the first stage.

    Raises:
        ValueError: if a number is not whole and from 1, or images are not (N, 3, H, W).

    References:
        Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition.
        ICLR 2015, arXiv:1409.1556.

    Example:
        >>> import torch
        >>> from xai_course.models import SmallVGG
        >>> SmallVGG(classes=10).eval()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        """Build the network with PyTorch's default initial weights."""
        super().__init__()
        check_count("classes", classes)
        check_count("width", width)
        self.arguments = {"classes": classes, "width": width}
        self.stages = nn.Sequential()
        inputs = 3
        for outputs in (width, 2 * width, 4 * width):
            self.stages.append(_stage(inputs, outputs))
            inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(16 * inputs, 16 * width),
                relu=nn.ReLU(),
                linear2=nn.Linear(16 * width, classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) of any size to logits (N, classes)."""
        check_image_batch("images", images, channels=3)
        x = self.pool(self.stages(images))  # (N, 4 width, 4, 4)
        logits: Tensor = self.head(x.flatten(1))
        return logits


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    """Build two convolutions, each with BatchNorm and ReLU, and a max-pool."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(outputs),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            norm2=nn.BatchNorm2d(outputs),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2, ceil_mode=True),  # so that an image of one pixel passes
        )
    )
