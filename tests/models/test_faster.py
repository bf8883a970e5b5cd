"""A faster copy explains as the original does."""

import pytest
import torch
from explainers import QUICK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import RandomNetwork, plans
from stock_networks import ALL, CLASSES, error, network, pictures
from torch import nn
from torch.nn.utils import parametrizations, prune

from xai_course.methods import METHODS
from xai_course.metrics import randomisation, reinitialised
from xai_course.models import EfficientNetLite0, faster
from xai_course.relu import grad_cam

FOLDED = {"small_resnet": 15, "bottleneck": 20, "small_vgg": 0, "mixed": 1}


@pytest.mark.parametrize("name", ALL)
def test_the_copy_is_the_same_function_with_the_same_maps(name):
    model, images = network(name), pictures(2, 40)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    copied = faster(model, images)
    assert len(copied.folded) == FOLDED.get(name, len(copied.folded))
    others = pictures(3, 48, seed=5)
    assert error(copied(others.clone()), model(others.clone())) < 1e-9
    for method in METHODS.values():
        options = dict(QUICK.get(method.function.__name__, {}))
        if method.name == "expected gradients":
            options["baselines"] = others[:1, :, :40, :40]
        try:
            expected = method.explainer(**options)(model, images, 1)
        except ValueError as refusal:
            with pytest.raises(ValueError, match=str(refusal)[:20]):
                method.explainer(**options)(copied, images, 1)
            continue
        assert error(method.explainer(**options)(copied, images, 1), expected) < 1e-6, method.name
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not any(weight.requires_grad for weight in copied.parameters())


def test_layers_keep_their_names():
    model, images = network("small_resnet"), pictures(2, 40)
    copied = faster(model, images)
    layers = [grad_cam(each, images, 1, layer="layer2.0.conv1") for each in (copied, model)]
    assert layers[0].shape == layers[1].shape
    assert isinstance(copied.get_submodule(copied.folded[0]), nn.Identity)


class Twice(nn.Module):
    """A convolution whose output is used before and after its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, CLASSES, 3), nn.BatchNorm2d(CLASSES)
        nn.init.constant_(self.norm.bias, 3)

    def forward(self, images):
        out = self.conv(images)
        return (out + self.norm(out).relu()).mean((2, 3))


class Shared(nn.Module):
    """A convolution that runs twice, with a normalisation of its own each time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        nn.init.constant_(self.norms[1].weight, 3)

    def forward(self, images):
        for norm in self.norms:
            images = norm(self.conv(images))
        return images.mean((2, 3))


class Clamped(nn.Module):
    """A convolution whose output is changed in place before its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, CLASSES, 3), nn.BatchNorm2d(CLASSES)

    def forward(self, images):
        out = self.conv(images)
        out.clamp_(max=50)  # does nothing to small images
        return self.norm(out).mean((2, 3))


def test_an_output_that_was_changed_in_place_is_not_folded():
    torch.manual_seed(0)
    model, images = Clamped().eval(), torch.rand(2, 3, 8, 8)
    copied = faster(model, images)
    assert copied.folded == []
    torch.testing.assert_close(copied(400 * images), model(400 * images))


def test_what_cannot_be_folded():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"^model: got one whose copy differs by .* must be"):
        faster(Twice().eval(), torch.rand(2, 3, 8, 8))
    copied = faster(Shared().eval(), torch.rand(2, 3, 8, 8))
    assert copied.folded == []


def test_a_copy_is_not_randomised():
    model, images = network("small_resnet"), pictures(2, 40)
    copied = faster(model, images)
    for refuse in (
        lambda: reinitialised(copied, images),
        lambda: randomisation(copied, grad_cam, images),
    ):
        with pytest.raises(ValueError, match=r"^model: got a copy whose batch .* must be the orig"):
            refuse()


def test_refusals():
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        faster(nn.Sequential(nn.Dropout()).train(), pictures(1, 8))
    with pytest.raises(ValueError, match=r"^images: got str"):
        faster(network("mixed"), "cat.png")
    with pytest.raises(ValueError, match=r"^model: got the output \(2, 0\); must return numbers"):
        faster(nn.Sequential(nn.Flatten(), nn.Linear(192, 0)).eval(), torch.rand(2, 3, 8, 8))


def test_of_several_outputs_one_may_be_empty():
    class Boxes(nn.Module):
        def forward(self, images):
            return {"none": images[:, :0], "means": images.mean((2, 3))}

    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(faster(Boxes().eval(), images)(images)["means"], images.mean((2, 3)))


def small(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)]
    layers[1].running_mean.uniform_()
    layers[1].running_var.uniform_(0.5, 2)
    return nn.Sequential(*layers).eval()


class Absolute(nn.Conv2d):
    """A convolution of one's own, which does more."""

    def forward(self, x):
        return super().forward(x).abs()


class Video(nn.Module):
    """A network with a Conv3d, and a normalisation that gets its input by name."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(3, 4, (1, 3, 3)), nn.BatchNorm3d(4)
        self.flat, self.last = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)

    def forward(self, images):
        maps = self.norm(self.conv(images[:, :, None]))[:, :, 0]
        return self.last(input=self.flat(maps)).mean((2, 3))


def own_layer(model):
    model[0] = Absolute(3, 8, 3).eval()


class PadsItself(nn.Conv2d):
    """A convolution of one's own, which only pads, as EfficientNet-Lite0's do."""

    def forward(self, x):
        down = 2 if x.shape[2] > 1 else 0
        return super().forward(torch.nn.functional.pad(x, (0, 2, down, 0), value=1.5))


class Standardised(nn.Conv2d):
    """A convolution of one's own with a weight that it computes."""

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.weight / self.weight.std(), self.bias)


class Looks(nn.Conv2d):
    """A convolution of one's own that does something else with large values."""

    def forward(self, x):
        return super().forward(x.clamp(max=50) if x.max() > 50 else x)


class LargeOnly(nn.Conv2d):
    """A convolution of one's own that does more with large images."""

    def forward(self, x):
        out = super().forward(x)
        return out.relu() if x.shape[2] > 12 else out


class SmallOnly(nn.Conv2d):
    """A convolution of one's own that does more with small images."""

    def forward(self, x):
        out = super().forward(x)
        return out if x.shape[3] > 4 else out.relu()


class ManyOnly(nn.Conv2d):
    """A convolution of one's own that does more with several images."""

    def forward(self, x):
        return super().forward(x).relu() if len(x) > 1 else super().forward(x)


class OneSize(PadsItself):
    """A convolution of one's own that takes images of one size."""

    def forward(self, x):
        if x.shape[2:] != (8, 8):
            raise RuntimeError(f"no place for images {tuple(x.shape)}")
        return super().forward(x)


class WithoutBias(nn.Conv2d):
    """A convolution of one's own that has no use for a bias."""

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.weight, None)


def own(kind, **options):
    def change(model):
        side = 8 if kind is PadsItself else 6
        model[0] = kind(3, 8, 3, **options).eval()
        model[4] = nn.Linear(8 * side**2, 2)

    return change


def own_forward(model):
    plain = model[0].forward
    model[0].forward = lambda x: plain(x).clamp(max=50)


def scripted_norm(model):
    model[1] = torch.jit.script(model[1])


@pytest.mark.parametrize(
    ("change", "folded"),
    [
        (lambda model: parametrizations.weight_norm(model[0]), []),
        (lambda model: parametrizations.spectral_norm(model[0]), []),
        (lambda model: torch.nn.utils.weight_norm(model[0]), []),
        (lambda model: torch.nn.utils.spectral_norm(model[0]), []),
        (lambda model: prune.l1_unstructured(model[0], "weight", 0.5), []),
        (lambda model: prune.l1_unstructured(model[4], "weight", 0.5), ["1"]),
        (own_layer, []),
        (own(PadsItself), ["1"]),
        (own(PadsItself, bias=False), ["1"]),
        (own(Standardised), []),
        (own(Looks), []),
        (own(WithoutBias, bias=False), []),
        (own_forward, []),
        (scripted_norm, []),
        (lambda model: model[0].register_forward_hook(lambda *call: 2 * call[2]), []),
        (lambda model: model[1].register_forward_hook(lambda *call: 2 * call[2]), []),
        (lambda model: model[1].register_forward_pre_hook(lambda *call: (2 * call[1][0],)), []),
        (lambda model: model[4].register_forward_hook(lambda *call: 2 * call[2]), ["1"]),
    ],
)
def test_weights_that_are_computed_parts_in_script_and_hooks_are_kept(change, folded):
    model, images = small(), torch.rand(2, 3, 8, 8)
    change(model)
    model.eval()
    model(images)  # with gradients: a computed weight is then no leaf
    copied = faster(model, images)
    assert copied.folded == folded
    others = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(copied(others), model(others))


@pytest.mark.parametrize(("kind", "folded"), [(LargeOnly, 0), (SmallOnly, 0), (OneSize, 1)])
def test_a_layer_that_does_more_at_another_size_is_kept(kind, folded):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    model = nn.Sequential(kind(3, 4, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    copied = faster(model, torch.rand(2, 3, 8, 8))
    assert len(copied.folded) == folded
    for side in [8] if folded else [4, 8, 16, 24]:
        images = torch.rand(2, 3, side, side)
        torch.testing.assert_close(copied(images), model(images))


def test_a_layer_that_does_more_with_several_images_is_kept():
    model = nn.Sequential(ManyOnly(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).eval()
    nn.init.constant_(model[1].bias, -1)
    copied = faster(model, torch.rand(1, 3, 8, 8))
    assert copied.folded == []
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(copied(images), model(images))


def test_a_hook_that_only_watches_is_in_the_copy_too():
    model, images, seen = small(), torch.rand(2, 3, 8, 8), []
    model[1].register_forward_hook(lambda *call: seen.append(call[2]))
    copied = faster(model, images)
    seen.clear()
    copied(images)
    assert len(seen) == 1


def test_every_norm_of_the_packaged_network_is_folded():
    torch.manual_seed(0)
    model, images = EfficientNetLite0(classes=CLASSES).double().eval(), pictures(2, 40)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    copied = faster(model, images)
    assert len(copied.folded) == 49
    others = pictures(3, 47, seed=5)
    assert error(copied(others), model(others)) < 1e-9


def test_a_copy_of_a_copy_is_known_as_one():
    model, images = small(), torch.rand(2, 3, 8, 8)
    copied = faster(faster(model, images), images)
    assert copied.folded == ["1"]
    with pytest.raises(ValueError, match=r"^model: got a copy"):
        reinitialised(copied, images)


def test_weights_of_five_dimensions_and_an_input_by_name():
    model, images = Video().eval(), torch.rand(2, 3, 8, 8)
    copied = faster(model, images)
    assert copied.folded == ["last"]
    torch.testing.assert_close(copied(images), model(images))


def test_a_norm_with_two_names_is_replaced_under_both():
    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small()
            self.norm = self.net[1]
            self.net[0].bias.data.fill_(3)

        def forward(self, images):
            return self.net[2:](self.norm(self.net[0](images)))

    model, images = Twin().eval(), torch.rand(2, 3, 8, 8)
    copied = faster(model, images)
    assert len(copied.folded) == 1
    torch.testing.assert_close(copied(images), model(images))


class Outside(nn.Module):
    """A network that also reads a normalisation's weight."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, images):
        return self.net(images) + self.net[1].weight[:2]


class Restless(nn.Module):
    """A network that never answers twice the same."""

    def forward(self, images):
        return images.mean((2, 3)) + torch.rand(1)


def with_a_result():
    model = small()
    model.last = model(torch.rand(2, 3, 8, 8))
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.jit.script(small()), "model: got a scripted model"),
        (lambda: torch.jit.freeze(torch.jit.script(small())), "model: got a scripted model"),
        (with_a_result, "model: got one that copy.deepcopy refuses"),
        (lambda: Outside().eval(), "model: got one whose copy does not run"),
        (lambda: Restless().eval(), "model: got other outputs in a second run"),
        (lambda: small().double(), "images: got torch.float32 on cpu; must be torch.float64"),
    ],
)
def test_refusals_say_what_is_so(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        faster(make(), torch.rand(2, 3, 8, 8))


def test_nan_outputs_are_refused_as_such():
    model = small()
    model[4].bias.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^model: got NaN or infinite outputs"):
        faster(model, torch.rand(2, 3, 8, 8))


def test_outputs_that_are_no_numbers_are_left_out():
    class Mixed(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)), None, "a name", images.mean((2, 3)) > 0, 3

    faster(Mixed().eval(), torch.rand(2, 3, 8, 8))


def everything_of(model):
    """What a copy must not change in its original, with the identity of each part."""
    held = []
    for name, module in model.named_modules():
        slots = vars(module).items()
        identities = [(key, id(value)) for key, value in slots]
        held.append((name, type(module), module.training, identities))
        tables = (module._parameters, module._buffers, module._modules, module._forward_hooks)
        held += [list(table.items()) for table in (*tables[2:], module._forward_pre_hooks)]
        for table in tables[:2]:
            for key, weight in table.items():
                known = weight is None or (weight.requires_grad, weight.stride(), weight.tolist())
                held.append((key, id(weight), known))
    return held


class Padding(nn.Conv2d):
    """A convolution of one's own."""

    def forward(self, x):
        return super().forward(torch.nn.functional.pad(x, (1, 1, 1, 1)))


class Doubling(nn.Conv2d):
    """A convolution of one's own that does more."""

    def forward(self, x):
        y = super().forward(x)
        return y + y.abs()


def watch(model, name, seen):
    model.get_submodule(name).register_forward_hook(lambda *call: seen.append(name))


OWN = {"plain": None, "pads": Padding, "doubles": Doubling}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    plans,
    st.sampled_from(sorted(OWN)),
    st.sampled_from(["", "stem", "norm", "convs.0", "fc"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.booleans(),
)
def test_a_copy_of_any_network_is_the_same_function(plan, own, watched, dtype, frozen, short):
    plan = plan._replace(norm="batch" if plan.norm == "none" else plan.norm)
    if short:  # a normalisation that runs several times has several tasks
        plan = plan._replace(activations=plan.activations[:1])
    model, seen = RandomNetwork(plan), []
    if OWN[own] is not None:
        kind = OWN[own]
        model.convs[0] = kind(4, 4, 3, padding=0 if kind is Padding else 1).eval()
    model.to(dtype).requires_grad_(not frozen)
    if watched:
        watch(model, watched, seen)
    images = torch.randn(2, 2, 8, 8, dtype=dtype)
    before, kept = everything_of(model), images.clone()
    copied = faster(model, images)
    assert everything_of(model) == before
    assert torch.equal(images, kept)
    once = plan.norm == "batch" and len(plan.activations) == 1
    is_folded = once and own != "doubles" and watched not in ("norm", "convs.0")
    assert copied.folded == (["norm"] if is_folded else [])
    others = torch.randn(3, 2, 8, 8, dtype=dtype)
    counts = []
    for each in (copied, model):
        seen.clear()
        counts.append((each(others.clone()), len(seen)))
    (found, fired), (expected, times) = counts
    assert fired == times, "a hook of the owner's runs in the copy, too"
    scale = expected.abs().max().clamp_min(1e-3)
    assert (found - expected).abs().max() <= 1000 * torch.finfo(dtype).eps * scale
