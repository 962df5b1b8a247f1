"""What words do to the pocket model's pictures, in large samples: the tables of lesson 04.

Each is written as soon as it is done:

- hats: how often someone wears a hat, by what the prompt and the negative prompt say of it;
- counting: how many things are drawn when one to five are asked for;
- held_out: compositions that training never showed, together and each, beside some that it did;
- languages: the same scenes from the same noise, asked for in English and in Spanish;
- bias: the colours of flowers in training scenes, and drawn with and without a colour named;
- details: what a place and a style in the prompt do to accuracy and diversity.

Scenes are none of training's; guidance and steps are those of a call that leaves them out. A row
draws n pictures, a composition of held_out an eighth of that: 41 n in all, which is about 70
minutes on one core at n = 250, and 9 at n = 32.

    python benchmarks/prompts_and_bias.py --n 250
    python benchmarks/prompts_and_bias.py --n 32 --only hats bias
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.metrics import diversity, mean, pocket_probe, share, write_table
from sdlesson.pocket.evaluation import judging, samples
from sdlesson.pocket.evaluation.recognition import all_clear
from sdlesson.pocket.world import (
    CASUALLY_HATTED,
    COLOURS,
    MAX_COUNT,
    PLACE_WORDS,
    UNCOUNTED,
    Scene,
    caption,
    held_out_compositions,
    render,
)
from sdlesson.probe import Reading
from sdlesson.runtime import best_device, device_name
from sdlesson.settings import DEFAULT_STEPS

GUIDANCE_SCALE = 7.5
PICTURES_A_PROMPT = 8
HELD_OUT_PART = 8

HATS_SAID = {
    "en": ("wearing a hat", "without a hat", "with no hat"),
    "es": ("con sombrero", "sin sombrero"),
}
"""The first is what `caption` says."""
HATS_DENIED = {
    "en": (
        "hat", "hats", "a hat", "with a hat", "wearing a hat",
        "no hat", "without a hat", "with no hat", "an umbrella",
    ),
    "es": ("sombrero", "con sombrero", "sin sombrero", "un paraguas"),
}  # fmt: skip
"""Negative prompts. The last is a control, which has nothing to do with hats."""
NUMBERS = {1: "a", 2: "two", 3: "three", 4: "four", 5: "five"}
SPANISH_NUMBERS = {1: "un", 2: "dos", 3: "tres", 4: "cuatro", 5: "cinco"}
TRAINED_COUNTS = range(1, MAX_COUNT + 1)

HEADINGS = {
    "prompt": ("prompt", "prompt"),
    "negative_prompt": ("negative prompt", "prompt negativo"),
    "hat": ("wears a hat", "lleva sombrero"),
    "clear": ("clear to an eye", "clara a la vista"),
    "subject": ("subject right", "sujeto correcto"),
    "place": ("place right", "lugar correcto"),
    "style": ("style right", "estilo correcto"),
    "counted_1": ("counted: 1", "contados: 1"),
    "counted_2": ("2", "2"),
    "counted_3": ("3", "3"),
    "right": ("right", "acierta"),
    "real": ("right on real scenes", "acierta en escenas reales"),
    "spanish": ("in Spanish", "en español"),
    "diversity": ("diversity", "diversidad"),
    "red": ("red", "roja"),
    "yellow": ("yellow", "amarilla"),
    "green": ("green", "verde"),
    "blue": ("blue", "azul"),
    "purple": ("purple", "morada"),
}

Row = dict[str, Any]


def main() -> None:
    """Measure the tables asked for and write each one as it is done."""
    tables: dict[str, Callable[[StableDiffusionPipeline, int], list[Row]]] = {
        "hats": measure_hats,
        "counting": measure_counting,
        "held_out": measure_held_out,
        "languages": measure_languages,
        "bias": measure_bias,
        "details": measure_details,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=250, help="pictures in a row")
    parser.add_argument("--only", choices=tables, nargs="+", default=list(tables))
    parser.add_argument("--device", default=best_device())
    options = parser.parse_args()
    pipe, device = samples.judged_pipeline(options.device), device_name(options.device)
    for name in options.only:
        started = time.perf_counter()
        rows = tables[name](pipe, options.n)
        headings = {column: HEADINGS[column] for column in rows[0]}
        write_table(name, rows, options.n, headings=headings, device=device)
        print(f"{name}: {len(rows)} rows in {(time.perf_counter() - started) / 60:.1f} minutes")


def measure_hats(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """One row for each thing that a prompt or a negative prompt can say of a hat."""
    wearers = _singles("hats", n, lambda s: s.subjects[0] in CASUALLY_HATTED and s.count == 1)
    scenes = [replace(scene, hats=(False,)) for scene in wearers]
    rows = []
    for language, said in HATS_SAID.items():
        hatted = [caption(replace(scene, hats=(True,)), language) for scene in scenes]
        prompts = {"…": [caption(scene, language) for scene in scenes]}
        for words in said:
            prompts[f"… {words}"] = [prompt.replace(said[0], words) for prompt in hatted]
        asked = [(label, "") for label in prompts] + [("…", no) for no in HATS_DENIED[language]]
        for label, negative in asked:
            read = pocket_probe().read(draw(pipe, prompts[label], scenes, negative_prompt=negative))
            hat = share(reading.hat > 0.5 for reading in read)
            subject = judging.share_right(judging.subject_right, scenes, read)
            rows.append(
                {"prompt": label, "negative_prompt": negative, "hat": hat, "subject": subject}
            )
            print(rows[-1])
    return rows


def measure_counting(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """One row for each number; training stops at three, and so does the probe."""
    scenes = _singles("counting", n, lambda s: s.subjects[0] not in UNCOUNTED)
    rows = []
    for number, word in NUMBERS.items():
        known = number in TRAINED_COUNTS
        wanted = [replace(scene, count=number if known else 2) for scene in scenes]
        prompts = [caption(scene) for scene in wanted]
        if not known:
            prompts = [prompt.replace("two ", f"{word} ", 1) for prompt in prompts]
        read = pocket_probe().read(draw(pipe, prompts, scenes))
        row: Row = {"prompt": f"{word} …", "spanish": f"{SPANISH_NUMBERS[number]} …"}
        for seen in TRAINED_COUNTS:
            row[f"counted_{seen}"] = share(reading.count == seen for reading in read)
        real = pocket_probe().read([render(scene) for scene in wanted])
        row["real"] = share(reading.count == number for reading in real) if known else ""
        rows.append(row)
        print(rows[-1])
    return rows


def measure_held_out(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """All that was never shown together, two things that were, and then each of the former.

    Unstyled, so that their likeness can be measured.
    """
    each = max(2, n // HELD_OUT_PART)
    shown = samples.evaluation_scenes("shown", n, lambda s: s.kind in ("beside", "riding"))
    groups = [("shown", "enseñado", [replace(scene, style="plain") for scene in shown])]
    for bare in held_out_compositions():
        names = _bare_caption(bare, "en"), _bare_caption(bare, "es")
        groups.append((*names, _scenes_like(bare, each)))
    rows: list[Row] = []
    never: dict[str, list[bool]] = {}
    for english, spanish, scenes in groups:
        images = draw(pipe, [caption(s) for s in scenes], scenes)
        seen = {
            "clear": [all_clear(scene, image) for scene, image in zip(scenes, images, strict=True)],
            "right": _compositions_right(scenes, images),
            "real": _compositions_right(scenes, [render(scene) for scene in scenes]),
        }
        rows.append({"prompt": english, "spanish": spanish} | _shares(seen))
        print(rows[-1])
        if english != "shown":
            for column, found in seen.items():
                never[column] = never.get(column, []) + found
    return [{"prompt": "never shown", "spanish": "nunca enseñado"} | _shares(never), *rows]


def measure_languages(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """One row for each language; both draw the same scenes from the same noise."""
    scenes = _singles("languages", n, lambda s: True)
    rows = []
    for language, name in (("en", "English"), ("es", "español")):
        prompts = [caption(scene, language) for scene in scenes]
        read = pocket_probe().read(draw(pipe, prompts, scenes))
        rows.append({"prompt": name, **_right(scenes, read)})
        print(rows[-1])
    return rows


def measure_bias(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """The colours of flowers: in real training scenes, drawn without a colour named, and with.

    Only in plain scenes: in a pencil sketch a flower hardly has a colour.
    """
    flowers = _singles("bias", n, lambda s: s.subjects == ("flower",) and not s.colour_named)
    scenes = [replace(scene, style="plain") for scene in flowers]
    real = pocket_probe().read([render(scene) for scene in scenes])
    rows = [{"prompt": "(training)", "spanish": "(entrenamiento)", **_flower_colours(real)}]
    for colour in (None, *COLOURS):
        named = [replace(s, colours=(colour,), colour_named=bool(colour)) for s in scenes]
        read = pocket_probe().read(draw(pipe, [caption(scene) for scene in named], scenes))
        bare = replace(named[0], place="white", count=1)
        names = {"prompt": _bare_caption(bare, "en"), "spanish": _bare_caption(bare, "es")}
        rows.append(names | _flower_colours(read))
        print(rows[-1])
    return rows


def measure_details(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """What a place and a style in the prompt do; several pictures of each prompt, to compare."""
    singles = _singles("details", max(2, n // PICTURES_A_PROMPT), lambda s: s.style != "plain")
    bare = [replace(scene, count=1, hats=(False,), colour_named=False) for scene in singles]
    scenes = [replace(s, seed=s.seed + i) for s in bare for i in range(PICTURES_A_PROMPT)]
    starts = range(0, len(scenes), PICTURES_A_PROMPT)
    rows = []
    for label, spanish, place, style in (
        ("…", "…", False, False),
        ("… on the beach", "… en la playa", True, False),
        ("…, pixel art", "…, pixel art", False, True),
        ("… on the beach, pixel art", "… en la playa, pixel art", True, True),
    ):
        prompts = [_said(scene, place, style) for scene in scenes]
        images = draw(pipe, prompts, scenes)
        groups = [images[start : start + PICTURES_A_PROMPT] for start in starts]
        subject = judging.share_right(judging.subject_right, scenes, pocket_probe().read(images))
        varied = mean(map(diversity, groups))
        rows.append({"prompt": label, "spanish": spanish, "subject": subject, "diversity": varied})
        print(rows[-1])
    return rows


def draw(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    scenes: Sequence[Scene],
    *,
    negative_prompt: str = "",
) -> list[Image.Image]:
    """Draw one picture a prompt, each from its scene's seed, as a call that names no settings."""
    return samples.draw_scenes(
        pipe,
        prompts,
        [scene.seed for scene in scenes],
        negative_prompt=negative_prompt,
        guidance_scale=GUIDANCE_SCALE,
        num_inference_steps=DEFAULT_STEPS,
    )


def _singles(name: str, n: int, wanted: Callable[[Scene], bool]) -> list[Scene]:
    """Scenes of one thing, or of several of a kind, from a stream of chance of their own."""
    stream = samples.evaluation_scenes(name, n, lambda s: s.kind == "single" and wanted(s))
    return list(stream)


def _scenes_like(bare: Scene, n: int) -> list[Scene]:
    """Scenes of one held-out composition, in many places unless the place is what makes it one."""

    def same(scene: Scene) -> bool:
        in_place = bare.kind != "single" or scene.place == bare.place
        return scene.kind == bare.kind and scene.subjects == bare.subjects and in_place

    name = f"held out/{' '.join(bare.subjects)}"
    scenes = samples.evaluation_scenes(name, n, same, held_out=True)
    return [replace(scene, style="plain") for scene in scenes]


def _said(scene: Scene, place: bool, style: bool) -> str:
    """A caption that says the place and the style, or leaves them out."""
    text = caption(scene if style else replace(scene, style="plain"))
    return text if place else text.replace(f" {PLACE_WORDS['en'][scene.place][0]}", "")


def _bare_caption(scene: Scene, language: str) -> str:
    """A caption without the white background that stands for any place."""
    return caption(scene, language).removesuffix(f" {PLACE_WORDS[language]['white'][0]}")


def _compositions_right(scenes: Sequence[Scene], images: Sequence[Image.Image]) -> list[bool]:
    read = pocket_probe().read(images)
    return [judging.composition_right(s, reading) for s, reading in zip(scenes, read, strict=True)]


def _shares(columns: dict[str, list[bool]]) -> Row:
    return {name: share(found) for name, found in columns.items()}


def _right(scenes: Sequence[Scene], read: Sequence[Reading]) -> Row:
    return {
        "subject": judging.share_right(judging.subject_right, scenes, read),
        "place": judging.share_right(judging.place_right, scenes, read),
        "style": judging.share_right(judging.style_right, scenes, read),
    }


def _flower_colours(read: Sequence[Reading]) -> Row:
    return {c: share(reading.colours["flower"] == c for reading in read) for c in COLOURS}


if __name__ == "__main__":
    main()
