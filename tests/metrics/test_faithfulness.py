"""Deletion, insertion, infidelity, sensitivity: by hand, on models that are known, and by peers."""

from functools import partial

import pytest
import torch
from captum.attr import Saliency
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import infidelity_perturb_func_decorator
from captum.metrics import sensitivity_max as captum_sensitivity
from explainers import small
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_models import FOUR, SUM, flat, linear, quantus_scores, random_linear
from stock_networks import Spy, error, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.metrics import (
    deletion,
    deletion_and_insertion,
    deletion_curve,
    infidelity,
    insertion,
    insertion_curve,
    sensitivity_max,
)
from xai_course.relu import gradient, gradient_times_input
from xai_course.residual import integrated_gradients

CURVES = (deletion_curve, insertion_curve)
ZERO = torch.tensor(0.0)


# ------------------------------------------------------------------------ deletion and insertion


def test_deletion_by_hand():
    relevance = torch.tensor([[[[0.1, 0.9], [-5.0, 0.4]]]])  # the order is 2, 4, 1, 3
    options = {"fill": ZERO, "steps": 4, "output": "logit"}
    curve = deletion_curve(SUM, relevance, FOUR, **options)
    assert curve.tolist() == [[10, 8, 4, 3, 0]]
    area = deletion(SUM, relevance, FOUR, **options)
    assert area.tolist() == [(10 / 2 + 8 + 4 + 3 + 0 / 2) / 4]


def test_insertion_by_hand():
    relevance = torch.tensor([[[[0.1, 0.9], [-5.0, 0.4]]]])
    options = {"fill": ZERO, "steps": 4, "output": "logit"}
    assert insertion_curve(SUM, relevance, FOUR, **options).tolist() == [[0, 2, 6, 7, 10]]
    area = insertion(SUM, relevance, FOUR, **options)
    assert area.tolist() == [(0 / 2 + 2 + 6 + 7 + 10 / 2) / 4]


def test_a_probability_is_the_softmax_of_the_class():
    relevance = torch.tensor([[[[0.1, 0.9], [-5.0, 0.4]]]])
    options = {"fill": ZERO, "steps": 2}
    for target, sign in ((0, 1), (1, -1)):
        curve = deletion_curve(SUM, relevance, FOUR, target, **options)
        expected = torch.sigmoid(sign * torch.tensor([[10.0, 4, 0]], dtype=torch.double))
        assert error(curve, expected) < 1e-12


def test_shares_that_do_not_divide_are_rounded_and_keep_their_width():
    relevance = torch.tensor([[[[4.0, 3], [2, 1]]]])
    options = {"fill": ZERO, "steps": 3, "output": "logit"}
    curve = deletion_curve(SUM, relevance, FOUR, **options)
    assert curve.tolist() == [[10, 9, 4, 0]]  # 0, 1, 3, 4 pixels
    by_hand = (10 + 9) / 2 * 0.25 + (9 + 4) / 2 * 0.5 + (4 + 0) / 2 * 0.25
    assert deletion(SUM, relevance, FOUR, **options).item() == by_hand
    by_hand = (0 + 1) / 2 * 0.25 + (1 + 6) / 2 * 0.5 + (6 + 10) / 2 * 0.25
    assert insertion(SUM, relevance, FOUR, **options).item() == by_hand


def test_halves_are_rounded_and_the_area_knows_which_way():
    """Six pixels in four steps: 1.5 and 4.5 of them become 2 and 5, and from the other end 1, 4."""
    model = linear([[1.0] * 6, [0.0] * 6])
    image = torch.tensor([8.0, 4, 2, 1, 1, 1], dtype=torch.double).view(1, 1, 1, 6)
    options = {"fill": ZERO, "steps": 4, "output": "logit"}
    assert deletion_curve(model, image, image, **options).tolist() == [[17, 5, 3, 1, 0]]
    assert insertion_curve(model, image, image, **options).tolist() == [[0, 8, 14, 15, 17]]
    down = (17 + 5) / 2 * 2 + (5 + 3) / 2 * 1 + (3 + 1) / 2 * 2 + (1 + 0) / 2 * 1
    assert deletion(model, image, image, **options).item() == pytest.approx(down / 6)
    up = (0 + 8) / 2 * 1 + (8 + 14) / 2 * 2 + (14 + 15) / 2 * 1 + (15 + 17) / 2 * 2
    assert insertion(model, image, image, **options).item() == pytest.approx(up / 6)


def test_channels_are_summed_before_pixels_are_ordered():
    images, relevance = pictures(2, 8), pictures(2, 8, seed=4)
    model = random_linear()
    for curve in CURVES:
        expected = curve(model, relevance.sum(1, keepdim=True), images)
        assert torch.equal(curve(model, relevance, images), expected)


@pytest.mark.parametrize("fill", ["mean", "blur", "noise", pictures(1, 8, seed=8)])
@pytest.mark.parametrize("output", ["probability", "logit"])
def test_curves_go_between_the_untouched_image_and_the_fill(fill, output):
    spy, images = Spy(), pictures(3, 8)
    model = nn.Sequential(spy, tiny()).eval()
    targets = torch.tensor([1, 4, 0])
    relevance = pictures(3, 8, 1, seed=4)
    options = {"fill": fill, "output": output, "steps": 5}
    down = deletion_curve(model, relevance, images, targets, **options)
    filled = spy.seen[-1].view(3, 5, 3, 8, 8)[:, -1]
    up = insertion_curve(model, relevance, images, targets, **options)
    assert torch.equal(spy.seen[-1].view(3, 5, 3, 8, 8)[:, -1], filled)
    assert not (filled == images).any() or fill == "blur"
    logits = tiny()(images), tiny()(filled)
    whole, none = (y.softmax(1) if output == "probability" else y for y in logits)
    for curve, ends in ((down, (whole, none)), (up, (none, whole))):
        assert curve.shape == (3, 6)
        for at, end in zip((0, -1), ends, strict=True):
            expected = end.gather(1, targets[:, None])[:, 0]
            assert error(curve[:, at], expected) < 1e-12


def test_noise_has_each_images_own_mean_and_deviation():
    spy = Spy()
    images = pictures(2, 64) * torch.tensor([1.0, 5]).view(2, 1, 1, 1)
    images += torch.tensor([0.0, 3, -9]).view(1, 3, 1, 1)
    model = nn.Sequential(spy, tiny()).eval()
    deletion(model, torch.rand(2, 1, 64, 64), images, fill="noise", steps=1)
    noise = spy.seen[-1]
    assert error(noise.mean((2, 3)), images.mean((2, 3))) < 0.05
    assert error(noise.std((2, 3)), images.std((2, 3))) < 0.05
    pattern = (noise - noise.mean((2, 3), keepdim=True)) / noise.std((2, 3), keepdim=True)
    assert (pattern[0] * pattern[1]).mean().abs() < 0.05  # not the same noise for both


def test_noise_of_an_image_does_not_depend_on_the_batch():
    images = pictures(3, 8)
    curves = deletion_curve(tiny(), images, images, fill="noise")
    alone = deletion_curve(tiny(), images[2:], images[2:], fill="noise")
    assert error(curves[2:], alone) < 1e-12
    squares = {"perturbation": "squares", "fill": "noise"}
    together = infidelity(tiny(), images, images, unit="sum", **squares)
    single = infidelity(tiny(), images[2:], images[2:], unit="sum", **squares)
    assert error(together[2:], single) < 1e-12


def test_noise_is_the_same_for_every_method():
    """Also for a map with ties, which are broken by the same seed."""
    images = pictures(2, 8)
    ends = [
        deletion_curve(tiny(), maps, images, fill="noise", seed=3)[:, -1]
        for maps in (flat(None, images), pictures(2, 8))
    ]
    assert torch.equal(*ends)
    other = deletion_curve(tiny(), flat, images, fill="noise", seed=4)[:, -1]
    assert not torch.equal(other, ends[0])


@given(seed=st.integers(0, 10**6), levels=st.integers(1, 6), steps=st.integers(1, 30))
@settings(max_examples=30)
def test_each_step_replaces_the_highest_pixels_that_are_left(seed, levels, steps):
    """A plain loop over what the model saw; few levels of relevance make many ties."""
    spy = Spy()
    model = nn.Sequential(spy, tiny()).eval()
    generator = torch.Generator().manual_seed(seed)
    relevance = torch.randint(levels, (2, 1, 5, 6), generator=generator).double()
    images = pictures(2, 6)[:, :, :5]
    deletion_curve(model, relevance, images, fill=images + 100, steps=steps, seed=seed)
    rows = spy.seen[-1].view(2, steps, 3, 5, 6)
    for image, row, values in zip(images, rows, relevance, strict=True):
        before = torch.zeros(5, 6, dtype=torch.bool)
        for k, left in enumerate(row, 1):
            gone = (left != image).all(0)
            assert torch.equal(left, torch.where(gone, image + 100, image))
            assert abs(int(gone.sum()) - k / steps * 30) <= 0.5
            assert not (before & ~gone).any()
            if gone.any() and not gone.all():
                assert values[0][gone].min() >= values[0][~gone].max()
            before = gone


def test_equal_relevance_is_ordered_at_random_and_not_by_position():
    spy = Spy()
    model = nn.Sequential(spy, tiny()).eval()
    images = pictures(2, 16)

    def gone(seed):
        deletion(model, flat, images, fill=images + 1, steps=2, seed=seed)
        return (spy.seen[-1].view(2, 2, 3, 16, 16)[:, 0] != images).all(1)

    first = gone(0)
    deletion(model, flat, images, fill=images + 1, steps=2)  # the seed is 0 unless one is given
    assert torch.equal((spy.seen[-1].view(2, 2, 3, 16, 16)[:, 0] != images).all(1), first)
    assert first.flatten(1).sum(1).tolist() == [128, 128]
    for half in (first[:, :8], first[:, :, :8]):  # by position, 128 or 0 of them in the upper half
        assert ((half.flatten(1).sum(1) - 64).abs() < 30).all()
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, gone(0))
    assert not torch.equal(first, gone(1))


@pytest.mark.parametrize("options", [{}, {"fill": "noise", "steps": 5}, {"steps": 1}])
@pytest.mark.parametrize("batch_size", [3, 250])
def test_one_call_gives_both_areas_with_fewer_passes(options, batch_size):
    images, spy, calls = pictures(2, 8), Spy(), []
    model = nn.Sequential(spy, tiny()).eval()
    options = {"batch_size": batch_size, **options}

    def explain(_model, inputs, classes):
        calls.append(len(inputs))
        return gradient(tiny(), inputs, classes)

    def passes(measure):
        before = sum(map(len, spy.seen))
        return measure(model, explain, images, **options), sum(map(len, spy.seen)) - before

    low, _ = passes(deletion)  # a model that was not seen before is checked, too
    high, of_one = passes(insertion)
    calls.clear()
    both, of_both = passes(deletion_and_insertion)
    steps = options.get("steps", 16)
    assert (of_one, of_both) == (2 * (steps + 1), 2 * 2 * steps)
    assert sum(calls) == len(images)
    assert error(both.deletion, low) < 1e-12
    assert error(both.insertion, high) < 1e-12
    given = deletion_and_insertion(model, gradient(tiny(), images), images, **options)
    assert error(given.insertion, high) < 1e-12


def test_a_map_that_knows_the_model_beats_random_order_and_its_reverse():
    model, images = random_linear(), pictures(20, 8)
    knows = gradient_times_input(model, images, 0)
    options = {"targets": 0, "fill": ZERO, "output": "logit"}
    low, middle, high = (deletion(model, m, images, **options) for m in (knows, flat, -knows))
    assert (low < middle).all()
    assert (middle < high).all()
    low, middle, high = (insertion(model, m, images, **options) for m in (-knows, flat, knows))
    assert (low < middle).all()
    assert (middle < high).all()


@given(
    channels=st.integers(1, 3),
    batch_size=st.integers(1, 40),
    steps=st.integers(1, 9),
    fill=st.sampled_from(["mean", "blur", "noise"]),
    output=st.sampled_from(["probability", "logit"]),
    count=st.integers(1, 6),
)
@settings(max_examples=25)
def test_the_batch_size_bounds_the_memory_and_changes_nothing(
    channels, batch_size, steps, fill, output, count
):
    spy = Spy()
    model = nn.Sequential(spy, small(channels)).eval()
    images, maps = pictures(count, 8, channels), pictures(count, 8, 1, seed=6).round()
    options = {"fill": fill, "steps": steps, "output": output}
    for curve in CURVES:
        whole = curve(model, maps, images, **options)
        spy.seen.clear()
        chunked = curve(model, maps, images, **options, batch_size=batch_size)
        assert max(map(len, spy.seen)) <= batch_size
        assert sum(map(len, spy.seen)) == count * (steps + 1)  # the bare passes and no more
        assert error(chunked, whole) < 1e-10


@pytest.mark.parametrize("output", ["probability", "logit"])
def test_deletion_agrees_with_pixel_flipping_of_quantus(quantus, output):
    """On one channel, where its features are our pixels; it leaves the untouched image out."""
    images, maps, targets = pictures(6, 8, 1), pictures(6, 8, 1, seed=4), torch.arange(6)
    model, softmax = tiny(1), output == "probability"
    options = {"fill": ZERO, "steps": 16, "output": output}
    curve = deletion_curve(model, maps, images, targets, **options)
    flipping = partial(
        quantus.PixelFlipping,
        features_in_step=4,
        perturb_baseline=0.0,  # its "black" is the smallest value of the image
        normalise=False,
        disable_warnings=True,
    )
    expected = quantus_scores(flipping(), model, images, targets, maps, softmax=softmax)
    assert error(curve[:, 1:], expected) < 1e-6
    areas = quantus_scores(
        flipping(return_auc_per_sample=True), model, images, targets, maps, softmax=softmax
    )
    first = (curve[:, 0] + curve[:, 1]) / 2  # the trapezoid it leaves out
    ours = deletion(model, maps, images, targets, **options)
    assert error(ours, (areas + first) / 16) < 1e-6


# ------------------------------------------------------------------------------------ infidelity


def test_the_gradient_of_a_linear_model_is_perfect():
    images = pictures(4, 8)
    model = random_linear()
    assert (infidelity(model, gradient, images) < 1e-12).all()
    assert (infidelity(model, lambda *a: 7 * gradient(*a), images, scaled=True) < 1e-12).all()
    assert (infidelity(model, lambda *a: 7 * gradient(*a), images) > 1).all()


def test_infidelity_by_hand():
    """One pixel and f(x) = 3x: the foretold change is r·I, the true one 3·I."""
    model, image = linear([[3.0]]), torch.ones(1, 1, 1, 1, dtype=torch.double)
    generator = torch.Generator().manual_seed(5)
    square = (
        (0.5 * torch.randn(6, 1, 1, 1, generator=generator, dtype=torch.double)).square().mean()
    )
    options = {"noise": 0.5, "samples": 6, "seed": 5}
    score = infidelity(model, torch.full((1, 1, 1, 1), 5.0), image, **options)
    assert score.item() == pytest.approx(4 * square.item(), rel=1e-12)
    zero = infidelity(model, flat, image, **options)
    assert zero.item() == pytest.approx(9 * square.item(), rel=1e-12)
    assert infidelity(model, flat, image, **options, scaled=True).item() == zero.item()


def test_the_expected_infidelity_of_a_linear_model_is_known():
    """E (Σ I·(r − w))² = noise² · ‖r − w‖²."""
    model, images, maps = random_linear(), pictures(3, 8), pictures(3, 8, seed=7)
    weights = model[1].weight[1].detach().view(1, 3, 8, 8)
    expected = 0.3**2 * (maps - weights).square().sum((1, 2, 3))
    found = infidelity(model, maps, images, 1, noise=0.3, samples=4000)
    assert error(found, expected) < 0.1


def test_a_map_without_channels_is_the_slope_of_each():
    model, images, maps = tiny(), pictures(3, 8), pictures(3, 8, 1, seed=7)
    for scaled in (False, True):
        one, three = (
            infidelity(model, m, images, scaled=scaled) for m in (maps, maps.expand(-1, 3, -1, -1))
        )
        assert error(one, three) < 1e-12


def test_scaling_finds_the_best_factor():
    model, images, maps = tiny(), pictures(3, 8), pictures(3, 8, seed=7)
    best = infidelity(model, maps, images, scaled=True)
    tried = [infidelity(model, a * maps, images) for a in torch.linspace(-0.1, 0.1, 41)]
    assert (best <= torch.stack(tried).amin(0) + 1e-12).all()
    assert error(infidelity(model, -0.01 * maps, images, scaled=True), best) < 1e-12


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    "name", with_heavy(["small_resnet", "small_mobilenet", "mixed", "resnet18", "mobilenet_v2"])
)
def test_infidelity_agrees_with_captum(name, scaled):
    spy = Spy()
    network_ = network(name)
    model = nn.Sequential(spy, network_).eval()
    images, targets, maps = pictures(2, 40), torch.tensor([3, 1]), pictures(2, 40, seed=7) / 50
    ours = infidelity(model, maps, images, targets, samples=6, scaled=scaled)
    moved = spy.seen[-1]  # image by image, each moved six times
    expected = captum_infidelity(
        lambda x: network_(x.clone()),
        lambda x: (x - moved, moved),
        images,
        maps,
        target=targets,
        n_perturb_samples=6,
        normalize=scaled,
    )
    assert error(ours, expected) < 1e-6


# -------------------------------------------------------------- infidelity, squares taken away

SQUARES = {"perturbation": "squares", "fill": ZERO}


def test_without_squares_a_linear_model_is_predicted_by_its_slope_and_by_its_sums():
    model, images = random_linear(size=16), pictures(4, 16)
    assert (infidelity(model, gradient, images, **SQUARES) < 1e-12).all()
    assert (infidelity(model, gradient_times_input, images, unit="sum", **SQUARES) < 1e-12).all()
    # Read the other way, each is wrong, and no scale mends it.
    for method, unit in ((gradient_times_input, "slope"), (gradient, "sum")):
        for scaled in (False, True):
            wrong = infidelity(model, method, images, unit=unit, scaled=scaled, **SQUARES)
            assert (wrong > 1e-3).all()


def test_a_sum_compares_with_its_baseline():
    """Of a linear model, (x − b) · gradient predicts what b in place of x does."""
    model, images = random_linear(size=16), pictures(4, 16)
    baseline = pictures(1, 16, seed=9)
    options = {"perturbation": "squares", "unit": "sum"}

    def sums(model, x, targets):
        return gradient(model, x, targets) * (x - baseline)

    assert (infidelity(model, sums, images, fill=baseline, **options) < 1e-12).all()
    assert (infidelity(model, sums, images, fill=ZERO, **options) > 1e-3).all()


def test_infidelity_without_a_square_by_hand():
    """Two pixels, so that every square is one of them: f = 3a + 5b at a = 1, b = 2."""
    model, image = linear([[3.0, 5.0]]), torch.tensor([[[[1.0, 2.0]]]]).double()
    maps = torch.tensor([[[[4.0, 4.0]]]]).double()
    found = {
        unit: infidelity(model, maps, image, unit=unit, samples=400, **SQUARES).item()
        for unit in ("slope", "sum")
    }
    # Drops 3 and 10. As a slope the map predicts 4 and 8, as a sum 4 and 4.
    errors = {"slope": ((4 - 3) ** 2, (8 - 10) ** 2), "sum": ((4 - 3) ** 2, (4 - 10) ** 2)}
    for unit, (first, second) in errors.items():
        share = (found[unit] - second) / (first - second)  # of the squares, on the first pixel
        assert share == pytest.approx(0.5, abs=0.1)
        assert share * 400 == pytest.approx(round(share * 400), abs=1e-9)


def test_squares_have_every_side_and_reach_every_pixel():
    spy = Spy()
    model, image = nn.Sequential(spy, linear([[1.0] * 28 * 20])).eval(), torch.ones(1, 1, 28, 20)
    infidelity(model, torch.ones(1, 1, 28, 20).double(), image.double(), samples=600, **SQUARES)
    gone = torch.cat(spy.seen)[-600:, 0] == 0
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(rows, columns)
    assert torch.equal(rows * columns, gone.sum((1, 2)))
    assert set(rows.tolist()) == set(range(1, 8))  # 10 · 20 / 28
    assert gone.any(0).all()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("unit", "holds_input"), [("slope", False), ("sum", True)])
def test_infidelity_of_squares_agrees_with_captum(unit, holds_input, scaled):
    """Captum divides the perturbation by input − baseline for maps that hold the input."""
    spy, network_ = Spy(), network("small_resnet")
    model = nn.Sequential(spy, network_).eval()
    images, targets, maps = pictures(2, 40), torch.tensor([3, 1]), pictures(2, 40, seed=7) / 50
    ours = infidelity(model, maps, images, targets, unit=unit, samples=6, scaled=scaled, **SQUARES)
    changed = spy.seen[-1]  # image by image, each without six squares

    @infidelity_perturb_func_decorator(holds_input)
    def without_squares(x, baselines=None):
        return changed

    expected = captum_infidelity(
        lambda x: network_(x.clone()),
        without_squares,
        images,
        maps,
        target=targets,
        baselines=torch.zeros_like(images),
        n_perturb_samples=6,
        normalize=scaled,
    )
    assert error(ours, expected) < 1e-6


def test_a_sum_says_nothing_about_noise():
    with pytest.raises(ValueError, match=r'^unit: got "sum" under noise; must be "slope"'):
        infidelity(tiny(), gradient, pictures(1, 8), unit="sum")


@pytest.mark.parametrize("options", [{}, {"perturbation": "squares"}])
def test_infidelity_in_chunks_and_image_by_image(options):
    spy = Spy()
    model, images = nn.Sequential(spy, small()).eval(), pictures(5, 8)
    run = partial(infidelity, model, gradient, samples=7, **options)
    whole = run(images)
    for batch_size in (1, 3, 7, 16):
        spy.seen.clear()
        assert error(run(images, batch_size=batch_size), whole) < 1e-10
        assert max(map(len, spy.seen)) <= batch_size
    alone = torch.cat([run(x[None]) for x in images])
    assert error(alone, whole) < 1e-10
    assert not torch.equal(run(images, seed=1), whole)


# ----------------------------------------------------------------------------------- sensitivity


def test_a_constant_explainer_is_perfectly_stable():
    def constant(model, images, targets):
        return torch.ones_like(images) * torch.linspace(0, 1, 8)

    for steady in (constant, flat):
        assert sensitivity_max(tiny(), steady, pictures(3, 8)).tolist() == [0, 0, 0]
    assert (sensitivity_max(random_linear(), gradient, pictures(3, 8)) == 0).all()


def test_sensitivity_by_hand():
    """A map that is the image changes by δ."""
    images = pictures(3, 8)
    generator = torch.Generator().manual_seed(2)
    moves = 0.1 * (2 * torch.rand(5, 3, 8, 8, generator=generator, dtype=torch.double) - 1)
    expected = moves.flatten(1).norm(dim=1).max() / images.flatten(1).norm(dim=1)
    options = {"radius": 0.1, "samples": 5, "seed": 2}
    found = sensitivity_max(tiny(), lambda m, x, t: x, images, **options)
    assert error(found, expected) < 1e-6


def test_a_slope_and_its_sum_are_equally_sensitive_in_one_unit():
    model, images = tiny(), pictures(3, 8)
    run = partial(sensitivity_max, model, images=images, samples=3)
    asked = run(gradient, unit="slope", fill=ZERO)
    assert error(run(gradient_times_input, unit="sum"), asked) < 1e-12
    assert torch.equal(run(gradient_times_input), run(gradient_times_input, unit="sum"))
    assert error(run(gradient), asked) > 1e-3
    # A linear model: the slope never changes, the sum by |w · δ| beside |w · x|.
    line, one = linear([[3.0]]), torch.full((1, 1, 1, 1), 2.0).double()
    change = sensitivity_max(line, gradient, one, unit="slope", fill=ZERO, samples=1, seed=5)
    drawn = torch.rand(1, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    assert change.item() == pytest.approx(0.05 * abs(2 * drawn.item() - 1) / 2, rel=1e-9)
    assert sensitivity_max(line, gradient, one).item() == 0


def test_moves_stay_within_the_radius_and_the_class_stays():
    seen = []

    def explainer(model, images, targets):
        seen.append((images.clone(), targets.clone()))
        return images

    images = pictures(4, 16)
    sensitivity_max(tiny(), explainer, images, radius=0.3, samples=3)
    assert len(seen) == 4
    assert torch.equal(seen[0][0], images)
    for moved, targets in seen[1:]:
        change = (moved - images).abs().max()
        assert 0.29 < change <= 0.3
        assert torch.equal(targets, tiny()(images).argmax(1))


def test_a_flat_map_that_does_not_stay_flat_changes_by_all_of_itself():
    images = pictures(3, 8)

    for size in (5.0, 1e-3):

        def suddenly(model, x, targets, size=size):
            return size * (x != images)

        assert sensitivity_max(tiny(), suddenly, images).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", with_heavy(["small_resnet", "mixed", "resnet18"]))
def test_sensitivity_agrees_with_captum(name):
    seen, model = [], network(name)

    def explainer(model, images, targets):
        seen.append(images.clone())
        return gradient(model, images, targets)

    images, targets = pictures(2, 40), torch.tensor([3, 1])
    ours = sensitivity_max(model, explainer, images, targets, samples=4)
    moved = torch.stack(seen[1:], 1).flatten(0, 1)
    attribution = Saliency(lambda x: model(x.clone()))
    expected = captum_sensitivity(
        partial(attribution.attribute, abs=False),
        images,
        lambda x: moved,
        n_perturb_samples=4,
        target=targets,
    )
    assert error(ours, expected) < 1e-6


def test_sensitivity_in_chunks_and_image_by_image():
    images = pictures(5, 8)
    whole = sensitivity_max(small(), gradient, images)
    for batch_size in (1, 2, 5):
        found = sensitivity_max(small(), gradient, images, batch_size=batch_size)
        assert error(found, whole) < 1e-10
    alone = torch.cat([sensitivity_max(small(), gradient, x[None]) for x in images])
    assert error(alone, whole) < 1e-10


# ----------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("measure", "name", "values"),
    [
        (deletion, "fill", ["black", 0.5, None, torch.zeros(2, 3, 8, 8), torch.tensor(torch.nan)]),
        (deletion, "fill", [torch.tensor(1j), torch.zeros(3, 8, 8).to_sparse()]),
        (insertion, "steps", [0, -1, 65, 2.0, None]),
        (deletion_curve, "output", ["logits", None]),
        (infidelity, "noise", [0, -0.1, float("inf"), float("nan"), "much"]),
        (infidelity, "samples", [0, 1.5]),
        (infidelity, "unit", ["logits", None]),
        (infidelity, "perturbation", ["blur", None]),
        (partial(infidelity, **SQUARES), "fill", ["white", torch.zeros(5)]),
        (sensitivity_max, "unit", ["logits"]),
        (sensitivity_max, "radius", [0, -1, float("nan"), None]),
        (sensitivity_max, "samples", [0, None]),
    ],
)
def test_bad_options_are_named(measure, name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name}: got .*; must be"):
            measure(
                **{
                    "model": tiny(),
                    "explainer": gradient,
                    "images": pictures(3, 8),
                    name: value,
                }
            )


def test_an_option_that_does_not_exist_is_refused():
    for measure in (insertion_curve, deletion, insertion):
        message = rf"^{measure.__name__}\(\) got .*'stepps'; it takes fill, steps,"
        with pytest.raises(TypeError, match=message):
            measure(tiny(), gradient, pictures(), stepps=3)
        with pytest.raises(TypeError, match=message):
            partial(measure, stepps=3)(tiny(), gradient, pictures())
    with pytest.raises(TypeError, match=r"^deletion_curve\(\) got .*'stepps'"):
        partial(deletion_curve, stepps=3)(tiny(), gradient, pictures())
    with pytest.raises(TypeError, match=r"^integrated_gradients\(\) got .*'stepps'"):
        deletion(tiny(), partial(integrated_gradients, stepps=3), pictures())


def test_progress_is_shown_when_asked_for(capsys):
    for curve in CURVES:
        quiet = curve(tiny(), gradient, pictures())
        assert capsys.readouterr().err == ""
        loud = curve(tiny(), gradient, pictures(), progress=True)
        assert "replacing pixels" in capsys.readouterr().err
        assert torch.equal(loud, quiet)
