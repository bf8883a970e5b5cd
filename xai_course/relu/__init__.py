"""Technique 1: explain a network by its ReLUs.

`gradients`: the gradient and what the ReLUs do to it. `grad_cam`: Grad-CAM, Grad-CAM++, HiResCAM
and LayerCAM. `gates`: which ReLUs are open, and the linear map that follows. `units`: which parts
of an image channels detect. `feature_visualization`: images that channels or classes respond to.

May import `core`.
"""

from xai_course.relu.feature_visualization import feature_visualization
from xai_course.relu.gates import (
    LocalLinear,
    capture_relu_masks,
    dead_relus,
    full_grad,
    local_linear,
    mask_agreement,
    relu_masks,
)
from xai_course.relu.grad_cam import (
    default_layer,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)
from xai_course.relu.gradients import (
    deconvnet,
    gradient,
    gradient_times_input,
    guided_backprop,
    relu_rule,
    smooth_grad,
)
from xai_course.relu.units import UnitReport, activations, unit_report

__all__ = [
    "LocalLinear",
    "UnitReport",
    "activations",
    "capture_relu_masks",
    "dead_relus",
    "deconvnet",
    "default_layer",
    "feature_visualization",
    "full_grad",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_times_input",
    "guided_backprop",
    "hires_cam",
    "layer_cam",
    "local_linear",
    "mask_agreement",
    "relu_masks",
    "relu_rule",
    "smooth_grad",
    "unit_report",
]
