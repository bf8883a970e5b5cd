"""Weights as people have them: files of other trainings, read and fitted to a network.

A file may hold more than the weights (the optimizer, the epoch, a second set of averaged weights),
and their names may have something in front that a wrapper put there (`module.`, `_orig_mod.`,
`model.`). Both are found by looking for the names of the network itself. Nothing in a file is run,
and nothing is built to its numbers before they were compared with its bytes.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from xai_course.core.translation import message
from xai_course.data.image_files import printable

__all__ = ["load_weights", "read_weights"]


WRAPPERS = {"module", "_orig_mod"}  # what DataParallel and torch.compile put into names
AVERAGED = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?|shadow|teacher)(?![a-z])", re.IGNORECASE)
DEEPEST = 4  # dicts in dicts that are looked into
MOST_PARTS = 64  # of one name
MOST_NAMED = 1000  # names in one sentence

# What a reader must know, in English; a report's page translates it.
CHOSEN = message("The weights are {names}.")
WRAPPED = message("“module” and “_orig_mod”, which wrappers put into names, were left out.")
AVERAGES = message("By their names they are averages of the weights during training (EMA).")
OTHERS = message("The file has other sets of weights, which were not taken: {names}.")
LEFT = message("Left out of the file: {names}.")
STORED = message("The weights are stored as {kinds}, and calculated with as float32.")
WITH_PREFIX = message("the names that begin with '{prefix}'")
INSIDE = message("{names} in '{key}'")
REMARKS = (WRAPPED, AVERAGES, OTHERS, LEFT, STORED, CHOSEN, INSIDE, WITH_PREFIX)


class _Candidate(NamedTuple):
    """One set of weights in a file."""

    inside: str  # the keys of the dicts around it, "" for the file itself
    prefix: str  # in front of its names, "" for none
    weights: dict[str, Tensor]  # by the network's names
    keys: dict[str, str]  # the file's own names of them
    others: list[str]  # the file's names beside them

    def is_averaged(self) -> bool:
        """Return whether its names say that these are averages of the weights in training."""
        words = [self.inside, self.prefix, *(key for key in self.others if "averaged" in key)]
        return any(AVERAGED.search(word) for word in words)

    def where(self) -> str:
        """Say where in the file it is."""
        names = WITH_PREFIX.format(prefix=self.prefix) if self.prefix else message("the names")
        return INSIDE.format(names=names, key=self.inside) if self.inside else names


def load_weights(
    build: Callable[[int], nn.Module], path: str | Path
) -> tuple[nn.Module, list[str]]:
    """Build a network for as many classes as a file of weights has, and load the weights.

    Args:
        build: from a number of classes to a network.
        path: the file, see `read_weights`.

    Returns:
        model: the network.
        remarks: sentences that a reader must know: what was taken out of what, and what was left.

    Raises:
        ValueError: naming the file and its keys, if it cannot be read, has the weights of another
            network, has several sets of them, or what it holds are no proper tensors.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.storage import load_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = nn.DataParallel(nn.Linear(2, 3))
        ...     path = Path(folder) / "weights.pth"
        ...     torch.save({"model_state_dict": trained.state_dict(), "epoch": 5}, path)
        ...     model, remarks = load_weights(lambda classes: nn.Linear(2, classes), path)
        >>> model
        Linear(in_features=2, out_features=3, bias=True)
        >>> print(remarks[0])
        The weights are the names that begin with 'module.' in 'model_state_dict'.
    """
    content = read_weights(path)
    # Where the shape depends on the number of classes: in which dimension.
    model, other = (_empty(build, classes) for classes in (1000, 1001))
    many = other.state_dict()
    by_classes = {
        name: next(d for d in range(tensor.ndim) if tensor.shape[d] != many[name].shape[d])
        for name, tensor in model.state_dict().items()
        if tensor.shape != many[name].shape
    }
    another = f"{printable(path)} has the weights of another network than {type(model).__name__}"
    chosen, remarks = _fit(content, set(many), printable(path), another)
    sizes = (chosen.weights[name].shape[d : d + 1] for name, d in by_classes.items())
    classes = next((size[0] for size in sizes if size and size[0] > 0), 1000)
    # Compared before there is memory for them.
    for name, wanted in _empty(build, classes).state_dict().items():
        given = chosen.weights.get(name, wanted)
        if given.shape != wanted.shape or given.is_floating_point() != wanted.is_floating_point():
            raise ValueError(
                f"path: {another}: {chosen.keys[name]} is {tuple(given.shape)} {given.dtype} in "
                f"the file, {tuple(wanted.shape)} {wanted.dtype} in the network."
            )
    model = build(classes)
    model.load_state_dict(chosen.weights)
    return model, remarks


def read_weights(path: str | Path) -> dict[Any, Any]:
    """Read a file of weights without running anything in it.

    Args:
        path: safetensors, or what torch.save wrote: tensors in dicts. A file that holds objects of
            other classes is refused.

    Returns:
        What the file holds: tensors by name, or dicts of them.

    Raises:
        ValueError: naming the file, if it cannot be read, holds objects, or would unpack to more
            than its own size.
    """
    file = Path(path).expanduser()
    try:
        if not file.is_file():
            raise FileNotFoundError("there is no such file")
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            _check_archive(file)
            with torch.serialization.safe_globals(_plain_values()):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and dangerous files raise almost anything
        raise ValueError(
            f"path: {printable(path)} cannot be read as a file of weights ({_reason(error)}); must "
            "be .safetensors, or a state dict: torch.save(model.state_dict(), FILE)."
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"path: {printable(path)} cannot be read as a file of weights (it holds "
            f"{type(content).__name__}); must hold tensors by name, a state dict: "
            "torch.save(model.state_dict(), FILE)."
        )
    return dict(content)


def _plain_values() -> list[Any]:
    """Return the classes of plain values that people keep beside weights, such as NumPy's numbers.

    None of them runs anything when it is read.
    """
    scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]  # NumPy's function that makes one
    kinds = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")}
    return [scalar, np.dtype, *kinds, argparse.Namespace]


def _reason(error: Exception) -> str:
    """Return an error in a few words."""
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split())  # without codes for colours
    if named := re.search(r"GLOBAL (\S+)", text):  # what torch.load refuses to build
        return f"it holds objects of the class {named[1]}, and reading them could run a program"
    return (text if len(text) <= 300 else f"{text[:299]}…") or type(error).__name__


def _check_archive(file: Path) -> None:
    """Raise ValueError if an archive unpacks to more than its own size; torch.save packs none."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > file.stat().st_size:
            raise ValueError(f"it would unpack to {size:,} bytes")


# ---- the network ---------------------------------------------------------------------------------


def _empty(build: Callable[[int], nn.Module], classes: int) -> nn.Module:
    """Build a network without memory for its weights, where it can be."""
    try:
        with torch.device("meta"):
            return build(classes)
    except Exception:  # some constructors look at values, which tensors on "meta" do not have
        return build(classes)


# ---- looking for its weights ---------------------------------------------------------------------


def _fit(
    content: Mapping[Any, Any], names: set[str], path: str, another: str
) -> tuple[_Candidate, list[str]]:
    """Find the only set of weights in a file that has all of a network's names, and check it."""
    needed = {name for name in names if not name.endswith("num_batches_tracked")}
    dicts = list(_dicts(content))
    found = [one for inside, entries in dicts for one in _candidates(inside, entries, needed)]
    complete = [one for one in found if needed <= one.weights.keys()]
    if not complete:
        raise ValueError(f"path: {another}: {_what_differs(content, dicts, found, needed)}")
    plain = [one for one in complete if not one.is_averaged()] or complete
    if len(plain) > 1:
        places = "; ".join(one.where() for one in plain)
        raise ValueError(
            f"path: {path} has several sets of weights that fit ({places}); must have one. Save "
            "the one that you mean in a file of its own."
        )
    chosen = plain[0]
    if unknown := [chosen.keys[name] for name in chosen.weights if name not in names]:
        raise ValueError(f"path: {another}, which has no place for {_listed(unknown)}.")
    for name, tensor in chosen.weights.items():
        _check_tensor(path, chosen.keys[name], tensor)
    return chosen, _remarks(chosen, complete)


def _dicts(
    content: Mapping[Any, Any], inside: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the keys around it, and the tensors by name, of each dict in a file that holds any."""
    entries = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if entries:
        yield inside, entries
    if depth < DEEPEST:
        for name, value in content.items():
            if isinstance(value, Mapping):
                yield from _dicts(value, f"{inside}.{name}" if inside else str(name), depth + 1)


def _candidates(inside: str, entries: Mapping[str, Tensor], needed: set[str]) -> list[_Candidate]:
    """Return the sets of weights in one dict of tensors that have most of the needed names.

    By the names as they are, or else without what wrappers put into them.
    """
    as_they_are = _by_prefix(inside, {name: name for name in entries}, entries, needed)
    unwrapped = {".".join(p for p in n.split(".") if p not in WRAPPERS): n for n in entries}
    complete = any(needed <= one.weights.keys() for one in as_they_are)
    if complete or len(unwrapped) < len(entries):  # two names would become one
        return as_they_are
    return _by_prefix(inside, unwrapped, entries, needed)


def _by_prefix(
    inside: str, names: Mapping[str, str], entries: Mapping[str, Tensor], needed: set[str]
) -> list[_Candidate]:
    """Return a set of weights for each prefix that makes the most names in the file needed ones.

    `names`: the names to look at, and the file's own names of the same tensors.
    """
    prefixes: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(min(len(parts), MOST_PARTS)):
            if ".".join(parts[start:]) in needed:
                prefixes["".join(f"{part}." for part in parts[:start])] += 1
    most = max(prefixes.values(), default=0)
    candidates = []
    for prefix in sorted(p for p, count in prefixes.items() if count == most):
        keys = {n[len(prefix) :]: own for n, own in names.items() if n.startswith(prefix)}
        weights = {name: entries[own] for name, own in keys.items()}
        others = [own for n, own in names.items() if not n.startswith(prefix)]
        candidates.append(_Candidate(inside, prefix, weights, keys, others))
    return candidates


def _what_differs(
    content: Mapping[Any, Any],
    dicts: list[tuple[str, dict[str, Tensor]]],
    found: list[_Candidate],
    needed: set[str],
) -> str:
    """Say what a file that does not fit lacks, and what it has instead, by its own names."""
    if not dicts:
        holds = _listed([repr(name) for name in content]) or "nothing"
        return f"it holds no tensors by name, but {holds}."
    if not found:
        names = [f"{inside}: {name}" if inside else name for inside, e in dicts for name in e]
        return f"none of its names is one of the network's. It has {_listed(names)}."
    best = max(found, key=lambda one: len(needed & one.weights.keys()))
    left = [best.keys[name] for name in best.weights if name not in needed] + best.others
    left = [name for name in left if not name.endswith("num_batches_tracked")]
    more = f"; it has {_listed(left)}, which the network has not" if left else ""
    where = f" (in {best.where()})" if best.inside or best.prefix else ""
    missing = [
        f"{name} ({type(content[name]).__name__} in the file, no tensor)"
        if name in content
        else name
        for name in sorted(needed - best.weights.keys())
    ]
    return f"it lacks {_listed(missing)}{where}{more}."


def _listed(names: list[str]) -> str:
    """Return names with commas between them; not endlessly many."""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


# ---- what was found ------------------------------------------------------------------------------


def _check_tensor(path: str, key: str, tensor: Tensor) -> None:
    """Raise ValueError unless a tensor is plain numbers, all of which are in the file."""
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        got = "meta" if tensor.is_meta else "quantised" if tensor.is_quantized else tensor.layout
        raise ValueError(f"path: {path} has {key} as a {got} tensor; must be a plain one.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"path: {path} has {key} of shape {tuple(tensor.shape)}, but holds fewer numbers than "
            "that (it was expanded); must hold each number."
        )
    if tensor.is_complex():
        raise ValueError(f"path: {path} has {key} as {tensor.dtype}; must be real.")


def _remarks(chosen: _Candidate, complete: list[_Candidate]) -> list[str]:
    """Return what a reader must know of the weights that were taken."""
    remarks = []
    if chosen.prefix or chosen.inside not in ("", "state_dict"):  # what torch.save's users call it
        remarks.append(CHOSEN.format(names=chosen.where()))
    if any(chosen.keys[name] != chosen.prefix + name for name in chosen.keys):
        remarks.append(WRAPPED)
    if chosen.is_averaged():
        remarks.append(AVERAGES)
    rest = [one for one in complete if one is not chosen]
    if rest:
        places = "; ".join(one.where() for one in rest)
        remarks.append(OTHERS.format(names=places))
    named = {key for one in rest if one.inside == chosen.inside for key in one.keys.values()}
    if left := [key for key in chosen.others if key not in named]:
        remarks.append(LEFT.format(names=_listed(left)))
    kinds = {t.dtype for t in chosen.weights.values() if t.is_floating_point()} - {torch.float32}
    if kinds:
        words = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        remarks.append(STORED.format(kinds=words))
    return remarks
