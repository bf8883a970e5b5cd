"""What an explanation of your own network would rest on: checked before anything is explained.

Which layer would Grad-CAM read? Which assumptions of the methods hold? Which methods refuse, and
why? (Whether the transform fits, and what the network says to a baseline, see `own_transform`.)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.hooks import NON_RELUS, capture_layer, relu_upper_bound
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.fully_connected.logits import logit_contributions
from xai_course.methods import report_methods
from xai_course.metrics.cost import count_passes
from xai_course.metrics.randomisation import reinitialised
from xai_course.relu.gates import local_linear
from xai_course.relu.gradients import gradient
from xai_course.report.memory import is_memory_error
from xai_course.report.network import UserModel, in_a_line
from xai_course.report.preprocessing import check_baselines, check_transform, transform_verdict
from xai_course.residual.blocks import block_map

__all__ = [
    "Finding",
    "Layer",
    "applicable_methods",
    "check_assumptions",
    "check_network",
    "find_layers",
]


# ---- layers --------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A module that returns feature maps: its name, its class, and the maps' shape (K, h, w).

    `default`: whether it returns what `grad_cam` takes when no layer is named. Where no module does
    (a function came after it, as DenseNet's last ReLU), that map stands last, without a name.
    """

    name: str
    kind: str
    shape: Sequence[int]
    default: bool


@torch.inference_mode(False)
@torch.no_grad()
def find_layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """List a network's layers for Grad-CAM: the last module at each resolution, in running order.

    `images` (N, C, H, W): one is enough. Of modules that end together, such as a block and its last
    ReLU, the outermost is named; one inside a block counts only if the block keeps its resolution.
    Left out are maps of one place, modules that do not return one tensor (N, K, h, w), and what is
    no module of the network (functions; the layers of a Keras model).
    One forward pass. Raises ValueError for a model in training mode.
    """
    _refuse_training(model)
    ran: dict[str, Any] = {}  # name: what it returned, innermost first
    hooks = []
    modules = dict(model.named_modules())
    for name, module in modules.items():

        def keep(_module: nn.Module, _inputs: Any, out: Any, name: str = name) -> None:
            ran[name] = out.detach().clone() if isinstance(out, Tensor) else out

        hooks.append(module.register_forward_hook(keep))
    try:
        with capture_layer(model) as last:
            model(images[:1].clone())
    except ValueError:  # no convolution
        last = []
    finally:
        for hook in hooks:
            hook.remove()

    def whole(name: str, out: Any) -> bool:
        """Say whether it is a map, and not from the inside of a block that changes the size."""
        if not name or not isinstance(out, Tensor) or out.ndim != 4 or out.shape[2:].numel() == 1:
            return False
        parts = name.split(".")
        around = [".".join(parts[:k]) for k in range(1, len(parts))]
        blocks = [n for n in around if n in ran and not isinstance(modules[n], nn.Sequential)]
        return all(isinstance(ran[n], Tensor) and ran[n].shape[2:] == out.shape[2:] for n in blocks)

    ends: dict[torch.Size, str] = {}
    taken = [
        n for n, out in ran.items() if last and isinstance(out, Tensor) and last[-1].equal(out)
    ]
    for name, out in ran.items():
        if whole(name, out):
            ends.pop(out.shape[2:], None)
            ends[out.shape[2:]] = name
    if taken and taken[-1]:  # a pooled map may have its size and come after it
        ends[last[-1].shape[2:]] = taken[-1]
    found = [
        Layer(name, type(modules[name]).__name__, list(ran[name].shape[1:]), name in taken)
        for name in ends.values()
    ]
    if last and not taken:
        found.append(Layer("", "no module returns it", list(last[-1].shape[1:]), True))
    return found


# ---- assumptions ---------------------------------------------------------------------------------


class Finding(NamedTuple):
    """Whether an assumption holds, and why one thinks so."""

    what: str
    holds: bool
    why: str


def check_assumptions(model: nn.Module, images: Tensor) -> list[Finding]:
    """Say which assumptions of the methods hold for a network: findings, each with its reason.

    `images` (N, C, H, W), two or more, as the network gets them. Nothing is taken on trust: each
    finding is a run of the network. What needs what: every method the first five; FullGrad and the
    exact sums the sixth; guided backpropagation that all activations are ReLUs; the class
    activation map a linear head; a block's map residual sums.

    Raises ValueError for a model in training mode, and for images that it cannot take.
    """
    _refuse_training(model)
    found = [Finding("evaluation mode", True, "batch normalisation and dropout stand still")]
    seen: Counter[str] = Counter()
    relus: Counter[str] = Counter()

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = getattr(func, "__name__", "").strip("_")
            if relu_upper_bound(func, args, kwargs or {}) is not None:
                relus[name] += 1
            elif name in NON_RELUS:
                seen[name] += 1
            return func(*args, **(kwargs or {}))

    with torch.no_grad():
        with Watch():
            logits = model(images.clone())
        again, alone = model(images.clone()), model(images[:1].clone())
    sums = logits.double().sum(1)
    shares = bool((logits >= 0).all() and ((sums - 1).abs() < 1e-3).all())
    found.append(
        Finding(
            "the output is logits",
            not shares,
            "each row is positive and sums to 1: these are probabilities; take the softmax away"
            if shares
            else f"from {logits.min():.1f} to {logits.max():.1f}, rows do not sum to 1",
        )
    )
    size = logits.abs().max().clamp_min(1e-30)
    gap = float((logits - again).abs().max() / size)
    found.append(Finding("the same answer twice", gap < 1e-4, f"they differ by {gap:.0e}"))
    gap = float((logits[:1] - alone).abs().max() / size)
    words = f"alone and in a batch of {len(images)} the logits differ by {gap:.0e}"
    found.append(Finding("each image for itself", gap < 1e-4, words))
    found.append(_tried("a derivative by the image", lambda: gradient(model, images[:1]), "found"))
    found.append(
        _tried(
            "piecewise linear",
            lambda: local_linear(model, images[:1]),
            "⟨gradient, image⟩ + biases is the logit",
        )
    )
    kinds = [f"{count} × {name}" for name, count in relus.most_common()]
    kinds += [f"{count} × {name}, which is none" for name, count in seen.most_common()]
    words = ", ".join(kinds) or "none was seen"
    found.append(Finding("all activations are ReLUs", bool(relus) and not seen, words))
    found.append(
        _tried(
            "a linear head",
            lambda: logit_contributions(model, images[:1]),
            "Σ feature · weight + bias is the logit",
        )
    )
    found.append(
        _tried("residual sums", lambda: block_map(model, images[:1]), "the blocks' sums were seen")
    )
    return found


def _tried(what: str, run: Callable[[], Any], found: str) -> Finding:
    """Make a finding of whether something runs."""
    try:
        run()
    except (ValueError, RuntimeError) as error:
        return Finding(what, False, in_a_line(error).removeprefix("model: "))
    return Finding(what, True, found)


def applicable_methods(
    model: nn.Module, images: Tensor, methods: Mapping[str, Explainer] | None = None
) -> dict[str, str]:
    """Try every method on the first image: its name, and "" or the reason why it does not apply.

    `methods`: None for `report_methods`. A refusal of a method is its own sentence; any other error is
    given with its name.
    """
    found = {}
    methods = report_methods((images.shape[2], images.shape[3])) if methods is None else methods
    with torch.no_grad():
        target = model(images[:1].clone()).argmax(1)
    for name, explain in methods.items():
        try:
            relevance_maps(model, explain, images[:1], target)
            found[name] = ""
        except ValueError as error:
            found[name] = in_a_line(error)
        except Exception as error:  # another library's method may raise anything
            if is_memory_error(error):
                raise
            found[name] = f"it stopped with {type(error).__name__}: {in_a_line(error)}"
    return found


def check_network(
    own: UserModel,
    pictures: Sequence[Image.Image],
    methods: Mapping[str, Explainer],
    labels: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Run all checks of a network on some pictures: plain values, for a report.

    "images": how many of the pictures give an input of the first one's size, and are used.
    "methods": those that apply; "refused": the others, with their reasons; "random": why there can
    be no untrained copy of the network, or ""; "cost": images forward, gradients back and seconds
    for one image; "holds", "layers", "transform", "baselines": see the functions of these names.

    Raises ValueError if no method applies, and as these functions do.
    """
    inputs = [own.transform(picture) for picture in pictures]
    used = [k for k, one in enumerate(inputs) if one.shape == inputs[0].shape]
    where = next(own.model.parameters(), torch.zeros(()))
    x = torch.stack([inputs[k] for k in used]).to(where)
    tried = applicable_methods(own.model, x, methods)
    apply = [name for name, reason in tried.items() if not reason]
    if not apply:
        name, reason = next(iter(tried.items()))
        raise ValueError(f"methods: none applies to this network. {name}: {reason}")
    try:
        reinitialised(own.model, x)
        random = ""
    except ValueError as error:
        random = in_a_line(error)
    cost, target = {}, own.model(x[:1]).argmax(1)
    for name in apply:
        start = time.perf_counter()
        passes = count_passes(own.model, partial(methods[name], own.model, x[:1], target))
        cost[name] = [*passes, round(time.perf_counter() - start, 3)]
    rows = check_transform(own, [pictures[k] for k in used], labels and [labels[k] for k in used])
    return {
        "images": len(used),
        "methods": apply,
        "refused": {name: reason for name, reason in tried.items() if reason},
        "random": random,
        "cost": cost,
        "holds": [list(finding) for finding in check_assumptions(own.model, x)],
        "layers": [list(layer) for layer in find_layers(own.model, x)],
        "transform": rows,
        "transform verdict": transform_verdict(rows),
        "baselines": check_baselines(own, x),
    }


def _refuse_training(model: nn.Module) -> None:
    if any(module.training for module in model.modules()):
        raise ValueError("model: got training mode; must be in evaluation mode: model.eval().")
