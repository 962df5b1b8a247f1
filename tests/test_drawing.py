import io
import math
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from PIL import Image

import sdlesson
from fixtures_pipeline import flag_everything
from sdlesson.diffusion import fresh_scheduler
from sdlesson.drawing import Drawing, draw, prompt_notes, unread
from sdlesson.images import picture_difference, read_settings, same_picture, save_png
from sdlesson.pipelines import LEARNED
from sdlesson.settings import MAX_SEED

ASTRONAUT = "an astronaut riding a horse on Mars"


def test_draw_is_exactly_the_pipeline_called_directly(tiny: StableDiffusionPipeline) -> None:
    settings = {"negative_prompt": "hat", "num_inference_steps": 3, "guidance_scale": 3.0}
    size = {"height": 40, "width": 24}
    generator = torch.Generator("cpu").manual_seed(5)
    theirs = tiny("a cat", generator=generator, **settings, **size).images[0]
    ours = draw("a cat", pipe=tiny, seed=5, report=_silent, **settings, **size).image
    assert ours.size == (24, 40)
    assert np.array_equal(ours, theirs)


def test_the_same_seed_draws_the_same_picture_and_another_does_not(
    pocket: StableDiffusionPipeline,
) -> None:
    first, again, other = (
        draw("a cat on the beach", pipe=pocket, seed=seed, num_inference_steps=4).image
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not same_picture(first, other)
    assert first.size == (128, 128)


def test_without_a_seed_one_is_chosen_that_draws_the_picture_again(
    tiny: StableDiffusionPipeline,
) -> None:
    first, second = (draw("a cat", pipe=tiny, num_inference_steps=2) for _ in range(2))
    again = draw("a cat", pipe=tiny, num_inference_steps=2, seed=first.seed)
    assert first.seed != second.seed
    assert np.array_equal(first.image, again.image)


def test_a_saved_picture_says_how_to_draw_it_again(
    pocket: StableDiffusionPipeline, tmp_path: Path
) -> None:
    saved = draw(ASTRONAUT, pipe=pocket, negative_prompt="hat", num_inference_steps=3, seed=9)
    saved.save(tmp_path / "mars.png")
    found = read_settings(tmp_path / "mars.png")
    assert found["model"] == "pocket"
    again = draw(
        found["prompt"],
        pipe=pocket,
        negative_prompt=found["negative_prompt"],
        seed=int(found["seed"]),
        num_inference_steps=int(found["num_inference_steps"]),
        guidance_scale=float(found["guidance_scale"]),
        height=int(found["height"]),
        width=int(found["width"]),
    )
    assert np.array_equal(again.image, Image.open(tmp_path / "mars.png"))


def test_a_saved_drawing_loads_as_it_was(tiny: StableDiffusionPipeline, tmp_path: Path) -> None:
    flag_everything(tiny)
    saved = draw("un año", pipe=tiny, seed=9, num_inference_steps=1, guidance_scale=2.5)
    saved.save(tmp_path / "a.png")
    loaded = Drawing.load(tmp_path / "a.png")
    assert np.array_equal(loaded.image, saved.image)
    assert loaded.settings == saved.settings
    assert (loaded.seed, loaded.guidance_scale, loaded.flagged) == (9, 2.5, True)


def test_a_png_that_no_drawing_wrote_is_not_loaded_as_one(tmp_path: Path) -> None:
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", {"prompt": "a cat"})
    with pytest.raises(ValueError, match="does not say its negative_prompt, seed"):
        Drawing.load(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"prompt": ""}, r"prompt='' must be a text"),
        ({"prompt": " \n"}, "must be a text"),
        ({"prompt": None}, "prompt=None must be a text"),
        ({"negative_prompt": None}, "negative_prompt=None must be a text"),
        ({"num_inference_steps": 0}, "num_inference_steps=0 must be .* 1 to 998; try 25"),
        ({"num_inference_steps": -1}, "num_inference_steps=-1 must be"),
        ({"num_inference_steps": 999}, "from 1 to 998"),
        ({"width": 2056}, "width=2056 must be 2048 pixels at most; try 2048"),
        ({"guidance_scale": True}, "guidance_scale=True must be"),
        ({"guidance_scale": 10**400}, "must be a number"),
        ({"prompt": "caf\udce9"}, "prompt=.* holds .* which is no letter"),
        ({"negative_prompt": "\ud83d"}, "negative_prompt=.* which is no letter"),
        ({"num_inference_steps": 2.5}, "a whole number"),
        ({"num_inference_steps": True}, "a whole number"),
        ({"guidance_scale": math.nan}, "guidance_scale=nan must be a number"),
        ({"guidance_scale": math.inf}, "guidance_scale=inf must be"),
        ({"guidance_scale": -1.0}, "guidance_scale=-1.0 must be"),
        ({"guidance_scale": "7"}, "guidance_scale='7' must be a number"),
        ({"height": 100}, "height=100 must be a multiple of 8; try 96"),
        ({"width": 1}, "width=1 must be a multiple of 8; try 8"),
        ({"width": 0}, "width=0 must be a multiple of 8; try 8"),
        ({"height": -8}, "height=-8 must be a multiple of 8; try 8"),
        ({"height": "128"}, "height='128' must be a multiple of 8; leave it out"),
        ({"width": math.nan}, "width=nan must be a multiple of 8; leave it out"),
        ({"seed": -1}, "seed=-1 must be a whole number from 0"),
        ({"seed": 2**64}, "must be a whole number from 0"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence_before_anything_is_loaded(
    asked: list[str], settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        draw(**{"prompt": "a cat", "pipe": "pocket", **settings})
    assert "\n" not in str(caught.value)
    assert asked == []


def test_the_largest_seed_draws(tiny: StableDiffusionPipeline) -> None:
    assert draw("a", pipe=tiny, seed=MAX_SEED, num_inference_steps=1).image


def test_a_seed_drawn_by_numpy_is_a_whole_number_too(tiny: StableDiffusionPipeline) -> None:
    same = [draw("a", pipe=tiny, seed=seed, num_inference_steps=1) for seed in (3, np.int64(3))]
    assert np.array_equal(same[0].image, same[1].image)


def test_a_notebook_shows_the_picture(tiny: StableDiffusionPipeline) -> None:
    shown = draw("a", pipe=tiny, seed=3, num_inference_steps=1)
    assert np.array_equal(Image.open(io.BytesIO(shown._repr_png_())), shown.image)


def test_draw_loads_a_model_from_a_folder_and_says_its_last_name(
    tiny_folder: Path,
) -> None:
    for model in (tiny_folder, os.fspath(tiny_folder)):
        assert draw("a cat", pipe=model, num_inference_steps=1).model == tiny_folder.name


def test_words_the_pocket_model_does_not_know_are_named_with_suggestions(
    pocket: StableDiffusionPipeline,
) -> None:
    notes: list[str] = []
    draw("a quokka and an astronat", pipe=pocket, num_inference_steps=1, report=notes.append)
    assert len(notes) == 1
    assert '"quokka"' in notes[0]
    assert '"astronat" (try "astronaut"' in notes[0]


def test_other_models_are_not_held_to_the_pocket_models_words(
    tiny: StableDiffusionPipeline,
) -> None:
    notes: list[str] = []
    draw("a quokka", pipe=tiny, num_inference_steps=1, report=notes.append)
    assert notes == []


def test_notes_speak_the_language_set(pocket: StableDiffusionPipeline) -> None:
    sdlesson.set_language("es")
    notes: list[str] = []
    draw("un gatto en la playa", pipe=pocket, num_inference_steps=1, report=notes.append)
    assert notes[0].startswith("El modelo de bolsillo no conoce")
    assert 'prueba "gato"' in notes[0]


def test_words_past_the_pocket_models_window_are_named(pocket: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    prompt = "a cat " * 20 + "and a dog"
    draw(prompt, pipe=pocket, num_inference_steps=1, report=notes.append)
    assert "32 tokens" in notes[0]
    assert notes[0].endswith("and a dog")


def test_a_word_that_an_adapter_or_a_full_training_taught_is_known(
    pocket: StableDiffusionPipeline,
) -> None:
    pipe = StableDiffusionPipeline(**pocket.components | {"unet": deepcopy(pocket.unet)})
    pipe.register_to_config(_name_or_path="pocket")
    assert [note.count('"zwx"') for note in prompt_notes(pipe, "a zwx robot")] == [1]
    pipe.unet.add_adapter(LoraConfig(target_modules=["to_q"]), "zwx")
    assert list(prompt_notes(pipe, "a zwx robot")) == []
    assert [note.count('"qvb"') for note in prompt_notes(pipe, "a qvb robot")] == [1]
    pipe.register_to_config(_name_or_path=f"pocket{LEARNED}qvb")
    assert list(prompt_notes(pipe, "a qvb robot")) == []


def test_words_cut_from_the_negative_prompt_are_named_too(tiny: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    long = "abcdefghijklmn opq"
    draw("a", negative_prompt=long, pipe=tiny, num_inference_steps=1, report=notes.append)
    assert [note.rsplit(" ", 1)[-1] for note in notes] == ["opq"]


def test_a_flagged_picture_is_said_to_be_flagged(tiny: StableDiffusionPipeline) -> None:
    notes: list[str] = []
    flag_everything(tiny)
    black = draw("a cat", pipe=tiny, num_inference_steps=1, report=notes.append)
    assert black.flagged
    assert black.image.getextrema() == ((0, 0),) * 3
    assert "safety checker" in notes[0]


def test_a_pipeline_without_a_safety_checker_draws(tiny: StableDiffusionPipeline) -> None:
    tiny.safety_checker = None
    assert not draw("a cat", pipe=tiny, num_inference_steps=1).flagged


def test_latents_that_are_no_number_do_not_become_a_black_picture(
    tiny: StableDiffusionPipeline,
) -> None:
    torch.nn.init.constant_(tiny.unet.conv_out.bias, math.nan)
    with pytest.raises(ValueError, match=r"NaN: lower guidance_scale"):
        draw("a cat", pipe=tiny, num_inference_steps=1)


def test_a_vae_that_overflows_in_half_precision_decodes_in_full_precision(
    tiny: StableDiffusionPipeline,
) -> None:
    tiny.to(torch.bfloat16)  # stands for float16, which a CPU barely runs
    right = draw("a cat", pipe=tiny, num_inference_steps=2, seed=0).image
    tiny.vae.decoder.conv_in.register_forward_hook(_overflow_in_half_precision)
    rescued = draw("a cat", pipe=tiny, num_inference_steps=2, seed=0).image
    assert picture_difference(right, rescued).mean_error < 4 / 255
    assert tiny.vae.dtype == torch.bfloat16


def test_loading_and_drawing_show_a_progress_bar(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    draw("a cat", pipe=os.fspath(tiny_folder), num_inference_steps=2)
    assert "2/2" in capfd.readouterr().err


def _overflow_in_half_precision(
    module: torch.nn.Module, inputs: object, output: torch.Tensor
) -> torch.Tensor:
    return output if output.dtype == torch.float32 else output * math.inf


def _silent(note: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize(
    ("sides", "size"), [({"height": 16}, (32, 16)), ({"width": 40}, (40, 32)), ({}, (32, 32))]
)
def test_one_side_alone_is_heeded(
    tiny: StableDiffusionPipeline, sides: dict[str, int], size: tuple[int, int]
) -> None:
    drawing = draw("a", pipe=tiny, num_inference_steps=1, seed=0, **sides)
    assert drawing.image.size == size


def test_what_is_cut_is_not_guessed_as_well_and_a_comma_parts_words(
    pocket: StableDiffusionPipeline,
) -> None:
    words = "cat,beach,snow,robot,horse,mars,forest,city,field,panda,fox,house,tree,flower,sushi"
    known, quokkas = f"{words},{words},{words}", f"{words},{words} quokka quokka\n"
    (note,) = prompt_notes(pocket, known)
    ignored = note.partition("ignores: ")[2]
    assert known.endswith(ignored)
    assert 0 < len(ignored) < len(known) - len("cat,beach,snow")
    unknown, cut = unread(pocket, quokkas)
    assert cut.endswith("quokka quokka")
    assert unknown == []


def test_the_last_step_that_is_promised_can_be_taken(tiny: StableDiffusionPipeline) -> None:
    for name in ("DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"):
        tiny.scheduler = fresh_scheduler(tiny, name)
        drawing = draw(
            "a", pipe=tiny, num_inference_steps=998, guidance_scale=1, height=8, width=8, seed=0
        )
        assert drawing.num_inference_steps == 998


def test_a_model_with_fewer_levels_of_noise_takes_fewer_steps(
    tiny: StableDiffusionPipeline,
) -> None:
    tiny.scheduler = type(tiny.scheduler).from_config(tiny.scheduler.config, num_train_timesteps=50)
    with pytest.raises(ValueError, match=r"num_inference_steps=49 must be .* from 1 to 48"):
        draw("a", pipe=tiny, num_inference_steps=49)
