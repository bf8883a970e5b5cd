"""Your own network and your own pictures: brought in, with a note of where they come from.

Nothing here explains; `own_checks` says what an explanation would rest on, `report` explains.
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
    "in_a_line",
    "load_model",
    "read_labels",
    "wrap_model",
]


Transform = Callable[[Image.Image], Tensor]
ALLOWED = (
    f"allowed are {PACKAGED}, torchvision:NAME and timm:NAME (each with :random or :FILE behind, "
    "for random weights or weights of yours), a checkpoint of this course (.safetensors with its "
    ".json), a .keras file, and MODULE:FUNCTION or FILE.py:FUNCTION, a function that returns the "
    "network, or network and transform, or network, transform and class names."
)


class UserModel(NamedTuple):
    """A network, and what is needed to ask it about a picture.

    `model`: in evaluation mode, inputs (N, C, H, W) to logits (N, classes). `transform`: an RGB
    picture to one input (C, H, W). `classes`: the names of the logits. `about`: where these come
    from, in plain values; `about["remarks"]` are sentences that a reader must know.
    """

    model: nn.Module
    transform: Transform
    classes: tuple[str, ...]
    about: dict[str, Any]


def load_model(source: str, *, labels: Sequence[str] | None = None) -> UserModel:
    """Load a network by a text that says which; see `ALLOWED` for the texts.

    `labels`: the names of its classes in the order of the logits; None for those that come with the
    network, or else "class 0", "class 1", ...

    Weights of torchvision and timm are downloaded on first use. A file of weights is read without
    running anything in it (safetensors, or a state dict); a function runs, as code of yours does.
    Raises ValueError for a text or file that is not understood, a package that is missing, labels
    of another number than the logits, and a network that cannot answer about a test picture;
    ConnectionError if a download fails.
    """
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"source: got {source!r}; {ALLOWED}")
    library, _, rest = source.partition(":")
    suffix = Path(source).suffix.lower()
    transform: Transform | None = None
    classes: Sequence[str] | None = None
    remarks: list[str] = []
    if source == PACKAGED:
        model, transform, classes = photo_network()
    elif library in ("torchvision", "timm") and rest:
        stock = _torchvision if library == "torchvision" else _timm
        name, _, weights = rest.partition(":")
        model, transform, classes, remarks = stock(name, weights, labels)
    elif suffix in (".safetensors", ".json"):
        model, card = load_checkpoint(source)
        classes, transform = card["classes"], modern_transform(64)
    elif suffix == ".keras":
        try:
            model = _keras().saving.load_model(source)
        except Exception as error:  # a damaged file, or layers that Keras does not know
            raise ValueError(f"source: {source} cannot be loaded: {in_a_line(error)}") from error
    elif suffix in (".pt", ".pth", ".ckpt", ".pkl", ".bin"):
        raise ValueError(
            f"source: got {source!r}, weights without their network; allowed is the network too, "
            f"as torchvision:NAME:{source}, timm:NAME:{source} or a MODULE:FUNCTION that builds it."
        )
    elif ":" in source:
        made = _call(source)
        parts = made if isinstance(made, tuple) else (made,)
        model, transform, classes = (*parts, None, None)[:3]
    else:
        raise ValueError(f"source: got {source!r}; {ALLOWED}")
    return wrap_model(model, transform, labels or classes, source=source, remarks=remarks)


def wrap_model(
    model: nn.Module,
    transform: Transform | None = None,
    classes: Sequence[str] | None = None,
    *,
    source: str = "given as it is",
    remarks: Sequence[str] = (),
) -> UserModel:
    """Bring a network that is in memory: try it, and note what it is.

    It is put in evaluation mode, and its weights no longer ask for gradients: they are explained,
    not trained, and what is added to a map then counts as a constant however it is spelt.

    `transform`: None for a guess, which is then among the remarks: resize to 256, crop 224,
    ImageNet's mean and deviation; for a Keras model its own size and pixels from 0 to 1, or to 255
    if it rescales them itself. A Keras model that takes (N, H, W, C) is wrapped in `ChannelsLast`.

    Raises ValueError if it is no network, cannot answer about a test picture, or has another number
    of logits than of names.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model: got {type(model).__name__}; allowed is a torch.nn.Module (a Keras model is "
            "one on its PyTorch backend; Predictions makes one of any function)."
        )
    notes = list(remarks)
    if transform is None:
        transform, how = _guess(model)
        notes.append(f"No transform came with the network; assumed is {how}. Check it.")
    keras_shape: Any = model.input_shape if _is_keras(model) else (0,)
    if keras_shape[-1] in (1, 3):
        model = ChannelsLast(model)
    model = model.eval().requires_grad_(False)
    where = next(model.parameters(), torch.zeros(()))
    try:
        x = transform(_test_picture())[None]
        with torch.no_grad():
            logits = model(x.to(where))
    except Exception as error:  # whatever a stranger's network raises is for its owner to read
        raise ValueError(
            f"model: it cannot answer about a test picture of 640 × 480 pixels that went through "
            f"its transform: {type(error).__name__}: {in_a_line(error)}"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: its output is {came}; allowed is one tensor (N, classes).")
    names = tuple(classes) if classes else tuple(f"class {k}" for k in range(logits.shape[1]))
    if len(names) != logits.shape[1]:
        raise ValueError(
            f"labels: got {len(names)} names; the network has {logits.shape[1]} logits, and "
            "allowed is one name for each."
        )
    about = {
        "source": source,
        "class": type(model.model if isinstance(model, ChannelsLast) else model).__name__,
        "weights": hash_tensors(model.state_dict())[:16],
        "numbers": sum(weight.numel() for weight in model.parameters()),
        "classes": len(names),
        "transform": _in_words(transform),
        "input": list(x.shape[1:]),
        "input of the test picture": hash_tensors({"x": x})[:16],  # tells transforms apart
        "remarks": notes,
    }
    return UserModel(model, transform, names, about)


def _test_picture() -> Image.Image:
    """Draw ramps of the three colours, so that whatever a transform does shows."""
    ramp = Image.linear_gradient("L").resize((640, 480))
    return Image.merge("RGB", (ramp, ramp.rotate(180), ramp.point(lambda value: value // 2)))


def in_a_line(error: Exception) -> str:
    """Return an error's message in one line of at most 300 characters, or the error's name."""
    words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split())  # some come in colour
    return (words if len(words) <= 300 else f"{words[:299]}…") or type(error).__name__


# ---- pictures and labels -------------------------------------------------------------------------


def image_files(folder: str | Path) -> tuple[list[Path], list[str]]:
    """List the image files in a folder and its folders, and say in sentences what is passed over.

    By the ending of the name; whether a file can be read shows when it is. Hidden files are passed
    over in silence. Raises ValueError if there is no such folder, or no image in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"images: got {folder}; allowed is a folder, and there is none.")
    endings = Image.registered_extensions()
    files, others = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or path.name.lower() in HARMLESS:
            continue
        if path.suffix.lower() in endings:
            files.append(path)
        else:
            others.append(f"{inside} is passed over: its name does not end like an image's.")
    if not files:
        raise ValueError(
            f"images: got {folder}, which holds no image; allowed is a folder with files such as "
            ".png and .jpg, in it or in folders of it."
        )
    return files, others


def read_labels(path: str | Path) -> list[str]:
    """Read class names, one a line, in the order of the logits; empty lines at the end are dropped.

    Raises ValueError if the file cannot be read, is empty, or names a class twice.
    """
    try:
        names = Path(path).expanduser().read_text("utf-8").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"labels: {path} cannot be read ({in_a_line(error)}).") from error
    names = [name.strip() for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if not all(names) or twice:
        came = f"{twice[0]!r} twice" if all(names) else "an empty line"
        raise ValueError(f"labels: {path} has {came}; allowed is one name a line.")
    return names


# ---- where networks come from --------------------------------------------------------------------


def _torchvision(name: str, weights: str, labels: Sequence[str] | None) -> Any:
    """Return network, transform, class names and remarks."""
    if not weights:
        return (*photo_network(name), [])
    import torchvision

    try:
        preset = torchvision.models.get_model_weights(name).DEFAULT
    except ValueError as error:
        raise ValueError(f"source: torchvision has no network {name!r} ({error}).") from error

    def build(count: int) -> nn.Module:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=count)
        return model

    model, remarks = _filled(build, weights, labels)
    return model, preset.transforms(), None, remarks


def _timm(name: str, weights: str, labels: Sequence[str] | None) -> Any:
    """Return network, transform, class names and remarks."""
    timm = _package("timm", "networks of timm")
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"source: timm has no network {name!r}; allowed are timm.list_models().")

    def build(count: int) -> nn.Module:
        model: nn.Module = timm.create_model(name, num_classes=count)
        return model

    if weights:
        model, remarks = _filled(build, weights, labels)
    else:
        try:
            model, remarks = timm.create_model(name, pretrained=True), []
        except Exception as error:  # whatever a download can raise
            raise ConnectionError(
                f"The weights of timm's {name!r} could not be downloaded ({in_a_line(error)}). "
                "Connect to the internet once, or give a file of weights behind the name."
            ) from error
    settings = timm.data.resolve_model_data_config(model)
    return model, timm.data.create_transform(**settings, is_training=False), None, remarks


def _filled(
    build: Callable[[int], nn.Module], weights: str, labels: Sequence[str] | None
) -> tuple[nn.Module, list[str]]:
    """Build a network for a file of weights and fill it, or leave its random ones; add remarks."""
    if weights == "random":
        remark = "The weights are random: nothing that is shown was learnt."
        return build(len(labels or ()) or 1000), [remark]
    try:
        if Path(weights).suffix == ".safetensors":
            own: Any = load_file(weights)
        else:
            own = torch.load(weights, map_location="cpu", weights_only=True)
        own = own.get("state_dict", own.get("model", own))
    except Exception as error:  # damaged and dangerous files raise almost anything
        raise ValueError(
            f"source: {weights} cannot be read as a file of weights ({in_a_line(error)}); "
            "allowed is .safetensors, or a state dict written by torch.save."
        ) from error
    with torch.device("meta"):
        last = list(build(1000).state_dict())[-1]  # the bias of the last layer
    model = build(len(own[last]) if last in own else 1000)
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(
            f"source: {weights} has the weights of another network than {type(model).__name__}: "
            f"{in_a_line(error)}"
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
            sys.modules[spec.name] = module  # so that its classes know where they are from
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, os.getcwd())
            try:
                module = importlib.import_module(home)
            finally:
                sys.path.remove(os.getcwd())
        function = getattr(module, name)
    except Exception as error:  # whatever importing a stranger's module raises
        raise ValueError(
            f"source: {source!r} cannot be imported ({type(error).__name__}: "
            f"{in_a_line(error)}); {ALLOWED}"
        ) from error
    try:
        return (
            function() if callable(function) and not isinstance(function, nn.Module) else function
        )
    except Exception as error:
        raise ValueError(
            f"source: {source!r} stopped with {type(error).__name__}: {in_a_line(error)}"
        ) from error


def _keras() -> Any:
    """Import Keras on its PyTorch backend."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = _package("keras", "a .keras file")
    if keras.backend.backend() != "torch":
        raise ValueError(
            f"source: keras runs on {keras.backend.backend()} here; allowed is its PyTorch "
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
            f"{in_a_line(error)}); allowed is a network that needs none, or pip install {name}."
        ) from error


def _is_keras(model: nn.Module) -> bool:
    """Say whether a network is a Keras model, or of a class that is made from one."""
    return any(base.__module__.startswith("keras.") for base in type(model).__mro__)


def _guess(model: Any) -> tuple[Transform, str]:
    """Return a transform for a network that came without one, and what it is."""
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
    size = [side or 224 for side in model.input_shape[1:] if side not in (1, 3)]
    rescales = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    top = 255.0 if rescales else 1.0
    steps = [v2.Resize(size), *floats, v2.Normalize([0.0], [1 / top])]
    return v2.Compose(steps), f"resizing to {size[0]} × {size[1]}, and pixels from 0 to {top:g}"


def _in_words(transform: Transform) -> str:
    """Say what a transform is: its own words if it has some, else its name."""
    words = " ".join(repr(transform).split())
    plain = getattr(transform, "__qualname__", type(transform).__name__)
    return plain if " at 0x" in words else words
