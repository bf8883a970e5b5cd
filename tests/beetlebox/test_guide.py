"""Whole plates: what stands on them, and that it fits."""

import pytest

from xai_course.plots import decision_chart

ROWS = [
    ("Which parts made this answer, and which of them spoke against it?", "LRP", "agreement 0.74"),
    ("How much?", "no map: take parts away", "the best map is off by more than half of the effect"),
]


def test_the_chart_has_each_row_in_order_and_inside_the_picture():
    fig = decision_chart(ROWS, title="Which method")
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
        decision_chart([])
