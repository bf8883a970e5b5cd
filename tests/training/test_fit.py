"""Training: learns, repeats to the bit, survives a kill, refuses what it cannot use."""

import math
import os
import random
import signal
import subprocess
import sys
import textwrap
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.data import random_horizontal_flip
from xai_course.models import ArticleNet, BeetleNet
from xai_course.training import choose_device, evaluate, fit, one_cycle, predict
from xai_course.training.fit import Epoch, image_layout

CPU = {"device": "cpu", "progress": False}


def shapes(count, seed):
    """Bright squares on noise: left, right or none, so that three classes can be learned."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 3, 16, 16, generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    for image, label in zip(images, labels, strict=True):
        if label < 2:
            top = int(torch.randint(0, 12, (1,), generator=generator))
            image[:, top : top + 4, 2 + 8 * label : 6 + 8 * label] += 2
    return TensorDataset(images, labels)


def loaders(seed=0):
    train = DataLoader(shapes(96, 1), 16, shuffle=True, generator=torch.Generator())
    return train, DataLoader(shapes(60, 2), 30)


def network(seed=0):
    torch.manual_seed(seed)
    return BeetleNet(classes=3, depth=3, width=4)


class Dropping(nn.Module):
    """A small network with dropout, which draws on PyTorch's global generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(768, 3))

    def forward(self, images):
        return self.body(images)


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def bare(history):
    """The history without the seconds, which no run repeats."""
    return [(e.epoch, e.train_loss, e.train_accuracy, e.test_accuracy) for e in history]


def test_learns_what_can_be_learned():
    model = network()
    train, test = loaders()
    history = fit(model, train, test, epochs=8, **CPU)
    assert [e.epoch for e in history] == list(range(1, 9))
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].test_accuracy == evaluate(model, test) >= 0.95
    assert not model.training


def test_the_numbers_of_one_batch_by_hand():
    """One batch, a linear model at zero, plain SGD: loss log 3, step by the mean gradient."""
    images, labels = torch.eye(3).reshape(3, 3, 1, 1), torch.tensor([0, 1, 1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    nn.init.zeros_(model[1].weight)
    sgd = torch.optim.SGD
    settings = {"learning_rate": 0.3, "optimizer": sgd, "schedule": None, **CPU}
    history = fit(model, [(images, labels)], epochs=1, **settings)
    assert history[0].train_loss == pytest.approx(math.log(3))
    assert history[0].train_accuracy == pytest.approx(1 / 3)  # argmax of equal logits is class 0
    assert history[0].test_accuracy is None
    gradient = (torch.full((3, 3), 1 / 3) - nn.functional.one_hot(labels, 3)).T / 3
    torch.testing.assert_close(model[1].weight, -0.3 * gradient)


def test_label_smoothing_is_in_the_loss():
    images, labels = torch.zeros(2, 3, 1, 1), torch.tensor([0, 1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([math.log(3), 0.0])  # probabilities 3/4 and 1/4
    loss = fit(model, [(images, labels)], epochs=1, label_smoothing=0.2, **CPU)[0].train_loss
    assert loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    uneven = [(images[:1], labels[:1])]
    model[1].bias.data = torch.tensor([math.log(3), 0.0])
    loss = fit(model, uneven, epochs=1, label_smoothing=0.2, **CPU)[0].train_loss
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
    history = fit(model, batches, batches, epochs=1, learning_rate=1e-9, **CPU)
    assert history[0].train_accuracy == history[0].test_accuracy == 0.75
    zero, one = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    assert history[0].train_loss == pytest.approx((3 * zero + one) / 4)


def test_the_layout_of_images_avoids_what_onednn_gets_wrong():
    """Strided 1x1 convolutions of few channels corrupt memory with channels last (6035)."""
    cpu = torch.device("cpu")
    assert image_layout(BeetleNet(width=4), cpu) == torch.contiguous_format
    assert image_layout(BeetleNet(width=16), cpu) == torch.channels_last
    assert image_layout(BeetleNet(width=4, skips=False), cpu) == torch.channels_last
    assert image_layout(BeetleNet(width=16), torch.device("cuda")) == torch.contiguous_format


@pytest.mark.parametrize("build", [network, Dropping])
def test_repeats_to_the_bit(build):
    runs = []
    for chaos in (1, 2):
        model = build()
        random.seed(chaos), np.random.seed(chaos), torch.manual_seed(chaos)  # noqa: NPY002
        train = DataLoader(shapes(96, 1), 16, shuffle=True)  # draws on the global generator
        history = fit(model, train, epochs=2, augment=random_horizontal_flip, seed=3, **CPU)
        runs.append((model, bare(history)))
    assert runs[0][1] == runs[1][1]
    assert same(runs[0][0], runs[1][0])
    other = build()
    fit(other, train, epochs=2, augment=random_horizontal_flip, seed=4, **CPU)
    assert not same(other, runs[0][0])


def test_epochs_differ_in_order_and_augmentation():
    orders, draws = [], []

    def augment(images, generator):
        draws.append(torch.rand(1, generator=generator).item())
        orders.append(images[:, 0, 0, 0].tolist())
        return images

    fit(network(), loaders()[0], epochs=2, augment=augment, **CPU)
    assert len(set(draws)) == len(draws) == 12
    assert orders[0] != orders[6]
    assert sorted(chain(*orders[:6])) == sorted(chain(*orders[6:]))


def test_an_attack_changes_each_batch_after_the_augmentation():
    """It gets the model in training; what it returns is learnt from; doing nothing changes none."""
    seen = []

    def attack(model, images, labels, generator):
        seen.append((model.training, torch.is_grad_enabled(), images.clone(), labels))
        return torch.zeros_like(images)

    plain, nothing, zeros = network(), network(), network()
    expected = fit(plain, loaders()[0], epochs=2, augment=random_horizontal_flip, **CPU)
    idle = fit(
        nothing,
        loaders()[0],
        epochs=2,
        augment=random_horizontal_flip,
        attack=lambda *a: a[1],
        **CPU,
    )
    assert bare(idle) == bare(expected)
    assert same(plain, nothing)
    fit(zeros, loaders()[0], epochs=1, augment=lambda images, _: images + 100, attack=attack, **CPU)
    assert len(seen) == 6
    assert all(training and grad for training, grad, _, _ in seen)
    assert all(images.mean() > 90 and len(labels) == 16 for _, _, images, labels in seen)
    assert not same(plain, zeros)
    assert zeros.stem.norm.running_mean.abs().max() == 0  # it saw zeros only


def test_leaves_the_random_state_of_the_caller():
    model = Dropping()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    fit(model, loaders()[0], epochs=1, augment=random_horizontal_flip, **CPU)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_watch_sees_every_step_and_changes_none():
    steps, weights = [], []

    def watch(step, model):
        steps.append(step)
        weights.append(next(model.parameters()).detach().clone())
        torch.rand(100), random.random()
        evaluate(model, loaders()[1])
        model.eval()

    plain, watched = Dropping(), Dropping()
    fit(plain, loaders()[0], epochs=2, **CPU)
    start = next(watched.parameters()).detach().clone()
    fit(watched, loaders()[0], epochs=2, watch=watch, **CPU)
    assert steps == list(range(13))
    assert torch.equal(weights[0], start)
    assert torch.equal(weights[-1], next(watched.parameters()))
    assert all(not torch.equal(a, b) for a, b in pairwise(weights))
    assert same(plain, watched)


def test_works_under_no_grad_and_leaves_frozen_weights():
    model = network()
    model.stem.requires_grad_(False)
    frozen = model.stem.conv.weight.clone()
    head = model.head.weight.clone()
    with torch.no_grad():
        fit(model, loaders()[0], epochs=1, **CPU)
        assert not torch.is_grad_enabled()
    assert torch.equal(model.stem.conv.weight, frozen)
    assert not torch.equal(model.head.weight, head)


def test_stops_at_a_target():
    train, test = loaders()
    full = fit(network(), train, test, epochs=8, **CPU)
    target = 0.9
    first = next(e.epoch for e in full if e.test_accuracy >= target)
    model = network()
    history = fit(model, train, test, epochs=8, stop_at=target, **CPU)
    assert first < 8
    assert bare(history) == bare(full)[:first]


def test_patience_counts_epochs_without_a_better_one():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3))

        def forward(self, images):
            return self.w.expand(len(images), 3) * 0 + torch.tensor([1.0, 0.0, 0.0])

    train, test = loaders()
    assert len(fit(Frozen(), train, test, epochs=9, patience=2, **CPU)) == 3
    assert len(fit(Frozen(), train, test, epochs=9, **CPU)) == 9


def test_one_cycle_rises_and_falls():
    values = [one_cycle(i / 100) for i in range(101)]
    assert values[0] == pytest.approx(0.04)
    assert values[25] == 1 == max(values)
    assert values[100] == pytest.approx(0, abs=1e-12)
    assert one_cycle(1.5) == pytest.approx(0, abs=1e-12)
    assert all(a < b for a, b in pairwise(values[:26]))
    assert all(a > b for a, b in pairwise(values[25:]))


def test_the_schedule_sets_the_rate_of_each_step():
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    settings = {"optimizer": Spy, "learning_rate": 0.2, **CPU}
    fit(network(), loaders()[0], epochs=2, **settings)
    assert rates == pytest.approx([0.2 * one_cycle(step / 12) for step in range(12)])


def test_mirror_turns_about_half_of_the_images_left_to_right():
    images = torch.arange(1000 * 6.0).reshape(1000, 1, 2, 3)
    out = random_horizontal_flip(images, torch.Generator().manual_seed(0))
    turned = (out == images.flip(3)).all(3).all(2).all(1)
    kept = (out == images).all(3).all(2).all(1)
    assert torch.equal(turned, ~kept)
    assert 430 < turned.sum() < 570  # 4.4 standard deviations
    again = random_horizontal_flip(images, torch.Generator().manual_seed(0))
    assert torch.equal(out, again)


def test_predict_and_evaluate_by_hand():
    class Sum(nn.Module):
        def forward(self, images):
            mean = images.mean((1, 2, 3))
            return torch.stack([-mean, mean], 1)

    images = torch.tensor([1.0, 2, -3, 4, -5]).reshape(5, 1, 1, 1)
    labels = torch.tensor([1, 0, 0, 1, 0])
    loader = DataLoader(TensorDataset(images, labels), 2)
    logits, answers = predict(Sum(), loader)
    assert logits[:, 1].tolist() == [1, 2, -3, 4, -5]
    assert torch.equal(answers, labels)
    assert evaluate(Sum(), loader) == 0.8


@pytest.mark.parametrize("broken", [False, True])
def test_evaluate_restores_every_mode_and_no_statistics(broken):
    model = network().train()
    model.stem.eval()  # one part frozen by the caller
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if broken:
        with pytest.raises(ValueError, match="labels from 7 to 7"):
            evaluate(model, [(torch.zeros(1, 3, 8, 8), torch.tensor([7]))])
    else:
        evaluate(model, loaders()[1])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_progress_ends_in_a_printed_line(capsys):
    train, test = loaders()
    last = fit(network(), train, test, epochs=2, device="cpu")[-1]
    out, err = capsys.readouterr()
    assert out == (
        f"epoch 2 of 2: loss {last.train_loss:.3f}, training accuracy {last.train_accuracy:.1%}, "
        f"test accuracy {last.test_accuracy:.1%}\n"
    )
    assert "12/12" in err
    assert "accuracy" in err
    fit(network(), train, epochs=1, **CPU)
    assert capsys.readouterr() == ("", "")


def test_choose_device_can_compute():
    assert torch.ones(2, device=choose_device()).sum().item() == 2


# What cannot be used


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"stop_at": 99}, "stop_at is an accuracy"),
        ({"patience": 0}, "patience"),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    train, test = loaders()
    with pytest.raises(ValueError, match=message):
        fit(network(), train, test, **{"epochs": 1, **CPU, **settings})


def test_watching_the_test_accuracy_needs_a_test():
    for settings in ({"stop_at": 0.9}, {"patience": 2}):
        with pytest.raises(ValueError, match="need a test loader"):
            fit(network(), loaders()[0], epochs=1, **settings, **CPU)


IMAGES, LABELS = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, r"images \(N, C, H, W\), got \(3, 8, 8\)"),
        (IMAGES.to(torch.uint8), LABELS, "floating-point.*uint8"),
        (IMAGES, LABELS + 1, "labels from 1 to 3, but the model has 3 classes"),
        (IMAGES, LABELS - 1, "labels from -1 to 1"),
        (IMAGES, LABELS[:3], r"one for each of 4 images.*got \(3,\)"),
        (IMAGES, LABELS.float(), "float32"),
        (IMAGES, [0, 1, 2, 0], "labels are list"),
        (IMAGES[:, :1], LABELS, r"images must have shape \(N, 3, H, W\)"),
        (IMAGES[:0], LABELS[:0], "at least 1"),
    ],
)
def test_batches_that_cannot_be_used(images, labels, message):
    for use in (partial(fit, epochs=1, **CPU), evaluate):
        with pytest.raises(ValueError, match=message):
            use(network(), [(images, labels)])


def test_empty_loaders():
    for train in ([], DataLoader(TensorDataset(IMAGES, LABELS), 8, drop_last=True)):
        with pytest.raises(ValueError, match="train is an empty loader"):
            fit(network(), train, epochs=1, **CPU)
        with pytest.raises(ValueError, match="loader is empty"):
            evaluate(network(), train)
    with pytest.raises(ValueError, match="must have a length"):
        fit(network(), iter([(IMAGES, LABELS)]), epochs=1, **CPU)


def test_a_model_without_logits_or_weights():
    with pytest.raises(ValueError, match=r"logits \(N, classes\), got \(4, 3, 8, 8\)"):
        fit(nn.Conv2d(3, 3, 1), [(IMAGES, LABELS)], epochs=1, **CPU)
    with pytest.raises(ValueError, match="requires_grad=True"):
        fit(network().requires_grad_(False), [(IMAGES, LABELS)], epochs=1, **CPU)


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights():
    images = IMAGES.clone()
    images[1, 0, 0, 0] = math.nan
    model = Dropping()
    model.body[2] = nn.Linear(192, 3)
    before = model.body[2].weight.clone()
    with pytest.raises(FloatingPointError, match=r"nan in epoch 1: lower learning_rate \(now 0\.5"):
        fit(model, [(images, LABELS)], epochs=1, learning_rate=0.5, **CPU)
    assert torch.equal(model.body[2].weight, before)
    assert not model.training


# Interrupted runs

RUN = {"epochs": 3, "augment": random_horizontal_flip, "seed": 5, **CPU}

KILLED = """
    import os, signal, sys
    import torch
    sys.path.insert(0, {tests!r})
    torch.set_num_threads(1)
    from test_fit import RUN, loaders, fit, {build}
    def watch(step, model):
        if step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
    train, test = loaders()
    fit({build}(), train, test, checkpoint={checkpoint!r}, watch=watch, **RUN)
"""


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
@pytest.mark.parametrize(("build", "step"), [(network, 10), (Dropping, 15)])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, build, step):
    """A process of its own is killed in its second or third epoch (6 steps each)."""
    tests = str(Path(__file__).parent)
    checkpoint = str(tmp_path / "run")
    code = KILLED.format(tests=tests, step=step, checkpoint=checkpoint, build=build.__name__)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    steps = []
    resumed, whole = build(), build()
    history = fit(
        resumed,
        *loaders(),
        checkpoint=checkpoint,
        watch=lambda step, _: steps.append(step),
        **RUN,
    )
    assert steps == list(range(6 * (step // 6) + 1, 19))
    assert bare(history) == bare(fit(whole, *loaders(), **RUN))
    assert same(resumed, whole)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
def test_an_interrupted_notebook_cell_goes_on_with_the_model_it_has(tmp_path, optimizer):
    def interrupt(step, _):
        if step == 9:
            raise KeyboardInterrupt

    settings = {**RUN, "optimizer": optimizer, "checkpoint": tmp_path / "run"}
    model, whole = network(), network()
    with pytest.raises(KeyboardInterrupt):
        fit(model, loaders()[0], watch=interrupt, **settings)
    assert not model.training
    fit(model, loaders()[0], **settings)
    fit(whole, loaders()[0], **{**settings, "checkpoint": None})
    assert same(model, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run.state.safetensors"]


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    settings = {**RUN, "checkpoint": tmp_path / "run"}
    first, again = network(), network(seed=9)
    history = fit(first, *loaders(), **settings)
    assert fit(again, *loaders(), watch=pytest.fail, **settings) == history
    assert same(first, again)
    assert all(isinstance(e, Epoch) for e in history)


OTHER = {
    "seed": {"seed": 6},
    "epochs": {"epochs": 4},
    "augment": {"augment": None},
    "label_smoothing": {"label_smoothing": 0.1},
    "schedule": {"schedule": None},
    "optimizer": {"learning_rate": 0.02},
}


def test_the_state_of_another_run_is_refused_by_name(tmp_path):
    settings = {**RUN, "epochs": 1, "checkpoint": tmp_path / "run"}
    train, test = loaders()
    fit(network(), train, test, **settings)
    saved = (tmp_path / "run.state.safetensors").read_bytes()
    for name, change in OTHER.items():
        with pytest.raises(ValueError, match=rf"another training run \(.*{name}: .* now"):
            fit(network(), train, test, **{**settings, **change})
    wider = BeetleNet(classes=3, depth=3, width=5)
    for model in (wider, ArticleNet(3), Dropping()):
        with pytest.raises(ValueError, match=r"another training run \(model: "):
            fit(model, train, test, **settings)
    data = shapes(96, 8)
    with pytest.raises(ValueError, match=r"another training run \(data: "):
        fit(network(), DataLoader(data, 16, shuffle=True), test, **settings)
    assert (tmp_path / "run.state.safetensors").read_bytes() == saved


def test_a_damaged_state_is_refused_by_name(tmp_path):
    settings = {**RUN, "epochs": 1, "checkpoint": tmp_path / "run"}
    fit(network(), loaders()[0], **settings)
    file = tmp_path / "run.state.safetensors"
    whole = file.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    lied = whole.replace(b'train_accuracy\\":', b'train_accuracx\\":', 1)
    assert lied != whole
    for damaged in (b"", whole[:50], whole[:-1], flipped, lied):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.state\.safetensors: (damaged|not a readable)"):
            fit(network(), loaders()[0], **settings)


def test_persistent_workers_cannot_be_resumed(tmp_path):
    train = DataLoader(shapes(8, 1), 4, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="persistent_workers"):
        fit(network(), train, epochs=1, checkpoint=tmp_path / "run", **CPU)
