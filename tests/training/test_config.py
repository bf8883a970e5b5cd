"""The settings of a training: the learning rate's schedule, limits, descriptions."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from xai_course.data import random_horizontal_flip
from xai_course.training import TrainingConfig, one_cycle, pgd_batch


def test_one_cycle_warms_up_and_decays():
    values = [one_cycle(i / 100) for i in range(101)]
    assert values[0] == pytest.approx(0.04)
    assert values[25] == 1 == max(values)
    assert values[100] == pytest.approx(0, abs=1e-12)
    assert one_cycle(1.5) == pytest.approx(0, abs=1e-12)
    assert all(a < b for a, b in pairwise(values[:26]))
    assert all(a > b for a, b in pairwise(values[25:]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: got 0; must be a whole number, at least 1"),
        ({"epochs": 1.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"label_smoothing": 1}, "label_smoothing"),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{"epochs": 1, **settings})


def test_a_description_tells_functions_and_their_options():
    config = TrainingConfig(
        epochs=2,
        optimizer=torch.optim.SGD,
        schedule=None,
        augment=random_horizontal_flip,
        attack=partial(pgd_batch, epsilon=0.25, steps=2),
    )
    assert config.describe() == {
        "epochs": 2,
        "learning_rate": 0.005,
        "optimizer": "SGD",
        "schedule": None,
        "label_smoothing": 0.0,
        "augment": "random_horizontal_flip",
        "attack": "pgd_batch(epsilon=0.25, steps=2)",
        "seed": 0,
    }
