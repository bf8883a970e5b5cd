"""The explorer's controls and its page: their names, their texts, and where they stand.

Every control has a description or a tooltip for a screen reader, and a CSS class to find it by:
`bx-` and its name. The page's CSS is in `style.css`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from xai_course.beetlebox.ground_truth import BODY_PARTS
from xai_course.beetlebox.guide import species_name
from xai_course.beetlebox.scene import SPECIES, TRAITS, Scene
from xai_course.core.translation import language, message, translate
from xai_course.data.photographs import PHOTOGRAPHS
from xai_course.explorer.catalogue import NETWORKS
from xai_course.explorer.state import Selection
from xai_course.methods import METHODS

__all__ = [
    "BACKGROUNDS",
    "LAST_LAYER",
    "OPTIONS",
    "OWN_BACKGROUND",
    "TARGETS",
    "TRAIT_OF",
    "absent_parts",
    "group_controls",
    "in_language",
    "in_words",
    "make_controls",
    "make_page",
    "make_view",
    "translated",
]


BACKGROUNDS = {
    message("leaf"): 4,
    message("bark"): 1,
    message("sand"): 0,
    message("moss"): 2,
}  # name to a seed that draws it
OWN_BACKGROUND = -1  # the menu's value for the beetle's own; a menu takes None for nothing chosen
LAST_LAYER = (message("the last one"), "")  # an entry of the menu that fits every network
TARGETS = [
    (message("predicted, as drawn"), "before"),
    (message("predicted, changed"), "after"),
]
TRAIT_OF = {"elytra": "outline", "pattern": "pattern", "horn": "horn", "antennae": "antennae"}
OPTIONS = list(dict.fromkeys(option for method in METHODS.values() for option in method.options))


def make_controls(selection: Selection) -> dict[str, Any]:
    """Return one control for each field of a selection, and one for each part of the body.

    Args:
        selection: the values to begin with. Window and stride begin with their defaults.

    Returns:
        Widgets by name: those of the fields, but "has horn" and so on in place of `without`.
    """
    return {
        **_subject_controls(selection),
        **_change_controls(selection),
        **_method_controls(selection),
    }


def _make(kind: Any, label: str, tooltip: str, value: Any, **options: Any) -> Any:
    """Return one control."""
    return kind(
        description=translate(label),
        tooltip=translate(tooltip),
        value=value,
        style={"description_width": "70px"},
        layout={"width": "auto"},
        **options,
    )


def _named(controls: dict[str, Any]) -> dict[str, Any]:
    """Give each control the CSS class of its name."""
    for name, control in controls.items():
        control.add_class(f"bx-{name.replace(' ', '-')}")
    return controls


def _subject_controls(selection: Selection) -> dict[str, Any]:
    """Return the controls for the network, and for the beetle or the photograph."""
    menu = widgets.Dropdown
    return _named(
        {
            "network": _make(
                menu,
                message("Network"),
                message("The network explained"),
                selection.network,
                options=in_words(NETWORKS),
            ),
            "species": _make(
                menu,
                message("Species"),
                message("The species"),
                selection.species,
                options=_species_options(),
            ),
            "seed": _make(
                widgets.BoundedIntText,
                message("Beetle no."),
                message("Another number: another pose, other colours, another ground"),
                selection.seed,
                min=0,
                max=2**31 - 1,
            ),
            "photograph": _make(
                menu,
                message("Photo"),
                message("A photograph of scikit-image"),
                selection.photograph,
                options=list(PHOTOGRAPHS),
            ),
        }
    )


def _change_controls(selection: Selection) -> dict[str, Any]:
    """Return the controls that change the image."""
    menu, box = widgets.Dropdown, widgets.Checkbox
    controls = {}
    for part in BODY_PARTS:
        tooltip = translate("Untick to take the {part} away", part=translate(part))
        if part == "elytra":
            tooltip = translate("Untick to take the elytra (wing cases) away")
        present = part not in selection.without
        controls[f"has {part}"] = _make(box, part, tooltip, present, indent=False)
    for part, trait in TRAIT_OF.items():
        value = getattr(selection, trait) or getattr(SPECIES[selection.species], trait)
        tooltip = translate(
            "Swap the {trait} ({part})", trait=translate(trait), part=translate(part)
        )
        controls[trait] = _make(menu, "", tooltip, value, options=in_words(TRAITS[trait]))
    controls["label"] = _make(
        box,
        message("museum label"),
        message("Lay a museum label under it"),
        selection.label,
        indent=False,
    )
    background = OWN_BACKGROUND if selection.background is None else selection.background
    controls["background"] = _make(
        menu,
        message("Ground"),
        message("Put it on another ground"),
        background,
        options=translated([(message("its own"), OWN_BACKGROUND), *BACKGROUNDS.items()]),
    )
    controls["pixel_noise"] = _make(
        widgets.BoundedFloatText,
        message("Noise"),
        message("Noise on the pixels: standard deviation, pixels being 0 to 1"),
        selection.pixel_noise,
        min=0.0,
        max=0.3,
        step=0.02,
    )
    return _named(controls)


def _method_controls(selection: Selection) -> dict[str, Any]:
    """Return the controls for the class, the method and the method's options."""
    menu, number = widgets.Dropdown, widgets.BoundedIntText
    layer = selection.layer or ""
    layers = translated([LAST_LAYER, (layer, layer)] if layer else [LAST_LAYER])
    windows = translated(
        [(message("1/16 of side"), 16), (message("1/8 of side"), 8), (message("1/4 of side"), 4)]
    )
    strides = translated([(message("half a window"), 2), (message("a whole window"), 1)])
    classes = [*translated(TARGETS), *_species_options()]
    return _named(
        {
            "target": _make(
                menu,
                message("Class"),
                message("The class explained"),
                selection.target,
                options=classes,
            ),
            "method": _make(
                menu,
                message("Method"),
                message("The method"),
                selection.method,
                options=list(METHODS),
            ),
            "layer": _make(
                menu, message("Layer"), message("Whose feature map"), layer, options=layers
            ),
            "window": _make(
                menu, message("Window"), message("The side of the window"), 8, options=windows
            ),
            "stride": _make(
                menu, message("Stride"), message("How far the window moves"), 2, options=strides
            ),
            "steps": _make(
                number,
                message("Steps"),
                message("Points on the way"),
                selection.steps,
                min=1,
                max=64,
            ),
            "samples": _make(
                number,
                message("Samples"),
                message("Noisy copies"),
                selection.samples,
                min=1,
                max=64,
            ),
            "noise": _make(
                widgets.BoundedFloatText,
                message("Spread"),
                message("SmoothGrad's noise, as a share of the image's range"),
                selection.noise,
                min=0.0,
                max=0.5,
                step=0.05,
            ),
            "rule": _make(
                menu,
                message("Rule"),
                message("LRP's rule"),
                selection.rule,
                options=["gamma", "epsilon"],
            ),
            "baseline": _make(
                menu,
                message("Baseline"),
                message("What stands for nothing"),
                selection.baseline,
                options=in_words([message("black"), message("mean"), message("blur")]),
            ),
        }
    )


def absent_parts(scene: Scene) -> dict[str, str]:
    """Say which parts of the body cannot be taken away, and why.

    Args:
        scene: with its traits, and without the wing cases if they were taken away.

    Returns:
        A sentence for each such part.
    """
    traits, reasons = scene.traits, {}
    if "elytra" in scene.removed:
        reasons["pattern"] = translate("The pattern lies on the elytra, which are gone.")
    elif traits.pattern == "plain":
        reasons["pattern"] = translate("The elytra are plain: there is no pattern to take away.")
    if traits.horn == "none":
        reasons["horn"] = translate("This beetle has no horn.")
    return reasons


def translated(options: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the options of a menu with what is shown in the reader's language.

    Args:
        options: (what is shown, value) each.

    Returns:
        The same values.
    """
    return [(translate(shown), value) for shown, value in options]


def in_words(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return values as a menu's options, each shown in the reader's language.

    Args:
        values: such as the names of the networks.

    Returns:
        (what is shown, value) each.
    """
    return translated([(value, value) for value in values])


def _species_options() -> list[tuple[str, str]]:
    """Return the species for a menu: (what is shown, value)."""
    return [(species_name(name), name) for name in SPECIES]


# ---- the page ------------------------------------------------------------------------------------


def group_controls(controls: Mapping[str, Any], reset: widgets.Button) -> dict[str, widgets.VBox]:
    """Put the controls in groups.

    Args:
        controls: by name, from `make_controls`.
        reset: the button that undoes all changes.

    Returns:
        Boxes by name, in their order on the page.
    """
    rows = []
    for part in BODY_PARTS:
        row = [controls[f"has {part}"]]
        if part in TRAIT_OF:
            row.append(controls[TRAIT_OF[part]])
        for control in row:
            control.layout.width = "50%"
        rows.append(widgets.HBox(row))
    method = [controls[name] for name in ("method", *OPTIONS, "target")]
    return {
        "network": _group(
            translate("1. A network and a picture"), controls["network"], controls["photograph"]
        ),
        "beetle": widgets.VBox([controls["species"], controls["seed"]]),
        "change": _group(translate("2. Change it")),
        "parts": widgets.VBox([*rows, controls["label"], controls["background"]]),
        "noise": widgets.VBox([controls["pixel_noise"], reset]),
        "method": _group(translate("3. Explain the answer"), *method),
    }


def _group(title: str, *controls: Any) -> widgets.VBox:
    """Return a box with a title."""
    return widgets.VBox([widgets.HTML(f"<h3>{title}</h3>"), *controls])


def make_view(name: str) -> widgets.HTML:
    """Return a widget for text on the page.

    Args:
        name: of the view; the widget's CSS class is `bx-<name>-view`.

    Returns:
        The empty widget.
    """
    view = widgets.HTML(layout={"width": "auto", "margin": "0"})
    view.add_class(f"bx-{name}-view")
    return view


def make_page(
    groups: Sequence[widgets.VBox],
    views: Mapping[str, widgets.HTML],
    progress: widgets.FloatProgress,
) -> widgets.VBox:
    """Lay out the page: the controls on the left, the results on the right.

    Args:
        groups: the boxes of controls.
        views: the widgets for text, by name.
        progress: the bar of progress.

    Returns:
        The page.
    """
    left = widgets.VBox(list(groups))
    left.add_class("bx-left")
    columns = widgets.HBox(
        [
            widgets.VBox([views["pictures"]], layout={"flex": "1 1 300px", "min_width": "0"}),
            widgets.VBox(
                [views["parts"], views["score"]], layout={"flex": "3 1 330px", "min_width": "0"}
            ),
        ],
        layout={"flex_flow": "row wrap", "grid_gap": "16px"},
    )
    right = widgets.VBox(
        [progress, views["error"], views["words"], columns, views["classes"]],
        layout={"flex": "1 1 250px", "min_width": "0"},
    )
    style = Path(__file__).with_name("style.css").read_text("utf-8")
    question = translate(
        "Untick a part. <b>Truth</b> is what the network loses without it; the <b>map</b> is what "
        "a method says about it. Do they agree?"
    )
    title = f"<h2>{translate('Take a beetle apart')}</h2><p>{question}</p>"
    head = widgets.HTML(f"<style>\n{style}</style>{in_language(title)}")
    both = widgets.HBox([left, right], layout={"flex_flow": "row wrap", "grid_gap": "16px"})
    page = widgets.VBox([head, both, _keep_keys()])
    page.add_class("beetle-explorer")
    return page


def in_language(html: str) -> str:
    """Say in which language a piece of the page is, so that a browser takes its letters.

    Args:
        html: the piece.

    Returns:
        The same piece; in English, which the page is in anyhow, without anything around it.
    """
    return f'<div lang="zh-CN">{html}</div>' if html and language() == "zh" else html


def _keep_keys() -> widgets.Output:
    """Return an invisible widget that keeps keys pressed in the app from JupyterLab.

    Without it JupyterLab takes arrows and letters for its own shortcuts wherever no text is typed:
    in a menu of the app, R would change the cell and X cut it out.
    """
    script = """<script>document.addEventListener("focusin", ({target}) => {
        if (target.closest?.(".beetle-explorer"))
            target.setAttribute("data-lm-suppress-shortcuts", "true");
    })</script>"""
    output = {"output_type": "display_data", "data": {"text/html": script}, "metadata": {}}
    return widgets.Output(outputs=(output,), layout={"height": "0", "overflow": "hidden"})
