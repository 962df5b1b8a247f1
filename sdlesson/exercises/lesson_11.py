"""What lesson 11 asks, and what usually goes wrong."""

import math
from collections.abc import Callable
from typing import Any

from sdlesson.exercises.checking import Case, Mistake, Verdict, check_function
from sdlesson.language import say

ENDS = {"accepted": "draw", "running": "tell", "sending": "tell", "sent": "nothing"}
MOST_TRIES = 40  # times what is needed: the right way, the wrong ways and the student's together


def after_kill(answer: Callable[..., Any]) -> Verdict:
    """Exercise 1: what a new process does with what a killed one left."""
    return check_function(
        answer,
        lambda state: ENDS[state],
        [Case(f"state={state!r}", (state,)) for state in ENDS],
        name="11.1",
        mistakes=[
            Mistake(
                lambda state: (ENDS | {"running": "draw"})[state],
                say(
                    "A running job may be what the bot died of: drawn again, it kills it again.",
                    "Puede que el bot muriera por el trabajo en marcha: lo mataría otra vez.",
                ),
            ),
            Mistake(
                lambda state: (ENDS | {"running": "draw", "sending": "draw"})[state],
                say(
                    "What was being sent may have arrived: drawn again, it comes twice. And what "
                    "was running may be what the bot died of.",
                    "Lo que se enviaba quizá llegó: si lo dibujas, llega dos veces. Y quizá el bot "
                    "murió por lo que estaba en marcha.",
                ),
            ),
            Mistake(
                lambda state: (ENDS | {"running": "nothing", "sending": "nothing"})[state],
                say(
                    "Then whoever waited for these never hears of them again.",
                    "Entonces quien los esperaba no vuelve a saber de ellos.",
                ),
            ),
            Mistake(
                lambda state: (ENDS | {"sent": "tell"})[state],
                say(
                    "A picture that was sent needs no word: its user has it.",
                    "De una imagen enviada no hay nada que avisar: ya la tiene quien la pidió.",
                ),
            ),
            Mistake(
                lambda state: (ENDS | {"accepted": "tell"})[state],
                say(
                    "A job that was not begun can be drawn without any risk.",
                    "Un trabajo sin empezar se puede dibujar sin ningún riesgo.",
                ),
            ),
        ],
        hints=[
            say(
                "Ask of each state: can the picture be in the chat already?",
                "Pregúntate en cada estado: ¿puede estar ya la imagen en el chat?",
            ),
            say(
                "Only one of the four has surely not been begun, and only one is surely done.",
                "Solo uno de los cuatro seguro que no ha empezado, y solo uno está hecho seguro.",
            ),
            say(
                'accepted: "draw"; sent: "nothing"; of the two between, the user is told.',
                'accepted: "draw"; sent: "nothing"; de los dos de en medio se avisa.',
            ),
        ],
    )


def at_most(answer: Callable[..., Any]) -> Verdict:
    """Exercise 2: the most requests that one user gets through."""
    cases = [
        Case(f"seconds={s}, burst={b}, per_minute={r}, daily={d}", (s, b, r, d))
        for s, b, r, d in ((0, 5, 6, 50), (35, 5, 6, 50), (135, 2, 3, 50), (86_400, 5, 6, 50))
    ]
    return check_function(
        answer,
        lambda s, b, r, d: min(d, int(b + s * r / 60)),
        cases,
        name="11.2",
        mistakes=[
            Mistake(
                lambda s, b, r, d: min(d, int(s * r / 60)),
                say(
                    "The bucket is full at the beginning: `burst` requests are taken at once.",
                    "El cubo empieza lleno: se aceptan `burst` peticiones en el acto.",
                ),
            ),
            Mistake(
                lambda s, b, r, d: int(b + s * r / 60),
                say(
                    "The day has an end, too: no more than `daily`.",
                    "También el día tiene un límite: no más de `daily`.",
                ),
            ),
            *(
                Mistake(
                    lambda s, b, r, d, whole=whole: min(d, whole(b + s * r / 60)),
                    say(
                        "Only whole tokens count: with half of one, nobody gets a picture.",
                        "Solo cuentan las fichas enteras: con media no se obtiene ninguna imagen.",
                    ),
                )
                for whole in (float, round, math.ceil)
            ),
            Mistake(
                lambda s, b, r, d: max(d, int(b + s * r / 60)),
                say(
                    "Two limits hold at once, so it is the smaller of the two: min(...).",
                    "Los dos límites valen a la vez, así que cuenta el menor: min(...).",
                ),
            ),
            Mistake(
                lambda s, b, r, d: min(d, b, int(s * r / 60)),
                say(
                    "The burst is not a limit for ever: what is gained later is added to it.",
                    "La ráfaga no es un tope para siempre: se le suma lo que se gana después.",
                ),
            ),
            Mistake(
                lambda s, b, r, d: min(d, int(b + s * r)),
                say(
                    "`per_minute` is gained in a minute, not in a second.",
                    "`per_minute` se gana en un minuto, no en un segundo.",
                ),
            ),
        ],
        hints=[
            say(
                "How many tokens have there been in all, those of the beginning included?",
                "¿Cuántas fichas ha habido en total, contando las del principio?",
            ),
            say(
                "burst at the beginning, and per_minute / 60 of them in each second after.",
                "burst al principio y, después, per_minute / 60 en cada segundo.",
            ),
            say(
                "min(daily, ...) of the whole part, int(...), of that number.",
                "min(daily, ...) de la parte entera, int(...), de ese número.",
            ),
        ],
    )


def break_in(answer: Callable[..., Any]) -> Verdict:
    """Exercise 3: a secret found by what its comparison gives away."""
    asked = (("cab", "abc"), ("planet", "abcdefghijklmnopqrstuvwxyz"), ("7041", "0123456789"))
    cases = [
        Case(
            f"alphabet={alphabet!r}, length={len(secret)}",
            (_leak(secret, alphabet), alphabet, len(secret)),
        )
        for secret, alphabet in asked
    ]
    return check_function(
        answer,
        _break_in,
        cases,
        name="11.3",
        mistakes=[
            Mistake(
                RuntimeError(_locked()),
                say(
                    "Trying whole secrets takes far too many guesses: open the lock letter by "
                    "letter.",
                    "Probar secretos enteros exige demasiados intentos: abre la cerradura letra a "
                    "letra.",
                ),
            ),
            Mistake(
                lambda leak, alphabet, length: next(s for s in alphabet if leak(s) > 0) * length,
                say(
                    "A letter alone only tells of the first place: put what you know before it.",
                    "Una letra suelta solo informa del primer lugar: pon delante lo que ya sabes.",
                ),
            ),
            Mistake(
                _break_in_by_as_many,
                say(
                    "As many right letters as before are not more: the new one must add one.",
                    "Tantas letras correctas como antes no son más: la nueva tiene que sumar uno.",
                ),
            ),
            Mistake(
                lambda leak, alphabet, length: _break_in(leak, alphabet, length)[:-1],
                say(
                    "All is right but its end: the last letter is missing.",
                    "Todo está bien menos el final: falta la última letra.",
                ),
            ),
            Mistake(
                lambda leak, alphabet, length: list(_break_in(leak, alphabet, length)),
                say(
                    'Those are its letters in a list: "".join(...) makes the secret of them.',
                    'Esas son sus letras en una lista: "".join(...) hace de ellas el secreto.',
                ),
            ),
            Mistake(
                lambda leak, alphabet, length: _break_in(leak, alphabet, length)[::-1],
                say(
                    "It is written backwards: put each new letter behind what is known.",
                    "Está escrito al revés: pon cada letra nueva detrás de lo que ya sabes.",
                ),
            ),
        ],
        hints=[
            say(
                "Find the first letter alone. How can you tell which one it is?",
                "Busca solo la primera letra. ¿Cómo sabes cuál es?",
            ),
            say(
                "Keep what is known, and try each letter behind it: leak(known + letter).",
                "Guarda lo que sabes y prueba detrás cada letra: leak(conocido + letra).",
            ),
            say(
                "The right one is that for which leak(known + letter) is len(known) + 1.",
                "La correcta es aquella para la que leak(conocido + letra) es len(conocido) + 1.",
            ),
        ],
    )


def pictures_a_minute(answer: Callable[..., Any]) -> Verdict:
    """Exercise 4: what workers and their bot get done."""
    cases = [
        Case(f"workers={workers}, draw_s={draw_s}, bot_s={bot_s}", (workers, draw_s, bot_s))
        for workers, draw_s, bot_s in (
            (1, 1.98, 0.02),
            (2, 1.98, 0.02),
            (9, 0.9, 0.1),
            (500, 2, 1),
            (1, 6.4, 0.6),  # no whole number
        )
    ]
    return check_function(
        answer,
        lambda workers, draw_s, bot_s: 60 * min(workers / (draw_s + bot_s), 1 / bot_s),
        cases,
        name="11.4",
        mistakes=[
            Mistake(
                lambda workers, draw_s, bot_s: 60 * workers / (draw_s + bot_s),
                say(
                    "However many workers there are, the bot hands out one picture each bot_s.",
                    "Por muchos trabajadores que haya, el bot reparte una imagen cada bot_s.",
                ),
            ),
            Mistake(
                lambda workers, draw_s, bot_s: min(workers / (draw_s + bot_s), 1 / bot_s),
                say(
                    "The formula is right for a second; a minute has sixty.",
                    "La fórmula es la de un segundo; un minuto tiene sesenta.",
                ),
            ),
            Mistake(
                lambda workers, draw_s, bot_s: 60 * max(workers / (draw_s + bot_s), 1 / bot_s),
                say(
                    "The slower one decides, so it is the smaller of the two: min(...).",
                    "Decide el más lento, así que cuenta el menor de los dos: min(...).",
                ),
            ),
            Mistake(
                lambda workers, draw_s, bot_s: 60 / bot_s,
                say(
                    "That is the bot's limit alone: a few workers do not reach it.",
                    "Ese es solo el límite del bot: con pocos trabajadores no se alcanza.",
                ),
            ),
            Mistake(
                lambda workers, draw_s, bot_s: 60 / (draw_s / workers + bot_s),
                say(
                    "The bot hands out the next picture while workers draw: the times overlap.",
                    "El bot reparte la siguiente mientras otros dibujan: los tiempos se solapan.",
                ),
            ),
            Mistake(
                lambda workers, draw_s, bot_s: 60 * min(workers / draw_s, 1 / bot_s),
                say(
                    "A worker waits for the bot before each picture: draw_s and bot_s.",
                    "Antes de cada imagen, un trabajador espera al bot: draw_s y bot_s.",
                ),
            ),
            *(
                Mistake(
                    lambda workers, draw_s, bot_s, whole=whole: whole(
                        60 * min(workers / (draw_s + bot_s), 1 / bot_s)
                    ),
                    say(
                        "Do not round: on average, a minute may have a part of a picture.",
                        "No redondees: de media, en un minuto puede salir una parte de imagen.",
                    ),
                )
                for whole in (int, round, math.ceil)
            ),
        ],
        hints=[
            say(
                "First one worker alone: how long from one of its pictures to the next?",
                "Primero un solo trabajador: ¿cuánto pasa de una de sus imágenes a la siguiente?",
            ),
            say(
                "Then the bot alone: how many can it hand out in a minute, to however many?",
                "Luego el bot solo: ¿cuántas puede repartir en un minuto, entre los que sean?",
            ),
            say(
                "60 times the smaller of workers / (draw_s + bot_s) and 1 / bot_s.",
                "60 veces el menor de workers / (draw_s + bot_s) y 1 / bot_s.",
            ),
        ],
    )


def _leak(secret: str, alphabet: str) -> Callable[[str], int]:
    """A comparison that gives away how many letters are right, but not for ever."""
    tries = 0

    def leak(guess: str) -> int:
        nonlocal tries
        tries += 1
        if tries > MOST_TRIES * len(secret) * len(alphabet):
            raise RuntimeError(_locked())
        for right, (ours, theirs) in enumerate(zip(guess, secret, strict=False)):
            if ours != theirs:
                return right
        return min(len(guess), len(secret))

    return leak


def _locked() -> str:
    return say("too many tries: the door is locked now", "demasiados intentos: puerta cerrada")


def _break_in_by_as_many(leak: Callable[[str], int], alphabet: str, length: int) -> str:
    known = ""
    while len(known) < length:
        known += next(letter for letter in alphabet if leak(known + letter) >= len(known))
    return known


def _break_in(leak: Callable[[str], int], alphabet: str, length: int) -> str:
    known = ""
    while len(known) < length:
        known += next(letter for letter in alphabet if leak(known + letter) > len(known))
    return known
