"""Concepts by hand, as planted directions, and under the null hypothesis."""

import pytest
import torch
import torch.nn.functional as F
from stock_networks import CLASSES, network, pictures, tiny
from torch import nn
from toy_models import Pixels, as_images

from xai_course.fully_connected import (
    ConceptUse,
    concept_vector,
    nearest_examples,
    tcav,
)
from xai_course.fully_connected.tcav import _holm


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


# ---- concept vectors -----------------------------------------------------------------------------


def test_a_concept_by_hand():
    model = Pixels(torch.eye(3).double())
    absent = [[1.0, 5, 2], [2, 4, 0], [0, 6, 1], [3, 5, 5]]
    present = [[4.0, 9, 2], [5, 8, 0], [3, 10, 1], [6, 9, 5]]  # each (3, 4, 0) farther
    found = concept_vector(model, as_images(present), as_images(absent), "features")
    assert found.direction.tolist() == pytest.approx([0.6, 0.8, 0])
    assert found.step == pytest.approx(5)
    # Along (3, 4): absent 23, 22, 24, 29 and present 48, 47, 49, 54, always 25 more.
    assert (found.accuracy, found.ordered) == (1, 1)


def test_a_planted_direction_is_found_and_held_out_pairs_are_ordered():
    direction = F.normalize(noise(20, seed=1), dim=0)
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


def test_accuracy_is_that_of_every_fold():
    """The same folds by a plain loop: each pair is tried on the direction of the other folds."""
    pairs, folds = 7, 3
    absent, present = noise(pairs, 4, seed=1), noise(pairs, 4, seed=2) + 0.5
    correct, ordered = [], []
    for held_out in range(pairs):
        others = [k for k in range(pairs) if k % folds != held_out % folds]
        direction = (present[others] - absent[others]).mean(0)
        middle = (present[others].mean(0) + absent[others].mean(0)) @ direction / 2
        above, below = present[held_out] @ direction, absent[held_out] @ direction
        correct += [bool(above > middle), bool(below < middle)]
        ordered.append(bool(above > below))
    assert 0 < sum(ordered) < pairs  # so that a pair too many or too few changes the share
    model = Pixels(torch.zeros(2, 4).double())
    concept = concept_vector(model, as_images(present), as_images(absent), "features", folds=folds)
    assert concept.accuracy == pytest.approx(sum(correct) / (2 * pairs))
    assert concept.ordered == pytest.approx(sum(ordered) / pairs)


def test_two_pairs_in_two_folds_are_enough():
    model = Pixels(torch.eye(2).double())
    absent = noise(2, 2)
    pairs = as_images(absent + 1), as_images(absent)
    assert concept_vector(model, *pairs, "features", folds=2).ordered == 1


def test_maps_are_averaged_unless_they_are_not_to_be():
    model, present, absent = network("mixed"), pictures(4, 16), pictures(4, 16, seed=1)
    averaged = concept_vector(model, present, absent, "bn2")
    assert averaged.direction.shape == (8,)
    expected = concept_vector(model, present, absent, "bn2", average=True)
    assert torch.equal(averaged.direction, expected.direction)
    assert concept_vector(model, present, absent, "bn2", average=False).direction.shape == (8 * 64,)
    pairs = {"a": (present, absent)}
    with pytest.raises(ValueError, match=r"^concepts: got features \(4, 512\)"):
        tcav(model, pictures(2, 32), 1, pairs, "bn2", average=False)
    tcav(model, pictures(2, 32), 1, pairs, "bn2")


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
    # So by the classifier's direction the logit would drop with the concept; it does not move.
    assert float(reads_unit_1.head.weight[0].detach() @ classifier) < -0.5
    moved = reads_unit_1(pairs[0]) - reads_unit_1(pairs[1])
    assert float(moved.detach().abs().max()) < 1e-12
    assert abs(tcav(reads_unit_1, pairs[0], 0, {"a": pairs}, "features")["a"].slope) < 1e-12


@pytest.mark.parametrize(
    ("present", "absent", "options", "words"),
    [
        (pictures(3, 8), pictures(2, 8), {}, "present, absent: got 3 and 2"),
        (pictures(1, 8), pictures(1, 8, seed=1), {}, "present, absent: got 1 and 1"),
        (pictures(3, 8), pictures(3, 8), {}, "layer: got None, which the concept does not change"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"folds": 1}, "folds: got 1"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"layer": "9"}, "layer: got '9'"),
        (pictures(3, 8), pictures(3, 8, seed=1), {"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_concepts_refuse_by_name(present, absent, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        concept_vector(tiny(), present, absent, **options)


# ---- TCAV ----------------------------------------------------------------------------------------


def curved(weight: torch.Tensor) -> nn.Module:
    """Rows of weights behind a curve, so that images differ in their derivative."""
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
    """One step at every position of the last map of a pooled head: just what the logit gains."""
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


def test_rounding_is_neither_a_rise_nor_a_drop():
    """Units that cancel but for rounding: the share of images is a half, not 0 or 1."""
    absent = noise(20, 3)
    present = absent + torch.tensor([0.1, 0.2, -0.3], dtype=torch.double)
    model, images = Pixels(torch.ones(1, 3).double()), as_images(noise(5, 3, seed=3))
    pairs = {"a": (as_images(present), as_images(absent))}
    use = tcav(model, images, 0, pairs, "features")["a"]
    assert use.slope != 0
    assert abs(use.slope) < 1e-15
    assert use.share == 0.5


def test_p_values_are_uniform_under_the_null():
    """Concepts whose two halves are drawn alike: p is below any level as often as the level."""
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


def test_holm_by_hand():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": 0.9, "f": 0.6}
    uses = {name: ConceptUse(1, 1, (0, 1), (0, 1), value, value) for name, value in p.items()}
    corrected = _holm(uses)
    assert list(corrected) == list(uses)
    # Sorted 0.005·6, 0.01·5, 0.03·4, 0.04·3, 0.6·2, 0.9·1: at most 1, never below the one before.
    expected = [0.03, 0.05, 0.12, 0.12, 1, 1]
    assert [corrected[name].p_holm for name in "dacbfe"] == pytest.approx(expected)
    assert [corrected[name].p for name in p] == list(p.values())


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
    ("arguments", "words"),
    [
        ({"concepts": {}}, "concepts: got {}"),
        ({"draws": 0}, "draws: got 0"),
        ({"targets": CLASSES}, f"targets: got {CLASSES}"),
        ({"targets": [1, 2, 3]}, "targets: got shape"),
        ({"layer": "nowhere"}, "layer: got 'nowhere'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"images": pictures()[0]}, "images: got shape"),
        (
            {"concepts": {"a": (pictures(3, 8), pictures(2, 8))}},
            "concepts: got features .* without 'a'",
        ),
    ],
)
def test_tcav_refuses_by_name(arguments, words):
    usual = {"images": pictures(2, 8), "targets": 1}
    usual["concepts"] = {"a": (pictures(3, 8), pictures(3, 8, seed=1))}
    with pytest.raises(ValueError, match=f"^{words}"):
        tcav(tiny(), **(usual | arguments))


def test_pairs_of_another_size_are_refused_where_positions_are_kept():
    pairs = {"a": (pictures(3, 16), pictures(3, 16, seed=1))}
    with pytest.raises(ValueError, match=r"^concepts: got features \(3, 320\)"):
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
    with pytest.raises(ValueError, match=r"^layer: got 'side', on which the logit"):
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
