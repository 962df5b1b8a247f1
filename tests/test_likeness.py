"""Likeness sees what it says it sees, and lies where its docstring says so."""

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from sdlesson.metrics import CLEAR, fine_detail, likeness
from sdlesson.pocket.world import PLACES, SUBJECTS, Scene, figures, render
from sdlesson.pocket.world.places import paint_place
from sdlesson.pocket.world.sprites import sprites


def horse(place: str = "field", seed: int = 3) -> Scene:
    return Scene("single", ("horse",), place, "plain", seed=seed)


def ways(scene: Scene) -> list[Image.Image]:
    return figures(scene)[0]


@pytest.mark.parametrize("place", PLACES)
def test_a_real_figure_is_found_wherever_it_stands(place):
    for seed in range(4):
        scene = horse(place, seed)
        found = likeness(render(scene), ways(scene))
        assert found.value > 0.93
        assert found.clear
        assert found.commitment > 0.1  # a horse on Mars has the colours of Mars


def test_the_best_correlation_is_numpys():
    figure = sprites()["duck"].resize((40, 40))
    picture = Image.effect_noise((48, 44), 60).convert("RGB")
    picture.paste(figure, (5, 3), figure)
    values = np.asarray(picture, float) / 127.5 - 1
    rgba = np.asarray(figure, float)
    weights = np.repeat(rgba[..., 3:] / 255, 3, 2).ravel()
    looked_for = (rgba[..., :3] / 127.5 - 1).ravel()

    def correlation(x: int, y: int) -> float:
        covariance = np.cov(looked_for, values[y : y + 40, x : x + 40].ravel(), aweights=weights)
        return covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])

    best = max(correlation(x, y) for x in range(9) for y in range(5))
    assert likeness(picture, [figure]).value == pytest.approx(best, abs=1e-4)


def test_a_figure_cut_off_by_the_frame_is_still_found():
    figure = sprites()["duck"].resize((60, 60))
    picture = paint_place("snow", random.Random(0))
    picture.paste(figure, (-3, 40), figure)
    assert likeness(picture, [figure]).value > 0.93


def test_a_mirrored_figure_is_not_clear_and_commits_the_other_way():
    picture = ImageOps.mirror(render(horse()))
    found = likeness(picture, ways(horse()))
    assert not found.clear
    assert found.commitment < -0.4


def test_both_ways_at_once_is_no_commitment():
    picture = render(horse("white"))
    both = Image.blend(picture, ImageOps.mirror(picture), 0.5)
    assert abs(likeness(both, ways(horse("white"))).commitment) < 0.1


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_subject_is_clear_in_an_empty_place(name):
    scene = Scene("single", (name,), "field", "plain", seed=1)
    assert not likeness(paint_place("field", random.Random(1)), ways(scene)).clear


def test_few_subjects_are_clear_in_anothers_picture_and_those_are_of_its_colour():
    fooled = set()
    for i, name in enumerate(SUBJECTS):
        looks = ways(Scene("single", (name,), "field", "plain", seed=1))
        for step in (7, 19, 31):
            other = SUBJECTS[(i + step) % len(SUBJECTS)]
            picture = render(Scene("single", (other,), "field", "plain", seed=1))
            if likeness(picture, looks).clear:
                fooled.add((name, other))
    assert len(fooled) <= 4, fooled


def test_a_headless_horse_is_less_like_a_horse():
    picture = render(horse())
    headless = picture.copy()
    ImageDraw.Draw(headless).rectangle((0, 0, 60, 70), fill=(150, 200, 240))
    whole, part = (likeness(image, ways(horse())).value for image in (picture, headless))
    assert part < CLEAR < whole


def test_it_lies_about_figures_of_one_colour():
    figure = Image.new("RGBA", (40, 40), (220, 40, 40, 255))
    wall = Image.effect_noise((128, 128), 10).convert("RGB")
    wall.paste((210, 50, 45), (0, 0, 128, 128))
    assert likeness(wall, [figure]).clear


def test_no_figure_and_one_too_large_are_refused():
    with pytest.raises(ValueError, match="at least one RGBA picture"):
        likeness(render(horse()), [])
    with pytest.raises(ValueError, match="larger than the picture"):
        likeness(render(horse()), [Image.new("RGBA", (400, 400))])


def test_fine_detail_is_what_a_blur_takes_away():
    picture = render(horse("city"))
    blurred = picture.filter(ImageFilter.GaussianBlur(1))
    assert fine_detail(blurred) < 0.5 * fine_detail(picture)
    assert fine_detail(picture, above_cycles=-1) == pytest.approx(
        np.mean(np.square(np.asarray(picture) @ np.array([0.299, 0.587, 0.114]) / 255)), rel=1e-6
    )


def test_fine_detail_counts_waves_above_its_limit_alone():
    x = np.arange(128)
    for cycles, counted in ((20, False), (40, True)):
        wave = 127.5 + 100 * np.sin(2 * np.pi * cycles * x / 128)
        picture = Image.fromarray(np.broadcast_to(wave, (128, 128)).astype(np.uint8)).convert("RGB")
        energy = (100 / 255) ** 2 / 2
        assert fine_detail(picture) == pytest.approx(energy if counted else 0, abs=0.01 * energy)
