"""Run a function the same way whatever switches of PyTorch its caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["own_switches"]

DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def own_switches(*, grad: bool | None = None) -> Iterator[None]:
    """Leave the caller's inference mode and autocast, and set gradients, for what runs inside.

    As a decorator it does so for a function. An explanation in half precision would be far off: a
    gradient under autocast differs by a tenth and more.

    Args:
        grad: True or False turns gradients on or off; None leaves them as they are.

    Yields:
        Nothing. The caller's switches are back at the end.

    Example:
        >>> import torch
        >>> from xai_course.core import own_switches
        >>> @own_switches(grad=True)
        ... def derivative(x):
        ...     x = x.clone().requires_grad_()
        ...     return torch.autograd.grad((x @ x).sum(), x)[0]
        >>> with torch.no_grad(), torch.autocast("cpu"):
        ...     derivative(torch.eye(1)).dtype
        torch.float32
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if grad is not None:
            stack.enter_context(torch.set_grad_enabled(grad))
        for device_type in DEVICE_TYPES:
            if torch.is_autocast_enabled(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
        yield
