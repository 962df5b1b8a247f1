"""A generator without a model: one plain colour for each seed, at the pace that a test needs."""

import random
import time
from collections.abc import Hashable, Sequence
from dataclasses import replace

from PIL import Image

from sdlesson.bot.generator import IsCancelled, OnStep, Result
from sdlesson.bot.requests import Defaults, Request
from sdlesson.drawing import Drawing

FAILING, FLAGGED = "explode", "volcano"  # in a prompt


class Painter:
    """Draws at once or as slowly as asked, fails on one word and flags another."""

    model = "painter"

    def __init__(self, step_s: float = 0.0, size: int = 32, *, has_control: bool = False) -> None:
        self.defaults, self.size, self.step_s = Defaults(num_inference_steps=5), size, step_s
        self.has_control = has_control
        self.batches: list[list[str]] = []
        self.requests: list[Request] = []

    def batch_key(self, request: Request) -> Hashable:
        edit = (request.photo is None, request.control, request.widen)
        return (request.num_inference_steps, *edit)

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> list[Result | None]:
        self.batches.append([request.prompt for request in requests])
        self.requests += requests
        numbers, steps = range(len(requests)), requests[0].steps_to_take
        for step in range(1, steps + 1):
            time.sleep(self.step_s)
            if any(FAILING in request.prompt for request in requests):
                raise RuntimeError("the paint exploded")
            on_step(step, steps, {0: self._paint(requests[0])})
            if all(is_cancelled(number) for number in numbers):
                break
        results = [self._result(request) for request in requests]
        return [
            None if is_cancelled(number) else result
            for number, result in zip(numbers, results, strict=True)
        ]

    def _paint(self, request: Request) -> Image.Image:
        seed = request.seed or 0
        blue = len(request.prompt + request.control + request.widen)
        blue += sum(request.photo.getpixel((0, 0))) if request.photo else 0
        colour = (seed % 256, seed // 256 % 256, blue % 256)
        return Image.new("RGB", (self.size, self.size), colour)

    def _result(self, request: Request) -> Result:
        drawing = Drawing(
            image=self._paint(request),
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=request.seed or 0,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            scheduler="Painter",
            model=self.model,
            flagged=FLAGGED in request.prompt,
        )
        return Result(drawing, replace(request, seed=request.seed or 0))


FRAGMENTS = (
    *(
        "a cat",
        "un perro en la playa",
        "👩🏽‍🚀",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "猫",
        "قطة",
        "חתול",
        "ﷺ",
        "e\u0301" * 9,
        "z̷̢̛" * 5,
        "\u3164",
    ),
    *(
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\x00",
        "\x1b[31m",
        "\ud83d",
        "\ue000",
        "\u2028",
    ),
    *(
        "--steps",
        "—pasos",
        "–cfg=",
        "--guía",
        "--seed:",
        "--no",
        "--sin",
        "--fuerza",
        "--",
        "—",
        "---",
    ),
    *("--stpes", "--ar 16:9", "--_", "--é", "--🐈", "--no-hat", "--STEPS", "-steps", "steps=3"),
    *(
        "30",
        "0",
        "-1",
        "1e3",
        "nan",
        "inf",
        "9" * 400,
        "7,5",
        "7.5.5",
        "½",
        "٣",
        "२५",
        "0x10",
        "+7",
        "1_0",
    ),
    *(
        "<b>",
        "</i>",
        "&amp;",
        "*_`[",
        "{}",
        "%s%n",
        "$(reboot)",
        "../../etc",
        "'; --",
        "\\",
        '"',
        "\n",
        "\t",
    ),
)


def odd_texts(count: int = 500, *, seed: int = 0, max_chars: int = 4096) -> list[str]:
    """Texts that people and their phones send, and those that try to break a bot."""
    whole = ["", " ", "--", "-- --", "a" * max_chars, "🐈" * max_chars, "--no " * (max_chars // 5)]
    whole += ["-" * max_chars, "--a" * (max_chars // 3), "\u202e" * max_chars, *FRAGMENTS]
    dice = random.Random(seed)
    while len(whole) < count:
        glue = dice.choice(("", " ", " ", " ", "\n"))
        pieces = dice.choices(FRAGMENTS, k=dice.choice((2, 3, 5, 9, 200)))
        whole.append(glue.join(pieces)[:max_chars])
    return whole[:count]
