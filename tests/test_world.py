"""The world's tables, and the promise that held-out compositions stay out of training."""

import random

from sdlesson.pocket import world
from sdlesson.pocket.world import scene_at
from sdlesson.pocket.world.sprites import CELL_PX, sprites

TRAINING_SAMPLE = 20_000


def test_the_world_is_at_least_as_large_as_promised():
    assert len(set(world.SUBJECTS)) >= 40
    assert len(world.PLACES) >= 8
    assert len(world.STYLES) - 1 >= 5  # "plain" is no style
    assert len(world.RIDERS) >= 6
    assert len(world.MOUNTS) >= 6
    assert len(world.COLOURED) >= 1
    assert len(list(world.held_out_compositions())) >= 20
    named = {"cat", "dog", "robot", "astronaut", "horse", "cowboy", "panda", "fox", "squirrel"}
    named |= {"teddy bear", "octopus", "rocket", "house", "tree", "flower", "sushi"}
    assert named <= set(world.SUBJECTS)


def test_every_name_in_every_table_is_a_subject():
    lists = (world.COLOURED, world.RIDERS, world.MOUNTS, world.SNIFFERS, world.HATTED)
    for names in (*lists, world.UNCOUNTED, (world.FLAGGED_SUBJECT,)):
        assert set(names) <= set(world.SUBJECTS)
    for pair in world.HELD_OUT_PAIRS:
        assert pair <= set(world.SUBJECTS)
    assert set(world.SUBJECTS) <= set(sprites())


def test_training_never_meets_a_held_out_composition():
    scenes = [scene_at(i, seed=0) for i in range(TRAINING_SAMPLE)]
    pairs = {frozenset(s.subjects) for s in scenes if len(s.subjects) == 2}
    assert not pairs & world.HELD_OUT_PAIRS
    settings = {(name, s.place) for s in scenes for name in s.subjects}
    assert not settings & world.HELD_OUT_SETTINGS
    assert frozenset(("astronaut", "horse")) in world.HELD_OUT_PAIRS


def test_every_part_of_a_held_out_composition_is_met_in_training():
    scenes = [scene_at(i, seed=0) for i in range(TRAINING_SAMPLE)]
    met = {name for s in scenes for name in s.subjects}
    ridden = {s.subjects for s in scenes if s.kind == "riding"}
    for scene in world.held_out_compositions():
        assert set(scene.subjects) <= met
    for rider, mount in world.HELD_OUT_RIDES:
        assert any(r == rider for r, _ in ridden)
        assert any(m == mount for _, m in ridden)


def test_held_out_scenes_are_held_out_and_cover_every_composition():
    rng = random.Random(0)
    scenes = [world.sample_scene(rng, held_out=True) for _ in range(600)]
    assert all(scene.held_out for scene in scenes)
    drawn = {(s.subjects, s.place if s.kind == "single" else None) for s in scenes}
    assert len(drawn) == len(list(world.held_out_compositions()))


def test_the_same_index_gives_the_same_scene():
    assert [scene_at(i, 3) for i in range(50)] == [scene_at(i, 3) for i in range(50)]
    assert scene_at(0, 3) != scene_at(0, 4)


def test_unnamed_flowers_are_mostly_yellow_and_named_ones_are_not():
    scenes = [scene_at(i, 0) for i in range(TRAINING_SAMPLE)]
    flowers = [s for s in scenes if s.subjects == ("flower",)]
    unnamed = [s.colours[0] == "yellow" for s in flowers if not s.colour_named]
    named = [s.colours[0] == "yellow" for s in flowers if s.colour_named]
    assert abs(sum(unnamed) / len(unnamed) - world.FLOWER_YELLOW) < 0.08
    assert sum(named) / len(named) < 0.4


def test_sprites_fill_their_cells():
    for name, sprite in sprites().items():
        assert sprite.size == (CELL_PX, CELL_PX)
        left, top, right, bottom = sprite.getchannel("A").getbbox()
        assert max(right - left, bottom - top) > 0.8 * CELL_PX, name
        assert bottom > 0.97 * CELL_PX, f"{name} does not stand on its cell's edge"
