"""The explorer: change a beetle, and watch the explanation and the ground truth change together.

    from xai_course.explorer import explorer
    explorer()

`state` computes the results, `views` writes them as text, `controls` makes the widgets. Here they
are connected, by a thread that works only on the newest selection, so that the controls never wait
for a slow method.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from threading import Lock, Thread, main_thread
from time import monotonic
from typing import Any

import ipywidgets as widgets

from xai_course.beetlebox.ground_truth import BODY_PARTS
from xai_course.beetlebox.guide import species_name
from xai_course.beetlebox.scene import SPECIES, TRAITS, Scene
from xai_course.core.checks import check_choice
from xai_course.core.translation import language as readers_language
from xai_course.core.translation import message, translate, use_language
from xai_course.explorer.catalogue import NETWORKS, PHOTO_NETWORK, layers_with_maps
from xai_course.explorer.controls import (
    LAST_LAYER,
    OPTIONS,
    OWN_BACKGROUND,
    TARGETS,
    absent_parts,
    group_controls,
    in_language,
    make_controls,
    make_page,
    make_view,
    translated,
)
from xai_course.explorer.state import (
    ExplorerResult,
    Selection,
    run_method,
    run_model,
    scene_of,
)
from xai_course.explorer.views import all_views, first_views
from xai_course.methods import METHODS

__all__ = ["LatestOnly", "explorer"]


# Where it begins by itself: the beetle of lesson 00. Another one might answer the prediction of
# lesson 01 before it is made.
START = Selection(species="Globaria_cervina", seed=15)
PATIENCE = 0.2  # seconds: a quicker run is shown, a longer one stops for the next selection


def explorer(selection: Selection | None = None, *, language: str | None = None) -> widgets.VBox:
    """Return the app as a widget, which a notebook shows when it is a cell's last line.

    Args:
        selection: the values to begin with; None for the beetle of lesson 00. Window and stride
            begin with their defaults.
        language: "en" or "zh"; None for the reader's (LANG_COURSE, or the system's language).

    Returns:
        The app.

    Raises:
        ValueError: for an unknown network, method or language, and as `scene_of` does.
    """
    selection = selection or START
    check_choice("network", selection.network, NETWORKS)
    check_choice("method", selection.method, METHODS)
    scene_of(selection)
    with use_language(language or readers_language()):
        return _App(selection).page


class Superseded(Exception):
    """A newer selection waits: the work on this one has ended."""


class LatestOnly:
    """Work on the newest request in a thread, and drop the requests that it replaced.

    `work` is called with one request at a time. While it runs, `is_superseded()` says whether it
    should stop. The thread ends when there is nothing to do.
    """

    def __init__(self, work: Callable[[Any], None]) -> None:
        """Start nothing yet."""
        self._work = work
        self._lock = Lock()
        self._next: list[Any] = []  # one request or none
        self._thread: Thread | None = None

    def request(self, request: Any) -> None:
        """Replace the request that waits, if there is one, and return at once.

        Args:
            request: what `work` will be called with.
        """
        with self._lock:
            self._next[:] = [request]
            if self._thread is None:
                self._thread = Thread(target=self._run)
                self._thread.start()

    def is_superseded(self) -> bool:
        """Say whether a newer request waits, or Python is about to end.

        Returns:
            Whether the work should stop.
        """
        return bool(self._next) or not main_thread().is_alive()

    def join(self) -> None:
        """Wait until all is done."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._next or not main_thread().is_alive():
                    self._thread = None
                    return
                request = self._next.pop()
            self._work(request)


class _App:
    """The controls and the views, and what happens when a control changes."""

    def __init__(self, selection: Selection) -> None:
        self.language = readers_language()  # later calls come from other threads
        self.requested: Selection | None = None
        self.network = ""  # the network whose layers and classes the menus offer
        self.setting_several = False  # several controls are being set: ask after the last
        self.worker = LatestOnly(self.compute)
        names = ("error", "words", "pictures", "parts", "score", "classes")
        self.views = {name: make_view(name) for name in names}
        self.progress = widgets.FloatProgress(
            max=1.0, style={"description_width": "initial"}, layout={"width": "auto"}
        )
        self.progress.add_class("bx-progress")
        self.controls = make_controls(selection)
        self.groups = group_controls(self.controls, self.make_reset_button())
        self.absent = make_view("absent")  # why a part is greyed
        self.groups["parts"].children += (self.absent,)
        self.page = make_page(list(self.groups.values()), self.views, self.progress)
        self.show_idle()
        for control in self.controls.values():
            control.observe(self.on_change, "value")
        self.show_relevant_controls()
        self.show(first_views())
        self.ask()

    def make_reset_button(self) -> widgets.Button:
        button = widgets.Button(
            description=translate("Undo all changes"),
            tooltip=translate("Show the beetle as drawn again"),
            layout={"width": "auto"},
        )
        button.add_class("bx-reset")
        button.on_click(lambda _button: self.undo_changes())
        return button

    # ---- the reader changes a control ----

    def on_change(self, change: Any) -> None:
        """Ask for a new result, unless more controls are being set."""
        if self.setting_several:
            return
        if change.owner is self.controls["species"]:
            self.set_traits_of_species()
        if change.owner is self.controls["network"]:
            self.set_values(layer="", target="before")
        with use_language(self.language):
            self.show_relevant_controls()
        self.ask()

    def set_values(self, **values: Any) -> None:
        """Set controls without asking for anything in between."""
        self.setting_several = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self.setting_several = False

    def set_traits_of_species(self) -> None:
        """Give the beetle the traits of its species."""
        traits = SPECIES[self.controls["species"].value]
        self.set_values(**{trait: getattr(traits, trait) for trait in TRAITS})

    def undo_changes(self) -> None:
        """Show the beetle as drawn, without noise."""
        self.set_traits_of_species()
        parts = {f"has {part}": True for part in BODY_PARTS}
        self.set_values(**parts, label=False, background=OWN_BACKGROUND, pixel_noise=0.0)
        with use_language(self.language):
            self.show_relevant_controls()
        self.ask()

    def show_relevant_controls(self) -> None:
        """Hide the controls that have no effect now, and disable the parts that are not there."""
        is_photo = self.controls["network"].value == PHOTO_NETWORK
        for name in ("beetle", "parts"):
            _display(self.groups[name], not is_photo)
        _display(self.controls["photograph"], is_photo)
        method = METHODS[self.controls["method"].value]
        for option in OPTIONS:
            _display(self.controls[option], option in method.options)
        scene = Scene(self.controls["species"].value, 0).with_trait(
            **{trait: self.controls[trait].value for trait in TRAITS}
        )
        if not self.controls["has elytra"].value:
            scene = scene.without("elytra")
        reasons = absent_parts(scene)
        for part in BODY_PARTS:
            self.controls[f"has {part}"].disabled = part in reasons
        text = f'<p role="status">{" ".join(reasons.values())}</p>' if reasons else ""
        self.absent.value = in_language(text)

    def read_selection(self) -> Selection:
        """Read the controls."""
        values = {name: control.value for name, control in self.controls.items()}
        without = tuple(part for part in BODY_PARTS if not values.pop(f"has {part}"))
        size = 224 if values["network"] == PHOTO_NETWORK else 64
        # The menus hold shares: of the image's side, and of the window.
        window = size // values["window"]
        stride = window // values["stride"]
        background = values["background"]
        values |= {
            "layer": values["layer"] or None,
            "background": None if background == OWN_BACKGROUND else background,
            "window": window,
            "stride": stride,
        }
        return Selection(**values, without=without)

    def ask(self) -> None:
        """Ask for the result of the controls' values, unless it was the last one asked for."""
        selection = self.read_selection()
        if selection != self.requested:
            self.requested = selection
            self.fade()
            self.worker.request(selection)

    # ---- in the thread ----

    def compute(self, selection: Selection) -> None:
        """Compute and show the result of one selection; a long run stops for a newer one."""
        with use_language(self.language):
            self.compute_in_language(selection)

    def compute_in_language(self, selection: Selection) -> None:
        """Do the work of `compute`, in the language of this thread."""
        started, last_shown = monotonic(), 0.0
        result: ExplorerResult | None = None
        without_maps: dict[str, str] = {}

        # This runs inside a pass of the network, so it must not call PyTorch.
        def on_progress(share: float) -> None:
            nonlocal last_shown
            now = monotonic()
            if now - started < PATIENCE:
                return
            if not last_shown:
                self.show(without_maps)
            if self.worker.is_superseded():
                raise Superseded
            if now - last_shown > 0.1:
                last_shown = now
                self.show_busy(selection.method, share)

        try:
            if selection.network != self.network:
                self.show_busy(translate("opening the network"), 0.0)
            result = run_model(selection)
            self.update_menus(result)
            without_maps.update(all_views(result))
            self.show(all_views(run_method(result, on_progress)))
        except Superseded:
            pass
        except ValueError as error:
            self.show_error(str(error), result)
        except Exception as error:  # the reader gets a sentence, whatever it is
            self.show_error(f"{type(error).__name__}: {error}", result)
        finally:
            self.show_idle()

    def show(self, html: dict[str, str]) -> None:
        """Show HTML by the name of its view; it stays faded where a newer selection waits."""
        for name, text in html.items():
            self.views[name].value = in_language(text)
            if not self.worker.is_superseded():
                self.views[name].remove_class("bx-stale")

    def fade(self) -> None:
        """Fade all results: they are not those of the controls."""
        for name in self.views.keys() - {"error"}:
            self.views[name].add_class("bx-stale")

    def show_error(self, problem: str, result: ExplorerResult | None) -> None:
        """Show an error, and the result without its map; without a result, fade the old one."""
        if result is not None:
            self.show(all_views(result, message("no map")))
        else:
            self.fade()
        self.views["error"].value = f'<p role="alert">{escape(problem)}</p>'

    def update_menus(self, result: ExplorerResult) -> None:
        """Offer the layers and the classes of this network; of many classes, the likeliest ten."""
        network, target = result.selection.network, self.controls["target"]
        names = list(result.classes)
        if len(names) > 10:
            names = [names[index] for index in result.logits[0].topk(10).indices.tolist()]
        classes = [*translated(TARGETS), *((species_name(name), name) for name in names)]
        if network == self.network and list(target.options) == classes:
            return
        self.setting_several = True
        layers = [(layer, layer) for layer in layers_with_maps(network)]
        _offer(self.controls["layer"], translated([LAST_LAYER, *layers]))
        _offer(target, classes)
        self.setting_several = False
        self.ask()  # a control that the reader changed meanwhile was not asked for
        self.network = network

    def show_busy(self, label: str, share: float) -> None:
        """Show the progress of a method."""
        self.progress.description, self.progress.value = label, share
        self.progress.layout.visibility = "visible"

    def show_idle(self) -> None:
        """Show that nothing runs."""
        self.progress.layout.visibility = "hidden"


def _display(widget: Any, shown: bool) -> None:
    """Show or hide a widget."""
    widget.layout.display = "" if shown else "none"


def _offer(menu: widgets.Dropdown, options: list[tuple[str, str]]) -> None:
    """Give a menu other options; its value stays if it is still there, else the first is chosen."""
    value = menu.value
    menu.options = options
    menu.value = value if value in dict(options).values() else options[0][1]
