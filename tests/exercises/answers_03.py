"""Right and wrong answers to the exercises of lesson 03: (check, answer) and what a check says."""

from xai_course.exercises.lesson_03 import check_bias_share, check_guided, check_shared


def bias_share(logit, gradient, images):
    return (logit - (gradient * images).sum((1, 2, 3))) / logit


def shared(first, second):
    return ((first > 0) == (second > 0)).float().mean((1, 2, 3))


RIGHT = [
    (check_guided, lambda inputs, grad: grad * (inputs > 0) * (grad > 0)),
    (check_guided, lambda inputs, grad: grad.clamp(min=0).where(inputs > 0, 0)),
    (check_bias_share, bias_share),
    (check_shared, shared),
]
WRONG = [
    (check_guided, lambda inputs, grad: grad * (inputs > 0), "uses the input alone"),
    (check_guided, lambda inputs, grad: grad * (grad > 0), "uses the gradient alone"),
    (check_guided, lambda inputs, grad: grad.abs() * (inputs > 0), "negative gradients positive"),
    (check_guided, lambda inputs, grad: (inputs > 0) & (grad > 0), "stay open"),
    (check_guided, lambda inputs, grad: inputs * (inputs > 0) * (grad > 0), "*input*"),
    (check_guided, lambda inputs, grad: inputs.relu() * grad.relu(), "multiplies by the input"),
    (check_guided, lambda inputs, grad: inputs.relu() * grad, "multiplies by the input"),
    (check_guided, lambda inputs, grad: (inputs * grad).relu(), "Two negative"),
    (check_guided, lambda inputs, grad: grad + inputs, "both above 0"),
    (check_guided, lambda inputs, grad: grad.sum(), "shape ()"),
    (check_bias_share, lambda f, g, x: (g * x).sum((1, 2, 3)) / f, "image's share"),
    (check_bias_share, lambda f, g, x: f - (g * x).sum((1, 2, 3)), "in logits"),
    (check_bias_share, lambda f, g, x: (f - g.sum((1, 2, 3))) / f, "multiply it"),
    (check_bias_share, lambda f, g, x: bias_share(f, g, x).mean().expand(3), "averages"),
    (check_bias_share, lambda f, g, x: (f - (g * x).sum()) / f, "sums over the images"),
    (check_bias_share, lambda f, g, x: bias_share(f, g, x).abs(), "drops the sign"),
    (check_bias_share, lambda f, g, x: f / (g * x).sum((1, 2, 3)) - 1, "divides by"),
    (check_bias_share, lambda f, g, x: bias_share(f, g, x) + 1, "one for each image"),
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
