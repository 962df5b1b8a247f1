"""Who is to blame for a wrong picture is read off three readings of each scene."""

from dataclasses import replace

from sdlesson.pocket.evaluation.failures import by_composition, by_subject
from sdlesson.pocket.evaluation.judging import Judged, composition_right, subject_right
from sdlesson.pocket.world import Scene, caption, held_out_compositions
from sdlesson.probe import Reading


def read_as(*subjects: str, place: str = "white") -> Reading:
    """A reading that finds these subjects, the surest first."""
    found = {name: 0.9 - 0.1 * i for i, name in enumerate(subjects)}
    return Reading(found, place, "plain", "single", 1, 0.0, {})


CATS = [Scene("single", ("cat",), "white", "plain", seed=seed) for seed in range(4)]
DOG = Scene("single", ("dog",), "white", "plain")
CAT, FOX = read_as("cat"), read_as("fox")


def test_a_subjects_row_says_where_it_is_lost_and_what_it_was_taken_for():
    judged = Judged(
        [*CATS, DOG],
        drawn=[CAT, FOX, FOX, read_as("panda"), read_as("dog")],
        restored=[CAT, CAT, FOX, FOX, read_as("dog")],
        real=[CAT, CAT, CAT, FOX, read_as("dog")],
    )
    rows = by_subject(judged, subject_right)
    assert list(rows) == ["cat", "dog"]
    assert rows["cat"]["drawn"][0] == 0.25
    assert (rows["cat"]["restored"], rows["cat"]["real"], rows["cat"]["n"]) == (0.5, 0.75, 4)
    assert rows["cat"]["taken_for"] == {"fox": 2, "panda": 1}
    assert rows["dog"]["taken_for"] == {}


def test_every_held_out_composition_is_counted_once_however_it_is_dressed():
    bare = list(held_out_compositions())
    dressed = [replace(s, style="monet") for s in bare] + [
        replace(s, place="forest") for s in bare if s.kind != "single"
    ]
    seen = [read_as(*scene.subjects, place=scene.place) for scene in dressed]
    rows = by_composition(Judged(dressed, seen, seen, seen), composition_right)
    assert set(rows) == {caption(scene) for scene in bare}
    assert sum(row["n"] for row in rows.values()) == len(dressed)
    assert all(row["drawn"][0] == 1 for row in rows.values())


def test_the_order_of_rider_and_mount_tells_two_scenes_apart():
    ride = next(s for s in held_out_compositions() if s.kind == "riding")
    turned = replace(ride, subjects=ride.subjects[::-1])
    reading = [read_as(*turned.subjects)]
    assert by_composition(Judged([turned], reading, reading, reading), composition_right) == {}
