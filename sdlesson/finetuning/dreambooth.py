"""DreamBooth: teach a pipeline one new thing; stop at any time, and go on later.

Ruiz et al. 2023, section 3 and figure 3 (arXiv:2208.12242): a few photos under a rare word, and a
prior that keeps the rest of its class. In full, or as a LoRA (Hu et al. 2021, arXiv:2106.09685).
From top to bottom: `train` checks and prepares, `_train_until_done` makes room and leaves the
pipeline in order whatever happens, `_loop` takes the steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline

from sdlesson.downloads import unlisted_files
from sdlesson.files import atomic_folder
from sdlesson.finetuning.adapters import (
    check_adapters,
    check_peft,
    check_pipeline,
    check_rank,
    snapshot_adapters,
    start_from_base,
    trainable_parameters,
    training_mode,
)
from sdlesson.finetuning.checkpoints import (
    Checkpoint,
    read_checkpoint,
    unpack_history,
    write_checkpoint,
)
from sdlesson.finetuning.generated_images import check_class_folder, draw_class_images, draw_samples
from sdlesson.finetuning.hardware import make_accelerator, moved_to, uninterrupted, unused_parts
from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.finetuning.lora_saving import save_lora
from sdlesson.finetuning.memory import check_memory
from sdlesson.finetuning.trainer import Trainer
from sdlesson.finetuning.training_batches import TrainingBatches, cache_latents
from sdlesson.finetuning.training_job import PhotoSources, TrainingJob, make_training_job
from sdlesson.finetuning.training_settings import TrainingSettings, check_settings
from sdlesson.language import say
from sdlesson.pipelines import LEARNED, save_pipeline

StepCallback = Callable[[TrainingStep], object]
"""Takes each step of a training as soon as it is done."""


@dataclass(frozen=True)
class TrainingResult:
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
    photos: PhotoSources,
    settings: TrainingSettings,
    folder: str | os.PathLike[str],
    *,
    prompts: str | Sequence[str] | None = None,
    callback: StepCallback | None = None,
) -> TrainingResult:
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
        callback: Is called with each step.

    Raises:
        ValueError: Photos, prompts or settings do not fit, or the folder holds something else.
        DoesNotFitError: Memory is short; says which setting would fit.
        DivergedError: The loss became NaN, infinite, or worse than guessing; the last good
            checkpoint stays, and the pipeline has its weights.
        OSError: A checkpoint cannot be written, as on a full disk; the one before stays.
    """
    check_pipeline(pipe)
    check_settings(settings)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback={callback!r} must be a function that takes a step, or left out")
    # What is left open, such as the learning rate, is decided by the size of the model.
    settings = settings.for_model(pipe.unet.num_parameters())
    check_rank(pipe, settings)
    job = make_training_job(pipe, photos, settings, folder, prompts)
    check_peft()
    check_adapters(pipe, settings)
    # All that decides the weights is compared: a checkpoint of anything else is refused.
    state = read_checkpoint(job.folder, job.identity, settings.steps)
    if state is not None and state["done"] >= settings.steps:  # a cell that was run again
        start_from_base(pipe, settings)
        history = _load_checkpoint(job, state)
    else:
        # Counted on tensors without content, which takes seconds and no memory.
        height, width = job.size
        check_memory(pipe, settings, height=height, width=width)
        check_class_folder(job)
        history = _train_until_done(job, state, callback)
    training = TrainingResult(pipe, settings, history, len(history.steps), job.folder)
    if not settings.is_lora:  # which pictures tell of, as they do of the model's name
        pipe.register_to_config(_name_or_path=f"{job.model}{LEARNED}{settings.word}")
    if not training.finished:
        print(_interrupted_note(training))
    return training


def check_model_folder(path: Path) -> None:
    """Refuse a folder for a model where anything else would be lost.

    Raises:
        ValueError: It is a file, or holds more than a model that was saved in it.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; name a folder for the model")
    if Path.cwd().is_relative_to(path.resolve()):
        raise ValueError(f"{path} is the folder that you work in; name a new one in it")
    if found := unlisted_files(path):
        is_model = (path / "model_index.json").is_file()
        what = "more than a model saved here" if is_model else "no pipeline"
        raise ValueError(
            f"{path} is not empty and holds {what}, such as {found[0]}, which would be lost; "
            "choose another folder"
        )


def _train_until_done(
    job: TrainingJob, state: Checkpoint | None, callback: StepCallback | None
) -> History:
    """Train until all steps are done or the kernel is interrupted."""
    # Until the first checkpoint, whatever goes wrong has to leave the pipeline as it came.
    restore = snapshot_adapters(job.pipe)
    try:
        # The photos are encoded, and the class is drawn, by the model as it is without any LoRA.
        start_from_base(job.pipe, job.settings)
        accelerator = make_accelerator(job.pipe)
        batches = _encode_batches(job, accelerator)
        # Photos and texts are encoded by now: VAE and safety checker can wait in the CPU's memory.
        idle = unused_parts(job.pipe, job.settings)
        # In the loop the trained weights are in float32, whatever the rest is in: a step of 1e-5 on
        # a weight of 1 is less than half precision can tell from none.
        with moved_to(idle, torch.device("cpu")), training_mode(job.pipe, job.settings):
            trainer = Trainer(job.pipe, batches, job.settings, accelerator)
            if state is not None:
                trainer.load_state_dict(state)
            _loop(job, trainer, accelerator, callback)
        return trainer.history
    except BaseException as error:
        # Whatever it was, a full disk, a diverged loss, the stop button: the pipeline is left with
        # what is on disk, which is where the next call of `train` begins.
        state = read_checkpoint(job.folder, job.identity, job.settings.steps)
        if state is None:  # nothing has been learned, so nothing has taken a place
            restore()
            history = History()
        else:
            start_from_base(job.pipe, job.settings)
            history = _load_checkpoint(job, state)
        if isinstance(error, KeyboardInterrupt):
            return history
        raise


def _loop(
    job: TrainingJob, trainer: Trainer, accelerator: Accelerator, callback: StepCallback | None
) -> None:
    settings, is_main = job.settings, accelerator.is_main_process
    # Before the first step, so that a full disk is known before an hour is spent.
    _save_checkpoint(job, trainer, accelerator)
    try:
        while trainer.steps_done < settings.steps:
            step = trainer.take_step()
            # One process draws and reports; the others wait for it at the next step's gradients.
            if (
                is_main
                and settings.sample_prompts
                and _is_due(trainer, settings.sample_every, settings)
            ):
                # What is shown is what will be kept: the average, where one is.
                with trainer.averaged_weights(), accelerator.autocast():
                    step = trainer.attach_samples(draw_samples(job, accelerator.device))
            if is_main and callback is not None:
                callback(step)
            # After the callback: if that fails, the steps since the checkpoint are taken again.
            if _is_due(trainer, settings.checkpoint_every, settings):
                _save_checkpoint(job, trainer, accelerator)
    except KeyboardInterrupt:
        with uninterrupted():  # a second press of the stop button waits until this is on disk
            _save_checkpoint(job, trainer, accelerator)
    trainer.use_average()


def _is_due(trainer: Trainer, every: int, settings: TrainingSettings) -> bool:
    return trainer.steps_done % every == 0 or trainer.steps_done == settings.steps


def _save_checkpoint(job: TrainingJob, trainer: Trainer, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        write_checkpoint(job.folder, {"identity": job.identity, **trainer.state_dict()})


def _load_checkpoint(job: TrainingJob, state: Checkpoint) -> History:
    """Put on the pipeline what a checkpoint has learned."""
    with training_mode(job.pipe, job.settings), torch.no_grad():
        for name, weight in trainable_parameters(job.pipe).items():
            # Where an average was kept, it is what the training ends with; see `use_average`.
            weight.copy_({**state["weights"], **state["average"]}[name])
    return unpack_history(state["history"])


def _encode_batches(job: TrainingJob, accelerator: Accelerator) -> TrainingBatches:
    """Encode the photos, and what the prior needs, while the model is as it was."""
    settings, pipe = job.settings, job.pipe
    # A batch is cut into equal parts: over the processes, and in each over its memory's limits.
    parts = settings.gradient_accumulation * accelerator.num_processes
    if settings.batch_size % parts:
        raise ValueError(
            f"batch_size={settings.batch_size} must be a multiple of {parts}, the processes times "
            f"gradient_accumulation; try {parts * -(-settings.batch_size // parts)}"
        )
    # (N, 4, H/8, W/8) for N photos: a few kilobytes each, so that the VAE can leave the GPU.
    photos = cache_latents(pipe, job.photos, job.prompts)
    prior = None  # else pictures or texts of the class, which keep it as it was
    if settings.prior == "class_images":
        with accelerator.main_process_first():  # which draws them; the others read them
            images = draw_class_images(job)
        prior = cache_latents(pipe, images, [settings.class_prompt] * len(images))
    elif settings.prior == "own_prediction":
        # The same photos, under their texts without the word; the targets are made in each step.
        prior = cache_latents(pipe, job.photos, job.class_prompts)
    alphas_cumprod = pipe.scheduler.alphas_cumprod.cpu()
    return TrainingBatches(photos, prior, alphas_cumprod, settings.batch_size, settings.seed)


def _interrupted_note(training: TrainingResult) -> str:
    done, steps = training.steps, training.settings.steps
    return say(
        f"Stopped after {done} of {steps} steps. Nothing is lost: run the same cell to go on.",
        f"Parado tras {done} de {steps} pasos. No se pierde nada: ejecuta la misma celda para "
        "seguir.",
    )
