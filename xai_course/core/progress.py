"""Progress bars for long loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["progress_bar"]

Step = TypeVar("Step")


def progress_bar(steps: Iterable[Step], label: str, show: bool) -> Iterable[Step]:
    """Return the steps of a loop, with a progress bar if it is to be shown.

    Args:
        steps: what the loop goes through.
        label: words in front of the bar.
        show: whether there is a bar.

    Returns:
        The steps.

    Example:
        >>> from xai_course.core import progress_bar
        >>> list(progress_bar(range(3), "counting", show=False))
        [0, 1, 2]
    """
    if not show:
        return steps
    from tqdm.auto import tqdm

    bar: Iterable[Step] = tqdm(steps, label)
    return bar
