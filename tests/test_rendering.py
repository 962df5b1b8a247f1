"""Pictures of scenes: repeatable, and different where the scene differs."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdlesson.metrics import likeness
from sdlesson.pocket import world
from sdlesson.pocket.training.dataset import render_scenes
from sdlesson.pocket.world import Scene, figures, render, scene_at
from sdlesson.pocket.world.places import paint_place
from sdlesson.pocket.world.rendering import HEADS, HUES, PAINTED_HUES, SEATS
from sdlesson.pocket.world.styles import apply_style


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene)).astype(int)


CAT = Scene("single", ("cat",), "beach", "plain", seed=5)


def test_the_same_scene_gives_the_same_pixels():
    for index in range(24):
        scene = scene_at(index, 0)
        assert (pixels(scene) == pixels(scene)).all()


def test_the_seed_moves_things_and_nothing_else_does():
    assert (pixels(CAT) != pixels(replace(CAT, seed=6))).any()
    assert render(CAT).size == (world.SIZE_PX, world.SIZE_PX)
    assert render(CAT).mode == "RGB"


@pytest.mark.parametrize("field", ["place", "style", "count", "hats", "subjects"])
def test_each_part_of_a_scene_shows(field: str):
    other = {
        "place": "mars", "style": "monet", "count": 2, "hats": (True,), "subjects": ("dog",),
    }[field]  # fmt: skip
    difference = abs(pixels(CAT) - pixels(replace(CAT, **{field: other})))
    assert (difference.max(axis=2) > 30).mean() > 0.01


@pytest.mark.parametrize("name", world.COLOURED)
@pytest.mark.parametrize("colour", world.COLOURS)
def test_paint_has_the_colour_asked_for(name: str, colour: str):
    scene = Scene("single", (name,), "white", "plain", colours=(colour,), seed=1)
    hue, saturation, _ = np.asarray(render(scene).convert("HSV")).transpose(2, 0, 1).astype(int)
    distance = abs((hue / 255 - HUES[colour] + 0.5) % 1 - 0.5)
    coloured = saturation > 100
    assert (distance[coloured] < 0.05).mean() > 0.3


def test_every_place_and_style_is_its_own_picture():
    by_place = [pixels(replace(CAT, place=place)) for place in world.PLACES]
    by_style = [pixels(replace(CAT, style=style)) for style in world.STYLES]
    for pictures in (by_place, by_style):
        for i, one in enumerate(pictures):
            for other in pictures[i + 1 :]:
                assert abs(one - other).mean() > 4


def speckle(picture: Image.Image) -> float:
    """The mean square of what a picture loses where it is halved and doubled again, 0 to 255."""
    half = picture.resize((world.SIZE_PX // 2,) * 2, Image.Resampling.BOX)
    whole = half.resize(picture.size, Image.Resampling.BICUBIC)
    return float(np.square(np.asarray(picture, float) - np.asarray(whole, float)).mean())


@pytest.mark.parametrize("place", world.PLACES)
def test_no_place_has_details_of_a_pixel(place: str):
    backgrounds = [paint_place(place, random.Random(seed)) for seed in range(12)]
    assert np.mean([speckle(background) for background in backgrounds]) < 40


def test_dabs_show_on_an_even_ground_and_follow_from_the_picture_alone():
    grey = Image.new("RGB", (world.SIZE_PX, world.SIZE_PX), (120, 120, 120))
    one, other = (apply_style("monet", grey, random.Random(seed)) for seed in (1, 2))
    assert one == other
    assert np.asarray(one).std() > 4


def places_of(scenes: list[Scene]) -> set[tuple[int, int]]:
    """Upper left corners of what stands on white, shadows aside."""
    corners = set()
    for scene in scenes:
        figure = figures(scene)[0][0].getbbox()
        saturation = np.asarray(render(scene).convert("HSV"))[..., 1]
        rows, columns = np.nonzero(saturation > 90)
        corners.add((columns.min() - figure[0], rows.min() - figure[1]))
    return corners


@pytest.mark.parametrize("kind", ["single", "riding"])
def test_figures_look_one_way_and_move_by_whole_latents(kind):
    subjects = ("pig",) if kind == "single" else ("cat", "pig")
    bare = Scene(
        kind, subjects, "white", "plain",
        colours=(None,) * len(subjects), hats=(False,) * len(subjects),
    )  # fmt: skip
    corners = places_of([replace(bare, seed=seed) for seed in range(24)])
    assert len(corners) == 6  # three places across, two grounds
    for axis in (0, 1):
        values = {corner[axis] for corner in corners}
        assert all((value - min(values)) % 8 == 0 for value in values)


@pytest.mark.parametrize("seed", range(4))
def test_the_ways_a_figure_may_look_hold_the_way_it_looks(seed):
    rng = random.Random(seed)
    while True:
        scene = replace(world.sample_scene(rng), style="plain")
        if scene.count == 1:
            break
    picture = render(scene)
    for ways in figures(scene):
        found = likeness(picture, ways)
        # What stands in front of a thing may hide some of it, a hat may be cut off.
        assert found.value > 0.9


def two(kind: world.Kind, first: str, second: str, colour: str | None) -> Scene:
    """A bare scene of two."""
    return Scene(
        kind, (first, second), "white", "plain", colours=(None, colour), hats=(False, False)
    )


@pytest.mark.parametrize(
    ("scene", "ways"),
    [
        (Scene("single", ("cat",), "white", "plain"), [1]),
        (Scene("single", ("robot",), "white", "plain"), [2]),
        (Scene("single", ("robot",), "white", "plain", hats=(True,)), [1]),
        (Scene("single", ("car",), "white", "plain", colours=("red",)), [5]),
        (Scene("single", ("car",), "white", "plain", colours=("red",), colour_named=True), [1]),
        (two("riding", "robot", "pig", None), [2]),
        (two("beside", "cat", "car", "red"), [1, 5]),
    ],
)  # fmt: skip
def test_what_a_caption_leaves_open_is_among_the_ways(scene, ways):
    assert [len(looks) for looks in figures(scene)] == ways


def test_the_renderer_knows_every_seat_head_and_paint():
    assert set(SEATS) == set(world.MOUNTS)
    assert set(HEADS) == set(world.HATTED)
    assert set(PAINTED_HUES) == set(world.COLOURED)
    assert set(HUES) == set(world.COLOURS)


def test_rendering_a_set_twice_opens_what_was_rendered(tmp_path):
    first = render_scenes(tmp_path, 6, seed=2)
    stamp = next(tmp_path.glob("*.npy")).stat().st_mtime_ns
    second = render_scenes(tmp_path, 6, seed=2)
    assert (first == second).all()
    assert next(tmp_path.glob("*.npy")).stat().st_mtime_ns == stamp
    assert (second[4] == np.asarray(render(scene_at(4, 2)))).all()
    assert not list(tmp_path.glob("*.part"))
