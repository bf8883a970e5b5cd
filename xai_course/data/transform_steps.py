"""A transform as plain data, so that it can be kept beside weights and built again; never as code.

A step is a dict: the name of one of torchvision's classes under "step", and its settings.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

__all__ = ["build_transform", "describe_transform", "output_size"]


# torchvision's classes that do the same to every image, and their settings.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Resize": ("size", "interpolation", "max_size", "antialias"),
    "CenterCrop": ("size",),
    "Pad": ("padding", "fill", "padding_mode"),
    "Grayscale": ("num_output_channels",),
    "Normalize": ("mean", "std"),
    "ToTensor": (),
    "PILToTensor": (),
    "ConvertImageDtype": ("dtype",),
    "ToImage": (),
    "ToPureTensor": (),
    "ToDtype": ("dtype", "scale"),
    "RGB": (),
    "ImageClassification": (
        *("crop_size", "resize_size", "mean", "std", "interpolation", "antialias"),
    ),
}
HOMES = {  # where a class is from, and what is written in front of its name
    "torchvision.transforms.v2": "v2.",
    "torchvision.transforms._presets": "",
    "torchvision.transforms": "",
}
DTYPES = {"float32": torch.float32, "uint8": torch.uint8}
MOST_STEPS, LARGEST = 20, 4096  # in a description from elsewhere

Step = dict[str, Any]


def describe_transform(transform: Any) -> list[Step]:
    """Describe a transform by plain values, from which `build_transform` makes it again.

    Args:
        transform: one of torchvision's classes that do the same to every image (resize, crop, pad,
            grey, to a tensor, normalise), or a `Compose` of them, such as `modern_transform()`.

    Returns:
        Its steps in order, as JSON can hold them.

    Raises:
        ValueError: for a random step (an augmenting transform), and for anything else that is not
            one of these classes, such as a function.

    Example:
        >>> from xai_course.data import article_transform, describe_transform
        >>> [step["step"] for step in describe_transform(article_transform(64))]
        ['Resize', 'ToTensor', 'Normalize']
    """
    steps = [_describe_step(step) for step in _flat(transform)]
    if len(steps) > MOST_STEPS:
        raise ValueError(f"transform: got {len(steps)} steps; must be at most {MOST_STEPS}.")
    for step in steps:
        _check_step(step)
    return steps


def build_transform(steps: Any) -> Callable[[Image.Image], Tensor]:
    """Build the transform that `describe_transform` described. Nothing but known classes is called.

    Args:
        steps: the description, from a file of anyone's.

    Returns:
        A function from an RGB image to a network's input, with the numbers of the one described.

    Raises:
        ValueError: if it is no such description.

    Example:
        >>> from xai_course.data import build_transform, describe_transform, modern_transform
        >>> steps = describe_transform(modern_transform(64))
        >>> describe_transform(build_transform(steps)) == steps
        True
    """
    from torchvision.transforms import v2

    if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
        raise ValueError(f"transform: got {_short(steps)}; must be a list of 1 to {MOST_STEPS}.")
    for step in steps:
        _check_step(step)
    try:
        return v2.Compose([_build_step(step) for step in steps])  # type: ignore[no-any-return]
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"transform: it cannot be built as described ({error}).") from error


def output_size(transform: Callable[[Image.Image], Any]) -> tuple[int, int] | None:
    """Return the size that a transform gives to every image.

    Args:
        transform: a function of an RGB image.

    Returns:
        Height and width in pixels; None if they depend on the image.

    Raises:
        ValueError: if its result is no tensor (C, H, W).

    Example:
        >>> from xai_course.data import modern_transform
        >>> from xai_course.data.transform_steps import output_size
        >>> output_size(modern_transform(64))
        (64, 64)
    """
    # Images larger than what is usual, and of different shapes.
    results = [transform(Image.new("RGB", size)) for size in ((1280, 960), (960, 1284))]
    for result in results:
        if not isinstance(result, Tensor) or result.ndim != 3:
            raise ValueError(
                f"transform: got a result of the type {type(result).__name__}; must be a tensor "
                "(C, H, W)."
            )
    one, other = ((result.shape[1], result.shape[2]) for result in results)
    return one if one == other else None


# ---- one step ------------------------------------------------------------------------------------


def _flat(transform: Any) -> Iterable[Any]:
    """Yield the steps of a transform, and of those in it."""
    parts: Any = None
    if _home(transform) is not None and type(transform).__name__ == "Compose":
        parts = transform.transforms
    elif isinstance(transform, nn.Sequential):
        parts = transform
    if parts is None:
        yield transform
    else:
        for part in parts:
            yield from _flat(part)


def _home(step: Any) -> str | None:
    """Return the module of torchvision that a step's class is from; None for any other class."""
    module = type(step).__module__
    return next((h for h in HOMES if module == h or module.startswith(f"{h}.")), None)


def _describe_step(step: Any) -> Step:
    """Describe one step, or raise ValueError."""
    home, name = _home(step), type(step).__name__
    if home is None or name not in SETTINGS:
        got = getattr(step, "__qualname__", name)
        raise ValueError(
            f"transform: got the step {got}; must be one of {', '.join(SETTINGS)} of torchvision, "
            "which do the same to every image. Give the transform of the test images; keep another "
            "one in a function of yours, FILE.py:FUNCTION."
        )
    settings = {setting: _plain(getattr(step, setting, None)) for setting in SETTINGS[name]}
    return {"step": HOMES[home] + name, **settings}


def _plain(value: Any) -> Any:
    """Return a setting as JSON can hold it."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if type(value).__name__ == "InterpolationMode":
        return value.value
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _check_step(step: Any) -> None:
    """Raise ValueError unless a step is one of the known, with settings of the right kinds."""
    name = step.get("step") if isinstance(step, dict) else None
    wanted = SETTINGS.get(name.removeprefix("v2.")) if isinstance(name, str) else None
    if wanted is None or set(step) != {"step", *wanted}:
        raise ValueError(
            f"transform: got the step {_short(step)}; must be one of {', '.join(SETTINGS)} with "
            "all its settings."
        )
    for setting in wanted:
        if not _fits(setting, step[setting]):
            raise ValueError(
                f"transform: got {setting}={_short(step[setting])} for {name}; must be as "
                "torchvision takes it, with sides of at most "
                f"{LARGEST} pixels."
            )


def _fits(setting: str, value: Any) -> bool:
    """Return whether a setting has a plain value of its kind."""
    values = value if isinstance(value, list) else [value]
    if setting in ("size", "crop_size", "resize_size", "padding", "num_output_channels"):
        least = 0 if setting == "padding" else 1
        return 0 < len(values) <= 4 and all(_is_number(v, int, least, LARGEST) for v in values)
    if setting == "max_size":
        return value is None or _is_number(value, int, 1, LARGEST)
    if setting in ("mean", "std", "fill"):
        is_given = 0 < len(values) <= 4 and all(_is_number(v, (int, float)) for v in values)
        return is_given and (setting != "std" or all(v > 0 for v in values))
    if setting in ("scale", "antialias"):
        return isinstance(value, bool) or value is None
    if setting == "dtype":
        return isinstance(value, str) and value in DTYPES
    return isinstance(value, str)  # interpolation, padding_mode: torchvision checks them


def _is_number(value: Any, kind: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Return whether a value is a finite number of a kind within limits, and not True or False."""
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and least <= value <= most


def _build_step(step: Step) -> Any:
    """Build one step whose settings were checked."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode, _presets, v2

    name = step["step"]
    home: Any = v2 if name.startswith("v2.") else transforms
    home = _presets if name == "ImageClassification" else home
    kind = getattr(home, name.removeprefix("v2."))
    settings = {}
    for setting, parameter in inspect.signature(kind).parameters.items():
        value = step.get(setting, parameter.default)
        if value == _plain(parameter.default):
            continue  # the class sets it itself, in its own form
        if setting == "interpolation":
            value = InterpolationMode(value)
        if setting == "dtype":
            value = DTYPES[value]
        if setting in ("crop_size", "resize_size"):  # a list of one, where one number is taken
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
        settings[setting] = value
    return kind(**settings)


def _short(value: Any) -> str:
    """Return a value in few characters, for an error."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
