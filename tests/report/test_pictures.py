"""The pictures of the page: what is drawn is what was measured, and each stands in the page."""

import base64
import io
import re

import pytest
import torch
from PIL import Image

from xai_course.report.pictures import (
    _covered,
    _drawn,
    _fine,
    answers_table,
    picture_of_maps,
    shown_names,
)
from xai_course.report.run import Result

CLASSES = ["cat", "dog & <b>", "ant", "bee"]


def result(size=(64, 64), channels=3, logits=(4.0, 1.0, 0.0, -1.0), truth=None, marks=6):
    """A result of the maps gradient, CAM and edges, with a left half that counts."""
    logits = torch.tensor(logits)
    probabilities = logits.softmax(0)
    if len(logits) == 1:
        probabilities = torch.stack([1 - logits.sigmoid(), logits.sigmoid()])[:, 0]
    generator = torch.Generator().manual_seed(0)
    maps = torch.zeros(3, *size)
    maps[:, :, : size[1] // 2] = 1.0
    maps[0] *= -1
    marked = torch.zeros(3, 64)
    marked[:, :marks] = 1
    return Result(
        "a <b>.png",
        "0" * 64,
        truth,
        logits,
        probabilities,
        torch.rand(channels, *size, generator=generator),
        maps,
        torch.ones(3),
        torch.rand(3, 64, generator=generator),
        torch.rand(3, 64, generator=generator),
        marked,
        torch.tensor([[1.0, 0.5], [0.25, 0.0], [-0.5, 0.0]]),
    )


SHOWN = [(0, "gradient"), (1, "Grad-CAM (= CAM)"), (2, "null: edges")]


def pictures(html):
    """The pictures in HTML, opened."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_three_answers_with_their_picture():
    html = answers_table([result(), result(truth="dog & <b>")], CLASSES)
    assert html.count("<img ") == html.count("alt=") == 2
    assert "cat<br>93.0 %" in html
    assert "dog &amp; &lt;b&gt;<br>4.6 %" in html
    assert "bee" not in html  # the fourth
    assert "a &lt;b&gt;.png" in html
    assert html.count("folder says") == 1
    assert "folder says" not in answers_table([result()], CLASSES)
    assert {picture.width for picture in pictures(html)} == {96}
    yes_or_no = answers_table([result(logits=(-2.0,))], ["no", "yes"])
    assert "no<br>88.1 %" in yes_or_no
    assert "yes<br>11.9 %" in yes_or_no
    assert "third" not in yes_or_no


def test_equal_maps_are_drawn_once():
    names = ["gradient", "Grad-CAM", "CAM", "null: edges"]
    shown = shown_names(names, ["gradient", "Grad-CAM (= CAM)", "null: edges"])
    assert shown == [(0, "gradient"), (1, "Grad-CAM (= CAM)"), (3, "null: edges")]


def test_each_map_has_three_views_and_the_scores():
    html = picture_of_maps(result(), SHOWN, CLASSES)
    assert html.startswith("<details open><summary>a &lt;b&gt;.png: cat, 93.0 %</summary>")
    assert picture_of_maps(result(), SHOWN, CLASSES, opened=False).startswith("<details><summary>")
    assert html.count("<img ") == html.count("alt=") == 1 + 3 * 3
    assert all(picture.size == (280, 280) for picture in pictures(html))
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["gradient", "Grad-CAM (= CAM)", "edges"]
    assert "Score 4.00; covered 3.00 (with a blur 3.50)" in html
    assert "Score 4.00; covered 4.50 (with a blur 4.00)" in html
    assert "It knows nothing of the network." in html
    assert "<b>" not in html


def test_one_logit_explains_yes_whatever_is_said():
    html = picture_of_maps(result(logits=(-2.0,)), SHOWN, ["no", "yes"])
    assert "<summary>a &lt;b&gt;.png: no, 88.1 %</summary>" in html
    assert "gradient map of a &lt;b&gt;.png for yes" in html
    assert "Score −2.00; covered −3.00" in html


@pytest.mark.parametrize("size", [(64, 96), (7, 5), (300, 200)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_size_and_any_number_of_channels_is_drawn(size, channels):
    html = picture_of_maps(result(size, channels), SHOWN, CLASSES)
    assert {p.size for p in pictures(html)} == {(280, round(280 * size[0] / size[1]))}


def test_an_empty_map_covers_nothing_and_says_so():
    empty = result(marks=0)._replace(maps=torch.zeros(3, 64, 64))
    assert picture_of_maps(empty, SHOWN, CLASSES).count("nothing is covered") == 3
    assert torch.equal(_covered(empty.image, empty.marked[0].view(8, 8) > 0), empty.image)


def test_what_is_covered_has_the_mean_colour_and_the_rest_stays():
    one = result()
    covered = _covered(one.image, one.marked[0].view(8, 8) > 0)
    mean = one.image.mean((1, 2), keepdim=True)
    assert torch.allclose(covered[:, :8, :48], mean.expand(3, 8, 48))
    assert torch.equal(covered[:, 8:], one.image[:, 8:])
    assert torch.equal(covered[:, :, 48:], one.image[:, :, 48:])


def test_colours_of_a_map():
    """Orange for, blue against, purple for a size; grey where there is nothing."""
    image, values = torch.full((3, 64, 64), 0.5), torch.zeros(8, 8)
    values[0, 0], values[7, 7] = 1.0, -1.0
    drawn = _drawn(image, values, False)
    (r, g, b), (s, t, u), (x, y, z) = (drawn.getpixel(at) for at in ((2, 2), (277, 277), (140, 9)))
    assert r > g > b
    assert s < t < u
    assert x == y == z
    r, g, b = _drawn(image, values.abs(), True).getpixel((2, 2))
    assert r > g < b


def test_a_fine_map_is_means_of_its_squares():
    values = torch.rand(224, 280)
    fine = _fine(values)
    assert fine.shape == (56, 70)
    assert torch.allclose(fine, values.view(56, 4, 70, 4).mean((1, 3)), atol=1e-6)
    assert torch.equal(_fine(values[:20, :30]), values[:20, :30])
