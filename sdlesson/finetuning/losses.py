"""The loss of a step: what is compared, how it is weighed, and what the prior adds.

A picture's error is the squared distance of the predicted noise from the target (Ho et al. 2020,
eq. 14, arXiv:2006.11239). DreamBooth adds the same for pictures of the class, so that teaching one
robot does not teach that all robots look like it (Ruiz et al. 2023, eq. 2, arXiv:2208.12242).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from sdlesson.diffusion import min_snr_weights
from sdlesson.finetuning.adapters import adapters_disabled
from sdlesson.finetuning.training_batches import Batch
from sdlesson.finetuning.training_settings import TrainingSettings


class TrainableModel(nn.Module):
    """What is trained, as one module: from a batch to the error of each of its pictures.

    One module with one `forward`, because that is what accelerate wraps: on several GPUs it is
    `forward` after which gradients are averaged, and a call around it would leave them apart.
    """

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
            # The embeddings of the batch were made before training, by the text encoder as it was;
            # gradients reach the one that is trained only through embeddings made now.
            embeddings = self.text_encoder(batch.tokens).last_hidden_state  # (B, tokens, channels)
            batch = replace(batch, embeddings=embeddings)
        return denoising_errors(self.unet, batch)


def batch_loss(
    model: nn.Module, batch: Batch, settings: TrainingSettings, alphas_cumprod: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the error of each of its pictures, (B,); it changes nothing."""
    errors = model(batch)
    weights = torch.ones_like(errors)
    if settings.min_snr_gamma is not None:
        alpha_bar = alphas_cumprod[batch.timesteps]  # (T,) -> (B,): each picture's own level
        weights = min_snr_weights(alpha_bar / (1 - alpha_bar), settings.min_snr_gamma)
    weighed = errors * weights
    # The photos come first, and then the prior's pictures: (B,) in two.
    loss = training_loss(weighed[: batch.photos], weighed[batch.photos :], settings.prior_weight)
    return loss, errors.detach()  # what is reported is not weighed, so that trainings compare


def denoising_errors(unet: UNet2DConditionModel, batch: Batch) -> Tensor:
    """The mean squared error of each prediction of a batch, (B,), in float32."""
    noise_pred = unet(batch.noisy, batch.timesteps, batch.embeddings, return_dict=False)[0]
    # Squares of small differences fall below what half precision can hold, hence float32.
    return (noise_pred.float() - batch.target).square().mean(dim=(1, 2, 3))  # (B, 4, h, w) -> (B,)


@torch.no_grad()
def with_own_prediction(unet: UNet2DConditionModel, batch: Batch) -> Batch:
    """Make what the model predicts with its adapters off the target of the prior's pictures.

    No picture of the class is needed: the model is asked to go on reading the class's text as it
    did, and it is asked where the new thing would leak in first, on the photos under fresh noise.
    """
    prior = batch.prior
    with adapters_disabled(unet):  # the frozen weights are the model before training
        own = unet(prior.noisy, prior.timesteps, prior.embeddings, return_dict=False)[0]
    return replace(batch, target=torch.cat([batch.target[: batch.photos], own.float()]))


def training_loss(errors: Tensor, prior_errors: Tensor, prior_weight: float) -> Tensor:
    """Add the prior's mean error, times its weight, to that of the photos.

    Args:
        errors: Of the photos, (B,).
        prior_errors: Of the prior's pictures, (B',); empty without a prior.
        prior_weight: lambda in the paper.

    Source: Ruiz et al. 2023, eq. 2, arXiv:2208.12242.
    """
    if len(prior_errors) == 0:  # the mean of nothing is NaN
        return errors.mean()
    # Two means and not one of all: lambda weighs prior against photos, however many of each.
    return errors.mean() + prior_weight * prior_errors.mean()
