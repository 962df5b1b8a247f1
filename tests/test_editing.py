"""Editing: by hand what diffusers' pipelines do, and pixels that stay where they were."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from torch import Generator

import sdlesson
from fixtures_pipeline import flag_everything
from sdlesson import editing
from sdlesson.diffusion import fresh_scheduler
from sdlesson.editing import (
    Tiled,
    box_mask,
    image_to_image,
    inpaint,
    interpolate,
    outpaint,
    redraw,
    shrink_to_fit,
    slerp,
    upscale,
)
from sdlesson.editing.blending import blend, fill_smoothly
from sdlesson.editing.inpainting import outpaint_as
from sdlesson.editing.pictures import EditSettings, latent_mask, picture_to_edit
from sdlesson.images import picture_difference, same_picture
from sdlesson.metrics import seam_ratio
from sdlesson.pocket.evaluation.samples import evaluation_scenes
from sdlesson.pocket.world import PLACE_WORDS, Scene, render
from sdlesson.settings import steps_left

PROMPT = "a dog on the beach"
BOX = (32, 48, 96, 128)
STEPS = 6
STEADY_SCHEDULERS = ("DDIM", "EulerDiscrete", "DPMSolverMultistep", "HeunDiscrete", "PNDM")


@pytest.fixture(scope="module")
def cat(pocket: StableDiffusionPipeline) -> Image.Image:
    return sdlesson.draw("a cat on the beach", pipe=pocket, seed=0, num_inference_steps=8).image


@pytest.fixture(scope="module")
def small() -> Image.Image:
    """A picture of the tiny pipeline's size, with every level of grey and some colour."""
    levels = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3)
    return Image.fromarray(levels.astype(np.uint8))


def seeded(seed: int = 0) -> Generator:
    return Generator("cpu").manual_seed(seed)


def as_kind(kind: type, pipe: StableDiffusionPipeline) -> StableDiffusionPipeline:
    theirs = kind(**pipe.components)
    theirs.set_progress_bar_config(disable=True)
    return theirs


def with_scheduler(pipe: StableDiffusionPipeline, name: str) -> StableDiffusionPipeline:
    parts = pipe.components | {"scheduler": fresh_scheduler(pipe, f"{name}Scheduler")}
    other = StableDiffusionPipeline(**parts)
    other.set_progress_bar_config(disable=True)
    return other


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", [*STEADY_SCHEDULERS, "EulerAncestralDiscrete"])
def test_image_to_image_by_hand_is_diffusers(
    pocket: StableDiffusionPipeline, cat: Image.Image, name: str, strength: float
) -> None:
    pipe = with_scheduler(pocket, name)
    settings = {"strength": strength, "num_inference_steps": STEPS, "negative_prompt": "a hat"}
    theirs = as_kind(StableDiffusionImg2ImgPipeline, pipe)(
        PROMPT, image=cat, generator=seeded(), output_type="latent", **settings
    ).images
    *_, last = redraw(pipe, [cat], PROMPT, generator=seeded(), **settings)
    torch.testing.assert_close(last.latents, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", STEADY_SCHEDULERS)
def test_inpainting_by_hand_is_diffusers(
    pocket: StableDiffusionPipeline, cat: Image.Image, name: str, strength: float
) -> None:
    pipe, mask = with_scheduler(pocket, name), box_mask(cat.size, BOX)
    settings = {"strength": strength, "num_inference_steps": STEPS, "guidance_scale": 4.0}
    theirs = as_kind(StableDiffusionInpaintPipeline, pipe)(
        PROMPT,
        image=cat,
        mask_image=mask,
        height=128,
        width=128,
        generator=seeded(),
        output_type="latent",
        **settings,
    ).images
    *_, last = redraw(pipe, [cat], PROMPT, mask=mask, generator=seeded(), **settings)
    torch.testing.assert_close(last.latents, theirs, atol=1e-4, rtol=0)


def test_a_batch_is_each_picture_alone(pocket: StableDiffusionPipeline, cat: Image.Image) -> None:
    pictures, prompts = [cat, cat.transpose(Image.Transpose.ROTATE_180)], [PROMPT, "a cat"]
    *_, both = redraw(
        pocket, pictures, prompts, num_inference_steps=4, generator=[seeded(1), seeded(2)]
    )
    *_, second = redraw(
        pocket, pictures[1:], prompts[1:], num_inference_steps=4, generator=[seeded(2)]
    )
    torch.testing.assert_close(both.latents[1:], second.latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(128, 128), (100, 77), (129, 64), (8, 300)])
def test_outside_of_the_mask_no_pixel_changes(
    pocket: StableDiffusionPipeline, cat: Image.Image, size: tuple[int, int]
) -> None:
    picture = cat.resize(size)
    mask = box_mask(size, (3, 11, size[0] // 2 + 3, size[1] // 2 + 13))
    painted = inpaint(pocket, picture, mask, PROMPT, num_inference_steps=2)
    assert painted.size == size
    outside = np.asarray(mask) == 0
    assert np.array_equal(np.asarray(painted)[outside], np.asarray(picture)[outside])
    assert not np.array_equal(np.asarray(painted), np.asarray(picture))


def test_a_thin_stroke_paints_all_that_it_touches(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    mask = box_mask(cat.size, (10, 60, 120, 62))  # between the pixels that diffusers looks at
    hole = latent_mask(mask, pocket.device, pocket.dtype)
    assert hole.sum() == 14
    painted = inpaint(pocket, cat, mask, PROMPT, num_inference_steps=2)
    changed = np.asarray(painted) != np.asarray(cat)
    assert changed[60:62, 10:120].any(1).any()
    assert not changed[:60].any()
    assert not changed[62:].any()


def test_an_empty_mask_changes_nothing(tiny: StableDiffusionPipeline, small: Image.Image) -> None:
    painted = inpaint(tiny, small, Image.new("L", small.size), "a cat")
    assert np.array_equal(painted, small)


def test_a_full_mask_forgets_the_picture(tiny: StableDiffusionPipeline, small: Image.Image) -> None:
    full = Image.new("L", small.size, 255)
    settings = {"num_inference_steps": 2, "guidance_scale": 1.0}
    both = [
        inpaint(tiny, picture, full, "a cat", generator=seeded(3), **settings)
        for picture in (small, Image.new("RGB", small.size, "red"))
    ]
    assert np.array_equal(*both)
    assert not np.array_equal(both[0], small)


def test_strength_zero_returns_the_picture(
    tiny: StableDiffusionPipeline, small: Image.Image
) -> None:
    mask = Image.new("L", small.size, 255)
    assert np.array_equal(image_to_image(tiny, small, "a", strength=0), small)
    assert np.array_equal(inpaint(tiny, small, mask, "a", strength=0), small)
    enlarged = small.resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(upscale(tiny, small, "a", strength=0), enlarged)


def test_strength_one_takes_every_step_and_half_takes_half(
    tiny: StableDiffusionPipeline, small: Image.Image
) -> None:
    counted = [
        len(list(redraw(tiny, [small], "a", strength=strength, num_inference_steps=10)))
        for strength in (1.0, 0.5, 0.1)
    ]
    assert counted == [10, 5, 1]


@pytest.mark.parametrize(("guidance_scale", "share"), [(1.0, 0.8), (7.5, 1.0)])
def test_less_strength_stays_closer(
    pocket: StableDiffusionPipeline, cat: Image.Image, guidance_scale: float, share: float
) -> None:
    """Guidance changes colours at any strength, and so hides some of what strength does."""
    far = [
        picture_difference(
            cat,
            image_to_image(pocket, cat, PROMPT, strength=strength, guidance_scale=guidance_scale),
        ).mean_error
        for strength in (0.2, 0.5, 0.9)
    ]
    assert far[0] < share * far[1]
    assert far[1] < share * far[2]


@pytest.mark.parametrize(
    ("strength", "sentence"),
    [
        (-0.1, "strength=-0.1 must be a number from 0"),
        (1.1, "strength=1.1 must be a number from 0"),
        (math.nan, "strength=nan must be"),
        ("much", "strength='much' must be"),
        (0.01, "strength=0.01 of num_inference_steps=25 is not one step; try strength=0.04"),
    ],
)
def test_a_strength_off_its_range_is_one_sentence(
    tiny: StableDiffusionPipeline, small: Image.Image, strength: object, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        image_to_image(tiny, small, "a", strength=strength)


@pytest.mark.parametrize("steps", [1, 3, 7, 25, 50, 1000])
def test_the_strength_that_is_suggested_is_enough(steps: int) -> None:
    with pytest.raises(ValueError, match="try strength=") as caught:
        steps_left(steps, 1e-6)
    suggested = float(str(caught.value).split("try strength=")[1].split(" ")[0])
    assert steps_left(steps, suggested) >= 1


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "RGBa"]
)
def test_a_picture_of_any_mode_is_edited(
    tiny: StableDiffusionPipeline, small: Image.Image, mode: str
) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257)
    elif mode == "PA":
        picture = small.convert("P").convert("PA")
    elif mode == "RGBa":
        picture = small.convert("RGBA").convert("RGBa")
    elif mode == "I":
        picture = Image.fromarray(np.asarray(small.convert("L")).astype(np.int32) * 257)
    else:
        picture = small.convert(mode)
    assert picture.mode == mode
    edited = image_to_image(tiny, picture, "a", num_inference_steps=2)
    assert (edited.mode, edited.size) == ("RGB", small.size)
    assert picture_difference(picture_to_edit(picture), small).mean_error < 0.35


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (Image.new("F", (32, 32)), "mode F"),
        (Image.new("LAB", (32, 32)), "mode LAB"),
        (Image.new("RGB", (7, 32)), "7 x 32; each side needs at least 8"),
        (Image.new("RGB", (4 * 32 + 1, 32)), "129 x 32, and this model, which draws 32 x 32"),
        ("cat.png", "image is of type str, must be a PIL image"),
        (None, "image is of type NoneType"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_one_sentence(
    tiny: StableDiffusionPipeline, picture: Image.Image, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        image_to_image(tiny, picture, "a")
    assert "\n" not in str(caught.value)


def test_a_photo_is_edited_the_way_up_its_camera_says(tiny: StableDiffusionPipeline) -> None:
    lying = Image.new("RGB", (16, 24), "white")
    lying.paste("black", (0, 0, 16, 8))
    lying.getexif()[0x0112] = 6  # turn a quarter to the right
    upright = image_to_image(tiny, lying, "a", strength=0)
    assert upright.size == (24, 16)
    assert upright.getpixel((20, 8)) == (0, 0, 0)
    painted = inpaint(tiny, lying, box_mask((24, 16), (0, 0, 4, 4)), "a", num_inference_steps=1)
    assert np.array_equal(np.asarray(painted)[4:], np.asarray(upright)[4:])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_mask_of_any_mode_says_the_same(
    tiny: StableDiffusionPipeline, small: Image.Image, mode: str
) -> None:
    mask = box_mask(small.size, (0, 0, 16, 16)).convert(mode)
    if mode == "RGBA":  # as painters export it: nothing but the stroke
        mask.putalpha(box_mask(small.size, (0, 0, 16, 16)))
    painted = inpaint(tiny, small, mask, "a", num_inference_steps=1)
    changed = (np.asarray(painted) != np.asarray(small)).any(2)
    assert changed[:16, :16].any()
    assert not changed[16:].any()
    assert not changed[:, 16:].any()


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Image.new("L", (16, 32)), r"mask is 16 x 32 and the picture 32 x 32; .*resize"),
        (np.zeros((32, 32)), "mask is of type ndarray"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    tiny: StableDiffusionPipeline, small: Image.Image, mask: Image.Image, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        inpaint(tiny, small, mask, "a")


def test_a_box_beyond_the_picture_is_refused_and_one_over_its_edge_is_cut() -> None:
    assert box_mask((10, 10), (5, 5, 99, 99)).getbbox() == (5, 5, 10, 10)
    for box in ((10, 0, 20, 5), (5, 5, 5, 9), (9, 9, 3, 3)):
        with pytest.raises(ValueError, match="has no pixel in a picture of 10 x 10"):
            box_mask((10, 10), box)


def test_an_edit_that_is_flagged_is_black_and_said_to_be(
    tiny: StableDiffusionPipeline, small: Image.Image
) -> None:
    flag_everything(tiny)
    notes: list[str] = []
    mask = box_mask(small.size, (0, 0, 8, 8))
    black = inpaint(tiny, small, mask, "a", num_inference_steps=1, report=notes.append)
    assert black.getextrema() == ((0, 0),) * 3
    assert "safety checker" in notes[0]


def test_a_model_for_inpainting_alone_is_refused(
    tiny: StableDiffusionPipeline, small: Image.Image
) -> None:
    tiny.unet.register_to_config(in_channels=9)
    with pytest.raises(ValueError, match="reads 9 channels"):
        image_to_image(tiny, small, "a")


def test_resampling_takes_each_step_again_and_needs_ddim(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    mask = box_mask(cat.size, BOX)
    settings = {"mask": mask, "strength": 1.0, "num_inference_steps": 4, "resample": 3}
    steps = list(redraw(pocket, [cat], PROMPT, **settings))
    assert [step.timestep for step in steps[:4]] == [751, 751, 751, 501]
    assert len(steps) == 12
    settings["resample"] = 2
    with pytest.raises(ValueError, match="use DDIMScheduler, or resample=1"):
        redraw(with_scheduler(pocket, "EulerDiscrete"), [cat], PROMPT, **settings)
    settings["resample"] = 0
    with pytest.raises(ValueError, match="resample=0 must be a whole number from 1"):
        redraw(pocket, [cat], PROMPT, **settings)


def test_going_back_up_a_step_leaves_as_much_noise_as_there_was(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    """A U-Net that takes all that it is given for noise: it must be given as much as it expects."""
    bars, spreads = pocket.scheduler.alphas_cumprod, []

    def all_is_noise(latents: torch.Tensor, timestep: torch.Tensor, **_: object) -> object:
        noise = latents / (1 - bars[int(timestep)]).sqrt()
        spreads.append(noise.std().item())
        return type("Output", (), {"sample": noise})

    settings = {"num_inference_steps": 4, "resample": 3, "guidance_scale": 1.0}
    mask = Image.new("L", cat.size, 255)
    list(
        redraw(
            pocket,
            [cat],
            PROMPT,
            mask=mask,
            strength=1.0,
            unet=all_is_noise,
            generator=seeded(),
            **settings,
        )
    )
    assert spreads == pytest.approx([1] * 12, abs=0.1)


def test_going_back_up_a_step_undoes_the_noise_that_it_took(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    """With everything known, resampling ends at the picture's own latents."""
    nothing = box_mask(cat.size, (0, 0, 1, 1))
    *_, last = redraw(pocket, [cat], PROMPT, mask=nothing, num_inference_steps=5, resample=2)
    *_, once = redraw(pocket, [cat], PROMPT, mask=nothing, num_inference_steps=5)
    torch.testing.assert_close(last.latents[..., 1:, 1:], once.latents[..., 1:, 1:])


@pytest.mark.parametrize(
    ("edges", "size", "where"),
    [
        ({"right": 20}, (52, 32), (0, 0)),
        ({"left": 40}, (72, 32), (40, 0)),
        ({"top": 16}, (32, 48), (0, 16)),
        ({"bottom": 9}, (32, 41), (0, 0)),
        ({"left": 8, "right": 8, "top": 8, "bottom": 8}, (48, 48), (8, 8)),
    ],
)
def test_outpainting_adds_at_the_edges_and_keeps_the_picture(
    tiny: StableDiffusionPipeline,
    small: Image.Image,
    edges: dict[str, int],
    size: tuple[int, int],
    where: tuple[int, int],
) -> None:
    grown = outpaint(tiny, small, "a", num_inference_steps=1, resample=1, **edges)
    assert grown.size == size
    x, y = where
    assert np.array_equal(grown.crop((x, y, x + 32, y + 32)), small)


def test_several_pictures_are_painted_beyond_an_edge_each_as_if_alone(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    pipe, images = with_scheduler(pocket, "DDIM"), [cat, cat.transpose(Image.Transpose.ROTATE_180)]
    wish = EditSettings(["on the beach", "in space"], "", 1.5, 2, [seeded(1), seeded(2)], 2)
    for edge in ("top", "left"):
        wish = replace(wish, generator=[seeded(1), seeded(2)])
        together = outpaint_as(wish, pipe, images, {edge: 24})
        for number, (image, prompt) in enumerate(zip(images, wish.prompt, strict=True)):
            options = {"num_inference_steps": 2, "generator": seeded(number + 1), edge: 24}
            assert same_picture(together[number], outpaint(pipe, image, prompt, **options))


def test_outpainting_tells_of_each_step_and_may_be_stopped(
    tiny: StableDiffusionPipeline, small: Image.Image
) -> None:
    pipe, told = with_scheduler(tiny, "DDIM"), []
    options = {"right": 20, "top": 8, "num_inference_steps": 2, "resample": 3}
    outpaint(pipe, small, "", on_step=lambda *step: told.append(step), **options)
    assert told == [(step, 24) for step in range(1, 25)]

    def stop(step: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outpaint(pipe, small, "", on_step=stop, **options)
    with pytest.raises(ValueError, match="on_step=3 must be a function"):
        outpaint(pipe, small, "", on_step=3, **options)


@pytest.mark.parametrize("size", [(128, 128), (37, 61)])
def test_what_is_new_meets_what_was_there_without_a_step(size: tuple[int, int]) -> None:
    """Decoded pixels that are off by as much as you like, and by less further down."""
    width, height = size
    old = Image.linear_gradient("L").resize(size).convert("RGB")
    off = np.linspace(40, 10, height)[:, None, None] * np.array([1, -1, 0.5])
    decoded = Image.fromarray((np.asarray(old) * 0.5 + 60 + off).clip(0, 255).astype(np.uint8))
    mask = box_mask(size, (width // 2, 0, width, height))
    blended = blend(decoded, old, mask)
    assert (
        blended.crop((0, 0, width // 2, height)).tobytes()
        == old.crop((0, 0, width // 2, height)).tobytes()
    )
    pasted = Image.composite(decoded, old, mask)
    before, after = (
        np.abs(levels[:, width // 2] - levels[:, width // 2 - 1])
        for levels in (np.asarray(pasted, float), np.asarray(blended, float))
    )
    assert before.mean() > 30
    assert after.mean() < 2
    assert after.max() < 8, "in the corners, where nothing holds the film from beyond"


def test_a_film_over_a_hole_lies_between_what_holds_it_and_is_level_where_that_is() -> None:
    rows = np.linspace(0, 90, 64, dtype=np.float32)[:, None, None].repeat(48, 1)
    known = np.ones((64, 48), bool)
    known[10:50, 8:40] = False
    filled = fill_smoothly(np.where(known[..., None], rows, 1e6).astype(np.float32), known)
    assert np.abs(filled - rows).max() < 2, "a slope goes on through the hole"
    assert np.array_equal(filled[known], rows[known])
    level = fill_smoothly(np.full((9, 7, 3), 5, np.float32), np.eye(9, 7, dtype=bool))
    assert np.allclose(level, 5)


def test_outpainting_a_real_scene_has_no_seam(pocket: StableDiffusionPipeline) -> None:
    """The table says how good it is; this says that it is not what a plain paste made of it: 8."""
    pipe, ratios = with_scheduler(pocket, "DDIM"), []
    scenes = list(evaluation_scenes("editing/seams", 6, _is_plain_single))
    wish = EditSettings(
        [PLACE_WORDS["en"][scene.place][0] for scene in scenes],
        "",
        1.5,
        10,
        [seeded(scene.seed) for scene in scenes],
        2,
    )
    images = outpaint_as(wish, pipe, [render(scene) for scene in scenes], {"right": 64})
    for span in (1, 8):
        for column in (128, 160):
            found = [seam_ratio(image, column=column, span=span) for image in images]
            ratios.append(np.mean(found))
    assert max(ratios) < 2.5, ratios


def _is_plain_single(scene: Scene) -> bool:
    return scene.kind == "single" and scene.style == "plain"


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [({}, "no edge is to grow"), ({"left": -1}, "left=-1 must"), ({"top": 1.5}, "top=1.5 must")],
)
def test_outpainting_nothing_is_refused(
    tiny: StableDiffusionPipeline, small: Image.Image, edges: dict[str, int], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        outpaint(tiny, small, "a", **edges)


def test_slerp_keeps_the_length_that_a_straight_line_loses() -> None:
    a, b = torch.randn((2, 4, 16, 16), generator=seeded())
    half, straight = slerp(a, b, 0.5), torch.lerp(a, b, 0.5)
    assert half.std() == pytest.approx(1, abs=0.05)
    assert straight.std() == pytest.approx(2**-0.5, abs=0.05)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "0.5", None, True])
def test_a_share_off_its_range_is_one_sentence(share: object) -> None:
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        slerp(torch.zeros(2), torch.ones(2), share)


def test_interpolation_begins_and_ends_with_the_two_pictures(
    pocket: StableDiffusionPipeline,
) -> None:
    ends = ("a cat on the beach", "a dog in the snow")
    frames = interpolate(pocket, ends, (0, 1), frames=3, num_inference_steps=4)
    for prompt, seed, frame in zip(ends, (0, 1), (frames[0], frames[-1]), strict=True):
        drawn = sdlesson.draw(prompt, pipe=pocket, seed=seed, num_inference_steps=4).image
        assert same_picture(frame, drawn)
    with pytest.raises(ValueError, match="frames=1 must be a whole number from 2"):
        interpolate(pocket, ends, (0, 1), frames=1)


def test_a_tile_that_covers_all_is_the_unet_itself(pocket: StableDiffusionPipeline) -> None:
    latents = torch.randn((2, 4, 16, 16), generator=seeded())
    words = torch.randn((2, 32, pocket.unet.config.cross_attention_dim), generator=seeded())
    asked = {"timestep": torch.tensor(500), "encoder_hidden_states": words}
    with torch.no_grad():
        whole = pocket.unet(latents, **asked).sample
        tiled = Tiled(pocket.unet, 16)(latents, **asked).sample
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 40), (33, 17), (8, 20), (5, 16)])
def test_tiles_cover_every_latent_once_over(height: int, width: int) -> None:
    """A U-Net that names its input: the average over tiles must be the input again."""
    shapes = []

    def echo(tile: torch.Tensor, timestep: object, *, encoder_hidden_states: object) -> object:
        shapes.append(tuple(tile.shape[-2:]))
        return type("Output", (), {"sample": tile})

    latents = torch.randn((1, 4, height, width), generator=seeded())
    sample = Tiled(echo, 16)(latents, torch.tensor(1), encoder_hidden_states=None).sample
    torch.testing.assert_close(sample, latents)
    assert set(shapes) == {(min(16, height), min(16, width))}


def test_upscaling_enlarges_and_keeps_the_picture(
    pocket: StableDiffusionPipeline, cat: Image.Image
) -> None:
    large = upscale(pocket, cat, "", strength=0.1, guidance_scale=1.0)
    assert large.size == (256, 256)
    enlarged = cat.resize((256, 256), Image.Resampling.LANCZOS)
    assert 0 < picture_difference(large, enlarged).mean_error < 0.06
    for factor in (0, 5, 1.5):
        with pytest.raises(ValueError, match="factor="):
            upscale(pocket, cat, "", factor=factor)


def test_a_photo_is_shrunk_to_what_the_model_edits(tiny: StableDiffusionPipeline) -> None:
    small = Image.new("RGB", (100, 90))
    assert shrink_to_fit(tiny, small) is small
    assert shrink_to_fit(tiny, Image.new("RGB", (4000, 3000))).size == (36, 27)
    assert max(shrink_to_fit(tiny, Image.new("RGB", (4000, 20))).size) <= 128


def test_the_pipeline_is_left_as_it_was(pocket: StableDiffusionPipeline, cat: Image.Image) -> None:
    before = pocket.scheduler
    inpaint(pocket, cat, box_mask(cat.size, BOX), PROMPT, num_inference_steps=2, resample=2)
    assert pocket.scheduler is before
    assert isinstance(before, DDIMScheduler)
    assert before.num_inference_steps != 2 or len(before.timesteps) == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda pipe, image: editing.image_to_image(pipe, image, "a cat"),
        lambda pipe, image: editing.inpaint(pipe, image, image.convert("L"), "a cat"),
        lambda pipe, image: editing.outpaint(pipe, image, "a cat", right=8),
        lambda pipe, image: editing.upscale(pipe, image, prompt=""),
        lambda pipe, _: editing.interpolate(pipe, ("a cat", "a dog"), (1, 2)),
        lambda pipe, _: editing.load_controlnet(pipe),
    ],
)
def test_a_models_name_where_a_pipeline_belongs_is_refused_at_the_door(edit):
    with pytest.raises(ValueError, match="must be a loaded pipeline"):
        edit("pocket", Image.new("RGB", (64, 64)))


def test_a_share_of_numpy_is_a_number() -> None:
    a, b = torch.randn((2, 8), generator=seeded())
    for kind in (np.float32, np.float64):
        torch.testing.assert_close(slerp(a, b, kind(0.5)), slerp(a, b, 0.5))


@pytest.mark.parametrize("dtypes", [(torch.long, torch.long), (torch.float32, torch.float64)])
def test_slerp_of_other_than_floats_of_a_kind_is_one_sentence(dtypes: tuple) -> None:
    with pytest.raises(ValueError, match="two tensors of floats"):
        slerp(*(torch.ones(4, dtype=dtype) for dtype in dtypes), 0.5)


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        ({"left": 100, "top": 8}, "to grow at its top, the picture may be 128 pixels wide"),
        ({"top": 100, "right": 8}, "to grow at its right, the picture may be 128 pixels high"),
    ],
)
def test_outpainting_that_would_grow_too_large_on_the_way_is_refused_before_it_begins(
    tiny: StableDiffusionPipeline, small: Image.Image, edges: dict[str, int], sentence: str
) -> None:
    steps: list[int] = []
    options = {"num_inference_steps": 1, "resample": 1}
    with pytest.raises(ValueError, match=sentence):
        outpaint(tiny, small, "a", on_step=lambda *step: steps.append(step), **options, **edges)
    assert steps == []
