"""Networks of other kinds, wrapped so that every explainer can call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.data.transforms import denormalise, normalise

__all__ = ["ChannelsLast", "Defence", "DefendedModel", "NormalisingModel", "Predictions"]


class ChannelsLast(nn.Module):
    """Give a network that takes (N, H, W, C), as Keras models do, as one that takes (N, C, H, W).

    `model` alone is all of it. With `head`, `model` gives a feature map (N, h, w, K), and `head`
    makes the logits of it; the map passes `self.map` as (N, K, h, w), so layer="map" is what to
    name to `grad_cam`. (To PyTorch the layers of a Keras model are no modules of it, and
    have no names.)
    """

    def __init__(self, model: nn.Module, head: nn.Module | None = None) -> None:
        """Take the network, whole or in two parts."""
        super().__init__()
        self.model, self.head, self.map = model, head, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes)."""
        out: Tensor = self.model(images.permute(0, 2, 3, 1))
        if self.head is not None:
            out = self.head(self.map(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out


class Predictions(nn.Module):
    """Make a network of any function from images to logits: another library's, or a service's.

    `predict` gets a tensor (N, C, H, W) and returns logits (N, classes), as a tensor, an array or
    lists. Methods that only ask for answers work on it (`occlusion`, the nulls, the measures);
    those that need a derivative refuse.
    """

    def __init__(self, predict: Callable[[Tensor], Any]) -> None:
        """Keep the function; there is nothing to train."""
        super().__init__()
        if not callable(predict):
            raise ValueError(
                f"predict: got {type(predict).__name__}; allowed is a function from images to "
                "logits."
            )
        self.predict = predict
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes), without a derivative."""
        with torch.no_grad():
            answers = self.predict(images.detach())
            return torch.as_tensor(answers, dtype=images.dtype, device=images.device)


class NormalisingModel(nn.Module):
    """A network of normalised images, made into one of pixels: network(normalise(pixels))."""

    def __init__(self, network: nn.Module) -> None:
        """Keep the network; the wrapper has its mode."""
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in [0, 1] to logits (N, classes)."""
        logits: Tensor = self.network(normalise(pixels))
        return logits


Defence: TypeAlias = Callable[[Tensor], Tensor]
"""A function of pixels (N, C, H, W) that returns as many pixels."""


class DefendedModel(nn.Module):
    """A network of normalised images behind a defence, again a network of normalised images.

    logits = network(normalise(defence(pixels)))        with pixels = denormalise(images)
    """

    def __init__(self, network: nn.Module, defence: Defence) -> None:
        """Keep the network and the defence; the wrapper has the network's mode."""
        super().__init__()
        self.network, self.defence = network, defence
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.network(normalise(self.defence(denormalise(images))))
        return logits
