"""How a beetle is drawn: each part is a coverage (the share of each pixel it covers) and a colour.

A shape is a signed distance d in body units, negative inside. A pixel of width w is covered by
clip(1/2 - d / w, 0, 1), so edges are smooth at any size. Body coordinates: u across the body, v
along it towards the head. Light comes from one side; shading is Lambert's cosine with a highlight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xai_course.beetlebox.backgrounds import Array, hsv, pixel_grid, rgb

# Half axes of the wing cases; the areas are equal.
OUTLINES = {"round": (0.64, 0.64), "oval": (0.54, 0.76), "long": (0.385, 1.06)}
FRONT = 0.24  # v at which the wing cases begin
MIDDLE = 0.23  # -MIDDLE is the v of the body's middle, which lies at the body's x and y


Point = tuple[float, float, float]  # u, v and half width of a stroke


class Body(NamedTuple):
    """What varies from scene to scene and does not depend on the species."""

    x: float
    y: float
    angle: float
    scale: float
    light: float  # direction that the light comes from, radians in the image
    brightness: float
    grain: float  # standard deviation of the camera's noise
    legs: Array  # (6, 3) small turns of the leg joints
    feelers: Array  # (2,) small turns of the antennae
    frequency: float  # of the pattern, relative
    phase: float  # of the pattern, in periods
    shell: Array  # (3, 1, 1) colour of the wing cases
    marks: Array  # (3, 1, 1) colour of the pattern
    limbs: Array  # (3, 1, 1) colour of head and legs
    trim: Array  # (3, 1, 1) colour of horn and antennae, bright enough to be seen on any background
    label: Array  # (3,) shift in x and in y, and turn, of the museum label


class View(NamedTuple):
    """Where the pixels of a window of the image lie on the body, and how they are lit."""

    u: Array  # (h, w)
    v: Array  # (h, w)
    pixel: float  # width of a pixel in body units
    light: tuple[float, float]  # direction that the light comes from, in body coordinates
    window: tuple[slice, slice]  # rows and columns of the image


class Layer(NamedTuple):
    """One part alone, in a window of the image."""

    cover: Array  # (h, w), the share of each pixel that the part covers
    colour: Array  # (3, h, w)
    window: tuple[slice, slice]  # rows and columns of the image


def draw_body(seed: int) -> Body:
    """Draw pose, light and colours of a seed, in a fixed order, whatever the species."""
    rng = np.random.default_rng((seed, 1))
    scale = rng.uniform(0.44, 0.6)
    shift = 1 - 1.65 * scale  # a small beetle can lie further out and still be whole in the image
    deep = hsv(rng.uniform(0, 1), rng.uniform(0.45, 0.95), rng.uniform(0.15, 0.45))
    bright = hsv(rng.uniform(0, 1), rng.uniform(0.3, 0.85), rng.uniform(0.75, 0.98))
    shell, marks = (deep, bright) if rng.random() < 0.5 else (bright, deep)
    return Body(
        x=rng.uniform(-shift, shift),
        y=rng.uniform(-shift, shift),
        angle=rng.uniform(-0.6, 0.6),
        scale=scale,
        light=rng.uniform(-1.2, 1.2) - math.pi / 2,
        brightness=rng.uniform(0.85, 1.1),
        grain=rng.uniform(0.004, 0.025),
        legs=rng.normal(0, 0.12, (6, 3)).astype(np.float32),
        feelers=rng.normal(0, 0.1, 2).astype(np.float32),
        frequency=rng.uniform(0.9, 1.15),
        phase=rng.uniform(-0.15, 0.15),
        shell=shell,
        marks=marks,
        limbs=hsv(rng.uniform(0, 1), rng.uniform(0.1, 0.55), rng.uniform(0.12, 0.3)),
        trim=hsv(rng.uniform(0, 1), rng.uniform(0.25, 0.65), rng.uniform(0.85, 1.0)),
        label=rng.uniform(-1, 1, 3).astype(np.float32),
    )


def body_view(body: Body, size: int) -> View:
    """Find where the pixels of an image of this size lie on the body."""
    x, y = pixel_grid(size)
    dx, dy = (x - body.x) / body.scale, (y - body.y) / body.scale
    cos, sin = math.cos(body.angle), math.sin(body.angle)
    light_x, light_y = math.cos(body.light), math.sin(body.light)
    light = (cos * light_x + sin * light_y, sin * light_x - cos * light_y)
    u, v = cos * dx + sin * dy, sin * dx - cos * dy - MIDDLE
    return View(u, v, 2 / size / body.scale, light, (slice(0, size), slice(0, size)))


def crop_view(view: View, body: Body, u: float, v: float, reach: float) -> View:
    """Crop a view to the square around a point of the body, so that drawing there costs less."""
    size = len(view.u)
    cos, sin = math.cos(body.angle), math.sin(body.angle)
    x = body.x + body.scale * (cos * u + sin * (v + MIDDLE))
    y = body.y + body.scale * (sin * u - cos * (v + MIDDLE))
    reach = reach * body.scale + 4 / size
    # Two pixels of margin for soft edges. Coordinates in [-1, 1] become pixels.
    rows, columns = (
        slice(
            max(math.floor((centre - reach + 1) / 2 * size), 0),
            max(math.ceil((centre + reach + 1) / 2 * size), 0),
        )
        for centre in (y, x)
    )
    return view._replace(u=view.u[rows, columns], v=view.v[rows, columns], window=(rows, columns))


def coverage(distance: Array, pixel: float) -> Array:
    """Return the share of each pixel that a shape covers, from the signed distance to its edge."""
    cover: Array = np.clip(0.5 - distance / pixel, 0, 1)
    return cover


def _ellipse(
    view: View, centre: tuple[float, float], half: tuple[float, float]
) -> tuple[Array, Array, Array]:
    """Return the signed distance to an ellipse, to first order, and the position in half axes."""
    p = (view.u - centre[0]) / half[0]
    q = (view.v - centre[1]) / half[1]
    radius = np.sqrt(p * p + q * q) + 1e-6
    steepness = np.sqrt((p / half[0]) ** 2 + (q / half[1]) ** 2) / radius + 1e-6
    return (radius - 1) / steepness, p, q


def _dome(colour: Array, p: Array, q: Array, light: tuple[float, float], gloss: float) -> Array:
    """Shade a dome of slopes p, q in [-1, 1]: Lambert's cosine, a dark rim and a highlight."""
    height = np.sqrt(np.clip(1.06 - p * p - q * q, 0.03, 1))
    facing = np.clip(0.6 * light[0] * p + 0.6 * light[1] * q + 0.8 * height, 0, 1)
    gleam = facing * facing
    for _ in range(3):
        gleam *= gleam  # the 16th power
    gleam = gloss * gleam
    lit: Array = colour * (0.28 + 0.76 * facing)
    return lit * (1 - gleam) + gleam


def _strokes(view: View, chains: Sequence[Sequence[Point]]) -> tuple[Array, Array]:
    """Return the signed distance to chains of tapered strokes, and the depth (0 rim, 1 middle)."""
    distance, depth = np.full_like(view.u, 9), np.zeros_like(view.u)  # 9: far away
    left = [chain for chain in chains if chain[-1][0] < 0]
    right = [chain for chain in chains if chain[-1][0] >= 0]
    # Each side is measured in a box of its own, since a distance to all strokes costs most.
    for side in (left, right):
        if not side:
            continue
        starts = [point for chain in side for point in chain[:-1]]
        ends = [point for chain in side for point in chain[1:]]
        start, end = (np.array(points, np.float32).T[..., None] for points in (starts, ends))
        box = _box(view, start, end)
        gap, width = _nearest_stroke(view.u[box], view.v[box], start, end)
        is_nearer = gap < distance[box]
        depth[box] = np.where(is_nearer, np.clip(-gap / width, 0, 1), depth[box])
        distance[box] = np.minimum(gap, distance[box])
    return distance, depth


def _box(view: View, start: Array, end: Array) -> npt.NDArray[np.bool_]:
    """Return which pixels (h, w) lie in the box around strokes, given as (3, strokes, 1)."""
    margin = start[2].max() + view.pixel  # the largest half width, and a soft edge
    u_low, v_low = np.minimum(start, end)[:2].min((1, 2)) - margin
    u_high, v_high = np.maximum(start, end)[:2].max((1, 2)) + margin
    box: npt.NDArray[np.bool_] = (
        (view.u > u_low) & (view.u < u_high) & (view.v > v_low) & (view.v < v_high)
    )
    return box


def _nearest_stroke(u: Array, v: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return the distance of pixels to the edge of the nearest stroke, and its half width there."""
    du, dv, dw = end - start
    a, b = u - start[0], v - start[1]  # (strokes, pixels); changed in place, to save time
    t = a * du
    t += b * dv
    t /= du * du + dv * dv
    np.clip(t, 0, 1, out=t)  # the position along each stroke that is nearest to the pixel
    a -= t * du
    b -= t * dv
    a *= a
    b *= b
    a += b
    width = t * dw
    width += start[2]
    gap = np.sqrt(a, out=a)
    gap -= width
    nearest = (gap.argmin(0), np.arange(u.size))
    return gap[nearest], width[nearest]


def _tubes(
    view: View, chains: Sequence[Sequence[Point]], colour: Array, rim: float, lift: float
) -> Layer:
    """Draw chains of strokes: `rim` of the colour at the edge, `lift` more along the middle."""
    distance, depth = _strokes(view, chains)
    shade = rim + lift * depth
    return Layer(coverage(distance, view.pixel), np.clip(colour * shade, 0, 1), view.window)


def elytra(view: View, body: Body, outline: str, pattern: str) -> dict[str, Layer]:
    """Draw the wing cases, and on them the pattern unless it is plain."""
    half = OUTLINES[outline]
    middle = FRONT - half[1]
    view = crop_view(view, body, 0, middle, 1.1 * max(half))
    egg = 1 + 0.1 * np.clip((view.v - middle) / half[1], -1, 1)  # wider in front
    distance, p, q = _ellipse(view._replace(u=view.u / egg), (0, middle), half)
    p, q = np.clip(p, -1, 1), np.clip(q, -1, 1)
    cover = coverage(distance, view.pixel)
    layers = {"elytra": Layer(cover, _shell(view, body.shell, p, q), view.window)}
    if pattern != "plain":
        marks = cover * _marks(view, body, pattern, half, p, q)
        layers["pattern"] = Layer(marks, _shell(view, body.marks, p, q), view.window)
    return layers


def _shell(view: View, colour: Array, p: Array, q: Array) -> Array:
    """Shade a colour as wing cases: one dome, a smaller one on each case, a seam and grooves."""
    bulge = np.where(p > 0, np.float32(0.22), np.float32(-0.22)) * (1 - np.abs(p))
    lit = _dome(colour, 0.9 * p - bulge, 0.9 * q, view.light, 0.75)
    seam = 0.6 * np.clip(1 - np.abs(view.u) / (0.018 + 0.6 * view.pixel), 0, 1)
    groove = 0.13
    visible = min(max(groove / (4 * view.pixel) - 1, 0), 1)  # coarse pixels have no grooves
    grooves = 0.06 * visible * (1 + np.cos(2 * math.pi / groove * p))
    shaded: Array = lit * ((1 - seam) * (1 - grooves))
    return shaded


def _bars(wave: Array, period: Array | float, pixel: float) -> Array:
    """Cover half of each period: where `wave`, in periods, is next to a whole number."""
    return coverage((np.abs(wave - np.round(wave)) - 0.25) * period, pixel)


def _marks(
    view: View, body: Body, kind: str, half: tuple[float, float], p: Array, q: Array
) -> Array:
    """Cover a bit under half of the wing cases; p, q: position across and along, in half axes."""
    if kind == "striped":
        return _stripes(view, body, half, p, q)
    if kind == "banded":
        return _bands(view, body, half, p, q)
    return _spots(view, body, half)


def _stripes(view: View, body: Body, half: tuple[float, float], p: Array, q: Array) -> Array:
    """Cover stripes along the body, which follow the outline."""
    count = 1.6 * body.frequency  # periods on each wing case
    bow = np.sqrt(np.clip(1 - q * q, 0.05, 1))
    return _bars(np.abs(p) / bow * count + 0.5, bow * half[0] / count, view.pixel)


def _bands(view: View, body: Body, half: tuple[float, float], p: Array, q: Array) -> Array:
    """Cover bands across the body, slightly curved."""
    count = 1.5 * body.frequency  # periods on half the length
    wave = (q + 0.14 * p * p) * count + body.phase
    return _bars(wave, half[1] / count, view.pixel)


def _spots(view: View, body: Body, half: tuple[float, float]) -> Array:
    """Cover discs in rows, every second row shifted by half; the two wing cases are mirrored."""
    gap = 0.36 / body.frequency
    down = (view.v - FRONT + half[1]) / gap + body.phase
    row = np.round(down)
    across = np.abs(view.u) / gap - 0.5 * (row % 2)
    to_disc = np.sqrt((across - np.round(across)) ** 2 + (down - row) ** 2)
    return coverage((to_disc - 0.37) * gap, view.pixel)


def abdomen(view: View, body: Body) -> Layer:
    """Draw the abdomen under the wing cases: pale, with rings, and inside every outline."""
    view = crop_view(view, body, 0, -0.42, 0.5)
    distance, p, q = _ellipse(view, (0, -0.42), (0.29, 0.46))
    rings = 0.85 + 0.15 * np.cos(16 * q)
    pale = _dome(rgb(0.62, 0.47, 0.33), p, q, view.light, 0.2)
    return Layer(coverage(distance, view.pixel), pale * rings, view.window)


def head(view: View, body: Body) -> Layer:
    """Draw thorax, skull and eyes, which count as one part."""
    view = crop_view(view, body, 0, 0.38, 0.42)
    black = rgb(0.05, 0.04, 0.04)
    bumps = (  # centre, half axes, colour, gloss
        ((0.0, 0.56), (0.22, 0.19), body.limbs * 1.5, 0.4),
        ((0.0, 0.26), (0.38, 0.22), body.limbs * 1.5, 0.5),
        ((-0.17, 0.62), (0.07, 0.08), black, 0.9),
        ((0.17, 0.62), (0.07, 0.08), black, 0.9),
    )
    cover, colour = np.zeros_like(view.u), np.zeros((3, *view.u.shape), np.float32)
    for centre, half, paint, gloss in bumps:
        distance, p, q = _ellipse(view, centre, half)
        bump = coverage(distance, view.pixel)
        # Over another bump, this one's colour counts by its coverage; elsewhere it is the colour.
        share = np.where(cover > 0, bump, np.float32(1))
        colour = colour + (_dome(paint, p, q, view.light, gloss) - colour) * share
        cover = np.maximum(cover, bump)
    return Layer(cover, colour, view.window)


def horn(view: View, body: Body, kind: str) -> Layer:
    """Draw a horn on the head: one curved spike, or a stem that forks."""
    view = crop_view(view, body, 0, 0.95, 0.58)
    if kind == "single":
        chains = [[(0.0, 0.6, 0.13), (0.0, 0.9, 0.115), (0.0, 1.15, 0.085), (0.02, 1.42, 0.03)]]
    else:
        prong = ((0.0, 0.92, 0.11), (0.27, 1.12, 0.095), (0.34, 1.4, 0.05))
        chains = [[(side * u, v, w) for u, v, w in prong] for side in (-1, 1)]
        chains.append([(0.0, 0.6, 0.125), (0.0, 0.95, 0.11)])
    return _tubes(view, chains, body.trim, 0.6, 0.8)


# The right antenna of each kind, from its root.
_FEELERS: dict[str, tuple[Point, ...]] = {
    "short": ((0.14, 0.66, 0.05), (0.29, 0.8, 0.045), (0.44, 0.84, 0.035)),
    "long": (
        (0.14, 0.66, 0.05),
        (0.38, 0.96, 0.06),
        (0.72, 1.08, 0.056),
        (1.02, 0.94, 0.05),
        (1.2, 0.62, 0.035),
    ),
    "clubbed": (
        (0.14, 0.66, 0.045),
        (0.38, 0.9, 0.045),
        (0.6, 1.0, 0.045),
        (0.69, 1.03, 0.185),
        (0.77, 1.05, 0.17),
    ),
}


def antennae(view: View, body: Body, kind: str) -> Layer:
    """Draw two antennae: short, long and curved, or ending in a club."""
    view = crop_view(view, body, 0, 0.85, {"short": 0.6, "long": 1.4, "clubbed": 1.1}[kind])
    root_u, root_v, _ = _FEELERS[kind][0]
    chains = []
    for side, turn in zip((-1, 1), body.feelers, strict=True):
        cos, sin = math.cos(side * turn), math.sin(side * turn)
        chain = []
        for u, v, width in _FEELERS[kind]:  # mirrored to its side and turned about its root
            a, b = side * (u - root_u), v - root_v
            chain.append((side * root_u + cos * a - sin * b, root_v + sin * a + cos * b, width))
        chains.append(chain)
    return _tubes(view, chains, body.trim, 0.6, 0.8)


def legs(view: View, body: Body) -> Layer:
    """Draw six legs of three segments, thigh, shin and foot, each joint turned a little."""
    # For each pair: v of its root, and the turns of thigh, shin and foot.
    pairs = ((0.16, 0.4, 0.45, -0.5), (-0.12, -0.15, -0.3, -0.5), (-0.42, -0.65, -0.55, -0.3))
    chains = []
    for pair, (root, *joints) in enumerate(pairs):
        for number, side in enumerate((-1, 1)):
            turns = joints + body.legs[2 * pair + number]
            chains.append(_leg(side, root, turns))
    return _tubes(view, chains, body.limbs, 0.75, 1.1)


def _leg(side: int, root: float, turns: Array) -> list[Point]:
    """Return the joints of one leg; side is -1 for left and 1 for right."""
    u, v, angle = 0.28, root, 0.0
    chain = [(side * u, v, 0.075)]
    for turn, length, width in zip(turns, (0.4, 0.36, 0.2), (0.06, 0.036, 0.024), strict=True):
        angle += float(turn)
        u, v = u + length * math.cos(angle), v + length * math.sin(angle)
        chain.append((side * u, v, width))
    return chain


def label(body: Body, size: int) -> Layer:
    """Draw a museum label: a paper card with three lines of print, in the lower right corner."""
    x, y = pixel_grid(size)
    shift_x, shift_y, turn = (float(value) for value in body.label)
    dx, dy = x - 0.66 - 0.06 * shift_x, y - 0.76 - 0.04 * shift_y
    cos, sin = math.cos(0.12 * turn), math.sin(0.12 * turn)
    a, b = cos * dx + sin * dy, cos * dy - sin * dx
    edge = np.maximum(np.abs(a) - 0.25, np.abs(b) - 0.16)
    ink = np.zeros_like(a)
    for line, length in ((-0.085, 0.19), (0.0, 0.13), (0.085, 0.17)):
        stroke = np.maximum(np.abs(a + 0.19 - length) - length, np.abs(b - line) - 0.016)
        ink = np.maximum(ink, coverage(stroke, 2 / size))
    rim = 1 - 0.12 * np.clip(1 + edge / 0.03, 0, 1)
    paper = rgb(0.95, 0.92, 0.82) * (rim * (1 - 0.75 * ink))
    return Layer(coverage(edge, 2 / size), paper, (slice(0, size), slice(0, size)))


def shadow(view: View) -> Array:
    """Share of light on the background (H, W): a soft oval, the same for every species."""
    p = (view.u + 0.13 * view.light[0]) / 0.8
    q = (view.v + 0.13 * view.light[1] + 0.32) / 1.1
    reach = p * p + q * q
    kept: Array = 1 - 0.62 * np.exp(-reach * np.sqrt(reach))
    return kept
