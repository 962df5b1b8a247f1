"""What editing keeps and what it changes, in large samples: the tables of lesson 05.

What is edited are real renders of scenes that training never drew. Each table is written as soon
as it is done:

- editing_strength: image to image into another style: is the style right, and the subject kept;
- editing_masks: one of two things removed, a thing replaced, a hat taken off, by what resampling;
- editing_leak: how far pixels outside of a mask move, by the VAE alone and by the whole loop;
- editing_seams: the step at the seam of outpainting and at the tiles of upscaling, between what is
  no seam and what is a plain cut;
- editing_control: does a drawing follow an outline (only where the ControlNet is there).

    python benchmarks/editing.py --n 200
    python benchmarks/editing.py --n 4 --only editing_strength
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Generator

from sdlesson.diffusion import decode, denoise
from sdlesson.editing import (
    Controlled,
    Tiled,
    box_mask,
    load_controlnet,
    outline,
    redraw,
)
from sdlesson.editing.blending import blend
from sdlesson.editing.inpainting import outpaint_as
from sdlesson.editing.pictures import EditSettings
from sdlesson.hub import CONTROL_FOLDER
from sdlesson.images import to_pixels
from sdlesson.metrics import mean, pocket_probe, seam_ratio, share, write_table
from sdlesson.pocket.evaluation import judging, samples
from sdlesson.pocket.world import PLACE_WORDS, SIZE_PX, SUBJECTS, Scene, caption, render
from sdlesson.pocket.world.grammar import STYLE_WORDS
from sdlesson.runtime import best_device, device_name
from sdlesson.settings import DEFAULT_STEPS

BATCH = 32
GUIDANCE_SCALE = 3.0
MASK_STEPS = 15
"""As good as 25 by eye and by the probe, and so 200 pictures a row take no hour."""
STRENGTHS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STYLES = ("pencil", "monet")
STYLE_NAMES = {style: STYLE_WORDS["es"][style][0].format("").strip(", ") for style in STYLES}
RESAMPLES = (1, 4)
WIDE_RESAMPLES = (1, 2, 4)
SPANS = {"seam": 1, "broad": 8}
"""Over one pixel, and over one latent, where a seam that is only blurred still is one."""
RIGHT_HALF, FIGURE, HEAD = (64, 0, 128, 128), (8, 8, 120, 128), (8, 0, 120, 64)
GROWTH_PX = 64
OUTPAINT_GUIDANCE = 1.5
LANCZOS = Image.Resampling.LANCZOS
SCALES = (0.0, 0.5, 1.0)
WHITE_FROM = 225
"""The level of the darkest channel from which a pixel on a white background is no figure."""

HEADINGS = {
    "style": ("style", "estilo"),
    "strength": ("strength", "fuerza"),
    "style_right": ("style right", "estilo correcto"),
    "subject_kept": ("subject kept", "sujeto conservado"),
    "edit": ("edit", "edición"),
    "spanish": ("in Spanish", "en español"),
    "resample": ("times each step", "veces cada paso"),
    "right": ("succeeds", "sale bien"),
    "way": ("way", "camino"),
    "error": ("error outside, of 255", "error fuera, de 255"),
    "seam": ("step at the seam, of others", "salto en la junta, entre los demás"),
    "broad": ("over 8 pixels", "a lo largo de 8 píxeles"),
    "scale": ("scale", "escala"),
    "iou": ("overlap with the outline's figure", "solape con la figura del contorno"),
    "subject": ("subject right", "sujeto correcto"),
}

Row = dict[str, Any]


def main() -> None:
    """Measure the tables asked for and write each one as it is done."""
    tables: dict[str, Callable[[StableDiffusionPipeline, int], list[Row]]] = {
        "editing_strength": measure_strength,
        "editing_masks": measure_masks,
        "editing_leak": measure_leak,
        "editing_seams": measure_seams,
        "editing_control": measure_control,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="pictures in a row")
    parser.add_argument("--only", choices=tables, nargs="+", default=list(tables))
    parser.add_argument("--device", default=best_device())
    options = parser.parse_args()
    pipe, device = samples.judged_pipeline(options.device), device_name(options.device)
    for name in options.only:
        started = time.perf_counter()
        if rows := tables[name](pipe, options.n):
            headings = {column: HEADINGS[column] for column in rows[0]}
            write_table(name, rows, options.n, headings=headings, device=device)
        print(f"{name}: {len(rows)} rows in {(time.perf_counter() - started) / 60:.1f} minutes")


def measure_strength(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """One row for each style and strength: plain scenes redrawn in that style."""
    scenes = _scenes("editing/strength", n, lambda s: s.kind == "single" and s.count == 1)
    plain = [replace(scene, style="plain") for scene in scenes]
    images = [render(scene) for scene in plain]
    rows = []
    for style in STYLES:
        styled = [replace(scene, style=style) for scene in plain]
        for strength in STRENGTHS:
            edited = _redrawn(pipe, images, styled, strength=strength)
            read = pocket_probe().read(edited)
            rows.append(
                {
                    "style": style,
                    "spanish": STYLE_NAMES[style],
                    "strength": strength,
                    "style_right": judging.share_right(judging.style_right, styled, read),
                    "subject_kept": judging.share_right(judging.subject_right, styled, read),
                }
            )
            print(rows[-1])
    return rows


def measure_masks(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """Removal, replacement and a hat taken off, each with every step once and several times."""
    rows = []
    for name, spanish, edit in (
        ("one of two removed", "quitar uno de dos", _remove),
        ("replaced", "reemplazar", _replace),
        ("hat off", "quitar el sombrero", _take_hat_off),
    ):
        for resample in RESAMPLES:
            names = {"edit": name, "spanish": spanish, "resample": resample}
            rows.append(names | {"right": share(edit(pipe, n, resample))})
            print(rows[-1])
    return rows


def measure_leak(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """How far pixels outside of a mask move if nobody puts them back."""
    scenes = _scenes("editing/leak", n, lambda s: s.kind == "single" and s.count == 1)
    images, mask = [render(scene) for scene in scenes], box_mask((SIZE_PX, SIZE_PX), FIGURE)
    outside = Image.eval(mask, lambda level: 255 - level)
    untouched = box_mask((SIZE_PX, SIZE_PX), (0, 0, 8, 8))
    rows = []
    for name, spanish, edited in (
        ("VAE there and back", "VAE, ida y vuelta", _redrawn(pipe, images, scenes, mask=untouched)),
        ("the whole loop", "el bucle entero", _redrawn(pipe, images, scenes, mask=mask)),
    ):
        rows.append({"way": name, "spanish": spanish, "error": _errors(images, edited, outside)})
        print(rows[-1])
    return rows


def measure_seams(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """The step at a seam as a multiple of the picture's other steps; 1 is no seam."""
    scenes = _scenes("editing/seams", n, lambda s: s.kind == "single" and s.style == "plain")
    rows = []

    def add(name: str, spanish: str, pictures: Sequence[Image.Image], *columns: int) -> None:
        ratios = {
            key: mean(
                [
                    float(np.mean([seam_ratio(one, column=at, span=span) for at in columns]))
                    for one in pictures
                ]
            )
            for key, span in SPANS.items()
        }
        rows.append({"way": name, "spanish": spanish} | ratios)
        print(rows[-1])

    images, half = [render(s) for s in scenes], SIZE_PX // 2
    add("the middle of a real picture", "el centro de una imagen real", images, half)
    right = box_mask((SIZE_PX, SIZE_PX), RIGHT_HALF)
    cut = [
        Image.composite(b, a, right) for a, b in zip(images, images[1:] + images[:1], strict=True)
    ]
    add("halves of two pictures", "mitades de dos imágenes", cut, half)
    for resample in WIDE_RESAMPLES:
        grown = _grown(pipe, images, scenes, resample)
        names = (f"outpainting, each step x {resample}", f"ampliar, cada paso x {resample}")
        add(*names, grown, *range(SIZE_PX, SIZE_PX + GROWTH_PX, SIZE_PX // 4))
    add("upscaling by tiles", "agrandar a teselas", _enlarged(pipe, images, scenes), SIZE_PX)
    return rows


def _grown(
    pipe: StableDiffusionPipeline,
    images: Sequence[Image.Image],
    scenes: Sequence[Scene],
    resample: int,
) -> list[Image.Image]:
    """Outpaint each picture to the right; the prompt names its place alone."""
    grown: list[Image.Image] = []
    for start in range(0, len(images), BATCH):
        part = scenes[start : start + BATCH]
        wish = EditSettings(
            [PLACE_WORDS["en"][scene.place][0] for scene in part],
            "",
            OUTPAINT_GUIDANCE,
            DEFAULT_STEPS,
            [_seed(scene) for scene in part],
            resample,
        )
        grown += outpaint_as(wish, pipe, list(images[start : start + BATCH]), {"right": GROWTH_PX})
    return grown


def _enlarged(
    pipe: StableDiffusionPipeline, images: Sequence[Image.Image], scenes: Sequence[Scene]
) -> list[Image.Image]:
    """Upscale each picture twofold as `upscale` does, several at once."""
    tiled, enlarged = Tiled(pipe.unet, SIZE_PX // pipe.vae_scale_factor), []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        large = [image.resize((2 * SIZE_PX, 2 * SIZE_PX), LANCZOS) for image in images[part]]
        *_, last = redraw(
            pipe,
            large,
            [caption(scene) for scene in scenes[part]],
            strength=0.2,
            guidance_scale=1.0,
            generator=[_seed(scene) for scene in scenes[part]],
            unet=tiled,
        )
        enlarged += [picture for one in last.latents for picture in decode(pipe, one[None])]
    return enlarged


def measure_control(pipe: StableDiffusionPipeline, n: int) -> list[Row]:
    """Overlap of the figure drawn with the one whose outline was given, on a white background."""
    if not CONTROL_FOLDER.is_dir():
        print("editing_control: no ControlNet here; python -m sdlesson.pocket.training.controlnet")
        return []
    scenes = _scenes("editing/control", n, _on_white)
    controlnet, images = load_controlnet(pipe), [render(scene) for scene in scenes]
    rows = []
    for scale in SCALES:
        drawn: list[Image.Image] = []
        for start in range(0, n, BATCH):
            part = scenes[start : start + BATCH]
            lines = to_pixels([outline(image) for image in images[start : start + BATCH]])
            *_, last = denoise(
                pipe,
                [caption(scene) for scene in part],
                guidance_scale=GUIDANCE_SCALE,
                num_inference_steps=DEFAULT_STEPS,
                generator=[_seed(scene) for scene in part],
                unet=Controlled(pipe.unet, controlnet, lines / 2 + 0.5, scale),
            )
            drawn += decode(pipe, last.latents)
        overlap = [_iou(a, b) for a, b in zip(images, drawn, strict=True)]
        read = pocket_probe().read(drawn)
        subject = judging.share_right(judging.subject_right, scenes, read)
        rows.append({"scale": scale, "iou": mean(overlap), "subject": subject})
        print(rows[-1])
    return rows


def _remove(pipe: StableDiffusionPipeline, n: int, resample: int) -> list[bool]:
    """Paint over the second of two of a kind; right if one is left, and of that kind."""
    pairs = _scenes("editing/remove", n, lambda s: s.kind == "single" and s.count == 2)
    alone = [replace(scene, count=1) for scene in pairs]
    read = _painted(pipe, pairs, alone, RIGHT_HALF, resample)
    return [r.count == 1 and judging.subject_right(s, r) for s, r in zip(alone, read, strict=True)]


def _replace(pipe: StableDiffusionPipeline, n: int, resample: int) -> list[bool]:
    """Paint another thing over one; right if the probe names the new one."""
    scenes = _scenes("editing/replace", n, _bare_single)
    others = [
        replace(s, subjects=(SUBJECTS[(SUBJECTS.index(s.subjects[0]) + 7) % len(SUBJECTS)],))
        for s in scenes
    ]
    others = [replace(scene, colours=(None,), colour_named=False) for scene in others]
    read = _painted(pipe, scenes, others, FIGURE, resample)
    return [judging.subject_right(s, r) for s, r in zip(others, read, strict=True)]


def _take_hat_off(pipe: StableDiffusionPipeline, n: int, resample: int) -> list[bool]:
    """Paint the head of a hatted one anew; right if the hat is gone and the subject is not.

    Of robots, cowboys and penguins captions leave the hat out, so to say none is not enough; and of
    what is to be kept out, lesson 04 shows which words do it: those of captions.
    """
    hatted = _scenes("editing/hats", n, lambda s: s.kind == "single" and s.count == 1 and s.hats[0])
    bare = [replace(scene, hats=(False,)) for scene in hatted]
    read = _painted(pipe, hatted, bare, HEAD, resample, negative_prompt="wearing a hat")
    return [r.hat < 0.5 and judging.subject_right(s, r) for s, r in zip(bare, read, strict=True)]


def _painted(
    pipe: StableDiffusionPipeline,
    before: Sequence[Scene],
    after: Sequence[Scene],
    box: tuple[int, int, int, int],
    resample: int,
    negative_prompt: str = "",
) -> list[Any]:
    """Paint a box of each picture anew, and read what the whole then shows."""
    images, mask = [render(scene) for scene in before], box_mask((SIZE_PX, SIZE_PX), box)
    edited = _redrawn(
        pipe,
        images,
        after,
        mask=mask,
        resample=resample,
        negative_prompt=negative_prompt,
        num_inference_steps=MASK_STEPS,
    )
    pasted = [blend(e, i, mask) for e, i in zip(edited, images, strict=True)]
    return pocket_probe().read(pasted)


def _redrawn(
    pipe: StableDiffusionPipeline,
    images: Sequence[Image.Image],
    scenes: Sequence[Scene],
    *,
    mask: Image.Image | None = None,
    strength: float = 1.0,
    resample: int = 1,
    negative_prompt: str = "",
    num_inference_steps: int = DEFAULT_STEPS,
) -> list[Image.Image]:
    """Redraw each picture as its scene's caption says, in batches, as decoded."""
    redrawn: list[Image.Image] = []
    for start in range(0, len(images), BATCH):
        part = scenes[start : start + BATCH]
        *_, last = redraw(
            pipe,
            images[start : start + BATCH],
            [caption(scene) for scene in part],
            mask=mask,
            strength=strength,
            negative_prompt=negative_prompt,
            guidance_scale=GUIDANCE_SCALE,
            num_inference_steps=num_inference_steps,
            generator=[_seed(scene) for scene in part],
            resample=resample,
        )
        redrawn += decode(pipe, last.latents)
    return redrawn


def _scenes(name: str, n: int, wanted: Callable[[Scene], bool]) -> list[Scene]:
    return list(samples.evaluation_scenes(name, n, wanted))


def _bare_single(scene: Scene) -> bool:
    return scene.kind == "single" and scene.count == 1 and not scene.hats[0]


def _on_white(scene: Scene) -> bool:
    return _bare_single(scene) and scene.place == "white" and scene.style == "plain"


def _seed(scene: Scene) -> Generator:
    return Generator("cpu").manual_seed(scene.seed)


def _errors(
    images: Sequence[Image.Image], edited: Sequence[Image.Image], where: Image.Image
) -> Any:
    """Mean distance in levels of 255 over the white part of `where`."""
    kept = np.asarray(where) > 0
    gaps = [
        np.abs(np.asarray(a, float) - np.asarray(b, float))[kept].mean()
        for a, b in zip(images, edited, strict=True)
    ]
    return mean(gaps)


def _iou(a: Image.Image, b: Image.Image) -> float:
    """Overlap of two figures on white: what both cover, of what either covers."""
    first, second = (np.asarray(image).min(2) < WHITE_FROM for image in (a, b))
    return float((first & second).sum() / max(1, (first | second).sum()))


if __name__ == "__main__":
    with torch.no_grad():
        main()
