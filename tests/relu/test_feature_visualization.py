"""Feature visualisation: where the best image is known, and what must not change."""

import pytest
import torch
from stock_networks import tiny
from torch import nn

from xai_course.relu import activations, feature_visualization

QUICK = {"size": (12, 12), "steps": 12, "learning_rate": 0.05}


def linear(weights):
    """A network with one logit for each set of weights of an image."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weights[0].numel(), len(weights), bias=False))
    model[1].weight.data = weights.flatten(1)
    return model.to(weights.dtype).eval()


def logits(model, pixels):
    with torch.no_grad():
        return model(pixels).diagonal()


def test_a_linear_logit_drives_each_pixel_to_the_end_of_its_range():
    torch.manual_seed(0)
    weights = torch.randn(2, 3, 6, 8, dtype=torch.double)
    model = linear(weights)
    pixels = feature_visualization(
        model, [0, 1], size=(6, 8), steps=300, jitter=0, decay=0.0, learning_rate=0.05
    )
    assert pixels.dtype == torch.double
    # The largest value of a pixel in [0, 1] is w where w > 0, else 0.
    assert (logits(model, pixels) > 0.97 * weights.relu().sum((1, 2, 3))).all()
    clear = weights.abs() > 0.3
    assert ((pixels > 0.5) == (weights > 0))[clear].double().mean() > 0.98


def test_the_normalisation_is_the_networks():
    """The square of the mean of (pixels - mean) / std is largest at the far end."""

    class Squares(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) ** 2

    options = {"size": (6, 6), "steps": 150, "std": (0.5, 2.0), "jitter": 0, "learning_rate": 0.05}
    pixels = feature_visualization(Squares().eval(), [0, 1], mean=(0.2, 0.9), **options)
    assert pixels.shape == (2, 2, 6, 6)
    assert pixels[0, 0].mean() > 0.8  # away from 0.2
    assert pixels[1, 1].mean() < 0.2  # away from 0.9
    assert (pixels[0, 1] - 0.5).abs().max() < 0.05  # does not count for the other logit


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer": "3"},
        {"layer": "3", "position": (2, 1)},
        {"layer": "6"},
        {"total_variation": 0.1},
    ],
)
def test_the_objective_rises(options):
    model = tiny()
    layer = options.get("layer")
    before, after = (
        feature_visualization(model, [1, 2], size=(12, 12), steps=steps, jitter=0, **options)
        for steps in (0, 40)
    )

    def value(images):
        output = (
            model(images).detach() if layer is None else activations(model, images, layer)[layer]
        )
        if "position" in options:
            output = output[:, :, 2, 1]
        return (
            output.flatten(2).mean(2)[[0, 1], [1, 2]] if output.ndim > 2 else output[[0, 1], [1, 2]]
        )

    assert (value(after) > value(before)).all()


def test_total_variation_smooths_and_decay_holds_back_high_frequencies():
    model = tiny()

    def roughness(**options):
        pixels = feature_visualization(
            model, 0, size=(16, 16), steps=60, learning_rate=0.05, **options
        )
        return float(pixels.diff(dim=2).abs().mean() + pixels.diff(dim=3).abs().mean())

    assert roughness(total_variation=50.0) < roughness() / 2
    assert roughness(decay=2.0) < roughness(decay=0.0)


def test_repeatable_by_seed_and_without_touching_the_random_state():
    model, before = tiny(), torch.get_rng_state()
    first, again, other = (feature_visualization(model, 0, seed=s, **QUICK) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad(), torch.autocast("cpu"):
        assert torch.equal(feature_visualization(model, 0, seed=3, **QUICK), first)


def test_a_target_has_the_same_image_alone_and_among_others():
    model = tiny()
    together = feature_visualization(model, [2, 0, 1], layer="3", **QUICK)
    for n, channel in enumerate([2, 0, 1]):
        alone = feature_visualization(model, channel, layer="3", **QUICK)
        assert torch.allclose(alone, together[n : n + 1], atol=1e-10)


@pytest.mark.parametrize("size", [(7, 12), (12, 7), (9, 9)])
def test_shapes_with_and_without_jitter(size):
    for jitter in (0, 20):
        pixels = feature_visualization(tiny(), torch.tensor([0, 1]), size=size, steps=2,
                                       jitter=jitter)  # fmt: skip
        assert pixels.shape == (2, 3, *size)
        assert not pixels.requires_grad
        assert ((pixels > 0) & (pixels < 1)).all()


def test_the_model_is_left_as_it_was():
    model = tiny()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[3].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    feature_visualization(model, 0, layer="3", **QUICK)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[3].weight.grad is None
    assert not model[3].weight.requires_grad
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("targets", 9), ("targets", -1), ("targets", []), ("targets", 0.5), ("targets", True),
        ("targets", None), ("size", 8), ("size", (8, 0)), ("steps", -1), ("jitter", 0.5),
        ("learning_rate", 0), ("decay", -1), ("total_variation", float("nan")), ("seed", -1),
        ("mean", 0.5), ("mean", (0.1, float("inf"), 0)), ("std", (1.0, 0.0, 1.0)), ("std", (1.0,)),
        ("layer", "nowhere"), ("layer", "7x"),
    ],
)  # fmt: skip
def test_bad_arguments(name, value):
    options = {"targets": 0, **QUICK, name: value}
    with pytest.raises(ValueError, match=f"^{name}: got .*; must"):
        feature_visualization(tiny(), options.pop("targets"), **options)


def test_bad_positions_layers_and_models():
    for position in ((0, 6), (-1, 0), 3, (0.5, 1)):
        with pytest.raises(ValueError, match=r"^position: got .*; must be a row below 6"):
            feature_visualization(tiny(), 0, layer="3", position=position, **QUICK)
    with pytest.raises(ValueError, match=r"^position: got .*; must be left out without a layer"):
        feature_visualization(tiny(), 0, position=(0, 0), **QUICK)
    with pytest.raises(ValueError, match=r"^layer: got '6', which returns \(1, 5\); must return"):
        feature_visualization(tiny(), 0, layer="6", position=(0, 0), **QUICK)
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        feature_visualization(tiny().train(), 0, **QUICK)
