"""Long load, kill and fuzz runs: `make soak`."""

import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image

from sdlesson.drawing import draw
from sdlesson.images import read_settings

pytestmark = pytest.mark.slow

PICTURES = 300
KILLS = 40
MAX_GROWTH_BYTES = 64 * 2**20
SAVE_FOR_EVER = """
import sys
from PIL import Image
from sdlesson.images import save_png

noise = Image.effect_noise((512, 512), 90).convert("RGB")  # compresses badly: writing takes a while
save_png(noise, sys.argv[1], {"seed": "0"})
print("saved", flush=True)
while True:
    save_png(noise, sys.argv[1], {"seed": "0"})
"""


def test_any_text_is_drawn(pocket: StableDiffusionPipeline) -> None:
    dice = random.Random(0)
    notes: list[str] = []
    for _ in range(PICTURES):
        letters = [chr(dice.choice((dice.randrange(0x20, 0x7F), dice.randrange(0x10FFFF))))]
        letters += [chr(dice.randrange(0x20, 0xD800)) for _ in range(dice.randrange(200))]
        prompt = "a cat " + "".join(letters).encode("utf-8", "ignore").decode()
        drawn = draw(prompt, pipe=pocket, seed=0, num_inference_steps=1, report=notes.append)
        assert drawn.image.size == (128, 128)
    assert len(notes) >= PICTURES  # nearly every text has words to name


def test_memory_does_not_grow_with_the_pictures_drawn(pocket: StableDiffusionPipeline) -> None:
    def draw_some(count: int) -> int:
        for seed in range(count):
            draw("a cat on the beach", pipe=pocket, seed=seed, num_inference_steps=2)
        return psutil.Process().memory_info().rss

    settled = draw_some(PICTURES // 10)
    assert draw_some(PICTURES) - settled < MAX_GROWTH_BYTES


def test_a_picture_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    dice = random.Random(0)
    path = tmp_path / "noise.png"
    for _ in range(KILLS):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", SAVE_FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "saved\n"
            time.sleep(dice.random() / 5)
            writer.kill()
        assert read_settings(path) == {"seed": "0"}
        assert Image.open(path).getextrema()  # reads every pixel
