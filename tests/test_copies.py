"""Threads that share a pipeline: each draws what it would draw alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

import sdlesson
from fixtures_pipeline import WINDOW
from sdlesson.bot.generator import PipelineGenerator
from sdlesson.copies import independent_copy, own_tokenizer
from sdlesson.diffusion import decode_latents, embed, fresh_scheduler
from sdlesson.drawing import draw, prompt_notes
from sdlesson.images import same_picture
from sdlesson.prompts import cut_words
from sdlesson.safety import flags

LONG = "a very long prompt " * 3  # one letter is one token: past the window


def side_by_side(*works: Callable[[], Any], rounds: int = 12) -> list[list[Any]]:
    """Do each work over and over in a thread of its own, all at once."""
    together = Barrier(len(works))

    def repeat(work: Callable[[], Any]) -> list[Any]:
        together.wait()
        return [work() for _ in range(rounds)]

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(repeat, works))


def test_embedding_and_looking_for_cut_words_in_threads_disturb_each_other_never(
    tiny: StableDiffusionPipeline,
) -> None:
    short, long = embed(tiny, ["a cat"]), embed(tiny, [LONG])
    cut = cut_words(tiny.tokenizer, LONG)
    shorts, longs, cuts, notes = side_by_side(
        lambda: embed(tiny, ["a cat"]),
        lambda: embed(tiny, [LONG]),
        lambda: cut_words(tiny.tokenizer, LONG),
        lambda: list(prompt_notes(tiny, LONG)),
        rounds=150,
    )
    assert all(torch.equal(found, short) for found in shorts)
    assert all(torch.equal(found, long) for found in longs)
    assert set(cuts) == {cut}
    assert all(str(WINDOW) in note for (note,) in notes)


def test_a_pipeline_used_by_hand_meanwhile_has_its_tokenizer_to_itself(
    tiny: StableDiffusionPipeline,
) -> None:
    """A cell calls the pipeline, which cuts; the bot or a note counts, which does not."""
    ids = tiny.tokenizer(LONG, padding="max_length", truncation=True).input_ids
    by_hand, _ = side_by_side(
        lambda: tiny.tokenizer(LONG, padding="max_length", truncation=True).input_ids,
        lambda: cut_words(tiny.tokenizer, LONG),
        rounds=300,
    )
    assert all(found == ids for found in by_hand)


def test_drawings_in_threads_are_those_of_one_after_the_other(
    tiny: StableDiffusionPipeline,
) -> None:
    wishes = [
        {"num_inference_steps": 3, "guidance_scale": 7.5, "seed": 1},
        {"num_inference_steps": 7, "guidance_scale": 1.0, "seed": 2},
        {"num_inference_steps": 5, "guidance_scale": 3.0, "seed": 3},
    ]
    tiny.scheduler = fresh_scheduler(tiny, "PNDMScheduler")

    def one(wish: dict[str, Any]) -> Any:
        return draw("a cat", pipe=tiny, report=lambda _: None, **wish).image

    def steps() -> Any:
        generator = torch.Generator().manual_seed(4)
        *_, last = sdlesson.denoise(tiny, "a dog", num_inference_steps=6, generator=generator)
        return last.latents

    alone, latents = [one(wish) for wish in wishes], steps()
    *found, by_hand = side_by_side(*(lambda w=wish: one(w) for wish in wishes), steps, rounds=8)
    for pictures, expected in zip(found, alone, strict=True):
        assert all(same_picture(picture, expected) for picture in pictures)
    assert all(torch.equal(found, latents) for found in by_hand)


def test_drawing_leaves_the_pipeline_as_it_was(tiny: StableDiffusionPipeline) -> None:
    scheduler = tiny.scheduler
    draw("a cat", pipe=tiny, num_inference_steps=3, guidance_scale=2.0, report=lambda _: None)
    assert tiny.scheduler is scheduler
    assert scheduler.num_inference_steps is None
    assert not hasattr(tiny, "_guidance_scale")


def test_a_vae_in_half_precision_is_not_changed_under_others(
    tiny: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding again in float32 works on a copy: another thread is in the middle of decoding."""
    vae = tiny.vae.to(torch.bfloat16)
    seen: list[torch.dtype] = []
    decode = type(vae).decode

    def spoil_the_half(self: Any, latents: Any) -> Any:
        seen.append(vae.dtype)
        found = decode(self, latents)
        if self.dtype != torch.float32:
            found.sample[:] = torch.nan
        return found

    monkeypatch.setattr(type(vae), "decode", spoil_the_half)
    pixels = decode_latents(vae, torch.zeros(1, 4, 4, 4, dtype=torch.bfloat16))
    assert pixels.dtype == torch.float32
    assert seen == [torch.bfloat16, torch.bfloat16]


def test_a_copy_shares_weights_and_nothing_that_remembers(tiny: StableDiffusionPipeline) -> None:
    copied = independent_copy(tiny)
    assert copied.unet is tiny.unet
    assert copied.scheduler is not tiny.scheduler
    assert copied.config.scheduler == tiny.config.scheduler
    copied.scheduler.set_timesteps(5)
    copied.set_progress_bar_config(disable=False)
    copied._guidance_scale = 3.0
    assert tiny.scheduler.num_inference_steps is None
    assert tiny._progress_bar_config == {"disable": True}
    assert not hasattr(tiny, "_guidance_scale")


def test_the_bot_draws_with_a_copy(tiny: StableDiffusionPipeline) -> None:
    generator = PipelineGenerator(tiny)
    assert generator._text.scheduler is not tiny.scheduler
    assert generator._text.unet is tiny.unet


def test_a_thread_copies_a_tokenizer_once_and_again_when_words_were_added(
    tiny: StableDiffusionPipeline,
) -> None:
    first = own_tokenizer(tiny.tokenizer)
    assert first is not tiny.tokenizer
    assert own_tokenizer(tiny.tokenizer) is first
    tiny.tokenizer.add_tokens(["zwx"])
    assert "zwx" in own_tokenizer(tiny.tokenizer).get_vocab()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(own_tokenizer, tiny.tokenizer).result()
    assert other is not own_tokenizer(tiny.tokenizer)


@pytest.mark.parametrize("pipe", ["pocket", 5, None])
def test_what_needs_a_loaded_pipeline_says_so(pipe: Any) -> None:
    works = (
        lambda: sdlesson.denoise(pipe, "a cat"),
        lambda: sdlesson.decode(pipe, torch.zeros(1, 4, 4, 4)),
        lambda: PipelineGenerator(pipe),
        lambda: fresh_scheduler(pipe),
        lambda: flags(pipe, []),
    )
    for work in works:
        with pytest.raises(ValueError, match=r"must be a loaded pipeline; try pipe = sdlesson"):
            work()
