"""How a beetle is drawn: each part is a coverage (how much of a pixel it takes) and a colour.

Shapes are signed distances d in body units (negative inside). A pixel of width w is covered by
clip(1/2 - d / w, 0, 1), which draws smooth edges at any size. Body coordinates: u across, v along
the body towards the head. Light comes from one side; shading is Lambert's cosine with a highlight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xai_course.beetlebox.backgrounds import Array, hsv, pixel_grid, rgb

OUTLINES = {
    "round": (0.64, 0.64),
    "oval": (0.54, 0.76),
    "long": (0.385, 1.06),
}  # half axes; the areas are equal
FRONT = 0.24  # v at which the wing cases begin
MIDDLE = 0.23  # v of the middle of a body, which is what its x and y place, is -MIDDLE


Point = tuple[float, float, float]  # u, v and half width of a stroke


class Body(NamedTuple):
    """What varies freely from scene to scene and says nothing of the species."""

    x: float
    y: float
    angle: float
    scale: float
    light: float  # direction that the light comes from, radians in the picture
    brightness: float
    grain: float  # standard deviation of the camera's noise
    legs: Array  # (6, 3) small turns of the leg joints
    feelers: Array  # (2,) small turns of the antennae
    frequency: float  # of the pattern, relative
    phase: float  # of the pattern, in periods
    shell: Array  # (3, 1, 1) colour of the wing cases
    marks: Array  # (3, 1, 1) colour of the pattern
    limbs: Array  # (3, 1, 1) colour of head and legs
    trim: Array  # (3, 1, 1) colour of horn and antennae, bright enough to be seen on any ground
    label: Array  # (3,) shift in x and in y, and turn, of the museum label


class View(NamedTuple):
    """Where the pixels of a window lie on the body: u, v (h, w), and what drawing needs to know."""

    u: Array
    v: Array
    pixel: float  # width of a pixel in body units
    light: tuple[float, float]  # direction that the light comes from
    place: tuple[slice, slice]  # rows and columns of the window in the picture


class Layer(NamedTuple):
    """One part on its own: coverage (h, w) in [0, 1] and colour (3, h, w) in a window."""

    cover: Array
    colour: Array
    place: tuple[slice, slice]


def draw_body(seed: int) -> Body:
    """Draw pose, light and colours of a seed, in a fixed order, whatever the species."""
    rng = np.random.default_rng((seed, 1))
    scale = rng.uniform(0.44, 0.6)
    stray = 1 - 1.65 * scale  # a small beetle may stray further and still be whole in the picture
    deep = hsv(rng.uniform(0, 1), rng.uniform(0.45, 0.95), rng.uniform(0.15, 0.45))
    bright = hsv(rng.uniform(0, 1), rng.uniform(0.3, 0.85), rng.uniform(0.75, 0.98))
    shell, marks = (deep, bright) if rng.random() < 0.5 else (bright, deep)
    return Body(
        x=rng.uniform(-stray, stray),
        y=rng.uniform(-stray, stray),
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
    """Find where the pixels of a picture of this size lie on the body."""
    x, y = pixel_grid(size)
    dx, dy = (x - body.x) / body.scale, (y - body.y) / body.scale
    cos, sin = math.cos(body.angle), math.sin(body.angle)
    light_x, light_y = math.cos(body.light), math.sin(body.light)
    light = (cos * light_x + sin * light_y, sin * light_x - cos * light_y)
    u, v = cos * dx + sin * dy, sin * dx - cos * dy - MIDDLE
    return View(u, v, 2 / size / body.scale, light, (slice(0, size), slice(0, size)))


def near(view: View, body: Body, u: float, v: float, reach: float) -> View:
    """Cut a view down to the window around a place on the body: what is drawn there costs less."""
    size = len(view.u)
    cos, sin = math.cos(body.angle), math.sin(body.angle)
    x = body.x + body.scale * (cos * u + sin * (v + MIDDLE))
    y = body.y + body.scale * (sin * u - cos * (v + MIDDLE))
    reach = reach * body.scale + 4 / size
    rows, columns = (
        slice(
            max(math.floor((c - reach + 1) / 2 * size), 0),
            max(math.ceil((c + reach + 1) / 2 * size), 0),
        )
        for c in (y, x)
    )
    return view._replace(u=view.u[rows, columns], v=view.v[rows, columns], place=(rows, columns))


def _cover(distance: Array, pixel: float) -> Array:
    cover: Array = np.clip(0.5 - distance / pixel, 0, 1)
    return cover


def _ellipse(
    view: View, centre: tuple[float, float], half: tuple[float, float]
) -> tuple[Array, Array, Array]:
    """Signed distance to an ellipse, to first order, and the place within it in half axes."""
    p = (view.u - centre[0]) / half[0]
    q = (view.v - centre[1]) / half[1]
    radius = np.sqrt(p * p + q * q) + 1e-6
    slope = np.sqrt((p / half[0]) ** 2 + (q / half[1]) ** 2) / radius + 1e-6
    return (radius - 1) / slope, p, q


def _dome(colour: Array, p: Array, q: Array, light: tuple[float, float], gloss: float) -> Array:
    """Shade a dome with slopes p and q in [-1, 1]: Lambert's cosine, dark rim and highlight."""
    height = np.sqrt(np.clip(1.06 - p * p - q * q, 0.03, 1))
    facing = np.clip(0.6 * light[0] * p + 0.6 * light[1] * q + 0.8 * height, 0, 1)
    gleam = facing * facing
    for _ in range(3):
        gleam *= gleam  # the 16th power
    gleam = gloss * gleam
    lit: Array = colour * (0.28 + 0.76 * facing)
    return lit * (1 - gleam) + gleam


def _strokes(view: View, chains: Sequence[Sequence[Point]]) -> tuple[Array, Array]:
    """Signed distance to chains of tapered strokes, and how deep inside (0 rim, 1 middle)."""
    distance, depth = np.full_like(view.u, 9), np.zeros_like(view.u)  # 9: far away
    left = [chain for chain in chains if chain[-1][0] < 0]
    right = [chain for chain in chains if chain[-1][0] >= 0]
    for side in filter(None, (left, right)):  # each in a window of its own
        start = np.array([point for chain in side for point in chain[:-1]], np.float32).T[..., None]
        end = np.array([point for chain in side for point in chain[1:]], np.float32).T[..., None]
        margin = start[2].max() + view.pixel
        u_low, v_low = np.minimum(start, end)[:2].min((1, 2)) - margin
        u_high, v_high = np.maximum(start, end)[:2].max((1, 2)) + margin
        inside = (view.u > u_low) & (view.u < u_high) & (view.v > v_low) & (view.v < v_high)
        u, v = view.u[inside], view.v[inside]
        du, dv, dw = end - start
        a, b = u - start[0], v - start[1]  # (strokes, pixels); changed in place to save time
        t = a * du
        t += b * dv
        t /= du * du + dv * dv
        np.clip(t, 0, 1, out=t)  # the place along each stroke that is nearest to the pixel
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
        gap, before = gap[nearest], distance[inside]
        within = np.clip(-gap / width[nearest], 0, 1)
        depth[inside] = np.where(gap < before, within, depth[inside])
        distance[inside] = np.minimum(gap, before)
    return distance, depth


def _tubes(
    view: View, chains: Sequence[Sequence[Point]], colour: Array, rim: float, lift: float
) -> Layer:
    """Draw chains of strokes: `rim` of the colour at the edge, `lift` more along the middle."""
    distance, depth = _strokes(view, chains)
    shade = rim + lift * depth
    return Layer(_cover(distance, view.pixel), np.clip(colour * shade, 0, 1), view.place)


def elytra(view: View, body: Body, outline: str, pattern: str) -> dict[str, Layer]:
    """Draw the wing cases, and on them the pattern unless it is plain."""
    half = OUTLINES[outline]
    middle = FRONT - half[1]
    view = near(view, body, 0, middle, 1.1 * max(half))
    egg = 1 + 0.1 * np.clip((view.v - middle) / half[1], -1, 1)  # wider in front
    distance, p, q = _ellipse(view._replace(u=view.u / egg), (0, middle), half)
    p, q = np.clip(p, -1, 1), np.clip(q, -1, 1)
    cover = _cover(distance, view.pixel)
    layers = {"elytra": Layer(cover, _shell(view, body.shell, p, q), view.place)}
    if pattern != "plain":
        marks = cover * _marks(view, body, pattern, half, p, q)
        layers["pattern"] = Layer(marks, _shell(view, body.marks, p, q), view.place)
    return layers


def _shell(view: View, colour: Array, p: Array, q: Array) -> Array:
    """Shade a colour as wing cases: a dome, bent again for each of the two, seam and grooves."""
    bend = np.where(p > 0, np.float32(0.22), np.float32(-0.22)) * (1 - np.abs(p))
    lit = _dome(colour, 0.9 * p - bend, 0.9 * q, view.light, 0.75)
    seam = 0.6 * np.clip(1 - np.abs(view.u) / (0.018 + 0.6 * view.pixel), 0, 1)
    groove = 0.13
    visible = min(max(groove / (4 * view.pixel) - 1, 0), 1)  # coarse pixels show no grooves
    grooves = 0.06 * visible * (1 + np.cos(2 * math.pi / groove * p))
    shaded: Array = lit * ((1 - seam) * (1 - grooves))
    return shaded


def _bars(wave: Array, period: Array | float, pixel: float) -> Array:
    """Cover half of each period: where `wave`, in periods, is next to a whole number."""
    return _cover((np.abs(wave - np.round(wave)) - 0.25) * period, pixel)


def _marks(
    view: View, body: Body, kind: str, half: tuple[float, float], p: Array, q: Array
) -> Array:
    """Cover a bit under half of the wing cases; p, q: the place within them, across and along."""
    if kind == "striped":  # along the body, following the outline
        count = 1.6 * body.frequency  # periods on each wing case
        bow = np.sqrt(np.clip(1 - q * q, 0.05, 1))
        return _bars(np.abs(p) / bow * count + 0.5, bow * half[0] / count, view.pixel)
    if kind == "banded":  # across the body, slightly bowed
        count = 1.5 * body.frequency  # periods on half the length
        wave = (q + 0.14 * p * p) * count + body.phase
        return _bars(wave, half[1] / count, view.pixel)
    gap = 0.36 / body.frequency  # discs in staggered rows, the two wing cases mirrored
    down = (view.v - FRONT + half[1]) / gap + body.phase
    row = np.round(down)
    across = np.abs(view.u) / gap - 0.5 * (row % 2)
    to_disc = np.sqrt((across - np.round(across)) ** 2 + (down - row) ** 2)
    return _cover((to_disc - 0.37) * gap, view.pixel)


def abdomen(view: View, body: Body) -> Layer:
    """Draw what lies under the wing cases: pale, ringed, and inside every outline."""
    view = near(view, body, 0, -0.42, 0.5)
    distance, p, q = _ellipse(view, (0, -0.42), (0.29, 0.46))
    rings = 0.85 + 0.15 * np.cos(16 * q)
    pale = _dome(rgb(0.62, 0.47, 0.33), p, q, view.light, 0.2)
    return Layer(_cover(distance, view.pixel), pale * rings, view.place)


def head(view: View, body: Body) -> Layer:
    """Draw thorax, skull and eyes, which count as one part."""
    view = near(view, body, 0, 0.38, 0.42)
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
        bump = _cover(distance, view.pixel)
        colour = colour + (_dome(paint, p, q, view.light, gloss) - colour) * np.where(
            cover > 0, bump, np.float32(1)
        )
        cover = np.maximum(cover, bump)
    return Layer(cover, colour, view.place)


def horn(view: View, body: Body, kind: str) -> Layer:
    """Draw a horn on the head: one curved spike, or a stem that forks."""
    view = near(view, body, 0, 0.95, 0.58)
    if kind == "single":
        chains = [[(0.0, 0.6, 0.13), (0.0, 0.9, 0.115), (0.0, 1.15, 0.085), (0.02, 1.42, 0.03)]]
    else:
        prong = ((0.0, 0.92, 0.11), (0.27, 1.12, 0.095), (0.34, 1.4, 0.05))
        chains = [[(side * u, v, w) for u, v, w in prong] for side in (-1, 1)]
        chains.append([(0.0, 0.6, 0.125), (0.0, 0.95, 0.11)])
    return _tubes(view, chains, body.trim, 0.6, 0.8)


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
    view = near(view, body, 0, 0.85, {"short": 0.6, "long": 1.4, "clubbed": 1.1}[kind])
    chains = []
    for side, turn in zip((-1, 1), body.feelers, strict=True):
        cos, sin = math.cos(side * turn), math.sin(side * turn)
        root_u, root_v, _ = _FEELERS[kind][0]
        chain = []
        for u, v, width in _FEELERS[kind]:
            a, b = side * (u - root_u), v - root_v
            chain.append((side * root_u + cos * a - sin * b, root_v + sin * a + cos * b, width))
        chains.append(chain)
    return _tubes(view, chains, body.trim, 0.6, 0.8)


def legs(view: View, body: Body) -> Layer:
    """Draw six legs of three segments, thigh, shin and foot, each joint turned a little."""
    pairs = ((0.16, 0.4, 0.45, -0.5), (-0.12, -0.15, -0.3, -0.5), (-0.42, -0.65, -0.55, -0.3))
    chains = []
    for k, (root, thigh, knee, ankle) in enumerate(pairs):
        for i, side in enumerate((-1, 1)):
            u, v, angle = 0.28, root, 0.0
            chain = [(side * u, v, 0.075)]
            bends = (thigh, knee, ankle) + body.legs[2 * k + i]
            for bend, length, width in zip(
                bends, (0.4, 0.36, 0.2), (0.06, 0.036, 0.024), strict=True
            ):
                angle += float(bend)
                u, v = u + length * math.cos(angle), v + length * math.sin(angle)
                chain.append((side * u, v, width))
            chains.append(chain)
    return _tubes(view, chains, body.limbs, 0.75, 1.1)


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
        ink = np.maximum(ink, _cover(stroke, 2 / size))
    rim = 1 - 0.12 * np.clip(1 + edge / 0.03, 0, 1)
    paper = rgb(0.95, 0.92, 0.82) * (rim * (1 - 0.75 * ink))
    return Layer(_cover(edge, 2 / size), paper, (slice(0, size), slice(0, size)))


def shadow(view: View) -> Array:
    """Share of light that the ground keeps (H, W): a soft oval, the same for every species."""
    p = (view.u + 0.13 * view.light[0]) / 0.8
    q = (view.v + 0.13 * view.light[1] + 0.32) / 1.1
    reach = p * p + q * q
    kept: Array = 1 - 0.62 * np.exp(-reach * np.sqrt(reach))
    return kept
