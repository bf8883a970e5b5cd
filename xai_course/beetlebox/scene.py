"""BeetleBox, a world with an answer key: ten species of imaginary beetles, drawn part by part.

A *species* is a combination of four traits. A *scene* is a species and a seed; everything that the
seed decides (pose, size, place, colours, ground, light, noise) says nothing of the species. A scene
can be changed so that nothing else moves; with a model f, the true effect of a part is

    f(scene) - f(scene.without(part)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from xai_course.beetlebox import drawing
from xai_course.beetlebox.backgrounds import Array, paint_ground, pixel_grid, rgb
from xai_course.core.checks import check_choice, check_count

__all__ = ["PARTS", "SPECIES", "TRAITS", "Scene", "Traits", "scenes"]


PARTS = ("elytra", "pattern", "head", "horn", "antennae", "legs", "label")


TRAITS: dict[str, tuple[str, ...]] = {
    "outline": ("round", "oval", "long"),
    "pattern": ("plain", "striped", "spotted", "banded"),
    "horn": ("none", "single", "forked"),
    "antennae": ("short", "long", "clubbed"),
}


@dataclass(frozen=True)
class Traits:
    """The four traits that make a species; each takes one of the values in `TRAITS`."""

    outline: str
    pattern: str
    horn: str
    antennae: str

    def __post_init__(self) -> None:
        """Refuse a value that the trait does not take."""
        for trait in fields(self):
            check_choice(trait.name, getattr(self, trait.name), TRAITS[trait.name])


# No trait value belongs to one species alone, so no single part gives the answer. For each trait
# there are twins that differ in it and in nothing else (named in the comments).
SPECIES: dict[str, Traits] = {
    "Ellipsa_furcata": Traits("oval", "plain", "forked", "clubbed"),
    "Ellipsa_longicornis": Traits(
        "oval", "plain", "forked", "long"
    ),  # furcata but for the antennae
    "Ellipsa_monoceros": Traits("oval", "banded", "single", "short"),
    "Ellipsa_polita": Traits("oval", "plain", "none", "long"),  # longicornis but for the horn
    "Globaria_cervina": Traits("round", "striped", "forked", "short"),
    "Globaria_cincta": Traits("round", "banded", "none", "clubbed"),
    "Globaria_maculata": Traits("round", "spotted", "single", "long"),
    "Tenuella_guttata": Traits("long", "spotted", "none", "clubbed"),
    "Tenuella_lineata": Traits("long", "striped", "none", "clubbed"),  # guttata but for the pattern
    "Tenuella_unicornis": Traits("long", "banded", "single", "short"),  # monoceros, longer
}


@dataclass(frozen=True)
class Scene:
    """One beetle on one ground: a species, a seed, and what was changed since.

    Scenes are values: every change returns a new scene. Two scenes with the same seed differ in
    their traits alone, so `Scene("Tenuella_guttata", 7).with_trait(pattern="striped")` gives the
    picture of `Scene("Tenuella_lineata", 7)`.

    Raises ValueError for an unknown species and for a seed that is not a whole number from 0.
    """

    species: str
    seed: int
    exchanged: tuple[tuple[str, str], ...] = ()
    removed: frozenset[str] = frozenset()
    colours: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    ground: int | None = None
    labelled: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_choice("species", self.species, SPECIES)
        check_count("seed", self.seed, least=0)

    @property
    def traits(self) -> Traits:
        """The species' traits, but for those that were exchanged."""
        return replace(SPECIES[self.species], **dict(self.exchanged))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the scene has, in order of `PARTS`, also where others hide them."""
        traits, missing = self.traits, set(self.removed)
        if traits.pattern == "plain" or "elytra" in missing:
            missing.add("pattern")
        if traits.horn == "none":
            missing.add("horn")
        if not self.labelled:
            missing.add("label")
        return tuple(part for part in PARTS if part not in missing)

    def without(self, part: str) -> Scene:
        """Take a part away: what lies under it shows, and no other pixel changes.

        Without `elytra` the pattern on them goes too, and the abdomen shows. Taking away a part
        that the scene does not have leaves the picture as it is.
        """
        check_choice("part", part, PARTS)
        if part == "label":
            return replace(self, labelled=False)
        return replace(self, removed=self.removed | {part})

    def with_trait(self, **traits: str) -> Scene:
        """Exchange traits, as in `scene.with_trait(outline="round")`; all else stays."""
        for name, value in traits.items():
            check_choice("trait", name, tuple(TRAITS))
            check_choice(name, value, TRAITS[name])
        return replace(self, exchanged=tuple({**dict(self.exchanged), **traits}.items()))

    def recoloured(self, part: str, colour: Sequence[float]) -> Scene:
        """Paint a part in another colour: red, green and blue in [0, 1]."""
        check_choice("part", part, PARTS[:-1])
        if len(colour) != 3 or not all(0 <= value <= 1 for value in colour):
            raise ValueError(f"colour: got {colour!r}; must be three numbers in [0, 1].")
        red, green, blue = (float(value) for value in colour)
        others = tuple(item for item in self.colours if item[0] != part)
        return replace(self, colours=(*others, (part, (red, green, blue))))

    def with_background(self, seed: int) -> Scene:
        """Put the same beetle on the ground of another seed; its light and shadow stay."""
        return replace(self, ground=Scene(self.species, seed).seed)

    def with_label(self) -> Scene:
        """Lay a museum label in the lower right corner, under the beetle."""
        return replace(self, labelled=True)

    def image(self, size: int = 64) -> Array:
        """Render the scene: (size, size, 3), RGB in [0, 1]; the same to the bit at every call.

        Raises ValueError for a size outside 32 to 512.
        """
        check_count("size", size, least=32, most=512)
        body = drawing.draw_body(self.seed)
        view = drawing.body_view(body, size)
        picture = paint_ground(self.seed if self.ground is None else self.ground, size)
        shade = drawing.shadow(view)
        layers = self._layers(body, view, size)
        if "label" in layers:
            _lay_over(picture, layers.pop("label"))
        picture = picture * shade
        for layer in layers.values():
            _lay_over(picture, layer)
        x, y = pixel_grid(size)
        light = 1 + 0.08 * (x * math.cos(body.light) + y * math.sin(body.light))
        rng = np.random.default_rng((self.seed, 5, size))
        noise = body.grain * rng.standard_normal((size, size, 3), np.float32)
        lit = np.ascontiguousarray((picture * (body.brightness * light)).transpose(1, 2, 0))
        image: Array = np.clip(lit + noise, 0, 1)
        return image

    def masks(self, size: int = 64) -> dict[str, Array]:
        """Visible share of each part in every pixel: part -> (size, size) in [0, 1].

        Every name in `PARTS` is there (all zero if the part is not). The masks sum to at most 1;
        what is left is ground.

        Raises ValueError for a size outside 32 to 512.
        """
        check_count("size", size, least=32, most=512)
        body = drawing.draw_body(self.seed)
        layers = self._layers(body, drawing.body_view(body, size), size)
        masks: dict[str, Array] = {part: np.zeros((size, size), np.float32) for part in PARTS}
        open_share: Array = np.ones((size, size), np.float32)
        for part, layer in reversed(layers.items()):
            if part in masks:
                masks[part][layer.place] = layer.cover * open_share[layer.place]
            open_share[layer.place] *= 1 - layer.cover
        return masks

    def _layers(
        self, body: drawing.Body, view: drawing.View, size: int
    ) -> dict[str, drawing.Layer]:
        """Draw what the scene shows, from the ground up."""
        has = {part: part not in self.removed for part in PARTS}
        colours = {part: rgb(*colour) for part, colour in self.colours}

        def painted(part: str) -> drawing.Body:
            if part not in colours:
                return body
            return body._replace(limbs=colours[part], trim=colours[part])

        layers: dict[str, drawing.Layer] = {}
        if self.labelled:
            layers["label"] = drawing.label(body, size)
        if has["legs"]:
            layers["legs"] = drawing.legs(view, painted("legs"))
        if has["antennae"]:
            layers["antennae"] = drawing.antennae(view, painted("antennae"), self.traits.antennae)
        if has["elytra"]:
            shell = body._replace(
                shell=colours.get("elytra", body.shell), marks=colours.get("pattern", body.marks)
            )
            marks = self.traits.pattern if has["pattern"] else "plain"
            layers |= drawing.elytra(view, shell, self.traits.outline, marks)
        else:
            layers["abdomen"] = drawing.abdomen(view, body)
        if has["head"]:
            layers["head"] = drawing.head(view, painted("head"))
        if has["horn"] and self.traits.horn != "none":
            layers["horn"] = drawing.horn(view, painted("horn"), self.traits.horn)
        return layers


def _lay_over(picture: Array, layer: drawing.Layer) -> None:
    """Lay a part over the picture, in place; where it covers nothing, the bits stay."""
    below = picture[:, *layer.place]
    picture[:, *layer.place] = below * (1 - layer.cover) + layer.colour * layer.cover


_SPLITS = {"train": 0, "test": 1, "extra": 2}
_ROOM = 1_000_000  # seeds set aside for one species in one split


def scenes(split: str, species: str, count: int) -> list[Scene]:
    """List the first scenes of a species in a split. No seed occurs in two splits or two species.

    Args:
        split: "train", "test", or "extra" for neither.
        species: a name from SPECIES.
        count: how many, from 0 to 1,000,000.

    Returns:
        The scenes.

    Raises:
        ValueError: for an unknown split or species, or a count out of range.

    Example:
        >>> from xai_course.beetlebox import scenes
        >>> [scene.species for scene in scenes("train", "Ellipsa_polita", 2)]
        ['Ellipsa_polita', 'Ellipsa_polita']
    """
    check_choice("split", split, tuple(_SPLITS))
    check_choice("species", species, SPECIES)
    check_count("count", count, least=0, most=_ROOM)
    start = (_SPLITS[split] * len(SPECIES) + list(SPECIES).index(species)) * _ROOM
    return [Scene(species, start + i) for i in range(count)]
