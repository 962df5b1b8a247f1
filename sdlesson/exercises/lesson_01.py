"""What lesson 01 asks: parameters, gigabytes, a picture developed, false alarms, tokens."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from PIL import Image
from torch import Tensor

from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.images import picture_difference, same_picture, to_images
from sdlesson.language import say
from sdlesson.safety import Flag

GB = 10**9
HALF_BYTES = 2
WITHIN_GB = 0.01


def count_parameters(answer: Callable[..., Any], parts: Mapping[str, Any]) -> Verdict:
    """Count the numbers in a model, whether they are to be trained or not."""
    return check_function(
        answer,
        lambda model: model.num_parameters(),
        [Case(name, (part,)) for name, part in parts.items()],
        name="01.count_parameters",
        mistakes=[
            Mistake(
                lambda model: len(list(model.parameters())),
                say(
                    "That counts tensors, not the numbers in them.",
                    "Eso cuenta tensores, no los números que contienen.",
                ),
            ),
            Mistake(
                lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad),
                say(
                    "That leaves out what is not to be trained.",
                    "Eso deja fuera lo que no se va a entrenar.",
                ),
            ),
            Mistake(
                lambda model: sum(tensor.nbytes for tensor in model.parameters()),
                say(
                    "Those are bytes, and each number takes several.",
                    "Eso son bytes, y cada número ocupa varios.",
                ),
            ),
            Mistake(
                lambda model: sum(len(tensor) for tensor in model.parameters()),
                say(
                    "len of a tensor is its first side alone.",
                    "len de un tensor es solo su primer lado.",
                ),
            ),
        ],
        hints=[
            say("A tensor of (3, 2) holds 6 numbers.", "Un tensor de (3, 2) tiene 6 números."),
            say("tensor.numel() is how many it holds.", "tensor.numel() dice cuántos contiene."),
            "sum(... for tensor in model.parameters())",
        ],
    )


def gigabytes(answer: Any, parts: Mapping[str, Any]) -> Verdict:
    """Find the size of all parts in half precision, in units of 10**9 bytes."""
    numbers = sum(part.num_parameters() for part in parts.values())
    right = numbers * HALF_BYTES / GB

    def without(name: str) -> float:
        return right - parts[name].num_parameters() * HALF_BYTES / GB

    return check(
        answer,
        right,
        name="01.gigabytes",
        asked=say(
            "2 bytes for each weight of all four parts, in units of 10**9 bytes",
            "2 bytes por cada peso de las cuatro piezas, en unidades de 10**9 bytes",
        ),
        tolerance=WITHIN_GB,
        mistakes=[
            Mistake(
                right * 8,
                say("Those are bits; a byte has eight.", "Eso son bits; un byte tiene ocho."),
            ),
            Mistake(
                right * 2,
                say(
                    "That is float32, 4 bytes for each weight; float16 takes 2.",
                    "Eso es float32, 4 bytes por peso; float16 ocupa 2.",
                ),
            ),
            Mistake(
                right / 2,
                say(
                    "That is 1 byte for each weight; float16 takes 2.",
                    "Eso es 1 byte por peso; float16 ocupa 2.",
                ),
            ),
            Mistake(
                right * GB / 2**30,
                say(
                    "Those are gibibytes (GiB), of 2**30 bytes, which many programs also call GB.",
                    "Eso son gibibytes (GiB), de 2**30 bytes, que muchos programas también llaman "
                    "GB.",
                ),
            ),
            Mistake(
                parts["unet"].num_parameters() * HALF_BYTES / GB,
                say("That is the U-Net alone.", "Eso es solo la U-Net."),
            ),
            Mistake(
                without("safety_checker"),
                say("The safety checker is missing.", "Falta el filtro de seguridad."),
            ),
            Mistake(
                right * GB,
                say("Those are bytes: divide by 10**9.", "Eso son bytes: divide entre 10**9."),
            ),
        ],
        hints=[
            say(
                "How many weights are there in all four parts? How many bytes has each?",
                "¿Cuántos pesos hay en las cuatro piezas? ¿Cuántos bytes tiene cada uno?",
            ),
            say(
                "sd15.values() goes through the parts; each has num_parameters().",
                "sd15.values() recorre las piezas; cada una tiene num_parameters().",
            ),
            "sum(part.num_parameters() for part in sd15.values()) * ... / 10**9",
        ],
    )


def develop(answer: Callable[..., Any], kept: Tensor, vae: Any, picture: Image.Image) -> Verdict:
    """Turn latents kept in half precision into the picture, which is known."""
    scale = vae.config.scaling_factor

    def looks_like(wrong: Callable[[], Tensor]) -> Callable[[Any], bool]:
        def near(value: Any) -> bool:
            other = to_images(vae.decode(wrong()).sample.detach())[0]
            return picture_difference(value, other).mean_error < 2 / 255

        return near

    return check(
        wraps(answer)(lambda: answer(kept)),
        picture,
        name="01.develop",
        asked=say("the picture drawn above, from kept", "la imagen de arriba, a partir de kept"),
        mistakes=[
            Mistake(
                RuntimeError("Half"),
                say(
                    "The VAE computes in float32 and got halves: turn them with .float() first.",
                    "El VAE calcula en float32 y recibió media precisión: antes va .float().",
                ),
            ),
            Mistake(
                lambda value: isinstance(value, list),
                say(
                    "to_images gives a list: return its first picture.",
                    "to_images da una lista: devuelve su primera imagen.",
                ),
            ),
            Mistake(
                lambda value: isinstance(value, Tensor),
                say(
                    "Those are pixels as a tensor: to_images turns them into pictures.",
                    "Eso son píxeles en un tensor: to_images los convierte en imágenes.",
                ),
            ),
            Mistake(
                looks_like(lambda: kept.float()),
                say(
                    "Pale or burnt: the latents are still multiplied by the scaling factor.",
                    "Pálida o quemada: los latentes siguen multiplicados por scaling_factor.",
                ),
            ),
            Mistake(
                looks_like(lambda: kept.float() * scale),
                say(
                    "Multiplied once more instead of divided.",
                    "Multiplicados otra vez en lugar de divididos.",
                ),
            ),
            Mistake(
                lambda value: same_picture(value, _pale(picture)),
                say(
                    "Too pale: to_images takes pixels from -1 to 1, as the VAE gives them.",
                    "Demasiado pálida: to_images toma píxeles de -1 a 1, tal como los da el VAE.",
                ),
            ),
        ],
        hints=[
            say(
                "Three steps: the type, the scale, the VAE; then a picture out of pixels.",
                "Tres pasos: el tipo, la escala, el VAE; y luego una imagen con los píxeles.",
            ),
            say(
                "First .float(), then divide by pocket.vae.config.scaling_factor.",
                "Primero .float(), luego divide por pocket.vae.config.scaling_factor.",
            ),
            say(
                "to_images(pocket.vae.decode(latents).sample)[0] is the last line.",
                "La última línea es to_images(pocket.vae.decode(latents).sample)[0].",
            ),
        ],
    )


def false_alarms(
    answer: Callable[..., Any], flags: Sequence[Flag], has_broccoli: Sequence[bool]
) -> Verdict:
    """Find the pictures that were flagged and have no broccoli."""

    def numbers(chosen: Callable[[Flag, bool], object]) -> Callable[..., list[int]]:
        def choose(flags: Sequence[Flag], truths: Sequence[bool]) -> list[int]:
            pairs = enumerate(zip(flags, truths, strict=True))
            return [number for number, (flag, truth) in pairs if chosen(flag, truth)]

        return choose

    given = say("the five above", "las cinco de arriba")
    return check_function(
        lambda *arguments: _as_list(answer(*arguments)),
        numbers(lambda flag, truth: flag.flagged and not truth),
        [Case(given, (flags, has_broccoli))],
        name="01.false_alarms",
        mistakes=[
            Mistake(
                numbers(lambda flag, truth: flag.flagged),
                say(
                    "Those are all that were flagged, rightly or not.",
                    "Esas son todas las marcadas, con razón o sin ella.",
                ),
            ),
            Mistake(
                numbers(lambda flag, truth: truth and not flag.flagged),
                say(
                    "Those were missed: the other kind of error.",
                    "Esas se escaparon: la otra clase de fallo.",
                ),
            ),
            Mistake(
                numbers(lambda flag, truth: flag.flagged != truth),
                say(
                    "Those are errors of both kinds.",
                    "Esos son los fallos de las dos clases.",
                ),
            ),
            Mistake(
                numbers(lambda flag, truth: not truth),
                say(
                    "A Flag is always true as an object: ask for flag.flagged.",
                    "Un Flag siempre es verdadero como objeto: pregunta flag.flagged.",
                ),
            ),
            Mistake(
                lambda flags, truths: [
                    number + 1
                    for number, (flag, truth) in enumerate(zip(flags, truths, strict=True))
                    if flag.flagged and not truth
                ],
                say("Count from 0.", "Cuenta desde 0."),
            ),
        ],
        hints=[
            say(
                "Two conditions: flagged, and no broccoli.",
                "Dos condiciones: marcada y sin brócoli.",
            ),
            say(
                "enumerate(zip(flags, has_broccoli)) gives number, (flag, truth).",
                "enumerate(zip(flags, has_broccoli)) da número, (marca, verdad).",
            ),
            "if flag.flagged and not truth",
        ],
    )


def tokens(public: Any, gated: Any, publish: Any) -> Verdict:
    """Choose the weakest token that is enough for each of three tasks."""
    answers = [public, gated, publish]
    return check(
        answers,
        ["none", "read", "write"],
        name="01.tokens",
        asked=say(
            'for each task the weakest of "none", "read", "write" that is enough',
            'para cada tarea, el más débil de "none", "read", "write" que baste',
        ),
        mistakes=[
            Mistake(
                lambda value: not set(value) <= {"none", "read", "write"},
                say(
                    'Only "none", "read" or "write", between quotes.',
                    'Solo "none", "read" o "write", entre comillas.',
                ),
            ),
            Mistake(
                lambda value: value[0] != "none",
                say(
                    "A public model needs no token at all.",
                    "Un modelo público no necesita ningún token.",
                ),
            ),
            Mistake(
                lambda value: value[1] == "none",
                say(
                    "A gated model has to know who you are.",
                    "Un modelo restringido tiene que saber quién eres.",
                ),
            ),
            Mistake(
                lambda value: value[1] == "write",
                say(
                    "To download, nothing has to be changed.",
                    "Para descargar no hay que cambiar nada.",
                ),
            ),
            Mistake(
                lambda value: value[2] != "write",
                say(
                    "To publish is to change something on the Hub.",
                    "Publicar es cambiar algo en el Hub.",
                ),
            ),
        ],
        hints=[
            say(
                "What could a thief do with it?",
                "¿Qué podría hacer con él quien lo robe?",
            ),
            say(
                "The table above says what each task needs.",
                "La tabla de arriba dice qué pide cada tarea.",
            ),
        ],
    )


def _pale(picture: Image.Image) -> Image.Image:
    """The picture as it comes out when its pixels were taken to go from 0 to 1."""
    return picture.point([(level + 255) // 2 for level in range(256)] * 3)


def _as_list(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | tuple) else value
