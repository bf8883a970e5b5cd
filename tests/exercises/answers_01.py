"""Right and wrong answers to the exercises of lesson 01: (check, answer) and what a check says."""

from dataclasses import fields

from xai_course.beetlebox import Traits
from xai_course.exercises.lesson_01 import check_differing, check_interaction, check_pixels

COLUMN = (slice(None), None, None)


def shared(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) == getattr(second, f.name)]


def differing(first, second):
    return [f.name for f in fields(Traits) if getattr(first, f.name) != getattr(second, f.name)]


def effect(logit, scene, part):
    return logit(scene) - logit(scene.without(part))


def interaction(logit, scene, first, other):
    return effect(logit, scene, first) - effect(logit, scene.without(other), first)


def together(logit, scene, first, other):
    """The same number, from the effect of both parts at once."""
    both = logit(scene) - logit(scene.without(first).without(other))
    return effect(logit, scene, first) + effect(logit, scene, other) - both


RIGHT = [
    (check_pixels, lambda images, mean, std: images * std[COLUMN] + mean[COLUMN]),
    (check_interaction, interaction),
    (check_interaction, together),
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
    (check_interaction, lambda *given: -interaction(*given), "sign"),
    (check_interaction, lambda *given: abs(interaction(*given)), "sign"),
    (check_interaction, lambda f, scene, a, b: effect(f, scene, a), "is there. Asked"),
    (check_interaction, lambda f, scene, a, b: effect(f, scene, b), "effect of the"),
    (check_interaction, lambda f, scene, a, b: effect(f, scene.without(b), a), "is gone. Asked"),
    (
        check_interaction,
        lambda f, scene, a, b: f(scene) - f(scene.without(a).without(b)),
        "both parts together",
    ),
    (
        check_interaction,
        lambda f, scene, a, b: effect(f, scene, a) - effect(f, scene, b),
        "two single effects",
    ),
    (check_interaction, lambda f, scene, a, b: 0.0, "it gives"),
    (check_interaction, lambda f, scene, a, b: "large", "a number"),
    (check_differing, shared, "share"),
    (check_differing, lambda a, b: [getattr(b, n) for n in differing(a, b)], "are values"),
    (check_differing, lambda a, b: differing(a, b)[:1], "differ in"),
    (check_differing, lambda a, b: len(differing(a, b)), "a list of names"),
]
