"""Our metrics, and the same by Quantus and by Captum.

All score one explainer, the gradient, on the same images and classes, with the same number of
passes of the same size and, where they let us hand it in, the same noise.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import quantus
import torch
import torch.nn.functional as F
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from cost import STEPS, Case, Ours, backward, forward
from peers import Peer
from torch import Tensor, nn
from torchcam.methods import CAM
from torchcam.metrics import DeletionInsertionMetric

from xai_course.fully_connected import class_activation_map
from xai_course.metrics import faithfulness, layer_order, localisation, randomisation
from xai_course.relu import gradient

__all__ = ["measures", "rival_measures"]

NOISE, RADIUS = 0.2, 0.05
FLIPS = 12  # steps of the deletion curve: Quantus's must divide the number of pixels


def explainer(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Return the map that is scored: the gradient, its channels summed."""
    return gradient(model, images, targets).sum(1, keepdim=True)


def last_map(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Return the class activation map, enlarged as torchcam does."""
    small = class_activation_map(model, images, targets, enlarged=False)
    return F.interpolate(small, images.shape[2:], mode="bilinear")


def centre(case: Case) -> Tensor:
    """Return a mask for each image: the middle half of its rows and columns."""
    masks = torch.zeros_like(case.images[:, :1])
    quarter = case.images.shape[-1] // 4
    masks[..., quarter:-quarter, quarter:-quarter] = 1
    return masks


def moves(case: Case, normal: bool) -> Tensor:
    """Return the noise that our metrics draw, one for all images (samples, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    shape = (STEPS, *case.images.shape[1:])
    if normal:
        noise = NOISE * torch.randn(shape, generator=generator, dtype=torch.double)
    else:
        each = [
            torch.rand(shape[1:], generator=generator, dtype=torch.double) for _ in range(STEPS)
        ]
        noise = RADIUS * (torch.stack(each) * 2 - 1)
    return noise.to(case.images)


def measures(case: Case) -> dict[str, Ours]:
    """Return our metrics on this network and batch; none on ResNet-50, to save time."""
    if case.name.startswith("ResNet-50"):
        return {}
    given = (case.model, explainer, case.images, case.targets)
    few = {"batch_size": len(case.images)}
    masks, zero = centre(case), torch.zeros(1, 3, 1, 1)
    maps = explainer(case.model, case.images, case.targets)
    made = (case.model, maps, case.images)
    layers = len(layer_order(case.model, case.images))
    both = "forward, backward"

    def explain_often(times: int) -> Callable[[], None]:
        return lambda: backward(case, times, 1)

    def explain_and_forward(times: int) -> Callable[[], None]:
        return lambda: backward(case, 1, times + 1)

    once = f"{both}, forward"
    return {
        "pointing_game": Ours(
            lambda: localisation.pointing_game(*given[:3], masks, case.targets, **few),
            explain_often(1),
            once,
        ),
        "pointing_game, map given": Ours(
            lambda: localisation.pointing_game(*made, masks, case.targets, **few),
            None,
            "no pass",
        ),
        "relevance_mass": Ours(
            lambda: localisation.relevance_mass(*given[:3], masks, case.targets, **few),
            explain_often(1),
            once,
        ),
        "relevance_mass, map given": Ours(
            lambda: localisation.relevance_mass(*made, masks, case.targets, **few),
            None,
            "no pass",
        ),
        "deletion_curve": Ours(
            lambda: faithfulness.deletion_curve(*given, fill=zero, steps=FLIPS, **few),
            explain_and_forward(FLIPS),
            f"{both}, ({FLIPS} + 1) × forward",
        ),
        "deletion_and_insertion": Ours(
            lambda: faithfulness.deletion_and_insertion(
                case.model, last_map, *given[2:], fill=zero, steps=STEPS, **few
            ),
            lambda: forward(case, 2 * STEPS + 1),
            f"(2 × {STEPS} + 1) × forward",
        ),
        "infidelity": Ours(
            lambda: faithfulness.infidelity(*given, noise=NOISE, samples=STEPS, **few),
            explain_and_forward(STEPS),
            f"{both}, ({STEPS} + 1) × forward",
        ),
        "sensitivity_max": Ours(
            lambda: faithfulness.sensitivity_max(*given, radius=RADIUS, samples=STEPS, **few),
            explain_often(STEPS + 1),
            f"({STEPS} + 1) × ({both}), forward",
        ),
        "randomisation": Ours(
            lambda: randomisation(*given, **few),
            explain_often(layers + 1),
            f"({layers} + 1) × ({both}), forward",
        ),
    }


def rival_measures(case: Case) -> dict[str, list[Peer]]:
    """Return, for each measure, the peers that have it."""
    images, classes = case.images.numpy(), case.targets.numpy()
    masks = centre(case).numpy()
    maps = explainer(case.model, case.images, case.targets).numpy()
    plain = {"abs": False, "normalise": False, "disable_warnings": True}

    def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        with warnings.catch_warnings():
            return explainer(model, torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

    def noise_of(normal: bool) -> Iterator[np.ndarray]:
        return iter(moves(case, normal).flatten(1).numpy())

    def by(metric: Any, softmax: bool = False, made: Any = None, **more: Any) -> Callable[[], Any]:
        """Set up one of Quantus's metrics."""
        given = {"a_batch": made} if made is not None else {"explain_func": explain}

        def call() -> Any:
            scores = metric(
                model=case.model,
                x_batch=images,
                y_batch=classes,
                softmax=softmax,
                channel_first=True,
                batch_size=len(images),
                **given,
                **more,
            )
            if isinstance(scores, dict):
                return torch.tensor([v for k, v in scores.items() if k != "original"]).T
            return torch.tensor(np.array(scores, dtype=float))

        return call

    def positive(maps: np.ndarray) -> np.ndarray:  # Quantus adds up what it is given
        return maps.clip(min=0)

    def flip() -> Callable[[], Any]:
        per_step = 3 * images[0, 0].size // FLIPS  # Quantus counts each channel of a pixel
        metric = quantus.PixelFlipping(per_step, perturb_baseline=0.0, **plain)
        return by(metric, softmax=True)

    def quantus_infidelity() -> Callable[[], Any]:
        metric = quantus.Infidelity(
            perturb_patch_sizes=[case.window], n_perturb_samples=1, perturb_baseline=0.0, **plain
        )
        return by(metric)

    def quantus_sensitivity() -> Callable[[], Any]:
        state: dict[str, Any] = {}

        def move(arr: np.ndarray, **_: Any) -> np.ndarray:
            return arr + next(state["noise"])

        metric = quantus.MaxSensitivity(nr_samples=STEPS, perturb_func=move, **plain)
        call = by(metric)

        def with_noise() -> Any:
            state["noise"] = noise_of(normal=False)
            return call()

        return with_noise

    def explain_tuple(x: Any, model: nn.Module, target: Tensor) -> Any:
        if isinstance(x, tuple):  # then Captum also counts on a tuple
            return (explainer(model, x[0], target),)
        return explainer(model, x, target)

    def captum_noise(normal: bool) -> Callable[[], Any]:
        def call() -> Any:
            noise = iter(moves(case, normal))
            many = {"n_perturb_samples": STEPS, "max_examples_per_batch": len(images)}
            if not normal:
                return captum_sensitivity_max(
                    explain_tuple,
                    case.images,
                    lambda x: x + next(noise),
                    model=case.model,
                    target=case.targets,
                    **many,
                )

            def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
                step = next(noise).expand_as(x)
                return step, x - step

            grad = explainer(case.model, case.images, case.targets).expand_as(case.images)
            return captum_infidelity(
                case.model, perturb, case.images, grad, target=case.targets, **many
            )

        return call

    def both_curves() -> Callable[[], Any]:
        extractor = CAM(copy.deepcopy(case.model), case.last, case.head)
        metric = DeletionInsertionMetric(
            extractor, partial(torch.softmax, dim=-1), steps=STEPS, batch_size=len(images)
        )

        def call() -> Tensor:
            metric.reset()
            metric.update(case.images, class_idx=case.targets.tolist())
            return torch.tensor(list(metric.summary().values()))

        return call

    def clipped() -> Callable[[], Any]:
        metric = quantus.RelevanceMassAccuracy(
            abs=False, normalise=True, normalise_func=positive, disable_warnings=True
        )
        return metric

    return {
        "pointing_game": [
            Peer("quantus", lambda: by(quantus.PointingGame(**plain), s_batch=masks)),
        ],
        "pointing_game, map given": [
            Peer("quantus", lambda: by(quantus.PointingGame(**plain), made=maps, s_batch=masks)),
        ],
        "relevance_mass": [Peer("quantus", lambda: by(clipped(), s_batch=masks))],
        "relevance_mass, map given": [
            Peer("quantus", lambda: by(clipped(), made=maps, s_batch=masks))
        ],
        "deletion_curve": [
            Peer("quantus", flip, "PixelFlipping, channel by channel", lambda ours: ours[:, 1:]),
        ],
        "deletion_and_insertion": [
            Peer(
                "torchcam",
                both_curves,
                "means over the images",
                lambda ours: torch.stack([area.mean() for area in ours]),
            ),
        ],
        "infidelity": [
            Peer("captum", lambda: captum_noise(True)),
            Peer(
                "quantus", quantus_infidelity, "patches, one after another, in place of noise", None
            ),
        ],
        "sensitivity_max": [
            Peer("captum", lambda: captum_noise(False)),
            Peer("quantus", quantus_sensitivity),
        ],
        "randomisation": [
            Peer("quantus", lambda: by(quantus.MPRT(**plain)), "MPRT, other weights drawn", None)
        ],
    }
