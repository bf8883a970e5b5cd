"""Right and wrong answers to the exercises of lesson 01: (check, answer) and what a check says."""

from dataclasses import fields

from xai_course.beetlebox import Traits
from xai_course.exercises.lesson_01 import check_differing, check_effect, check_pixels

COLUMN = (slice(None), None, None)


def shared(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) == getattr(second, f.name)]


def differing(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) != getattr(second, f.name)]


RIGHT = [
    (check_pixels, lambda images, mean, std: images * std[COLUMN] + mean[COLUMN]),
    (check_effect, lambda logit, scene, part: logit(scene) - logit(scene.without(part))),
    (check_differing, differing),
]
WRONG = [
    (check_pixels, lambda i, m, s: (i + m[COLUMN]) * s[COLUMN], "undo that last"),
    (check_pixels, lambda i, m, s: (i - m[COLUMN]) / s[COLUMN], "once more"),
    (check_pixels, lambda i, m, s: (i * s[COLUMN] + m[COLUMN]).clamp(0, 1), "clips"),
    (check_pixels, lambda i, m, s: i * m[COLUMN] + s[COLUMN], "are exchanged"),
    (check_pixels, lambda i, m, s: 255 * (i * s[COLUMN] + m[COLUMN]), "0 to 255"),
    (check_pixels, lambda i, m, s: i * s + m, "stopped with RuntimeError"),
    (check_pixels, lambda i, m, s: i[0], "shape (3, 5, 7)"),
    (check_effect, lambda f, scene, part: f(scene.without(part)) - f(scene), "sign"),
    (check_effect, lambda f, scene, part: f(scene.without(part)), "without the part"),
    (check_effect, lambda f, scene, part: f(scene) - f(scene.without("legs")), "with it and"),
    (check_effect, lambda f, scene, part: abs(f(scene) - f(scene.without(part))), "sign"),
    (check_effect, lambda f, scene, part: "large", "a number"),
    (check_differing, shared, "share"),
    (check_differing, lambda a, b: [getattr(b, n) for n in differing(a, b)], "are values"),
    (check_differing, lambda a, b: differing(a, b)[:1], "differ in"),
    (check_differing, lambda a, b: len(differing(a, b)), "a list of names"),
]
