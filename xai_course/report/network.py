"""The reader's own network and pictures: loaded, tried, and described.

Nothing here explains: `checks` says what an explanation rests on, `run` explains.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from xai_course.core.outputs import output_kind
from xai_course.core.translation import message
from xai_course.data.image_files import CANNOT_OPEN, CANNOT_READ, list_images, printable
from xai_course.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from xai_course.models.pretrained import PACKAGED, photo_network
from xai_course.models.wrappers import ChannelsLast
from xai_course.report.answers import answer_names, answer_probabilities
from xai_course.report.labels import SAME_NAME, distinct_names
from xai_course.report.reading import NOT_TRANSFORMED, is_random, repeatable
from xai_course.report.user_code import call_user_function
from xai_course.storage.atomic_files import hash_tensors
from xai_course.storage.checkpoints import card_transform, load_checkpoint
from xai_course.storage.weights import REMARKS as WEIGHTS_REMARKS
from xai_course.storage.weights import load_weights

__all__ = [
    "Transform",
    "UserModel",
    "image_files",
    "load_model",
    "one_line",
    "wrap_model",
]


Transform = Callable[[Image.Image], Tensor]
SOURCES = (
    f"must be {PACKAGED}, torchvision:NAME or timm:NAME (each with :random or :FILE behind, "
    "for random weights or weights of yours), a checkpoint of this course (.safetensors with its "
    ".json), a .keras file, or MODULE:FUNCTION or FILE.py:FUNCTION, a function that returns the "
    "network, or network and transform, or network, transform and class names."
)


RANDOM = message(
    "The transform is random: two readings of the same picture give different inputs. Here it "
    "draws the same numbers for every picture; answers and maps are those of one such draw. Take "
    "the transform for testing, without random changes."
)

NO_LOGITS = message(
    "The network returns {kind}, not logits: where this page says logit, read that. Take the last "
    "softmax or sigmoid away, and the maps are of logits."
)

GUESSED = message("No transform came with the network; assumed is {transform}. Check it.")
RANDOM_WEIGHTS = message("The weights are random: nothing that is shown was learnt.")
PASSED_OVER = message("{file} is passed over: {why}.")
# What is on file is in English; the page translates it.
REMARKS = (RANDOM, NO_LOGITS, GUESSED, RANDOM_WEIGHTS, SAME_NAME, *WEIGHTS_REMARKS)
FILE_PROBLEMS = (PASSED_OVER, CANNOT_OPEN, CANNOT_READ, NOT_TRANSFORMED)


class UserModel(NamedTuple):
    """A network, and what is needed to run it on a picture.

    Attributes:
        model: in evaluation mode, inputs (N, C, H, W) to logits (N, classes).
        transform: an RGB picture to one input (C, H, W).
        classes: the names of the answers, one for each logit; for one logit those of no and yes.
        about: where these come from, in plain values; `about["remarks"]` are sentences that a
            reader must know.
    """

    model: nn.Module
    transform: Transform
    classes: tuple[str, ...]
    about: dict[str, Any]

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return the probability of each answer for outputs of the network.

        Args:
            outputs: (N, classes).

        Returns:
            (N, answers), as `answer_probabilities`.
        """
        return answer_probabilities(outputs, self.about["output"])


class _Loaded(NamedTuple):
    """What a source gives; None where it has no transform or no class names."""

    model: nn.Module
    transform: Transform | None = None
    classes: Sequence[str] | None = None
    remarks: Sequence[str] = ()


def load_model(
    source: str,
    *,
    labels: Sequence[str] | None = None,
    pictures: Sequence[Image.Image] = (),
) -> UserModel:
    """Load a network by a text that names it.

    Weights of torchvision and timm are downloaded on first use. A file of weights is read without
    running anything in it (safetensors, or a state dict). A function is your code, and runs.

    Args:
        source: see `SOURCES`.
        labels: the names of the classes in the order of the logits; None for those that come with
            the network, or else "class 0", "class 1", ...; see `answer_names`.
        pictures: the reader's own, on which the network is tried; see `wrap_model`.

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
        loaded.classes if labels is None else labels,
        source=source,
        remarks=loaded.remarks,
        pictures=pictures,
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
        transform, doubts = card_transform(card)
        return _Loaded(model, transform, card["classes"], doubts)
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
    pictures: Sequence[Image.Image] = (),
) -> UserModel:
    """Prepare a network that is in memory: try it on a picture, and describe it.

    It is put in evaluation mode, and its weights no longer require gradients, since it is
    explained and not trained. A Keras model that takes (N, H, W, C) is wrapped in `ChannelsLast`.

    Args:
        model: the network.
        transform: an RGB picture to one input (C, H, W). None for a guess, which is then among the
            remarks: resize to 256, crop 224, ImageNet's mean and deviation; for a Keras model its
            own size, and pixels from 0 to 1, or to 255 if it rescales them itself.
        classes: the names of the logits; None for "class 0", "class 1", ...; see `answer_names`.
        source: where it comes from, in words.
        remarks: sentences that a reader must know.
        pictures: RGB pictures of the reader's own: the network must run on one of them. Without
            any it is tried on a drawn one of 640 × 480 pixels.

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
        notes.append(GUESSED.format(transform=words))
    if _is_keras(model) and _input_shape(model)[-1] in (1, 3):
        model = ChannelsLast(model)
    model = model.eval().requires_grad_(False)
    x, logits = _try_on_pictures(model, transform, pictures)
    output = output_kind(logits)
    if output != "logits":
        notes.append(NO_LOGITS.format(kind=output))
    different, same = (None, []) if classes is None else distinct_names(classes)
    notes += same
    names = answer_names(different, logits.shape[1])
    if is_random(transform, pictures or [_test_picture()]):
        notes.append(RANDOM)
    about = {
        "source": source,
        "class": type(model.model if isinstance(model, ChannelsLast) else model).__name__,
        "weights": hash_tensors(model.state_dict())[:16],
        "numbers": sum(weight.numel() for weight in model.parameters()),
        "classes": len(names),
        "transform": _describe_transform(transform),
        "logits": logits.shape[1],
        "output": output,
        "input": list(x.shape[1:]),
        "input of the test picture": _fingerprint(transform),  # tells transforms apart
        "remarks": notes,
    }
    return UserModel(model, transform, names, about)


def _try_on_pictures(
    model: nn.Module, transform: Transform, pictures: Sequence[Image.Image]
) -> tuple[Tensor, Tensor]:
    """Run a network on the first picture that it takes: input (1, C, H, W), logits (1, classes)."""
    like = next(model.parameters(), torch.zeros(()))
    whose = "your first picture" if pictures else "a test picture"
    failed: ValueError | None = None
    for picture in pictures or [_test_picture()]:
        try:
            x = repeatable(transform)(picture)[None]
            # With its graph, which tells logits from probabilities; a copy, as it may be changed.
            logits = model(x.to(like).requires_grad_().clone())
            break
        except Exception as error:  # whatever another's network raises is for its owner to read
            failed = failed or ValueError(
                f"model: it fails on {whose} of {picture.width} × {picture.height} pixels that "
                f"went through its transform: {type(error).__name__}: {one_line(error)}"
            )
    else:
        assert failed is not None
        raise failed
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: got the output {got}; must return one tensor (N, classes).")
    return x, logits


def _fingerprint(transform: Transform) -> str:
    """Return what tells transforms apart: a hash of what one makes of the drawn picture."""
    try:
        first, again = (repeatable(transform)(_test_picture()) for _ in range(2))
    except Exception:  # it takes no picture of this size
        return "none"
    if first.shape != again.shape or not first.equal(again):
        return "another one every time"  # it draws random numbers that no seed decides
    return hash_tensors({"x": first[None]})[:16]


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
    files, others = list_images(folder)
    passed_over = [
        PASSED_OVER.format(file=printable(path.relative_to(folder)), why=why)
        for path, why in others.items()
    ]
    if not files:
        raise ValueError(
            f"images: got {folder}, which holds no image; must be a folder with files such as "
            ".png and .jpg, in it or in folders of it."
        )
    return files, passed_over


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
        return build(len(labels or ()) or 1000), [RANDOM_WEIGHTS]
    try:
        return load_weights(build, weights)
    except ValueError as error:
        raise ValueError(str(error).replace("path:", "source:", 1)) from error


def _call(source: str) -> Any:
    """Import a function of the reader's own and call it."""
    home, _, name = source.rpartition(":")
    try:
        return call_user_function(home, name)
    except ImportError as error:
        raise ValueError(
            f"source: {source!r} cannot be imported ({one_line(error)}); {SOURCES}"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"source: {source!r} stopped with {one_line(error)}") from error


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

    grey = _takes_grey(model)
    floats = [
        *([v2.Grayscale()] if grey else []),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
    ]
    if not _is_keras(model) and grey:
        steps = [v2.Resize(256), v2.CenterCrop(224), *floats]
        return v2.Compose(steps), message("256 pixels, the middle 224, grey, from 0 to 1")
    if not _is_keras(model):
        steps = [
            v2.Resize(256),
            v2.CenterCrop(224),
            *floats,
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
        words = message("256 pixels, the middle 224, ImageNet's mean and deviation")
        return v2.Compose(steps), words
    size = [side or 224 for side in _input_shape(model)[1:] if side not in (1, 3)]
    rescales = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    top = 255.0 if rescales else 1.0
    steps = [v2.Resize(size), *floats, v2.Normalize([0.0], [1 / top])]
    return v2.Compose(steps), f"resizing to {size[0]} × {size[1]}, and pixels from 0 to {top:g}"


def _takes_grey(model: Any) -> bool:
    """Say whether a network takes one channel: by its input's shape, or its first convolution."""
    if _is_keras(model):
        return 1 in _input_shape(model)[1:]
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None)
    return first is not None and first.in_channels == 1


def _describe_transform(transform: Transform) -> str:
    """Return a transform's own description if it has one, else its name."""
    words = " ".join(repr(transform).split())
    name = getattr(transform, "__qualname__", type(transform).__name__)
    return name if " at 0x" in words else words
