"""Diagrams of networks, held against expectations made by hand."""

import pytest

from xai_course.plots import png, residual_chain

CHAIN = [("image", (3, 8, 8)), ("stem", (4, 8, 8)), ("branch", (4, 8, 8)), ("head", (10,))]


def words(fig):
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def test_every_box_has_its_name_and_the_shape_of_what_comes_out():
    fig = residual_chain(CHAIN, title="A chain")
    assert words(fig)[::2] == ["image", "stem", "branch", "head"]
    assert words(fig)[1::2] == ["3 × 8 × 8", "4 × 8 × 8", "4 × 8 × 8", "10"]
    assert len(fig.axes[0].patches) == 4
    assert fig.get_suptitle() == "A chain"
    assert png(fig)


def test_a_skip_connection_runs_past_its_box_and_joins_the_chain_behind_it():
    fig = residual_chain(CHAIN, skips=["branch"])
    assert [word for word in words(fig) if word in ("skip", "+")] == ["skip", "+"]
    (past,) = [line for line in fig.axes[0].lines if len(line.get_xdata()) == 3]
    left, _, right = past.get_xdata()
    assert 1.5 < left < 2 - 0.33  # between stem and branch
    assert 2 + 0.33 < right < 2.5  # between branch and head
    (plus,) = [text for text in fig.axes[0].texts if text.get_text() == "+"]
    assert plus.get_position() == (right, 0)


def test_the_last_box_may_have_a_skip_connection():
    fig = residual_chain(CHAIN, skips=["head"])
    assert "+" in words(fig)
    assert png(fig)


@pytest.mark.parametrize(
    ("boxes", "skips", "got"),
    [([], [], "boxes"), (CHAIN, ["image"], "skips"), (CHAIN, ["tail"], "skips")],
)
def test_chains_that_are_refused(boxes, skips, got):
    with pytest.raises(ValueError, match=f"^{got}: got .*must be"):
        residual_chain(boxes, skips=skips)
