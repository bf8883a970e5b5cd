"""Backgrounds and colours."""

import colorsys
from itertools import product

import numpy as np
import pytest

from xai_course.beetlebox.backgrounds import (
    _PAINTERS,
    KINDS,
    hsv,
    mix,
    paint_ground,
    pixel_grid,
    rgb,
    value_noise,
)


def test_a_background_is_an_image_with_colours_first():
    background = paint_ground(3, 128)
    assert background.shape == (3, 128, 128)
    assert background.min() >= 0
    assert background.max() <= 1
    assert np.array_equal(background, paint_ground(3, 128))


def test_seeds_draw_every_kind():
    kinds = [KINDS[np.random.default_rng((seed, 3)).integers(len(KINDS))] for seed in range(40)]
    assert set(kinds) == set(KINDS) == set(_PAINTERS)
    for kind in KINDS:
        seed = kinds.index(kind)
        rng = np.random.default_rng((seed, 3))
        rng.integers(len(KINDS))
        assert np.array_equal(paint_ground(seed, 32), np.clip(_PAINTERS[kind](rng, 32), 0, 1))


@pytest.mark.parametrize("seed", range(4))
def test_a_background_is_the_same_at_every_size(seed):
    """Means of 2 x 2 pixels of a fine one are about the pixels of a coarse one."""
    coarse, fine = paint_ground(seed, 64), paint_ground(seed, 256)
    means = fine.reshape(3, 64, 4, 64, 4).mean((2, 4))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.9


def test_hsv_is_that_of_the_standard_library():
    for color in product((0, 0.2, 0.55, 0.9, 1), (0, 0.5, 1), (0.3, 1)):
        np.testing.assert_allclose(hsv(*color).ravel(), colorsys.hsv_to_rgb(*color), atol=1e-6)


def test_colours_are_mixed_by_the_share_of_the_second():
    share = np.array([[0, 0.25, 1]], np.float32)
    mixed = mix(rgb(1, 0, 0), rgb(0, 0.5, 1), share)
    assert mixed.shape == (3, 1, 3)
    assert mixed[:, 0].T.tolist() == [[1, 0, 0], [0.75, 0.125, 0.25], [0, 0.5, 1]]


def test_the_grid_holds_the_centres_of_pixels():
    x, y = pixel_grid(4)
    assert x[0].tolist() == y[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert np.array_equal(x, y.T)
    with pytest.raises(ValueError, match="read-only"):
        x[0, 0] = 1  # it is kept for the next call


def test_noise_of_one_value_everywhere_stays_that_value():
    """The weights of the spline add up to 1."""

    class Ones:
        def uniform(self, low, high, size):
            return np.ones(size)

    np.testing.assert_allclose(value_noise(Ones(), 33, 5, 7), 2, rtol=1e-5)
