import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
)
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

import sdlesson
from sdlesson.diffusion import (
    add_noise,
    alpha_bar_at,
    ddim_step,
    fresh_scheduler,
    guide,
    predict_original_sample,
)
from sdlesson.images import picture_difference, same_picture

SAME_LATENTS = {"atol": 1e-4, "rtol": 0.0}
"""The project's tolerance for latents in fp32 on one device."""

SCHEDULERS = (
    DDIMScheduler,
    PNDMScheduler,
    EulerDiscreteScheduler,
    DPMSolverMultistepScheduler,
)
BEYOND = (EulerAncestralDiscreteScheduler, DDPMScheduler)
"""Schedulers that add noise again at each step; not promised, and right all the same."""

STABLE_DIFFUSION = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
SETTINGS = ({}, {"guidance_scale": 1.0}, {"negative_prompt": "hat", "guidance_scale": 3.0})
BATCH = ["a cat", "a dog", "an owl", ""]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def noise_like_latents(seed: int, batch: int = 3) -> Tensor:
    return torch.randn(batch, 4, 6, 5, generator=seeded(seed))


def stable_diffusions(scheduler: type[SchedulerMixin]) -> SchedulerMixin:
    """A scheduler with the settings of Stable Diffusion 1.x."""
    return scheduler.from_config(STABLE_DIFFUSION)


def with_scheduler(
    pipe: StableDiffusionPipeline, scheduler: type[SchedulerMixin]
) -> StableDiffusionPipeline:
    """The same model under another scheduler, with nothing blacked out; `pipe` stays as it is."""
    parts = pipe.components | {
        "scheduler": scheduler.from_config(pipe.scheduler.config, **STABLE_DIFFUSION),
        "safety_checker": None,
    }
    other = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    return other


def pipelines_steps(
    pipe: StableDiffusionPipeline, prompt: str | list[str], **settings: Any
) -> tuple[list[Tensor], list[Image.Image]]:
    """The pipeline's latents after each step, and its pictures."""
    latents: list[Tensor] = []

    def keep(pipe: object, index: int, timestep: object, tensors: dict[str, Tensor]) -> dict:
        latents.append(tensors["latents"])
        return {}

    images = pipe(prompt, callback_on_step_end=keep, **settings).images
    return latents, images


# The formulas, against diffusers and at their ends.


def test_add_noise_is_diffusers_for_every_timestep():
    scheduler = stable_diffusions(DDPMScheduler)
    timesteps = torch.arange(1000)
    clean, noise = (torch.randn(1000, 4, 2, 2, generator=seeded(seed)) for seed in (0, 1))
    ours = add_noise(clean, noise, timesteps, scheduler.alphas_cumprod)
    assert_close(ours, scheduler.add_noise(clean, noise, timesteps))


def test_add_noise_returns_the_input_where_alpha_bar_is_one_and_the_noise_where_it_is_zero():
    clean, noise = noise_like_latents(0), noise_like_latents(1)
    noisy = add_noise(clean, noise, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.0]))
    assert torch.equal(noisy[[0, 2]], clean[[0, 2]])
    assert torch.equal(noisy[1], noise[1])


@pytest.mark.parametrize("timestep", [-1, 1000])
def test_a_timestep_off_the_schedule_is_refused(timestep: int):
    alphas_cumprod = stable_diffusions(DDPMScheduler).alphas_cumprod
    clean = noise_like_latents(0)
    with pytest.raises(ValueError, match=rf"\[3, {timestep}, 4\] leave \[0, 1000\)"):
        add_noise(clean, clean, torch.tensor([3, timestep, 4]), alphas_cumprod)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_formulas_keep_the_dtype(dtype: torch.dtype):
    scheduler = stable_diffusions(DDPMScheduler)
    clean, noise = noise_like_latents(0).to(dtype), noise_like_latents(1).to(dtype)
    noisy = add_noise(clean, noise, torch.tensor([10, 500, 999]), scheduler.alphas_cumprod)
    alpha_bar, previous = scheduler.alphas_cumprod[[500, 400]]
    assert noisy.dtype == dtype
    assert predict_original_sample(noisy, noise, alpha_bar).dtype == dtype
    assert ddim_step(noisy, noise, alpha_bar, previous).dtype == dtype


def test_predict_original_sample_undoes_add_noise():
    alphas_cumprod = stable_diffusions(DDPMScheduler).alphas_cumprod
    clean, noise = noise_like_latents(0), noise_like_latents(1)
    for timestep in (0, 500, 999):
        noisy = add_noise(clean, noise, torch.full((3,), timestep), alphas_cumprod)
        found = predict_original_sample(noisy, noise, alphas_cumprod[timestep])
        assert_close(found, clean, atol=1e-5, rtol=0.0)


def test_ddim_step_is_diffusers_at_every_step():
    scheduler = stable_diffusions(DDIMScheduler)
    scheduler.set_timesteps(10)
    alpha_bars = [*scheduler.alphas_cumprod[scheduler.timesteps], scheduler.final_alpha_cumprod]
    latents = noise_like_latents(0)
    for index, timestep in enumerate(scheduler.timesteps):
        noise_pred = noise_like_latents(index + 1)
        theirs = scheduler.step(noise_pred, timestep, latents)
        ours = ddim_step(latents, noise_pred, alpha_bars[index], alpha_bars[index + 1])
        assert_close(ours, theirs.prev_sample)
        latents = theirs.prev_sample


def test_ddim_step_to_where_there_is_no_noise_is_the_guess_of_the_clean_latents():
    latents, noise_pred, alpha_bar = noise_like_latents(0), noise_like_latents(1), torch.tensor(0.3)
    guess = predict_original_sample(latents, noise_pred, alpha_bar)
    assert torch.equal(ddim_step(latents, noise_pred, alpha_bar, torch.tensor(1.0)), guess)


def test_ddim_step_to_the_same_level_changes_nothing():
    latents, noise_pred, alpha_bar = noise_like_latents(0), noise_like_latents(1), torch.tensor(0.3)
    assert_close(ddim_step(latents, noise_pred, alpha_bar, alpha_bar), latents)


def test_a_guidance_scale_for_each_picture_guides_each_as_if_alone():
    uncond, text = noise_like_latents(0), noise_like_latents(1)
    scales = torch.tensor([1.0, 3.0, 7.5])
    together = guide(uncond, text, scales.view(-1, 1, 1, 1))
    for index, scale in enumerate(scales.tolist()):
        assert_close(together[index], guide(uncond[index], text[index], scale))


def test_guidance_scale_of_one_returns_the_text_prediction_and_of_zero_the_other():
    noise_pred_uncond, noise_pred_text = noise_like_latents(0), noise_like_latents(1)
    assert_close(guide(noise_pred_uncond, noise_pred_text, 1.0), noise_pred_text)
    assert torch.equal(guide(noise_pred_uncond, noise_pred_text, 0.0), noise_pred_uncond)


def test_guidance_goes_beyond_the_text_prediction():
    assert guide(torch.tensor(1.0), torch.tensor(2.0), 7.5).item() == 8.5


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, *BEYOND])
def test_the_guess_from_the_right_noise_is_the_clean_latents_in_each_schedulers_terms(
    scheduler: type[SchedulerMixin],
):
    ours = stable_diffusions(scheduler)
    ours.set_timesteps(10)
    clean, noise = noise_like_latents(0), noise_like_latents(1)
    for index, timestep in enumerate(ours.timesteps):
        latents = ours.add_noise(clean, noise, timestep.repeat(3))
        model_input = ours.scale_model_input(latents, timestep)
        guess = predict_original_sample(model_input, noise, alpha_bar_at(ours, index))
        assert_close(guess, clean, atol=1e-4, rtol=0.0)
        ours.step(noise, timestep, latents)  # goes on to the next level of noise


@pytest.mark.parametrize(
    "scheduler", [DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler]
)
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_the_guess_is_the_schedulers_own_where_it_makes_one(
    scheduler: type[SchedulerMixin], spacing: str
):
    ours = scheduler.from_config(stable_diffusions(scheduler).config, timestep_spacing=spacing)
    ours.set_timesteps(7)
    latents = noise_like_latents(0) * ours.init_noise_sigma
    for index, timestep in enumerate(ours.timesteps):
        noise_pred = noise_like_latents(index + 1)
        model_input = ours.scale_model_input(latents, timestep)
        guess = predict_original_sample(model_input, noise_pred, alpha_bar_at(ours, index))
        step = ours.step(noise_pred, timestep, latents, generator=seeded())
        assert_close(guess, step.pred_original_sample, atol=1e-4, rtol=1e-4)
        latents = step.prev_sample


# The loop, against the pipeline.


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, *BEYOND])
@pytest.mark.parametrize("settings", SETTINGS, ids=["guided", "unguided", "negative"])
@pytest.mark.parametrize("prompt", ["a cat", BATCH], ids=["one", "four"])
def test_the_latents_after_each_step_are_the_pipelines(
    tiny: StableDiffusionPipeline,
    scheduler: type[SchedulerMixin],
    settings: dict[str, Any],
    prompt: str | list[str],
):
    pipe = with_scheduler(tiny, scheduler)
    settings = {"num_inference_steps": 6, **settings}
    steps = list(sdlesson.denoise(pipe, prompt, generator=seeded(), **settings))
    if "negative_prompt" in settings and isinstance(prompt, list):  # the pipeline wants a list
        settings["negative_prompt"] = [settings["negative_prompt"]] * len(prompt)
    theirs, _ = pipelines_steps(pipe, prompt, generator=seeded(), **settings)
    for step, latents in zip(steps, theirs, strict=True):
        assert_close(step.latents, latents, **SAME_LATENTS)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
def test_the_pocket_models_pictures_are_the_pipelines(
    pocket: StableDiffusionPipeline, scheduler: type[SchedulerMixin], guidance_scale: float
):
    pipe = with_scheduler(pocket, scheduler)
    settings = {"guidance_scale": guidance_scale, "num_inference_steps": 6}
    settings |= {"negative_prompt": "a hat"}
    steps = list(sdlesson.denoise(pipe, "a cat on the beach", generator=seeded(), **settings))
    theirs, pictures = pipelines_steps(pipe, "a cat on the beach", generator=seeded(), **settings)
    for step, latents in zip(steps, theirs, strict=True):
        assert_close(step.latents, latents, **SAME_LATENTS)
    assert same_picture(sdlesson.decode(pipe, steps[-1].latents)[0], pictures[0])


def test_a_batch_of_the_pocket_model_is_the_pipelines(pocket: StableDiffusionPipeline):
    pipe = with_scheduler(pocket, DDIMScheduler)
    prompts = ["a cat on the beach", "two pandas in the snow", "a robot in the city", "un gato"]
    settings = {"negative_prompt": ["", "a hat", "", "at night"], "num_inference_steps": 4}
    *_, last = sdlesson.denoise(pipe, prompts, generator=seeded(), **settings)
    theirs, pictures = pipelines_steps(pipe, prompts, generator=seeded(), **settings)
    assert_close(last.latents, theirs[-1], **SAME_LATENTS)
    for ours, picture in zip(sdlesson.decode(pipe, last.latents), pictures, strict=True):
        assert same_picture(ours, picture)


@pytest.mark.gpu
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_half_precision_on_a_gpu_the_pictures_are_the_pipelines(scheduler: type[SchedulerMixin]):
    pipe = with_scheduler(sdlesson.load_pipeline("pocket", device="cuda"), scheduler)
    steps = list(
        sdlesson.denoise(pipe, "a cat on the beach", generator=seeded(), num_inference_steps=6)
    )
    (picture,) = pipe("a cat on the beach", generator=seeded(), num_inference_steps=6).images
    assert same_picture(sdlesson.decode(pipe, steps[-1].latents)[0], picture)
    guess = sdlesson.decode(pipe, steps[0].pred_original_sample.cpu())
    assert guess[0].size == picture.size
    assert {steps[0].pred_original_sample.dtype, steps[0].noise_pred.dtype} == {torch.float16}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_each_step_noised_again_is_where_it_came_from(
    tiny: StableDiffusionPipeline, scheduler: type[SchedulerMixin]
):
    pipe = with_scheduler(tiny, scheduler)
    steps = list(sdlesson.denoise(pipe, BATCH, num_inference_steps=6, generator=seeded()))
    pipe.scheduler.set_timesteps(6)
    for before, step in pairwise(steps):
        timesteps = pipe.scheduler.timesteps[[step.index] * len(BATCH)]
        noisy = pipe.scheduler.add_noise(step.pred_original_sample, step.noise_pred, timesteps)
        assert_close(noisy, before.latents, **SAME_LATENTS)


def test_steps_count_down_the_schedulers_timesteps(tiny: StableDiffusionPipeline):
    steps = list(sdlesson.denoise(tiny, "a", num_inference_steps=4))
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.timestep for step in steps] == [751, 501, 251, 1]
    assert not steps[0].latents.requires_grad


def test_pndm_takes_one_step_more_than_it_is_asked_for(tiny: StableDiffusionPipeline):
    pipe = with_scheduler(tiny, PNDMScheduler)
    steps = list(sdlesson.denoise(pipe, "a", num_inference_steps=4))
    assert [step.timestep for step in steps] == [751, 501, 501, 251, 1]


@pytest.mark.parametrize(
    ("guidance_scale", "pictures_at_once"), [(0.0, 2), (1.0, 2), (1.1, 4), (7.5, 4)]
)
def test_the_unet_runs_once_a_step_and_without_guidance_on_one_half(
    tiny: StableDiffusionPipeline, guidance_scale: float, pictures_at_once: int
):
    seen: list[int] = []
    tiny.unet.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    settings = {"num_inference_steps": 3, "guidance_scale": guidance_scale}
    list(sdlesson.denoise(tiny, ["a", "b"], **settings))
    assert seen == [pictures_at_once] * 3


def test_a_scheduler_made_by_name_takes_the_settings_of_the_pipelines_own(
    tiny: StableDiffusionPipeline,
):
    euler = fresh_scheduler(tiny, "EulerDiscreteScheduler")
    assert type(euler) is EulerDiscreteScheduler
    assert_close(euler.alphas_cumprod, tiny.scheduler.alphas_cumprod)
    assert type(tiny.scheduler) is DDIMScheduler


def test_pndm_by_name_skips_the_steps_that_stable_diffusion_skips(tiny: StableDiffusionPipeline):
    pndm = fresh_scheduler(tiny, "PNDMScheduler")
    pndm.set_timesteps(4)
    assert len(pndm.timesteps) == 5
    tiny.scheduler = PNDMScheduler.from_config(tiny.scheduler.config, skip_prk_steps=False)
    assert not fresh_scheduler(tiny, "PNDMScheduler").config.skip_prk_steps


@pytest.mark.parametrize("name", ["ddim", "", "EDMEulerScheduler", "AutoencoderKL"])
def test_a_scheduler_that_is_none_for_this_model_is_refused_with_those_that_are(
    tiny: StableDiffusionPipeline, name: str
):
    with pytest.raises(ValueError, match=rf"{name}' must be one of DDIMScheduler, .*UniPC"):
        fresh_scheduler(tiny, name)


def test_a_height_and_a_width_are_the_pipelines(tiny: StableDiffusionPipeline):
    settings = {"height": 40, "width": 24, "num_inference_steps": 2}
    *_, last = sdlesson.denoise(tiny, "a cat", generator=seeded(), **settings)
    theirs, _ = pipelines_steps(tiny, "a cat", generator=seeded(), **settings)
    assert_close(last.latents, theirs[-1], **SAME_LATENTS)
    assert sdlesson.decode(tiny, last.latents)[0].size == (24, 40)


def test_without_a_generator_a_new_one_is_taken_and_the_global_one_left_alone(
    tiny: StableDiffusionPipeline,
):
    before = torch.get_rng_state()
    first, again = (list(sdlesson.denoise(tiny, "a", num_inference_steps=2)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[-1].latents, again[-1].latents)


def test_a_generator_for_each_prompt_draws_each_as_if_alone(tiny: StableDiffusionPipeline):
    settings = {"num_inference_steps": 3}
    generators = [seeded(5), seeded(6)]
    *_, both = sdlesson.denoise(tiny, ["a cat", "a dog"], generator=generators, **settings)
    *_, dog = sdlesson.denoise(tiny, "a dog", generator=seeded(6), **settings)
    assert_close(both.latents[1:], dog.latents, **SAME_LATENTS)
    generators = [seeded(5), seeded(6)]
    theirs, _ = pipelines_steps(tiny, ["a cat", "a dog"], generator=generators, **settings)
    assert_close(both.latents, theirs[-1], **SAME_LATENTS)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_loops_side_by_side_do_not_disturb_each_other(
    tiny: StableDiffusionPipeline, scheduler: type[SchedulerMixin]
):
    pipe = with_scheduler(tiny, scheduler)
    alone = list(sdlesson.denoise(pipe, "a cat", num_inference_steps=4))
    cat = sdlesson.denoise(pipe, "a cat", num_inference_steps=4)
    dog = sdlesson.denoise(pipe, "a dog", num_inference_steps=4, guidance_scale=2.0)
    together = [step for step, _ in zip(cat, dog, strict=True)]
    assert torch.equal(alone[-1].latents, together[-1].latents)
    assert pipe.scheduler.num_inference_steps is None


def test_the_loop_computes_in_the_models_dtype(tiny: StableDiffusionPipeline):
    tiny.to(torch.bfloat16)  # stands for float16, which a CPU barely runs
    *_, last = sdlesson.denoise(tiny, "a cat", num_inference_steps=3, generator=seeded())
    theirs, _ = pipelines_steps(tiny, "a cat", num_inference_steps=3, generator=seeded())
    found = {last.latents.dtype, last.noise_pred.dtype, last.pred_original_sample.dtype}
    assert found == {torch.bfloat16}
    assert torch.equal(last.latents, theirs[-1])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"prompt": []}, r"prompt=\[\] must be a text or a list of texts"),
        ({"prompt": None}, "prompt=None must be a text"),
        ({"prompt": ["a", 3]}, r"prompt=\['a', 3\] must be a text"),
        ({"negative_prompt": None}, "negative_prompt=None must be a text"),
        ({"negative_prompt": ["a"]}, "negative_prompt has 1 texts for 2 prompts"),
        ({"generator": [seeded()] * 3}, "3 generators for 2 prompts"),
        ({"num_inference_steps": 0}, "num_inference_steps=0 must be .* try 25"),
        ({"guidance_scale": math.nan}, "guidance_scale=nan must be a number"),
        ({"height": 100}, "height=100 must be a multiple of 8; try 96"),
        ({"width": 1}, "width=1 must be a multiple of 8; try 8"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence_at_the_call(
    tiny: StableDiffusionPipeline, settings: dict[str, Any], sentence: str
):
    with pytest.raises(ValueError, match=sentence) as caught:
        sdlesson.denoise(tiny, **{"prompt": ["a", "b"], **settings})
    assert "\n" not in str(caught.value)


def test_a_scheduler_for_another_kind_of_model_is_refused(tiny: StableDiffusionPipeline):
    tiny.scheduler = DDIMScheduler(prediction_type="v_prediction")
    with pytest.raises(ValueError, match="'v_prediction' must be 'epsilon'"):
        sdlesson.denoise(tiny, "a")


# The decoder.


def test_a_guess_decodes_like_latents(tiny: StableDiffusionPipeline):
    first = next(sdlesson.denoise(tiny, ["a", "b"], num_inference_steps=3))
    pictures = sdlesson.decode(tiny, first.pred_original_sample)
    assert [picture.size for picture in pictures] == [(32, 32)] * 2


def test_latents_of_one_picture_without_a_batch_are_refused(tiny: StableDiffusionPipeline):
    with pytest.raises(ValueError, match=r"\(4, 4, 4\), must be \(B, 4, H/8, W/8\)"):
        sdlesson.decode(tiny, torch.zeros(4, 4, 4))


def test_latents_that_are_no_number_are_refused(tiny: StableDiffusionPipeline):
    with pytest.raises(ValueError, match=r"NaN: lower guidance_scale"):
        sdlesson.decode(tiny, torch.full((1, 4, 4, 4), math.nan))


def test_a_half_precision_decoder_that_overflows_decodes_in_float32_and_is_given_back_in_half(
    tiny: StableDiffusionPipeline,
):
    latents = torch.randn(1, 4, 4, 4, generator=seeded())
    tiny.vae.to(torch.bfloat16)
    (right,) = sdlesson.decode(tiny, latents.bfloat16())
    tiny.vae.decoder.conv_in.register_forward_hook(
        lambda module, inputs, output: (
            output if output.dtype == torch.float32 else output * math.inf
        )
    )
    (rescued,) = sdlesson.decode(tiny, latents)
    assert picture_difference(right, rescued).mean_error < 4 / 255
    assert tiny.vae.dtype == torch.bfloat16


@pytest.mark.parametrize("generator", [5, "cpu", [5], [torch.Generator(), 3], torch.Generator])
def test_what_makes_no_noise_is_refused(tiny: StableDiffusionPipeline, generator: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a torch\.Generator.*manual_seed"):
        sdlesson.denoise(tiny, "a cat", generator=generator)


def test_advice_against_nan_is_never_what_was_done_already(tiny: StableDiffusionPipeline) -> None:
    latents = torch.full((1, 4, 4, 4), torch.nan)
    with pytest.raises(ValueError, match=r"or load the model again$"):
        sdlesson.decode(tiny, latents)
    tiny.vae.to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"or load with dtype=torch\.float32$"):
        sdlesson.decode(tiny, latents)


def test_latents_that_are_no_tensor_are_refused(tiny: StableDiffusionPipeline) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 4, H/8, W/8\)"):
        sdlesson.decode(tiny, [1, 2])


def test_one_text_to_embed_is_not_read_as_letters(tiny: StableDiffusionPipeline) -> None:
    assert sdlesson.diffusion.embed(tiny, "a cat").shape[0] == 1
