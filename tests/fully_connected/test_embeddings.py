"""Features of layers and nearest examples: by hand, and against sorting all distances."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import error, network, pictures, tiny, with_heavy
from torch import nn
from toy_models import Pixels, as_images

from xai_course.fully_connected import embed, layer_features, nearest_examples
from xai_course.models import ArticleNet


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


# ---- features of a layer -------------------------------------------------------------------------


@pytest.mark.parametrize("name", with_heavy(["small_vgg", "vgg16"]))
def test_the_embedding_is_what_enters_the_last_linear_layer(name):
    model, images = network(name), pictures(3, 64)
    seen = []
    with model.classifier[6].register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0])):
        model(images.clone())
    assert torch.equal(embed(model, images), seen[0].detach())
    assert error(embed(model, images, batch_size=2), seen[0]) < 1e-12
    assert embed(network("mixed"), images).shape == (3, 16)
    assert embed(ArticleNet().eval(), images.float()).shape == (3, 512)


def test_layers_are_read_with_and_without_their_mean():
    model, images = network("mixed"), pictures(3, 16)
    seen = []
    with model.bn2.register_forward_hook(lambda m, i, out: seen.append(out.clone())):
        model(images.clone())
    whole = layer_features(model, images, "bn2", average=False)
    assert torch.equal(whole, seen[0].flatten(1))
    assert torch.equal(layer_features(model, images, "bn2"), seen[0].mean((2, 3)))
    assert error(layer_features(model, images, "bn2", batch_size=2), seen[0].mean((2, 3))) < 1e-12
    assert layer_features(model, images, model.fc1).shape == (3, 16)


# ---- nearest examples ----------------------------------------------------------------------------


def test_neighbours_by_hand():
    model = Pixels(torch.eye(2).double())
    examples = as_images([[0, 0], [0, 1], [0, 3], [4, 0]])
    images = as_images([[0, 1.5], [9, 0], [8, 0]])
    with pytest.warns(
        UserWarning, match=r"^nothing is near: of 3 images, 1 are farther .* than 4,"
    ):
        found = nearest_examples(model, images, examples, count=2, quantile=1.0)
    assert found.indices[1:].tolist() == [[3, 0], [3, 0]]
    assert found.indices[0].tolist() in ([1, 0], [1, 2])
    assert found.distance.tolist() == [[0.5, 1.5], [5, 9], [4, 8]]
    # The farthest example has another one at a distance of 4, which still counts as near.
    assert found.near.tolist() == [True, False, True]


def test_features_are_those_before_a_change_in_place():
    class Careless(Pixels):
        def forward(self, x):
            features = self.features(x) * 1
            logits = self.head(features)
            features.zero_()
            return logits

    model = Careless(torch.eye(2).double())
    images = as_images([[3, 4]])
    assert embed(model, images).tolist() == [[3, 4]]


@given(
    count=st.integers(1, 4),
    batch_size=st.integers(1, 7),
    examples=st.integers(4, 12),
    images=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_neighbours_agree_with_sorting_all_distances(count, batch_size, examples, images, seed):
    model, known = tiny(), pictures(examples, 8, seed=seed)
    asked = pictures(images, 8, seed=seed + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = nearest_examples(model, asked, known, count=count, batch_size=batch_size)
    rows, those = embed(model, asked), embed(model, known)
    distance = (rows[:, None] - those[None]).norm(dim=2)
    assert error(found.distance, distance.sort(1).values[:, :count]) < 1e-10
    assert error(distance.gather(1, found.indices), found.distance) < 1e-10
    own = (those[:, None] - those[None]).norm(dim=2).fill_diagonal_(torch.inf).amin(1)
    assert torch.equal(found.near, distance.amin(1) <= own.quantile(0.99))


def test_the_examples_themselves_are_near_and_no_warning_is_given():
    model, known = tiny(), pictures(20, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nearest_examples(model, known[:5], known, count=1)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found.distance, torch.zeros(5, 1).double())
    assert found.near.all()


def test_about_as_many_of_the_same_kind_are_far_as_the_quantile_says():
    model = Pixels(torch.eye(3).double())
    known, asked = as_images(noise(2000, 3)), as_images(noise(2000, 3, seed=1))
    with pytest.warns(UserWarning, match="nothing is near"):
        found = nearest_examples(model, asked, known, count=1, quantile=0.9)
    assert 0.07 < float((~found.near).double().mean()) < 0.13


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count: got 0; must be .* from 1 to 3"),
        ({"count": 4}, "count: got 4; must be .* from 1 to 3"),
        ({"count": 1.5}, "count: got 1.5"),
        ({"quantile": 0}, "quantile: got 0"),
        ({"quantile": 1.1}, "quantile: got 1.1"),
        ({"quantile": "all"}, "quantile: got 'all'"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_neighbours_refuse_by_name(options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        nearest_examples(tiny(), pictures(2, 8), pictures(3, 8), **({"count": 1} | options))


def test_networks_and_images_that_are_refused():
    no_head = nn.Sequential(*tiny()[:-1]).eval()
    with pytest.raises(ValueError, match=r"^model: got no linear layer for 2 images"):
        embed(no_head, pictures(2, 8))
    for wrong in (pictures()[0], None, pictures(0)):
        with pytest.raises(ValueError, match=r"^images: got"):
            embed(tiny(), wrong)
        with pytest.raises(ValueError, match=r"^images: got"):
            layer_features(tiny(), wrong)
    for read in (embed, layer_features):
        with pytest.raises(ValueError, match=r"^model: got function"):
            read(lambda x: x, pictures())


def test_one_example_is_too_few():
    with pytest.raises(ValueError, match=r"^examples: got 1; must be at least 2"):
        nearest_examples(tiny(), pictures(2, 8), pictures(1, 8), count=1)


def test_a_linear_layer_on_another_number_of_rows_is_refused():
    class Parts(nn.Module):
        """Its last linear layer on rows runs for every position of the image."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, x):
            rows = x.permute(0, 2, 3, 1).reshape(-1, 3)
            return self.layer(rows).view(len(x), -1, 2).mean(1)

    with pytest.raises(ValueError, match=r"^model: got one on 128 rows for 2 images"):
        embed(Parts().eval(), pictures(2, 8))


@pytest.mark.parametrize("read", [embed, layer_features])
def test_features_can_be_used_in_further_derivatives(read):
    with torch.inference_mode():
        features = read(tiny(), pictures(2, 8))
    assert not features.is_inference()
