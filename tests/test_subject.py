"""The subject and the style of the course: new to the model, at any size, and worth learning."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.images import picture_difference, to_images, to_pixels
from sdlesson.pocket import paths, world
from sdlesson.pocket.world import render, vocabulary
from sdlesson.pocket.world.subject import (
    INKS,
    PHOTO_PLACES,
    STYLE_CLASS,
    STYLE_SCENES,
    STYLE_WORD,
    SUBJECT_CLASS,
    SUBJECT_WORD,
    draw_subject,
    in_style,
    print_poster,
    style_photos,
    style_prompts,
    subject_photo,
    subject_photos,
    subject_prompts,
)
from sdlesson.prompts import unknown_words


def share_near(image: Image.Image, colour: tuple[int, int, int], within: int = 60) -> float:
    """The share of pixels whose channels are all near a colour's."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return float((abs(pixels - colour).max(axis=2) < within).mean())


def test_both_words_are_rare_and_the_classes_are_known() -> None:
    known = {*vocabulary("en"), *vocabulary("es")}
    assert not {SUBJECT_WORD, STYLE_WORD} & known
    assert {SUBJECT_CLASS, STYLE_CLASS} <= known
    assert SUBJECT_CLASS in world.SUBJECTS


def test_the_tokenizer_has_neither_word_and_keeps_them_apart(
    pocket: StableDiffusionPipeline,
) -> None:
    subject, style = (pocket.tokenizer.tokenize(word) for word in (SUBJECT_WORD, STYLE_WORD))
    assert len(subject) > 1
    assert len(style) > 1
    assert not set(subject) & set(style) - {"l", "o</w>"}


def test_prompts_name_the_word_the_class_and_the_place_and_nothing_unknown_besides() -> None:
    prompts = subject_prompts(5)
    assert prompts[0] == f"a {SUBJECT_WORD} {SUBJECT_CLASS} in a field"
    assert len(set(prompts)) == 5
    for prompt in prompts:
        assert [unknown.word for unknown in unknown_words(prompt)] == [SUBJECT_WORD]
    for prompt in style_prompts():
        assert prompt.startswith(in_style("a"))
        assert [unknown.word for unknown in unknown_words(prompt)] == [STYLE_WORD]


def test_photos_differ_in_place_and_are_the_same_every_time() -> None:
    photos = subject_photos(5)
    for photo, again in zip(photos, subject_photos(5), strict=True):
        assert photo.tobytes() == again.tobytes()
    for i, one in enumerate(photos):
        assert all(picture_difference(one, other).mean_error > 0.05 for other in photos[i + 1 :])


def test_places_are_left_for_prompts_that_no_photo_shows() -> None:
    assert set(PHOTO_PLACES) < set(world.PLACES)
    assert len(set(world.PLACES) - set(PHOTO_PLACES)) >= 3


@pytest.mark.parametrize("place", world.PLACES)
@pytest.mark.parametrize("size", [128, 512])
def test_the_whole_subject_stands_inside_the_photo_at_any_size(place: str, size: int) -> None:
    for seed in range(2):
        photo = subject_photo(place, seed=seed, size=size)
        assert (photo.size, photo.mode) == ((size, size), "RGB")
        assert share_near(photo, (225, 40, 34)) > 0.07  # its red
        edges = np.asarray(photo)
        for edge in (edges[0], edges[-1], edges[:, 0], edges[:, -1]):
            assert (abs(edge.astype(int) - (225, 40, 34)).max(axis=-1) < 12).mean() == 0


def test_sizes_show_the_same_photo() -> None:
    small, large = subject_photo("snow", seed=3), subject_photo("snow", seed=3, size=512)
    shrunk = large.resize(small.size, Image.Resampling.LANCZOS)
    assert picture_difference(small, shrunk).mean_error < 0.03


@pytest.mark.parametrize("tilt", [-9.0, 0.0, 9.0])
def test_no_part_is_cut_off_when_it_leans(tilt: float) -> None:
    alpha = np.asarray(draw_subject(96, tilt=tilt))[..., 3]
    assert alpha[-2:].max() > 128  # stands on the lower edge
    assert max(alpha[0].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0
    upright = np.asarray(draw_subject(96))[..., 3]
    assert alpha.sum() == pytest.approx(upright.sum(), rel=0.01)


def test_nothing_that_draws_or_trains_the_world_imports_the_subject() -> None:
    sources = [path for path in paths.HOME.rglob("*.py") if path.name != "subject.py"]
    assert len(sources) > 20
    for path in sources:
        assert not re.search(r"import.*\bsubject\b|world\.subject", path.read_text("utf-8"))


def test_the_subject_does_not_look_like_the_robot_of_the_world() -> None:
    robot = render(world.Scene("single", ("robot",), "white", "plain", seed=1))
    photo = subject_photo("white", seed=1)
    for colour, least in (((225, 40, 34), 0.1), ((255, 205, 40), 0.03)):
        assert share_near(photo, colour) > max(least, 2 * share_near(robot, colour))


def test_a_poster_has_two_inks_on_paper() -> None:
    for photo, scene in zip(style_photos(), STYLE_SCENES, strict=True):
        colours = {colour for _, colour in photo.getcolors()}
        assert colours <= set(INKS)
        assert picture_difference(photo, render(scene)).mean_error > 0.05
    assert style_photos(1, size=512)[0].size == (512, 512)
    assert {colour for _, colour in style_photos(1, size=512)[0].getcolors()} <= set(INKS)
    assert not any(SUBJECT_CLASS in scene.subjects for scene in STYLE_SCENES)


@pytest.mark.parametrize("count", [0, 7])
def test_more_posters_than_scenes_are_refused(count: int) -> None:
    for posters in (style_photos, style_prompts):
        with pytest.raises(ValueError, match=f"count={count} must be from 1 to 6"):
            posters(count)


def test_a_poster_of_the_subject_can_be_printed() -> None:
    poster = print_poster(subject_photo("space", seed=0))
    assert {colour for _, colour in poster.getcolors()} == set(INKS)


def test_the_pocket_decoder_keeps_what_marks_the_subject(pocket: StableDiffusionPipeline) -> None:
    """Red body, white eye and yellow limbs come back from 16 x 16 latents."""
    photos = subject_photos(3)
    with torch.no_grad():
        latents = pocket.vae.encode(to_pixels(photos)).latent_dist.mean
        decoded = to_images(pocket.vae.decode(latents).sample)
    for photo, back in zip(photos, decoded, strict=True):
        for colour in ((225, 40, 34), (255, 205, 40)):
            assert share_near(back, colour, 80) > 0.6 * share_near(photo, colour, 80)
        assert picture_difference(photo, back).mean_error < 0.08
