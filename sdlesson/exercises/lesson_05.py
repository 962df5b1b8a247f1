"""The checks of lesson 05: what is right, the usual mistakes, and hints from try to try."""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image, ImageFilter
from torch import Generator, Tensor

from sdlesson.editing import box_mask, slerp
from sdlesson.exercises.checking import Case, Mistake, Verdict, check_function
from sdlesson.language import say


def first_step(answer: Callable[[int, float], Any]) -> Verdict:
    """Exercise 1: where on the schedule a strength begins."""
    cases = [
        Case(f"num_inference_steps={steps}, strength={strength}", (steps, strength))
        for steps, strength in ((10, 0.3), (25, 0.6), (25, 1.0), (8, 0.99), (50, 0.5))
    ]
    return check_function(
        answer,
        lambda steps, strength: steps - int(steps * strength),
        cases,
        name="05.1",
        mistakes=[
            Mistake(
                lambda steps, strength: int(steps * strength),
                say(
                    "That is how many steps are taken, not how many are passed over.",
                    "Esos son los pasos que se dan, no los que se saltan.",
                ),
            ),
            Mistake(
                lambda steps, strength: steps - round(steps * strength),
                say(
                    "diffusers drops the fraction; it does not round.",
                    "diffusers descarta los decimales; no redondea.",
                ),
            ),
        ],
        hints=[
            say("Strength 1 passes over no step.", "Con fuerza 1 no se salta ningún paso."),
            say(
                "How many steps are taken, as a whole number? The others are passed over.",
                "¿Cuántos pasos se dan, en números enteros? Los demás se saltan.",
            ),
            say(
                "num_inference_steps - int(...)",
                "num_inference_steps - int(...)",
            ),
        ],
    )


def put_back(answer: Callable[..., Any]) -> Verdict:
    """Exercise 2: the known part, with the noise of this level, around the new one."""
    generator = Generator().manual_seed(5)
    latents, clean, noise = torch.randn((3, 1, 4, 4, 4), generator=generator)
    hole = torch.zeros((1, 1, 4, 4))
    hole[..., 1:3, 1:3] = 1
    cases = [
        Case(f"alpha_bar={bar}", (latents, clean, noise, hole, torch.tensor(bar)))
        for bar in (0.2, 0.9)
    ]
    return check_function(
        answer,
        _put_back,
        cases,
        name="05.2",
        mistakes=[
            Mistake(
                lambda latents, clean, noise, hole, bar: _put_back(
                    latents, clean, noise, 1 - hole, bar
                ),
                say(
                    "The hole is where `hole` is 1; there the new latents stay.",
                    "El hueco está donde `hole` vale 1; ahí se quedan los latentes nuevos.",
                ),
            ),
            Mistake(
                lambda latents, clean, noise, hole, bar: (1 - hole) * clean + hole * latents,
                say(
                    "The known part is clean and the rest is noisy: the U-Net knows no such mix.",
                    "La parte conocida está limpia y el resto tiene ruido: la U-Net no conoce "
                    "esa mezcla.",
                ),
            ),
            Mistake(
                lambda latents, clean, noise, hole, bar: (
                    (1 - hole) * (bar * clean + (1 - bar) * noise) + hole * latents
                ),
                say("Both shares need a square root.", "A las dos partes les falta la raíz."),
            ),
        ],
        hints=[
            say(
                "First the known part at this level of noise, then the mix.",
                "Primero la parte conocida con este nivel de ruido; después, la mezcla.",
            ),
            say(
                "Noise is added as in lesson 02: two square roots.",
                "El ruido se añade como en la lección 02: con dos raíces cuadradas.",
            ),
            say("(1 - hole) * known + hole * latents", "(1 - hole) * known + hole * latents"),
        ],
    )


def paste(answer: Callable[..., Any]) -> Verdict:
    """Exercise 3: the new pixels inside of the mask, the old ones outside."""
    old, new = Image.new("RGB", (16, 12), "navy"), Image.new("RGB", (16, 12), "gold")
    cases = [
        Case(f"box={box}", (old, new, box_mask(old.size, box)))
        for box in ((2, 3, 9, 8), (0, 0, 16, 12))
    ]
    return check_function(
        lambda *parts: _exact(answer(*parts)),
        lambda old, new, mask: _exact(Image.composite(new, old, mask)),
        cases,
        name="05.3",
        tolerance=0,
        mistakes=[
            Mistake(
                lambda old, new, mask: _exact(Image.composite(old, new, mask)),
                say(
                    "Inside and outside have changed places.",
                    "Lo de dentro y lo de fuera están cambiados.",
                ),
            ),
            Mistake(
                lambda old, new, mask: _exact(
                    Image.composite(new, old, mask.filter(ImageFilter.GaussianBlur(2)))
                ),
                say(
                    "A soft edge reaches beyond the mask, and pixels change there.",
                    "Un borde suave se sale de la máscara, y allí cambian píxeles.",
                ),
            ),
        ],
        hints=[
            say("Pillow has a function for it.", "Pillow tiene una función para eso."),
            say(
                "Image.composite takes its first picture where the mask is white.",
                "Image.composite toma la primera imagen donde la máscara es blanca.",
            ),
            say("Image.composite(new, old, mask)", "Image.composite(new, old, mask)"),
        ],
    )


def between(answer: Callable[..., Any]) -> Verdict:
    """Exercise 4: noise on the way between two noises, as long as both are."""
    a, b = torch.randn((2, 4, 16, 16), generator=Generator().manual_seed(6))
    return check_function(
        answer,
        slerp,
        [Case(f"share={share}", (a, b, share)) for share in (0.0, 0.25, 0.5, 1.0)],
        name="05.4",
        tolerance=1e-3,
        mistakes=[
            Mistake(
                torch.lerp,
                say(
                    "That is the straight line: half-way its noise is too weak.",
                    "Esa es la línea recta: a mitad de camino el ruido es demasiado débil.",
                ),
            ),
            Mistake(
                lambda a, b, share: slerp(b, a, share),
                say("It goes from b to a.", "Va de b hacia a."),
            ),
        ],
        hints=[
            say(
                "The two weights are sines, not share and 1 - share.",
                "Los dos pesos son senos, no share y 1 - share.",
            ),
            say(
                "Of the angle, a has the part that is left, b the part that is done.",
                "Del ángulo, a lleva la parte que falta y b la que ya está hecha.",
            ),
            say(
                "(sin((1 - share) * angle) * a + sin(share * angle) * b) / sin(angle)",
                "(sin((1 - share) * angle) * a + sin(share * angle) * b) / sin(angle)",
            ),
        ],
    )


def _put_back(latents: Tensor, clean: Tensor, noise: Tensor, hole: Tensor, bar: Tensor) -> Tensor:
    known = bar.sqrt() * clean + (1 - bar).sqrt() * noise
    return (1 - hole) * known + hole * latents


def _exact(image: Image.Image | None) -> Tensor | None:
    """Every level of every pixel: here no tolerance forgives a step."""
    if not isinstance(image, Image.Image):
        return image
    return torch.tensor(list(image.convert("RGB").tobytes()))
