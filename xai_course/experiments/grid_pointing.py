"""The grid pointing game, on mosaics of beetles and of photographs: an oracle from other work.

In a mosaic of images of different classes, the cell of a class is known to speak for it. So maps
can be judged without an answer key, also on photographs, and by a score that others have published.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice
from xai_course.core.maps import Explainer
from xai_course.core.paths import data_folder
from xai_course.core.statistics import seed_interval
from xai_course.data.photographs import photograph
from xai_course.data.transforms import normalise
from xai_course.methods import METHODS, NULL_MAPS, further_methods, training_baselines
from xai_course.metrics.localisation import grid_pointing_game, mosaics
from xai_course.metrics.null_maps import bright_edge_map
from xai_course.metrics.randomisation import reinitialised
from xai_course.models.pretrained import photo_network
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials

__all__ = ["GRIDS", "LAYER_METHODS", "MOSAICS", "grid_pointing_scores", "grid_pointing_trials"]

GRIDS = {"two": (1, 2), "four": (2, 2)}
"""Rows and columns of a mosaic, by name."""

MOSAICS = ("beetles", "photographs")

LAYER_METHODS = ("Grad-CAM", "FullGrad", "CAM", "CAM, contrast", "last block")
"""Methods that read a layer inside: their maps do not fit a mosaic with cells cut apart."""

# Photographs for which the network gives one class a probability of 0.6 or more, with 128 pixels.
_PHOTOGRAPHS = ("camera", "chelsea", "clock", "coffee", "moon", "rocket", "brick", "coins")
_PIXELS = 128  # of a cell with a photograph
_SCENES = 2  # of each species
_NULLS: dict[str, Explainer] = {**NULL_MAPS, "null: bright edges": bright_edge_map}


def grid_pointing_scores(images: str, grid: str, method: str) -> dict[str, float | None]:
    """Play the grid pointing game with one method: a trial of `grid_pointing_trials`.

    Args:
        images: "beetles" (BeetleNet, two test scenes of each species) or "photographs"
            (EfficientNet-Lite0, eight photographs of scikit-image with 128 pixels). Each stands in
            one mosaic.
        grid: a name from GRIDS.
        method: a name from METHODS, or of a null map.

    Returns:
        "share" of the positive relevance in the cell of the class; "low" and "high", its 95 %
        interval by Student's t over the images, whose number is "scored"; "untrained", the share
        of the same method for a network with random weights; "disconnected", the share where each
        cell is classified apart (None for LAYER_METHODS).

    Raises:
        ValueError: for an unknown name.
    """
    check_choice("images", images, MOSAICS)
    check_choice("grid", grid, GRIDS)
    model, untrained, x, classes = _material(images)
    methods = _methods(images, grid)
    check_choice("method", method, methods)
    play = partial(
        grid_pointing_game, explainer=methods[method], images=x, targets=classes, grid=GRIDS[grid]
    )
    share, low, high = seed_interval(play(model).tolist(), bounds=(0, 1))
    results: dict[str, float | None] = {
        "share": share,
        "low": low,
        "high": high,
        "scored": len(x),
        "untrained": play(untrained).mean().item(),
        "disconnected": None,
    }
    if method not in LAYER_METHODS:
        results["disconnected"] = play(model, disconnected=True).mean().item()
    return {
        name: None if value is None else float(f"{value:.5g}") for name, value in results.items()
    }


@lru_cache(maxsize=2)
def _material(images: str) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """Return the network, an untrained one, the images, and the classes predicted for them."""
    if images == "beetles":
        model, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
        # One species after the other, so that the images of a mosaic differ in it.
        batch = [scenes("test", name, _SCENES)[n] for n in range(_SCENES) for name in SPECIES]
        x = normalise(stack_images(batch))
    else:
        model, transform, _ = photo_network()
        x = torch.stack([transform(photograph(name)) for name in _PHOTOGRAPHS])
        x = F.interpolate(x, size=(_PIXELS, _PIXELS), mode="bilinear", antialias=True)
    with torch.no_grad():
        classes = model(x).argmax(1)
    return model, reinitialised(model, x), x, classes


def _methods(images: str, grid: str) -> dict[str, Explainer]:
    """Return the methods and null maps, with windows and baselines that fit the mosaics."""
    if images == "beetles":
        window, others = 8, training_baselines()  # 20 training scenes
    else:
        window, others = 32, _material(images)[2].roll(1, 0)  # mosaics of the same in other cells
    options: dict[str, dict[str, Any]] = {
        "occlusion": {"window": window, "stride": window},
        "expected gradients": {"baselines": mosaics(others, GRIDS[grid])},
    }
    explainers = {
        name: method.explainer(
            **options.get(name, {}), batch_size=20 if method.makes_copies else None
        )
        for name, method in METHODS.items()
    }
    return {**explainers, **_NULLS}


def grid_pointing_trials(
    file: str | Path | None = None,
    *,
    workers: int = 1,
    images: Sequence[str] = MOSAICS,
) -> list[Row]:
    """Play the grid pointing game with methods and null maps, on mosaics of two and of four.

    The methods are those of lessons 04 to 07.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.
        images: names from MOSAICS.

    Returns:
        A row for each kind of images, grid and method, with the results of `grid_pointing_scores`.

    Raises:
        ValueError: as `grid_pointing_scores` and `run_trials`.
    """
    methods = [*(name for name in METHODS if name not in further_methods()), *_NULLS]
    trials = [
        {"images": kind, "grid": grid, "method": method}
        for kind in images
        for grid in GRIDS
        for method in methods
    ]
    return run_trials(trials, grid_pointing_scores, file, workers=workers)
