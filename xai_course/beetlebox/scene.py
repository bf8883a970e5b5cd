"""BeetleBox, a world whose ground truth is known: ten species of imaginary beetles.

A *species* is a combination of four traits. A *scene* is a species and a seed. What the seed
decides (pose, size, position, colours, background, light, noise) does not depend on the species.
One thing of a scene can be changed while all else stays; so the true effect of a part on a model f
is

    f(scene) - f(scene.without(part)).

A second world has *clutter* around the beetle: bright things with sharp edges that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from xai_course.beetlebox import clutter, drawing
from xai_course.beetlebox.backgrounds import Array, paint_ground, pixel_grid, rgb
from xai_course.core.checks import check_choice, check_count

__all__ = ["CLUTTER", "PARTS", "SPECIES", "TRAITS", "Scene", "Traits", "scenes"]


PARTS = ("elytra", "pattern", "head", "horn", "antennae", "legs", "label")


# Names of the pieces that `with_clutter` adds: "clutter 0" to "clutter 5".
CLUTTER = tuple(f"clutter {number}" for number in range(clutter.MOST))


TRAITS: dict[str, tuple[str, ...]] = {
    "outline": ("round", "oval", "long"),
    "pattern": ("plain", "striped", "spotted", "banded"),
    "horn": ("none", "single", "forked"),
    "antennae": ("short", "long", "clubbed"),
}


@dataclass(frozen=True)
class Traits:
    """The four traits of a species, each one of the values in `TRAITS`, else ValueError."""

    outline: str
    pattern: str
    horn: str
    antennae: str

    def __post_init__(self) -> None:
        """Refuse a value that the trait does not take."""
        for trait in fields(self):
            check_choice(trait.name, getattr(self, trait.name), TRAITS[trait.name])


# No value of a trait belongs to one species alone, so no single part tells the species. For each
# trait there are twins that differ in it alone (named in the comments).
SPECIES: dict[str, Traits] = {
    "Ellipsa_furcata": Traits("oval", "plain", "forked", "clubbed"),
    "Ellipsa_longicornis": Traits("oval", "plain", "forked", "long"),  # furcata, other antennae
    "Ellipsa_monoceros": Traits("oval", "banded", "single", "short"),
    "Ellipsa_polita": Traits("oval", "plain", "none", "long"),  # longicornis, no horn
    "Globaria_cervina": Traits("round", "striped", "forked", "short"),
    "Globaria_cincta": Traits("round", "banded", "none", "clubbed"),
    "Globaria_maculata": Traits("round", "spotted", "single", "long"),
    "Tenuella_guttata": Traits("long", "spotted", "none", "clubbed"),
    "Tenuella_lineata": Traits("long", "striped", "none", "clubbed"),  # guttata, other pattern
    "Tenuella_unicornis": Traits("long", "banded", "single", "short"),  # monoceros, other outline
}


@dataclass(frozen=True)
class Scene:
    """One beetle on a background: a species, a seed, and what was changed.

    Scenes are values: every change returns a new scene. Two scenes with the same seed differ in
    their traits alone.

    Args:
        species: a name from SPECIES.
        seed: a whole number from 0, which decides everything but the species.
        exchanged: traits that differ from the species', as (trait, value); see `with_trait`.
        removed: parts that are removed; see `without`.
        colours: parts of another colour, as (part, (red, green, blue)); see `recoloured`.
        background: the seed of the background, if it is another one; see `with_background`.
        labelled: whether there is a museum label; see `with_label`.
        clutter: numbers of the pieces of clutter that lie there; see `with_clutter`.
        clutter_seed: the seed of the clutter, if it is another one.

    Raises:
        ValueError: for an unknown species, or a seed that is not a whole number from 0.

    Example:
        >>> from xai_course.beetlebox import Scene
        >>> scene = Scene("Tenuella_guttata", 7).with_trait(pattern="striped")
        >>> (scene.image() == Scene("Tenuella_lineata", 7).image()).all().item()
        True
    """

    species: str
    seed: int
    exchanged: tuple[tuple[str, str], ...] = ()
    removed: frozenset[str] = frozenset()
    colours: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    background: int | None = None
    labelled: bool = False
    clutter: tuple[int, ...] = ()
    clutter_seed: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_choice("species", self.species, SPECIES)
        check_count("seed", self.seed, least=0)

    @property
    def traits(self) -> Traits:
        """The species' traits, with those that were exchanged."""
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
        """Remove a part, or a piece of clutter: what lies under it shows, no other pixel changes.

        The pattern is removed with the `elytra` that carry it, and the abdomen shows. Without a
        part that the scene does not have, the image stays as it is.
        """
        check_choice("part", part, (*PARTS, *CLUTTER))
        if part == "label":
            return replace(self, labelled=False)
        if part in CLUTTER:
            left = tuple(number for number in self.clutter if CLUTTER[number] != part)
            return replace(self, clutter=left, clutter_seed=self.clutter_seed if left else None)
        return replace(self, removed=self.removed | {part})

    def with_trait(self, **traits: str) -> Scene:
        """Exchange traits, as in `scene.with_trait(outline="round")`. All else stays."""
        for name, value in traits.items():
            check_choice("trait", name, tuple(TRAITS))
            check_choice(name, value, TRAITS[name])
        return replace(self, exchanged=tuple({**dict(self.exchanged), **traits}.items()))

    def recoloured(self, part: str, colour: Sequence[float]) -> Scene:
        """Give a part another colour: red, green and blue in [0, 1]."""
        check_choice("part", part, PARTS[:-1])
        if len(colour) != 3 or not all(0 <= value <= 1 for value in colour):
            raise ValueError(f"colour: got {colour!r}; must be three numbers in [0, 1].")
        red, green, blue = (float(value) for value in colour)
        others = tuple(item for item in self.colours if item[0] != part)
        return replace(self, colours=(*others, (part, (red, green, blue))))

    def with_background(self, seed: int) -> Scene:
        """Put the same beetle on the background of another seed. Its light and shadow stay."""
        check_count("seed", seed, least=0)
        return replace(self, background=seed)

    def with_label(self) -> Scene:
        """Add a museum label in the lower right corner, under the beetle."""
        return replace(self, labelled=True)

    def with_clutter(self, count: int = 5, seed: int | None = None) -> Scene:
        """Scatter twigs, petals, dewdrops and pebbles, which mean nothing, around the beetle.

        They are brighter than the beetle, have sharper edges, and lie where no part of any species
        lies in this pose. So they hide nothing and say nothing of the species. Only the museum
        label may lie over them. A fresh handful replaces the one before; what changes the beetle
        leaves them where they are.

        Args:
            count: pieces, from 0 to 6. The first of them are the same for every count.
            seed: decides kinds, places, sizes and colours; None for the scene's own seed.
        """
        check_count("count", count, least=0, most=len(CLUTTER))
        if seed is not None:
            check_count("seed", seed, least=0)
        return replace(self, clutter=tuple(range(count)), clutter_seed=seed if count > 0 else None)

    def image(self, size: int = 64) -> Array:
        """Render the scene: (size, size, 3), RGB in [0, 1], the same to the bit at every call.

        `size` is from 32 to 512, else ValueError.
        """
        check_count("size", size, least=32, most=512)
        body = drawing.draw_body(self.seed)
        view = drawing.body_view(body, size)
        image = paint_ground(self.seed if self.background is None else self.background, size)
        for layer in self._layers_on_ground(body, size).values():
            _paint_over(image, layer)
        image = image * drawing.shadow(view)
        for layer in self._layers(body, view).values():
            _paint_over(image, layer)
        return self._photograph(image, body)

    def _photograph(self, image: Array, body: drawing.Body) -> Array:
        """Add the light from one side and the camera's noise: (3, H, W) to (H, W, 3)."""
        size = image.shape[-1]
        x, y = pixel_grid(size)
        light = 1 + 0.08 * (x * math.cos(body.light) + y * math.sin(body.light))
        rng = np.random.default_rng((self.seed, 5, size))
        noise = body.grain * rng.standard_normal((size, size, 3), np.float32)
        lit = np.ascontiguousarray((image * (body.brightness * light)).transpose(1, 2, 0))
        photograph: Array = np.clip(lit + noise, 0, 1)
        return photograph

    def masks(self, size: int = 64) -> dict[str, Array]:
        """Render the visible share of each part in every pixel: part -> (size, size) in [0, 1].

        Every name in `PARTS` is there; a part that does not show is all zero. So is each piece of
        clutter that the scene has, by its name in `CLUTTER`. The masks sum to at most 1; what is
        left is background. `size` is from 32 to 512, else ValueError.
        """
        check_count("size", size, least=32, most=512)
        body = drawing.draw_body(self.seed)
        layers = self._layers_on_ground(body, size)
        layers |= self._layers(body, drawing.body_view(body, size))
        names = (*PARTS, *(CLUTTER[number] for number in self.clutter))
        masks: dict[str, Array] = {name: np.zeros((size, size), np.float32) for name in names}
        uncovered: Array = np.ones((size, size), np.float32)
        for part, layer in reversed(layers.items()):  # from the top down
            if part in masks:  # the abdomen is no part
                masks[part][layer.window] = layer.cover * uncovered[layer.window]
            uncovered[layer.window] *= 1 - layer.cover
        return masks

    def _layers_on_ground(self, body: drawing.Body, size: int) -> dict[str, drawing.Layer]:
        """Draw what lies in the beetle's shadow, from the bottom up."""
        layers: dict[str, drawing.Layer] = {}
        if self.clutter:
            seed = self.seed if self.clutter_seed is None else self.clutter_seed
            pieces = clutter.lay_out(self.seed, seed)
            layers = {CLUTTER[i]: clutter.draw_piece(pieces[i], size) for i in self.clutter}
        if self.labelled:
            layers["label"] = drawing.label(body, size)
        return layers

    def _layers(self, body: drawing.Body, view: drawing.View) -> dict[str, drawing.Layer]:
        """Draw the beetle, from the bottom up."""
        traits = self.traits
        layers: dict[str, drawing.Layer] = {}
        if "legs" not in self.removed:
            layers["legs"] = drawing.legs(view, self._painted(body, "legs"))
        if "antennae" not in self.removed:
            painted = self._painted(body, "antennae")
            layers["antennae"] = drawing.antennae(view, painted, traits.antennae)
        if "elytra" not in self.removed:
            painted = self._painted(body, "elytra")
            pattern = "plain" if "pattern" in self.removed else traits.pattern
            layers |= drawing.elytra(view, painted, traits.outline, pattern)
        else:
            layers["abdomen"] = drawing.abdomen(view, body)
        if "head" not in self.removed:
            layers["head"] = drawing.head(view, self._painted(body, "head"))
        if "horn" not in self.removed and traits.horn != "none":
            layers["horn"] = drawing.horn(view, self._painted(body, "horn"), traits.horn)
        return layers

    def _painted(self, body: drawing.Body, part: str) -> drawing.Body:
        """Return the body with the colour of one part, if that was changed."""
        colours = {name: rgb(*colour) for name, colour in self.colours}
        if part == "elytra":  # and the pattern on them
            return body._replace(
                shell=colours.get("elytra", body.shell), marks=colours.get("pattern", body.marks)
            )
        if part in colours:
            return body._replace(limbs=colours[part], trim=colours[part])
        return body


def image_bytes(scene: Scene, size: int) -> npt.NDArray[np.uint8]:
    """Render a scene in whole numbers from 0 to 255, as an image file holds it: (size, size, 3)."""
    return np.rint(scene.image(size) * 255).astype(np.uint8)


def _paint_over(image: Array, layer: drawing.Layer) -> None:
    """Paint a part over the image (3, H, W), in place. What it does not cover keeps its bits."""
    below = image[:, *layer.window]
    image[:, *layer.window] = below * (1 - layer.cover) + layer.colour * layer.cover


_SPLITS = {"train": 0, "test": 1, "extra": 2}
_SEEDS = 1_000_000  # for one species in one split


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
    check_count("count", count, least=0, most=_SEEDS)
    start = (_SPLITS[split] * len(SPECIES) + list(SPECIES).index(species)) * _SEEDS
    return [Scene(species, start + i) for i in range(count)]
