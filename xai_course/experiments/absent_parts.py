"""Which species are still possible without a part, and what a network answers then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import BODY_PARTS
from xai_course.beetlebox.scene import PARTS, SPECIES, TRAITS, Scene
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice
from xai_course.data.transforms import normalise

__all__ = ["answers_without_a_part", "possible_species"]


# Traits that cannot be seen any more when a part is removed. Head and legs show none.
SHOWS = {
    "elytra": ("outline", "pattern"),
    "pattern": ("pattern",),
    "horn": ("horn",),
    "antennae": ("antennae",),
}


def possible_species(species: str, removed: Iterable[str] = ()) -> list[str]:
    """Return the species that a beetle may belong to when some of its parts are removed.

    They are those that share with its species every trait that is left. So a forked horn that is
    removed counts as unknown, not as no horn.

    Args:
        species: the beetle's own, a name from SPECIES.
        removed: names of parts, from PARTS, that the beetle had.

    Returns:
        Names of species in the order of SPECIES; its own is among them.

    Raises:
        ValueError: for an unknown species or part.

    References:
        The same rule for birds: Hesse, Schaub-Meyer, Roth: FunnyBirds: A Synthetic Vision Dataset
        for a Part-Based Analysis of Explainable AI Methods. ICCV 2023, arXiv:2308.06248.

    Example:
        >>> from xai_course.experiments import possible_species
        >>> possible_species("Ellipsa_furcata", ["antennae"])
        ['Ellipsa_furcata', 'Ellipsa_longicornis']
        >>> possible_species("Ellipsa_furcata", ["head"])
        ['Ellipsa_furcata']
    """
    check_choice("species", species, SPECIES)
    unknown: set[str] = set()
    for part in removed:
        check_choice("removed", part, PARTS)
        unknown.update(SHOWS.get(part, ()))
    known = [trait for trait in TRAITS if trait not in unknown]

    def seen(name: str) -> list[str]:
        return [getattr(SPECIES[name], trait) for trait in known]

    return [name for name in SPECIES if seen(name) == seen(species)]


@torch.no_grad()
def answers_without_a_part(
    model: nn.Module,
    scenes: Sequence[Scene],
    *,
    parts: Sequence[str] = BODY_PARTS,
    size: int = 64,
) -> dict[str, dict[str, float]]:
    """Return what a network answers when one part is removed.

    Args:
        model: a classifier in evaluation mode with a logit for each species, in their order.
        scenes: the scenes. For a part, those count that have it.
        parts: names of parts, from PARTS.
        size: height and width of the images in pixels.

    Returns:
        For "nothing" and for each part that is removed: "scenes", how many; "accuracy", the share
        of them that the network names as before; "possible", the share whose answer is one of
        `possible_species`; "probability", the mean softmax probability of the species; and
        "confidence", that of the answer. A part that no scene has is left out.

    Raises:
        ValueError: if there are no scenes, or a part is unknown.

    Cost:
        One forward pass for each scene, and one for each part that it has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import scenes
        >>> from xai_course.experiments import answers_without_a_part
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
        >>> found = answers_without_a_part(model, scenes("test", "Ellipsa_polita", 2), size=32)
        >>> list(found)  # this species has no horn and no pattern
        ['nothing', 'elytra', 'head', 'antennae', 'legs']
    """
    if not scenes:
        raise ValueError("scenes: got none; must be at least one.")
    found = {"nothing": _answers(model, scenes, (), size)}
    for part in parts:
        check_choice("parts", part, PARTS)
        if having := [scene for scene in scenes if part in scene.parts]:
            found[part] = _answers(model, having, (part,), size)
    return found


def _answers(
    model: nn.Module, scenes: Sequence[Scene], removed: tuple[str, ...], size: int
) -> dict[str, float]:
    """Return the row of `answers_without_a_part` for scenes that have a part, or for whole ones."""
    names = list(SPECIES)
    changed = [scene.without(part) for scene in scenes for part in removed] or list(scenes)
    # In batches, so that many scenes fit into memory.
    batches = [changed[k : k + 250] for k in range(0, len(changed), 250)]
    logits = torch.cat([model(normalise(stack_images(batch, size))) for batch in batches])
    probabilities: Tensor = logits.softmax(1)
    own = torch.tensor([names.index(scene.species) for scene in scenes])
    may_be = torch.zeros(logits.shape, dtype=torch.bool)
    for row, scene in zip(may_be, scenes, strict=True):
        for name in possible_species(scene.species, removed):
            row[names.index(name)] = True
    answer = logits.argmax(1)
    return {
        "scenes": len(scenes),
        "accuracy": (answer == own).double().mean().item(),
        "possible": may_be.gather(1, answer[:, None]).double().mean().item(),
        "probability": probabilities.gather(1, own[:, None]).mean().item(),
        "confidence": probabilities.amax(1).mean().item(),
    }
