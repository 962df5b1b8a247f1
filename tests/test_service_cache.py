"""Pictures that need not be drawn again: when they are the same, how many, and for whom."""

import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry, generate_latest

from fixtures_bot import Painter
from fixtures_service import ENDLESS, serving
from fixtures_talk import answer, is_picture, picture, wait_until
from sdlesson.bot.requests import Request
from sdlesson.bot_service.models.cache import ENTRY_BYTES, MB, PictureCache, key_of
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.moderation import Moderation
from sdlesson.bot_service.store import StoredJobState
from test_service_metrics import samples

CAT = Request("a cat", "hat", 5, 7.0, seed=3, model="oil")
OF_A_PHOTO = {"photo", "strength", "control", "widen"}  # and with one, nothing is kept
OTHERS = {
    "prompt": "a dog",
    "negative_prompt": "",
    "num_inference_steps": 6,
    "guidance_scale": 7.5,
    "seed": 4,
    "model": "ink",
    "lora": "hat",
}


def drawn(request: Request, painter: Painter | None = None, **changes):
    (result,) = (painter or Painter()).draw(
        [request], on_step=lambda *_: None, is_cancelled=lambda _: False
    )
    return replace(result, **changes)


def test_the_key_holds_every_field_that_decides_a_picture() -> None:
    assert set(OTHERS) == {field.name for field in fields(Request)} - OF_A_PHOTO
    keys = {key_of(CAT, "w"), key_of(CAT, "newer weights")}
    keys |= {key_of(replace(CAT, **{name: value}), "w") for name, value in OTHERS.items()}
    assert len(keys) == 2 + len(OTHERS)


def test_what_the_model_takes_for_the_same_has_the_same_key() -> None:
    same = replace(CAT, prompt="A  Cat ", negative_prompt="HAT", strength=0.3)
    assert key_of(same, "w") == key_of(CAT, "w")


def test_what_chance_or_a_photo_decides_has_none() -> None:
    assert key_of(replace(CAT, seed=None), "w") is None
    assert key_of(replace(CAT, photo=Image.new("RGB", (9, 9))), "w") is None


def test_the_one_unused_longest_makes_room_and_the_memory_has_a_bound() -> None:
    size = 32 * 32 * 3 + ENTRY_BYTES
    cache = PictureCache(3 * size / MB)
    wishes = [replace(CAT, seed=seed) for seed in range(5)]
    for wish in wishes[:3]:
        cache.keep(1, wish, drawn(wish))
    assert cache.size == 3 * size
    assert cache.find(wishes[0], "")
    cache.keep(1, wishes[3], drawn(wishes[3]))
    cache.keep(1, wishes[3], drawn(wishes[3]))  # once more is no more
    assert [bool(cache.find(wish, "")) for wish in wishes] == [True, False, True, True, False]
    assert (len(cache), cache.size) == (3, 3 * size)
    large = replace(CAT, seed=9)
    cache.keep(1, large, drawn(large, Painter(size=512)))  # alone larger than all may be
    assert len(cache) == 3


def test_a_flagged_picture_never_comes_in_and_another_weights_picture_never_out() -> None:
    cache = PictureCache(1)
    volcano = replace(CAT, prompt="a volcano")
    cache.keep(1, volcano, drawn(volcano))
    cache.keep(1, CAT, drawn(CAT, weights="old"))
    assert cache.find(volcano, "") is None
    assert cache.find(CAT, "new") is None
    found = cache.find(replace(CAT, prompt="A CAT"), "old")
    assert (found.drawing.prompt, found.request.prompt) == ("A CAT", "A CAT")
    assert found.settings["prompt"] == "A CAT"


def test_who_is_forgotten_takes_along_the_pictures_drawn_for_them() -> None:
    cache = PictureCache(1)
    for user, seed in ((1, 1), (2, 2), (1, 3)):
        wish = replace(CAT, seed=seed)
        cache.keep(user, wish, drawn(wish))
    cache.forget(1)
    assert [bool(cache.find(replace(CAT, seed=seed), "")) for seed in (1, 2, 3)] == [
        False,
        True,
        False,
    ]
    cache.forget(2)
    assert cache.size == 0


# In the service.


def hits(registry: CollectorRegistry) -> tuple[float, float]:
    found = samples(generate_latest(registry).decode())
    return tuple(found.get(("sdlesson_cache_looks_total", one), 0) for one in ("hit", "miss"))


def test_the_same_request_is_drawn_once_and_recorded_and_counted_twice(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    limits = replace(ENDLESS, daily=2)
    named = {"cache_mb": 8.0, "model_metrics": ModelMetrics(registry), "limits": limits}
    with serving(tmp_path, Painter(), **named) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        picture(ana, "a cat --seed 7 --steps 6")
        second = picture(ana, "A  Cat --steps 6 --seed 7")
        assert served.painter.batches == [["a cat"]]
        assert second["caption"].startswith("A Cat\nseed 7 · 6 steps")
        history = served.parts.store.jobs.history(ana.id)
        wait_until(lambda: served.parts.store.counts() == {StoredJobState.SENT: 2})
        assert [(one.request.prompt, one.seed) for one in history] == [("A Cat", 7), ("a cat", 7)]
        assert served.parts.store.jobs.drawn_today(ana.id) == 2, "a hit counts for the quota"
        assert "had your 2 pictures" in answer(ana, "a cat --seed 7 --steps 6")["text"]
        picture(eva, "a cat --seed 7 --steps 6")
        picture(eva, "a cat --steps 6")  # no seed, so another picture is what is asked for
        assert hits(registry) == (2, 1)
        assert served.painter.batches == [["a cat"]] * 2


def test_without_a_cache_all_is_drawn(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        ana = served.person()
        for _ in range(2):
            picture(ana, "a cat --seed 7")
        assert len(served.painter.batches) == 2


def test_a_hit_is_moderated_and_a_flagged_picture_is_judged_each_time(tmp_path: Path) -> None:
    moderation = Moderation()
    with serving(tmp_path, cache_mb=8.0, moderation=moderation) as served:
        ana = served.person()
        for _ in range(2):
            ana.says("a volcano --seed 1")
        wait_until(lambda: served.parts.store.counts() == {StoredJobState.FLAGGED: 2})
        assert len([one for batch in served.painter.batches for one in batch]) == 2
        picture(ana, "a cat --seed 7")
        moderation.__dict__ |= Moderation(("cat",)).__dict__  # a rule that came since
        assert "is on the list of words" in answer(ana, "a cat --seed 7")["text"]


def test_a_hit_does_not_wait_for_what_its_batch_has_to_draw(tmp_path: Path) -> None:
    painter = Painter()
    with serving(tmp_path, painter, cache_mb=8.0) as served:
        people = [served.person(f"P{number}") for number in range(3)]
        picture(people[0], "a cat --seed 7")
        painter.step_s = 0.2
        people[2].says("a plum --seed 1 --steps 6")  # so that the next two wait together
        time.sleep(0.3)
        people[1].says("a dog --seed 8")
        people[0].says("a cat --seed 7")
        wait_until(lambda: sum(map(is_picture, people[0].messages)) == 2, 10)
        assert not any(map(is_picture, people[1].messages))
        people[1].waits_for(is_picture)
        assert ["a dog"] in painter.batches


def test_forget_drops_the_users_cached_pictures_and_privacy_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, cache_mb=8.0) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        told = answer(ana, "/privacy")["text"]
        assert "in memory only" in told
        assert "/forget drops those drawn for you" in told
        assert "/forget borra las que dibujé para ti" in answer(eva, "/privacy")["text"]
        picture(ana, "a secret cat --seed 7")
        cache = served.run.worker.cache
        assert len(cache) == 1
        ana.presses(answer(ana, "/forget"), data="forget:")
        ana.waits_for("I keep nothing about you")
        assert (len(cache), cache.size) == (0, 0)
        picture(eva, "a secret cat --seed 7")
        assert len(served.painter.batches) == 2


@pytest.mark.parametrize("moment", ["drawing", "waiting"])
def test_what_is_on_its_way_while_a_user_is_forgotten_is_not_kept(tmp_path, moment: str) -> None:
    painter = Painter(step_s=0.3)
    with serving(tmp_path, painter, cache_mb=8.0) as served:
        ana = served.person()
        if moment == "waiting":
            served.person("Eva").says("a plum --seed 1 --steps 4")
        ana.says("a secret cat --seed 7 --steps 4")
        if moment == "drawing":
            wait_until(lambda: ["a secret cat"] in painter.batches)
        else:
            wait_until(lambda: served.parts.store.jobs.history(ana.id))
        ana.presses(answer(ana, "/forget"), data="forget:")
        ana.waits_for("I keep nothing about you")
        time.sleep(1.5)
        assert all("secret" not in str(key) for key in served.run.worker.cache._kept)
