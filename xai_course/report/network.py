"""The reader's own network and pictures: loaded, tried, and described.

Nothing here explains: `checks` says what an explanation rests on, `run` explains.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from xai_course.data.folders import HARMLESS
from xai_course.data.transforms import IMAGENET_MEAN, IMAGENET_STD, modern_transform
from xai_course.models.pretrained import PACKAGED, photo_network
from xai_course.models.wrappers import ChannelsLast
from xai_course.storage.atomic_files import hash_tensors
from xai_course.storage.checkpoints import load_checkpoint

__all__ = [
    "Transform",
    "UserModel",
    "image_files",
    "load_model",
    "one_line",
    "read_labels",
    "wrap_model",
]


Transform = Callable[[Image.Image], Tensor]
SOURCES = (
    f"must be {PACKAGED}, torchvision:NAME or timm:NAME (each with :random or :FILE behind, "
    "for random weights or weights of yours), a checkpoint of this course (.safetensors with its "
    ".json), a .keras file, or MODULE:FUNCTION or FILE.py:FUNCTION, a function that returns the "
    "network, or network and transform, or network, transform and class names."
)


class UserModel(NamedTuple):
    """A network, and what is needed to run it on a picture.

    Attributes:
        model: in evaluation mode, inputs (N, C, H, W) to logits (N, classes).
        transform: an RGB picture to one input (C, H, W).
        classes: the names of the logits.
        about: where these come from, in plain values; `about["remarks"]` are sentences that a
            reader must know.
    """

    model: nn.Module
    transform: Transform
    classes: tuple[str, ...]
    about: dict[str, Any]


class _Loaded(NamedTuple):
    """What a source gives; None where it has no transform or no class names."""

    model: nn.Module
    transform: Transform | None = None
    classes: Sequence[str] | None = None
    remarks: Sequence[str] = ()


def load_model(source: str, *, labels: Sequence[str] | None = None) -> UserModel:
    """Load a network by a text that names it.

    Weights of torchvision and timm are downloaded on first use. A file of weights is read without
    running anything in it (safetensors, or a state dict). A function is your code, and runs.

    Args:
        source: see `SOURCES`.
        labels: the names of the classes in the order of the logits; None for those that come with
            the network, or else "class 0", "class 1", ...

    Returns:
        The network with its transform and classes.

    Raises:
        ValueError: for a text or file that is not understood, a package that is missing, labels of
            another number than the logits, and a network that fails on a test picture.
        ConnectionError: if a download fails.
    """
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"source: got {source!r}; {SOURCES}")
    loaded = _load(source, labels)
    return wrap_model(
        loaded.model,
        loaded.transform,
        labels or loaded.classes,
        source=source,
        remarks=loaded.remarks,
    )


def _load(source: str, labels: Sequence[str] | None) -> _Loaded:
    """Load what a text names."""
    library, _, rest = source.partition(":")
    name, _, weights = rest.partition(":")
    suffix = Path(source).suffix.lower()
    if source == PACKAGED:
        return _Loaded(*photo_network())
    if library == "torchvision" and rest:
        return _from_torchvision(name, weights, labels)
    if library == "timm" and rest:
        return _from_timm(name, weights, labels)
    if suffix in (".safetensors", ".json"):
        model, card = load_checkpoint(source)
        return _Loaded(model, modern_transform(64), card["classes"])
    if suffix == ".keras":
        return _from_keras(source)
    if suffix in (".pt", ".pth", ".ckpt", ".pkl", ".bin"):
        raise ValueError(
            f"source: got {source!r}, weights without their network; must name the network too, "
            f"as torchvision:NAME:{source}, timm:NAME:{source} or a MODULE:FUNCTION that builds it."
        )
    if ":" in source:
        made = _call(source)
        return _Loaded(*made[:3]) if isinstance(made, tuple) and made else _Loaded(made)
    raise ValueError(f"source: got {source!r}; {SOURCES}")


def wrap_model(
    model: nn.Module,
    transform: Transform | None = None,
    classes: Sequence[str] | None = None,
    *,
    source: str = "given as it is",
    remarks: Sequence[str] = (),
) -> UserModel:
    """Prepare a network that is in memory: try it on a picture, and describe it.

    It is put in evaluation mode, and its weights no longer require gradients, since it is
    explained and not trained. A Keras model that takes (N, H, W, C) is wrapped in `ChannelsLast`.

    Args:
        model: the network.
        transform: an RGB picture to one input (C, H, W). None for a guess, which is then among the
            remarks: resize to 256, crop 224, ImageNet's mean and deviation; for a Keras model its
            own size, and pixels from 0 to 1, or to 255 if it rescales them itself.
        classes: the names of the logits; None for "class 0", "class 1", ...
        source: where it comes from, in words.
        remarks: sentences that a reader must know.

    Returns:
        The network with its transform and classes.

    Raises:
        ValueError: if it is no network, fails on a test picture, or has another number of logits
            than of names.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model: got {type(model).__name__}; must be a torch.nn.Module (a Keras model is "
            "one on its PyTorch backend; Predictions makes one of any function)."
        )
    notes = list(remarks)
    if transform is None:
        transform, words = _guess_transform(model)
        notes.append(f"No transform came with the network; assumed is {words}. Check it.")
    if _is_keras(model) and _input_shape(model)[-1] in (1, 3):
        model = ChannelsLast(model)
    model = model.eval().requires_grad_(False)
    x, logits = _try_on_picture(model, transform)
    names = tuple(classes) if classes else tuple(f"class {k}" for k in range(logits.shape[1]))
    if len(names) != logits.shape[1]:
        raise ValueError(
            f"labels: got {len(names)} names; must be one name for each of the network's "
            f"{logits.shape[1]} logits."
        )
    about = {
        "source": source,
        "class": type(model.model if isinstance(model, ChannelsLast) else model).__name__,
        "weights": hash_tensors(model.state_dict())[:16],
        "numbers": sum(weight.numel() for weight in model.parameters()),
        "classes": len(names),
        "transform": _describe_transform(transform),
        "input": list(x.shape[1:]),
        "input of the test picture": hash_tensors({"x": x})[:16],  # tells transforms apart
        "remarks": notes,
    }
    return UserModel(model, transform, names, about)


def _try_on_picture(model: nn.Module, transform: Transform) -> tuple[Tensor, Tensor]:
    """Run a network on a test picture: its input (1, C, H, W) and logits (1, classes)."""
    like = next(model.parameters(), torch.zeros(()))
    try:
        x = transform(_test_picture())[None]
        with torch.no_grad():
            logits = model(x.to(like))
    except Exception as error:  # whatever another's network raises is for its owner to read
        raise ValueError(
            f"model: it fails on a test picture of 640 × 480 pixels that went through its "
            f"transform: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: got the output {got}; must return one tensor (N, classes).")
    return x, logits


def _test_picture() -> Image.Image:
    """Draw ramps of the three colours, so that every change by a transform shows."""
    ramp = Image.linear_gradient("L").resize((640, 480))
    return Image.merge("RGB", (ramp, ramp.rotate(180), ramp.point(lambda value: value // 2)))


def one_line(error: Exception) -> str:
    """Return an error's message in one line.

    Args:
        error: any error.

    Returns:
        At most 300 characters; the error's name if it has no message.
    """
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split())  # without codes for colours
    return (text if len(text) <= 300 else f"{text[:299]}…") or type(error).__name__


# ---- pictures and labels -------------------------------------------------------------------------


def image_files(folder: str | Path) -> tuple[list[Path], list[str]]:
    """List the image files in a folder and its folders, by the ending of their names.

    Whether a file can be read shows when it is read. Hidden files are left out without a word.

    Args:
        folder: the folder.

    Returns:
        files: the images, sorted.
        passed_over: a sentence for each other file.

    Raises:
        ValueError: if there is no such folder, or no image in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"images: got {folder}, which is no folder; must be a folder of images.")
    endings = Image.registered_extensions()
    files, passed_over = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or path.name.lower() in HARMLESS:
            continue
        if path.suffix.lower() in endings:
            files.append(path)
        else:
            passed_over.append(f"{inside} is passed over: its name does not end like an image's.")
    if not files:
        raise ValueError(
            f"images: got {folder}, which holds no image; must be a folder with files such as "
            ".png and .jpg, in it or in folders of it."
        )
    return files, passed_over


def read_labels(path: str | Path) -> list[str]:
    """Read class names from a text file.

    Args:
        path: the file, one name a line, in the order of the logits. Empty lines at its end are
            dropped.

    Returns:
        The names.

    Raises:
        ValueError: if the file cannot be read, is empty, or names a class twice.
    """
    try:
        names = Path(path).expanduser().read_text("utf-8").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"labels: {path} cannot be read ({one_line(error)}).") from error
    names = [name.strip() for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if not all(names) or twice:
        got = f"{twice[0]!r} twice" if all(names) else "an empty line"
        raise ValueError(f"labels: {path} has {got}; must be one name a line.")
    return names


# ---- where networks come from --------------------------------------------------------------------


def _from_torchvision(name: str, weights: str, labels: Sequence[str] | None) -> _Loaded:
    """Load one of torchvision's networks; `weights` is "" for its own, "random", or a file."""
    if not weights:
        return _Loaded(*photo_network(name))
    import torchvision

    try:
        preset = torchvision.models.get_model_weights(name).DEFAULT
    except ValueError as error:
        raise ValueError(f"source: torchvision has no network {name!r} ({error}).") from error

    def build(count: int) -> nn.Module:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=count)
        return model

    model, remarks = _with_weights(build, weights, labels)
    return _Loaded(model, preset.transforms(), None, remarks)


def _from_timm(name: str, weights: str, labels: Sequence[str] | None) -> _Loaded:
    """Load one of timm's networks; `weights` is "" for its own, "random", or a file."""
    timm = _package("timm", "networks of timm")
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(
            f"source: timm has no network {name!r}; must be one of timm.list_models()."
        )

    def build(count: int) -> nn.Module:
        model: nn.Module = timm.create_model(name, num_classes=count)
        return model

    remarks: list[str] = []
    if weights:
        model, remarks = _with_weights(build, weights, labels)
    else:
        try:
            model = timm.create_model(name, pretrained=True)
        except Exception as error:  # whatever a download can raise
            raise ConnectionError(
                f"The weights of timm's {name!r} could not be downloaded ({one_line(error)}). "
                "Connect to the internet once, or give a file of weights behind the name."
            ) from error
    settings = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**settings, is_training=False)
    return _Loaded(model, transform, None, remarks)


def _from_keras(source: str) -> _Loaded:
    """Load a .keras file."""
    keras = _keras()
    try:
        return _Loaded(keras.saving.load_model(source))
    except Exception as error:  # a damaged file, or layers that Keras does not know
        raise ValueError(f"source: {source} cannot be loaded: {one_line(error)}") from error


def _with_weights(
    build: Callable[[int], nn.Module], weights: str, labels: Sequence[str] | None
) -> tuple[nn.Module, list[str]]:
    """Build a network and load a file of weights, or keep its random ones; return remarks, too."""
    if weights == "random":
        remark = "The weights are random: nothing that is shown was learnt."
        return build(len(labels or ()) or 1000), [remark]
    try:
        if Path(weights).suffix == ".safetensors":
            state: Any = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state.get("model", state))
    except Exception as error:  # damaged and dangerous files raise almost anything
        raise ValueError(
            f"source: {weights} cannot be read as a file of weights ({one_line(error)}); "
            "must be .safetensors, or a state dict written by torch.save."
        ) from error
    with torch.device("meta"):
        last = list(build(1000).state_dict())[-1]  # the bias of the last layer
    model = build(len(state[last]) if last in state else 1000)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"source: {weights} has the weights of another network than {type(model).__name__}: "
            f"{one_line(error)}"
        ) from error
    return model, []


def _call(source: str) -> Any:
    """Import a function of the reader's own and call it."""
    home, _, name = source.rpartition(":")
    try:
        if home.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(home).stem, home)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # so that its classes can be found by their module
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, os.getcwd())
            try:
                module = importlib.import_module(home)
            finally:
                sys.path.remove(os.getcwd())
        function = getattr(module, name)
    except Exception as error:  # whatever importing another's module raises
        raise ValueError(
            f"source: {source!r} cannot be imported ({type(error).__name__}: "
            f"{one_line(error)}); {SOURCES}"
        ) from error
    if isinstance(function, nn.Module) or not callable(function):
        return function  # the network itself
    try:
        return function()
    except Exception as error:
        raise ValueError(
            f"source: {source!r} stopped with {type(error).__name__}: {one_line(error)}"
        ) from error


def _keras() -> Any:
    """Import Keras on its PyTorch backend."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = _package("keras", "a .keras file")
    if keras.backend.backend() != "torch":
        raise ValueError(
            f"source: keras runs on {keras.backend.backend()} here; must run on its PyTorch "
            "backend: set the environment variable KERAS_BACKEND to torch before keras is imported."
        )
    return keras


def _package(name: str, what: str) -> Any:
    """Import a package that the course does not bring."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"source: {what} needs the package {name}, which is not installed here (or not whole: "
            f"{one_line(error)}); must be a network that needs none; or run pip install {name}."
        ) from error


def _is_keras(model: nn.Module) -> bool:
    """Say whether a network is a Keras model, or of a class derived from one."""
    return any(base.__module__.startswith("keras.") for base in type(model).__mro__)


def _input_shape(model: Any) -> tuple[int | None, ...]:
    """Return the shape that a Keras model takes; None where it takes any size."""
    return tuple(model.input_shape)


def _guess_transform(model: Any) -> tuple[Transform, str]:
    """Return a transform for a network that came without one, and its description."""
    from torchvision.transforms import v2

    floats = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    if not _is_keras(model):
        steps = [
            v2.Resize(256),
            v2.CenterCrop(224),
            *floats,
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
        return v2.Compose(steps), "256 pixels, the middle 224, ImageNet's mean and deviation"
    size = [side or 224 for side in _input_shape(model)[1:] if side not in (1, 3)]
    rescales = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    top = 255.0 if rescales else 1.0
    steps = [v2.Resize(size), *floats, v2.Normalize([0.0], [1 / top])]
    return v2.Compose(steps), f"resizing to {size[0]} × {size[1]}, and pixels from 0 to {top:g}"


def _describe_transform(transform: Transform) -> str:
    """Return a transform's own description if it has one, else its name."""
    words = " ".join(repr(transform).split())
    name = getattr(transform, "__qualname__", type(transform).__name__)
    return name if " at 0x" in words else words
