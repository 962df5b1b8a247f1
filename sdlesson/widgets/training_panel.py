"""Watch a training: how far it is, its loss as a curve, and the pictures it draws on the way.

Everything is an ordinary output that is replaced as it changes, so a saved notebook keeps the last.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.display import DisplayHandle, display
from PIL import Image, ImageOps

from sdlesson.figures import Chart, curves
from sdlesson.images import image_grid
from sdlesson.language import say
from sdlesson.photos import PhotoError, flatten
from sdlesson.widgets.parts import in_notebook

if TYPE_CHECKING:
    from sdlesson.finetuning.history import TrainingStep

DRAWING_SHARE = 0.015  # of a training's time, the most that drawing the curve may take
FIRST_DRAWING_S = 0.1  # guessed; from then on, what the last took
TELL_EVERY_S = 0.5
WINDOW = 25  # steps in the running mean, for the loss of one step is mostly chance
MAX_POINTS = 60
MAX_COLUMNS = 6
SAMPLE_PX = 128


class TrainingPanel:
    """Shows a training while it runs: `train(..., callback=TrainingPanel())`.

    It appears below the cell that trains, and takes less than 2% of the time. A training that was
    interrupted and goes on may be given the same panel: it shows all of it then.
    """

    def __init__(self) -> None:
        self._losses: dict[int, float] = {}
        self._samples: dict[int, Image.Image] = {}
        self._first: TrainingStep | None = None  # of this run
        self._newest: TrainingStep | None = None
        self._status: DisplayHandle | None = None
        self._picture: DisplayHandle | None = None
        self._began = self._told = self._drawing_s = 0.0
        self._last_drawing_s = FIRST_DRAWING_S

    def __call__(self, step: TrainingStep) -> None:
        """Take in one step, and show what there is time for; after the last, everything."""
        if self._newest is None or step.seconds < self._newest.seconds:
            self._begin(step)
        self._take(step)
        now, is_last = time.perf_counter(), step.index + 1 >= step.steps
        if is_last or now - self._told >= TELL_EVERY_S:
            self._told = now
            self._tell()
        if is_last or self._drawing_s + self._last_drawing_s <= DRAWING_SHARE * (now - self._began):
            self._draw()
            self._last_drawing_s = time.perf_counter() - now
            self._drawing_s += self._last_drawing_s

    @property
    def status(self) -> str:
        """How far the training is and how long it will take, in the reader's language."""
        first, newest = self._first, self._newest
        if first is None or newest is None:
            return say("No step yet.", "Todavía no hay ningún paso.")
        done, steps, loss = newest.index + 1, newest.steps, self._smooth(newest.index)
        loss_text = say(f"loss {loss:.4f}", f"pérdida {loss:.4f}")
        if done >= steps:
            spent = _duration(newest.seconds)
            return f"{say(f'{steps} steps in {spent}', f'{steps} pasos en {spent}')} · {loss_text}"
        text = f"{say(f'Step {done} of {steps}', f'Paso {done} de {steps}')} · {loss_text}"
        if newest.index == first.index:
            return text
        a_step_s = (newest.seconds - first.seconds) / (newest.index - first.index)
        left = _duration((steps - done) * a_step_s)
        return f"{text} · {say(f'about {left} left', f'quedan unos {left}')}"

    def chart(self) -> Chart:
        """The loss so far, as a running mean over `WINDOW` steps, over the sample pictures."""
        spread = _spread(sorted(self._losses), MAX_POINTS)
        shown = _spread(sorted(self._samples), MAX_COLUMNS)
        indices = sorted({*spread, *shown})
        loss = say("loss", "pérdida")
        return curves(
            [index + 1 for index in indices],
            {loss: [self._smooth(index) for index in indices]},
            x_label=say("steps", "pasos"),
            y_label=say(f"{loss}, mean of {WINDOW} steps", f"{loss}, media de {WINDOW} pasos"),
            pictures=[self._samples[i] if i in shown else None for i in indices] if shown else (),
        )

    def _begin(self, step: TrainingStep) -> None:
        """A run begins: its outputs belong below the cell that runs now."""
        self._first, self._began = step, time.perf_counter()
        self._told = self._drawing_s = 0.0
        self._status = self._picture = None
        for known in (self._losses, self._samples):
            for index in [index for index in known if index >= step.index]:
                del known[index]  # it goes on from an earlier checkpoint

    def _take(self, step: TrainingStep) -> None:
        self._newest = step
        self._losses[step.index] = step.loss
        if step.images:
            copies = [_small(image) for image in step.images]
            self._samples[step.index] = image_grid(copies, 1)

    def _smooth(self, index: int) -> float:
        window = [
            self._losses[i] for i in range(index - WINDOW + 1, index + 1) if i in self._losses
        ]
        return sum(window) / len(window)

    def _tell(self) -> None:
        step = self._newest
        if step is None:
            return
        bar = f'<progress value="{step.index + 1}" max="{step.steps}"></progress>'
        text = html.escape(self.status)
        data = {"text/plain": self.status, "text/html": f"{bar} <span>{text}</span>"}
        self._status = _show(data, self._status)

    def _draw(self) -> None:
        if in_notebook():
            self._picture = _show(self.chart(), self._picture)


def _small(image: Image.Image) -> Image.Image:
    """A small copy of a sample, grey where it is broken: a training goes on without it."""
    try:
        copy = flatten(image, "the sample")
    except PhotoError:
        return Image.new("RGB", (SAMPLE_PX, SAMPLE_PX), "grey")
    return ImageOps.pad(copy, (SAMPLE_PX, SAMPLE_PX), color="white")


def _show(thing: Chart | dict[str, str], handle: DisplayHandle | None) -> DisplayHandle | None:
    """Show something below the running cell, or in the place of what the handle stands for."""
    if not in_notebook():
        return None
    if handle is None:
        return display(thing, raw=isinstance(thing, dict), display_id=True)
    handle.update(thing, raw=isinstance(thing, dict))
    return handle


def _spread(indices: Sequence[int], most: int) -> list[int]:
    """At most so many of the indices, evenly spread, the first and the last among them."""
    if len(indices) <= most:
        return list(indices)
    return [indices[round(place * (len(indices) - 1) / (most - 1))] for place in range(most)]


def _duration(seconds: float) -> str:
    """A time as people say it: 48 s, 3:20 min."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02} min"
