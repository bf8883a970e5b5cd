"""The answer key, held against a model whose answer is known by hand."""

import pytest
import torch
from torch import nn

from xai_course.beetles import PARTS, SPECIES, Scene
from xai_course.data import normalise, stack_images
from xai_course.judge import part_effects


def linear_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)).eval()


SCENES = [Scene(name, 40 + i).with_label() for i, name in enumerate(list(SPECIES)[:5])]


@pytest.mark.parametrize("batch_size", [1, 7, 250])
def test_effects_are_differences_of_the_logit_one_scene_at_a_time(batch_size):
    model, targets = linear_model(), torch.tensor([0, 1, 2, 3, 0])
    effects = part_effects(model, SCENES, targets, batch_size=batch_size)
    assert effects.shape == (5, len(PARTS))
    for scene, target, row in zip(SCENES, targets, effects, strict=True):
        for part, effect in zip(PARTS, row, strict=True):
            pair = normalise(stack_images([scene, scene.without(part)]))
            before, after = model(pair)[:, target]
            assert effect == pytest.approx((before - after).item(), abs=1e-4)


def test_a_part_that_is_not_there_has_no_effect():
    scene = Scene("Ellipsa_polita", 1)  # no horn, no pattern, no label
    effects = part_effects(linear_model(), [scene], 0)[0]
    assert [effects[PARTS.index(part)] for part in ("horn", "pattern", "label")] == [0, 0, 0]
    assert effects[PARTS.index("elytra")] != 0


def test_effects_of_a_linear_model_are_its_weights_times_the_change():
    model, scene = linear_model(), SCENES[2]
    before, after = normalise(stack_images([scene, scene.without("head")]))
    by_hand = ((before - after).flatten() @ model[1].weight[3]).item()
    effect = part_effects(model, [scene], 3, parts=["head"])
    assert effect.item() == pytest.approx(by_hand, abs=1e-4)


def test_without_targets_the_class_is_the_one_predicted_for_the_whole_scene():
    model = linear_model()
    predicted = model(normalise(stack_images(SCENES))).argmax(1)
    assert torch.equal(part_effects(model, SCENES), part_effects(model, SCENES, predicted))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"model\.eval"):
        part_effects(linear_model().train(), SCENES)
    with pytest.raises(ValueError, match="scenes"):
        part_effects(linear_model(), [])
    with pytest.raises(ValueError, match="part is 'wing'"):
        part_effects(linear_model(), SCENES, parts=["wing"])
    with pytest.raises(ValueError, match="targets"):
        part_effects(linear_model(), SCENES, 4)
