"""The networks of the course, pretrained networks, and wrappers for others.

May import `core` and `data`.
"""

from xai_course.models.article_net import ArticleNet
from xai_course.models.beetle_net import BeetleNet, ResidualBlock, count_weights
from xai_course.models.efficientnet_lite0 import EfficientNetLite0
from xai_course.models.faster import faster
from xai_course.models.pretrained import photo_network
from xai_course.models.resnet18 import ResNet18
from xai_course.models.small_vgg import SmallVGG
from xai_course.models.wrappers import (
    ChannelsLast,
    Defence,
    DefendedModel,
    NormalisingModel,
    Predictions,
)

__all__ = [
    "ArticleNet",
    "BeetleNet",
    "ChannelsLast",
    "Defence",
    "DefendedModel",
    "EfficientNetLite0",
    "NormalisingModel",
    "Predictions",
    "ResNet18",
    "ResidualBlock",
    "SmallVGG",
    "count_weights",
    "faster",
    "photo_network",
]
