"""What the pocket model never saw: a thing and a style of the course's own, to be taught to it.

Plimo is a robot: red, round, one-eyed, with a white star. No picture of it is in the world that the
pocket model was trained on, and none in the poster style: both are drawn here alone, at any size.
"""

from __future__ import annotations

import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from sdlesson.pocket.world.grammar import PLACE_WORDS, caption
from sdlesson.pocket.world.places import Colour, paint_place
from sdlesson.pocket.world.rendering import FLOATING_PLACES, render
from sdlesson.pocket.world.scenes import SIZE_PX, Scene

# A rare word must mean nothing yet: these two fall apart into pieces in the tokenizer, and no
# caption of the world holds them; "sks", which many recipes use, is a rifle that SD 1.5 has seen.
# The robot's own name would not do: "plimo" moves the pocket model's reading of a prompt so far
# from "a robot" that 150 steps go half of the way to the photos, where "zwx" goes 70% of it.
SUBJECT_WORD = "zwx"
SUBJECT_CLASS = "robot"
STYLE_WORD = "tolvo"
STYLE_CLASS = "picture"

PHOTO_PLACES: tuple[str, ...] = ("field", "city", "snow", "beach", "forest")
"""Where the photos were taken; Mars, space and a white background are left to be prompted."""

STYLE_SCENES: tuple[Scene, ...] = (
    Scene("single", ("panda",), "field", "plain", seed=2),
    Scene("single", ("house",), "snow", "plain", colours=("red",), seed=2),
    Scene("single", ("rocket",), "space", "plain", seed=5),
    Scene("single", ("snowman",), "forest", "plain", seed=2),
    Scene("single", ("fish",), "white", "plain", seed=5),
    Scene("single", ("duck",), "beach", "plain", seed=5),
)
"""What the posters show: things and places that the pocket model knows, none of them a robot."""

RED, YELLOW, WHITE, BLACK, GREY = "#e12822", "#ffcd28", "#ffffff", "#28262c", "#3c3c42"
INKS: tuple[Colour, ...] = ((30, 20, 60), (240, 80, 60), (255, 246, 226))
"""The poster's dark ink, its bright ink, and the paper."""
INK_TONES = (0.40, 0.72)
"""Where the dark ink ends and where the paper begins, as shares of white."""

MAX_TILT_DEGREES = 9
SUPERSAMPLING = 4


def subject_photos(count: int = 4, *, size: int = SIZE_PX) -> list[Image.Image]:
    """Photos of Plimo in different places, each with its own size, spot and tilt.

    Args:
        count: How many, from 1; the first five differ in place, three to five are enough.
        size: Pixels a side; the places are painted at 128, and out of focus above that.
    """
    return [subject_photo(_place(index), seed=index, size=size) for index in range(count)]


def subject_prompts(count: int = 4) -> list[str]:
    """What each of `subject_photos` shows, in the words of the pocket world."""
    name = f"a {SUBJECT_WORD} {SUBJECT_CLASS}"
    return [f"{name} {PLACE_WORDS['en'][_place(index)][0]}" for index in range(count)]


def subject_photo(place: str, *, seed: int, size: int = SIZE_PX) -> Image.Image:
    """Plimo in one of `world.PLACES`, standing as the world's own subjects stand there."""
    rng = random.Random(f"{place} {seed}")
    scene = paint_place(place, rng)
    floats = place in FLOATING_PLACES
    ground = rng.uniform(98, 112) if floats else rng.uniform(108, 118)
    side, x = rng.uniform(72, 88), 64 + rng.uniform(-12, 12)
    if not floats:
        shadow = Image.new("L", scene.size)
        box = (x - side * 0.4, ground - 4, x + side * 0.4, ground + 3)
        ImageDraw.Draw(shadow).ellipse(box, fill=60)
        scene.paste((40, 40, 50), (0, 0), shadow)
    photo, scale = _enlarged(scene, size), size / SIZE_PX
    figure = draw_subject(round(side * scale), tilt=rng.uniform(-1, 1) * MAX_TILT_DEGREES)
    foot = (round(x * scale - figure.width / 2), round(ground * scale - figure.height))
    photo.paste(figure, foot, figure)
    return photo


def draw_subject(size: int, *, tilt: float = 0.0) -> Image.Image:
    """Plimo alone, RGBA, `size` pixels high, leaning by `tilt` degrees to the left.

    It stands on the lower edge of a square of 4/3 its size, which gives it room to lean. All of it
    is large and flat, in colours of the world: a mouth would be lost where 8 x 8 pixels become one
    latent.
    """
    side = size * SUPERSAMPLING
    margin = side // 6
    canvas = Image.new("RGBA", (side + 2 * margin, side + 2 * margin))
    draw = ImageDraw.Draw(canvas)

    def block(
        left: float, top: float, right: float, bottom: float, corner: float, fill: str
    ) -> None:
        box = [margin + edge * side for edge in (left, top, right, bottom)]
        draw.rounded_rectangle(box, radius=corner * side, fill=fill)

    for left in (0.24, 0.54):
        block(left, 0.84, left + 0.22, 0.995, 0.07, YELLOW)  # feet
    for left in (0.0, 0.8):
        block(left, 0.50, left + 0.2, 0.78, 0.10, YELLOW)  # hands
    block(0.46, 0.10, 0.54, 0.25, 0.0, GREY)  # antenna
    block(0.39, 0.00, 0.61, 0.20, 0.10, YELLOW)
    block(0.11, 0.19, 0.89, 0.93, 0.30, RED)  # body
    block(0.31, 0.22, 0.69, 0.60, 0.19, WHITE)  # eye
    block(0.41, 0.32, 0.59, 0.50, 0.09, BLACK)
    block(0.43, 0.34, 0.49, 0.40, 0.03, WHITE)
    star = [(margin + x * side, margin + y * side) for x, y in _star(0.5, 0.78, 0.18)]
    draw.polygon(star, fill=WHITE)
    leaning = canvas.rotate(tilt, Image.Resampling.BICUBIC)
    *_, foot = leaning.getbbox() or (canvas.height,)
    standing = ImageChops.offset(leaning, 0, canvas.height - foot)
    shrunk = round(canvas.width / SUPERSAMPLING)
    return standing.resize((shrunk, shrunk), Image.Resampling.LANCZOS)


def style_photos(count: int = 6, *, size: int = SIZE_PX) -> list[Image.Image]:
    """Known things and places as posters, for a LoRA that learns a style instead of a thing.

    Args:
        count: How many, from 1 to the number of `STYLE_SCENES`.
        size: Pixels a side.

    Raises:
        ValueError: There are not as many scenes.
    """
    return [print_poster(render(scene), size=size) for scene in _scenes(count)]


def style_prompts(count: int = 6) -> list[str]:
    """What each of `style_photos` shows, and that it is in the new style."""
    return [in_style(caption(scene)) for scene in _scenes(count)]


def in_style(prompt: str) -> str:
    """Ask for a prompt in the new style: "a tolvo picture of a cat in the snow"."""
    return f"a {STYLE_WORD} {STYLE_CLASS} of {prompt}"


def print_poster(image: Image.Image, *, size: int = SIZE_PX) -> Image.Image:
    """Print a picture in two inks on cream paper: dark tones, middle tones, and nothing."""
    soft = image.resize((size, size), Image.Resampling.BICUBIC)
    soft = soft.filter(ImageFilter.GaussianBlur(size / SIZE_PX))
    tones = ImageOps.autocontrast(soft.convert("L"), cutoff=1)
    # One look-up a channel: each of the 256 tones becomes that channel of its ink.
    inks = [INKS[sum(tone >= edge * 255 for edge in INK_TONES)] for tone in range(256)]
    return Image.merge("RGB", [tones.point(list(channel)) for channel in zip(*inks, strict=True)])


def _enlarged(scene: Image.Image, size: int) -> Image.Image:
    """A background at another size, out of focus where its pixels would show."""
    large = scene.resize((size, size), Image.Resampling.BICUBIC)
    return large.filter(ImageFilter.GaussianBlur(size / SIZE_PX - 1)) if size > SIZE_PX else large


def _place(index: int) -> str:
    return PHOTO_PLACES[index % len(PHOTO_PLACES)]


def _scenes(count: int) -> tuple[Scene, ...]:
    if not 1 <= count <= len(STYLE_SCENES):
        raise ValueError(
            f"count={count} must be from 1 to {len(STYLE_SCENES)}, the scenes there are"
        )
    return STYLE_SCENES[:count]


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The ten corners of a five-pointed star that stands on two of its points."""
    corners = []
    for corner in range(10):
        reach = radius * (0.5 if corner % 2 else 1)
        angle = math.pi * (corner / 5 - 0.5)
        corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return corners
