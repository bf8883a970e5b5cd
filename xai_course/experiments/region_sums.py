"""Relevance summed over the regions of a scene: all that a reading of a map needs, and small.

A reading compares the relevance of parts with their effects. It needs no map, only the sum of the
map over each part. So each method runs once for a network, its sums are kept in a file, and every
reading (`specification.py`) is computed from there in seconds.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import (
    BODY_PARTS,
    field_guide_numbers,
    shapley_effects,
    silhouette,
)
from xai_course.beetlebox.scene import SPECIES, TRAITS, Scene
from xai_course.beetlebox.scene import scenes as first_scenes
from xai_course.beetlebox.tensors import clutter_masks, stack_images, stack_masks
from xai_course.core.checks import check_choice
from xai_course.core.describe import describe_callable
from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.paths import data_folder
from xai_course.core.randomness import new_generator
from xai_course.data.transforms import normalise
from xai_course.methods import HARD_NULL_MAPS, NULL_MAPS, course_methods
from xai_course.metrics.randomisation import reinitialised
from xai_course.storage.atomic_files import atomic_write, hash_tensors, read_json
from xai_course.storage.checkpoints import load_checkpoint

__all__ = [
    "FAMILIES",
    "FIELD_GUIDE",
    "KEYS",
    "REGIONS",
    "VARIANTS",
    "RegionSums",
    "change_effects",
    "load_sums",
    "measure_sums",
    "network_of",
    "specification_scenes",
    "sum_regions",
]


REGIONS = (*BODY_PARTS, "clutter")
"""What relevance is summed over: the parts, and all things of a scene that mean nothing."""

KEYS = (
    "removal, logit",
    "removal, margin",
    "removal, Shapley",
    "exchange, logit",
    "exchange, margin",
)
"""The ground truths: what is changed, and what is measured."""

VARIANTS = ("own", "untrained network", "another class", "another image")
"""A method's map, and its maps when it is asked about something else, as in `null_battery`."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "BeetleNet": ("beetle_net", *(f"beetle_net_seeds/seed_{seed}" for seed in (1, 2, 3, 4))),
    "parts absent": (
        "beetle_net_absent",
        "beetle_net_absent_seeds/seed_1",
        "beetle_net_absent_seeds/seed_2",
    ),
    "SmallVGG": ("small_vgg", "small_vgg_seeds/seed_1", "small_vgg_seeds/seed_2"),
    "ResNet-18": ("resnet18", "resnet18_seeds/seed_1", "resnet18_seeds/seed_2"),
    "clutter": (
        "beetle_net_clutter",
        "beetle_net_clutter_seeds/seed_1",
        "beetle_net_clutter_seeds/seed_2",
    ),
}
"""The networks by family, each named as its checkpoint. "clutter" is seen in the world of clutter,
the others in the plain world. ResNet-18 has an eighth of the usual width."""


@dataclass(frozen=True)
class RegionSums:
    """The sums of one network's maps, and its keys.

    Attributes:
        network: the name of its checkpoint.
        family: its family in `FAMILIES`.
        shown: whether a scene shows a region, (N, regions).
        keys: effects of the regions (N, regions), in logits, by a name of `KEYS`.
        logits: of the predicted classes (N,), which the maps are for.
        sums: by variant and method, relevance of the regions and of the whole image
            (N, regions + 1, 2): signed, and size. Each scene is scaled so that the largest number
            is 1. The variant "null" stands for maps that know no network.
        refused: why a method does not apply to the network, by method.
    """

    network: str
    family: str
    shown: Tensor
    keys: Mapping[str, Tensor]
    logits: Tensor
    sums: Mapping[tuple[str, str], Tensor]
    refused: Mapping[str, str] = field(default_factory=dict)


# ---- the pieces ----------------------------------------------------------------------------------


def specification_scenes(world: str = "plain", per_species: int = 10) -> list[Scene]:
    """Return the test scenes that the networks are explained on.

    Args:
        world: "plain", or "clutter" for the same scenes with things that mean nothing.
        per_species: how many of each species.

    Returns:
        The scenes, sorted by species.

    Raises:
        ValueError: for an unknown world.
    """
    check_choice("world", world, ("plain", "clutter"))
    chosen = [scene for name in SPECIES for scene in first_scenes("test", name, per_species)]
    return [scene.with_clutter() for scene in chosen] if world == "clutter" else chosen


def network_of(name: str, folder: Path | None = None) -> nn.Module:
    """Load a network of `FAMILIES`.

    Args:
        name: of its checkpoint.
        folder: that holds `checkpoints`; None for `data_folder()`.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: if its checkpoint is missing or damaged.
    """
    return load_checkpoint((folder or data_folder()) / "checkpoints" / name)[0]


def sum_regions(relevance: Tensor, masks: Tensor) -> Tensor:
    """Return the relevance inside each region, signed and by size.

        signed[n, q] = Σ over channels and pixels of  relevance[n] · mask[n, q]
        size[n, q]   = Σ over channels and pixels of |relevance[n]| · mask[n, q]

    The sum of the positive relevance is the mean of the two.

    Args:
        relevance: (N, C, S, S), any unit.
        masks: of Q regions, (N, Q, S, S), from 0 to 1.

    Returns:
        (N, Q, 2), in the unit of the relevance.

    Example:
        >>> import torch
        >>> from xai_course.experiments import sum_regions
        >>> relevance = torch.tensor([[[[3.0, -1.0], [0.0, 0.0]]]])
        >>> sum_regions(relevance, torch.ones(1, 1, 2, 2))
        tensor([[[2., 4.]]], dtype=torch.float64)
    """
    values = torch.stack([relevance.double().sum(1), relevance.double().abs().sum(1)], 1)
    return torch.einsum("nrhw,nqhw->nqr", values, masks.to(values))


# What stands for a part that is exchanged: the other values of its trait, or another colour.
_TRAIT = {"elytra": "outline", "pattern": "pattern", "horn": "horn", "antennae": "antennae"}
_NOTHING = ("plain", "none")  # to exchange a part for these is to remove it
_COLOURS = ((0.9, 0.75, 0.2), (0.1, 0.1, 0.1))  # of head and legs, which have no trait


def _exchanged(scene: Scene, region: str) -> list[Scene]:
    """Return a scene with one of its regions exchanged, in each of the ways there are."""
    if region == "clutter":
        pieces = len(scene.clutter)
        return [scene.with_clutter(pieces, seed=scene.seed + k) for k in (1, 2) if pieces]
    if region not in scene.parts:
        return []
    if region not in _TRAIT:
        return [scene.recoloured(region, colour) for colour in _COLOURS]
    trait = _TRAIT[region]
    own = getattr(scene.traits, trait)
    values = [value for value in TRAITS[trait] if value not in (own, *_NOTHING)]
    return [scene.with_trait(**{trait: value}) for value in values]


def _removed(scene: Scene, region: str) -> list[Scene]:
    """Return a scene without one of its regions; no scene if it does not have the region."""
    if region == "clutter":
        return [scene.with_clutter(0)] if scene.clutter else []
    return [scene.without(region)] if region in scene.parts else []


CHANGES = {"removal": _removed, "exchange": _exchanged}


@torch.no_grad()
def change_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    change: str = "exchange",
    margin: bool = False,
    size: int = 64,
    batch_size: int = 250,
) -> Tensor:
    """Return the effect of each region when it is removed, or exchanged for another.

        effect[n, q] = f(scene n) − mean over changes of f(scene n with region q changed)

    Exchanged, wing cases get the two other outlines, the pattern the two other patterns, the horn
    the other form, the antennae the two other forms. Head and legs, which have no trait, get two
    other colours, and clutter two other handfuls. So the picture keeps all its regions.

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the predicted class.
        change: "removal", which for parts is `ground_truth_effects`; or "exchange".
        margin: True measures the chosen logit minus that of the runner-up, the class with the
            highest other logit for the whole scene; False measures the chosen logit.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.

    Returns:
        Effects (N, regions), in logits, in the order of `REGIONS`; 0 for a region that a scene does
        not have.

    Raises:
        ValueError: for a model in training mode, no scenes, wrong targets or an unknown change.

    Cost:
        One forward pass for each scene, and one or two for each region that it has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import scenes
        >>> from xai_course.experiments import change_effects
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> effects = change_effects(model, scenes("test", "Ellipsa_polita", 1), size=32)
        >>> effects.shape, effects[0, 3].item()  # this species has no horn
        (torch.Size([1, 7]), 0.0)
    """
    check_choice("change", change, CHANGES)
    like = next(model.parameters())

    def logits_of(some: Sequence[Scene]) -> Tensor:
        batches = [some[k : k + batch_size] for k in range(0, len(some), batch_size)]
        drawn = (normalise(stack_images(batch, size)).to(like) for batch in batches)
        return torch.cat([model(images) for images in drawn])

    images = normalise(stack_images(scenes, size)).to(like)
    _, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    whole = logits_of(scenes)
    runner_up = whole.scatter(1, classes[:, None], -torch.inf).argmax(1)
    changed, owners = [], []  # scenes, and which scene and region each was made from
    for n, scene in enumerate(scenes):
        for q, region in enumerate(REGIONS):
            ways = CHANGES[change](scene, region)
            changed += ways
            owners += [(n, q)] * len(ways)
    logits, rows = logits_of(changed), torch.tensor([n for n, _ in owners])

    def measured(found: Tensor, scene: Tensor) -> Tensor:
        chosen = found.gather(1, classes[scene, None])[:, 0]
        return chosen - found.gather(1, runner_up[scene, None])[:, 0] if margin else chosen

    drops = measured(whole, torch.arange(len(scenes)))[rows] - measured(logits, rows)
    place = torch.tensor([n * len(REGIONS) + q for n, q in owners])
    total, count = whole.new_zeros(2, len(scenes) * len(REGIONS))
    total.index_add_(0, place, drops)
    count.index_add_(0, place, torch.ones_like(drops))
    effects: Tensor = total / count.clamp_min(1)
    return effects.view(len(scenes), len(REGIONS))


def _keys(model: nn.Module, scenes: Sequence[Scene], targets: Tensor) -> dict[str, Tensor]:
    """Return the ground truths of a network, by a name of `KEYS`."""
    keys = {
        f"{change}, {name}": change_effects(
            model, scenes, targets, change=change, margin=name == "margin"
        )
        for change in CHANGES
        for name in ("logit", "margin")
    }
    # Clutter, which has no place in the sets of parts, keeps the effect of its removal.
    shapley = shapley_effects(model, scenes, targets)
    keys["removal, Shapley"] = torch.cat([shapley, keys["removal, logit"][:, -1:]], 1)
    return keys


NULLS: dict[str, Explainer] = {
    name.removeprefix("null: "): null for name, null in {**NULL_MAPS, **HARD_NULL_MAPS}.items()
}
"""Maps that know no network. Two that know the scene are added: "silhouette", and FIELD_GUIDE."""

FIELD_GUIDE = "field guide"  # knows the species, too (`field_guide_numbers`)


# ---- one network ---------------------------------------------------------------------------------


def measure_sums(
    network: str,
    family: str,
    model: nn.Module,
    scenes: Sequence[Scene],
    *,
    methods: Mapping[str, Explainer] | None = None,
    file: str | Path | None = None,
    tile: int = 1,
    on_method: Callable[[str, str], None] | None = None,
) -> RegionSums:
    """Explain scenes by every method, and sum the maps over the regions.

    Args:
        network: a name for the network.
        family: the family that it belongs to.
        model: the network, in evaluation mode, for images of 64 pixels.
        scenes: N scenes, at least two.
        methods: explainers by name; None for `course_methods()`.
        file: an .npz that keeps the sums. What it holds is not computed again; it is replaced as a
            whole after each map, so a run that is stopped loses one map at most.
        tile: how coarsely a map is read: the side in pixels of the squares over which it is
            averaged before it is summed, a divisor of 64; 1 leaves it as it is.
        on_method: called as on_method(network, method) before each map that is computed.

    Returns:
        The sums of every method and variant that apply, of the maps that know no network, and the
        keys.

    Raises:
        ValueError: if the tile does not divide the image, or if the file is of another network,
            other scenes, another tile, or a method of the same name with other options. It is left
            as it was.

    Cost:
        Three explanations of each scene by each method, and the passes of the keys.
    """
    if not isinstance(tile, int) or tile < 1 or 64 % tile:
        raise ValueError(f"tile: got {tile!r}; must be a divisor of 64.")
    methods = course_methods() if methods is None else methods
    path = None if file is None else Path(file)
    about = {
        "network": network,
        "family": family,
        "weights": hash_tensors(model.state_dict())[:16],
        "scenes": _describe_scenes(scenes),
        "tile": tile,
        "methods": {name: describe_callable(method) for name, method in methods.items()},
    }
    arrays, refused = ({}, {}) if path is None else _load(path, about)

    def keep(name: str, array: NDArray[Any] | None, reason: str = "") -> None:
        if array is None:
            refused[name] = reason
        else:
            arrays[name] = array
        if path is not None:
            _save(path, arrays, about | {"refused": refused})

    images, masks = normalise(stack_images(scenes)), _region_masks(scenes)
    with torch.no_grad():
        _, _, targets = validate_inputs(model, images)
        logits = model(images)
    runner_up = logits.scatter(1, targets[:, None], -torch.inf).argmax(1)
    arrays["shown"] = (masks[:, :-1].sum((2, 3)) > 0).numpy()
    arrays["logits"] = logits.amax(1).numpy()
    if any(f"key/{name}" not in arrays for name in KEYS):
        for name, effects in _keys(model, scenes, targets).items():
            keep(f"key/{name}", effects.numpy().astype(np.float32))
    nulls: dict[str, Explainer | Tensor] = {**NULLS, "silhouette": silhouette(scenes)}
    for name, null in nulls.items():
        if f"null/{name}" not in arrays:
            keep(f"null/{name}", _small(relevance_maps(model, null, images, targets), masks, tile))
    if f"null/{FIELD_GUIDE}" not in arrays:  # as numbers: masks overlap at their edges
        numbers = field_guide_numbers(scenes)[:, : len(BODY_PARTS)]
        numbers = numbers * (masks[:, : len(BODY_PARTS)].sum((2, 3)) > 0)
        numbers = torch.cat([numbers, torch.zeros(len(scenes), 1), numbers.sum(1, True)], 1)
        sums = numbers[..., None].expand(-1, -1, 2) / numbers.amax(1)[:, None, None]
        keep(f"null/{FIELD_GUIDE}", sums.numpy().astype(np.float16))
    untrained = reinitialised(model, images)  # one for all methods
    for name, explainer in methods.items():
        missing = [v for v in VARIANTS if f"{v}/{name}" not in arrays and name not in refused]
        if not missing:
            continue
        if on_method is not None:
            on_method(network, name)
        try:
            maps = relevance_maps(model, explainer, images, targets)
            others = {
                "own": maps,
                "untrained network": relevance_maps(untrained, explainer, images, targets),
                "another class": relevance_maps(model, explainer, images, runner_up),
                "another image": maps[_another(len(maps))],
            }
        except ValueError as error:  # the method does not apply to this network
            keep(name, None, str(error))
            continue
        for variant in missing:
            arrays[f"{variant}/{name}"] = _small(others[variant], masks, tile)
        keep(f"own/{name}", arrays[f"own/{name}"])
    return _as_sums(arrays, about | {"refused": refused})


def _region_masks(scenes: Sequence[Scene]) -> Tensor:
    """Draw the masks of the regions and of the whole image, (N, regions + 1, 64, 64)."""
    parts = stack_masks(scenes)[:, : len(BODY_PARTS)]
    clutter = clutter_masks(scenes).sum(1, keepdim=True)
    return torch.cat([parts, clutter, torch.ones_like(clutter)], 1)


def _describe_scenes(scenes: Sequence[Scene]) -> str:
    """Return the first 16 digits of the SHA-256 of what tells the scenes apart."""
    values = [[scene.species, scene.seed, *scene.clutter] for scene in scenes]
    return hash_tensors({}, json.dumps(values))[:16]


def _another(count: int) -> Tensor:
    """Return for each image the number of a different one: one cycle in a random order."""
    order = torch.randperm(count, generator=new_generator(0))
    chosen = torch.empty_like(order)
    chosen[order] = order.roll(1)
    return chosen


def _small(relevance: Tensor, masks: Tensor, tile: int) -> NDArray[np.float16]:
    """Return the sums over the regions, each scene scaled to a largest number of 1, in 16 bits.

    No score that is used depends on the scale of a scene's map.
    """
    if tile > 1:
        means = F.avg_pool2d(relevance, tile)
        relevance = means.repeat_interleave(tile, 2).repeat_interleave(tile, 3)
    sums = sum_regions(relevance, masks)
    largest = sums.abs().amax((1, 2), keepdim=True)
    return (sums / torch.where(largest > 0, largest, 1.0)).numpy().astype(np.float16)


# ---- the files -----------------------------------------------------------------------------------


def load_sums(folder: str | Path | None = None) -> list[RegionSums]:
    """Read the sums of all networks that are on file.

    Args:
        folder: that `run_specification` wrote to; None for the course's, `data/specification`.

    Returns:
        The sums, network by network, in the order of `FAMILIES`. Networks without a file are left
        out, and so are files that are not complete yet.

    Raises:
        ValueError: if a file is damaged, or there is none.

    Example:
        >>> from xai_course.experiments import load_sums
        >>> first = load_sums()[0]
        >>> first.network, first.keys["removal, logit"].shape
        ('beetle_net', torch.Size([100, 7]))
    """
    root = data_folder() / "specification" if folder is None else Path(folder)
    found = []
    for names in FAMILIES.values():
        for name in names:
            path = sums_file(name, root)
            if path.exists():
                arrays, about = _read(path)
                done = {entry.partition("/")[2] for entry in arrays if entry.startswith("own/")}
                if done | set(about["refused"]) >= set(about["methods"]):
                    found.append(_as_sums(arrays, about))
    if not found:
        raise ValueError(
            f"folder: got {root}, which holds no sums; make them by `make specification`."
        )
    return found


def sums_file(network: str, folder: Path) -> Path:
    """Return the file of a network's sums.

    Args:
        network: the name of its checkpoint.
        folder: of the files.

    Returns:
        The path.
    """
    return folder / f"{network.replace('/', '_')}.npz"


def _save(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write the sums as a whole, and in the same file what they were made from."""
    content = io.BytesIO()
    note = np.array(json.dumps(about, ensure_ascii=False))
    np.savez_compressed(content, about=note, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content.getvalue())


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file that `_save` wrote; raise ValueError for another."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = read_json(str(arrays.pop("about")), str(path))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable file of sums: {error}") from None
    return arrays, about


def _load(path: Path, about: dict[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read what a file holds, if it is of this network, these scenes and these methods."""
    if not path.exists():
        return {}, {}
    arrays, before = _read(path)
    before.setdefault("tile", 1)
    for name in ("network", "weights", "scenes", "tile"):
        if before[name] != about[name]:
            raise ValueError(
                f"file: got {path} of {name} {before[name]}; must be {about[name]}. Delete it to "
                "compute all of it again."
            )
    for name, was in before["methods"].items():
        if about["methods"].setdefault(name, was) != was:
            raise ValueError(
                f"file: got {path}, where {name} was {was}; must be {about['methods'][name]}. "
                "Delete it to compute all of it again."
            )
    return arrays, before["refused"]


def _as_sums(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> RegionSums:
    """Return the sums as tensors in double precision."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    keys = {name: tensors[f"key/{name}"].double() for name in KEYS}
    sums = {}
    for name, tensor in tensors.items():
        variant, _, method = name.partition("/")
        if variant in (*VARIANTS, "null"):
            sums[variant, method] = tensor.double()
    return RegionSums(
        network=about["network"],
        family=about["family"],
        shown=tensors["shown"],
        keys=keys,
        logits=tensors["logits"].double(),
        sums=sums,
        refused=about["refused"],
    )
