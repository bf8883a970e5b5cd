"""Scenes: the same to the bit, changed only where asked, and without a hint to the species."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xai_course.beetlebox import PARTS, SPECIES, TRAITS, Scene, Traits, drawing, scenes
from xai_course.beetlebox.backgrounds import paint_ground

species = st.sampled_from(sorted(SPECIES))
seeds = st.integers(0, 10**7)
sizes = st.sampled_from([32, 64, 97])
beetles = st.builds(Scene, species, seeds)


@given(beetles, sizes)
@settings(max_examples=30)
def test_image_and_masks_have_the_form_that_is_documented(scene, size):
    image, masks = scene.image(size), scene.masks(size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert tuple(masks) == PARTS
    assert all(mask.shape == (size, size) and mask.min() >= 0 for mask in masks.values())
    assert sum(masks.values()).max() <= 1 + 1e-6
    present = {"elytra", "head", "antennae", "legs"}
    present |= {"pattern"} if scene.traits.pattern != "plain" else set()
    present |= {"horn"} if scene.traits.horn != "none" else set()
    assert {part for part, mask in masks.items() if mask.any()} == present


@given(beetles, sizes)
@settings(max_examples=10)
def test_the_same_scene_is_the_same_to_the_bit(scene, size):
    assert np.array_equal(scene.image(size), Scene(scene.species, scene.seed).image(size))


def test_the_same_scene_in_another_process_is_the_same_to_the_bit():
    scene = Scene("Tenuella_guttata", 7)
    code = (
        "import hashlib; from xai_course.beetlebox import Scene;"
        "print(hashlib.sha256(Scene('Tenuella_guttata', 7).image().tobytes()).hexdigest())"
    )
    ours = __import__("hashlib").sha256(scene.image().tobytes()).hexdigest()
    theirs = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert theirs.stdout.strip() == ours


def visible(scene, parts, size):
    """Pixels in which any of these parts is visible."""
    masks = scene.masks(size)
    return sum(masks[part] for part in parts) > 0


@given(beetles, st.sampled_from(PARTS), sizes)
@settings(max_examples=60)
def test_without_a_part_every_other_pixel_keeps_its_bits(scene, part, size):
    scene = scene.with_label()
    was_visible = visible(scene, ("elytra", "pattern") if part == "elytra" else (part,), size)
    before, after = scene.image(size), scene.without(part).image(size)
    changed = (before != after).any(axis=2)
    assert not (changed & ~was_visible).any()
    assert changed.any() == was_visible.any()
    assert not scene.without(part).masks(size)[part].any()


@given(beetles, st.sampled_from(sorted(TRAITS)), st.data(), sizes)
@settings(max_examples=60)
def test_an_exchanged_trait_changes_only_where_old_or_new_lie(scene, trait, data, size):
    value = data.draw(st.sampled_from(TRAITS[trait]))
    other = scene.with_trait(**{trait: value})
    part = {"outline": ("elytra", "pattern")}.get(trait, (trait,))
    allowed = visible(scene, part, size) | visible(other, part, size)
    changed = (scene.image(size) != other.image(size)).any(axis=2)
    assert not (changed & ~allowed).any()
    assert getattr(other.traits, trait) == value


@given(beetles, seeds, sizes)
@settings(max_examples=20)
def test_another_background_leaves_the_beetle(scene, seed, size):
    covered = sum(scene.masks(size).values()) > 1 - 1e-6
    difference = np.abs(scene.image(size) - scene.with_background(seed).image(size)).max(axis=2)
    assert difference[covered].max() < 1e-5
    assert np.array_equal(scene.with_background(scene.seed).image(size), scene.image(size))


@given(beetles, sizes)
@settings(max_examples=20)
def test_the_label_changes_only_its_corner(scene, size):
    labelled = scene.with_label()
    changed = (scene.image(size) != labelled.image(size)).any(axis=2)
    assert not (changed & ~visible(labelled, ("label",), size)).any()
    assert np.array_equal(labelled.without("label").image(size), scene.image(size))
    rows, columns = np.nonzero(changed)
    assert rows.min() > size * 0.7
    assert columns.min() > size * 0.6


@given(beetles, st.sampled_from(PARTS[:-1]))
@settings(max_examples=20)
def test_a_recoloured_part_changes_only_itself(scene, part):
    changed = (scene.image() != scene.recoloured(part, (1, 0, 0)).image()).any(axis=2)
    assert not (changed & ~visible(scene, (part,), 64)).any()


def test_masks_show_where_a_part_is_by_hand():
    """Paint the wing cases pure green and everything else black: green is where their mask says."""
    scene = Scene("Ellipsa_polita", 3).recoloured("elytra", (0, 1, 0))
    image, mask = scene.image(128), scene.masks(128)["elytra"]
    greenness = image[..., 1] - image[..., [0, 2]].max(axis=2)
    inside, outside = mask == 1, sum(scene.masks(128).values()) == 0
    assert np.median(greenness[inside]) > 0.2
    assert abs(np.median(greenness[outside])) < np.median(greenness[inside])


def test_same_seed_other_species_is_the_exchanged_trait():
    scene = Scene("Tenuella_guttata", 11)
    twin = Scene("Tenuella_lineata", 11)
    assert np.array_equal(scene.with_trait(pattern="striped").image(), twin.image())


def test_no_single_trait_tells_the_species_and_every_trait_has_twins():
    for trait, values in TRAITS.items():
        for value in values:
            assert sum(getattr(t, trait) == value for t in SPECIES.values()) >= 2, (trait, value)
    assert len(set(SPECIES.values())) == len(SPECIES) == 10
    assert list(SPECIES) == sorted(SPECIES)
    differ = [
        tuple(trait for trait in TRAITS if getattr(a, trait) != getattr(b, trait))
        for a, b in combinations(SPECIES.values(), 2)
    ]
    assert {(trait,) for trait in TRAITS} <= set(differ)


def test_scenes_of_splits_and_species_share_no_seed():
    all_scenes = [
        scene
        for split in ("train", "test", "extra")
        for name in SPECIES
        for scene in scenes(split, name, 50)
    ]
    assert len({scene.seed for scene in all_scenes}) == len(all_scenes) == 1500


def probe(features, labels):
    """Share of species that a linear probe gets right on scenes it has not seen, five-fold."""
    model = make_pipeline(StandardScaler(), RidgeClassifier())  # solved at once, unlike logistic
    return (cross_val_predict(model, features, labels, cv=5) == labels).mean()


def test_background_and_mean_colour_do_not_tell_the_species():
    """On neither the background nor the mean colour is a linear probe better than guessing."""
    sample = [scene for name in SPECIES for scene in scenes("train", name, 100)]
    labels = np.repeat(np.arange(10), 100)
    bound = 0.1 + 2.58 * np.sqrt(0.1 * 0.9 / len(labels))  # 99 % of guesses are below
    images = np.stack([scene.image() for scene in sample])
    edges = np.concatenate(
        [images[:, :4].reshape(1000, -1), images[:, -4:].reshape(1000, -1)], axis=1
    )
    assert probe(edges[:, ::7], labels) < bound
    backgrounds = [paint_ground(scene.seed, 64)[:, ::8, ::8].ravel() for scene in sample]
    assert probe(np.stack(backgrounds), labels) < bound
    assert probe(images.mean(axis=(1, 2)), labels) < bound
    body = np.array([scene_body(scene) for scene in sample])
    assert probe(body, labels) < bound
    # The probe is able to find something: the areas of the masks do tell the species.
    areas = [[mask.sum() for mask in scene.masks().values()] for scene in sample[::4]]
    assert probe(np.array(areas), labels[::4]) > 3 * bound


def scene_body(scene):
    """Position, size, turn, light and colours, as the seed decides them."""
    return np.concatenate([np.ravel(value) for value in drawing.draw_body(scene.seed)])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Scene("Lucanus_cervus", 1), ["species", "Lucanus_cervus", "Ellipsa_furcata"]),
        (lambda: Scene("Ellipsa_polita", -1), ["seed", "-1"]),
        (lambda: Scene("Ellipsa_polita", 1.5), ["seed", "1.5"]),
        (lambda: Scene("Ellipsa_polita", 1).image(16), ["size", "16", "32 to 512"]),
        (lambda: Scene("Ellipsa_polita", 1).masks(513), ["size", "513"]),
        (lambda: Scene("Ellipsa_polita", 1).without("wings"), ["part", "wings", "elytra"]),
        (lambda: Scene("Ellipsa_polita", 1).with_trait(colour="red"), ["trait", "colour"]),
        (lambda: Scene("Ellipsa_polita", 1).with_trait(horn="two"), ["horn", "two", "forked"]),
        (lambda: Scene("Ellipsa_polita", 1).recoloured("legs", (2, 0, 0)), ["colour", "[0, 1]"]),
        (lambda: Traits("square", "plain", "none", "short"), ["outline", "square", "round"]),
        (lambda: scenes("validation", "Ellipsa_polita", 1), ["split", "validation", "train"]),
        (lambda: scenes("train", "Ellipsa_polita", -1), ["count", "-1"]),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        call()
    assert all(word in str(caught.value) for word in words)
