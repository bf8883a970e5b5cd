"""Pointing game and relevance mass: by hand, and against Quantus."""

import pytest
import torch
from metric_models import FOUR, SUM, Spy, quantus_scores, random_linear
from stock_networks import error, pictures, tiny

from xai_course.metrics import pointing_game, relevance_mass
from xai_course.relu import gradient

MASK = torch.tensor([[1.0, 1], [0, 0]]).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("relevance", "hit", "mass"),
    [
        ([0.0, 5, 3, 2], 1, 0.5),
        ([-9.0, 2, 6, -1], 0, 0.25),
        ([4.0, 0, 4, 0], 0.5, 0.5),  # a tie, half of it inside
        ([-1.0, -2, -3, -4], 1, 0),  # no positive relevance: the highest is still a pixel
        ([0.0, 0, 0, 0], 0.5, 0),  # flat: the area of the mask
        ([-3.0, -3, -3, -3], 0.5, 0),
    ],
)
def test_pointing_and_mass_by_hand(relevance, hit, mass):
    maps = torch.tensor(relevance).view(1, 1, 2, 2)
    for mask in (MASK, MASK[:, 0], MASK.bool()):
        assert pointing_game(SUM, maps, FOUR, mask).tolist() == [hit]
        assert relevance_mass(SUM, maps, FOUR, mask).tolist() == [mass]


def test_soft_masks():
    maps = torch.tensor([6.0, 2, 1, 1]).view(1, 1, 2, 2)
    for edge, hit in ((0.5, 0), (0.51, 1)):
        mask = torch.tensor([edge, 0, 0.0, 1]).view(1, 1, 2, 2)
        assert pointing_game(SUM, maps, FOUR, mask).tolist() == [hit]
        share = relevance_mass(SUM, maps, FOUR, mask).item()
        assert share == pytest.approx((6 * edge + 1) / 10)


def test_channels_are_summed_first():
    """Per channel the first pixel is highest and positive; in the sum it is neither."""
    maps = torch.tensor([[9.0, 0, 0, 1], [-10.0, 0, 0, 1], [0.0, 0, 0, 0]]).view(1, 3, 2, 2)
    images = pictures(1, 2)
    mask = torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)
    model = random_linear(size=2)
    assert pointing_game(model, maps, images, mask).tolist() == [0]
    assert relevance_mass(model, maps, images, mask).tolist() == [0]


@pytest.mark.parametrize("measure", [pointing_game, relevance_mass])
def test_relevance_made_before_needs_no_model(measure):
    images, masks = pictures(3, 8), torch.ones(3, 8, 8)
    maps = gradient(tiny(), images)
    spy = Spy()
    assert torch.equal(measure(spy, maps, images, masks), measure(tiny(), gradient, images, masks))
    assert not spy.seen
    for wrong in (None, images[0], images[:2]):
        with pytest.raises(ValueError, match=r"^(images|explainer): got .*; must be"):
            measure(spy, maps, wrong, masks)


def test_where_nothing_is_inside_there_is_no_score():
    images, masks = pictures(2, 8), torch.zeros(2, 1, 8, 8)
    masks[1, 0, 0, 0] = 0.4
    hits = pointing_game(random_linear(), gradient, images, masks)
    mass = relevance_mass(random_linear(), gradient, images, masks)
    assert hits.isnan().tolist() == [True, True]
    assert mass.isnan().tolist() == [True, False]


def test_where_relevance_lies_agrees_with_quantus(quantus):
    images, maps = pictures(20, 8, 1), pictures(20, 8, 1, seed=4)
    masks = (pictures(20, 8, 1, seed=5) > 0).double()
    model, targets = tiny(1), torch.zeros(20, dtype=torch.long)
    options = {"normalise": False, "disable_warnings": True}
    mass = quantus.RelevanceMassAccuracy(abs=False, **options)
    expected = quantus_scores(mass, model, images, targets, maps.clamp_min(0), masks)
    assert error(relevance_mass(model, maps, images, masks), expected) < 1e-6
    hits = pointing_game(model, maps, images, masks)
    game = quantus.PointingGame(abs=False, **options)
    assert torch.equal(hits, quantus_scores(game, model, images, targets, maps, masks))
    assert 0 < hits.mean() < 1


WRONG_MASKS = [
    None,
    *(torch.zeros(shape) for shape in ((3, 3, 8, 8), (3, 4, 4), (2, 1, 8, 8), (8, 8))),
    *(torch.full((3, 8, 8), value) for value in (2.0, -0.1, float("nan"))),
    torch.eye(8).expand(3, -1, -1) * 1.5,  # a few values that are out of range
]


@pytest.mark.parametrize("masks", WRONG_MASKS)
@pytest.mark.parametrize("measure", [pointing_game, relevance_mass])
def test_wrong_masks_are_refused(measure, masks):
    with pytest.raises(ValueError, match=r"^masks: got .*; must be numbers from 0 to 1"):
        measure(tiny(), gradient, pictures(3, 8), masks)
