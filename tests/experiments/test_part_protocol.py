"""The protocols of FunnyBirds on beetles, held against cases that are counted by hand."""

import pytest
import torch
from torch import nn

from xai_course.beetlebox import BODY_PARTS, SPECIES, Scene, scenes
from xai_course.experiments import (
    KEYS,
    REGIONS,
    RegionSums,
    background_independence,
    completeness,
    minimal_part_sets,
    network_answers,
    single_deletion,
    target_sensitivity,
)

SCENE = scenes("test", "Globaria_maculata", 1)[0]  # it has all six parts


@pytest.mark.parametrize(
    ("species", "sets"),
    [
        # Oval, plain and clubbed, or forked and clubbed; oval, plain and forked are two species.
        ("Ellipsa_furcata", [{"elytra", "antennae"}, {"horn", "antennae"}]),
        # Oval and plain, or long antennae; without wing cases the pattern is unknown.
        ("Ellipsa_polita", [{"elytra"}, {"antennae"}]),
        (
            "Globaria_cervina",  # round: striped, forked or short; or short and forked
            [
                {"elytra", "pattern"},
                {"elytra", "horn"},
                {"elytra", "antennae"},
                {"horn", "antennae"},
            ],
        ),
    ],
)
def test_smallest_sets_by_hand(species, sets):
    assert {*minimal_part_sets(Scene(species, 0))} == {frozenset(one) for one in sets}


def test_no_set_holds_another_and_each_tells_the_species():
    for species in SPECIES:
        found = minimal_part_sets(Scene(species, 0))
        assert found
        assert not any(a < b for a in found for b in found)


def sums(relevance, effects, whole=None, logit=10.0):
    """Sums of one scene: relevance and effects of the seven regions."""
    signed = torch.tensor([[*relevance, sum(relevance) if whole is None else whole]])
    shown = torch.tensor([[*[True] * 6, False]])
    keys = dict.fromkeys(KEYS, torch.tensor([effects]).double())
    both = {("own", "LRP"): torch.stack([signed, signed.abs()], 2).double()}
    logits = torch.tensor([logit]).double()
    return RegionSums("one", "BeetleNet", shown, keys, logits, both)


def answers(wrong_without):
    """A network that needs these parts, and is wrong without any of them."""
    own = list(SPECIES).index(SCENE.species)
    return lambda _n, removed: (own + 1) % 10 if removed & wrong_without else own


PERFECT = [5.0, 0.0, 0.0, 3.0, 2.0, 0.0, 0.0]  # elytra, horn and antennae


def test_an_explanation_that_is_right_is_complete():
    need = frozenset({"elytra", "horn", "antennae"})
    found = completeness(sums(PERFECT, PERFECT), "LRP", [SCENE], answers(need))
    for name in ("controlled check", "preservation", "deletion", "distractibility"):
        assert found[name] == 1, name
    assert found["completeness"] == 1
    assert single_deletion(sums(PERFECT, PERFECT), "LRP") == pytest.approx(1)


def test_an_explanation_that_names_what_does_nothing_is_not():
    """Head and legs alone: nothing is preserved or deleted, two of three idle parts are named."""
    relevance = [0.0, 0.0, 4.0, 0.0, 0.0, 6.0, 0.0]
    need = frozenset({"elytra", "horn", "antennae"})
    found = completeness(sums(relevance, PERFECT), "LRP", [SCENE], answers(need))
    assert (found["controlled check"], found["preservation"], found["deletion"]) == (0, 0, 0)
    # Pattern, head and legs are idle; above 0.4 of all relevance only the legs are named.
    assert found["distractibility"] == pytest.approx(2 / 3)
    assert found["completeness"] == pytest.approx(1 / 3)
    assert found["threshold"] >= 0.4


def test_everything_important_preserves_and_deletes_but_distracts():
    need = frozenset({"elytra"})
    flat = [1.0] * 6 + [0.0]
    found = completeness(sums(flat, PERFECT, whole=6.0), "LRP", [SCENE], answers(need))
    assert found["preservation"] == found["deletion"] == found["controlled check"] == 1
    assert found["distractibility"] == 0
    assert found["completeness"] == pytest.approx(1 / 2)


def test_single_deletion_of_the_reverse_order_is_zero():
    effects = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    assert single_deletion(sums([-value for value in effects], effects), "LRP") == pytest.approx(0)


class Sees(nn.Module):
    """A network whose logits are fixed weights of the pixels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 64 * 64, 10)

    def forward(self, images):
        return self.head(images.flatten(1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sees().eval()


def test_answers_are_those_of_the_network_and_asked_once(model):
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    ask = network_answers(model, [SCENE])
    first = ask(0, frozenset({"horn"}))
    assert ask(0, frozenset({"horn"})) == first
    assert len(calls) == 1
    assert 0 <= first < 10


def test_target_sensitivity_of_the_truth_and_of_its_opposite(model):
    """The effects of single parts, painted; parts overlap, so they are not those of sets."""
    from xai_course.beetlebox import stack_images, stack_masks
    from xai_course.data import normalise

    some = [scene for name in list(SPECIES)[:5] for scene in scenes("test", name, 2)]

    def truth(network, images, targets, sign=1.0):
        """The effect of each part on the logit, painted on the part."""
        every = {image.sum().item(): n for n, image in enumerate(normalise(stack_images(some)))}
        maps = torch.zeros(len(images), 1, 64, 64)
        for row, (image, target) in enumerate(zip(images, targets, strict=True)):
            scene = some[every[image.sum().item()]]
            masks = stack_masks([scene])[0]
            for p, part in enumerate(BODY_PARTS):
                if part in scene.parts and masks[p].sum() > 0:
                    without = normalise(stack_images([scene.without(part)]))
                    drop = (network(image[None]) - network(without))[0, target]
                    maps[row, 0] += sign * drop.detach() * masks[p] / masks[p].sum()
        return maps

    right = target_sensitivity(model, truth, some)
    wrong = target_sensitivity(model, lambda *batch: truth(*batch, sign=-1.0), some)
    assert right["scenes"] == wrong["scenes"] > 0
    assert right["target sensitivity"] > 0.6
    assert right["target sensitivity"] + wrong["target sensitivity"] == pytest.approx(1)


def test_background_independence(model):
    cluttered = [SCENE.with_clutter(2)]
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.arange(10.0))
    assert background_independence(model, cluttered) == 1
    with torch.no_grad():
        model.head.weight.fill_(1.0)  # bright things raise all logits
        model.head.bias.zero_()
    assert background_independence(model, cluttered) < 1
    assert len(REGIONS) == 7


def test_all_protocols_of_one_method_of_a_tiny_network(monkeypatch):
    from xai_course.experiments import measure_sums, part_protocol
    from xai_course.models import BeetleNet
    from xai_course.relu import gradient

    torch.manual_seed(0)
    tiny = BeetleNet(classes=10, depth=1, width=4).eval()
    with torch.no_grad():
        tiny.head.bias[0] = 10.0  # it names the first species always, so it is right once
    some = [
        scene.with_clutter(1) for name in list(SPECIES)[:2] for scene in scenes("test", name, 1)
    ]
    found = measure_sums("tiny", "clutter", tiny, some, methods={"gradient": gradient})
    prepared = found, tiny, some, network_answers(tiny, some)
    monkeypatch.setattr(part_protocol, "_prepared", lambda _: prepared)
    row = part_protocol.run_protocol("tiny", "gradient")
    assert list(row)[-2:] == ["background independence", "score"]
    for name in ("completeness", "single deletion", "background independence"):
        assert 0 <= row[name] <= 1, name
    if row["scenes"]:
        three = [row[name] for name in ("completeness", "single deletion", "target sensitivity")]
        assert row["score"] == pytest.approx(sum(three) / 3, abs=1e-5)
