"""What lesson 02 asks: a corruption, the jump, guidance, DDIM's step, a loop for any scheduler."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdlesson.diffusion import add_noise, ddim_step, guide, predict_original_sample
from sdlesson.exercises.checking import Case, Mistake, Verdict, check, check_function
from sdlesson.images import picture_difference, same_picture
from sdlesson.language import say

AMOUNTS = (0, 0.5, 1)


def spoil(answer: Callable[..., Any], picture: Image.Image) -> Verdict:
    """Exercise 1: any function that leaves a picture alone at 0, and spoils it more and more."""

    def errors() -> Any:
        spoiled = [answer(picture, amount) for amount in AMOUNTS]
        if any(image is None or image is ... for image in spoiled):
            return None
        return [picture_difference(picture, image).mean_error for image in spoiled]

    return check(
        errors,
        lambda found: found[0] == 0 < found[1] < found[2],
        name="02.1",
        asked=say(
            "of the differences at amount 0, 0.5 and 1: first 0, then more and more",
            "de las diferencias con amount 0, 0.5 y 1: primero 0 y luego cada vez más",
        ),
        mistakes=[
            Mistake(
                lambda found: found[0] > found[2],
                say(
                    "It goes the wrong way round: most at 0, least at 1.",
                    "Va al revés: con 0 es cuando más la estropea y con 1, cuando menos.",
                ),
            ),
            Mistake(
                lambda found: found[2] == 0,
                say("It never changes the picture.", "Nunca cambia la imagen."),
            ),
            Mistake(
                lambda found: found[0] > 0,
                say("At 0 it must change nothing.", "Con 0 no debe cambiar nada."),
            ),
            Mistake(
                lambda found: found[1] == found[2],
                say("0.5 and 1 do the same.", "0.5 y 1 hacen lo mismo."),
            ),
        ],
        hints=[
            say(
                "Begin with one change you know, then let amount say how much of it.",
                "Empieza por un cambio que conozcas y deja que amount diga cuánto.",
            ),
            say(
                "Image.blend(image, other, amount) goes from one picture to another.",
                "Image.blend(image, other, amount) va de una imagen a otra.",
            ),
            say(
                'Another picture to go to: Image.new("RGB", image.size, "gray").',
                'Otra imagen a la que ir: Image.new("RGB", image.size, "gray").',
            ),
        ],
    )


def jump(
    answer: Callable[..., Any], clean: Tensor, noise: Tensor, alphas_cumprod: Tensor
) -> Verdict:
    """Exercise 2: the picture at timestep t, in one jump."""

    def at(t: int) -> Tensor:
        return alphas_cumprod[t]

    return check_function(
        answer,
        lambda c, n, t: add_noise(c, n, torch.tensor([t]), alphas_cumprod),
        [Case(f"t={t}", (clean, noise, t)) for t in (500, 0, 999)],
        name="02.2",
        mistakes=[
            Mistake(
                lambda c, n, t: at(t) * c + (1 - at(t)) * n,
                say("The square roots are missing.", "Faltan las raíces cuadradas."),
            ),
            Mistake(
                lambda c, n, t: at(t).sqrt() * n + (1 - at(t)).sqrt() * c,
                say("The picture and the noise are swapped.", "La imagen y el ruido van al revés."),
            ),
            Mistake(
                lambda c, n, t: at(t).sqrt() * c - (1 - at(t)).sqrt() * n,
                say(
                    "A sign is wrong: the noise is added, not taken away.",
                    "Hay un signo mal: el ruido se suma, no se resta.",
                ),
            ),
            Mistake(
                lambda c, n, t: at(t - 1).sqrt() * c + (1 - at(t - 1)).sqrt() * n,
                say(
                    "That is timestep t - 1: counting starts at 0, so take alphas_cumprod[t].",
                    "Ese es el instante t - 1: se cuenta desde 0, así que toma alphas_cumprod[t].",
                ),
            ),
            Mistake(
                lambda c, n, t: at(t).sqrt() * c + (1 - at(t).sqrt()) * n,
                say(
                    "The square root of the noise's share goes over all of it: "
                    "(1 - alpha_bar).sqrt().",
                    "La raíz de la parte del ruido abarca toda la resta: (1 - alpha_bar).sqrt().",
                ),
            ),
        ],
        hints=[
            say(
                "Two products and a sum. Which share grows with t?",
                "Dos productos y una suma. ¿Qué parte crece con t?",
            ),
            say(
                "Both shares are square roots: of alpha_bar, and of 1 - alpha_bar.",
                "Las dos partes son raíces: de alpha_bar y de 1 - alpha_bar.",
            ),
            "alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise",
        ],
    )


def my_guide(answer: Callable[..., Any]) -> Verdict:
    """Exercise 3: from the prediction without words towards the one with them, and on."""
    without, text = torch.tensor(1.0), torch.tensor(3.0)
    given = say("1 without words, 3 with words", "1 sin palabras, 3 con palabras")
    return check_function(
        answer,
        guide,
        [Case(f"{given}, guidance_scale={s:g}", (without, text, s)) for s in (7.5, 0.0, 1.0)],
        name="02.3",
        mistakes=[
            Mistake(
                lambda u, t, s: t + s * (u - t),
                say(
                    "The two predictions are swapped: that leads away from the words.",
                    "Las dos predicciones están al revés: eso aleja de las palabras.",
                ),
            ),
            Mistake(
                lambda u, t, s: u + s * (u - t),
                say(
                    "A sign is wrong: the way is the prediction with words minus the one without.",
                    "Hay un signo mal: el camino es la predicción con palabras menos la otra.",
                ),
            ),
            Mistake(
                lambda u, t, s: t + s * (t - u),
                say(
                    "It begins at the prediction with words, and so goes the way once too often.",
                    "Empieza en la predicción con palabras: recorre el camino una vez de más.",
                ),
            ),
            Mistake(
                lambda u, t, s: t,
                say(
                    "The scale is missing: that goes the way once, whatever is asked for.",
                    "Falta la escala: eso recorre el camino una vez, se pida lo que se pida.",
                ),
            ),
            Mistake(
                lambda u, t, s: s * t,
                say(
                    "Larger, but in no direction: the prediction without words is not in it.",
                    "Más grande, pero sin dirección: falta la predicción sin palabras.",
                ),
            ),
        ],
        hints=[
            say(
                "At scale 0 it is the first prediction, at scale 1 the second.",
                "Con escala 0 es la primera predicción; con escala 1, la segunda.",
            ),
            say(
                "The way is the prediction with words minus the one without.",
                "El camino es la predicción con palabras menos la predicción sin ellas.",
            ),
            say(
                "noise_pred_uncond + guidance_scale * way",
                "noise_pred_uncond + guidance_scale * camino",
            ),
        ],
    )


def my_step(
    answer: Callable[..., Any],
    latents: Tensor,
    noise_pred: Tensor,
    alphas_cumprod: Tensor,
    pairs: Sequence[tuple[int, int]],
) -> Verdict:
    """Exercise 4: DDIM's step, from each first timestep to the second of its pair."""

    def bar(t: int) -> Tensor:
        return alphas_cumprod[t]

    def clean(x: Tensor, eps: Tensor, t: int) -> Tensor:
        return predict_original_sample(x, eps, bar(t))

    return check_function(
        answer,
        lambda x, eps, t, next_t: ddim_step(x, eps, bar(t), bar(next_t)),
        [Case(f"t={t}, next_t={end}", (latents, noise_pred, t, end)) for t, end in pairs],
        name="02.4",
        mistakes=[
            Mistake(
                lambda x, eps, t, next_t: clean(x, eps, t),
                say(
                    "That is the guess of the clean latents: now put noise back.",
                    "Esos son los latentes limpios que imagina: ahora vuelve a poner ruido.",
                ),
            ),
            Mistake(
                lambda x, eps, t, next_t: ddim_step(x, eps, bar(next_t), bar(t)),
                say(
                    "t and next_t are swapped: that goes to more noise.",
                    "t y next_t están al revés: eso lleva a más ruido.",
                ),
            ),
            Mistake(
                lambda x, eps, t, next_t: ddim_step(x, eps, bar(t), bar(t - 1)),
                say(
                    "The next timestep is next_t, not t - 1: drawing takes long strides.",
                    "El instante siguiente es next_t, no t - 1: se dibuja a zancadas.",
                ),
            ),
            Mistake(
                lambda x, eps, t, next_t: (
                    bar(next_t).sqrt() * (x - (1 - bar(t)) * eps) / bar(t).sqrt()
                    + (1 - bar(next_t)).sqrt() * eps
                ),
                say("A square root is missing in clean.", "Falta una raíz cuadrada en clean."),
            ),
            Mistake(
                lambda x, eps, t, next_t: bar(next_t) * clean(x, eps, t) + (1 - bar(next_t)) * eps,
                say(
                    "The square roots are missing in the second line.",
                    "Faltan las raíces cuadradas en la segunda línea.",
                ),
            ),
            Mistake(
                lambda x, eps, t, next_t: (
                    bar(next_t).sqrt() * clean(x, eps, t) - (1 - bar(next_t)).sqrt() * eps
                ),
                say(
                    "A sign is wrong: noise is put back, so it is added.",
                    "Hay un signo mal: el ruido se vuelve a poner, así que se suma.",
                ),
            ),
        ],
        hints=[
            say(
                "Two lines: first clean, then the latents with the noise of next_t.",
                "Dos líneas: primero clean y luego los latentes con el ruido de next_t.",
            ),
            say(
                "clean uses alphas_cumprod[t], the second line alphas_cumprod[next_t].",
                "clean usa alphas_cumprod[t]; la segunda línea, alphas_cumprod[next_t].",
            ),
            say(
                "The second line is your jump again, with noise_pred as its noise.",
                "La segunda línea es otra vez tu salto, con noise_pred como ruido.",
            ),
        ],
    )


def any_loop(
    answer: Callable[..., Any],
    trials: Mapping[str, tuple[Any, int]],
    pictures: Sequence[Image.Image],
) -> Verdict:
    """Exercise 5: the loop with any scheduler, against what the pipeline draws.

    Args:
        answer: The student's loop, of a scheduler and a number of steps.
        trials: A scheduler and its steps by the scheduler's name; DDIM is the first.
        pictures: What the pipeline draws with each.
    """
    names = list(trials)

    def differs(value: Sequence[Image.Image]) -> list[str]:
        pairs = zip(names, value, pictures, strict=True)
        return [name for name, ours, theirs in pairs if not same_picture(ours, theirs)]

    return check(
        wraps(answer)(lambda: [answer(scheduler, steps) for scheduler, steps in trials.values()]),
        list(pictures),
        name="02.5",
        asked=say("the pipeline's pictures with ", "las imágenes del pipeline con ")
        + ", ".join(f"{name} ({steps})" for name, (_, steps) in trials.items()),
        mistakes=[
            Mistake(
                IndexError("out of bounds"),
                say(
                    "The scheduler ran out of steps: go through scheduler.timesteps once, in "
                    "their own order, from much noise to little.",
                    "Al planificador se le acabaron los pasos: recorre scheduler.timesteps una "
                    "vez y en su orden, de mucho ruido a poco.",
                ),
            ),
            Mistake(
                lambda value: differs(value) == names[1:],
                say(
                    "DDIM is right and Euler is not: Euler needs both lines, one before the loop "
                    "and one in it.",
                    "DDIM va bien y Euler no: Euler necesita las dos líneas, una antes del bucle y "
                    "otra dentro.",
                ),
            ),
            Mistake(
                lambda value: names[0] in differs(value),
                say(
                    "Even DDIM differs: compare with my_loop line by line. The usual slips are "
                    "the order of the two halves and the VAE's scale at the end.",
                    "Ni siquiera DDIM coincide: compara con my_loop línea a línea. Lo habitual es "
                    "el orden de las dos mitades y la escala del VAE al final.",
                ),
            ),
        ],
        hints=[
            say(
                "Euler keeps larger numbers than the U-Net knows. Which two lines under Scale "
                "dealt with that?",
                "Euler guarda números mayores que los que conoce la U-Net. ¿Qué dos líneas de "
                "Escalar se ocupaban de eso?",
            ),
            say(
                "One line multiplies the noise before the loop; one prepares what the U-Net sees.",
                "Una línea multiplica el ruido antes del bucle; otra prepara lo que ve la U-Net.",
            ),
            say(
                "latents = noise * scheduler.init_noise_sigma, and "
                "scheduler.scale_model_input(latents, t) for the U-Net alone.",
                "latents = noise * scheduler.init_noise_sigma, y "
                "scheduler.scale_model_input(latents, t) solo para la U-Net.",
            ),
        ],
    )
