"""What lesson 10 asks, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.language import say


def surprise(drawn: Callable[[], list[str]], subjects: list[str], places: list[str]) -> Verdict:
    """Exercise 1: a handler that draws a subject in a place, both by chance.

    Args:
        drawn: Lets four people ask for /surprise, and returns the prompts that were drawn.
        subjects: What may be drawn.
        places: Where.
    """
    together = {f"{subject} {place}" for subject in subjects for place in places}
    turned = {f"{place} {subject}" for subject in subjects for place in places}
    joined = {text.replace(" ", "") for text in together}
    return check(
        drawn,
        lambda found: set(found) <= together and len(set(found)) > 1,
        name="10.1",
        asked=say(
            "a subject and a place for each of the four, and not the same for all",
            "un sujeto y un lugar para cada una de las cuatro, y no lo mismo para todas",
        ),
        mistakes=[
            Mistake(
                lambda found: not found,
                say(
                    "Nothing was drawn: what draws is draw_for(...), with await before it.",
                    "No se dibujó nada: lo que dibuja es draw_for(...), con await delante.",
                ),
            ),
            Mistake(
                lambda found: set(found) <= together,
                say(
                    "Everybody got the same: choose inside the handler, for each call anew.",
                    "A todas les tocó lo mismo: elige dentro del manejador, en cada llamada.",
                ),
            ),
            Mistake(
                lambda found: set(found) <= set(subjects),
                say(
                    "The subject is right; the place is missing behind it.",
                    "El sujeto está bien; detrás falta el lugar.",
                ),
            ),
            Mistake(
                lambda found: set(found) <= set(places),
                say(
                    "The place is right; the subject is missing before it.",
                    "El lugar está bien; delante falta el sujeto.",
                ),
            ),
            Mistake(
                lambda found: {text.replace(" ", "") for text in found} <= joined,
                say(
                    "Between the subject and the place there has to be one space.",
                    "Entre el sujeto y el lugar tiene que haber un espacio.",
                ),
            ),
            Mistake(
                lambda found: set(found) <= turned,
                say("First the subject, then the place.", "Primero el sujeto y luego el lugar."),
            ),
            Mistake(
                lambda found: any("[" in text for text in found),
                say(
                    "That is a whole list: random.choice(...) picks one of it.",
                    "Eso es una lista entera: random.choice(...) elige uno de sus elementos.",
                ),
            ),
        ],
        hints=[
            say(
                "The cell above shows how to choose; the handler above it shows how to draw.",
                "La celda de arriba muestra cómo elegir; el manejador de antes, cómo dibujar.",
            ),
            say(
                "random.choice picks one of a list, anew for each call.",
                "random.choice elige de una lista, de nuevo en cada llamada.",
            ),
            say(
                "await draw_for(update, context, text), where text is a subject, a space, a place.",
                "await draw_for(update, context, texto): un sujeto, un espacio y un lugar.",
            ),
        ],
    )


def departures(answer: Callable[..., Any]) -> Verdict:
    """Exercise 2: when messages leave a token bucket."""
    cases = [
        Case(f"arrivals={arrivals}, per_s={per_s}, size={size}", (arrivals, per_s, size))
        for arrivals, per_s, size in (
            ([0, 0, 0, 0, 9, 9, 9], 1, 2),
            ([0, 0.5, 1, 1], 2, 1),
            ([3, 3], 0.25, 1),
        )
    ]
    return check_function(
        answer,
        _bucket(),
        cases,
        name="10.2",
        mistakes=[
            Mistake(
                _bucket(capped=False),
                say(
                    "Tokens pile up without end: the bucket holds at most `size`.",
                    "Las fichas se amontonan sin fin: en el cubo caben `size` como mucho.",
                ),
            ),
            Mistake(
                _bucket(full=False),
                say("The bucket is full at second 0.", "El cubo está lleno en el segundo 0."),
            ),
            Mistake(
                _bucket(waits=lambda missing, per_s: missing * per_s),
                say(
                    "A token takes 1 / per_s seconds: divide what is missing by per_s.",
                    "Una ficha tarda 1 / per_s segundos: divide lo que falta entre per_s.",
                ),
            ),
            Mistake(
                _bucket(gains=False),
                say(
                    "The bucket gains nothing between two messages: count what time has brought.",
                    "El cubo no gana nada entre dos mensajes: cuenta lo que trajo el tiempo.",
                ),
            ),
            Mistake(
                lambda arrivals, per_s, size: [
                    leaves - came
                    for leaves, came in zip(_bucket()(arrivals, per_s, size), arrivals, strict=True)
                ],
                say(
                    "Those are the waits: return when each message leaves.",
                    "Esas son las esperas: devuelve cuándo sale cada mensaje.",
                ),
            ),
            Mistake(
                lambda arrivals, per_s, size: arrivals,
                say(
                    "That lets every message out as it comes: with no token left it has to wait.",
                    "Eso deja salir cada mensaje según llega: sin fichas, tiene que esperar.",
                ),
            ),
            Mistake(
                _evenly,
                say(
                    "That spaces all messages alike; a full bucket lets a few through at once.",
                    "Eso los separa todos por igual; un cubo lleno deja pasar varios a la vez.",
                ),
            ),
        ],
        hints=[
            say(
                "Follow the first case on paper: how many tokens are there at second 0, 1, 2, 9?",
                "Sigue el primer caso en papel: ¿cuántas fichas hay en el segundo 0, 1, 2 y 9?",
            ),
            say(
                "First gain (time since last count) * per_s, up to size; then take one, or wait.",
                "Primero gana (tiempo pasado) * per_s, sin pasar de size; luego gasta una.",
            ),
            say(
                "With less than one token, wait (1 - tokens) / per_s seconds, and count anew.",
                "Con menos de una ficha, espera (1 - fichas) / per_s segundos y vuelve a contar.",
            ),
        ],
    )


def fair_order(answer: Callable[..., Any]) -> Verdict:
    """Exercise 3: orders in fair turns between users."""
    lists = (
        ["Ana", "Ana", "Ana", "Bruno", "Chloe"],
        ["Chloe", "Ana", "Ana", "Chloe", "Bruno", "Chloe"],
        ["Ana", "Ana"],
    )
    return check_function(
        answer,
        _in_turns,
        [Case(f"arrived={arrived}", (arrived,)) for arrived in lists],
        name="10.3",
        mistakes=[
            Mistake(
                lambda arrived: list(range(len(arrived))),
                say(
                    "That is the order in which they came: Chloe would wait behind Ana's pile.",
                    "Ese es el orden de llegada: Chloe esperaría detrás del montón de Ana.",
                ),
            ),
            Mistake(
                lambda arrived: [arrived[number] for number in _in_turns(arrived)],
                say(
                    "Those are names; the numbers of the orders were asked for.",
                    "Eso son nombres; se pedían los números de los pedidos.",
                ),
            ),
            Mistake(
                lambda arrived: sorted(
                    range(len(arrived)), key=lambda n: (arrived[:n].count(arrived[n]), arrived[n])
                ),
                say(
                    "Within a round they go by who came first, not by name.",
                    "Dentro de una ronda van por orden de llegada, no por nombre.",
                ),
            ),
            Mistake(
                lambda arrived: sorted(
                    range(len(arrived)), key=lambda n: arrived.count(arrived[n])
                ),
                say(
                    "That serves those first who order least: everybody's first order is in the "
                    "first round.",
                    "Eso atiende antes a quien menos pide: el primer pedido de cada persona va en "
                    "la primera ronda.",
                ),
            ),
            Mistake(
                lambda arrived: sorted(
                    range(len(arrived)), key=lambda n: arrived[n + 1 :].count(arrived[n])
                ),
                say(
                    "That counts the orders that come after, so the latest goes first: count those "
                    "before, arrived[:number].",
                    "Eso cuenta los pedidos de después, y sale antes el último: cuenta los de "
                    "antes, arrived[:número].",
                ),
            ),
            Mistake(
                lambda arrived: sorted(
                    range(len(arrived)), key=lambda n: arrived[:n].count(arrived[n])
                ),
                say(
                    "The rounds are right. Within each, people keep the order of the first round, "
                    "whichever of their later orders came sooner.",
                    "Las rondas están bien. Dentro de cada una se conserva el orden de la primera, "
                    "llegue antes el segundo pedido que llegue.",
                ),
            ),
            Mistake(
                lambda arrived: [number + 1 for number in _in_turns(arrived)],
                say(
                    "The order is right, but the numbers begin at 0.",
                    "El orden está bien, pero los números empiezan en 0.",
                ),
            ),
            Mistake(
                lambda arrived: sorted(
                    range(len(arrived)),
                    key=lambda n: list(dict.fromkeys(arrived)).index(arrived[n]),
                ),
                say(
                    "That serves all of one user before the next: give each one order a round.",
                    "Eso atiende a una persona entera antes que a la siguiente: un pedido por "
                    "ronda y persona.",
                ),
            ),
        ],
        hints=[
            say(
                "Write the rounds down: who is in the first, who in the second?",
                "Escribe las rondas: ¿quién está en la primera y quién en la segunda?",
            ),
            say(
                "How many orders has this user placed before? That number is the round.",
                "¿Cuántos pedidos hizo antes esa persona? Ese número es la ronda.",
            ),
            say(
                "Sort the numbers by two things: the round, and whose first order came sooner.",
                "Ordena los números por dos cosas: la ronda y quién pidió antes por primera vez.",
            ),
        ],
    )


def _bucket(
    *,
    capped: bool = True,
    full: bool = True,
    gains: bool = True,
    waits: Callable[[float, float], float] = lambda missing, per_s: missing / per_s,
) -> Callable[..., list[float]]:
    """A token bucket, right or with one mistake."""

    def departures(arrivals: Sequence[float], per_s: float, size: float) -> list[float]:
        tokens, counted, leaving = float(size) if full else 0.0, 0.0, []
        for arrival in arrivals:
            now = max(arrival, counted)
            tokens += (now - counted) * per_s if gains else 0
            tokens = min(size, tokens) if capped else tokens
            wait = waits(max(0, 1 - tokens), per_s)
            tokens, counted = tokens + wait * per_s - 1, now + wait
            leaving.append(counted)
        return leaving

    return departures


def _evenly(arrivals: Sequence[float], per_s: float, size: float) -> list[float]:
    leaving = [arrivals[0]]
    for arrival in arrivals[1:]:
        leaving.append(max(arrival, leaving[-1] + 1 / per_s))
    return leaving


def _in_turns(arrived: Sequence[str]) -> list[int]:
    firsts = list(dict.fromkeys(arrived))  # users in the order of their first order

    def turn(number: int) -> tuple[int, int]:
        user = arrived[number]
        return arrived[:number].count(user), firsts.index(user)

    return sorted(range(len(arrived)), key=turn)
