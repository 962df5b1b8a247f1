"""The checks of lesson 05: what is right, the usual mistakes, and hints from try to try."""

from collections.abc import Callable
from typing import Any

import numpy as np
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
        for steps, strength in ((10, 0.3), (25, 0.6), (25, 1.0), (8, 0.99), (10, 0.25))
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
            Mistake(
                lambda steps, strength: steps - steps * strength,
                say(
                    "A step is taken or not: drop the fraction with int(...).",
                    "Un paso se da o no se da: descarta los decimales con int(...).",
                ),
            ),
            Mistake(
                lambda steps, strength: int(steps * (1 - strength)),
                say(
                    "Drop the fraction of the steps taken, not of those passed over.",
                    "Descarta la fracción de los pasos que se dan, no la de los que se saltan.",
                ),
            ),
            Mistake(
                lambda steps, strength: steps - int(steps * strength) + 1,
                say(
                    "Steps are numbered from 0: after three that are passed over comes number 3.",
                    "Los pasos se numeran desde 0: tras saltarse tres, viene el número 3.",
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
            Mistake(
                lambda latents, clean, noise, hole, bar: _put_back(
                    latents, clean, noise, hole, 1 - bar
                ),
                say(
                    "Picture and noise have changed places: alpha_bar is the picture's share.",
                    "La imagen y el ruido están cambiados: alpha_bar es la parte de la imagen.",
                ),
            ),
            Mistake(
                lambda latents, clean, noise, hole, bar: _put_back(
                    latents, clean, noise, torch.zeros_like(hole), bar
                ),
                say(
                    "That is the known picture everywhere: in the hole the new latents must stay.",
                    "Eso es la imagen conocida entera: en el hueco van los latentes nuevos.",
                ),
            ),
            Mistake(
                lambda latents, clean, noise, hole, bar: (
                    _put_back(latents, clean, noise, hole, bar) + (1 - hole) * latents
                ),
                say(
                    "Outside of the hole the new latents are still there: multiply them by hole.",
                    "Fuera del hueco siguen los latentes nuevos: multiplícalos por hole.",
                ),
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
        answer,
        lambda old, new, mask: Image.composite(new, old, mask),
        cases,
        name="05.3",
        tolerance=0,
        mistakes=[
            Mistake(
                lambda old, new, mask: Image.composite(old, new, mask),
                say(
                    "Inside and outside have changed places.",
                    "Lo de dentro y lo de fuera están cambiados.",
                ),
            ),
            Mistake(
                lambda old, new, mask: Image.composite(
                    new, old, mask.filter(ImageFilter.GaussianBlur(2))
                ),
                say(
                    "A soft edge reaches beyond the mask, and pixels change there.",
                    "Un borde suave se sale de la máscara, y allí cambian píxeles.",
                ),
            ),
            Mistake(
                lambda old, new, mask: Image.blend(old, new, 0.5),
                say(
                    "Half of each everywhere: the mask has to decide, pixel by pixel.",
                    "Mitad y mitad en todas partes: en cada píxel tiene que decidir la máscara.",
                ),
            ),
            Mistake(
                lambda old, new, mask: new,
                say(
                    "That is the new picture, all of it: outside of the mask the old one stays.",
                    "Esa es la imagen nueva entera: fuera de la máscara se queda la antigua.",
                ),
            ),
            Mistake(
                lambda old, new, mask: old,
                say(
                    "That is the old picture, untouched: in the white goes the new one.",
                    "Esa es la imagen antigua, intacta: en lo blanco va la nueva.",
                ),
            ),
            Mistake(
                lambda old, new, mask: np.asarray(Image.composite(new, old, mask)),
                say(
                    "The numbers are right; Image.fromarray makes a picture of them.",
                    "Los números están bien; Image.fromarray hace de ellos una imagen.",
                ),
            ),
        ],
        hints=[
            say("Pillow has a function for it.", "Pillow tiene una función para eso."),
            say(
                "Image.composite takes its first picture where the mask is white.",
                "Image.composite toma la primera imagen donde la máscara es blanca.",
            ),
            say(
                "Image.composite(..., ..., mask): the picture for the white comes first.",
                "Image.composite(..., ..., mask): primero, la imagen que va en lo blanco.",
            ),
        ],
    )


def between(answer: Callable[..., Any]) -> Verdict:
    """Exercise 4: noise on the way between two noises, as long as both are."""
    a, b = torch.randn((2, 4, 16, 16), generator=Generator().manual_seed(6))
    near = slerp(a, b, 0.4)  # at a narrow angle, which tells more mistakes apart
    return check_function(
        answer,
        slerp,
        [Case(f"share={share}", (a, b, share)) for share in (0.0, 0.25, 0.5, 1.0)]
        + [
            Case(say("a narrow angle, share=0.5", "un ángulo agudo, share=0.5"), (a, near, 0.5)),
        ],
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
                say(
                    "It goes from b to a: at share 0 it must still be a.",
                    "Va de b hacia a: con share 0 todavía tiene que ser a.",
                ),
            ),
            Mistake(
                lambda a, b, share: _arc(a, b, share, angle=torch.tensor(torch.pi / 2)),
                say(
                    "That takes a right angle for granted: read the angle off a and b.",
                    "Eso da por hecho un ángulo recto: calcula el ángulo a partir de a y b.",
                ),
            ),
            Mistake(
                lambda a, b, share: _arc(a, b, share) * _angle(a, b).sin(),
                say(
                    "The weights are right; the sum has still to be divided by sin(angle).",
                    "Los pesos están bien; falta dividir la suma entre sin(angle).",
                ),
            ),
            Mistake(
                lambda a, b, share: _arc(a, b, share, angle=_angle(a, b).cos()),
                say(
                    "That is the cosine: the angle comes out of it with .acos().",
                    "Ese es el coseno: el ángulo se obtiene de él con .acos().",
                ),
            ),
            Mistake(
                lambda a, b, share: _arc(
                    a, b, share, angle=torch.cosine_similarity(a, b, dim=0).acos()
                ),
                say(
                    "One angle for all of the noise: flatten a and b before you compare them.",
                    "Un solo ángulo para todo el ruido: aplana a y b antes de compararlos.",
                ),
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


def _angle(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).acos()


def _arc(a: Tensor, b: Tensor, share: float, angle: Tensor | None = None) -> Tensor:
    """The way along the arc, as by hand: at the angle between the two, or at a wrong one."""
    angle = _angle(a, b) if angle is None else angle
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()
