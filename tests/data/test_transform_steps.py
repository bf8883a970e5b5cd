"""Transforms as plain data: built again they give the same numbers; anything else is refused."""

import contextlib
import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision import models, transforms
from torchvision.transforms import v2

from xai_course.data import (
    article_transform,
    build_transform,
    describe_transform,
    modern_transform,
)
from xai_course.data.transform_steps import SETTINGS, output_size

GRAIN = np.random.default_rng(0).integers(0, 256, (77, 91, 3), dtype=np.uint8)
PICTURE = Image.fromarray(GRAIN)
KNOWN = {
    "article": article_transform(40),
    "modern": modern_transform(40),
    "ImageNet": models.ResNet18_Weights.DEFAULT.transforms(),
    "bicubic": models.Swin_V2_T_Weights.DEFAULT.transforms(),
    "grey": transforms.Compose(
        [
            transforms.Resize(40, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            transforms.Grayscale(1),
            transforms.ToTensor(),
            transforms.Normalize((0.5,), (0.5,)),
        ]
    ),
    "tensors": v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((32, 30), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
            v2.ToPureTensor(),
        ]
    ),
    "one step": transforms.ToTensor(),
    "nested": transforms.Compose(
        [transforms.Pad(3), transforms.Compose([transforms.PILToTensor()])]
    ),
    "module": nn.Sequential(transforms.CenterCrop(20), transforms.Grayscale(3)),
    "old names": v2.Compose([v2.RGB(), v2.Pad([1, 2]), v2.PILToTensor()]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_built_again_gives_the_same_to_the_bit(name):
    transform = KNOWN[name]
    steps = json.loads(json.dumps(describe_transform(transform)))
    built = build_transform(steps)
    assert describe_transform(built) == steps
    one, other = transform(PICTURE), built(PICTURE)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_description_names_every_step():
    assert describe_transform(modern_transform(64)) == [
        {
            "step": "v2.Resize",
            "size": [64, 64],
            "interpolation": "bilinear",
            "max_size": None,
            "antialias": True,
        },
        {"step": "v2.PILToTensor"},
        {"step": "v2.ToDtype", "dtype": "float32", "scale": True},
        {"step": "v2.Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    ]


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (modern_transform(32, augment=True), "RandomHorizontalFlip"),
        (transforms.Compose([transforms.RandomCrop(32), transforms.ToTensor()]), "RandomCrop"),
        (transforms.Compose([transforms.Lambda(abs)]), "Lambda"),
        (lambda picture: picture, "<lambda>"),
        (None, "NoneType"),
        (nn.Linear(2, 2), "Linear"),
    ],
)
def test_what_cannot_be_described_is_named(transform, named):
    with pytest.raises(ValueError, match=rf"^transform: got the step .*{named}; must be one of"):
        describe_transform(transform)


@pytest.mark.parametrize(
    "steps",
    [
        None,
        [],
        "v2.Resize",
        [3],
        [{"step": "v2.Lambda"}],
        [{"step": "os.system", "command": "true"}],
        [{"step": ["v2.Resize"]}],
        [{"step": "v2.PILToTensor", "more": 1}],
        [{"step": "CenterCrop"}],
        [{"step": "CenterCrop", "size": 10**9}],
        [{"step": "CenterCrop", "size": [64, 0]}],
        [{"step": "CenterCrop", "size": True}],
        [{"step": "CenterCrop", "size": [[64]]}],
        [{"step": "Normalize", "mean": [0.5], "std": [0.0]}],
        [{"step": "Normalize", "mean": ["0.5"], "std": [1.0]}],
        [{"step": "Normalize", "mean": [float("nan")], "std": [1.0]}],
        [{"step": "v2.ToDtype", "dtype": "float16", "scale": True}],
        [{"step": "v2.ToImageClassification"}],
        [{"step": "ToTensor"}] * 21,
    ],
)
def test_a_description_from_elsewhere_is_refused(steps):
    with pytest.raises(ValueError, match=r"^transform: "):
        build_transform(steps)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(SETTINGS)), st.data())
def test_any_description_is_built_or_refused(name, data):
    step = {"step": data.draw(st.sampled_from(["", "v2."])) + name}
    step |= {setting: data.draw(VALUES) for setting in SETTINGS[name]}
    before = copy.deepcopy(step)
    with contextlib.suppress(ValueError):
        build_transform([step])
    assert repr(step) == repr(before)


def test_the_size_of_the_result():
    sizes = {name: output_size(KNOWN[name]) for name in ("article", "modern", "grey", "tensors")}
    assert sizes == {"article": (40, 40), "modern": (40, 40), "grey": (32, 32), "tensors": (32, 30)}
    assert output_size(transforms.ToTensor()) is None
    assert output_size(transforms.Compose([transforms.Resize(9), transforms.ToTensor()])) is None
    with pytest.raises(ValueError, match="must be a tensor"):
        output_size(transforms.CenterCrop(4))
