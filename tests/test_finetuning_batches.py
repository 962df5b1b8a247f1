from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fixtures_finetuning import make_photos
from sdlesson.diffusion import add_noise
from sdlesson.finetuning.training_batches import Batch, TrainingBatches, cache_latents
from sdlesson.images import to_pixels


@pytest.fixture
def batches(tiny: StableDiffusionPipeline) -> TrainingBatches:
    """Batches of four, of three photos with texts of their own, and five pictures of a class."""
    photos = cache_latents(tiny, make_photos(3), ["a zwx robot", "zwx", "a zwx"])
    prior = cache_latents(tiny, make_photos(5), ["a robot"] * 5)
    return TrainingBatches(photos, prior, tiny.scheduler.alphas_cumprod, 4, seed=7)


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.noisy, batch.timesteps, batch.target, batch.embeddings, batch.tokens]


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_what_is_cached_is_what_the_vae_and_the_text_encoder_say(
    tiny: StableDiffusionPipeline,
) -> None:
    photos, texts = make_photos(3), ["a zwx robot", "zwx", "a zwx"]
    cached = cache_latents(tiny, photos, texts)
    with torch.no_grad():
        # One by one, as rounding depends on the batch.
        posteriors = [tiny.vae.encode(to_pixels([photo])).latent_dist for photo in photos]
        theirs, _ = tiny.encode_prompt(texts, torch.device("cpu"), 1, False)
    factor = tiny.vae.config.scaling_factor
    for row, posterior in enumerate(posteriors):
        torch.testing.assert_close(cached.mean[row], posterior.mean[0] * factor)
        torch.testing.assert_close(cached.std[row], posterior.std[0] * factor)
    torch.testing.assert_close(cached.embeddings, theirs)


def test_a_half_precision_vae_encodes_in_float32_and_is_as_it_was(
    tiny: StableDiffusionPipeline,
) -> None:
    expected = cache_latents(tiny, make_photos(), ["a"] * 4).mean
    tiny.to(torch.bfloat16)
    found = cache_latents(tiny, make_photos(), ["a"] * 4).mean
    assert tiny.vae.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_a_batch_depends_on_the_seed_and_the_step_alone(batches: TrainingBatches) -> None:
    first = batches.batch_at(3)
    torch.manual_seed(99)
    batches.batch_at(0)
    assert same(batches.batch_at(3), first)
    assert not torch.equal(batches.batch_at(4).noisy, first.noisy)
    assert not torch.equal(replace(batches, seed=8).batch_at(3).noisy, first.noisy)


def test_the_largest_seed_has_batches_too(batches: TrainingBatches) -> None:
    assert batches.batch_at(1).noisy.isfinite().all()
    assert replace(batches, seed=2**64 - 1).batch_at(1).noisy.isfinite().all()


def test_pictures_take_turns_with_their_texts(batches: TrainingBatches) -> None:
    rows = [batches.batch_at(step) for step in range(3)]
    tokens = torch.cat([batch.tokens[:4] for batch in rows])
    assert torch.equal(tokens, batches.photos.tokens.repeat(4, 1))
    embeddings = torch.cat([batch.embeddings[:4] for batch in rows])
    assert torch.equal(embeddings, batches.photos.embeddings.repeat(4, 1, 1))


def test_pictures_are_sampled_anew_from_their_posteriors(batches: TrainingBatches) -> None:
    wide = replace(batches.photos, std=torch.full_like(batches.photos.std, 2.0))
    nearly_clean = replace(
        batches, photos=wide, prior=None, alphas_cumprod=torch.tensor([1 - 1e-6])
    )
    drawn = torch.stack([nearly_clean.batch_at(3 * step).noisy[0] for step in range(400)])
    torch.testing.assert_close(drawn.mean(0), wide.mean[0], atol=0.5, rtol=0)
    torch.testing.assert_close(drawn.std(0), wide.std[0], atol=0.4, rtol=0)


def test_the_noise_is_the_target_at_the_level_of_each_picture(batches: TrainingBatches) -> None:
    exact = replace(batches.photos, std=torch.zeros_like(batches.photos.std))
    batch = replace(batches, photos=exact, prior=None).batch_at(0)
    clean = exact.mean[[0, 1, 2, 0]]
    expected = add_noise(clean, batch.target, batch.timesteps, batches.alphas_cumprod)
    torch.testing.assert_close(batch.noisy, expected)
    assert len(batch.timesteps.unique()) == 4


def test_the_prior_is_as_many_pictures_under_other_noise(batches: TrainingBatches) -> None:
    batch = batches.batch_at(0)
    assert len(batch.noisy) == 8
    assert len(batch.prior.noisy) == 4
    assert torch.equal(batch.prior.embeddings[0], batches.prior.embeddings[0])
    assert not torch.equal(batch.target[:4], batch.target[4:])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_parts_of_a_batch_are_all_of_it(batches: TrainingBatches, count: int) -> None:
    batch = batches.batch_at(0)
    parts = [batch.part(index, count) for index in range(count)]
    assert [part.photos for part in parts] == [4 // count] * count
    photos = torch.cat([part.noisy[: part.photos] for part in parts])
    prior = torch.cat([part.prior.noisy for part in parts])
    assert torch.equal(torch.cat([photos, prior]), batch.noisy)
