"""Clutter: in its place to the bit, in nobody's way, bright, and without a hint to the species."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from xai_course.beetlebox import (
    CLUTTER,
    PARTS,
    SPECIES,
    TRAITS,
    Scene,
    clutter,
    clutter_masks,
    scenes,
    silhouette,
    stack_images,
)
from xai_course.metrics import edge_map

seeds = st.integers(0, 10**7)
sizes = st.sampled_from([32, 64, 97])
beetles = st.builds(Scene, st.sampled_from(sorted(SPECIES)), seeds)
SAMPLE = [scene for name in SPECIES for scene in scenes("test", name, 6)]


def changed_pixels(before, after, size):
    return (before.image(size) != after.image(size)).any(axis=2)


@given(beetles, st.integers(1, 6), sizes)
@settings(max_examples=40)
def test_clutter_changes_the_pixels_under_its_masks_and_no_other(scene, count, size):
    littered = scene.with_clutter(count)
    masks = littered.masks(size)
    assert tuple(masks) == (*PARTS, *CLUTTER[:count])
    assert sum(masks.values()).max() <= 1 + 1e-6
    assert all(masks[name].any() for name in CLUTTER[:count])
    shown = sum(masks[name] for name in CLUTTER[:count]) > 0
    assert not (changed_pixels(scene, littered, size) & ~shown).any()


@given(beetles, seeds, sizes)
@settings(max_examples=20)
def test_no_part_is_hidden_and_no_two_pieces_meet(scene, seed, size):
    littered = scene.with_label().with_clutter(6, seed)
    before, after = scene.with_label().masks(size), littered.masks(size)
    assert all(np.array_equal(before[part], after[part]) for part in PARTS)
    drawn = [clutter.draw_piece(piece, size) for piece in clutter.lay_out(scene.seed, seed)]
    covered = np.zeros((size, size))
    for layer in drawn:
        covered[layer.window] += layer.cover
    assert covered.max() <= 1 + 1e-6  # soft edges may share a pixel


@given(beetles, st.integers(0, 5), sizes)
@settings(max_examples=40)
def test_without_one_piece_every_other_pixel_keeps_its_bits(scene, number, size):
    littered = scene.with_clutter(6)
    name = CLUTTER[number]
    less = littered.without(name)
    before, after = littered.masks(size), less.masks(size)
    elsewhere = before[name] == 0  # soft edges of two pieces may share a pixel
    assert not (changed_pixels(littered, less, size) & elsewhere).any()
    assert changed_pixels(littered, less, size).any()
    assert name not in after
    for other in after:
        assert np.array_equal(before[other][elsewhere], after[other][elsewhere])
    assert less.without(name) == less


def test_without_all_pieces_the_scene_is_what_it_was():
    scene = Scene("Ellipsa_polita", 3)
    assert scene.with_clutter(0) == scene.with_clutter(4, seed=9).with_clutter(0) == scene
    assert scene.with_clutter(1, seed=9).without("clutter 0") == scene
    assert scene.without("clutter 3") == scene
    assert tuple(scene.masks()) == PARTS


def test_the_first_pieces_are_the_same_for_every_count_and_another_seed_moves_them():
    scene = Scene("Ellipsa_polita", 3)
    few, many = scene.with_clutter(2).masks(), scene.with_clutter(6).masks()
    assert all(np.array_equal(few[name], many[name]) for name in CLUTTER[:2])
    other = scene.with_clutter(6, seed=4)
    assert not any(np.array_equal(many[name], other.masks()[name]) for name in CLUTTER)
    assert np.array_equal(scene.with_clutter(6, seed=3).image(), scene.with_clutter(6).image())


@given(beetles, st.sampled_from(sorted(SPECIES)), sizes)
@settings(max_examples=20)
def test_other_species_and_other_changes_leave_the_clutter(scene, species, size):
    littered = scene.with_clutter(5)
    before = littered.masks(size)
    changes = [
        replace(littered, species=species),
        littered.without("legs").without("elytra"),
        littered.with_background(1),
        littered.recoloured("elytra", (1, 0, 0)),
        *(littered.with_trait(**{trait: values[-1]}) for trait, values in TRAITS.items()),
    ]
    for changed in changes:
        masks = changed.masks(size)
        for name in CLUTTER[:5]:
            assert np.abs(masks[name] - before[name]).max() < 0.5  # a soft edge may be covered
            assert abs(masks[name].sum() - before[name].sum()) <= 0.02 * before[name].sum()


def test_nearly_all_of_each_piece_shows_and_pieces_have_a_size():
    for scene in SAMPLE:
        masks = scene.with_clutter(6).masks()
        for name, piece in zip(CLUTTER, clutter.lay_out(scene.seed, scene.seed), strict=True):
            assert masks[name].sum() > 0.97 * clutter.draw_piece(piece, 64).cover.sum()
    pieces = [p for scene in SAMPLE for p in clutter.lay_out(scene.seed, scene.seed)[:5]]
    assert {piece.kind for piece in pieces} == set(clutter.KINDS)
    areas = clutter_masks([scene.with_clutter(5) for scene in SAMPLE]).sum((2, 3))
    assert areas.median() > 30  # pixels of 4096
    assert areas.min() > 4


@pytest.mark.parametrize("kind", clutter.KINDS)
def test_a_piece_lies_in_its_capsule(kind):
    """So that what keeps clear of the capsule keeps clear of the piece."""
    white = np.ones((3, 1, 1), np.float32)
    piece = clutter.Piece(kind, 0.1, -0.2, 0.7, 0.4, white, white)
    layer, size = clutter.draw_piece(piece, 256), 256
    cover = np.zeros((size, size))
    cover[layer.window] = layer.cover
    line = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, line)
    length, width = (0.4 * value for value in clutter.CAPSULES[kind])
    ends = [(0.1 + s * length * np.cos(0.7), -0.2 + s * length * np.sin(0.7)) for s in (-1, 1)]
    along = np.linspace(0, 1, 200)[:, None, None]
    axis = [a + along * (b - a) for a, b in zip(*ends, strict=True)]
    distance = np.hypot(x - axis[0], y - axis[1]).min(0) - width
    assert distance[cover > 0.5].max() < 0.02
    assert cover[:, :2].max() == 0  # the window cuts nothing off
    share = cover.sum() * (2 / size) ** 2 / (4 * length * width + np.pi * width**2)
    assert 0.6 < share < 1.02


def test_clutter_is_brighter_and_sharper_than_the_beetle():
    littered = [scene.with_clutter() for scene in SAMPLE]
    images = stack_images(littered)
    beetle, things = silhouette(littered), clutter_masks(littered).sum(1, keepdim=True)
    edges = edge_map(nn.Flatten().eval(), images)
    for quantity in (images.mean(1, keepdim=True), edges):
        ours, theirs = ((quantity * m).sum((1, 2, 3)) / m.sum((1, 2, 3)) for m in (things, beetle))
        assert (ours > theirs).float().mean() > 0.95
        assert ours.mean() > 1.3 * theirs.mean()


def probe(features, labels):
    """Share of labels that a linear probe gets right on scenes it has not seen, five-fold."""
    model = make_pipeline(StandardScaler(), RidgeClassifier())
    return (cross_val_predict(model, np.array(features), labels, cv=5) == labels).mean()


def test_clutter_does_not_tell_the_species():
    """On number, kinds, places and colours of the pieces, a linear probe is as good as guessing."""
    sample = [scene for name in SPECIES for scene in scenes("train", name, 40)]
    labels = np.repeat(np.arange(10), 40)
    bound = 0.1 + 2.58 * np.sqrt(0.1 * 0.9 / len(labels))  # 99 % of guesses are below
    laid = [clutter.lay_out(scene.seed, scene.seed) for scene in sample]
    places = [[(p.x, p.y, p.angle, p.reach) for p in pieces] for pieces in laid]
    kinds = [[p.kind == kind for p in pieces for kind in clutter.KINDS] for pieces in laid]
    colours = [np.ravel([(p.paint, p.ink) for p in pieces]) for pieces in laid]
    count = [[scene.seed % 7] for scene in sample]  # as `write_beetlebox` has it
    for features in (np.reshape(places, (len(sample), -1)), kinds, colours, count):
        assert probe(features, labels) < bound
    littered = [scene.with_clutter(5) for scene in sample[::2]]
    masks = [scene.masks(32) for scene in littered]
    where = [sum(m[name] for name in CLUTTER[:5])[::2, ::2].ravel() for m in masks]
    wide = 0.1 + 2.58 * np.sqrt(0.1 * 0.9 / len(littered))
    assert probe(where, labels[::2]) < wide
    # The probe can find something: where the clutter lies tells on which side the beetle is.
    is_right = [m["head"][:, 16:].sum() > m["head"][:, :16].sum() for m in masks]
    assert probe(where, is_right) > 0.65


def test_masks_of_clutter_are_stacked_in_order():
    bare, some = Scene("Ellipsa_polita", 1), Scene("Ellipsa_polita", 2).with_clutter(3)
    masks = clutter_masks([bare, some.without("clutter 1")], 48)
    assert masks.shape == (2, 3, 48, 48)
    assert masks.dtype == torch.float32
    assert not masks[0].any()
    assert not masks[1, 1].any()
    assert np.array_equal(masks[1, 2], some.masks(48)["clutter 2"])
    assert clutter_masks([bare]).shape == (1, 0, 64, 64)
    with pytest.raises(ValueError, match="scenes: got none; must be at least one"):
        clutter_masks([])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda scene: scene.with_clutter(7), ["count", "7", "0 to 6"]),
        (lambda scene: scene.with_clutter(2.0), ["count", "2.0"]),
        (lambda scene: scene.with_clutter(2, seed=-1), ["seed", "-1"]),
        (lambda scene: scene.without("clutter 6"), ["part", "clutter 6", "clutter 5"]),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        call(Scene("Ellipsa_polita", 1))
    assert all(word in str(caught.value) for word in words)
