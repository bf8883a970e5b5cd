"""Layer-wise relevance propagation (LRP): the logit, handed back in the shares of each sum.

The model is not changed: each layer is run by a rule, which keeps its value and gives it another
derivative. Then the relevance is the image times the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_number
from xai_course.core.graph import derivatives, layer_steps
from xai_course.core.hooks import check_visible, function_name, intercept
from xai_course.core.inputs import no_derivative, validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.relu_calls import ACTIVATIONS
from xai_course.core.switches import own_switches

__all__ = ["RelevanceRule", "lrp"]


@own_switches(grad=False)
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

        relevance[i] = Σ_j x[i] w[i, j] / (z[j] + ε · sign z[j]) · relevance[j]
        with z[j] = Σ_i x[i] w[i, j] + b[j] the input of unit j
        Σ relevance + what biases and ε absorb = logit

    So the sum is the logit exactly where there are no biases and ε is 0. With ε = 0 the rule
    "epsilon" is LRP-0; on networks of ReLUs and max-pools it is gradient × input. A residual sum
    hands on in proportion to its two terms.

    The sum is checked up to ε^⅔ of the size of its terms, where this ε is the dtype's: 0.002 % in
    float32, 1 % in float16, 4 % in bfloat16. So a step without a rule can be missed in half
    precision: explain in float32 there.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        rule: "epsilon", or "gamma", which favours what supports a unit (see `RelevanceRule`).
        epsilon: at least 0, in units of the activations; a unit near 0 hands on less.
        gamma: at least 0; the share by which supporting weights are increased.

    Returns:
        Relevance (N, C, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images;
            if the sum fails: where activations are multiplied (squeeze-and-excitation, attention),
            normalised or mixed (softmax).

    Cost:
        Two forward passes, the first of which finds the batch normalisations to merge into the
        layer before them, and one backward pass; "gamma" runs each layer three to five times in the
        second.

    References:
        Bach and others: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
        Layer-Wise Relevance Propagation. PLoS ONE 2015, doi 10.1371/journal.pone.0130140.
        Montavon and others: Layer-Wise Relevance Propagation: An Overview. 2019,
        doi 10.1007/978-3-030-28954-6_10 (the rule γ).

    Example:
        Without biases and with ε = 0 the relevance sums to the logit.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import lrp
        >>> _ = torch.manual_seed(0)
        >>> layers = [nn.Flatten(), nn.Linear(8, 4, bias=False), nn.ReLU()]
        >>> model = nn.Sequential(*layers, nn.Linear(4, 3, bias=False)).eval()
        >>> images = torch.rand(2, 2, 2, 2)
        >>> relevance = lrp(model, images, targets=1, epsilon=0)
        >>> torch.allclose(relevance.sum((1, 2, 3)), model(images)[:, 1])
        True
    """
    check_choice("rule", rule, ("epsilon", "gamma"))
    check_number("epsilon", epsilon, least=0)
    check_number("gamma", gamma, least=0)
    check_visible(model)
    rules = RelevanceRule(epsilon, gamma if rule == "gamma" else 0.0)
    model, targets = single_output(model, targets)
    with intercept(rules.find_norms):
        x, chosen, classes = validate_inputs(model, images, targets)
    x.requires_grad_()
    rules.absorbed = torch.zeros_like(chosen)
    with intercept(rules.propagate), torch.enable_grad():
        logits = model(x.clone())
        logit = logits.gather(1, classes[:, None])[:, 0]
    if not logit.requires_grad:
        raise no_derivative(model, x)
    if layer_steps(logits, x) > rules.products:
        raise ValueError(
            "model: got a layer that cannot be seen, so lrp has no rule for it; must consist of "
            "conv2d, linear, activations, pooling and sums, outside scripted code. Use "
            "integrated_gradients instead."
        )
    (grad,) = derivatives(logit, x, torch.ones_like(logit), materialize_grads=True)
    relevance: Tensor = x.detach() * grad
    _check_conservation(relevance, rules.absorbed, logit.detach(), chosen, rules.layers)
    return relevance


def _check_conservation(
    relevance: Tensor, absorbed: Tensor, logit: Tensor, chosen: Tensor, layers: int
) -> None:
    """Raise ValueError unless relevance and what is absorbed sum to the logit, up to rounding."""
    eps = torch.finfo(relevance.dtype).eps
    tolerance = eps ** (2 / 3) * relevance.abs().flatten(1).sum(1)
    tolerance += 16 * eps * (1 + layers) * (1 + chosen.abs())  # each layer rounds
    total = relevance.flatten(1).sum(1) + absorbed
    gap = torch.maximum((total - chosen).abs(), (logit - chosen).abs())
    if not (gap <= tolerance).all():  # also NaN is refused
        raise ValueError(
            "model: got relevance that, with what biases absorb, does not sum to the logit, since "
            "the model has a step for which lrp has no rule (a product of activations, attention, "
            "layer normalisation, softmax, a constant that is concatenated or padded, "
            "torch.utils.checkpoint), or half precision; use integrated_gradients instead."
        )


LAYERS = ("conv2d", "linear")
NO_RULE = (
    "addbmm", "addmm", "addmv", "baddbmm", "bilinear", "bmm", "conv1d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "dot", "einsum",
    "inner", "matmul", "mm", "multi_head_attention_forward", "mv", "rmatmul",
    "scaled_dot_product_attention", "tensordot",
)  # fmt: skip
SUMS = ("add", "iadd", "radd", "sub", "isub", "rsub")


class RelevanceRule:
    """The ε and γ rules of layer-wise relevance propagation, by which a model is run.

        rules = RelevanceRule(epsilon, gamma)  # γ = 0: the ε rule
        with intercept(rules.find_norms):      # first run, without gradients
            model(images)
        with intercept(rules.propagate):       # second run: its gradient · images is relevance
            logits = model(images)

    In the second run each step keeps its value y and gets the derivative of share · m. Here m is a
    sum over weighted inputs, and share = y / (m + its bias ± ε) is a constant:

        ε    m = Σ a w
        γ    m = Σ a (w + γ w⁺) for y > 0, Σ a (w + γ w⁻) for y < 0      (w⁺ and w⁻ swap for a < 0)

    A batch normalisation that follows a convolution or a linear layer is merged into its weights;
    any other, as in DenseNet, is a layer of its own. An activation hands on all: its share is y/x,
    which is a ReLU's own derivative. Average pooling and sums are linear, and a max-pool hands on
    to the maximum: their own derivatives are the rule.

    `absorbed` (N,): the relevance that biases and ε take is added to it in the backward pass, if it
    is set to zeros before the second run.
    """

    def __init__(self, epsilon: float, gamma: float) -> None:
        """Set ε and γ."""
        self.epsilon, self.gamma = epsilon, gamma
        self.layers = 0  # how many convolutions and linear layers the first run had
        self.products = 0  # how often the rules of the second run called one
        self.absorbed: Tensor | None = None
        self._norms: dict[int, tuple[Tensor, Tensor]] = {}  # layer number: scale and shift to merge
        self._is_merged: list[bool] = []  # for each batch normalisation of the first run
        self._number = 0  # of the next layer in the second run

    # ---- first run -------------------------------------------------------------------------------

    def find_norms(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function; note which layers a batch normalisation follows directly."""
        name = function_name(func)
        if name in NO_RULE:
            raise ValueError(
                f"model: got a call of {name}, for which lrp has no rule; must consist of conv2d, "
                "linear, activations, pooling and sums. Use integrated_gradients instead."
            )
        out = func(*args, **kwargs)
        if name in LAYERS:
            out.number, out.version = self.layers, out._version
            self.layers += 1
        elif name == "batch_norm" and _has_statistics(*args, **kwargs):
            x = args[0] if args else kwargs["input"]
            unchanged = getattr(x, "version", None) == x._version  # no step in place since
            if unchanged:
                self._norms[x.number] = _scale_and_shift(*args, **kwargs)
            self._is_merged.append(unchanged)
        return out

    # ---- second run ------------------------------------------------------------------------------

    def propagate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function by its rule."""
        name = function_name(func)
        if name in LAYERS:
            return self._layer(func, *args, **kwargs)
        if name == "batch_norm" and _has_statistics(*args, **kwargs):
            return self._batch_norm(*args, **kwargs)
        if name in ACTIVATIONS and name != "relu":
            return self._activation(func, *args, **kwargs)
        constant = _constant_part(func, args, kwargs) if name in SUMS else None
        out = func(*args, **kwargs)
        if constant is not None:
            self._absorb(out, constant)
        return out

    def _layer(
        self, func: Any, input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any
    ) -> Tensor:
        """Run a convolution or a linear layer, with the batch normalisation that follows it."""
        number, self._number = self._number, self._number + 1
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if number in self._norms:
            scale, shift = self._norms[number]
            weight = scale.view(-1, *[1] * (weight.ndim - 1)) * weight
            bias = scale * bias + shift
        bias = bias.view(-1, *[1] * (weight.ndim - 2))  # (K, 1, 1) or (F,)

        def apply(a: Tensor, w: Tensor) -> Tensor:
            self.products += 1
            out: Tensor = func(a, w, None, *rest, **options)
            return out

        return self._rule(apply, input, weight, bias)

    def _batch_norm(self, input: Tensor, *settings: Any, **options: Any) -> Tensor:
        """Run a batch normalisation as a layer of its own, unless it is merged already."""
        if self._is_merged.pop(0):
            return input
        scale, shift = _scale_and_shift(input, *settings, **options)
        scale, shift = (each.view(-1, *[1] * (input.ndim - 2)) for each in (scale, shift))
        return self._rule(torch.mul, input, scale, shift)

    def _rule(
        self, apply: Callable[[Tensor, Tensor], Tensor], a: Tensor, w: Tensor, b: Tensor
    ) -> Tensor:
        """Run a linear layer y = apply(a, w) + b by the ε or the γ rule."""
        w, b = w.detach(), b.detach()
        m = apply(a, w)
        y = z = m.detach() + b
        if self.gamma:
            m = _gamma_sum(apply, a, w, y, self.gamma)
            b = b + self.gamma * torch.where(y > 0, b.clamp(min=0), b.clamp(max=0))
            z = m.detach() + b
        z = z + torch.copysign(torch.full_like(z, self.epsilon), z)
        share = (y / z).nan_to_num_(1.0)  # 0/0 only where ε is 0: hand on all
        return self._hand_on(y, share, m)

    def _activation(self, func: Any, input: Tensor, *rest: Any, **options: Any) -> Tensor:
        """Run an activation y(x), with the derivative y/x."""
        x = input.detach()
        copied = x.clone()  # the function may work in place
        y = func(copied, *rest, **options)
        share = (y / x).nan_to_num_(0.0, 0.0, 0.0)  # an input of 0 hands on none
        out = self._hand_on(y, share, input)
        return input.copy_(out) if y is copied else out

    def _hand_on(self, y: Tensor, share: Tensor, m: Tensor) -> Tensor:
        """Return the value y with the derivative of share · m."""
        out = y + share * (m - m.detach())  # adds 0
        self._absorb(out, torch.addcmul(y, share, m.detach(), value=-1))
        return out

    def _absorb(self, out: Tensor, rest: Tensor) -> None:
        """In the backward pass, add up the relevance of that part of `out` which no input gets."""
        absorbed = self.absorbed
        if absorbed is None or not out.requires_grad:
            return
        if out.numel() % len(absorbed):
            raise ValueError(
                f"model: got a step on a tensor {tuple(out.shape)} for {len(absorbed)} images, as "
                "if it took them one by one; must take all images of a batch together."
            )

        def add(grad: Tensor) -> None:
            absorbed.add_((grad * rest).reshape(len(absorbed), -1).sum(1))

        out.register_hook(add)  # type: ignore[no-untyped-call]


def _has_statistics(
    input: Tensor, running_mean: Any = None, running_var: Any = None, *rest: Any, **options: Any
) -> bool:
    """Tell whether a batch normalisation has running statistics.

    Without them it standardises weights, which is no layer; or images, which fails the sum.
    """
    training = rest[2] if len(rest) > 2 else options.get("training", False)
    return running_mean is not None and not training


def _scale_and_shift(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Return a batch normalisation as y = scale · x + shift: one number a channel (K,)."""
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    return scale, (0 if bias is None else bias) - scale * running_mean


def _gamma_sum(
    apply: Callable[[Tensor, Tensor], Tensor], a: Tensor, w: Tensor, y: Tensor, gamma: float
) -> Tensor:
    """Return Σ a w, in which terms of the sign of y count 1 + γ times."""
    up, down = w + gamma * w.clamp(min=0), w + gamma * w.clamp(max=0)
    high, low = apply(a.clamp(min=0), up), apply(a.clamp(min=0), down)
    if a.min() < 0:  # for negative inputs, positive weights give the negative terms
        high, low = high + apply(a.clamp(max=0), down), low + apply(a.clamp(max=0), up)
    return torch.where(y > 0, high, low)


def _constant_part(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return what a constant adds to a sum or a difference; None if no term is a constant."""
    varies = [isinstance(term, Tensor) and term.grad_fn is not None for term in args[:2]]
    if sorted(varies) != [False, True]:
        return None
    terms = list(args[:2])
    varying = varies.index(True)
    terms[varying] = torch.zeros_like(terms[varying])
    constant: Tensor = func(*terms, *args[2:], **kwargs)
    return constant
