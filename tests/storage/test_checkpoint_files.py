"""The shipped checkpoints: each is what its card says, on test scenes drawn afresh."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from xai_course.beetlebox import SPECIES, scenes, stack_images
from xai_course.data import normalise
from xai_course.storage import load_checkpoint
from xai_course.training import evaluate, predict

FOLDER = Path(__file__).parents[2] / "data" / "checkpoints"
CARDS = sorted(FOLDER.rglob("*.json"))
# Drawing takes long: few scenes of each species always, all of them in `make test-all`.
SCENES = [20, pytest.param(100, marks=pytest.mark.heavy)]
pytestmark = pytest.mark.skipif(not CARDS, reason="no data/checkpoints; make checkpoints")


@cache
def drawn(species, count, with_label=False, clutter=0):
    """The first test scenes of a species as a network's input."""
    chosen = scenes("test", species, count)
    chosen = [scene.with_clutter(scene.seed % (clutter + 1)) for scene in chosen]
    if with_label:
        chosen = [scene.with_label() for scene in chosen]
    return normalise(stack_images(chosen))


def standard_errors(share, count, number=3):
    """By how much a share of `count` images may be off by chance."""
    return number * (share * (1 - share) / count) ** 0.5


@pytest.mark.end_to_end
@pytest.mark.parametrize("count", SCENES)
@pytest.mark.parametrize("card_file", CARDS, ids=lambda path: path.stem)
def test_accuracy_is_what_the_card_says(card_file, count):
    model, card = load_checkpoint(card_file, classes=list(SPECIES))
    clutter = card.get("clutter", 0)  # the most pieces around a beetle
    images = torch.cat([drawn(species, count, clutter=clutter) for species in SPECIES])
    labels = torch.arange(len(SPECIES)).repeat_interleave(count)
    accuracy = evaluate(model, DataLoader(TensorDataset(images, labels), 250))
    error = 0.004 if count == 100 else standard_errors(card["accuracy"], len(images)) + 0.004
    assert accuracy == pytest.approx(card["accuracy"], abs=error)


def test_every_file_has_its_card():
    weights = {path.with_suffix("") for path in FOLDER.rglob("*.safetensors")}
    assert weights == {path.with_suffix("") for path in CARDS}


def test_the_shipped_networks_are_those_the_lessons_need():
    cards = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in CARDS}
    named = {"article_net", "beetle_net", "beetle_net_shortcut"}
    assert named | {"beetle_net_deep", "beetle_net_plain"} <= cards.keys()
    assert cards["beetle_net"]["accuracy"] >= 0.99
    assert cards["beetle_net_shortcut"]["accuracy"] < cards["beetle_net"]["accuracy"]
    deep, plain = cards["beetle_net_deep"], cards["beetle_net_plain"]
    assert {**deep["arguments"], "skips": False} == plain["arguments"]
    assert deep["training"] == plain["training"]
    assert min(deep["accuracy"], plain["accuracy"]) > 0.95, "one of the twins did not learn"
    steps = [card["step"] for card in cards.values() if "step" in card]
    assert steps[0] == 0
    assert 6 <= len(steps) == len(set(steps)) <= 8
    last = max((c for c in cards.values() if "step" in c), key=lambda card: card["step"])
    assert last["sha256"] == cards["beetle_net"]["sha256"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_twins_with_and_without_skips_learnt_from_other_seeds_too(seed):
    deep, plain = (
        json.loads((FOLDER / f"beetle_net_{name}_seeds/seed_{seed}.json").read_text("utf-8"))
        for name in ("deep", "plain")
    )
    assert {**deep["arguments"], "skips": False} == plain["arguments"]
    assert deep["training"] == plain["training"]
    assert min(deep["accuracy"], plain["accuracy"]) > 0.9, "one of the twins did not learn"


def test_networks_of_the_clutter_world_know_it_from_three_seeds():
    names = ("beetle_net_clutter", *(f"beetle_net_clutter_seeds/seed_{seed}" for seed in (1, 2)))
    cards = [json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    assert [card["seed"] for card in cards] == [0, 1, 2]
    assert all(card["clutter"] == 6 and card["accuracy"] >= 0.98 for card in cards)


@pytest.mark.parametrize("count", SCENES)
def test_the_shortcut_is_what_its_card_says(count):
    model, card = load_checkpoint(FOLDER / "beetle_net_shortcut")
    labelled = card["labelled_species"]
    index = list(SPECIES).index(labelled)

    def share(images):
        batches = DataLoader(TensorDataset(images, torch.zeros(len(images)).long()), 250)
        return (predict(model, batches)[0].argmax(1) == index).double().mean().item()

    shares = card["shortcut"]
    others = [drawn(name, count, with_label=True) for name in SPECIES if name != labelled]
    measured = {
        "labelled_species_without_label": share(drawn(labelled, count)),
        "labelled_species_with_label": share(drawn(labelled, count, with_label=True)),
        "other_species_with_label_taken_for_it": share(torch.cat(others)),
    }
    for name, value in measured.items():
        images = count * (len(SPECIES) - 1) if name.startswith("other") else count
        error = 0.02 if count == 100 else standard_errors(shares[name], images) + 0.02
        assert value == pytest.approx(shares[name], abs=error), name
    mistaken = measured["other_species_with_label_taken_for_it"]
    assert mistaken > 0.2, "the label does not mislead the network"
