"""Training: learns, repeats to the bit, stops early, refuses what it cannot use."""

import math
import random
from functools import partial
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from small_training import CPU, STEPS, Dropping, loaders, network, same, shapes, without_seconds
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.data import random_horizontal_flip
from xai_course.training import EarlyStopping, TrainingConfig, evaluate, fit, one_cycle

ONE_EPOCH = TrainingConfig(epochs=1)


# ---- what is learnt ------------------------------------------------------------------------------


def test_learns_what_can_be_learned():
    model = network()
    train, test = loaders()
    history = fit(model, TrainingConfig(epochs=8), train, test, **CPU)
    assert [e.epoch for e in history] == list(range(1, 9))
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].test_accuracy == evaluate(model, test) >= 0.95
    assert not model.training


def test_the_numbers_of_one_batch_by_hand():
    """One batch, a linear model at zero, plain SGD: loss log 3, step by the mean gradient."""
    images, labels = torch.eye(3).reshape(3, 3, 1, 1), torch.tensor([0, 1, 1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    nn.init.zeros_(model[1].weight)
    config = TrainingConfig(epochs=1, learning_rate=0.3, optimizer=torch.optim.SGD, schedule=None)
    history = fit(model, config, [(images, labels)], **CPU)
    assert history[0].train_loss == pytest.approx(math.log(3))
    assert history[0].train_accuracy == pytest.approx(1 / 3)  # argmax of equal logits is class 0
    assert history[0].test_accuracy is None
    gradient = (torch.full((3, 3), 1 / 3) - nn.functional.one_hot(labels, 3)).T / 3
    torch.testing.assert_close(model[1].weight, -0.3 * gradient)


def test_label_smoothing_is_in_the_loss():
    images, labels = torch.zeros(2, 3, 1, 1), torch.tensor([0, 1])
    config = TrainingConfig(epochs=1, label_smoothing=0.2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([math.log(3), 0.0])  # probabilities 3/4 and 1/4
    loss = fit(model, config, [(images, labels)], **CPU)[0].train_loss
    assert loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    uneven = [(images[:1], labels[:1])]
    model[1].bias.data = torch.tensor([math.log(3), 0.0])
    loss = fit(model, config, uneven, **CPU)[0].train_loss
    assert loss == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)))


def test_means_weigh_every_image_alike():
    """A last batch of another size: 3 right of 3 and 0 right of 1 is 3/4, not 1/2."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([1.0, 0.0])
    batches = [
        (torch.zeros(3, 3, 1, 1), torch.zeros(3).long()),
        (torch.zeros(1, 3, 1, 1), torch.ones(1).long()),
    ]
    config = TrainingConfig(epochs=1, learning_rate=1e-9)
    history = fit(model, config, batches, batches, **CPU)
    assert history[0].train_accuracy == history[0].test_accuracy == 0.75
    zero, one = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    assert history[0].train_loss == pytest.approx((3 * zero + one) / 4)


def test_the_schedule_sets_the_rate_of_each_step():
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    config = TrainingConfig(epochs=2, optimizer=Spy, learning_rate=0.2)
    fit(network(), config, loaders()[0], **CPU)
    steps = 2 * STEPS
    assert rates == [0.2 * one_cycle(step / steps) for step in range(steps)]


def test_works_under_no_grad_and_leaves_frozen_weights():
    model = network()
    model.stem.requires_grad_(False)
    frozen = model.stem.conv.weight.clone()
    head = model.head.weight.clone()
    with torch.no_grad():
        fit(model, ONE_EPOCH, loaders()[0], **CPU)
        assert not torch.is_grad_enabled()
    assert torch.equal(model.stem.conv.weight, frozen)
    assert not torch.equal(model.head.weight, head)


# ---- random numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [network, Dropping])
def test_repeats_to_the_bit(build):
    runs = []
    config = TrainingConfig(epochs=2, augment=random_horizontal_flip, seed=3)
    for chaos in (1, 2):
        model = build()
        random.seed(chaos), np.random.seed(chaos), torch.manual_seed(chaos)  # noqa: NPY002
        train = DataLoader(shapes(96, 1), 16, shuffle=True)  # draws from the global generator
        history = fit(model, config, train, **CPU)
        runs.append((model, without_seconds(history)))
    assert runs[0][1] == runs[1][1]
    assert same(runs[0][0], runs[1][0])
    other = build()
    fit(other, TrainingConfig(epochs=2, augment=random_horizontal_flip, seed=4), train, **CPU)
    assert not same(other, runs[0][0])


def test_epochs_differ_in_order_and_augmentation():
    orders, draws = [], []

    def augment(images, generator):
        draws.append(torch.rand(1, generator=generator).item())
        orders.append(images[:, 0, 0, 0].tolist())
        return images

    fit(network(), TrainingConfig(epochs=2, augment=augment), loaders()[0], **CPU)
    assert len(set(draws)) == len(draws) == 12
    assert orders[0] != orders[6]
    assert sorted(chain(*orders[:6])) == sorted(chain(*orders[6:]))


def test_leaves_the_random_state_of_the_caller():
    model = Dropping()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    fit(model, TrainingConfig(epochs=1, augment=random_horizontal_flip), loaders()[0], **CPU)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_on_step_sees_every_step_and_changes_none():
    steps, weights = [], []

    def on_step(step, model):
        steps.append(step)
        weights.append(next(model.parameters()).detach().clone())
        torch.rand(100), random.random()
        evaluate(model, loaders()[1])
        model.eval()

    plain, watched, two_epochs = Dropping(), Dropping(), TrainingConfig(epochs=2)
    fit(plain, two_epochs, loaders()[0], **CPU)
    start = next(watched.parameters()).detach().clone()
    fit(watched, two_epochs, loaders()[0], on_step=on_step, **CPU)
    assert steps == list(range(13))
    assert torch.equal(weights[0], start)
    assert torch.equal(weights[-1], next(watched.parameters()))
    assert all(not torch.equal(a, b) for a, b in pairwise(weights))
    assert same(plain, watched)


# ---- attacks, early stopping, progress -----------------------------------------------------------


def test_an_attack_changes_each_batch_after_the_augmentation():
    """It gets the model in training; what it returns is learnt from; doing nothing changes none."""
    seen = []

    def attack(model, images, labels, generator):
        seen.append((model.training, torch.is_grad_enabled(), images.clone(), labels))
        return torch.zeros_like(images)

    plain, nothing, zeros = network(), network(), network()
    flipped = TrainingConfig(epochs=2, augment=random_horizontal_flip)
    expected = fit(plain, flipped, loaders()[0], **CPU)
    unattacked = TrainingConfig(
        epochs=2, augment=random_horizontal_flip, attack=lambda model, images, *_: images
    )
    idle = fit(nothing, unattacked, loaders()[0], **CPU)
    assert without_seconds(idle) == without_seconds(expected)
    assert same(plain, nothing)
    attacked = TrainingConfig(epochs=1, augment=lambda images, _: images + 100, attack=attack)
    fit(zeros, attacked, loaders()[0], **CPU)
    assert len(seen) == 6
    assert all(training and grad for training, grad, _, _ in seen)
    assert all(images.mean() > 90 and len(labels) == 16 for _, _, images, labels in seen)
    assert not same(plain, zeros)
    assert zeros.stem.norm.running_mean.abs().max() == 0  # it saw zeros only


def test_stops_at_a_target():
    train, test = loaders()
    config = TrainingConfig(epochs=8)
    full = fit(network(), config, train, test, **CPU)
    first = next(e.epoch for e in full if e.test_accuracy >= 0.9)
    history = fit(network(), config, train, test, stop=EarlyStopping(accuracy=0.9), **CPU)
    assert first < 8
    assert without_seconds(history) == without_seconds(full)[:first]


def test_stops_without_progress():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3))

        def forward(self, images):
            return self.w.expand(len(images), 3) * 0 + torch.tensor([1.0, 0.0, 0.0])

    train, test = loaders()
    nine = TrainingConfig(epochs=9)
    assert len(fit(Frozen(), nine, train, test, stop=EarlyStopping(patience=2), **CPU)) == 3
    assert len(fit(Frozen(), nine, train, test, **CPU)) == 9


def test_any_function_of_the_history_can_stop():
    """Here a budget of time, which needs no test images."""
    history = fit(
        network(),
        TrainingConfig(epochs=9),
        loaders()[0],
        stop=lambda epochs: sum(e.seconds for e in epochs) > 0,
        **CPU,
    )
    assert len(history) == 1


def test_progress_ends_in_a_printed_line(capsys):
    train, test = loaders()
    last = fit(network(), TrainingConfig(epochs=2), train, test, device="cpu")[-1]
    out, err = capsys.readouterr()
    assert out == (
        f"epoch 2 of 2: loss {last.train_loss:.3f}, training accuracy {last.train_accuracy:.1%}, "
        f"test accuracy {last.test_accuracy:.1%}\n"
    )
    assert "12/12" in err
    assert "accuracy" in err
    fit(network(), ONE_EPOCH, train, **CPU)
    assert capsys.readouterr() == ("", "")


# ---- what cannot be used -------------------------------------------------------------------------


def test_early_stopping_needs_a_test():
    for stop in (EarlyStopping(accuracy=0.9), EarlyStopping(patience=2)):
        with pytest.raises(ValueError, match="test: got None"):
            fit(network(), ONE_EPOCH, loaders()[0], stop=stop, **CPU)


IMAGES, LABELS = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


def test_batches_that_cannot_be_used():
    """Both `fit` and `evaluate` check them; more in test_batches.py."""
    for use in (partial(fit, network(), ONE_EPOCH, **CPU), partial(evaluate, network())):
        for batch, message in (
            ((IMAGES[0], LABELS), r"must be floating-point images \(N, C, H, W\)"),
            ((IMAGES, LABELS + 1), "labels from 1 to 3; .* model has 3 classes"),
            ((IMAGES[:, :1], LABELS), r"images must have shape \(N, 3, H, W\)|images: got"),
        ):
            with pytest.raises(ValueError, match=message):
                use([batch])


def test_empty_loaders():
    for train in ([], DataLoader(TensorDataset(IMAGES, LABELS), 8, drop_last=True)):
        with pytest.raises(ValueError, match="train: got an empty loader"):
            fit(network(), ONE_EPOCH, train, **CPU)
    with pytest.raises(ValueError, match="must have a length"):
        fit(network(), ONE_EPOCH, iter([(IMAGES, LABELS)]), **CPU)


def test_a_model_without_logits_or_weights():
    with pytest.raises(ValueError, match=r"got the output \(4, 3, 8, 8\).*logits \(N, classes\)"):
        fit(nn.Conv2d(3, 3, 1), ONE_EPOCH, [(IMAGES, LABELS)], **CPU)
    with pytest.raises(ValueError, match="requires_grad=True"):
        fit(network().requires_grad_(False), ONE_EPOCH, [(IMAGES, LABELS)], **CPU)


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights():
    images = IMAGES.clone()
    images[1, 0, 0, 0] = math.nan
    model = Dropping()
    model.body[2] = nn.Linear(192, 3)
    before = model.body[2].weight.clone()
    with pytest.raises(FloatingPointError, match=r"nan in epoch 1: lower learning_rate \(now 0\.5"):
        fit(model, TrainingConfig(epochs=1, learning_rate=0.5), [(images, LABELS)], **CPU)
    assert torch.equal(model.body[2].weight, before)
    assert not model.training
