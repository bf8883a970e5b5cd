"""What a model returns: logits, probabilities or their logarithms, or anything of one number."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.graph import LAYER_STEPS, step_kind
from xai_course.core.hooks import without_interception
from xai_course.core.tensors import check_plain

__all__ = [
    "SingleOutput",
    "check_two_classes",
    "class_probabilities",
    "output_kind",
    "single_output",
]

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


class SingleOutput(nn.Module):
    """A model and a function of its output, as a network with one logit.

    Args:
        model: any network of images.
        function: from the model's output to one number for each image, (N,).
    """

    def __init__(self, model: nn.Module, function: Any) -> None:
        """Keep the model and the function."""
        super().__init__()
        self.module = model
        self.function = function
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to the function's number of each, (N, 1)."""
        output = self.module(images)
        try:
            # A copy, as the function may work in place on what the derivative needs.
            given = output.clone() if isinstance(output, Tensor) else output
            values: Tensor = self.function(given)
        except Exception as error:
            own = re.match(r"\w+: got", str(error))  # the words of a check of this package
            if own or isinstance(error, MemoryError) or "memory" in str(error):
                raise
            raise ValueError(
                f"targets: got a function that stops with {type(error).__name__}: {error}; must "
                f"take what the model returns, {_in_words(output)}."
            ) from error
        with without_interception():
            _check_values(values, output, len(images))
        # In the images' dtype, as logits are: sums are compared within its rounding.
        return values.to(images.dtype)[:, None]

    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        """List the model's modules: they keep their names, and this wrapper adds none."""
        return self.module.named_modules(*args, **kwargs)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a module of the model by its name."""
        return self.module.get_submodule(target)


def _check_values(values: Any, output: Any, count: int) -> None:
    """Check that a function of a model's output returned one number for each image."""
    must = f"must return one number for each image, a tensor ({count},)."
    if not isinstance(values, Tensor) or values.shape != (count,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"targets: got a function that returns {got} for {count} images; {must}")
    check_plain("targets", values, "a function that returns ")
    if not values.is_floating_point():
        raise ValueError(
            f"targets: got a function that returns {values.dtype}; must return floating-point "
            "numbers."
        )
    broken = isinstance(output, Tensor) and not output.isfinite().all()  # by the model already
    if not broken and not values.isfinite().all():
        raise ValueError(
            "targets: got a function that returns NaN or infinite numbers; must return finite ones."
        )


def _in_words(output: Any) -> str:
    """Return the shape of a tensor, or the type of another output."""
    if isinstance(output, Tensor):
        return f"here a tensor {tuple(output.shape)}"
    return f"here {type(output).__name__}"


def single_output(model: nn.Module, targets: Any) -> tuple[nn.Module, Any]:
    """Let the targets be a function of the model's output: what is explained is its number.

    So one can explain a difference of logits, a regression, a box of a detector, a region of a
    segmentation. The function gets what the model returns for any number of images, and must treat
    each image alone. For a probability the number counts as the logit of "yes".

    Args:
        model: a network of images (N, C, H, W).
        targets: such a function, from the output to a tensor (N,); or anything else.

    Returns:
        For a function, a network with one logit, and None, which stands for its only class; else
        the model and the targets as they came.

    Raises:
        ValueError: when it runs, if the function raises an error, or returns anything but one
            finite floating-point number for each image.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import gradient
        >>> model, images = nn.Flatten().eval(), torch.ones(1, 1, 1, 3)  # three logits
        >>> gradient(model, images, targets=lambda logits: logits[:, 0] - 2 * logits[:, 2])
        tensor([[[[ 1.,  0., -2.]]]])
    """
    if isinstance(model, nn.Module) and callable(targets):
        return SingleOutput(model, targets), None
    return model, targets
