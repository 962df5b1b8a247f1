"""The buttons below the bot's messages. Each carries "verb:argument", which buttons.py reads."""

from __future__ import annotations

from collections.abc import Sequence

from telegram import InlineKeyboardButton as Button
from telegram import InlineKeyboardMarkup as Keyboard

from sdlesson.bot import texts
from sdlesson.bot.queue import Job
from sdlesson.bot.requests import MAX_STEPS, Defaults, Request
from sdlesson.bot.texts import Localizer
from sdlesson.language import LANGUAGES


def consent(localize: Localizer) -> Keyboard:
    """The button below the welcome, which says yes to what is kept."""
    return Keyboard([[Button(localize(texts.AGREE), callback_data="agree:")]])


def below_picture(localize: Localizer, token: str, request: Request) -> Keyboard:
    """What one can do with a picture, whose request is remembered under the token."""
    more = [Button(localize(texts.MORE_STEPS), callback_data=f"steps:{token}")]
    # A variation is a square, to which a picture that was widened would be cropped.
    vary = [Button(localize(texts.VARIATION), callback_data=f"vary:{token}")]
    return Keyboard(
        [
            [
                Button(localize(texts.OTHER_SEED), callback_data=f"seed:{token}"),
                *(more if request.num_inference_steps < MAX_STEPS else []),
            ],
            [
                *([] if request.widen else vary),
                Button(localize(texts.SETTINGS), callback_data="settings:"),
            ],
        ]
    )


def ask_again(localize: Localizer, token: str) -> Keyboard:
    """Below the news that a picture may not have arrived."""
    return Keyboard([[Button(localize(texts.ASK_AGAIN), callback_data=f"again:{token}")]])


def cancel(localize: Localizer, jobs: Sequence[Job], *, numbered: bool = False) -> Keyboard:
    """One button for each job, which cancels it."""
    numbers = [f" {number}" if numbered else "" for number in range(1, len(jobs) + 1)]
    return Keyboard(
        [
            [Button(localize(texts.CANCEL) + number, callback_data=f"cancel:{job.id}")]
            for number, job in zip(numbers, jobs, strict=True)
        ]
    )


def settings(localize: Localizer, defaults: Defaults, *, as_file: bool) -> Keyboard:
    """One row for each setting: a little less, a little more."""
    labels = {
        "steps": localize(texts.STEPS, steps=defaults.num_inference_steps),
        "guidance": localize(texts.GUIDANCE, guidance=float(defaults.guidance_scale)),
        "strength": localize(texts.STRENGTH, strength=float(defaults.strength)),
    }
    rows = [
        [
            Button(f"➖ {label}", callback_data=f"set:{name}-"),
            Button(f"{label} ➕", callback_data=f"set:{name}+"),
        ]
        for name, label in labels.items()
    ]
    state = localize(texts.ON if as_file else texts.OFF)
    file_button = Button(localize(texts.AS_FILE, state=state), callback_data="set:file")
    return Keyboard([*rows, [file_button]])


def with_owner(keyboard: Keyboard | None, owner_id: int) -> Keyboard | None:
    """Name the owner in each button where that is a group or channel, in whose name people write.

    Who presses a button is always a person, whose own things would be meant otherwise.
    """
    if keyboard is None or owner_id > 0:
        return keyboard
    return Keyboard(
        [
            [Button(one.text, callback_data=f"{one.callback_data}@{owner_id}") for one in row]
            for row in keyboard.inline_keyboard
        ]
    )


def languages() -> Keyboard:
    """One button for each language, in its own words."""
    row = [Button(name, callback_data=f"language:{code}") for code, name in LANGUAGES.items()]
    return Keyboard([row])
