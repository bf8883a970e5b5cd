"""When a training stops early."""

import pytest

from xai_course.training import EarlyStopping, Epoch


def history(*accuracies):
    return [Epoch(i + 1, 1.0, 0.5, accuracy, 1.0) for i, accuracy in enumerate(accuracies)]


def test_an_accuracy_is_reached():
    stop = EarlyStopping(accuracy=0.9)
    assert not stop(history())
    assert not stop(history(0.5, 0.89))
    assert stop(history(0.5, 0.9))
    assert not stop(history(None, None))


def test_patience_counts_epochs_without_a_better_one():
    stop = EarlyStopping(patience=2)
    assert not stop(history(0.5, 0.5))
    assert stop(history(0.5, 0.5, 0.5))
    assert not stop(history(0.5, 0.4, 0.6, 0.3))
    assert not EarlyStopping()(history(0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accuracy": 99}, "accuracy: got 99; must be .* at most 1"),
        ({"accuracy": 0}, "accuracy"),
        ({"patience": 0}, "patience: got 0"),
    ],
)
def test_limits_that_cannot_be_used(settings, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**settings)
