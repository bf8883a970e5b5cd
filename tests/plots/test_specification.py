"""Specification curves and tables of choices, each held against expectations made by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from xai_course.plots import AGAINST, FOR, GREY, choice_table, png, specification_curve

READINGS = [(0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.0, -0.1, 0.1)]
CHOICES = {"readout": ["size", "signed", "size"], "score": ["rank", "rank", "top part"]}


def test_readings_are_sorted_and_coloured_by_what_they_say():
    fig = specification_curve(READINGS, CHOICES, marked=[True, False, False], title="All")
    above, below = fig.axes
    (dots,) = [c for c in above.collections if len(c.get_offsets()) == 3]
    np.testing.assert_allclose(dots.get_offsets()[:, 1], [-0.2, 0.0, 0.2])
    colours = [tuple(row[:3]) for row in dots.get_facecolors()]
    assert colours == [pytest.approx(to_rgb(name)) for name in (AGAINST, GREY, FOR)]
    marks = next(line for line in above.lines if len(line.get_xdata()) == 1)
    assert list(marks.get_xdata()) == [2]  # the marked one is the highest
    labels = [label.get_text() for label in below.get_yticklabels()]
    assert labels == ["readout: size", "signed", "score: rank", "top part"]
    rows = [image.get_array()[0].tolist() for image in below.images]
    assert rows == [[0, 1, 1], [1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert fig.get_size_inches()[0] == 8
    assert png(fig)


def test_many_readings_share_columns():
    readings = [(i, i, i) for i in range(1000)]
    values = ["low"] * 500 + ["high"] * 500
    fig = specification_curve(readings, {"half": values})
    low, high = (image.get_array()[0] for image in fig.axes[1].images)
    assert len(low) == len(high) == 240
    np.testing.assert_allclose(low + high, 1)
    assert low[0] == high[-1] == 1


@pytest.mark.parametrize(
    ("readings", "options", "got"),
    [
        ([], {}, "differences"),
        ([(0, 1, 2)], {}, None),
        ([(np.nan, 0, 0)], {}, "differences"),
        ([(0, 1, 0)], {}, "differences"),
        ([(0, 0, 0)], {"choices": {"key": ["logit", "margin"]}}, "key"),
        ([(0, 0, 0)], {"marked": [True, False]}, "marked"),
    ],
)
def test_curves_that_are_refused(readings, options, got):
    choices = options.pop("choices", {"key": ["logit"]})
    if got is None:
        assert specification_curve(readings, choices, **options)
        return
    with pytest.raises(ValueError, match=f"^{got}: got .*must be"):
        specification_curve(readings, choices, **options)


def test_a_table_of_choices_in_per_cent():
    columns = [("readout", "signed"), ("readout", "size"), ("key", "logit")]
    fig = choice_table([[0.0, 1.0, np.nan]], ["LRP"], columns, title="Shares", label="per cent")
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.texts] == ["0", "100", "readout", "key"]
    places = [patch.get_x() for patch in ax.patches]
    assert places == [-0.5, 0.5]  # the empty cell is not drawn
    third = ax.get_xticks()[2]
    assert third == pytest.approx(2.3)  # a gap between the choices


@pytest.mark.parametrize("values", [[[0.5]], [[0.5, 1.1]], [[-0.1, 0.5]]])
def test_tables_that_are_refused(values):
    with pytest.raises(ValueError, match=r"^values: got .*must be"):
        choice_table(values, ["LRP"], [("key", "logit"), ("key", "margin")])
