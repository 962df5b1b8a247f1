"""The pictures of the slides that are no live demo: strips from the pocket model, and charts.

All are made in the language chosen: words to draw from, labels, letters of a chart.
Charts are the lessons' own, from `sdlesson.figures` and the committed tables. What the model draws
is kept in an ignored folder, by its weights and settings, so that each picture is drawn once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from matplotlib.text import Text as Words
from PIL import Image, ImageFilter

from demos import ASTRONAUT, DEMOS, GUIDANCE, Show
from sdlesson.diffusion import add_noise, decode, denoise, embed, predict_original_sample
from sdlesson.experiments import sweep
from sdlesson.figures import bars, curves
from sdlesson.figures.charts import Chart
from sdlesson.images import to_images, to_pixels
from sdlesson.language import Text, language, say
from sdlesson.metrics import measured
from sdlesson.pocket.world import Scene, render
from sdlesson.pocket.world.subject import subject_photos

CHART_DPI = 190
LARGER_LETTERS = 1.18

COVER = [
    ASTRONAUT,
    Text("a panda riding a dragon in the forest", "un panda montando un dragón en el bosque"),
    Text("a cat next to a pizza", "un gato junto a una pizza"),
    Text("sushi in space", "sushi en el espacio"),
]
HOUSE = Text("a house in a field", "una casa en el campo")
STYLES = [
    Text("in the style of Monet", "al estilo de Monet"),
    Text("pencil sketch", "dibujo a lápiz"),
    Text("pixel art", "pixel art"),
    Text("at night", "de noche"),
]
CHECKED = [
    Text("broccoli in a field", "brócoli en el campo"),
    Text("a tree in the snow", "un árbol en la nieve"),
    Text("a cat in the snow", "un gato en la nieve"),
]
FLOWERS_NAMED = {
    "red": "rojas",
    "yellow": "amarillas",
    "green": "verdes",
    "blue": "azules",
    "purple": "moradas",
}
HATS_DENIED = {
    "en": ["", "hat", "with a hat", "wearing a hat", "with no hat", "without a hat"],
    "es": ["", "sombrero", "con sombrero", "sin sombrero"],
}
"""The negative prompts of the chart."""


def all_shows(pipe: StableDiffusionPipeline, folder: Path) -> dict[str, Show]:
    """Draw every strip; `folder` keeps what the model drew."""
    shows = {name: demo.draw(pipe, language(), folder=folder) for name, demo in DEMOS.items()}
    return shows | {name: make(pipe, folder) for name, make in STRIPS.items()}


def cover(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """Four scenes that were never shown in training."""
    prompts = [say(*prompt) for prompt in COVER]
    drawn = sweep(pipe, prompts, seed=2, guidance_scale=GUIDANCE, folder=folder)
    return Show(drawn.images, prompts, 4)


def styles(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """One house, four styles."""
    texts = [say(*style) for style in STYLES]
    prompts = [f"{say(*HOUSE)}, {text}" for text in texts]
    drawn = sweep(pipe, prompts, seed=3, guidance_scale=GUIDANCE, folder=folder)
    return Show(drawn.images, texts, 4)


def noising(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """A real scene under more and more noise."""
    noise = torch.randn((1, 3, 128, 128), generator=torch.Generator().manual_seed(0))
    pixels = to_pixels([_scene()])
    times = torch.tensor([0, 150, 350, 600, 999])
    noisy = add_noise(
        pixels.expand(5, -1, -1, -1), noise.expand(5, -1, -1, -1), times, _alphas(pipe)
    )
    return Show(to_images(noisy), [f"t = {t}" for t in times.tolist()], 5)


@torch.no_grad()
def denoising(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """What the U-Net takes for the end, at five of the steps."""
    asked = {"num_inference_steps": 25, "guidance_scale": GUIDANCE}
    generator = torch.Generator().manual_seed(0)
    steps = list(denoise(pipe, say(*ASTRONAUT), generator=generator, **asked))
    chosen = [steps[index] for index in (0, 3, 7, 12, 24)]
    images = [decode(pipe, step.pred_original_sample)[0] for step in chosen]
    word = say("step", "paso")
    return Show(images, [f"{word} {step.index + 1}" for step in chosen], 5)


@torch.no_grad()
def no_average(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """A noisy picture, blurred, and as the U-Net sees through it without a word."""
    latents = pipe.vae.encode(to_pixels([_scene()])).latent_dist.mean
    latents = latents * pipe.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    time = torch.tensor([300])
    noisy = add_noise(latents, noise, time, _alphas(pipe))
    noise_pred = pipe.unet(noisy, time, encoder_hidden_states=embed(pipe, [""])).sample
    guess = predict_original_sample(noisy, noise_pred, _alphas(pipe)[300])
    shown = decode(pipe, noisy)[0]
    images = [shown, shown.filter(ImageFilter.GaussianBlur(3)), decode(pipe, guess)[0]]
    labels = [
        say("noise in its latents", "ruido en los latentes"),
        say("neighbours averaged", "promedio de vecinos"),
        say("U-Net, one look, no words", "U-Net: un vistazo, sin palabras"),
    ]
    return Show(images, labels, 3)


@torch.no_grad()
def channels(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """A scene and the four channels of its latents."""
    latents = pipe.vae.encode(to_pixels([_scene()])).latent_dist.mean[0]
    low, high = latents.amin((1, 2), keepdim=True), latents.amax((1, 2), keepdim=True)
    grey = ((latents - low) / (high - low) * 255).byte()
    small = [Image.fromarray(channel.numpy()).convert("RGB") for channel in grey]
    images = [_scene(), *(image.resize((128, 128), Image.Resampling.NEAREST) for image in small)]
    first = say("128 × 128 × 3 pixels", "128 × 128 × 3 píxeles")
    rest = [f"{say('channel', 'canal')} {n}: 16 × 16" for n in range(1, 5)]
    return Show(images, [first, *rest], 5)


def checker(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """What the safety checker makes of broccoli, of a tree, of a cat."""
    prompts = [say(*prompt) for prompt in CHECKED]
    drawn = sweep(
        pipe, prompts, seed=0, guidance_scale=GUIDANCE, folder=folder, report=lambda note: None
    )
    verdicts = [
        say("flagged", "marcada") if one.flagged else say("passes", "pasa") for one in drawn
    ]
    labels = [f"{prompt}: {verdict}" for prompt, verdict in zip(prompts, verdicts, strict=True)]
    return Show(drawn.images, labels, 3)


def plimo(pipe: StableDiffusionPipeline, folder: Path) -> Show:
    """The four photos of lessons 06 and 07."""
    return Show(subject_photos(4), [say("photo", "foto")] * 4, 4)


STRIPS: dict[str, Callable[[StableDiffusionPipeline, Path], Show]] = {
    make.__name__: make
    for make in (channels, checker, cover, denoising, no_average, noising, plimo, styles)
}


def guidance_chart() -> Chart:
    """How often the picture is right, by guidance."""
    table = measured("guidance")
    return curves(
        table.column("guidance_scale"),
        {table.heading(name): table.column(name) for name in ("clear", "subject", "pair")},
        x_label=table.heading("guidance_scale"),
        y_label=say("of all pictures", "del total de imágenes"),
        log_x=True,
        percent=True,
    )


def clipped_chart() -> Chart:
    """What guidance does to colours."""
    table, (real,) = measured("guidance"), measured("renders").rows
    scales = table.column("guidance_scale")
    return curves(
        scales,
        {
            table.heading("clipped"): table.column("clipped"),
            say("real renders", "reales"): [real["clipped"].value] * len(scales),
        },
        x_label=table.heading("guidance_scale"),
        y_label=say("share of pixels", "proporción de píxeles"),
        log_x=True,
        percent=False,
    )


def steps_chart() -> Chart:
    """How often the picture is right, by steps."""
    table = measured("steps")
    return curves(
        table.column("num_inference_steps"),
        {table.heading(name): table.column(name) for name in ("clear", "subject", "pair")},
        x_label=table.heading("num_inference_steps"),
        y_label=say("of all pictures", "del total de imágenes"),
        log_x=True,
        percent=True,
    )


def hats_chart() -> Chart:
    """How many wear a hat, by negative prompt."""
    rows = [row for row in measured("hats").rows if row["prompt"] == "…"]
    _, second = (n for n, row in enumerate(rows) if row["negative_prompt"] == "")
    own = say(rows[:second], rows[second:])  # each language begins with no negative prompt
    worn = {row["negative_prompt"]: row["hat"] for row in own}
    chosen = HATS_DENIED[language()]
    return bars(
        [text or say("(none)", "(ninguno)") for text in chosen],
        [worn[text] for text in chosen],
        y_label=say("wear a hat", "llevan sombrero"),
        percent=True,
    )


def bias_chart() -> Chart:
    """Yellow in training, yellow when drawn, and the colour that was named."""
    rows = {row["prompt"]: row for row in measured("bias").rows}
    named = [rows[f"a {colour} flower"][colour] for colour in FLOWERS_NAMED]
    labels = [  # in words where the class is Spanish: the table was drawn from English prompts
        say("yellow in training", "amarillas al entrenar"),
        say("yellow for “a flower”", "amarillas sin pedirlas"),
        *(say(f"“a {en} flower”", f"{es} al pedirlas") for en, es in FLOWERS_NAMED.items()),
    ]
    shares = [rows["(training)"]["yellow"], rows["a flower"]["yellow"], *named]
    return bars(labels, shares, y_label=say("of the flowers", "de las flores"), percent=True)


def drift_chart() -> Chart:
    """What full DreamBooth without a prior gains, and what it loses."""
    table = measured("dreambooth_steps")
    rows = [row for row in table.rows if row["model"] == "full, no prior"]
    shown = replace(table, rows=rows)
    return curves(
        shown.column("steps"),
        {table.heading(name): shown.column(name) for name in ("closed", "style", "class_right")},
        x_label=table.heading("steps"),
        y_label=say("share", "proporción"),
        percent=True,
    )


CHARTS: dict[str, Callable[[], Chart]] = {
    make.__name__: make
    for make in (bias_chart, clipped_chart, drift_chart, guidance_chart, hats_chart, steps_chart)
}
ALT = {
    "bias_chart": Text("Bars: colours of flowers", "Barras: colores de las flores"),
    "clipped_chart": Text(
        "Curve: clipped pixels by guidance", "Curva: píxeles quemados según guía"
    ),
    "drift_chart": Text("Curves: what DreamBooth gains and loses", "Curvas: qué gana y qué pierde"),
    "guidance_chart": Text("Curves: right pictures by guidance", "Curvas: aciertos según la guía"),
    "hats_chart": Text("Bars: hats by negative prompt", "Barras: sombreros según el negativo"),
    "steps_chart": Text("Curves: right pictures by steps", "Curvas: aciertos según los pasos"),
}


def save_chart(chart: Chart, path: Path) -> None:
    """Write a chart for a projector: with larger letters than in a notebook."""
    for text in chart.findobj(Words):
        text.set_fontsize(text.get_fontsize() * LARGER_LETTERS)
    chart.savefig(path, format="png", dpi=CHART_DPI, bbox_inches="tight")


def _scene() -> Image.Image:
    return render(Scene("single", ("robot",), "beach", "plain", seed=1))


def _alphas(pipe: StableDiffusionPipeline) -> torch.Tensor:
    return pipe.scheduler.alphas_cumprod
