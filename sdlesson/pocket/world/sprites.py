"""The sprites: cut from Google's Noto Color Emoji once, committed as one atlas, read from there.

Run `python -m sdlesson.pocket.world.sprites` to cut it again (needs Debian's
`fonts-noto-color-emoji` and a Pillow with raqm). Images: Apache-2.0, font: OFL-1.1, see NOTICE.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL_PX = 96
FOLDER = Path(__file__).parent
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_PX = 109
"""The only size that the font's bitmaps come in."""

EMOJI: dict[str, str] = {
    "cat": "🐈", "dog": "🐕", "horse": "🐎", "panda": "🐼", "fox": "🦊", "squirrel": "🐿️",
    "octopus": "🐙", "dragon": "🐉", "elephant": "🐘", "rabbit": "🐇", "monkey": "🐒", "cow": "🐄",
    "pig": "🐖", "duck": "🦆", "penguin": "🐧", "frog": "🐸", "turtle": "🐢", "fish": "🐠",
    "whale": "🐳", "butterfly": "🦋", "snail": "🐌", "dinosaur": "🦕", "camel": "🐪",
    "teddy bear": "🧸", "robot": "🤖", "astronaut": "🧑‍🚀", "wizard": "🧙", "ghost": "👻",
    "snowman": "⛄", "rocket": "🚀", "house": "🏠", "tree": "🌳", "flower": "🌷", "sushi": "🍣",
    "car": "🚗", "bicycle": "🚲", "motorcycle": "🏍️", "guitar": "🎸", "balloon": "🎈",
    "apple": "🍎", "pizza": "🍕", "cake": "🎂", "mushroom": "🍄", "boat": "⛵", "umbrella": "☂️",
    "crab": "🦀", "broccoli": "🥦", "top hat": "🎩", "pine": "🌲", "palm": "🌴", "moon": "🌕",
}  # fmt: skip


@cache
def sprites() -> dict[str, Image.Image]:
    """Every sprite by name: RGBA, `CELL_PX` square, standing on the cell's lower edge."""
    names = json.loads((FOLDER / "atlas.json").read_text())
    atlas = Image.open(FOLDER / "atlas.png").convert("RGBA")
    columns = atlas.width // CELL_PX
    boxes = [(i % columns * CELL_PX, i // columns * CELL_PX) for i in range(len(names))]
    return {
        name: atlas.crop((x, y, x + CELL_PX, y + CELL_PX))
        for name, (x, y) in zip(names, boxes, strict=True)
    }


def cut_atlas(folder: Path = FOLDER, font: Path = FONT, columns: int = 8) -> None:
    """Render every emoji with the font and write `atlas.png` and `atlas.json`."""
    face = ImageFont.truetype(str(font), FONT_PX)
    cells = {name: _fit(_glyph(text, face)) for name, text in EMOJI.items()}
    cells["cowboy"] = _cowboy(_glyph("🙂", face))
    cells["cowboy hat"] = _fit(_cowboy_hat(_glyph("🤠", face)))
    rows = -(-len(cells) // columns)
    atlas = Image.new("RGBA", (columns * CELL_PX, rows * CELL_PX))
    for i, cell in enumerate(cells.values()):
        atlas.paste(cell, (i % columns * CELL_PX, i // columns * CELL_PX))
    folder.mkdir(exist_ok=True)
    atlas.save(folder / "atlas.png", optimize=True)
    (folder / "atlas.json").write_text(json.dumps(list(cells), indent=1) + "\n")


def _glyph(text: str, face: ImageFont.FreeTypeFont) -> Image.Image:
    canvas = Image.new("RGBA", (2 * FONT_PX, 2 * FONT_PX))
    ImageDraw.Draw(canvas).text((20, 20), text, font=face, embedded_color=True)
    return canvas.crop(canvas.getbbox())


def _fit(image: Image.Image) -> Image.Image:
    """Scale into a cell, keeping proportions, standing on the lower edge."""
    scale = CELL_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    cell = Image.new("RGBA", (CELL_PX, CELL_PX))
    shrunk = image.resize(size, Image.Resampling.LANCZOS)
    cell.paste(shrunk, ((CELL_PX - size[0]) // 2, CELL_PX - size[1]))
    return cell


def _cowboy(face: Image.Image) -> Image.Image:
    """A cowboy without a hat: a face over blue shirt, brown waistcoat, red scarf and star."""
    scale = 4
    big = Image.new("RGBA", (CELL_PX * scale, CELL_PX * scale))
    draw = ImageDraw.Draw(big)

    def polygon(points: list[tuple[int, int]], colour: str) -> None:
        draw.polygon([(x * scale, y * scale) for x, y in points], fill=colour)

    polygon([(20, 96), (22, 74), (34, 64), (62, 64), (74, 74), (76, 96)], "#4f7fc4")
    polygon([(22, 96), (26, 70), (36, 64), (45, 96)], "#7a4a2b")
    polygon([(74, 96), (70, 70), (60, 64), (51, 96)], "#7a4a2b")
    polygon([(32, 62), (64, 62), (58, 72), (48, 80), (38, 72)], "#d8342c")
    star = [
        (64, 76),
        (66, 81),
        (71, 81),
        (67, 84),
        (69, 89),
        (64, 86),
        (59, 89),
        (61, 84),
        (57, 81),
        (62, 81),
    ]
    polygon(star, "#ffd94a")
    head = face.resize((54 * scale, 54 * scale), Image.Resampling.LANCZOS)
    big.alpha_composite(head, (21 * scale, 14 * scale))
    return big.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)


def _cowboy_hat(cowboy: Image.Image) -> Image.Image:
    """Keep the brown pixels of the upper half of the hatted face."""
    pixels = np.asarray(cowboy).copy()
    red, green, blue = (pixels[..., i].astype(int) for i in range(3))
    brown = (red < 165) & (red - blue < 95) & (abs(red - green) < 60)
    brown[int(0.42 * len(pixels)) :] = False
    pixels[..., 3] = np.where(brown, pixels[..., 3], 0)
    hat = Image.fromarray(pixels)
    return hat.crop(hat.getbbox())


if __name__ == "__main__":
    cut_atlas()
