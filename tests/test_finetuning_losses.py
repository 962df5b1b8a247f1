import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import compute_snr

from fixtures_finetuning import make_photos, make_settings, weights_of
from sdlesson.diffusion import min_snr_weights
from sdlesson.finetuning.adapters import adapters_disabled, prepare_weights
from sdlesson.finetuning.losses import (
    TrainableModel,
    batch_loss,
    denoising_errors,
    training_loss,
    with_own_prediction,
)
from sdlesson.finetuning.training_batches import Batch, TrainingBatches, cache_latents


@pytest.fixture
def batch(tiny: StableDiffusionPipeline) -> Batch:
    """Two photos, and two pictures of a prior."""
    source = cache_latents(tiny, make_photos(), ["a zwx robot"] * 4)
    prior = cache_latents(tiny, make_photos(), ["a robot"] * 4)
    return TrainingBatches(source, prior, tiny.scheduler.alphas_cumprod, 2, seed=0).batch_at(0)


def test_min_snr_weighs_errors_as_diffusers_training_scripts_do(
    tiny: StableDiffusionPipeline, batch: Batch
) -> None:
    settings = make_settings(min_snr_gamma=0.1)  # low enough for this batch to meet
    prepare_weights(tiny, settings)
    loss, errors = batch_loss(
        TrainableModel(tiny, settings), batch, settings, tiny.scheduler.alphas_cumprod
    )
    snr = compute_snr(tiny.scheduler, batch.timesteps)
    theirs = torch.stack([snr, 0.1 * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
    weighed = errors * theirs
    photos, prior = weighed[: batch.photos], weighed[batch.photos :]
    torch.testing.assert_close(loss.detach(), training_loss(photos, prior, settings.prior_weight))
    assert len(theirs.unique()) > 1


def test_min_snr_weights_are_those_of_diffusers_training_scripts(
    tiny: StableDiffusionPipeline,
) -> None:
    snr = compute_snr(tiny.scheduler, torch.arange(1000))
    theirs = torch.stack([snr, 5.0 * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
    alpha_bar = tiny.scheduler.alphas_cumprod
    ours = min_snr_weights(alpha_bar / (1 - alpha_bar), 5.0)
    torch.testing.assert_close(ours, theirs)
    assert ours.min() < 0.01
    assert ours.max() == 1


def test_the_loss_is_the_photos_mean_and_the_weighed_mean_of_the_prior() -> None:
    errors, prior_errors = torch.tensor([1.0, 3.0]), torch.tensor([4.0])
    assert training_loss(errors, prior_errors, 0.5) == 4.0
    assert training_loss(errors, torch.tensor([]), 0.5) == 2.0


def test_errors_are_the_mean_squares_of_each_prediction(
    tiny: StableDiffusionPipeline, batch: Batch
) -> None:
    errors = denoising_errors(tiny.unet, batch)
    noise_pred = tiny.unet(batch.noisy, batch.timesteps, batch.embeddings).sample
    for error, guess, target in zip(errors, noise_pred, batch.target, strict=True):
        torch.testing.assert_close(error, torch.nn.functional.mse_loss(guess, target))


def test_the_prior_is_the_models_own_prediction_without_the_adapter(
    tiny: StableDiffusionPipeline, batch: Batch
) -> None:
    base = tiny.unet(batch.noisy, batch.timesteps, batch.embeddings).sample
    prepare_weights(tiny, make_settings())
    with torch.no_grad():
        for weight in weights_of(tiny):
            tiny.unet.get_parameter(weight.removeprefix("unet.")).add_(0.3)
    changed = tiny.unet(batch.noisy, batch.timesteps, batch.embeddings).sample
    asked = with_own_prediction(tiny.unet, batch)
    assert not torch.allclose(changed, base, atol=1e-3)
    torch.testing.assert_close(asked.target[2:], base[2:])
    assert torch.equal(asked.target[:2], batch.target[:2])
    assert not asked.target.requires_grad
    with adapters_disabled(tiny.unet):
        again = tiny.unet(batch.noisy, batch.timesteps, batch.embeddings).sample
    torch.testing.assert_close(again, base)


def test_at_the_first_step_a_new_adapter_errs_nowhere_on_its_own_prediction(
    tiny: StableDiffusionPipeline, batch: Batch
) -> None:
    settings = make_settings()
    prepare_weights(tiny, settings)
    loss, errors = batch_loss(
        TrainableModel(tiny, settings), batch, settings, tiny.scheduler.alphas_cumprod
    )
    assert errors[:2].min() > 0.1
    assert errors[2:].max() < 1e-10
    torch.testing.assert_close(loss, errors[:2].mean())


def test_a_step_changes_nothing(tiny: StableDiffusionPipeline, batch: Batch) -> None:
    settings = make_settings(min_snr_gamma=5.0)
    prepare_weights(tiny, settings)
    model, before = TrainableModel(tiny, settings), weights_of(tiny)
    alphas_cumprod = tiny.scheduler.alphas_cumprod
    first, again = (batch_loss(model, batch, settings, alphas_cumprod) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert all(torch.equal(before[name], now) for name, now in weights_of(tiny).items())
