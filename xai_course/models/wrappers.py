"""Networks of other kinds, wrapped so that every explainer can call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.data.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalise, normalise

__all__ = ["ChannelsLast", "Defence", "DefendedModel", "NormalisingModel", "Predictions"]


class ChannelsLast(nn.Module):
    """Turn a network of images (N, H, W, C), as Keras models are, into one of (N, C, H, W).

    To PyTorch the layers of a Keras model are no modules and have no names. To explain one of its
    feature maps, split the network there: the map then passes through `self.map` as (N, K, h, w),
    and is named by `layer="map"`, for example in `grad_cam`.

    Args:
        model: the whole network, or its first part, which returns a feature map (N, h, w, K).
        head: None for a whole network; otherwise the second part, from the map to logits.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.models import ChannelsLast
        >>> image = torch.tensor([[1, 2], [3, 4]]).view(1, 2, 1, 2)  # two channels of two pixels
        >>> ChannelsLast(nn.Flatten())(image)  # pixel by pixel
        tensor([[1, 3, 2, 4]])
    """

    def __init__(self, model: nn.Module, head: nn.Module | None = None) -> None:
        """Keep the network, whole or in two parts."""
        super().__init__()
        self.model, self.head, self.map = model, head, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes)."""
        out: Tensor = self.model(images.permute(0, 2, 3, 1))
        if self.head is not None:
            out = self.head(self.map(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out


class Predictions(nn.Module):
    """Turn a function from images to logits into a network: another library's, or a service's.

    Methods that only ask for predictions work on it (`occlusion`, the null maps, the metrics);
    those that need a derivative refuse it.

    Args:
        predict: from a tensor (N, C, H, W) to logits (N, classes), as a tensor, an array or lists.

    Raises:
        ValueError: if `predict` is not a function.

    Example:
        >>> import torch
        >>> from xai_course.models import Predictions
        >>> model = Predictions(lambda images: [[0.0, 1.0] for image in images])
        >>> model(torch.zeros(2, 3, 4, 4))
        tensor([[0., 1.],
                [0., 1.]])
    """

    def __init__(self, predict: Callable[[Tensor], Any]) -> None:
        """Keep the function; there is nothing to train."""
        super().__init__()
        if not callable(predict):
            raise ValueError(
                f"predict: got {type(predict).__name__}; must be a function from images to logits."
            )
        self.predict = predict
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes), without a derivative."""
        with torch.no_grad():
            logits = self.predict(images.detach())
            if isinstance(logits, Tensor) and logits.is_complex():
                raise ValueError(
                    f"predict: got a function that returns {logits.dtype}; must return real "
                    "numbers."
                )
            try:
                return torch.as_tensor(logits, dtype=images.dtype, device=images.device)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"predict: got a function that returns {type(logits).__name__} ({error}); must "
                    "return logits (N, classes), as a tensor, an array or lists."
                ) from error


class NormalisingModel(nn.Module):
    """Turn a network of normalised images into one of pixels.

        logits = network((pixels - mean) / std)

    Args:
        network: from normalised images (N, C, H, W) to logits (N, classes). The wrapper has its
            mode, training or evaluation.
        mean: the network's, one number for each channel; ImageNet's by default.
        std: the network's, one number for each channel; ImageNet's by default.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.models import NormalisingModel
        >>> model = NormalisingModel(nn.Flatten(), mean=[0.5], std=[0.25])
        >>> model(torch.tensor([0.5, 1.0]).view(1, 1, 1, 2))
        tensor([[0., 2.]])
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """Keep the network and its normalisation."""
        super().__init__()
        self.network, self.mean, self.std = network, tuple(mean), tuple(std)
        self.training = network.training

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) in [0, 1] to logits (N, classes)."""
        logits: Tensor = self.network(normalise(pixels, self.mean, self.std))
        return logits


Defence: TypeAlias = Callable[[Tensor], Tensor]
"""A function from pixels (N, C, H, W) to pixels of the same shape."""


class DefendedModel(nn.Module):
    """Put a defence in front of a network of normalised images; it takes normalised images again.

        logits = network(normalise(defence(pixels)))        with pixels = denormalise(images)

    Args:
        network: from normalised images (N, C, H, W) to logits (N, classes). The wrapper has its
            mode, training or evaluation.
        defence: a function from pixels (N, C, H, W) to pixels.
        mean: the network's, one number for each channel; ImageNet's by default.
        std: the network's, one number for each channel; ImageNet's by default.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.models import DefendedModel
        >>> model = DefendedModel(nn.Flatten(), torch.round, mean=[0.5], std=[0.5])
        >>> model(torch.tensor([-0.6, 0.6]).view(1, 1, 1, 2))  # the pixels 0.2 and 0.8
        tensor([[-1.,  1.]])
    """

    def __init__(
        self,
        network: nn.Module,
        defence: Defence,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """Keep the network, the defence and the normalisation."""
        super().__init__()
        self.network, self.defence = network, defence
        self.mean, self.std = tuple(mean), tuple(std)
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) to logits (N, classes)."""
        pixels = denormalise(images, self.mean, self.std)
        logits: Tensor = self.network(normalise(self.defence(pixels), self.mean, self.std))
        return logits
