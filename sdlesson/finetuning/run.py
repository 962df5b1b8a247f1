"""A training underway: what it has learned so far, and how it takes a step."""

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
from torch import Tensor, nn

from sdlesson.diffusion import min_snr_weights
from sdlesson.finetuning import checkpoints
from sdlesson.finetuning.adapters import trained_parameters
from sdlesson.finetuning.batches import Batch, Batches
from sdlesson.finetuning.history import History, Step
from sdlesson.finetuning.losses import denoising_errors, training_loss, with_own_prediction
from sdlesson.finetuning.machine import uninterrupted
from sdlesson.finetuning.optimizers import make_optimizer
from sdlesson.finetuning.settings import TrainingSettings

MAX_GRADIENT_NORM = 1.0
# A model that predicts no noise at all errs by 1, the variance of the noise.
DIVERGED_ERROR = 2.0
DIVERGED_WINDOW = 10


class DivergedError(FloatingPointError):
    """The loss is no longer finite, or worse than that of a model that predicts nothing."""


class Learner(nn.Module):
    """What is trained, as one module: from a batch to the error of each of its pictures."""

    def __init__(self, pipe: StableDiffusionPipeline, settings: TrainingSettings) -> None:
        super().__init__()
        self.unet = pipe.unet
        self.text_encoder = pipe.text_encoder if settings.train_text_encoder else None
        self.asks_itself = settings.prior == "own_prediction"

    def forward(self, batch: Batch) -> Tensor:
        """Return the error of each picture, (B,)."""
        if self.asks_itself:
            batch = with_own_prediction(self.unet, batch)
        if self.text_encoder is not None:
            batch = replace(batch, embeddings=self.text_encoder(batch.tokens).last_hidden_state)
        return denoising_errors(self.unet, batch)


def step_loss(
    learner: nn.Module, batch: Batch, settings: TrainingSettings, alphas_cumprod: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the error of each of its pictures, (B,); it changes nothing."""
    errors = learner(batch)
    weights = torch.ones_like(errors)
    if settings.min_snr_gamma is not None:
        alpha_bar = alphas_cumprod[batch.timesteps]
        weights = min_snr_weights(alpha_bar / (1 - alpha_bar), settings.min_snr_gamma)
    weighed = errors * weights
    loss = training_loss(weighed[: batch.photos], weighed[batch.photos :], settings.prior_weight)
    return loss, errors.detach()


class Run:
    """A training underway.

    Attributes:
        done: Steps taken.
        history: What they did.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        batches: Batches,
        settings: TrainingSettings,
        accelerator: Accelerator,
    ) -> None:
        self.done, self.history = 0, History()
        self._batches, self._settings, self._accelerator = batches, settings, accelerator
        self._weights = trained_parameters(pipe)
        self._average: dict[str, Tensor] = {}
        self._is_averaged = False  # whether the average stands in the trained weights' place
        if settings.ema_decay is not None:
            self._average = {name: weight.data.clone() for name, weight in self._weights.items()}
        self._learner, self._optimizer = accelerator.prepare(
            Learner(pipe, settings),
            make_optimizer(self._weights.values(), settings, accelerator.device),
        )
        self._alphas_cumprod = batches.alphas_cumprod.to(accelerator.device)
        self._start = time.perf_counter()

    def advance(self) -> Step:
        """Take one step.

        Raises:
            DivergedError: It would have spoilt the weights, or they are spoilt already.
        """
        rate = self._settings.rate_at(self.done)
        self._optimizer.zero_grad()
        step = self._backward(self._batches.batch_at(self.done))
        norm = self._accelerator.clip_grad_norm_(self._weights.values(), MAX_GRADIENT_NORM)
        self._check(step, float(norm), rate)
        with uninterrupted():
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._update_average()
            self.history.steps.append(step)
            self.done += 1
        return step

    def illustrate(self, images: tuple[Image.Image, ...]) -> Step:
        """Add pictures to the last step."""
        self.history.steps[-1] = replace(self.history.steps[-1], images=images)
        return self.history.steps[-1]

    def settle(self) -> None:
        """End with the average, where one is kept; the run cannot go on after this."""
        self._put_average(in_place=True)

    def state(self) -> checkpoints.State:
        """All that a later run needs to go on as if there had been no pause.

        Raises:
            DivergedError: The last step left weights that are not finite.
        """
        self._put_average(in_place=False)  # an interrupt may have come while it was shown
        if not all(weight.isfinite().all() for weight in self._weights.values()):
            raise self._diverged(f"in step {self.done - 1}, which left weights that are not finite")
        scaler = self._accelerator.scaler
        return {
            "done": self.done,
            "weights": {name: weight.data for name, weight in self._weights.items()},
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": checkpoints.pack_history(self.history),
        }

    def load(self, state: checkpoints.State) -> None:
        """Go on from what `state` returned."""
        self.done, self.history = state["done"], checkpoints.unpack_history(state["history"])
        for name, weight in self._weights.items():
            weight.data.copy_(state["weights"][name])
        for name, average in self._average.items():
            average.copy_(state["average"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The average in place of the trained weights, for a while, where one is kept."""
        try:
            self._put_average(in_place=True)
            yield
        finally:
            self._put_average(in_place=False)

    def _backward(self, batch: Batch) -> Step:
        """Add up the gradients of this process's share of a batch, part by part."""
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        parts = self._settings.gradient_accumulation
        loss, errors, prior_errors = 0.0, [], []
        for part in range(parts):
            share = batch.part(part * processes + rank, parts * processes)
            share = share.to(self._accelerator.device)
            is_last = part == parts - 1
            with nullcontext() if is_last else self._accelerator.no_sync(self._learner):
                part_loss, part_errors = step_loss(
                    self._learner, share, self._settings, self._alphas_cumprod
                )
                self._accelerator.backward(part_loss / parts)
            figures = torch.cat([part_loss.detach()[None], part_errors])
            for own_loss, *own_errors in self._accelerator.gather(figures[None]).tolist():
                loss += own_loss / (parts * processes)
                errors += own_errors[: share.photos]
                prior_errors += own_errors[share.photos :]
        return Step(
            index=self.done,
            steps=self._settings.steps,
            loss=loss,
            prior_loss=fmean(prior_errors) if prior_errors else 0.0,
            timesteps=tuple(batch.timesteps[: batch.photos].tolist()),
            errors=tuple(errors),
            seconds=time.perf_counter() - self._start,
        )

    def _check(self, step: Step, norm: float, rate: float) -> None:
        recent = [*self.history.steps[1 - DIVERGED_WINDOW :], step]
        error = fmean(fmean(one.errors) for one in recent)
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
        if self.done == 0:  # no rate has been used yet
            half = self._accelerator.mixed_precision != "no"
            mend = ", or load it with dtype=torch.float32" if half else ""
            return DivergedError(
                f"the training diverged {where}, before it had changed anything: the model gives "
                f"no finite prediction of these photos; load the model anew{mend}"
            )
        return DivergedError(
            f"the training diverged {where}; the last good checkpoint is kept, and another folder "
            f"with learning_rate={self._settings.peak_rate / 10:g} may do better"
        )

    def _update_average(self) -> None:
        if self._settings.ema_decay is None:
            return
        decay = min(self._settings.ema_decay, (1 + self.done) / (10 + self.done))
        for name, average in self._average.items():
            average.lerp_(self._weights[name].data, 1 - decay)

    def _put_average(self, *, in_place: bool) -> None:
        """Exchange the average with the trained weights, all of them, unless that is done."""
        with uninterrupted():
            if self._is_averaged == in_place:
                return
            for name, average in self._average.items():
                weight = self._weights[name]
                self._average[name], weight.data = weight.data, average
            self._is_averaged = in_place
