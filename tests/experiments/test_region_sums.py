"""Sums of maps over regions: computed, kept, resumed, and those that are shipped."""

import numpy as np
import pytest
import torch
from torch import nn

from xai_course.beetlebox import (
    BODY_PARTS,
    clutter_effects,
    ground_truth_effects,
    ground_truth_map,
    scenes,
    stack_images,
    stack_masks,
)
from xai_course.data import normalise
from xai_course.experiments import (
    FAMILIES,
    KEYS,
    REGIONS,
    VARIANTS,
    change_effects,
    load_sums,
    measure_sums,
    network_of,
    specification_scenes,
    specifications,
    sum_regions,
)
from xai_course.methods import course_methods
from xai_course.models import BeetleNet
from xai_course.relu import gradient

SOME = [*scenes("test", "Globaria_maculata", 2), *scenes("test", "Ellipsa_polita", 2)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = BeetleNet(classes=10, depth=1, width=4)
    network(normalise(stack_images(SOME)))  # statistics of the normalisation
    return network.eval()


# ---- the pieces ----------------------------------------------------------------------------------


def test_sums_by_hand():
    relevance = torch.tensor([[[[3.0, -1.0]], [[0.0, -2.0]]]])  # two channels of two pixels
    masks = torch.tensor([[[[1.0, 0.5]], [[0.0, 1.0]]]])
    assert sum_regions(relevance, masks).tolist() == [[[1.5, 4.5], [-3.0, 3.0]]]
    positive = sum_regions(relevance.clamp_min(0), masks)[..., 0]
    assert torch.equal(sum_regions(relevance, masks).mean(2), positive)


@pytest.mark.parametrize("margin", [False, True])
def test_removal_is_the_ground_truth(model, margin):
    ours = change_effects(model, SOME, change="removal", margin=margin)
    theirs = ground_truth_effects(model, SOME, parts=BODY_PARTS, margin=margin)
    torch.testing.assert_close(ours[:, :-1], theirs)
    assert (ours[:, -1] == 0).all()


def test_exchange_by_hand(model):
    scene = scenes("test", "Globaria_maculata", 1)[0]  # spotted, a single horn, long antennae

    def logit(*drawn):
        with torch.no_grad():
            return model(normalise(stack_images(drawn)))[:, 3]

    effects = dict(zip(REGIONS, change_effects(model, [scene], 3)[0], strict=True))
    whole = logit(scene)
    for region, changed in {
        "elytra": [scene.with_trait(outline=value) for value in ("oval", "long")],
        "pattern": [scene.with_trait(pattern=value) for value in ("striped", "banded")],
        "horn": [scene.with_trait(horn="forked")],
        "antennae": [scene.with_trait(antennae=value) for value in ("short", "clubbed")],
    }.items():
        expected = (whole - logit(*changed).mean()).item()
        assert effects[region].item() == pytest.approx(expected, abs=1e-6)  # logits in float32
    assert effects["head"] != 0
    assert effects["clutter"] == 0


def test_clutter_is_a_region(model):
    cluttered = [scene.with_clutter(1) for scene in SOME]
    ours = change_effects(model, cluttered, change="removal")
    torch.testing.assert_close(ours[:, -1:], clutter_effects(model, cluttered))
    assert (change_effects(model, cluttered)[:, -1] != 0).all()
    with pytest.raises(ValueError, match=r"^change: got 'paint'; must be"):
        change_effects(model, SOME, change="paint")


# ---- one network ---------------------------------------------------------------------------------


def refuses(model, images, targets=None):
    raise ValueError("model: got no residual sum")


def test_the_file_holds_what_is_computed_and_is_not_computed_again(model, tmp_path):
    methods, file = {"gradient": gradient, "last block": refuses}, tmp_path / "tiny.npz"
    found = measure_sums("tiny", "BeetleNet", model, SOME, methods=methods, file=file)
    assert list(found.refused) == ["last block"]
    assert {variant for variant, method in found.sums if method == "gradient"} == set(VARIANTS)
    assert found.keys.keys() == set(KEYS)
    torch.testing.assert_close(
        found.logits, model(normalise(stack_images(SOME))).amax(1).double().detach()
    )
    maps = gradient(model, normalise(stack_images(SOME)))
    masks = stack_masks(SOME)  # the label, which no scene has, stands for clutter
    expected = sum_regions(maps, torch.cat([masks, torch.ones_like(masks[:, :1])], 1))
    expected = expected / expected.abs().amax((1, 2), keepdim=True)
    torch.testing.assert_close(found.sums["own", "gradient"], expected, atol=1e-3, rtol=0)
    assert not torch.equal(
        found.sums["own", "gradient"], found.sums["untrained network", "gradient"]
    )

    def unused(*_):
        pytest.fail("the file is complete")

    unused.__qualname__, unused.__module__ = gradient.__qualname__, gradient.__module__
    before = file.read_bytes()
    again = measure_sums("tiny", "BeetleNet", model, SOME, methods={"gradient": unused}, file=file)
    assert file.read_bytes() == before
    assert again.refused == found.refused
    for key, kept in found.sums.items():
        assert torch.equal(again.sums[key], kept)


def test_a_map_is_read_in_tiles(model):
    methods = {"gradient": gradient}
    found = measure_sums("tiny", "BeetleNet", model, SOME, methods=methods, tile=8)
    maps = gradient(model, normalise(stack_images(SOME)))
    tiles = maps.view(len(SOME), 3, 8, 8, 8, 8).mean((3, 5), keepdim=True)
    masks = stack_masks(SOME)
    masks = torch.cat([masks, torch.ones_like(masks[:, :1])], 1)
    expected = sum_regions(tiles.expand(-1, -1, -1, 8, -1, 8).reshape(maps.shape), masks)
    expected = expected / expected.abs().amax((1, 2), keepdim=True)
    torch.testing.assert_close(found.sums["own", "gradient"], expected, atol=1e-3, rtol=0)
    whole = measure_sums("tiny", "BeetleNet", model, SOME, methods=methods)
    assert not torch.equal(found.sums["null", "edges"], whole.sums["null", "edges"])
    assert torch.equal(found.keys["removal, logit"], whole.keys["removal, logit"])
    for wrong in (0, 5, 1.0):
        with pytest.raises(ValueError, match=r"^tile: got"):
            measure_sums("tiny", "BeetleNet", model, SOME, methods=methods, tile=wrong)


def test_a_file_of_another_network_other_scenes_or_other_options_is_refused(model, tmp_path):
    file = tmp_path / "tiny.npz"
    measure_sums("tiny", "BeetleNet", model, SOME, methods={"gradient": gradient}, file=file)
    before = file.read_bytes()
    other = BeetleNet(classes=10, depth=1, width=4).eval()

    def call(network=model, some=SOME, method=gradient, tile=1):
        methods = {"gradient": method}
        measure_sums("tiny", "BeetleNet", network, some, methods=methods, file=file, tile=tile)

    for options in ({"network": other}, {"some": SOME[:3]}, {"method": refuses}, {"tile": 8}):
        with pytest.raises(ValueError, match=r"^file: got .*Delete it"):
            call(**options)
    assert file.read_bytes() == before
    file.write_bytes(before[:-100])
    with pytest.raises(ValueError, match="not a readable file of sums"):
        call()


def test_the_key_as_a_map_is_the_key(model):
    """Painted on its parts and summed again, the key ranks the parts as itself."""
    images = normalise(stack_images(SOME))
    keys = ground_truth_effects(model, SOME)

    def painted(_model, x, _targets):
        chosen = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in x]
        return ground_truth_map([SOME[i] for i in chosen], keys[chosen])

    found = measure_sums("tiny", "BeetleNet", model, SOME, methods={"LRP": painted})
    table = specifications([found], methods=["LRP"], layers=["no network"])
    for row in table:
        if (row["change"], row["key"], row["wing cases"]) == ("removal", "logit", "alone"):
            assert row["readout"] != "signed" or row["score of the method"] > 0.98


# ---- the files that are shipped ------------------------------------------------------------------


def test_scenes_of_both_worlds():
    plain, clutter = (specification_scenes(world, 1) for world in ("plain", "clutter"))
    assert len(plain) == len(clutter) == 10
    assert [scene.with_clutter(0) for scene in clutter] == plain
    assert all(scene.clutter for scene in clutter)
    with pytest.raises(ValueError, match=r"^world: got 'empty'; must be"):
        specification_scenes("empty")


def test_sums_on_file_are_complete_and_of_the_shipped_networks():
    every = load_sums()
    assert {one.family for one in every} >= {"BeetleNet"}
    for one in every:
        assert one.network in FAMILIES[one.family]
        names = {method for variant, method in one.sums if variant == "own"}
        assert names | set(one.refused) == set(course_methods()), one.network
        assert len(one.shown) == 100


@pytest.mark.parametrize("network", ["beetle_net", "small_vgg"])
def test_computed_anew_the_sums_are_those_on_file(network):
    kept = {one.network: one for one in load_sums()}[network]
    rows = [0, 10, 40]  # the first scenes of three species
    some = [specification_scenes()[row] for row in rows]
    methods = {name: course_methods()[name] for name in ("gradient", "Grad-CAM")}
    anew = measure_sums(network, kept.family, network_of(network), some, methods=methods)
    for name in KEYS:
        np.testing.assert_allclose(anew.keys[name], kept.keys[name][rows], atol=1e-3)
    for variant in ("own", "another class"):  # the others depend on the whole batch
        for name in methods:
            np.testing.assert_allclose(
                anew.sums[variant, name], kept.sums[variant, name][rows], atol=2e-3
            )


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^folder: got .* holds no sums"):
        load_sums(tmp_path)


def test_another_network_needs_its_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="missing"):
        network_of("resnet18", tmp_path)
    assert isinstance(network_of("beetle_net"), nn.Module)
