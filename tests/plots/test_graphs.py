"""Lines, tables and signed bars, held against hand-made expectations."""

import numpy as np
import pytest

from xai_course import plots


def test_lines_draw_each_series_with_its_band_and_the_marks():
    fig = plots.lines(
        {"a": [(1, 0, 2), (2, 1, 3), (4, 3, 5)], "b": [3, 3, 0]},
        [1, 10, 100],
        marks={"noise": 0.5},
        log_x=True,
    )
    (ax,) = fig.axes
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == [[1, 2, 4], [3, 3, 0]]
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines[:2]}) == 2
    assert list(ax.lines[2].get_ydata()) == [0.5, 0.5]
    assert len(ax.collections) == 1  # only a has intervals
    assert ax.collections[0].get_datalim(ax.transData).intervaly.tolist() == [0, 5]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "10", "100"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("series", "x", "options", "came"),
    [
        ({}, [1], {}, "series: got 0"),
        ({"a": [1, 2]}, [1], {}, r"a: got shape \(2,\)"),
        ({"a": [np.nan]}, [1], {}, "a: got NaN"),
        ({"a": [1]}, [0], {"log_x": True}, "x: got a number of 0"),
        ({"a": [(1, 2)]}, [1], {}, r"a: got \[\(1, 2\)\]"),
        ({"a": [(1, 2, 0)]}, [1], {}, r"a: got \[\(1, 2, 0\)\]"),
        ({str(i): [1] for i in range(7)}, [1], {}, "series: got 7"),
    ],
)
def test_lines_that_are_refused(series, x, options, came):
    with pytest.raises(ValueError, match=f"^{came}.*allowed"):
        plots.lines(series, x, **options)


def test_a_matrix_writes_each_number_and_is_white_at_zero():
    fig = plots.matrix([[1, -2], [0, np.nan]], ["r", "s"], ["c", "d"], fmt="{:.1f}")
    ax = fig.axes[0]
    assert [text.get_text() for text in ax.texts] == ["1.0", "−2.0", "0.0"]
    (image,) = ax.images
    assert image.get_clim() == (-2, 2)
    assert np.allclose(image.cmap(0.5)[:3], 1, atol=0.01)
    assert plots.matrix([[0, 3]], ["r"], ["c", "d"], signed=False).axes[0].images[0].get_clim() == (
        0,
        3,
    )


def test_a_tint_colours_the_cells_and_leaves_the_numbers():
    fig = plots.matrix([[5, -2]], ["r"], ["c", "d"], tint=[[-1, 1]], label="blue: worse")
    (ax,) = fig.axes  # no colour bar
    assert [text.get_text() for text in ax.texts] == ["5.00", "−2.00"]
    assert ax.images[0].get_array().tolist() == [[-1, 1]]
    assert ax.images[0].get_clim() == (-1, 1)
    assert fig.get_supxlabel() == "blue: worse"
    with pytest.raises(ValueError, match=r"^tint: got shape \(1, 1\)"):
        plots.matrix([[5, -2]], ["r"], ["c", "d"], tint=[[1]])


@pytest.mark.parametrize(
    ("values", "options"), [([[1, 2]], {}), ([[np.inf]], {}), ([[-1]], {"signed": False})]
)
def test_a_matrix_that_is_refused(values, options):
    with pytest.raises(ValueError, match=r"^values: "):
        plots.matrix(values, ["r"], ["c"], **options)


def test_bars_of_plain_amounts_have_no_sign():
    written = [
        text.get_text() for text in plots.bars({"a": 89.8, "b": 0.5}, signed=False).axes[0].texts
    ]
    assert written == ["89.8", "0.5"]


def test_bars_are_signed_and_carry_intervals_and_nulls():
    fig = plots.bars({"up": (2, 1, 3), "down": -1}, nulls={"down": 0.5})
    (ax,) = fig.axes
    assert [bar.get_width() for bar in ax.patches] == [2, -1]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    assert [text.get_text() for text in ax.texts] == ["+2.00", "−1.00"]
    ends = [list(line.get_xdata()) for line in ax.lines]
    assert [1, 3] in ends
    assert [0.5, 0.5] in ends
    low, high = ax.get_xlim()
    assert low < -1
    assert high > 3


@pytest.mark.parametrize(
    ("values", "options", "came"),
    [
        ({}, {}, "values"),
        ({"a": np.nan}, {}, "values"),
        ({"a": (1, 2)}, {}, "values"),
        ({"a": (1, 2, 0)}, {}, "values"),
        ({"a": 1}, {"nulls": {"b": 0}}, "nulls"),
    ],
)
def test_bars_that_are_refused(values, options, came):
    with pytest.raises(ValueError, match=f"^{came}: got .*allowed"):
        plots.bars(values, **options)
