"""Models that run where functions and hooks are not seen: compiled, scripted, exported, hooked."""

import copy

import pytest
import torch
from stock_networks import pictures
from torch import nn
from torch.utils.checkpoint import checkpoint

from xai_course.core import check_visible
from xai_course.fully_connected import class_activation_map, logit_contributions
from xai_course.models import BeetleNet
from xai_course.relu import (
    full_grad,
    grad_cam,
    gradient,
    guided_backprop,
    local_linear,
    relu_masks,
)
from xai_course.residual import block_contributions, block_map, deeplift, lrp

METHODS = (
    block_contributions, class_activation_map, deeplift, full_grad, grad_cam, gradient,
    guided_backprop, logit_contributions, lrp, relu_masks,
)  # fmt: skip
each_method = pytest.mark.parametrize("method", METHODS)


def tensors(result):
    """All tensors of a result, as one row of numbers."""
    if isinstance(result, torch.Tensor):
        return result.flatten().double()
    values = result.values() if isinstance(result, dict) else result
    kept = [each for each in values if isinstance(each, torch.Tensor)]
    return torch.cat([each.flatten().double() for each in kept])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BeetleNet().double().eval()


@each_method
@pytest.mark.parametrize("whole", [True, False])
def test_of_a_compiled_model_the_explanation_is_that_of_the_model(method, model, whole):
    if whole:
        compiled = torch.compile(model, backend="eager")
    else:
        compiled = copy.deepcopy(model)
        compiled.blocks[1] = torch.compile(compiled.blocks[1], backend="eager")
        compiled.head.compile(backend="eager") if hasattr(compiled, "head") else None
    images = pictures(2, 32)
    compiled(images)
    assert torch.equal(tensors(method(compiled, images)), tensors(method(model, images)))
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_a_layer_of_a_compiled_or_parallel_model_has_the_name_that_it_has_in_the_model(model):
    images = pictures(2, 32)
    expected = grad_cam(model, images, layer="blocks.0")
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        assert torch.equal(grad_cam(wrapped.eval(), images, layer="blocks.0"), expected)


@each_method
def test_backward_hooks_of_the_models_owner_change_nothing(method, model):
    hooked, calls = copy.deepcopy(model), []
    for module in hooked.modules():
        module.register_full_backward_hook(lambda *_: calls.append(1))
    images = pictures(2, 32)
    expected = tensors(method(model, images))
    assert torch.allclose(tensors(method(hooked, images)), expected, rtol=1e-10, atol=1e-12)


@each_method
def test_a_model_that_opens_a_function_mode_itself_changes_nothing(method, model):
    class Elsewhere(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            with torch.device("cpu"):
                return self.model(x)

    images = pictures(2, 32)
    result = tensors(method(Elsewhere().eval(), images))
    assert torch.equal(result, tensors(method(model, images)))


SCRIPTED = (deeplift, full_grad, grad_cam, guided_backprop, lrp, relu_masks)


@pytest.mark.parametrize("method", SCRIPTED)
def test_a_scripted_part_is_refused_by_its_name(method):
    stem = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    part = nn.Sequential(stem, nn.Conv2d(4, 4, 3), nn.ReLU(), head).double().eval()
    with pytest.raises(ValueError, match=r"^model: got a scripted part \(0\), whose steps cannot"):
        method(part, pictures(2, 16))
    with pytest.raises(ValueError, match=r"^model: got a scripted part \(all of it\)"):
        check_visible(torch.jit.script(head))


def test_an_exported_program_is_explained_where_no_step_must_be_seen(model):
    images = pictures(2, 32)
    exported = torch.export.export(model, (images,)).module()
    assert torch.allclose(gradient(exported, images), gradient(model, images))
    for method in (lrp, full_grad, relu_masks, guided_backprop, grad_cam):
        with pytest.raises(ValueError, match=r"^(model|layer): got"):
            method(exported, images)
    training = torch.export.export(copy.deepcopy(model).train(), (images,)).module()
    with pytest.raises(ValueError, match="must treat each image alone"):
        gradient(training, images)


def test_weights_without_values_are_refused(model):
    with torch.device("meta"):
        empty = BeetleNet().eval()
    with pytest.raises(ValueError, match=r"^model: got weights without values, .*must be loaded"):
        gradient(empty, pictures(2, 32))


# ------------------------------------------------------------------ one image at a time


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class FromTheImageBefore(nn.Module):
    def forward(self, x):
        return x + torch.cat([0 * x[:1], x[:-1]])


class FromTheImageAfter(nn.Module):
    def forward(self, x):
        return x + torch.cat([x[1:], 0 * x[:1]])


class FunctionalNorm(nn.Module):
    def forward(self, x):
        return nn.functional.batch_norm(x, None, None, training=True)


class Dropped(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x)


@each_method
@pytest.mark.parametrize(
    "step", [Centred(), FunctionalNorm(), Dropped(), FromTheImageBefore(), FromTheImageAfter()]
)
def test_a_model_that_mixes_images_or_draws_is_refused(method, step):
    layers = [nn.Conv2d(3, 4, 3), step, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    mixing = nn.Sequential(*layers, nn.Linear(4, 3)).double().eval()
    with pytest.raises(ValueError, match=r"^model: got logits of one image that change by"):
        method(mixing, pictures(3, 16))


def test_batch_normalisation_without_running_statistics_is_refused_for_one_image_too():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    mixing = nn.Sequential(norm, nn.Flatten(), nn.Linear(768, 2)).double().eval()
    with pytest.raises(ValueError, match=r"^model: got batch normalisation by the batch's own"):
        gradient(mixing, pictures(1, 16))


def test_a_model_that_was_refused_is_refused_again():
    layers = [nn.Conv2d(3, 4, 3), FromTheImageBefore(), nn.ReLU(), nn.Flatten()]
    mixing = nn.Sequential(*layers, nn.Linear(784, 3)).double().eval()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^model: got logits of one image that change by"):
            gradient(mixing, pictures(3, 16))


# ------------------------------------------------------------------ hidden steps


def test_a_function_that_scales_with_its_input_is_not_piecewise_linear_for_that():
    class Norm(nn.Module):
        def forward(self, x):
            return x.square().mean((2, 3)).sqrt()

    layers = [nn.Conv2d(3, 4, 3, bias=False), Norm(), nn.Linear(4, 3, bias=False)]
    model = nn.Sequential(*layers).double().eval()
    with pytest.raises(ValueError, match=r"^model: got the step \w+, which is not piecewise"):
        local_linear(model, pictures(2, 16))


def test_the_largest_of_two_branches_is_refused_by_a_sentence():
    class Larger(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList(nn.Conv2d(3, 4, 3) for _ in range(2))
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            stack = torch.stack([branch(x).relu() for branch in self.branches])
            return self.head(stack.max(0).values.mean((2, 3)))

    model, images = Larger().double().eval(), pictures(2, 16)
    assert local_linear(model, images).logit.shape == (2,)
    for method in (guided_backprop, relu_masks, deeplift):
        with pytest.raises(ValueError, match=r"^model: got"):
            method(model, images)


def test_masks_of_networks_with_other_steps_that_are_known_are_given():
    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
            self.norm = nn.GroupNorm(2, 4)

        def forward(self, x):
            x = self.norm(self.conv(x)).relu()
            return self.head((x * x.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)))

    assert list(relu_masks(Excited().double().eval(), pictures(2, 16))) == ["after norm"]


def test_reentrant_checkpoints_are_refused_and_others_change_nothing(model):
    class Saved(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.model, self.reentrant = model, reentrant

        def forward(self, x):
            stem = checkpoint(self.model.stem, x, use_reentrant=self.reentrant)
            x = checkpoint(self.model.blocks, stem, use_reentrant=self.reentrant)
            return self.model.head(self.model.pool(x).flatten(1))

    images = pictures(2, 32)
    for method in (gradient, guided_backprop):
        assert torch.equal(method(Saved(False).eval(), images), method(model, images))
        with pytest.raises(ValueError, match=r"^model: got torch\.utils\.checkpoint"):
            method(Saved(True).eval(), images)
    # Those that change the steps find them changed back in the backward pass.
    for method in (deeplift, lrp, full_grad, block_map):
        for saved in (Saved(False).eval(), Saved(True).eval()):
            try:
                relevance = method(saved, images)
            except ValueError as refused:
                words = str(refused)
            else:
                assert torch.equal(relevance, method(model, images))
                continue
            assert "torch.utils.checkpoint" in words
