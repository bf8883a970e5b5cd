"""The report: a folder of images explained and checked, image by image, and gone on with.

    <out>/manifest.json                         what was asked for, what became of each image
    <out>/results/<recipe>/<image>.safetensors  the maps of one image, and what was measured
    <out>/results/<recipe>/checks.json          what was checked of the network itself

A result's name is the SHA-256 of the image and its folder's that of the recipe (network, transform,
methods with their options, versions). So a run that was stopped goes on, an image that comes in
later is all that is done, and another network never finds the results of this one.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course import __version__
from xai_course.core.baselines import baseline_images
from xai_course.core.describe import describe_callable
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.data.folders import read_image
from xai_course.methods import choose_methods, report_methods, report_null_maps
from xai_course.metrics.randomisation import reinitialised
from xai_course.report.checks import check_network
from xai_course.report.memory import in_batches, is_memory_error
from xai_course.report.network import UserModel, image_files, load_model, read_labels
from xai_course.storage.atomic_files import atomic_write, read_state, write_state

__all__ = ["Collected", "Result", "collect", "open_results", "run_report"]


FORMAT = "xai_course report 2"  # to be counted up when what is kept on file changes
TILES = 8  # maps are compared in 8 × 8 tiles
COVERED = 6  # of the 64: about a tenth of the image
FILLS = ("mean", "blur")
UNSIGNED = ("gradient", "SmoothGrad", "guided backpropagation")  # their sign is not for or against
TOO_MUCH = (
    "needs more than there is, even for one image in a pass; allowed are smaller images, a machine "
    "with more memory, or other methods."
)
FEW = 8  # images that the network itself is checked on


class Result(NamedTuple):
    """What was found on one image.

    `file`: its name in the folder; `sha256` of its bytes; `truth`: the class that its folder is
    named after, if one is. `logits` (classes,); `seen` (C, H, W), what the network was given,
    stretched to [0, 1]; `maps` (M, H, W), each divided by its largest size; `scales` (M,), those
    sizes; `tiles` (M, 64), the mean size of relevance in each tile; `random` (M, 64), the same with
    random weights, NaN for the nulls and where there is no map; `falls` (M, 2), how far the logit
    falls when the tenth that a map marks most is covered with each of FILLS.
    """

    file: str
    sha256: str
    truth: str | None
    logits: Tensor
    seen: Tensor
    maps: Tensor
    scales: Tensor
    tiles: Tensor
    random: Tensor
    falls: Tensor


class Collected(NamedTuple):
    """A finished folder: the recipe, the names of the maps, what was checked, and the images.

    `names`: methods first, then the nulls, in the order of every result's maps. `images`: one dict
    a file: "file", "sha256", "result" or "problem". `passed_over`: sentences.
    """

    recipe: dict[str, Any]
    names: list[str]
    checks: dict[str, Any]
    images: list[dict[str, Any]]
    passed_over: list[str]
    folder: Path


def run_report(
    model: str, images: str, out: str, labels: str = "", methods: str = "", progress: bool = True
) -> tuple[UserModel, Collected]:
    """Load a network and `collect` a folder, both given in words as `make report` has them.

    `model`: see `load_model`. `labels`: a file of class names, one a line, or "". `methods`: names
    of `report_methods` with commas between them, or "" for all. Raises what these raise.
    """
    image_files(images)  # before the network is loaded, which may take its time
    own = load_model(model, labels=read_labels(labels) if labels else None)
    own.model.to("cuda" if torch.cuda.is_available() else "cpu")
    names = [name.strip() for name in methods.split(",")]
    some = choose_methods(names, own.about["input"][1:]) if methods else None
    return own, collect(own, images, out, methods=some, progress=progress)


def collect(
    own: UserModel,
    images: str | Path,
    out: str | Path,
    *,
    methods: Mapping[str, Explainer] | None = None,
    batch_size: int = 4,
    progress: bool = True,
) -> Collected:
    """Explain and check every image of a folder; what is on file already is not done again.

    `methods`, by name: None for `report_methods`. Those that refuse this network are left out, with
    their reasons in `checks["refused"]`. `batch_size`: images and copies in one pass; halved
    whenever memory does not suffice. `progress`: show a bar. An image that cannot be read is noted.

    Raises ValueError if the folder has no image that can be read, or no method applies;
    MemoryError, naming the method, if even one image in a pass is too much.
    """
    from tqdm import tqdm

    files, passed_over = image_files(images)
    root, out = Path(images).expanduser(), Path(out).expanduser()
    wanted = dict(report_methods(own.about["input"][1:]) if methods is None else methods)
    recipe = {
        "format": FORMAT,
        "network": own.about,
        "methods": {
            name: describe_callable(method, leave_out=["batch_size"])
            for name, method in wanted.items()
        },
        "tiles, covered, fills": [TILES, COVERED, *FILLS],
        "versions": {
            "course": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version(name) for name in ("torchvision", "numpy", "pillow")},
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "device": next(own.model.parameters(), torch.zeros(())).device.type,
        },
    }
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    folder = out / "results" / key
    folder.mkdir(parents=True, exist_ok=True)
    known = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    bar = tqdm(total=len(files), disable=not progress)
    bar.set_postfix_str("checking the network")
    first = _first(own, files)
    checks = _checks(own, list(first), wanted, folder / "checks.json")
    listed, missing = [], []
    for path in files:
        entry = {"file": str(path.relative_to(root)), "sha256": known[path]}
        if truth := _truth(own, path):
            entry["truth"] = truth
        listed.append(entry)
        place = folder / f"{known[path][:16]}.safetensors"
        try:
            read_state(place)  # is it there, and not damaged?
            entry["result"] = place.name
        except ValueError:
            missing.append((path, place, entry))
    bar.update(len(files) - len(missing))
    sample = [] if checks["random"] else list(first.values())[: checks["images"]]
    run = _Run(own, {n: wanted[n] for n in checks["methods"]}, sample, batch_size, bar)
    collected = Collected(recipe, run.names, checks, listed, passed_over, folder)
    for batch in _read(own, missing, batch_size, bar):
        run(batch)
        bar.update(len(batch))
        _save(collected, out, [batch_size, run.size])
    bar.close()
    _save(collected, out, [batch_size, run.size])
    return collected


def open_results(collected: Collected) -> Iterator[Result]:
    """Yield the results of a folder, image by image, each read when its turn comes."""
    for entry in collected.images:
        if "result" in entry:
            tensors, _ = read_state(collected.folder / entry["result"])
            plain = {name: tensor.float() for name, tensor in tensors.items()}
            plain["seen"] = plain["seen"] / 255
            yield Result(entry["file"], entry["sha256"], entry.get("truth"), **plain)


# ---- one batch -----------------------------------------------------------------------------------


class _Run:
    """Explains batches of images and writes their results; `size` is what fits into memory."""

    def __init__(
        self,
        own: UserModel,
        methods: Mapping[str, Explainer],
        sample: list[Tensor],
        size: int,
        bar: Any,
    ) -> None:
        self.own, self.methods, self.size, self.bar = own, methods, size, bar
        self.names = [*methods, *report_null_maps()]
        self.sample = sample  # for the untrained network; none if there can be none
        self.where = next(own.model.parameters(), torch.zeros(()))

    @cached_property
    def blank(self) -> nn.Module:
        """The network with random weights in every layer."""
        return reinitialised(self.own.model, torch.stack(self.sample).to(self.where))

    def __call__(self, batch: Sequence[tuple[Path, dict[str, Any], Tensor]]) -> None:
        """Explain a batch of (place of the result, entry of the manifest, input)."""
        x = torch.stack([one for _, _, one in batch]).to(self.where)
        logits = self.batches("the network", self.answer, x)
        targets = logits.argmax(1)
        every = {**self.methods, **report_null_maps()}
        maps = torch.stack(
            [self.maps(self.own.model, n, m, x, targets) for n, m in every.items()], 1
        )
        random = torch.full((len(x), len(every), TILES**2), torch.nan)
        if self.sample:
            some = [self.maps(self.blank, n, m, x, targets) for n, m in self.methods.items()]
            random[:, : len(some)] = _tiles(torch.stack(some, 1).abs()).cpu()
            random[(random == 0).all(2)] = torch.nan
        falls = torch.stack([self.falls(x, logits, targets, k, maps) for k in range(len(every))], 1)
        scales = maps.abs().amax((2, 3))
        low, high = (
            end(x.flatten(1), 1).values.view(-1, 1, 1, 1) for end in (torch.min, torch.max)
        )
        tensors = {
            "logits": logits,
            "seen": (255 * (x - low) / (high - low).clamp_min(1e-30)).round().to(torch.uint8),
            "maps": (maps / scales.clamp_min(1e-30)[..., None, None]).half(),
            "scales": scales,
            "tiles": _tiles(maps.abs()),
            "random": random,
            "falls": falls,
        }
        for n, (place, entry, _) in enumerate(batch):
            write_state(place, {name: rows[n] for name, rows in tensors.items()}, {})
            entry["result"] = place.name

    def batches(self, what: str, run: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """Run in batches, remember what fitted, and say what did not."""
        self.bar.set_postfix_str(what)
        try:
            found, self.size = in_batches(run, *rows, batch_size=self.size)
        except MemoryError as error:
            raise MemoryError(f"memory: {what} {TOO_MUCH}") from error
        return found

    @torch.no_grad()
    def answer(self, images: Tensor) -> Tensor:
        """Ask for logits."""
        logits: Tensor = self.own.model(images.clone())
        return logits

    def maps(
        self, model: nn.Module, name: str, method: Explainer, x: Tensor, targets: Tensor
    ) -> Tensor:
        """Make one method's maps, channels added up: (N, H, W); of zeros where it refuses."""

        def explain(some: Tensor, classes: Tensor) -> Tensor:
            try:
                fitted = _with_batch(method, self.size)
                return relevance_maps(model, fitted, some, classes).sum(1)
            except ValueError:
                if len(some) == 1:
                    return torch.zeros_like(some[:, 0])
                one_by_one = [explain(x[None], c[None]) for x, c in zip(some, classes, strict=True)]
                return torch.cat(one_by_one)
            except (MemoryError, RuntimeError) as error:
                if is_memory_error(error):  # the copies that a method makes are halved, too
                    self.size = max(self.size // 2, 1)
                raise

        return self.batches(name, explain, x, targets)

    def falls(self, x: Tensor, logits: Tensor, targets: Tensor, k: int, maps: Tensor) -> Tensor:
        """Cover the tiles that map k marks most: how far the logit falls, (N, fills)."""
        map_ = maps[:, k : k + 1]
        tiles = _tiles(map_.abs() if self.names[k] in UNSIGNED else map_)[:, 0]
        top = tiles.topk(COVERED, 1).indices
        grid = torch.zeros_like(tiles).scatter_(1, top, 1.0).view(-1, 1, TILES, TILES)
        covered = F.interpolate(grid, x.shape[2:], mode="nearest") > 0
        found = []
        for fill in FILLS:
            images = torch.where(covered, baseline_images(x, fill), x)
            after = self.batches("covering", self.answer, images)
            found.append((logits - after).gather(1, targets[:, None])[:, 0])
        return torch.stack(found, 1)


def _tiles(maps: Tensor) -> Tensor:
    """Take the means of maps (N, M, H, W) in TILES × TILES tiles: (N, M, TILES²)."""
    return F.adaptive_avg_pool2d(maps, TILES).flatten(2)


def _with_batch(method: Explainer, size: int) -> Explainer:
    """Let a method that makes copies of images send at most `size` through the network at once."""
    if isinstance(method, partial) and "batch_size" in method.keywords:
        return partial(method, batch_size=size)
    return method


def _read(
    own: UserModel, missing: Sequence[tuple[Path, Path, dict[str, Any]]], batch_size: int, bar: Any
) -> Iterator[list[tuple[Path, dict[str, Any], Tensor]]]:
    """Yield batches of inputs of one size; note in its entry what is wrong with an image."""
    batch: list[tuple[Path, dict[str, Any], Tensor]] = []
    for path, place, entry in missing:
        try:
            one = _input(own, path)
        except ValueError as error:
            entry["problem"] = str(error).replace(str(path), entry["file"])
            bar.update()
            continue
        if batch and (len(batch) == batch_size or batch[0][2].shape != one.shape):
            yield batch
            batch = []
        batch.append((place, entry, one))
    if batch:
        yield batch


def _input(own: UserModel, path: Path) -> Tensor:
    """Read one image file as the network's input. Raises ValueError that names the file."""
    picture = read_image(path)
    try:
        one = own.transform(picture)
    except Exception as error:  # a stranger's transform may raise anything
        raise ValueError(
            f"{path}, of {picture.width} × {picture.height} pixels, does not go through the "
            f"transform ({type(error).__name__}: {error})"
        ) from error
    return one


# ---- the network itself --------------------------------------------------------------------------


def _first(own: UserModel, files: Sequence[Path]) -> dict[Path, Tensor]:
    """Return the inputs of the first few images that can be used and give inputs of one size."""
    found: dict[Path, Tensor] = {}
    for path in files:
        try:
            one = _input(own, path)
        except ValueError as error:
            problem = str(error)
            continue
        if all(one.shape == other.shape for other in found.values()):
            found[path] = one
        if len(found) == FEW:
            break
    if not found:
        raise ValueError(f"images: none of the {len(files)} can be used; for example, {problem}")
    return found


def _checks(
    own: UserModel, files: Sequence[Path], methods: Mapping[str, Explainer], place: Path
) -> dict[str, Any]:
    """Check the network on some images, or read what was found before."""
    if place.exists():
        return dict(json.loads(place.read_text("utf-8")))
    pictures = [read_image(path) for path in files]
    labels = [own.classes.index(p.parent.name) if _truth(own, p) else None for p in files]
    while True:
        known = None if None in labels else [label for label in labels if label is not None]
        try:
            _write(place, check_network(own, pictures, methods, known))
            return dict(json.loads(place.read_text("utf-8")))
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error):
                raise
            if len(pictures) == 1:
                raise MemoryError(f"memory: checking the network {TOO_MUCH}") from error
        half = len(pictures) // 2
        pictures, labels = pictures[:half], labels[:half]


def _truth(own: UserModel, path: Path) -> str | None:
    """Return the class that an image's folder is named after, if there is one."""
    return path.parent.name if path.parent.name in own.classes else None


# ---- files ---------------------------------------------------------------------------------------


def _save(collected: Collected, out: Path, sizes: list[int]) -> None:
    """Write the manifest: what was asked for, and what has become of each image so far."""
    manifest = {**collected._asdict(), "folder": str(collected.folder.relative_to(out))}
    manifest["images in a pass, at first and at the end"] = sizes
    _write(out / "manifest.json", manifest)


def _write(place: Path, content: Any) -> None:
    atomic_write(place, (json.dumps(content, indent=1) + "\n").encode())
