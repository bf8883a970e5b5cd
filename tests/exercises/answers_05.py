"""Right and wrong answers to the exercises of lesson 05: (check, answer) and what a check says."""

from xai_course.exercises.lesson_05 import check_class_part, check_guided


def energy(found):
    return found.square().sum((1, 2, 3))


def unit(found):
    return found / energy(found).sqrt()[:, None, None, None]


def raw(first, second):
    return energy(first - second) / (energy(first - second) + energy(first + second))


def part(first, second):
    return raw(unit(first), unit(second))


def cosine(first, second):
    return (unit(first) * unit(second)).sum((1, 2, 3))


RIGHT = [
    (check_guided, lambda inputs, grad: grad * (inputs > 0) * (grad < 0)),
    (check_guided, lambda inputs, grad: grad.clamp(max=0).where(inputs > 0, 0)),
    (check_class_part, part),
    (check_class_part, lambda a, b: (1 - cosine(a, b)) / 2),
]
WRONG = [
    (check_guided, lambda inputs, grad: grad * (inputs > 0), "uses the input alone"),
    (check_guided, lambda inputs, grad: grad * (inputs > 0) * (grad > 0), "return what it drops"),
    (check_guided, lambda inputs, grad: grad * (grad < 0), "uses the gradient alone"),
    (check_guided, lambda inputs, grad: grad * ~((inputs > 0) & (grad > 0)), "to a closed gate"),
    (check_guided, lambda inputs, grad: grad.clamp(max=0).abs() * (inputs > 0), "keep the sign"),
    (check_guided, lambda inputs, grad: (inputs > 0) & (grad < 0), "the gradient at these places"),
    (check_guided, lambda inputs, grad: inputs * (inputs > 0) * (grad < 0), "*input*"),
    (check_guided, lambda inputs, grad: inputs.relu() * grad.clamp(max=0), "multiplies by the"),
    (check_guided, lambda inputs, grad: grad + inputs, "the number is below"),
    (check_guided, lambda inputs, grad: grad.sum(), "shape ()"),
    (check_class_part, raw, "length 1"),
    (check_class_part, lambda a, b: 1 - part(a, b), "what both share"),
    (check_class_part, lambda a, b: part(a, b) / (1 - part(a, b)), "sum's squares"),
    (check_class_part, lambda a, b: 4 * part(a, b), "divide by those of both"),
    (check_class_part, lambda a, b: energy(unit(a) - unit(b)), "divide by those of both"),
    (check_class_part, cosine, "cosine"),
    (
        check_class_part,
        lambda a, b: 1 / (1 + (1 / part(a, b) - 1).sqrt()),
        "divides lengths",
    ),
    (check_class_part, lambda a, b: part(a, b).mean().expand(4), "averages"),
    (
        check_class_part,
        lambda a, b: raw(*(m / m.abs().amax((1, 2, 3), keepdim=True) for m in (a, b))),
        "largest value",
    ),
    (check_class_part, lambda a, b: part(a, b) + 1, "by its length"),
    (check_class_part, lambda a, b: part(a, b).mean(), "shape ()"),
]
