"""Charts added for the lessons, held against hand-made expectations."""

import numpy as np
import pytest

from xai_course import plots


def test_shares_draws_each_bar_at_its_value_with_the_band_of_chance():
    fig = plots.shares({"a": 0.25, "b": (0.5, 0.4, 0.6)}, band=(0.1, 0.2))
    (ax,) = fig.axes
    bars = [patch for patch in ax.patches if hasattr(patch, "get_width")]
    assert [round(bar.get_width(), 3) for bar in bars[:2]] == [0.25, 0.5]
    assert [text.get_text() for text in ax.texts] == ["25.0%", "50.0%"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert list(ax.lines[0].get_xdata()) == [0.4, 0.6]
    band = ax.patches[2].get_extents().transformed(ax.transData.inverted())
    assert np.allclose([band.x0, band.x1], [0.1, 0.2])


@pytest.mark.parametrize("values", [{}, {"a": 1.2}, {"a": float("nan")}, {"a": (0.5, 0.4)}])
def test_shares_refuses_what_is_no_share(values):
    with pytest.raises(ValueError, match="values"):
        plots.shares(values)


def test_scatter_draws_the_points_and_the_line_where_both_are_equal():
    fig = plots.scatter([1, 2, 3], [3, 2, 0], diagonal="equal")
    (ax,) = fig.axes
    assert np.array_equal(ax.collections[0].get_offsets(), [[1, 3], [2, 2], [3, 0]])
    assert np.array_equal(ax.lines[0].get_xdata(), ax.lines[0].get_ydata())
    assert list(ax.lines[0].get_xdata()) == [0, 3]


@pytest.mark.parametrize(("x", "y"), [([1], [1, 2]), ([], []), ([1.0], [float("nan")])])
def test_scatter_refuses_series_that_do_not_fit(x, y):
    with pytest.raises(ValueError, match=r"^[xy]"):
        plots.scatter(x, y)
