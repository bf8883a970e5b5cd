"""What each method costs, as a multiple of the bare passes that it needs.

    python benchmarks/cost.py [--runs 16] [--only gradient grad_cam]

Method and bare passes run in turns, in one process, on the same input; printed is the median of the
ratios with its quartiles. Bare passes are what no implementation of the method can do without: the
model's forward pass, and the backward pass as far as the method needs it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from statistics import quantiles
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from xai_course.checkpoints import load_checkpoint
from xai_course.data import data_folder
from xai_course.expectation import expected_gradients, integrated_gradients, occlusion
from xai_course.fully_connected import class_activation_map, logit_contributions
from xai_course.gates import full_grad
from xai_course.photographs import photo_network
from xai_course.propagation import deeplift, lrp
from xai_course.relu import (
    deconvnet,
    grad_cam,
    gradient,
    gradient_times_input,
    guided_backprop,
    smooth_grad,
)

STEPS, WINDOWS = 16, 16  # a window's side is a quarter of the image: 4 x 4 windows


class Case(NamedTuple):
    """A network, a batch for it, and the module that returns its last feature map."""

    name: str
    model: nn.Module
    images: Tensor
    last: nn.Module


def cases() -> Iterator[Case]:
    """Yield the networks and batches to measure on."""
    chance = torch.Generator().manual_seed(0)
    beetle_net = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")[0].eval()
    images = torch.randn(32, 3, 64, 64, generator=chance)
    yield Case("BeetleNet, 32 x 64 px", beetle_net, images, beetle_net.blocks)
    images = torch.randn(2, 3, 224, 224, generator=chance)
    residual = resnet18(num_classes=10).eval()
    yield Case("ResNet-18, 2 x 224 px", residual, images, residual.layer4)
    lite = photo_network()[0]
    yield Case("EfficientNet-Lite0, 2 x 224 px", lite, images, lite.features)


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
        chosen = case.model(x).amax(1).sum()
        torch.autograd.grad(chosen, x)


def to_last_map(case: Case) -> None:
    """Run the model forward, and back to its last feature map."""
    kept: list[Tensor] = []
    with case.last.register_forward_hook(lambda _m, _i, out: kept.append(out)):
        chosen = case.model(case.images.clone()).amax(1).sum()
    torch.autograd.grad(chosen, kept[0])


def methods(case: Case) -> dict[str, tuple[Callable[[], Any], Callable[[], None], str]]:
    """Return, for each method, its call, the bare passes, and these in words."""
    model, x, batch = case.model, case.images, len(case.images)
    side = x.shape[-1] // 4
    both, there = "forward, backward", "forward, backward to the map"
    several = {"batch_size": batch}
    return {
        "gradient": (lambda: gradient(model, x), lambda: backward(case), both),
        "gradient_times_input": (
            lambda: gradient_times_input(model, x),
            lambda: backward(case),
            both,
        ),
        "deconvnet": (lambda: deconvnet(model, x), lambda: backward(case), both),
        "guided_backprop": (lambda: guided_backprop(model, x), lambda: backward(case), both),
        "smooth_grad": (
            lambda: smooth_grad(model, x, samples=STEPS, **several),
            lambda: backward(case, STEPS, 1),
            f"{STEPS} x ({both}), forward",
        ),
        "full_grad": (lambda: full_grad(model, x), lambda: backward(case), both),
        "grad_cam": (lambda: grad_cam(model, x), lambda: to_last_map(case), there),
        "grad_cam, layer named": (
            lambda: grad_cam(model, x, layer=case.last),
            lambda: to_last_map(case),
            there,
        ),
        "class_activation_map": (
            lambda: class_activation_map(model, x),
            lambda: to_last_map(case),
            there,
        ),
        "logit_contributions": (
            lambda: logit_contributions(model, x),
            lambda: to_last_map(case),
            there,
        ),
        "occlusion": (
            lambda: occlusion(model, x, window=side, stride=side, **several),
            lambda: forward(case, WINDOWS + 1),
            f"{WINDOWS} + 1 x forward",
        ),
        "integrated_gradients": (
            lambda: integrated_gradients(model, x, steps=STEPS, **several),
            lambda: backward(case, STEPS, 1),
            f"{STEPS} x ({both}), forward",
        ),
        "expected_gradients": (
            lambda: expected_gradients(
                model, x, baselines=x.flip(0)[:2], steps=STEPS // 2, **several
            ),
            lambda: backward(case, STEPS, 1),
            f"{STEPS} x ({both}), forward",
        ),
        "deeplift": (lambda: deeplift(model, x), lambda: backward(case, 1, 1), f"{both}, forward"),
        "lrp": (lambda: lrp(model, x), lambda: backward(case, 1, 1), f"{both}, forward"),
    }


def ratios(method: Callable[[], Any], bare: Callable[[], None], runs: int) -> list[float]:
    """Run both in turns; return how many times as long the method took, for each turn."""

    def seconds(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    seconds(method), seconds(bare)  # the first calls allocate
    found = []
    for turn in range(
        runs
    ):  # each goes first in every other turn, since the second one is favoured
        first, second = (method, bare) if turn % 2 else (bare, method)
        times = {call: seconds(call) for call in (first, second)}
        found.append(times[method] / times[bare])
    return found


def main() -> None:
    """Measure, and print one table a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=16, help="turns for each method")
    parser.add_argument("--only", nargs="*", help="names of methods; all by default")
    chosen = parser.parse_args()
    runs = chosen.runs
    print(f"{torch.get_num_threads()} threads, {runs} turns; median (quartiles) of the ratios")
    for case in cases():
        print(f"\n{case.name}")
        for name, (method, bare, words) in methods(case).items():
            if chosen.only and name not in chosen.only:
                continue
            low, middle, high = quantiles(ratios(method, bare, runs), n=4)
            print(f"  {name:22} {middle:5.2f} ({low:.2f} to {high:.2f})  x {words}")


if __name__ == "__main__":
    main()
