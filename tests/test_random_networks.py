"""On any network a method is right, or refuses by name; and it leaves nothing behind."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_networks import RELUS, Plan, RandomNetwork, all_are_relus, plans, state_of

from xai_course.core import new_generator
from xai_course.fully_connected import class_activation_map, logit_contributions
from xai_course.metrics import deletion
from xai_course.models import BeetleNet
from xai_course.relu import (
    deconvnet,
    full_grad,
    grad_cam,
    gradient,
    guided_backprop,
    local_linear,
    relu_masks,
)
from xai_course.residual import (
    block_contributions,
    deeplift,
    integrated_gradients,
    lrp,
    occlusion,
)

# Right numbers in double precision lie this close.
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


class ByRule(torch.autograd.Function):
    """A ReLU with the backward pass of guided backpropagation, or of DeconvNet."""

    @staticmethod
    def forward(ctx, x, guided):
        ctx.save_for_backward(x > 0)
        ctx.guided = guided
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (is_open,) = ctx.saved_tensors
        grad = grad.clamp(min=0)
        return (grad * is_open if ctx.guided else grad), None


def tried(method, model, images, **options):
    """What a method gives, or None where it refuses; the model must be as before either way."""
    before, kept = state_of(model), images.clone()
    try:
        result = method(model, images, targets=0, **options)
    except ValueError as error:
        result, sentence = None, str(error)
        if not sentence.startswith(("model: ", "layer: ")) or "None" in sentence:
            raise
    assert state_of(model) == before
    assert torch.equal(images, kept)
    return result


PLAIN = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=60, **PLAIN)
@given(plans)
def test_a_method_is_right_or_refuses(plan):
    check_methods(plan)


@pytest.mark.end_to_end
@settings(max_examples=300, **PLAIN)
@given(plans)
def test_a_method_is_right_or_refuses_on_more_networks(plan):
    check_methods(plan)


def check_methods(plan):
    model = RandomNetwork(plan)
    images = torch.randn(2, 2, 8, 8, dtype=torch.double)
    x = images.clone().requires_grad_()
    logit = model(x)[:, 0]
    (grad,) = torch.autograd.grad(logit.sum(), x)
    logit = logit.detach()
    relus = all_are_relus(plan)

    assert torch.allclose(gradient(model, images, targets=0), grad, **CLOSE)
    step = 1e-6 * torch.randn_like(images)
    change = model(images + step)[:, 0] - model(images - step)[:, 0]
    if plan.norm != "group":  # its curvature is larger
        assert torch.allclose(change, 2 * (grad * step).flatten(1).sum(1), rtol=1e-2, atol=1e-8)

    for method, guided in ((guided_backprop, True), (deconvnet, False)):
        relevance = tried(method, model, images)
        if relevance is not None:
            assert relus, "a network with other steps than ReLUs must be refused"
            by_rule = RandomNetwork(plan, act=lambda _, x, guided=guided: ByRule.apply(x, guided))
            by_rule.load_state_dict(model.state_dict())
            assert torch.allclose(relevance, gradient(by_rule, images, targets=0), **CLOSE)

    masks = tried(lambda model, images, targets: relu_masks(model, images), model, images)
    if masks is not None and relus:
        inputs = []
        recording = RandomNetwork(plan, act=lambda _, x: (inputs.append(x > 0), x.relu())[1])
        recording.load_state_dict(model.state_dict())
        inputs.clear()
        recording(images)
        assert [mask.tolist() for mask in masks.values()] == [mask.tolist() for mask in inputs]

    split = tried(local_linear, model, images)
    if split is not None:
        total = split.from_input + sum(split.biases.values())
        assert torch.allclose(total, logit, **CLOSE)
    whole = tried(full_grad, model, images)
    if whole is not None:
        assert torch.allclose(whole.sum((1, 2, 3)), logit, **CLOSE)
    unseen = {"scripted", "divided"}.intersection(plan.activations)  # a part without a trace
    if relus and not unseen and plan.head != "views":
        assert split is not None, "all constants are traced"

    relevance = tried(lrp, model, images, epsilon=0)
    if relevance is not None and relus:
        assert torch.allclose(relevance, images * grad, **CLOSE)
    relevance = tried(deeplift, model, images, baseline="blur")
    if relevance is not None:
        blurred = tried(integrated_gradients, model, images, baseline="blur", steps=512)
        gap = (relevance - blurred).flatten(1).sum(1).abs()
        assert (gap < 1e-2 * blurred.flatten(1).abs().sum(1) + 1e-3).all()

    for method in (class_activation_map, logit_contributions):
        parts = tried(method, model, images)
        if isinstance(parts, torch.Tensor):
            assert parts.shape == (2, 1, 8, 8)
        elif parts is not None:
            assert torch.allclose(parts.contributions.sum(1) + parts.biases, logit, **CLOSE)
    parts = tried(block_contributions, model, images)
    if parts is not None:
        assert torch.allclose(parts.stem + parts.blocks.sum(1) + parts.biases, logit, **CLOSE)

    covered = occlusion(model, images, targets=0, window=8, stride=8, baseline=0)
    without = model(torch.zeros_like(images))[:, 0]
    assert torch.allclose(covered.sum((1, 2, 3)) / covered[0].numel(), logit - without, **CLOSE)
    assert tried(grad_cam, model, images) is not None or plan.head == "views"
    area = tried(lambda model, images, targets: deletion(model, -images, images), model, images)
    assert ((area > 0) & (area < 1)).all(), "a probability, also of a single logit"


def test_more_than_half_of_the_spelled_relus_are_known():
    """A test that only saw refusals would prove nothing."""
    known = 0
    for name in RELUS:
        plan = Plan(0, ("F.relu", name), "none", "none", "none", "zeros", "pooled")
        images = torch.randn(2, 2, 8, 8, dtype=torch.double)
        known += tried(guided_backprop, RandomNetwork(plan), images) is not None
    assert known >= 12


def test_eight_threads_that_share_a_model_do_not_disturb_each_other():
    model = BeetleNet().eval()
    batches = [torch.rand(2, 3, 32, 32, generator=new_generator(k)) for k in range(8)]
    methods = [
        grad_cam,
        lambda model, images: grad_cam(model, images, layer="blocks.0"),
        guided_backprop,
        class_activation_map,
        lrp,
        lambda model, images: torch.cat([m.flatten() for m in relu_masks(model, images).values()]),
        lambda model, images: deletion(model, grad_cam, images, steps=4, fill="noise"),
        lambda model, images: block_contributions(model, images).blocks,
    ]
    jobs = [(method, images) for method in methods for images in batches]
    alone = [method(model, images) for method, images in jobs]
    before = state_of(model)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: job[0](model, job[1]), jobs * 2))
    assert all(torch.equal(a, b) for a, b in zip(alone * 2, together, strict=True))
    assert state_of(model) == before
