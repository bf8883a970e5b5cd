"""Repairs of the shortcut: what they are trained on, what is measured, what is shipped."""

import pytest
import torch
from torch import nn

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import SPECIES, scenes, stack_images
from xai_course.data import normalise
from xai_course.experiments import (
    LABELLED_CLASS,
    REPAIRS,
    finetuned,
    fit_right_reasons,
    paint_corner,
    repair_trials,
    shortcut_repair,
    shortcut_report,
)
from xai_course.experiments.shortcut_repair import _training_images
from xai_course.models import BeetleNet
from xai_course.storage import load_checkpoint

NAMES = list(SPECIES)
OWN = NAMES.index(LABELLED_CLASS)
CHECKPOINTS = ROOT / "data" / "checkpoints"
TABLE = ROOT / "data" / "experiments" / "repairs.csv"
EACH = 8  # training images of each species, in place of 64


@pytest.fixture
def _few_images(monkeypatch):
    monkeypatch.setattr(shortcut_repair, "IMAGES_EACH", EACH)


class LabelReader(nn.Module):
    """Predicts the labelled species if the corner is bright, and otherwise the first species."""

    def forward(self, x):
        paper = x[:, :, 52:60, 50:60].mean((1, 2, 3))
        logits = torch.zeros(len(x), len(NAMES))
        logits[:, OWN] = 5 * (paper - 1.3)
        return logits


def test_the_report_by_hand():
    report = shortcut_report(LabelReader().eval(), count=4)
    every = [scene for name in NAMES for scene in scenes("test", name, 4)]
    model = LabelReader()
    labelled = model(normalise(stack_images([s.with_label() for s in every])))
    plain = model(normalise(stack_images(every)))
    own = torch.arange(len(NAMES)).repeat_interleave(4) == OWN
    taken = (labelled.argmax(1) == OWN).double()
    recall = report["labelled_species_with_label"]
    assert recall == pytest.approx(taken[own].mean().item())
    others = report["other_species_with_label_taken_for_it"]
    assert others == pytest.approx(taken[~own].mean().item())
    assert report["effect"] == pytest.approx((labelled - plain)[:, OWN].mean().item(), rel=1e-5)
    assert report["effect"] > 0


CARD = {  # what the card of the shortcut network tells, and how near the report comes: one image
    "labelled_species_without_label": 0.011,
    "other_species_with_label": 0.005,
    "other_species_with_label_taken_for_it": 0.005,
}


@pytest.mark.heavy
def test_the_report_agrees_with_the_card_of_the_shipped_network():
    model, card = load_checkpoint(CHECKPOINTS / "beetle_net_shortcut")
    report = shortcut_report(model)
    for name, tolerance in CARD.items():
        assert report[name] == pytest.approx(card["shortcut"][name], abs=tolerance)


def test_the_report_agrees_with_table_and_card_on_fewer_scenes():
    """The table's row is of 100 scenes of each species; the report here, of 10."""
    model, card = load_checkpoint(CHECKPOINTS / "beetle_net_shortcut")
    report = shortcut_report(model, count=10)
    row = repair_trials(TABLE, names=("none",), progress=False)[0]
    for name, tolerance in CARD.items():
        assert row[name] == pytest.approx(card["shortcut"][name], abs=tolerance)
    for name in (*CARD, "accuracy", "labelled_species_with_label"):
        error = (row[name] * (1 - row[name]) / 10) ** 0.5  # of at least 10 images
        assert report[name] == pytest.approx(row[name], abs=3 * error + 0.01)
    assert report["effect"] == pytest.approx(row["effect"], rel=0.1)


def test_a_painted_corner_hides_every_label():
    drawn = [scene for name in NAMES for scene in scenes("extra", name, 20)]
    plain, labelled = (
        paint_corner(normalise(stack_images(images)))
        for images in (drawn, [scene.with_label() for scene in drawn])
    )
    assert torch.equal(plain, labelled)
    report = shortcut_report(LabelReader().eval(), count=2, painted=True)
    assert report["effect"] == 0


@pytest.mark.usefixtures("_few_images")
@pytest.mark.parametrize(
    "name", ["gradient penalty", "label taken off", "label on half", "label painted over"]
)
def test_who_wears_the_label_in_training(name):
    images, labels, masks = _training_images(name, 0)
    wears = masks.flatten(1).any(1)
    plain = normalise(stack_images([s for n in NAMES for s in scenes("train", n, EACH)]))
    differs = (images != plain).flatten(1).any(1)
    assert torch.equal(differs, wears)
    assert not ((images != plain).any(1, keepdim=True) & (masks == 0)).any()
    if name == "label taken off":
        assert not wears.any()
    elif name == "label on half":
        assert 0.3 < wears.double().mean() < 0.7
        assert wears.view(10, EACH).any(1).all()
    else:
        assert torch.equal(wears, labels == OWN)
    if name == "label painted over":
        covered = images[wears].amax(0)
        assert torch.isfinite(covered).all()
        first = images[wears][0][:, masks[wears][0, 0] > 0]
        assert torch.equal(first, first[:, :1].expand_as(first))  # one colour


def test_right_reasons_leave_no_gradient_where_it_is_forbidden():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 16, 16, generator=generator)
    labels = torch.arange(64) % 2
    images[:, :, :4, :4] += 2.0 * (2 * labels - 1)[:, None, None, None]  # an easy way
    images[:, :, 8:, 8:] += 0.5 * (2 * labels - 1)[:, None, None, None]  # the right one
    forbidden = torch.zeros(64, 1, 16, 16)
    forbidden[:, :, :4] = 1
    forbidden_gradients = {}
    for penalty in (0.0, 100.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = BeetleNet(classes=2, width=4)
        state = torch.get_rng_state()
        options = {"penalty": penalty, "epochs": 15, "learning_rate": 0.01}
        model = fit_right_reasons(model, images, labels, forbidden, **options)
        assert torch.equal(state, torch.get_rng_state())
        assert not model.training
        x = images.clone().requires_grad_()
        logits = model(x)
        assert (logits.argmax(1) == labels).double().mean() > 0.9
        (grad,) = torch.autograd.grad(logits.log_softmax(1).sum(), x)
        forbidden_gradients[penalty] = (forbidden * grad).square().sum().item()
    assert forbidden_gradients[100.0] < forbidden_gradients[0.0] / 20


def test_the_same_seed_gives_the_same_repair(monkeypatch):
    monkeypatch.setattr(shortcut_repair, "IMAGES_EACH", 2)
    for name in ("2 counterexamples", "gradient penalty"):
        first, second, other = (finetuned(name, seed, steps=2) for seed in (1, 1, 2))
        weights = [model.head.weight for model in (first, second, other)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])


def test_counterexamples_are_pairs_that_no_other_seed_and_no_test_has():
    images, labels, masks = _training_images("8 counterexamples", 1)
    wears = masks.flatten(1).any(1)
    assert torch.equal(wears, torch.arange(160) >= 80)
    assert torch.equal(labels[:80], labels[80:])
    assert torch.equal(images[:80] * (masks[80:] == 0), images[80:] * (masks[80:] == 0))
    assert (images[:80] != images[80:]).flatten(1).any(1).all()
    other, _, _ = _training_images("8 counterexamples", 0)
    assert not (images[:, None, 0, 0] == other[None, :, 0, 0]).all(2).any()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"^name: got 'prayer'; must be one of none"):
        finetuned("prayer")
    with pytest.raises(ValueError, match=r"^seed: got 5; must be one of 0"):
        finetuned("none", 5)
    with pytest.raises(ValueError, match=r"^names: got"):
        repair_trials(names=("prayer",))
    images, labels = torch.zeros(4, 3, 16, 16), torch.zeros(4, dtype=torch.long)
    for forbidden, penalty, words in (
        (images, 1.0, "^forbidden: got shape"),
        (images[:, :1], -1.0, "^penalty: got"),
    ):
        with pytest.raises(ValueError, match=words):
            fit_right_reasons(BeetleNet(width=2), images, labels, forbidden, penalty=penalty)


def test_the_shipped_table_holds_every_repair():
    rows = repair_trials(TABLE, progress=False)
    assert {row["repair"] for row in rows} == set(REPAIRS)
    assert all(
        0 <= row[name] <= 1 for row in rows for name in ("accuracy", "other_species_with_label")
    )
