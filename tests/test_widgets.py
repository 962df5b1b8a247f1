"""The playground without a browser: its threads, its sentences, and its messages to a kernel."""

import gc
import io
import logging
import math
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline
from jupyter_client import KernelManager
from jupyter_client.blocking import BlockingKernelClient
from PIL import Image

from fixtures_pipeline import flag_everything
from sdlesson.diffusion import decode, denoise
from sdlesson.drawing import decode_and_check, draw
from sdlesson.images import same_picture
from sdlesson.language import set_language
from sdlesson.pocket.world import FLAGGED_SUBJECT
from sdlesson.widgets import Playground
from sdlesson.widgets.parts import MAX_SEED
from sdlesson.widgets.playground import ENTER_DELAY_S, MAX_HISTORY, PREVIEW_SHARE

PATIENCE_S = 120  # for what takes a second on an idle machine


def playground_for(
    pipe: StableDiffusionPipeline, prompt: str = "a cat on the beach", steps: int = 3
) -> Playground:
    playground = Playground(pipe)
    playground.fields.prompt.value = prompt
    playground.fields.steps.value = steps
    return playground


def drawn(playground: Playground) -> Playground:
    playground.draw()
    playground.wait(PATIENCE_S)
    return playground


def wait_for_step(playground: Playground, step: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while playground.progress.value < step:
        assert time.monotonic() < deadline, playground.status.value
        time.sleep(0.01)


def shown(playground: Playground) -> Image.Image:
    return Image.open(io.BytesIO(playground.picture.value))


def test_showing_it_draws_nothing_and_starts_no_thread(tiny: StableDiffusionPipeline) -> None:
    tiny.unet = None  # whatever asks it for noise fails
    before = threading.active_count()
    playground = playground_for(tiny)
    show = getattr(playground, "_repr_mimebundle_", None) or playground._ipython_display_
    show()
    playground.stop()
    playground.wait()
    assert threading.active_count() == before
    assert playground.drawings == []
    assert "Write a prompt" in playground.status.value


def test_its_picture_is_the_one_that_draw_gives(pocket: StableDiffusionPipeline) -> None:
    playground = playground_for(pocket, "a cat with a hat", steps=4)
    playground.fields.negative_prompt.value = "hat"
    playground.fields.seed.value = 7
    playground.fields.guidance.value = 5.0
    theirs = draw(
        "a cat with a hat",
        pipe=pocket,
        negative_prompt="hat",
        seed=7,
        num_inference_steps=4,
        guidance_scale=5.0,
    )
    (ours,) = drawn(playground).drawings
    assert same_picture(ours.image, theirs.image)
    assert ours.settings == theirs.settings
    assert np.array_equal(shown(playground), ours.image)


def test_a_scheduler_with_a_step_of_its_own_fills_the_bar_once(
    tiny: StableDiffusionPipeline,
) -> None:
    tiny.scheduler = PNDMScheduler.from_config(tiny.scheduler.config, skip_prk_steps=True)
    playground = drawn(playground_for(tiny, steps=5))
    assert (playground.progress.value, playground.progress.max) == (5, 5)
    theirs = draw("a cat on the beach", pipe=tiny, seed=0, num_inference_steps=5)
    assert same_picture(playground.drawings[0].image, theirs.image)


@pytest.mark.parametrize("has_checker", [True, False])
def test_the_picture_comes_out_of_the_noise_before_it_is_done(
    tiny: StableDiffusionPipeline, has_checker: bool
) -> None:
    tiny.safety_checker = tiny.safety_checker if has_checker else None
    playground, pictures, steps = playground_for(tiny, steps=12), [], []

    def note(change: dict[str, Any]) -> None:
        pictures.append(change["new"])
        steps.append(playground.progress.value)

    playground.picture.observe(note, "value")
    drawn(playground)
    assert len(set(pictures)) >= 3  # the first step's guess, another, and the picture
    assert steps[0] == (12 if has_checker else 1)  # with a checker it has to pass first
    words, generator = playground.fields.prompt.value, torch.Generator("cpu").manual_seed(0)
    first = next(denoise(tiny, words, num_inference_steps=12, generator=generator))
    (guess,) = decode(tiny, first.pred_original_sample)
    assert same_picture(Image.open(io.BytesIO(pictures[0])), guess)
    assert np.array_equal(Image.open(io.BytesIO(pictures[-1])), playground.drawings[0].image)


def test_of_what_the_checker_withholds_nothing_is_shown_on_the_way(
    pocket: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlesson.widgets.playground.PREVIEW_SHARE", math.inf)  # at every step
    flags: list[bool] = []

    def watched(pipe: StableDiffusionPipeline, latents: torch.Tensor) -> Any:
        image, flagged = decode_and_check(pipe, latents)
        flags.append(flagged)
        return image, flagged

    monkeypatch.setattr("sdlesson.widgets.playground.decode_and_check", watched)
    playground, pictures = playground_for(pocket, f"a {FLAGGED_SUBJECT}", steps=10), []
    playground.picture.observe(lambda change: pictures.append(change["new"]), "value")
    drawn(playground)
    assert playground.drawings[0].flagged
    assert not all(flags)  # the control: some guesses pass by themselves
    assert [np.max(Image.open(io.BytesIO(one))) for one in pictures] == [0]


def test_stop_shows_no_guess_that_was_held_back(tiny: StableDiffusionPipeline) -> None:
    playground, pictures = playground_for(tiny, steps=100), []
    playground.picture.observe(lambda change: pictures.append(change["new"]), "value")
    playground.draw()
    wait_for_step(playground, 2)
    playground.buttons.stop.click()
    playground.wait(PATIENCE_S)
    assert pictures == []


@pytest.mark.alone
def test_previews_take_no_more_than_their_share_of_the_time(
    tiny: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    previews: list[float] = []

    def slow_develop(pipe: StableDiffusionPipeline, latents: torch.Tensor) -> object:
        started = time.perf_counter()
        time.sleep(0.05)  # as decoding a large picture would take
        developed = decode_and_check(pipe, latents)
        previews.append(time.perf_counter() - started)
        return developed

    monkeypatch.setattr("sdlesson.widgets.playground.decode_and_check", slow_develop)
    started = time.perf_counter()
    drawn(playground_for(tiny, steps=100))
    seconds = time.perf_counter() - started
    assert len(previews) > 1  # at least one preview, and the picture
    assert sum(previews[:-2]) <= PREVIEW_SHARE * seconds


def test_stop_stops_at_the_next_step(tiny: StableDiffusionPipeline) -> None:
    begun: list[float] = []

    def count(*_: object) -> None:
        begun.append(time.monotonic())
        time.sleep(0.02)

    tiny.unet.register_forward_pre_hook(count)
    playground = playground_for(tiny, steps=100)
    playground.draw()
    assert not playground.buttons.stop.disabled
    wait_for_step(playground, 2)
    playground.buttons.stop.click()
    said, done, begun_by_then = playground.status.value, playground.progress.value, len(begun)
    playground.wait(PATIENCE_S)
    assert f"Stopped after {done} of 100 steps" in said
    assert len(begun) <= begun_by_then + 1  # the step under way, or the one just coming
    assert (playground.status.value, playground.progress.value) == (said, done)
    assert playground.drawings == []
    assert playground.buttons.stop.disabled


def test_drawing_again_stops_the_first_and_one_draws_at_a_time(
    tiny: StableDiffusionPipeline,
) -> None:
    at_work: list[threading.Thread] = []
    crowds: list[int] = []

    def enter(*_: object) -> None:
        at_work.append(threading.current_thread())
        crowds.append(len(at_work))

    tiny.unet.register_forward_pre_hook(enter)
    tiny.unet.register_forward_hook(lambda *_: at_work.pop() and None)
    playground = playground_for(tiny, steps=100)
    for seed in range(10):
        playground.fields.seed.value = seed
        playground.draw()
        time.sleep(0.02)
    playground.wait(PATIENCE_S)
    assert set(crowds) == {1}
    assert [drawing.seed for drawing in playground.drawings] == [9]


def test_a_new_seed_draws_the_same_words_from_other_noise(tiny: StableDiffusionPipeline) -> None:
    playground = drawn(playground_for(tiny))
    playground.fields.seed.value = MAX_SEED
    playground.buttons.new_seed.click()
    playground.wait(PATIENCE_S)
    newest, first = playground.drawings
    assert newest.prompt == first.prompt
    assert newest.seed == playground.fields.seed.value != MAX_SEED


def test_a_click_on_an_earlier_picture_brings_it_and_its_settings_back(
    tiny: StableDiffusionPipeline,
) -> None:
    playground = playground_for(tiny, "a cat", steps=2)
    fields = playground.fields
    fields.negative_prompt.value, fields.seed.value, fields.guidance.value = "hat", 11, 3.5
    drawn(playground)
    settings, picture = fields.read(), playground.picture.value
    fields.prompt.value, fields.negative_prompt.value, fields.seed.value = "a dog", "", 12
    fields.steps.value, fields.guidance.value = 3, 9.0
    drawn(playground)
    assert playground.picture.value != picture
    assert playground.history[1].button.description == "a cat"
    playground.history[1].button.click()
    assert fields.read() == settings
    assert playground.picture.value == picture
    assert "settings are back" in playground.status.value


def test_the_history_is_short_and_lets_go_of_what_leaves_it(tiny: StableDiffusionPipeline) -> None:
    playground = drawn(playground_for(tiny, steps=1))
    first = weakref.ref(playground.drawings[0].image)
    hidden = [card.layout.display == "none" for card in playground.history]
    assert hidden == [False, *[True] * (MAX_HISTORY - 1)]
    for seed in range(1, MAX_HISTORY + 1):
        assert first() is not None
        playground.fields.seed.value = seed
        drawn(playground)
    gc.collect()
    assert first() is None
    seeds = [drawing.seed for drawing in playground.drawings]
    assert seeds == list(range(MAX_HISTORY, 0, -1))
    assert not any(card.layout.display == "none" for card in playground.history)


def test_enter_draws_the_text_that_arrives_behind_it(tiny: StableDiffusionPipeline) -> None:
    playground = playground_for(tiny, "", steps=1)
    playground.fields.prompt._handle_custom_msg({"event": "submit"}, [])
    playground.fields.prompt.value = "a dog"
    deadline = time.monotonic() + PATIENCE_S
    while not playground.drawings and time.monotonic() < deadline:
        time.sleep(ENTER_DELAY_S / 4)
    assert [drawing.prompt for drawing in playground.drawings] == ["a dog"]


@pytest.mark.parametrize("prompt", ["", " \t"])
def test_an_empty_prompt_is_one_sentence_in_the_readers_language(
    tiny: StableDiffusionPipeline, prompt: str
) -> None:
    assert "Say in the prompt what to draw." in drawn(playground_for(tiny, prompt)).status.value
    set_language("es")
    playground = drawn(playground_for(tiny, prompt))
    assert "Di en el prompt qué dibujar." in playground.status.value
    assert playground.drawings == []


def test_settings_out_of_range_come_back_into_it(tiny: StableDiffusionPipeline) -> None:
    playground = playground_for(tiny, steps=1)
    fields = playground.fields
    fields.seed.value, fields.steps.value, fields.guidance.value = -5, 0, 1000.0
    (drawing,) = drawn(playground).drawings
    assert (drawing.seed, drawing.num_inference_steps, drawing.guidance_scale) == (0, 1, 20.0)


def test_words_that_the_pocket_model_does_not_know_are_named(
    pocket: StableDiffusionPipeline,
) -> None:
    playground = drawn(playground_for(pocket, "a catt <b>", steps=1))
    assert "&quot;catt&quot; (try &quot;cat&quot;" in playground.status.value
    assert "<b>" not in playground.status.value
    assert len(playground.drawings) == 1


def test_labels_and_sentences_are_in_the_readers_language(tiny: StableDiffusionPipeline) -> None:
    set_language("es")
    playground = drawn(playground_for(tiny, steps=1))
    labels = [field.description for field in playground.fields.children]
    assert labels == ["Prompt", "Prompt negativo", "Semilla", "Pasos", "Guía"]
    buttons = [button.description for button in playground.buttons.children]
    assert buttons == ["Dibujar", "Otra semilla", "Detener"]
    assert "Dibujada en" in playground.status.value


def test_a_flagged_picture_is_said_to_be_flagged_and_no_preview_shows_it(
    tiny: StableDiffusionPipeline,
) -> None:
    flag_everything(tiny)
    playground, pictures = playground_for(tiny), []
    playground.picture.observe(lambda change: pictures.append(change["new"]), "value")
    drawn(playground)
    assert playground.drawings[0].flagged
    assert "The safety checker flagged this picture" in playground.status.value
    assert all(np.max(Image.open(io.BytesIO(png))) == 0 for png in pictures)
    playground.history[0].button.click()
    assert "The safety checker flagged this picture" in playground.status.value


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "no memory left"),
        (RuntimeError("the first line\nthe second"), "RuntimeError: the first line"),
        (KeyError("secret"), "KeyError"),
    ],
)
def test_an_error_is_one_sentence_and_its_traceback_goes_to_the_log(
    tiny: StableDiffusionPipeline,
    error: Exception,
    sentence: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    failing = tiny.unet.register_forward_pre_hook(fail)
    with caplog.at_level(logging.ERROR, "sdlesson.widgets"):
        playground = drawn(playground_for(tiny))
    assert sentence in playground.status.value
    assert playground.status.value.count("<div>") == 1
    assert "second" not in playground.status.value
    assert caplog.records[0].exc_info[1] is error
    assert playground.buttons.stop.disabled
    assert "Traceback" not in "".join(capfd.readouterr())
    failing.remove()
    assert len(drawn(playground).drawings) == 1


def test_python_can_leave_while_it_draws(tiny_folder: Path) -> None:
    code = f"""
from sdlesson.pipelines import load_pipeline
from sdlesson.widgets import Playground
playground = Playground(load_pipeline({str(tiny_folder)!r}, device="cpu"))
playground.fields.prompt.value, playground.fields.steps.value = "a cat", 100
playground.draw()
while playground.progress.value < 2: pass
"""
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert left.returncode == 0, left.stderr


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_playground_that_has_ended_does_not_keep_the_pipeline(
    fresh: Callable[[], StableDiffusionPipeline], end: str
) -> None:
    pipe = fresh()
    gone, playground = weakref.ref(pipe), drawn(playground_for(pipe, steps=1))
    getattr(playground, end)()
    del pipe
    gc.collect()
    assert gone() is None


def test_a_stopped_playground_draws_while_the_pipeline_is_there_and_then_says_so(
    fresh: Callable[[], StableDiffusionPipeline],
) -> None:
    pipe = fresh()
    playground = playground_for(pipe, steps=1)
    playground.stop()
    assert len(drawn(playground).drawings) == 1
    del pipe
    gc.collect()
    assert "run its cell again" in drawn(playground).status.value
    assert len(playground.drawings) == 1


def test_the_stop_button_ends_a_picture_only(fresh: Callable[[], StableDiffusionPipeline]) -> None:
    playground = playground_for(fresh(), steps=1)
    playground.buttons.stop.click()
    gc.collect()
    assert len(drawn(playground).drawings) == 1


def test_a_closed_playground_is_gone_with_its_widgets(tiny: StableDiffusionPipeline) -> None:
    playground = drawn(playground_for(tiny, steps=1))
    playground.close()
    playground.close()
    assert playground.fields.prompt.comm is None
    gone = weakref.ref(playground)
    del playground
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wrong", ["pocket", None, 5])
def test_what_is_no_loaded_pipeline_is_refused_at_the_door(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"must be a loaded pipeline; try .*load_pipeline\("):
        Playground(wrong)


# A real kernel, spoken to as a browser does.


class FrontEnd:
    """What a browser knows of the widgets in a kernel: the state of each, by its id."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.states: dict[str, dict[str, object]] = {}
        self.orphans: list[str] = []
        self.printed: list[object] = []

    def listen_until(self, is_done: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_done():
            assert time.monotonic() < deadline, self.printed
            with suppress(Empty):
                self.take(self.client.get_iopub_msg(timeout=1))

    def take(self, message: dict) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind in ("comm_open", "comm_msg"):
            state = content["data"].get("state", {})
            self.states.setdefault(content["comm_id"], {}).update(state)
            if not message["parent_header"]:
                self.orphans.append(content["comm_id"])
        elif kind in ("stream", "error"):
            self.printed.append(content)

    def find(self, **wanted: object) -> str:
        matches = (
            comm_id
            for comm_id, state in self.states.items()
            if wanted.items() <= {name: state.get(name) for name in wanted}.items()
        )
        return next(matches)

    def send(self, comm_id: str, data: dict[str, object]) -> None:
        content = {"comm_id": comm_id, "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def statuses(self) -> str:
        return " ".join(str(state.get("value")) for state in self.states.values())


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(extra_arguments=["--log-level=ERROR"])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE_S)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_what_the_thread_shows_reaches_the_browser_and_the_kernel_stays_free(
    client: BlockingKernelClient, tiny_folder: Path
) -> None:
    page = FrontEnd(client)
    code = f"""
import time
from sdlesson.pipelines import load_pipeline
from sdlesson.widgets import Playground

pipe = load_pipeline({str(tiny_folder)!r}, device="cpu")
pipe.unet.register_forward_pre_hook(lambda *_: time.sleep(0.05))
playground = Playground(pipe)
"""
    client.execute_interactive(code, timeout=PATIENCE_S, output_hook=page.take)
    page.printed.clear()  # bars of loading
    page.send(
        page.find(description="Prompt"),
        {"method": "update", "state": {"value": "a cat"}, "buffer_paths": []},
    )
    page.send(
        page.find(description="Steps"),
        {"method": "update", "state": {"value": 100}, "buffer_paths": []},
    )
    page.send(page.find(description="Draw"), {"method": "custom", "content": {"event": "click"}})
    page.listen_until(lambda: "Step " in page.statuses())
    reply = client.execute_interactive(
        "drawing = not playground._over.is_set()", timeout=PATIENCE_S, output_hook=page.take
    )
    assert reply["content"]["status"] == "ok"
    page.listen_until(lambda: "Drawn in" in page.statuses())
    card = page.states[page.find(description="a cat")]
    assert "seed=0" in str(card["tooltip"])
    reply = client.execute_interactive("assert drawing", timeout=PATIENCE_S, output_hook=page.take)
    assert reply["content"]["status"] == "ok"  # the first cell ran while the thread was drawing
    assert page.orphans == []
    assert page.printed == []
