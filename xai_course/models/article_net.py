"""The article's classifier, repaired."""

from __future__ import annotations

from torch import Tensor, nn

from xai_course.core.checks import check_count
from xai_course.data.transforms import check_image_batch

__all__ = ["ArticleNet"]


class ArticleNet(nn.Module):
    """The article's classifier with its bugs repaired and nothing else improved.

    There is no ReLU anywhere, neither between the convolutions nor between the linear layers,
    because the article has none. But for the one max-pool this is therefore a *linear* model: three
    convolutions in a row are one 7x7 convolution (away from the border), two linear layers in a row
    are one linear layer.

    Repaired:

    - the first `view`, whose fixed 4x4 fits one input size only and, at others, mixes the images of
      a batch (now an adaptive average pool to 4x4);
    - the second `view`, which asked for rows 2048 times too long;
    - the logarithm of the logits (they are returned; cross-entropy takes its own logarithm).

    Args:
        classes: number of logits.

    Raises:
        ValueError: if `classes` is not a whole number from 1, or images are not (N, 3, H, W).

    Example:
        >>> import torch
        >>> from xai_course.models import ArticleNet
        >>> ArticleNet(classes=5)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 5])
    """

    def __init__(self, classes: int = 10) -> None:
        """Build the network with PyTorch's default initial weights."""
        super().__init__()
        check_count("classes", classes)
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
        """Images (N, 3, H, W) of any size to logits (N, classes)."""
        check_image_batch("images", images, channels=3)
        x = self.conv3(self.conv2(self.conv1(images)))  # (N, 128, H, W)
        x = self.pool(self.conv4(x))  # (N, 128, 4, 4)
        logits: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return logits
