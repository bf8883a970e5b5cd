"""A network's answers: their names, and how sure it is of them.

A network with several logits names one of several classes. A network with one logit says yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xai_course.core.outputs import class_probabilities

__all__ = ["answer_names", "answer_probabilities"]


def answer_names(names: Sequence[str] | None, logits: int) -> tuple[str, ...]:
    """Return the names of a network's answers.

    Args:
        names: of the classes, one for each logit; None for "class 0", "class 1", ... For one logit:
            the name of yes, or the names of no and yes; None for "no" and "yes".
        logits: how many there are.

    Returns:
        A name for each logit; for one logit the names of no and yes.

    Raises:
        ValueError: for another number of names.

    Example:
        >>> from xai_course.report import answer_names
        >>> answer_names(None, 2), answer_names(["beetle"], 1)
        (('class 0', 'class 1'), ('not beetle', 'beetle'))
    """
    if not names:
        return ("no", "yes") if logits == 1 else tuple(f"class {k}" for k in range(logits))
    if logits == 1 and len(names) == 1:
        return (f"not {names[0]}", names[0])
    if len(names) != max(logits, 2):
        must = (
            "the name of yes, or the names of no and yes, as the network has 1 logit."
            if logits == 1
            else f"one name for each of the network's {logits} logits."
        )
        raise ValueError(f"labels: got {len(names)} names; must be {must}")
    return tuple(names)


def answer_probabilities(outputs: Tensor, kind: str = "logits") -> Tensor:
    """Return the probability of each answer: of logits the softmax, or of one logit the sigmoid.

    Args:
        outputs: (N, classes), of the network.
        kind: what they are, "logits", "probabilities" or "log-probabilities".

    Returns:
        (N, classes); for one output (N, 2), of no and of yes.

    Example:
        >>> import torch
        >>> from xai_course.report import answer_probabilities
        >>> answer_probabilities(torch.tensor([[0.0], [-3.0]]))
        tensor([[0.5000, 0.5000],
                [0.9526, 0.0474]])
    """
    if kind == "logits":
        probabilities = class_probabilities(outputs)
    else:
        probabilities = outputs.exp() if kind == "log-probabilities" else outputs
    if outputs.shape[1] == 1:
        return torch.cat([1 - probabilities, probabilities], 1)
    return probabilities
