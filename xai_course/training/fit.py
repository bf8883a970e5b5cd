"""Training and measuring a classifier: any model, any loader that yields (images, labels)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from xai_course.core.randomness import isolated_rng
from xai_course.training.distributed import (
    all_reduce_mean,
    broadcast_from_rank0,
    rank_and_world_size,
)
from xai_course.training.seeding import seed_epoch
from xai_course.training.state import (
    describe_model,
    describe_optimizer,
    hash_batch,
    resume_run,
    save_run,
)

__all__ = ["choose_device", "evaluate", "fit", "one_cycle", "predict"]


def image_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Choose how a batch of images lies in memory when a model is trained on a device.

    On the CPU with channels last, which convolutions like (~1.5x). Not so for a 1x1 convolution
    with a stride and fewer input channels than fit a register (8 with AVX2, 16 with AVX-512): in
    its backward pass oneDNN 3.12 writes past its memory, which ends in wrong gradients, a crash or
    neither (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    if device.type != "cpu":
        return torch.contiguous_format
    channels = 8 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 16
    for layer in model.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.in_channels < channels
        ):
            return torch.contiguous_format
    return torch.channels_last


Augment = Callable[[Tensor, torch.Generator], Tensor]
Attack = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


class Loader(Protocol):
    """Anything with a length that yields batches of images (N, C, H, W) and labels (N,)."""

    def __iter__(self) -> Iterator[Any]:
        """Start a pass over the batches."""

    def __len__(self) -> int:
        """Return the number of batches."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to.

    `train_loss` and `train_accuracy` are means over the epoch's batches as they were trained on,
    so with augmentation and while the weights still moved; `test_accuracy` is measured after it.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_accuracy: float | None
    seconds: float


def choose_device() -> torch.device:
    """Choose the fastest device there is: CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def one_cycle(progress: float) -> float:
    """Return the factor on the learning rate when the share `progress` of the training is done.

    It rises from 1/25 to 1 over the first quarter and falls back to 0, both along a cosine.
    Smith, "Super-Convergence", arXiv:1708.07120.
    """
    if progress < 0.25:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.25)) / 2
    return (1 + math.cos(math.pi * (min(progress, 1.0) - 0.25) / 0.75)) / 2


def fit(
    model: nn.Module,
    train: Loader,
    test: Loader | None = None,
    *,
    epochs: int,
    learning_rate: float = 0.005,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    schedule: Callable[[float], float] | None = one_cycle,
    label_smoothing: float = 0.0,
    augment: Augment | None = None,
    attack: Attack | None = None,
    stop_at: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: str | Path | None = None,
    watch: Callable[[int, nn.Module], None] | None = None,
    progress: bool = True,
) -> list[Epoch]:
    """Train a classifier with cross-entropy; return one record for each epoch.

    `optimizer` is called as optimizer(weights, lr=learning_rate); `schedule` maps the share of the
    training that is done to a factor on the learning rate (None: constant). `augment(images,
    generator)` changes each training batch, and then `attack(model, images, labels, generator)`,
    for adversarial training. `watch(step, model)` is called before the first step, with 0, and
    after every step. Training ends early once the accuracy on `test` reaches `stop_at`
    or has not risen for `patience` epochs: then `test` has been used to choose, so report the
    accuracy on other images. With `checkpoint`, the state of the run is kept in the file
    `<checkpoint>.state.safetensors` after each epoch, and the same call continues a run that was
    cut off, with the result it would have had, whatever weights the model holds by then.

    Repeatable to the bit on one machine: epoch e draws its order, augmentation and dropout from
    (seed, e) alone, and the loader's own generator is set from it. The caller's random state
    (Python, NumPy, PyTorch) is left as it was; the seed does not choose the initial weights. The
    model is trained in place and comes back on its own device, in evaluation mode.

    In several processes (torch.distributed), each calls `fit` with the model wrapped in
    DistributedDataParallel and a loader of its share. They learn from the mean of their gradients;
    the first keeps the state of the run, from which all of them continue.

    Raises ValueError for an argument that cannot be used, an empty loader, labels that are not
    classes of the model, or the state of another run; FloatingPointError if the loss is not finite.
    """
    _check_settings(epochs, learning_rate, label_smoothing, stop_at, patience, seed, test)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("model has no weight with requires_grad=True, so nothing can be trained")
    steps = _count_batches("train", train)
    home = weights[0].device
    device = choose_device() if device is None else torch.device(device)
    state_file = None if checkpoint is None else Path(f"{checkpoint}.state.safetensors")
    settings: dict[str, Any] = {}
    history: list[Epoch] = []
    with isolated_rng(device), torch.enable_grad():
        try:
            model.to(device)
            run = optimizer(weights, lr=learning_rate)
            if state_file is not None:
                about = {
                    "model": describe_model(model),
                    "optimizer": describe_optimizer(run),
                    "data": _describe_data(train, test, seed),
                    "epochs": epochs,
                    "schedule": _name(schedule),
                    "label_smoothing": label_smoothing,
                    "augment": _name(augment),
                    "attack": _name(attack),
                    "stop_at": stop_at,
                    "patience": patience,
                    "seed": seed,
                }
                settings = broadcast_from_rank0(about)  # the first batches differ, the run does not
                history = [Epoch(**past) for past in resume_run(state_file, model, run, settings)]
            if watch is not None and not history:
                _show(watch, 0, model, device)
            done = len(history) * steps
            with tqdm(total=epochs * steps, initial=done, disable=not progress) as bar:
                while len(history) < epochs and not _is_over(history, stop_at, patience):
                    start, epoch = time.perf_counter(), len(history) + 1
                    generator = seed_epoch(seed, epoch, train)
                    mean_loss, accuracy, seen = 0.0, 0.0, 0
                    model.train()
                    for images, labels in train:
                        _check_batch("train", images, labels)
                        if augment is not None:
                            images = augment(images, generator)
                        if attack is not None:
                            images = attack(model, images.to(device), labels.to(device), generator)
                        if schedule is not None:
                            for group in run.param_groups:
                                group["lr"] = learning_rate * schedule(done / (epochs * steps))
                        loss, right = _step(model, images, labels, run, label_smoothing, device)
                        if not math.isfinite(loss):
                            raise FloatingPointError(
                                f"the loss became {loss} in epoch {epoch}: lower learning_rate "
                                f"(now {learning_rate}) or look for NaN in the images"
                            )
                        seen += len(labels)
                        mean_loss += (loss - mean_loss) * len(labels) / seen
                        accuracy += (right - accuracy) * len(labels) / seen
                        done += 1
                        bar.update()
                        bar.set_postfix_str(f"loss {mean_loss:.3f}, accuracy {accuracy:.1%}", False)
                        if watch is not None:
                            _show(watch, done, model, device)
                    if not seen:
                        raise ValueError("train is an empty loader: it yields no batch")
                    mean_loss, accuracy = all_reduce_mean(mean_loss, accuracy)
                    tested = None if test is None else _accuracy(*_predict(model, test, device))
                    seconds = time.perf_counter() - start
                    history.append(Epoch(epoch, mean_loss, accuracy, tested, seconds))
                    if state_file is not None and rank_and_world_size()[0] == 0:
                        save_run(state_file, model, run, settings, [asdict(e) for e in history])
        finally:
            model.to(home)
            model.eval()
    if progress:
        print(_last_line(history[-1], epochs))
    return history


def predict(model: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Return the logits (N, classes) and labels (N,) of all images of a loader, on the CPU.

    The model is used in evaluation mode, where its weights are, and comes back in its own mode.
    Raises ValueError for an empty loader or labels that are not classes of the model.
    """
    weight = next(model.parameters(), None)
    return _predict(model, loader, torch.device("cpu") if weight is None else weight.device)


def evaluate(model: nn.Module, loader: Loader) -> float:
    """Return the accuracy: the share of images whose largest logit is that of their label.

    Mode, device and errors as for `predict`.
    """
    return _accuracy(*predict(model, loader))


def _step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    label_smoothing: float,
    device: torch.device,
) -> tuple[float, float]:
    """Learn from one batch; return its loss and accuracy (the weights stay if it is not finite)."""
    logits, labels = model(_move(images, device, model)), labels.to(device)
    _check_logits("train", logits, labels)
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    value = loss.item()
    if math.isfinite(value):
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return value, (logits.detach().argmax(1) == labels).float().mean().item()


def _predict(model: nn.Module, loader: Loader, device: torch.device) -> tuple[Tensor, Tensor]:
    """Do the work of `predict` on a given device, on which the model already is."""
    modes = [(module, module.training) for module in model.modules()]
    logits, answers = [], []
    try:
        model.eval()
        with torch.no_grad():
            for images, labels in loader:
                _check_batch("loader", images, labels)
                out = model(_move(images, device, model))
                _check_logits("loader", out, labels)
                logits.append(out.cpu())
                answers.append(labels.cpu())
    finally:
        for module, mode in modes:
            module.training = mode
    if not logits:
        raise ValueError("loader is empty: it yields no batch")
    return torch.cat(logits), torch.cat(answers)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of labels that have the largest logit."""
    return (logits.argmax(1) == labels).double().mean().item()


def _move(images: Tensor, device: torch.device, model: nn.Module) -> Tensor:
    """Bring images to a device, in the layout that the model is fast with."""
    return images.to(device).contiguous(memory_format=image_layout(model, device))


def _show(
    watch: Callable[[int, nn.Module], None], step: int, model: nn.Module, device: torch.device
) -> None:
    """Call `watch` so that nothing it draws and no mode it sets changes the training."""
    modes = [(module, module.training) for module in model.modules()]
    with isolated_rng(device):
        watch(step, model)
    for module, mode in modes:
        module.training = mode


def _is_over(history: list[Epoch], stop_at: float | None, patience: int | None) -> bool:
    """Say whether the test accuracies so far end the training."""
    tested = [e.test_accuracy for e in history if e.test_accuracy is not None]
    if not tested:
        return False
    if stop_at is not None and tested[-1] >= stop_at:
        return True
    return patience is not None and len(tested) - 1 - tested.index(max(tested)) >= patience


def _last_line(last: Epoch, epochs: int) -> str:
    """Sum up a run in a line that a stored notebook keeps (its bar stays empty there)."""
    tested = "" if last.test_accuracy is None else f", test accuracy {last.test_accuracy:.1%}"
    return (
        f"epoch {last.epoch} of {epochs}: loss {last.train_loss:.3f}, "
        f"training accuracy {last.train_accuracy:.1%}{tested}"
    )


def _name(function: object) -> str | None:
    """Name a function for the settings of a run."""
    if function is None:
        return None
    inner = getattr(function, "func", function)  # functools.partial
    name = getattr(inner, "__qualname__", type(inner).__name__)
    options = getattr(function, "keywords", None)
    return f"{name} {options}" if options else str(name)


def _describe_data(train: Loader, test: Loader | None, seed: int) -> dict[str, Any]:
    """Describe the data of a run: numbers of batches, and what the first batch would be."""
    if getattr(train, "persistent_workers", False):
        raise ValueError(
            "train has persistent_workers=True, whose random state a resumed run cannot restore: "
            "leave it out, or train without checkpoint="
        )
    seed_epoch(seed, 1, train)
    images, labels = next(iter(train))
    _check_batch("train", images, labels)
    tests = None if test is None else len(test)
    return {"train": len(train), "test": tests, "first batch": hash_batch(images, labels)}


def _count_batches(name: str, loader: Loader) -> int:
    """Return the number of batches; refuse a loader that has none or cannot say."""
    try:
        count = len(loader)
    except TypeError:
        raise ValueError(f"{name} must have a length, the number of its batches") from None
    if count < 1:
        raise ValueError(f"{name} is an empty loader: it has no batch")
    return count


def _check_settings(
    epochs: int,
    learning_rate: float,
    label_smoothing: float,
    stop_at: float | None,
    patience: int | None,
    seed: int,
    test: Loader | None,
) -> None:
    """Refuse settings that cannot be used."""
    whole = {"epochs": (epochs, 1), "seed": (seed, 0)}
    if patience is not None:
        whole["patience"] = (patience, 1)
    for name, (value, least) in whole.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be above 0 and finite, got {learning_rate!r}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing!r}")
    if stop_at is not None and not 0 < stop_at <= 1:
        raise ValueError(f"stop_at is an accuracy in (0, 1], got {stop_at!r}")
    if test is None and (stop_at is not None or patience is not None):
        raise ValueError("stop_at and patience need a test loader to watch")


def _check_batch(name: str, images: Tensor, labels: Tensor) -> None:
    """Refuse a batch that is not images (N, C, H, W) in floating point and N class indices."""
    for part, value in (("images", images), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must yield tensors; its {part} are {type(value).__name__}")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"{name} must yield floating-point images (N, C, H, W), "
            f"got {tuple(images.shape)} {images.dtype}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
        raise ValueError(
            f"{name} must yield int64 labels, one for each of {len(images)} images (at least 1), "
            f"got {tuple(labels.shape)} {labels.dtype}"
        )


def _check_logits(name: str, logits: Tensor, labels: Tensor) -> None:
    """Refuse logits that are not (N, classes), and labels that are none of these classes."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"model must return logits (N, classes), got {tuple(logits.shape)} "
            f"for {len(labels)} images"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"{name} has labels from {low} to {high}, but the model has {logits.shape[1]} classes "
            f"(0 to {logits.shape[1] - 1})"
        )
