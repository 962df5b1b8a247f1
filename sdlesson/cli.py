"""The command line: `sdlesson draw`, `bot`, `doctor` and `finetune`."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from sdlesson.language import Text, say
from sdlesson.runtime import installed_version
from sdlesson.terminal import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    Parser,
    Screen,
    number,
    port,
    set_quiet_environment,
    set_terminal_language,
    tell,
    tell_error,
    whole_number,
)

if TYPE_CHECKING:
    from sdlesson.bot.generator import PipelineGenerator
    from sdlesson.drawing import Drawing

EXAMPLE = Text(
    'example: sdlesson draw "an astronaut riding a horse on Mars" --out astronaut.png --seed 1',
    'ejemplo: sdlesson draw "un gato en la playa, al estilo de Monet" --out gato.png --seed 1',
)
LOOK_EVERY_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    set_terminal_language()
    set_quiet_environment()
    words = list(sys.argv[1:] if arguments is None else arguments)
    with redirect_stdout(Screen(sys.stdout)), redirect_stderr(Screen(sys.stderr)):
        options = _parser(words).parse_args(words)
        commands = {"draw": _draw, "bot": _bot, "doctor": _doctor, "finetune": _finetune}
        try:
            return commands[options.command](options)
        except KeyboardInterrupt:
            return INTERRUPTED


def _parser(words: Sequence[str] = ()) -> Parser:
    """Make the parser for a command line; a training's options, which need torch, if it asks so."""
    parser = Parser(
        prog="sdlesson",
        description=say(
            "Pictures from words, with Stable Diffusion.",
            "Imágenes a partir de palabras, con Stable Diffusion.",
        ),
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"sdlesson {installed_version('sdlesson')}",
        help=say("show the version and end", "muestra la versión y termina"),
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar=say("COMMAND", "ORDEN"))
    draw = commands.add_parser(
        "draw",
        help=say("draw a picture from a prompt", "dibuja una imagen a partir de un prompt"),
        epilog=say(*EXAMPLE),
    )
    draw.add_argument(
        "prompt",
        metavar="PROMPT",
        help=say("what to draw, in English or Spanish", "qué dibujar, en español o en inglés"),
    )
    draw.add_argument(
        "--out",
        required=True,
        metavar="FILE.png",
        help=say("where to save the picture", "dónde guardar la imagen"),
    )
    draw.add_argument(
        "--seed",
        type=whole_number,
        metavar="N",
        help=say("same seed, same picture", "con la misma semilla, la misma imagen"),
    )
    draw.add_argument(
        "--steps",
        type=whole_number,
        default=25,
        metavar="N",
        help=say(
            "how many steps to draw in; default: %(default)s",
            "en cuántos pasos se dibuja; si no se indica, %(default)s",
        ),
    )
    draw.add_argument(
        "--guidance",
        type=number,
        default=7.5,
        metavar="X",
        help=say(
            "how hard to push towards the prompt, 1 is off; default: %(default)s",
            "con cuánta fuerza se sigue el prompt, 1 es sin guía; si no se indica, %(default)s",
        ),
    )
    draw.add_argument(
        "--negative",
        default="",
        metavar="TEXT",
        help=say("what to keep out", "qué debe quedar fuera"),
    )
    draw.add_argument(
        "--image",
        metavar="FILE",
        help=say(
            "a picture to change instead of drawing from nothing",
            "una imagen que cambiar, en vez de dibujar de la nada",
        ),
    )
    draw.add_argument(
        "--strength",
        type=number,
        metavar="X",
        help=say(
            "how much of that picture to redraw, 0 is nothing; default: 0.6, with a mask 1",
            "cuánto se redibuja de esa imagen, 0 es nada; si no se indica, 0.6, y con máscara 1",
        ),
    )
    draw.add_argument(
        "--mask",
        metavar="FILE",
        help=say(
            "white where that picture is painted anew; all else stays as it is",
            "en blanco lo que se repinta de esa imagen; lo demás se queda como está",
        ),
    )
    draw.add_argument(
        "--control",
        metavar="FILE",
        help=say(
            "a picture whose outlines the drawing follows",
            "una imagen cuyos contornos sigue el dibujo",
        ),
    )
    bot = commands.add_parser(
        "bot",
        help=say(
            "run the Telegram bot until Ctrl-C", "pone en marcha el bot de Telegram; Ctrl-C lo para"
        ),
    )
    bot.add_argument(
        "--local",
        action="store_true",
        help=say(
            "talk to a chat page on this machine instead of Telegram, with no token",
            "habla con una página de chat en esta máquina en vez de con Telegram, sin token",
        ),
    )
    bot.add_argument(
        "--port",
        type=port,
        default=0,
        metavar="N",
        help=say(
            "of that page; default: any that is free",
            "el puerto de esa página; si no se indica, uno que esté libre",
        ),
    )
    bot.add_argument(
        "--control",
        nargs="?",
        const="default",
        metavar="FOLDER",
        help=say(
            "follow the outlines of photos, with the ControlNet in a folder; without one, with "
            "that made for the model",
            "sigue los contornos de las fotos con la ControlNet de una carpeta; si no se indica "
            "ninguna, con la hecha para el modelo",
        ),
    )
    for command in (draw, bot):
        command.add_argument(
            "--model",
            metavar="NAME",
            help=say(
                "pocket, sd15, a Hub id (owner/name) or a folder; "
                "default: $SDLESSON_MODEL, else sd15 on a CUDA GPU and pocket elsewhere",
                "pocket, sd15, un nombre del Hub (dueño/nombre) o una carpeta; si no se indica, "
                "$SDLESSON_MODEL o, a falta de ella, sd15 con una GPU de CUDA y pocket sin ella",
            ),
        )
    commands.add_parser(
        "doctor",
        help=say(
            "say what is here, what is missing and how to mend it",
            "dice qué hay aquí, qué falta y cómo arreglarlo",
        ),
    )
    finetune = commands.add_parser(
        "finetune",
        help=say(
            "teach the model something from a few photos",
            "enseña algo al modelo con unas pocas fotos",
        ),
    )
    if "finetune" in words[:1]:
        from sdlesson.finetuning.command import DESCRIPTION, add_options

        finetune.description = say(*DESCRIPTION)
        add_options(finetune)
    return parser


def _draw(options: argparse.Namespace) -> int:
    """Draw or change one picture into a file; a bad wish is one sentence, not a traceback."""
    from sdlesson.downloads import ModelError
    from sdlesson.drawing import draw
    from sdlesson.images import check_output, save_png

    try:
        check_output(options.out)
        _check_files(options)
        _check_settings(options)
        if options.image or options.control:
            drawing, extra = _edit(options)
        else:
            extra = {}
            drawing = draw(
                options.prompt,
                pipe=options.model,
                negative_prompt=options.negative,
                seed=options.seed,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                report=tell,
            )
        save_png(drawing.image, options.out, drawing.settings | extra)
    except (ValueError, ModelError, OSError) as error:
        tell_error(error)
        return BAD_INPUT
    width, height = drawing.image.size
    seed = say(f"seed {drawing.seed}", f"semilla {drawing.seed}")
    saved = say(f"Saved {options.out}", f"Guardada en {options.out}")
    print(f"{saved} ({drawing.model}, {width} x {height}, {seed})")
    return 0


def _check_files(options: argparse.Namespace) -> None:
    """Refuse options that have nothing to work on, or each other's."""
    for name in ("image", "mask", "control", "model"):
        if getattr(options, name) == "":
            raise ValueError(
                say(
                    f"--{name} is empty; say what it is to be, or leave it out",
                    f"--{name} está vacía; di qué debe ser o quítala",
                )
            )
    if options.control and options.image:
        raise ValueError(
            say(
                "--control and --image exclude each other; leave one out",
                "--control e --image se excluyen; quita una de las dos",
            )
        )
    for name in ("mask", "strength"):
        if getattr(options, name) is not None and not options.image:
            raise ValueError(
                say(
                    f"--{name} says how to change a picture; give that one with --image",
                    f"--{name} dice cómo cambiar una imagen; indica cuál con --image",
                )
            )


def _check_settings(options: argparse.Namespace) -> None:
    """Refuse what is outside its range before a model is loaded, in the reader's language.

    In English that is the sentence of the function that checks it.
    """
    from sdlesson import settings

    prompt, steps, guidance = options.prompt, options.steps, options.guidance
    seed, strength = options.seed or 0, options.strength
    most = settings.NOISE_LEVELS - settings.UNUSED_LEVELS
    checks: list[tuple[Callable[[], object], str]] = [
        (
            lambda: prompt.strip() or settings.check_prompt(prompt),
            "el prompt está vacío; di qué dibujar, por ejemplo 'un gato en la playa'",
        ),
        (
            lambda: settings.check_steps(steps),
            f"--steps {steps}: debe ser un número entero de 1 a {most}; prueba con 25",
        ),
        (
            lambda: settings.check_guidance(guidance),
            f"--guidance {guidance}: debe ser un número de 0 en adelante, donde 1 es sin guía; "
            "prueba con 7.5",
        ),
        (
            lambda: settings.check_seed(seed),
            f"--seed {seed}: debe ser un número entero de 0 a {settings.MAX_SEED}",
        ),
    ]
    if strength is not None:
        checks += [
            (
                lambda: settings.check_strength(strength),
                f"--strength {strength}: debe ser un número de 0, que no cambia nada, a 1, que lo "
                "redibuja todo; prueba con 0.6",
            ),
            (
                lambda: settings.steps_left(steps, strength),
                f"--strength {strength} con --steps {steps} no llega a un paso; sube uno de los "
                "dos",
            ),
        ]
    for check, spanish in checks:
        try:
            check()
        except ValueError as error:
            raise ValueError(say(str(error), spanish)) from error


def _edit(options: argparse.Namespace) -> "tuple[Drawing, dict[str, str]]":
    """Change the picture of --image, or draw along the outlines of --control's."""
    import secrets

    from torch import Generator

    from sdlesson import editing
    from sdlesson.drawing import Drawing, prompt_notes
    from sdlesson.editing.pictures import MAX_ENLARGED, own_size
    from sdlesson.photos import read_photo
    from sdlesson.pipelines import load_pipeline, model_name
    from sdlesson.safety import flag_note
    from sdlesson.settings import check_prompt

    check_prompt(options.prompt)
    strength = options.strength
    if strength is None:
        strength = 1.0 if options.mask else editing.DEFAULT_STRENGTH
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    picture = read_photo(options.image or options.control, name=options.image or options.control)
    mask = None
    if options.mask:  # what is see-through in it stays
        mask = read_photo(options.mask, name=options.mask, ground="black")
        _check_sizes(options, picture.size, mask.size)
    pipe = load_pipeline(options.model)
    most = MAX_ENLARGED * own_size(pipe)
    if mask is not None and max(picture.size) > most:
        raise ValueError(
            say(
                f"with --mask a side of the picture has {most} pixels at most, and "
                f"{options.image} is {_shown(picture.size)}; save both files smaller",
                f"con --mask, un lado de la imagen tiene como mucho {most} píxeles, y "
                f"{options.image} mide {_shown(picture.size)}; guarda ambos archivos más pequeños",
            )
        )
    said: list[str] = []

    def report(note: str) -> None:
        said.append(note)
        tell(note)

    for text in (options.prompt, options.negative):
        for note in prompt_notes(pipe, text):
            report(note)
    settings = {
        "negative_prompt": options.negative,
        "guidance_scale": options.guidance,
        "num_inference_steps": options.steps,
        "generator": Generator("cpu").manual_seed(seed),
        "report": report,
    }
    if options.control:
        lines = editing.outline(editing.shrink_to_fit(pipe, picture))
        if not lines.getbbox():
            raise ValueError(
                say(
                    f"no outline can be seen in {options.control}; give a picture with more "
                    "contrast",
                    f"en {options.control} no se ve ningún contorno; da una imagen con más "
                    "contraste",
                )
            )
        controlnet = editing.load_controlnet(pipe)
        image = editing.draw_along(pipe, lines, options.prompt, controlnet=controlnet, **settings)
        extra = {"control": Path(options.control).name}
    elif mask is not None:
        image = editing.inpaint(pipe, picture, mask, options.prompt, strength=strength, **settings)
        extra = {"image": Path(options.image).name, "mask": Path(options.mask).name}
        extra["strength"] = str(strength)
    else:
        picture = editing.shrink_to_fit(pipe, picture)
        image = editing.image_to_image(pipe, picture, options.prompt, strength=strength, **settings)
        extra = {"image": Path(options.image).name, "strength": str(strength)}
    drawing = Drawing(
        image=image,
        prompt=options.prompt,
        negative_prompt=options.negative,
        seed=seed,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        scheduler=type(pipe.scheduler).__name__,
        model=model_name(pipe),
        flagged=flag_note() in said,
    )
    return drawing, extra


def _check_sizes(
    options: argparse.Namespace, picture: tuple[int, int], mask: tuple[int, int]
) -> None:
    if picture != mask:
        raise ValueError(
            say(
                f"{options.mask} is {_shown(mask)} pixels and {options.image} {_shown(picture)}; "
                "save the mask in the size of the picture",
                f"{options.mask} mide {_shown(mask)} píxeles y {options.image}, {_shown(picture)}; "
                "guarda la máscara con el tamaño de la imagen",
            )
        )


def _shown(size: tuple[int, int]) -> str:
    return "{} x {}".format(*size)


def _bot(options: argparse.Namespace) -> int:
    """Run the bot until Ctrl-C or SIGTERM, then stop it gracefully."""
    try:
        from sdlesson.bot import Bot, BotError
        from sdlesson.bot.token import look_for_token
        from sdlesson.bot_api import BotApiServer
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        sentence = say(f"{missing} is missing; run", f"falta {missing}; ejecuta")
        tell(f"sdlesson: {sentence}: pip install 'sdlesson[bot]'")
        return BAD_INPUT
    from sdlesson.downloads import ModelError

    server = None
    try:
        token = None if options.local else look_for_token()
        server = None if token else BotApiServer(options.port)
        bot = Bot(_bots_generator(options), token=token, server=server)
        with _until_signal() as is_over, _log_on_stderr("sdlesson.bot"):
            bot.start()
            print(say("Ctrl-C stops it.", "Ctrl-C lo detiene."), flush=True)
            while bot.is_running and not is_over.wait(LOOK_EVERY_S):
                pass  # on Windows, a wait without an end would not hear Ctrl-C
            bot.stop()
    except BotError as error:
        tell_error(error)
        return FAILED
    except (ValueError, ModelError, OSError) as error:
        tell_error(error)
        return BAD_INPUT
    finally:
        if server is not None:
            server.stop()
    if bot.failure:
        tell(f"sdlesson: {bot.failure}")
        return FAILED
    print(say("The bot has stopped.", "El bot se ha detenido."))
    return 0


def _bots_generator(options: argparse.Namespace) -> "PipelineGenerator":
    """Make what draws for the bot, with a ControlNet if that was asked for."""
    from sdlesson.bot.generator import PipelineGenerator
    from sdlesson.editing import load_controlnet
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline(options.model)
    folder = None if options.control == "default" else options.control
    controlnet = load_controlnet(pipe, folder) if options.control is not None else None
    return PipelineGenerator(pipe, controlnet=controlnet)


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Give what is set at Ctrl-C, or when the system asks the process to end."""
    event = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: event.set()) for number in numbers]
    try:
        yield event
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _log_on_stderr(name: str) -> Iterator[None]:
    handler = logging.StreamHandler()
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)


def _finetune(options: argparse.Namespace) -> int:
    from sdlesson.finetuning.command import run

    return run(options)


def _doctor(options: argparse.Namespace) -> int:
    from sdlesson import doctor

    return doctor.main()


if __name__ == "__main__":
    raise SystemExit(main())
