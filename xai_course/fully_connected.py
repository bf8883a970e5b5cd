"""Technique 2: what the fully connected layer adds up. A logit as a sum that one can look into.

A linear layer adds: a logit is one number a feature, plus a bias. Because a feature map's places
are added up (or kept apart) on the way to the layer, the same sum can be read place by place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from xai_course.arguments import enlarge, prepare

__all__ = [
    "LinearHead",
    "LogitSum",
    "class_activation_map",
    "class_similarity",
    "contrast",
    "logit_contributions",
]


class LogitSum(NamedTuple):
    """A logit as a sum: `contributions.sum(1) + biases` is the logit.

    `features` (N, F): what enters the head. `contributions` (N, F) and `biases` (N,): in logits.
    """

    features: Tensor
    contributions: Tensor
    biases: Tensor


@torch.inference_mode(False)
@torch.enable_grad()
def logit_contributions(model: nn.Module, images: Tensor, targets: Any = None) -> LogitSum:
    """Return what each feature adds to the chosen logit: feature times weight, and the bias.

    `images` (N, C, H, W) to `features` (N, F) that enter the head, `contributions` (N, F) and
    `biases` (N,), both in logits. The head is the linear layers after the last convolution, found
    by watching the forward pass. `targets`: class indices (N,), one index, or None for the
    predicted class.

        contribution[f] = feature[f] · ∂ logit[target] / ∂ feature[f]
        logit[target]   = Σ over f of contribution[f] + bias

    For one linear layer the derivative is its weight and the bias is its own. Through several,
    with the gates of the ReLUs between them fixed, the weights are multiplied and the bias
    collects those of all layers. The sum is checked.

    One forward pass, and the backward pass through the head. Raises ValueError for wrong arguments,
    for a network without a linear head (SqueezeNet ends in a convolution), and if the sum is not
    the logit, as for a head with GELU, Tanh or softmax.
    """
    with LinearHead() as head:
        _, chosen, _ = prepare(model, images, targets)
    if not head.inputs:
        raise ValueError(
            "model: no linear layer (N, features) follows its last convolution, so there is no "
            "fully connected layer to read; grad_cam with relu=False needs none."
        )
    contributions, biases = head.share_out(chosen, *head.inputs[0])
    return LogitSum(head.inputs[0][1], contributions, biases)


@torch.inference_mode(False)
@torch.enable_grad()
def class_activation_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, enlarged: bool = True
) -> Tensor:
    """Return the class activation map: what each place of the last feature map adds to the logit.

    `images` (N, C, H, W) to relevance (N, 1, H, W), in logits. `targets`: class indices (N,), one
    index, or None for the predicted class. `enlarged`: False leaves the map at the resolution
    (h, w) of the last convolutional feature map A (K, h, w), found by watching the forward pass.

        relevance[i, j] = Σ over k of A[k, i, j] · ∂ logit[target] / ∂ A[k, i, j]
        logit[target]   = Σ over i, j of relevance[i, j] + bias   (that of `logit_contributions`)

    Where average pooling and one linear layer follow, the derivative is weight[k] / (h·w), and
    this is the published map in logits. Where the map is flattened, every flattened feature
    still has its place; max-pooling and the head's ReLUs count with their gates fixed. The sum is
    checked, and enlarging keeps it.

    One forward pass, and the backward pass down to A. Raises ValueError for wrong arguments, for a
    network without a convolution, without a linear head, or whose last map has one place, and if
    the sum is not the logit, as for a head with GELU, or that takes features from elsewhere, too.

    Zhou et al.: Learning Deep Features for Discriminative Localization. CVPR 2016,
    arXiv:1512.04150 (pooled heads). Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful
    explanations of convolutional neural networks. 2020, arXiv:2011.08891 (any piecewise linear).
    """
    with LinearHead() as head:
        _, chosen, _ = prepare(model, images, targets)
    places = 0 if head.last_map is None else head.last_map[1][0, 0].numel()
    if head.last_map is None or not head.inputs or places == 1:
        came = {0: "no convolution", 1: "a last feature map of one place"}.get(
            places, "no such head"
        )
        raise ValueError(
            f"model: got {came}; allowed is a network of convolutions whose last map has several "
            "places (larger images have more), with linear layers (N, features) after it. grad_cam "
            "takes any layer's map and needs no linear layer, gradient needs no convolution."
        )
    contributions, _ = head.share_out(chosen, *head.last_map)
    relevance = contributions.sum(1, keepdim=True)
    return enlarge(relevance, (images.shape[2], images.shape[3])) if enlarged else relevance


class LinearHead(TorchFunctionMode):
    """Watch a forward pass for what follows its last convolution.

    `inputs`: what entered each linear layer (N, F). `biases`: what was added after the first of
    them. `last_map`: the last 4-D tensor (N, K, h, w) of the last convolution's h and w. These are
    pairs of a place in the graph (None under `no_grad`) and the value there. `weight` (outputs, F)
    and `output`: the last linear layer's.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.inputs: list[tuple[GradientEdge | None, Tensor]] = []
        self.biases: list[tuple[GradientEdge | None, Tensor]] = []
        self.last_map: tuple[GradientEdge | None, Tensor] | None = None
        self.weight: Tensor | None = None
        self.output: Tensor | None = None
        self._size: torch.Size | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, and look at what went in and what came out."""
        given: dict[str, Any] = {}
        if func is F.linear:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | (kwargs or {})

        def at(tensor: Tensor) -> GradientEdge | None:
            return get_gradient_edge(tensor) if tensor.requires_grad else None

        if func is F.linear and given["input"].ndim == 2:
            self.inputs.append((at(given["input"]), given["input"].detach().clone()))
            self.weight = given["weight"].detach()
        out = func(*args, **(kwargs or {}))
        self.output = out.detach() if func is F.linear else self.output
        if func is F.conv2d:
            self.inputs, self.biases = [], []  # no head yet: what came before is not after it
            self._size = out.shape[2:]
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2:] == self._size:
            self.last_map = (at(out), out.detach())
        if func is F.linear and self.inputs and given.get("bias") is not None:
            self.biases.append((at(out), given["bias"].detach()))
        if func is F.batch_norm and self.inputs:  # at 0 it gives what it adds
            settings = {k: v for k, v in (kwargs or {}).items() if k != "input"}
            zero = torch.zeros_like(out[:1])
            self.biases.append((at(out), func(zero, *args[1:], **settings).detach()))
        return out

    def share_out(
        self, chosen: Tensor, place: GradientEdge | None, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `value` · ∂ chosen / ∂ place, and the biases (N,) behind it; check their sum."""
        if place is None or not chosen.requires_grad:
            raise ValueError(
                "model: its output has no derivative by what enters its head; allowed is a forward "
                "pass without no_grad, detach or numpy."
            )
        places = [place, *(edge for edge, _ in self.biases if edge is not None)]
        slopes = torch.autograd.grad(chosen.sum(), places, allow_unused=True)
        slope = torch.zeros_like(value) if slopes[0] is None else slopes[0]
        contributions, chosen = slope * value, chosen.detach()
        biases = torch.zeros_like(chosen)
        for by_place, (_, bias) in zip(slopes[1:], self.biases, strict=True):
            if by_place is not None:
                biases = biases + (by_place * bias).flatten(1).sum(1)
        gap = contributions.flatten(1).sum(1) + biases - chosen
        scale = contributions.flatten(1).abs().sum(1) + biases.abs() + chosen.abs()
        if (gap.abs() > torch.finfo(gap.dtype).eps ** 0.5 * scale).any():
            raise ValueError(
                f"model: the sum misses the logit by up to {float(gap.abs().max()):.3g}, so its "
                "head does more than add up (GELU, Tanh, softmax, layer normalisation), or it "
                "takes features from elsewhere, too; integrated_gradients and occlusion need no "
                "such head."
            )
        return contributions, biases


@torch.inference_mode(False)
def contrast(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    others: Any = None,
    *,
    explain: Callable[..., Tensor] = class_activation_map,
) -> Tensor:
    """Return why one class and not another: the difference of their explanations.

    `images` (N, C, H, W) to relevance (N, 1, H, W), or whatever `explain` gives, in its unit.
    `targets`: class indices (N,), one index, or None for the predicted class. `others`: likewise
    what to hold against it; None for the runner-up, which has the highest logit of the rest.
    `explain`: any explainer `(model, images, targets) -> Tensor`.

        relevance = explain(target) - explain(other)

    With `class_activation_map`, its sum is the difference of the two logits minus that of the two
    biases. What speaks for both classes alike cancels.

    Twice the passes of `explain`; two forward passes more to find the runner-up. Raises ValueError
    for wrong arguments, as `explain` does, and if there is no second class.
    """
    if others is None:
        with torch.no_grad():
            x, _, targets = prepare(model, images, targets)
            logits = model(x)
        if logits.shape[1] < 2:
            raise ValueError("others: the model has one class; allowed is a model with two.")
        others = logits.scatter(1, targets[:, None], -torch.inf).argmax(1)
    explained = explain(model, images, targets)
    try:
        return explained - explain(model, images, others)
    except ValueError as error:
        raise ValueError(str(error).replace("targets:", "others:", 1)) from error


@torch.inference_mode(False)
@torch.no_grad()
def class_similarity(model: nn.Module, images: Tensor, *, centred: bool = True) -> Tensor:
    """Return the cosine between the classes' weights in the last linear layer: (K, K), -1 to 1.

    `images` (N, C, H, W): any that the model takes; one forward pass of the first finds the layer.
    `centred`: take the mean of all classes' weights away first. A vector that all rows share adds
    the same number to every logit, and softmax ignores it; the cosine does not.

        similarity[a, b] = cos(w[a] - mean, w[b] - mean)

    Centred rows sum to zero, so K classes that have nothing to do with each other have a cosine of
    -1 / (K - 1), not 0. Raises ValueError for wrong arguments, and if the logits are not what a
    linear layer returns.
    """
    x, _, _ = prepare(model, images[:1] if isinstance(images, Tensor) else images)
    with LinearHead() as head:
        logits = model(x.clone())
    if head.weight is None or head.output is None or not torch.equal(head.output, logits):
        raise ValueError(
            "model: its output is not what a linear layer returned, so its classes have no rows of "
            "weights; allowed is a network whose last step is a linear layer."
        )
    rows = head.weight - centred * head.weight.mean(0)
    rows = F.normalize(rows, dim=1)
    return rows @ rows.T
