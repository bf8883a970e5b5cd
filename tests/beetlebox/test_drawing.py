"""How parts are drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_course.beetlebox import PARTS, SPECIES, TRAITS, Scene, drawing
from xai_course.beetlebox.backgrounds import rgb

sizes = st.sampled_from([32, 64, 97])
beetles = st.builds(Scene, st.sampled_from(sorted(SPECIES)), st.integers(0, 10**7))


@given(beetles, sizes)
@settings(max_examples=40)
def test_the_windows_that_parts_are_drawn_in_cut_nothing_off(scene, size):
    for changed in (scene, scene.without("elytra")):
        image, masks = changed.image(size), changed.masks(size)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drawing, "crop_view", lambda view, *_: view)  # the whole image
            assert np.array_equal(image, changed.image(size))
            whole = changed.masks(size)
        assert all(np.array_equal(masks[part], whole[part]) for part in PARTS)


def a_view(size=128):
    """A beetle in the middle of the image, that looks up, and where the pixels lie on it."""
    body = drawing.draw_body(3)._replace(x=0.0, y=0.0, angle=0.0, scale=0.5, frequency=1.0, phase=0)
    return body, drawing.body_view(body, size)


def test_body_coordinates_by_hand():
    body, view = a_view(4)
    x = np.array([-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(view.u, np.tile(x / body.scale, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(view.v[:, 0], -x / body.scale - drawing.MIDDLE, atol=1e-6)
    assert view.pixel == 1  # two units of the image over four pixels, at half the scale
    turned = drawing.body_view(body._replace(angle=np.pi / 2), 4)
    np.testing.assert_allclose(turned.u[:, 0], x / body.scale, atol=1e-6)


@pytest.mark.parametrize("outline", TRAITS["outline"])
def test_wing_cases_have_the_area_of_their_ellipse(outline):
    body, view = a_view(256)
    area = drawing.elytra(view, body, outline, "plain")["elytra"].cover.sum() * view.pixel**2
    across, along = drawing.OUTLINES[outline]
    assert area == pytest.approx(np.pi * across * along, rel=0.03)  # a bit wider in front


@pytest.mark.parametrize("pattern", TRAITS["pattern"])
def test_a_pattern_covers_a_bit_under_half_of_the_wing_cases(pattern):
    body, view = a_view(256)
    layers = drawing.elytra(view, body, "oval", pattern)
    assert list(layers) == (["elytra"] if pattern == "plain" else ["elytra", "pattern"])
    if pattern != "plain":
        share = layers["pattern"].cover.sum() / layers["elytra"].cover.sum()
        assert 0.35 < share < 0.55
        assert (layers["pattern"].cover <= layers["elytra"].cover).all()


def test_a_straight_stroke_by_hand():
    """A stroke along v from 0 to 1, of half width 0.2."""
    _, view = a_view(256)
    layer = drawing._tubes(view, [[(0.0, 0.0, 0.2), (0.0, 1.0, 0.2)]], rgb(0.2, 0.4, 0.6), 1, 0)
    area = layer.cover.sum() * view.pixel**2
    assert area == pytest.approx(1 * 0.4 + np.pi * 0.2**2, rel=0.01)  # with its two round ends
    distance, depth = drawing._strokes(view, [[(0.0, 0.0, 0.2), (0.0, 1.0, 0.2)]])
    near = distance < 0.2
    by_hand = np.hypot(view.u, np.maximum(np.abs(view.v - 0.5) - 0.5, 0)) - 0.2
    np.testing.assert_allclose(distance[near], by_hand[near], atol=1e-5)
    np.testing.assert_allclose(depth, np.clip(-by_hand / 0.2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("part", ["legs", "antennae", "horn", "head"])
def test_parts_are_symmetric_unless_joints_are_turned(part):
    body, view = a_view(128)
    body = body._replace(legs=np.zeros((6, 3), np.float32), feelers=np.zeros(2, np.float32))
    kinds = {"antennae": ("clubbed",), "horn": ("forked",)}.get(part, ())
    cover = np.zeros((128, 128))
    layer = getattr(drawing, part)(view, body, *kinds)
    cover[layer.window] = layer.cover
    assert cover.any()
    np.testing.assert_allclose(cover, cover[:, ::-1], atol=1e-4)


def test_the_shadow_is_darkest_under_the_beetle():
    _, view = a_view(64)
    light = drawing.shadow(view)
    assert 0.37 < light.min() < 0.4
    assert light[0, 0] > 0.95
    assert np.hypot(*(np.array(np.unravel_index(light.argmin(), (64, 64))) - 32)) < 8


def test_a_known_scene_has_not_changed():
    """Whoever changes the drawing on purpose draws the data and trains the networks anew."""
    scene = Scene("Globaria_maculata", 12).with_label()
    areas = [115.8, 88.8, 52.6, 30.9, 49.4, 65.4, 92.4]  # of PARTS, in pixels
    brightness = np.array(
        [
            [0.557, 0.513, 0.556, 0.548],
            [0.509, 0.506, 0.358, 0.487],
            [0.483, 0.315, 0.339, 0.470],
            [0.503, 0.459, 0.491, 0.604],
        ]
    )
    masks, image = scene.masks(48), scene.image(48)
    np.testing.assert_allclose([masks[part].sum() for part in PARTS], areas, atol=0.2)
    blocks = image.reshape(4, 12, 4, 12, 3).mean((1, 3, 4))  # machines differ a little
    np.testing.assert_allclose(blocks, brightness, atol=0.002)
