"""Does the transform fit the network, and is a baseline nothing to it? We ask the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xai_course.core.baselines import baseline_images
from xai_course.data.transforms import normalise
from xai_course.report.network import Transform, UserModel

__all__ = [
    "BatchNormShift",
    "check_baselines",
    "check_transform",
    "transform_variants",
    "transform_verdict",
]


def transform_variants(transform: Transform) -> dict[str, Transform]:
    """Return a transform and what is often put in its place by mistake, by name.

    All give an RGB picture's input (3, H, W) at the size that `transform` gives. "as given" comes
    first; the next four differ in the values of the pixels, the others hand `transform` another
    picture than it should get. The four resize and cut just as `transform` does, if it scales each
    channel by constants; else they take the picture's middle.
    """
    from torchvision.transforms.v2 import functional as T

    constants = _constants(transform)

    def values(rule: Callable[[Tensor], Tensor], picture: Image.Image) -> Tensor:
        given = transform(picture)
        if constants is not None:
            factor, offset = constants
            return rule((given - offset) / factor)
        high, wide = given.shape[1:]
        shorter = round(max(high, wide) * 256 / 224)
        middle = T.center_crop(T.resize(picture, [shorter]), [high, wide])
        return rule(T.to_dtype(T.pil_to_tensor(middle), torch.float32, scale=True))

    def before(change: Callable[[Image.Image], Image.Image], picture: Image.Image) -> Tensor:
        return transform(change(picture))

    rules: dict[str, Callable[[Tensor], Tensor]] = {
        "0 to 255": lambda p: 255 * p,
        "0 to 1": lambda p: p,
        "−1 to 1": lambda p: 2 * p - 1,
        "ImageNet's mean and deviation": normalise,
    }
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {
        "red and blue swapped": lambda p: Image.merge("RGB", p.split()[::-1]),
        "squashed to a square": lambda p: p.resize((max(p.size),) * 2),
        "lying on its side": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    }
    return {
        "as given": transform,
        **{name: partial(values, rule) for name, rule in rules.items()},
        **{name: partial(before, change) for name, change in changes.items()},
    }


def _constants(transform: Transform) -> tuple[Tensor, Tensor] | None:
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


class BatchNormShift(TorchFunctionMode):
    """Ask a network's first batch normalisation how unlike its training these images are.

        with FirstNorm() as first:
            model(images)
        first.surprise()

    It remembers the mean μ and the variance σ² that each channel had in training; m and v are what
    the channel has now, over all images and places:

        surprise = mean over channels of ½ · (v/σ² + (m − μ)²/σ² − 1 − ln v/σ²)

    the Kullback-Leibler divergence of two normal curves. 0: as in training. It needs no labels. It
    sees a wrong scale of the pixels; swapped channels or pictures on their side it hardly sees.

    That these numbers show a shift of the data: Li, Wang, Shi, Liu, Hou: Revisiting Batch
    Normalization for Practical Domain Adaptation. 2016, arXiv:1603.04779.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.seen: tuple[Tensor, Tensor, Tensor, Tensor] | None = None  # m, v (N, K); μ, σ² (K,)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`; of the first batch normalisation of a map, note what it gets."""
        kwargs = kwargs or {}
        if func is F.batch_norm and self.seen is None:
            names = ("input", "running_mean", "running_var")
            given = dict(zip(names, args, strict=False)) | kwargs
            x = given["input"].detach()
            if x.ndim == 4:
                mean, variance = x.mean((2, 3)), x.var((2, 3), correction=0)
                self.seen = mean, variance, given["running_mean"], given["running_var"]
        return func(*args, **kwargs)

    def surprise(self, draws: Tensor | None = None) -> Tensor | None:
        """Return the surprise; for `draws` (S, N) of the images' places, one a draw (S,).

        None if there is no batch normalisation of a map.
        """
        if self.seen is None:
            return None
        mean, variance, old_mean, old_variance = (part.double() for part in self.seen)
        some = torch.arange(len(mean))[None] if draws is None else draws
        m = mean[some].mean(1)
        v = (variance + mean.square())[some].mean(1) - m.square()
        old = old_variance.clamp_min(1e-12)
        ratio = v.clamp_min(1e-12) / old
        return ((ratio + (m - old_mean).square() / old - 1 - ratio.log()) / 2).mean(1)


@torch.no_grad()
def check_transform(
    own: UserModel, pictures: Sequence[Image.Image], labels: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Try a network's transform and common mistakes in its place: a row for each.

    `pictures`: RGB pictures, a dozen or more. `labels`: the right class of each, if known.
    Each row: "transform", its name in `transform_variants`; "same", the share of pictures with the
    same answer as through the transform as given; "confidence", the mean of the largest
    probability; "surprise", see `BatchNormShift`; "less", in what share of 1000 bootstrap draws of the
    pictures it surprises less than the transform as given (both None without batch normalisation);
    "right", the share of right answers, None without labels.

    Raises ValueError without pictures, and for another number of labels.
    """
    if not pictures or (labels is not None and len(labels) != len(pictures)):
        raise ValueError(
            f"pictures: got {len(pictures)}, and {'no' if labels is None else len(labels)} labels; "
            "allowed is at least one picture, and a label for each or none."
        )
    where = next(own.model.parameters(), torch.zeros(()))
    chance = torch.Generator().manual_seed(0)
    draws = torch.randint(len(pictures), (1000, len(pictures)), generator=chance)
    rows: list[dict[str, Any]] = []
    given: Any = None
    for name, transform in transform_variants(own.transform).items():
        images = torch.stack([transform(picture) for picture in pictures]).to(where)
        with BatchNormShift() as first:
            share, says = own.model(images).softmax(1).max(1)
        surprise, drawn = first.surprise(), first.surprise(draws)
        given = (says, drawn) if given is None else given
        rows.append(
            {
                "transform": name,
                "same": (says == given[0]).double().mean().item(),
                "confidence": share.mean().item(),
                "surprise": None if surprise is None else surprise.item(),
                "less": None if drawn is None else (drawn < given[1]).double().mean().item(),
                "right": None
                if labels is None
                else (says.cpu() == torch.tensor(labels)).double().mean().item(),
            }
        )
    return rows


def transform_verdict(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Say whether the transform as given may be right, and why, from the rows of `check_transform`.

    It is doubted if another one surprises the network at most half as much, and less in 95 % of the
    draws; or if, with labels, another one is right more often.
    """
    given, others = rows[0], rows[1:]
    better = [row for row in others if row["right"] is not None and row["right"] > given["right"]]
    if better:
        best = max(better, key=lambda row: row["right"])
        return False, (
            f"The transform is in doubt: through “{best['transform']}” the network is right on "
            f"{best['right']:.0%} of the pictures, through the one given on {given['right']:.0%}."
        )
    if given["surprise"] is None:
        return True, (
            "The network has no batch normalisation that can be asked"
            + (": only labels could show a wrong transform." if given["right"] is None else ".")
        )
    less = [r for r in others if 2 * r["surprise"] <= given["surprise"] and r["less"] >= 0.95]
    if less:
        best = min(less, key=lambda row: row["surprise"])
        return False, (
            f"The transform is in doubt: its pictures surprise the network by "
            f"{given['surprise']:.2f}, through “{best['transform']}” by {best['surprise']:.2f}."
        )
    return True, (
        f"Nothing speaks against the transform: its pictures surprise the network by "
        f"{given['surprise']:.2f}, and no other of {len(others)} by half of that or less."
    )


@torch.no_grad()
def check_baselines(own: UserModel, images: Tensor) -> list[dict[str, Any]]:
    """Ask a network about the baselines of images (N, C, H, W): a row for each kind.

    A baseline should be *nothing to see here*. Each row: "baseline", black, mean or blur; "kept",
    the mean probability that the class of the whole image keeps; "says", the class that most
    baselines are given; "sure", the mean of their largest probability. A baseline that the network
    is sure of is a picture of something, and the map says why this image is not that.
    """
    black = own.transform(Image.new("RGB", (images.shape[3], images.shape[2])))[None].to(images)
    target = own.model(images.clone()).argmax(1)
    kinds: dict[str, Any] = {"black": black, "mean": "mean", "blur": "blur"}
    rows = []
    for name, baseline in kinds.items():
        shares = own.model(baseline_images(images, baseline).clone()).softmax(1)
        sure, says = shares.max(1)
        rows.append(
            {
                "baseline": name,
                "kept": shares.gather(1, target[:, None]).mean().item(),
                "says": own.classes[int(says.mode().values)],
                "sure": sure.mean().item(),
            }
        )
    return rows
