"""The big table: every method graded by every measure, on scenes with an answer key.

`grade` keeps what it has done in two files that anyone can open: a table (CSV, one row for a method
and a scene, one column for a measure) and beside it what it was made from (JSON). A run that was
stopped goes on from there, and a table of another network or other scenes is refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.beetlebox import ground_truth, scores
from xai_course.beetlebox.scene import Scene
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.describe import describe_callable
from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.data.transforms import normalise
from xai_course.methods import course_methods, with_nulls
from xai_course.metrics import faithfulness, localisation
from xai_course.metrics.randomisation import layer_order, randomisation
from xai_course.storage.atomic_files import atomic_write

__all__ = ["MEASURES", "EvaluationSet", "ScoreTable", "grade", "ground_truth_agreement"]


ScoreTable: TypeAlias = dict[str, dict[str, Tensor]]
"""Grades[method][measure] is a tensor (N,), one number a scene."""


class EvaluationSet:
    """What a measure may use: the model, scenes and all that is known of them."""

    def __init__(self, model: nn.Module, scenes: Sequence[Scene], size: int = 64) -> None:
        """Render the scenes, and note the predicted classes, which all explanations are for."""
        self.model, self.scenes, self.size = model, list(scenes), size
        self.masks = stack_masks(scenes, size)
        where = next(model.parameters(), self.masks)
        self.images = normalise(stack_images(scenes, size)).to(where)
        with torch.no_grad():
            _, _, self.targets = validate_inputs(model, self.images, batch_size=250)
        self.beetle = ground_truth.silhouette(scenes, size).to(where)

    @cached_property
    def key(self) -> Tensor:
        """The answer key: effects of single parts on the logit."""
        return ground_truth.ground_truth_effects(
            self.model, self.scenes, self.targets, size=self.size
        )

    @cached_property
    def margin_key(self) -> Tensor:
        """Effects of single parts on the margin to the runner-up."""
        return ground_truth.ground_truth_effects(
            self.model, self.scenes, self.targets, margin=True, size=self.size
        )

    @cached_property
    def shapley_key(self) -> Tensor:
        """Shapley values of the parts; the museum label, which no scene wears here, has 0."""
        values = ground_truth.shapley_effects(self.model, self.scenes, self.targets, size=self.size)
        return torch.nn.functional.pad(values, (0, 1))


Measure: TypeAlias = Callable[[EvaluationSet, Any, Tensor], Tensor]
"""A measure gets the material, the explainer and its relevance; it returns one number a scene."""


def _key(score: Callable[[Tensor, Tensor], Tensor], key: str) -> Measure:
    return lambda m, explainer, maps: score(scores.part_relevance(maps, m.masks), getattr(m, key))


def _curve(curve: Callable[..., Tensor], fill: str) -> Measure:
    return lambda m, explainer, maps: curve(m.model, maps, m.images, m.targets, fill=fill, steps=8)


def _sensitivity(m: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    if isinstance(explainer, Tensor):
        return torch.full((len(maps),), torch.nan)
    return faithfulness.sensitivity_max(m.model, explainer, m.images, m.targets, samples=3)


def _randomisation(m: EvaluationSet, explainer: Any, maps: Tensor) -> Tensor:
    if isinstance(explainer, Tensor):
        return torch.full((len(maps),), torch.nan)
    first_layer = layer_order(m.model)[-1]  # the last to be randomised: nothing is left
    return randomisation(m.model, explainer, m.images, m.targets, layers=[first_layer])[:, 0]


MEASURES: dict[str, Measure] = {
    # against the answer key: higher is better
    "rank": _key(scores.spearman_with_truth, "key"),
    "rank, margin": _key(scores.spearman_with_truth, "margin_key"),
    "rank, Shapley": _key(scores.spearman_with_truth, "shapley_key"),
    "top part": _key(scores.top1_agreement, "key"),
    "sign": _key(scores.sign_agreement, "key"),
    "calibration": _key(scores.magnitude_agreement, "key"),
    # without a key: higher is better, but for deletion, infidelity, sensitivity and randomisation
    "pointing": lambda m, e, maps: localisation.pointing_game(m.model, maps, m.images, m.beetle),
    "mass": lambda m, e, maps: localisation.relevance_mass(m.model, maps, m.images, m.beetle),
    "deletion, mean": _curve(faithfulness.deletion, "mean"),
    "deletion, blur": _curve(faithfulness.deletion, "blur"),
    "deletion, noise": _curve(faithfulness.deletion, "noise"),
    "insertion, mean": _curve(faithfulness.insertion, "mean"),
    "insertion, blur": _curve(faithfulness.insertion, "blur"),
    "insertion, noise": _curve(faithfulness.insertion, "noise"),
    "infidelity": lambda m, e, maps: faithfulness.infidelity(
        m.model, maps, m.images, m.targets, noise=0.1, samples=16, scaled=True
    ),
    "sensitivity": _sensitivity,
    "randomisation": _randomisation,
}


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
    """Grade every method by every measure: grades[method][measure] is (N,), one number a scene.

    `methods`, by name: explainers `(model, images, targets) -> relevance`, or the relevance of
    these scenes. `measures`, by name: None for MEASURES. What is explained is the class that the
    model predicts. `file`: a CSV to keep the grades in; what it holds already is not done again.
    It is saved every few seconds and at the end, also when you stop the run, and replaced as a
    whole, so it is never half-written. `progress`: show a bar, and a line at the end.

    Numbers are rounded to six digits, as they stand in the file. NaN: a measure that this method
    cannot be graded by, such as sensitivity for relevance that was made before.

    Raises ValueError for wrong arguments, and if the file was made from another network, other
    scenes, or a method of the same name with other options (it is left as it was).
    """
    from tqdm.auto import tqdm

    if not methods or not scenes:
        raise ValueError("methods, scenes: got none; allowed is at least one of each.")
    measures = MEASURES if measures is None else measures
    path = None if file is None else Path(file)
    about = {
        "weights": _hash(model.state_dict().values()),
        "scenes": hashlib.sha256(repr(list(scenes)).encode()).hexdigest()[:16],
        "size": size,
        "methods": {name: describe_callable(method) for name, method in methods.items()},
    }
    grades = {} if path is None else _load(path, about, scenes)
    missing = [
        (method, [measure for measure in measures if measure not in grades.get(method, {})])
        for method in methods
    ]
    missing = [(method, which) for method, which in missing if which]
    try:
        if missing:
            material = EvaluationSet(model, scenes, size)
        saved = time.monotonic()
        bar = tqdm(total=sum(len(which) for _, which in missing), disable=not progress, leave=False)
        for method, which in missing:
            explainer = methods[method]
            maps = relevance_maps(model, explainer, material.images, material.targets)
            for measure in which:
                bar.set_description(f"{method}: {measure}")
                found = measures[measure](material, explainer, maps)
                if found.shape != (len(scenes),):
                    raise ValueError(
                        f"measures: {measure} gave shape {tuple(found.shape)}; allowed is "
                        f"({len(scenes)},)."
                    )
                numbers = [float(f"{value:.6g}") for value in found.tolist()]
                grades.setdefault(method, {})[measure] = torch.tensor(numbers, dtype=torch.double)
                bar.update()
                if path is not None and time.monotonic() - saved > 5:
                    _save(path, grades, about, scenes)
                    saved = time.monotonic()
        bar.close()
    finally:
        if path is not None and missing:
            _save(path, grades, about, scenes)
    if progress:
        done = sum(len(which) for _, which in missing)
        total = len(methods) * len(measures)
        print(
            f"{len(methods)} methods graded by {len(measures)} measures on {len(scenes)} scenes: "
            f"{done} of {total} done now, the others were on file"
        )
    return {method: {m: grades[method][m] for m in measures} for method in methods}


def ground_truth_agreement(
    model: nn.Module,
    scenes: Sequence[Scene],
    methods: Sequence[str] = ("gradient", "Grad-CAM", "expected gradients", "DeepLIFT", "LRP"),
) -> dict[str, float]:
    """Return how well explanations agree with a network's own answer key: a mean for each method.

    `methods`: names from `course_methods`; the nulls stand beside them, and "skill" is where the
    best method stands between the best null (0) and the key itself (1):

        skill = (best method - best null) / (1 - best null)

    The mean of `spearman_with_truth` over scenes of 64 pixels, for the predicted classes. Raises
    ValueError as `grade` does, and for an unknown method.
    """
    known = course_methods()
    if unknown := [name for name in methods if name not in known]:
        raise ValueError(f"methods: got {unknown}; allowed are {', '.join(known)}.")
    both = with_nulls(model, scenes, {name: known[name] for name in methods})
    some = {"rank": MEASURES["rank"]}
    grades = grade(model, both, scenes, measures=some, progress=False)
    means = {name: float(row["rank"].mean()) for name, row in grades.items()}
    del means["the key itself"]
    null = max(value for name, value in means.items() if name.startswith("null"))
    return {**means, "skill": (max(means[name] for name in methods) - null) / (1 - null)}


# ---- the two files -------------------------------------------------------------------------------


def _save(path: Path, grades: ScoreTable, about: dict[str, Any], scenes: Sequence[Scene]) -> None:
    """Write the table and what it was made from, each whole and then renamed."""
    columns = list(dict.fromkeys(measure for row in grades.values() for measure in row))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["method", "species", "seed", *columns])
    for method, found in grades.items():
        numbers = [found[m].tolist() if m in found else [None] * len(scenes) for m in columns]
        for scene, *row in zip(scenes, *numbers, strict=True):
            cells = ["" if value is None else f"{value:.6g}" for value in row]
            table.writerow([method, scene.species, scene.seed, *cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    note = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    for place, content in ((path.with_suffix(".json"), note), (path, text.getvalue())):
        atomic_write(place, content.encode())


def _load(path: Path, about: dict[str, Any], scenes: Sequence[Scene]) -> ScoreTable:
    """Read what a table holds, and take over the notes on its methods into `about`."""
    if not path.exists():
        return {}
    try:
        before = json.loads(path.with_suffix(".json").read_text("utf-8"))
        with path.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        for name in ("weights", "scenes", "size"):
            if before[name] != about[name]:
                raise ValueError(f"its {name} are {before[name]}, asked for are {about[name]}")
        for method in before["methods"].keys() & about["methods"].keys():
            was, now = before["methods"][method], about["methods"][method]
            if was != now:
                raise ValueError(f"{method} was {was}, asked for is {now}")
        grades: ScoreTable = {}
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if row["method"] == method]
            if [(row["species"], int(row["seed"])) for row in own] != [
                (scene.species, scene.seed) for scene in scenes
            ]:
                raise ValueError(f"{method} does not have one row for each scene")
            columns = list(own[0])[3:]
            cells = {column: [row[column] for row in own] for column in columns}
            grades[method] = {
                column: torch.tensor([float(cell) for cell in values], dtype=torch.double)
                for column, values in cells.items()
                if all(values)
            }
        about["methods"] = before["methods"] | about["methods"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"file: {path} cannot be gone on with: {error}. Allowed is a new name, or a table of "
            "this network, these scenes and these methods; delete it to grade anew."
        ) from error
    return grades


def _hash(tensors: Any) -> str:
    """Return the first digits of the SHA-256 of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
