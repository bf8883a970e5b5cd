"""What a method costs: passes through the network, and how many steps are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.hooks import in_this_thread
from xai_course.core.maps import map_similarity

__all__ = ["Passes", "convergence", "count_passes", "relative_l2_error"]


Passes = tuple[int, int]
"""How many images went forward through a network, and how many gradients went backward."""


def count_passes(model: nn.Module, call: Callable[[], Any]) -> Passes:
    """Count how many images a call sends through a model: forward, and backward as gradients.

    Every call of the model itself counts, wherever it is made. A backward pass that stops in the
    middle of the network counts as a whole one.

    Args:
        model: the network. It is left as the call leaves it, also after an exception.
        call: a function without arguments that uses the model.

    Returns:
        The number of images forward, and the number of images whose gradients went backward.

    Raises:
        Exception: whatever the call raises.

    Cost:
        That of the call.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import count_passes
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> images = torch.ones(3, 1, 2, 2)
        >>> count_passes(model, lambda: model(images).sum().backward())
        (3, 3)
    """
    # The pass by which a model is measured when it is first seen is not counted: it is no cost of
    # the method.
    passes = {"forward": 0, "backward": 0}

    def count_backward(grad: Tensor) -> None:
        passes["backward"] += len(grad)

    def count_forward(_module: nn.Module, _inputs: Any, output: Any) -> None:
        passes["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(count_backward)

    handle = model.register_forward_hook(in_this_thread(count_forward))
    try:
        call()
    finally:
        handle.remove()
    return passes["forward"], passes["backward"]


def relative_l2_error(maps: Tensor, reference: Tensor) -> Tensor:
    """Return the distance of maps from reference maps, relative to the length of these.

        error[n] = ‖maps[n] − reference[n]‖ / ‖reference[n]‖

    Args:
        maps: (N, C, H, W); channels are summed first.
        reference: (N, C or 1, H, W), in the same unit.

    Returns:
        The error (N,), in double precision, without unit: 0 for equal maps.

    Raises:
        ValueError: if the maps differ in number or size.

    Cost:
        No pass.

    Example:
        >>> import torch
        >>> from xai_course.metrics import relative_l2_error
        >>> reference = torch.tensor([[[[3.0, 4.0]]]])
        >>> relative_l2_error(torch.tensor([[[[3.0, 0.0]]]]), reference)
        tensor([0.8000], dtype=torch.float64)
    """
    if maps.ndim != 4 or reference.ndim != 4 or maps[:, 0].shape != reference[:, 0].shape:
        raise ValueError(
            f"maps: got shape {tuple(maps.shape)}; must be (N, C, H, W), of the number and size of "
            f"the reference, {tuple(reference.shape)}."
        )
    ours, true = (values.double().sum(1).flatten(1) for values in (maps, reference))  # (N, H·W)
    error: Tensor = (ours - true).norm(dim=1) / true.norm(dim=1).clamp_min(1e-30)
    return error


def convergence(
    compute_maps: Callable[[int], Tensor], counts: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Compare the maps of few steps, samples or windows with the maps of many.

    Args:
        compute_maps: a function that returns maps (N, C, H, W) for a number of steps.
        counts: at least two numbers of steps, in increasing order. The maps of the last one are
            taken for the truth, so it should be several times the one before.

    Returns:
        distance: `relative_l2_error` from the last maps, (counts − 1, N).
        similarity: `map_similarity` with the last maps, (counts − 1, N).

    Raises:
        ValueError: if there are fewer than two counts, or they do not increase.

    Cost:
        The maps of each count, once.

    Example:
        >>> import torch
        >>> from xai_course.metrics import convergence
        >>> truth = torch.tensor([[[[3.0, 4.0]]]])
        >>> distance, similarity = convergence(lambda n: truth * (1 + 1 / n), [1, 2, 10**9])
        >>> distance.flatten().tolist()  # it halves as the steps double
        [1.0, 0.5]
    """
    if len(counts) < 2 or any(first >= second for first, second in pairwise(counts)):
        raise ValueError(f"counts: got {list(counts)}; must be two or more, in increasing order.")
    if not callable(compute_maps):
        raise ValueError(
            f"compute_maps: got {type(compute_maps).__name__}; must be a function of a count."
        )
    finest = compute_maps(counts[-1])
    if not isinstance(finest, Tensor) or finest.ndim != 4:
        got = tuple(finest.shape) if isinstance(finest, Tensor) else type(finest).__name__
        raise ValueError(
            f"compute_maps: got a function that returns {got}; must return maps (N, C, H, W)."
        )
    coarser = [compute_maps(count) for count in counts[:-1]]
    distance = torch.stack([relative_l2_error(maps, finest) for maps in coarser])
    similarity = torch.stack([map_similarity(maps, finest) for maps in coarser])
    return distance, similarity
