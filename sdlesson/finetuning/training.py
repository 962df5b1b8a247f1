"""Teach a pipeline one new thing, in this process; stop at any time, and go on later."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline

from sdlesson.downloads import strangers
from sdlesson.files import atomic_folder
from sdlesson.finetuning import checkpoints
from sdlesson.finetuning.adapters import (
    base_only,
    being_trained,
    check_adapters,
    check_peft,
    check_pipe,
    remember_adapters,
    trained_parameters,
)
from sdlesson.finetuning.batches import Batches, cache
from sdlesson.finetuning.history import History, Step
from sdlesson.finetuning.job import Job, Photos, make_job
from sdlesson.finetuning.lora_files import save_lora
from sdlesson.finetuning.machine import idle_parts, make_accelerator, moved, uninterrupted
from sdlesson.finetuning.memory import check_memory
from sdlesson.finetuning.pictures import check_class_folder, class_images, samples
from sdlesson.finetuning.run import Run
from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.language import say
from sdlesson.pipelines import LEARNED, save_pipeline

Watch = Callable[[Step], object]
"""Takes each step of a training as soon as it is done."""


@dataclass(frozen=True)
class Training:
    """What came out of a call of `train`.

    Attributes:
        pipe: The pipeline, ready to draw what it has learned so far.
        steps: How many were taken, in this call and before.
        folder: Where the checkpoint is.
    """

    pipe: StableDiffusionPipeline
    settings: TrainingSettings
    history: History
    steps: int
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether all steps were taken; if not, the same call goes on."""
        return self.steps >= self.settings.steps

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a LoRA as one file, or after full DreamBooth a folder for `load_pipeline`.

        A file is replaced, and a folder that holds nothing but a model that was saved there.

        Raises:
            ValueError: The path does not suit, or is a folder that holds anything else.
            OSError: The disk is full, say; what was there before stays.
        """
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise ValueError(f"path={path!r} must name a file or a folder")
        if self.settings.is_lora:
            word, class_noun = self.settings.word, self.settings.class_noun
            save_lora(self.pipe, path, name=word, word=word, class_noun=class_noun)
        else:
            check_model_folder(Path(path))
            with atomic_folder(Path(path)) as partial:
                save_pipeline(self.pipe, partial)


def train(
    pipe: StableDiffusionPipeline,
    photos: Photos,
    settings: TrainingSettings,
    folder: str | os.PathLike[str],
    *,
    prompts: str | Sequence[str] | None = None,
    watch: Watch | None = None,
) -> Training:
    """Teach a pipeline what the photos show, and leave it ready to draw that.

    A folder that holds a checkpoint of the same training is gone on from, to the same weights as
    without the pause; where all steps were taken, nothing is trained. Interrupting the kernel
    saves and returns. A LoRA becomes the adapter named after the word: it alone is on afterwards,
    and one of that name is replaced. Other adapters stay on the pipeline unchanged, but off, in
    training too; `pipe.set_adapters` combines them. Full DreamBooth changes the weights that are
    there: load the pipeline anew before another one.

    Args:
        pipe: A pipeline whose U-Net predicts noise; it is changed.
        photos: Pictures of one size, with sides in multiples of 8; or what `load_photos` takes,
            such as the name of a folder, which are opened at the model's own size.
        settings: What to teach and how.
        folder: For the checkpoint and the pictures of the class.
        prompts: What each photo shows, with the word in it, or one text for all of them; by
            default the instance prompt.
        watch: Is called with each step.

    Raises:
        ValueError: Photos, prompts or settings do not fit, or the folder holds something else.
        DoesNotFitError: Memory is short; says which setting would fit.
        DivergedError: The loss became NaN, infinite, or worse than guessing; the last good
            checkpoint stays, and the pipeline has its weights.
        OSError: A checkpoint cannot be written, as on a full disk; the one before stays.
    """
    check_pipe(pipe)
    _check_call(settings, watch)
    settings = settings.for_model(pipe.unet.num_parameters())
    job = make_job(pipe, photos, settings, folder, prompts)
    check_peft()
    check_adapters(pipe, settings)
    state = checkpoints.read(job.folder, job.identity, settings.steps)
    if state is not None and state["done"] >= settings.steps:
        base_only(pipe, settings)
        history = _recall(job, state)
    else:
        height, width = job.size
        check_memory(pipe, settings, height=height, width=width)
        check_class_folder(job)
        history = _go_on(job, state, watch)
    training = Training(pipe, settings, history, len(history.steps), job.folder)
    if not settings.is_lora:  # which pictures tell of, as they do of the model's name
        pipe.register_to_config(_name_or_path=f"{job.model}{LEARNED}{settings.word}")
    if not training.finished:
        print(_interrupted_note(training))
    return training


def _go_on(job: Job, state: checkpoints.State | None, watch: Watch | None) -> History:
    """Train until all steps are done or the kernel is interrupted."""
    go_back = remember_adapters(job.pipe)
    try:
        base_only(job.pipe, job.settings)
        accelerator = make_accelerator(job.pipe)
        batches = _make_batches(job, accelerator)
        idle = idle_parts(job.pipe, job.settings)
        with moved(idle, torch.device("cpu")), being_trained(job.pipe, job.settings):
            run = Run(job.pipe, batches, job.settings, accelerator)
            if state is not None:
                run.load(state)
            _loop(job, run, accelerator, watch)
        return run.history
    except BaseException as error:  # whatever it is, the pipeline is left with what is on disk
        state = checkpoints.read(job.folder, job.identity, job.settings.steps)
        if state is None:  # nothing has been learned, so nothing has taken a place
            go_back()
            history = History()
        else:
            base_only(job.pipe, job.settings)
            history = _recall(job, state)
        if isinstance(error, KeyboardInterrupt):
            return history
        raise


def _loop(job: Job, run: Run, accelerator: Accelerator, watch: Watch | None) -> None:
    settings, is_main = job.settings, accelerator.is_main_process
    _keep(job, run, accelerator)  # if that cannot be done, it is better known now
    try:
        while run.done < settings.steps:
            step = run.advance()
            if (
                is_main
                and settings.sample_prompts
                and _is_due(run, settings.sample_every, settings)
            ):
                with run.averaged(), accelerator.autocast():
                    step = run.illustrate(samples(job, accelerator.device))
            if is_main and watch is not None:
                watch(step)
            if _is_due(run, settings.checkpoint_every, settings):
                _keep(job, run, accelerator)
    except KeyboardInterrupt:
        with uninterrupted():
            _keep(job, run, accelerator)
    run.settle()


def _is_due(run: Run, every: int, settings: TrainingSettings) -> bool:
    return run.done % every == 0 or run.done == settings.steps


def _keep(job: Job, run: Run, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        checkpoints.write(job.folder, {"identity": job.identity, **run.state()})


def _recall(job: Job, state: checkpoints.State) -> History:
    """Put on the pipeline what a checkpoint has learned."""
    with being_trained(job.pipe, job.settings), torch.no_grad():
        for name, weight in trained_parameters(job.pipe).items():
            weight.copy_({**state["weights"], **state["average"]}[name])
    return checkpoints.unpack_history(state["history"])


def _make_batches(job: Job, accelerator: Accelerator) -> Batches:
    """Encode the photos, and what the prior needs, while the model is as it was."""
    settings, pipe = job.settings, job.pipe
    parts = settings.gradient_accumulation * accelerator.num_processes
    if settings.batch_size % parts:
        raise ValueError(
            f"batch_size={settings.batch_size} must be a multiple of {parts}, the processes times "
            f"gradient_accumulation; try {parts * -(-settings.batch_size // parts)}"
        )
    photos = cache(pipe, job.photos, job.prompts)
    prior = None
    if settings.prior == "class_images":
        with accelerator.main_process_first():  # which draws them; the others read them
            images = class_images(job)
        prior = cache(pipe, images, [settings.class_prompt] * len(images))
    elif settings.prior == "own_prediction":
        prior = cache(pipe, job.photos, job.class_prompts)
    alphas_cumprod = pipe.scheduler.alphas_cumprod.cpu()
    return Batches(photos, prior, alphas_cumprod, settings.batch_size, settings.seed)


def check_model_folder(path: Path) -> None:
    """Refuse a folder for a model where anything else would be lost.

    Raises:
        ValueError: It is a file, or holds more than a model that was saved in it.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; name a folder for the model")
    if Path.cwd().is_relative_to(path.resolve()):
        raise ValueError(f"{path} is the folder that you work in; name a new one in it")
    if found := strangers(path):
        is_model = (path / "model_index.json").is_file()
        what = "more than a model saved here" if is_model else "no pipeline"
        raise ValueError(
            f"{path} is not empty and holds {what}, such as {found[0]}, which would be lost; "
            "choose another folder"
        )


def _check_call(settings: object, watch: object) -> None:
    if not isinstance(settings, TrainingSettings):
        raise ValueError(
            f"settings={settings!r} must be TrainingSettings, such as "
            "TrainingSettings(word='zwx', class_noun='robot')"
        )
    if watch is not None and not callable(watch):
        raise ValueError(f"watch={watch!r} must be a function that takes a step, or left out")


def _interrupted_note(training: Training) -> str:
    done, steps = training.steps, training.settings.steps
    return say(
        f"Stopped after {done} of {steps} steps. Nothing is lost: run the same cell to go on.",
        f"Parado tras {done} de {steps} pasos. No se pierde nada: ejecuta la misma celda para "
        "seguir.",
    )
