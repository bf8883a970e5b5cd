"""Small networks and images for the tests of training."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.data import random_horizontal_flip
from xai_course.models import BeetleNet
from xai_course.training import TrainingConfig

CPU = {"device": "cpu", "progress": False}
RUN = TrainingConfig(epochs=3, augment=random_horizontal_flip, seed=5)
STEPS = 6  # an epoch of `loaders`


def shapes(count, seed):
    """Bright squares on noise: left, right or none, so that three classes can be learned."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 3, 16, 16, generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    for image, label in zip(images, labels, strict=True):
        if label < 2:
            top = int(torch.randint(0, 12, (1,), generator=generator))
            image[:, top : top + 4, 2 + 8 * label : 6 + 8 * label] += 2
    return TensorDataset(images, labels)


def loaders():
    train = DataLoader(shapes(96, 1), 16, shuffle=True, generator=torch.Generator())
    return train, DataLoader(shapes(60, 2), 30)


def network(seed=0):
    torch.manual_seed(seed)
    return BeetleNet(classes=3, depth=3, width=4)


class Dropping(nn.Module):
    """A small network with dropout, which draws from PyTorch's global generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(768, 3))

    def forward(self, images):
        return self.body(images)


def dropping_network():
    """With dropout and with BatchNorm."""
    return nn.Sequential(nn.Dropout(0.3), network())


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def without_seconds(history):
    """The history without the seconds, which no run repeats."""
    return [(e.epoch, e.train_loss, e.train_accuracy, e.test_accuracy) for e in history]
