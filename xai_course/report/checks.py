"""What an explanation of the reader's own network rests on, checked before anything is explained.

Which layers can Grad-CAM read? Which assumptions of the methods hold? Which methods refuse the
network, and why? (`preprocessing` checks the transform and the baselines.)
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

from xai_course.core.hooks import capture_layer, function_name, intercept
from xai_course.core.inputs import check_model
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.outputs import output_kind
from xai_course.core.relu_calls import NON_RELUS, find_relu
from xai_course.core.switches import own_switches
from xai_course.core.translation import message, translate, translate_filled, use_language
from xai_course.fully_connected.logits import logit_contributions
from xai_course.methods import report_methods
from xai_course.metrics.cost import count_passes
from xai_course.relu.gates import local_linear
from xai_course.relu.gradients import gradient, guided_backprop
from xai_course.report.cost import Copies, pass_seconds
from xai_course.report.memory import is_memory_error
from xai_course.report.network import UserModel, one_line
from xai_course.report.preprocessing import check_baselines, check_transform, transform_verdict
from xai_course.report.reading import repeatable
from xai_course.report.reasons import reason_in_words
from xai_course.report.words import without_arguments
from xai_course.residual.blocks import block_map

__all__ = [
    "Finding",
    "Layer",
    "applicable_methods",
    "check_assumptions",
    "check_network",
    "find_layers",
    "finding_in_words",
]


CHECKED_ON = 8  # pictures that a network is checked on

# What a finding says was measured. It is on file in English, and translated when it is shown.
MODULES = message("that of all {count} modules; no statistics of a batch")
ENDS = message("from {low} to {high}, and no softmax or sigmoid at the end")
NO_LOGITS = message("these are {kind}; take the softmax or sigmoid at the end away")
BATCH = message("alone and in a batch of {count} the logits differ by {difference}")
TWICE = message("they differ by {difference}")
MEASURED = (MODULES, ENDS, NO_LOGITS, BATCH, TWICE)

# ---- layers --------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A module that returns feature maps.

    Attributes:
        name: its name in the model; "" for the output of a function, as DenseNet's last ReLU.
        kind: its class.
        shape: of its maps, (K, h, w).
        default: whether it returns what `grad_cam` takes when no layer is named.
    """

    name: str
    kind: str
    shape: Sequence[int]
    default: bool


@own_switches(grad=False)
def find_layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """List a network's layers for Grad-CAM: the last module at each resolution, in running order.

    Of modules that end together, such as a block and its last ReLU, the outermost is named. A
    module inside a block counts only if the block keeps its resolution. Left out are maps of one
    position, modules that do not return one tensor (N, K, h, w), functions, and the layers of a
    Keras model.

    Args:
        model: a classifier in evaluation mode.
        images: (N, C, H, W), of which the first is used.

    Returns:
        The layers. If no module returns what `grad_cam` takes by default, that map is the last
        entry, without a name.

    Raises:
        ValueError: for a model in training mode.

    Cost:
        One forward pass.
    """
    check_model(model)
    modules = dict(model.named_modules())
    outputs, default_map = _record_outputs(model, images[:1])
    by_size: dict[torch.Size, str] = {}  # the last module at each resolution
    for name, output in outputs.items():
        if _is_whole_map(name, outputs, modules):
            by_size.pop(output.shape[2:], None)  # so that the new entry comes last
            by_size[output.shape[2:]] = name
    default_names = [
        name
        for name, output in outputs.items()
        if default_map is not None and isinstance(output, Tensor) and default_map.equal(output)
    ]
    if default_map is not None and default_names and default_names[-1]:
        # A pooled map may have the same size and come later; the default stands in its place.
        by_size[default_map.shape[2:]] = default_names[-1]
    layers = [
        Layer(
            name,
            type(modules[name]).__name__,
            list(outputs[name].shape[1:]),
            name in default_names,
        )
        for name in by_size.values()
    ]
    if default_map is not None and not default_names:
        layers.append(Layer("", message("no module returns it"), list(default_map.shape[1:]), True))
    return layers


def _record_outputs(model: nn.Module, image: Tensor) -> tuple[dict[str, Any], Tensor | None]:
    """Run a model once: what each module returned, innermost first, and Grad-CAM's default map."""
    outputs: dict[str, Any] = {}

    def record(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        # A copy, as a later step may change the output in place.
        outputs[name] = output.detach().clone() if isinstance(output, Tensor) else output

    hooks = [
        module.register_forward_hook(partial(record, name))
        for name, module in model.named_modules()
    ]
    try:
        with capture_layer(model) as captured:
            model(image.clone())
    except ValueError:  # the model has no convolution
        captured = []
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, captured[-1] if captured else None


def _is_whole_map(name: str, outputs: dict[str, Any], modules: dict[str, nn.Module]) -> bool:
    """Say whether a module returned a map, and no block around it changes the map's size."""
    output = outputs[name]
    if not name or not isinstance(output, Tensor) or output.ndim != 4:
        return False
    if output.shape[2:].numel() == 1:
        return False
    parts = name.split(".")
    around = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    # A Sequential is no block: its steps may have different sizes.
    blocks = [n for n in around if n in outputs and not isinstance(modules[n], nn.Sequential)]
    return all(
        isinstance(outputs[n], Tensor) and outputs[n].shape[2:] == output.shape[2:] for n in blocks
    )


# ---- assumptions ---------------------------------------------------------------------------------


class Finding(NamedTuple):
    """Whether an assumption holds for a network.

    Attributes:
        what: the assumption.
        passed: whether it holds.
        why: what was measured.
    """

    what: str
    passed: bool
    why: str


def check_assumptions(model: nn.Module, images: Tensor) -> list[Finding]:
    """Check which assumptions of the methods hold for a network, by running it.

    Every method needs the first five. `Method.needs` in the registry says what else each needs.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), two or more, as the network takes them.

    Returns:
        A finding for each assumption.

    Raises:
        ValueError: for a model in training mode, and for images that it cannot take.

    Cost:
        Three forward passes, and those of the methods that are tried on the first image.
    """
    check_model(model)
    counts: Counter[str] = Counter()  # of the ReLUs
    others: Counter[str] = Counter()  # of the other activations

    def count(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = function_name(func)
        if find_relu(func, args, kwargs) is not None:
            counts[name] += 1
        elif name in NON_RELUS:
            others[name] += 1
        return func(*args, **kwargs)

    with torch.no_grad():
        with intercept(count):
            logits = model(images.clone())
        again, alone = model(images.clone()), model(images[:1].clone())
    first, modules = images[:1], len(list(model.modules()))
    return [
        # `check_model` has looked at each module.
        Finding(message("evaluation mode"), True, MODULES.format(count=modules)),
        _are_logits(model, images[:1], logits),
        *_are_repeatable(logits, again, alone),
        _tried(
            message("a derivative by the image"), lambda: gradient(model, first), message("found")
        ),
        _tried(
            message("piecewise linear"),
            lambda: local_linear(model, first),
            message("⟨gradient, image⟩ + biases is the logit"),
        ),
        _are_relus(model, first, counts, others),
        _tried(
            message("a linear head"),
            lambda: logit_contributions(model, first),
            message("Σ feature · weight + bias is the logit"),
        ),
        _tried(
            message("residual sums"),
            lambda: block_map(model, first),
            message("the blocks' sums were seen"),
        ),
    ]


def _are_logits(model: nn.Module, image: Tensor, logits: Tensor) -> Finding:
    """Check that the output (N, classes) is not probabilities, or their logarithms."""
    kind = output_kind(logits)
    if kind == "logits":  # the values do not show it; the graph shows a last sigmoid
        try:
            with torch.enable_grad():
                kind = output_kind(model(image.clone().requires_grad_().clone()))
        except RuntimeError:  # a model that cannot be differentiated
            kind = "logits"
    if kind == "logits":
        low, high = (f"{end:.1f}".replace("-", "−") for end in (logits.min(), logits.max()))
        why = ENDS.format(low=low, high=high)
    else:
        why = NO_LOGITS.format(kind=kind)
    return Finding(message("the output is logits"), kind == "logits", why)


def _are_repeatable(logits: Tensor, again: Tensor, alone: Tensor) -> tuple[Finding, Finding]:
    """Compare logits (N, classes) with those of a second run, and of the first image alone."""
    size = logits.abs().max().clamp_min(1e-30)
    twice = float((logits - again).abs().max() / size)
    single = float((logits[:1] - alone).abs().max() / size)
    batch = BATCH.format(count=len(logits), difference=f"{single:.0e}")
    again_words = TWICE.format(difference=f"{twice:.0e}")
    return (
        Finding(message("the same answer twice"), twice < 1e-4, again_words),
        Finding(message("each image for itself"), single < 1e-4, batch),
    )


def _are_relus(
    model: nn.Module, image: Tensor, relus: Counter[str], others: Counter[str]
) -> Finding:
    """Check that there are ReLUs, and no other activations and products."""
    kinds = [f"{count} × {name}" for name, count in relus.most_common()]
    kinds += [f"{count} × {name}, which is none" for name, count in others.most_common()]
    what, why = message("all activations are ReLUs"), ", ".join(kinds) or message("none was seen")
    if others or not relus:
        return Finding(what, False, why)
    # Its names do not show every step of a network; autograd's graph, which this reads, does.
    return _tried(what, lambda: guided_backprop(model, image), why)


def _tried(what: str, run: Callable[[], Any], why: str) -> Finding:
    """Return a finding that something runs, or its error."""
    try:
        run()
    except Exception as error:  # another's network may raise anything
        if is_memory_error(error):
            raise
        words = without_arguments(one_line(error)).removeprefix("model: ")
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Finding(what, False, f"{kind}{words}")
    return Finding(what, True, why)


def finding_in_words(what: str, passed: bool, why: str) -> tuple[str, str, str]:
    """Return a finding in the reader's language, for a table.

    Args:
        what: of a `Finding`, as are the others.
        passed: whether the assumption holds.
        why: what was measured.

    Returns:
        The three in words.
    """
    result = message("passed") if passed else message("failed")
    found = translate_filled(why, MEASURED)
    if found == why:
        found = reason_in_words(why)
    return translate(what), translate(result), found


# ---- methods -------------------------------------------------------------------------------------


def applicable_methods(
    model: nn.Module, images: Tensor, methods: Mapping[str, Explainer] | None = None
) -> dict[str, str]:
    """Try every method on one image, and say which apply.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), of which the first is used.
        methods: explainers by name; None for `report_methods`.

    Returns:
        By method, "" if it applies, else the reason: its own sentence, or another error with its
        name.

    Raises:
        MemoryError: if memory does not suffice; or the device's error for it.
    """
    if methods is None:
        methods = report_methods((images.shape[2], images.shape[3]))
    return _try_methods(model, images[:1], methods)[0]


def _try_methods(
    model: nn.Module, image: Tensor, methods: Mapping[str, Explainer]
) -> tuple[dict[str, str], dict[str, list[float]]]:
    """Explain one image by every method.

    Returns why each refuses, or "", and what each that does not refuse costs: images forward,
    gradients back, seconds.
    """
    with torch.no_grad():
        target = model(image.clone()).argmax(1)
    reasons, costs = {}, {}
    for name, explainer in methods.items():
        call = partial(relevance_maps, model, explainer, image, target)
        start = time.perf_counter()
        try:
            passes = count_passes(model, call)
            costs[name] = [*passes, round(time.perf_counter() - start, 3)]
            reasons[name] = ""
        except ValueError as error:
            reasons[name] = one_line(error)
        except Exception as error:  # another library's method may raise anything
            if is_memory_error(error):
                raise
            reasons[name] = f"it stopped with {type(error).__name__}: {one_line(error)}"
    return reasons, costs


def check_network(
    user_model: UserModel,
    pictures: Sequence[Image.Image],
    methods: Mapping[str, Explainer],
    labels: Sequence[int | None] | None = None,
    copies: Copies | None = None,
) -> dict[str, Any]:
    """Run all checks of a network on some pictures.

    Args:
        user_model: the network with its transform and classes.
        pictures: RGB pictures. Those that give an input of the first one's size are used: all for
            the transform, and the first eight for everything else.
        methods: explainers by name.
        labels: the right answer of each picture, None for one whose answer is not known; or None.
        copies: of the network, if they are needed again afterwards.

    Returns:
        Plain values for a report: "images", how many pictures are used; "methods", the names of
        those that apply; "refused", the others with their reasons; "random", why there can be no
        untrained copy of the network, or ""; "cost", images forward, gradients back and seconds
        for one image, with the `quick_copy`; "pass", the `pass_seconds` of one image with it;
        "assumptions", "layers", "transform", "transform verdict" and "baselines", the results of
        the functions of these names.

    Raises:
        ValueError: if no method applies, and as these functions do.
    """
    with use_language("en"):  # what is on file is in English, whoever reads it
        return _check_network(user_model, pictures, methods, labels, copies)


def _check_network(
    user_model: UserModel,
    pictures: Sequence[Image.Image],
    methods: Mapping[str, Explainer],
    labels: Sequence[int | None] | None,
    copies: Copies | None,
) -> dict[str, Any]:
    model = user_model.model
    transform = repeatable(user_model.transform)
    inputs = [transform(picture) for picture in pictures]
    used = [index for index, one in enumerate(inputs) if one.shape == inputs[0].shape]
    like = next(model.parameters(), torch.zeros(()))
    images = torch.stack([inputs[index] for index in used[:CHECKED_ON]]).to(like)
    copies = copies or Copies(model)
    quick = copies.quick(images)
    _tried("", lambda: gradient(quick, images[:1]), "")  # a network's first passes take longer
    reasons, costs = _try_methods(quick, images[:1], methods)
    applicable = [name for name, reason in reasons.items() if not reason]
    if not applicable:
        name, reason = next(iter(reasons.items()))
        raise ValueError(f"methods: got none that applies to this network. {name}: {reason}")
    rows = check_transform(
        user_model,
        [pictures[index] for index in used],
        None if labels is None else [labels[index] for index in used],
    )
    return {
        "images": len(images),
        "methods": applicable,
        "refused": {name: without_arguments(reason) for name, reason in reasons.items() if reason},
        "random": _why_no_untrained_copy(copies, images),
        "cost": costs,
        "pass": pass_seconds(quick, images[:1]),
        "assumptions": [list(finding) for finding in check_assumptions(model, images)],
        "layers": [list(layer) for layer in find_layers(model, images)],
        "transform": rows,
        "transform verdict": list(transform_verdict(rows)),
        "baselines": check_baselines(user_model, images),
    }


def _why_no_untrained_copy(copies: Copies, images: Tensor) -> str:
    """Say why a network's weights cannot be drawn anew; "" if they can."""
    try:
        copies.untrained(images)
    except ValueError as error:
        return one_line(error)
    return ""
