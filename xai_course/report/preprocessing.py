"""Does the transform fit the network, and is a baseline nothing to it? The network is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from xai_course.core.baselines import baseline_images
from xai_course.core.hooks import intercept
from xai_course.data.transforms import normalise
from xai_course.report.network import Transform, UserModel

__all__ = [
    "BatchNormShift",
    "check_baselines",
    "check_transform",
    "transform_variants",
    "transform_verdict",
]


# ---- variants ------------------------------------------------------------------------------------


def transform_variants(transform: Transform) -> dict[str, Transform]:
    """Return a transform, and what is often used in its place by mistake.

    Args:
        transform: an RGB picture to an input (3, H, W).

    Returns:
        Transforms by name; all give inputs of the same size. "as given" comes first. The next four
        differ in the values of the pixels: they resize and crop as `transform` does, if it scales
        each channel by constants, and else take the centre of the picture. The others give
        `transform` a changed picture.
    """
    constants = _channel_constants(transform)
    values: dict[str, Callable[[Tensor], Tensor]] = {
        "0 to 255": lambda pixels: 255 * pixels,
        "0 to 1": lambda pixels: pixels,
        "−1 to 1": lambda pixels: 2 * pixels - 1,
        "ImageNet's mean and deviation": normalise,
    }
    pictures: dict[str, Callable[[Image.Image], Image.Image]] = {
        "red and blue swapped": lambda picture: Image.merge("RGB", picture.split()[::-1]),
        "squashed to a square": lambda picture: picture.resize((max(picture.size),) * 2),
        "lying on its side": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    }

    def with_values(change: Callable[[Tensor], Tensor], picture: Image.Image) -> Tensor:
        given = transform(picture)
        if constants is None:
            return change(_centre(picture, given.shape[1], given.shape[2]))
        scale, offset = constants
        return change((given - offset) / scale)

    def with_picture(change: Callable[[Image.Image], Image.Image], picture: Image.Image) -> Tensor:
        return transform(change(picture))

    return {
        "as given": transform,
        **{name: partial(with_values, change) for name, change in values.items()},
        **{name: partial(with_picture, change) for name, change in pictures.items()},
    }


def _centre(picture: Image.Image, height: int, width: int) -> Tensor:
    """Return the centre of a picture as pixels (3, height, width) from 0 to 1."""
    from torchvision.transforms.v2 import functional as T

    shorter = round(max(height, width) * 256 / 224)  # resize to 256, crop 224: what is usual
    centre = T.center_crop(T.resize(picture, [shorter]), [height, width])
    pixels: Tensor = T.to_dtype(T.pil_to_tensor(centre), torch.float32, scale=True)
    return pixels


def _channel_constants(transform: Transform) -> tuple[Tensor, Tensor] | None:
    """Return a and b (3, 1, 1) of a transform with values a · pixel + b, pixels from 0 to 1.

    A black, a dark and a white picture show them. None for any other transform.
    """
    black, dark, white = (transform(Image.new("RGB", (256, 256), (v,) * 3)) for v in (0, 51, 255))
    b = black.mean((1, 2), keepdim=True)
    a = white.mean((1, 2), keepdim=True) - b
    fits = all(
        torch.allclose(probe, (a * pixel + b).expand_as(probe), rtol=1e-4, atol=1e-4)
        for probe, pixel in ((black, 0.0), (dark, 0.2), (white, 1.0))
    )
    return (a, b) if fits and a.all() else None


# ---- the memory of batch normalisation -----------------------------------------------------------


class BatchNormShift:
    """Measure how unlike its training data images are to a network's first batch normalisation.

        with BatchNormShift() as shift:
            model(images)
        shift.kl_divergence()

    The first batch normalisation of a feature map remembers the mean μ and the variance σ² that
    each channel had in training. m and v are the channel's mean and variance now, over all images
    and positions:

        divergence = mean over channels of ½ · (v/σ² + (m − μ)²/σ² − 1 − ln v/σ²)

    the Kullback-Leibler divergence of two normal distributions. It is 0 if all is as in training,
    and needs no labels. It shows a wrong scale of the pixels; swapped channels or pictures on their
    side it hardly shows.

    References:
        Li, Wang, Shi, Liu, Hou: Revisiting Batch Normalization for Practical Domain Adaptation.
        2016, arXiv:1603.04779 (that these numbers show a shift of the data).

    Example:
        Images with the mean 0 and the variance 1 that the layer remembers.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.report import BatchNormShift
        >>> model = nn.BatchNorm2d(1).eval()
        >>> with BatchNormShift() as shift:
        ...     output = model(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        >>> float(shift.kl_divergence())
        0.0
    """

    def __init__(self) -> None:
        """Start with nothing recorded."""
        # m and v of each image (N, K); μ and σ² (K,)
        self.statistics: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def __enter__(self) -> BatchNormShift:
        """Begin to record."""
        self._mode = intercept(self._record)
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop recording; the statistics stay."""
        self._mode.__exit__(*error)
        del self._mode  # it holds this object, which would hold it

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function, and note what the first batch normalisation of a map gets."""
        if func is F.batch_norm and self.statistics is None:
            names = ("input", "running_mean", "running_var")
            given = dict(zip(names, args, strict=False)) | kwargs
            x = given["input"].detach()
            if x.ndim == 4:  # (N, K, h, w)
                mean, variance = x.mean((2, 3)), x.var((2, 3), correction=0)
                self.statistics = mean, variance, given["running_mean"], given["running_var"]
        return func(*args, **kwargs)

    def kl_divergence(self, draws: Tensor | None = None) -> Tensor | None:
        """Return the divergence.

        Args:
            draws: indices of images (S, N), a row for each draw; None for all images once.

        Returns:
            One number (1,), or one for each draw (S,). None if there is no batch normalisation of a
            feature map.
        """
        if self.statistics is None:
            return None
        mean, variance, old_mean, old_variance = (part.double() for part in self.statistics)
        indices = torch.arange(len(mean))[None] if draws is None else draws
        m = mean[indices].mean(1)  # (S, K)
        v = (variance + mean.square())[indices].mean(1) - m.square()
        old = old_variance.clamp_min(1e-12)
        ratio = v.clamp_min(1e-12) / old
        return ((ratio + (m - old_mean).square() / old - 1 - ratio.log()) / 2).mean(1)


# ---- the transform -------------------------------------------------------------------------------


@torch.no_grad()
def check_transform(
    user_model: UserModel, pictures: Sequence[Image.Image], labels: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Run a network behind its transform, and behind common mistakes in its place.

    Args:
        user_model: the network with its transform.
        pictures: RGB pictures, best a dozen or more.
        labels: the right class of each picture, or None.

    Returns:
        A row for each transform: "transform", its name in `transform_variants`; "same", the share
        of pictures with the same answer as through the transform as given; "confidence", the mean
        of the largest probability; "kl_divergence", see `BatchNormShift`; "lower", in what share of
        1000 bootstrap draws of the pictures it is lower than through the transform as given (both
        None without batch normalisation); "right", the share of right answers, None without labels.

    Raises:
        ValueError: without pictures, and for another number of labels.

    Cost:
        Eight forward passes.
    """
    if not pictures or (labels is not None and len(labels) != len(pictures)):
        count = "no" if labels is None else len(labels)
        raise ValueError(
            f"pictures: got {len(pictures)}, and {count} labels; must be at least one picture, and "
            "a label for each or none."
        )
    model = user_model.model
    like = next(model.parameters(), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(pictures), (1000, len(pictures)), generator=generator)
    rows: list[dict[str, Any]] = []
    given: Any = None  # the answers and the drawn divergences of the transform as given
    for name, transform in transform_variants(user_model.transform).items():
        images = torch.stack([transform(picture) for picture in pictures]).to(like)
        with BatchNormShift() as shift:
            confidence, predicted = model(images).softmax(1).max(1)
        divergence, drawn = shift.kl_divergence(), shift.kl_divergence(draws)
        given = (predicted, drawn) if given is None else given
        row: dict[str, Any] = {
            "transform": name,
            "same": (predicted == given[0]).double().mean().item(),
            "confidence": confidence.mean().item(),
            "kl_divergence": None,
            "lower": None,
            "right": None,
        }
        if divergence is not None and drawn is not None:
            row["kl_divergence"] = divergence.item()
            row["lower"] = (drawn < given[1]).double().mean().item()
        if labels is not None:
            row["right"] = (predicted.cpu() == torch.tensor(labels)).double().mean().item()
        rows.append(row)
    return rows


def transform_verdict(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Say whether the transform as given may be right, and why.

    It is in doubt if another one has at most half its divergence, and a lower one in 95 % of the
    draws; or if, with labels, another one gives more right answers.

    Args:
        rows: from `check_transform`.

    Returns:
        plausible: False if the transform is in doubt.
        words: a sentence with the numbers.
    """
    given, others = rows[0], rows[1:]
    better = [row for row in others if row["right"] is not None and row["right"] > given["right"]]
    if better:
        best = max(better, key=lambda row: row["right"])
        return False, (
            f"The transform is in doubt: through “{best['transform']}” the network is right on "
            f"{best['right']:.0%} of the pictures, through the one given on {given['right']:.0%}."
        )
    if given["kl_divergence"] is None:
        return True, (
            "The network has no batch normalisation that can be asked"
            + (": only labels could show a wrong transform." if given["right"] is None else ".")
        )
    lower = [
        row
        for row in others
        if 2 * row["kl_divergence"] <= given["kl_divergence"] and row["lower"] >= 0.95
    ]
    if lower:
        best = min(lower, key=lambda row: row["kl_divergence"])
        return False, (
            f"The transform is in doubt: its pictures surprise the network by "
            f"{given['kl_divergence']:.2f}, through “{best['transform']}” by "
            f"{best['kl_divergence']:.2f}."
        )
    return True, (
        f"Nothing speaks against the transform: its pictures surprise the network by "
        f"{given['kl_divergence']:.2f}, and no other of {len(others)} by half of that or less."
    )


# ---- baselines -----------------------------------------------------------------------------------


@torch.no_grad()
def check_baselines(user_model: UserModel, images: Tensor) -> list[dict[str, Any]]:
    """Run a network on the baselines of images.

    A baseline should mean *nothing to see here*. If the network is confident on it, it is an image
    of something, and a map from it says why the image is not that.

    Args:
        user_model: the network with its transform and classes.
        images: (N, C, H, W), as the network takes them.

    Returns:
        A row for each kind: "baseline", its name; "kept", the mean probability that the class of
        the whole image keeps; "predicted", the class that most baselines get; "confidence", the
        mean of their largest probability.

    Cost:
        Four forward passes.
    """
    model = user_model.model
    picture = Image.new("RGB", (images.shape[3], images.shape[2]))
    black = user_model.transform(picture)[None].to(images)
    target = model(images.clone()).argmax(1)
    kinds: dict[str, Any] = {"black": black, "mean": "mean", "blur": "blur"}
    rows = []
    for name, baseline in kinds.items():
        probabilities = model(baseline_images(images, baseline).clone()).softmax(1)
        confidence, predicted = probabilities.max(1)
        rows.append(
            {
                "baseline": name,
                "kept": probabilities.gather(1, target[:, None]).mean().item(),
                "predicted": user_model.classes[int(predicted.mode().values)],
                "confidence": confidence.mean().item(),
            }
        )
    return rows
