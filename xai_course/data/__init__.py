"""Images from disk to tensors: folders, transforms, loaders, photographs, public data sets.

Pixels are floats in [0, 1]. A network's input is `normalise(pixels)`: the ImageNet mean subtracted,
then divided by the ImageNet standard deviation, for each channel.

May import `core`. Knows no networks and no beetles.
"""

from xai_course.core.paths import data_folder
from xai_course.data.folders import check_folder, load_folder, load_folders, subset
from xai_course.data.image_files import read_image
from xai_course.data.loaders import in_memory, loader
from xai_course.data.photographs import PHOTOGRAPHS, photograph, to_pixels
from xai_course.data.public_datasets import download
from xai_course.data.transform_steps import build_transform, describe_transform
from xai_course.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    article_transform,
    augment,
    denormalise,
    modern_transform,
    normalise,
    random_horizontal_flip,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PHOTOGRAPHS",
    "article_transform",
    "augment",
    "build_transform",
    "check_folder",
    "data_folder",
    "denormalise",
    "describe_transform",
    "download",
    "in_memory",
    "load_folder",
    "load_folders",
    "loader",
    "modern_transform",
    "normalise",
    "photograph",
    "random_horizontal_flip",
    "read_image",
    "subset",
    "to_pixels",
]
