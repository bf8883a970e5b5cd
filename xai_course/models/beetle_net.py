"""BeetleNet, a small residual network."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xai_course.core.checks import check_count
from xai_course.data.transforms import check_image_batch

__all__ = ["BeetleNet", "ResidualBlock", "count_weights"]


class ResidualBlock(nn.Module):
    """One residual block: a skip connection around two convolutions.

        y = relu(skip(x) + branch(x)), or relu(branch(x)) without a skip connection

    `branch` holds two 3x3 convolutions with BatchNorm, and a ReLU between them; `skip` is the
    identity where the shape stays, otherwise a 1x1 convolution with BatchNorm. The sum is a new
    tensor, nothing is changed in place, and each ReLU is a module of its own, so that a forward
    hook sees every value.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        stride: 2 halves height and width, 1 keeps them.
        skips: False leaves the skip connection out; `skip` is then None.

    References:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016,
        arXiv:1512.03385.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, skips: bool = True) -> None:
        """Build the block with PyTorch's default initial weights."""
        super().__init__()
        self.branch = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
                norm1=nn.BatchNorm2d(outputs),
                relu=nn.ReLU(),
                conv2=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
                norm2=nn.BatchNorm2d(outputs),
            )
        )
        self.skip: nn.Module | None = nn.Identity() if skips else None
        if skips and (stride != 1 or inputs != outputs):
            self.skip = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                    norm=nn.BatchNorm2d(outputs),
                )
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        change = self.branch(x)
        y: Tensor = self.relu(change if self.skip is None else self.skip(x) + change)
        return y


class BeetleNet(nn.Module):
    """A small residual network: stem, residual blocks, global average pooling, one linear layer.

        logits = head.weight @ (mean of A over its positions) + head.bias

    A is the last block's output. The stem halves the size of the image; the blocks are shared as
    evenly as possible among three resolutions (1/2, 1/4, 1/8 of the image) of `width`, 2 `width`
    and 4 `width` channels. At 64 pixels and a depth of 3 or more, A is an 8x8 map.

    Args:
        classes: number of logits.
        depth: number of residual blocks.
        width: channels of the stem.
        skips: False leaves the skip connections out: the same network as a plain chain of
            convolutions, to compare with.

    Raises:
        ValueError: if a number is not whole and from 1, `skips` is not True or False, or images
            are not (N, 3, H, W).

    References:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016,
        arXiv:1512.03385.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> BeetleNet(classes=10).eval()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, classes: int = 10, depth: int = 3, width: int = 16, skips: bool = True
    ) -> None:
        """Build the network with PyTorch's default initial weights."""
        super().__init__()
        check_count("classes", classes)
        check_count("depth", depth)
        check_count("width", width)
        if not isinstance(skips, bool):
            raise ValueError(f"skips: got {skips!r}; must be True or False.")
        self.arguments = {"classes": classes, "depth": depth, "width": width, "skips": skips}
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
                norm=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
            )
        )
        stages = [3 * block // depth for block in range(depth)]  # depth 6: 0 0 1 1 2 2
        channels = [width] + [width * 2**stage for stage in stages]
        self.blocks = nn.Sequential()
        for block, stage in enumerate(stages):
            stride = 2 if block and stage > stages[block - 1] else 1
            self.blocks.append(ResidualBlock(channels[block], channels[block + 1], stride, skips))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) of any size to logits (N, classes)."""
        check_image_batch("images", images, channels=3)
        x = self.blocks(self.stem(images))  # (N, 4 width, H/8, W/8)
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits


def count_weights(model: nn.Module) -> int:
    """Count the trainable numbers of a model.

    Args:
        model: any network.

    Returns:
        How many numbers its trainable parameters hold.

    Example:
        >>> from torch import nn
        >>> from xai_course.models import count_weights
        >>> count_weights(nn.Linear(3, 2))  # 6 weights and 2 biases
        8
    """
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
