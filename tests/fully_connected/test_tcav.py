"""Neighbours and concepts: by hand, on planted directions, and under the null."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn

from xai_course.fully_connected import (
    concept_vector,
    embed,
    layer_features,
    nearest_examples,
    tcav,
)
from xai_course.models import ArticleNet


class Pixels(nn.Module):
    """Features that are the image's own numbers, weighted by one row a class."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.features, self.head = nn.Flatten(), nn.Linear(weight.shape[1], len(weight)).double()
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.zero_()
        self.eval()

    def forward(self, x):
        return self.head(self.features(x))


def as_images(rows: object) -> torch.Tensor:
    return torch.as_tensor(rows, dtype=torch.double)[:, None, None]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ embedding and neighbours


def test_the_embedding_is_what_enters_the_last_linear_layer():
    model, images = network("vgg16"), pictures(3, 64)
    seen = []
    with model.classifier[6].register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0])):
        model(images.clone())
    assert torch.equal(embed(model, images), seen[0].detach())
    assert error(embed(model, images, batch_size=2), seen[0]) < 1e-12
    assert embed(network("mixed"), images).shape == (3, 16)
    assert embed(ArticleNet().eval(), images.float()).shape == (3, 512)


def test_neighbours_by_hand():
    model = Pixels(torch.eye(2).double())
    examples = as_images([[0, 0], [0, 1], [0, 3], [4, 0]])
    with pytest.warns(
        UserWarning, match=r"^nothing is near: of 2 images, 1 are farther .* than 4,"
    ):
        found = nearest_examples(
            model, as_images([[0, 1.5], [9, 0]]), examples, count=2, quantile=1.0
        )
    assert found.indices.tolist() == [[1, 0], [3, 0]] or found.indices.tolist() == [[1, 2], [3, 0]]
    assert found.distance.tolist() == [[0.5, 1.5], [5, 9]]
    assert found.near.tolist() == [True, False]  # the farthest example has one at a distance of 4


@given(
    count=st.integers(1, 4),
    batch_size=st.integers(1, 7),
    examples=st.integers(4, 12),
    images=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_neighbours_agree_with_sorting_all_distances(count, batch_size, examples, images, seed):
    model, known = tiny(), pictures(examples, 8, seed=seed)
    asked = pictures(images, 8, seed=seed + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = nearest_examples(model, asked, known, count=count, batch_size=batch_size)
    rows, those = embed(model, asked), embed(model, known)
    distance = (rows[:, None] - those[None]).norm(dim=2)
    assert error(found.distance, distance.sort(1).values[:, :count]) < 1e-10
    assert error(distance.gather(1, found.indices), found.distance) < 1e-10
    own = (those[:, None] - those[None]).norm(dim=2).fill_diagonal_(torch.inf).amin(1)
    assert torch.equal(found.near, distance.amin(1) <= own.quantile(0.99))


def test_the_examples_themselves_are_near_and_no_warning_is_given():
    model, known = tiny(), pictures(20, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nearest_examples(model, known[:5], known, count=1)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found.distance, torch.zeros(5, 1).double())
    assert found.near.all()


def test_about_as_many_of_the_same_kind_are_far_as_the_quantile_says():
    model = Pixels(torch.eye(3).double())
    known, asked = as_images(noise(2000, 3)), as_images(noise(2000, 3, seed=1))
    with pytest.warns(UserWarning, match="nothing is near"):
        found = nearest_examples(model, asked, known, count=1, quantile=0.9)
    assert 0.07 < float((~found.near).double().mean()) < 0.13


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"count": 0}, "count: got 0 of 3 examples"),
        ({"count": 4}, "count: got 4 of 3"),
        ({"count": 1.5}, "count: got 1.5"),
        ({"quantile": 0}, "quantile: got 0"),
        ({"quantile": 1.1}, "quantile: got 1.1"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_neighbours_refuse_by_name(options, came):
    with pytest.raises(ValueError, match=f"^{came}"):
        nearest_examples(tiny(), pictures(2, 8), pictures(3, 8), **({"count": 1} | options))


def test_networks_and_images_that_are_refused():
    no_head = nn.Sequential(*tiny()[:-1]).eval()
    with pytest.raises(ValueError, match=r"^model: got none for 2 images"):
        embed(no_head, pictures(2, 8))
    for wrong in (pictures()[0], None, pictures(0)):
        with pytest.raises(ValueError, match=r"^images: got"):
            embed(tiny(), wrong)
        with pytest.raises(ValueError, match=r"^images: got"):
            layer_features(tiny(), wrong)
    for read in (embed, layer_features):
        with pytest.raises(ValueError, match=r"^model: got function"):
            read(lambda x: x, pictures())


# ------------------------------------------------------------------ concept vectors


def test_a_concept_by_hand():
    model = Pixels(torch.eye(3).double())
    absent = [[1.0, 5, 2], [2, 4, 0], [0, 6, 1], [3, 5, 5]]
    present = [[4.0, 9, 2], [5, 8, 0], [3, 10, 1], [6, 9, 5]]  # each (3, 4, 0) farther
    found = concept_vector(model, as_images(present), as_images(absent), "features")
    assert found.direction.tolist() == pytest.approx([0.6, 0.8, 0])
    assert found.step == pytest.approx(5)
    # Along (3, 4): absent 23, 22, 24, 29 and present 48, 47, 49, 54, always 25 more.
    assert (found.accuracy, found.ordered) == (1, 1)


def test_layers_are_read_with_and_without_their_mean():
    model, images = network("mixed"), pictures(3, 16)
    seen = []
    with model.bn2.register_forward_hook(lambda m, i, out: seen.append(out.clone())):
        model(images.clone())
    whole = layer_features(model, images, "bn2", average=False)
    assert torch.equal(whole, seen[0].flatten(1))
    assert torch.equal(layer_features(model, images, "bn2"), seen[0].mean((2, 3)))
    assert error(layer_features(model, images, "bn2", batch_size=2), seen[0].mean((2, 3))) < 1e-12
    assert layer_features(model, images, model.fc1).shape == (3, 16)


def test_a_planted_direction_is_found_and_held_out_pairs_are_ordered():
    direction = torch.nn.functional.normalize(noise(20, seed=1), dim=0)
    absent = noise(100, 20, seed=2)
    present = absent + 3 * direction + 0.3 * noise(100, 20, seed=3)
    model = Pixels(torch.zeros(2, 20).double())
    found = concept_vector(model, as_images(present), as_images(absent), "features")
    assert float(found.direction @ direction) > 0.99
    assert found.direction.norm() == pytest.approx(1)
    assert found.step == pytest.approx(3, rel=0.05)
    assert found.ordered == 1
    assert found.accuracy > 0.85  # 1.5 standard deviations on either side of the middle: 93 %


def test_accuracy_is_that_of_pairs_not_seen():
    """With more units than pairs, noise separates the pairs it is fitted to, and no others."""
    model = Pixels(torch.zeros(2, 500).double())
    absent, present = noise(30, 500, seed=1), noise(30, 500, seed=2)
    found = concept_vector(model, as_images(present), as_images(absent), "features")
    assert ((present - absent) @ found.direction > 0).all()
    assert 0.2 < found.ordered < 0.8
    assert 0.2 < found.accuracy < 0.8


def test_a_classifier_leans_on_what_the_concept_does_not_move():
    """Haufe et al.: unit 0 is concept and disturbance, unit 1 the disturbance alone."""
    disturbance = noise(400, 1, seed=1)
    absent = torch.cat([disturbance, disturbance], 1) + 0.01 * noise(400, 2, seed=2)
    present = absent + torch.tensor([1.0, 0])
    both = torch.cat([present, absent])
    sign = torch.cat([torch.ones(400), -torch.ones(400)]).double()
    classifier = torch.linalg.lstsq(both - both.mean(0), sign[:, None]).solution[:, 0]
    assert classifier[1] < -0.9 * classifier[0]  # it takes the disturbance away
    reads_unit_1 = Pixels(torch.tensor([[0.0, 1]]).double())
    pairs = (as_images(present), as_images(absent))
    found = concept_vector(reads_unit_1, *pairs, "features")
    assert found.direction.tolist() == pytest.approx([1, 0], abs=1e-12)
    # So the classifier's direction says that the logit falls with the concept; it does not move.
    assert float(reads_unit_1.head.weight[0].detach() @ classifier) < -0.5
    moved = reads_unit_1(pairs[0]) - reads_unit_1(pairs[1])
    assert float(moved.detach().abs().max()) < 1e-12
    assert abs(tcav(reads_unit_1, pairs[0], 0, {"a": pairs}, "features")["a"].slope) < 1e-12


@pytest.mark.parametrize(
    ("present", "absent", "options", "came"),
    [
        (pictures(3, 8), pictures(2, 8), {}, "present, absent: got 3 and 2"),
        (pictures(1, 8), pictures(1, 8, seed=1), {}, "present, absent: got 1 and 1"),
        (pictures(3, 8), pictures(3, 8), {}, "layer: the concept does not change None"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"folds": 1}, "folds: got 1"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"layer": "9"}, "layer: got '9'"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_concepts_refuse_by_name(present, absent, options, came):
    with pytest.raises(ValueError, match=f"^{came}"):
        concept_vector(tiny(), present, absent, **options)


# ------------------------------------------------------------------ TCAV


def curved(weight: torch.Tensor) -> nn.Module:
    """Rows of weights behind a bend, so that images differ in their derivative."""
    model = Pixels(weight)
    model.head = nn.Sequential(nn.Tanh(), model.head)
    return model.eval()


def test_tcav_by_hand():
    # logit = 2·|x0| + x1; concept: (1, 3) farther. Slopes: 2 + 3 = 5 where x0 > 0, else 1.
    class Absolute(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Flatten()

        def forward(self, x):
            x = self.features(x)
            return (2 * x[:, :1].abs() + x[:, 1:]).repeat(1, 2)

    images = as_images([[1.0, 0], [2, 0], [-1, 0], [5, 1]])
    absent = as_images(noise(6, 2))
    concepts = {
        "both": (absent + torch.tensor([1.0, 3]), absent),
        "first": (absent + torch.tensor([1.0, 0]), absent),
    }
    found = tcav(Absolute().eval(), images, 0, concepts, "features")
    assert found["both"].share == 1
    assert found["both"].slope == pytest.approx((5 + 5 + 1 + 5) / 4)
    assert found["first"].share == 0.75
    assert found["first"].slope == pytest.approx((2 + 2 - 2 + 2) / 4)
    # All six pairs agree: of 64 ways the coins can fall, 2 give as large a slope.
    assert found["both"].p == pytest.approx(2 / 64, abs=0.012)
    assert list(found) == ["both", "first"]


def test_the_slope_is_the_change_of_a_linear_network():
    """One step at every place, on the last map of a pooled head: exactly what the logit gains."""
    model, absent = tiny(), pictures(12, 16)
    present = absent + 0.1 * pictures(12, 16, seed=4)
    found = tcav(model, absent[:3], 2, {"a": (present, absent)})["a"]
    with torch.no_grad():
        gained = (model(present.clone()) - model(absent.clone()))[:, 2].mean()
    assert found.slope == pytest.approx(float(gained))
    assert found.share in (0, 1)


def test_a_planted_concept_that_is_used_is_found_and_one_that_is_not_is_not():
    used, unused = torch.eye(20).double()[:2]
    weight = noise(3, 20, seed=5)
    weight[:, 1] = 0
    weight[0, 0] = 2
    model, images = curved(weight), as_images(noise(60, 20, seed=6))
    absent = noise(60, 20, seed=7)
    concepts = {}
    for name, direction in {"used": used, "unused": unused}.items():
        present = absent + 3 * direction + 0.5 * noise(60, 20, seed=8)
        concepts[name] = (as_images(present), as_images(absent))
        vector = concept_vector(model, *concepts[name], "features")
        assert vector.accuracy > 0.85  # both can be read from the layer equally well
        assert vector.ordered == 1
    found = tcav(model, images, 0, concepts, "features")
    assert found["used"].p < 0.001
    assert found["used"].share == 1
    assert found["used"].slope > found["used"].null_slope[1]
    assert found["unused"].p > 0.05
    low, high = found["unused"].null_slope
    assert low < found["unused"].slope < high


def test_a_logit_that_does_not_depend_on_the_concept_at_all():
    absent = noise(20, 2)
    present = absent + torch.tensor([0.0, 1])
    model = Pixels(torch.tensor([[1.0, 0]]).double())
    found = tcav(
        model, as_images(absent), 0, {"a": (as_images(present), as_images(absent))}, "features"
    )
    assert found["a"].share == 0.5
    assert found["a"].slope == 0
    assert found["a"].p == 1


def test_p_values_are_uniform_under_the_null():
    """Concepts whose two halves are drawn alike: p falls below any level as often as it says."""
    model, images = curved(noise(2, 10, seed=1)), as_images(noise(20, 10, seed=2))
    concepts = {
        str(k): (as_images(noise(20, 10, seed=100 + k)), as_images(noise(20, 10, seed=900 + k)))
        for k in range(300)
    }
    found = tcav(model, images, 0, concepts, "features", draws=400)
    p = torch.tensor([use.p for use in found.values()]).sort().values
    steps = torch.arange(1, 301) / 300
    assert float((p - steps).abs().max()) < 1.63 / 300**0.5  # Kolmogorov and Smirnov, 1 %
    assert min(use.p_holm for use in found.values()) > 0.05
    inside = [use.null_slope[0] <= use.slope <= use.null_slope[1] for use in found.values()]
    assert 0.90 < sum(inside) / 300 < 0.99


def test_holm_by_hand(monkeypatch):
    absent = as_images(noise(8, 2))
    concepts = {name: (absent + 1, absent) for name in "abcd"}
    p = iter([0.01, 0.04, 0.03, 0.005])

    def given(*_):
        from xai_course.fully_connected import ConceptUse

        return ConceptUse(1, 1, (0, 1), (0, 1), next(p), 0)

    monkeypatch.setattr("xai_course.fully_connected.tcav._against_coins", given)
    found = tcav(Pixels(torch.eye(2).double()), absent, 0, concepts, "features")
    # Sorted 0.005·4, 0.01·3, 0.03·2, 0.04·1 -> never below the one before.
    assert [found[name].p_holm for name in "dacb"] == pytest.approx([0.02, 0.03, 0.06, 0.06])


def test_nothing_is_kept_from_one_model_to_the_next():
    absent, images = pictures(10, 16), pictures(4, 16, seed=3)
    pairs = {"a": (absent + 0.3, absent)}
    first, second = tiny(), network("mixed")
    alone = tcav(second, images, 1, pairs, "bn2")
    tcav(first, images, 1, pairs)
    assert tcav(second, images, 1, pairs, "bn2") == alone
    assert tcav(second, images, 1, pairs, "bn2", batch_size=3)["a"].slope == pytest.approx(
        alone["a"].slope
    )


def test_order_of_concepts_and_their_number_do_not_change_the_slope():
    absent, images = pictures(10, 16), pictures(4, 16, seed=3)
    pairs = {"a": (absent + 0.3, absent), "b": (absent, absent.flip(3))}
    both = tcav(tiny(), images, None, pairs, "3")
    turned = tcav(tiny(), images, None, dict(reversed(pairs.items())), "3")
    for name in pairs:
        assert both[name].slope == pytest.approx(turned[name].slope)
        assert both[name].share == turned[name].share
        assert both[name].p_holm >= both[name].p


@pytest.mark.parametrize(
    ("arguments", "came"),
    [
        ({"concepts": {}}, "concepts, draws: got {}"),
        ({"draws": 0}, "concepts, draws: .* and 0"),
        ({"targets": CLASSES}, f"targets: got {CLASSES}"),
        ({"targets": [1, 2, 3]}, "targets: got shape"),
        ({"layer": "nowhere"}, "layer: got 'nowhere'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"images": pictures()[0]}, "images: got shape"),
        ({"concepts": {"a": (pictures(3, 8), pictures(2, 8))}}, "concepts: 'a' gives"),
    ],
)
def test_tcav_refuses_by_name(arguments, came):
    usual = {"images": pictures(2, 8), "targets": 1}
    usual["concepts"] = {"a": (pictures(3, 8), pictures(3, 8, seed=1))}
    with pytest.raises(ValueError, match=f"^{came}"):
        tcav(tiny(), **(usual | arguments))


def test_pairs_of_another_size_are_refused_where_places_are_kept():
    pairs = {"a": (pictures(3, 16), pictures(3, 16, seed=1))}
    with pytest.raises(ValueError, match=r"^concepts: 'a' gives \(3, 320\)"):
        tcav(tiny(), pictures(2, 8), 1, pairs, average=False)
    tcav(tiny(), pictures(2, 8), 1, pairs)


def test_a_layer_that_the_logit_does_not_need_is_refused():
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.side, self.main = nn.Conv2d(3, 3, 1).double(), tiny()

        def forward(self, x):
            self.side(x)
            return self.main(x)

    pairs = {"a": (pictures(3, 8), pictures(3, 8, seed=1))}
    with pytest.raises(ValueError, match=r"^layer: the logit does not depend on 'side'"):
        tcav(Side().eval(), pictures(2, 8), 1, pairs, "side")


def test_the_model_and_the_random_state_stay_as_they_were():
    model = network("mixed")
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    versions = [tensor._version for tensor in [*model.parameters(), *model.buffers()]]
    state = torch.get_rng_state()
    pairs = {"a": (pictures(3, 16), pictures(3, 16, seed=1))}
    with torch.inference_mode():
        tcav(model, pictures(2, 16), None, pairs, "bn2")
        concept_vector(model, *pairs["a"], "bn2")
        nearest_examples(model, pictures(2, 16), pictures(3, 16), count=1, quantile=1.0)
    assert [tensor._version for tensor in [*model.parameters(), *model.buffers()]] == versions
    assert all(p.requires_grad == (n % 2 == 0) for n, p in enumerate(model.parameters()))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    model.requires_grad_(True)
