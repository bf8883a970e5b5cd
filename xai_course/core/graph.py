"""Read the graph that autograd records: which steps lie between the images and the logits.

Functions are intercepted by their Python names (`core/hooks.py`), so a step that runs in compiled
or scripted code, or has an unusual name, is not intercepted. The graph has every step.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

__all__ = [
    "PIECEWISE_LINEAR",
    "derivatives",
    "keeps_places",
    "layer_steps",
    "moves_places",
    "nonlinear_steps",
    "step_kind",
]

# Steps whose output is linear in their input, without "Backward" and its number.
LINEAR = frozenset((
    "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Add", "Alias", "AsStrided",
    "AvgPool2D", "AvgPool3D", "BackwardHookFunction", "Cat", "Clone", "Col2Im", "ConstantPadNd",
    "Copy", "Cumsum", "Diagonal", "Expand", "Flip", "Gather", "Im2Col", "Index", "IndexAdd",
    "IndexSelect", "Mean", "MkldnnReshape", "Movedim", "Neg", "Permute", "PixelShuffle",
    "PixelUnshuffle", "ReflectionPad1D", "ReflectionPad2D", "Repeat", "ReplicationPad1D",
    "ReplicationPad2D", "ReshapeAlias", "Roll", "Rot90", "Rsub", "ScatterAdd", "Select", "Slice",
    "Split", "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum", "T", "ToCopy", "ToMkldnn", "Trace",
    "Transpose", "Tril", "Triu", "Unbind", "Unfold", "UnsafeSplit", "UnsafeView", "Unsqueeze",
    "UpsampleBicubic2D", "UpsampleBilinear2D", "UpsampleLinear1D", "UpsampleNearest1D",
    "UpsampleNearest2D", "View",
))  # fmt: skip

# Normalisations that are linear where they use running statistics.
BATCH_NORMS = frozenset(("CudnnBatchNorm", "MiopenBatchNorm", "NativeBatchNorm"))

# Linear where only one factor depends on the images: the positions of the factors.
PRODUCTS = {
    "Addbmm": (1, 2), "Addcmul": (1, 2), "Addmm": (1, 2), "Addmv": (1, 2), "Baddbmm": (1, 2),
    "Bmm": (0, 1), "Convolution": (0, 1), "Dot": (0, 1), "MkldnnLinear": (0, 1), "Mm": (0, 1),
    "Mul": (0, 1),
    "Mv": (0, 1), "SlowConvDilated2D": (0, 1),
}  # fmt: skip
QUOTIENT = "Div"  # linear where the divisor does not depend on the images

# Linear where the position of the maximum stays.
MAXIMA = frozenset(("AdaptiveMaxPool2D", "Amax", "Max", "MaxPool2D", "MaxPool2DWithIndices"))

# Steps that are linear in pieces.
PIECEWISE_LINEAR = frozenset((
    "Abs", "Amin", "Aminmax", "Clamp", "ClampMax", "ClampMin", "CopySlices", "Cummax", "Cummin",
    "Fmax", "Fmin", "Hardshrink", "Hardsigmoid", "Hardtanh", "IndexPut", "Kthvalue", "LeakyRelu",
    "MaskedFill", "MaskedScatter", "Maximum", "Median", "Min", "Minimum", "Nanmedian",
    "PreluKernel", "Relu", "RreluWithNoise", "Softshrink", "Sort", "Threshold", "Topk", "Where",
))  # fmt: skip

# Steps after which each place is where it was, so that nothing has to be measured. The list may be
# short: what is not in it is measured.
SAME_PLACE = frozenset(("Add", "Alias", "Clone", "Hardtanh", "LeakyRelu", "Relu"))

# Poolings take a place from around it, where a maximum need not be at the place itself.
POOLS = frozenset(("AvgPool2D", "MaxPool2D", "MaxPool2DWithIndices"))

Edge = GradientEdge | None

# The products that a convolution or a linear layer runs.
LAYER_STEPS = frozenset(PRODUCTS) - {"Addcmul", "Dot", "Mul"}


def derivatives(outputs: Any, inputs: Any, *grad_outputs: Any, **options: Any) -> Any:
    """Return what `torch.autograd.grad` returns; refuse steps that it cannot pass, by name.

    Args:
        outputs: as for `torch.autograd.grad`.
        inputs: likewise.
        grad_outputs: likewise.
        options: likewise.

    Returns:
        A tuple with the derivative by each input.

    Raises:
        ValueError: for a model with `torch.utils.checkpoint` that the backward pass cannot repeat,
            with a part under no_grad, or with a step that PyTorch cannot differentiate, such as
            `torch.heaviside`.
    """
    try:
        return torch.autograd.grad(outputs, inputs, *grad_outputs, **options)
    except RuntimeError as error:
        if "checkpoint" in str(error).lower():
            raise ValueError(
                "model: got torch.utils.checkpoint, which runs steps again in the backward pass; "
                "must be without it. It saves memory in training, and changes no result."
            ) from error
        if "does not require grad" in str(error):
            raise ValueError(
                "model: got a part that runs without gradients, under no_grad or in a reentrant "
                "torch.utils.checkpoint; must run with gradients."
            ) from error
        if re.match("(the )?derivative for .* is not implemented", str(error)):
            raise ValueError(
                f"model: got a step without a derivative ({error}); must be differentiable."
            ) from error
        raise


def nonlinear_steps(output: Tensor, source: Tensor | GradientEdge) -> list[str]:
    """Return the steps between a tensor and an output that are neither linear nor a maximum.

    Args:
        output: what a model made of the tensor, with its graph.
        source: the tensor, such as the images, which requires a gradient; or its place in the graph
            (`get_gradient_edge`).

    Returns:
        The names that autograd gives them: "Relu", "Where", "Mul" for a product of two activations.
        A step that is not known, such as a compiled one, is among them.

    Example:
        >>> import torch
        >>> from xai_course.core import nonlinear_steps
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> nonlinear_steps(2 * x.relu() + x * x.flip(1), x)
        ['Mul', 'Relu']
    """
    start, *later = _steps_from(source, output.grad_fn)
    on_path = {start, *later}
    return sorted(step_kind(step) for step in later if not _is_linear(step, on_path))


def layer_steps(output: Tensor, images: Tensor) -> int:
    """Return how many convolutions and matrix products lie between the images and an output.

    Args:
        output: what a model made of the images, with its graph.
        images: the tensor that the output was made from. It requires a gradient.

    Returns:
        Their number.

    Example:
        >>> import torch
        >>> from xai_course.core import layer_steps
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> layer_steps(torch.nn.Linear(2, 3)(x).relu(), x)
        1
    """
    return sum(step_kind(step) in LAYER_STEPS for step in _steps_from(images, output.grad_fn)[1:])


def keeps_places(earlier: Edge, later: Edge, like: Tensor) -> bool:
    """Tell whether each place of a map comes from the same place of an earlier map, and no other.

        Jᵀ(c · r) = c · Jᵀr   with J = ∂ later / ∂ earlier, r (N, K, h, w) and c (N, 1, h, w) random

    Args:
        earlier: the place in the graph (`get_gradient_edge`) of a map (N, K, h, w); None: it has
            none.
        later: likewise, of a map that was made from it, of the same h and w.
        like: a tensor of the later map's shape and type.

    Returns:
        True if it holds up to rounding. False also where a derivative that is measured is 0.

    Cost:
        None, if only ReLUs, sums and batch normalisations lie between the maps; otherwise two
        backward passes from one map to the other.

    Example:
        >>> import torch
        >>> from torch.autograd.graph import get_gradient_edge
        >>> from xai_course.core import keeps_places
        >>> x = torch.ones(1, 2, 3, 3, requires_grad=True)
        >>> later = 2 * x, x.flip(1), x.flip(3)
        >>> [keeps_places(get_gradient_edge(x), get_gradient_edge(y), y) for y in later]
        [True, True, False]
    """
    if earlier is None or later is None:
        return False
    steps = _steps_from(earlier, later.node)[1:]
    if steps and all(map(_keeps_place, steps)):
        return True
    noise = torch.Generator().manual_seed(0)
    seed = torch.randn(like.shape, generator=noise).to(like)
    factor = torch.randn(len(like), 1, *like.shape[2:], generator=noise).to(like)
    plain, scaled = (_through(earlier, later, each) for each in (seed, seed * factor))
    if plain is None or scaled is None:
        return False
    plain, scaled = plain.double(), scaled.double()  # or float16 may overflow
    gap, size = float((scaled - factor * plain).norm()), float(scaled.norm())
    return size > 0 and gap <= torch.finfo(like.dtype).eps ** 0.5 * size


def moves_places(earlier: Edge, later: Edge, like: Tensor) -> bool:
    """Tell whether most places of a map depend on others of an earlier map, and not on their own.

    So it is after a flip, a transposition or another order of the places. After attention or a
    pooling that keeps the size, a place depends on others, too, but also on its own.

    Args:
        earlier: as for `keeps_places`.
        later: likewise.
        like: likewise.

    Returns:
        True if, of sixteen places that are drawn and tried, most do not depend on their own.

    Cost:
        Two backward passes from one map to the other, and some twenty where places are not kept.

    Example:
        >>> import torch
        >>> from torch.autograd.graph import get_gradient_edge
        >>> from xai_course.core import moves_places
        >>> x = torch.ones(1, 2, 3, 3, requires_grad=True)
        >>> later = 2 * x, x.cumsum(3), x.flip(3)
        >>> [moves_places(get_gradient_edge(x), get_gradient_edge(y), y) for y in later]
        [False, False, True]
    """
    if earlier is None or later is None or keeps_places(earlier, later, like):
        return False
    steps = _steps_from(earlier, later.node)[1:]
    if all(_keeps_place(step) or step_kind(step) in POOLS for step in steps):
        return False
    noise = torch.Generator().manual_seed(0)
    seed = torch.randn(like.shape, generator=noise).to(like)
    every = _through(earlier, later, seed)
    if every is None:
        return False
    # A place whose units are all off has no derivative, wherever it is.
    used = every.abs().sum(1) > 0  # (N, h, w)
    places = used.any(0).nonzero().tolist()
    own = tried = 0
    for index in torch.randperm(len(places), generator=noise)[:16].tolist():
        y, x = places[index]
        here = torch.zeros_like(seed)
        here[:, :, y, x] = seed[:, :, y, x]
        grad = _through(earlier, later, here)
        if grad is not None:
            least = torch.finfo(like.dtype).eps ** 0.5 * grad.flatten(1).norm(dim=1)
            tried += int(used[:, y, x].sum())
            own += int((used[:, y, x] & (grad[:, :, y, x].norm(dim=1) > least)).sum())
    return own < tried / 2


def _keeps_place(step: Node) -> bool:
    """Tell whether a step is known to leave each place where it was."""
    kind = step_kind(step)
    return kind in SAME_PLACE or (kind in BATCH_NORMS and not _uses_batch(step))


def _uses_batch(step: Node) -> bool:
    """Tell whether a batch normalisation uses the statistics of what it is given."""
    return bool(getattr(step, "_saved_training", False))


def _through(earlier: GradientEdge, later: GradientEdge, seed: Tensor) -> Tensor | None:
    """Return the derivative of Σ seed · later by an earlier tensor; None if it does not depend."""
    (grad,) = derivatives(later, earlier, seed, retain_graph=True, allow_unused=True)
    return None if grad is None else grad.detach()


def step_kind(step: Node) -> str:
    """Return the name of a step of the graph, without "Backward" and its number.

    Args:
        step: a `grad_fn`, or one that it leads to.

    Returns:
        The name that autograd gives it, such as "Relu".
    """
    name = step.name().removeprefix("torch::autograd::")
    return name.rstrip("0123456789").removesuffix("Backward")


def _is_linear(step: Node, on_path: set[Node]) -> bool:
    """Tell whether a step is linear in what depends on the images, or takes a maximum."""
    kind = step_kind(step)
    if kind in LINEAR or kind in MAXIMA or kind == "AccumulateGrad":
        return True
    if kind in BATCH_NORMS:
        return not _uses_batch(step)
    inputs = [source in on_path for source, _ in step.next_functions]
    if kind in PRODUCTS:
        return not all(inputs[k] for k in PRODUCTS[kind] if k < len(inputs))
    if kind == "Lerp":  # a + w (b - a): of a tensor w, the third input
        return not any(inputs[2:])
    return kind == QUOTIENT and not inputs[-1]


def _steps_from(source: Tensor | GradientEdge, end: Node | None) -> list[Node]:
    """Return the step that made a tensor, and after it all up to `end` that depend on it."""
    edge = get_gradient_edge(source) if isinstance(source, Tensor) else source
    start = edge.node
    order: list[Node] = []  # every step after those that it depends on
    seen = {start}  # what lies before the tensor does not depend on it
    stack: list[tuple[Node | None, bool]] = [(end, False)]
    while stack:
        step, inputs_done = stack.pop()
        if step is None:
            continue
        if inputs_done:
            order.append(step)
        elif step not in seen:
            seen.add(step)
            stack.append((step, True))
            stack += [(source, False) for source, _ in step.next_functions]
    on_path = {start: None}  # a set that keeps its order
    for step in order:
        if any(before in on_path for before, _ in step.next_functions):
            on_path[step] = None
    return list(on_path)
