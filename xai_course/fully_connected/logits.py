"""Technique 2: what the fully connected layer adds up. A logit as a sum, feature by feature.

A linear layer adds: a logit is one number a feature, plus a bias. Because the positions of a
feature map are added up (or kept apart) before the layer, the same sum can be read position by
position.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from xai_course.core.graph import PIECEWISE_LINEAR, derivatives, nonlinear_steps
from xai_course.core.hooks import intercept
from xai_course.core.inputs import (
    check_added_rows,
    check_images,
    check_one_each,
    validate_inputs,
)
from xai_course.core.outputs import single_output
from xai_course.core.switches import own_switches

__all__ = ["HeadTracer", "LogitSum", "class_similarity", "logit_contributions"]


class LogitSum(NamedTuple):
    """A logit as a sum: `contributions.sum(1) + biases` is the logit.

    Attributes:
        features: what enters the head (N, F).
        contributions: what each feature adds to the logit (N, F), in logits.
        biases: what the constants of the head add (N,), in logits.
    """

    features: Tensor
    contributions: Tensor
    biases: Tensor


@own_switches(grad=True)
def logit_contributions(model: nn.Module, images: Tensor, targets: Any = None) -> LogitSum:
    """Return what each feature adds to the chosen logit: feature times weight, and the bias.

        contribution[f] = feature[f] · ∂ logit[target] / ∂ feature[f]
        logit[target]   = Σ over f of contribution[f] + bias

    The head is the linear layers after the last convolution, found by watching the forward pass.
    For one linear layer the derivative is its weight and the bias is its own. Through several, the
    weights are multiplied for the ReLUs that are open, and the bias collects those of all layers.
    The sum is checked. A factor that the head detaches counts as a fixed gate.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).

    Returns:
        `LogitSum`: features (N, F) that enter the head, contributions (N, F) and biases (N,) in
        logits.

    Raises:
        ValueError: if an argument is not as described; for a network without a linear head
            (SqueezeNet ends in a convolution); if the sum is not the logit, as for a head with
            GELU, Tanh or softmax.

    Cost:
        One forward pass, and the backward pass through the head.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import logit_contributions
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
        >>> with torch.no_grad():
        ...     _ = model[1].weight.copy_(torch.tensor([[1.0, 2, 0], [3, 0, 1]]))
        ...     _ = model[1].bias.copy_(torch.tensor([10.0, 20]))
        >>> parts = logit_contributions(model, torch.tensor([[[[4.0, 5, 6]]]]), targets=0)
        >>> parts.contributions.tolist(), parts.biases.tolist()
        ([[4.0, 10.0, 0.0]], [10.0])
    """
    head = HeadTracer()
    model, targets = single_output(model, targets)
    with intercept(head.watch):
        _, chosen, _ = validate_inputs(model, images, targets)
    if not head.inputs:
        raise ValueError(
            "model: got no linear layer (N, features) after its last convolution; must have a "
            "fully connected layer to read. grad_cam with relu=False needs none."
        )
    contributions, biases = head.split_logit(chosen, head.inputs[0])
    return LogitSum(head.inputs[0].value, contributions, biases)


class TracedTensor(NamedTuple):
    """A tensor of a forward pass.

    Attributes:
        edge: its place in the graph, None under `no_grad`.
        value: its numbers, in its memory.
        version: how often that memory had been changed in place when it was noted.
        after: how many constants had been added since the last convolution when it was noted.
    """

    edge: GradientEdge | None
    value: Tensor
    version: int
    after: int


class HeadTracer:
    """Watch a forward pass for what follows its last convolution.

        head = HeadTracer()
        with intercept(head.watch):
            logits = model(images)

    Attributes:
        maps: what the last convolution returned (N, K, h, w), and each later tensor (N, ..., h, w)
            of four axes with its h and w.
        inputs: what entered each linear layer (N, F) after the last convolution.
        biases: the constants that were added after it, and where.
        weight: the last linear layer's weight (outputs, F), if any.
        output: the last linear layer's output, if any.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.maps: list[TracedTensor] = []
        self.inputs: list[TracedTensor] = []
        self.biases: list[TracedTensor] = []
        self.weight: Tensor | None = None
        self.output: Tensor | None = None
        self._map_size: torch.Size | None = None

    def watch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function, and note what the head needs to be read."""
        out = self._linear(*args, **kwargs) if func is F.linear else func(*args, **kwargs)
        if func is F.conv2d:
            # The head begins after the last convolution.
            self.maps, self.inputs, self.biases = [], [], []
            self._map_size = out.shape[2:]
        if func is F.batch_norm and not kwargs.get("training", args[5:6] == (True,)):
            # What it makes of 0: one number a channel. (With statistics of what it is given, as
            # where weights are standardised, it adds no constant.)
            zeros = out.new_zeros(1, out.shape[1], *[1] * (out.ndim - 2))
            settings = {name: value for name, value in kwargs.items() if name != "input"}
            self.biases.append(self._traced(out, func(zeros, *args[1:], **settings)))
        # A hook of the model's owner may run steps without a graph.
        if self._is_map(out) and out.grad_fn is not None:
            self.maps.append(self._traced(out, out))
        return out

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Run a linear layer; note its input, its bias, its weight and its output."""
        if input.ndim == 2:
            # A copy, since a later step may change the input in place.
            self.inputs.append(self._traced(input, input.clone()))
            self.weight = weight.detach()
        out = F.linear(input, weight, bias)
        self.output = out.detach()
        if bias is not None:
            self.biases.append(self._traced(out, bias))
        return out

    def _traced(self, tensor: Tensor, value: Tensor) -> TracedTensor:
        """Return a tensor's place in the graph together with a value."""
        edge = None if tensor.grad_fn is None else get_gradient_edge(tensor)
        # Weights that were made in inference mode count no changes.
        version = 0 if value.is_inference() else value._version
        return TracedTensor(edge, value.detach(), version, len(self.biases))

    def _is_map(self, out: Any) -> bool:
        """Tell whether an output has the size of the last convolution's."""
        if not isinstance(out, Tensor) or out.is_nested or out.ndim != 4:
            return False
        return out.shape[2:] == self._map_size

    def split_logit(self, chosen: Tensor, traced: TracedTensor) -> tuple[Tensor, Tensor]:
        """Split logits into the contributions of a traced tensor and of the biases after it.

        Args:
            chosen: the logits to split (N,).
            traced: one of `maps` or of `inputs`.

        Returns:
            Contributions, in the shape of the traced tensor, and biases (N,), in logits.

        Raises:
            ValueError: if the logits have no derivative by the tensor, or the sum fails.
        """
        if traced.edge is None or not chosen.requires_grad:
            raise ValueError(
                "model: got an output without derivative by what enters its head; must be "
                "differentiable, without no_grad, detach or numpy."
            )
        check_one_each(traced.value, len(chosen))
        added = [bias for bias in self.biases[traced.after :] if bias.edge is not None]
        edges = [traced.edge, *(bias.edge for bias in added)]
        # The graph is kept, as another tensor may be split, too.
        options = {"retain_graph": True, "allow_unused": True}
        grad, *bias_grads = derivatives(chosen.sum(), edges, **options)
        grad = torch.zeros_like(traced.value) if grad is None else grad
        contributions, logit = grad * traced.value, chosen.detach()
        biases = torch.zeros_like(logit)
        for bias, bias_grad in zip(added, bias_grads, strict=True):
            if bias_grad is not None:
                check_added_rows(bias_grad, len(logit))
                biases = biases + (bias_grad * bias.value).flatten(1).sum(1)
        _check_logit(contributions, biases, logit)
        _check_head(chosen, traced.edge)
        return contributions, biases


def _check_logit(contributions: Tensor, biases: Tensor, logit: Tensor) -> None:
    """Raise ValueError unless contributions and biases sum to the logit, up to rounding."""
    gap = contributions.flatten(1).sum(1) + biases - logit
    scale = contributions.flatten(1).abs().sum(1) + biases.abs() + logit.abs()
    eps = max(torch.finfo(part.dtype).eps for part in (contributions, biases, logit))
    if (gap.abs() > eps**0.5 * scale).any():
        raise ValueError(
            f"model: got a sum that misses the logit by up to {float(gap.abs().max()):.3g}, so its "
            "head does more than add up (GELU, Tanh, softmax, layer normalisation), runs in half "
            "precision, or takes features or constants from elsewhere, too; must have a head of "
            "linear layers and ReLUs. integrated_gradients and occlusion need no such head."
        )


def _check_head(chosen: Tensor, edge: GradientEdge) -> None:
    """Raise ValueError unless all steps after a place in the graph are piecewise linear.

    A sum that is right does not show it: Hardswish of small inputs is half of them, nearly.
    """
    curved = [step for step in nonlinear_steps(chosen, edge) if step not in PIECEWISE_LINEAR]
    if curved:
        raise ValueError(
            f"model: got the step {curved[0]} after its last convolution, which is not piecewise "
            "linear or cannot be known; must have a head of linear layers and ReLUs. "
            "integrated_gradients and occlusion need no such head."
        )


@own_switches(grad=False)
def class_similarity(model: nn.Module, images: Tensor, *, centred: bool = True) -> Tensor:
    """Return the cosine between the classes' weights in the last linear layer.

        similarity[a, b] = cos(w[a] - mean, w[b] - mean)

    The mean over all classes is subtracted first, since a vector that all rows share adds the same
    number to every logit: softmax ignores it, and the cosine does not. Centred rows sum to zero, so
    K classes that have nothing to do with each other have a cosine of -1 / (K - 1), not 0.

    Args:
        model: a classifier in evaluation mode whose last step is a linear layer.
        images: (N, C, H, W), any that the model takes.
        centred: False leaves the mean in.

    Returns:
        Cosines (K, K), from -1 to 1.

    Raises:
        ValueError: if an argument is not as described, or if the logits are not what a linear layer
            returned.

    Cost:
        Two forward passes of the first image, to find the layer.

    Example:
        Two classes are opposites, whatever their weights.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import class_similarity
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
        >>> similarity = class_similarity(model, torch.zeros(1, 3, 2, 2))
        >>> torch.allclose(similarity, torch.tensor([[1.0, -1], [-1, 1]]))
        True
    """
    check_images(images)
    x, _, _ = validate_inputs(model, images[:1])
    head = HeadTracer()
    with intercept(head.watch):
        logits = model(x.clone())
    if head.weight is None or head.output is None or not torch.equal(head.output, logits):
        raise ValueError(
            "model: got an output that no linear layer returned, so its classes have no rows of "
            "weights; must be a network whose last step is a linear layer."
        )
    rows = head.weight - head.weight.mean(0) if centred else head.weight
    rows = F.normalize(rows, dim=1)
    return rows @ rows.T
