"""Technique 3 once more: hand the change back through the network, layer by layer.

`deeplift` compares each unit with its own value on a baseline, `lrp` with zero. Neither changes the
model: a first run is watched, and in a second one a `TorchFunctionMode` gives the steps another
derivative, while their values stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.inputs import validate_inputs

__all__ = ["RelevanceRule", "lrp"]


@torch.inference_mode(False)
@torch.no_grad()
def lrp(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    rule: str = "epsilon",
    epsilon: float = 0.01,
    gamma: float = 0.25,
) -> Tensor:
    """Return layer-wise relevance propagation: the logit, handed back in the shares of each sum.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the predicted class.
    `rule`: "epsilon", or "gamma", which favours what supports a unit (see `RelevanceRule`).
    `epsilon`: from 0, in units of the activations; a unit near 0 hands on less. With 0 the rule
    "epsilon" is LRP-0, and on networks of ReLUs and max-pools gradient × input. `gamma`: from 0.

        relevance[i] = Σ_j x[i] w[i, j] / (z[j] + ε·sign z[j]) · relevance[j]
        with z[j] = Σ_i x[i] w[i, j] + b[j] the input of unit j
        Σ relevance + what biases and ε absorb = logit

    So the sum is the logit exactly where there are no biases and ε is 0. A residual sum hands on in
    proportion to its two terms. Two forward passes, the first of which finds the convolution that
    a batch normalisation follows, and one backward pass; "gamma" runs each layer three to five
    times in the second. Raises ValueError for wrong arguments, and if the sum fails: where
    activations are multiplied (squeeze-and-excitation, attention), normalised or mixed (softmax).

    Bach and others: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise
    Relevance Propagation. PLoS ONE 2015, doi 10.1371/journal.pone.0130140. Montavon and others:
    Layer-Wise Relevance Propagation: An Overview. 2019, doi 10.1007/978-3-030-28954-6_10 (γ).
    """
    for name, value in {"epsilon": epsilon, "gamma": gamma}.items():
        if not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{name}: got {value!r}; allowed is a number from 0.")
    if rule not in ("epsilon", "gamma"):
        raise ValueError(f'rule: got {rule!r}; allowed are "epsilon" and "gamma".')
    used = gamma if rule == "gamma" else 0.0
    first = RelevanceRule(epsilon, used)
    with first:
        x, chosen, classes = validate_inputs(model, images, targets)
    one = torch.ones(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)
    with RelevanceRule(epsilon, used, first.norms, one), torch.enable_grad():
        logits = model(x.requires_grad_() * one.requires_grad_())
        again = logits.gather(1, classes[:, None])[:, 0]
    if not again.requires_grad:
        raise ValueError("model: its output has no derivative by the images (a no_grad?).")
    each = torch.ones_like(again)
    slope, total = torch.autograd.grad(again, [x, one], each, materialize_grads=True)
    relevance, eps = x.detach() * slope, torch.finfo(x.dtype).eps
    allowed = eps ** (2 / 3) * relevance.abs().flatten(1).sum(1)
    allowed += 16 * eps * (1 + first.layers) * (1 + chosen.abs())  # each layer rounds
    gap = torch.maximum((total.flatten() - chosen).abs(), (again.detach() - chosen).abs())
    if not (gap <= allowed).all():  # NaN is refused, too
        raise ValueError(
            "model: relevance and what biases absorb do not sum to the logit, since it has a step "
            "for which lrp has no rule (a product of activations, attention, layer normalisation, "
            "softmax); use integrated_gradients instead."
        )
    return relevance


class _Shared(torch.autograd.Function):
    """A step that keeps its value and has the derivative of share · linear + (the rest) · one."""

    @staticmethod
    def forward(ctx: Any, linear: Tensor, one: Tensor, value: Tensor, share: Tensor) -> Tensor:
        ctx.save_for_backward(one, torch.addcmul(value, share, linear, value=-1), share)
        ctx.mark_dirty(value)  # handed on as it is
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        one, rest, share = ctx.saved_tensors
        by_one = torch.einsum("ni,ni->n", grad.flatten(1), rest.flatten(1))
        return grad * share, by_one.view(-1, 1, 1, 1).sum_to_size(one.shape), None, None


class RelevanceRule(TorchFunctionMode):
    """The ε and γ rules of layer-wise relevance propagation: a run whose gradient · x is relevance.

        with first: ...                        # without gradients, to find what is to be merged
        with RelevanceRule(epsilon, gamma, first.norms, one), torch.enable_grad(): ...

    In the second run each step keeps its value y and gets the derivative of share · m, with m a sum
    over inputs that are weighted, share = y / (m + its bias ± ε) a constant, and:

        ε    m = Σ a w
        γ    m = Σ a (w + γ w⁺) for y > 0, Σ a (w + γ w⁻) for y < 0      (w⁺ and w⁻ swap for a < 0)

    A batch normalisation that follows a convolution or a linear layer is merged into its weights;
    any other, as in DenseNet, is a layer of its own. An activation hands on all (share y/x, which
    is a ReLU's own derivative).
    Average pooling and sums are linear, a max-pool hands on to the maximum: as autograd has it.
    `one` (N, 1, 1, 1) is 1; each bias, and all else that a step has too much or too little, is a
    multiple of it, so the gradient by it is what they absorb.
    """

    activations = (
        "celu clamp clamp_max clamp_min clip elu expit gelu hardshrink hardsigmoid hardswish "
        "hardtanh leaky_relu log_sigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus "
        "softshrink softsign tanh tanhshrink threshold"
    )

    def __init__(
        self, epsilon: float, gamma: float, norms: Any = None, one: Tensor | None = None
    ) -> None:
        """Without `one` watch a first run; with it, and what the first found, change a second."""
        super().__init__()
        self.epsilon, self.gamma, self.one = epsilon, gamma, one
        self.norms: dict[int, tuple[Tensor, Tensor]] = norms or {}  # layer number: slope, shift
        self.layers = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, by the rule."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_")
        if name in ("conv2d", "linear"):
            return self._layer(func, *args, **kwargs)
        if name == "batch_norm":
            return self._batch_norm(func, *args, **kwargs)
        if name in ("bmm", "conv1d", "conv3d", "conv_transpose2d", "einsum", "matmul", "mm"):
            raise ValueError(
                f"model: it calls {name}, for which lrp has no rule (for conv2d and linear it "
                "has); use integrated_gradients instead."
            )
        if self.one is not None and name != "relu" and name in self.activations.split():
            x, *rest = args if args else (kwargs.pop("input"),)
            same = x.detach().clone()
            value = func(same, *rest, **kwargs)
            in_place = value is same
            share = (value / x.detach()).nan_to_num_(0.0, 0.0, 0.0)  # an input of 0 hands on none
            out: Tensor = _Shared.apply(x, self.one, value, share)
            return x.copy_(out) if in_place else out
        if self.one is not None and name in ("add", "iadd", "radd", "sub", "isub", "rsub"):
            still = [not isinstance(term, Tensor) or term.grad_fn is None for term in args[:2]]
            if still.count(True) == 1:  # a constant is added: the relevance of `one`
                one = self.one.view(-1, *[1] * (args[still.index(False)].ndim - 1))
                args = [term * one if s else term for term, s in zip(args, still, strict=False)]
        return func(*args, **kwargs)

    def _layer(
        self, func: Any, input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any
    ) -> Tensor:
        """Run a convolution or a linear layer, with the batch normalisation that follows it."""
        number, self.layers = self.layers, self.layers + 1
        if self.one is None:
            out: Any = func(input, weight, bias, *rest, **options)
            out.number = number, out._version
            return out  # type: ignore[no-any-return]
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if number in self.norms:
            slope, shift = self.norms[number]
            weight = slope.view(-1, *[1] * (weight.ndim - 1)) * weight
            bias = slope * bias + shift
        bias = bias.view(-1, *[1] * (weight.ndim - 2))
        out = self._rule(lambda a, w: func(a, w, None, *rest, **options), input, weight, bias)
        out.merged = number in self.norms
        return out  # type: ignore[no-any-return]

    def _batch_norm(
        self, func: Any, input: Any, running_mean: Any, running_var: Any, weight: Any = None,
        bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        """Run a batch normalisation: y = slope · x + shift for each channel."""
        if training or running_mean is None:
            raise ValueError("model: batch statistics in evaluation mode; lrp needs running ones.")
        slope = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - slope * running_mean
        if self.one is not None:
            if getattr(input, "merged", False):
                return input  # type: ignore[no-any-return]
            slope, shift = (c.view(-1, *[1] * (input.ndim - 2)) for c in (slope, shift))
            return self._rule(torch.mul, input, slope, shift)
        number, version = getattr(input, "number", (None, None))
        if number is not None and input._version == version:  # not changed since in place
            self.norms[number] = slope, shift
        out: Tensor = func(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return out

    def _rule(
        self, apply: Callable[[Tensor, Tensor], Tensor], a: Tensor, w: Tensor, b: Tensor
    ) -> Tensor:
        """Run a linear layer y = apply(a, w) + b by the ε or the γ rule."""
        w, b = w.detach(), b.detach()
        m = apply(a, w)
        y = z = m.detach() + b
        if self.gamma:
            up, down = w + self.gamma * w.clamp(min=0), w + self.gamma * w.clamp(max=0)
            high, low = apply(a.clamp(min=0), up), apply(a.clamp(min=0), down)
            if a.min() < 0:
                high, low = high + apply(a.clamp(max=0), down), low + apply(a.clamp(max=0), up)
            m = torch.where(y > 0, high, low)
            b = b + self.gamma * torch.where(y > 0, b.clamp(min=0), b.clamp(max=0))
            z = m.detach() + b
        z = z + torch.copysign(torch.full_like(z, self.epsilon), z)
        share = (y / z).nan_to_num_(1.0)  # 0/0 only where ε is 0: hand on all
        assert self.one is not None
        out: Tensor = _Shared.apply(m, self.one, y, share)
        return out
