"""The table of scores: every method scored by every measure, on scenes with ground truth.

`grade` keeps its results in two files that any program can open: a table (CSV, one row for a method
and a scene, one column for a measure), and beside it a note of what it was made from (JSON). An
interrupted run is resumed; a table of another network or of other scenes is refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.beetlebox import ground_truth, scores
from xai_course.beetlebox.scene import Scene
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.checks import check_choice
from xai_course.core.describe import describe_callable
from xai_course.core.inputs import validate_inputs
from xai_course.core.locks import locked
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.progress import bar_class
from xai_course.core.translation import translate
from xai_course.data.transforms import normalise
from xai_course.methods import HARD_NULL_MAPS, course_methods, map_unit, with_null_maps
from xai_course.metrics import faithfulness, localisation
from xai_course.metrics.randomisation import layer_order, randomisation
from xai_course.storage.atomic_files import atomic_write

__all__ = ["MEASURES", "EvaluationSet", "ScoreTable", "grade", "ground_truth_agreement"]


ScoreTable: TypeAlias = dict[str, dict[str, Tensor]]
"""table[method][measure] is a tensor (N,), one number for each scene."""


class EvaluationSet:
    """What a measure may use: the model, N scenes, and all that is known of them.

    Attributes:
        model: the network.
        scenes: the N scenes.
        size: height and width of the images in pixels.
        masks: of the parts, (N, parts, size, size).
        images: the network's input, (N, 3, size, size).
        targets: the predicted classes (N,), which all explanations are for.
        beetle: the mask of the whole beetle, (N, 1, size, size).
    """

    def __init__(self, model: nn.Module, scenes: Sequence[Scene], size: int = 64) -> None:
        """Render the scenes, and run the model on them."""
        self.model, self.scenes, self.size = model, list(scenes), size
        self.masks = stack_masks(scenes, size)
        like = next(model.parameters(), self.masks)
        self.images = normalise(stack_images(scenes, size)).to(like)
        with torch.no_grad():
            _, _, self.targets = validate_inputs(model, self.images, batch_size=250)
        self.beetle = ground_truth.silhouette(scenes, size).to(like)

    @cached_property
    def effects(self) -> Tensor:
        """The ground truth: effects of single parts on the logit (N, parts), in logits."""
        return ground_truth.ground_truth_effects(
            self.model, self.scenes, self.targets, size=self.size
        )

    @cached_property
    def margin_effects(self) -> Tensor:
        """Effects of single parts on the margin to the runner-up (N, parts), in logits."""
        return ground_truth.ground_truth_effects(
            self.model, self.scenes, self.targets, margin=True, size=self.size
        )

    @cached_property
    def shapley_effects(self) -> Tensor:
        """Shapley values of the parts (N, parts); the museum label, which no scene has, has 0."""
        values = ground_truth.shapley_effects(self.model, self.scenes, self.targets, size=self.size)
        return torch.nn.functional.pad(values, (0, 1))


# ---- the measures --------------------------------------------------------------------------------

SQUARES = 64  # taken away, one at a time, for "infidelity, squares"

Measure: TypeAlias = Callable[[EvaluationSet, Any, Tensor], Tensor]
"""A measure gets the scenes, the explainer and its relevance; it returns one number a scene (N,).
The explainer is the relevance itself (a tensor) if that was made before."""


def _with_ground_truth(score: Callable[[Tensor, Tensor], Tensor], effects: str) -> Measure:
    """Return a measure that compares the relevance of the parts with a ground truth."""

    def measure(data: EvaluationSet, _explainer: Any, maps: Tensor) -> Tensor:
        return score(scores.part_relevance(maps, data.masks), getattr(data, effects))

    return measure


def _on_beetle(score: Callable[..., Tensor]) -> Measure:
    """Return a measure of how much of a map lies on the beetle."""

    def measure(data: EvaluationSet, _explainer: Any, maps: Tensor) -> Tensor:
        return score(data.model, maps, data.images, data.beetle)

    return measure


def _curve(curve: Callable[..., Tensor], fill: str) -> Measure:
    """Return the area under a deletion or insertion curve as a measure."""

    def measure(data: EvaluationSet, _explainer: Any, maps: Tensor) -> Tensor:
        return curve(data.model, maps, data.images, data.targets, fill=fill, steps=8)

    return measure


def _infidelity(data: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    """Score how well a slope predicts the effect of small noise; NaN for a sum."""
    if map_unit(explainer) == "sum":
        return torch.full((len(maps),), torch.nan)
    return faithfulness.infidelity(
        data.model, maps, data.images, data.targets, noise=0.1, samples=16, scaled=True
    )


def _infidelity_squares(data: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    """Score how well a map predicts what taking squares away does, read by its unit.

    A map that is no method of the course, such as a null map, is read as a sum.
    """
    unit = map_unit(explainer) or "sum"
    return faithfulness.infidelity(
        data.model,
        maps,
        data.images,
        data.targets,
        unit=unit,
        perturbation="squares",
        samples=SQUARES,
        scaled=True,
    )


def _sensitivity(data: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    """Score how much the map changes under small noise; NaN for relevance made before."""
    if isinstance(explainer, Tensor):
        return torch.full((len(maps),), torch.nan)
    return faithfulness.sensitivity_max(data.model, explainer, data.images, data.targets, samples=3)


def _sensitivity_sums(data: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    """Score the same of maps in logits: slopes are multiplied by the input first."""
    if isinstance(explainer, Tensor):
        return torch.full((len(maps),), torch.nan)
    unit = map_unit(explainer) or "sum"
    return faithfulness.sensitivity_max(
        data.model, explainer, data.images, data.targets, unit=unit, samples=3
    )


def _randomisation(data: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    """Score how alike the map of a random network is; NaN for relevance made before."""
    if isinstance(explainer, Tensor):
        return torch.full((len(maps),), torch.nan)
    # The first layer is the last to be randomised, so all layers are random then.
    layers = [layer_order(data.model)[-1]]
    return randomisation(data.model, explainer, data.images, data.targets, layers=layers)[:, 0]


MEASURES: dict[str, Measure] = {
    # with the ground truth: higher is better
    "rank": _with_ground_truth(scores.spearman_with_truth, "effects"),
    "rank, margin": _with_ground_truth(scores.spearman_with_truth, "margin_effects"),
    "rank, Shapley": _with_ground_truth(scores.spearman_with_truth, "shapley_effects"),
    "top part": _with_ground_truth(scores.top1_agreement, "effects"),
    "sign": _with_ground_truth(scores.sign_agreement, "effects"),
    "magnitude": _with_ground_truth(scores.magnitude_agreement, "effects"),
    # without it: higher is better, except for deletion, infidelity, sensitivity and randomisation
    "pointing": _on_beetle(localisation.pointing_game),
    "mass": _on_beetle(localisation.relevance_mass),
    "deletion, mean": _curve(faithfulness.deletion, "mean"),
    "deletion, blur": _curve(faithfulness.deletion, "blur"),
    "deletion, noise": _curve(faithfulness.deletion, "noise"),
    "insertion, mean": _curve(faithfulness.insertion, "mean"),
    "insertion, blur": _curve(faithfulness.insertion, "blur"),
    "insertion, noise": _curve(faithfulness.insertion, "noise"),
    "infidelity": _infidelity,
    "infidelity, squares": _infidelity_squares,
    "sensitivity": _sensitivity,
    "sensitivity, sums": _sensitivity_sums,
    "randomisation": _randomisation,
}


# ---- scoring -------------------------------------------------------------------------------------


def grade(
    model: nn.Module,
    methods: Mapping[str, Explainer | Tensor],
    scenes: Sequence[Scene],
    *,
    measures: Mapping[str, Measure] | None = None,
    file: str | Path | None = None,
    size: int = 64,
    progress: bool = True,
) -> ScoreTable:
    """Score every method by every measure, for the classes that the model predicts.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        methods: by name, explainers `(model, images, targets) -> relevance`, or the relevance of
            these scenes.
        scenes: the N scenes.
        measures: by name; None for `MEASURES`.
        file: a CSV to keep the scores in; what it holds is not computed again. It is saved every
            few seconds and at the end, also when the run is stopped, and replaced as a whole, so it
            is never half-written.
        size: height and width of the images in pixels.
        progress: show a bar of progress, and a line at the end.

    Returns:
        table[method][measure] is a tensor (N,), one number for each scene, rounded to six digits as
        in the file. NaN: the measure does not apply to this method, such as "sensitivity" to
        relevance that was made before.

    Raises:
        ValueError: if an argument is not as described, or if the file was made from another
            network, other scenes, or a method of the same name with other options. The file is left
            as it was.
    """
    if not methods or not scenes:
        raise ValueError("methods, scenes: got none; must be at least one of each.")
    measures = MEASURES if measures is None else measures
    path = None if file is None else Path(file)
    about = {
        "weights": _hash(model.state_dict().values()),
        "scenes": _hash_scenes(scenes),
        "size": size,
        "methods": {name: describe_callable(method) for name, method in methods.items()},
    }
    table = {} if path is None else _load(path, about, scenes)
    missing = {
        method: [measure for measure in measures if measure not in table.get(method, {})]
        for method in methods
    }
    missing = {method: names for method, names in missing.items() if names}

    def save() -> None:
        if path is not None:
            _save_with_others(path, table, about, scenes)

    if missing:
        try:
            data = EvaluationSet(model, scenes, size)
            _fill(table, data, methods, measures, missing, save, progress)
        finally:  # also when the run is stopped
            save()
    if progress:
        done = sum(len(names) for names in missing.values())
        words = translate(
            "{methods} methods, {measures} measures, {scenes} scenes: {done} of {all} done now, "
            "the others were on file",
            methods=len(methods),
            measures=len(measures),
            scenes=len(scenes),
            done=done,
            all=len(methods) * len(measures),
        )
        print(words)
    return {method: {m: table[method][m] for m in measures} for method in methods}


def _fill(
    table: ScoreTable,
    data: EvaluationSet,
    methods: Mapping[str, Explainer | Tensor],
    measures: Mapping[str, Measure],
    missing: Mapping[str, Sequence[str]],
    save: Callable[[], None],
    progress: bool,
) -> None:
    """Compute the missing scores, and save the table every five seconds."""
    total = sum(len(names) for names in missing.values())
    saved = time.monotonic()
    with bar_class()(total=total, disable=not progress, leave=False) as bar:
        for method, names in missing.items():
            explainer = methods[method]
            maps = relevance_maps(data.model, explainer, data.images, data.targets)
            for name in names:
                bar.set_description(f"{method}: {name}")
                values = measures[name](data, explainer, maps)
                table.setdefault(method, {})[name] = _rounded(name, values, len(data.scenes))
                bar.update()
                if time.monotonic() - saved > 5:
                    save()
                    saved = time.monotonic()


def _rounded(name: str, values: Tensor, count: int) -> Tensor:
    """Check a measure's values (N,), and round them to six digits."""
    if values.shape != (count,):
        raise ValueError(
            f"measures: got shape {tuple(values.shape)} from {name}; must be ({count},)."
        )
    numbers = [float(f"{value:.6g}") for value in values.tolist()]
    return torch.tensor(numbers, dtype=torch.double)


def ground_truth_agreement(
    model: nn.Module,
    scenes: Sequence[Scene],
    methods: Sequence[str] = ("gradient", "Grad-CAM", "expected gradients", "DeepLIFT", "LRP"),
) -> dict[str, float]:
    """Return how well explanations agree with a network's own ground truth.

        skill = (best method - best null map) / (1 - best null map)

    The agreement of a method is the mean of `spearman_with_truth` over the scenes, drawn with 64
    pixels, for the predicted classes. The skill is 0 if the best method is as good as the best null
    map, and 1 if it is as good as the ground truth itself.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        scenes: the N scenes.
        methods: names from `course_methods`.

    Returns:
        The agreement of each method and each null map, by name, and the "skill".

    Raises:
        ValueError: as `grade` does, and for an unknown method.
    """
    known = course_methods()
    for name in methods:
        check_choice("methods", name, known)
    chosen = {name: known[name] for name in methods}
    every = with_null_maps(model, scenes, {**chosen, **HARD_NULL_MAPS})
    rank = {"rank": MEASURES["rank"]}
    table = grade(model, every, scenes, measures=rank, progress=False)
    means = {name: float(row["rank"].mean()) for name, row in table.items()}
    del means["the key itself"]
    null = max(value for name, value in means.items() if name.startswith("null"))
    return {**means, "skill": (max(means[name] for name in methods) - null) / (1 - null)}


# ---- the two files -------------------------------------------------------------------------------


def _save_with_others(
    path: Path, table: ScoreTable, about: dict[str, Any], scenes: Sequence[Scene]
) -> None:
    """Write the table, with the scores that other processes have written to it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        for method, row in _load(path, about, scenes).items():
            table[method] = table.get(method, {}) | row
        _save(path, table, about, scenes)


def _save(path: Path, table: ScoreTable, about: dict[str, Any], scenes: Sequence[Scene]) -> None:
    """Write the table, and beside it what it was made from."""
    columns = list(dict.fromkeys(measure for row in table.values() for measure in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "species", "seed", *columns])
    for method, row in table.items():
        values = [row[m].tolist() if m in row else [None] * len(scenes) for m in columns]
        for scene, *cells in zip(scenes, *values, strict=True):
            words = ["" if cell is None else f"{cell:.6g}" for cell in cells]
            writer.writerow([method, scene.species, scene.seed, *words])
    note = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    # The note comes first: a table without its note would be refused.
    atomic_write(path.with_suffix(".json"), note.encode())
    atomic_write(path, text.getvalue().encode())


def _load(path: Path, about: dict[str, Any], scenes: Sequence[Scene]) -> ScoreTable:
    """Read what a table holds, and add the descriptions of its methods to `about`."""
    if not path.exists():
        return {}
    try:
        before = json.loads(path.with_suffix(".json").read_text("utf-8"))
        _check_same(before, about)
        with path.open(encoding="utf-8", newline="") as opened:
            table = _read_rows(list(csv.DictReader(opened)), scenes)
        about["methods"] = before["methods"] | about["methods"]
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"file: {path} cannot be resumed: {error}. It must be a new name, or a table of this "
            "network, these scenes and these methods; delete it to compute all of it again."
        ) from error
    return table


def _check_same(before: dict[str, Any], about: dict[str, Any]) -> None:
    """Check that a table's note describes the same network, scenes and methods."""
    for name in ("weights", "scenes", "size"):
        if before[name] != about[name]:
            raise ValueError(f"its {name} are {before[name]}, asked for are {about[name]}")
    for method in before["methods"].keys() & about["methods"].keys():
        was, now = before["methods"][method], about["methods"][method]
        if was != now:
            raise ValueError(f"{method} was {was}, asked for is {now}")


def _read_rows(rows: Sequence[dict[str, str]], scenes: Sequence[Scene]) -> ScoreTable:
    """Return the complete columns of a table's rows."""
    table: ScoreTable = {}
    wanted = [(scene.species, scene.seed) for scene in scenes]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        if [(row["species"], int(row["seed"])) for row in own] != wanted:
            raise ValueError(f"{method} does not have one row for each scene")
        columns = list(own[0])[3:]  # after method, species and seed
        cells = {column: [row[column] for row in own] for column in columns}
        table[method] = {
            column: torch.tensor([float(cell) for cell in values], dtype=torch.double)
            for column, values in cells.items()
            if all(values)
        }
    return table


def _hash_scenes(scenes: Iterable[Scene]) -> str:
    """Return the first 16 digits of the SHA-256 of the scenes' values, in order.

    The names of the fields are left out: a table stays valid when a field is renamed. So are the
    last two where there is no clutter: a table stays valid that is older than clutter.
    """
    values = [astuple(scene) if scene.clutter else astuple(scene)[:-2] for scene in scenes]
    # JSON has no sets: `default` makes a sorted list of the removed parts.
    text = json.dumps(values, default=sorted)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(tensors: Iterable[Tensor]) -> str:
    """Return the first 16 digits of the SHA-256 of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
