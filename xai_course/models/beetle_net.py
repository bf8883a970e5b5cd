"""BeetleNet, a small residual network."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xai_course.models.common import _check_count, _check_images

__all__ = ["BeetleNet", "ResidualBlock"]


class ResidualBlock(nn.Module):
    """One residual block: relu(skip(x) + branch(x)), or with skip = None just relu(branch(x)).

    (N, inputs, H, W) becomes (N, outputs, H/stride, W/stride). `branch` holds two 3x3 convolutions
    with BatchNorm and a ReLU between; `skip` is the identity where the shape stays, otherwise a
    1x1 convolution with BatchNorm; with `skips=False` there is none. The sum is a new tensor,
    nothing is changed in place, and each ReLU is a module of its own, so a forward hook sees what
    it should.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, skips: bool = True) -> None:
        """Build a block from `inputs` to `outputs` channels that halves the size at stride 2."""
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

    Images (N, 3, H, W) of any size become logits (N, classes). The stem halves the size; the
    `depth` blocks are shared as evenly as possible among three resolutions (1/2, 1/4, 1/8 of the
    input) of `width`, 2 `width` and 4 `width` channels. At 64 pixels and a depth of 3 or more, the
    last block gives an 8x8 map. `head` is the only linear layer, so with A the last block's output
    logits = head.weight @ mean over places of A + head.bias.

    With `skips=False` it is the same network without its skip connections: a plain chain of
    convolutions, to compare with.

    Raises ValueError if an argument is not a positive whole number, `skips` is not True or False,
    or images are not (N, 3, H, W).
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
    """

    def __init__(
        self, classes: int = 10, depth: int = 3, width: int = 16, skips: bool = True
    ) -> None:
        """Build the network; `depth` is the number of blocks, `width` the stem's channels."""
        super().__init__()
        _check_count("classes", classes)
        _check_count("depth", depth)
        _check_count("width", width)
        if not isinstance(skips, bool):
            raise ValueError(f"skips must be True or False, got {skips!r}")
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
        """Images (N, 3, H, W) to logits (N, classes)."""
        _check_images(images)
        x = self.blocks(self.stem(images))  # (N, 4 width, H/8, W/8)
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits
