"""Pointing game, relevance mass and the grid pointing game: by hand, and against Quantus."""

import pytest
import torch
from metric_models import FOUR, SUM, quantus_scores, random_linear
from stock_networks import Spy, error, pictures, tiny
from torch import nn

from xai_course.metrics import (
    constant_map,
    edge_map,
    grid_pointing_game,
    mosaics,
    pointing_game,
    relevance_mass,
)
from xai_course.relu import gradient, gradient_times_input
from xai_course.residual import integrated_gradients, lrp, occlusion

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


# ------------------------------------------------------------------------ the grid pointing game

CHANNELS = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()  # a logit for each channel


def test_mosaics_by_hand():
    images = torch.arange(12.0).view(4, 1, 1, 3)
    wide = [[0.0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert mosaics(images)[:, 0].tolist() == [wide]
    assert mosaics(images, 2).tolist() == mosaics(images, (2, 2)).tolist()
    assert mosaics(images, (1, 2))[:, 0].tolist() == [[wide[0]], [wide[1]]]
    assert mosaics(images, (4, 1))[0, 0].tolist() == images[:, 0, 0].tolist()
    assert torch.equal(mosaics(images, 1), images)
    colours = pictures(4, 5)
    for n, (row, column) in enumerate([(0, 0), (0, 5), (5, 0), (5, 5)]):
        cell = mosaics(colours)[0, :, row : row + 5, column : column + 5]
        assert torch.equal(cell, colours[n])


def test_the_share_in_the_cell_by_hand():
    """A mosaic of four pixels; positive relevance 1 + 2 + 3 + 4, and something negative."""
    images = torch.zeros(4, 4, 1, 1)
    relevance = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2).repeat(4, 1, 1, 1)
    relevance[3, 0, 0, 1] = -7
    found = grid_pointing_game(CHANNELS, relevance, images, [0, 1, 2, 3])
    assert found.tolist() == pytest.approx([0.1, 0.2, 0.3, 4 / 8])
    even = grid_pointing_game(CHANNELS, constant_map, images, [3, 1, 0, 2])
    assert even.tolist() == [0.25] * 4
    nothing = grid_pointing_game(CHANNELS, -relevance.abs(), images, [0, 1, 2, 3])
    assert nothing.tolist() == [0] * 4


def test_each_mosaic_is_explained_for_the_class_of_each_cell():
    images, seen = pictures(8, 4, channels=4), []

    def explainer(model, x, targets):
        seen.extend(zip(x.clone(), targets.tolist(), strict=True))
        return torch.ones_like(x)

    targets = [3, 1, 0, 2, 0, 1, 2, 3]
    grid_pointing_game(CHANNELS, explainer, images, targets)
    left, right = mosaics(images)
    assert len(seen) == 8
    for n, target in enumerate(targets):
        whole = left if n < 4 else right
        assert any(torch.equal(x, whole) and asked == target for x, asked in seen)
    # None: the class that is predicted for the image alone.
    one_hot = 2 * torch.eye(4).view(4, 4, 1, 1).double().expand(-1, -1, 3, 3)
    seen.clear()
    grid_pointing_game(CHANNELS, explainer, one_hot.flip(0))
    assert [asked for _, asked in seen] == [3, 2, 1, 0]


def test_a_perfect_map_of_a_model_whose_classes_are_colours():
    """Cell n has colour n alone, and logit n is the mean of that colour."""
    images = 2 * torch.eye(4).view(4, 4, 1, 1).double().expand(-1, -1, 6, 6)
    assert grid_pointing_game(CHANNELS, gradient_times_input, images).tolist() == [1] * 4
    assert grid_pointing_game(CHANNELS, gradient, images).tolist() == pytest.approx([0.25] * 4)
    wide = grid_pointing_game(CHANNELS, occlusion, images[:2], grid=(1, 2))
    assert (wide > 0.9).all()  # its windows reach over the border
    apart = {"grid": (1, 2), "disconnected": True}
    assert grid_pointing_game(CHANNELS, gradient, images[:2], **apart).tolist() == [1, 1]


@pytest.mark.parametrize("method", [gradient, gradient_times_input, integrated_gradients, lrp])
@pytest.mark.parametrize("grid", [2, (1, 2), (4, 1)])
def test_what_cannot_influence_the_answer_gets_no_relevance(method, grid):
    model, images, targets = tiny(), pictures(4, 16), [0, 1, 2, 3]
    apart = grid_pointing_game(model, method, images, targets, grid=grid, disconnected=True)
    assert apart.tolist() == [1] * 4
    connected = grid_pointing_game(model, method, images, targets, grid=grid)
    assert (connected < 1).all()
    edges = grid_pointing_game(model, edge_map, images, targets, grid=grid, disconnected=True)
    assert (edges < 0.9).all()


def test_disconnected_the_cell_has_the_map_of_its_image_alone():
    model, images, targets, maps = tiny(), pictures(4, 16), torch.arange(4), []

    def kept(asked, x, classes):
        maps.append(gradient(asked, x, classes))
        return maps[-1]

    grid_pointing_game(model, kept, images, targets, disconnected=True)
    alone = gradient(model, images, targets)
    for cell, whole in enumerate(maps):  # one mosaic, explained for each of its cells
        row, column = divmod(cell, 2)
        part = whole[0, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert error(part, alone[cell]) < 1e-12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": pictures(3, 8), "targets": None}, "images: got 3; must be a multiple of 4"),
        ({"targets": [0, 1, 2, 1]}, r"targets: got the classes \[0, 1, 2, 1\] in a mosaic; must"),
        ({"grid": 0}, "grid: got 0; must be"),
        ({"grid": (2, 1.5)}, "grid: got 1.5; must be"),
        ({"grid": (1, 2, 2)}, r"grid: got \(1, 2, 2\); must be"),
        ({"disconnected": "yes"}, "disconnected: got 'yes'; must be"),
        ({"explainer": torch.zeros(4, 1, 8, 8)}, r"explainer: got relevance of shape .*; must be"),
        ({"targets": 99}, "targets: got 99"),
    ],
)
def test_mosaics_that_cannot_be_made_are_refused(options, words):
    right = {
        "model": tiny(), "explainer": gradient, "images": pictures(4, 8), "targets": [0, 1, 2, 3]
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"^{words}"):
        grid_pointing_game(**(right | options))
