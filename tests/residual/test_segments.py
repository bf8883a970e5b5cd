"""Segments by hand, superpixels against scikit-image's promises, and maps that keep sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as connected
from stock_networks import pictures

from xai_course.residual import grid_segments, segment_map, superpixels
from xai_course.residual.segments import check_segments, how_many_segments, segment_masks


def test_a_grid_by_hand():
    labels = grid_segments(torch.zeros(2, 3, 3, 5), 2, 3)
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert labels.tolist() == [expected, expected]


@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_grid_has_no_empty_cells_and_nearly_equal_ones(size, data):
    rows, columns = (data.draw(st.integers(1, n)) for n in size)
    labels = grid_segments(torch.zeros(1, 1, *size), rows, columns)[0]
    assert labels.unique().tolist() == list(range(rows * columns))
    for axis, cells in ((1, rows), (0, columns)):
        line = labels.select(axis, 0)
        lengths = line.unique(return_counts=True)[1]
        assert len(lengths) == cells
        assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_superpixels_are_connected_and_follow_the_colours(channels):
    images = torch.zeros(2, channels, 30, 40)
    images[0, :, :, 17:] = 5.0
    images[1, :, 11:] = -3.0
    labels = superpixels(images, 12)
    for each, half in zip(labels, (each[0] != 0 for each in images), strict=True):
        assert each.unique().tolist() == list(range(int(each.max()) + 1))
        for number in each.unique():
            region = each == number
            assert connected(region.numpy(), connectivity=1).max() == 1
            assert half[region].unique().numel() == 1  # no segment crosses the edge


def test_superpixels_do_not_depend_on_other_images_nor_on_the_scale():
    images = pictures(3, 32)
    labels = superpixels(images, 20)
    assert torch.equal(labels[1:2], superpixels(images[1:2], 20))
    assert torch.equal(labels, superpixels(4 * images + 3, 20))
    assert torch.equal(superpixels(torch.ones(1, 3, 8, 8), 1), torch.zeros(1, 8, 8).long())
    assert how_many_segments(superpixels(images, 60)) > how_many_segments(labels)


@given(data=st.data(), segments=st.integers(1, 6), as_masks=st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_sum_of_a_map_over_its_segments(data, segments, as_masks):
    seed = data.draw(st.integers(0, 1000))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(segments, (2, 5, 7), generator=generator)
    labels[:, 0, :segments] = torch.arange(segments)  # all of them have a pixel
    values = torch.randn(2, segments, dtype=torch.double, generator=generator)
    masks = torch.nn.functional.one_hot(labels, segments).movedim(3, 1)
    given = masks.bool() if as_masks else labels
    relevance = segment_map(values, given, torch.zeros(2, 3, 5, 7).double())
    sums = torch.einsum("nhw,nshw->ns", relevance[:, 0], masks.double())
    assert (sums - values).abs().max() < 1e-12


def test_overlapping_and_soft_masks_keep_the_total():
    masks = torch.rand(2, 4, 6, 6, dtype=torch.double)
    masks[1, 2] = 0  # has no pixels in the second image
    values = torch.tensor([[1.0, -2, 3, 4], [1, 1, 9, 1]]).double()
    relevance = segment_map(values, masks, torch.zeros(2, 1, 6, 6).double())
    assert relevance.sum((1, 2, 3)).tolist() == pytest.approx([6, 3])


def test_negative_labels_are_no_segment_and_labels_may_have_gaps():
    images, labels = torch.zeros(2, 1, 1, 4), torch.tensor([[-1, 0, 3, 3]])
    checked = check_segments(labels, images)
    assert checked.shape == (2, 1, 4)
    assert how_many_segments(checked) == 4
    assert segment_masks(checked, 1)[:, 0].int().tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 1],
    ]
    values = torch.tensor([[1.0, 7, 7, 4]]).expand(2, -1)
    assert segment_map(values, labels, images)[0].flatten().tolist() == [0, 1, 2, 2]


def test_without_segments_there_is_a_grid():
    images = torch.zeros(1, 1, 16, 5)
    assert torch.equal(check_segments(None, images), grid_segments(images, 8, 5))


IMAGES = torch.zeros(2, 3, 4, 6)


@pytest.mark.parametrize(
    ("segments", "got"),
    [
        ("slic", "str"),
        ([[0, 1]], "list"),
        (torch.zeros(2, 4, 5).long(), r"torch\.int64 of shape \(2, 4, 5\)"),
        (torch.zeros(3, 4, 6).long(), r"torch\.int64 of shape \(3, 4, 6\)"),
        (torch.zeros(6).long(), r"torch\.int64 of shape \(6,\)"),
        (torch.zeros(4, 6), r"torch\.float32 of shape \(4, 6\)"),
        (torch.zeros(2, 4, 6).bool(), r"torch\.bool of shape \(2, 4, 6\)"),
        (torch.full((4, 6), 24), "values from 24 to 24"),
        (torch.full((4, 6), -1), "values from -1 to -1"),
        (torch.full((2, 5, 4, 6), 1.5), r"values from 1\.5 to 1\.5"),
        (torch.full((2, 5, 4, 6), -0.5), r"values from -0\.5 to -0\.5"),
        (torch.full((2, 5, 4, 6), torch.nan), "values from nan to nan"),
        (torch.zeros(2, 0, 4, 6), r"torch\.float32 of shape \(2, 0, 4, 6\)"),
        (torch.zeros(2, 5, 4, 6).to_sparse(), "sparse"),
    ],
)
def test_segments_that_are_refused_by_name(segments, got):
    with pytest.raises(ValueError, match=f"^segments: got .*{got}.*must be"):
        segment_map(torch.zeros(2, 1), segments, IMAGES)


def test_other_arguments_are_refused_by_name():
    for options, words in (
        ({"rows": 5}, "rows: got 5"),
        ({"rows": 0}, "rows: got 0"),
        ({"columns": 7}, "columns: got 7"),
    ):
        with pytest.raises(ValueError, match=f"^{words}; must be"):
            grid_segments(IMAGES, **{"rows": 2, "columns": 2, **options})
    for options, words in (
        ({"count": 0}, "count: got 0"),
        ({"count": 25}, "count: got 25"),
        ({"compactness": 0}, "compactness: got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{words}; must be"):
            superpixels(IMAGES, **{"count": 2, **options})
    with pytest.raises(ValueError, match=r"^images: got shape \(3, 4, 6\)"):
        superpixels(IMAGES[0])
    with pytest.raises(ValueError, match=r"^values: got \(2, 3\); must be \(2, 2\)"):
        segment_map(torch.zeros(2, 3), torch.tensor([[0] * 6, [1] * 6]).repeat(2, 1), IMAGES)
    with pytest.raises(ValueError, match=r"^values: got list; must be \(2, 1\)"):
        segment_map([1], torch.zeros(4, 6).long(), IMAGES)
