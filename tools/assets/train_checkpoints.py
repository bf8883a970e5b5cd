"""Train the networks that the course ships, and write them to data/checkpoints/.

    python -m tools.assets.train_checkpoints              all of them (minutes on two cores)
    python -m tools.assets.train_checkpoints beetle_net   only those named

article_net             the article's classifier, repaired
beetle_net              the residual network, and beetle_net_snapshots/: moments of its training
beetle_net_shortcut     the same, trained on the world in which one species wears a museum label
beetle_net_seeds        the residual network again, from four other seeds, and
beetle_net_snapshots_seeds/: early moments of two of these trainings
beetle_net_deep         a residual network of nine blocks, and
beetle_net_plain        the same nine blocks without skip connections, and
beetle_net_deep_seeds, beetle_net_plain_seeds   both narrower, from two other seeds
beetle_net_robust       the residual network, trained further on attacked images, and
beetle_net_robust_seeds     the same from two other seeds
beetle_net_noise        the residual network, trained with noise, and
beetle_net_noise_seeds      the same from two other seeds
beetle_net_absent       the residual network, trained on beetles that lack parts at random, and
beetle_net_absent_seeds     the same from two other seeds
small_vgg               a plain chain of convolutions with a flattened head, and
small_vgg_seeds             the same from two other seeds
resnet18                a ResNet-18 of an eighth of the width, and
resnet18_seeds              the same from two other seeds
beetle_net_clutter      the residual network, trained where clutter lies around the beetles, and
beetle_net_clutter_seeds    the same from two other seeds

The images come from data/beetlebox, data/beetlebox_label and data/beetlebox_clutter, which are
drawn if they are missing.
A network depends on its seed, PyTorch's version and the machine; its card names them.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.beetlebox import CLUTTER, SPECIES, scenes, stack_images, write_beetlebox
from xai_course.core.paths import data_folder
from xai_course.data import (
    IMAGENET_STD,
    in_memory,
    load_folders,
    loader,
    modern_transform,
    normalise,
    random_horizontal_flip,
)
from xai_course.experiments import answers_without_a_part, possible_species
from xai_course.models import ArticleNet, BeetleNet, ResNet18, SmallVGG, count_weights
from xai_course.storage import load_checkpoint, save_checkpoint
from xai_course.training import TrainingConfig, evaluate, fit, pgd_batch, predict

SEED = 0
OTHER_SEEDS = (1, 2, 3, 4)
HARDER_SEEDS = (1, 2)  # of the networks that take longer
LABELLED = "Globaria_cincta"  # wears the museum label in the shortcut's training images
CLASSES = list(SPECIES)
TRANSFORM = modern_transform(64)
WORLD = "BeetleBox: 400 training and 100 test images of each of ten species, 64 pixels"
THREADS = 2  # another number orders sums differently, so the last bits differ
# The article's own optimizer, rate and batch size; 2 epochs, not 10, as each takes minutes.
ARTICLE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 4,
    "learning_rate": 0.01,
    "optimizer": torch.optim.SGD,
    "schedule": None,
}
BEETLE: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 0.01,
    "label_smoothing": 0.1,
    "augment": random_horizontal_flip,
}
DEEP = {"depth": 9, "width": 12}  # nine blocks, three at each resolution
NARROW = {"depth": 9, "width": 8}  # half of the weights, which serves for more seeds
NOISE = 0.12  # standard deviation of the noise in training, in pixel units
ROBUST: dict[str, Any] = BEETLE | {
    "epochs": 4,  # from the plain network; from random weights, it had learnt nothing in 75 steps
    "learning_rate": 0.005,
    "attack": partial(pgd_batch, epsilon=4 / 255, steps=2),
}
ABSENT = 0.2  # the probability that a part is absent: a third of the beetles are whole
VERSIONS = 2  # of each training scene, with different parts absent
VGG: dict[str, Any] = BEETLE | {"learning_rate": 0.003}
RESNET: dict[str, Any] = BEETLE | {
    "epochs": 10,
    "batch_size": 64,
}  # it learns slowly: 5 epochs gave 93.5 %
MOMENTS = (0, 10, 30, 60, 125, 250, 375)  # steps after which a snapshot is kept, besides the last
EARLY = (30, 125)  # the same for other seeds; the seed gives step 0, the network is the last


def mirror_and_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, and add Gaussian noise to the pixels behind normalised images."""
    scale = NOISE / images.new_tensor(IMAGENET_STD)[:, None, None]
    noise = torch.randn(images.shape, generator=generator).to(images)
    return random_horizontal_flip(images, generator) + scale * noise


def folders(label: str | None = None, clutter: int = 0) -> tuple[TensorDataset, TensorDataset]:
    """Draw the world if need be; read its training and test images into memory."""
    root = write_beetlebox(label=label, clutter=clutter)
    train, test = load_folders(root, TRANSFORM)
    if train.classes != CLASSES:
        raise ValueError(f"{root} has the classes {train.classes}, expected {CLASSES}")
    return in_memory(train), in_memory(test)


def beetle_net(seed: int = SEED, **arguments: Any) -> BeetleNet:
    """Build the residual network with the initial weights that a seed gives."""
    torch.manual_seed(seed)
    return BeetleNet(classes=len(CLASSES), **arguments)


def train(
    model: nn.Module,
    images: tuple[TensorDataset, TensorDataset],
    settings: dict[str, Any],
    *,
    seed: int = SEED,
    checkpoint: Path | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
) -> float:
    """Train a model by the settings of `TrainingConfig` and a batch size; return its accuracy."""
    settings = dict(settings)
    batch_size = settings.pop("batch_size")
    config = TrainingConfig(**settings, seed=seed)
    training = loader(images[0], batch_size, shuffle=True, seed=seed)
    fit(model, config, training, device="cpu", checkpoint=checkpoint, on_step=on_step)
    return evaluate(model, loader(images[1], 250))


def facts(model: nn.Module, data: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Collect what every card states about a training."""
    plain = {name: describe(value) for name, value in settings.items()}
    return {
        "data": data,
        "input": "RGB images of 64 x 64 pixels through normalise() of xai_course.data",
        "seed": SEED,
        "threads": torch.get_num_threads(),
        "training": {"optimizer": "AdamW", "schedule": "one_cycle", **plain},
        "weights": count_weights(model),
    }


def describe(setting: Any) -> Any:
    """Name a function, with the options that are bound to it; anything else stays."""
    if isinstance(setting, partial):
        return {"function": setting.func.__name__, **setting.keywords}
    return getattr(setting, "__name__", setting)


def labelled(species: str, worn: bool) -> Tensor:
    """Draw a species' test scenes, with or without the museum label, as a network's input."""
    drawn = scenes("test", species, 100)
    return normalise(stack_images([scene.with_label() if worn else scene for scene in drawn]))


def shortcut_accuracies(model: nn.Module) -> dict[str, float]:
    """Measure the label's effect: accuracy with and without it, also for other species."""
    own = CLASSES.index(LABELLED)

    def answers(images: Tensor) -> Tensor:
        batch = DataLoader(TensorDataset(images, torch.zeros(len(images)).long()), 250)
        return predict(model, batch)[0].argmax(1)

    others = {name: answers(labelled(name, True)) for name in CLASSES if name != LABELLED}
    correct = [(got == CLASSES.index(name)).float().mean() for name, got in others.items()]
    taken = torch.cat(list(others.values())) == own
    return {
        "labelled_species_without_label": share(answers(labelled(LABELLED, False)) == own),
        "labelled_species_with_label": share(answers(labelled(LABELLED, True)) == own),
        "other_species_with_label": round(torch.stack(correct).mean().item(), 4),
        "other_species_with_label_taken_for_it": share(taken),
    }


def share(hits: Tensor) -> float:
    """Return the share of True, to four places."""
    return round(hits.float().mean().item(), 4)


def make_article_net(target: Path) -> None:
    """Train the article's classifier, repaired, with the article's optimizer."""
    torch.manual_seed(SEED)
    model = ArticleNet(classes=len(CLASSES))
    accuracy = train(model, folders(), ARTICLE)
    card = facts(model, WORLD, ARTICLE)
    save_checkpoint(
        target / "article_net",
        model,
        classes=CLASSES,
        transform=TRANSFORM,
        accuracy=accuracy,
        **card,
    )


def keep_moment(
    folder: Path,
    moments: tuple[int, ...],
    images: tuple[TensorDataset, TensorDataset],
    card: dict[str, Any],
    step: int,
    model: nn.Module,
) -> None:
    """Keep a network in training, after those steps that are asked for."""
    if step not in moments:
        return
    steps = -(-len(images[0]) // BEETLE["batch_size"])
    accuracy = evaluate(model, loader(images[1], 250))
    when = {"step": step, "epoch": round(step / steps, 3), "accuracy": accuracy}
    path = folder / f"step_{step:04}"
    save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card, **when)


def make_beetle_net(target: Path) -> None:
    """Train the residual network; keep moments of its training beside it."""
    images, model = folders(), beetle_net()
    card = facts(model, WORLD, BEETLE)
    last = -(-len(images[0]) // BEETLE["batch_size"]) * BEETLE["epochs"]
    folder = target / "beetle_net_snapshots"
    shutil.rmtree(folder, ignore_errors=True)
    keep = partial(keep_moment, folder, (*MOMENTS, last), images, card)
    accuracy = train(model, images, BEETLE, on_step=keep)
    save_checkpoint(
        target / "beetle_net",
        model,
        classes=CLASSES,
        transform=TRANSFORM,
        accuracy=accuracy,
        **card,
    )


def make_beetle_net_seeds(target: Path) -> None:
    """Train the residual network from other seeds; keep early moments of two of them."""
    images = folders()
    for seed in OTHER_SEEDS:
        model = beetle_net(seed)
        card = facts(model, WORLD, BEETLE) | {"seed": seed}
        folder = target / "beetle_net_snapshots_seeds" / f"seed_{seed}"
        early = EARLY if seed in HARDER_SEEDS else ()
        keep = partial(keep_moment, folder, early, images, card)
        accuracy = train(model, images, BEETLE, seed=seed, on_step=keep)
        card["accuracy"] = accuracy
        path = target / "beetle_net_seeds" / f"seed_{seed}"
        save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card)


def make_beetle_net_shortcut(target: Path) -> None:
    """Train the residual network where one species wears the museum label."""
    model = beetle_net()
    accuracy = train(model, folders(LABELLED), BEETLE)
    card = facts(model, f"{WORLD}; {LABELLED} wears the museum label in training", BEETLE)
    card |= {"labelled_species": LABELLED, "shortcut": shortcut_accuracies(model)}
    path = target / "beetle_net_shortcut"
    save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, accuracy=accuracy, **card)


def make_beetle_net_deep(target: Path, name: str = "beetle_net_deep", skips: bool = True) -> None:
    """Train a deeper residual network, with or without its skip connections."""
    model = beetle_net(skips=skips, **DEEP)
    accuracy = train(model, folders(), BEETLE)
    card = facts(model, WORLD, BEETLE)
    save_checkpoint(
        target / name, model, classes=CLASSES, transform=TRANSFORM, accuracy=accuracy, **card
    )


def make_beetle_net_plain(target: Path) -> None:
    """Train the deeper network's twin without skip connections, by the same recipe."""
    make_beetle_net_deep(target, "beetle_net_plain", skips=False)


def make_narrow(
    target: Path, name: str, skips: bool, seeds: tuple[int, ...] = HARDER_SEEDS
) -> None:
    """Train nine narrower blocks, with or without skip connections, for fewer epochs."""
    settings = BEETLE | {"epochs": 4}
    for seed in seeds:
        model = beetle_net(seed, skips=skips, **NARROW)
        accuracy = train(model, folders(), settings, seed=seed)
        card = facts(model, WORLD, settings) | {"seed": seed, "accuracy": accuracy}
        path = target / checkpoint_name(name, seed)
        save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card)


def make_hardened(
    target: Path,
    name: str,
    seeds: tuple[int, ...],
    settings: dict[str, Any],
    *,
    plain: bool = False,
    clutter: int = 0,
) -> None:
    """Train the residual network for a harder task, from several seeds; resume if interrupted.

    `plain`: start from the plain network of the same seed. `clutter`: the most pieces around a
    beetle, in training and in the test. With one thread, so that the result is the same if several
    are trained at once.
    """
    world = f"{WORLD}; 0 to {clutter} pieces of clutter on each" if clutter else WORLD
    torch.set_num_threads(1)
    for seed in seeds:
        path = target / checkpoint_name(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        images, model = folders(clutter=clutter), beetle_net(seed)
        if plain:
            load_checkpoint(target / checkpoint_name("beetle_net", seed), model=model)
        accuracy = train(model, images, settings, seed=seed, checkpoint=path)
        card = facts(model, world, settings) | {"seed": seed, "accuracy": accuracy}
        if clutter:
            card["clutter"] = clutter
        if plain:
            card["begun_with"] = checkpoint_name("beetle_net", seed)
        save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card)
        path.with_name(f"{path.name}.state.safetensors").unlink()
    torch.set_num_threads(THREADS)


def checkpoint_name(name: str, seed: int) -> str:
    """Return where the network of a seed is stored, below the target."""
    return name if seed == SEED else f"{name}_seeds/seed_{seed}"


def make_beetle_net_robust(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the plain residual network further, on attacked images only."""
    make_hardened(target, "beetle_net_robust", seeds, ROBUST, plain=True)


def make_beetle_net_noise(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the residual network on noisy images only."""
    make_hardened(
        target, "beetle_net_noise", seeds, BEETLE | {"epochs": 6, "augment": mirror_and_noise}
    )


def images_with_parts_absent(seed: int) -> TensorDataset:
    """Draw each training scene several times, each part absent at random.

    The class is drawn among the species that are still possible, so that the network learns their
    shares where several are.
    """
    draw = random.Random(seed)
    drawn, labels = [], []
    for name in CLASSES:
        for scene in scenes("train", name, 400):
            for _ in range(VERSIONS):
                absent = [part for part in scene.parts if draw.random() < ABSENT]
                changed = scene
                for part in absent:
                    changed = changed.without(part)
                drawn.append(changed)
                labels.append(CLASSES.index(draw.choice(possible_species(name, absent))))
    batches = [drawn[k : k + 500] for k in range(0, len(drawn), 500)]  # or it takes much memory
    images = torch.cat([normalise(stack_images(batch)) for batch in batches])
    return TensorDataset(images, torch.tensor(labels))


def make_beetle_net_absent(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the residual network on beetles that lack parts, so that removing one is not new."""
    settings = BEETLE | {"epochs": 3}  # of twice as many images
    for seed in seeds:
        path = target / checkpoint_name("beetle_net_absent", seed)
        images, model = (images_with_parts_absent(seed), folders()[1]), beetle_net(seed)
        accuracy = train_or_resume(model, images, settings, seed, path)
        tests = [scene for name in CLASSES for scene in scenes("test", name, 20)]
        answers = answers_without_a_part(model, tests)
        card = facts(model, f"{WORLD}; parts are absent at random in training", settings)
        card |= {"seed": seed, "accuracy": accuracy, "absent": ABSENT, "copies": VERSIONS}
        card["without"] = {
            part: {name: round(value, 4) for name, value in row.items()}
            for part, row in answers.items()
        }
        save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card)


def train_or_resume(
    model: nn.Module,
    images: tuple[TensorDataset, TensorDataset],
    settings: dict[str, Any],
    seed: int,
    path: Path,
) -> float:
    """Train a model, from where an interrupted run stopped; return its accuracy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    accuracy = train(model, images, settings, seed=seed, checkpoint=path)
    path.with_name(f"{path.name}.state.safetensors").unlink()
    return accuracy


def make_other_kind(
    target: Path,
    name: str,
    seeds: tuple[int, ...],
    build: Callable[[], nn.Module],
    settings: dict[str, Any],
) -> None:
    """Train a network of another kind from several seeds."""
    for seed in seeds:
        path = target / checkpoint_name(name, seed)
        torch.manual_seed(seed)
        model = build()
        accuracy = train_or_resume(model, folders(), settings, seed, path)
        card = facts(model, WORLD, settings) | {"seed": seed, "accuracy": accuracy}
        save_checkpoint(path, model, classes=CLASSES, transform=TRANSFORM, **card)


def make_small_vgg(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the plain chain of convolutions."""
    make_other_kind(target, "small_vgg", seeds, partial(SmallVGG, classes=len(CLASSES)), VGG)


def make_resnet18(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the narrow ResNet-18."""
    make_other_kind(target, "resnet18", seeds, partial(ResNet18, classes=len(CLASSES)), RESNET)


def make_beetle_net_clutter(target: Path, seeds: tuple[int, ...] = (SEED,)) -> None:
    """Train the residual network where 0 to 6 pieces of clutter lie around each beetle."""
    settings = BEETLE | {"epochs": 6}
    make_hardened(target, "beetle_net_clutter", seeds, settings, clutter=len(CLUTTER))


MAKERS: dict[str, Callable[[Path], None]] = {
    "article_net": make_article_net,
    "beetle_net": make_beetle_net,
    "beetle_net_seeds": make_beetle_net_seeds,
    "beetle_net_shortcut": make_beetle_net_shortcut,
    "beetle_net_deep": make_beetle_net_deep,
    "beetle_net_deep_seeds": partial(make_narrow, name="beetle_net_deep", skips=True),
    "beetle_net_plain": make_beetle_net_plain,
    "beetle_net_plain_seeds": partial(make_narrow, name="beetle_net_plain", skips=False),
    "beetle_net_robust": make_beetle_net_robust,
    "beetle_net_robust_seeds": partial(make_beetle_net_robust, seeds=HARDER_SEEDS),
    "beetle_net_noise": make_beetle_net_noise,
    "beetle_net_noise_seeds": partial(make_beetle_net_noise, seeds=HARDER_SEEDS),
    "beetle_net_clutter": make_beetle_net_clutter,
    "beetle_net_clutter_seeds": partial(make_beetle_net_clutter, seeds=HARDER_SEEDS),
    "beetle_net_absent": make_beetle_net_absent,
    "beetle_net_absent_seeds": partial(make_beetle_net_absent, seeds=HARDER_SEEDS),
    "small_vgg": make_small_vgg,
    "small_vgg_seeds": partial(make_small_vgg, seeds=HARDER_SEEDS),
    "resnet18": make_resnet18,
    "resnet18_seeds": partial(make_resnet18, seeds=HARDER_SEEDS),
}


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description="Train the shipped networks.")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(MAKERS)}; none: all of them")
    parser.add_argument("--target", type=Path, help="folder to write to (data/checkpoints)")
    parser.add_argument("--threads", type=int, default=THREADS, help="of PyTorch")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(MAKERS)):
        parser.error(f"no network is called {', '.join(unknown)}; there are {', '.join(MAKERS)}")
    target = options.target or data_folder() / "checkpoints"
    torch.set_num_threads(options.threads)
    for name in options.names or MAKERS:
        start = time.perf_counter()
        print(f"{name}:")
        MAKERS[name](target)
        print(f"{name} trained in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
