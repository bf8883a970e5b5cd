"""One process at a time changes a file."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process or thread at a time work on a file: read, change, write.

    The lock is one of the operating system, on `.<name>.lock` beside the file. It opens when its
    holder ends, however it ends, and its file is deleted by the last holder.

    Args:
        path: the file, in a folder that exists. It need not exist itself.

    Yields:
        Nothing; the lock is held. Where the file system has no locks, a warning says so and the
        work is done without one.
    """
    from filelock import BaseFileLock, FileLock, SoftFileLock

    lock: BaseFileLock = FileLock(path.with_name(f".{path.name}.lock"))
    with suppress(NotImplementedError):
        lock.acquire()
    # filelock's replacement where the system has no locks would outlive a process that is killed.
    if isinstance(lock, SoftFileLock):
        lock.release()
    if not lock.is_locked:
        warnings.warn(
            f"{path.parent}: its file system has no locks; two processes must not write to "
            f"{path.name} at the same time",
            stacklevel=3,
        )
        yield
        return
    try:
        yield
    finally:
        # Deleted while it is held: who waits for it sees that its file is gone, and tries again.
        if sys.platform != "win32":  # where an open file cannot be deleted
            with suppress(OSError):
                Path(lock.lock_file).unlink()
        lock.release()
