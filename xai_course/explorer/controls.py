"""The explorer's controls and its page: what stands where, and what each is called.

Every control has a description or a tooltip for a screen reader, and a CSS class to find it by:
`bx-` and its name.
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from xai_course.beetlebox.ground_truth import BODY_PARTS
from xai_course.beetlebox.guide import species_name
from xai_course.beetlebox.scene import SPECIES, TRAITS
from xai_course.data.photographs import PHOTOGRAPHS
from xai_course.explorer.catalogue import NETWORKS
from xai_course.explorer.state import Selection
from xai_course.methods import METHODS

__all__ = ["GROUNDS", "LAST", "OWN", "TARGETS", "TRAIT_OF", "controls", "groups", "page", "view"]


GROUNDS = {"leaf": 4, "bark": 1, "sand": 0, "moss": 2}  # seeds whose ground is of this kind
OWN = -1  # the ground that the beetle has anyway; a menu takes None for nothing chosen
LAST = [("the last one", "")]  # what every network has for a layer
TARGETS = [("predicted, as drawn", "before"), ("predicted, changed", "after")]
TRAIT_OF = {"elytra": "outline", "pattern": "pattern", "horn": "horn", "antennae": "antennae"}


def controls(choice: Selection) -> dict[str, Any]:
    """Return one control for each field of a Choice but `without`, which has one for each part."""
    made: dict[str, Any] = {}

    def add(name: str, kind: Any, label: str, help_: str, value: Any, **options: Any) -> None:
        made[name] = kind(
            description=label,
            tooltip=help_,
            value=value,
            style={"description_width": "70px"},
            layout={"width": "auto"},
            **options,
        )
        made[name].add_class(f"bx-{name.replace(' ', '-')}")

    menu, box = widgets.Dropdown, widgets.Checkbox
    add("network", menu, "Network", "The network explained", choice.network, options=list(NETWORKS))
    names = [(species_name(name), name) for name in SPECIES]
    add("species", menu, "Species", "The species", choice.species, options=names)
    add(
        "seed",
        widgets.BoundedIntText,
        "Beetle no.",
        "Another number: another pose, other colours, another ground",
        choice.seed,
        min=0,
        max=2**31 - 1,
    )
    add(
        "photograph",
        menu,
        "Photo",
        "A photograph of scikit-image",
        choice.photograph,
        options=list(PHOTOGRAPHS),
    )
    for part in BODY_PARTS:
        there, meaning = part not in choice.without, " (wing cases)" if part == "elytra" else ""
        add(
            f"has {part}",
            box,
            part,
            f"Untick to take the {part}{meaning} away",
            there,
            indent=False,
        )
    for part, trait in TRAIT_OF.items():
        own = getattr(choice, trait) or getattr(SPECIES[choice.species], trait)
        add(trait, menu, "", f"Swap the {trait} ({part})", own, options=TRAITS[trait])
    add("label", box, "museum label", "Lay a museum label under it", choice.label, indent=False)
    ground = OWN if choice.ground is None else choice.ground
    grounds = [("its own", OWN), *GROUNDS.items()]
    add("ground", menu, "Ground", "Put it on another ground", ground, options=grounds)
    add(
        "pixel_noise",
        widgets.BoundedFloatText,
        "Noise",
        "Noise on the pixels: standard deviation, pixels being 0 to 1",
        choice.pixel_noise,
        min=0.0,
        max=0.3,
        step=0.02,
    )
    targets = [*TARGETS, *names]
    add("target", menu, "Class", "The class explained", choice.target, options=targets)
    add("method", menu, "Method", "The method", choice.method, options=list(METHODS))
    layer = choice.layer or ""
    known = LAST + [(layer, layer)] * bool(layer)
    add("layer", menu, "Layer", "Whose feature map", layer, options=known)
    shares = [("1/16 of side", 16), ("1/8 of side", 8), ("1/4 of side", 4)]
    add("window", menu, "Window", "The side of the window", 8, options=shares)
    strides = [("half a window", 2), ("a whole window", 1)]
    add("stride", menu, "Stride", "How far the window moves", 2, options=strides)
    number = widgets.BoundedIntText
    add("steps", number, "Steps", "Points on the way", choice.steps, min=1, max=64)
    add("samples", number, "Samples", "Noisy copies", choice.samples, min=1, max=64)
    add(
        "noise",
        widgets.BoundedFloatText,
        "Spread",
        "SmoothGrad's noise, as a share of the image's range",
        choice.noise,
        min=0.0,
        max=0.5,
        step=0.05,
    )
    add("rule", menu, "Rule", "LRP's rule", choice.rule, options=["gamma", "epsilon"])
    add(
        "baseline",
        menu,
        "Baseline",
        "What stands for nothing",
        choice.baseline,
        options=["black", "mean", "blur"],
    )
    return made


def groups(made: dict[str, Any], reset: widgets.Button) -> dict[str, widgets.VBox]:
    """Put the controls in groups: name to box."""
    rows = []
    for part in BODY_PARTS:
        row = [made[f"has {part}"]]
        if part in TRAIT_OF:
            row.append(made[TRAIT_OF[part]])
        for control in row:
            control.layout.width = "50%"
        rows.append(widgets.HBox(row))
    options = list(dict.fromkeys(option for row in METHODS.values() for option in row))
    named = {
        "network": ["1. A network and a picture", made["network"], made["photograph"]],
        "beetle": [None, made["species"], made["seed"]],
        "change": ["2. Change it"],
        "parts": [None, *rows, made["label"], made["ground"]],
        "noise": [None, made["pixel_noise"], reset],
        "method": ["3. Explain the answer", *(made[n] for n in ("method", *options, "target"))],
    }
    return {
        name: widgets.VBox([widgets.HTML(f"<h3>{title}</h3>"), *rest] if title else rest)
        for name, (title, *rest) in named.items()
    }


def view(name: str) -> widgets.HTML:
    """Return a place for text on the page."""
    made = widgets.HTML(layout={"width": "auto", "margin": "0"})
    made.add_class(f"bx-{name}-view")
    return made


def page(
    groups: list[widgets.VBox], views: dict[str, widgets.HTML], progress: widgets.FloatProgress
) -> widgets.VBox:
    """Lay out the page: the controls on the left, and on the right what they do."""
    left = widgets.VBox(groups)
    left.add_class("bx-left")
    shown = widgets.HBox(
        [
            widgets.VBox([views["pictures"]], layout={"flex": "1 1 300px", "min_width": "0"}),
            widgets.VBox(
                [views["parts"], views["score"]], layout={"flex": "3 1 330px", "min_width": "0"}
            ),
        ],
        layout={"flex_flow": "row wrap", "grid_gap": "16px"},
    )
    right = widgets.VBox(
        [progress, views["error"], views["words"], shown, views["classes"]],
        layout={"flex": "1 1 250px", "min_width": "0"},
    )
    title = (
        "<h2>Take a beetle apart</h2><p>Untick a part. <b>Truth</b> is what the network loses "
        "without it; the <b>map</b> is what a method says about it. Do they agree?</p>"
    )
    both = widgets.HBox([left, right], layout={"flex_flow": "row wrap", "grid_gap": "16px"})
    made = widgets.VBox([widgets.HTML(STYLE + title), both, _own_keys()])
    made.add_class("beetle-explorer")
    return made


def _own_keys() -> widgets.Output:
    """Return an invisible widget by which keys pressed in the app are the app's alone.

    Without it JupyterLab takes arrows and letters for its own shortcuts wherever no text is typed:
    in a menu of the app, R would change the cell and X cut it out.
    """
    script = """<script>document.addEventListener("focusin", ({target}) => {
        if (target.closest?.(".beetle-explorer"))
            target.setAttribute("data-lm-suppress-shortcuts", "true");
    })</script>"""
    output = {"output_type": "display_data", "data": {"text/html": script}, "metadata": {}}
    return widgets.Output(outputs=(output,), layout={"height": "0", "overflow": "hidden"})


STYLE = """<style>
.beetle-explorer {container: bx-app / inline-size; max-width: 1240px; font-size: 14px;
  line-height: 1.4; color: var(--jp-ui-font-color1, #222)}
.beetle-explorer .widget-html-content {line-height: 1.4; white-space: normal}
.beetle-explorer h2 {margin: 0; font-size: 20px}
.beetle-explorer h3 {margin: 10px 0 2px; font-size: 15px}
.beetle-explorer p {margin: 2px 0}
.bx-words-view dl {display: grid; grid-template-columns: 68px 1fr; gap: 4px 10px; margin: 0 0 10px;
  min-height: 112px; align-content: start; font-size: 15px}
.bx-words-view dt {margin: 0; width: auto; opacity: .85}
.bx-words-view dd {margin: 0; width: auto}
.bx-left {flex: 0 0 250px}
.bx-pictures-view {container: bx-pictures / inline-size}
.bx-pictures {display: grid; gap: 8px; grid-template-columns: repeat(2, minmax(0, 1fr));
  align-items: start}
@container bx-pictures (min-width: 540px) {
  .bx-four {grid-template-columns: repeat(4, minmax(0, 1fr))}
}
.bx-two {max-width: 460px}
.bx-pictures figure {margin: 0}
.bx-pictures img {width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block}
.bx-pictures figcaption {text-align: center}
.bx-empty {display: flex; align-items: center; justify-content: center; text-align: center;
  aspect-ratio: 1; padding: 8px; box-sizing: border-box; border: 2px dashed currentColor;
  opacity: .75}
.bx-hint {grid-column: span 2; aspect-ratio: 2}
.bx-legend {display: flex; align-items: center; justify-content: center; gap: 8px; margin: 6px 0}
.bx-legend i {width: 90px; height: 10px; display: inline-block}
table.bx-table {border-collapse: collapse; width: 100%; table-layout: auto; border: none;
  font-size: 14px; font-variant-numeric: tabular-nums; color: inherit}
.bx-table caption {text-align: left; font-weight: 700; padding: 8px 0 2px; color: inherit}
.bx-table th, .bx-table td {padding: 2px 6px 2px 0; text-align: left; border: none;
  background: none; white-space: nowrap; font-weight: 400; color: inherit}
.bx-table thead th {border-bottom: 1px solid currentColor}
.bx-table td[aria-hidden] {width: 40%}
.bx-table td:not([aria-hidden]) {text-align: right}
.bx-classes td[aria-hidden] {width: 70%}
.bx-track {position: relative; height: 16px; min-width: 50px; background: var(--jp-layout-color2,
  #eee)}
.bx-track > * {position: absolute; top: 0; bottom: 0}
.bx-track u {width: 1px; background: currentColor; opacity: .6}
.bx-track b {width: 2px; margin-left: -1px; top: -2px; bottom: -2px; background: currentColor}
.bx-away .bx-track i {opacity: .45}
.bx-table tr.bx-explained th, .bx-table tr.bx-explained td {font-weight: 700}
.bx-table small {font-weight: 400; opacity: .8}
.bx-note {font-size: 13px; opacity: .85}
.bx-error-view p {border-left: 4px solid #D55E00; padding: 4px 10px; font-weight: 700}
.bx-stale {opacity: .45}
@container bx-app (max-width: 620px) {
  .bx-left {flex-basis: 196px}
  .bx-table small {display: block}
  .bx-table th, .bx-table td {font-size: 13px; padding-right: 4px}
  .bx-table th {white-space: normal}
  .bx-track {min-width: 30px}
  .bx-words-view dl {grid-template-columns: 1fr; gap: 2px; font-size: 14px}
  .bx-words-view dt {font-size: 12px; margin-top: 4px}
}
</style>"""
