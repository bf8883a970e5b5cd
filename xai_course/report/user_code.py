"""The reader's own program: imported with its neighbours, called, and taken out again.

A file `model.py` may import `blocks.py` beside it, and may be named like a module of Python
(`copy.py`). Neither must replace a module that the rest of the process uses. So while it runs, and
only then, what lies beside it can be imported, and afterwards `sys.modules` and `sys.path` are as
before. The file itself is imported under a name that nobody else has.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getmodulename
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["call_user_function"]


def call_user_function(home: str, name: str) -> Any:
    """Import a function of the reader's own and call it.

    Args:
        home: a file, `FILE.py`, or a module that can be imported from the current folder.
        name: of a function without arguments in it, or of a network.

    Returns:
        What the function returns, or the network.

    Raises:
        ImportError: with the reason, if the module or the function cannot be imported.
        RuntimeError: with the reason, if the function stops with an error.
    """
    file = Path(home).expanduser().resolve() if home.endswith(".py") else None
    folder = Path.cwd() if file is None else _root_of(file)
    with _neighbours(folder, None if file is None else file.stem) as found:
        try:
            made = getattr(_import(file, folder, found) if file else import_module(home), name)
        except (Exception, SystemExit) as error:  # whatever importing another's module raises
            raise ImportError(f"{type(error).__name__}: {error}") from error
        if not _is_function(made):
            return made  # the network itself
        try:
            return made()
        except (Exception, SystemExit) as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _is_function(made: Any) -> bool:
    """Return whether this is to be called; a network, which can be called too, is not."""
    from torch import nn

    return callable(made) and not isinstance(made, nn.Module)


def _root_of(file: Path) -> Path:
    """Return the folder that a file's imports start from: above the package that it is in."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder


def _import(file: Path, folder: Path, found: set[str]) -> ModuleType:
    """Import a file: as part of its package, or else under a name of its own, added to `found`."""
    if file.parent != folder:
        return import_module(".".join(file.relative_to(folder).with_suffix("").parts))
    # In a package of this name, so that `from .blocks import Block` works as well.
    package = f"_user_code_{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    name = f"{package}.{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    parent = ModuleType(package)
    parent.__path__ = [str(folder)]
    module = module_from_spec(spec)
    sys.modules.update({package: parent, name: module})  # by which its classes are found
    found.add(package)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _neighbours(folder: Path, own: str | None) -> Iterator[set[str]]:
    """Let what lies in a folder be imported; afterwards `sys.modules` and `sys.path` are as before.

    Modules of Python itself, and of installed packages in memory, are never replaced. A file that
    imports its `own` name means the package of this name, if there is one. Yields the names of
    what was imported from the folder, which the caller may add to.
    """
    there = list(folder.iterdir()) if folder.is_dir() else []
    names = {path.name if path.is_dir() else getmodulename(path) for path in there} - {None}
    names -= sys.stdlib_module_names | {"xai_course"}
    if own is not None and PathFinder.find_spec(own) is not None:
        names.discard(own)
    # A module of the same name from elsewhere, such as another network's `blocks`, steps aside.
    aside = {
        key: module
        for key, module in sys.modules.items()
        if key.split(".")[0] in names and not _is_installed(key)
    }
    finder: Any = _Neighbours(folder, {n for n in names if n not in sys.modules or n in aside})
    path = list(sys.path)
    for key in aside:
        del sys.modules[key]
    sys.meta_path.insert(0, finder)
    try:
        yield finder.found
    finally:
        sys.meta_path.remove(finder)
        sys.path[:] = path
        for key in [key for key in sys.modules if key.split(".")[0] in finder.found]:
            del sys.modules[key]
        sys.modules.update(aside)
        invalidate_caches()


def _is_installed(key: str) -> bool:
    """Return whether a module that is in memory belongs to an installed package."""
    top = sys.modules.get(key.split(".")[0])
    files = [getattr(top, "__file__", None), *getattr(top, "__path__", ())]
    return any("site-packages" in Path(file).parts for file in files if file) or not any(files)


class _Neighbours:
    """Finds modules in one folder, by their names, before Python looks elsewhere."""

    def __init__(self, folder: Path, names: set[str | None]) -> None:
        """Keep where to look, and for what."""
        self.folder, self.names = str(folder), names
        self.found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the folder; None for all others."""
        if path is not None or name not in self.names:
            return None
        spec = PathFinder.find_spec(name, [self.folder], target)
        if spec is not None:
            self.found.add(name)
        return spec
