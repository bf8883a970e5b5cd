"""Relevance maps of any explainer: computed in batches, checked, and compared with one another.

An explainer is a function `(model, images, targets) -> relevance`: ours, Captum's in a lambda, or
the reader's own. The metrics also take relevance that was computed before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from xai_course.core.checks import check_count
from xai_course.core.progress import bar_class
from xai_course.core.tensors import check_plain

__all__ = [
    "Explainer",
    "call_explainer",
    "check_relevance",
    "map_ranks",
    "map_similarity",
    "relevance_maps",
]

Explainer: TypeAlias = Callable[..., Tensor]


def relevance_maps(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Explain images batch by batch, and check the relevance.

    Args:
        model: what the explainer gets.
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images, which is then only checked.
        images: (N, C, H, W).
        targets: class indices (N,).
        batch_size: images that the explainer gets at once.
        progress: show a progress bar.

    Returns:
        Relevance (N, C, H, W) or (N, 1, H, W), without history, in the explainer's unit.

    Raises:
        ValueError: if the relevance is not finite or has another shape, or an argument is wrong.

    Cost:
        That of the explainer.

    Example:
        >>> import torch
        >>> from xai_course.core import relevance_maps
        >>> images = torch.ones(3, 1, 2, 2)
        >>> maps = relevance_maps(None, lambda model, x, t: 2 * x, images, torch.zeros(3))
        >>> torch.equal(maps, 2 * images)
        True
    """
    if isinstance(explainer, Tensor):
        check_relevance("explainer", explainer, images)
        return explainer.detach()
    if not callable(explainer):
        raise ValueError(
            f"explainer: got {type(explainer).__name__}; must be a function (model, images, "
            "targets) -> relevance, or the relevance itself."
        )
    batch_size = check_count("batch_size", batch_size)
    if targets.shape != (len(images),):
        raise ValueError(
            f"targets: got shape {tuple(targets.shape)}; must be ({len(images)},), as the images."
        )
    batches = zip(torch.split(images, batch_size), torch.split(targets, batch_size), strict=True)
    maps = []
    for x, classes in bar_class()(list(batches), "explaining", leave=False, disable=not progress):
        relevance = call_explainer("explainer", explainer, model, x, classes)
        maps.append(relevance.detach())
    return torch.cat(maps)


def call_explainer(
    name: str, explainer: Callable[..., Any], model: Any, images: Tensor, targets: Any
) -> Tensor:
    """Call an explainer on a copy of the images, and check what it returns.

    When it ends, also by an error, the model's mode is as it was, and which weights take
    gradients.

    Args:
        name: of the argument that it came as, for the error.
        explainer: a function (model, images, targets) -> relevance. It may change its images.
        model: the network.
        images: (N, C, H, W).
        targets: class indices (N,), or what else the explainer takes.

    Returns:
        Its relevance (N, C, H, W) or (N, 1, H, W).

    Raises:
        ValueError: if it does not take these arguments, if the relevance is not finite or has
            another shape, or if it leaves the model in training mode or with other weights, so that
            its maps are not those of the model. Such weights stay as it left them.

    Example:
        >>> import torch
        >>> from xai_course.core import call_explainer
        >>> images = torch.ones(1, 1, 1, 2)
        >>> call_explainer("explainer", lambda model, x, t: x.mul_(3), None, images, 0), images
        (tensor([[[[3., 3.]]]]), tensor([[[[1., 1.]]]]))
    """
    try:
        with _unchanged(name, model):
            relevance: Tensor = explainer(model, images.clone(), targets)
    except TypeError as error:
        if _takes_three(explainer):
            raise
        raise ValueError(
            f"{name}: got a function with other arguments ({error}); must take three, (model, "
            "images, targets)."
        ) from error
    check_relevance(name, relevance, images)
    return relevance


@contextmanager
def _unchanged(name: str, model: Any) -> Iterator[None]:
    """Put back the mode of a model and its weights' flags; refuse other weights."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    # A frozen scripted model has no mode.
    modes = [(module, module.training) for module in modules if hasattr(module, "training")]
    weights = [weight for module in modules for weight in module.parameters(recurse=False)]
    flags = [(weight, weight.requires_grad, weight.grad) for weight in weights]
    marks = _marks(model)
    try:
        yield
    finally:
        left = [module for module, before in modes if module.training and not before]
        for module, before in modes:
            module.training = before
        for weight, requires_grad, grad in flags:
            if weight.requires_grad != requires_grad:
                weight.requires_grad_(requires_grad)
            if weight.grad is not grad:
                weight.grad = grad
    if left:
        raise ValueError(
            f"{name}: got a function that leaves the model in training mode; must explain it in "
            "evaluation mode, or call model.eval() at its end."
        )
    if not torch.equal(_marks(model), marks):
        raise ValueError(
            f"{name}: got a function that changes the model's weights or batch statistics; must "
            "explain the model as it is, or work on a copy.deepcopy of it."
        )


def _marks(model: Any) -> Tensor:
    """Return sum and length (n, 2) of weights and batch statistics: others have others, mostly.

    A copy of each would take longer. (A step of cross-entropy leaves the sum of the last layer's
    weights as it was.)
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    norms = [module for module in modules if isinstance(module, _BatchNorm)]
    numbers: list[Tensor] = []
    for module in modules:
        numbers += module.parameters(recurse=False)
    numbers += [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
    # A part that does not run may have no numbers yet.
    values = [each.detach().float() for each in numbers if not (each.is_meta or is_lazy(each))]
    return torch.tensor([[each.sum().item(), each.norm().item()] for each in values]).nan_to_num()


def _takes_three(function: Any) -> bool:
    """Tell whether a function can be called with three arguments, as far as it shows."""
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not show it
        return True
    return True


def check_relevance(name: str, relevance: Any, images: Tensor) -> None:
    """Check that relevance is finite and has the shape that fits the images.

    Args:
        name: of the argument that it came from, for the error.
        relevance: what an explainer returned.
        images: (N, C, H, W), which it got.

    Raises:
        ValueError: if it is not.

    Example:
        >>> import torch
        >>> from xai_course.core import check_relevance
        >>> check_relevance("explainer", torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4))
    """
    count, channels, height, width = images.shape
    must = f"must be ({count}, {channels} or 1, {height}, {width})"
    if not isinstance(relevance, Tensor):
        raise ValueError(f"{name}: got {type(relevance).__name__}; {must}, a tensor.")
    check_plain(name, relevance)
    if relevance.shape not in ((count, channels, height, width), (count, 1, height, width)):
        raise ValueError(f"{name}: got relevance of shape {tuple(relevance.shape)}; {must}.")
    if not relevance.is_floating_point():
        raise ValueError(f"{name}: got {relevance.dtype}; must be finite floating-point numbers.")
    if not relevance.isfinite().all():
        raise ValueError(
            f"{name}: got NaN or infinite values; must be finite floating-point numbers."
        )


def map_similarity(first: Tensor, second: Tensor, *, absolute: bool = False) -> Tensor:
    """Return how similar two maps of each image are: Spearman's rank correlation over the pixels.

    Args:
        first: (N, C, H, W); channels are summed before the pixels are ranked.
        second: (N, C or 1, H, W).
        absolute: compare the absolute values of the sums.

    Returns:
        From -1 (the reverse order) to 1 (the same order) for each image, (N,), in double precision;
        0 where one of the maps is flat.

    Raises:
        ValueError: if the maps differ in number or size, or have values that are not finite.

    References:
        Spearman: The Proof and Measurement of Association between Two Things. American Journal of
        Psychology 15, 1904.

    Example:
        >>> import torch
        >>> from xai_course.core import map_similarity
        >>> maps = torch.rand(2, 1, 4, 4)
        >>> map_similarity(maps, maps.exp()).round(decimals=6).tolist()
        [1.0, 1.0]
    """
    ranks = []
    for name, maps in (("first", first), ("second", second)):
        try:
            ranks.append(map_ranks(maps, absolute=absolute))
        except ValueError as error:
            raise ValueError(f"{name}{str(error).removeprefix('maps')}") from error
    if first.shape[::2] != second.shape[::2] or first.shape[3] != second.shape[3]:
        raise ValueError(
            f"second: got shape {tuple(second.shape)}; must have the number and size of the "
            f"first's, {tuple(first.shape)}."
        )
    return (ranks[0] * ranks[1]).sum(1)


def map_ranks(maps: Tensor, *, absolute: bool = False) -> Tensor:
    """Rank the pixels of each map; the product of two rows of ranks is Spearman's correlation.

    Args:
        maps: (N, C, H, W); channels are summed before the pixels are ranked.
        absolute: rank the absolute values of the sums.

    Returns:
        Ranks (N, H·W) in double precision, with mean 0 and length 1. Equal values get their mean
        rank, and a flat map gets zeros.

    Raises:
        ValueError: if the maps have another shape, or values that are not finite.

    Example:
        >>> import torch
        >>> from xai_course.core import map_ranks
        >>> map_ranks(torch.tensor([[[[5.0, 7.0, 9.0]]]]))
        tensor([[-0.7071,  0.0000,  0.7071]], dtype=torch.float64)
    """
    check_plain("maps", maps)
    if maps.ndim != 4:
        raise ValueError(f"maps: got shape {tuple(maps.shape)}; must be (N, C, H, W).")
    if not maps.isfinite().all():
        raise ValueError("maps: got NaN or infinite values; must be finite relevance.")
    values = maps.detach().double().sum(1).flatten(1).contiguous()  # (N, H·W)
    values = values.abs() if absolute else values
    ordered = values.sort(1).values
    smaller = torch.searchsorted(ordered, values)
    not_larger = torch.searchsorted(ordered, values, right=True)
    ranks = (smaller + not_larger).double()  # twice the mean rank of equal values, plus a constant
    ranks = ranks - ranks.mean(1, keepdim=True)
    return ranks / ranks.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
