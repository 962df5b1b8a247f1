"""All that the bot says, in both languages, and how it is filled in for one reader.

The texts are HTML as Telegram reads it. A value in braces is escaped when it is filled in, with
numbers as the reader writes them.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from sdlesson.bot.requests import SPANISH_OPTIONS, Reason, Request, RequestError
from sdlesson.language import LANGUAGES, Text
from sdlesson.prompts import Unknown

if TYPE_CHECKING:
    from sdlesson.bot.generator import Result

MAX_CAPTION_PROMPT = 480  # a caption's 1,024 characters hold this and three shorter parts
MAX_CAPTION_PART = 120
MAX_NAME = 40  # of a model or a LoRA
BAR_CELLS = 10
CHOICE_WORDS = {  # what the words that an option takes are called
    "outline": Text("outline", "contorno"),
    "left": Text("left", "izquierda"),
    "right": Text("right", "derecha"),
    "top": Text("top", "arriba"),
    "bottom": Text("bottom", "abajo"),
}

# What the bot is.

WELCOME = Text(
    "<b>I draw pictures from your words</b>, with the {model} model. Write me what you want to "
    "see, or send a photo and say in its caption what it should become.\n\n"
    "<b>What I keep</b> until the bot is stopped: your language, your settings, your latest "
    "requests and the photos in them. Whoever runs this bot can see your pictures and your words, "
    "so leave out what is private. A safety checker looks at every picture, and I withhold what "
    "it flags.\n\nIs that all right with you?",
    "<b>Dibujo imágenes a partir de tus palabras</b> con el modelo {model}. Escríbeme qué quieres "
    "ver, o mándame una foto y di al pie en qué debe convertirse.\n\n"
    "<b>Qué guardo</b> hasta que el bot se detenga: tu idioma, tus ajustes, tus últimas "
    "peticiones y sus fotos. Quien maneja este bot puede ver tus imágenes y lo que escribes, así "
    "que no pongas nada privado. Un filtro de seguridad revisa cada imagen, y no te mando las que "
    "marca.\n\n¿Te parece bien?",
)
AGREE = Text("All right, let's draw", "De acuerdo, a dibujar")
AGREED = Text(
    "Good. Write me what to draw, such as <code>a robot on the beach</code>, once more if you had "
    "asked for something already; /help says what else I can do.",
    "Bien. Escríbeme qué dibujar, por ejemplo <code>un robot en la playa</code>, y repítelo si ya "
    "habías pedido algo; en /help está todo lo demás que sé hacer.",
)
AGREED_AND_DRAWS = Text(
    "Good. I draw what you have asked for; /help says what else I can do.",
    "Bien. Dibujo lo que has pedido; en /help está todo lo demás que sé hacer.",
)
HELP = Text(
    "Write what to draw, or use /draw (/generate does the same):\n"
    "<code>/draw a cat in the snow --steps 30 --guidance 9 --seed 7 --no hat</code>\n\n"
    "<code>--steps</code> how many times noise is removed, up to {most} (yours: {steps})\n"
    "<code>--guidance</code> how closely to follow your words (yours: {guidance})\n"
    "<code>--seed</code> the same seed draws the same picture\n"
    "<code>--no</code> what to keep out\n"
    "<code>--strength</code> how much of a photo to redo (yours: {strength})\n\n"
    "Send a photo with a caption, or reply to one with /draw, and I redraw it as you say. Only "
    "your own photos, or those whose owner agreed.\n"
    "<code>--widen right</code> paints on beyond a side: left, right, top or bottom\n"
    "/vary the same photo, a little different\n/widen such as <code>/widen right</code>\n",
    "Escribe qué dibujar, o usa /draw (/generate hace lo mismo):\n"
    "<code>/draw un gato en la nieve --pasos 30 --guia 9 --semilla 7 --sin sombrero</code>\n\n"
    "<code>--pasos</code> cuántas veces se quita ruido, hasta {most} (los tuyos: {steps})\n"
    "<code>--guia</code> cuánto ceñirme a tus palabras (la tuya: {guidance})\n"
    "<code>--semilla</code> la misma semilla dibuja la misma imagen\n"
    "<code>--sin</code> lo que no debe salir\n"
    "<code>--fuerza</code> cuánto rehacer de una foto (la tuya: {strength})\n\n"
    "Mándame una foto con unas palabras al pie, o contesta a una con /draw, y la redibujo como "
    "digas. Solo fotos tuyas o de quien te haya dado permiso.\n"
    "<code>--ampliar derecha</code> sigue pintando más allá de un lado: izquierda, derecha, arriba "
    "o abajo\n"
    "/vary la misma foto, un poco distinta\n/widen por ejemplo, <code>/widen derecha</code>\n",
)
HELP_CONTROL = Text(  # where there is a ControlNet
    "<code>--control outline</code> draws anew along the photo's outline\n",
    "<code>--control contorno</code> dibuja de nuevo siguiendo el contorno de la foto\n",
)
HELP_COMMANDS = Text(
    "\n/queue your pictures on the way in a chat\n/cancel give them up\n"
    "/settings what you usually want\n/language English or Spanish",
    "\n/queue tus imágenes en camino en un chat\n/cancel renunciar a ellas\n"
    "/settings lo que sueles querer\n/language español o inglés",
)
COMMANDS = {
    "draw": Text("draw a picture", "dibujar una imagen"),
    "vary": Text("a photo, a little different", "una foto, un poco distinta"),
    "widen": Text("paint on beyond a photo's side", "pintar más allá de un lado de una foto"),
    "queue": Text("your pictures on the way", "tus imágenes en camino"),
    "cancel": Text("give them up", "renunciar a ellas"),
    "settings": Text("what you usually want", "lo que sueles querer"),
    "language": Text("English or Spanish", "español o inglés"),
    "help": Text("what I can do", "qué sé hacer"),
}

# What is not drawn, and what would be.

REFUSALS = {
    Reason.EMPTY: Text(
        "There is nothing in that to draw. Write what you want to see, such as "
        "<code>a cat on the beach</code>.",
        "Ahí no hay nada que dibujar. Escribe qué quieres ver, por ejemplo "
        "<code>un gato en la playa</code>.",
    ),
    Reason.TOO_LONG: Text(
        "That is {chars} characters, and I take {limit}. Say it in fewer words.",
        "Son {chars} caracteres y admito {limit}. Dilo con menos palabras.",
    ),
    Reason.UNKNOWN_OPTION: Text(
        "I do not know the option {option}. /help names those there are.",
        "No conozco la opción {option}. En /help están las que hay.",
    ),
    Reason.NO_VALUE: Text(
        "Something is missing after {option}. /help shows an example.",
        "Falta algo después de {option}. En /help hay un ejemplo.",
    ),
    Reason.BAD_VALUE: Text(
        "{option} takes a number from {low} to {high}, and “{value}” is not one.",
        "{option} admite un número de {low} a {high}, y «{value}» no lo es.",
    ),
    Reason.NEEDS_PHOTO: Text(
        "That needs a photo ({option} is for one): send one and write this as its caption, or "
        "reply to one.",
        "Para eso hace falta una foto ({option} es para fotos): manda una y escribe esto al pie, "
        "o contesta a una.",
    ),
    Reason.BAD_CHOICE: Text(
        "{option} takes one of these words: {choices}; “{value}” is none of them.",
        "{option} admite una de estas palabras: {choices}; «{value}» no es ninguna.",
    ),
    Reason.CONFLICT: Text(
        "{option} and {other} do not go together: ask for one, then for the other of what comes.",
        "{option} y {other} no van juntas: pide una y luego la otra de lo que salga.",
    ),
    Reason.BAD_PHOTO: Text(
        "I cannot read that picture. Send a JPEG, PNG or WebP of at least {least} pixels a side, "
        "at most {most} million pixels in all, and below 20 MB.",
        "No puedo leer esa imagen. Manda un JPEG, PNG o WebP de al menos {least} píxeles por lado, "
        "{most} millones de píxeles en total como mucho y menos de 20 MB.",
    ),
    Reason.TOO_LONG_PHOTO: Text(
        "That picture is too long to be widened: its long side may be {times} times its short one "
        "at most. Cut off what you need least, and send it again.",
        "Esa imagen es demasiado alargada para ampliarla: el lado largo puede medir como mucho "
        "{times} veces el corto. Recorta lo que menos te haga falta y vuelve a mandarla.",
    ),
    Reason.NO_CONTROL: Text(
        "I cannot follow outlines here, since this bot has no ControlNet for its model {model}; "
        "leave {option} out, and I redraw the photo as you say.",
        "Aquí no sé seguir contornos, porque este bot no tiene una ControlNet para su modelo "
        "{model}; quita {option} y redibujo la foto como digas.",
    ),
    Reason.TOO_FEW_STEPS: Text(
        "With strength {strength}, {steps} steps leave nothing to do. Take at least {needed}.",
        "Con fuerza {strength}, {steps} pasos no dejan nada que hacer. Pon al menos {needed}.",
    ),
}
WHOLE_NUMBER = Text(
    "{option} takes a whole number from {low} to {high}, and “{value}” is not one.",
    "{option} admite un número entero de {low} a {high}, y «{value}» no lo es.",
)
DID_YOU_MEAN = Text(
    "I do not know the option {option}. Did you mean {near}?",
    "No conozco la opción {option}. ¿Querías decir {near}?",
)
TOO_MANY_JOBS = Text(
    "You have {limit} pictures waiting already. Ask again when one is done, or /cancel them.",
    "Ya tienes {limit} imágenes en espera. Vuelve a pedir cuando acabe una, o usa /cancel.",
)
QUEUE_FULL = Text(
    "{limit} pictures are waiting, and no more fit. Try again in a few minutes.",
    "Hay {limit} imágenes en espera y no caben más. Prueba dentro de unos minutos.",
)
TOO_FAST = Text(
    "That is more at once than I can answer: {limit} messages of yours are waiting, and I skip "
    "what comes until they are done.",
    "Es más de lo que puedo contestar a la vez: tienes {limit} mensajes en espera, y no atiendo "
    "los que lleguen hasta acabar con ellos.",
)
NO_SUCH_COMMAND = Text(
    "I do not know that command. /help names those there are.",
    "No conozco esa orden. En /help están las que hay.",
)
OTHER_MEDIA = Text(
    "I only take text, and photos with a caption.",
    "Solo entiendo texto y fotos con unas palabras al pie.",
)
NO_CAPTION = Text(
    "A good start. Send the photo again with a caption that says what it should become, or reply "
    "to it, such as <code>/draw a teddy bear in the snow</code>.",
    "Buen comienzo. Manda la foto otra vez y di al pie en qué debe convertirse, o contesta a ella, "
    "por ejemplo <code>/draw un osito en la nieve</code>.",
)
GONE_BUTTON = Text(
    "That button no longer works. Ask for the picture again.",
    "Ese botón ya no funciona. Vuelve a pedir la imagen.",
)
NOT_YOURS = Text("That belongs to somebody else.", "Eso es de otra persona.")
WENT_WRONG = Text(
    "Something went wrong on my side, and I am sorry. If you report it, name <code>{id}</code>.",
    "Algo ha fallado por mi parte, lo siento. Si avisas, indica <code>{id}</code>.",
)

# How a picture stands.

WAITING = Text("In the queue: {ahead} before you", "En la cola: {ahead} por delante")
NEXT = Text("In the queue: you are next", "En la cola: te toca enseguida")
DRAWING = Text("Drawing {bar} {step} of {steps}", "Dibujando {bar} {step} de {steps}")
SECONDS_LEFT = Text(" · about {seconds} s", " · unos {seconds} s")
MINUTES_LEFT = Text(" · about {minutes} min", " · unos {minutes} min")
CANCEL = Text("✖ Cancel", "✖ Cancelar")
CANCELLED = Text("Cancelled: {prompt}", "Cancelada: {prompt}")
STOPPED = Text(
    "The bot was stopped before it drew this: {prompt}",
    "El bot se detuvo antes de dibujar esto: {prompt}",
)
FLAGGED = Text(
    "The safety checker flagged this picture, so I withhold it: {prompt}\n"
    "It is often wrong: try another seed or other words.",
    "El filtro de seguridad ha marcado esta imagen y no te la mando: {prompt}\n"
    "Se equivoca a menudo: prueba otra semilla u otras palabras.",
)
UNCONFIRMED = Text(
    "Telegram did not confirm that your picture arrived. If you do not see it, have it drawn "
    "again: the seed is the same, so the picture is too.",
    "Telegram no ha confirmado que tu imagen llegara. Si no la ves, pide que la dibuje otra vez: "
    "con la misma semilla sale la misma imagen.",
)
MAY_NOT_WRITE = Text(
    "I may not write where you asked me, in “{chat}”. Ask one of its administrators to let me, or "
    "ask me here.",
    "No me dejan escribir donde me lo has pedido, en «{chat}». Pide a quien lo administra que me "
    "deje, o pídemelo aquí.",
)
NO_PICTURES_HERE = Text(
    "Your picture is ready, and Telegram does not let me send it here: {prompt}\n"
    "An administrator of this chat can allow me to send photos and files.",
    "Tu imagen está lista y Telegram no me deja mandarla aquí: {prompt}\n"
    "Quien administra este chat puede permitirme mandar fotos y archivos.",
)
ASK_AGAIN = Text("↻ Draw it again", "↻ Dibujarla otra vez")
NOTHING_WAITS = Text(
    "You have no pictures on the way in this chat.", "No tienes imágenes en camino en este chat."
)
ON_THE_WAY = Text("Your pictures on the way:", "Tus imágenes en camino:")

# Below a picture.

PROMPT = Text("<b>{prompt}</b>", "<b>{prompt}</b>")
KEPT_OUT = Text("without: {words}", "sin: {words}")
SEED = Text("seed <code>{seed}</code>", "semilla <code>{seed}</code>")
STEPS = Text("{steps} steps", "{steps} pasos")
GUIDANCE = Text("guidance {guidance}", "guía {guidance}")
STRENGTH = Text("strength {strength}", "fuerza {strength}")
ALONG = Text("control {control}", "control {control}")
WIDENED = Text("widened: {side}", "ampliada: {side}")
NO_WORDS = Text("<i>(no words)</i>", "<i>(sin palabras)</i>")
MODEL = Text("model {model}", "modelo {model}")
LORA = Text("LoRA {lora}", "LoRA {lora}")
UNKNOWN_WORDS = Text(
    "I guessed, because I do not know: {words}", "He improvisado, porque no conozco: {words}"
)
TRY_INSTEAD = Text("{word} (try {near})", "{word} (prueba {near})")
CUT_WORDS = Text(
    "Too long for the model, which did not read: {words}",
    "Demasiado largo para el modelo, que no ha leído: {words}",
)
OTHER_SEED = Text("🎲 Another seed", "🎲 Otra semilla")
MORE_STEPS = Text("➕ More steps", "➕ Más pasos")
VARIATION = Text("✨ Variation", "✨ Variación")
SETTINGS = Text("⚙ Settings", "⚙ Ajustes")

# Settings and language.

YOUR_SETTINGS = Text(
    "What you usually want; a request may say otherwise.",
    "Lo que sueles querer; una petición puede decir otra cosa.",
)
AS_FILE = Text(
    "Pictures as files that keep their settings: {state}",
    "Imágenes como archivos que guardan sus ajustes: {state}",
)
ON = Text("on", "sí")
OFF = Text("off", "no")
WHICH_LANGUAGE = Text("In which language shall I speak?", "¿En qué idioma te hablo?")
LANGUAGE_SET = Text("From now on, in English.", "A partir de ahora, en español.")


def supported_language(code: str | None) -> str:
    """Return the course's language for a Telegram user's, such as "es-MX"; else English."""
    short = (code or "").lower().partition("-")[0]
    return short if short in LANGUAGES else "en"


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many UTF-16 units, which is what Telegram counts."""
    if _units(text) <= most:
        return text
    kept = text[:most]
    while _units(kept) >= most:
        kept = kept[:-1]
    return f"{kept}…"


class Localizer:
    """Speaks one language: `words(CANCELLED, prompt="a <b> cat")` is safe HTML."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, text: Text, **values: object) -> str:
        """Fill in a text: this is the one place where values become HTML."""
        shown = {name: html.escape(self._show(value)) for name, value in values.items()}
        return getattr(text, self.language).format(**shown)

    def refusal(self, error: RequestError) -> str:
        """Say why a request is not drawn, and what would be."""
        values = dict(error.values)
        for name in {"option", "other"} & values.keys():
            if self.language == "es":
                values[name] = SPANISH_OPTIONS.get(values[name], values[name])
        if "choices" in values:
            words = (self(CHOICE_WORDS[choice]) for choice in values["choices"])
            values["choices"] = ", ".join(words)
        if values.get("whole"):
            return self(WHOLE_NUMBER, **values)
        if values.get("near"):
            return self(DID_YOU_MEAN, **values)
        return self(REFUSALS[Reason(error.reason)], **values)

    def waiting(self, ahead: int, seconds: float | None) -> str:
        """Say how long a job will wait."""
        place = self(WAITING, ahead=ahead) if ahead else self(NEXT)
        return place + self._left(seconds)

    def drawing(self, step: int, steps: int, seconds: float | None) -> str:
        """Say how far a picture is."""
        full = BAR_CELLS * step // max(1, steps)
        bar = "▓" * full + "░" * (BAR_CELLS - full)
        return self(DRAWING, bar=bar, step=step, steps=steps) + self._left(seconds)

    def caption(self, result: Result) -> str:
        """Say below a picture what it was made from, and what of it was not read."""
        request = result.request
        prompt = shorten(request.prompt, MAX_CAPTION_PROMPT)
        lines = [self(PROMPT, prompt=prompt) if prompt else self(NO_WORDS)]
        if request.negative_prompt:
            kept_out = shorten(request.negative_prompt, MAX_CAPTION_PART)
            lines.append(self(KEPT_OUT, words=kept_out))
        lines.append(self._settings(request))
        if result.unknown:
            named = "; ".join(self._unknown(word) for word in result.unknown)
            lines.append(self(UNKNOWN_WORDS, words=shorten(named, MAX_CAPTION_PART)))
        if result.cut:
            lines.append(self(CUT_WORDS, words=shorten(result.cut, MAX_CAPTION_PART)))
        return "\n".join(lines)

    def _settings(self, request: Request) -> str:
        parts = [
            self(SEED, seed=request.seed),
            self(STEPS, steps=request.num_inference_steps),
            self(GUIDANCE, guidance=float(request.guidance_scale)),
        ]
        if request.redraws:
            parts.append(self(STRENGTH, strength=float(request.strength)))
        if request.control:
            parts.append(self(ALONG, control=self(CHOICE_WORDS[request.control])))
        if request.widen:
            parts.append(self(WIDENED, side=self(CHOICE_WORDS[request.widen])))
        if request.model:
            parts.append(self(MODEL, model=shorten(request.model, MAX_NAME)))
        if request.lora:
            parts.append(self(LORA, lora=shorten(request.lora, MAX_NAME)))
        return " · ".join(parts)

    def _unknown(self, unknown: Unknown) -> str:
        """Name a word, as plain text, with those like it."""
        if not unknown.suggestions:
            return unknown.word
        near = ", ".join(unknown.suggestions)
        return getattr(TRY_INSTEAD, self.language).format(word=unknown.word, near=near)

    def _left(self, seconds: float | None) -> str:
        if seconds is None:
            return ""
        if seconds < 60:
            return self(SECONDS_LEFT, seconds=max(1, round(seconds)))
        return self(MINUTES_LEFT, minutes=round(seconds / 60))

    def _show(self, value: object) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:g}".replace(".", "," if self.language == "es" else ".")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
