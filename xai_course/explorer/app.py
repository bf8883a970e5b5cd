"""The explorer: take a beetle apart, and watch the explanation and the truth move together.

    from xai_course.explorer import explorer
    explorer()

What is computed stands in `exploring`, how it is said in `readout`. Here are the controls, and a
thread that works on the newest choice alone, so that the controls never wait for a slow method.
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
from xai_course.explorer.catalogue import NETWORKS, PHOTO_NETWORK, check, layers
from xai_course.explorer.controls import LAST, OWN, TARGETS, controls, groups, page, view
from xai_course.explorer.state import ExplorerResult, Selection, explain, run_model, scene_of
from xai_course.explorer.views import views
from xai_course.methods import METHODS

__all__ = ["Latest", "explorer"]


PATIENCE = 0.2  # seconds: a quicker run is shown, a longer one gives way to the next choice


def explorer(choice: Selection | None = None) -> widgets.VBox:
    """Return the app as a widget, which a notebook shows when it is a cell's last line.

    `choice`: what to begin with; window and stride begin with their defaults. Raises ValueError for
    an unknown network or method, and as `scene_of` does.
    """
    choice = choice or Selection()
    check("network", choice.network, NETWORKS)
    check("method", choice.method, METHODS)
    scene_of(choice)
    return _App(choice).box


class Superseded(Exception):
    """There is a newer choice: the work on this one has ended."""


class Latest:
    """Does the newest of what is asked for, in a thread; what came in between is never done.

    `work` is called with one request at a time. While it runs, `waiting()` says whether it should
    give way. The thread ends when there is nothing to do.
    """

    def __init__(self, work: Callable[[Any], None]) -> None:
        """Start nothing yet."""
        self._work = work
        self._lock = Lock()
        self._next: list[Any] = []  # one request or none
        self._thread: Thread | None = None

    def ask(self, request: Any) -> None:
        """Put a request in the place of one that waits; return at once."""
        with self._lock:
            self._next[:] = [request]
            if self._thread is None:
                self._thread = Thread(target=self._run)
                self._thread.start()

    def waiting(self) -> bool:
        """Say whether a newer request waits, or Python is about to end."""
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
    """The controls and the views, and what happens when a control moves."""

    def __init__(self, choice: Selection) -> None:
        self.asked: Selection | None = None
        self.network = ""  # whose layers and classes the menus show
        self.together = False  # several controls are being set: ask when all are
        self.latest = Latest(self.work)
        names = ("error", "words", "pictures", "parts", "score", "classes")
        self.views = {name: view(name) for name in names}
        self.progress = widgets.FloatProgress(
            max=1.0, style={"description_width": "initial"}, layout={"width": "auto"}
        )
        self.progress.add_class("bx-progress")
        self.controls = controls(choice)
        self.groups = groups(self.controls, self.reset_button())
        self.box = page(list(self.groups.values()), self.views, self.progress)
        self.idle()
        for control in self.controls.values():
            control.observe(self.moved, "value")
        self.fit()
        self.ask()

    def reset_button(self) -> widgets.Button:
        button = widgets.Button(
            description="Undo all changes",
            tooltip="Show the beetle as drawn again",
            layout={"width": "auto"},
        )
        button.add_class("bx-reset")
        button.on_click(lambda _button: self.reset())
        return button

    # ---- the reader moves a control ----

    def moved(self, change: Any) -> None:
        """Do what a control asks for, unless more of them are on their way."""
        if self.together:
            return
        if change.owner is self.controls["species"]:
            self.own_traits()
        if change.owner is self.controls["network"]:
            self.set(layer="", target="before")
        self.fit()
        self.ask()

    def set(self, **values: Any) -> None:
        """Set controls without asking for anything in between."""
        self.together = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self.together = False

    def own_traits(self) -> None:
        """Give the beetle the traits of its species."""
        traits = SPECIES[self.controls["species"].value]
        self.set(**{trait: getattr(traits, trait) for trait in TRAITS})

    def reset(self) -> None:
        """Undo all changes."""
        self.own_traits()
        parts = {f"has {part}": True for part in BODY_PARTS}
        self.set(**parts, label=False, ground=OWN, pixel_noise=0.0)
        self.fit()
        self.ask()

    def fit(self) -> None:
        """Show the controls that mean something now."""
        photo = self.controls["network"].value == PHOTO_NETWORK
        for name, group in self.groups.items():
            if name in ("beetle", "parts"):
                group.layout.display = "none" if photo else ""
        self.controls["photograph"].layout.display = "" if photo else "none"
        options = METHODS[self.controls["method"].value]
        for name in {option for row in METHODS.values() for option in row}:
            self.controls[name].layout.display = "" if name in options else "none"
        scene = Scene(self.controls["species"].value, 0).with_trait(
            **{trait: self.controls[trait].value for trait in TRAITS}
        )
        if not self.controls["has elytra"].value:
            scene = scene.without("elytra")
        for part in BODY_PARTS:
            self.controls[f"has {part}"].disabled = part not in scene.parts and part != "elytra"

    def choice(self) -> Selection:
        """Read the controls."""
        value = {name: control.value for name, control in self.controls.items()}
        without = tuple(part for part in BODY_PARTS if not value.pop(f"has {part}"))
        size = 224 if value["network"] == PHOTO_NETWORK else 64
        window = size // value.pop("window")
        stride = window // value.pop("stride")
        ground = None if value["ground"] == OWN else value["ground"]
        own = {"layer": value["layer"] or None, "ground": ground}
        return Selection(**{**value, **own}, without=without, window=window, stride=stride)

    def ask(self) -> None:
        """Ask for what the controls say, unless that was the last thing asked for."""
        choice = self.choice()
        if choice != self.asked:
            self.asked = choice
            self.latest.ask(choice)

    # ---- in the thread ----

    def work(self, choice: Selection) -> None:
        """Compute and show one choice; where it takes long, give way to a newer one."""
        started, shown = monotonic(), 0.0
        found: ExplorerResult | None = None
        so_far: dict[str, str] = {}

        def tick(share: float) -> None:  # runs inside a pass of the network: no PyTorch in here
            nonlocal shown
            now = monotonic()
            if now - started < PATIENCE:
                return
            if not shown:
                self.show(so_far)
            if self.latest.waiting():
                raise Superseded
            if now - shown > 0.1:
                shown = now
                self.busy(choice.method, share)

        try:
            if choice.network != self.network:
                self.busy("opening the network", 0.0)
            found = run_model(choice)
            self.menus(found)
            so_far.update(views(found))
            self.show(views(explain(found, tick)))
        except Superseded:
            pass
        except ValueError as error:
            self.fail(str(error), found)
        except Exception as error:  # whatever it is, the reader gets a sentence
            self.fail(f"{type(error).__name__}: {error}", found)
        finally:
            self.idle()

    def show(self, html: dict[str, str]) -> None:
        """Show what was found."""
        for name, text in html.items():
            self.views[name].value = text
            self.views[name].remove_class("bx-stale")

    def fail(self, message: str, found: ExplorerResult | None) -> None:
        """Show what went wrong, and what was found before it; if nothing was, pale the old."""
        if found is not None:
            self.show(views(found, "no map"))
        else:
            for name in self.views.keys() - {"error"}:
                self.views[name].add_class("bx-stale")
        self.views["error"].value = f'<p role="alert">{escape(message)}</p>'

    def menus(self, found: ExplorerResult) -> None:
        """Offer the layers and the classes of this network (of a photograph, the likeliest)."""
        choice, target = found.choice, self.controls["target"]
        names = list(found.classes)
        if len(names) > 10:
            names = [names[place] for place in found.logits[0].topk(10).indices.tolist()]
        options = [*TARGETS, *((species_name(name), name) for name in names)]
        if choice.network == self.network and list(target.options) == options:
            return
        self.together = True
        named = [(layer, layer) for layer in layers(choice.network)]
        _offer(self.controls["layer"], [*LAST, *named])
        _offer(target, options)
        self.together = False
        self.ask()  # for what was moved in this moment
        self.network = choice.network

    def busy(self, what: str, share: float) -> None:
        """Show how far a method is."""
        self.progress.description, self.progress.value = what, share
        self.progress.layout.visibility = "visible"

    def idle(self) -> None:
        """Show that nothing runs."""
        self.progress.layout.visibility = "hidden"


def _offer(menu: widgets.Dropdown, options: list[tuple[str, str]]) -> None:
    """Give a menu other options; what was chosen stays if it is still there, else the first is."""
    chosen = menu.value
    menu.options = options
    menu.value = chosen if chosen in dict(options).values() else options[0][1]
