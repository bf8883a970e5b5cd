"""Technique 3: a residual network as a sum over paths, on which each block is taken or skipped.

With its ReLUs and max-pools fixed as they are at one image, a residual network is linear. Then
every block is skip(x) + branch(x), and multiplying out n blocks gives 2ⁿ paths from the image to
the logit: each takes some of the branches, and goes around the others on their skip paths. Here the
paths are grouped by their length, the number of branches that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.added_constants import BiasTracer
from xai_course.core.graph import derivatives
from xai_course.core.inputs import check_one_each, validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.switches import own_switches
from xai_course.residual.blocks import ResidualTracer, _add, _check_differentiable

__all__ = ["PathContributions", "path_contributions", "path_gradients", "single_path_norms"]

MOST_BLOCKS = 12  # of which every single path is followed


class PathContributions(NamedTuple):
    """A logit as a sum over paths, in logits: logit = from_input.sum(1) + biases.sum(1).

    Attributes:
        logit: the chosen logit (N,).
        from_input: what the image contributes on all paths through exactly 0, 1, … n branches
            (N, n + 1).
        biases: the same for the constants of the network (N, n + 1). A path of a constant begins
            where it is added; one that is added inside a branch takes that branch.
        blocks: what all paths through each of the n branches contribute, of image and constants
            (N, n). A path of length k is in k columns, so blocks.sum(1) = Σ_k k · column k of
            (from_input + biases).
        names: of the blocks.
    """

    logit: Tensor
    from_input: Tensor
    biases: Tensor
    blocks: Tensor
    names: list[str]


@own_switches(grad=True)
def path_contributions(
    model: nn.Module, images: Tensor, targets: Any = None, *, branches: Sequence[str] | None = None
) -> PathContributions:
    """Split the chosen logit by the length of the paths on which it comes from the image.

        logit = Σ over paths P of (⟨∂ logit / ∂x along P, x⟩ + what constants contribute along P)
        from_input[k] = Σ over the paths through exactly k branches of ⟨∂ logit / ∂x along P, x⟩

    The gates are fixed: which ReLUs are open and which positions max-pools choose, as in the whole
    network at this image. A ReLU after the sum of a block is such a gate, too. Multiply every
    branch by a number t: the logit is then a polynomial in t, and its coefficient of t^k is column
    k. The coefficients are found one after the other, without interpolation: the first backward
    pass stops at all branches, and each later one resumes at all branches with what the one before
    has stopped there. The sum is checked.

    The paths show how the answer of the whole network is put together. They do not say what the
    network answers without a block (see `ablate_blocks`): then other gates are open. With the gates
    fixed, that answer would be logit − blocks[:, b].

    A constant of a late block has a short way only, however the network works. So a large share of
    short paths in `biases` does not show that the image's paths are short: see `from_input`.

    Args:
        model: a piecewise linear residual classifier in evaluation mode that returns logits
            (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).

    Returns:
        `PathContributions`, in logits.

    Raises:
        ValueError: if an argument is not as described, if there is no residual sum, or if the parts
            do not sum to the logit, since the network is not piecewise linear.

    Cost:
        One forward pass, and n + 1 backward passes for n blocks.

    References:
        Veit, Wilber, Belongie: Residual Networks Behave Like Ensembles of Relatively Shallow
        Networks. NeurIPS 2016, arXiv:1605.06431.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import path_contributions
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> parts = path_contributions(model, images, targets=4)
        >>> parts.from_input.shape  # paths through 0, 1, 2 and 3 branches
        torch.Size([2, 4])
        >>> total = parts.from_input.sum(1) + parts.biases.sum(1)
        >>> torch.allclose(total, model(images)[:, 4], atol=1e-5)
        True
    """
    tracer = PathTracer(model, images, branches=branches)
    model, targets = single_output(model, targets)
    with tracer, BiasTracer(model) as added:
        x, chosen, _ = validate_inputs(model, images, targets)
    outputs = tracer.outputs(len(x))
    places = [x, *(constant.edge for constant in added.constants)]

    from_input, biases = [], []
    blocks = chosen.new_zeros(len(x), len(outputs))
    size = torch.zeros_like(chosen.detach())  # of the parts, to compare their error with
    for grads, arrived in gradients_by_length(chosen, outputs, places):
        image_part = _product(grads[0], x)
        bias_parts = [
            _product(grad, constant.value)
            for grad, constant in zip(grads[1:], added.constants, strict=True)
            # A constant that is added to other constants has no row for each image, or no gradient.
            if grad is not None and grad.ndim > 1 and len(grad) == len(x)
        ]
        from_input.append(image_part)
        biases.append(sum(bias_parts, torch.zeros_like(image_part)))
        size += torch.stack([image_part, *bias_parts]).abs().sum(0)
        blocks += torch.stack(list(map(_product, arrived, outputs)), 1)
    names = [block.name for block in tracer.blocks]
    logit = chosen.detach()
    found = PathContributions(
        logit, torch.stack(from_input, 1), torch.stack(biases, 1), blocks.detach(), names
    )
    _check_sum(found, size)
    return found


@own_switches(grad=True)
def path_gradients(
    model: nn.Module, images: Tensor, targets: Any = None, *, branches: Sequence[str] | None = None
) -> Tensor:
    """Return the gradient of the chosen logit, split by the length of the paths that it takes.

        gradients[:, k] = Σ over the paths P through exactly k branches of ∂ logit / ∂x along P
        Σ over k        = ∂ logit / ∂x

    The gradients of many paths may cancel. So the length of a row is not that of one path times the
    number of paths, which is n! / (k! (n − k)!) for n blocks. The network need not be piecewise
    linear, since any network has one linear map as its derivative.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).

    Returns:
        Gradients (N, n + 1, C, H, W), in logits per unit of the input.

    Raises:
        ValueError: if an argument is not as described, or if there is no residual sum.

    Cost:
        As `path_contributions`.

    References:
        As `path_contributions`.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.relu import gradient
        >>> from xai_course.residual import path_gradients
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> gradients = path_gradients(model, images, targets=4)
        >>> gradients.shape
        torch.Size([2, 4, 3, 32, 32])
        >>> torch.allclose(gradients.sum(1), gradient(model, images, targets=4), atol=1e-5)
        True
    """
    tracer = PathTracer(model, images, branches=branches)
    model, targets = single_output(model, targets)
    with tracer:
        x, chosen, _ = validate_inputs(model, images, targets)
    outputs = tracer.outputs(len(x))
    rows = [grads[0] for grads, _ in gradients_by_length(chosen, outputs, [x])]
    return torch.stack(rows, 1)


@own_switches(grad=True)
def single_path_norms(
    model: nn.Module, images: Tensor, targets: Any = None, *, branches: Sequence[str] | None = None
) -> Tensor:
    """Return how large the gradients of single paths are, added up by length (Veit's own measure).

        norms[:, k] = Σ over the paths P through exactly k branches of ‖∂ logit / ∂x along P‖₂

    `path_gradients` has the norm of a sum: paths may cancel there. With some branches switched off,
    the gradient is the sum over all paths through the others. So the gradient of one path is found
    by taking away what its shorter paths give, one branch after the other.

    Args:
        model: as for `path_gradients`, with 12 blocks at most.
        images: (N, C, H, W), floating point.
        targets: as for `path_gradients`.
        branches: as for `path_gradients`.

    Returns:
        Norms (N, n + 1), in logits per unit of the input.

    Raises:
        ValueError: if an argument is not as described, if there is no residual sum, or if there are
            more than 12.

    Cost:
        One forward pass and 2ⁿ backward passes for n blocks; 2ⁿ gradients are kept.

    References:
        As `path_contributions`.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual.paths import single_path_norms
        >>> _ = torch.manual_seed(0)
        >>> single_path_norms(BeetleNet().eval(), torch.rand(2, 3, 32, 32), targets=4).shape
        torch.Size([2, 4])
    """
    tracer = PathTracer(model, images, branches=branches)
    model, targets = single_output(model, targets)
    with tracer:
        x, chosen, _ = validate_inputs(model, images, targets)
    outputs: list[Any] = list(tracer.outputs(len(x)))
    _check_differentiable(chosen)
    if len(outputs) > MOST_BLOCKS:
        raise ValueError(
            f"model: got {len(outputs)} blocks; must be {MOST_BLOCKS} at most, as there are 2ⁿ "
            "single paths. Use path_gradients, which adds up the paths of one length."
        )
    open_: list[bool] = []

    def switch(index: int) -> Callable[[Tensor], Tensor]:
        """Return a hook that lets the gradient through while the branch is open."""
        return lambda grad: grad if open_[index] else torch.zeros_like(grad)

    choices = list(product((False, True), repeat=len(outputs)))
    rows = []
    with ExitStack() as stack:
        for index, output in enumerate(outputs):
            stack.enter_context(output.register_hook(switch(index)))
        for choice in choices:
            open_[:] = choice
            (grad,) = torch.autograd.grad(chosen.sum(), x, retain_graph=True)
            rows.append(grad.flatten(1))
    single = torch.stack(rows).view(*[2] * len(outputs), *rows[0].shape)
    for index in range(len(outputs)):
        without, with_it = single.unbind(index)
        single = torch.stack([without, with_it - without], index)
    norms = single.flatten(0, len(outputs) - 1).norm(dim=2)  # (2ⁿ, N)
    found = norms.new_zeros(len(outputs) + 1, len(x))
    found.index_add_(0, torch.tensor([sum(c) for c in choices], device=x.device), norms)
    rows_of_images: Tensor = found.T
    return rows_of_images


# ---- how the paths are told apart ----------------------------------------------------------------


class PathTracer(ResidualTracer):
    """Find the residual sums as `ResidualTracer` does, and keep the outputs of their branches.

    Each branch enters its sum as a copy with history: a tensor that goes nowhere else, whatever is
    changed in place, so that a hook on it sees what comes back from the sum and nothing more.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Do what `ResidualTracer` does."""
        super().__init__(*args, **options)
        self._copies: dict[int, Tensor] = {}  # by the number of the residual sum

    def _residual_sum(self, func: Any, args: Any, kwargs: Any, branch: Tensor, skip: Any) -> Any:
        """Note a block, and add as `func` does, with a copy of the branch."""
        copy = self._copies[self._sums] = branch.clone()

        def add_copy(*args: Any, **kwargs: Any) -> Any:
            return _add(func, args, kwargs, {id(branch): copy})

        return super()._residual_sum(add_copy, args, kwargs, branch, skip)

    def outputs(self, count: int) -> list[Tensor]:
        """Return what each block's branch gave, (N, K, h, w) each, for `count` images."""
        outputs = [self._copies[block.number] for block in self.blocks]
        for output in outputs:
            check_one_each(output, count)
        return outputs


def gradients_by_length(
    chosen: Tensor, outputs: Sequence[Any], places: Sequence[Any]
) -> Iterator[tuple[tuple[Tensor, ...], list[Tensor]]]:
    """Yield the derivatives along the paths through no branch, through one branch, and so on.

    Args:
        chosen: the logits (N,), with their graph.
        outputs: what the branches gave, as copies that only enter the sums.
        places: the images, and other places of the graph, as for `torch.autograd.grad`.

    Yields:
        For each length from 0 to the number of branches: the derivatives by the places along the
        paths from there through so many branches, and the derivatives by the outputs along the
        paths through so many branches *after* them.

    Raises:
        ValueError: if the logits have no derivative by the images.
    """
    _check_differentiable(chosen)
    arrived = [torch.zeros_like(output) for output in outputs]

    def exchange(index: int) -> Callable[[Tensor], Tensor]:
        """Return a hook that keeps the gradient, and passes on that of the pass before."""

        def hook(grad: Tensor) -> Tensor:
            before, arrived[index] = arrived[index], grad
            return before

        return hook

    with ExitStack() as stack:
        for index, output in enumerate(outputs):
            stack.enter_context(output.register_hook(exchange(index)))
        # Only the first pass begins at the logit, the others at the branches.
        start = torch.ones_like(chosen)
        for _ in range(len(outputs) + 1):
            grads = derivatives(chosen, places, start, retain_graph=True, allow_unused=True)
            if grads[0] is None:
                raise ValueError(
                    "model: got an output without derivative by the images; must be "
                    "differentiable, without no_grad or detach."
                )
            yield grads, list(arrived)
            start = torch.zeros_like(chosen)


def _product(grad: Tensor, value: Tensor) -> Tensor:
    """Return gradient times value, summed for each image: (N,)."""
    return (grad * value.detach()).flatten(1).sum(1)


def _check_sum(found: PathContributions, size: Tensor) -> None:
    """Raise ValueError unless the parts, of the absolute sum `size` (N,), give the logit."""
    error = (found.from_input.sum(1) + found.biases.sum(1) - found.logit).abs()
    error /= size.clamp_min(1e-30)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4}.get(error.dtype, 0.1)
    if not error.max() <= tolerance:  # also NaN is refused
        raise ValueError(
            f"model: got parts that miss the logit by {error.max():.0e} of their size; must be "
            "piecewise linear along its skip paths and in its branches, and keep one row for each "
            "image, without windows. Use integrated_gradients, which needs none of it."
        )
