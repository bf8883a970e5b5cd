"""Charts: bars, lines and points, tables, each held against expectations made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from xai_course import plots
from xai_course.plots import AGAINST, FOR

# ---- bars ----------------------------------------------------------------------------------------


def test_bars_are_signed_and_carry_intervals_and_references():
    fig = plots.bars({"up": (2, 1, 3), "down": -1}, references={"down": 0.5})
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


def test_bars_of_plain_amounts_have_no_sign():
    written = [
        text.get_text() for text in plots.bars({"a": 89.8, "b": 0.5}, signed=False).axes[0].texts
    ]
    assert written == ["89.8", "0.5"]


@pytest.mark.parametrize(
    ("values", "options", "got"),
    [
        ({}, {}, "values"),
        ({"a": np.nan}, {}, "values"),
        ({"a": (1, 2)}, {}, "values"),
        ({"a": (1, 2, 0)}, {}, "values"),
        ({"a": 1}, {"references": {"b": 0}}, "references"),
    ],
)
def test_bars_that_are_refused(values, options, got):
    with pytest.raises(ValueError, match=f"^{got}: got .*must be"):
        plots.bars(values, **options)


def test_bars_have_their_values_and_their_signs():
    fig = plots.part_bars({"horn": 2.0, "legs": -1.0, "label": 0.0}, errors={"horn": 0.5})
    widths = [bar.get_width() for bar in fig.axes[0].patches]
    assert widths == [2.0, -1.0, 0.0]
    colours = [bar.get_facecolor()[:3] for bar in fig.axes[0].patches]
    assert colours[:2] == [pytest.approx(to_rgb(FOR)), pytest.approx(to_rgb(AGAINST))]
    assert [text.get_text() for text in fig.axes[0].texts] == ["+2.00", "−1.00", "0"]
    several = plots.part_bars({"key": {"horn": 2.0}, "Grad-CAM": {"horn": -1.0}})
    assert [bar.get_width() for bar in several.axes[0].patches] == [2.0, -1.0]
    assert [text.get_text() for text in several.legends[0].get_texts()] == ["key", "Grad-CAM"]
    for wrong in ({}, {"a": {"horn": 1.0}, "b": {"legs": 1.0}}, {"horn": float("nan")}):
        with pytest.raises(ValueError, match=r"^values: "):
            plots.part_bars(wrong)


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


# ---- lines and points ----------------------------------------------------------------------------


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
    ("series", "x", "options", "got"),
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
def test_lines_that_are_refused(series, x, options, got):
    with pytest.raises(ValueError, match=f"^{got}.*must be"):
        plots.lines(series, x, **options)


@pytest.mark.parametrize("length", [5, 25, 50])
def test_a_legend_of_long_names_stays_inside_the_figure(length):
    names = [letter * length for letter in "abcdef"]
    fig = plots.lines({name: [0.0, 1.0] for name in names}, [0, 1])
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    fig.draw_without_rendering()
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= fig.bbox.width


def test_curves_draw_what_was_measured():
    history = [
        SimpleNamespace(epoch=k, train_loss=1 / k, train_accuracy=0.4 * k, test_accuracy=None)
        for k in (1, 2)
    ]
    fig = plots.curves(history)
    loss, accuracy = fig.axes
    assert loss.lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert [line.get_label() for line in accuracy.lines] == ["training"]
    history[1].test_accuracy = 0.7
    dashed = fig.legends[0].legend_handles[0]
    assert np.ptp(dashed.get_xdata()) > 36  # points: a dash is 7 of them, and the marker hides one
    both = plots.curves({"A": history, "B": history})
    assert [line.get_label() for line in both.axes[1].lines][:2] == ["A, training", "A, test"]
    with pytest.raises(ValueError, match=r"^history: got no epochs"):
        plots.curves([])


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


def test_calibration_by_hand():
    count, sure, right = plots.calibration_bins([0.0, 0.5, 0.6, 1.0, 0.8], [0, 1, 0, 1, 1], 2)
    assert count.tolist() == [2, 3]
    assert sure.tolist() == pytest.approx([0.25, 0.8])
    assert right.tolist() == pytest.approx([0.5, 2 / 3])
    fig = plots.reliability({"net": ([0.0, 0.5, 0.6, 1.0, 0.8], [0, 1, 0, 1, 1])}, bins=2)
    assert fig.axes[0].get_title() == "net: ECE 18.0%"  # (2·0.25 + 3·0.1333) / 5
    low, high = fig.axes[0].collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.0945, 0.9055), abs=1e-3)  # Wilson, 1 of 2
    for wrong in (([0.5], [0, 1]), ([1.5], [1]), ([0.5], [0.3]), ([np.nan], [1]), ([], [])):
        with pytest.raises(ValueError, match=r"^confidence, correct: "):
            plots.calibration_bins(*wrong)


# ---- tables --------------------------------------------------------------------------------------


def test_a_long_title_is_not_cut_off_over_a_narrow_matrix():
    title = "Shapley values and LIME are level with bright edges, and RISE is not\nat all"
    fig = plots.matrix([[1.0, 2.0]], ["a row"], ["a", "b"], title=title)
    fig.draw_without_rendering()
    box = fig._suptitle.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= fig.bbox.x1
    assert fig._suptitle.get_text().replace("\n", " ") == title.replace("\n", " ")


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


def test_confusion_counts_and_colours_rows():
    fig = plots.confusion([[8, 2, 0], [0, 1, 0], [3, 0, 0]], ["ant", "bee", "cow"])
    image = fig.axes[0].get_images()[0]
    assert np.allclose(image.get_array(), [[0.8, 0.2, 0], [0, 1, 0], [1, 0, 0]])
    assert [text.get_text() for text in fig.axes[0].texts] == ["8", "2", "1", "3"]
    assert fig.get_suptitle() == "64.3% right; cow taken for ant most often (3×)"
    empty_row = plots.confusion(np.diag([2, 0]), ["ant", "bee"])
    assert empty_row.get_suptitle() == "100.0% right"
    for wrong in ([[1, 2]], [[1, -1], [0, 1]], [[0.5, 0], [0, 1]], [[np.nan, 0], [0, 1]]):
        with pytest.raises(ValueError, match=r"^counts: "):
            plots.confusion(wrong, ["ant", "bee"])


ROWS = [
    ("Which parts made this answer, and which of them spoke against it?", "LRP", "agreement 0.74"),
    ("How much?", "no map: take parts away", "the best map is off by more than half of the effect"),
]


def test_the_chart_has_each_row_in_order_and_inside_the_figure():
    fig = plots.decision_chart(ROWS, title="Which method")
    (ax,) = fig.axes
    fig.draw_without_rendering()
    words = [text for text in ax.texts if text.get_text()]
    assert [" ".join(text.get_text().split()) for text in words] == [w for row in ROWS for w in row]
    for text in words:
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= fig.bbox.width
        assert 0 <= box.y0 < box.y1 <= fig.bbox.height
    places = [text.get_position()[1] for text in words]
    assert places[0] == places[2] < places[3] == places[5]


def test_a_chart_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"^rows: got none"):
        plots.decision_chart([])
