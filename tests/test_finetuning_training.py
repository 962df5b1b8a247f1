import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline
from PIL import Image

from fixtures_finetuning import (
    assert_same_weights,
    largest_file,
    make_photos,
    make_settings,
    weights_of,
)
from fixtures_lora import add_lora, predict
from fixtures_pipeline import flag_everything
from sdlesson.downloads import write_checksums
from sdlesson.finetuning import checkpoints, memory, trainer
from sdlesson.finetuning.dreambooth import TrainingResult, train
from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.finetuning.memory import DoesNotFitError, estimate_memory
from sdlesson.finetuning.trainer import DivergedError
from sdlesson.finetuning.training_job import make_training_job
from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.images import same_picture
from sdlesson.language import set_language
from sdlesson.pipelines import load_pipeline

LORA = make_settings()
KINDS = {
    "lora": LORA,
    "lora of class images": make_settings(prior="class_images", min_snr_gamma=5.0),
    "lora of the text encoder": make_settings(train_text_encoder=True),
    "average": make_settings(ema_decay=0.9),
    "full": make_settings(rank=None, prior="none"),
    "full with the text encoder": make_settings(
        rank=None, prior="class_images", train_text_encoder=True, ema_decay=0.9
    ),
}


@pytest.fixture
def load(tiny_folder: Path) -> Callable[..., StableDiffusionPipeline]:
    def load(**options: object) -> StableDiffusionPipeline:
        pipe = load_pipeline(tiny_folder, device="cpu", **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return load


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Hear them even where a shell started this process to ignore them, in the background."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def interrupt_after(count: int) -> Callable[[TrainingStep], None]:
    """A callback that interrupts as the kernel's stop button does, after so many steps."""

    def interrupt(step: TrainingStep) -> None:
        if step.index + 1 == count:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def figures(step: TrainingStep) -> TrainingStep:
    """All of a step that does not depend on the clock."""
    return replace(step, seconds=0.0, images=())


def saves(pipe: StableDiffusionPipeline) -> tuple[bool, ...]:
    """Whether the U-Net and the text encoder compute activations twice to save memory."""
    return tuple(
        any(getattr(module, "gradient_checkpointing", False) for module in part.modules())
        for part in (pipe.unet, pipe.text_encoder)
    )


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_interrupted_and_resumed_is_uninterrupted_to_the_last_bit(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path, settings: TrainingSettings
) -> None:
    whole = train(load(), make_photos(), settings, tmp_path / "whole")
    first = train(load(), make_photos(), settings, tmp_path / "parts", callback=interrupt_after(3))
    assert (first.finished, first.steps) == (False, 3)
    second = train(load(), make_photos(), settings, tmp_path / "parts")
    assert (second.finished, second.steps) == (True, 5)
    assert_same_weights(weights_of(second.pipe), weights_of(whole.pipe))
    assert list(map(figures, second.history.steps)) == list(map(figures, whole.history.steps))


def test_a_finished_folder_is_loaded_and_trains_nothing(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    for settings in (KINDS["average"], KINDS["full"]):
        folder = tmp_path / str(settings.rank)
        done = train(load(), make_photos(), settings, folder)
        written = (folder / checkpoints.CHECKPOINT_NAME).stat().st_mtime_ns
        steps: list[TrainingStep] = []
        again = train(load(), make_photos(), settings, folder, callback=steps.append)
        assert steps == []
        assert (again.finished, again.history.steps) == (True, done.history.steps)
        assert_same_weights(weights_of(again.pipe), weights_of(done.pipe))
        assert (folder / checkpoints.CHECKPOINT_NAME).stat().st_mtime_ns == written


def test_steps_may_grow_to_the_weights_of_one_long_training(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    long = train(load(), make_photos(), replace(LORA, steps=7), tmp_path / "long")
    train(load(), make_photos(), LORA, tmp_path / "grown")
    grown = train(load(), make_photos(), replace(LORA, steps=7), tmp_path / "grown")
    assert_same_weights(weights_of(grown.pipe), weights_of(long.pipe))
    with pytest.raises(ValueError, match=r"holds a training of 7 steps, steps=5 is fewer"):
        train(load(), make_photos(), LORA, tmp_path / "grown")


@pytest.mark.parametrize(
    ("changes", "photos", "name"),
    [
        ({"learning_rate": 0.1}, 4, "learning_rate"),
        ({"seed": 3, "rank": 2}, 4, "rank, seed"),
        ({}, 3, "photos, prompts"),
    ],
)
def test_a_folder_of_another_training_is_refused_by_what_differs(
    tiny: StableDiffusionPipeline,
    tmp_path: Path,
    changes: dict[str, object],
    photos: int,
    name: str,
) -> None:
    train(tiny, make_photos(), LORA, tmp_path)
    kept = weights_of(tiny)
    with pytest.raises(ValueError, match=f"holds a training with other {name};"):
        train(tiny, make_photos(photos), replace(LORA, **changes), tmp_path)
    assert_same_weights(weights_of(tiny), kept)


def test_a_damaged_checkpoint_is_one_sentence(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    (tmp_path / checkpoints.CHECKPOINT_NAME).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="is damaged or no checkpoint; choose another folder"):
        train(tiny, make_photos(), LORA, tmp_path)


def test_an_interruption_is_told_in_the_readers_language(
    load: Callable[..., StableDiffusionPipeline],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(load(), make_photos(), LORA, tmp_path, callback=interrupt_after(1))
    assert "Stopped after 1 of 5 steps." in capsys.readouterr().out
    set_language("es")
    train(load(), make_photos(), LORA, tmp_path, callback=interrupt_after(2))
    assert "Parado tras 2 de 5 pasos." in capsys.readouterr().out


def test_an_interruption_while_the_class_is_drawn_keeps_the_pictures(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings, pipe = make_settings(prior="class_images", class_images=8), load()
    drawn = []

    def stop_at_the_second_batch(*_: object) -> None:
        drawn.append(0)
        if len(drawn) == 6:
            raise KeyboardInterrupt

    pipe.vae.decoder.register_forward_hook(stop_at_the_second_batch)
    stopped = train(pipe, make_photos(), settings, tmp_path)
    assert (stopped.finished, stopped.steps) == (False, 0)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "class_images").iterdir()}
    assert len(kept) == 4
    assert train(load(), make_photos(), settings, tmp_path).finished
    assert len(list((tmp_path / "class_images").glob("*.png"))) == 8
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_flagged_pictures_of_the_class_are_not_trained_on(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    flag_everything(tiny)
    with pytest.raises(ValueError, match="flags nearly every picture of 'a robot'"):
        train(tiny, make_photos(), KINDS["lora of class images"], tmp_path)
    assert list((tmp_path / "class_images").iterdir()) == []


def test_the_figures_of_a_step_do_not_depend_on_being_watched_or_illustrated(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    plain = train(load(), make_photos(), LORA, tmp_path / "plain")
    seen: list[TrainingStep] = []
    settings = replace(LORA, sample_prompts=("a zwx", "robot"), sample_every=2)
    shown = train(load(), make_photos(), settings, tmp_path / "shown", callback=seen.append)
    assert [len(step.images) for step in seen] == [0, 2, 0, 2, 2]
    assert seen == shown.history.steps
    assert list(map(figures, seen)) == list(map(figures, plain.history.steps))
    assert_same_weights(weights_of(shown.pipe), weights_of(plain.pipe))


def test_samples_are_what_the_trained_pipeline_draws(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings = replace(
        LORA, sample_prompts=("a zwx",), learning_rate=0.05, ema_decay=0.5, sample_every=1
    )
    trained = train(load(), make_photos(), settings, tmp_path)
    *_, before, last = (step.images[0] for step in trained.history.steps)
    generator = torch.Generator().manual_seed(settings.seed)
    ours = trained.pipe(
        "a zwx", num_inference_steps=25, guidance_scale=5.0, generator=generator
    ).images[0]
    assert same_picture(last, ours)
    assert not same_picture(before, last)


@pytest.mark.parametrize("kind", ["lora", "lora of class images", "full"])
def test_parts_of_a_batch_add_up_to_the_whole(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path, kind: str
) -> None:
    settings = replace(KINDS[kind], steps=2)
    whole = train(load(), make_photos(), settings, tmp_path / "whole")
    settings = replace(settings, gradient_accumulation=2)
    parts = train(load(), make_photos(), settings, tmp_path / "parts")
    for one, other in zip(whole.history.steps, parts.history.steps, strict=True):
        assert one.timesteps == other.timesteps
        assert one.errors == pytest.approx(other.errors, rel=1e-3)
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


def test_gradient_checkpointing_learns_the_same_and_is_off_afterwards(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    plain = make_settings(train_text_encoder=True)
    saving = replace(plain, gradient_checkpointing=True)
    first = train(load(), make_photos(), plain, tmp_path / "plain")
    pipe, seen = load(), []
    second = train(
        pipe,
        make_photos(),
        saving,
        tmp_path / "saving",
        callback=lambda _: seen.append(saves(pipe)),
    )
    assert [step.loss for step in second.history.steps] == pytest.approx(
        [step.loss for step in first.history.steps], rel=1e-4
    )
    assert (seen[0], saves(pipe)) == ((True, True), (False, False))
    assert not pipe.unet.training


def test_a_lora_learns_in_float32_on_a_half_precision_base(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    half = train(load(dtype=torch.bfloat16), make_photos(), LORA, tmp_path / "half")
    full = train(load(), make_photos(), LORA, tmp_path / "full")
    assert {weight.dtype for weight in weights_of(half.pipe).values()} == {torch.float32}
    assert half.pipe.unet.conv_in.weight.dtype == torch.bfloat16
    assert [step.loss for step in half.history.steps] == pytest.approx(
        [step.loss for step in full.history.steps], rel=0.05
    )


def test_full_dreambooth_learns_in_float32_and_gives_the_precision_back(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings = replace(KINDS["full"], sample_prompts=("a zwx",))
    half = train(load(dtype=torch.bfloat16), make_photos(), settings, tmp_path)
    state = torch.load(tmp_path / checkpoints.CHECKPOINT_NAME, weights_only=True)
    assert {weight.dtype for weight in state["weights"].values()} == {torch.float32}
    assert half.pipe.unet.dtype == torch.bfloat16
    assert half.pipe("a zwx", num_inference_steps=1).images[0].getextrema() != ((0, 0),) * 3


def test_pipelines_of_other_precisions_are_trained_one_after_another(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    Accelerator(mixed_precision="bf16", cpu=True)  # as an earlier cell may have made it
    for number, dtype in enumerate((torch.float32, torch.bfloat16, torch.float32)):
        pipe = load(dtype=dtype)
        assert train(pipe, make_photos(), LORA, tmp_path / str(number)).finished


@pytest.mark.parametrize(
    ("checkpoint_every", "done", "sentence"),
    [
        (9, 0, r"at step 2 \(loss nan, .*rate 0\.01, photos at timesteps \(\d+, \d+\) with errors"),
        (1, 1, r"in step 1, which left weights that are not finite"),
    ],
)
def test_a_nan_stops_with_step_rate_and_batch_and_the_last_good_weights(
    load: Callable[..., StableDiffusionPipeline],
    tmp_path: Path,
    checkpoint_every: int,
    done: int,
    sentence: str,
) -> None:
    pipe = load()

    def poison(step: TrainingStep) -> None:
        if step.index == 1:
            with torch.no_grad():
                pipe.unet.get_parameter(list(weights_of(pipe))[-1][5:]).fill_(math.nan)

    settings = replace(LORA, checkpoint_every=checkpoint_every, learning_rate=0.01)
    with pytest.raises(DivergedError, match=sentence):
        train(pipe, make_photos(), settings, tmp_path, callback=poison)
    state = torch.load(tmp_path / checkpoints.CHECKPOINT_NAME, weights_only=True)
    assert state["done"] == done
    assert_same_weights(weights_of(pipe), state["weights"])


def test_a_rate_that_diverges_stops_and_names_a_lower_one(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings = replace(KINDS["full"], steps=200, learning_rate=1.0)
    with pytest.raises(DivergedError, match=r"another folder with learning_rate=0\.1 may"):
        train(load(), make_photos(), settings, tmp_path)


def test_a_disk_that_fills_is_one_sentence_and_keeps_the_checkpoint_before(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    pipe = load()
    with ExitStack() as full:

        def fill_the_disk(step: TrainingStep) -> None:
            if step.index == 2:  # so the next checkpoint does not fit
                full.enter_context(largest_file(4096))

        with pytest.raises(OSError, match=r"cannot save step 4 .*: free some space or choose"):
            train(pipe, make_photos(), LORA, tmp_path, callback=fill_the_disk)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.CHECKPOINT_NAME]
    state = torch.load(tmp_path / checkpoints.CHECKPOINT_NAME, weights_only=True)
    assert state["done"] == 2
    assert_same_weights(weights_of(pipe), state["weights"])
    whole = train(load(), make_photos(), LORA, tmp_path / "whole")
    mended = train(load(), make_photos(), LORA, tmp_path)
    assert_same_weights(weights_of(mended.pipe), weights_of(whole.pipe))


@pytest.mark.parametrize(
    ("photos", "prompts", "sentence"),
    [
        (0, None, "there are no photos"),
        (2, ["a zwx robot", "a robot"], "prompt 'a robot' lacks the word 'zwx'"),
        (2, ["a zwx robot", "a zwxa"], "prompt 'a zwxa' lacks the word 'zwx'"),
        (2, ["a zwx robot"], "1 prompts for 2 photos"),
        (2, ["zwx", "a zwx robot on a beach"], "too long: the model would not read"),
    ],
)
def test_photos_and_prompts_that_do_not_fit_are_one_sentence(
    tiny: StableDiffusionPipeline,
    tmp_path: Path,
    photos: int,
    prompts: list[str] | None,
    sentence: str,
) -> None:
    with pytest.raises(ValueError, match=sentence):
        train(tiny, make_photos(photos), LORA, tmp_path / "new", prompts=prompts)
    assert not (tmp_path / "new").exists()
    assert tiny.get_list_adapters() == {}


def test_a_model_that_predicts_something_other_than_noise_is_refused(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    tiny.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(ValueError, match="prediction_type='v_prediction' must be 'epsilon'"):
        train(tiny, make_photos(), LORA, tmp_path)


@pytest.mark.parametrize("prior", ["none", "own_prediction"])
def test_a_second_lora_neither_trains_nor_changes_the_first(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path, prior: str
) -> None:
    settings = replace(LORA, prior=prior, train_text_encoder=True)
    pipe, other = load(), replace(settings, word="qvb")
    alone = train(load(), make_photos(), other, tmp_path / "alone")
    train(pipe, make_photos(), settings, tmp_path / "first")
    first = weights_of(pipe)
    second = train(pipe, make_photos(), other, tmp_path / "second")
    assert_same_weights(weights_of(pipe), weights_of(alone.pipe))
    assert list(map(figures, second.history.steps)) == list(map(figures, alone.history.steps))
    assert pipe.get_active_adapters() == ["qvb"]
    pipe.set_adapters("zwx")
    assert_same_weights(weights_of(pipe), first)


def test_training_again_under_the_same_word_begins_anew(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    pipe = load()
    train(pipe, make_photos(), LORA, tmp_path / "first")
    first = weights_of(pipe)
    train(pipe, make_photos(), LORA, tmp_path / "again")
    assert_same_weights(weights_of(pipe), first)
    assert pipe.get_list_adapters() == {"unet": ["zwx"]}


def test_full_dreambooth_on_a_pipeline_with_a_lora_is_refused(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    train(tiny, make_photos(), LORA, tmp_path / "lora")
    with pytest.raises(ValueError, match=r"carries the LoRA zwx; call pipe\.unload_lora_weights"):
        train(tiny, make_photos(), KINDS["full"], tmp_path / "full")


def test_training_leaves_the_global_seed_alone(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(tiny, make_photos(), LORA, tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_full_dreambooth_is_saved_as_a_folder_that_load_pipeline_opens(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    trained = train(tiny, make_photos(), KINDS["full"], tmp_path / "run")
    assert trained.pipe.name_or_path.endswith(" + zwx")
    for _ in range(2):  # the second time in the place of the first
        trained.save(tmp_path / "saved")
    again = load_pipeline(tmp_path / "saved", device="cpu")
    assert torch.equal(again.unet.conv_in.weight, trained.pipe.unet.conv_in.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "saved"]
    with pytest.raises(ValueError, match="is not empty and holds no pipeline"):
        trained.save(tmp_path)


def test_a_lora_is_saved_as_a_file_that_diffusers_loads(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings = replace(LORA, learning_rate=0.05, alpha=2.0, train_text_encoder=True)
    trained = train(load(), make_photos(), settings, tmp_path / "run")
    trained.save(tmp_path / "zwx.safetensors")
    plain = load()
    plain.load_lora_weights(tmp_path, weight_name="zwx.safetensors")
    ours, theirs = (
        pipe("a zwx", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
        for pipe in (trained.pipe, plain)
    )
    assert same_picture(ours, theirs)


# What is there already is nobody's to destroy


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def training(tiny: StableDiffusionPipeline, tmp_path: Path) -> TrainingResult:
    """One that was done in full, and not yet saved."""
    return TrainingResult(tiny, KINDS["full"], History(), 0, tmp_path)


@pytest.mark.parametrize(
    "name", [".git/config", "README.md", "other.safetensors", "unet/mine.txt", "link"]
)
def test_a_folder_that_holds_more_than_a_model_is_left_as_it_is(
    training: TrainingResult, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "clone"
    training.save(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    if name == "link":
        (folder / name).symlink_to(tmp_path / "far away")
    else:
        (folder / name).write_text("mine")
    before = everything_in(folder)
    with pytest.raises(ValueError, match=rf"holds more than a model saved here, such as {name},"):
        training.save(folder)
    assert everything_in(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["clone"]


def test_a_folder_is_not_ours_because_a_file_of_it_looks_like_ours(
    training: TrainingResult, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "ubuntu.iso").write_text("mine")
    for index in (False, True):
        if index:
            (folder / "model_index.json").write_text("{}")
        write_checksums(folder)
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        (folder / "SHA256SUMS").write_text("\n".join(li for li in lines if "index" not in li))
        before = everything_in(folder)
        with pytest.raises(ValueError, match="is not empty and holds"):
            training.save(folder)
        assert everything_in(folder) == before


def test_a_torn_model_is_replaced_and_one_behind_a_link_too(
    training: TrainingResult, tmp_path: Path
) -> None:
    training.save(tmp_path / "saved")
    (tmp_path / "saved" / "model_index.json").unlink()
    (tmp_path / "saved" / ".DS_Store").touch()
    (tmp_path / "link").symlink_to(tmp_path / "saved")
    training.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    load_pipeline(tmp_path / "saved", device="cpu")
    assert not (tmp_path / "saved" / ".DS_Store").exists()


def test_what_is_no_path_for_a_model_is_refused(
    training: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for path, sentence in (
        (tmp_path / "file", "is a file; name a folder"),
        (".", "is the folder that you work in"),
        ("", "path='' must name"),
        (5, "path=5 must name"),
    ):
        with pytest.raises(ValueError, match=sentence):
            training.save(path)


@pytest.mark.parametrize("name", ["0.png", "mine.jpg", "3.png"])
def test_own_pictures_among_those_of_the_class_are_named_and_left(
    tiny: StableDiffusionPipeline, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "class_images"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    make_photos()[0].save(folder / name)
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is not one of the pictures of the class that a"):
        train(tiny, make_photos(), KINDS["lora of class images"], tmp_path)
    assert everything_in(tmp_path) == before
    assert train(tiny, make_photos(), replace(LORA, steps=1), tmp_path / "other").finished


def test_a_damaged_picture_of_the_class_is_drawn_again(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    settings = replace(KINDS["lora of class images"], steps=1)
    train(load(), make_photos(), settings, tmp_path)
    path = tmp_path / "class_images" / "0.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert train(load(), make_photos(), replace(settings, steps=2), tmp_path).finished
    assert path.read_bytes() == whole


def test_a_flipped_bit_in_a_checkpoint_is_not_trained_on(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    trained = train(load(), make_photos(), LORA, tmp_path)
    path = tmp_path / checkpoints.CHECKPOINT_NAME
    weight = max(weights_of(trained.pipe).values(), key=lambda one: one.numel())
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 2] ^= 4
    path.write_bytes(content)
    for steps in (5, 9):
        with pytest.raises(ValueError, match="is damaged or no checkpoint; choose another folder"):
            train(load(), make_photos(), replace(LORA, steps=steps), tmp_path)


def test_a_training_that_is_refused_leaves_the_lora_of_its_word(
    tiny: StableDiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_lora(tiny, "zwx", use_dora=True)
    add_lora(tiny, "other", seed=4)
    tiny.set_adapters(["zwx", "other"], [0.5, 1.0])
    before = predict(tiny)

    def unchanged() -> bool:
        on = tiny.get_active_adapters() == ["zwx", "other"]
        return on and torch.equal(predict(tiny), before)

    with monkeypatch.context() as small:
        small.setattr(memory, "free_memory_bytes", lambda device: 0)
        with pytest.raises(DoesNotFitError):
            train(tiny, make_photos(), LORA, tmp_path / "a")
    assert unchanged()
    flags = tiny.safety_checker.concept_embeds_weights.clone()
    flag_everything(tiny)
    with pytest.raises(ValueError, match="flags nearly every picture"):
        train(tiny, make_photos(), KINDS["lora of class images"], tmp_path / "b")
    tiny.safety_checker.concept_embeds_weights.data = flags
    assert unchanged()
    with largest_file(4096), pytest.raises(OSError, match="cannot save step 0"):
        train(tiny, make_photos(), LORA, tmp_path / "c")
    assert unchanged()
    assert train(tiny, make_photos(), LORA, tmp_path / "d").finished
    assert not unchanged()


class Interrupting(dict):
    """Interrupts the kernel between its first item and the others, once."""

    armed = False

    def items(self) -> Iterator:
        for number, item in enumerate(list(super().items())):
            if number == 1 and Interrupting.armed:
                Interrupting.armed = False
                os.kill(os.getpid(), signal.SIGINT)
            yield item


@pytest.mark.parametrize("exchange", [1, 2])
def test_an_interrupt_inside_an_exchange_with_the_average_changes_nothing(
    load: Callable[..., StableDiffusionPipeline],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exchange: int,
) -> None:
    settings = replace(KINDS["average"], sample_prompts=("a zwx",), sample_every=2)
    whole = train(load(), make_photos(), settings, tmp_path / "whole")
    draw = trainer.Trainer.averaged_weights

    @contextmanager
    def averaged(self: trainer.Trainer) -> Iterator[None]:
        self._average = Interrupting(self._average)
        Interrupting.armed = exchange == 1 and self.steps_done == 2
        try:
            with draw(self):
                yield
                Interrupting.armed = exchange == 2 and self.steps_done == 2
        finally:
            self._average = dict(self._average)  # which a checkpoint can hold

    with monkeypatch.context() as spied:
        spied.setattr(trainer.Trainer, "averaged_weights", averaged)
        stopped = train(load(), make_photos(), settings, tmp_path / "parts")
    assert (stopped.finished, stopped.steps) == (False, 2)
    resumed = train(load(), make_photos(), settings, tmp_path / "parts")
    assert_same_weights(weights_of(resumed.pipe), weights_of(whole.pipe))


# What may be given


@pytest.mark.parametrize("pipe", ["pocket", Path("my model"), None, 5, torch.nn.Linear(2, 2)])
def test_what_is_no_pipeline_is_refused_at_the_door(pipe: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pipe.*load_pipeline\("):
        train(pipe, make_photos(), LORA, tmp_path / "new")
    with pytest.raises(ValueError, match=r"pipe.*load_pipeline\("):
        estimate_memory(pipe, LORA, height=32, width=32)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings": {"word": "zwx"}}, "must be TrainingSettings"),
        ({"settings": None}, "must be TrainingSettings"),
        ({"folder": 5}, "folder=5 must name a folder"),
        ({"folder": ""}, "folder='' must name a folder"),
        ({"folder": __file__}, "is a file; name a folder for the checkpoint"),
        ({"callback": 5}, "callback=5 must be a function"),
        ({"prompts": 5}, "prompts=5 must be a text, or a list"),
        ({"prompts": {"a zwx", "zwx b"}}, "must be a text, or a list"),  # in no order
        ({"prompts": {"a zwx": 1, "zwx b": 2}}, "must be a text, or a list"),
        ({"folder": "a\0b"}, "cannot be made .embedded null byte.; name another"),
        ({"folder": "\ud800"}, "cannot be made .*surrogates"),
        ({"folder": b"abc"}, "folder=b'abc' must name a folder"),
        ({"folder": "a" * 300}, "cannot be made .File name too long.; name another"),
        ({"folder": Path(__file__) / "x"}, "cannot be made .Not a directory.; name another"),
        ({"prompts": b"a zwx"}, "prompts=b'a zwx' must be a text, or a list"),
        ({"prompts": ["a zwx", None]}, "must be a text, or a list"),
        ({"prompts": "a zwx \ud800"}, "prompts='a zwx .*' holds '.ud800', which is no letter"),
        ({"photos": "my_photos"}, r"my_photos cannot be opened \(No such file"),
        ({"photos": ["a.png", "b.png"]}, r"a.png cannot be opened \(No such file"),
        ({"photos": ""}, "cannot be opened|there are no photos"),
        ({"photos": 5}, "is of type int; give a path"),
        ({"photos": [1, 2]}, "photo 1 is of type int; give a path"),
        ({"photos": make_photos()[0]}, "photo 1 is the only photo"),
    ],
)
def test_what_is_given_wrong_is_one_sentence_before_anything_is_spent(
    tiny: StableDiffusionPipeline, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    given = {"photos": make_photos(2), "settings": LORA, "folder": tmp_path / "new"} | changes
    with pytest.raises(ValueError, match=sentence):
        train(tiny, **given)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"height": 0}, "height=0 must be a multiple of 8"),
        ({"width": -8}, "width=-8 must be a multiple of 8"),
        ({"width": 32.5}, "width=32.5 must be a multiple of 8"),
        ({"height": "32"}, "height='32' must be a multiple of 8"),
        ({"height": 30}, "height=30 must be a multiple of 8; try 32"),
        ({"height": None}, "height=None and width=32 must be"),
        ({"height": 10**30}, "pixels at most"),
        ({"settings": None}, "settings=None must be TrainingSettings"),
        ({"settings": {"word": "zwx"}}, "must be TrainingSettings"),
    ],
)
def test_a_memory_that_cannot_be_estimated_is_one_sentence(
    tiny: StableDiffusionPipeline, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        estimate_memory(tiny, **{"settings": LORA, "height": 32, "width": 32} | changes)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text_encoder", [False, True])
@pytest.mark.parametrize("rank", [40, 100_000, 2**31 - 1])
def test_a_rank_beyond_the_width_of_all_layers_is_refused_before_anything_is_made(
    tiny: StableDiffusionPipeline, tmp_path: Path, rank: int, text_encoder: bool
) -> None:
    settings = make_settings(rank=rank, train_text_encoder=text_encoder)
    widest = 32 if text_encoder else 16  # of the layers that get a LoRA
    sentence = rf"rank={rank} must be at most {widest}, the width of this model's widest layer"
    with pytest.raises(ValueError, match=sentence):
        estimate_memory(tiny, settings, height=32, width=32)
    with pytest.raises(ValueError, match=sentence):
        train(tiny, make_photos(), settings, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert tiny.get_list_adapters() == {}


def test_a_folder_of_photos_and_one_prompt_for_all_of_them_will_do(
    load: Callable[..., StableDiffusionPipeline], tmp_path: Path
) -> None:
    (tmp_path / "my_photos").mkdir()
    for number, photo in enumerate(make_photos()):
        photo.save(tmp_path / "my_photos" / f"{number}.png")
    listed = train(load(), make_photos(), LORA, tmp_path / "a", prompts=["a zwx"] * 4)
    named = train(load(), str(tmp_path / "my_photos"), LORA, tmp_path / "b", prompts="a zwx")
    assert_same_weights(weights_of(named.pipe), weights_of(listed.pipe))


def test_float_photos_are_trained_on_as_they_look_and_closed_ones_are_refused(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    grey = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    photos = [Image.fromarray(grey), Image.fromarray((255 * grey).round().astype(np.uint8))]
    job = make_training_job(tiny, photos, LORA, tmp_path, None)
    assert job.photos[0].tobytes() == job.photos[1].tobytes()
    photos[0].save(tmp_path / "a.tiff")
    with Image.open(tmp_path / "a.tiff") as closed:
        pass
    with pytest.raises(ValueError, match=r"a.tiff is closed or damaged"):
        train(tiny, [closed, photos[1]], LORA, tmp_path / "new")


def test_a_model_that_predicts_nan_is_named_and_not_the_rate(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    torch.nn.init.constant_(tiny.unet.conv_in.weight, math.nan)
    with pytest.raises(DivergedError, match=r"at step 0 .*; load the model anew$"):
        train(tiny, make_photos(), LORA, tmp_path)


@pytest.mark.gpu
def test_on_a_gpu_what_rests_is_off_it_and_back_after(tiny_folder: Path, tmp_path: Path) -> None:
    pipe = load_pipeline(tiny_folder, device="cuda")
    places: list[str] = []
    settings = replace(LORA, sample_prompts=("a zwx",), sample_every=2)
    trained = train(
        pipe,
        make_photos(),
        settings,
        tmp_path,
        callback=lambda _: places.append(f"{pipe.vae.device.type} {pipe.unet.device.type}"),
    )
    assert set(places) == {"cpu cuda"}
    assert {part.device.type for part in (pipe.vae, pipe.text_encoder, pipe.unet)} == {"cuda"}
    assert {weight.dtype for weight in weights_of(pipe).values()} == {torch.float32}
    assert pipe.unet.conv_in.weight.dtype == torch.float16
    assert len(trained.history.steps[-1].images) == 1
