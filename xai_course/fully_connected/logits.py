"""Technique 2: what the fully connected layer adds up. A logit as a sum that one can look into.

A linear layer adds: a logit is one number a feature, plus a bias. Because a feature map's places
are added up (or kept apart) on the way to the layer, the same sum can be read place by place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from xai_course.core.inputs import validate_inputs

__all__ = ["HeadTracer", "LogitSum", "class_similarity", "logit_contributions"]


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
    with HeadTracer() as head:
        _, chosen, _ = validate_inputs(model, images, targets)
    if not head.inputs:
        raise ValueError(
            "model: no linear layer (N, features) follows its last convolution, so there is no "
            "fully connected layer to read; grad_cam with relu=False needs none."
        )
    contributions, biases = head.share_out(chosen, *head.inputs[0])
    return LogitSum(head.inputs[0][1], contributions, biases)


class HeadTracer(TorchFunctionMode):
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
    x, _, _ = validate_inputs(model, images[:1] if isinstance(images, Tensor) else images)
    with HeadTracer() as head:
        logits = model(x.clone())
    if head.weight is None or head.output is None or not torch.equal(head.output, logits):
        raise ValueError(
            "model: its output is not what a linear layer returned, so its classes have no rows of "
            "weights; allowed is a network whose last step is a linear layer."
        )
    rows = head.weight - centred * head.weight.mean(0)
    rows = F.normalize(rows, dim=1)
    return rows @ rows.T
