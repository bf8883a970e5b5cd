"""A network as a reader may bring one: its function, transform and classes; and pictures."""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

CLASSES = ("dark", "middle", "bright")
NETWORK_FILE = str(__file__)


def network() -> nn.Module:
    """Return a small network whose batch normalisation knows pictures of 32 pixels from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8, momentum=None),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, len(CLASSES)),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        model.train()(torch.rand(64, 3, 32, 32, generator=generator))
    return model.eval()


def transform(picture):
    """Resize to 32 pixels; values from 0 to 1."""
    resized = v2.functional.resize(picture, [32, 32])
    return v2.functional.to_dtype(v2.functional.pil_to_tensor(resized), torch.float32, scale=True)


def with_all():
    """Return all three."""
    return network(), transform, CLASSES


def nothing():
    """Return what is no network."""
    return "a network"


def fails():
    """Stop."""
    raise RuntimeError("no weights here")


def photos(count=12, size=(48, 40)):
    """Pictures of coloured grain, all different."""
    generator = torch.Generator().manual_seed(5)
    grain = torch.randint(0, 256, (count, size[1], size[0], 3), generator=generator)
    return [Image.fromarray(one.to(torch.uint8).numpy()) for one in grain]


def photo_folder(parent):
    """Make a folder: three images, two in a class's folder, a broken one, and a text file."""
    folder = parent / "photos"
    (folder / "bright").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "bright/b.png", "bright/c.jpg"):
        grain = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(grain).save(folder / name)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("no image")
    return folder
