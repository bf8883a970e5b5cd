"""The registry of methods: every explainer of the course, and what is known of each.

`METHODS` lists the explainers, `NULL_MAPS` the maps that know nothing of the network. The explorer,
the report, the tables of scores, the benchmarks and the tests all take their methods from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.beetlebox import ground_truth
from xai_course.beetlebox import scene as scene_module
from xai_course.beetlebox.scene import SPECIES, Scene
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice
from xai_course.core.maps import Explainer
from xai_course.data.transforms import normalise
from xai_course.fully_connected.cam import class_activation_map, contrast
from xai_course.fully_connected.score_cam import score_cam
from xai_course.metrics import null_maps
from xai_course.relu.gates import full_grad
from xai_course.relu.grad_cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
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
from xai_course.residual.lime import lime
from xai_course.residual.lrp import lrp
from xai_course.residual.occlusion import occlusion
from xai_course.residual.rise import rise
from xai_course.residual.shapley import shapley_values

__all__ = [
    "HARD_NULL_MAPS",
    "METHODS",
    "NULL_MAPS",
    "Method",
    "choose_methods",
    "course_methods",
    "further_methods",
    "map_unit",
    "report_methods",
    "report_null_maps",
    "training_baselines",
    "with_null_maps",
]


@dataclass(frozen=True)
class Method:
    """One explainer of the course.

    Attributes:
        name: the name that readers see.
        function: called as `function(model, images, targets, **options)`; returns relevance.
        family: the technique of the article: "ReLU", "fully connected" or "residual".
        needs: what a network must have, or the method refuses it. "a baseline" is what the reader
            must choose. The other names are those that `report.check_assumptions` gives, as far as
            it checks them.
        unit: of the relevance: "logits", "logits per unit of the input" or "none".
        readout: how the relevance of a region is read. "signed sum": a positive sum speaks for the
            class. "size": the sign does not mean for or against; only the size counts.
        options: what a reader may set, with the course's value; None is the function's default.
        settings: what the course sets besides, such as the number of masks.
        makes_copies: True if it runs copies of each image, `batch_size` of them in one pass.

    Example:
        >>> from xai_course.methods import METHODS
        >>> METHODS["LRP"].family, METHODS["LRP"].unit, dict(METHODS["LRP"].options)
        ('residual', 'logits', {'rule': 'gamma'})
    """

    name: str
    function: Explainer
    family: str
    needs: tuple[str, ...]
    unit: str
    readout: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    makes_copies: bool = False

    def explainer(self, **options: Any) -> Explainer:
        """Return the function with the course's options.

        Args:
            options: by name; they replace the course's, and None stands for the function's default.

        Returns:
            The function itself if no option is set, else a `functools.partial` of it.

        Example:
            >>> from xai_course.methods import METHODS
            >>> METHODS["SmoothGrad"].explainer(noise=0.3).keywords
            {'samples': 8, 'noise': 0.3}
        """
        every = {**self.settings, **self.options, **options}
        chosen = {name: value for name, value in every.items() if value is not None}
        return partial(self.function, **chosen) if chosen else self.function


_DERIVATIVE = "a derivative by the image"
_PER_INPUT = "logits per unit of the input"

# In the order of the explorer's menu.
_EVERY = (
    Method("gradient", gradient, "ReLU", (_DERIVATIVE,), _PER_INPUT, "size"),
    Method(
        "gradient × input", gradient_times_input, "ReLU", (_DERIVATIVE,), "logits", "signed sum"
    ),
    Method(
        "SmoothGrad",
        smooth_grad,
        "ReLU",
        (_DERIVATIVE,),
        _PER_INPUT,
        "size",
        options={"samples": 8, "noise": None},
        makes_copies=True,
    ),
    Method(
        "DeconvNet",
        deconvnet,
        "ReLU",
        (_DERIVATIVE, "all activations are ReLUs"),
        "none",
        "size",
    ),
    Method(
        "guided backpropagation",
        guided_backprop,
        "ReLU",
        (_DERIVATIVE, "all activations are ReLUs"),
        "none",
        "size",
    ),
    Method(
        "Grad-CAM",
        grad_cam,
        "ReLU",
        (_DERIVATIVE, "a convolution"),
        "logits",
        "signed sum",
        options={"layer": None},
    ),
    *(
        Method(
            name,
            function,
            "ReLU",
            (_DERIVATIVE, "a convolution"),
            unit,
            "signed sum",
            options={"layer": None},
        )
        for name, function, unit in (
            ("Grad-CAM++", grad_cam_plus_plus, "none"),
            ("HiResCAM", hires_cam, "logits"),
            ("LayerCAM", layer_cam, "logits"),
        )
    ),
    Method(
        "FullGrad", full_grad, "ReLU", (_DERIVATIVE, "piecewise linear"), "logits", "signed sum"
    ),
    Method(
        "CAM",
        class_activation_map,
        "fully connected",
        ("a convolution", "a linear head"),
        "logits",
        "signed sum",
    ),
    Method(
        "CAM, contrast",
        contrast,
        "fully connected",
        ("a convolution", "a linear head"),
        "logits",
        "signed sum",
    ),
    Method(
        "Score-CAM",
        score_cam,
        "fully connected",
        ("a convolution",),
        "none",
        "signed sum",
        options={"layer": None},
        makes_copies=True,
    ),
    Method("last block", block_map, "residual", ("residual sums",), "logits", "signed sum"),
    Method(
        "occlusion",
        occlusion,
        "residual",
        ("a baseline",),
        "logits",
        "signed sum",
        options={"window": 8, "stride": 8, "baseline": None},
        makes_copies=True,
    ),
    *(
        Method(
            name,
            function,
            "residual",
            ("a baseline",),
            "logits",
            "signed sum",
            options={"baseline": None},
            settings=settings,
            makes_copies=True,
        )
        for name, function, settings in (
            ("RISE", rise, {"masks": 256, "output": "logit", "centred": True}),
            ("LIME", lime, {"samples": 256}),
            ("Shapley values", shapley_values, {"samples": 512}),
        )
    ),
    Method(
        "Integrated Gradients",
        integrated_gradients,
        "residual",
        (_DERIVATIVE, "a baseline"),
        "logits",
        "signed sum",
        options={"baseline": None, "steps": 8},
        makes_copies=True,
    ),
    Method(
        "expected gradients",
        expected_gradients,
        "residual",
        (_DERIVATIVE, "a baseline"),
        "logits",
        "signed sum",
        options={"steps": 2},
        makes_copies=True,
    ),
    Method(
        "DeepLIFT",
        deeplift,
        "residual",
        (_DERIVATIVE, "a baseline", "activations of single units"),
        "logits",
        "signed sum",
        options={"baseline": None},
    ),
    Method(
        "LRP",
        lrp,
        "residual",
        (_DERIVATIVE, "convolutions or linear layers", "activations of single units"),
        "logits",
        "signed sum",
        options={"rule": "gamma"},
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _EVERY}


def map_unit(explainer: Explainer | Tensor) -> str | None:
    """Return whether a map of the course is a slope or a sum, as `infidelity` asks.

    Most maps hold the input already: they are sums. The others are derivatives, whose map is
    multiplied by the input to become a sum: slopes. These are the methods that are read by size;
    DeconvNet and guided backpropagation are among them.

    Args:
        explainer: a function of the course, also with options in a `functools.partial`; or anything
            else.

    Returns:
        "slope", "sum", or None for what is no method of the course: null maps, relevance that was
        made before, a reader's own explainer.

    Example:
        >>> from xai_course.methods import METHODS, map_unit
        >>> map_unit(METHODS["gradient"].function), map_unit(METHODS["LRP"].explainer())
        ('slope', 'sum')
    """
    while isinstance(explainer, partial):
        explainer = explainer.func
    for method in METHODS.values():
        if method.function is explainer:
            return "slope" if method.readout == "size" else "sum"
    return None


NULL_MAPS: dict[str, Explainer] = {
    "null: noise": partial(null_maps.noise_map, signed=False),
    "null: smooth noise": partial(null_maps.noise_map, smooth=4),
    "null: constant": null_maps.constant_map,
    "null: centre": null_maps.centre_map,
    "null: edges": null_maps.edge_map,
}

# The hardest to beat in BeetleBox; lesson 08 grades them, too. The tables of other lessons do not
# hold them.
HARD_NULL_MAPS: dict[str, Explainer] = {
    "null: bright edges": null_maps.bright_edge_map,
    "null: away from the centre": partial(null_maps.centre_map, inverse=True),
}


# ---- for beetles ---------------------------------------------------------------------------------

# The rows of the tables in data/grades, in their order. They hold Integrated Gradients three times.
_GRADED = (
    *("gradient", "gradient × input", "DeconvNet", "guided backpropagation", "SmoothGrad"),
    *("Grad-CAM", "FullGrad", "CAM", "CAM, contrast", "last block", "occlusion"),
    *("IG, black", "IG, mean", "IG, blur", "expected gradients", "DeepLIFT", "LRP"),
)


def course_methods() -> dict[str, Explainer]:
    """Return the explainers of lessons 04 to 07 for images of 64 pixels, as the lessons grade them.

    Returns:
        The explainers by name, with the course's options. Integrated Gradients stands there three
        times, with three baselines.

    Example:
        >>> from xai_course.methods import course_methods
        >>> len(course_methods())
        17
    """
    explainers = {
        name: method.explainer(batch_size=100 if method.makes_copies else None)
        for name, method in METHODS.items()
    }
    black = normalise(torch.zeros(1, 3, 1, 1))
    for name, baseline in (("IG, black", black), ("IG, mean", None), ("IG, blur", "blur")):
        explainers[name] = METHODS["Integrated Gradients"].explainer(
            baseline=baseline, batch_size=100
        )
    # The baselines come before the other options, as the tables in data/grades describe it.
    with_baselines = partial(expected_gradients, baselines=training_baselines())
    options = METHODS["expected gradients"].options
    explainers["expected gradients"] = partial(with_baselines, **options, batch_size=100)
    return {name: explainers[name] for name in _GRADED}


_FURTHER = ("Grad-CAM++", "HiResCAM", "LayerCAM", "Score-CAM", "RISE", "LIME", "Shapley values")


def further_methods() -> dict[str, Explainer]:
    """Return the explainers of lesson 15 for images of 64 pixels, as the lesson grades them.

    Returns:
        The explainers by name, with the course's options.

    Example:
        >>> from xai_course.methods import further_methods
        >>> list(further_methods())[3:5]
        ['Score-CAM', 'RISE']
    """
    return {
        name: METHODS[name].explainer(batch_size=100 if METHODS[name].makes_copies else None)
        for name in _FURTHER
    }


@lru_cache(maxsize=1)
def training_baselines() -> Tensor:
    """Return what expected gradients compare a beetle with: two training scenes of each species.

    Returns:
        Images (20, 3, 64, 64), as the course's networks take them. Do not change them.
    """
    twenty = [scene for name in SPECIES for scene in scene_module.scenes("train", name, 2)]
    return normalise(stack_images(twenty))


def with_null_maps(
    model: nn.Module, scenes: Sequence[Scene], methods: Mapping[str, Explainer | Tensor]
) -> dict[str, Explainer | Tensor]:
    """Add what every table needs beside its methods: the null maps, and the ground truth as a map.

    Two of them know the scenes: "null: silhouette" is the beetle's silhouette, and "the key itself"
    is the ground truth of the predicted class.

    Args:
        model: the network, which the ground truth is for.
        scenes: the N scenes.
        methods: explainers, or the relevance of these scenes, by name.

    Returns:
        The methods, the null maps and the ground truth, by name.

    Raises:
        ValueError: as `ground_truth_effects` does.
    """
    known = {
        "null: silhouette": ground_truth.silhouette(scenes),
        "the key itself": ground_truth.ground_truth_map(
            scenes, ground_truth.ground_truth_effects(model, scenes)
        ),
    }
    return {**methods, **NULL_MAPS, **known}


# ---- for any network -----------------------------------------------------------------------------

# The report leaves out what is close to another of its methods, or needs images to compare with;
# and, unless they are asked for by name, the methods of lesson 15.
_NOT_REPORTED = ("gradient × input", "DeconvNet", "CAM, contrast", "expected gradients")


def report_methods(
    size: tuple[int, int] = (224, 224), *, batch_size: int = 16, every: bool = False
) -> dict[str, Explainer]:
    """Return explainers of the three families for any network and any size of image.

    Args:
        size: height and width of the network's input in pixels; the window of occlusion goes with
            it.
        batch_size: copies of images in one pass, in the methods that make copies.
        every: True for those, too, that the report makes only when they are asked for by name: the
            sisters of Grad-CAM, and what needs hundreds of passes.

    Returns:
        The explainers by name. Those with a baseline compare with a blur of the image.

    Example:
        >>> from xai_course.methods import report_methods
        >>> report_methods((64, 96))["occlusion"].keywords
        {'window': (8, 12), 'stride': (8, 12), 'batch_size': 16}
    """
    window = (max(size[0] // 8, 1), max(size[1] // 8, 1))
    changed: dict[str, dict[str, Any]] = {
        "occlusion": {"window": window, "stride": window},
        "Integrated Gradients": {"baseline": "blur"},
        "DeepLIFT": {"baseline": "blur"},
    }
    changed |= {name: {"baseline": "blur"} for name in ("RISE", "LIME", "Shapley values")}
    left_out = _NOT_REPORTED if every else (*_NOT_REPORTED, *_FURTHER)
    return {
        name: method.explainer(
            **changed.get(name, {}), batch_size=batch_size if method.makes_copies else None
        )
        for name, method in METHODS.items()
        if name not in left_out
    }


def report_null_maps() -> dict[str, Explainer]:
    """Return two maps that know nothing of the network: of the edges, and of the centre.

    Returns:
        The null maps by name.
    """
    return {name: NULL_MAPS[name] for name in ("null: edges", "null: centre")}


def choose_methods(names: Sequence[str], size: tuple[int, int]) -> dict[str, Explainer]:
    """Return some of `report_methods` by name.

    Args:
        names: at least one name.
        size: height and width of the network's input in pixels.

    Returns:
        The explainers by name, in the order of the names.

    Raises:
        ValueError: for an unknown name, or no name.
    """
    known = report_methods(size, every=True)
    for name in names or [""]:
        check_choice("methods", name, known)
    return {name: known[name] for name in names}
