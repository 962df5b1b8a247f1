"""The pocket model's folder is plain diffusers: held under the newest versions and Colab's."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.drawing import draw
from sdlesson.hub import POCKET_FOLDER
from sdlesson.images import same_picture
from sdlesson.pipelines import load_pipeline

PROMPTS = ["a cat on the beach", "un astronauta montando un caballo en Marte"]
STEPS = 8


@pytest.fixture(scope="module")
def plain() -> StableDiffusionPipeline:
    """The folder, loaded with no code and no argument of ours."""
    return StableDiffusionPipeline.from_pretrained(POCKET_FOLDER)


def test_plain_diffusers_loads_every_part_in_float32(plain: StableDiffusionPipeline) -> None:
    # Weights are stored in half precision; transformers follows the dtype in config.json.
    parts = (plain.unet, plain.vae, plain.text_encoder, plain.safety_checker)
    assert {part.dtype for part in parts} == {torch.float32}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_plain_diffusers_draws_the_same_picture(
    plain: StableDiffusionPipeline, prompt: str
) -> None:
    theirs = _draw_plainly(plain, prompt)
    ours = draw(
        prompt, pipe=load_pipeline("pocket", device="cpu"), num_inference_steps=STEPS, seed=4
    )
    assert not ours.flagged
    assert same_picture(ours.image, theirs)


def test_what_plain_diffusers_loads_is_as_large_as_the_lessons_say(
    plain: StableDiffusionPipeline,
) -> None:
    assert _draw_plainly(plain, PROMPTS[0]).size == (128, 128)
    assert plain.unet.config.in_channels == 4
    assert plain.vae_scale_factor == 8
    assert plain.tokenizer.model_max_length == 32


def test_the_folder_names_only_classes_that_every_version_loads() -> None:
    index = json.loads((POCKET_FOLDER / "model_index.json").read_text(encoding="utf-8"))
    parts = {key: value for key, value in index.items() if isinstance(value, list) and value[1]}
    del parts["scheduler"]  # any scheduler of Stable Diffusion 1 has been there from the start
    assert {class_name for _, class_name in parts.values()} == {
        "AutoencoderKL",
        "CLIPImageProcessor",
        "CLIPTextModel",
        "CLIPTokenizer",
        "StableDiffusionSafetyChecker",
        "UNet2DConditionModel",
    }


def test_the_picture_does_not_hang_on_other_pictures_in_its_batch(
    plain: StableDiffusionPipeline,
) -> None:
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in (4, 5)]
    batch = plain(PROMPTS, generator=generators, num_inference_steps=STEPS).images
    assert same_picture(batch[0], _draw_plainly(plain, PROMPTS[0]))
    assert not np.array_equal(batch[0], batch[1])


def _draw_plainly(pipe: StableDiffusionPipeline, prompt: str) -> Image.Image:
    generator = torch.Generator("cpu").manual_seed(4)
    return pipe(prompt, generator=generator, num_inference_steps=STEPS).images[0]
