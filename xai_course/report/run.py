"""The report's work: a folder of images explained and checked, image by image, and resumable.

    <out>/manifest.json                         what was asked for, the state of each image
    <out>/results/<recipe>/<image>.safetensors  the maps of one image, and what was measured
    <out>/results/<recipe>/checks.json          what was checked of the network itself

A result's name is the SHA-256 of the image, and its folder's name that of the recipe (network,
transform, methods with their options, versions). So an interrupted run is resumed, an image that is
added later is all that is computed, and another network never finds the results of this one.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
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
from xai_course.core.progress import bar_class
from xai_course.core.translation import message, translate
from xai_course.data.image_files import printable, read_image
from xai_course.methods import METHODS, choose_methods, report_methods, report_null_maps
from xai_course.report.checks import CHECKED_ON, check_network
from xai_course.report.cost import (
    Copies,
    duration_words,
    expected_passes,
    expected_seconds,
    pass_seconds,
    quick_copy,
)
from xai_course.report.labels import class_of_folder, read_labels
from xai_course.report.memory import images_in_a_pass, in_batches, is_memory_error
from xai_course.report.network import UserModel, image_files, load_model, one_line
from xai_course.report.reading import first_pictures, read_input
from xai_course.report.words import counted, without_arguments
from xai_course.storage.atomic_files import atomic_write, read_state, write_state

__all__ = ["Collected", "Result", "collect", "open_results", "run_report"]


FORMAT = "xai_course report 6"  # counted up when the files on disk change
TILES = 8  # maps are compared in 8 × 8 tiles
COVERED = 6  # of the 64: about a tenth of the image
FILLS = ("mean", "blur")
TRANSFORM_ON = 24  # images that the transform is checked on
WITHOUT_GRADIENT = 4  # times as many images in a pass that keeps nothing for a way back
NOT_THROUGH = message("{file}, an input of {shape}, does not go through the network ({error})")
TOO_MUCH = (
    "needs more than there is, even for one image in a pass; it takes smaller images, a machine "
    "with more memory, or other methods."
)


class Result(NamedTuple):
    """What was measured on one image, for M maps: the methods first, then the null maps.

    Attributes:
        file: its name in the folder.
        sha256: of its bytes.
        truth: the answer that its folder is named after, if there is one.
        logits: (classes,).
        probabilities: of each answer.
        image: what the network got (C, H, W), stretched to [0, 1].
        maps: (M, H, W), each divided by its largest size.
        scales: those sizes (M,).
        tiles: the mean size of relevance in each tile (M, 64).
        random_tiles: the same with random weights (M, 64); NaN for the null maps, and where there
            is no map.
        marked: the tiles that each map marks most, (M, 64), 1 or 0: those that are covered.
        logit_drops: how far the logit drops when the tenth that a map marks most is covered with
            each of `FILLS`, (M, fills).
    """

    file: str
    sha256: str
    truth: str | None
    logits: Tensor
    probabilities: Tensor
    image: Tensor
    maps: Tensor
    scales: Tensor
    tiles: Tensor
    random_tiles: Tensor
    marked: Tensor
    logit_drops: Tensor


class Collected(NamedTuple):
    """A finished folder.

    Attributes:
        recipe: what the results depend on, besides the images.
        names: of the maps, in the order of every result's maps.
        checks: what was checked of the network.
        images: one dict for each file: "file", "sha256", "result" or "problem", and "truth".
        passed_over: sentences about files that are no images.
        folder: of the results.
    """

    recipe: dict[str, Any]
    names: list[str]
    checks: dict[str, Any]
    images: list[dict[str, Any]]
    passed_over: list[str]
    folder: Path


class _Missing(NamedTuple):
    """An image without a result: its file, that of its result, the entries of its copies."""

    path: Path
    target: Path
    entries: list[dict[str, Any]]


class _Input(NamedTuple):
    """An image that was read: the file of its result, its entries, its input (C, H, W)."""

    target: Path
    entries: list[dict[str, Any]]
    image: Tensor


def run_report(
    model: str, images: str, out: str, labels: str = "", methods: str = "", progress: bool = True
) -> tuple[UserModel, Collected]:
    """Load a network and `collect` a folder, both named by texts as on the command line.

    Args:
        model: see `load_model`.
        images: the folder of images.
        out: the folder for the results.
        labels: a file of class names, one a line, or "".
        methods: names of `report_methods` with commas between them, or "" for all.
        progress: show a bar.

    Returns:
        user_model: the network with its transform and classes.
        collected: the results.

    Raises:
        ValueError: as `load_model`, `choose_methods` and `collect`.
        ConnectionError: as `load_model`.
        MemoryError: as `collect`.
    """
    files, _ = image_files(images)  # before the network is loaded, which may take its time
    names = read_labels(labels) if labels else None
    try:
        user_model = load_model(model, labels=names, pictures=first_pictures(files))
    except ValueError as error:  # whose words are for those who call load_model
        raise ValueError(_for_reader(str(error))) from error
    user_model.model.to("cuda" if torch.cuda.is_available() else "cpu")
    chosen = None
    if methods:
        wanted = [name.strip() for name in methods.split(",")]
        chosen = choose_methods(wanted, user_model.about["input"][1:])
    return user_model, collect(user_model, images, out, methods=chosen, progress=progress)


def _for_reader(message: str) -> str:
    """Write an error of loading for whoever gave its text: without arguments they do not have."""
    words = without_arguments(message)
    if "model=" in message:
        words += " A function that builds a network and loads its weights is FILE.py:FUNCTION."
    return re.sub(r"^(source|name|path):", "model:", words)


def collect(
    user_model: UserModel,
    images: str | Path,
    out: str | Path,
    *,
    methods: Mapping[str, Explainer] | None = None,
    batch_size: int = 4,
    progress: bool = True,
) -> Collected:
    """Explain and check every image of a folder; results on file are not computed again.

    An image that cannot be read is noted, and the others are explained.

    Args:
        user_model: the network with its transform and classes.
        images: the folder of images.
        out: the folder for the results.
        methods: explainers by name; None for `report_methods`. Those that refuse this network are
            left out, with their reasons in `checks["refused"]`.
        batch_size: images and copies in one pass, up to four times as many in one without a
            gradient (see `images_in_a_pass`); halved when memory does not suffice.
        progress: show a bar, and write the expected time to stderr before the images are
            explained.

    Returns:
        The results.

    Raises:
        ValueError: if the folder has no image that can be read, or no method applies.
        MemoryError: naming the method, if even one image in a pass is too much.
    """
    files, passed_over = image_files(images)
    out = Path(out).expanduser()
    wanted = dict(report_methods(user_model.about["input"][1:]) if methods is None else methods)
    recipe = _recipe(user_model, wanted)
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    folder = out / "results" / key
    folder.mkdir(parents=True, exist_ok=True)
    entries = _entries(user_model, files, Path(images).expanduser())
    bar = bar_class()(total=len(files), disable=not progress)
    bar.set_postfix_str(translate("checking the network"))
    sample, copies = _Sample(user_model, files, entries, folder), Copies(user_model.model)
    checks = sample.checks(wanted, copies)
    missing = _missing(files, entries, folder, anew=not sample.is_on_file)
    bar.update(len(files) - sum(len(one.entries) for one in missing))
    applicable = {name: wanted[name] for name in checks["methods"]}
    runner = _BatchRunner(user_model, copies, applicable, checks, sample.inputs(), batch_size, bar)
    if missing and progress:
        bar.write(runner.expectation(len(missing)), file=sys.stderr)
    collected = Collected(recipe, runner.names, checks, entries, passed_over, folder)
    for batch in _read_batches(user_model, missing, batch_size, bar):
        runner.run(batch)
        bar.update(sum(len(one.entries) for one in batch))
        _save(collected, out, [batch_size, runner.batch_size])
    bar.close()
    _save(collected, out, [batch_size, runner.batch_size])
    return collected


def open_results(collected: Collected) -> Iterator[Result]:
    """Yield the results of a folder, image by image, each read when its turn comes.

    Args:
        collected: from `collect`.

    Yields:
        The results.
    """
    for entry in collected.images:
        if "result" in entry:
            tensors, _ = read_state(collected.folder / entry["result"])
            values = {name: tensor.float() for name, tensor in tensors.items()}
            values["image"] = values["image"] / 255
            yield Result(entry["file"], entry["sha256"], entry.get("truth"), **values)


def _recipe(user_model: UserModel, methods: Mapping[str, Explainer]) -> dict[str, Any]:
    """Return what the results depend on, besides the images."""
    return {
        "format": FORMAT,
        "network": user_model.about,
        "methods": {
            name: describe_callable(method, leave_out=["batch_size"])
            for name, method in methods.items()
        },
        "tiles, covered, fills": [TILES, COVERED, *FILLS],
        "versions": {
            "course": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version(name) for name in ("torchvision", "numpy", "pillow")},
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "device": next(user_model.model.parameters(), torch.zeros(())).device.type,
        },
    }


def _entries(user_model: UserModel, files: Sequence[Path], root: Path) -> list[dict[str, Any]]:
    """Return an entry of the manifest for each image."""
    entries = []
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = {"file": printable(path.relative_to(root).as_posix()), "sha256": digest}
        truth = class_of_folder(path.parent.name, user_model.classes)
        if truth is not None:
            entry["truth"] = user_model.classes[truth]
        entries.append(entry)
    return entries


def _missing(
    files: Sequence[Path], entries: Sequence[dict[str, Any]], folder: Path, *, anew: bool
) -> list[_Missing]:
    """List the images without a result, copies once; name its file in the entries of the others."""
    missing: dict[str, _Missing] = {}
    for path, entry in zip(files, entries, strict=True):
        digest = entry["sha256"]
        target = folder / f"{digest[:16]}.safetensors"
        if digest in missing:
            missing[digest].entries.append(entry)
            continue
        try:
            if anew:
                raise ValueError("made with another sample")
            read_state(target)  # is it there, and not damaged?
            entry["result"] = target.name
        except ValueError:
            missing[digest] = _Missing(path, target, [entry])
    return list(missing.values())


# ---- one batch -----------------------------------------------------------------------------------


class _BatchRunner:
    """Explain batches of images and write their results.

    `batch_size` and `forward_size`, of passes with and without a gradient, are halved when memory
    does not suffice, and stay so for the next batch.
    """

    def __init__(
        self,
        user_model: UserModel,
        copies: Copies,
        methods: Mapping[str, Explainer],
        checks: Mapping[str, Any],
        sample: Tensor,
        batch_size: int,
        bar: Any,
    ) -> None:
        self.copies, self.methods, self.checks = copies, methods, checks
        self.probabilities = user_model.probabilities
        self.every = {**methods, **report_null_maps()}
        self.names = list(self.every)
        self.batch_size = batch_size
        self.bar = bar
        self.like = next(user_model.model.parameters(), torch.zeros(()))
        self.sample = sample.to(self.like)  # (S, C, H, W)

    @cached_property
    def forward_size(self) -> int:
        """The number of images in a pass without a gradient."""
        most = WITHOUT_GRADIENT * self.batch_size
        return images_in_a_pass(self.model, self.sample[:1], most, least=self.batch_size)

    @cached_property
    def model(self) -> nn.Module:
        """The network, or a copy of it that gives the same maps in less time."""
        return self.copies.quick(self.sample)

    @cached_property
    def untrained_model(self) -> nn.Module:
        """The network with random weights in every layer."""
        return quick_copy(self.copies.untrained(self.sample), self.sample)

    def expectation(self, images: int) -> str:
        """Say how many passes some images take, and how long, by a pass that is measured now."""
        work = (self.checks, len(self.every) - len(self.methods), len(FILLS), images)
        forward, backward = expected_passes(*work)
        now = pass_seconds(self.model, self.sample[: self.batch_size])
        return translate(
            "Expected: about {time} for {images} ({forward:,} passes forward, {backward:,} back).",
            time=duration_words(expected_seconds(*work, now)),
            images=counted(images, "image"),
            forward=forward,
            backward=backward,
        )

    def run(self, batch: Sequence[_Input]) -> None:
        """Explain a batch, and write a file for each image, or what is wrong with it."""
        x = torch.stack([one.image for one in batch]).to(self.like)
        try:
            logits = self.in_batches(translate("the network"), self.logits, x, gradient=False)
        except MemoryError:
            raise
        except Exception as error:  # it may take inputs of one size alone
            for entry in (entry for one in batch for entry in one.entries):
                entry["problem"] = NOT_THROUGH.format(
                    file=entry["file"],
                    shape=tuple(x.shape[1:]),
                    error=f"{type(error).__name__}: {one_line(error)}",
                )
            return
        tensors = self.measure(x, logits)
        for n, (target, entries, _) in enumerate(batch):
            write_state(target, {name: rows[n] for name, rows in tensors.items()}, {})
            for entry in entries:
                entry["result"] = target.name

    def measure(self, x: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Return the tensors of `Result` for images (N, C, H, W) and their logits, by name."""
        targets = logits.argmax(1)
        maps = torch.stack(
            [self.maps(self.model, n, m, x, targets) for n, m in self.every.items()], 1
        )  # (N, M, H, W)
        scales = maps.abs().amax((2, 3))
        marked = torch.stack(
            [self.marked(maps[:, k], name) for k, name in enumerate(self.names)], 1
        )
        return {
            "logits": logits,
            "probabilities": self.probabilities(logits),
            "image": _stretched(x),
            "maps": (maps / scales.clamp_min(1e-30)[..., None, None]).half(),
            "scales": scales,
            "tiles": _tiles(maps.abs()),
            "random_tiles": self.random_tiles(x, targets),
            "marked": marked.to(torch.uint8),
            "logit_drops": self.logit_drops(x, logits, targets, marked),
        }

    def in_batches(
        self, label: str, run: Callable[..., Tensor], *rows: Tensor, gradient: bool
    ) -> Tensor:
        """Run in batches, remember the size that sufficed, and name what did not fit."""
        self.bar.set_postfix_str(label)
        size = self.batch_size if gradient else self.forward_size
        try:
            results, size = in_batches(run, *rows, batch_size=size)
        except MemoryError as error:
            raise MemoryError(f"memory: {label} {TOO_MUCH}") from error
        self.remember(size, gradient)
        return results

    def remember(self, size: int, gradient: bool) -> None:
        """Keep the number of images that sufficed, or is to be tried next."""
        if gradient:
            self.batch_size = min(self.batch_size, size)
        else:
            self.forward_size = min(self.forward_size, size)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Run the network."""
        logits: Tensor = self.model(images.clone())
        return logits

    def maps(
        self, model: nn.Module, name: str, method: Explainer, x: Tensor, targets: Tensor
    ) -> Tensor:
        """Return one method's maps, summed over channels (N, H, W); zeros where it refuses."""
        gradient = name in self.methods and self.checks["cost"][name][1] > 0

        def run(images: Tensor, classes: Tensor) -> Tensor:
            try:
                fitted = _with_batch_size(
                    method, self.batch_size if gradient else self.forward_size
                )
                return relevance_maps(model, fitted, images, classes).sum(1)
            except ValueError:
                if len(images) == 1:
                    return torch.zeros_like(images[:, 0])
                # It may refuse one image of several.
                pairs = zip(images, classes, strict=True)
                return torch.cat([run(image[None], target[None]) for image, target in pairs])
            except (MemoryError, RuntimeError) as error:
                if is_memory_error(error):  # the copies that a method makes are halved, too
                    size = self.batch_size if gradient else self.forward_size
                    self.remember(max(size // 2, 1), gradient)
                raise

        return self.in_batches(name, run, x, targets, gradient=gradient)

    def random_tiles(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the tiles of the methods' maps with random weights, (N, M, 64)."""
        tiles = torch.full((len(x), len(self.every), TILES**2), torch.nan)
        if not self.checks["random"]:
            maps = [
                self.maps(self.untrained_model, n, m, x, targets) for n, m in self.methods.items()
            ]
            tiles[:, : len(maps)] = _tiles(torch.stack(maps, 1).abs()).cpu()
            tiles[(tiles == 0).all(2)] = torch.nan  # an empty map has no order
        return tiles

    def logit_drops(self, x: Tensor, logits: Tensor, targets: Tensor, marked: Tensor) -> Tensor:
        """Cover the tiles that each map marks (N, M, 64): how far the logit drops, (N, M, fills).

        An empty map marks nothing, so nothing is covered, and the drop is 0. What several maps of
        an image mark in common is covered once.
        """
        image = torch.arange(len(x), device=x.device)[:, None].expand(marked.shape[:2])
        pairs = torch.cat([image.flatten()[:, None], marked.flatten(0, 1)], 1)  # (N · M, 1 + 64)
        different, index = torch.unique(pairs, dim=0, return_inverse=True)
        rows, tiles = different[:, 0], different[:, 1:].view(-1, 1, TILES, TILES)
        drops = []
        for fill in FILLS:
            filling = baseline_images(x, fill)

            def after(rows: Tensor, tiles: Tensor, filling: Tensor = filling) -> Tensor:
                covered = F.interpolate(tiles.to(x.dtype), x.shape[2:], mode="nearest") > 0
                return self.logits(torch.where(covered, filling[rows], x[rows]))

            found = self.in_batches(translate("covering"), after, rows, tiles, gradient=False)
            drop = (logits[rows] - found).gather(1, targets[rows, None])[:, 0]
            drops.append(drop * tiles.flatten(1).any(1))
        return torch.stack(drops, 1)[index].view(*marked.shape[:2], len(FILLS))

    def marked(self, maps: Tensor, name: str) -> Tensor:
        """Return which tiles the maps (N, H, W) of a method mark most, (N, 64), 1 or 0."""
        method = METHODS.get(name)
        if method is not None and method.readout == "size":
            maps = maps.abs()
        tiles = _tiles(maps[:, None])[:, 0]  # (N, 64)
        top = torch.zeros_like(tiles, dtype=torch.long).scatter_(
            1, tiles.topk(COVERED, 1).indices, 1
        )
        return top * maps.flatten(1).any(1, keepdim=True)


def _tiles(maps: Tensor) -> Tensor:
    """Take the means of maps (N, M, H, W) in TILES × TILES tiles: (N, M, TILES²)."""
    return F.adaptive_avg_pool2d(maps, TILES).flatten(2)


def _stretched(x: Tensor) -> Tensor:
    """Stretch each image (C, H, W) to whole numbers from 0 to 255."""
    flat = x.flatten(1)
    low = flat.min(1).values.view(-1, 1, 1, 1)
    high = flat.max(1).values.view(-1, 1, 1, 1)
    return (255 * (x - low) / (high - low).clamp_min(1e-30)).round().to(torch.uint8)


def _with_batch_size(method: Explainer, batch_size: int) -> Explainer:
    """Let a method that makes copies of images run at most `batch_size` of them at once."""
    if isinstance(method, partial) and "batch_size" in method.keywords:
        return partial(method, batch_size=batch_size)
    return method


# ---- reading images ------------------------------------------------------------------------------


def _read_batches(
    user_model: UserModel, missing: Sequence[_Missing], batch_size: int, bar: Any
) -> Iterator[list[_Input]]:
    """Yield batches of inputs of one size; note in its entry what is wrong with an image."""
    batch: list[_Input] = []
    for path, target, entries in missing:
        try:
            image = read_input(user_model.transform, path)
        except ValueError as error:
            for entry in entries:
                entry["problem"] = str(error).replace(str(path), entry["file"])
            bar.update(len(entries))
            continue
        if batch and (len(batch) == batch_size or batch[0].image.shape != image.shape):
            yield batch
            batch = []
        batch.append(_Input(target, entries, image))
    if batch:
        yield batch


# ---- the network itself --------------------------------------------------------------------------


class _Sample:
    """The images that the network is checked on, and what of them is on file.

    They are those with the smallest hashes, so that neither names nor copies of files decide. They
    stay the same when images are added: the network with random weights is made with them, and its
    maps of all images must be of one network.
    """

    def __init__(
        self,
        user_model: UserModel,
        files: Sequence[Path],
        entries: Sequence[dict[str, Any]],
        folder: Path,
    ) -> None:
        self.user_model = user_model
        self.files = {entry["sha256"]: path for path, entry in zip(files, entries, strict=True)}
        self.labels = {entry["sha256"]: _label(user_model, entry) for entry in entries}
        self.checks_file, self.inputs_file = folder / "checks.json", folder / "sample.safetensors"
        self.is_on_file = _is_readable(self.inputs_file)

    @cached_property
    def read(self) -> dict[str, Tensor]:
        """The inputs of the first images that can be used and have one size, by their hashes."""
        tried = torch.Size(self.user_model.about["input"])  # the network has taken this size
        inputs: dict[str, Tensor] = {}
        others: dict[str, Tensor] = {}  # of another size, where no image has that one
        problem = ""
        for digest in sorted(self.files):
            try:
                image = read_input(self.user_model.transform, self.files[digest])
            except ValueError as error:
                problem = str(error)
                continue
            if image.shape == tried:
                inputs[digest] = image
            elif all(image.shape == other.shape for other in others.values()):
                others[digest] = image
            if TRANSFORM_ON in (len(inputs), 0 if inputs else len(others)):
                break
        if not inputs and not others:
            raise ValueError(
                f"images: none of the {len(self.files)} can be used; for example, {problem}"
            )
        return inputs or others

    def inputs(self) -> Tensor:
        """Return the inputs (S, C, H, W) for the network with random weights."""
        if not self.is_on_file:
            inputs = torch.stack(list(self.read.values())[:CHECKED_ON])
            write_state(self.inputs_file, {"inputs": inputs}, {})
        tensors, _ = read_state(self.inputs_file)
        return tensors["inputs"]

    def checks(self, methods: Mapping[str, Explainer], copies: Copies) -> dict[str, Any]:
        """Check the network, or read the checks on file if the images' labels are the same."""
        if self.is_on_file and self.checks_file.exists():
            checks = dict(json.loads(self.checks_file.read_text("utf-8")))
            known = checks["labels"].items()
            if all(self.labels.get(digest, label) == label for digest, label in known):
                return checks
        digests = list(self.read)
        while True:
            try:
                checks = self._check(digests, methods, copies)
                _write_json(self.checks_file, checks)
                return dict(json.loads(self.checks_file.read_text("utf-8")))
            except (MemoryError, RuntimeError) as error:
                if not is_memory_error(error):
                    raise
                if len(digests) == 1:
                    raise MemoryError(f"memory: checking the network {TOO_MUCH}") from error
            digests = digests[: len(digests) // 2]

    def _check(
        self, digests: Sequence[str], methods: Mapping[str, Explainer], copies: Copies
    ) -> dict[str, Any]:
        """Check the network on some of the images."""
        pictures = [read_image(self.files[digest]) for digest in digests]
        labels = [self.labels[digest] for digest in digests]
        checks = check_network(self.user_model, pictures, methods, labels, copies)
        return {**checks, "labels": dict(zip(digests, labels, strict=True))}


def _is_readable(path: Path) -> bool:
    """Say whether a file of tensors is there and whole."""
    try:
        read_state(path)
    except ValueError:
        return False
    return True


def _label(user_model: UserModel, entry: Mapping[str, Any]) -> int | None:
    """Return the index of the answer that an image's folder is named after, if there is one."""
    return user_model.classes.index(entry["truth"]) if "truth" in entry else None


# ---- files ---------------------------------------------------------------------------------------


def _save(collected: Collected, out: Path, batch_sizes: list[int]) -> None:
    """Write the manifest: what was asked for, and the state of each image so far."""
    manifest = {**collected._asdict(), "folder": str(collected.folder.relative_to(out))}
    manifest["images in a pass, at first and at the end"] = batch_sizes
    _write_json(out / "manifest.json", manifest)


def _write_json(path: Path, content: Any) -> None:
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())
