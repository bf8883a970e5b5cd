"""Progress bars for long loops."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

__all__ = ["bar_class", "progress_bar"]

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
    bar: Iterable[Step] = bar_class()(steps, label)
    return bar


@cache
def bar_class() -> Any:
    """Return tqdm's class of progress bars, without the thread that tqdm leaves behind.

    Returns:
        A class with the arguments of `tqdm.auto.tqdm`.

    Example:
        >>> from xai_course.core import bar_class
        >>> bar_class()(range(3), disable=True).total
        3
    """
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0  # tqdm's monitor is a thread that lives as long as the process

    return Bar
