"""What all measures of an explainer promise: their arguments, and what they leave as it was."""

from functools import partial

import pytest
import torch
from captum.attr import Saliency
from explainers import small
from stock_networks import error, network, pictures, tiny

from xai_course.core import relevance_maps
from xai_course.metrics import (
    deletion,
    deletion_curve,
    infidelity,
    insertion,
    insertion_curve,
    pointing_game,
    relevance_mass,
    sensitivity_max,
)
from xai_course.relu import gradient

MASKS = torch.ones(3, 1, 8, 8)
MASKS[:, :, 4:] = 0
MEASURES = {
    "pointing_game": partial(pointing_game, masks=MASKS),
    "relevance_mass": partial(relevance_mass, masks=MASKS),
    "deletion_curve": partial(deletion_curve, steps=4),
    "insertion_curve": partial(insertion_curve, steps=4),
    "deletion": partial(deletion, steps=4, fill="noise"),
    "insertion": partial(insertion, steps=4, fill="blur"),
    "infidelity": partial(infidelity, samples=4),
    "sensitivity_max": partial(sensitivity_max, samples=2),
}
every_measure = pytest.mark.parametrize("name", MEASURES)


@every_measure
def test_a_ready_map_is_as_good_as_its_function(name):
    measure, model, images = MEASURES[name], small(), pictures(3, 8)
    maps = gradient(model, images)
    asked = measure(model=model, explainer=gradient, images=images)
    assert asked.shape[0] == 3
    if name == "sensitivity_max":
        with pytest.raises(ValueError, match=r"^explainer: got relevance; must be a function"):
            measure(model=model, explainer=maps, images=images)
    else:
        ready = measure(model=model, explainer=maps.requires_grad_(), images=images)
        assert torch.equal(ready, asked)
        assert not ready.requires_grad


@every_measure
def test_a_lambda_around_captum_works(name):
    model, images = small(), pictures(3, 8)
    model.relu.inplace = False

    def saliency(model, x, t):
        return Saliency(model).attribute(x, t, abs=False)

    ours, theirs = (
        MEASURES[name](model=model, explainer=f, images=images) for f in (gradient, saliency)
    )
    assert error(theirs, ours) < 1e-6


@every_measure
@pytest.mark.parametrize("guard", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_model_images_and_generators_are_left_as_they_were(name, guard):
    """Under any guard, by an explainer that needs autograd and a model that works in place."""
    model, images = network("mixed"), pictures(3, 8)
    copy, state = images.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    frozen = [p.requires_grad for p in model.parameters()]
    state_of_generator = torch.get_rng_state()

    def explainer(model, x, t):
        chosen = model(x.requires_grad_().clone()).gather(1, t[:, None]).sum()
        return torch.autograd.grad(chosen, x)[0]

    with guard():
        result = MEASURES[name](model=model, explainer=explainer, images=images)
    assert not result.requires_grad
    assert torch.equal(result, MEASURES[name](model=model, explainer=gradient, images=images))
    assert torch.equal(images, copy)
    assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), state_of_generator)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])
    assert [p.requires_grad for p in model.parameters()] == frozen
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


@every_measure
def test_no_hook_stays_after_an_error(name):
    model = tiny()
    for wrong in (torch.full((3, 3, 8, 8), torch.nan), torch.zeros(3, 2, 8, 8)):
        with pytest.raises((ValueError, RuntimeError)):
            MEASURES[name](model=model, explainer=gradient, images=wrong)
        assert not model._forward_hooks


@every_measure
def test_an_explainer_that_spoils_its_images_spoils_no_others(name):
    def careless(model, images, targets):
        relevance = gradient(model, images, targets)
        images.zero_()
        return relevance

    results = [
        MEASURES[name](model=small(), explainer=f, images=pictures(3, 8))
        for f in (gradient, careless)
    ]
    assert torch.equal(*results)


@every_measure
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_floats_of_the_models_dtype_or_double(name, dtype):
    model, images = small(dtype=dtype), pictures(3, 8).to(dtype)
    result = MEASURES[name](model=model, explainer=gradient, images=images)
    assert result.dtype in (dtype, torch.double)
    exact = MEASURES[name](model=small(), explainer=gradient, images=pictures(3, 8))
    assert error(result.double(), exact) < 1e-2
    assert torch.equal(result, MEASURES[name](model=model, explainer=gradient, images=images))


@every_measure
def test_targets_choose_the_class(name):
    images = pictures(3, 8)
    run = partial(MEASURES[name], model=small(), explainer=gradient, images=images)
    assert torch.equal(run(), run(targets=small()(images).argmax(1)))
    assert torch.equal(run(targets=2), run(targets=torch.tensor([2, 2, 2])))
    if name != "pointing_game":
        assert not torch.equal(run(targets=2), run(targets=4))


@every_measure
@pytest.mark.parametrize(
    ("name_of", "wrong"),
    [
        ("model", {"model": None}),
        ("model", {"model": tiny().train()}),
        ("images", {"images": torch.zeros(3, 8, 8).double()}),
        ("images", {"images": torch.full((3, 3, 8, 8), torch.nan).double()}),
        ("targets", {"targets": 7}),
        ("batch_size", {"batch_size": 0}),
        ("explainer", {"explainer": lambda model, images, targets: images[:, :, :4]}),
        ("explainer", {"explainer": lambda model, images, targets: images * torch.nan}),
        ("explainer", {"explainer": lambda model, images, targets: images > 0}),
        ("explainer", {"explainer": None}),
    ],
)
def test_what_no_measure_takes(name, name_of, wrong):
    right = {"model": tiny(), "explainer": gradient, "images": pictures(3, 8)}
    with pytest.raises(ValueError, match=rf"^{name_of}: .*must be|^model: got training mode"):
        MEASURES[name](**(right | wrong))


def test_an_explainer_gets_at_most_the_batch_size():
    sizes = []

    def explainer(model, images, targets):
        sizes.append(len(images))
        return images

    images, masks = pictures(5, 8), torch.ones(5, 8, 8)
    pointing_game(tiny(), explainer, images, masks, batch_size=2)
    deletion(tiny(), explainer, images, batch_size=4)
    assert sizes == [2, 2, 1, 4, 1]
    deletion(tiny(), explainer, pictures(101, 4))  # never over 100: it may need a backward pass
    assert sizes[5:] == [100, 1]
    made = relevance_maps(tiny(), explainer, images, torch.zeros(5).long(), batch_size=2)
    assert torch.equal(made, images)
