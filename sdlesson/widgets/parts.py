"""What the playground is made of, fields, buttons, cards; and what other widgets share with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Event, Thread
from typing import ClassVar, TypeVar
from weakref import WeakMethod, WeakValueDictionary

from IPython.core.getipython import get_ipython
from ipywidgets import (  # type: ignore[import-untyped]
    BoundedIntText,
    Box,
    Button,
    DOMWidget,
    FloatSlider,
    Image,
    IntSlider,
    Text,
    VBox,
)
from PIL import Image as Pictures

from sdlesson.drawing import Drawing
from sdlesson.images import encode_png
from sdlesson.language import say
from sdlesson.settings import DEFAULT_STEPS

MAX_SEED = 2**53 - 1  # a browser counts no further
MAX_STEPS = 100
THUMBNAIL_PX = 192  # twice the size shown, for fine screens

Widget = TypeVar("Widget", bound=DOMWidget)

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # else Python prints tracebacks below some cell


@dataclass(frozen=True)
class FieldValues:
    """What is asked of one drawing, under the names that `draw` has for it."""

    prompt: str
    negative_prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float


class Fields(VBox):
    """The settings of a picture, each under its label."""

    def __init__(self) -> None:
        example = say("an astronaut riding a horse on Mars", "un panda en la nieve, de noche")
        self.prompt = _field(Text(description="Prompt", placeholder=example))
        self.negative_prompt = _field(
            Text(
                description=say("Negative prompt", "Prompt negativo"),
                placeholder=say("what to keep out", "lo que no debe salir"),
            )
        )
        self.seed = _field(BoundedIntText(0, max=MAX_SEED, description=say("Seed", "Semilla")))
        self.steps = _field(
            IntSlider(DEFAULT_STEPS, 1, MAX_STEPS, description=say("Steps", "Pasos"))
        )
        self.guidance = _field(
            FloatSlider(
                value=7.5,
                min=1,
                max=20,
                step=0.5,
                readout_format=".1f",
                description=say("Guidance", "Guía"),
            )
        )
        super().__init__([self.prompt, self.negative_prompt, self.seed, self.steps, self.guidance])
        add_css_class(self, "sd-fields")

    def read(self) -> FieldValues:
        """Take the settings as they are now."""
        return FieldValues(
            self.prompt.value,
            self.negative_prompt.value,
            self.seed.value,
            self.steps.value,
            self.guidance.value,
        )

    def write(self, drawing: Drawing) -> None:
        """Set the settings to those of a drawing."""
        self.prompt.value, self.negative_prompt.value = drawing.prompt, drawing.negative_prompt
        self.seed.value, self.steps.value = drawing.seed, drawing.num_inference_steps
        self.guidance.value = drawing.guidance_scale


class Buttons(Box):
    """Draw, draw from other noise, stop."""

    def __init__(
        self, draw: Callable[[], None], draw_new_seed: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        self.draw = Button(
            description=say("Draw", "Dibujar"), icon="paint-brush", button_style="primary"
        )
        self.new_seed = Button(
            description=say("New seed", "Otra semilla"),
            icon="random",
            tooltip=say("Draw the same words from other noise", "Las mismas palabras, otro ruido"),
        )
        self.stop = Button(description=say("Stop", "Detener"), icon="stop", disabled=True)
        self.draw.on_click(lambda _: draw())
        self.new_seed.on_click(lambda _: draw_new_seed())
        self.stop.on_click(lambda _: stop())
        super().__init__([self.draw, self.new_seed, self.stop])
        add_css_class(self, "sd-buttons")


class Card(VBox):
    """An earlier picture: all of it is a button, which brings its settings back.

    Cards are made empty, before any drawing: some front ends miss widgets that a thread makes.
    """

    def __init__(self, index: int, bring_back: Callable[[int], None]) -> None:
        self.image, self.button = Image(format="png"), Button()
        self.button.on_click(lambda _: bring_back(index))
        super().__init__([self.image, self.button], layout={"display": "none"})
        add_css_class(self, "sd-card")

    def show(self, drawing: Drawing) -> None:
        """Show a drawing's picture, and its settings where the mouse rests on it."""
        thumbnail = drawing.image.copy()
        thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        self.image.value = png(thumbnail)
        seed, steps = drawing.seed, drawing.num_inference_steps
        guidance = drawing.guidance_scale
        self.button.description = drawing.prompt
        self.button.tooltip = f"{drawing.prompt} · {seed=} · {steps=} · {guidance=}"
        self.layout.display = None


class PollingThread(Thread):
    """Calls a method of a panel again and again, in a thread that ends with the panel.

    Of the panels that poll one thing only the latest goes on, or each run of a cell would leave a
    thread behind.

    Args:
        of: What is polled.
        poll: A method of the panel; once it returns False, there is nothing more to see.
        every_s: How long to wait in between.
    """

    _latest: ClassVar[WeakValueDictionary[Hashable, PollingThread]] = WeakValueDictionary()

    def __init__(self, of: Hashable, poll: Callable[[], bool], every_s: float, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._of, self._poll, self._every_s = of, WeakMethod(poll), every_s
        self._over = Event()

    @property
    def is_polling(self) -> bool:
        """Whether it goes on: nothing has ended it yet."""
        return self.is_alive() and not self._over.is_set()

    def start(self) -> None:
        """Begin to poll, and stop the thread that polled the same thing before."""
        before = self._latest.get(self._of)
        if before is not None:
            before.stop()
        self._latest[self._of] = self
        super().start()

    def stop(self) -> None:
        """End the thread, at the latest before its next poll."""
        self._over.set()

    def run(self) -> None:
        """Poll until `stop`, until nothing more can come, or until the panel is gone."""
        while not self._over.wait(self._every_s) and self._poll_once():
            pass

    def _poll_once(self) -> bool:
        poll = self._poll()  # held no longer than this, so that the panel can go
        try:
            return poll is not None and poll()
        except Exception:  # a thread's error would be lost
            _log.exception("A panel cannot show what it polls")
            return True


def close_all(widget: DOMWidget) -> None:
    """Close a widget and all inside it, which the list of all widgets would keep for ever."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()


def _field(widget: Widget) -> Widget:
    widget.continuous_update = False
    return add_css_class(widget, "sd-field")


def add_css_class(widget: Widget, style: str) -> Widget:
    """Give a widget its class in `playground.css`."""
    widget.add_class(style)
    return widget


def in_notebook() -> bool:
    """Whether outputs can be replaced: not in a terminal."""
    return getattr(get_ipython(), "kernel", None) is not None


def png(image: Pictures.Image) -> bytes:
    """Turn a picture into what an image widget shows."""
    return encode_png(image, {})
