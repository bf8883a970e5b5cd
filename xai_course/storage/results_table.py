"""Experiments that take too long for a lesson: run trial by trial, kept in a table, resumed.

A *trial* is a dict of settings (texts, numbers, True or False); running it gives a dict of numbers.
The table is a CSV that anyone can open: one row a trial, its settings first, then its results.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from xai_course.core.checks import check_count
from xai_course.core.locks import locked
from xai_course.core.progress import bar_class
from xai_course.core.translation import translate
from xai_course.storage.atomic_files import atomic_write

__all__ = ["Row", "run_trials"]


Row: TypeAlias = dict[str, Any]
"""The settings of one trial, and its results."""


def run_trials(
    trials: Sequence[Mapping[str, Any]],
    run: Callable[..., Mapping[str, Any]],
    file: str | Path | None = None,
    *,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Run each trial that the file does not hold yet.

    The file is replaced as a whole after each trial, so a run that is stopped loses only the trials
    that were running. Rows of other trials stay in it. Several processes may write to one file at
    the same time: each reads it again, under a lock, before it adds a row. Of a trial that two of
    them have run, the first row stays.

    Args:
        trials: settings by name, with the same names in the same order in all of them.
        run: called as `run(**settings)`; returns numbers by name, with the same names each time.
        file: a CSV to keep the rows in; None keeps nothing.
        workers: processes that run trials, each with one thread of PyTorch; with more than one,
            `run` must be a function of a module.
        progress: True shows a bar, and a line at the end.

    Returns:
        A row for each trial, in their order.

    Raises:
        ValueError: if the trials are empty, repeated, differ in names or have settings that are not
            plain, or if the file is of another experiment (it is left as it was).

    Example:
        >>> from xai_course.storage import run_trials
        >>> trials = [{"side": 2}, {"side": 3}]
        >>> run_trials(trials, lambda side: {"area": side**2}, progress=False)
        [{'side': 2, 'area': 4}, {'side': 3, 'area': 9}]
    """
    check_count("workers", workers)
    keys = _keys(trials)
    path = None if file is None else Path(file)
    rows = {} if path is None else _load(path, list(trials[0]))
    missing = [i for i, key in enumerate(keys) if key not in rows]
    is_shown = progress and len(missing) > 0
    with bar_class()(
        total=len(missing), leave=False, disable=not is_shown, desc=translate("trials")
    ) as bar:
        for number, results in _run_all(run, [dict(trials[i]) for i in missing], workers):
            i = missing[number]
            rows.setdefault(keys[i], {**trials[i], **results})
            if path is not None:
                rows = _add(path, rows, keys, list(trials[0]))
            bar.update()
    if progress:
        words = translate(
            "{count} trials: {missing} run now, the others were on file",
            count=len(trials),
            missing=len(missing),
        )
        print(words)
    return [rows[key] for key in keys]


def _run_all(
    run: Callable[..., Mapping[str, Any]], missing: list[Row], workers: int
) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Yield number and results of each trial, in the order in which they end."""
    if workers == 1:
        for number, settings in enumerate(missing):
            yield number, run(**settings)
        return
    spawn = get_context("spawn")  # a forked copy of a process with threads may hang
    with ProcessPoolExecutor(workers, spawn, initializer=_one_thread) as pool:
        numbers = {pool.submit(run, **settings): n for n, settings in enumerate(missing)}
        try:
            for done in as_completed(numbers):
                yield numbers[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """Let PyTorch use one thread in this process."""
    import torch

    torch.set_num_threads(1)


def _keys(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a key for each trial, or raise ValueError."""
    if not trials:
        raise ValueError("trials: got none; must be at least one.")
    for trial in trials:
        if list(trial) != list(trials[0]):
            raise ValueError(
                f"trials: got the settings {list(trial)} beside {list(trials[0])}; must be the "
                "same names in the same order."
            )
        for name, value in trial.items():
            if not isinstance(value, str | int | float) or _from_cell(_to_cell(value)) != value:
                raise ValueError(
                    f"trials: got {value!r} for {name}; must be a number, True, False, or a text "
                    "that does not read as one of them."
                )
    keys = [json.dumps(list(trial.values())) for trial in trials]
    if len(set(keys)) != len(keys):
        raise ValueError("trials: got one of them twice; must be different.")
    return keys


# ---- the file ------------------------------------------------------------------------------------


def _load(path: Path, settings: list[str]) -> dict[str, Row]:
    """Read the rows that a file holds, by the key of their trial."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            table = csv.reader(opened)
            names = next(table)
            if names[: len(settings)] != settings:
                raise ValueError(f"its settings are not {settings}")
            rows = [dict(zip(names, map(_from_cell, row), strict=True)) for row in table]
    except (OSError, StopIteration, ValueError, RecursionError) as error:
        raise ValueError(
            f"file: got {path}, which cannot be resumed ({error}); must be a new name, or a table "
            "of this experiment. Delete it to start again."
        ) from error
    return {json.dumps([row[name] for name in settings]): row for row in rows}


def _add(
    path: Path, rows: dict[str, Row], keys: Sequence[str], settings: list[str]
) -> dict[str, Row]:
    """Write rows to the file, with those that others have written to it meanwhile; return all.

    The trials of this call come first, in their order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        every = rows | _load(path, settings)
        first = [key for key in keys if key in every]
        ordered = first + [key for key in every if key not in set(first)]
        _save(path, [every[key] for key in ordered])
    return every


def _save(path: Path, rows: list[Row]) -> None:
    """Write the table as a whole."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(rows[0])
    for row in rows:
        if list(row) != list(rows[0]):
            raise ValueError(
                f"run: got the results {list(row)} beside {list(rows[0])}; must be the same names "
                "each time."
            )
        table.writerow(map(_to_cell, row.values()))
    atomic_write(path, text.getvalue().encode())


def _to_cell(value: Any) -> str:
    """Write a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _from_cell(cell: str) -> Any:
    """Read a cell: a number, True, False or None as JSON writes them, else the text itself."""
    try:
        value = json.loads(cell)
    except ValueError:
        return cell
    # JSON's own texts and lists, such as "" in quotes, are texts here too: `_to_cell` writes none.
    return cell if isinstance(value, str | list | dict) else value
