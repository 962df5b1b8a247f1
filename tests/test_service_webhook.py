"""Updates that are brought: over real HTTP, by the right one, once."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from fixtures_service import Served, serving
from fixtures_talk import is_picture, wait_until
from sdlesson.bot_service.webhook import MAX_BODY_BYTES, SECRET_HEADER, WebhookSettings

SECRET = "the-secret-of-this-test_0123456789"
SETTINGS = WebhookSettings("https://bot.example/telegram/x.y", SECRET, port=0)


class Telegram:
    """Brings updates as Telegram does."""

    def __init__(self, served: Served) -> None:
        self.served, self.brought = served, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.run.webhook.port}/telegram/x.y"

    def post(self, body: bytes, secret: str | None = SECRET, url: str = "") -> int:
        headers = {"Content-Type": "application/json"}
        headers |= {} if secret is None else {SECRET_HEADER: secret}
        with httpx.Client(trust_env=False) as client:
            return client.post(url or self.url, content=body, headers=headers).status_code

    def bring(self) -> list[int]:
        """Bring what people did since the last time."""
        new = self.served.server.updates[self.brought :]
        self.brought += len(new)
        return [self.post(json.dumps(one).encode()) for one in new]


@pytest.fixture
def telegram(tmp_path: Path) -> Iterator[Telegram]:
    with serving(tmp_path, webhook=SETTINGS) as served:
        yield Telegram(served)


def agree(telegram: Telegram, person) -> None:
    person.says("/start")
    telegram.bring()
    welcome = person.waits_for("What I keep")
    person.presses(welcome, data="agree:")
    telegram.bring()
    person.waits_for("/help", after=welcome)


def test_a_picture_is_drawn_for_an_update_that_is_brought_and_once_only(telegram) -> None:
    ana = telegram.served.server.user("Ana")
    agree(telegram, ana)
    ana.says("a cat")
    assert telegram.bring() == [200]
    assert telegram.post(json.dumps(telegram.served.server.updates[-1]).encode()) == 200
    ana.waits_for(is_picture)
    ana.says("a dog")
    telegram.bring()
    ana.waits_for(lambda one: is_picture(one) and one["caption"].startswith("a dog"))
    assert sum(map(is_picture, ana.messages)) == 2
    told = [one for one in telegram.served.server.calls if one.method == "setWebhook"][-1]
    assert told.parameters["url"] == SETTINGS.url
    assert told.parameters["secret_token"] == SECRET


@pytest.mark.parametrize(
    "secret", [None, "", SECRET[:-1], SECRET + "x", SECRET.upper(), "ñ" * len(SECRET)]
)
def test_without_the_secret_nothing_is_taken(telegram, secret: str | None) -> None:
    body = json.dumps({"update_id": 5, "message": {}}).encode()
    if secret and not secret.isascii():
        secret = secret.encode().decode("latin-1")
    headers = {} if secret is None else {SECRET_HEADER: secret.encode("latin-1")}
    with httpx.Client(trust_env=False) as client:
        assert client.post(telegram.url, content=body, headers=headers).status_code == 403
    assert telegram.served.parts.store.inbox.unhandled() == []


@pytest.mark.parametrize("secret", ["", "a", "short", "ñ" * 20])
def test_a_webhook_without_a_secret_that_is_one_is_not_opened(secret: str) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        WebhookSettings("https://bot.example/x", secret)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"update_id": "5"}', b'{"update_id": true}', b"[" * 9999]
)
def test_what_is_no_update_is_refused(telegram, body: bytes) -> None:
    assert telegram.post(body) == 400


def test_an_update_that_cannot_be_read_is_taken_once_and_left_out(telegram) -> None:
    assert telegram.post(b'{"update_id": 5, "message": {"text": 7}}') == 200
    ana = telegram.served.server.user("Ana")
    agree(telegram, ana)


def test_other_addresses_and_large_bodies_are_refused(telegram) -> None:
    assert telegram.post(b"{}", url=telegram.url.replace("x.y", "xzy")) == 404
    body = b'{"update_id": 5, "x": "' + b"x" * MAX_BODY_BYTES + b'"}'
    with suppress(httpx.TransportError):  # hung up on, before all of it was read
        assert telegram.post(body) >= 400
    assert telegram.served.parts.store.inbox.unhandled() == []


def test_while_the_store_is_locked_telegram_is_asked_to_come_again(telegram, tmp_path) -> None:
    ana = telegram.served.server.user("Ana")
    agree(telegram, ana)
    other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ana.says("a cat")
    assert telegram.bring() == [503]
    other.execute("ROLLBACK")
    other.close()
    telegram.brought -= 1
    assert telegram.bring() == [200]
    assert ana.waits_for(is_picture)
    wait_until(lambda: telegram.served.parts.store.inbox.unhandled() == [])
