"""A playground: words and settings in, and a picture comes out of the noise before your eyes.

It draws in a thread of its own, so that the kernel stays free and *Stop* stops at the next step.
"""

from __future__ import annotations

import atexit
import html
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event, RLock, Thread, Timer
from weakref import WeakSet, ref

import torch
from diffusers import StableDiffusionPipeline
from ipywidgets import (  # type: ignore[import-untyped]
    HTML,
    Box,
    DOMWidget,
    Image,
    IntProgress,
    VBox,
)
from PIL import Image as Pictures
from torch import Generator

from sdlesson.copies import check_loaded
from sdlesson.diffusion import DenoisingStep, denoise
from sdlesson.drawing import Drawing, decode_and_check, prompt_notes
from sdlesson.language import say
from sdlesson.pipelines import model_name
from sdlesson.safety import flag_note
from sdlesson.settings import DEFAULT_STEPS
from sdlesson.widgets.parts import Buttons, Card, Fields, FieldValues, add_css_class, close_all, png

MAX_HISTORY = 8
NEW_SEEDS = 10_000  # short enough to tell a friend
PREVIEW_SHARE = 1 / 3  # of a drawing's time, about as much as previews may take
LEAVE_TIMEOUT_S = 10
REPLAY_S = 0.08  # how long each guess is shown of a picture that has passed the safety checker
MAX_GUESSES = 10
STYLE_FILE = Path(__file__).with_suffix(".css")
ENTER_DELAY_S = 0.2  # a browser says first that Enter was pressed, and then what was typed

_open: WeakSet[Playground] = WeakSet()

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # else Python prints tracebacks below some cell


class Playground(VBox):
    """Widgets that draw with a pipeline; as the last line of a cell, `Playground(pipe)` shows them.

    Showing it draws nothing. *Draw*, or Enter in a text, begins a picture; *Stop* ends it at its
    next step; a click on an earlier picture brings its settings back. What goes wrong is told in
    one sentence; the traceback goes to the log, which `logging.basicConfig()` makes visible.

    A saved notebook keeps no widgets. So a lesson first draws a picture for those who only read,
    in a cell of its own such as `draw("a panda in the snow", pipe=pipe, seed=0)`.

    A safety checker can judge only what is finished. So with one the picture comes out of the noise
    once it has passed, and is shown step by step while it is drawn only by a pipeline without one.

    `stop()` and `close()` let go of the pipeline, so that its memory can be had again.

    Attributes:
        drawings: The finished pictures with their settings, newest first, at most `MAX_HISTORY`.

    Raises:
        ValueError: The pipe is not loaded, such as the name of a model.
    """

    def __init__(self, pipe: StableDiffusionPipeline) -> None:
        self._over = Event()  # set once the newest drawing may show nothing more
        self._over.set()
        self._pipe: StableDiffusionPipeline | None = check_loaded(pipe)
        self._known_pipe = ref(pipe)  # after `stop()`, for as long as something else holds it
        self.drawings: list[Drawing] = []
        self._thread: Thread | None = None
        self._lock = RLock()  # held while something is shown, so that "Stopped" has the last word
        self.fields = Fields()
        self.buttons = Buttons(self.draw, self.draw_new_seed, self._stop_drawing)
        noise = Pictures.effect_noise((64, 64), 50).point(lambda level: 180 + level // 4)
        self.picture = Image(value=png(noise), format="png")
        self.progress = IntProgress(max=DEFAULT_STEPS)
        self.status = HTML()
        self.history = [Card(index, self.bring_back) for index in range(MAX_HISTORY)]
        picture = add_css_class(VBox([self.picture, self.progress]), "sd-picture")
        settings = add_css_class(VBox([self.fields, self.buttons, self.status]), "sd-settings")
        history = add_css_class(Box(self.history), "sd-history")
        rules = STYLE_FILE.read_text(encoding="utf-8")
        style = HTML(f"<style>{rules}</style>", layout={"display": "none"})
        super().__init__([style, add_css_class(Box([picture, settings]), "sd-row"), history])
        add_css_class(self, "sd-playground")
        for text in (self.fields.prompt, self.fields.negative_prompt):
            text.on_msg(self._draw_on_enter)
        self._say(say("Write a prompt and press Enter.", "Escribe un prompt y pulsa Intro."))
        _open.add(self)

    def draw(self) -> None:
        """Begin a picture with the settings shown; the one under way is stopped first."""
        with self._lock:
            self._stop_drawing()
            request, pipe = self.fields.read(), self._known_pipe()
            if not request.prompt.strip():
                self._say(say("Say in the prompt what to draw.", "Di en el prompt qué dibujar."))
                return
            if pipe is None:
                self._say(_gone())
                return
            self.progress.value, self.progress.max = 0, request.num_inference_steps
            self.buttons.stop.disabled = False
            self._say(say("Reading the prompt.", "Leyendo el prompt."))
            self._over, before = Event(), self._thread
            work = (pipe, request, self._over, before)
            self._thread = Thread(target=self._work, args=work, daemon=True)
            self._thread.start()

    def draw_new_seed(self) -> None:
        """Begin a picture from other noise."""
        self.fields.seed.value = secrets.randbelow(NEW_SEEDS)
        self.draw()

    def stop(self) -> None:
        """Stop the picture under way at its next step, and hold the pipeline no longer.

        It can go on to draw for as long as something else holds the pipeline.
        """
        self._stop_drawing()
        self._pipe = None

    def close(self) -> None:
        """Stop, and take the widgets away."""
        self._over.set()
        self._pipe = None
        for child in self.children:
            close_all(child)
        super().close()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the picture under way is finished, or has stopped."""
        if self._thread:
            self._thread.join(timeout_s)

    def bring_back(self, index: int) -> None:
        """Show an earlier picture and its settings again; 0 is the newest.

        Raises:
            ValueError: There is no such picture.
        """
        with self._lock:
            if index not in range(len(self.drawings)):
                raise ValueError(f"index={index!r} is none of the {len(self.drawings)} pictures")
            self._stop_drawing()
            drawing = self.drawings[index]
            self.fields.write(drawing)
            self.picture.value = png(drawing.image)
            self.progress.value = 0
            back = say("This picture's settings are back.", "Vuelven los ajustes de esta imagen.")
            self._say(back, *[flag_note()] * drawing.flagged)

    def _stop_drawing(self) -> None:
        done, steps = self.progress.value, self.progress.max
        english = f"Stopped after {done} of {steps} steps."
        self._end(self._over, say(english, f"Detenido tras {done} de {steps} pasos."))

    def _work(
        self,
        pipe: StableDiffusionPipeline,
        request: FieldValues,
        over: Event,
        before: Thread | None,
    ) -> None:
        """Draw in a thread, once the thread before it has ended."""
        if before:
            before.join()
        try:
            self._draw(pipe, request, over)
        except Exception as error:  # a thread's error would be lost, and a student wants a sentence
            _log.exception("The playground cannot draw %s", request)
            self._end(over, _sentence(error))

    def _draw(self, pipe: StableDiffusionPipeline, request: FieldValues, over: Event) -> None:
        started, previewing_s = time.perf_counter(), 0.0
        held: list[Pictures.Image] = []  # guesses, which may pass where the end does not
        texts = (request.prompt, request.negative_prompt)
        notes = [note for text in texts for note in prompt_notes(pipe, text)]
        steps = denoise(
            pipe,
            request.prompt,
            negative_prompt=request.negative_prompt,
            guidance_scale=request.guidance_scale,
            num_inference_steps=request.num_inference_steps,
            generator=Generator("cpu").manual_seed(request.seed),
        )
        for step in steps:
            self._show_step(step, over, notes)
            if over.is_set():
                return
            before_s = time.perf_counter()
            if previewing_s <= PREVIEW_SHARE * (before_s - started):
                guess, is_flagged = decode_and_check(pipe, step.pred_original_sample)
                if pipe.safety_checker is None:
                    self._show_picture(guess, over)
                elif not is_flagged:
                    held.append(guess)
                previewing_s += time.perf_counter() - before_s
        image, flagged = decode_and_check(pipe, step.latents)
        scheduler, model = type(pipe.scheduler).__name__, model_name(pipe)
        drawing = Drawing(
            image, **asdict(request), scheduler=scheduler, model=model, flagged=flagged
        )
        seconds = time.perf_counter() - started
        if not flagged:
            self._replay(held, over)
        self._show_drawing(drawing, over, notes, seconds)

    def _show_step(self, step: DenoisingStep, over: Event, notes: list[str]) -> None:
        with self._lock:
            if not over.is_set():
                self.progress.value = step.index + 1
                done, steps = self.progress.value, self.progress.max  # PNDM takes one more
                self._say(say(f"Step {done} of {steps}.", f"Paso {done} de {steps}."), *notes)

    def _show_picture(self, image: Pictures.Image, over: Event) -> None:
        with self._lock:
            if not over.is_set():
                self.picture.value = png(image)

    def _replay(self, guesses: Sequence[Pictures.Image], over: Event) -> None:
        """Let a picture come out of the noise which has passed the safety checker."""
        for guess in guesses[:: -(-len(guesses) // MAX_GUESSES) or 1]:
            self._show_picture(guess, over)
            over.wait(REPLAY_S)

    def _show_drawing(
        self, drawing: Drawing, over: Event, notes: list[str], seconds: float
    ) -> None:
        with self._lock:
            if over.is_set():
                return
            self.picture.value = png(drawing.image)
            self.drawings = [drawing, *self.drawings][:MAX_HISTORY]
            for card, kept in zip(self.history, self.drawings, strict=False):
                card.show(kept)
            flag = [flag_note()] * drawing.flagged
            done = say(f"Drawn in {seconds:.1f} s.", f"Dibujada en {seconds:.1f} s.")
            self._end(over, done, *flag, *notes)

    def _end(self, over: Event, *sentences: str) -> None:
        """Let a drawing show nothing more than this, unless it has ended already."""
        with self._lock:
            if not over.is_set():
                over.set()
                self.buttons.stop.disabled = True
                self._say(*sentences)

    def _say(self, *sentences: str) -> None:
        lines = "".join(f"<div>{html.escape(sentence)}</div>" for sentence in sentences)
        self.status.value = f'<div role="status">{lines}</div>'

    def _draw_on_enter(self, _: DOMWidget, message: dict[str, str], __: object) -> None:
        if message.get("event") == "submit":
            Timer(ENTER_DELAY_S, self.draw).start()


@atexit.register
def _leave() -> None:
    """Let the threads end before Python does, which would abort torch at its work."""
    for playground in list(_open):
        playground._over.set()
    for playground in list(_open):
        playground.wait(LEAVE_TIMEOUT_S)


def _gone() -> str:
    return say(
        "This playground was stopped and its pipeline let go: run its cell again.",
        "Esta zona de juegos se detuvo y soltó su pipeline: ejecuta otra vez su celda.",
    )


def _sentence(error: Exception) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, torch.OutOfMemoryError):
        return say(
            "The GPU has no memory left: close other notebooks, or restart the kernel.",
            "La GPU se ha quedado sin memoria: cierra otros cuadernos o reinicia el kernel.",
        )
    reason = f"{type(error).__name__}: {error}".split("\n")[0]
    return say(f"No picture, because of {reason}", f"No hay imagen, por {reason}")
