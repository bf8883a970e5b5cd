"""Technique 1: explanations by the gradient of a logit, and what the ReLUs do to it.

A network of convolutions and ReLUs is piecewise linear: around one image it is a linear map, and
the gradient is that map's weights. In the backward pass a ReLU keeps the gradient where its input
was positive. DeconvNet and guided backpropagation replace that by another rule:

    gradient                 grad · [input > 0]
    DeconvNet                grad · [grad > 0]
    guided backpropagation   grad · [input > 0] · [grad > 0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.graph import derivatives, nonlinear_steps
from xai_course.core.hidden_steps import has_hidden_step
from xai_course.core.hooks import check_visible, function_name, intercept
from xai_course.core.inputs import validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.progress import progress_bar
from xai_course.core.randomness import new_generator
from xai_course.core.relu_calls import NON_RELUS, find_relu
from xai_course.core.switches import own_switches

__all__ = [
    "deconvnet",
    "gradient",
    "gradient_times_input",
    "guided_backprop",
    "relu_rule",
    "smooth_grad",
]


@own_switches(grad=True)
def gradient(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the gradient of the chosen logit with respect to the image, with its sign.

        relevance = ∂f/∂x

    f is the logit of the target class, x the image.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        Relevance (N, C, H, W), in logits per unit of the input.

    Raises:
        ValueError: if an argument is not as described, or the logits are not differentiable.

    Cost:
        One forward and one backward pass.

    References:
        Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks: Visualising Image
        Classification Models and Saliency Maps. ICLR workshop 2014, arXiv:1312.6034.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
        >>> relevance = gradient(model, torch.ones(1, 3, 2, 2), targets=0)
        >>> torch.equal(relevance.flatten(), model[1].weight[0])  # a linear model's own weights
        True
    """
    model, targets = single_output(model, targets)
    x, chosen, _ = validate_inputs(model, images, targets)
    return _derivative(chosen, x)


def _derivative(chosen: Tensor, x: Tensor) -> Tensor:
    """Return the derivative of the chosen logits (N,) by the images x (N, C, H, W)."""
    relevance: Tensor | None = None
    if chosen.requires_grad:
        # Each logit depends on its own image alone, so the gradient of their sum has all of them.
        (relevance,) = derivatives(chosen.sum(), x, allow_unused=True)
    if relevance is None:
        raise ValueError(
            "model: got an output without derivative by the images; must be differentiable, "
            "without no_grad, detach or NumPy."
        )
    return relevance


@own_switches()
def gradient_times_input(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the gradient of the chosen logit, times the image.

        relevance = x · ∂f/∂x

    In a network of ReLUs it sums to the logit minus what the biases add (see `local_linear`). It
    compares the image with zeros, which in normalised images are a mean colour, not black.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        Relevance (N, C, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the logits are not differentiable.

    Cost:
        One forward and one backward pass.

    References:
        Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box: Learning Important Features
        Through Propagating Activation Differences. 2016, arXiv:1605.01713.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient_times_input
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False)).eval()
        >>> images = torch.ones(1, 3, 2, 2)
        >>> relevance = gradient_times_input(model, images, targets=0)
        >>> torch.allclose(relevance.sum(), model(images)[0, 0])  # without biases: the logit
        True
    """
    relevance = gradient(model, images, targets)
    return relevance * images.detach()


Rule = Callable[[Tensor, Tensor], Tensor]


class _ReluWithRule(torch.autograd.Function):
    """A ReLU with an unchanged forward pass and a rule as its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, relu: Callable[[Tensor], Tensor], upper_bound: float, rule: Rule
    ) -> Tensor:
        out = relu(x)
        if out is x:
            ctx.mark_dirty(x)  # the ReLU works in place
        # What PyTorch's own ReLU keeps, its result, since a checkpoint may give back that one's.
        ctx.save_for_backward(out)
        ctx.upper_bound, ctx.rule = upper_bound, rule
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (out,) = ctx.saved_tensors
        is_open = out > 0 if ctx.upper_bound == torch.inf else (out > 0) & (out < ctx.upper_bound)
        return ctx.rule(is_open, grad), None, None, None


@contextmanager
def relu_rule(rule: Rule) -> Iterator[list[str]]:
    """Replace the backward pass of every ReLU that runs inside; the forward pass stays.

        with relu_rule(lambda is_open, grad: grad.clamp(min=0) * is_open):
            relevance = gradient(model, images)

    Every spelling of ReLU is replaced: relu, relu6, hardtanh from 0, clamp and threshold at 0, as
    functions, methods and modules, in place or not; also `maximum(x, 0)`, `where(x > 0, x, 0)` and
    `x * (x > 0)`. The model is not changed. What runs in scripted code is not seen.

    Args:
        rule: called as `rule(is_open, grad)` for each ReLU. `is_open` is True where input > 0, and
            for a ReLU6 input < 6, too; `grad` is the gradient with respect to the ReLU's output. It
            returns the gradient with respect to the input.

    Yields:
        A list, which gets one name for each ReLU that runs.

    Raises:
        ValueError: if no ReLU runs, or an activation that is no ReLU.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient, relu_rule
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
        >>> images = torch.tensor([[[[-1.0, 2.0]]]])
        >>> with relu_rule(lambda is_open, grad: grad) as names:  # as if all inputs were positive
        ...     relevance = gradient(model, images, targets=0)
        >>> relevance.tolist(), gradient(model, images, targets=0).tolist(), names
        ([[[[1.0, 0.0]]]], [[[[0.0, 0.0]]]], ['relu'])
    """
    names: list[str] = []

    def replace(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = function_name(func)
        relu = find_relu(func, args, kwargs)
        if relu is None:
            if name in ("hardtanh", "leaky_relu") or name in NON_RELUS:
                raise _not_for_relus(f"{name}, which is no ReLU")
            return func(*args, **kwargs)
        names.append(name)
        return _ReluWithRule.apply(relu.input, relu.run, relu.upper_bound, rule)

    with intercept(replace):
        yield names
    if not names:
        raise _not_for_relus("no ReLU that can be seen")


def _gradient_by_rule(model: nn.Module, images: Tensor, targets: Any, rule: Rule) -> Tensor:
    """Return the gradient with a rule for all ReLUs; refuse a network with other activations."""
    check_visible(model)
    model, targets = single_output(model, targets)
    with relu_rule(rule):
        x, chosen, _ = validate_inputs(model, images, targets)
        # Inside, since a model with checkpoints runs its steps once more in the backward pass.
        relevance = _derivative(chosen, x)
    # The rule was not applied to a step that was not intercepted.
    others = [step for step in nonlinear_steps(chosen, x) if step != _ReluWithRule.__name__]
    if others:
        raise _not_for_relus(f"{others[0]} among its steps, which is no ReLU or cannot be seen")
    if has_hidden_step(model, x[:1].detach()):
        raise _not_for_relus("a non-linear step that cannot be seen to be a ReLU")
    return relevance


def _not_for_relus(got: str) -> ValueError:
    """Return the error for a network for which a rule for ReLUs is not defined."""
    return ValueError(
        f"model: got {got}; must have ReLUs and no other activations, as DeconvNet and guided "
        "backpropagation are rules for ReLUs. Use integrated_gradients or occlusion instead."
    )


@own_switches(grad=True)
def deconvnet(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the DeconvNet map: in the backward pass each ReLU keeps positive gradients.

        at each ReLU:  grad · [grad > 0]

    It is no derivative. It does not depend on which ReLUs are open; of the image it depends only
    on the maxima of max-pools.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes), with ReLUs and no
            other activations.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        Relevance (N, C, H, W), without a unit.

    Raises:
        ValueError: if an argument is not as described, or the logits are not differentiable.

    Cost:
        One forward and one backward pass; of a model that was not seen before, three more passes
        of one image, to find steps that are no ReLU.

    References:
        Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014,
        arXiv:1311.2901.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import deconvnet
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(2, 1)).eval()
        >>> model[2].weight = nn.Parameter(torch.tensor([[3.0, -3.0]]))
        >>> deconvnet(model, torch.tensor([[[[-1.0, 1.0]]]])).tolist()
        [[[[3.0, 0.0]]]]
    """
    return _gradient_by_rule(model, images, targets, lambda _is_open, grad: grad.clamp(min=0))


@own_switches(grad=True)
def guided_backprop(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return guided backpropagation: each open ReLU keeps positive gradients, a closed one none.

        at each ReLU:  grad · [input > 0] · [grad > 0]

    It is no derivative. A ReLU6 is open where 0 < input < 6.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes), with ReLUs and no
            other activations.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        Relevance (N, C, H, W), without a unit.

    Raises:
        ValueError: if an argument is not as described, or the logits are not differentiable.

    Cost:
        One forward and one backward pass; of a model that was not seen before, three more passes
        of one image, to find steps that are no ReLU.

    References:
        Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity: The All Convolutional
        Net. ICLR workshop 2015, arXiv:1412.6806.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import guided_backprop
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 1)).eval()
        >>> model[2].weight = nn.Parameter(torch.tensor([[3.0, 3.0, -3.0]]))
        >>> guided_backprop(model, torch.tensor([[[[-1.0, 1.0, 1.0]]]])).tolist()
        [[[[0.0, 3.0, 0.0]]]]
    """
    return _gradient_by_rule(
        model, images, targets, lambda is_open, grad: grad.clamp(min=0) * is_open
    )


@own_switches(grad=False)
def smooth_grad(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    noise: float = 0.15,
    samples: int = 16,
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return SmoothGrad: the mean gradient of noisy copies of each image.

        relevance = mean over samples of ∂f/∂x at x + noise · (max x - min x) · ε,  ε ~ N(0, 1)

    Every image gets the same ε, so an image's map does not depend on the other images.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            image without noise, or a function of the output (see `single_output`).
        noise: standard deviation of the noise, as a share of each image's range.
        samples: noisy copies of each image.
        seed: of the noise.
        batch_size: noisy copies in one pass.
        progress: show a progress bar.

    Returns:
        Relevance (N, C, H, W), in logits per unit of the input.

    Raises:
        ValueError: if an argument is not as described, or the logits are not differentiable.

    Cost:
        `samples` forward and backward passes, and one forward pass.

    References:
        Smilkov, Thorat, Kim, Viégas, Wattenberg: SmoothGrad: Removing Noise by Adding Noise. 2017,
        arXiv:1706.03825.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient, smooth_grad
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
        >>> images = torch.rand(1, 3, 2, 2)  # a linear model has the same gradient everywhere
        >>> torch.allclose(smooth_grad(model, images), gradient(model, images))
        True
    """
    check_number("noise", noise, least=0)
    samples = check_count("samples", samples)
    model, targets = single_output(model, targets)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    scale = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    generator = new_generator(seed)
    epsilon = torch.randn(samples, *x.shape[1:], generator=generator, dtype=torch.double).to(x)
    pairs = torch.cartesian_prod(torch.arange(samples), torch.arange(len(x))).to(x.device)
    total = torch.zeros_like(x)
    for batch in progress_bar(torch.split(pairs, int(batch_size)), "smooth_grad", progress):
        sample, image = batch.T  # indices
        noisy = x.index_select(0, image) + scale[image] * epsilon.index_select(0, sample)
        total.index_add_(0, image, gradient(model, noisy, classes[image]))
    return total / samples
