"""Attacks on the explanation: the same picture to the eye, the same answer, another map.

The attacker moves the pixels a little, so that a map comes to look as he wants, while the logits
stay. He follows the slope of the *map*, a second derivative. A network of ReLUs has none (it is
piecewise linear), so on the way each ReLU is replaced by a softplus; the result is judged on the
network as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.hooks import capture_layer, relu_upper_bound
from xai_course.core.inputs import validate_inputs

__all__ = ["MANIPULABLE", "manipulate_map", "softplus_relus", "top_overlap"]


@contextmanager
def softplus_relus(beta: float) -> Iterator[None]:
    """Make every ReLU that runs inside a softplus, which has no kink; the model is not touched.

        relu(x) becomes log(1 + exp(β · x)) / β        → relu(x) as β → ∞

    Every spelling of ReLU is seen, in place or not; a ReLU6 is rounded off at both ends. An
    explainer called inside explains the softened network: `with softened(10): gradient(...)` is the
    β-smoothed gradient. Raises ValueError unless β is above 0.

    Dombrowski et al.: Explanations Can Be Manipulated and Geometry Is to Blame. NeurIPS 2019,
    arXiv:1906.07983.
    """
    if not isinstance(beta, int | float) or not 0 < beta < torch.inf:
        raise ValueError(f"beta: got {beta!r}; allowed is a finite number above 0.")

    class Soft(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            top = relu_upper_bound(func, args, kwargs)
            if top is None:
                return func(*args, **kwargs)
            x, *rest = args if args else (kwargs.pop("input"),)
            probe = torch.zeros(1)
            in_place = func(probe, *rest, **kwargs) is probe
            given = x.clone() if in_place else x  # what softplus keeps for the way back
            soft = F.softplus(given, beta)
            if top < torch.inf:
                soft = soft - F.softplus(given - top, beta)
            return x.copy_(soft) if in_place else soft

    with Soft():
        yield


def _gradient(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    chosen = model(x.clone()).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(chosen, x, create_graph=True)[0]


def _integrated_gradients(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    steps = 8
    shares = ((torch.arange(steps).to(x) + 0.5) / steps).view(-1, 1, 1, 1, 1)
    way = (base + shares * (x - base)).flatten(0, 1)  # (steps · N, C, H, W)
    slopes = _gradient(model, way, base, classes.repeat(steps))
    return (x - base) * slopes.view(steps, *x.shape).mean(0)


def _grad_cam(model: nn.Module, x: Tensor, base: Tensor, classes: Tensor) -> Tensor:
    with capture_layer(model) as seen:
        chosen = model(x.clone()).gather(1, classes[:, None]).sum()
    (slope,) = torch.autograd.grad(chosen, seen[-1], create_graph=True)
    maps = (slope.mean((2, 3), keepdim=True) * seen[-1]).sum(1, keepdim=True)
    return F.interpolate(maps, x.shape[2:], mode="bilinear", align_corners=False)


# The maps that can be aimed at. They are those of `relu` and `expectation`, but keep their history,
# so that they can be differentiated once more.
MANIPULABLE: dict[str, Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]] = {
    "gradient": _gradient,
    "integrated gradients": _integrated_gradients,
    "Grad-CAM": _grad_cam,
}


@torch.inference_mode(False)
@torch.enable_grad()
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
    """Change images within ε so that a map of them looks as wanted, and the answer stays.

    `images`: pixels (N, C, H, W) in [low, high]; for a network of normalised images the model is
    `NormalisingModel(network)`, see `attack`. Returned are the disguised pixels. `wanted` (N or 1, 1, H,
    W), from 0: how strong the relevance shall be at each pixel, in any unit. `targets`: the classes
    that the maps are for; None for the predicted ones. `explainer`: the map to forge, one of
    DISGUISES. `epsilon`: how far a pixel may move. `steps`: of Adam, which starts at the images, so
    nothing is random. `beta`: of the softplus that stands for ReLU on the way (`softplus_relus`).
    `shown_beta`: None where the map of the network itself is shown, or the β of a defender who
    shows that of the softened one: then it is aimed at. `keep`: the weight of the logits, which
    shall stay as they are.

        minimise  1 - cos(|map(x')|, wanted) + keep · mean over classes of (f(x') - f(x))²
        subject to  |x' - x| ≤ ε,  low ≤ x' ≤ high

    with the map's channels added up. Every tenth step is judged on what is shown, with ReLUs;
    what comes nearest to the wanted map with the same predicted class is returned, which
    may be the image itself. Raises ValueError for wrong arguments, and for images outside
    [low, high].

    Dombrowski et al.: Explanations Can Be Manipulated and Geometry Is to Blame. NeurIPS 2019,
    arXiv:1906.07983; Ghorbani, Abid, Zou: Interpretation of Neural Networks Is Fragile. AAAI 2019,
    arXiv:1710.10547.
    """
    from tqdm.auto import tqdm

    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets)
    _check_numbers(x, epsilon, steps, keep, low, high)
    goal, base = _check_aim(x, wanted, explainer), x.mean((2, 3), keepdim=True)

    def missed(moved: Tensor, beta: float | None) -> Tensor:
        with softplus_relus(beta) if beta is not None else nullcontext():
            relevance = MANIPULABLE[explainer](model, moved, base, classes).sum(1, keepdim=True)
        return 1 - F.cosine_similarity(relevance.abs().flatten(1), goal, eps=1e-12)

    with torch.no_grad():
        before = model(x.clone())
    shift = torch.zeros_like(x, requires_grad=True)  # in units of ε
    adam = torch.optim.Adam([shift], lr=0.1)
    best, least = x.clone(), missed(x.clone().requires_grad_(), shown_beta).detach()
    for step in tqdm(range(1, steps + 1), "disguise", leave=False, disable=not progress):
        moved = (x + epsilon * shift).clamp(low, high)
        loss = missed(moved, beta if shown_beta is None else shown_beta)
        loss = loss + keep * (model(moved.clone()) - before).square().mean(1)
        (shift.grad,) = torch.autograd.grad(loss.sum(), shift)
        adam.step()
        with torch.no_grad():
            shift.clamp_(-1, 1)
        if step % 10 and step < steps:
            continue
        moved = (x + epsilon * shift).detach().clamp(low, high)
        with torch.no_grad():
            same = model(moved.clone()).argmax(1) == before.argmax(1)
        now = missed(moved.clone().requires_grad_(), shown_beta).detach()
        nearer = same & (now < least)
        best = torch.where(nearer[:, None, None, None], moved, best)
        least = torch.where(nearer, now, least)
    return best


def _check_numbers(
    x: Tensor, epsilon: float, steps: int, keep: float, low: float, high: float
) -> None:
    for name, value in (("epsilon", epsilon), ("keep", keep)):
        if not isinstance(value, int | float) or not 0 <= value < torch.inf:
            raise ValueError(f"{name}: got {value!r}; allowed is a finite number from 0.")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps: got {steps!r}; allowed is a whole number from 1.")
    least, most = float(x.min()), float(x.max())
    if not low <= least <= most <= high:
        raise ValueError(
            f"images: got values from {least:.3g} to {most:.3g}; allowed are pixels in "
            f"[{low:g}, {high:g}]. For a network of normalised images, attack OnPixels(network)."
        )


def _check_aim(x: Tensor, wanted: Tensor, explainer: str) -> Tensor:
    """Return the wanted map as (N or 1, H·W)."""
    if explainer not in MANIPULABLE:
        raise ValueError(f"explainer: got {explainer!r}; allowed are {', '.join(MANIPULABLE)}.")
    shapes = [(count, 1, *x.shape[2:]) for count in (len(x), 1)]
    if not isinstance(wanted, Tensor) or tuple(wanted.shape) not in shapes:
        came = tuple(wanted.shape) if isinstance(wanted, Tensor) else type(wanted).__name__
        raise ValueError(f"wanted: got {came}; allowed is {shapes[0]} or {shapes[1]}.")
    goal = wanted.detach().to(x).flatten(1)
    if not goal.isfinite().all() or (goal < 0).any() or not (goal > 0).any(1).all():
        raise ValueError("wanted: got another map; allowed are finite numbers from 0, some above.")
    return goal


def top_overlap(first: Tensor, second: Tensor, *, share: float = 0.1) -> Tensor:
    """Return which share of the strongest pixels two maps of each image have in common, (N,).

    Relevance (N, C, H, W), channels added up; strongest: of the largest absolute value, this
    `share` of the pixels. Two maps that know nothing of one another share `share` in the mean. The
    top-k intersection of Ghorbani et al., arXiv:1710.10547. Raises ValueError for maps of different
    sizes, and a share outside (0, 1].
    """
    if (
        first.ndim != 4
        or first.shape[::2] != second.shape[::2]
        or first.shape[3] != second.shape[3]
    ):
        raise ValueError(
            f"second: got shape {tuple(second.shape)}; allowed is the number and size of the "
            f"first's, {tuple(first.shape)}."
        )
    if not 0 < share <= 1:
        raise ValueError(f"share: got {share}; allowed is above 0 and at most 1.")
    count = max(1, round(share * first[0, 0].numel()))
    strongest = []
    for maps in (first, second):
        size = maps.detach().sum(1).abs().flatten(1)
        chosen = torch.zeros_like(size, dtype=torch.bool)
        strongest.append(chosen.scatter(1, size.topk(count, 1).indices, True))
    return (strongest[0] & strongest[1]).sum(1).double() / count
