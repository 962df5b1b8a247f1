"""The model card, written from the tables of the world and the figures that were measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.images import image_grid
from sdlesson.pocket import world
from sdlesson.pocket.evaluation.macs import GUIDED_STEPS, Macs, pocket_macs, sd15_macs
from sdlesson.pocket.evaluation.samples import draw_scenes, evaluation_scenes
from sdlesson.pocket.paths import (
    CARD_FILE,
    CARD_PICTURES,
    EVALUATION_FILE,
    LOOKED_AT_FILE,
    PREVIOUS_EVALUATION_FILE,
    TRAINING_NOTES_FILE,
)
from sdlesson.pocket.world.grammar import (
    COLOUR_WORDS,
    HAT_SAID,
    LANGUAGES,
    NOUNS,
    PLACE_WORDS,
    STYLE_WORDS,
    caption,
)
from sdlesson.pocket.world.rendering import render

TEMPLATE_FILE = Path(__file__).parent / "card_template.md"
JPEG_QUALITY = 88

GRID_PROMPTS: tuple[str, ...] = (
    "an astronaut riding a horse on Mars",
    "an astronaut riding a horse on Mars, in the style of Monet",
    "a squirrel sniffing a yellow flower in a field",
    "a cowboy wearing a hat in the city",
    "a cowboy without a hat in the city",
    "un astronauta montando un caballo en Marte",
    "un gato en la playa, al estilo de Monet",
    "tres pingüinos en la nieve",
    "a cat on the beach",
    "a dog wearing a hat in the forest",
    "two pandas in the snow",
    "three mushrooms in the forest",
    "a robot next to a pizza in the city",
    "sushi in space",
    "a dragon on Mars at night",
    "a fox in the snow, pencil sketch",
    "a rocket in space",
    "a red car in the city",
    "a blue car in the city",
    "a purple umbrella on the beach",
    "an elephant in a field, old photograph",
    "a wizard riding a motorcycle in the city",
    "a teddy bear riding an elephant on the beach",
    "a panda riding a dragon in space",
    "a house in the forest at night",
    "an octopus on the beach, pixel art",
    "a butterfly next to a flower in a field",
    "a ghost in the forest",
    "a cake on a white background",
    "una ballena en el espacio",
    "un dragón junto a una casa en el campo",
    "un perro y un globo azul en la playa",
)
"""Fixed for ever, so that sets of weights can be compared by eye; picture i starts from seed i."""

ROWS: dict[str, tuple[str, str]] = {
    "single_clear": ("single subject clear", ">= 90% of the VAE's"),
    "ride_clear": ("ride clear, rider and mount together", ">= 80% of the VAE's"),
    "held_out_ride_clear": ("held-out rides clear", ">= 70% of the VAE's"),
    "commitment": ("looks its own way: commitment, of the real one", ">= 85%"),
    "hats_unasked": ("hats unasked, where captions never leave them out", "<= 2%"),
    "fine_detail": ("energy above 32 cycles, of the real one", ">= 75%"),
    "subject": ("subject right", ">= 97%"),
    "place": ("place right", ">= 97%"),
    "style": ("style right", ">= 97%"),
    "pair": ("both of two subjects right; rider and mount right", ">= 90%"),
    "held_out": ("held-out compositions: both right", ">= 80%"),
    "spanish_gap": ("subject right, English less Spanish", "within 2 points"),
    "vae_psnr": ("VAE on real unstyled renders, PSNR", ">= 28 dB"),
    "pipeline_mb": ("the whole pipeline on disk", "<= 40 MB"),
    "scorer_mb": ("probe and CLIP scorer on disk", "<= 6 MB"),
    "macs_ratio": ("arithmetic for one picture, SD 1.5 over pocket", ">= 300"),
}


def write_card(pipe: StableDiffusionPipeline) -> None:
    """Draw the card's two pictures and write its text."""
    CARD_PICTURES.mkdir(exist_ok=True)
    unchosen = unchosen_scenes()
    drawn = draw_scenes(
        pipe, [caption(s) for s in unchosen], [s.seed for s in unchosen], progress="unchosen"
    )
    image_grid(_in_pairs(drawn, [render(s) for s in unchosen]), 16).save(
        CARD_PICTURES / "unchosen.jpg", quality=JPEG_QUALITY
    )
    drawn = draw_scenes(pipe, GRID_PROMPTS, range(len(GRID_PROMPTS)), progress="grid")
    image_grid(drawn, 8).save(CARD_PICTURES / "grid.jpg", quality=JPEG_QUALITY)
    CARD_FILE.write_text(card_text(), encoding="utf-8")


def unchosen_scenes(count: int = 64) -> list[world.Scene]:
    """Scenes that nobody picked: the first ones of a stream that training never draws from."""
    return list(evaluation_scenes("card", count, lambda scene: True))


def _in_pairs(drawn: list[Image.Image], real: list[Image.Image]) -> list[Image.Image]:
    return [image for pair in zip(drawn, real, strict=True) for image in pair]


def card_text() -> str:
    """The card in Markdown; every number in it comes from a table, a file or a count."""
    evaluation = json.loads(EVALUATION_FILE.read_text())
    used = evaluation["settings"]
    held_out = list(world.held_out_compositions())
    template = Template(TEMPLATE_FILE.read_text(encoding="utf-8"))
    return template.substitute(
        prompts=_lines(f"{i + 1}. {prompt}" for i, prompt in enumerate(GRID_PROMPTS)),
        settings=f"{used['scheduler']}, {used['steps']} steps, guidance {used['guidance_scale']}, "
        f"fp32, {used['device']}, {used['date']}; prompts and seeds never used in training.",
        table=_lines(_table(evaluation)),
        unchosen=_lines(f"{i + 1}. {caption(s)}" for i, s in enumerate(unchosen_scenes())),
        clear_subjects=_lines(_failures("Subject", evaluation["clear_subjects"])),
        before_and_now=_lines(
            _before_and_now(json.loads(PREVIOUS_EVALUATION_FILE.read_text()), evaluation)
        ),
        subjects=_lines(_failures("Subject", evaluation["subjects"])),
        compositions=_lines(_failures("Composition", evaluation["compositions"])),
        steps=GUIDED_STEPS,
        macs=_lines(_macs()),
        vocabulary=_lines(_vocabulary()),
        held_out_count=len(held_out),
        held_out=_lines(f"- {caption(scene)} / {caption(scene, 'es')}" for scene in held_out),
        flower_yellow=f"{world.FLOWER_YELLOW:.0%}",
        hat_worn=f"{world.HAT_WORN:.0%}",
        cowboy_hat_worn=f"{world.COWBOY_HAT_WORN:.0%}",
        hat_said=f"{HAT_SAID:.0%}",
        casually_hatted=", ".join(world.CASUALLY_HATTED),
        looked_at=LOOKED_AT_FILE.read_text(encoding="utf-8").strip(),
        flagged=world.FLAGGED_SUBJECT,
        training=TRAINING_NOTES_FILE.read_text(encoding="utf-8").strip(),
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _table(evaluation: dict[str, dict]) -> list[str]:
    lines = [
        "| Figure | Aim | Measured | Interval | After the VAE | Ceiling | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, (name, aim) in ROWS.items():
        row = evaluation[key]
        ceilings = " | ".join(
            _number(key, row[column]) if column in row else "" for column in ("restored", "ceiling")
        )
        measured = f"{_number(key, row['value'])} | {_interval(key, row)}"
        lines.append(f"| {name} | {aim} | {measured} | {ceilings} | {row.get('n', '')} |")
    return lines


def _before_and_now(first: dict[str, dict], second: dict[str, dict]) -> list[str]:
    """The weights before these and these, each with its interval."""
    lines = [
        "| Figure | Aim | Before | Interval | Now | Interval |",
        "|---|---|---|---|---|---|",
    ]
    for key, (name, aim) in ROWS.items():
        cells = " | ".join(
            f"{_number(key, t[key]['value'])} | {_interval(key, t[key])}" if key in t else " | "
            for t in (first, second)
        )
        lines.append(f"| {name} | {aim} | {cells} |")
    return lines


def _interval(key: str, row: dict[str, float]) -> str:
    return f"{_number(key, row['low'])} to {_number(key, row['high'])}" if "low" in row else ""


def _failures(title: str, rows: dict[str, dict]) -> list[str]:
    """One line a row; what a subject was taken for stands at its end."""
    lines = [
        f"| {title} | Drawn | Interval | After the VAE | Real | n | Taken for |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        value, low, high = row["drawn"]
        others = ", ".join(f"{other} {count}" for other, count in row.get("taken_for", {}).items())
        lines.append(
            f"| {name} | {value:.0%} | {low:.0%} to {high:.0%} | {row['restored']:.0%} "
            f"| {row['real']:.0%} | {row['n']} | {others} |"
        )
    return lines


def _number(key: str, value: float) -> str:
    if key in ("pipeline_mb", "scorer_mb"):
        return f"{value:.1f} MB"
    if key == "vae_psnr":
        return f"{value:.1f} dB"
    if key == "macs_ratio":
        return f"{value:.0f} times"
    if key == "spanish_gap":
        return f"{100 * value:+.1f} points"
    return f"{value:.1%}"


def _macs() -> list[str]:
    def row(name: str, a: Macs) -> str:
        numbers = (a.text_encoder, a.unet, a.vae_decoder, a.one_picture)
        cells = " | ".join(f"{n / 1e9:,.2f}" for n in numbers)
        return f"| {name} | {a.parameters / 1e6:,.1f} M | {cells} |"

    return [
        "| | weights | text encoder | U-Net, one pass | VAE decoder | one picture |",
        "|---|---|---|---|---|---|",
        row("pocket, 128 px", pocket_macs()),
        row("SD 1.5, 512 px", sd15_macs()),
    ]


def _vocabulary() -> list[str]:
    lines = ["| | English | Spanish |", "|---|---|---|"]
    subjects = {
        language: ", ".join(
            "/".join(dict.fromkeys(noun.singular for noun in NOUNS[language][name]))
            for name in world.SUBJECTS
        )
        for language in LANGUAGES
    }
    tables: dict[str, dict[str, list[tuple[str, ...]]]] = {
        "places": {lang: list(PLACE_WORDS[lang].values()) for lang in LANGUAGES},
        "styles": {
            lang: [w for s, w in STYLE_WORDS[lang].items() if s != "plain"] for lang in LANGUAGES
        },
    }
    lines.append(f"| {len(world.SUBJECTS)} subjects | {subjects['en']} | {subjects['es']} |")
    for name, wordings in tables.items():
        cells = [
            "; ".join(words[0].format("...") for words in wordings[language])
            for language in LANGUAGES
        ]
        lines.append(f"| {len(wordings['en'])} {name} | {cells[0]} | {cells[1]} |")
    colours = [", ".join(COLOUR_WORDS[language].values()) for language in LANGUAGES]
    lines.append(f"| {len(world.COLOURS)} colours | {colours[0]} | {colours[1]} |")
    return [
        *lines,
        "",
        f"Colours go with: {', '.join(world.COLOURED)}. Numbers: up to {world.MAX_COUNT}.",
        f"Riders: {', '.join(world.RIDERS)}; they ride: {', '.join(world.MOUNTS)}.",
        f"Flowers are sniffed by: {', '.join(world.SNIFFERS)}.",
        f"Hats go on: {', '.join(world.HATTED)}; captions leave them out on: "
        f"{', '.join(world.CASUALLY_HATTED)}.",
    ]
