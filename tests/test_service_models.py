"""Several models in one service: choices, lots, thumbs, and what admins see of it."""

import math
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from fixtures_bot import Painter
from fixtures_service import serving
from fixtures_talk import Group, answer, is_picture, picture, wait_until
from sdlesson.bot.requests import Defaults, Request
from sdlesson.bot.store import UserRecord
from sdlesson.bot_service.configuration import ConfigurationError, load_configuration
from sdlesson.bot_service.models.cards import ModelCard
from sdlesson.bot_service.models.catalogue import Catalogue, OfferedLora, key_of, read_catalogue
from sdlesson.bot_service.models.metrics import ModelMetrics
from sdlesson.bot_service.service.choices import ModelChoice
from sdlesson.bot_service.store import StoredJobState
from sdlesson.metrics import wilson_interval
from test_service_metrics import samples

HAT = OfferedLora(Path("hat.safetensors"), "oil")
BOTH = Catalogue({"oil": "oil", "ink": "ink"}, {"hat": HAT})
LOT = replace(BOTH, ab_share={"oil": 0.2, "ink": 0.8}, ab_salt="autumn")


class Studio(Painter):
    """Paints with several models, and keeps down what each batch was drawn with."""

    def __init__(self, names: Sequence[str] = ("oil", "ink"), **named) -> None:
        super().__init__(**named)
        self.model, self.drawn = names[0], []
        steps = {"oil": 5, "ink": 7}
        self.cards = {
            name: ModelCard(name, 32, Defaults(num_inference_steps=steps.get(name, 5)))
            for name in names
        }

    def batch_key(self, request: Request):
        return (request.model, request.lora, super().batch_key(request))

    def draw(self, requests, **named):
        self.drawn.append([(request.model, request.lora) for request in requests])
        return super().draw(requests, **named)


@contextmanager
def offering(folder: Path, catalogue: Catalogue = BOTH, **named):
    with serving(folder, Studio(list(catalogue.sources)), catalogue=catalogue, **named) as served:
        yield served


def buttons(message) -> dict[str, str]:
    rows = message["reply_markup"]["inline_keyboard"]
    return {one["text"]: one["callback_data"] for row in rows for one in row}


# Who draws with what.


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_lot_gives_each_model_its_share_of_users(share: float) -> None:
    catalogue = replace(BOTH, ab_share={"oil": share, "ink": 1 - share})
    users = 10_000
    drawn = sum(catalogue.assigned(1_000_000 + user) == "oil" for user in range(users))
    assert abs(drawn - users * share) < 4 * math.sqrt(users * share * (1 - share))


def test_the_lot_of_a_user_is_always_the_same_and_another_salt_deals_anew() -> None:
    first = [LOT.assigned(user) for user in range(300)]
    # The order in which the operator writes the shares is no part of the lot, a restart neither.
    again = Catalogue(dict(LOT.sources), {}, {"ink": 0.8, "oil": 0.2}, "autumn")
    assert [again.assigned(user) for user in range(300)] == first
    # Written down once: an update of the course must not deal users out anew.
    assert "".join(name[0] for name in first[:20]) == "iiiiiiooiiiiiiiiiiio"
    other = replace(LOT, ab_salt="spring")
    moved = sum(other.assigned(user) != name for user, name in enumerate(first))
    expected = 2 * 0.2 * 0.8 * 300  # of two lots that know nothing of each other
    assert abs(moved - expected) < 4 * math.sqrt(expected)


@pytest.mark.parametrize(
    ("user", "request_", "drawn", "gone"),
    [
        (UserRecord(), Request("a"), ("oil", ""), ""),
        (UserRecord(model="ink"), Request("a"), ("ink", ""), ""),
        (UserRecord(lora="hat"), Request("a"), ("oil", "hat"), ""),
        (UserRecord(model="wax", lora="hat"), Request("a"), ("oil", ""), "wax"),
        (UserRecord(model="ink", lora="hat"), Request("a"), ("ink", ""), "hat"),
        (UserRecord(model="ink"), Request("a", model="oil"), ("oil", ""), ""),
        (UserRecord(model="ink"), Request("a", model="wax"), ("ink", ""), "wax"),
        (UserRecord(), Request("a", model="ink", lora="hat"), ("ink", ""), "hat"),
    ],
)
def test_what_draws_a_request(user: UserRecord, request_: Request, drawn, gone: str) -> None:
    settled, lost = ModelChoice(BOTH).settle(7, user, request_)
    assert ((settled.model, settled.lora), lost) == (drawn, gone)


# What users see.


def test_a_user_chooses_a_model_by_button_and_by_text_and_it_lasts(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        shown = answer(ana, "/model")
        assert "The model oil draws for you" in shown["text"]
        assert "ink: 32 × 32 pixels, LoRAs: none" in shown["text"]
        assert list(buttons(shown)) == ["oil", "ink", "Let the bot choose"]
        assert "/model which model draws for you" in answer(ana, "/help")["text"]
        ana.presses(shown, "ink")
        ana.waits_for("From now on the model ink draws for you.")
        assert "dibuja para ti el modelo ink" in answer(eva, "/model INK")["text"]
        first = picture(ana, "a cat --seed 1")
        assert "7 steps" in first["caption"], "the settings are those of the user's model"
        assert first["caption"].endswith("model ink")
        served.stop()
        served.start()
        assert picture(eva, "un gato --semilla 2")["caption"].endswith("modelo ink")
        assert "ink ✓" in buttons(answer(ana, "/model"))
        assert "as you chose" in answer(ana, "/model")["text"]
        assert "for you that is oil" in answer(ana, "/model auto")["text"]
        assert picture(ana, "a dog --seed 3")["caption"].endswith("model oil")
        assert served.painter.drawn == [[("ink", "")], [("ink", "")], [("oil", "")]]
        history = answer(ana, "/history")["text"]
        assert "a cat · 1 · ink · sent" in history
        assert "a dog · 3 · oil · sent" in history


def test_a_lora_is_chosen_and_goes_with_its_model(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana = served.person()
        shown = answer(ana, "/lora")
        assert list(buttons(shown)) == ["hat", "Without a LoRA ✓"]
        ana.presses(shown, "hat")
        ana.waits_for("From now on I draw with the LoRA hat on the model oil.")
        assert picture(ana, "a cat")["caption"].endswith("model oil · LoRA hat")
        assert "There are: hat" in answer(ana, "/lora scarf")["text"]
        assert "so you have none now" in answer(ana, "/model ink")["text"]
        assert "no LoRA for the model ink" in answer(ana, "/lora")["text"]
        assert "hat is for the model oil, and ink draws for you" in answer(ana, "/lora hat")["text"]
        assert picture(ana, "a dog")["caption"].endswith("model ink")
        answer(ana, "/model oil")
        answer(ana, "/lora hat")
        assert "without a LoRA" in answer(ana, "/lora none")["text"]
        assert served.painter.drawn == [[("oil", "hat")], [("ink", "")]]


def test_a_name_that_is_none_and_a_bot_with_one_model_are_said(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        found = answer(served.person("Eva", "es"), "/model <b>acuarela</b>")["text"]
        assert found.startswith("No tengo ningún modelo «<b>acuarela</b>». Hay: oil, ink.")
    with serving(tmp_path) as served:
        ana = served.person()
        assert "one model, painter" in answer(ana, "/model")["text"]
        assert "no LoRA for the model painter" in answer(ana, "/lora hat")["text"]
        assert "/model" not in answer(ana, "/help")["text"], "there is nothing to choose"


def test_a_button_of_a_model_that_is_gone_is_refused(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana = served.person()
        shown = answer(ana, "/model")
        ana.presses(shown, data=f"model:{key_of('wax')}")
        wait_until(lambda: "no longer offered" in str(served.server.calls[-1].parameters))
        assert served.parts.store.people.load_user(ana.id).model == ""


def test_a_model_that_is_taken_off_the_list_is_told_once_and_another_draws(tmp_path: Path) -> None:
    with offering(tmp_path, Catalogue({"oil": "oil", "wax": "wax"})) as served:
        ana, store = served.person(), served.parts.store
        answer(ana, "/model wax")
        assert picture(ana, "a cat --seed 1")["caption"].endswith("model wax")
        served.stop()
        served.parts = replace(served.parts, catalogue=BOTH)
        served.start()
        ana.says("a dog")
        told = ana.waits_for("wax is no longer offered, so I draw this with oil.")
        assert ana.waits_for(is_picture, after=told)["caption"].endswith("model oil")
        assert store.people.load_user(ana.id).model == ""
        told_once = [one for one in ana.messages if "no longer" in one.get("text", "")]
        picture(ana, "a fox")
        assert [one for one in ana.messages if "no longer" in one.get("text", "")] == told_once


def test_a_job_that_waited_for_a_model_that_is_gone_is_drawn_by_another(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana = served.person()
        answer(ana, "/model ink")
        served.painter.step_s = 0.3
        for wish in ("a cat --steps 20", "a dog --steps 7"):
            ana.says(wish)
        wait_until(lambda: len(served.parts.store.jobs.history(ana.id)) == 2)
        served.stop()
        served.parts = replace(served.parts, catalogue=Catalogue({"oil": "oil"}))
        served.painter.step_s = 0.0
        served.start()
        ana.waits_for("ink is no longer offered, so I draw this with oil.")
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 2, 20)
        assert {one.request.model for one in served.parts.store.jobs.history(ana.id)} == {"oil"}


def test_requests_of_different_models_never_share_a_batch(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        people = [served.person(f"P{number}") for number in range(4)]
        for number, one in enumerate(people):
            answer(one, f"/model {('oil', 'ink')[number % 2]}")
            if number == 2:
                answer(one, "/lora hat")
        served.painter.step_s = 0.3
        for one in people:
            one.says("a cat --steps 4")
        for one in people:
            one.waits_for(is_picture, timeout_s=20)
        assert all(len(set(batch)) == 1 for batch in served.painter.drawn)
        assert sorted({pair for batch in served.painter.drawn for pair in batch}) == [
            ("ink", ""),
            ("oil", ""),
            ("oil", "hat"),
        ]


def test_outlines_are_followed_only_by_a_model_that_can(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        cards = served.painter.cards
        served.painter.cards = cards | {"ink": replace(cards["ink"], has_control=True)}
        served.painter.has_control = True
        ana, photo = served.person(), Image.new("RGB", (64, 64), "red")
        told = answer(ana, "a bear --control outline", photo=photo)["text"]
        assert "oil" in told
        assert "--control" not in answer(ana, "/help")["text"]
        answer(ana, "/model ink")
        assert "--control" in answer(ana, "/help")["text"]
        shown = picture(ana, "a bear --control outline", photo=photo)
        assert shown["caption"].endswith("model ink")


def test_forget_deletes_the_choice_and_the_thumbs(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana = served.person()
        answer(ana, "/model ink")
        shown = picture(ana, "a cat --seed 1")
        ana.presses(shown, "👍")
        wait_until(lambda: served.parts.store.outcomes.by_model()[0].votes == 1)
        ana.presses(answer(ana, "/forget"), data="forget:")
        ana.waits_for("I keep nothing about you any more")
        assert served.parts.store.people.load_user(ana.id) == UserRecord()
        with served.parts.store.database.begin() as connection:
            for table in ("votes", "jobs", "buttons", "users"):
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
        ana.presses(shown, "👎")
        wait_until(lambda: "/start" in str(served.server.calls[-1].parameters))


# Thumbs.


def thumbs_of(message) -> list[str]:
    return [one["text"] for one in message["reply_markup"]["inline_keyboard"][-1]]


def test_a_user_has_one_thumb_a_picture_and_may_change_it(tmp_path: Path) -> None:
    metrics = ModelMetrics()
    with offering(tmp_path, model_metrics=metrics) as served:
        ana = served.person()
        shown = picture(ana, "a cat")

        def seen() -> list[str]:
            there = (one for one in ana.messages if one["message_id"] == shown["message_id"])
            return thumbs_of(next(there))

        assert seen() == ["👍", "👎"]
        for pressed, then in (
            ("👍", ["👍 ✓", "👎"]),
            ("👎", ["👍", "👎 ✓"]),
            ("👎", ["👍", "👎 ✓"]),
        ):
            ana.presses(shown, data=buttons(shown)[pressed])
            wait_until(lambda then=then: seen() == then)
        (outcome,) = served.parts.store.outcomes.by_model()
        assert (outcome.model, outcome.ups, outcome.votes) == ("oil", 0, 1)


def test_nobody_votes_on_a_picture_in_another_users_chat(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana, mallory = served.person(), served.person("Mallory")
        shown, theirs = picture(ana, "a cat"), picture(mallory, "a dog")
        vote = buttons(shown)["👍"]
        for data in (vote, "vote:", "vote:+", "vote:' OR 1=1 --+", "vote:deadbeef-"):
            mallory.presses(theirs, data=data)
            wait_until(
                lambda: "no longer know that picture" in str(served.server.calls[-1].parameters)
            )
        store = served.parts.store
        assert sum(one.votes for one in store.outcomes.by_model()) == 0
        job = store.jobs.history(ana.id)[0]
        assert store.outcomes.vote(job.id, mallory.id, job.chat_id, is_up=True) == "not_yours"


def test_in_a_group_everybody_who_has_agreed_votes_once(tmp_path: Path) -> None:
    with offering(tmp_path) as served:
        ana, eva = served.person(), served.person("Eva", "es")
        stranger = served.server.user("Sam", "en")
        group = Group(served.server)
        group.hears(ana, "/draw a cat")
        shown = group.seen.waits_for(is_picture)
        up, down = (buttons(shown)[one] for one in "👍👎")

        def seen() -> list[str]:
            there = (m for m in group.seen.messages if m["message_id"] == shown["message_id"])
            return thumbs_of(next(there))

        group.presses(ana, shown, up)
        group.presses(eva, shown, up)
        wait_until(lambda: seen() == ["👍 2", "👎"])
        group.presses(eva, shown, down)
        wait_until(lambda: seen() == ["👍 1", "👎 1"])
        group.presses(stranger, shown, up)
        wait_until(lambda: "/start" in str(served.server.calls[-1].parameters))
        (outcome,) = served.parts.store.outcomes.by_model()
        assert (outcome.ups, outcome.votes) == (1, 2)


# What admins see.


def test_stats_compare_the_models_with_intervals_and_by_lot_only(tmp_path: Path) -> None:
    metrics = ModelMetrics()
    with offering(tmp_path, LOT, model_metrics=metrics) as served:
        boss = served.person("Boss")
        served.stop()
        served.parts = replace(served.parts, admins=(boss.id,))
        served.start()
        ink = next(p for p in (served.person(f"P{n}") for n in range(60)) if lot(p) == "ink")
        for wish in ("a cat", "a volcano", "explode", "a dog"):
            ink.says(wish)
        wait_until(lambda: sum(map(is_picture, ink.messages)) == 2, 20)
        shown = next(filter(is_picture, ink.messages))
        ink.presses(shown, "👍")
        ink.presses(shown, data=buttons(shown)["🎲 Another seed"])
        wait_until(lambda: sum(map(is_picture, ink.messages)) == 3)
        answer(ink, "/model oil")
        picture(ink, "a fox")  # chosen, so it is no part of the comparison
        wait_until(lambda: served.parts.store.counts().get(StoredJobState.SENT) == 4)
        told = answer(boss, "/stats")["text"]
        low, high = (round(100 * one) for one in wilson_interval(1, 4))
        line = f"ink: 3 sent, 1 withheld ({low} to {high}%), 1 failed, asked again by a button 1"
        assert line in told
        assert "👍 1 of 1 (21 to 100%)" in told
        by_model, by_lot = told.split("A/B, only users whose model was drawn by lot")
        assert "oil: 1 sent" in by_model
        assert "oil 20%, ink 80%" in by_lot
        assert "oil: " not in by_lot.replace("oil 20%", "")
        assert line in by_lot


def lot(person) -> str:
    return LOT.assigned(person.id)


def test_outcomes_are_counted_for_prometheus_by_model(tmp_path: Path) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    with offering(tmp_path, model_metrics=ModelMetrics(registry)) as served:
        ana = served.person()
        shown = picture(ana, "a cat")
        ana.presses(shown, "👎")
        ana.presses(shown, data=buttons(shown)["🎲 Another seed"])
        wait_until(lambda: sum(map(is_picture, ana.messages)) == 2)
        ana.says("a volcano")
        ana.waits_for("flagged this picture")
        wait_until(lambda: served.parts.store.counts().get(StoredJobState.SENT) == 2)
    found = samples(generate_latest(registry).decode())
    assert found["sdlesson_model_jobs_ended_total", "oil", "sent"] == 2
    assert found["sdlesson_model_jobs_ended_total", "oil", "flagged"] == 1
    assert found["sdlesson_model_again_total", "oil"] == 1
    assert found["sdlesson_model_votes_total", "oil", "down"] == 1


# What the operator writes.


def settings(monkeypatch, **named: str):
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456789:" + "a" * 35)
    for name, value in named.items():
        monkeypatch.setenv(f"SDLESSON_BOT_{name.upper()}", value)
    return load_configuration()


def test_the_operators_list_is_read_from_the_settings(monkeypatch, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    found = settings(
        monkeypatch,
        models=f'["pocket", "{folder}"]',
        loras='{"rex": {"file": "rex.safetensors", "scale": 0.5}}',
        ab_share=f'{{"{folder}": 0.25, "pocket": 0.75}}',
    )
    catalogue = read_catalogue(found)
    assert catalogue.sources == {"pocket": "pocket", "mine": str(folder)}
    assert catalogue.loras == {"rex": OfferedLora(Path("rex.safetensors"), "pocket", 0.5)}
    assert catalogue.ab_share == {"mine": 0.25, "pocket": 0.75}


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"ab_share": '{"pocket": 0.5, "wax": 0.5}'}, r"ab_share has 'wax'.*take two of those"),
        ({"ab_share": '{"pocket": 1.0}'}, "must give two models shares above 0"),
        ({"models": '["pocket","sd15"]', "ab_share": '{"pocket": 0.5, "sd15": 0.6}'}, "make 1"),
        ({"models": '["pocket","sd15"]', "ab_share": '{"pocket": 0, "sd15": 1}'}, "above 0"),
        ({"loras": '{"a hat": {"file": "x"}}'}, "has 'a hat', which users cannot write"),
        ({"loras": '{"None": {"file": "x"}}'}, "has 'None', which users cannot write"),
        ({"loras": '{"hat": {"file": "x", "model": "wax"}}'}, "loras.hat.model is 'wax'"),
        ({"loras": '{"hat": {}}'}, "loras.hat.file is missing"),
        ({"models_in_memory": "0"}, "models_in_memory"),
        ({"cache_mb": "-1"}, "cache_mb"),
    ],
)
def test_what_cannot_be_offered_is_said_in_one_line(monkeypatch, named: dict, sentence) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(monkeypatch, **named)
    assert "\n" not in str(refused.value)
    assert re.search(sentence, str(refused.value)), refused.value


def test_two_models_that_users_could_not_tell_apart_are_refused(monkeypatch, tmp_path) -> None:
    for name in "ab":
        (tmp_path / name / "mine").mkdir(parents=True)
    models = f'["{tmp_path}/a/mine", "{tmp_path}/b/mine"]'
    with pytest.raises(ValueError, match="would both know as 'mine'"):
        read_catalogue(settings(monkeypatch, models=models))
