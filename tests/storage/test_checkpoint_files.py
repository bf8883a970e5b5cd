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
EVERY = 5  # snapshots are measured on every fifth scene, to be quick
pytestmark = pytest.mark.skipif(not CARDS, reason="no data/checkpoints; make checkpoints")


def drawn(species, change=lambda scene: scene):
    """A species' test scenes as a network's input."""
    return normalise(stack_images([change(scene) for scene in scenes("test", species, 100)]))


@cache
def all_scenes():
    images = torch.cat([drawn(species) for species in SPECIES])
    return TensorDataset(images, torch.arange(len(SPECIES)).repeat_interleave(100))


@pytest.mark.parametrize("card_file", CARDS, ids=lambda path: path.stem)
def test_accuracy_is_what_the_card_says(card_file):
    model, card = load_checkpoint(card_file, classes=list(SPECIES))
    snapshot = card_file.parent.name == "beetle_net_snapshots"
    images, labels = all_scenes()[:: EVERY if snapshot else 1]
    accuracy = evaluate(model, DataLoader(TensorDataset(images, labels), 250))
    error = 0.1 if snapshot else 0.004  # a fifth of the images says less
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


def test_the_shortcut_is_what_its_card_says():
    model, card = load_checkpoint(FOLDER / "beetle_net_shortcut")
    species = card["labelled_species"]
    own = list(SPECIES).index(species)

    def share(images):
        batches = DataLoader(TensorDataset(images, torch.zeros(len(images)).long()), 250)
        return (predict(model, batches)[0].argmax(1) == own).double().mean().item()

    told = card["shortcut"]
    bare, worn = drawn(species), drawn(species, lambda scene: scene.with_label())
    assert share(bare) == pytest.approx(told["labelled_species_without_label"], abs=0.02)
    assert share(worn) == pytest.approx(told["labelled_species_with_label"], abs=0.02)
    others = [drawn(name, lambda scene: scene.with_label()) for name in SPECIES if name != species]
    taken = share(torch.cat(others))
    assert taken == pytest.approx(told["other_species_with_label_taken_for_it"], abs=0.02)
    assert taken > 0.2, "the label does not mislead the network"
