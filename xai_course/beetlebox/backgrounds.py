"""Backgrounds for beetles: leaf, bark, sand and moss, each drawn from a seed alone.

All are made of *value noise*: a small grid of random numbers, enlarged smoothly. The grid does not
depend on the size of the image, so a scene has the same background at 64 and at 512 pixels. Colours
are the first axis, (3, H, W). Coordinates: x to the right, y down, both in [-1, 1].
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


KINDS = ("leaf", "bark", "sand", "moss")


@lru_cache(maxsize=256)
def _spline_weights(cells: int, size: int) -> Array:
    """Weights (size, cells + 3) that enlarge values on a grid to pixels: a cubic B-spline."""
    position = (np.arange(size) + 0.5) / size * cells
    left = np.minimum(position.astype(int), cells - 1)
    t = position - left
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((size, cells + 3), np.float32)
    for shift, tap in enumerate(taps):
        weights[np.arange(size), left + shift] = tap / 6
    return weights


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> tuple[Array, Array]:
    """Centres of the pixels: x (size, size) to the right and y (size, size) down, in [-1, 1]."""
    line = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    x, y = np.meshgrid(line, line)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def value_noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> Array:
    """Smooth noise (size, size), about within [-1, 1], from a grid of so many rows and columns."""
    grid = 2 * rng.uniform(-1, 1, (rows + 3, columns + 3)).astype(np.float32)
    noise: Array = _spline_weights(rows, size) @ grid @ _spline_weights(columns, size).T
    return noise


def mix(first: Array, second: Array, amount: Array) -> Array:
    """Blend two colours by the second's share in each pixel (H, W): (3, H, W)."""
    return first + (second - first) * amount


def rgb(red: float, green: float, blue: float) -> Array:
    """Make one colour (3, 1, 1), which broadcasts over pixels (H, W)."""
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Make one colour (3, 1, 1) from hue (in turns), saturation and value."""
    ramp = np.abs(((hue + np.array([0, 2 / 3, 1 / 3])) % 1) * 6 - 3) - 1
    red, green, blue = value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))
    return rgb(red, green, blue)


def _smooth_step(values: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    step: Array = t * t * (3 - 2 * t)
    return step


def _leaf(rng: np.random.Generator, size: int) -> Array:
    """A leaf with a midrib, side veins and blotches."""
    x, y = pixel_grid(size)
    hue = rng.choice(
        [rng.uniform(0.22, 0.38), rng.uniform(0.06, 0.16), rng.uniform(0.95, 1.04)],
        p=[0.7, 0.2, 0.1],
    )
    base = hsv(hue, rng.uniform(0.45, 0.75), rng.uniform(0.35, 0.65))
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    along = math.cos(angle) * x + math.sin(angle) * y
    across = math.cos(angle) * y - math.sin(angle) * x + offset + 0.12 * along * along
    spacing, slant, width = rng.uniform(0.3, 0.5), rng.uniform(0.6, 1.0), 0.018
    blotches = value_noise(rng, size, 4, 4) + 0.5 * value_noise(rng, size, 11, 11)
    phase = (along - slant * np.abs(across) + 0.04 * blotches) / spacing
    to_vein = np.abs(phase - np.round(phase)) * spacing
    softness = width + 1.0 / size
    veins = np.maximum(
        0.7 * np.clip(1 - to_vein / softness, 0, 1),
        np.clip(1.4 - np.abs(across) / (1.6 * softness), 0, 1),
    )
    quilt = 0.10 * np.sqrt(to_vein / spacing) + 0.09 * blotches
    pores = 0.05 * value_noise(rng, size, 60, 60)
    blade = base * (0.86 + quilt + pores)
    pale = np.clip(base * 1.25 + 0.10, 0, 1).astype(np.float32)
    leaf: Array = blade + (pale - blade) * (0.75 * veins)
    return leaf


def _bark(rng: np.random.Generator, size: int) -> Array:
    """Bark with ridges along one axis, and lichen."""
    dark = hsv(rng.uniform(0.03, 0.1), rng.uniform(0.25, 0.5), rng.uniform(0.16, 0.26))
    light = hsv(rng.uniform(0.04, 0.13), rng.uniform(0.12, 0.45), rng.uniform(0.5, 0.75))
    rows, columns = (4, 15) if rng.random() < 0.5 else (15, 4)
    ridges = value_noise(rng, size, rows, columns) + 0.6 * value_noise(
        rng, size, 2 * rows, 2 * columns
    )
    plates = 1 - np.abs(ridges + 0.35 * value_noise(rng, size, 5, 5))
    fibre = value_noise(rng, size, 3 * rows, 3 * columns)
    height = np.clip(0.15 + 0.58 * plates + 0.14 * fibre, 0, 1)
    lichen = _smooth_step(
        value_noise(rng, size, 5, 5) + 0.4 * value_noise(rng, size, 24, 24), 0.45, 0.75
    )
    wood = mix(dark, light, height)
    pale = hsv(rng.uniform(0.2, 0.4), 0.18, 0.66)
    bark: Array = wood + (pale - wood) * (rng.uniform(0, 0.7) * lichen * height)
    return bark


def _sand(rng: np.random.Generator, size: int) -> Array:
    """Sand with ripples and pebbles."""
    x, y = pixel_grid(size)
    base = hsv(rng.uniform(0.05, 0.14), rng.uniform(0.12, 0.5), rng.uniform(0.5, 0.86))
    angle = rng.uniform(0, np.pi)
    drift = value_noise(rng, size, 3, 3)
    ripples = np.sin(rng.uniform(9, 17) * (math.cos(angle) * x + math.sin(angle) * y) + 3 * drift)
    grains = value_noise(rng, size, 90, 90)
    coarse = value_noise(rng, size, 45, 45)
    pebbles = _smooth_step(value_noise(rng, size, 34, 34), 0.8, 1.1) * rng.uniform(0.1, 0.4)
    light = 0.9 + rng.uniform(0.02, 0.07) * ripples + 0.05 * drift + 0.09 * grains + 0.05 * coarse
    sand: Array = base * (light * (1 - pebbles))
    return sand


def _moss(rng: np.random.Generator, size: int) -> Array:
    """Moss in cushions, with lighter tips."""
    hue = rng.uniform(0.17, 0.36)
    deep = hsv(hue + 0.04, rng.uniform(0.4, 0.7), rng.uniform(0.1, 0.22))
    tips = hsv(hue, rng.uniform(0.35, 0.75), rng.uniform(0.5, 0.8))
    clumps = value_noise(rng, size, 8, 8)
    cushions = 1 - np.abs(value_noise(rng, size, 17, 17) + 0.4 * clumps)
    shoots = value_noise(rng, size, 40, 40)
    hairs = value_noise(rng, size, 90, 90)
    height = 0.16 + 0.46 * cushions + 0.14 * clumps + 0.2 * shoots + 0.1 * hairs
    return mix(deep, tips, np.clip(height, 0, 1))


_PAINTERS = {"leaf": _leaf, "bark": _bark, "sand": _sand, "moss": _moss}


def paint_ground(seed: int, size: int) -> Array:
    """Paint the background of a seed, which also decides its kind: (3, size, size) in [0, 1]."""
    rng = np.random.default_rng((seed, 3))
    kind = KINDS[rng.integers(len(KINDS))]
    background: Array = np.clip(_PAINTERS[kind](rng, size), 0, 1)
    return background
