"""Train a classifier: any model, any loader that yields (images, labels)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_course.core.progress import bar_class
from xai_course.core.randomness import isolated_rng
from xai_course.core.translation import translate
from xai_course.training.batches import (
    Loader,
    check_batch,
    check_logits,
    choose_device,
    count_batches,
    move_images,
)
from xai_course.training.config import TrainingConfig
from xai_course.training.distributed import all_reduce_mean
from xai_course.training.evaluation import evaluate, restored_modes
from xai_course.training.history import EarlyStopping, Epoch, last_line
from xai_course.training.seeding import seed_epoch
from xai_course.training.state import TrainingState, describe_run

__all__ = ["fit"]


def fit(
    model: nn.Module,
    config: TrainingConfig,
    train: Loader,
    test: Loader | None = None,
    *,
    device: str | torch.device | None = None,
    stop: Callable[[Sequence[Epoch]], bool] | None = None,
    checkpoint: str | Path | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    progress: bool = True,
) -> list[Epoch]:
    """Train a classifier with cross-entropy; return the results of each epoch.

    Repeatable to the bit on one machine: epoch e draws its order, augmentation and dropout from
    (seed, e) alone, and the loader's own generator is seeded from it. The caller's random state
    (Python, NumPy, PyTorch) is restored. In several processes (torch.distributed), each calls `fit`
    with the model wrapped in DistributedDataParallel and a loader of its share. They learn from the
    mean of their gradients.

    Args:
        model: returns logits (N, classes). It is trained in place, returned to its own device and
            left in evaluation mode.
        config: how to train: epochs, learning rate, augmentation, seed, ...
        train: yields images (N, C, H, W) and class indices (N,), and has a length.
        test: the same, to measure the accuracy after each epoch; None measures none.
        device: where to train; None chooses the fastest.
        stop: called as stop(history) before each epoch; True ends the training. `EarlyStopping` is
            one.
        checkpoint: a path. The state of the run is kept in the file
            `<checkpoint>.state.safetensors` after each epoch, and the same call resumes a run that
            was killed, with the result it would have had, whatever weights the model holds by then.
        on_step: called as on_step(step, model) before the first step, with 0, and after every step.
            Its random numbers and the modes it sets do not change the training.
        progress: show a bar, and a line at the end.

    Returns:
        One `Epoch` for each pass over the training images.

    Raises:
        ValueError: for an argument that cannot be used, an empty loader, labels that are not
            classes of the model, or the state of another run.
        FloatingPointError: if the loss is not finite.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.training import TrainingConfig, fit
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
        >>> batch = torch.eye(2, 3).reshape(2, 3, 1, 1), torch.tensor([0, 1])
        >>> history = fit(model, TrainingConfig(epochs=50), [batch], device="cpu", progress=False)
        >>> history[-1].train_loss < history[0].train_loss
        True
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("model: got no weight with requires_grad=True; must have one to train.")
    if test is None and isinstance(stop, EarlyStopping):
        raise ValueError("test: got None; must be a loader, because EarlyStopping needs it.")
    steps = config.epochs * count_batches("train", train)
    device = choose_device() if device is None else torch.device(device)
    with isolated_rng(device), torch.enable_grad(), _trained_on(device, model):
        optimizer = config.optimizer(weights, lr=config.learning_rate)
        history: list[Epoch] = []
        if checkpoint is not None:
            settings = describe_run(model, optimizer, config, train, test, stop)
            state = TrainingState(checkpoint, settings)
            history = state.resume(model, optimizer)
        run = _Run(model, config, optimizer, device, on_step, steps, len(history) * len(train))
        if not history:
            run.call_on_step()
        with bar_class()(total=steps, initial=run.step, disable=not progress) as bar:
            while len(history) < config.epochs and not (stop is not None and stop(history)):
                start, number = time.perf_counter(), len(history) + 1
                loss, accuracy = _train_epoch(run, number, train, bar)
                tested = None if test is None else evaluate(model, test)
                seconds = time.perf_counter() - start
                history.append(Epoch(number, loss, accuracy, tested, seconds))
                if checkpoint is not None:
                    state.save(model, optimizer, history)
    if progress:
        print(last_line(history, config.epochs))
    return history


@dataclass
class _Run:
    """What a training in progress works with."""

    model: nn.Module
    config: TrainingConfig
    optimizer: torch.optim.Optimizer
    device: torch.device
    on_step: Callable[[int, nn.Module], None] | None
    steps: int  # of the whole training
    step: int  # that are done

    def call_on_step(self) -> None:
        """Call `on_step` so that nothing it draws and no mode it sets changes the training."""
        if self.on_step is not None:
            with isolated_rng(self.device), restored_modes(self.model):
                self.on_step(self.step, self.model)


def _train_epoch(run: _Run, number: int, train: Loader, bar: Any) -> tuple[float, ...]:
    """Train on every batch once; return the mean loss and accuracy over the images."""
    generator = seed_epoch(run.config.seed, number, train)
    mean_loss, mean_accuracy, seen = 0.0, 0.0, 0
    run.model.train()
    for images, labels in train:
        check_batch("train", images, labels)
        loss, accuracy = _train_step(run, images, labels, generator)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} in epoch {number}: lower learning_rate "
                f"(now {run.config.learning_rate}) or look for NaN in the images"
            )
        # Running means over the images, not over the batches: the last batch may be smaller.
        seen += len(labels)
        mean_loss += (loss - mean_loss) * len(labels) / seen
        mean_accuracy += (accuracy - mean_accuracy) * len(labels) / seen
        run.step += 1
        bar.update()
        words = translate(
            "loss {loss:.3f}, accuracy {accuracy:.1%}", loss=mean_loss, accuracy=mean_accuracy
        )
        bar.set_postfix_str(words, refresh=False)
        run.call_on_step()
    if not seen:
        raise ValueError("train: got an empty loader; must yield at least one batch.")
    return all_reduce_mean(mean_loss, mean_accuracy)


def _train_step(
    run: _Run, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[float, float]:
    """Learn from one batch; return its loss and accuracy (no update if the loss is not finite)."""
    config, device = run.config, run.device
    labels_there = labels.to(device)
    if config.augment is not None:
        images = config.augment(images, generator)
    if config.attack is not None:
        images = config.attack(run.model, images.to(device), labels_there, generator)
    if config.schedule is not None:
        for group in run.optimizer.param_groups:
            group["lr"] = config.learning_rate * config.schedule(run.step / run.steps)
    logits = run.model(move_images(images, device, run.model))  # (N, classes)
    check_logits("train", logits, labels_there)
    loss = F.cross_entropy(logits, labels_there, label_smoothing=config.label_smoothing)
    loss_value = loss.item()
    if math.isfinite(loss_value):
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
    accuracy = (logits.detach().argmax(1) == labels_there).float().mean()
    return loss_value, accuracy.item()


@contextmanager
def _trained_on(device: torch.device, model: nn.Module) -> Iterator[None]:
    """Move a model to a device; at the end move it back and set it to evaluation mode."""
    home = next(model.parameters()).device
    try:
        model.to(device)
        yield
    finally:
        model.to(home)
        model.eval()
