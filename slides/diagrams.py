"""The diagrams of the slides, drawn by one hand: boxes, arrows and words, as SVG in the page.

Each function takes a language and returns an SVG; what is the same in both languages stands once.
Shapes of tensors come from the models' own settings.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import hypot

from sdlesson import hub
from sdlesson.language import Text

WIDTH = 1160
INK, LINE = "#1f2933", "#52606d"
FILLS = {
    "blue": "#dcebf7",
    "orange": "#fde8d7",
    "green": "#dcf1e8",
    "grey": "#eceff2",
    "white": "#ffffff",
    "ink": INK,
}
SIZE, SMALL = 25, 21
LINE_HEIGHT = 1.25
HEAD = 13  # of an arrow, in pixels

# Stable Diffusion 1.5's, from its configuration on the Hub.
SD15 = {"size": 512, "tokens": 77, "width": 768, "latents": 64}


@dataclass
class Sketch:
    """An SVG in the making."""

    language: str
    height: int
    title: Text
    parts: list[str] = field(default_factory=list)

    def say(self, en: str, es: str) -> str:
        """Pick the text of the sketch's language."""
        return getattr(Text(en, es), self.language)

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        text: str,
        fill: str = "blue",
        size: int = SIZE,
    ) -> None:
        """A rounded box with lines of text in its middle; the lines below the first are smaller."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="12" '
            f'fill="{FILLS[fill]}" stroke="{LINE}" stroke-width="2.5"/>'
        )
        colour = "#ffffff" if fill == "ink" else INK
        lines = text.split("\n")
        sizes = [size] + [min(size, SMALL)] * (len(lines) - 1)
        tall = sum(sizes) * LINE_HEIGHT
        top = y + (h - tall) / 2
        for index, (line, points) in enumerate(zip(lines, sizes, strict=True)):
            top += points * LINE_HEIGHT
            self.word(x + w / 2, top - points * 0.36, line, points, bold=index == 0, colour=colour)

    def word(
        self,
        x: float,
        y: float,
        text: str,
        size: int = SMALL,
        *,
        bold: bool = False,
        anchor: str = "middle",
        colour: str = INK,
    ) -> None:
        """One line of text."""
        weight = 600 if bold else 400
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
            f'text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>'
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through points, with a head at its end."""
        (x1, y1), (x2, y2) = points[-2:]
        length = hypot(x2 - x1, y2 - y1)
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        stop = (x2 - ux * HEAD, y2 - uy * HEAD)
        route = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*points[:-1], stop))
        dash = ' stroke-dasharray="9 7"' if dashed else ""
        self.parts.append(
            f'<polyline points="{route}" fill="none" stroke="{LINE}" stroke-width="3.5"{dash}/>'
        )
        wings = [(stop[0] - uy * s * HEAD * 0.6, stop[1] + ux * s * HEAD * 0.6) for s in (1, -1)]
        head = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*wings, (x2, y2)))
        self.parts.append(f'<polygon points="{head}" fill="{LINE}"/>')

    def curve(self, path: str) -> None:
        """A free line, as SVG writes paths."""
        self.parts.append(f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="3.5"/>')

    def dot(self, x: float, y: float, radius: float = 9, fill: str = "ink") -> None:
        """A point."""
        self.parts.append(
            f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{FILLS[fill]}" '
            f'stroke="{LINE}" stroke-width="2.5"/>'
        )

    def svg(self) -> str:
        """The whole, as one line of HTML."""
        label = html.escape(getattr(self.title, self.language), quote=True)
        return (
            f'<svg class="diagram" viewBox="-3 -3 {WIDTH + 6} {self.height + 6}" role="img" '
            f'aria-label="{label}" xmlns="http://www.w3.org/2000/svg">{"".join(self.parts)}</svg>'
        )


def gan(language: str) -> str:
    """Adversarial training, and StackGAN's two stages."""
    s = Sketch(language, 330, Text("Adversarial training", "Entrenamiento adversario"))
    s.box(0, 20, 190, 90, s.say("text + noise", "texto + ruido"), "grey")
    s.box(270, 20, 240, 90, s.say("generator", "generador"), "orange")
    s.box(590, 20, 210, 90, s.say("drawn picture", "imagen dibujada"), "white")
    s.box(590, 210, 210, 90, s.say("real picture", "imagen real"), "white")
    s.box(
        890,
        105,
        270,
        110,
        s.say("discriminator\nreal or drawn?", "discriminador\n¿real o dibujada?"),
    )
    s.arrow((190, 65), (268, 65))
    s.arrow((510, 65), (588, 65))
    s.arrow((800, 65), (888, 130))
    s.arrow((800, 255), (888, 190))
    s.arrow((1025, 217), (1025, 318), (390, 318), (390, 112), dashed=True)
    s.word(230, 250, s.say("learn from what", "aprender de lo que"), SMALL)
    s.word(230, 278, s.say("gave you away", "te delató"), SMALL)
    return s.svg()


def stackgan(language: str) -> str:
    """A sketch, then its refinement."""
    s = Sketch(language, 150, Text("StackGAN's two stages", "Las dos etapas de StackGAN"))
    s.box(0, 20, 170, 100, s.say("text", "texto"), "grey")
    s.box(
        250, 20, 280, 100, s.say("stage I\nsketch, 64 × 64", "etapa I\nboceto, 64 × 64"), "orange"
    )
    s.box(
        620,
        20,
        300,
        100,
        s.say("stage II\nrefined, 256 × 256", "etapa II\nrefinado, 256 × 256"),
        "orange",
    )
    s.box(1000, 20, 160, 100, s.say("picture", "imagen"), "white")
    for start, end in ((170, 248), (530, 618), (920, 998)):
        s.arrow((start, 70), (end, 70))
    return s.svg()


def codes(language: str) -> str:
    """DALL-E: a picture as words of a code book."""
    s = Sketch(language, 300, Text("DALL-E: pictures as codes", "DALL-E: imágenes como códigos"))
    s.box(0, 20, 250, 96, s.say("text\nup to 256 tokens", "texto\nhasta 256 tokens"), "grey")
    s.box(
        380,
        20,
        330,
        96,
        s.say("transformer\none code after another", "transformer\nun código tras otro"),
        "orange",
    )
    s.box(
        850,
        20,
        310,
        96,
        s.say("32 × 32 codes\nout of 8192", "32 × 32 códigos\nentre 8192"),
        "white",
    )
    s.box(850, 190, 310, 96, s.say("decoder (VAE)", "decodificador (VAE)"), "blue")
    s.box(
        380, 190, 330, 96, s.say("picture\n256 × 256 pixels", "imagen\n256 × 256 píxeles"), "white"
    )
    s.arrow((250, 68), (378, 68))
    s.arrow((710, 68), (848, 68))
    s.arrow((1005, 116), (1005, 188))
    s.arrow((850, 238), (712, 238))
    return s.svg()


def chain(language: str) -> str:
    """Noise added step by step, and taken away step by step."""
    s = Sketch(language, 190, Text("The two ways of diffusion", "Los dos caminos de la difusión"))
    s.box(0, 55, 190, 80, s.say("picture", "imagen"), "white")
    s.box(970, 55, 190, 80, s.say("pure noise", "ruido puro"), "ink")
    s.arrow((190, 75), (968, 75))
    s.arrow((970, 117), (192, 117))
    s.word(
        580,
        60,
        s.say(
            "forward: add a little noise, 1000 times (nothing to learn)",
            "ida: un poco de ruido, 1000 veces (nada que aprender)",
        ),
    )
    s.word(
        580,
        150,
        s.say(
            "back: a network names the noise, and a little is taken away",
            "vuelta: una red dice qué es ruido y se quita un poco",
        ),
    )
    return s.svg()


def imagen_parti(language: str) -> str:
    """Two answers of 2022."""
    s = Sketch(language, 330, Text("Imagen and Parti", "Imagen y Parti"))
    s.word(0, 30, s.say("Imagen: diffusion", "Imagen: difusión"), SIZE, bold=True, anchor="start")
    s.box(
        0,
        50,
        250,
        90,
        s.say("language model\nT5-XXL, frozen", "modelo de lenguaje\nT5-XXL, congelado"),
        "grey",
    )
    s.box(320, 50, 230, 90, s.say("diffusion\n64 × 64", "difusión\n64 × 64"), "orange")
    s.box(620, 50, 230, 90, s.say("diffusion\n256 × 256", "difusión\n256 × 256"), "orange")
    s.box(920, 50, 240, 90, s.say("diffusion\n1024 × 1024", "difusión\n1024 × 1024"), "orange")
    for start, end in ((250, 318), (550, 618), (850, 918)):
        s.arrow((start, 95), (end, 95))
    s.word(
        0,
        200,
        s.say("Parti: one code after another", "Parti: un código tras otro"),
        SIZE,
        bold=True,
        anchor="start",
    )
    s.box(0, 220, 250, 90, s.say("text encoder", "codificador de texto"), "grey")
    s.box(
        320,
        220,
        530,
        90,
        s.say(
            "transformer, up to 20 billion weights", "transformer, hasta 20 000 millones de pesos"
        ),
        "orange",
        23,
    )
    s.box(920, 220, 240, 90, s.say("decoder\nViT-VQGAN", "decodificador\nViT-VQGAN"))
    s.arrow((250, 265), (318, 265))
    s.arrow((850, 265), (918, 265))
    return s.svg()


def latent(language: str) -> str:
    """Diffusion in the small space of a VAE."""
    s = Sketch(language, 250, Text("Latent diffusion", "Difusión latente"))
    s.box(0, 70, 220, 110, s.say("pixels\n512 × 512 × 3", "píxeles\n512 × 512 × 3"), "white")
    s.box(310, 85, 150, 80, s.say("VAE\nencoder", "VAE\ncodifica"))
    s.box(540, 70, 210, 110, s.say("latents\n64 × 64 × 4", "latentes\n64 × 64 × 4"), "orange")
    s.box(830, 85, 150, 80, s.say("VAE\ndecoder", "VAE\ndecodifica"))
    s.box(1050, 70, 110, 110, s.say("pixels", "píxeles"), "white")
    for start, end in ((220, 308), (460, 538), (750, 828), (980, 1048)):
        s.arrow((start, 125), (end, 125))
    s.curve("M 600 68 C 600 5, 690 5, 690 55")
    s.arrow((690, 50), (690, 69))
    s.word(
        720, 35, s.say("diffusion happens here", "aquí ocurre la difusión"), SMALL, anchor="start"
    )
    s.word(
        645,
        225,
        s.say(
            "512·512·3 / (64·64·4) = 48 times fewer numbers",
            "512·512·3 / (64·64·4) = 48 veces menos números",
        ),
        SIZE,
        bold=True,
    )
    return s.svg()


def parts(language: str) -> str:
    """The parts of Stable Diffusion with the shapes that go through them."""
    s = Sketch(
        language, 400, Text("The parts of Stable Diffusion", "Las partes de Stable Diffusion")
    )
    small = _pocket_shapes()
    times = {key: f"{SD15[key]} / {small[key]}" for key in SD15}
    s.box(0, 20, 180, 90, s.say("words", "palabras"), "grey")
    s.box(
        240,
        20,
        240,
        90,
        s.say(f"tokenizer\n{times['tokens']} tokens", f"tokenizador\n{times['tokens']} tokens"),
        "white",
    )
    s.box(
        540,
        20,
        300,
        90,
        s.say(f"CLIP text encoder\n× {times['width']}", f"codificador CLIP\n× {times['width']}"),
        "blue",
    )
    s.box(0, 190, 180, 90, s.say("seed", "semilla"), "grey")
    s.box(
        240,
        190,
        240,
        90,
        s.say(f"noise\n{times['latents']} wide, × 4", f"ruido\n{times['latents']} de lado, × 4"),
        "white",
    )
    s.box(540, 190, 300, 90, s.say("U-Net\nnames the noise", "U-Net\ndice qué es ruido"), "orange")
    s.box(
        900,
        190,
        260,
        90,
        s.say("scheduler\ntakes some away", "planificador\nquita una parte"),
        "green",
    )
    s.box(
        240,
        310,
        240,
        80,
        s.say(f"picture\n{times['size']} wide", f"imagen\n{times['size']} de lado"),
        "white",
    )
    s.box(540, 310, 300, 80, s.say("VAE decoder", "decodificador VAE"), "blue")
    s.arrow((180, 65), (238, 65))
    s.arrow((480, 65), (538, 65))
    s.arrow((690, 110), (690, 188))
    s.arrow((180, 235), (238, 235))
    s.arrow((480, 235), (538, 235))
    s.arrow((840, 235), (898, 235))
    s.arrow((1090, 190), (1090, 150), (790, 150), (790, 188))
    s.word(960, 138, s.say("again, at every step", "otra vez, en cada paso"))
    s.arrow((1030, 280), (1030, 350), (842, 350))
    s.arrow((540, 350), (482, 350))
    s.word(
        0, 345, s.say("SD 1.5 / pocket", "SD 1.5 / de bolsillo"), SMALL, bold=True, anchor="start"
    )
    return s.svg()


def guidance(language: str) -> str:
    """Two predictions, and the line through them."""
    s = Sketch(language, 230, Text("Guidance", "La guía"))
    places = {"0": 160, "1": 340, "3": 640, "7.5": 1080}
    s.curve("M 60 130 L 1130 130")
    for scale, x in places.items():
        s.dot(x, 130, 12, "orange" if scale in "01" else "blue")
        s.word(x, 172, scale, SIZE, bold=True)
    s.word(160, 95, s.say("without words", "sin palabras"))
    s.word(340, 95, s.say("with them", "con ellas"))
    s.word(860, 95, s.say("beyond: extrapolation", "más allá: extrapolación"))
    s.word(
        610,
        215,
        s.say("noise = without + guidance · (with − without)", "ruido = sin + guía · (con − sin)"),
        SIZE,
        bold=True,
    )
    return s.svg()


def flow(language: str) -> str:
    """From U-Nets and curved ways to transformers and straight ones."""
    s = Sketch(
        language,
        330,
        Text(
            "Since 2024: transformers, straight paths", "Desde 2024: transformers, caminos rectos"
        ),
    )
    s.word(
        270, 30, s.say("Stable Diffusion 1, 2, XL", "Stable Diffusion 1, 2, XL"), SIZE, bold=True
    )
    s.word(890, 30, "SD 3, FLUX", SIZE, bold=True)
    s.box(
        60,
        50,
        420,
        80,
        s.say(
            "U-Net\nwords look in by cross-attention",
            "U-Net\nlas palabras entran por atención cruzada",
        ),
        "orange",
        23,
    )
    s.box(
        660,
        50,
        460,
        80,
        s.say(
            "transformer\nwords and patches in one row",
            "transformer\npalabras y parches en una fila",
        ),
        "orange",
        23,
    )
    for left, path in (
        (60, "M 110 280 C 190 160, 330 300, 430 200"),
        (680, "M 740 280 L 1060 200"),
    ):
        s.curve(path)
        ends = ((110, 280), (430, 200)) if left == 60 else ((740, 280), (1060, 200))
        s.dot(*ends[0], 13, "ink")
        s.dot(*ends[1], 13, "white")
        s.word(ends[0][0], 318, s.say("noise", "ruido"))
        s.word(ends[1][0], 182, s.say("picture", "imagen"))
    s.word(300, 318, s.say("diffusion: a curved way", "difusión: un camino curvo"))
    s.word(950, 318, s.say("flow matching: a straight one", "flow matching: uno recto"))
    return s.svg()


def lora(language: str) -> str:
    """A correction of low rank beside a frozen weight."""
    s = Sketch(language, 260, Text("LoRA", "LoRA"))
    s.box(0, 90, 100, 80, "x", "white")
    s.box(250, 10, 300, 90, s.say("W, frozen", "W, congelada"), "grey")
    s.box(250, 155, 190, 80, s.say("A, narrow", "A, estrecha"), "green", 23)
    s.box(500, 155, 190, 80, s.say("B, tall", "B, alta"), "green", 23)
    s.box(820, 90, 90, 80, "+", "white", 34)
    s.box(1000, 90, 100, 80, "y", "white")
    s.arrow((100, 115), (170, 55), (248, 55))
    s.arrow((100, 145), (170, 195), (248, 195))
    s.arrow((440, 195), (498, 195))
    s.arrow((550, 55), (760, 55), (818, 110))
    s.arrow((690, 195), (760, 195), (818, 150))
    s.arrow((910, 130), (998, 130))
    s.word(755, 235, "· α / r", SIZE, bold=True)
    return s.svg()


def editing(language: str) -> str:
    """Three ways to begin from a picture."""
    s = Sketch(language, 320, Text("Three ways to edit", "Tres maneras de editar"))
    rows = (
        (
            s.say("variation", "variación"),
            s.say("the picture, half noised", "la imagen, a medio ruido"),
            s.say("a sister of it", "una hermana suya"),
        ),
        (
            s.say("inpainting", "inpainting"),
            s.say("noise inside a mask", "ruido dentro de una máscara"),
            s.say("the rest kept", "lo demás, intacto"),
        ),
        (
            s.say("outpainting", "outpainting"),
            s.say("noise around the picture", "ruido alrededor de la imagen"),
            s.say("a larger picture", "una imagen mayor"),
        ),
    )
    for index, (name, begin, end) in enumerate(rows):
        y = 10 + index * 105
        s.word(0, y + 50, name, SIZE, bold=True, anchor="start")
        s.box(220, y, 330, 82, begin, "grey", 22)
        s.box(630, y, 170, 82, s.say("the loop", "el bucle"), "orange")
        s.box(880, y, 280, 82, end, "white", 22)
        s.arrow((550, y + 41), (628, y + 41))
        s.arrow((800, y + 41), (878, y + 41))
    return s.svg()


def provenance(language: str) -> str:
    """A picture that says where it comes from."""
    s = Sketch(language, 150, Text("Content credentials", "Credenciales de contenido"))
    s.box(0, 20, 210, 100, s.say("picture", "imagen"), "white")
    s.box(
        290,
        20,
        300,
        100,
        s.say("signed note\nmade by, with, when", "nota firmada\nquién, con qué, cuándo"),
        "green",
    )
    s.box(670, 20, 220, 100, s.say("anyone\nchecks", "cualquiera\nlo comprueba"), "blue")
    s.box(
        970,
        20,
        190,
        100,
        s.say("one save\nand it is gone", "se guarda otra vez\ny desaparece"),
        "grey",
        20,
    )
    s.arrow((210, 70), (288, 70))
    s.arrow((590, 70), (668, 70))
    s.arrow((890, 70), (968, 70), dashed=True)
    return s.svg()


def timeline(language: str) -> str:
    """What came when."""
    s = Sketch(language, 215, Text("Ten years", "Diez años"))
    events = (
        ("2014", s.say("GAN", "GAN")),
        ("2017", "StackGAN"),
        ("2020", "DDPM"),
        ("2021", "DALL·E"),
        (
            "2022",
            s.say(
                "DALL·E 2, Imagen,|Parti, Stable Diffusion",
                "DALL·E 2, Imagen,|Parti, Stable Diffusion",
            ),
        ),
        ("2023", "SDXL"),
        ("2024", "SD 3, FLUX"),
    )
    s.curve("M 20 150 L 1150 150")
    for index, (year, name) in enumerate(events):
        x = 60 + index * 172
        lines = name.split("|")
        foot = 55 if index % 2 else 112  # neighbours on two floors
        if index % 2:
            s.curve(f"M {x} 70 L {x} 140")
        s.dot(x, 150, 12, "orange")
        s.word(x, 195, year, SIZE, bold=True)
        for line, text in enumerate(lines):
            s.word(x, foot - 28 * (len(lines) - 1 - line), text)
    return s.svg()


def _pocket_shapes() -> dict[str, int]:
    """The pocket model's shapes, out of its own configuration files."""
    configs = (hub.POCKET_FOLDER / part / "config.json" for part in ("text_encoder", "unet", "vae"))
    text, unet, vae = (json.loads(path.read_text(encoding="utf-8")) for path in configs)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    return {
        "size": unet["sample_size"] * factor,
        "tokens": text["max_position_embeddings"],
        "width": text["hidden_size"],
        "latents": unet["sample_size"],
    }


DIAGRAMS: dict[str, Callable[[str], str]] = {
    drawn.__name__: drawn
    for drawn in (
        chain, codes, editing, flow, gan, guidance, imagen_parti, latent, lora, parts, provenance,
        stackgan, timeline,
    )
}  # fmt: skip
