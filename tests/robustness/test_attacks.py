"""Attacks: by hand on linear models, against torchattacks, and what they leave as it was."""

import copy
from functools import partial

import pytest
import torch
import torchattacks
from hypothesis import given
from hypothesis import strategies as st
from stock_networks import Mixed
from torch import nn

from xai_course.data import normalise
from xai_course.models import NormalisingModel
from xai_course.robustness import (
    apply_patch,
    fgsm,
    gradient_masking_checks,
    is_correct,
    learn_patch,
    pgd,
    random_perturbation,
)

CHECKED = (fgsm, pgd, partial(learn_patch, mask=torch.ones(1, 1, 12, 12)))


def small(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)
        ).eval()


def pictures(count=6, seed=0, size=12):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def linear(weights):
    """Two classes over one row of pixels; the first one's logit is weights · x, the other's 0."""
    layer = nn.Linear(len(weights), 2, bias=False)
    layer.weight = nn.Parameter(torch.tensor([weights, [0.0] * len(weights)]))
    return nn.Sequential(nn.Flatten(), layer).eval()


def row(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


MODEL, IMAGES, LABELS = small(), pictures(), torch.tensor([0, 1, 2, 3, 0, 1])


# ------------------------------------------------------------------------------------- by hand


def test_fgsm_by_hand():
    """Away from the first class: against the weights' signs, and no step where the weight is 0."""
    model, image = linear([2.0, -1.0, 0.0, 0.5]), row(0.5, 0.5, 0.5, 0.05)
    attacked = fgsm(model, image, 0, epsilon=0.1)
    assert torch.allclose(attacked, row(0.4, 0.6, 0.5, 0.0))  # the last one is cut at 0
    towards = fgsm(model, image, 0, epsilon=0.1, targeted=True)
    assert torch.allclose(towards, row(0.6, 0.4, 0.5, 0.15))


def test_pgd_on_a_linear_model_ends_in_the_best_corner():
    model, image = linear([2.0, -1.0, 0.0, 0.5]), row(0.5, 0.5, 0.5, 0.5)
    attacked = pgd(model, image, 0, epsilon=0.1)
    assert torch.allclose(attacked[..., [0, 1, 3]], row(0.4, 0.6, 0.4), atol=1e-6)


def test_pgd_by_length_on_a_linear_model_goes_against_the_weights():
    weights = [3.0, -4.0, 0.0]
    attacked = pgd(
        linear(weights), row(0.5, 0.5, 0.5), 0, epsilon=0.1, norm="2", random_start=False
    )
    assert torch.allclose(attacked - 0.5, -0.1 * row(0.6, -0.8, 0.0), atol=1e-6)


def test_without_targets_the_attack_leads_away_from_the_prediction():
    predicted = MODEL(IMAGES).argmax(1)
    assert torch.equal(pgd(MODEL, IMAGES), pgd(MODEL, IMAGES, predicted))


# ---------------------------------------------------------------------------------- the oracle


def test_fgsm_is_that_of_torchattacks():
    theirs = torchattacks.FGSM(MODEL, eps=0.03)(IMAGES, LABELS)
    assert torch.equal(fgsm(MODEL, IMAGES, LABELS, epsilon=0.03), theirs)


@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_is_that_of_torchattacks(targeted):
    oracle = torchattacks.PGD(MODEL, eps=0.03, alpha=0.01, steps=7, random_start=False)
    if targeted:
        oracle.set_mode_targeted_by_function(lambda images, labels: labels)
    options = {"epsilon": 0.03, "step_size": 0.01, "steps": 7, "random_start": False}
    ours = pgd(MODEL, IMAGES, LABELS, targeted=targeted, **options)
    assert (ours - oracle(IMAGES, LABELS)).abs().max() < 1e-6


def test_pgd_by_length_is_that_of_torchattacks():
    theirs = torchattacks.PGDL2(MODEL, eps=0.5, alpha=0.1, steps=7, random_start=False)
    options = {"epsilon": 0.5, "step_size": 0.1, "steps": 7, "random_start": False}
    ours = pgd(MODEL, IMAGES, LABELS, norm="2", **options)
    assert (ours - theirs(IMAGES, LABELS)).abs().max() < 1e-5


def test_with_a_random_start_the_success_rate_is_that_of_torchattacks():
    """From other random places, on many pictures, as often right to within a few of them."""
    images = pictures(300, seed=2)
    labels = MODEL(images).argmax(1)  # all right before
    rates = []
    for epsilon in (0.01, 0.03):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            oracle = torchattacks.PGD(MODEL, eps=epsilon, alpha=epsilon / 4, steps=10)
            theirs = is_correct(MODEL, oracle(images, labels), labels).mean()
        ours = pgd(MODEL, images, labels, epsilon=epsilon, step_size=epsilon / 4)
        rates.append((is_correct(MODEL, ours, labels).mean().item(), theirs.item()))
    assert all(abs(ours - theirs) < 0.03 for ours, theirs in rates), rates
    assert rates[1][0] < rates[0][0] < 1  # attacks they are


# ----------------------------------------------------------------------------- ball and range


@given(
    epsilon=st.floats(0.001, 2.0),
    norm=st.sampled_from(["inf", "2"]),
    steps=st.integers(1, 4),
    start=st.booleans(),
    targeted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_attack_stays_in_the_ball_and_in_the_range(
    epsilon, norm, steps, start, targeted, seed
):
    images = pictures(3, seed)
    options = {"epsilon": epsilon, "norm": norm, "seed": seed}
    attacked = pgd(
        MODEL, images, [0, 1, 2], steps=steps, random_start=start, targeted=targeted, **options
    )
    for changed in (attacked, random_perturbation(images, **options)):
        change = (changed - images).flatten(1)
        size = change.abs().amax(1) if norm == "inf" else change.norm(dim=1)
        assert size.max() <= epsilon * (1 + 1e-5) + 1e-6
        assert changed.min() >= 0
        assert changed.max() <= 1


def test_the_range_may_be_another():
    images = 2 * pictures() - 1
    attacked = pgd(MODEL, images, LABELS, epsilon=0.5, low=-1.0, high=1.0)
    assert attacked.min() < 0
    assert attacked.abs().max() <= 1
    with pytest.raises(ValueError, match=r"must be pixels in \[0, 1\]"):
        pgd(MODEL, images, LABELS)


def test_noise_is_as_large_as_it_may_be():
    images = torch.full((2, 3, 8, 8), 0.5)
    assert torch.allclose((random_perturbation(images, epsilon=0.1) - 0.5).abs(), torch.tensor(0.1))
    lengths = (random_perturbation(images, epsilon=0.1, norm="2") - 0.5).flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor(0.1))


def test_attacks_lower_the_accuracy_more_than_noise_and_steps_help():
    images = pictures(200, seed=5)
    labels = MODEL(images).argmax(1)
    rates = [
        is_correct(MODEL, changed, labels).mean()
        for changed in (
            images,
            random_perturbation(images, epsilon=0.01),
            pgd(MODEL, images, labels, epsilon=0.01),
            pgd(MODEL, images, labels, epsilon=1.0, steps=20),
        )
    ]
    assert rates[0] == 1
    assert rates[1] > rates[2] > rates[3] == 0


def test_a_targeted_attack_reaches_its_target():
    targets = (MODEL(IMAGES).argmax(1) + 1) % 4
    attacked = pgd(MODEL, IMAGES, targets, epsilon=0.5, steps=40, targeted=True)
    before = is_correct(MODEL, IMAGES, targets).mean()
    assert is_correct(MODEL, attacked, targets).mean() > before


# ------------------------------------------------------------------- what is left as it was


def test_the_same_seed_gives_the_same_pictures_and_another_others():
    first, again = pgd(MODEL, IMAGES, seed=3), pgd(MODEL, IMAGES, seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, pgd(MODEL, IMAGES, seed=4))
    assert torch.equal(first, pgd(MODEL, IMAGES, seed=3, batch_size=2))


def test_the_random_state_the_model_and_the_images_stay_as_they_were():
    model, images = NormalisingModel(Mixed().eval()), pictures(size=24)
    before = copy.deepcopy(model.state_dict())
    kept, state = images.clone(), torch.get_rng_state()
    model.network.conv1.weight.requires_grad_(False)
    mask = torch.ones(1, 1, 24, 24)
    for attack in (fgsm, pgd, partial(learn_patch, mask=mask, steps=2), perturb_at_random):
        attacked = attack(model, images, LABELS)
        assert not attacked.requires_grad
    is_correct(model, images, LABELS)
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))  # noqa: B905
    assert all(weight.grad is None for weight in model.parameters())
    assert not model.network.conv1.weight.requires_grad
    assert model.network.conv2.weight.requires_grad


def perturb_at_random(model, images, labels):
    return random_perturbation(images)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_attacks_work_where_gradients_are_off(context):
    expected = pgd(MODEL, IMAGES, LABELS)
    with context():
        assert torch.equal(pgd(MODEL, IMAGES, LABELS), expected)


def test_after_an_exception_the_random_state_is_the_same():
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="targets"):
        pgd(MODEL, IMAGES, [7] * 6)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------------- patches


def test_a_patch_changes_only_what_it_covers():
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 8:, 8:] = 1
    patch = learn_patch(MODEL, IMAGES, LABELS, mask=mask, steps=5)
    laid = apply_patch(IMAGES, patch, mask)
    assert torch.equal(laid[..., :8, :], IMAGES[..., :8, :])
    assert torch.equal(laid[..., 8:, 8:], patch[:, 8:, 8:].expand(6, -1, -1, -1))
    assert patch.min() >= 0
    assert patch.max() <= 1
    assert torch.equal(patch, learn_patch(MODEL, IMAGES, LABELS, mask=mask, steps=5))


def test_a_learned_patch_comes_nearer_to_its_target_than_a_grey_or_a_random_one():
    images, target = pictures(64, seed=8), torch.full((64,), 2)
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 6:, 6:] = 1
    learned = learn_patch(MODEL, images, 2, mask=mask, targeted=True)
    others = (torch.full_like(learned, 0.5), pictures(1, seed=9)[0])
    best, *rest = (
        nn.functional.cross_entropy(MODEL(apply_patch(images, patch, mask)), target).item()
        for patch in (learned, *others)
    )
    assert best < min(rest)
    away = learn_patch(MODEL, images, 2, mask=mask)
    assert nn.functional.cross_entropy(MODEL(apply_patch(images, away, mask)), target) > max(rest)


# ------------------------------------------------------------------------------ hidden gradients


class Scaled(nn.Module):
    """The same answers with logits so large that the softmax is 0 and 1, and its gradient 0."""

    def __init__(self, network, factor):
        super().__init__()
        self.network, self.factor = network, factor
        self.eval()

    def forward(self, x):
        return self.factor * self.network(x)


def test_an_open_network_shows_no_sign_of_masking():
    images = pictures(100, seed=5)
    labels = MODEL(images).argmax(1)
    means = {
        k: v.mean() for k, v in gradient_masking_checks(MODEL, images, labels, epsilon=0.01).items()
    }
    assert means["no attack"] == 1
    assert means["noise"] > means["PGD"]
    assert means["PGD, any change"] == means["zero gradient"] == 0


def test_hidden_gradients_are_found_out():
    images = pictures(100, seed=5)
    labels = MODEL(images).argmax(1)
    checks = gradient_masking_checks(
        Scaled(MODEL, 1e6), images, labels, epsilon=0.01, substitute=MODEL
    )
    means = {name: values.mean() for name, values in checks.items()}
    assert means["zero gradient"] > 0.5
    assert means["PGD"] > means["transfer"]  # another network's attack does better
    assert means["PGD, any change"] > 0  # although a solution is certain


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("attack", CHECKED)
def test_a_model_in_training_mode_is_refused(attack):
    with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
        attack(small().train(), IMAGES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epsilon": 0}, "epsilon: got 0; must be"),
        ({"epsilon": float("nan")}, "epsilon: got nan"),
        ({"epsilon": "8/255"}, "epsilon: got '8/255'"),
        ({"norm": "1"}, "norm: got '1'; must be one of inf, 2"),
        ({"steps": 0}, "steps: got 0"),
        ({"steps": True}, "steps: got True"),
        ({"step_size": -1}, "step_size: got -1"),
        ({"samples": 1.5}, "samples: got 1.5"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"targeted": True}, "targets: got None; must be the classes to reach"),
        ({"low": 1.0}, "must be low below high"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        pgd(MODEL, IMAGES, **options)


def test_normalised_images_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"attack NormalisingModel\(network\)"):
        fgsm(MODEL, normalise(IMAGES))


def test_masks_and_patches_that_do_not_fit_are_refused():
    for mask in (torch.ones(12, 12), torch.ones(2, 1, 12, 12), torch.ones(1, 3, 12, 12), None):
        with pytest.raises(ValueError, match="mask: got"):
            learn_patch(MODEL, IMAGES, mask=mask)
    with pytest.raises(ValueError, match=r"mask: got values outside \[0, 1\]"):
        apply_patch(IMAGES, IMAGES[0], torch.full((1, 1, 12, 12), 2.0))
    with pytest.raises(ValueError, match="patch: got shape"):
        apply_patch(IMAGES, IMAGES, torch.ones(1, 1, 12, 12))


def test_a_model_without_a_derivative_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return MODEL(x).detach()

    with pytest.raises(ValueError, match="without a derivative"):
        pgd(Cut().eval(), IMAGES)
