"""Attacks on the explanation: what they may touch, what they must leave alone, what they reach."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import network, pictures, tiny, with_heavy
from torch import nn

from xai_course.core import relevance_maps
from xai_course.relu import grad_cam, gradient
from xai_course.robustness import MANIPULABLE, manipulate_map, softplus_relus, top_overlap

EPSILON = 0.05


def random_pixels(count=2, size=16, seed=0):
    """Random pixels in [0, 1], also at both ends."""
    return (0.5 + 0.3 * pictures(count, size, seed=seed)).clamp(0, 1)


def corner(size=16, part=4):
    wanted = torch.zeros(1, 1, size, size, dtype=torch.double)
    wanted[..., :part, :part] = 1
    return wanted


def share_in(relevance, mask):
    strength = relevance.sum(1, keepdim=True).abs()
    return (strength * mask).sum((1, 2, 3)) / strength.sum((1, 2, 3))


# ------------------------------------------------------------------ softplus_relus


def test_softplus_by_hand():
    x = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.double)
    with softplus_relus(2.0):
        soft = x.relu()
    assert torch.allclose(soft, (1 + (2 * x).exp()).log() / 2)
    assert x.relu().tolist() == [0, 0, 3]  # and afterwards it is a ReLU again


SPELLINGS = (nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, torch.Tensor.relu_, F.relu_)
SPELLINGS += (lambda x: x.clamp(min=0), lambda x: F.threshold_(x, 0, 0))


@pytest.mark.parametrize("relu", SPELLINGS)
def test_every_spelling_is_replaced_and_those_in_place_stay_in_place(relu):
    x = torch.linspace(-1, 1, 5, dtype=torch.double)
    given = x.clone()
    worked_in_place = relu(given) is given
    given = x.clone()
    with softplus_relus(10.0):
        out = relu(given)
    assert torch.allclose(out, F.softplus(x, 10.0))
    assert (out is given) == worked_in_place


def test_a_relu6_becomes_smooth_at_both_ends():
    x = torch.linspace(-2, 9, 23, dtype=torch.double)
    with softplus_relus(50.0):
        soft = F.relu6(x)
    assert (soft - x.clamp(0, 6)).abs().max() < 0.02
    assert (soft <= 6).all()
    assert soft[x == 6].item() == pytest.approx(6 - torch.tensor(2.0).log().item() / 50)


@pytest.mark.parametrize(
    "name",
    with_heavy(["small_resnet", "small_mobilenet", "mixed", "resnet18", "mobilenet_v2"]),
)
def test_a_large_beta_gives_the_network_itself(name):
    model, images = network(name), pictures(2, 32)
    with torch.no_grad():
        plain = model(images.clone())
        with softplus_relus(1e6):
            soft = model(images.clone())
        with softplus_relus(1.0):
            other = model(images.clone())
    assert torch.allclose(soft, plain, atol=1e-4 * plain.abs().max())
    assert not torch.allclose(other, plain, atol=1e-2 * plain.abs().max())


def test_a_smooth_map_hardly_depends_on_which_side_of_a_kink_a_pixel_is():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(1, 1, bias=False)).double().eval()
    sides = torch.tensor([-1e-3, 1e-3], dtype=torch.double).view(2, 1, 1, 1)
    jump = gradient(model, sides, 0).diff(dim=0).abs().item()
    with softplus_relus(5.0):
        soft = gradient(model, sides, 0).diff(dim=0).abs().item()
    weight = model[2].weight.abs().item()
    assert jump == pytest.approx(weight)
    assert soft == pytest.approx(weight * 5.0 / 4 * 2e-3, rel=1e-4)  # σ'(0) · β · the step


@pytest.mark.parametrize("beta", [0, -1.0, float("inf"), "10"])
def test_what_is_no_beta_is_refused(beta):
    with pytest.raises(ValueError, match=r"^beta: got"), softplus_relus(beta):
        pass


# ------------------------------------------------------------------ manipulate_map


@given(
    seed=st.integers(0, 100), epsilon=st.floats(0, 0.3), explainer=st.sampled_from([*MANIPULABLE])
)
@settings(max_examples=12, deadline=None)
def test_stays_in_the_ball_and_the_pixel_range_and_keeps_the_class(seed, epsilon, explainer):
    model, images = tiny(), random_pixels(seed=seed)
    options = {"explainer": explainer, "epsilon": epsilon, "steps": 12}
    changed = manipulate_map(model, images, corner(), **options)
    assert (changed - images).abs().max() <= epsilon + 1e-12
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(model(changed).argmax(1), model(images).argmax(1))
    assert torch.equal(changed, manipulate_map(model, images, corner(), **options))
    assert changed.dtype == images.dtype
    assert not changed.requires_grad


@pytest.mark.parametrize("explainer", [*MANIPULABLE])
def test_what_is_manipulated_are_the_course_s_own_maps(explainer):
    from xai_course.residual import integrated_gradients

    ours = {
        "gradient": gradient,
        "integrated gradients": lambda *a: integrated_gradients(*a, steps=8),
        "Grad-CAM": grad_cam,
    }
    model, images, classes = tiny(), random_pixels(3), torch.tensor([0, 2, 1])
    base = images.mean((2, 3), keepdim=True)
    aimed = MANIPULABLE[explainer](model, images.clone().requires_grad_(), base, classes)
    expected = ours[explainer](model, images, classes)
    assert torch.allclose(aimed.detach(), expected, atol=1e-12)
    assert aimed.requires_grad


@pytest.mark.parametrize("explainer", [*MANIPULABLE])
def test_the_map_comes_nearer_to_what_is_wanted_than_noise_of_the_same_size_brings_it(explainer):
    model, images, wanted = tiny(), random_pixels(4, seed=1), corner()
    classes = model(images).argmax(1)
    noise = torch.where(pictures(4, 16, seed=9) > 0, EPSILON, -EPSILON)

    def nearness(changed):
        base = images.mean((2, 3), keepdim=True)
        maps = MANIPULABLE[explainer](model, changed.clone().requires_grad_(), base, classes)
        maps = maps.detach().sum(1).abs().flatten(1)
        return F.cosine_similarity(maps, wanted.flatten(1).expand_as(maps))

    changed = manipulate_map(model, images, wanted, explainer=explainer, epsilon=EPSILON, steps=60)
    before, of_noise = nearness(images), nearness((images + noise).clamp(0, 1))
    assert (nearness(changed) >= before).all()
    assert nearness(changed).mean() > of_noise.mean() + 0.01


def test_the_gradient_of_a_linear_model_cannot_be_manipulated():
    """Its map is its weights, whatever the picture: no step comes nearer, so none is taken."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).double().eval()
    images = random_pixels(2, 8)
    changed = manipulate_map(model, images, corner(8, 2), epsilon=0.2, steps=20)
    assert torch.equal(changed, images)
    targets = torch.zeros(2, dtype=torch.long)
    assert torch.equal(gradient(model, changed, targets), gradient(model, images, targets))


def test_two_planes_by_hand():
    """With f = relu(x₁) + 20·relu(x₂ - ½) the map moves to the second pixel once its gate opens."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(2))
        model[1].bias.copy_(torch.tensor([0.0, -0.5]))
        model[3].weight.copy_(torch.tensor([[1.0, 20.0]]))
        model[3].bias.zero_()
    images = torch.tensor([0.5, 0.49], dtype=torch.double).view(1, 1, 1, 2)
    wanted = torch.tensor([0.0, 1.0], dtype=torch.double).view(1, 1, 1, 2)
    assert gradient(model, images).flatten().tolist() == [1, 0]
    changed = manipulate_map(model, images, wanted, epsilon=0.02, steps=40, keep=0.0)
    assert gradient(model, changed).flatten().tolist() == [1, 20]


def test_keep_holds_the_logits():
    model, images = tiny(), random_pixels(3, seed=2)

    def moved(keep):
        changed = manipulate_map(model, images, corner(), epsilon=EPSILON, steps=40, keep=keep)
        return (model(changed) - model(images)).abs().mean().item()

    assert moved(1e4) < moved(0.0)


def test_model_and_random_state_are_left_as_they_were():
    model, images = network("mixed"), random_pixels(2, 32)
    for parameter in model.parameters():
        parameter.grad = None
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given, state = images.clone(), torch.get_rng_state()
    manipulate_map(model, images, corner(32), steps=3)
    with pytest.raises(ValueError, match="wanted"):
        manipulate_map(model, images, corner(8), steps=3)
    assert torch.equal(images, given)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(module.training for module in model.modules())


def test_a_batch_is_its_images_one_by_one():
    model, images = tiny(), random_pixels(3, seed=4)
    together = manipulate_map(model, images, corner(), steps=15)
    alone = torch.cat([manipulate_map(model, image[None], corner(), steps=15) for image in images])
    assert torch.allclose(together, alone, atol=1e-9)


def test_under_no_grad_and_in_inference_mode():
    model, images = tiny(), random_pixels(1)
    expected = manipulate_map(model, images, corner(), steps=10)
    with torch.no_grad():
        assert torch.equal(manipulate_map(model, images, corner(), steps=10), expected)
    with torch.inference_mode():
        assert torch.equal(manipulate_map(model, images, corner(), steps=10), expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": 2 * random_pixels()}, r"^images: got values from .* NormalisingModel"),
        ({"images": random_pixels()[0]}, r"^images: got shape"),
        ({"wanted": corner(8)}, r"^wanted: got \(1, 1, 8, 8\)"),
        ({"wanted": -corner()}, r"^wanted: "),
        ({"wanted": 0 * corner()}, r"^wanted: "),
        ({"wanted": "here"}, r"^wanted: got str"),
        ({"explainer": "lime"}, r"^explainer: got 'lime'; must be one of gradient"),
        ({"epsilon": -0.1}, r"^epsilon: got"),
        ({"epsilon": float("nan")}, r"^epsilon: got"),
        ({"keep": -1.0}, r"^keep: got"),
        ({"steps": 0}, r"^steps: got"),
        ({"steps": True}, r"^steps: got"),
        ({"beta": 0.0}, r"^beta: got"),
        ({"targets": 99}, r"^targets: got"),
    ],
)
def test_bad_input_is_named(changes, words):
    arguments = {"images": random_pixels(), "wanted": corner(), "steps": 2} | changes
    with pytest.raises(ValueError, match=words):
        manipulate_map(tiny(), **arguments)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        manipulate_map(nn.Sequential(tiny(), nn.Dropout()).train(), random_pixels(), corner())


# ------------------------------------------------------------------ top_overlap


def test_top_overlap_by_hand():
    first = torch.tensor([[4.0, -3.0], [2.0, 1.0]]).view(1, 1, 2, 2)
    second = torch.tensor([[4.0, 1.0], [2.0, -3.0]]).view(1, 1, 2, 2)
    assert top_overlap(first, second, share=0.5).tolist() == [0.5]
    assert top_overlap(first, second, share=0.25).tolist() == [1]
    assert top_overlap(first, second, share=1).tolist() == [1]
    two_channels = torch.cat([first - 1, torch.ones_like(first)], 1)
    assert top_overlap(two_channels, second, share=0.5).tolist() == [0.5]


def test_top_overlap_of_unrelated_maps_is_the_share():
    shared = top_overlap(pictures(200, 20, 1), pictures(200, 20, 1, seed=1), share=0.1)
    assert shared.mean().item() == pytest.approx(0.1, abs=0.01)


def test_top_overlap_takes_what_explainers_return():
    model, images = tiny(), random_pixels(2)
    classes = model(images).argmax(1)
    maps = relevance_maps(model, gradient, images, classes)
    assert top_overlap(maps, maps).tolist() == [1, 1]


@pytest.mark.parametrize("share", [0, 1.5])
def test_top_overlap_refuses(share):
    with pytest.raises(ValueError, match=r"^share: got"):
        top_overlap(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), share=share)
    with pytest.raises(ValueError, match=r"^second: got"):
        top_overlap(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
