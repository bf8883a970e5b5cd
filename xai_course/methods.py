"""The registry of methods: every explainer of the course with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from xai_course.beetlebox import ground_truth
from xai_course.beetlebox import scene as scene_module
from xai_course.beetlebox.scene import SPECIES, Scene
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.maps import Explainer
from xai_course.data.transforms import normalise
from xai_course.fully_connected.cam import class_activation_map, contrast
from xai_course.metrics import null_maps
from xai_course.metrics.null_maps import centre_map, edge_map
from xai_course.relu.gates import full_grad
from xai_course.relu.grad_cam import grad_cam
from xai_course.relu.gradients import (
    deconvnet,
    gradient,
    gradient_times_input,
    guided_backprop,
    smooth_grad,
)
from xai_course.residual.blocks import block_map
from xai_course.residual.deeplift import deeplift
from xai_course.residual.integrated_gradients import expected_gradients, integrated_gradients
from xai_course.residual.lrp import lrp
from xai_course.residual.occlusion import occlusion

__all__ = [
    "FAMILIES",
    "METHODS",
    "NULLS",
    "choose_methods",
    "course_methods",
    "report_methods",
    "report_null_maps",
    "with_nulls",
]


NULLS: dict[str, Explainer] = {
    "null: noise": partial(null_maps.noise_map, signed=False),
    "null: smooth noise": partial(null_maps.noise_map, smooth=4),
    "null: constant": null_maps.constant_map,
    "null: centre": null_maps.centre_map,
    "null: edges": null_maps.edge_map,
}


def course_methods() -> dict[str, Explainer]:
    """Return the explainers of lessons 03 to 05 with the options they are graded with, by name."""
    twenty = [scene for name in SPECIES for scene in scene_module.scenes("train", name, 2)]
    others = normalise(stack_images(twenty))
    black = normalise(torch.zeros(1, 3, 1, 1))
    return {
        "gradient": gradient,
        "gradient × input": gradient_times_input,
        "DeconvNet": deconvnet,
        "guided backpropagation": guided_backprop,
        "SmoothGrad": partial(smooth_grad, samples=8, batch_size=100),
        "Grad-CAM": grad_cam,
        "FullGrad": full_grad,
        "CAM": class_activation_map,
        "CAM, contrast": contrast,
        "last block": block_map,
        "occlusion": partial(occlusion, window=8, stride=8, batch_size=100),
        "IG, black": partial(integrated_gradients, baseline=black, steps=8, batch_size=100),
        "IG, mean": partial(integrated_gradients, steps=8, batch_size=100),
        "IG, blur": partial(integrated_gradients, baseline="blur", steps=8, batch_size=100),
        "expected gradients": partial(
            expected_gradients, baselines=others, steps=2, batch_size=100
        ),
        "DeepLIFT": deeplift,
        "LRP": partial(lrp, rule="gamma"),
    }


def with_nulls(
    model: nn.Module, scenes: Sequence[Scene], methods: Mapping[str, Explainer | Tensor]
) -> dict[str, Explainer | Tensor]:
    """Add what every table needs beside its methods: the nulls, and the answer key as a map.

    Two of them know the scenes: the beetle's silhouette, and the key itself (of the predicted
    class). Raises ValueError as `ground_truth_effects` does.
    """
    known = {
        "null: silhouette": ground_truth.silhouette(scenes),
        "the key itself": ground_truth.ground_truth_map(
            scenes, ground_truth.ground_truth_effects(model, scenes)
        ),
    }
    return {**methods, **NULLS, **known}


# The course's methods, and the names of their options.
METHODS: dict[str, tuple[str, ...]] = {
    "gradient": (),
    "gradient × input": (),
    "SmoothGrad": ("samples", "noise"),
    "DeconvNet": (),
    "guided backpropagation": (),
    "Grad-CAM": ("layer",),
    "FullGrad": (),
    "CAM": (),
    "CAM, contrast": (),
    "last block": (),
    "occlusion": ("window", "stride", "baseline"),
    "Integrated Gradients": ("steps", "baseline"),
    "expected gradients": ("steps",),
    "DeepLIFT": ("baseline",),
    "LRP": ("rule",),
}


# ---- methods -------------------------------------------------------------------------------------

FAMILIES = {
    "ReLU": ("gradient", "SmoothGrad", "guided backpropagation", "Grad-CAM", "FullGrad"),
    "fully connected": ("CAM",),
    "residual": ("last block", "occlusion", "Integrated Gradients", "DeepLIFT", "LRP"),
}


def report_methods(
    size: tuple[int, int] = (224, 224), *, batch_size: int = 16
) -> dict[str, Explainer]:
    """Return explainers of the three families by name, with options for inputs of a size (H, W).

    `batch_size`: copies of images in one pass, in the methods that make copies.
    """
    window = (max(size[0] // 8, 1), max(size[1] // 8, 1))
    return {
        "gradient": gradient,
        "SmoothGrad": partial(smooth_grad, samples=8, batch_size=batch_size),
        "guided backpropagation": guided_backprop,
        "Grad-CAM": grad_cam,
        "FullGrad": full_grad,
        "CAM": class_activation_map,
        "last block": block_map,
        "occlusion": partial(occlusion, window=window, stride=window, batch_size=batch_size),
        "Integrated Gradients": partial(
            integrated_gradients, baseline="blur", steps=8, batch_size=batch_size
        ),
        "DeepLIFT": partial(deeplift, baseline="blur"),
        "LRP": partial(lrp, rule="gamma"),
    }


def report_null_maps() -> dict[str, Explainer]:
    """Return two maps that know nothing of the network: of edges, and of the middle."""
    return {"null: edges": edge_map, "null: centre": centre_map}


def choose_methods(names: Sequence[str], size: tuple[int, int]) -> dict[str, Explainer]:
    """Return some of `report_methods` by name. Raises ValueError for an unknown name, or none."""
    known = report_methods(size)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"methods: got {', '.join(unknown) or 'none'}; allowed are {', '.join(known)}."
        )
    return {name: known[name] for name in names}
