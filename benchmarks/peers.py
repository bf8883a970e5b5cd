"""The same methods by the peers: Captum, pytorch-grad-cam, torchcam and zennit.

What a user does once and keeps, such as building the object or hanging the hooks of a context, is
done by `build` and not timed; what a peer does anew at each call, such as copying the model or
replacing its ReLUs, is. A peer that changes the model gets a copy of its own.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from captum import attr
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr._utils.lrp_rules import EpsilonRule
from cost import COALITIONS, STEPS, Case
from pytorch_grad_cam import (
    FullGrad,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackpropReLUModel,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import CAM
from torchcam.methods import GradCAM as TorchcamGradCAM
from torchcam.methods import LayerCAM as TorchcamLayerCAM
from torchcam.methods import ScoreCAM as TorchcamScoreCAM
from zennit import attribution, composites
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.core import Composite
from zennit.rules import Epsilon, Gamma
from zennit.torchvision import ResNetCanonizer
from zennit.types import Convolution, Linear

from xai_course.residual import grid_segments

__all__ = ["NOT_COMPARED", "Peer", "peers"]

NOT_COMPARED = {
    "captum GradientShap": "draws baselines and points by chance, in place of the mean over all of "
    "them: as many passes, another number",
    "zennit Occlusion": "gives the logits that are left, not how far they fall",
}


class Peer(NamedTuple):
    """One peer's version of a method.

    `build`: sets it up and returns the call. `same`: makes of our result what the peer's should be
    (None: the two are not meant to be equal, and `note` says why).
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    note: str = ""
    same: Callable[[Any], Any] | None = lambda ours: ours


def peers(case: Case) -> dict[str, list[Peer]]:
    """Return, for each of our methods, the peers that have it, on this network and batch."""
    side, base = case.window, case.base
    count = len(case.images)

    def own() -> Any:
        return copy.deepcopy(case.model)

    def leaf() -> Tensor:
        return case.images.clone().requires_grad_()

    def captum(make: Callable[[Any], Any], **options: Any) -> Callable[[], Callable[[], Any]]:
        def build() -> Callable[[], Any]:
            method, x = make(own()), leaf()
            return lambda: method.attribute(x, target=case.targets, **options)

        return build

    def zennit(
        make: Callable[..., Any] = attribution.Gradient,
        composite: Composite | None = None,
        **options: Any,
    ) -> Callable[[], Callable[[], Any]]:
        def build() -> Callable[[], Any]:
            method = make(own(), composite, **options)
            method.__enter__()  # canonised, and hooks hung, once
            one_hot = F.one_hot(case.targets, 10).float()

            def start(logits: Tensor) -> Tensor:  # relevance starts with the logit itself
                return one_hot * logits.detach() if composite in lrp_rules.values() else one_hot

            return lambda: method(case.images, start)[1]

        return build

    def with_epsilon(model: nn.Module) -> Any:
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.rule = EpsilonRule(0.01)
        return attr.LRP(model)

    def layer(model: Any) -> Any:
        return model.get_submodule(case.last)

    def captum_grad_cam() -> Callable[[], Any]:
        model, x = own(), leaf()
        method = attr.LayerGradCam(model, layer(model))

        def call() -> Tensor:
            small = method.attribute(x, case.targets, relu_attributions=True)
            return attr.LayerAttribution.interpolate(small, x.shape[2:], "bilinear")

        return call

    def torchcam(make: Any, **options: Any) -> Callable[[], Callable[[], Any]]:
        def build() -> Callable[[], Any]:
            model = own()
            method, classes = make(model, case.last, **options), case.targets.tolist()

            def call() -> Tensor:
                logits = model(case.images.clone().requires_grad_())
                (small,) = method(classes, logits, normalized=False)
                return F.interpolate(small[:, None], case.images.shape[2:], mode="bilinear")

            return call

        return build

    def torchcam_cam() -> Callable[[], Any]:
        model = own()
        method, classes = CAM(model, case.last, case.head), case.targets.tolist()

        def call() -> Tensor:
            with torch.no_grad():
                model(case.images)
            small: Tensor = method(classes, normalized=False)[0]
            return small[:, None]

        return call

    def picture(make: Any) -> Callable[[], Callable[[], Any]]:
        def build() -> Callable[[], Any]:
            model = own()
            method = make(model, [] if make is FullGrad else [layer(model)])
            method.batch_size = count  # of Score-CAM
            classes = [ClassifierOutputTarget(int(k)) for k in case.targets]

            def call() -> Tensor:
                with contextlib.redirect_stderr(io.StringIO()):  # a bar for each image
                    maps = method(case.images.clone(), classes)
                return torch.from_numpy(maps)[:, None]

            return call

        return build

    def one_by_one() -> Callable[[], Any]:
        method = GuidedBackpropReLUModel(own())

        def call() -> Tensor:
            maps = [
                method(x[None].clone(), int(k))
                for x, k in zip(case.images, case.targets, strict=True)
            ]
            return torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2)

        return call

    def logit_terms() -> Callable[[], Any]:
        model, x = own(), leaf()
        method = attr.LayerGradientXActivation(model, model.get_submodule(case.head))
        return lambda: method.attribute(x, case.targets, attribute_to_layer_input=True)

    def averaged() -> Callable[[], Any]:
        method, x = attr.IntegratedGradients(own()), leaf()

        def call() -> Tensor:
            total = torch.zeros_like(x)
            for one in base[:2]:
                total += method.attribute(
                    x,
                    one[None],
                    case.targets,
                    n_steps=STEPS // 2,
                    method="riemann_middle",
                    internal_batch_size=count,
                )
            return total / 2

        return call

    spread = 0.15 * float((case.images.amax((1, 2, 3)) - case.images.amin((1, 2, 3))).mean())
    sums_seen = case.last == "layer4"  # zennit knows the blocks of torchvision's residual networks
    canonizer = ResNetCanonizer if sums_seen else SequentialMergeBatchNorm
    lrp_rules = {
        rule: composites.LayerMapComposite(
            [((Convolution, Linear), hook), *composites.layer_map_base(1e-12)],
            canonizers=[canonizer()],
        )
        for rule, hook in (("epsilon", Epsilon(0.01)), ("gamma", Gamma(0.25, stabilizer=0.01)))
    }
    unseen = "" if sums_seen else "residual sums unseen"

    def smallest_to_largest(ours: Tensor) -> Tensor:
        low, high = ours.amin((2, 3), keepdim=True), ours.amax((2, 3), keepdim=True)
        return (ours - low) / (high - low)

    grad_cams = [
        Peer("captum", captum_grad_cam),
        Peer("pytorch-grad-cam", picture(GradCAM), "scaled to [0, 1]", smallest_to_largest),
        Peer("torchcam", torchcam(TorchcamGradCAM)),
    ]
    scaled = "scaled to [0, 1]", smallest_to_largest
    occlusions = [
        Peer(
            "captum",
            captum(
                attr.Occlusion,
                sliding_window_shapes=(3, side, side),
                strides=(3, side, side),
                baselines=base,
            ),
            same=lambda ours: ours.expand_as(case.images),
        )
    ]
    gradients = [Peer("captum", captum(attr.Saliency, abs=False)), Peer("zennit", zennit())]
    along_the_path = [
        Peer(
            "captum",
            captum(
                attr.IntegratedGradients,
                baselines=base,
                n_steps=STEPS,
                method="riemann_middle",
                internal_batch_size=count,
            ),
        ),
        Peer(
            "zennit",
            zennit(attribution.IntegratedGradients, baseline_fn=lambda _: base, n_iter=STEPS),
            "steps at their ends, not middles",
        ),
    ]
    sampled = {
        "baselines": base,
        "feature_mask": grid_segments(case.images[:1], 4, 4).view(1, 1, *case.images.shape[2:]),
        "n_samples": COALITIONS,
    }
    one_image = {**sampled, "perturbations_per_eval": count}  # they take the images one by one

    def ridge(model: nn.Module) -> Any:
        return attr.Lime(model, interpretable_model=SkLearnRidge(alpha=1))

    return {
        "gradient": gradients,
        "gradient, faster": gradients,
        "gradient_times_input": [Peer("captum", captum(attr.InputXGradient))],
        "deconvnet": [
            Peer("captum", captum(attr.Deconvolution)),
            Peer("zennit", zennit(composite=composites.DeconvNet())),
        ],
        "guided_backprop": [
            Peer("captum", captum(attr.GuidedBackprop)),
            Peer("pytorch-grad-cam", one_by_one, "takes one image a call"),
            Peer("zennit", zennit(composite=composites.GuidedBackprop())),
        ],
        "smooth_grad": [
            Peer(
                "captum",
                captum(
                    lambda model: attr.NoiseTunnel(attr.Saliency(model)),
                    nt_samples=STEPS,
                    nt_samples_batch_size=1,
                    stdevs=spread,
                    abs=False,
                ),
                "other noise",
                None,
            ),
            Peer(
                "zennit",
                zennit(attribution.SmoothGrad, noise_level=0.15, n_iter=STEPS),
                "other noise",
                None,
            ),
        ],
        "full_grad": [
            Peer("pytorch-grad-cam", picture(FullGrad), "no sign, layers rescaled", None)
        ],
        "grad_cam": grad_cams,
        "grad_cam, layer named": grad_cams,
        "grad_cam_plus_plus": [Peer("pytorch-grad-cam", picture(GradCAMPlusPlus), *scaled)],
        "hires_cam": [Peer("pytorch-grad-cam", picture(HiResCAM), *scaled)],
        "layer_cam": [
            Peer("pytorch-grad-cam", picture(LayerCAM), *scaled),
            Peer("torchcam", torchcam(TorchcamLayerCAM)),
        ],
        "score_cam": [
            Peer("pytorch-grad-cam", picture(ScoreCAM), "masks enlarged by their corners", None),
            Peer(
                "torchcam",
                torchcam(TorchcamScoreCAM, batch_size=count),
                "masks scaled before they are enlarged",
                None,
            ),
        ],
        "rise": [],  # none of the peers has it
        "lime": [Peer("captum", captum(ridge, **one_image), "other draws", None)],
        "shapley_values, permutation": [
            Peer(
                "captum",
                captum(attr.ShapleyValueSampling, **{**sampled, "n_samples": COALITIONS // STEPS}),
                "other draws",
                None,
            )
        ],
        "shapley_values, kernel": [
            Peer("captum", captum(attr.KernelShap, **one_image), "other draws", None)
        ],
        "class_activation_map": [
            Peer(
                "torchcam",
                torchcam_cam,
                "× places",
                lambda ours: ours * ours[0, 0].numel(),
            )
        ],
        "logit_contributions": [Peer("captum", logit_terms)],
        "occlusion": occlusions,
        "occlusion, faster": occlusions,
        "integrated_gradients": along_the_path,
        "integrated_gradients, faster": along_the_path,
        "integrated_gradients, gauss": [
            Peer(
                "captum",
                captum(
                    attr.IntegratedGradients,
                    baselines=base,
                    n_steps=STEPS,
                    internal_batch_size=count,
                ),
            )
        ],
        "expected_gradients": [Peer("captum", averaged, "IntegratedGradients, twice")],
        "deeplift": [Peer("captum", captum(attr.DeepLift, baselines=base))],
        "lrp": [
            Peer("captum", captum(with_epsilon)),
            Peer("zennit", zennit(composite=lrp_rules["epsilon"]), unseen),
        ],
        "lrp, gamma": [
            Peer("zennit", zennit(composite=lrp_rules["gamma"]), unseen),
        ],
    }
