"""Does the transform fit the network, and is a baseline nothing to it? The network is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from xai_course.core.baselines import baseline_images
from xai_course.core.hooks import intercept
from xai_course.core.statistics import sign_test
from xai_course.core.translation import message, translate, translate_filled
from xai_course.data.transforms import normalise
from xai_course.report.memory import is_memory_error
from xai_course.report.network import Transform, UserModel, one_line
from xai_course.report.reading import repeatable
from xai_course.report.words import (
    LEVEL,
    chance_words,
    counted,
    in_a_row,
    least_count,
    percent,
    semicolon_listed,
)

__all__ = [
    "BatchNormShift",
    "TransformVerdict",
    "check_baselines",
    "check_transform",
    "transform_variants",
    "transform_verdict",
    "variant_in_words",
]


DRAWS = 2000  # of the bootstrap
SIZES = (32, 64, 224)  # of the inputs that most networks are trained on
FAILS = message("the network fails on it ({error})")
PIXELS_HIGH = message("{size} pixels high")
LARGEST = 256  # a size above it is not tried: it would take too long


# ---- variants ------------------------------------------------------------------------------------


def transform_variants(
    transform: Transform, picture: Image.Image | None = None
) -> dict[str, Transform]:
    """Return a transform, and what is often used in its place by mistake.

    Args:
        transform: an RGB picture to an input (C, H, W).
        picture: one that it takes; its size is that of the pictures that are tried. None for 256
            × 256 pixels.

    Returns:
        Transforms by name. "as given" comes first. The next ones differ in the values of the
        pixels: they resize and crop as `transform` does, if it scales each channel by constants,
        and else take the centre of the picture. Others give `transform` a changed picture. The last
        ones, such as "32 pixels high", give inputs of another size. Left out is what makes no sense
        for inputs that are neither grey nor of three colours.
    """
    side = picture.size if picture is not None else (256, 256)
    sample = transform(picture if picture is not None else Image.new("RGB", side))
    channels, height, width = sample.shape
    constants = _channel_constants(transform, side)

    def with_values(change: Callable[[Tensor], Tensor], picture: Image.Image) -> Tensor:
        given = transform(picture)
        if constants is None:
            return change(_centre(picture, *given.shape))
        scale, offset = constants
        return change((given - offset) / scale)

    def with_picture(change: Callable[[Image.Image], Image.Image], picture: Image.Image) -> Tensor:
        return transform(change(picture))

    values = _value_changes(channels) if constants is not None or channels in (1, 3) else {}
    return {
        message("as given"): transform,
        **{name: partial(with_values, change) for name, change in values.items()},
        **{
            name: partial(with_picture, change)
            for name, change in _picture_changes(channels).items()
        },
        **{
            PIXELS_HIGH.format(size=size): partial(_resized, transform, size / height)
            for size in _other_sizes(height, width)
        },
    }


def variant_in_words(name: str) -> str:
    """Return the name of a transform that was tried, in the reader's language.

    Args:
        name: a key of `transform_variants`.

    Returns:
        The name.
    """
    return translate_filled(name, [PIXELS_HIGH])


def _value_changes(channels: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return changes of pixels (C, H, W) from 0 to 1, by name."""
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        message("0 to 255"): lambda pixels: 255 * pixels,
        message("0 to 1"): lambda pixels: pixels,
        message("−1 to 1"): lambda pixels: 2 * pixels - 1,
    }
    if channels == 1:  # a negative: dark ink on white paper, or the reverse
        changes[message("black and white swapped")] = lambda pixels: 1 - pixels
    if channels == 3:
        changes[message("ImageNet's mean and deviation")] = normalise
    return changes


def _picture_changes(channels: int) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """Return changes of a picture, by name."""
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {}
    if channels == 3:
        changes[message("red and blue swapped")] = lambda picture: Image.merge(
            "RGB", picture.split()[::-1]
        )
    changes[message("squashed to a square")] = lambda picture: picture.resize(
        (max(picture.size),) * 2
    )
    changes[message("lying on its side")] = lambda picture: picture.transpose(
        Image.Transpose.ROTATE_90
    )
    return changes


def _other_sizes(height: int, width: int) -> list[int]:
    """Return the heights of inputs that are tried beside the given one, in pixels."""
    sizes = {height // 2, 2 * height, *SIZES}
    return [
        size
        for size in sorted(sizes)
        if 8 <= size != height and max(size, size * width // height) <= LARGEST
    ]


def _resized(transform: Transform, factor: float, picture: Image.Image) -> Tensor:
    """Return the input (C, H, W) of a picture at another size."""
    given = transform(picture)[None]
    size = [max(round(factor * side), 1) for side in given.shape[2:]]
    return F.interpolate(given, size, mode="bilinear", antialias=True)[0]


def _centre(picture: Image.Image, channels: int, height: int, width: int) -> Tensor:
    """Return the centre of a picture as pixels (channels, height, width) from 0 to 1."""
    from torchvision.transforms.v2 import functional as T

    shorter = round(max(height, width) * 256 / 224)  # resize to 256, crop 224: what is usual
    coloured = picture.convert("L" if channels == 1 else "RGB")
    centre = T.center_crop(T.resize(coloured, [shorter]), [height, width])
    pixels: Tensor = T.to_dtype(T.pil_to_tensor(centre), torch.float32, scale=True)
    return pixels


def _channel_constants(transform: Transform, size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Return a and b (C, 1, 1) of a transform with values a · pixel + b, pixels from 0 to 1.

    A black, a dark and a white picture show them. None for any other transform.
    """
    black, dark, white = (transform(Image.new("RGB", size, (v,) * 3)) for v in (0, 51, 255))
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
            remembers = given["running_mean"] is not None and given["running_var"] is not None
            if x.ndim == 4 and remembers:  # (N, K, h, w)
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


class TransformVerdict(NamedTuple):
    """Whether the transform as given may be right.

    Attributes:
        answer: "nothing against it", "in doubt" or "cannot tell".
        words: sentences with the numbers.
    """

    answer: str
    words: str


@torch.no_grad()
def check_transform(
    user_model: UserModel,
    pictures: Sequence[Image.Image],
    labels: Sequence[int | None] | None = None,
) -> list[dict[str, Any]]:
    """Run a network behind its transform, and behind common mistakes in its place.

    Args:
        user_model: the network with its transform.
        pictures: RGB pictures, best two dozen or more, of which the transform makes inputs of one
            size.
        labels: the right answer of each picture, None for one whose answer is not known; or None.

    Returns:
        A row for each transform: "transform", its name in `transform_variants`; "problem", why
        the network cannot be run behind it, or "" (all that follows is None with a problem);
        "differs", whether it gives any other input than the one as given; "pictures", how many
        there are; "same", the share of pictures with the same answer as through the transform as
        given; "confidence", the mean of the largest probability; "kl_divergence", see
        `BatchNormShift`; "lower", in what share of bootstrap draws of the pictures it is lower than
        through the transform as given (both None without batch normalisation); "right", the share
        of right answers; "known", of how many pictures the right answer is known; "gained", on how
        many of them only this transform gives the right answer; "lost", on how many only the one
        as given does (None without labels).

    Raises:
        ValueError: without pictures, and for another number of labels.

    Cost:
        A forward pass for each transform, at most eleven.
    """
    if not pictures or (labels is not None and len(labels) != len(pictures)):
        count = "no" if labels is None else len(labels)
        raise ValueError(
            f"pictures: got {len(pictures)}, and {count} labels; must be at least one picture, and "
            "a label for each or none."
        )
    truth = torch.tensor([-1 if label is None else label for label in labels or []])
    transform = repeatable(user_model.transform)
    rows: list[dict[str, Any]] = []
    given: Any = None  # the transform as given
    for name, variant in transform_variants(transform, pictures[0]).items():
        try:
            images = torch.stack([variant(picture) for picture in pictures])
            tried = _try(user_model, images)
        except Exception as error:
            if given is None or is_memory_error(error):
                raise
            # The network or another's transform takes no input of this kind.
            problem = FAILS.format(error=one_line(error))
            rows.append({"transform": name, "problem": problem, **dict.fromkeys(_VALUES)})
            continue
        given = tried if given is None else given
        rows.append({"transform": name, "problem": "", **_compare(tried, given, truth)})
    return rows


class _Tried(NamedTuple):
    """What a network says to N inputs: its answers, and how they shift its batch normalisation."""

    images: Tensor  # (N, C, H, W)
    predicted: Tensor  # (N,)
    confidence: float
    divergence: float | None
    drawn: Tensor | None  # the divergence in each bootstrap draw


_VALUES = (
    *("differs", "pictures", "same", "confidence", "kl_divergence", "lower", "right", "known"),
    *("gained", "lost"),
)


def _try(user_model: UserModel, images: Tensor) -> _Tried:
    """Run a network on inputs (N, C, H, W)."""
    model = user_model.model
    like = next(model.parameters(), torch.zeros(()))
    draws = torch.randint(
        len(images), (DRAWS, len(images)), generator=torch.Generator().manual_seed(0)
    )
    with BatchNormShift() as shift:
        outputs = model(images.to(like))
    confidence, predicted = user_model.probabilities(outputs).max(1)
    divergence = shift.kl_divergence()
    return _Tried(
        images,
        predicted.cpu(),
        confidence.mean().item(),
        None if divergence is None else divergence.item(),
        shift.kl_divergence(draws),
    )


def _compare(tried: _Tried, given: _Tried, truth: Tensor) -> dict[str, Any]:
    """Compare what is tried with the transform as given, by the right answers (N,), -1 unknown."""
    row: dict[str, Any] = dict.fromkeys(_VALUES)
    row["differs"] = tried.images.shape != given.images.shape or not torch.allclose(
        tried.images, given.images, rtol=1e-3, atol=1e-4
    )
    row["pictures"] = len(tried.images)
    row["same"] = (tried.predicted == given.predicted).double().mean().item()
    row["confidence"] = tried.confidence
    if tried.drawn is not None and given.drawn is not None:
        row["kl_divergence"] = tried.divergence
        row["lower"] = (tried.drawn < given.drawn).double().mean().item()
    known = truth >= 0
    if known.any():
        right = (tried.predicted == truth)[known]
        right_as_given = (given.predicted == truth)[known]
        row["right"], row["known"] = right.double().mean().item(), int(known.sum())
        row["gained"] = int((right & ~right_as_given).sum())
        row["lost"] = int((right_as_given & ~right).sum())
    return row


def transform_verdict(rows: Sequence[dict[str, Any]]) -> TransformVerdict:
    """Say whether the transform as given may be right, and why.

    Two questions are asked of every other transform that gives other inputs. With labels: on how
    many pictures is the network right only through the one, and on how many only through the other
    (McNemar's exact test, one-sided)? With batch normalisation: has it at most half the divergence,
    and a lower one in nearly all bootstrap draws of the pictures? The transform is in doubt if one
    of these differences is clear: by chance it would arise in less than 5 %, divided by the number
    of questions. If another transform is ahead, but not clearly, or if so few pictures could show
    nothing, the answer is "cannot tell".

    Args:
        rows: from `check_transform`.

    Returns:
        The verdict.

    References:
        McNemar: Note on the Sampling Error of the Difference Between Correlated Proportions or
        Percentages. Psychometrika 12, 1947.
    """
    given = rows[0]
    others = [row for row in rows[1:] if not row["problem"] and row["differs"]]
    by_labels = [row for row in others if row["right"] is not None]
    by_norm = [row for row in others if row["kl_divergence"] is not None]
    questions = len(by_labels) + len(by_norm)
    if not questions:
        return _verdict_of_nothing(given, others)
    level = LEVEL / questions
    tried = translate(
        "Tried: {others}, in {comparisons}. A difference counts as clear if chance alone gives "
        "one as large in less than {share} of all tries ({level} divided by the number of "
        "comparisons).",
        level=percent(LEVEL),
        others=counted(len(others), "other"),
        comparisons=counted(questions, "comparison"),
        share=chance_words(level),
    )
    findings = [_by_answers(given, by_labels, level), _by_divergence(given, by_norm, level)]
    for answer in ("in doubt", "cannot tell"):
        words = [finding.words for finding in findings if finding and finding.answer == answer]
        if words:
            return TransformVerdict(answer, in_a_row(_found(answer, words), tried))
    answer = "nothing against it"
    words = [finding.words for finding in findings if finding]
    return TransformVerdict(answer, _found(answer, words))


_BEGIN = {
    "in doubt": message("The transform is in doubt: {words}."),
    "cannot tell": message("Whether the transform is right, these pictures cannot tell: {words}."),
    "nothing against it": message("Nothing speaks against the transform: {words}."),
}


def _found(answer: str, words: Sequence[str]) -> str:
    """Say what the answer is, and what was found."""
    return translate(_BEGIN[answer], words=semicolon_listed(words))


def _verdict_of_nothing(
    given: dict[str, Any], others: Sequence[dict[str, Any]]
) -> TransformVerdict:
    """Say why nothing can be asked."""
    if not others:
        why = translate("no other transform could be tried")
    else:
        why = translate(
            "the network has no batch normalisation of a feature map, and the right answers are "
            "not known; pictures in folders that are named after their classes would show more"
        )
    return TransformVerdict(
        "cannot tell", translate("Whether the transform is right cannot be told: {why}.", why=why)
    )


def _by_answers(
    given: dict[str, Any], rows: Sequence[dict[str, Any]], level: float
) -> TransformVerdict | None:
    """Compare the right answers; None without labels."""
    if not rows:
        return None
    known = given["known"]

    def chance(row: dict[str, Any]) -> float:
        return sign_test(row["gained"], row["gained"] + row["lost"])

    # Of those that are equally far ahead, the one that surprises least.
    best = min(rows, key=lambda row: (chance(row), -row["right"], row["kl_divergence"] or 0.0))
    share = chance(best)
    numbers = translate(
        "through “{transform}” the network is right on {right} of {known} pictures, through the "
        "one given on {given}; only the first is right on {gained}, only the second on {lost}, as "
        "chance would have it in {share} of all tries",
        transform=variant_in_words(best["transform"]),
        right=round(best["right"] * known),
        known=known,
        given=round(given["right"] * known),
        gained=best["gained"],
        lost=best["lost"],
        share=chance_words(share),
    )
    needed = least_count(level)
    if share < level:
        return TransformVerdict("in doubt", numbers)
    if best["gained"] > best["lost"]:
        return TransformVerdict("cannot tell", numbers)
    if known < needed:
        return TransformVerdict(
            "cannot tell",
            translate(
                "the right answer is known of {pictures}, and it takes {needed} or more to tell "
                "two transforms apart by their answers",
                pictures=counted(known, "picture"),
                needed=needed,
            ),
        )
    return TransformVerdict(
        "nothing against it",
        translate(
            "the network is right on {right} of {known} pictures, and through no other of {count} "
            "on more",
            right=round(given["right"] * known),
            known=known,
            count=len(rows),
        ),
    )


def _is_worse(row: dict[str, Any], level: float) -> bool:
    """Say whether a transform gives clearly fewer right answers than the one as given."""
    if row["right"] is None:
        return False
    return sign_test(row["lost"], row["gained"] + row["lost"]) < level


def _by_divergence(
    given: dict[str, Any], rows: Sequence[dict[str, Any]], level: float
) -> TransformVerdict | None:
    """Compare the divergence of the first batch normalisation; None without one."""
    if not rows:
        return None
    lower = [
        row
        for row in rows
        if 2 * row["kl_divergence"] <= given["kl_divergence"] and not _is_worse(row, level)
    ]
    # Of those that are lower in enough draws the lowest, if there is one.
    sure = [row for row in lower if row["lower"] >= 1 - level]
    best = min(sure or lower or rows, key=lambda row: row["kl_divergence"])
    numbers = translate(
        "through it the network's surprise is {given:.2f}, through “{transform}” it is "
        "{other:.2f} (0: the pictures are like those of its training)",
        given=given["kl_divergence"],
        transform=variant_in_words(best["transform"]),
        other=best["kl_divergence"],
    )
    needed = least_count(level)
    if lower and given["pictures"] < needed:
        return TransformVerdict(
            "cannot tell",
            translate(
                "{numbers}, but it takes {needed} pictures or more to be sure",
                numbers=numbers,
                needed=needed,
            ),
        )
    if lower and best["lower"] >= 1 - level:
        return TransformVerdict("in doubt", numbers)
    if lower:
        return TransformVerdict(
            "cannot tell",
            translate(
                "{numbers}, but with other pictures like these it may be otherwise",
                numbers=numbers,
            ),
        )
    text = (
        message(
            "through it the network finds the pictures like those of its training (surprise "
            "{given:.2f}), so that none of the other transforms ({count} tried) can be much better"
        )
        if round(given["kl_divergence"], 2) == 0  # of which half would say nothing
        else message(
            "through it the network's surprise is {given:.2f} (0: the pictures are like those of "
            "its training), and through none of the {count} others is it half of that or less"
        )
    )
    words = translate(text, given=given["kl_divergence"], count=len(rows))
    return TransformVerdict("nothing against it", words)


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
        A row for each kind: "baseline", its name; "kept", the mean probability that the answer of
        the whole image keeps; "predicted", the answer that most baselines get; "confidence", the
        mean of their largest probability.

    Cost:
        Four forward passes.
    """
    model = user_model.model
    picture = Image.new("RGB", (images.shape[3], images.shape[2]))
    black = repeatable(user_model.transform)(picture)[None].to(images)
    target = user_model.probabilities(model(images.clone())).argmax(1)
    kinds: dict[str, Any] = {"black": black, "mean": "mean", "blur": "blur"}
    rows = []
    for name, baseline in kinds.items():
        outputs = model(baseline_images(images, baseline).clone())
        probabilities = user_model.probabilities(outputs)
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
