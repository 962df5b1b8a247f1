"""The training loop's step: gradients of a batch, one update of the weights, and their average.

A step in the words of Ho et al. 2020, algorithm 1 (arXiv:2006.11239): take clean pictures, noise
and noise levels (`TrainingBatches.batch_at`), predict the noise, and go down the gradient of the
squared error (`losses.batch_loss`). The rest here is what makes that work on small memories, in
half precision, on several GPUs, and after an interruption.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from statistics import fmean

import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from sdlesson.finetuning.adapters import trainable_parameters
from sdlesson.finetuning.checkpoints import Checkpoint, pack_history, unpack_history
from sdlesson.finetuning.hardware import make_optimizer, uninterrupted
from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.finetuning.losses import TrainableModel, batch_loss
from sdlesson.finetuning.training_batches import Batch, TrainingBatches
from sdlesson.finetuning.training_settings import TrainingSettings

MAX_GRADIENT_NORM = 1.0
# A model that predicts no noise at all errs by 1, the variance of the noise.
DIVERGED_ERROR = 2.0
DIVERGED_WINDOW = 10


class DivergedError(FloatingPointError):
    """The loss is no longer finite, or worse than that of a model that predicts nothing."""


class Trainer:
    """A training underway: what it has learned so far, and how it takes a step.

    Attributes:
        steps_done: Steps taken.
        history: What they did.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        batches: TrainingBatches,
        settings: TrainingSettings,
        accelerator: Accelerator,
    ) -> None:
        self.steps_done, self.history = 0, History()
        self._batches, self._settings, self._accelerator = batches, settings, accelerator
        self._weights = trainable_parameters(pipe)
        self._average: dict[str, Tensor] = {}
        self._is_averaged = False  # whether the average stands in the trained weights' place
        if settings.ema_decay is not None:
            self._average = {name: weight.data.clone() for name, weight in self._weights.items()}
        # accelerate wraps the model so that gradients are averaged over GPUs in its backward pass,
        # and the optimizer so that a step with overflowed half-precision gradients is left out.
        self._model, self._optimizer = accelerator.prepare(
            TrainableModel(pipe, settings),
            make_optimizer(self._weights.values(), settings, accelerator.device),
        )
        self._alphas_cumprod = batches.alphas_cumprod.to(accelerator.device)
        self._start = time.perf_counter()

    def take_step(self) -> TrainingStep:
        """Take one step.

        Raises:
            DivergedError: It would have spoilt the weights, or they are spoilt already.
        """
        rate = self._settings.learning_rate_at(self.steps_done)
        self._optimizer.zero_grad()
        step = self._backward(self._batches.batch_at(self.steps_done))
        # One odd batch may have gradients a hundred times as long as others: all of them together
        # are cut to length 1 (Pascanu et al. 2013, algorithm 1, arXiv:1211.5063).
        norm = self._accelerator.clip_grad_norm_(self._weights.values(), MAX_GRADIENT_NORM)
        self._check_convergence(step, float(norm), rate)
        # From here on all or nothing: weights without their average, or a step that is not in the
        # history, would make a checkpoint that no uninterrupted training passes through.
        with uninterrupted():
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._update_average()
            self.history.steps.append(step)
            self.steps_done += 1
        return step

    def attach_samples(self, images: tuple[Image.Image, ...]) -> TrainingStep:
        """Add pictures of the sample prompts to the last step, and return it with them."""
        self.history.steps[-1] = replace(self.history.steps[-1], images=images)
        return self.history.steps[-1]

    def use_average(self) -> None:
        """Leave the average in the model, where one is kept; no step can follow."""
        self._swap_average(in_place=True)

    def state_dict(self) -> Checkpoint:
        """All that a later trainer needs to go on as if there had been no pause.

        Raises:
            DivergedError: The last step left weights that are not finite.
        """
        self._swap_average(in_place=False)  # an interrupt may have come while it was shown
        if not all(weight.isfinite().all() for weight in self._weights.values()):
            raise self._diverged(
                f"in step {self.steps_done - 1}, which left weights that are not finite"
            )
        # AdamW's two means of each gradient are half of what a training knows: without them, the
        # first steps after a pause would go astray. So is the scaler's factor in half precision.
        scaler = self._accelerator.scaler
        return {
            "done": self.steps_done,
            "weights": {name: weight.data for name, weight in self._weights.items()},
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": pack_history(self.history),
        }

    def load_state_dict(self, state: Checkpoint) -> None:
        """Go on from what `state_dict` returned."""
        # Copied into the tensors that are there: the optimizer and accelerate hold on to these.
        self.steps_done, self.history = state["done"], unpack_history(state["history"])
        for name, weight in self._weights.items():
            weight.data.copy_(state["weights"][name])
        for name, average in self._average.items():
            average.copy_(state["average"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The average in place of the trained weights, for a while, where one is kept."""
        try:
            self._swap_average(in_place=True)
            yield
        finally:
            self._swap_average(in_place=False)

    def _backward(self, batch: Batch) -> TrainingStep:
        """Add up the gradients of this process's share of a batch, part by part."""
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        parts = self._settings.gradient_accumulation
        loss, errors, prior_errors = 0.0, [], []
        for part in range(parts):
            # Each process takes every so-manieth part, so that all of them together see the batch
            # that one alone would see.
            share = batch.part(part * processes + rank, parts * processes)
            share = share.to(self._accelerator.device)
            # Gradients add up in `.grad` over the parts; processes exchange them once, at the end.
            is_last = part == parts - 1
            with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                part_loss, part_errors = batch_loss(
                    self._model, share, self._settings, self._alphas_cumprod
                )
                self._accelerator.backward(
                    part_loss / parts
                )  # the mean over parts, as of one batch
            # (1 + B',) a process, gathered to (processes, 1 + B'): the loss, and each error.
            figures = torch.cat([part_loss.detach()[None], part_errors])
            for own_loss, *own_errors in self._accelerator.gather(figures[None]).tolist():
                loss += own_loss / (parts * processes)
                errors += own_errors[: share.photos]
                prior_errors += own_errors[share.photos :]
        return TrainingStep(
            index=self.steps_done,
            steps=self._settings.steps,
            loss=loss,
            prior_loss=fmean(prior_errors) if prior_errors else 0.0,
            timesteps=tuple(batch.timesteps[: batch.photos].tolist()),
            errors=tuple(errors),
            seconds=time.perf_counter() - self._start,
        )

    def _check_convergence(self, step: TrainingStep, norm: float, rate: float) -> None:
        # One hard batch may be worse than a guess; ten steps on average are not by chance.
        recent = [*self.history.steps[1 - DIVERGED_WINDOW :], step]
        error = fmean(fmean(one.errors) for one in recent)
        # In fp16 the scaler tries a factor, sees infinite gradients, and halves it: no harm.
        scaled = self._accelerator.scaler is not None  # which skips a step of infinite gradients
        is_finite = math.isfinite(step.loss) and (math.isfinite(norm) or scaled)
        if is_finite and (error < DIVERGED_ERROR or len(recent) < DIVERGED_WINDOW):
            return
        errors = tuple(round(error, 3) for error in step.errors)
        raise self._diverged(
            f"at step {step.index} (loss {step.loss:.3g}, gradients of norm {norm:.3g}, learning "
            f"rate {rate:g}, photos at timesteps {step.timesteps} with errors {errors})"
        )

    def _diverged(self, where: str) -> DivergedError:
        if self.steps_done == 0:  # no rate has been used yet
            half = self._accelerator.mixed_precision != "no"
            mend = ", or load it with dtype=torch.float32" if half else ""
            return DivergedError(
                f"the training diverged {where}, before it had changed anything: the model gives "
                f"no finite prediction of these photos; load the model anew{mend}"
            )
        return DivergedError(
            f"the training diverged {where}; the last good checkpoint is kept, and another folder "
            f"with learning_rate={self._settings.peak_learning_rate / 10:g} may do better"
        )

    def _update_average(self) -> None:
        if self._settings.ema_decay is None:
            return
        # average = decay * average + (1 - decay) * weights. At first the decay is small, as in
        # diffusers' EMAModel: else the weights before training would weigh for very long.
        decay = min(self._settings.ema_decay, (1 + self.steps_done) / (10 + self.steps_done))
        for name, average in self._average.items():
            average.lerp_(self._weights[name].data, 1 - decay)

    def _swap_average(self, *, in_place: bool) -> None:
        """Exchange the average with the trained weights, all of them, unless that is done."""
        with uninterrupted():
            if self._is_averaged == in_place:
                return
            # `.data` alone changes hands: parameter and optimizer state stay who they are.
            for name, average in self._average.items():
                weight = self._weights[name]
                self._average[name], weight.data = weight.data, average
            self._is_averaged = in_place
