"""Figures: colours by hand, shared scales, flat maps, refusals by name, the same bytes twice."""

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgb
from PIL import Image

from xai_course import plots
from xai_course.beetlebox import scenes, stack_images
from xai_course.plots import AGAINST, FOR, png

GREYS = torch.full((2, 3, 4, 4), 0.5)


def layers(fig, panel):
    """Return the image arrays of a panel, bottom first."""
    return [np.asarray(image.get_array()) for image in fig.axes[panel].get_images()]


# ---- relevance in colour -------------------------------------------------------------------------


def test_colours_by_hand():
    colours = plots.relevance_colours(np.array([[-2.0, -1.0, 0.0, 0.5, 4.0]]), 2.0)
    assert colours[0, :, 3].tolist() == pytest.approx([0.9, 0.45, 0.0, 0.225, 0.9])
    assert colours[0, 0, :3].tolist() == pytest.approx(to_rgb(AGAINST))
    assert colours[0, 3, :3].tolist() == pytest.approx(to_rgb(FOR))


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e6))
@settings(max_examples=50, deadline=None)
def test_colours_are_symmetric_and_ordered(relevance, scale):
    colours, mirrored = (plots.relevance_colours(r, scale) for r in (relevance, -relevance))
    assert np.allclose(colours[..., 3], mirrored[..., 3])
    order = np.argsort(np.abs(relevance), axis=None)
    assert (np.diff(colours[..., 3].flatten()[order]) >= 0).all()
    visible = colours[..., 3] > 0
    assert (colours[visible & (relevance > 0)][:, 0] > 0.8).all()
    assert (colours[visible & (relevance < 0)][:, 0] < 0.2).all()


def test_zero_relevance_leaves_the_grey_picture():
    relevance = torch.zeros(2, 1, 4, 4)
    relevance[:, :, 0, 0] = 1
    fig = plots.overlay(torch.rand(2, 3, 4, 4), relevance, quantile=1)
    grey, colours = layers(fig, 0)
    assert grey.ndim == 2
    assert (colours[..., 3] > 0).sum() == 1
    assert colours[0, 0, 3] == pytest.approx(0.9)


@pytest.mark.parametrize("shared", [True, False])
def test_a_flat_map_divides_nothing_by_zero(shared):
    with np.errstate(all="raise"):
        fig = plots.overlay(GREYS, torch.zeros(2, 1, 4, 4), shared_scale=shared)
    assert all((layers(fig, panel)[1][..., 3] == 0).all() for panel in (0, 1))
    assert len(png(fig)) > 1000


def test_a_shared_scale_is_shared_and_an_own_scale_is_not():
    maps = [torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), -4.0)]
    together = plots.overlay(GREYS, maps)
    assert layers(together, 0)[1][0, 0, 3] == pytest.approx(0.9 / 4)
    assert layers(together, 1)[1][0, 0, 3] == pytest.approx(0.9)
    bar = together.axes[-1]
    assert bar.get_xlim() == pytest.approx((-4, 4))
    assert "logits" in bar.get_xlabel()
    apart = plots.overlay(GREYS, maps, shared_scale=False)
    assert layers(apart, 0)[1][0, 0, 3] == layers(apart, 1)[1][0, 0, 3] == pytest.approx(0.9)
    assert [ax.get_xlabel() for ax in apart.axes[:2]] == ["full colour at ±1", "full colour at ±4"]
    assert "own scale" in apart.axes[-1].get_xlabel()


def test_a_quantile_is_used_and_said():
    relevance = torch.ones(1, 1, 10, 10)
    relevance[..., 0, 0] = 1000
    fig = plots.overlay(torch.rand(1, 3, 10, 10), relevance, quantile=0.9)
    assert layers(fig, 0)[1][5, 5, 3] == pytest.approx(0.9)
    assert "largest 10 % of" in fig.axes[-1].get_xlabel()
    fig = plots.overlay(torch.rand(1, 3, 10, 10), relevance, quantile=1)
    assert layers(fig, 0)[1][5, 5, 3] == pytest.approx(0.9 / 1000)
    assert "at the largest value" in fig.axes[-1].get_xlabel()


def test_channels_are_added_and_none_shows_the_picture():
    relevance = torch.tensor([3.0, -1.0, 0.0]).view(3, 1, 1).expand(3, 4, 4)
    pictures = torch.rand(2, 3, 4, 4)
    fig = plots.overlay(pictures, [None, relevance], quantile=1, titles=["photograph", "gradient"])
    assert np.allclose(layers(fig, 0)[0], pictures[0].permute(1, 2, 0))
    assert fig.axes[-1].get_xlim() == pytest.approx((-2, 2))
    assert [ax.get_title() for ax in fig.axes[:2]] == ["photograph", "gradient"]
    assert "against the class" in fig.axes[-1].get_xlabel()


def test_the_colour_bar_names_the_sides():
    fig = plots.overlay(torch.rand(1, 3, 4, 4), torch.ones(1, 1, 4, 4), sides=("below", "above"))
    words = fig.axes[-1].get_xlabel()
    assert "← below" in words
    assert "above →" in words
    assert "class" not in words


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ({"relevance": [torch.full((1, 4, 4), torch.nan)] * 2}, "relevance: got NaN"),
        ({"relevance": torch.zeros(2, 1, 4, 5)}, r"relevance: got a map of \(4, 5\)"),
        ({"relevance": torch.zeros(3, 1, 4, 4)}, "relevance: got 3 maps"),
        ({"relevance": [torch.zeros(4), torch.zeros(4)]}, r"relevance: got a map of shape \(4,\)"),
        ({"images": GREYS * torch.nan}, "images: got NaN"),
        ({"images": GREYS * 3}, r"images: got values from 1\.50 to 1\.50.*normalisation"),
        ({"images": torch.zeros(2, 2, 4, 4)}, r"images: got an image of shape \(2, 4, 4\)"),
        ({"quantile": 0}, "quantile: got 0"),
        ({"titles": ["one"]}, "titles: got 1"),
        ({"columns": 0}, "columns: got 0"),
    ],
)
def test_overlays_that_are_refused_by_name(arguments, got):
    with pytest.raises(ValueError, match=f"^{got}"):
        plots.overlay(**{"images": GREYS, "relevance": torch.zeros(2, 1, 4, 4), **arguments})


# ---- gallery -------------------------------------------------------------------------------------


def test_a_gallery_takes_every_kind_of_picture():
    red = torch.zeros(3, 4, 6)
    red[0] = 1
    array = red.permute(1, 2, 0).numpy()
    whole = (255 * array).astype(np.uint8)
    pictures = [red, array, whole, Image.fromarray(whole), torch.ones(1, 4, 6), np.ones((4, 6))]
    fig = plots.gallery(pictures, [str(k) for k in range(6)], columns=4)
    assert len(fig.axes) == 6
    for panel in range(4):
        assert np.array_equal(layers(fig, panel)[0], array)
    assert np.array_equal(layers(fig, 4)[0], np.ones((4, 6, 3)))
    assert fig.get_figwidth() <= 10
    with pytest.raises(ValueError, match=r"^images: got none"):
        plots.gallery([])


# ---- showing -------------------------------------------------------------------------------------


def drawings():
    result = (np.linspace(0.1, 1, 20), np.arange(20) % 2)
    return {
        "gallery": plots.gallery(GREYS, ["a", "b"], title="Two"),
        "overlay": plots.overlay(GREYS, torch.arange(32.0).view(2, 1, 4, 4) - 9, ["a", "b"]),
        "bars": plots.part_bars({"horn": 2.0, "legs": -1.0}),
        "confusion": plots.confusion(np.eye(3), ["ant", "bee", "cow"]),
        "reliability": plots.reliability({"net": result}),
    }


def test_the_same_figure_gives_the_same_bytes_whatever_the_readers_settings():
    first = {name: png(fig) for name, fig in drawings().items()}
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10}):
        second = {name: png(fig) for name, fig in drawings().items()}
        assert mpl.rcParams["font.size"] == 30
    assert first == second
    assert all(b"Software" not in content for content in first.values())


def test_no_colour_of_a_saved_picture_is_far_off():
    beetles = scenes("test", "Ellipsa_furcata", 3)
    pictures = stack_images(beetles)
    maps = 0.1 * torch.randn(3, 1, *pictures.shape[2:], generator=torch.Generator().manual_seed(1))
    fig = plots.overlay(torch.cat([pictures, pictures]), [None, None, None, *maps], columns=3)
    png(fig)  # the first drawing settles the layout
    exact = io.BytesIO()
    plots.style.styled(fig.savefig)(exact, format="png", dpi=90)
    drawn, saved = (
        np.asarray(Image.open(file).convert("RGB")).astype(int)
        for file in (exact, io.BytesIO(png(fig)))
    )
    # As in a bar from blue to orange, where other palettes had a strip of pink: 60 and more.
    assert np.abs(drawn - saved).sum(2).max() <= 40


def test_text_is_legible_and_figures_fit_the_page():
    for name, fig in drawings().items():
        png(fig)
        assert fig.get_figwidth() <= 10, name
        texts = [text for text in fig.findobj(mpl.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 10, name


def test_a_figure_is_shown_with_its_alt_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    fig = plots.gallery(GREYS)
    plots.figure(fig, " Two grey squares. ", caption="Nothing to see.")
    data, metadata = shown[0]._repr_mimebundle_()
    assert data["image/png"]
    assert metadata["image/png"]["alt"] == "Two grey squares."
    assert shown[1].data == "*Nothing to see.*"
    assert fig.axes == []
    for alt in ("", "  ", None):
        with pytest.raises(ValueError, match=r"^alt: got"):
            plots.figure(plots.gallery(GREYS), alt)


def test_nothing_is_left_in_pyplot():
    import matplotlib.pyplot as plt

    drawings()
    assert plt.get_fignums() == []
