"""What the bot and its workers say to each other, and under which keys of Redis.

Everything is JSON and PNG: a pickle would let whoever can write into Redis run code in a worker.

A batch has these keys, and all of them expire by themselves should nobody delete them:

| key | written by | says |
|---|---|---|
| requests | bot | what to draw |
| orders | bot, again every second | which attempt counts, and which pictures are cancelled |
| claim:N | worker | attempt N is taken, so the same message delivered twice is drawn once |
| pulse | worker, again every second | somebody draws it at this moment |
| news | worker | a stream: each step, then the pictures or why there are none |

So nothing is lost and nothing is sent twice. A worker that is killed leaves a batch without a
pulse, and the bot asks again, as the next attempt. A worker that was only frozen finds another
attempt in the orders when it wakes up, and stops. Seeds are chosen before, so each attempt draws
the same pictures; the bot, which alone talks to users, takes the first that come.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from celery import Celery
from PIL import Image
from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError

from sdlesson.bot.requests import Request

if TYPE_CHECKING:
    from sdlesson.bot.generator import Result

Json: TypeAlias = dict[str, Any]
Client: TypeAlias = Any  # of Redis; its own annotations allow for awaitables in every answer

PREFIX = "sdlesson"
TASK = "sdlesson.draw"
KEEP_S = 3600  # how long a batch's keys may outlive both sides
AWAY = (ConnectionError, TimeoutError, OSError)  # Redis cannot be reached just now
CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Timing:
    """How patient the two sides are with each other, in seconds.

    Attributes:
        beat_s: Between two signs of life.
        lost_s: Without a worker's sign for so long, its batch goes to another.
        lease_s: Without the bot's orders for so long, a worker stops: nobody waits any more.
        redeliver_s: After which Redis hands an unfinished message to another worker as well. It
            may be shorter than the longest batch: who gets the message finds it claimed.
    """

    beat_s: float = 1.0
    lost_s: float = 10.0
    lease_s: float = 60.0
    redeliver_s: float = 120.0


@dataclass(frozen=True)
class Orders:
    """What the bot wants of a batch now: of which attempt, and without which pictures."""

    attempt: int
    cancelled: frozenset[int] = frozenset()

    def pack(self) -> str:
        """Write them for Redis."""
        return json.dumps({"attempt": self.attempt, "cancelled": sorted(self.cancelled)})

    @classmethod
    def unpack(cls, packed: bytes) -> Orders:
        """Read what `pack` wrote."""
        read = json.loads(packed)
        return cls(read["attempt"], frozenset(read["cancelled"]))


def connect(url: str) -> Client:
    """Make a client of Redis, which connects at its first call and again after each outage."""
    return Redis.from_url(
        url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S
    )


def make_celery(url: str, timing: Timing) -> Celery:
    """Set Celery up as both sides need it."""
    app = Celery("sdlesson", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,  # results go their own way, with previews and steps
        task_acks_late=True,  # a message is done with when its batch is, not when it was fetched
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,  # or one worker hoards what another could draw
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # an outage may last
        broker_transport_options={
            "visibility_timeout": timing.redeliver_s,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": ANSWER_TIMEOUT_S,
        },
    )
    return app


def batch_key(batch_id: str, part: str) -> str:
    """Name one key of a batch."""
    return f"{PREFIX}:batch:{batch_id}:{part}"


def worker_key(queue: str, name: str) -> str:
    """Name the key under which a worker says that it is there; `*` as a name finds all."""
    return f"{PREFIX}:worker:{queue}:{name}"


def models_key(queue: str) -> str:
    """Name the key under which the latest worker of a queue left the cards of its models."""
    return f"{PREFIX}:models:{queue}"


def queue_name(queue: str) -> str:
    """Name the list in which Celery keeps a queue's messages."""
    return f"{PREFIX}-{queue}"


def pack_requests(requests: Iterable[Request], context: Mapping[str, Any]) -> str:
    """Write the requests of a batch, and what is to stand on each log line about it."""
    packed = [
        {field.name: _packed(getattr(request, field.name)) for field in fields(request)}
        for request in requests
    ]
    return json.dumps({"requests": packed, "context": dict(context)})


def unpack_requests(packed: bytes) -> tuple[list[Request], Json]:
    """Read what `pack_requests` wrote."""
    read = json.loads(packed)
    requests = [
        Request(**one | {"photo": one["photo"] and unpack_image(one["photo"])})
        for one in read["requests"]
    ]
    return requests, read["context"]


def pack_result(result: Result | None) -> Json | None:
    """Write a result but for its request, which the bot has."""
    if result is None:
        return None
    drawing = {name: _packed(value) for name, value in vars(result.drawing).items()}
    unknown = [[word.word, list(word.suggestions)] for word in result.unknown]
    return {
        "drawing": drawing,
        "unknown": unknown,
        "cut": result.cut,
        "seconds": result.seconds,
        "weights": result.weights,
    }


def unpack_result(packed: Json | None, request: Request) -> Result | None:
    """Read what `pack_result` wrote."""
    from sdlesson.bot.generator import Result
    from sdlesson.drawing import Drawing
    from sdlesson.prompts import Unknown

    if packed is None:
        return None
    image = unpack_image(packed["drawing"]["image"])
    return Result(
        drawing=Drawing(**packed["drawing"] | {"image": image}),
        request=request,
        unknown=tuple(Unknown(word, tuple(near)) for word, near in packed["unknown"]),
        cut=packed["cut"],
        seconds=packed["seconds"],
        weights=packed["weights"],
    )


def pack_image(image: Image.Image) -> str:
    """Write a picture without loss."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # a larger one is sooner sent than compressed
    return base64.b64encode(file.getvalue()).decode()


def unpack_image(packed: str) -> Image.Image:
    """Read what `pack_image` wrote."""
    image = Image.open(io.BytesIO(base64.b64decode(packed)))
    image.load()
    return image


def _packed(value: Any) -> Any:
    return pack_image(value) if isinstance(value, Image.Image) else value
