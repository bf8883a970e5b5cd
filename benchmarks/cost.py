"""What is measured: three networks, our methods on them, and the bare passes that each needs.

Bare passes are what no implementation of a method can do without: the model's forward pass, and the
backward pass as far as the method needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from xai_course.core.paths import data_folder
from xai_course.fully_connected import logit_contributions
from xai_course.methods import METHODS
from xai_course.models import faster
from xai_course.residual import grid_segments
from xai_course.storage import load_checkpoint

__all__ = ["STEPS", "Case", "Ours", "cases", "methods"]

STEPS = 16  # steps, samples and windows alike; a window's side is a quarter of the image
COALITIONS = 4 * STEPS  # for the 4 × 4 segments: four orders of them, or as many draws


class Case(NamedTuple):
    """A network, a batch for it, the classes to explain, and two of its modules by name."""

    name: str
    model: nn.Module
    images: Tensor
    targets: Tensor
    last: str  # returns the last feature map
    head: str  # the linear layer

    @property
    def window(self) -> int:
        """A window's side in pixels: 4 x 4 of them cover the image."""
        return self.images.shape[-1] // 4

    @property
    def base(self) -> Tensor:
        """Each image's mean colour, as an image: the baseline of all that need one."""
        return self.images.mean((2, 3), keepdim=True).expand_as(self.images).clone()


class Ours(NamedTuple):
    """One of our methods: its call, the bare passes it needs (None: none), and these in words."""

    call: Callable[[], Any]
    bare: Callable[[], None] | None
    words: str


def cases(small: bool = False) -> Iterator[Case]:
    """Yield the networks and batches to measure on; `small`: tiny batches, to try that all runs."""
    generator = torch.Generator().manual_seed(0)
    count, side = (2, 32) if small else (32, 64)
    beetle_net = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")[0].eval()
    yield _case("BeetleNet", beetle_net, (count, 3, side, side), "blocks", "head", generator)
    torch.manual_seed(0)
    count, side = (2, 64) if small else (2, 224)
    residual = resnet18(num_classes=10).eval()
    yield _case("ResNet-18", residual, (count, 3, side, side), "layer4", "fc", generator)
    torch.manual_seed(0)
    deep = resnet50(num_classes=10).eval()
    yield _case("ResNet-50", deep, (count, 3, side, side), "layer4", "fc", generator)


def _case(
    name: str,
    model: nn.Module,
    shape: tuple[int, ...],
    last: str,
    head: str,
    generator: torch.Generator,
) -> Case:
    """Draw the batch, and take the predicted classes as targets."""
    images = torch.randn(shape, generator=generator)
    with torch.no_grad():
        targets = model(images).argmax(1)
    name = f"{name}, {shape[0]} × {shape[-1]} px"
    return Case(name, model, images, targets, last, head)


def forward(case: Case, times: int = 1) -> None:
    """Run the model without gradients."""
    with torch.no_grad():
        for _ in range(times):
            case.model(case.images)


def backward(case: Case, times: int = 1, forwards: int = 0) -> None:
    """Run the model forward and back to its input; before it, more passes without gradients."""
    forward(case, forwards)
    for _ in range(times):
        x = case.images.clone().requires_grad_()
        chosen = case.model(x).gather(1, case.targets[:, None]).sum()
        torch.autograd.grad(chosen, x)


def to_last_map(case: Case) -> None:
    """Run the model forward, and back to its last feature map."""
    kept: list[Tensor] = []
    last = case.model.get_submodule(case.last)
    with last.register_forward_hook(lambda _m, _i, out: kept.append(out)):
        chosen = case.model(case.images.clone()).gather(1, case.targets[:, None]).sum()
    torch.autograd.grad(chosen, kept[0])


def methods(case: Case) -> dict[str, Ours]:
    """Return our methods for this network and batch, by the names of their functions.

    What takes hundreds of passes runs on the small network alone, and ResNet-50 only what is also
    measured with the copy that `faster` makes. The bare passes are those of the network itself.
    """
    given = (case.model, case.images, case.targets)

    def call(name: str, copied: bool = False, **options: Any) -> Callable[[], Tensor]:
        method = METHODS[name]
        if method.makes_copies:
            options["batch_size"] = len(case.images)  # one copy of each image in a pass
        model = faster(case.model, case.images[:2]) if copied else case.model
        return lambda: method.function(model, case.images, case.targets, **options)

    def forwards(name: str, times: int, **options: Any) -> Ours:
        words = f"({times} + 1) × forward"
        return Ours(call(name, **options), lambda: forward(case, times + 1), words)

    def both(name: str, **options: Any) -> Ours:
        return Ours(call(name, **options), lambda: backward(case), "forward, backward")

    def both_and_forward(name: str, **options: Any) -> Ours:
        words = "forward, backward, forward"
        return Ours(call(name, **options), lambda: backward(case, 1, 1), words)

    def to_map(name: str, **options: Any) -> Ours:
        words = "forward, backward to the map"
        return Ours(call(name, **options), lambda: to_last_map(case), words)

    def many(name: str, **options: Any) -> Ours:
        words = f"{STEPS} × (forward, backward), forward"
        return Ours(call(name, **options), lambda: backward(case, STEPS, 1), words)

    window, baselines = case.window, case.base[:2]
    windows = {"window": window, "stride": window}
    with_copy = {
        "gradient, faster": both("gradient", copied=True),
        "occlusion, faster": forwards("occlusion", STEPS, copied=True, **windows),
        "integrated_gradients, faster": many("Integrated Gradients", copied=True, steps=STEPS),
    }
    if case.name.startswith("ResNet-50"):
        return {
            "gradient": both("gradient"),
            "occlusion": forwards("occlusion", STEPS, **windows),
            "integrated_gradients": many("Integrated Gradients", steps=STEPS),
            **with_copy,
        }
    layer = {"layer": case.last, "relu": True}
    hundreds = {}
    if not case.name.startswith("ResNet"):
        channels = _channels(case)
        segments = {"segments": grid_segments(case.images, 4, 4)}
        sampled = {"samples": COALITIONS, **segments}
        hundreds = {
            "score_cam": forwards("Score-CAM", channels + 1, **layer),
            "lime": forwards("LIME", COALITIONS, **sampled),
            "shapley_values, permutation": forwards(
                "Shapley values", COALITIONS, method="permutation", **sampled
            ),
            "shapley_values, kernel": forwards(
                "Shapley values", COALITIONS, method="kernel", **sampled
            ),
        }
    return {
        "gradient": both("gradient"),
        "gradient_times_input": both("gradient × input"),
        "deconvnet": both("DeconvNet"),
        "guided_backprop": both("guided backpropagation"),
        "smooth_grad": many("SmoothGrad", samples=STEPS),
        "full_grad": both("FullGrad"),
        "grad_cam": to_map("Grad-CAM", relu=True),
        "grad_cam, layer named": to_map("Grad-CAM", **layer),
        "grad_cam_plus_plus": to_map("Grad-CAM++", **layer),
        "hires_cam": to_map("HiResCAM", **layer),
        "layer_cam": to_map("LayerCAM", **layer),
        "class_activation_map": to_map("CAM", enlarged=False),
        "logit_contributions": Ours(
            lambda: logit_contributions(*given).contributions,
            lambda: to_last_map(case),
            "forward, backward to the map",
        ),
        "occlusion": forwards("occlusion", STEPS, **windows),
        "rise": forwards("RISE", STEPS, masks=STEPS),
        **hundreds,
        "integrated_gradients": many("Integrated Gradients", steps=STEPS),
        "integrated_gradients, gauss": many("Integrated Gradients", steps=STEPS, rule="gauss"),
        "expected_gradients": many("expected gradients", baselines=baselines, steps=STEPS // 2),
        "deeplift": both_and_forward("DeepLIFT"),
        "lrp": both_and_forward("LRP"),
        "lrp, gamma": both_and_forward("LRP", rule="gamma"),
        **({} if hundreds else with_copy),
    }


def _channels(case: Case) -> int:
    """Return how many channels the last feature map has."""
    kept: list[int] = []
    last = case.model.get_submodule(case.last)
    with last.register_forward_hook(lambda _m, _i, out: kept.append(out.shape[1])):
        forward(case)
    return kept[0]
