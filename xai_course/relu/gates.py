"""Technique 1: which ReLUs are open, and the linear map that follows from it.

A ReLU works like a gate: an open one returns its input, a closed one returns 0. As long as no ReLU
opens or closes, the network is a linear map, and its logit is a sum without remainder:

    logit = ⟨gradient, image⟩ + Σ over biases of ⟨gradient with respect to where it is added, bias⟩
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.added_constants import BiasTracer
from xai_course.core.graph import PIECEWISE_LINEAR, derivatives, nonlinear_steps
from xai_course.core.hidden_steps import has_hidden_step
from xai_course.core.hooks import check_visible, in_this_thread, intercept
from xai_course.core.inputs import check_one_each, upsample_keep_sum, validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.relu_calls import find_relu
from xai_course.core.switches import own_switches

__all__ = [
    "LocalLinear",
    "capture_relu_masks",
    "dead_relus",
    "full_grad",
    "local_linear",
    "mask_agreement",
    "relu_masks",
]


@contextmanager
def capture_relu_masks(
    model: nn.Module, keep: Callable[[Tensor], Tensor] = lambda is_open: is_open
) -> Iterator[dict[str, list[Tensor]]]:
    """Record which ReLUs are open while the model runs.

    A ReLU is open where input > 0; a ReLU6 where 0 < input < 6. Every spelling of ReLU is seen, as
    with `relu_rule`.

    Args:
        model: the network.
        keep: called with each boolean tensor (N, ...); what it returns is recorded. A summary
            saves memory.

    Yields:
        A dictionary from the name of a ReLU to a list with one entry for each forward pass, in the
        order of the first pass. The name is that of the module, or "after" and the last module for
        a function. From the second call in a pass on, a number is added.

    Raises:
        ValueError: if no ReLU runs, or `keep` is no function.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import capture_relu_masks
        >>> model = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> with capture_relu_masks(model) as masks:
        ...     output = model(torch.tensor([[-1.0, 2.0]]))
        >>> masks
        {'1': [tensor([[False,  True]])]}
    """
    if not callable(keep):
        raise ValueError(f"keep: got {keep!r}; must be a function of a boolean tensor (N, ...).")
    masks: dict[str, list[Tensor]] = {}
    calls: Counter[str] = Counter()
    position = ""  # the module that runs

    def record(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        relu = find_relu(func, args, kwargs)  # before the call, which may work in place
        out = func(*args, **kwargs)
        if relu is not None:
            calls[position] += 1
            number = f" ({calls[position]})" if calls[position] > 1 else ""
            is_open = (out > 0) & (out < relu.upper_bound)
            masks.setdefault(f"{position}{number}", []).append(keep(is_open))
        return out

    def enter(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            nonlocal position
            position = name

        return hook

    check_visible(model)
    with ExitStack() as stack:
        start = in_this_thread(lambda *_: calls.clear())
        stack.enter_context(model.register_forward_pre_hook(start))
        for name, module in model.named_modules():
            if not any(module.children()):
                is_relu = isinstance(module, nn.ReLU | nn.Hardtanh | nn.Threshold)
                hook = in_this_thread(enter(name if is_relu else f"after {name}"))
                stack.enter_context(module.register_forward_pre_hook(hook))
        with intercept(record):
            yield masks
    if not masks:
        raise ValueError("model: got no ReLU that can be seen; must have at least one.")


@own_switches(grad=False)
def relu_masks(
    model: nn.Module, images: Tensor, *, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Return which ReLUs are open for each image.

    A ReLU is open where input > 0; a ReLU6 where 0 < input < 6.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        batch_size: images in one forward pass; None runs all at once.

    Returns:
        A boolean tensor for each call of a ReLU, in the order of the forward pass and named as by
        `capture_relu_masks`: (N, K, h, w) after a convolution, (N, F) after a linear layer.

    Raises:
        ValueError: if an argument is not as described, or no ReLU runs.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import relu_masks
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
        >>> relu_masks(model, torch.tensor([[[[-1.0, 2.0]]]]))
        {'0': tensor([[[[False,  True]]]])}
    """
    with capture_relu_masks(model) as masks:
        x, _, _ = validate_inputs(model, images, batch_size=batch_size)
    _check_all_seen(model, x)
    whole = {name: torch.cat(batches) for name, batches in masks.items()}
    for mask in whole.values():
        check_one_each(mask, len(x))
    return whole


@own_switches(grad=False)
def dead_relus(
    model: nn.Module, images: Tensor, *, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Return which channels of each ReLU are closed everywhere in all images.

    Channels that are dead for these images need not be dead for others.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        batch_size: images in one forward pass; None runs all at once.

    Returns:
        A boolean tensor (K,) for each call of a ReLU, True for dead, named as by
        `capture_relu_masks`.

    Raises:
        ValueError: if an argument is not as described, or no ReLU runs.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import dead_relus
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
        >>> dead_relus(model, torch.tensor([[[[1.0]], [[-1.0]]]]))  # two channels
        {'0': tensor([False,  True])}
    """

    def ever_open(is_open: Tensor) -> Tensor:  # (N, K, h, w) or (N, K) to (K,)
        return is_open.flatten(2).any(2).any(0) if is_open.ndim > 2 else is_open.any(0)

    with capture_relu_masks(model, ever_open) as masks:
        x, _, _ = validate_inputs(model, images, batch_size=batch_size)
    _check_all_seen(model, x)
    return {name: ~torch.stack(batches).any(0) for name, batches in masks.items()}


def _check_all_seen(model: nn.Module, x: Tensor) -> None:
    """Raise ValueError if a step of a model may be a ReLU that cannot be seen."""
    if has_hidden_step(model, x[:1].detach(), others=True):
        raise ValueError(
            "model: got a non-linear step that may be a ReLU and cannot be seen; must have its "
            "ReLUs as relu, clamp(min=0), maximum(x, 0) or where(x > 0, x, 0), and not in scripted "
            "code."
        )


def mask_agreement(
    masks: Mapping[str, Tensor], others: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return, for pairs of images, the share of each layer's ReLUs that are alike.

        share[n, m] = mean over ReLUs of [masks[n] = others[m]]

    Alike means: open for both images, or closed for both.

    Args:
        masks: what `relu_masks` returns for N images.
        others: the same for M images, of the same network and image size; None compares the N
            images with one another.

    Returns:
        Shares (N, M), from 0 to 1, by the name of the ReLU.

    Raises:
        ValueError: if the two do not come from the same network and image size.

    Example:
        >>> import torch
        >>> from xai_course.relu import mask_agreement
        >>> mask_agreement({"relu": torch.tensor([[True, True], [True, False]])})
        {'relu': tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]], dtype=torch.float64)}
    """
    others = masks if others is None else others
    shapes = [{name: mask.shape[1:] for name, mask in side.items()} for side in (masks, others)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise ValueError(
            "others: got masks of other ReLUs; must be of the same network and image size as masks."
        )
    shares = {}
    for name, mask in masks.items():
        a, b = mask.flatten(1).double(), others[name].flatten(1).double()
        both_open, both_closed = a @ b.T, (1 - a) @ (1 - b).T
        shares[name] = (both_open + both_closed) / a.shape[1]
    return shares


class LocalLinear(NamedTuple):
    """The linear map that a network is around each image, for one logit.

        logit = from_input + Σ biases

    Attributes:
        logit: (N,).
        weights: the gradient (N, C, H, W), in logits per unit of the input.
        from_input: ⟨weights, image⟩ (N,), in logits.
        biases: what each constant contributes (N,), in logits, by its name.
    """

    logit: Tensor
    weights: Tensor
    from_input: Tensor
    biases: dict[str, Tensor]


@own_switches(grad=True)
def local_linear(model: nn.Module, images: Tensor, targets: Any = None) -> LocalLinear:
    """Split the chosen logit exactly into the share of the image and that of every bias.

        logit = ⟨∂f/∂x, x⟩ + Σ over constants of ⟨∂f/∂(its place), its value⟩

    Steps that are not piecewise linear are refused by their names, in any precision. The sum is
    checked up to √ε of the size of its terms, where ε is the dtype's: 0.03 % in float32, 3 % in
    float16, 9 % in bfloat16. So a constant that is not traced, such as the ½ of a hardsigmoid, can
    be missed in half precision: split in float32 there.

    A factor that the model detaches, as in `x * g.sigmoid().detach()`, counts as a fixed gate: the
    sum holds, but near the image the network is the linear map only as long as that factor stays,
    and not only the ReLUs.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes) and is piecewise
            linear.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        The logit and its shares. Biases have the names of their parameters; constants that are no
        parameter, such as the bound of a ReLU6, have the operation's. Those of one name are summed.

    Raises:
        ValueError: if an argument is not as described, if a step is not piecewise linear (GELU,
            softmax, attention), or if the sum is not the logit.

    Cost:
        One forward and one backward pass.

    References:
        Balestriero, Baraniuk: A Spline Theory of Deep Networks. ICML 2018, arXiv:1805.06576.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import local_linear
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> split = local_linear(model, torch.rand(1, 3, 2, 2))
        >>> list(split.biases)
        ['1.bias', '3.bias']
        >>> torch.allclose(split.from_input + sum(split.biases.values()), split.logit)
        True
    """
    x, logit, grad, constants, curved = _linear_terms(model, images, targets)
    from_input = (grad * x).flatten(1).sum(1)
    biases: dict[str, Tensor] = {}
    for name, bias_grad, value in constants:
        share = (bias_grad * value).flatten(1).sum(1)
        biases[name] = biases.get(name, 0) + share
    _check_sum([from_input, *biases.values()], logit, curved)
    return LocalLinear(logit, grad, from_input, biases)


@own_switches(grad=True)
def full_grad(
    model: nn.Module, images: Tensor, targets: Any = None, *, only: str | None = None
) -> Tensor:
    """Return the full gradient: a map of what the image and each bias contribute, and where.

        Σ over H·W of the relevance = logit        (without `only`)

    The biases of a convolution contribute at the positions where they are added; the layer's map is
    enlarged with its sum kept. Channels may come last, as in Keras: a tensor of four axes is taken
    for (N, h, w, K) if its first two axes fit the image's proportions, and its last two do not or a
    bias over the last axis is added to it. (So a map of other proportions than the image's is
    misread where its number of channels happens to fit.) What has no position (the biases of a
    linear layer) is spread evenly over the image. As published, the biases' maps lose their sign
    and are rescaled to [0, 1] before they are added; here they keep both sign and sum.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes) and is piecewise
            linear.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        only: "input" or the name of a bias as in `local_linear`, for that map alone; None for all.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the sum is not the logit (see
            `local_linear`).

    Cost:
        One forward and one backward pass.

    References:
        Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization. NeurIPS
        2019, arXiv:1905.00780.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.relu import full_grad
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(1, 3, 64, 64)
        >>> relevance = full_grad(model, images, targets=2)
        >>> torch.allclose(relevance.sum(), model(images)[0, 2], atol=1e-4)
        True
    """
    x, logit, grad, constants, curved = _linear_terms(model, images, targets)
    maps = [("input", (grad * x).sum(1, keepdim=True))]
    full = x.shape[2:]
    maps += [(name, _bias_map(bias_grad, value, full)) for name, bias_grad, value in constants]
    _check_sum([part.sum((1, 2, 3)) for _, part in maps], logit, curved)
    names = dict(maps)
    if only is not None and only not in names:
        raise ValueError(f"only: got {only!r}; must be None, {', '.join(names)}.")
    # Maps of one size are added first, so that few have to be enlarged.
    by_size: dict[torch.Size, Tensor] = {}
    for name, part in maps:
        if only in (None, name):
            by_size[part.shape] = by_size.get(part.shape, 0) + part
    return torch.stack(
        [upsample_keep_sum(part, (full[0], full[1])) for part in by_size.values()]
    ).sum(0)


Terms = list[tuple[str, Tensor, Tensor]]  # of each constant: name, gradient where added, value


def _linear_terms(
    model: nn.Module, images: Tensor, targets: Any
) -> tuple[Tensor, Tensor, Tensor, Terms, list[str]]:
    """Return the image, the logit (N,), its gradient, each constant with its gradient.

    And the steps that are not known to be piecewise linear.
    """
    check_visible(model)
    model, targets = single_output(model, targets)
    with BiasTracer(model) as tracer:
        x, chosen, _ = validate_inputs(model, images, targets)
    places: Any = [x, *(constant.edge for constant in tracer.constants)]
    grads: Any = [None] * len(places)
    if chosen.requires_grad:
        grads = derivatives(chosen.sum(), places, allow_unused=True)
    grad, *bias_grads = grads
    if grad is None:
        raise ValueError(
            "model: got an output without derivative by the images; must be differentiable, "
            "without no_grad, detach or NumPy."
        )
    # The sum also holds for other functions that scale with their input, such as a norm.
    curved = [step for step in nonlinear_steps(chosen, x) if step not in PIECEWISE_LINEAR]
    terms = [
        (constant.name, bias_grad, constant.value)
        for constant, bias_grad in zip(tracer.constants, bias_grads, strict=True)
        # A constant that is added to other constants, and not to what depends on the images, has
        # no row for each image, or no gradient.
        if bias_grad is not None and bias_grad.ndim > 1 and len(bias_grad) == len(x)
    ]
    return x.detach(), chosen.detach(), grad, terms, curved


def _bias_map(grad: Tensor, value: Tensor, size: torch.Size) -> Tensor:
    """Return gradient times constant, summed over channels: (N, 1, h, w) or (N, 1, 1, 1)."""
    if grad.ndim != 4:  # no positions in the image
        return (grad * value).flatten(1).sum(1).view(-1, 1, 1, 1)
    # A convolution's bias, (K, 1, 1), needs no product of the size of the map.
    if value.ndim >= 3 and 1 < value.numel() == value.shape[-3] == grad.shape[1]:
        return torch.einsum("nkhw,k->nhw", grad, value.flatten())[:, None]
    if _is_channels_last(grad, value, size):
        return (grad * value).sum(3)[:, None]
    return (grad * value).sum(1, keepdim=True)


def _is_channels_last(grad: Tensor, value: Tensor, size: torch.Size) -> bool:
    """Tell whether a tensor is (N, h, w, K): its first two axes fit the image, its last two do not.

    Where both fit, it is so for a constant over the last axis alone, as for the biases of Keras.
    """
    first, second, third = grad.shape[1:]
    height, width = size

    def fit(h: int, w: int) -> bool:  # as a smaller image has its sides, rounded
        return abs(h * width - w * height) <= max(height, width)

    is_of_channels = 1 < value.numel() == value.shape[-1] == third
    return fit(first, second) and (is_of_channels or not fit(second, third))


def _check_sum(terms: list[Tensor], logit: Tensor, curved: list[str]) -> None:
    """Raise ValueError unless all steps are piecewise linear and the terms (N,) are the logit."""
    every = torch.stack([*terms, -logit]).double()
    tolerance = torch.finfo(terms[0].dtype).eps ** 0.5 * every.abs().sum(0)
    if not (every.sum(0).abs() <= tolerance).all():  # NaN is refused, too
        raise ValueError(
            "model: got gradient and biases that do not sum to the logit; must be piecewise "
            "linear (without GELU, sigmoid, softmax, attention), in full precision, and add no "
            "constant that is not traced. Use integrated_gradients instead."
        )
    if curved:
        raise ValueError(
            f"model: got the step {curved[0]}, which is not piecewise linear or cannot be known; "
            "must be piecewise linear. Use integrated_gradients instead."
        )
