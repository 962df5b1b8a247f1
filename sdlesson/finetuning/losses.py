"""The loss of a step, as pure functions: what is compared, and how it is weighed.

A picture's error is the squared distance of the predicted noise from the target (Ho et al. 2020,
eq. 14, arXiv:2006.11239). DreamBooth adds the same for pictures of the class, so that teaching one
robot does not teach that all robots look like it (Ruiz et al. 2023, eq. 2, arXiv:2208.12242).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from sdlesson.finetuning.adapters import adapter_off
from sdlesson.finetuning.batches import Batch


def denoising_errors(unet: UNet2DConditionModel, batch: Batch) -> Tensor:
    """The mean squared error of each prediction of a batch, (B,), in float32."""
    noise_pred = unet(batch.noisy, batch.timesteps, batch.embeddings, return_dict=False)[0]
    return (noise_pred.float() - batch.target).square().mean(dim=(1, 2, 3))


@torch.no_grad()
def with_own_prediction(unet: UNet2DConditionModel, batch: Batch) -> Batch:
    """Make what the model predicts with its adapters off the target of the prior's pictures.

    No picture of the class is needed: the model is asked to go on reading the class's text as it
    did, and it is asked where the new thing would leak in first, on the photos under fresh noise.
    """
    prior = batch.prior
    with adapter_off(unet):
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
    if len(prior_errors) == 0:
        return errors.mean()
    return errors.mean() + prior_weight * prior_errors.mean()
