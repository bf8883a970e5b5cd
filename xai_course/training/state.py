"""The state of an unfinished training on disk, from which a killed run is resumed.

One safetensors file holds the weights, the optimizer's tensors and, as JSON in its header, the
rest: the settings of the run and the results of each epoch. No random state is kept, because `fit`
starts every epoch from a seed computed from (seed, epoch).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.describe import describe_callable
from xai_course.storage.atomic_files import hash_tensors, read_state, write_state
from xai_course.training.batches import Loader, check_batch
from xai_course.training.config import TrainingConfig
from xai_course.training.distributed import broadcast_from_rank0, rank_and_world_size
from xai_course.training.history import Epoch
from xai_course.training.seeding import seed_epoch


class TrainingState:
    """The file `<checkpoint>.state.safetensors`, which keeps one run after each epoch.

    Args:
        checkpoint: a path; the file's name is this with `.state.safetensors` added.
        settings: what tells this run from others. In several processes, those of the first count.
    """

    def __init__(self, checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
        """Name the file; nothing is read or written yet."""
        self.path = Path(f"{checkpoint}.state.safetensors")
        # Through JSON, which makes lists of tuples, because those in the file went through it.
        self.settings = json.loads(json.dumps(broadcast_from_rank0(settings)))

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, history: Sequence[Epoch]
    ) -> None:
        """Write the state after the last epoch of the history. Only the first process writes."""
        if rank_and_world_size()[0] > 0:
            return
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        numbers: dict[str, Any] = {}  # of the optimizer, what is no tensor
        for weight, entries in optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{weight}.{name}"] = value
                else:
                    numbers.setdefault(str(weight), {})[name] = value
        epochs = [asdict(epoch) for epoch in history]
        facts = {"settings": self.settings, "history": epochs, "optimizer": numbers}
        write_state(self.path, tensors, facts)

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Epoch]:
        """Load the state into model and optimizer; return the epochs so far.

        Without a file the run has not begun: nothing changes and the list is empty. Raises
        ValueError, naming the file and the settings that differ, if the file is of another run.
        """
        if not self.path.exists():
            return []
        tensors, facts = read_state(self.path)
        kinds = {"settings": dict, "history": list, "optimizer": dict}
        if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
            raise ValueError(f"{self.path}: not the state of a training run")
        self._check_settings(facts["settings"])
        weights = {
            name.removeprefix("model."): tensor
            for name, tensor in tensors.items()
            if name.startswith("model.")
        }
        state: dict[int, dict[str, Any]] = {
            int(weight): dict(numbers) for weight, numbers in facts["optimizer"].items()
        }
        for name, tensor in tensors.items():
            owner, rest = name.split(".", 1)
            if owner == "optimizer":  # "optimizer.3.exp_avg"
                weight, entry = rest.split(".", 1)
                state.setdefault(int(weight), {})[entry] = tensor
        model.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        return [Epoch(**epoch) for epoch in facts["history"]]

    def _check_settings(self, on_file: Mapping[str, Any]) -> None:
        """Raise ValueError if the file holds another run."""
        names = sorted(self.settings.keys() | on_file.keys())
        differing = [name for name in names if self.settings.get(name) != on_file.get(name)]
        if differing:
            shown = "; ".join(
                f"{name}: {on_file.get(name)!r} in the file, {self.settings.get(name)!r} now"
                for name in differing
            )
            raise ValueError(
                f"{self.path}: the state of another training run ({shown}). "
                "Delete it or choose another checkpoint="
            )


def describe_run(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    train: Loader,
    test: Loader | None,
    stop: Callable[..., bool] | None,
) -> dict[str, Any]:
    """Return what tells one run from another, as plain values."""
    return {
        **config.describe(),
        "model": describe_model(model),
        "optimizer": describe_optimizer(optimizer),
        "data": describe_data(train, test, config.seed),
        "stop": repr(stop) if stop is None or is_dataclass(stop) else describe_callable(stop),
    }


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Describe an architecture: its class, and a hash of every tensor's name and shape."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]
    return {"class": type(model).__name__, "tensors": len(shapes), "shapes": digest}


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Describe an optimizer: its class and settings."""
    settings = {name: str(value) for name, value in optimizer.defaults.items()}
    return {"class": type(optimizer).__name__, **settings}


def describe_data(train: Loader, test: Loader | None, seed: int) -> dict[str, Any]:
    """Describe the images: numbers of batches, and a hash of the first training batch."""
    if getattr(train, "persistent_workers", False):
        raise ValueError(
            "train: got persistent_workers=True; must be False with checkpoint=, because a resumed "
            "run cannot restore the random state of such workers."
        )
    seed_epoch(seed, 1, train)
    images, labels = next(iter(train))
    check_batch("train", images, labels)
    first_batch = hash_tensors({"images": images, "labels": labels})[:16]
    tests = None if test is None else len(test)
    return {"train": len(train), "test": tests, "first batch": first_batch}
