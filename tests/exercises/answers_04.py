"""Right and wrong answers to the exercises of lesson 04: (check, answer) and what a check says."""

from xai_course.exercises.lesson_04 import check_same_gates, check_shared


def adds(gradient, images):
    return (gradient * images).sum((1, 2, 3))


def shared(first, second):
    return ((first > 0) == (second > 0)).float().mean((1, 2, 3))


RIGHT = [
    (check_same_gates, lambda f, g, x, y: f + adds(g, y - x)),
    (check_same_gates, lambda f, g, x, y: f - adds(g, x) + adds(g, y)),
    (check_shared, shared),
]
WRONG = [
    (check_same_gates, lambda f, g, x, y: adds(g, y), "biases add to its logit"),
    (check_same_gates, lambda f, g, x, y: f + adds(g, y), "take that away"),
    (check_same_gates, lambda f, g, x, y: adds(g, y - x), "difference of the two"),
    (check_same_gates, lambda f, g, x, y: f + adds(g, x - y), "wrong way round"),
    (check_same_gates, lambda f, g, x, y: f - adds(g, x), "what the biases add"),
    (check_same_gates, lambda f, g, x, y: f, "do not give the same logit"),
    (check_same_gates, lambda f, g, x, y: f + (y - x).sum((1, 2, 3)), "pixels alone"),
    (check_same_gates, lambda f, g, x, y: f + (g * (y - x)).sum(), "sums over the images"),
    (check_same_gates, lambda f, g, x, y: f + 1, "one for each image"),
    (check_shared, lambda a, b: ((a > 0) & (b > 0)).float().mean((1, 2, 3)), "closed in both"),
    (check_shared, lambda a, b: (a == b).float().mean((1, 2, 3)), "compares the outputs"),
    (check_shared, lambda a, b: ((a >= 0) == (b >= 0)).float().mean((1, 2, 3)), "never below"),
    (check_shared, lambda a, b: shared(a, b).mean().expand(4), "averages over"),
    (check_shared, lambda a, b: 1 - shared(a, b), "differ"),
    (check_shared, lambda a, b: 180 * shared(a, b), "divide by"),
    (check_shared, lambda a, b: shared(a, b) / 2, "Of each pair"),
    (
        check_shared,
        lambda a, b: (
            ((a > 0) & (b > 0)).float().sum((1, 2, 3)) / ((a > 0) | (b > 0)).float().sum((1, 2, 3))
        ),
        "Intersection",
    ),
]
