"""Try every method on every classifier of torchvision, and on one of each family of timm.

    python benchmarks/sweep.py [--workers 2] [--only resnet18,alexnet]     (make sweep)

Score-CAM is left out: it asks the network once for every channel of its last maps, in the largest
more than 7,000 times. It is tried on 13 networks in docs/networks.md.

The table benchmarks/sweep.csv has a row for each network and a column for each method: "ok", the
sentence with which the method refuses, or another error, which is a fault of ours. Where a network
cannot be built, or takes images of none of the sizes that are tried, each cell has the reason. The
weights are random: nothing is downloaded. A run that was stopped is resumed; delete the table to
begin anew.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xai_course.fully_connected import logit_contributions
from xai_course.methods import METHODS
from xai_course.relu import local_linear, relu_masks
from xai_course.residual import block_contributions
from xai_course.storage import run_trials

TABLE = Path(__file__).with_name("sweep.csv")
FAMILIES = 95  # of timm, in alphabetical order
MOST_PARAMETERS = 30_000_000


def quick_methods(size: int) -> dict[str, Callable[..., Any]]:
    """Return every method for images of `size` pixels, with options that ask for few passes."""
    half = torch.arange(size) * 2 // size
    quarters = half[:, None] * 2 + half
    options: dict[str, dict[str, Any]] = {
        "Integrated Gradients": {"steps": 2},
        "SmoothGrad": {"samples": 2},
        "occlusion": {"window": size // 2, "stride": size // 2},
        "RISE": {"masks": 8},
        "LIME": {"segments": quarters, "samples": 8},
        "Shapley values": {"segments": quarters},
    }
    return {
        name: method.explainer(**options.get(name, {}))
        for name, method in METHODS.items()
        if name != "expected gradients"  # it needs baselines of the reader's
    }


def methods(size: int = 64) -> dict[str, Callable[..., Any]]:
    """Return the methods of the sweep, and the functions that return more than a map."""
    every = quick_methods(size)
    del every["Score-CAM"]
    others = (block_contributions, local_linear, logit_contributions, relu_masks)
    return every | {function.__name__: function for function in others}


def networks() -> Iterator[dict[str, str]]:
    """Yield the library and the name of each network."""
    import timm
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        yield {"library": "torchvision", "network": name}
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(re.split(r"[\d_.]", name)[0], []).append(name)
    small = (next(filter(is_small, names), None) for names in families.values())
    for name in list(islice(filter(None, small), FAMILIES)):
        yield {"library": "timm", "network": name}


def named(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the library of each network that is named."""
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    for name in names:
        yield {"library": "torchvision" if name in known else "timm", "network": name}


def is_small(name: str) -> bool:
    """Tell whether a network of timm has few enough parameters to be tried on two cores."""
    import timm

    with torch.device("meta"):
        try:
            weights = timm.create_model(name).parameters()
        except (RuntimeError, NotImplementedError, ValueError):  # it needs real tensors
            return False
    return sum(weight.numel() for weight in weights) <= MOST_PARAMETERS


def try_network(library: str, network: str) -> dict[str, str]:
    """Run every method on one network, and tell what came of each."""
    torch.manual_seed(0)
    try:
        model, size = build(library, network)
    except Exception as error:  # such as a network of timm that takes other arguments
        words = " ".join(f"not built: {type(error).__name__}: {error}".split())
        return {"size": "none"} | dict.fromkeys(methods(), words)
    images = torch.rand(2, 3, size, size)
    return {"size": str(size)} | {
        name: outcome(method, model, images) for name, method in methods(size).items()
    }


def build(library: str, network: str) -> tuple[nn.Module, int]:
    """Return a network with random weights, and an image size that it takes."""
    import timm
    import torchvision

    if library == "timm":
        model = timm.create_model(network, num_classes=10)
        sizes = [64, model.default_cfg["input_size"][1]]
    else:
        model, sizes = (
            torchvision.models.get_model(network, weights=None, num_classes=10),
            [64, 224],
        )
    model.eval()
    for size in sizes:
        try:
            with torch.no_grad():
                model(torch.rand(1, 3, size, size))
        except (RuntimeError, ValueError, AssertionError):
            continue
        enliven(model, size)
        return model, size
    raise RuntimeError(f"{network} takes images of none of the sizes {sizes}.")


@torch.no_grad()
def enliven(model: nn.Module, size: int) -> None:
    """Change a new network so that a signal comes through; a sum of zeros is always right.

    What is zero or tiny (heads, biases, layer scales) is drawn anew, and the statistics of batch
    normalisation are measured on random images.
    """
    for weight in model.parameters():
        if weight.abs().max() < 1e-3:
            nn.init.normal_(weight, std=0.1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
        norm.train()
    model(torch.rand(8, 3, size, size))
    for norm in norms:
        norm.eval()


def outcome(method: Callable[..., Any], model: nn.Module, images: torch.Tensor) -> str:
    """Return "ok", the sentence of a refusal, or another error, after a look at what is left."""
    before = [sorted(vars(module)) for module in model.modules()]
    try:
        method(model, images)
        result = "ok"
    except ValueError as error:
        result = f"refused: {error}"
    except Exception as error:  # to find these is the purpose
        result = f"FAULT: {type(error).__name__}: {error}"
    if [sorted(vars(module)) for module in model.modules()] != before:
        result = f"FAULT: the model was changed; {result}"
    return " ".join(result.split())


def main() -> int:
    """Run the sweep; return 1 if a method fails without a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="names of networks, with commas; all if empty")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = list(named(options.only.split(",")) if options.only else networks())
    rows = run_trials(chosen, try_network, TABLE, workers=options.workers)
    cells = [
        (row["network"], name, str(row[name]))
        for row in rows
        for name in methods()
        if row["size"] != "none"
    ]
    faults = [cell for cell in cells if cell[2].startswith("FAULT")]
    accepted = sum(cell[2] == "ok" for cell in cells)
    not_built = [row["network"] for row in rows if row["size"] == "none"]
    print(f"{len(rows)} networks, not built {len(not_built)} ({', '.join(not_built)}).")
    print(f"{len(cells)} tries: {accepted} maps, ", end="")
    print(f"{len(cells) - accepted - len(faults)} refusals, {len(faults)} faults.")
    for network, name, words in faults:
        print(f"    {network}, {name}: {words}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
