"""What each epoch of a training came to, and when the training stops early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xai_course.core.checks import check_count, check_number
from xai_course.core.translation import translate

__all__ = ["EarlyStopping", "Epoch"]


@dataclass(frozen=True)
class Epoch:
    """The results of one pass over the training images.

    Args:
        epoch: its number, from 1.
        train_loss: mean cross-entropy over the images, in nats, of the batches as they were trained
            on: with augmentation and while the weights still changed.
        train_accuracy: mean accuracy over the images, measured in the same way.
        test_accuracy: measured after the epoch; None without test images.
        seconds: duration of the epoch.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class EarlyStopping:
    """Stop a training by its test accuracy: for `fit(stop=)`.

    The test images have then been used to choose, so report the accuracy on other images.

    Args:
        accuracy: stop once the test accuracy reaches this; None for no such limit.
        patience: stop once the test accuracy has not risen for so many epochs; None for no limit.

    Raises:
        ValueError: for a number out of its range.

    Example:
        >>> from xai_course.training import EarlyStopping, Epoch
        >>> stop = EarlyStopping(accuracy=0.9)
        >>> stop([Epoch(1, 0.5, 0.7, test_accuracy=0.8, seconds=3.0)])
        False
        >>> stop([Epoch(1, 0.2, 0.9, test_accuracy=0.95, seconds=3.0)])
        True
    """

    accuracy: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.accuracy is not None:
            check_number("accuracy", self.accuracy, above=0, most=1)
        if self.patience is not None:
            check_count("patience", self.patience)

    def __call__(self, history: Sequence[Epoch]) -> bool:
        """Tell whether the training is over after these epochs."""
        accuracies = [e.test_accuracy for e in history if e.test_accuracy is not None]
        if not accuracies:
            return False
        if self.accuracy is not None and accuracies[-1] >= self.accuracy:
            return True
        epochs_since_best = len(accuracies) - 1 - accuracies.index(max(accuracies))
        return self.patience is not None and epochs_since_best >= self.patience


def last_line(history: Sequence[Epoch], epochs: int) -> str:
    """Sum up a training in a line that a stored notebook keeps (its bar stays empty there)."""
    last = history[-1]
    words = translate(
        "epoch {epoch} of {epochs}: loss {loss:.3f}, training accuracy {accuracy:.1%}",
        epoch=last.epoch,
        epochs=epochs,
        loss=last.train_loss,
        accuracy=last.train_accuracy,
    )
    if last.test_accuracy is None:
        return words
    return words + translate(", test accuracy {accuracy:.1%}", accuracy=last.test_accuracy)
