"""Predictions of a model for images of which some segments are hidden.

A *coalition* is a set of segments that are shown; the word comes from game theory, where Shapley's
value comes from. Methods that work with coalitions need predictions only, and no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_choice
from xai_course.core.inputs import validate_all_logits
from xai_course.core.outputs import class_probabilities, single_output
from xai_course.core.progress import progress_bar
from xai_course.residual.segments import check_segments, how_many_segments, segment_masks

__all__ = ["Game", "SegmentedImage", "output_function", "segment_games"]

Game: TypeAlias = Callable[[Tensor], Tensor]
"""From coalitions (K, players), True for a player that takes part, to their values (K,)."""


class SegmentedImage(NamedTuple):
    """An image as a game of its segments.

    Attributes:
        n: which image of the batch.
        players: the numbers of the segments that have pixels, (P,).
        game: from coalitions (K, P) of those segments to the model's output (K,).
    """

    n: int
    players: Tensor
    game: Game


def output_function(
    model: nn.Module, images: Tensor, targets: Any, output: str, batch_size: int
) -> tuple[Tensor, Callable[[int, Tensor], Tensor]]:
    """Check the arguments of an explainer, and return the function that it explains.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W).
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        output: "logit" or "probability".
        batch_size: images in one forward pass.

    Returns:
        A copy of the images, and a function: f(n, pictures) is the output (K,) that the model gives
        pictures (K, C, H, W) for the class of the n-th image, in double precision on the CPU.

    Raises:
        ValueError: if an argument is not as described.
    """
    check_choice("output", output, ("logit", "probability"))
    of_probability = output == "probability"
    model, targets = single_output(model, targets)
    x, _, classes = validate_all_logits(
        model, images, targets, batch_size=batch_size, probabilities=of_probability
    )

    def f(n: int, pictures: Tensor) -> Tensor:
        outputs: Tensor = model(pictures).cpu().double()
        if of_probability:
            outputs = class_probabilities(outputs)
        return outputs[:, classes[n].cpu()]

    return x, f


def segment_games(
    model: nn.Module,
    images: Tensor,
    targets: Any,
    segments: Tensor | None,
    baseline: float | str | Tensor,
    output: str,
    batch_size: int,
    label: str = "",
    progress: bool = False,
) -> tuple[int, Iterator[SegmentedImage]]:
    """Check the arguments of a method of segments, and return each image as a game of its segments.

        picture of a coalition = baseline + shown · (image − baseline)
        shown = max(0, 1 − Σ over hidden segments of mask)

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W).
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        segments: labels or masks, as in `check_segments`.
        baseline: what is seen where a segment is hidden, as in `baseline_images`.
        output: "logit" or "probability".
        batch_size: pictures in one forward pass.
        label: words in front of the progress bar.
        progress: show a bar of progress over the images.

    Returns:
        The number of segments S, those without a pixel in an image included; and the images, one by
        one, each with as many players as it has segments with pixels, so that nothing about one
        image depends on the others.

    Raises:
        ValueError: if an argument is not as described.
    """
    x, f = output_function(model, images, targets, output, batch_size)
    base = baseline_images(x, baseline)
    checked = check_segments(segments, x)

    def games() -> Iterator[SegmentedImage]:
        for n in progress_bar(range(len(x)), label, progress):
            masks = segment_masks(checked, n).to(x.dtype)
            players = masks.flatten(1).any(1).nonzero()[:, 0]
            yield SegmentedImage(n, players.cpu(), game_of(n, masks[players].flatten(1)))

    def game_of(n: int, regions: Tensor) -> Game:  # regions (P, H·W)
        def game(coalitions: Tensor) -> Tensor:
            values = []
            for kept in torch.split(coalitions.to(x.device), int(batch_size)):
                hidden = ((~kept).to(x.dtype) @ regions).clamp(max=1)
                hidden = hidden.view(len(kept), 1, *x.shape[2:])
                values.append(f(n, (1 - hidden) * x[n] + hidden * base[n]))
            return torch.cat(values)

        return game

    return how_many_segments(checked), games()
