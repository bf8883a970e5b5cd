"""Is there a non-linear step that is not intercepted? A test by numbers, whatever its spelling.

Autograd's graph (`core/graph.py`) does not show how a mask was made: `x * (x > 0)` is a product
with a constant there. So the model is run along a line x, x + d, x + 2d, while all steps that are
known are held: each ReLU has units that are open, drawn at random, and a max-pool keeps its
positions. Then the logits lie on a line, too, unless another step is non-linear.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xai_course.core.hooks import function_name, intercept
from xai_course.core.max_pools import MAX_POOLS, max_pool
from xai_course.core.randomness import new_generator
from xai_course.core.relu_calls import NON_RELUS, find_relu, works_in_place

__all__ = ["OTHER_STEPS", "has_hidden_step"]

# Non-linear steps that are no ReLU, and known by their names.
OTHER_STEPS = NON_RELUS | {
    "group_norm", "instance_norm", "layer_norm", "normalize", "rms_norm",
    "scaled_dot_product_attention",
}  # fmt: skip

Step = Callable[[Tensor], Tensor]  # what a known step does to another input, as it did at x


@torch.no_grad()
def has_hidden_step(model: nn.Module, image: Tensor, *, others: bool = False) -> bool:
    """Tell whether a model has a non-linear step besides ReLUs and max-pools that are intercepted.

        f(x) - 2 f(x + d) + f(x + 2d) ≠ 0        with ReLUs and max-pools held

    Args:
        model: a classifier in evaluation mode.
        image: (1, C, H, W).
        others: whether `OTHER_STEPS` are allowed. Then what enters each of them must lie on a line,
            and what leaves it is kept as it was at x.

    Returns:
        Whether the second difference is more than rounding, or a step runs for one image and not
        for another. A model in half precision is measured as a copy in single precision.

    Cost:
        Three forward passes of one image, once for each model.
    """
    modules = [id(module) for module in model.modules()]  # others if the caller replaced one
    found = _FOUND.setdefault(model, {})
    if others not in found or found[others][0] != modules:
        found[others] = modules, _is_curved_somewhere(model, image, others)
    return found[others][1]


# By model, and by whether `OTHER_STEPS` are allowed: its modules, and what was found.
_FOUND: WeakKeyDictionary[nn.Module, dict[bool, tuple[list[int], bool]]] = WeakKeyDictionary()


def _is_curved_somewhere(model: nn.Module, image: Tensor, others: bool) -> bool:
    """Run a model along a line, with known steps held; tell whether the logits leave a line."""
    if torch.finfo(image.dtype).eps > 1e-4:  # half precision, whose rounding hides many steps
        with suppress(Exception):  # the model may not take another precision
            return _is_curved_somewhere(copy.deepcopy(model).float(), image.float(), others)
    spread = image.std(correction=0).item() or 1.0
    generator = new_generator(0)
    shift = torch.randn(image.shape, generator=generator, dtype=torch.double)
    shift = 3 * spread * shift.to(image)
    held: list[Step] = []
    points = [_run(model, image, held, None, generator, others)]
    try:
        points += [
            _run(model, image + k * shift, held, iter(held), generator, others) for k in (1, 2)
        ]
        return any(_is_curved(*values) for values in zip(*points, strict=True))
    except (StopIteration, RuntimeError, ValueError, IndexError):  # other steps than at x
        return True


def _run(
    model: nn.Module,
    image: Tensor,
    held: list[Step],
    again: Iterator[Step] | None,
    generator: torch.Generator,
    others: bool,
) -> list[Tensor]:
    """Run a model; return what enters each of the other steps, and the logits.

    The first run, without `again`, decides what the known steps do, and adds that to `held`.
    """
    entered: list[Tensor] = []

    def handle(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        known = _known_step(func, args, kwargs, generator, others)
        if known is None:
            return func(*args, **kwargs)
        x, step = known
        if again is None:
            held.append(step)
        else:
            step = next(again)
        if others and function_name(func) in OTHER_STEPS:
            entered.append(x.clone())
        result = step(x)
        if works_in_place(func) or kwargs.get("inplace"):
            return x.copy_(result)
        return result

    with intercept(handle):
        logits = model(image.clone())
    return [*entered, logits]


def _known_step(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    generator: torch.Generator,
    others: bool,
) -> tuple[Tensor, Step] | None:
    """Return a known step's input, and what it does when it is held; None for any other call."""
    relu = find_relu(func, args, kwargs)
    if relu is not None:
        # Units of the image itself may all be closed, and then nothing behind them would show.
        drawn = torch.rand(relu.input.shape, generator=generator) < 0.5
        is_open = drawn.to(relu.input.device)
        return relu.input, lambda x: x * is_open
    name = function_name(func).removesuffix("_with_indices")
    if name in MAX_POOLS and not kwargs.get("return_indices"):
        maxima, positions = max_pool(name, *args, **kwargs)
        return args[0], lambda x: x.flatten(2).gather(2, positions.flatten(2)).view(maxima.shape)
    if others and name in OTHER_STEPS:
        x = args[0] if args else kwargs["input"]
        options = {key: value for key, value in kwargs.items() if key not in ("input", "inplace")}
        value = func(x.clone(), *args[1:], **options)
        return x, lambda x: value.clone()
    return None


def _is_curved(first: Tensor, second: Tensor, third: Tensor) -> bool:
    """Tell whether three values do not lie on a line, by more than rounding."""
    size = torch.stack([first, second, third]).abs().max()
    gap = (first - 2 * second + third).abs().max()
    return not bool(gap <= torch.finfo(first.dtype).eps ** 0.5 * size)
