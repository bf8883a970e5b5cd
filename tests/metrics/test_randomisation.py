"""Randomisation of the weights and agreement of methods: cases whose answer is known by hand."""

import copy
import random
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explainers import EXPLAINERS, small
from scipy.stats import spearmanr
from stock_networks import BUILDERS, CLASSES, Mixed, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.core import map_similarity
from xai_course.metrics import (
    cascading_randomisation,
    edge_map,
    layer_order,
    method_agreement,
    noise_map,
    randomisation,
    randomisation_null,
    reinitialised,
)
from xai_course.models import BeetleNet
from xai_course.relu import gradient, gradient_times_input
from xai_course.residual import integrated_gradients, occlusion

ABOVE = ["head", "branch.2", "branch.0", "norm", "conv2", "conv1"]  # of `small`, from the output


def learnt(model):
    """What a model has learnt, as copies: its parameters and running statistics."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before, after):
    return {
        name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])
    }


@contextmanager
def nothing_drawn():
    """Nothing inside is drawn from a global generator."""
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


# --------------------------------------------------------------------- the models, drawn anew


def test_each_step_draws_one_more_layer_from_the_output_down():
    model = small()
    before = learnt(model)
    with nothing_drawn():
        steps = list(cascading_randomisation(model))
    assert [name for name, _ in steps] == ABOVE
    for k, (_, step) in enumerate(steps):
        assert changed(before, learnt(step)) == set(ABOVE[: k + 1])
        assert not step.training
    for (_, upper), (name, lower) in pairwise(steps):  # the earlier steps are kept
        assert changed(learnt(upper), learnt(lower)) == {name}
    assert changed(before, learnt(model)) == set()


def test_new_weights_are_those_of_a_new_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 50)).eval()
    nn.init.constant_(model[1].weight, 3)
    (_, fresh), *_ = cascading_randomisation(model)
    weight = fresh[1].weight
    bound = 1 / (3 * 64 * 64) ** 0.5  # PyTorch's default: uniform between ∓ 1/√inputs
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    (_, other), *_ = cascading_randomisation(model, seed=1)
    (_, again), *_ = cascading_randomisation(model)
    assert torch.equal(weight, again[1].weight)
    assert torch.corrcoef(torch.stack([weight.flatten(), other[1].weight.flatten()]))[0, 1] < 0.01


def test_a_seed_always_gives_the_same_weights():
    """Scores that were published can be measured again."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5)).eval()
    (_, first), *_ = cascading_randomisation(model, seed=4)
    number = torch.randint(2**31, (), generator=torch.Generator().manual_seed(4)).item()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        layer = nn.Linear(6, 5)
    assert torch.equal(first[1].weight, layer.weight)
    assert torch.equal(first[1].bias, layer.bias)


def test_layers_of_one_shape_get_different_weights():
    *_, (_, last) = cascading_randomisation(small())
    assert not torch.equal(last.branch[0].weight, last.branch[2].weight)


def test_batch_normalisation_forgets_its_statistics_too():
    model = small()
    assert model.norm.running_mean.abs().max() > 0
    norm = dict(cascading_randomisation(model))["norm"].norm
    for tensor, value in zip(
        (norm.running_mean, norm.running_var, norm.weight, norm.bias), (0, 1, 1, 0), strict=True
    ):
        assert (tensor == value).all()
    model.norm = nn.BatchNorm2d(5, affine=False).double().eval()
    model.norm.running_mean += 1
    assert dict(cascading_randomisation(model))["norm"].norm.running_mean.abs().max() == 0
    assert "norm" in layer_order(model, pictures(1, 16))


def test_what_a_step_gives_away_does_not_come_back():
    steps = cascading_randomisation(small())
    _, first = next(steps)
    first.train()
    for weight in first.parameters():
        weight.data.fill_(7)
    _, second = next(steps)
    assert not second.training
    assert not (second.head.weight == 7).any()


class Shuffled(nn.Module):
    """Layers defined in another order than they run in, one used twice, one as weights only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, CLASSES)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 1)
        self.between = nn.Conv2d(4, 4, 1)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        x = self.twice(self.stem(x)).relu()
        x = F.conv2d(x, bias=self.between.bias, weight=self.between.weight)
        return self.head(self.twice(x).relu().mean((2, 3)))


def test_the_order_is_that_in_which_layers_are_used():
    model = Shuffled().eval()
    assert layer_order(model) == ["stem", "between", "unused", "twice", "head"]
    images = pictures(2, 16).float()
    used = ["head", "twice", "between", "stem"]
    assert layer_order(model, images) == used
    assert [name for name, _ in cascading_randomisation(model, images)] == used
    assert randomisation(model, gradient, images).shape == (2, 4)
    with torch.inference_mode():
        assert layer_order(model, images) == used


@pytest.mark.parametrize("name", with_heavy(name for name in BUILDERS if name != "mixed"))
def test_stock_networks_are_defined_in_the_order_in_which_they_run(name):
    model = network(name)
    assert layer_order(model, pictures(1, 64)) == layer_order(model)


def test_in_the_mixed_network_only_what_runs_is_listed():
    model = Mixed().eval()
    images = pictures(1, 32).float()
    assert layer_order(model, images) == ["fc2", "fc1", "conv3", "bn2", "conv2", "conv1"]


class Bare(nn.Module):
    """A layer whose weights nobody can draw anew."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


def test_layers_that_cannot_be_drawn_anew_are_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Bare(), nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(
        ValueError, match=r"^model: got parameters without reset_parameters\(\) in 1 \(Bare\)"
    ):
        next(cascading_randomisation(model))
    with pytest.raises(ValueError, match=r"^model: got .* in the model itself \(Bare\)"):
        layer_order(Bare())
    with pytest.raises(ValueError, match=r"^model: got one without parameters"):
        layer_order(nn.Flatten())
    with pytest.raises(ValueError, match=r"^model: got int"):
        next(cascading_randomisation(3))


# ----------------------------------------------------------------------- how alike the maps stay


def test_a_map_that_does_not_look_at_the_model_stays_as_it_is():
    model, images = small(), pictures(3, 16)
    for explainer in (edge_map, noise_map):
        with nothing_drawn():
            similarity = randomisation(model, explainer, images)
        assert similarity.shape == (3, len(ABOVE))
        assert torch.allclose(similarity, torch.ones(3, len(ABOVE)).double())


def test_the_gradient_of_a_linear_model_is_forgotten_at_once():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 4)).double().eval()
    images = pictures(2, 64, channels=1)
    similarity = randomisation(model, gradient, images, [0, 1])
    assert similarity.shape == (2, 1)
    assert similarity.abs().max() < 4 / 64  # four standard deviations of Spearman's ρ of 4096 pairs
    # but its product with the image keeps the image: |x · w| is large where |x| is
    product = randomisation(model, gradient_times_input, images, [0, 1], absolute=True)
    assert product.min() > 0.2


def test_similarities_are_those_of_maps_made_by_hand():
    model, images = small(), pictures(3, 16)
    targets = torch.tensor([4, 0, 2])
    similarity = randomisation(model, gradient, images, targets, seed=3, batch_size=2)
    for column, (_, step) in zip(similarity.T, cascading_randomisation(model, seed=3), strict=True):
        for n, value in enumerate(column):
            a, b = (gradient(m, images, targets)[n].sum(0).flatten() for m in (model, step))
            assert value.item() == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
    size = randomisation(model, gradient, images, targets, seed=3, absolute=True)
    assert not torch.allclose(size, similarity)
    assert torch.equal(randomisation(model, gradient, images, targets, seed=3), similarity)
    assert not torch.allclose(randomisation(model, gradient, images, targets), similarity)


def test_the_class_is_the_one_that_the_trained_model_predicts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 9), nn.ReLU(), nn.Linear(9, 4)).double()
    images, seen = pictures(5, 16), []
    predicted = model.eval()(images).argmax(1)
    assert len(set(predicted.tolist())) > 1

    def watched(model, x, targets):
        seen.append(targets)
        return gradient(model, x, targets)

    similarity = randomisation(model, watched, images, batch_size=5)
    assert len(seen) == 1 + 2
    assert all(torch.equal(targets, predicted) for targets in seen)
    assert torch.equal(similarity, randomisation(model, gradient, images, predicted))


def test_layers_choose_the_columns():
    model, images = BeetleNet(width=4).double().eval(), pictures(2, 16)
    order = layer_order(model, images)
    every = randomisation(model, gradient, images)
    assert every.shape == (2, len(order))
    some = ["blocks.1.branch.conv2", "head"]
    similarity = randomisation(model, gradient, images, layers=some)
    assert torch.equal(similarity, every[:, [order.index(name) for name in some]])
    blocks = randomisation(model, gradient, images, layers=["blocks.2", "blocks", "stem.conv"])
    ends = [order.index("blocks.2.branch.conv1"), order.index("blocks.0.branch.conv1"), -1]
    assert torch.equal(blocks, every[:, ends])
    asked = []

    def counted(model, x, targets):
        asked.append(model)
        return gradient(model, x, targets)

    randomisation(model, counted, images, layers=["head"])
    assert len(asked) == 2


@pytest.mark.parametrize("name", with_heavy(["small_resnet", "resnet18"]))
def test_stock_resnet(name):
    model, images = network(name), pictures(2, 32)
    before = learnt(model)
    with nothing_drawn():
        similarity = randomisation(
            model, gradient, images, layers=["fc", "layer4", "layer2", "conv1"]
        )
    assert similarity.shape == (2, 4)
    assert similarity.isfinite().all()
    assert similarity[:, -1].abs().max() < 0.2
    assert torch.allclose(
        randomisation(model, edge_map, images, layers=["fc"]), torch.ones(1).double()
    )
    assert changed(before, learnt(model)) == set()


@pytest.mark.parametrize("name", ["gradient", "grad_cam", "deeplift", "lrp with gamma"])
def test_a_wholly_random_network_still_has_maps(name):
    torch.manual_seed(1)
    model, images = BeetleNet(depth=6).double().eval(), pictures(4, 32)
    *_, (_, last) = cascading_randomisation(model, images)
    maps = EXPLAINERS[name](last, images, 0).sum(1).flatten(1)
    assert maps.isfinite().all()
    assert (maps.std(1) > 0).all()


# ---- an untrained network that works


def test_a_reinitialised_model_is_the_last_step_with_statistics_of_the_images():
    model, images = small(), pictures(6, 16)
    before = learnt(model)
    with nothing_drawn():
        untrained_model = reinitialised(model, images, seed=3)
    assert changed(before, learnt(model)) == set()
    assert not untrained_model.training
    *_, (_, last) = cascading_randomisation(model, seed=3)
    assert changed(learnt(last), learnt(untrained_model)) == {"norm"}
    seen = []
    untrained_model.norm.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    untrained_model(images)
    assert torch.allclose(untrained_model.norm.running_mean, seen[0].mean((0, 2, 3)))
    assert torch.allclose(untrained_model.norm.running_var, seen[0].var((0, 2, 3)))
    assert torch.equal(untrained_model.norm.weight, torch.ones_like(untrained_model.norm.weight))
    assert untrained_model.norm.momentum == model.norm.momentum


def test_the_signal_of_a_deep_network_dies_without_and_lives_with_them():
    """Then occlusion, a difference of logits, is rounding: in double precision another map."""
    images = pictures(4, 16).float()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    for _ in range(16):
        model.extend([nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)])
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)]).eval()
    *_, (_, dead) = cascading_randomisation(model)
    alive = reinitialised(model, images)
    alike = {}
    for name, untrained_model in {"dead": dead, "alive": alive}.items():
        logits = untrained_model(images)
        spread = (logits.amax(0) - logits.amin(0)).max() / logits.abs().max()
        assert (spread < 1e-4) == (name == "dead")
        single = occlusion(untrained_model, images, 0, window=4, stride=4)
        double = occlusion(
            copy.deepcopy(untrained_model).double(), images.double(), 0, window=4, stride=4
        )
        alike[name] = map_similarity(single, double.float()).mean()
    assert alike["alive"] > 0.99
    assert alike["dead"] < 0.5


class Head(nn.Module):
    """Logits times a factor, and beside them one that is always 0."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, logits):
        return torch.cat([self.factor * logits, 0 * logits[:, :1]], 1)


@pytest.mark.parametrize("factor", [1, 1e4, 1e-4])
def test_a_signal_that_dies_all_the_same_is_refused(factor):
    layers = [layer for _ in range(30) for layer in (nn.Conv2d(8, 8, 1), nn.ReLU())]
    model = nn.Sequential(nn.Conv2d(3, 8, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.extend([nn.Linear(8, 2), Head(factor)]).eval()
    with pytest.raises(ValueError, match=r"^model: got the same logits for all images"):
        reinitialised(model, pictures(4, 16).float())
    alive = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2), Head(factor)).eval()
    reinitialised(alive, pictures(4, 16).float())
    with pytest.raises(ValueError, match=r"without reset_parameters"):
        reinitialised(nn.MultiheadAttention(4, 1), pictures(1, 16))


def test_frozen_weights_are_drawn_anew_and_stay_frozen():
    model, images = small(), pictures(2, 16)
    model.conv2.weight.requires_grad_(False)
    before = learnt(model)
    *_, (_, last) = cascading_randomisation(model)
    assert changed(before, learnt(last)) == set(ABOVE)
    assert not last.conv2.weight.requires_grad
    assert last.conv1.weight.requires_grad
    assert not torch.equal(last.conv2.weight, model.conv2.weight)
    similarity = randomisation(model, gradient, images)
    assert similarity[:, -1].abs().max() < 1 - 1e-6
    assert not model.conv2.weight.requires_grad


def test_tied_weights_stay_tied():
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]).eval()
    model[2].weight = model[0].weight
    *_, (_, last) = cascading_randomisation(model)
    assert last[2].weight is last[0].weight
    assert last[0].weight is not model[0].weight


def test_the_model_comes_back_as_it_was_also_after_an_exception():
    model, images = small(), pictures(2, 16)
    model.conv1.weight.grad = torch.ones_like(model.conv1.weight)
    before = learnt(model)

    calls = []

    def failing(model, x, targets):
        calls.append(model)
        if len(calls) == 4:
            raise KeyError("mid-way")
        for weight in model.parameters():
            weight.grad = None
        return gradient(model, x, targets)

    with nothing_drawn(), pytest.raises(KeyError, match="mid-way"):
        randomisation(model, lambda m, x, t: failing(m, x, t) if m is not model else x, images)
    assert len(calls) == 4
    assert all(step is not model for step in calls)
    assert changed(before, learnt(model)) == set()
    assert (model.conv1.weight.grad == 1).all()
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode):
    model, images = small(), pictures(2, 16)
    expected = randomisation(model, gradient, images)
    with mode():
        assert torch.equal(randomisation(model, gradient, images), expected)
        assert torch.equal(randomisation(model, gradient, images.clone()), expected)
        randomisation_null(model, gradient, images)


def test_single_precision_and_progress(capsys):
    model, images = small(dtype=torch.float32), pictures(2, 16).float()
    similarity = randomisation(model, integrated_gradients, images, progress=True)
    assert similarity.dtype == torch.double
    assert "randomising" in capsys.readouterr().err
    randomisation(model, edge_map, images)
    assert capsys.readouterr().err == ""


def test_bad_arguments_are_named():
    model, images = small(), pictures(2, 16)
    with pytest.raises(ValueError, match=r"^explainer: got Tensor; must be a function"):
        randomisation(model, torch.zeros(2, 1, 16, 16), images)
    with pytest.raises(ValueError, match=r"^layers: got 'conv3'; must be one of head, branch\.2"):
        randomisation(model, gradient, images, layers=["head", "conv3"])
    for wrong in ("head", []):
        with pytest.raises(ValueError, match=r"^layers: got"):
            randomisation(model, gradient, images, layers=wrong)
    with pytest.raises(ValueError, match=r"^targets: got 7"):
        randomisation(model, gradient, images, 7)
    with pytest.raises(ValueError, match=r"^explainer: got relevance of shape"):
        randomisation(model, lambda m, x, t: x[..., :4], images)
    with pytest.raises(ValueError, match=r"model\.eval"):
        randomisation(small().train(), gradient, images)
    with pytest.raises(ValueError, match=r"^batch_size: got 0"):
        randomisation(model, gradient, images, batch_size=0)


# ---------------------------------------------------------------- what similarity there is anyway


def test_the_null_compares_each_map_with_the_next():
    model, images = small(), pictures(4, 16)
    maps = gradient(model, images)
    for explainer in (gradient, maps):
        with nothing_drawn():
            similarity = randomisation_null(model, explainer, images, batch_size=3)
        assert similarity.shape == (4,)
        for n, value in enumerate(similarity):
            a, b = (maps[k].sum(0).flatten() for k in (n, (n + 1) % 4))
            assert value.item() == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
    size = randomisation_null(model, maps, images, absolute=True)
    assert torch.equal(size, map_similarity(maps, maps.roll(-1, 0), absolute=True))
    with pytest.raises(ValueError, match=r"^images: got 1; must be two or more"):
        randomisation_null(model, gradient, images[:1])


def test_the_null_of_noise_is_none_and_of_one_map_for_all_is_full():
    model, images = tiny(), pictures(6, 64)
    assert randomisation_null(model, noise_map, images).abs().max() < 4 / 64
    same = images[:1].expand(6, -1, -1, -1)
    assert randomisation_null(model, same, images).min() == pytest.approx(1)


# ------------------------------------------------------------------------ do the methods agree?


@pytest.mark.parametrize("absolute", [False, True])
def test_agreement_is_scipys_for_each_pair(absolute):
    maps = {
        "a": pictures(3, 8),
        "b": pictures(3, 8, seed=1),
        "c": pictures(3, 8, channels=1).float().round(),
        "minus a": -2 * pictures(3, 8),
    }
    similarity = method_agreement(maps, absolute=absolute)
    assert similarity.shape == (3, 4, 4)
    assert torch.equal(similarity, similarity.mT)
    for n in range(3):
        sums = torch.stack([m[n].double().sum(0).flatten() for m in maps.values()]).numpy()
        expected = spearmanr(abs(sums) if absolute else sums, axis=1).statistic
        assert np.allclose(similarity[n], expected, atol=1e-12)
    assert similarity[:, 0, 3].tolist() == pytest.approx([1.0 if absolute else -1.0] * 3)
    assert torch.equal(method_agreement(maps), similarity) != absolute  # signs count unless asked


def test_a_flat_map_agrees_with_nothing():
    similarity = method_agreement({"a": pictures(2, 8), "flat": torch.ones(2, 1, 8, 8)})
    assert torch.allclose(similarity, torch.tensor([[1.0, 0], [0, 0]]).double())
    assert method_agreement({"a": pictures(2, 8)}).shape == (2, 1, 1)


def test_maps_that_cannot_be_compared_are_refused():
    maps = pictures(2, 8)
    for wrong in ({}, [maps]):
        with pytest.raises(ValueError, match=r"^maps: got"):
            method_agreement(wrong)
    for wrong in (maps[:1], maps[..., :4]):
        with pytest.raises(ValueError, match=r"^maps: got \(.*\) for 'b'"):
            method_agreement({"a": maps, "b": wrong})
    with pytest.raises(ValueError, match=r"^maps: those of 'b': .*NaN"):
        method_agreement({"a": maps, "b": maps.log()})
    with pytest.raises(ValueError, match=r"^maps: those of 'a': .*shape"):
        method_agreement({"a": maps[0], "b": maps})
