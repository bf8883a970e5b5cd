"""What a classifier returns: logits, probabilities or their logarithms; and the probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_course.core.graph import LAYER_STEPS, step_kind

__all__ = ["check_two_classes", "class_probabilities", "output_kind"]

# The last step of a model's graph, without "Backward" and its number: what the output is.
LAST_STEPS = {
    "LogSigmoid": "log-probabilities",
    "LogSoftmax": "log-probabilities",
    "Sigmoid": "probabilities",
    "Softmax": "probabilities",
}
RESHAPING = frozenset((
    "Alias", "Cat", "Clone", "Expand", "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze",
    "Stack", "ToCopy", "Transpose", "Unsqueeze", "View",
))  # fmt: skip


def output_kind(outputs: Tensor) -> str:
    """Tell what a classifier's outputs are: by the last step of their graph, else by their values.

    Args:
        outputs: (N, classes), best with their graph.

    Returns:
        "logits", "probabilities" (softmax or sigmoid) or "log-probabilities". Without a graph,
        sigmoids of several classes cannot be told from logits and count as logits.

    Example:
        >>> import torch
        >>> from xai_course.core import output_kind
        >>> logits = torch.tensor([[2.0, -1.0]])
        >>> [output_kind(each) for each in (logits, logits.softmax(1), logits.log_softmax(1))]
        ['logits', 'probabilities', 'log-probabilities']
    """
    step = outputs.grad_fn
    while step is not None:
        kind = step_kind(step)
        if kind in LAST_STEPS or kind in LAYER_STEPS or kind == "AccumulateGrad":
            return LAST_STEPS.get(kind, "logits")
        step = step.next_functions[0][0] if kind in RESHAPING else None
    values = outputs.detach().double()
    if values.shape[1] > 1:
        tolerance = 10 * torch.finfo(outputs.dtype).eps ** 0.5
        if (values >= 0).all() and ((values.sum(1) - 1).abs() < tolerance).all():
            return "probabilities"
        if (values.logsumexp(1).abs() < tolerance).all():
            return "log-probabilities"
    return "logits"


def class_probabilities(logits: Tensor) -> Tensor:
    """Return probabilities: the softmax over the classes, or the sigmoid of a single logit.

    A network with one logit answers yes or no: its logit is that of "yes".

    Args:
        logits: (N, classes).

    Returns:
        Probabilities (N, classes).

    Raises:
        ValueError: if these are probabilities already.

    Example:
        >>> import torch
        >>> from xai_course.core import class_probabilities
        >>> class_probabilities(torch.tensor([[-2.9444]])).round(decimals=4)
        tensor([[0.0500]])
    """
    if output_kind(logits) == "probabilities":
        raise ValueError(
            "model: got probabilities; must return logits, without softmax or sigmoid at its end."
        )
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def check_two_classes(logits: Tensor) -> None:
    """Check that a model has more than one logit, where its answer is the class of the largest.

    Args:
        logits: (N, classes).

    Raises:
        ValueError: for one logit, whose largest is always itself.

    Example:
        >>> import torch
        >>> from xai_course.core import check_two_classes
        >>> check_two_classes(torch.zeros(3, 2))
    """
    if logits.shape[1] == 1:
        raise ValueError(
            "model: got one logit, of which the answer is always the same class; must have two or "
            'more. torch.cat([0 * y, y], 1) makes two of it: "no" and "yes".'
        )
