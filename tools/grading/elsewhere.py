"""Functions and models at the other end of a channel, through which gradients pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tools.grading.channel import Channel


@dataclass
class Call:
    """A call: the function's number, which arguments are derived, and what came of it."""

    channel: Channel
    number: int
    derived: list[bool]
    value: Any = None
    result: int | None = None  # by which the other end derives it; None: no derivative


def call_with_derivatives(
    channel: Channel, number: int, arguments: Sequence[Any], derived: list[bool]
) -> Any:
    """Call a function of the other end; of a tensor that it returns the derivatives are known."""
    call = Call(channel, number, derived)
    output = FunctionElsewhere.apply(call, *arguments)
    return output if isinstance(call.value, Tensor) else call.value


class FunctionElsewhere(torch.autograd.Function):
    """The function; what it returns other than a tensor has no derivative."""

    @staticmethod
    def forward(call: Call, *arguments: Any) -> Any:
        """Call the function at the other end."""
        given = [
            a.detach().requires_grad_(derived) if isinstance(a, Tensor) else a
            for a, derived in zip(arguments, call.derived, strict=True)
        ]
        call.value, call.result = call.channel.evaluate(call.number, given)
        if not isinstance(call.value, Tensor):
            return torch.empty(0)
        call.value = call.value.detach()
        return call.value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the call for the derivatives."""
        ctx.call = inputs[0]
        if ctx.call.result is None:
            ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The derivatives, one for each argument."""
        found = iter(DerivativesElsewhere.apply(ctx.call, grad))
        return None, *(next(found) if derived else None for derived in ctx.call.derived)


class DerivativesElsewhere(torch.autograd.Function):
    """The derivatives of a call, computed at the other end; they have no derivatives themselves."""

    @staticmethod
    def forward(call: Call, grad: Tensor) -> tuple[Tensor, ...]:
        """Ask the other end."""
        if call.result is None:
            raise RuntimeError("this result has no derivative")
        return tuple(call.channel.derive(call.result, grad))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Refuse."""
        raise RuntimeError("second derivatives of this function are not known here")


class ModelElsewhere(nn.Module):
    """A model at the other end: calling it calls that one; of its weights it has the shapes only.

    `frozen` says which weights have no gradients.
    """

    def __init__(
        self, call: Callable[..., Any], shapes: list[list[int]], frozen: list[bool], training: bool
    ) -> None:
        """Make weights of these shapes, all 0."""
        super().__init__()
        self.call = call
        weights = [nn.Parameter(torch.zeros(s), not f) for s, f in zip(shapes, frozen, strict=True)]
        self.weights = nn.ParameterList(weights)
        self.train(training)

    def forward(self, *arguments: Any) -> Tensor:
        """Call the model; its weights are part of the result, so that they get gradients, of 0."""
        result: Tensor = self.call(*arguments)
        for weight in self.weights:
            result = result + weight.sum()
        return result
