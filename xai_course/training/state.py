"""The state of an unfinished training run on disk, so that a killed run can go on.

One safetensors file holds the weights, the optimizer's tensors and, as JSON in its header, the
rest: the settings of the run and what each epoch came to. No random state is kept, because `fit`
begins every epoch from a seed computed from (seed, epoch).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.storage.atomic_files import hash_tensors, read_state, write_state


def save_run(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Write the state of a run after the last epoch in `history`."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    rest: dict[str, Any] = {}
    for weight, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{weight}.{name}"] = value
            else:
                rest.setdefault(str(weight), {})[name] = value
    facts = {"settings": settings, "history": history, "optimizer": rest}
    write_state(path, tensors, facts)


def resume_run(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Put model and optimizer where the run left off; return its epochs so far.

    Without a file the run has not begun: nothing changes and the list is empty. Raises ValueError,
    naming the file and the settings that differ, if the file belongs to another run.
    """
    if not path.exists():
        return []
    tensors, facts = read_state(path)
    theirs = facts["settings"]
    ours = json.loads(json.dumps(settings))
    other = [
        name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)
    ]
    if other:
        shown = "; ".join(
            f"{name}: {theirs.get(name)!r} in the file, {ours.get(name)!r} now" for name in other
        )
        raise ValueError(
            f"{path}: the state of another training run ({shown}). "
            "Delete it or choose another checkpoint="
        )
    state: dict[int, dict[str, Any]] = {
        int(weight): dict(entries) for weight, entries in facts["optimizer"].items()
    }
    weights: dict[str, Tensor] = {}
    for full, tensor in tensors.items():
        owner, name = full.split(".", 1)
        if owner == "model":
            weights[name] = tensor
        else:
            weight, name = name.split(".", 1)
            state.setdefault(int(weight), {})[name] = tensor
    model.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return list(facts["history"])


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Describe an architecture: its class and every tensor's name and shape, hashed."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]
    return {"class": type(model).__name__, "tensors": len(shapes), "shapes": digest}


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Describe an optimizer: its class and settings."""
    settings = {name: str(value) for name, value in optimizer.defaults.items()}
    return {"class": type(optimizer).__name__, **settings}


def hash_batch(images: Tensor, labels: Tensor) -> str:
    """Compute a short fingerprint of a batch, to tell one training set from another."""
    return hash_tensors({"images": images, "labels": labels})[:16]
