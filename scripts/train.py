"""Train BeetleNet as lesson 02 does, with `python scripts/train.py`."""

import argparse
from pathlib import Path

import torch

from xai_course.beetlebox import write_beetlebox
from xai_course.data import (
    in_memory,
    load_folders,
    loader,
    modern_transform,
    random_horizontal_flip,
)
from xai_course.models import BeetleNet
from xai_course.storage import save_checkpoint
from xai_course.training import evaluate, fit

options = argparse.ArgumentParser(description="Train BeetleNet as lesson 02 does.")
options.add_argument("--images", help="a folder with train/ and test/; none: BeetleBox")
options.add_argument("--to", type=Path, default=Path("runs/beetle_net"), help="the checkpoint")
options.add_argument("--epochs", type=int, default=5)
options.add_argument("--seed", type=int, default=0)
asked = options.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
folders = load_folders(asked.images or write_beetlebox(progress=False), modern_transform(64))
train, test = (in_memory(folder) for folder in folders)
classes = folders[0].classes

torch.manual_seed(asked.seed)
model = BeetleNet(len(classes)).to(device)
history = fit(
    model,
    loader(train, 32, shuffle=True),
    loader(test, 250),
    epochs=asked.epochs,
    learning_rate=0.01,
    label_smoothing=0.1,
    augment=random_horizontal_flip,
    seed=asked.seed,
    device=device,
    checkpoint=asked.to,
)
seconds = sum(epoch.seconds for epoch in history)
accuracy = evaluate(model, loader(test, 250))
facts = {"accuracy": accuracy, "seconds": seconds, "images": len(train)}
save_checkpoint(asked.to, model, classes=classes, **facts)
