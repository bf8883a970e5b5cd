"""Clutter: bright things with sharp edges around a beetle, which mean nothing.

Twigs, petals, dewdrops and pebbles lie on the ground, each in a place of its own. A seed decides
their kinds, places, sizes and colours. Where there is room depends on the pose of the beetle, and
not on its species: a piece keeps clear of all parts that any species has in this pose.

A piece has a half length, `reach`, in units of the image, whose x and y are in [-1, 1]. Inside it
counts in half lengths: u along the piece and v across it, both about in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xai_course.beetlebox import drawing
from xai_course.beetlebox.backgrounds import Array, hsv, mix, pixel_grid

MOST = 6  # pieces that have room beside a large beetle
GRID = 64  # cells a side, in which free room is measured
GAP = 0.06  # between a piece and all else, so that soft edges do not meet; two cells of the grid
PLACES = 200  # that are tried for each size
SHRINK = 0.85  # of a piece that has no room

# A capsule around each kind, in half lengths: half the length of its axis, and its half width.
CAPSULES = {
    "twig": (0.8, 0.2),
    "petal": (0.38, 0.62),
    "dewdrop": (0.0, 1.0),
    "pebble": (0.2, 0.8),
}
KINDS = tuple(CAPSULES)
REACHES = {
    "twig": (0.32, 0.44),
    "petal": (0.24, 0.3),
    "dewdrop": (0.16, 0.21),
    "pebble": (0.18, 0.23),
}


class Piece(NamedTuple):
    """One piece of clutter."""

    kind: str
    x: float  # of its middle
    y: float
    angle: float  # of its length, radians in the image
    reach: float  # half its length
    paint: Array  # (3, 1, 1)
    ink: Array  # (3, 1, 1) colour of its markings and its rim


@lru_cache(maxsize=2048)
def lay_out(pose: int, seed: int) -> tuple[Piece, ...]:
    """Place all pieces of a seed beside the beetle whose pose another seed decides.

    Each lies clear of those before it, so the first pieces lie where they lie however many follow.
    """
    room = _room_beside_beetle(pose)
    pieces = []
    for number in range(MOST):
        piece = _place(np.random.default_rng((seed, 6, number)), room)
        room = np.minimum(room, _room_beside_piece(piece))
        pieces.append(piece)
    return tuple(pieces)


def draw_piece(piece: Piece, size: int) -> drawing.Layer:
    """Draw one piece in the window of an image that holds it."""
    x, y = pixel_grid(size)
    rows, columns = (
        slice(max(round((low + 1) / 2 * size) - 2, 0), round((high + 1) / 2 * size) + 2)
        for low, high in ((c - piece.reach, c + piece.reach) for c in (piece.y, piece.x))
    )
    dx, dy = (x[rows, columns] - piece.x) / piece.reach, (y[rows, columns] - piece.y) / piece.reach
    cos, sin = math.cos(piece.angle), math.sin(piece.angle)
    edge, marks = _SHAPES[piece.kind](cos * dx + sin * dy, cos * dy - sin * dx)
    pixel = 2 / size / piece.reach
    rim = -edge - 0.06  # a dark line of this width, so that the edge is sharp on any ground
    inked = drawing.coverage(np.minimum(marks, rim), pixel)
    return drawing.Layer(
        drawing.coverage(edge, pixel), mix(piece.paint, piece.ink, inked), (rows, columns)
    )


# ---- where there is room -------------------------------------------------------------------------


def _room_beside_beetle(pose: int) -> Array:
    """Measure each cell's distance to the nearest part that a beetle of any species has there."""
    body = drawing.draw_body(pose)
    view = drawing.body_view(body, GRID)
    layers = [drawing.legs(view, body), drawing.head(view, body), drawing.abdomen(view, body)]
    layers += [drawing.antennae(view, body, kind) for kind in ("short", "long", "clubbed")]
    layers += [drawing.horn(view, body, kind) for kind in ("single", "forked")]
    layers += [drawing.elytra(view, body, shape, "plain")["elytra"] for shape in drawing.OUTLINES]
    is_covered = np.zeros((GRID, GRID), bool)
    for layer in layers:
        is_covered[layer.window] |= layer.cover > 0
    # The distance in a plane, one axis after the other: min over k of (i - k)² + (the other's).
    line = np.arange(GRID, dtype=np.float32)
    squares = (line[:, None] - line) ** 2
    down = (squares[:, :, None] + np.where(is_covered, 0, np.float32(1e9))).min(1)
    both = (squares + down[:, None, :]).min(2)
    room: Array = np.sqrt(both) * (2 / GRID)
    return room


def _room_beside_piece(piece: Piece) -> Array:
    """Measure each cell's distance to a piece."""
    x, y = pixel_grid(GRID)
    length, width = CAPSULES[piece.kind]
    dx, dy = x - piece.x, y - piece.y
    cos, sin = math.cos(piece.angle), math.sin(piece.angle)
    half = length * piece.reach
    along = cos * dx + sin * dy
    along = along - np.clip(along, -half, half)  # beyond the ends of the axis
    room: Array = np.hypot(along, cos * dy - sin * dx) - width * piece.reach
    return room


def _place(rng: np.random.Generator, room: Array) -> Piece:
    """Choose a kind, its colours, and the first place with room; shrink the piece until it fits."""
    kind = KINDS[rng.integers(len(KINDS))]
    length, width = CAPSULES[kind]
    reach = rng.uniform(*REACHES[kind])
    paint, ink = _colours(rng, kind)
    axis = np.linspace(-length, length, 9)
    while True:
        places = rng.uniform(-1, 1, (PLACES, 2))
        angles = rng.uniform(0, 2 * math.pi, PLACES)
        turns = np.stack([np.cos(angles), np.sin(angles)], 1)
        points = places[:, None] + reach * axis[:, None] * turns[:, None]  # (places, 9, 2)
        cells = np.clip(((points + 1) / 2 * GRID).astype(int), 0, GRID - 1)
        to_border = 1 - np.abs(points).max((1, 2))
        free = np.minimum(room[cells[..., 1], cells[..., 0]].min(1) - GAP, to_border)
        fits = free >= width * reach
        if fits.any() or reach < 0.05:
            best = int(fits.argmax() if fits.any() else free.argmax())
            (x, y), angle = places[best], angles[best]
            return Piece(kind, float(x), float(y), float(angle), reach, paint, ink)
        reach *= SHRINK


# ---- what it looks like --------------------------------------------------------------------------


def _colours(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Draw a pale, bright paint and a dark ink."""
    hue = {
        "twig": rng.uniform(0.08, 0.14),
        "petal": rng.uniform(0.75, 1.17),  # violet, pink, orange, yellow
        "dewdrop": rng.uniform(0.5, 0.6),
        "pebble": rng.uniform(0.0, 0.15),
    }[kind]
    pale = rng.uniform(0.05, 0.35 if kind == "petal" else 0.12)
    strong = 0.9 if kind == "petal" else 0.6
    return hsv(hue, pale, rng.uniform(0.97, 1.0)), hsv(hue, strong, rng.uniform(0.1, 0.3))


# Each shape returns two signed distances, in half lengths: to its edge, and to its markings.


def _twig(u: Array, v: Array) -> tuple[Array, Array]:
    """A birch twig, slightly bent, with dark rings."""
    bent = v + 0.04 * np.cos(4 * u)
    along = np.abs(u) - np.clip(np.abs(u), 0, 0.84)
    rings = u / 0.4
    return np.hypot(along, bent) - 0.16, (np.abs(rings - np.round(rings)) - 0.16) * 0.4


def _petal(u: Array, v: Array) -> tuple[Array, Array]:
    """A petal, wider at one end, with two veins that spread from the other."""
    width = 0.45 + 0.15 * u
    edge = (np.hypot(u, v / width) - 1) * 0.5
    veins = np.abs(np.abs(v) - 0.15 * (u + 1)) - 0.08
    return edge, np.maximum(veins, u - 0.7)


def _dewdrop(u: Array, v: Array) -> tuple[Array, Array]:
    """A drop, dark on the side of the light, with the light that it mirrors there."""
    dark = 0.82 - np.hypot(u + 0.5, v)
    mirrored = np.hypot(u - 0.6, v + 0.15) - 0.2
    return np.hypot(u, v) - 1, np.maximum(dark, -mirrored)


def _pebble(u: Array, v: Array) -> tuple[Array, Array]:
    """A rounded stone with two dark veins."""
    edge = ((np.abs(u) ** 2.5 + np.abs(v / 0.78) ** 2.5) ** 0.4 - 1) * 0.78
    veins = np.minimum(np.abs(u + 0.5 * v - 0.35), np.abs(u + 0.5 * v + 0.35)) - 0.11
    return edge, veins


_SHAPES: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "twig": _twig,
    "petal": _petal,
    "dewdrop": _dewdrop,
    "pebble": _pebble,
}
