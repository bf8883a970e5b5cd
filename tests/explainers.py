"""Every explainer and all else that runs a model, with options that make it quick; a network."""

import copy
from functools import partial

import torch
from stock_networks import CLASSES, pictures
from torch import Tensor, nn

from xai_course.fully_connected import (
    class_similarity,
    contrast,
    embed,
    fit_representer,
    logit_contributions,
    representer_points,
    score_cam,
)
from xai_course.methods import METHODS
from xai_course.metrics import (
    count_passes,
    deletion,
    deletion_and_insertion,
    grid_pointing_game,
    infidelity,
    insertion,
    layer_order,
    null_battery,
    randomisation,
    randomisation_null,
    reinitialised,
    sensitivity_max,
)
from xai_course.models import faster
from xai_course.relu import (
    activations,
    dead_relus,
    default_layer,
    grad_cam,
    gradient,
    local_linear,
    relu_masks,
)
from xai_course.residual import (
    ablate_blocks,
    block_contributions,
    expected_gradients,
    lime_coefficients,
    logit_lens,
    lrp,
    path_contributions,
    path_gradients,
    rise,
    shapley_estimates,
)
from xai_course.robustness import fgsm, gradient_masking_checks, learn_patch, manipulate_map, pgd


def expected_gradients_of_two(model: nn.Module, images: Tensor, targets: object = None) -> Tensor:
    """Expected gradients over the same two baselines, whatever the images."""
    channels, height, width = images.shape[-3:]
    baselines = pictures(2, 64, channels, seed=9)[..., :height, :width]
    if isinstance(images, Tensor) and images.is_floating_point():
        baselines = baselines.to(images.dtype)
    return expected_gradients(model, images, targets, baselines=baselines, steps=2)


# Options that make a method quick, by the name of its function.
QUICK = {
    "smooth_grad": {"samples": 3},
    "block_map": {"block": 0},
    "occlusion": {"window": 8, "stride": 8},
    "integrated_gradients": {"steps": 3},
    "deeplift": {"baseline": "blur"},  # a flat baseline has ties in its max-pools
    "score_cam": {"batch_size": 100},
    "rise": {"masks": 20, "batch_size": 100},
    "lime": {"samples": 40, "batch_size": 100},
    "shapley_values": {"samples": 256, "batch_size": 260},
}

FUNCTIONS = {method.function.__name__: method.function for method in METHODS.values()}

EXPLAINERS = {
    **{name: partial(function, **QUICK.get(name, {})) for name, function in FUNCTIONS.items()},
    "grad_cam of a named layer": partial(grad_cam, layer="conv1"),
    "expected_gradients": expected_gradients_of_two,
    "lrp with gamma": partial(lrp, rule="gamma"),
    "rise, centred": partial(rise, masks=20, centred=True, output="logit", baseline="blur"),
    "score_cam by increase": partial(score_cam, weights="increase", batch_size=100),
}

LABELS = torch.zeros(2, dtype=torch.long)
MASK = torch.zeros(1, 1, 16, 16, dtype=torch.bool).index_fill(2, torch.arange(4), True)
# Other functions that run a model.
OTHERS = {
    "ablate_blocks": lambda model, x: ablate_blocks(model, x, 0),
    "activations": lambda model, x: activations(model, x, "conv2"),
    "block_contributions": block_contributions,
    "class_similarity": class_similarity,
    "contrast": contrast,
    "count_passes": lambda model, x: count_passes(model, lambda: gradient(model, x)),
    "dead_relus": dead_relus,
    "default_layer": default_layer,
    "deletion": lambda model, x: deletion(model, gradient, x, steps=3),
    "deletion_and_insertion": lambda model, x: deletion_and_insertion(model, gradient, x, steps=3),
    "embed": embed,
    "faster": faster,
    "fit_representer": fit_representer,
    "fgsm": lambda model, x: fgsm(model, x, LABELS, epsilon=0.1),
    "gradient_masking_checks": lambda model, x: gradient_masking_checks(
        model, x.sigmoid(), LABELS, epsilon=0.1, steps=2
    ),
    "grid_pointing_game": lambda model, x: grid_pointing_game(
        model, gradient, x, LABELS, grid=(1, 2)
    ),
    "infidelity": lambda model, x: infidelity(model, gradient, x, samples=3),
    "insertion": lambda model, x: insertion(model, gradient, x, steps=3),
    "layer_order": layer_order,
    "learn_patch": lambda model, x: learn_patch(model, x, LABELS, mask=MASK, steps=2),
    "lime_coefficients": lambda model, x: lime_coefficients(model, x, samples=40),
    "local_linear": local_linear,
    "logit_contributions": logit_contributions,
    "logit_lens": logit_lens,
    "manipulate_map": lambda model, x: manipulate_map(model, x, gradient(model, x), steps=2),
    "null_battery": lambda model, x: null_battery(model, x, gradient),
    "path_contributions": path_contributions,
    "path_gradients": path_gradients,
    "pgd": lambda model, x: pgd(model, x, LABELS, epsilon=0.1, steps=2),
    "randomisation": lambda model, x: randomisation(model, gradient, x),
    "randomisation_null": lambda model, x: randomisation_null(model, gradient, x),
    "reinitialised": reinitialised,
    "relu_masks": relu_masks,
    "representer_points": lambda model, x: representer_points(REPRESENTER_FIT, model, x),
    "sensitivity_max": lambda model, x: sensitivity_max(model, gradient, x, samples=2),
    "shapley_estimates": lambda model, x: shapley_estimates(model, x, samples=256),
}
ALL_FUNCTIONS = EXPLAINERS | OTHERS


def state(model: nn.Module) -> list[object]:
    """What a method must leave as it was on a model."""
    facts: list[object] = []
    for module in model.modules():
        hooks = [value for name, value in vars(module).items() if name.endswith("_hooks")]
        facts += [module.training, copy.copy(hooks), sorted(vars(module))]
    for parameter in model.parameters():
        facts += [parameter.requires_grad, parameter.grad, parameter._version, id(parameter)]
    return [*facts, *(buffer._version for buffer in model.buffers())]


class Small(nn.Module):
    """Two convolutions, an overlapping max-pool, a residual block and a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Conv2d(6, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.branch = nn.Sequential(
            nn.Conv2d(5, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 5, 3, padding=1)
        )
        self.last = nn.Identity()
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.relu(self.norm(self.conv2(x)))
        out = self.branch(x)
        out += x
        return self.head(self.last(self.relu(out)).mean((2, 3)))


def small(channels: int = 3, classes: int = CLASSES, dtype: torch.dtype = torch.double) -> Small:
    """Return a small residual network with known random weights, in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    model = Small(channels, classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        model.norm.running_mean.normal_(0, 0.2, generator=generator)
    return model.to(dtype).eval()


REPRESENTER_FIT = fit_representer(small(), pictures(4, 16))
