"""Attacks on the explanation: nearly the same image, the same prediction, another map.

The attacker moves the pixels a little, so that a map comes to look as wanted while the logits stay.
The steps follow the derivative of the *map*, a second derivative of the network. A network of ReLUs
has none (it is piecewise linear), so during the search each ReLU is replaced by a softplus; the
result is measured on the network as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.graph import derivatives
from xai_course.core.hooks import capture_layer, intercept
from xai_course.core.inputs import validate_inputs
from xai_course.core.progress import bar_class
from xai_course.core.relu_calls import relu_upper_bound
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain
from xai_course.robustness.attacks import check_pixel_range

__all__ = ["MANIPULABLE", "manipulate_map", "softplus_relus", "top_overlap"]


@contextmanager
def softplus_relus(beta: float) -> Iterator[None]:
    """Replace every ReLU that runs inside by a softplus, which has no kink.

        relu(x) becomes log(1 + exp(β · x)) / β        → relu(x) as β → ∞

    Every spelling of ReLU is seen, in place or not; a ReLU6 becomes smooth at both ends. The model
    is not changed. An explainer that is called inside explains the smooth network:
    `with softplus_relus(10): gradient(...)` is the β-smoothed gradient.

    Args:
        beta: the sharpness β, above 0.

    Yields:
        Nothing.

    Raises:
        ValueError: if β is not a finite number above 0.

    References:
        Dombrowski et al.: Explanations Can Be Manipulated and Geometry Is to Blame. NeurIPS 2019,
        arXiv:1906.07983.

    Example:
        >>> import torch
        >>> from xai_course.robustness import softplus_relus
        >>> zero = torch.zeros(1)
        >>> with softplus_relus(beta=1.0):
        ...     zero.relu()  # log 2
        tensor([0.6931])
        >>> zero.relu()
        tensor([0.])
    """
    check_number("beta", beta, above=0)

    def smooth(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        upper = relu_upper_bound(func, args, kwargs)
        if upper is None:
            return func(*args, **kwargs)
        options = {name: value for name, value in kwargs.items() if name != "input"}
        x, rest = (args[0], args[1:]) if args else (kwargs["input"], ())
        probe = torch.zeros(1)
        in_place = func(probe, *rest, **options) is probe
        given = x.clone() if in_place else x  # softplus keeps it for the backward pass
        out = F.softplus(given, beta)
        if upper < torch.inf:
            out = out - F.softplus(given - upper, beta)
        return x.copy_(out) if in_place else out

    with intercept(smooth):
        yield


# ---- the maps that can be manipulated ------------------------------------------------------------
#
# They are those of `xai_course.relu` and `xai_course.residual`, but keep their history, so that
# they can be differentiated once more.


def _gradient(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient (N, C, H, W) of the chosen logits."""
    chosen = model(x.clone()).gather(1, classes[:, None]).sum()
    grad: Tensor = derivatives(chosen, x, create_graph=True)[0]
    return grad


def _integrated_gradients(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    """Return integrated gradients (N, C, H, W) by eight points between base and image."""
    steps = 8
    shares = ((torch.arange(steps).to(x) + 0.5) / steps).view(-1, 1, 1, 1, 1)
    path = (base + shares * (x - base)).flatten(0, 1)  # (steps · N, C, H, W)
    grads = _gradient(model, path, base, classes.repeat(steps))
    return (x - base) * grads.view(steps, *x.shape).mean(0)


def _grad_cam(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    """Return Grad-CAM (N, 1, H, W) without its ReLU."""
    with capture_layer(model) as captured:
        chosen = model(x.clone()).gather(1, classes[:, None]).sum()
    (grad,) = derivatives(chosen, captured[-1], create_graph=True)
    maps = (grad.mean((2, 3), keepdim=True) * captured[-1]).sum(1, keepdim=True)  # (N, 1, h, w)
    return F.interpolate(maps, x.shape[2:], mode="bilinear", align_corners=False)


MANIPULABLE: dict[str, Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]] = {
    "gradient": _gradient,
    "integrated gradients": _integrated_gradients,
    "Grad-CAM": _grad_cam,
}


# ---- the attack ----------------------------------------------------------------------------------


@own_switches(grad=True)
def manipulate_map(
    model: nn.Module,
    images: Tensor,
    wanted: Tensor,
    targets: Any = None,
    *,
    explainer: str = "gradient",
    epsilon: float = 8 / 255,
    steps: int = 100,
    beta: float = 10.0,
    shown_beta: float | None = None,
    keep: float = 1.0,
    low: float = 0.0,
    high: float = 1.0,
    progress: bool = False,
) -> Tensor:
    """Change images within ε so that a map of them looks as wanted, and the prediction stays.

        minimise  1 - cos(|map(x')|, wanted) + keep · mean over classes of (f(x') - f(x))²
        subject to  |x' - x| ≤ ε,  low ≤ x' ≤ high

    f are the logits, and the map's channels are added up. The steps are those of Adam and start at
    the images, so nothing is random. After every tenth step the map is measured as it will be
    shown, with ReLUs; the images nearest to the wanted map that keep their predicted class are
    returned, which may be the images themselves.

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W) in [low, high].
        wanted: how strong the relevance shall be at each pixel, from 0, in any unit:
            (N, 1, H, W), or (1, 1, H, W) for all images.
        targets: class indices (N,) that the maps are for, one index for all, or None for the
            predicted class.
        explainer: the map to manipulate, a name of `MANIPULABLE`.
        epsilon: how far a pixel may move.
        steps: number of steps.
        beta: sharpness of the softplus that replaces ReLU during the search.
        shown_beta: None where the map of the network itself is shown; the β of a defender who shows
            the map under `softplus_relus(β)`, which is then attacked.
        keep: the weight of the logits, which shall stay as they are.
        low: the smallest value of a pixel.
        high: the largest value of a pixel.
        progress: True shows a bar.

    Returns:
        Changed pixels (N, C, H, W) in [low, high], at most ε from the images.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        `steps` · 1.2 forward and second backward passes, eight times as many for integrated
        gradients.

    References:
        Dombrowski et al.: Explanations Can Be Manipulated and Geometry Is to Blame. NeurIPS 2019,
        arXiv:1906.07983.
        Ghorbani, Abid, Zou: Interpretation of Neural Networks Is Fragile. AAAI 2019,
        arXiv:1710.10547.

    Example:
        In relu(x₁) + 20 · relu(x₂ - 0.5) the second pixel counts as soon as it passes 0.5:

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient
        >>> from xai_course.robustness import manipulate_map
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> model[1].weight.data, model[1].bias.data = torch.eye(2), torch.tensor([0.0, -0.5])
        >>> model[3].weight.data = torch.tensor([[1.0, 20.0]])
        >>> image = torch.tensor([0.5, 0.49]).view(1, 1, 1, 2)
        >>> wanted = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> changed = manipulate_map(model, image, wanted, epsilon=0.02, steps=40, keep=0.0)
        >>> gradient(model, image).flatten(), gradient(model, changed).flatten()
        (tensor([1., 0.]), tensor([ 1., 20.]))
    """
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets)
    check_choice("explainer", explainer, MANIPULABLE)
    check_number("epsilon", epsilon, least=0)
    check_number("keep", keep, least=0)
    steps = check_count("steps", steps)
    check_pixel_range(x, low, high)
    goal, base = _check_wanted(x, wanted), x.mean((2, 3), keepdim=True)

    def distance(moved: Tensor, beta: float | None) -> Tensor:
        """Return 1 - cosine between map and goal, (N,)."""
        with softplus_relus(beta) if beta is not None else nullcontext():
            relevance = MANIPULABLE[explainer](model, moved, base, classes).sum(1, keepdim=True)
        return 1 - F.cosine_similarity(relevance.abs().flatten(1), goal, eps=1e-12)

    with torch.no_grad():
        logits = model(x.clone())
    shift = torch.zeros_like(x, requires_grad=True)  # in units of ε
    adam = torch.optim.Adam([shift], lr=0.1)
    best, least = x.clone(), distance(x.clone().requires_grad_(), shown_beta).detach()
    for step in bar_class()(range(1, steps + 1), "manipulate", leave=False, disable=not progress):
        moved = (x + epsilon * shift).clamp(low, high)
        loss = distance(moved, beta if shown_beta is None else shown_beta)
        loss = loss + keep * (model(moved.clone()) - logits).square().mean(1)
        (shift.grad,) = derivatives(loss.sum(), shift)
        adam.step()
        with torch.no_grad():
            shift.clamp_(-1, 1)
        if step % 10 == 0 or step == steps:
            moved = (x + epsilon * shift).detach().clamp(low, high)
            with torch.no_grad():
                same = _answers(model(moved.clone())) == _answers(logits)
            shown = distance(moved.clone().requires_grad_(), shown_beta).detach()
            nearer = same & (shown < least)
            best = torch.where(nearer[:, None, None, None], moved, best)
            least = torch.where(nearer, shown, least)
    return best


def _answers(logits: Tensor) -> Tensor:
    """Return the predicted classes (N,); of a single logit 1 for "yes", where it is positive."""
    return logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()


def _check_wanted(x: Tensor, wanted: Tensor) -> Tensor:
    """Return the wanted map as (N or 1, H·W)."""
    shapes = [(count, 1, *x.shape[2:]) for count in (len(x), 1)]
    if isinstance(wanted, Tensor):
        check_plain("wanted", wanted)
    if not isinstance(wanted, Tensor) or tuple(wanted.shape) not in shapes:
        got = tuple(wanted.shape) if isinstance(wanted, Tensor) else type(wanted).__name__
        raise ValueError(f"wanted: got {got}; must be {shapes[0]} or {shapes[1]}.")
    goal = wanted.detach().to(x).flatten(1)
    if not goal.isfinite().all() or (goal < 0).any() or not (goal > 0).any(1).all():
        raise ValueError(
            "wanted: got negative or infinite values, or a map of zeros; must be finite numbers "
            "from 0, some of each map above 0."
        )
    return goal


def top_overlap(first: Tensor, second: Tensor, *, share: float = 0.1) -> Tensor:
    """Return which share of the strongest pixels two maps of each image have in common.

        |top(first) ∩ top(second)| / |top|

    top: the pixels with the largest absolute relevance, channels added up. Two unrelated maps have
    `share` in common in the mean.

    Args:
        first: relevance (N, C, H, W).
        second: relevance (N, C', H, W) of the same images.
        share: which share of the pixels counts as strongest, above 0 and at most 1.

    Returns:
        The top-k intersection of each image, (N,), from 0 to 1, in double precision.

    Raises:
        ValueError: if the maps differ in number or size, or the share is not as described.

    References:
        Ghorbani, Abid, Zou: Interpretation of Neural Networks Is Fragile. AAAI 2019,
        arXiv:1710.10547.

    Example:
        >>> import torch
        >>> from xai_course.robustness import top_overlap
        >>> first = torch.tensor([4.0, -3.0, 2.0, 1.0]).view(1, 1, 2, 2)
        >>> second = torch.tensor([4.0, 1.0, 2.0, -3.0]).view(1, 1, 2, 2)
        >>> top_overlap(first, second, share=0.5)
        tensor([0.5000], dtype=torch.float64)
    """
    for name, maps in (("first", first), ("second", second)):
        check_plain(name, maps)
    same_maps = first.ndim == second.ndim == 4 and len(first) == len(second)
    if not same_maps or first.shape[2:] != second.shape[2:]:
        raise ValueError(
            f"second: got shape {tuple(second.shape)}; must be maps of the number and size of the "
            f"first's, {tuple(first.shape)}."
        )
    check_number("share", share, above=0, most=1)
    top = max(1, round(share * first.shape[2:].numel()))
    strongest = []
    for maps in (first, second):
        strength = maps.detach().sum(1).abs().flatten(1)  # (N, H·W)
        is_top = torch.zeros_like(strength, dtype=torch.bool)
        strongest.append(is_top.scatter(1, strength.topk(top, 1).indices, True))
    return (strongest[0] & strongest[1]).sum(1).double() / top
