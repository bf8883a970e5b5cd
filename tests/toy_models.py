"""Models small enough to compute by hand, and the course's networks with random statistics."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from stock_networks import CLASSES, network, tiny
from torch import Tensor, nn

from xai_course.models import ArticleNet, BeetleNet


class Function(nn.Module):
    """A model made of a function, which returns logits (N, classes)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Pixels(nn.Module):
    """Features that are the image's own numbers, weighted by one row a class."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.features, self.head = nn.Flatten(), nn.Linear(weight.shape[1], len(weight)).double()
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.zero_()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def one_layer(weight: list[list[float]], bias: list[float]) -> nn.Module:
    """Return a network of one linear layer on the image's pixels."""
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return nn.Sequential(nn.Flatten(), layer).eval()


def as_images(rows: Any) -> Tensor:
    """Return rows of numbers (N, W) as images of one row (N, 1, 1, W)."""
    return torch.as_tensor(rows, dtype=torch.double)[:, None, None]


def any_network(name: str) -> nn.Module:
    """Return a stock network, or one of the course's, with random batch statistics, in float64."""
    if name not in ("ArticleNet", "BeetleNet"):
        return network(name)
    torch.manual_seed(5)
    model = {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}[name](CLASSES).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def logits_of(model: nn.Module, images: Tensor, classes: Any) -> Tensor:
    """Return the logit of one class for each image, (N,)."""
    with torch.no_grad():
        logits = model(images.clone())
    return logits[torch.arange(len(images)), torch.as_tensor(classes).expand(len(images))]


class Squeeze(nn.Module):
    """Squeeze-and-excitation: a feature map times an activation of its means."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(3 * x.mean((2, 3), keepdim=True))


# Networks of 64-pixel images with a step for which DeepLIFT and LRP have no rule.
WITHOUT_RULE = {
    "squeeze and excitation": nn.Sequential(Squeeze(), tiny()),
    "swish as a product": nn.Sequential(Function(lambda x: x * torch.sigmoid(x)), tiny()),
    "layer normalisation": nn.Sequential(nn.LayerNorm([3, 64, 64]).double(), tiny()),
    "a norm of the batch": nn.Sequential(nn.GroupNorm(1, 3).double(), tiny()),
    "softmax": nn.Sequential(tiny(), nn.Softmax(1)),
    "a square": nn.Sequential(Function(torch.square), tiny()),
    "attention": nn.Sequential(
        nn.Flatten(2), Function(lambda x: F.scaled_dot_product_attention(x / 50, x, x)),
        nn.Flatten(), nn.Linear(3 * 64 * 64, CLASSES).double(),
    ),
}  # fmt: skip
