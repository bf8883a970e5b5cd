"""The two classifiers of the course: the article's, repaired, and a small residual network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


def _check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse anything but a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_images(images: Tensor) -> None:
    """Refuse anything but a floating-point batch of RGB images."""
    if not isinstance(images, Tensor):
        raise ValueError(f"images must be a tensor (N, 3, H, W), got {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"images must have shape (N, 3, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point, got {images.dtype}")


class ArticleNet(nn.Module):
    """The article's classifier with its bugs repaired and nothing else improved.

    Images (N, 3, H, W) of any size become logits (N, classes). There is no ReLU anywhere, neither
    between the convolutions nor between the linear layers, because the article has none. But for
    the one max-pool this is therefore a *linear* model: three convolutions in a row are one 7x7
    convolution (away from the border), two linear layers in a row are one linear layer.

    Repaired: the second `view`, which asked for rows 2048 times too long; the first, whose fixed
    4x4 fits one input size only and, at others, mixes the images of a batch (now an adaptive
    average pool to 4x4); the logarithm of raw scores (the logits are returned; cross-entropy
    takes its own logarithm).

    Raises ValueError if `classes` is not a positive whole number or images are not (N, 3, H, W).
    """

    def __init__(self, classes: int = 10) -> None:
        """Build the network for `classes` classes, with PyTorch's default initial weights."""
        super().__init__()
        _check_count("classes", classes)
        self.arguments = {"classes": classes}
        # Padding 1 is our reading. The article's 128*4*4 is 32 pixels halved three times, which
        # needs convolutions that keep the size; without padding no usual size leads to 4x4.
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv4 = nn.MaxPool2d(2, 2, ceil_mode=True)  # the article's name for its max-pool
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.fc1 = nn.Linear(128 * 4 * 4, 512)
        self.fc2 = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, classes)."""
        _check_images(images)
        x = self.conv3(self.conv2(self.conv1(images)))  # (N, 128, H, W)
        x = self.pool(self.conv4(x))  # (N, 128, 4, 4)
        logits: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return logits


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


ARCHITECTURES: dict[str, type[nn.Module]] = {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}


def count_weights(model: nn.Module) -> int:
    """Count the trainable numbers of a model."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def image_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Choose how a batch of images lies in memory when a model is trained on a device.

    On the CPU with channels last, which convolutions like (~1.5x). Not so for a 1x1 convolution
    with a stride and fewer input channels than fit a register (8 with AVX2, 16 with AVX-512): in
    its backward pass oneDNN 3.12 writes past its memory, which ends in wrong gradients, a crash or
    neither (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    if device.type != "cpu":
        return torch.contiguous_format
    channels = 8 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 16
    for layer in model.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.in_channels < channels
        ):
            return torch.contiguous_format
    return torch.channels_last
