"""Maps of any explainer, and how alike two maps are: held against scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from stock_networks import pictures, tiny

from xai_course.core import map_ranks, map_similarity, relevance_maps
from xai_course.relu import gradient

TARGETS = torch.tensor([0, 3, 6, 2, 2])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_maps_in_batches_are_those_of_all_images_at_once(batch_size):
    model, images, sizes = tiny(), pictures(5, 16), []

    def explainer(model, x, targets):
        sizes.append(len(x))
        return gradient(model, x, targets)

    maps = relevance_maps(model, explainer, images, TARGETS, batch_size=batch_size)
    assert torch.allclose(maps, gradient(model, images, TARGETS), rtol=1e-12, atol=0)
    assert sum(sizes) == 5
    assert max(sizes) <= batch_size


def test_maps_are_cut_from_their_history():
    def attached(model, x, targets):
        return x.clone().requires_grad_() * 2

    images = pictures(5, 16)
    for maps in (
        relevance_maps(tiny(), attached, images, TARGETS),
        relevance_maps(tiny(), images.clone().requires_grad_() * 2, images, TARGETS),
    ):
        assert not maps.requires_grad
        assert torch.equal(maps, images * 2)


@pytest.mark.parametrize(
    ("relevance", "words"),
    [
        (torch.zeros(5, 2, 16, 16), r"shape \(5, 2, 16, 16\); must be \(5, 3 or 1, 16, 16\)"),
        (torch.zeros(4, 1, 16, 16), r"shape \(4, 1, 16, 16\)"),
        (torch.zeros(5, 16, 16), r"shape \(5, 16, 16\)"),
        (torch.zeros(5, 1, 16, 8), r"shape \(5, 1, 16, 8\)"),
        (torch.full((5, 1, 16, 16), torch.nan), "NaN"),
        (torch.zeros(5, 1, 16, 16, dtype=torch.int), r"torch\.int32"),
        (np.zeros((5, 1, 16, 16)), "ndarray"),
    ],
)
def test_what_is_no_relevance_is_refused(relevance, words):
    images = pictures(5, 16)
    for explainer in (relevance, lambda *_: relevance):  # made before, or by a function
        with pytest.raises(ValueError, match=rf"^explainer: got .*{words}"):
            relevance_maps(tiny(), explainer, images, TARGETS)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"^batch_size: got 0"):
        relevance_maps(tiny(), gradient, pictures(5, 16), TARGETS, batch_size=0)
    with pytest.raises(ValueError, match=r"^targets: got shape \(4,\); must be \(5,\)"):
        relevance_maps(tiny(), gradient, pictures(5, 16), TARGETS[:4])


# --------------------------------------------------------------------------- how alike two maps are


@given(
    seed=st.integers(0, 10**6),
    channels=st.sampled_from([(1, 1), (3, 1), (3, 3)]),
    ties=st.booleans(),
    absolute=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_similarity_is_scipys_rank_correlation(seed, channels, ties, absolute, dtype):
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(3, c, 4, 5)) for c in channels)
    if ties:
        first, second = first.round(), second.round()
    second[0] += first[0].sum(0) / channels[1]
    first, second = (torch.tensor(maps, dtype=dtype) for maps in (first, second))
    similarity = map_similarity(first, second, absolute=absolute)
    assert similarity.dtype == torch.double
    for a, b, value in zip(first, second, similarity, strict=True):
        a, b = (m.double().sum(0).flatten().numpy() for m in (a, b))
        if absolute:
            a, b = abs(a), abs(b)
        flat = len(set(a)) == 1 or len(set(b)) == 1
        assert value.item() == pytest.approx(0 if flat else spearmanr(a, b).statistic, abs=1e-12)


def test_similarity_by_hand():
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    assert map_similarity(a, a.exp()).item() == pytest.approx(1)
    assert map_similarity(a, -a).item() == pytest.approx(-1)
    assert map_similarity(a, -a, absolute=True).item() == pytest.approx(1)
    assert map_similarity(a, torch.ones_like(a)).item() == 0
    assert map_similarity(torch.zeros_like(a), torch.zeros_like(a)).item() == 0
    # d² = 1 + 1 + 0 + 0, so ρ = 1 − 6·2 / (4·15)
    swapped = torch.tensor([[2.0, 1.0], [3.0, 4.0]])[None, None]
    assert map_similarity(a, swapped).item() == pytest.approx(0.8)
    # channels are added before anything is ranked: 0 and −0 are one value
    two = torch.cat([a, -a], 1)
    assert map_similarity(two, a).item() == 0
    assert map_similarity(torch.tensor([[-0.0, 0.0], [1, 1]])[None, None], a).item() == (
        pytest.approx(spearmanr([0, 0, 1, 1], [1, 2, 3, 4]).statistic)
    )


def test_memory_layout_does_not_matter(recwarn):
    maps = pictures(4, 16)
    other = pictures(4, 16, seed=1)
    expected = map_similarity(maps, other)
    for twisted in (
        maps.to(memory_format=torch.channels_last),
        maps.transpose(2, 3).contiguous().transpose(2, 3),
        maps.clone().requires_grad_(),
    ):
        similarity = map_similarity(twisted, other)
        assert torch.allclose(similarity, expected, atol=1e-12)
        assert not similarity.requires_grad
    assert not recwarn.list


def test_the_product_of_ranks_is_the_similarity():
    maps, other = pictures(3, 8), pictures(3, 8, seed=1)
    product = (map_ranks(maps) * map_ranks(other)).sum(1)
    assert torch.equal(product, map_similarity(maps, other))
    assert torch.allclose(map_ranks(maps).square().sum(1), torch.ones(3).double())
    assert torch.equal(map_ranks(torch.ones(2, 3, 4, 4)), torch.zeros(2, 16).double())


def test_maps_that_cannot_be_compared_are_refused():
    maps = pictures(2, 8)
    for other in (maps[:1], maps[..., :4], maps[:, :, :4]):
        with pytest.raises(ValueError, match=r"^second: got shape"):
            map_similarity(maps, other)
    with pytest.raises(ValueError, match=r"^first: got shape \(3, 8, 8\)"):
        map_similarity(maps[0], maps)
    with pytest.raises(ValueError, match=r"^second: got NaN"):
        map_similarity(maps, maps.log())


def test_a_frozen_model_is_explained():
    model, images = torch.jit.freeze(torch.jit.script(tiny().eval())), pictures(5, 16)
    maps = relevance_maps(model, lambda model, x, targets: 0 * model(x).sum() + x, images, TARGETS)
    assert torch.equal(maps, images)


def test_a_part_that_does_not_run_may_have_no_numbers():
    model, images = tiny().eval(), pictures(5, 16)
    model.unused = torch.nn.ModuleList([torch.nn.LazyLinear(2), torch.nn.Linear(2, 2).to("meta")])
    maps = relevance_maps(model, lambda model, x, targets: x, images, TARGETS)
    assert torch.equal(maps, images)
