"""All readings at once: does a verdict on a method survive an analyst's choices?

A *reading* is one way to say how well a map agrees with the truth: which part of the map counts,
what the truth is, over which regions, by which score. For each reading a method is held against the
maps that should not win: those that know no network, and its own maps of an untrained
network, of another class and of another image. The table of all readings is the data of a
specification curve (`plots.specification_curve`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor

from xai_course.beetlebox import scores
from xai_course.beetlebox.scene import SPECIES
from xai_course.core.checks import check_choice
from xai_course.experiments.region_sums import FIELD_GUIDE, REGIONS, VARIANTS, RegionSums
from xai_course.methods import METHODS

__all__ = [
    "CHOICES",
    "NULL_LAYERS",
    "SAME_SPECIES",
    "Reading",
    "choice_shares",
    "deciding_choices",
    "declared_readout",
    "reading_scores",
    "robust_share",
    "specifications",
]

Reading: TypeAlias = dict[str, Any]
"""One method read in one way on one network: the choices, and what came out."""

CHOICES: dict[str, tuple[str, ...]] = {
    "readout": ("signed", "positive", "size"),
    "change": ("removal", "exchange"),
    "key": ("logit", "margin", "Shapley"),
    "wing cases": ("alone", "with pattern"),
    "regions": ("parts", "parts and clutter"),
    "score": ("rank", "top part", "Pearson"),
}
"""An analyst's choices. Shapley values are for removal only, clutter is in the world of clutter
only. By size, relevance is compared with the size of the effects."""

_SCORES = {
    "rank": scores.spearman_with_truth,
    "top part": scores.top1_agreement,
    "Pearson": scores.pearson_with_truth,
}

NULL_LAYERS = ("no network", *VARIANTS[1:])
"""What a method must beat."""

SAME_SPECIES = "same species"
"""A harder layer, which is not in `NULL_LAYERS`: the method's own map of another beetle of the
species. A map that knows the species, and nothing of the single beetle, is level with it."""


def declared_readout(method: str) -> str:
    """Return the readout that the registry declares for a method.

    Args:
        method: a name of `course_methods()`.

    Returns:
        "signed" or "size".

    Example:
        >>> from xai_course.experiments import declared_readout
        >>> declared_readout("gradient"), declared_readout("IG, blur")
        ('size', 'signed')
    """
    name = "Integrated Gradients" if method.startswith("IG, ") else method
    return "size" if METHODS[name].readout == "size" else "signed"


# ---- scores --------------------------------------------------------------------------------------


def reading_scores(relevance: Tensor, effects: Tensor, shown: Tensor, score: str) -> Tensor:
    """Score relevance against the truth, scene by scene, for many maps at once.

    Args:
        relevance: of M maps, (M, N, regions).
        effects: (N, regions).
        shown: whether a scene shows a region, (N, regions); the others are left out.
        score: "rank", "top part" or "Pearson", which are `spearman_with_truth`, `top1_agreement`
            and `pearson_with_truth`.

    Returns:
        (M, N).

    Raises:
        ValueError: for an unknown score.

    Example:
        >>> import torch
        >>> from xai_course.experiments import reading_scores
        >>> relevance, effects = torch.tensor([[[0.1, 0.2, 9.0]]]), torch.tensor([[1.0, 2.0, 3.0]])
        >>> round(reading_scores(relevance, effects, effects > 0, "rank").item(), 6)
        1.0
    """
    check_choice("score", score, CHOICES["score"])
    # What a scene does not show is NaN, which the scores leave out.
    rows = relevance.double().masked_fill(~shown, torch.nan).flatten(0, 1)
    truth = effects.double().repeat(len(relevance), 1)
    return _SCORES[score](rows, truth).view(relevance.shape[:2])


# ---- the table -----------------------------------------------------------------------------------


def specifications(
    sums: Iterable[RegionSums],
    *,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] = NULL_LAYERS,
    by_species: bool = False,
) -> list[Reading]:
    """Read every method in every way, and hold it against the null that is hardest to beat.

    The difference to each null is taken scene by scene. Its 95 % interval is Student's: the mean,
    plus and minus t · s / √N. The null whose interval reaches lowest counts. So a method that is
    above it is above every null, and one more null can make no method better.

    Args:
        sums: of the networks, from `load_sums` or `measure_sums`.
        methods: names; None for all that the sums hold. CAM is left out where its sums are those of
            Grad-CAM, as on a pooled head.
        layers: what a method must beat, from `NULL_LAYERS`, `SAME_SPECIES` and `FIELD_GUIDE`, the
            map of that name. `SAME_SPECIES` needs scenes sorted by species, the same number of
            each, as `specification_scenes` gives.
        by_species: whether to average the scenes of a species first. The interval is then over ten
            species, and says what to expect of further species; without, of further scenes of these
            ten. Needs sorted scenes, too.

    Returns:
        A row for each network, reading and method: "network", "family", the choices of `CHOICES`,
        "method", "declared" (whether the readout is the registry's), "score of the method", "null"
        (the hardest one's name), "score of the null", "difference", "low", "high", and "verdict": 1
        where the interval is above 0; −1 where that of the difference to any null is below 0; else
        0.

    Raises:
        ValueError: for an unknown layer, a method that no sums hold, or scenes that are not the
            same number of each species where that is needed.

    Cost:
        No pass: a second for each network.

    References:
        Steegen, Tuerlinckx, Gelman, Vanpaemel: Increasing Transparency Through a Multiverse
        Analysis. Perspectives on Psychological Science 11, 2016. Simonsohn, Simmons, Nelson:
        Specification Curve Analysis. Nature Human Behaviour 4, 2020.

    Example:
        >>> from xai_course.experiments import load_sums, specifications
        >>> table = specifications(load_sums()[:1], methods=["LRP"])
        >>> len(table), table[0]["network"], table[0]["method"]
        (90, 'beetle_net', 'LRP')
    """
    for layer in layers:
        check_choice("layers", layer, (*NULL_LAYERS, SAME_SPECIES, FIELD_GUIDE))
    known, rows = set(), []
    for one in sums:
        names = _distinct_methods(one)
        known |= {method for variant, method in one.sums if variant == "own"}
        chosen = [name for name in names if methods is None or name in methods]
        rows += _read_network(one, chosen, layers, by_species)
    for name in methods or ():
        check_choice("methods", name, sorted(known))
    return rows


def _distinct_methods(sums: RegionSums) -> list[str]:
    """List the methods of a network, CAM only if it differs from Grad-CAM."""
    names = [method for variant, method in sums.sums if variant == "own"]
    one, other = (sums.sums.get(("own", name)) for name in ("CAM", "Grad-CAM"))
    # Up to the scale of each scene, and to the 16 bits that are kept.
    if one is not None and other is not None and torch.allclose(one, other, atol=2e-3):
        names.remove("CAM")
    return names


def _readings(sums: RegionSums) -> list[dict[str, str]]:
    """List all combinations of choices that a network's world allows."""
    every = [dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())]
    has_clutter = bool(sums.shown[:, REGIONS.index("clutter")].any())
    return [
        choices
        for choices in every
        if not (choices["key"] == "Shapley" and choices["change"] == "exchange")
        and (has_clutter or choices["regions"] == "parts")
    ]


def _read_network(
    sums: RegionSums, methods: Sequence[str], layers: Sequence[str], by_species: bool
) -> list[Reading]:
    """Read all methods of one network in every way."""
    kinds = {"null" if layer == "no network" else layer for layer in layers}
    entries = [
        (variant, name)
        for variant, name in sums.sums
        if (variant in kinds or variant == "own")
        and (variant == "null" or name in methods)
        and name != FIELD_GUIDE  # a layer of its own
    ]
    if FIELD_GUIDE in layers:
        entries.append(("null", FIELD_GUIDE))
    if not methods:
        return []
    maps = [sums.sums[entry] for entry in entries]
    if SAME_SPECIES in layers:
        own = [(name, sums.sums["own", name]) for name in methods]
        entries += [(SAME_SPECIES, name) for name, _ in own]
        maps += [_of_the_next(regions) for _, regions in own]
    every = torch.stack(maps).double()
    signed, size = every[:, :, : len(REGIONS)].unbind(-1)  # without the whole image
    read_as = {"signed": signed, "positive": (signed + size) / 2, "size": size}
    rows = []
    for choices in _readings(sums):
        shown = sums.shown.clone()
        shown[:, REGIONS.index("clutter")] &= choices["regions"] != "parts"
        effects = sums.keys[f"{choices['change']}, {choices['key']}"].double()
        effects = effects.abs() if choices["readout"] == "size" else effects
        relevance = read_as[choices["readout"]].clone()
        if choices["wing cases"] == "with pattern":
            relevance[..., 0] += relevance[..., REGIONS.index("pattern")]
        read = reading_scores(relevance, effects, shown, choices["score"])  # (entries, N)
        if by_species:
            read = _each_species(read.T).nanmean(1).T  # (entries, species)
        table = dict(zip(entries, read, strict=True))
        for method in methods:
            against = {key: table[key] for key in entries if key[0] == "null" or key[1] == method}
            del against["own", method]
            verdict = _verdict(table["own", method], against)
            names = {"network": sums.network, "family": sums.family, **choices, "method": method}
            declared = choices["readout"] == declared_readout(method)
            rows.append({**names, "declared": declared, **verdict})
    return rows


def _of_the_next(regions: Tensor) -> Tensor:
    """Give each scene (N, ...) the sums of the next of its species, the last those of the first."""
    return _each_species(regions).roll(-1, 1).flatten(0, 1)


def _each_species(scenes: Tensor) -> Tensor:
    """Return what belongs to scenes (N, ...) as (species, N / species, ...)."""
    if len(scenes) % len(SPECIES):
        raise ValueError(
            f"sums: got {len(scenes)} scenes, for {SAME_SPECIES!r} or by_species; must be the same "
            f"number of each of the {len(SPECIES)} species, sorted by species."
        )
    return scenes.reshape(len(SPECIES), -1, *scenes.shape[1:])


def _verdict(ours: Tensor, nulls: Mapping[tuple[str, str], Tensor]) -> dict[str, Any]:
    """Compare scores (N,) with those of the null that is hardest to beat, scene by scene."""
    leads = ours - torch.stack(list(nulls.values()))  # (nulls, N)
    count = leads.shape[1]
    means, half = leads.mean(1), torch.zeros(len(leads), dtype=leads.dtype)
    if count > 1:
        half = _student(count) * leads.std(1) / count**0.5
    hardest = int((means - half).argmin())
    is_below = bool((means + half < 0).any())
    variant, name = list(nulls)[hardest]
    mean, reach = means[hardest].item(), half[hardest].item()
    low, high = mean - reach, mean + reach
    return {
        "score of the method": ours.mean().item(),
        "null": name if variant == "null" else variant,
        "score of the null": ours.mean().item() - mean,
        "difference": mean,
        "low": low,
        "high": high,
        "verdict": int(low > 0) - int(is_below),
    }


@lru_cache
def _student(count: int) -> float:
    """Return the quantile of Student's t for a 95 % interval of the mean of so many values."""
    from scipy import stats

    return float(stats.t.ppf(0.975, count - 1))


# ---- what survives -------------------------------------------------------------------------------


def robust_share(table: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return for each method in what share of the readings it is above the best null, and below.

    Each family of networks counts the same, however many seeds and readings it has.

    Args:
        table: from `specifications`.

    Returns:
        A row for each method, the highest share above first: "method", "readings" (how many),
        "above", "open" and "below" (shares that sum to 1), "declared above" and "declared below"
        (of the readings with the registry's readout), "lowest" and "highest" (the share above in
        the family where it is lowest, and highest).

    Raises:
        ValueError: for an empty table.

    Example:
        >>> from xai_course.experiments import load_sums, robust_share, specifications
        >>> rows = robust_share(specifications(load_sums()[:1], methods=["LRP", "gradient"]))
        >>> sorted(row["method"] for row in rows), rows[0]["readings"]
        (['LRP', 'gradient'], 90)
    """
    if not table:
        raise ValueError("table: got none; must be rows of `specifications`.")
    rows = []
    for method in dict.fromkeys(row["method"] for row in table):
        own = [row for row in table if row["method"] == method]
        declared = [row for row in own if row["declared"]]
        families = list(dict.fromkeys(row["family"] for row in own))
        above = [_share([row for row in own if row["family"] == name], 1) for name in families]
        rows.append(
            {
                "method": method,
                "readings": len(own),
                "above": _share(own, 1),
                "open": _share(own, 0),
                "below": _share(own, -1),
                "declared above": _share(declared, 1),
                "declared below": _share(declared, -1),
                "lowest": min(above),
                "highest": max(above),
            }
        )
    return sorted(rows, key=lambda row: (-row["above"], row["below"]))


def _share(rows: Sequence[Reading], verdict: int) -> float:
    """Return the share of rows with a verdict: the mean over families of the share in each."""
    hits: dict[str, list[bool]] = {}
    for row in rows:
        hits.setdefault(row["family"], []).append(row["verdict"] == verdict)
    shares = [sum(found) / len(found) for found in hits.values()]
    return sum(shares) / len(shares)


def choice_shares(
    table: Sequence[Reading], verdict: int = 1
) -> dict[str, dict[tuple[str, str], float]]:
    """Return for each method the share of readings with a verdict, by the value of each choice.

    The values of a choice are compared on the readings that are the same in all other choices and
    have every value. So Shapley values are compared with the other keys where parts are removed,
    and the share of a choice that does not apply is left out.

    Args:
        table: from `specifications`.
        verdict: 1 for above the best null, −1 for below.

    Returns:
        By method, then by (choice, value): a share from 0 to 1. The family of networks is a choice,
        too.

    Raises:
        ValueError: for an empty table, or another verdict than 1, 0 or −1.
    """
    if not table:
        raise ValueError("table: got none; must be rows of `specifications`.")
    check_choice("verdict", verdict, (1, 0, -1))
    found = {}
    for method in dict.fromkeys(row["method"] for row in table):
        own = [row for row in table if row["method"] == method]
        found[method] = {
            (choice, value): share
            for choice in (*CHOICES, "family")
            for value, share in _shares_of(own, choice, verdict).items()
        }
    return found


def _shares_of(rows: Sequence[Reading], choice: str, verdict: int) -> dict[str, float]:
    """Return the share of rows with a verdict by a choice's value, on matched readings."""
    # Seeds of another family are other networks, so families are matched by the reading alone.
    others = [name for name in CHOICES if name != choice]
    others += [] if choice == "family" else ["network"]
    groups: dict[tuple[str, ...], dict[str, list[Reading]]] = {}
    for row in rows:
        group = groups.setdefault(tuple(row[name] for name in others), {})
        group.setdefault(row[choice], []).append(row)
    values = list(dict.fromkeys(row[choice] for row in rows))
    matched = [group for group in groups.values() if len(group) == len(values)]
    if not matched or len(values) < 2:
        return {}
    return {
        value: _share([row for group in matched for row in group[value]], verdict)
        for value in values
    }


def deciding_choices(table: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return how far each choice moves each method's share of readings above the best null.

    Args:
        table: from `specifications`.

    Returns:
        A row for each method and choice, the widest spread of a method first: "method", "choice",
        "spread" (the highest share minus the lowest), "best" and "worst" (the choice's values with
        them), "best share" and "worst share".

    Raises:
        ValueError: for an empty table.
    """
    rows: list[dict[str, Any]] = []
    for method, shares in choice_shares(table).items():
        own: list[dict[str, Any]] = []
        for choice in dict.fromkeys(choice for choice, _ in shares):
            values = {value: share for (name, value), share in shares.items() if name == choice}
            best, worst = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
            own.append(
                {
                    "method": method,
                    "choice": choice,
                    "spread": values[best] - values[worst],
                    "best": best,
                    "worst": worst,
                    "best share": values[best],
                    "worst share": values[worst],
                }
            )
        rows += sorted(own, key=lambda row: -row["spread"])
    return rows
