"""Photos that people send, varied, widened, followed: asked for over HTTP, and really drawn."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

from fixtures_bot import Painter
from fixtures_pipeline import flag_everything
from fixtures_talk import Group, Talk, answer, is_picture, picture, talking, wait_until
from sdlesson import editing
from sdlesson.bot.generator import PipelineGenerator, Result
from sdlesson.bot.requests import Request
from sdlesson.images import same_picture

PHOTO = Image.new("RGB", (96, 64), "red")
STEPS = 3


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    with talking(Painter(has_control=True)) as talk:
        yield talk


def labels(message: dict) -> str:
    return str(message["reply_markup"])


def test_a_picture_is_drawn_along_the_outline_of_a_photo(talk: Talk) -> None:
    message = picture(talk.person(), "/draw a bear --control outline --seed 7", photo=PHOTO)
    assert message["caption"] == "a bear\nseed 7 · 5 steps · guidance 7.5 · control outline"
    request = talk.painter.requests[-1]
    assert (request.control, request.photo.size) == ("outline", (32, 32))


def test_an_answer_to_a_photo_is_an_edit_of_it_too(talk: Talk) -> None:
    ana = talk.person(language_code="es")
    sent = ana.says(photo=PHOTO)
    ana.waits_for("Buen comienzo", after=sent)
    message = picture(ana, "/draw un oso --control contorno", reply_to=sent)
    assert message["caption"].endswith("control contorno")


@pytest.mark.parametrize(
    ("language", "words", "sentence"),
    [
        ("en", "/draw a bear --control outline", "no ControlNet for its model painter; leave"),
        ("es", "/draw un oso --control contorno", "no tiene una ControlNet para su modelo painter"),
    ],
)
def test_without_a_controlnet_the_reply_says_what_is_missing_and_what_to_do(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, language: str, words: str, sentence: str
) -> None:
    monkeypatch.setattr(talk.painter, "has_control", False)
    drawn = len(talk.painter.requests)
    reply = answer(talk.person(language_code=language), words, photo=PHOTO)
    assert sentence in reply["text"]
    assert reply["text"].count(". ") == 0
    assert len(talk.painter.requests) == drawn


@pytest.mark.parametrize("text", ["/widen right", "/draw --widen right", "/widen: derecha"])
def test_a_photo_is_widened_in_its_own_shape(talk: Talk, text: str) -> None:
    message = picture(talk.person(), text, photo=PHOTO)
    assert message["caption"].startswith("(no words)\n")
    assert message["caption"].endswith("guidance 1.5 · widened: right")
    request = talk.painter.requests[-1]
    assert (request.prompt, request.widen, request.photo.size) == ("", "right", (48, 32))
    assert "vary:" not in labels(message), "a variation would crop it to a square"


def test_a_photo_that_is_too_long_already_is_refused(talk: Talk) -> None:
    ana = talk.person()
    reply = answer(ana, "/widen left", photo=Image.new("RGB", (400, 100)))
    assert "at most" in reply["text"]
    assert "3.5 times" in reply["text"]


def test_a_photo_is_varied_without_words(talk: Talk) -> None:
    message = picture(talk.person(), "/vary", photo=PHOTO)
    assert message["caption"].startswith("(no words)\n")
    assert message["caption"].endswith("strength 0.5")
    assert (
        "strength 0.8"
        in picture(talk.person(), "/vary a cat --strength 0.8", photo=PHOTO)["caption"]
    )


@pytest.mark.parametrize("text", ["/vary", "/widen right", "a cat --control outline"])
def test_an_edit_without_a_photo_is_told_where_to_put_one(talk: Talk, text: str) -> None:
    assert "send one and write this as its caption" in answer(talk.person(), text)["text"]
    assert "escribe esto al pie" in answer(talk.person(language_code="es"), text)["text"]


@pytest.mark.parametrize(
    ("text", "english", "spanish"),
    [
        ("/widen", "after --widen", "después de --ampliar"),
        (
            "/widen sideways",
            "--widen takes one of these words: left, right, top, bottom; “sideways” is",
            "--ampliar admite una de estas palabras: izquierda, derecha, arriba, abajo; «sideways»",
        ),
        ("a --control depth", "one of these words: outline;", "una de estas palabras: contorno;"),
        (
            "/vary a cat --widen left",
            "--strength and --widen do not go together",
            "--fuerza y --ampliar no van juntas",
        ),
        ("/draw --control outline", "nothing in that to draw", "nada que dibujar"),
    ],
)
def test_what_is_wrong_with_an_edit_is_one_reply(
    talk: Talk, text: str, english: str, spanish: str
) -> None:
    assert english in answer(talk.person(), text, photo=PHOTO)["text"]
    assert spanish in answer(talk.person(language_code="es"), text, photo=PHOTO)["text"]


@pytest.mark.parametrize(
    "photo",
    [
        Image.new("RGBA", (96, 64), (255, 0, 0, 99)),
        Image.new("P", (96, 64)),
        Image.new("LA", (96, 64)),
        Image.new("CMYK", (96, 64)),
        Image.new("I;16", (96, 64)),
    ],
    ids=lambda photo: photo.mode,
)
def test_a_file_of_any_mode_is_edited(talk: Talk, photo: Image.Image, tmp_path) -> None:
    suffix = "tiff" if photo.mode == "CMYK" else "png"
    file = tmp_path / f"photo.{suffix}"
    photo.save(file)
    assert picture(talk.person(), "/widen top", file=file)["caption"].endswith("widened: top")
    assert talk.painter.requests[-1].photo.mode == "RGB"


def test_a_photo_lies_as_its_camera_says(talk: Talk, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    PHOTO.save(tmp_path / "photo.jpg", exif=exif)
    picture(talk.person(), "/widen top", file=tmp_path / "photo.jpg")
    assert talk.painter.requests[-1].photo.size == (32, 48)


def test_the_buttons_below_an_edit_do_the_same_edit_again(talk: Talk) -> None:
    ana = talk.person()
    for text, told in (
        ("a bear --control outline --seed 7", "control outline"),
        ("/widen left --seed 7", "widened: left"),
    ):
        first = picture(ana, text, photo=PHOTO)
        photo = talk.painter.requests[-1].photo
        ana.presses(first, "🎲 Another seed")
        second = ana.waits_for(is_picture, after=first)
        assert told in second["caption"]
        assert "seed 7" not in second["caption"]
        ana.presses(first, "➕ More steps")
        assert "20 steps" in ana.waits_for(is_picture, after=second)["caption"]
        assert talk.painter.requests[-1].photo.tobytes() == photo.tobytes()
    varied = picture(ana, "a bear --control outline", photo=PHOTO)
    ana.presses(varied, "✨ Variation")
    assert ana.waits_for(is_picture, after=varied)["caption"].endswith("strength 0.5")
    assert talk.painter.requests[-1].redraws


def test_in_a_group_edits_need_a_command_and_a_photo(talk: Talk) -> None:
    ana, group = talk.person(), Group(talk.server)
    quiet = group.hears(ana, "look --widen left", photo=PHOTO)
    group.hears(ana, "/widen left", reply_to=quiet)
    assert "widened: left" in group.seen.waits_for(is_picture)["caption"]
    group.hears(ana, "/draw a bear --control outline", photo=PHOTO)
    assert group.seen.waits_for("control outline")
    group.hears(ana, "/vary")
    assert group.seen.waits_for("send one and write this as its caption")


def test_help_names_the_edits(talk: Talk) -> None:
    english = ("--control outline", "/vary", "/widen right", "owner agreed")
    spanish = ("--control contorno", "/vary", "/widen derecha", "permiso")
    for code, words in (("en", english), ("es", spanish)):
        text = answer(talk.person(language_code=code), "/help")["text"]
        assert all(word in text for word in words)


# A bot takes the place of the one before, so these with their own come after the others.


def test_help_offers_outlines_only_where_there_is_a_controlnet() -> None:
    with talking() as talk:
        for code in ("en", "es"):
            text = answer(talk.person(language_code=code), "/help")["text"]
            assert "--control" not in text
            assert "/widen" in text


def test_an_edit_is_told_of_as_it_goes_and_can_be_cancelled() -> None:
    with talking(Painter(step_s=0.1)) as talk:
        ana = talk.person()
        ana.says("/widen left --steps 25", photo=PHOTO)
        status = ana.waits_for("Drawing")
        ana.presses(status, "✖ Cancel")
        assert ana.waits_for("Cancelled")
        assert not any(map(is_picture, ana.messages))


def test_edits_of_different_kinds_are_not_in_one_batch() -> None:
    with talking(Painter(step_s=0.05, has_control=True)) as talk:
        people = [talk.person(name) for name in ("Ana", "Eva", "Leo", "Mia", "Tom")]
        people[0].says("a dog --steps 20")
        people[0].waits_for("Drawing")
        texts = ("/vary a", "b --control outline", "/widen top c", "d --control outline")
        for person, text in zip(people[1:], texts, strict=True):
            person.says(text, photo=PHOTO)
        wait_until(lambda: talk.bot.snapshot().queued == 4)
        for person in people:
            person.waits_for(is_picture)
        assert sorted(map(sorted, talk.painter.batches[1:])) == [["a"], ["b", "d"], ["c"]]


# What is drawn.


@pytest.fixture(scope="module")
def controlnet(pocket: StableDiffusionPipeline) -> ControlNetModel:
    """One that has been trained a little: it changes something."""
    controlnet = ControlNetModel.from_unet(pocket.unet).eval()
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in controlnet.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
    return controlnet


@pytest.fixture(scope="module")
def generator(pocket: StableDiffusionPipeline, controlnet: ControlNetModel) -> PipelineGenerator:
    return PipelineGenerator(pocket, controlnet=controlnet)


@pytest.fixture(scope="module")
def square(pocket: StableDiffusionPipeline) -> Image.Image:
    rings = np.hypot(*np.mgrid[-64:64, -64:64]) // 16 % 2 * 255
    return Image.fromarray(rings.astype(np.uint8)).convert("RGB")


def ask(prompt: str = "a cat on the beach", **settings) -> Request:
    return Request(prompt, num_inference_steps=STEPS, **{"guidance_scale": 5.0, **settings})


def draw(generator: PipelineGenerator, *requests: Request, on_step=lambda *_: None,
         is_cancelled=lambda _: False) -> list[Result | None]:  # fmt: skip
    return generator.draw(requests, on_step=on_step, is_cancelled=is_cancelled)


def test_control_is_what_diffusers_makes_of_the_outline(
    generator: PipelineGenerator, controlnet: ControlNetModel, pocket, square: Image.Image
) -> None:
    request = ask(seed=3, photo=square, control="outline")
    (result,) = draw(generator, request)
    theirs = StableDiffusionControlNetPipeline(**pocket.components, controlnet=controlnet)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        request.prompt,
        editing.outline(square),
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert same_picture(result.image, expected)
    assert not same_picture(result.image, draw(generator, ask(seed=3))[0].image)
    assert result.settings["control"] == "outline"
    assert "strength" not in result.settings


def test_an_edit_along_an_outline_is_the_same_alone_and_in_a_batch(
    generator: PipelineGenerator, square: Image.Image
) -> None:
    photos = (square, square.rotate(90).resize((300, 200)))
    requests = [ask(seed=n, photo=photo, control="outline") for n, photo in enumerate(photos)]
    assert len({generator.batch_key(request) for request in requests}) == 1
    together = draw(generator, *requests)
    for request, result in zip(requests, together, strict=True):
        assert same_picture(result.image, draw(generator, request)[0].image)


def test_only_edits_that_are_drawn_alike_share_a_batch(generator, square: Image.Image) -> None:
    key = generator.batch_key
    redrawn = ask(photo=square)
    along, widened = replace(redrawn, control="outline"), replace(redrawn, widen="left")
    assert len({key(ask()), key(redrawn), key(along), key(widened)}) == 4
    assert key(along) == key(replace(along, strength=0.9)), "which says nothing along an outline"
    assert key(widened) != key(widened), "a photo that is widened is alone"


@pytest.mark.parametrize(
    ("side", "box", "size"),
    [
        ("right", (0, 0, 160, 128), (224, 128)),
        ("left", (64, 0, 224, 128), (224, 128)),
        ("bottom", (0, 0, 160, 128), (160, 192)),
    ],
)
def test_widening_adds_at_one_side_and_the_photo_stays(
    generator: PipelineGenerator, square: Image.Image, side: str, box, size
) -> None:
    photo, told = square.resize((160, 128)), []
    request = ask("", seed=3, photo=photo, widen=side, guidance_scale=1.5)
    (result,) = draw(generator, request, on_step=lambda *step: told.append(step))
    assert result.image.size == size
    assert result.image.crop(box).tobytes() == photo.tobytes()
    assert told == [(step, 4 * STEPS, {}) for step in range(1, 4 * STEPS + 1)]
    assert request.steps_to_take == 4 * STEPS
    assert result.settings["widen"] == side


def test_widening_stops_at_the_next_step_once_it_is_cancelled(generator, square) -> None:
    told: list[int] = []
    request = ask("", photo=square, widen="top")
    (result,) = draw(
        generator,
        request,
        on_step=lambda step, *_: told.append(step),
        is_cancelled=lambda _: len(told) == 2,
    )
    assert result is None
    assert told == [1, 2]


def test_the_safety_checker_looks_at_edits(tiny: StableDiffusionPipeline) -> None:
    flag_everything(tiny)
    controlnet = ControlNetModel.from_unet(tiny.unet).eval()
    generator = PipelineGenerator(tiny, controlnet=controlnet)
    photo = Image.new("RGB", (32, 32), "red")
    for edit in ({"widen": "left"}, {"control": "outline"}, {"strength": 0.9}):
        (result,) = draw(generator, ask(photo=photo, **edit))
        assert result.flagged
        assert not any(high for _, high in result.image.getextrema())


def test_without_a_controlnet_there_is_no_control(pocket, tiny, square, monkeypatch, tmp_path):
    monkeypatch.setattr("sdlesson.bot.generator.CONTROL_FOLDER", tmp_path / "none")
    for pipe in (pocket, tiny):
        generator = PipelineGenerator(pipe)
        assert not generator.has_control
        with pytest.raises(ValueError, match="there is no ControlNet"):
            draw(generator, ask(photo=square, control="outline"))
