"""The article's classifier, repaired."""

from __future__ import annotations

from torch import Tensor, nn

from xai_course.models.common import _check_count, _check_images

__all__ = ["ArticleNet"]


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
