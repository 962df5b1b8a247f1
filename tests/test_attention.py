import pytest
import torch
from PIL import Image

from sdlesson import figures
from sdlesson.attention import word_maps
from sdlesson.diffusion import decode, denoise
from sdlesson.figures import diagrams
from sdlesson.images import same_picture
from sdlesson.language import set_language
from sdlesson.pipelines import load_pipeline


@pytest.fixture(scope="module")
def pocket():
    pipe = load_pipeline("pocket")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_looking_at_the_attention_changes_neither_the_picture_nor_the_pipeline(pocket):
    before = dict(pocket.unet.attn_processors)
    prompt = "a robot beside a pizza on the beach"
    found = word_maps(pocket, prompt, seed=3, num_inference_steps=4)
    *_, last = denoise(
        pocket, prompt, num_inference_steps=4, generator=torch.Generator("cpu").manual_seed(3)
    )
    assert same_picture(found.picture, decode(pocket, last.latents)[0])
    assert pocket.unet.attn_processors == before
    assert list(found.maps) == ["a", "robot", "beside", "pizza", "on", "the", "beach"]
    total = sum(found.maps.values())
    assert total.shape == (16, 16)
    assert float(total.min()) >= 0
    assert float(total.max()) < 1


def test_each_word_is_looked_at_where_it_is_drawn(pocket):
    found = word_maps(pocket, "un robot junto a una pizza en la playa", num_inference_steps=12)
    columns = torch.arange(16.0)
    middles = []
    for word in ("robot", "pizza"):
        part = found.maps[word] - found.maps[word].median()
        weight = part.clamp(min=0).sum(0)
        middles.append(float((weight * columns).sum() / weight.sum()))
    assert abs(middles[0] - middles[1]) > 2  # beside each other, so in different columns


def test_punctuation_and_a_word_of_several_pieces_are_one_word(pocket):
    found = word_maps(pocket, "a cat, an xylophone", num_inference_steps=1, guidance_scale=1.0)
    assert [word for word in found.maps if word] == ["a", "cat", "an", "xylophone"]


def test_the_u_of_the_u_net_has_the_shapes_that_its_parts_give(pocket):
    shapes = diagrams.unet_shapes(pocket.unet, pocket.tokenizer.model_max_length)
    assert shapes["out"] == (4, 16, 16)
    assert shapes["in"] == (64, 16, 16)
    assert shapes["mid"] == (160, 4, 4)
    text = " ".join(found.get_text() for found in figures.unet_diagram(pocket).axes[0].texts)
    assert "64 × 16 × 16" in text
    assert "reads the words" in text


def test_diagrams_speak_the_language_set():
    set_language("es")
    texts = {found.get_text() for found in figures.pipeline_diagram().axes[0].texts}
    assert {"palabras", "tokenizador", "U-Net"} <= texts


def test_an_equation_has_a_sign_between_each_two_pictures_and_a_label_for_each():
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    chart = figures.equation(pictures, ["+", "="], ["r", "g", "b"])
    assert {"+", "=", "r", "g", "b"} == {text.get_text() for text in chart.axes[0].texts}
    assert len(chart.axes[0].images) == 3
    with pytest.raises(ValueError, match="3 images, 1 signs, 3 labels"):
        figures.equation(pictures, ["+"], ["r", "g", "b"])


def test_the_arrow_of_guidance_keeps_lengths_and_angles():
    without, text = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([3.0, 4.0, 0.0])
    chart = figures.guidance_arrow(without, text, [1, 2])
    points = [line.get_xydata()[0].tolist() for line in chart.axes[0].lines]
    assert points[0] == pytest.approx([3, 4])
    assert points[1] == pytest.approx([3, 8])


def test_a_heat_map_is_bright_where_the_word_is():
    heat = torch.zeros(16, 16)
    heat[2, 3] = 1
    shown = figures.heat_maps(Image.new("RGB", (128, 128), "gray"), {"robot": heat})
    half = shown.crop((shown.width // 2, 0, shown.width, shown.width // 2)).convert("L")
    x, y = (round((place + 0.5) / 16 * half.width) for place in (3, 2))
    assert half.getpixel((x, y)) > half.getpixel((half.width - x, half.height - y)) + 50
