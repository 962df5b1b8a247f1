import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from fixtures_finetuning import largest_file
from sdlesson import images
from sdlesson.metrics import (
    clip_score,
    clip_scorer,
    diversity,
    mean,
    pixel_statistics,
    pocket_probe,
    share,
)
from sdlesson.prompts import unknown_words


def _noise_image(size: tuple[int, int] = (24, 16), seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


def _shifted(image: Image.Image, levels: int, pixels: int) -> Image.Image:
    """Move the first pixels by so many levels in one channel."""
    array = np.asarray(image).astype(int)
    flat = array.reshape(-1, 3)
    flat[:pixels, 1] += np.where(flat[:pixels, 1] < 128, levels, -levels)
    return Image.fromarray(array.astype(np.uint8))


def test_to_pixels_agrees_with_diffusers() -> None:
    image = _noise_image()
    theirs = VaeImageProcessor(do_resize=False).preprocess([image])
    torch.testing.assert_close(images.to_pixels([image]), theirs)


def test_to_images_agrees_with_diffusers_also_outside_the_range() -> None:
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    theirs = VaeImageProcessor().postprocess(pixels)
    ours = images.to_images(pixels)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_picture_survives_the_way_to_pixels_and_back() -> None:
    batch = [_noise_image(seed=1), _noise_image(seed=2)]
    back = images.to_images(images.to_pixels(batch))
    assert all(np.array_equal(a, b) for a, b in zip(batch, back, strict=True))


def test_a_transparent_image_becomes_three_channels() -> None:
    assert images.to_pixels([Image.new("RGBA", (8, 8))]).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_number_do_not_turn_black(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        images.to_images(torch.full((1, 3, 8, 8), value))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\)"):
        images.to_images(torch.zeros(shape))


def test_images_of_two_sizes_or_none_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        images.to_pixels([_noise_image((8, 8)), _noise_image((16, 8))])
    with pytest.raises(ValueError, match="one size"):
        images.to_pixels([])


def test_rounding_everywhere_is_still_the_same_picture() -> None:
    image = _noise_image((40, 50))
    assert images.same_picture(image, _shifted(image, levels=1, pixels=2000))


def test_one_pixel_in_a_thousand_may_be_off_but_not_two() -> None:
    image = _noise_image((40, 50))
    assert images.same_picture(image, _shifted(image, levels=60, pixels=2))
    assert not images.same_picture(image, _shifted(image, levels=60, pixels=3))


def test_off_means_more_than_eight_levels() -> None:
    image = _noise_image((40, 50))
    assert images.picture_difference(image, _shifted(image, levels=8, pixels=9)).share_off == 0
    nine = images.picture_difference(image, _shifted(image, levels=9, pixels=10))
    assert nine.share_off == pytest.approx(10 / 2000)
    assert nine.mean_error == pytest.approx(10 * 9 / 255 / 2000 / 3, rel=1e-3)


def test_a_picture_that_is_a_little_brighter_all_over_is_another() -> None:
    image = _noise_image()
    assert not images.same_picture(image, Image.eval(image, lambda level: min(255, level + 4)))


def test_a_grid_places_images_row_by_row() -> None:
    colours = ["red", "green", "blue"]
    grid = images.image_grid([Image.new("RGB", (8, 6), colour) for colour in colours], columns=2)
    gap = images.GRID_GAP_PX
    assert grid.size == (16 + gap, 12 + gap)
    assert grid.getpixel((0, 0)) == (255, 0, 0)
    assert grid.getpixel((8 + gap, 0)) == (0, 128, 0)
    assert grid.getpixel((0, 6 + gap)) == (0, 0, 255)
    assert grid.getpixel((8 + gap, 6 + gap)) == (255, 255, 255)


def test_labels_write_below_each_image() -> None:
    grid = images.image_grid([Image.new("RGB", (64, 16))], 1, labels=["nino"])
    assert grid.height == 16 + images.LABEL_FONT_PX * images.LABEL_LINES
    large = images.image_grid([Image.new("RGB", (64, 16))], 1, labels=["nino"], font_px=20)
    assert large.height == 16 + 30
    assert np.asarray(grid)[16:].min() < 128


def test_labels_know_the_letters_of_spanish_and_the_signs_of_the_lessons() -> None:
    image, unknown = Image.new("RGB", (64, 16)), "\ue000"  # a letter that no font has
    letters = [*"áéíóúüñÁÉÍÓÚÜÑ¿¡→√ᾱ≈", unknown]
    drawn = {images.image_grid([image], 1, labels=[letter]).tobytes() for letter in letters}
    assert len(drawn) == len(letters)


def test_labels_are_written_without_matplotlib_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    images.label_font.cache_clear()
    grid = images.image_grid([Image.new("RGB", (64, 16))], 1, labels=["nino"])
    images.label_font.cache_clear()
    assert np.asarray(grid)[16:].min() < 128


def test_a_label_for_each_image_or_none() -> None:
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        images.image_grid([_noise_image(), _noise_image()], 2, labels=["one"])
    with pytest.raises(ValueError, match="a grid needs"):
        images.image_grid([], 2)


def test_settings_survive_in_the_file_in_any_language(tmp_path: Path) -> None:
    settings = {"prompt": "un dragón en la montaña, 雪 🐱", "seed": "7"}
    images.save_png(_noise_image(), tmp_path / "a.png", settings)
    assert images.read_settings(tmp_path / "a.png") == settings
    assert np.array_equal(Image.open(tmp_path / "a.png"), _noise_image())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="too large"), largest_file(2**10):
        images.save_png(_noise_image((64, 64)), target, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"old"


def test_a_png_in_memory_is_the_one_that_is_saved(tmp_path: Path) -> None:
    settings = {"prompt": "un camión \ud800", "seed": "5"}
    images.save_png(_noise_image(), tmp_path / "a.png", settings)
    assert images.encode_png(_noise_image(), settings) == (tmp_path / "a.png").read_bytes()


def test_an_output_that_cannot_be_written_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    refused = {
        "a.jpg": "end it in .png",
        "a": "end it in .png",
        "folder.png": "it is a folder",
        "missing/a.png": "there is no folder",
        "file/a.png": "there is no folder",
    }
    for name, reason in refused.items():
        with pytest.raises(ValueError, match=reason):
            images.check_output(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write")
def test_a_folder_without_the_right_to_write_is_refused() -> None:
    with pytest.raises(ValueError, match="choose another folder"):
        images.check_output("/proc/a.png")


def test_checking_an_output_leaves_nothing_behind(tmp_path: Path) -> None:
    assert images.check_output(os.fspath(tmp_path / "a.png")) == tmp_path / "a.png"
    assert list(tmp_path.iterdir()) == []


def test_only_a_png_has_settings(tmp_path: Path) -> None:
    _noise_image().save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="only a PNG"):
        images.read_settings(tmp_path / "a.jpg")


def _png(folder: Path) -> Path:
    path = folder / "picture.png"
    _noise_image().save(path)
    return path


def _truncated(folder: Path) -> Image.Image:
    path = _png(folder)
    path.write_bytes(path.read_bytes()[:600])
    return Image.open(path)


def _closed(folder: Path) -> Image.Image:
    with Image.open(_png(folder)) as image:
        return image


MEASURES: list[Callable[[Image.Image], object]] = [
    lambda image: images.to_pixels([image]),
    lambda image: images.same_picture(image, image),
    lambda image: images.image_grid([image], 1),
    pixel_statistics,
    lambda image: clip_scorer().embed_images([image]),
    lambda image: pocket_probe().read([image]),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("spoilt", "sentence"),
    [
        (_truncated, "is damaged.*truncated.*again"),
        (_closed, r"was closed before it was read.*image\.load\(\)"),
        (lambda _: np.zeros((4, 4, 3)), "is of type ndarray, must be a PIL image"),
        (lambda _: "cat.png", "is of type str, must be a PIL image"),
        (lambda _: Image.fromarray(np.full((4, 4), -0.5, np.float32)), "from -0.5 to -0.5; scale"),
        (lambda _: Image.fromarray(np.full((4, 4), np.nan, np.float32)), "scale them to 0 to 255"),
    ],
)
def test_a_picture_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, measure: Callable[[Any], object], spoilt: Callable[[Path], Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        measure(spoilt(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "level"),
    [
        (np.full((4, 4), 0.5, np.float32), 128),
        (np.full((4, 4), 1.0, np.float32), 255),
        (np.full((4, 4), 200.0, np.float32), 200),
        (np.full((4, 4), 200, np.int32), 200),
        (np.full((4, 4), 32768, np.uint16), 128),
    ],
)
def test_numbers_beyond_bytes_become_the_levels_that_they_are(
    numbers: np.ndarray, level: int
) -> None:
    assert images.as_rgb(Image.fromarray(numbers)).getpixel((0, 0)) == (level,) * 3


@pytest.mark.parametrize("one", ["abc", Image.new("RGB", (4, 4)), 5])
def test_one_thing_where_a_list_of_pictures_belongs_is_refused(one: Any) -> None:
    works: list[Callable[[], object]] = [
        lambda: images.to_pixels(one),
        lambda: images.image_grid(one, 1),
        lambda: clip_scorer().embed_images(one),
        lambda: pocket_probe().read(one),
        lambda: diversity(one),
        lambda: clip_score(one, "a cat"),
    ]
    for work in works:
        with pytest.raises(ValueError, match=r"images must be a list of PIL images, got one"):
            work()


def test_a_text_where_a_list_of_texts_belongs_is_not_read_as_letters() -> None:
    three = [Image.new("RGB", (4, 4))] * 3
    with pytest.raises(ValueError, match="labels='abc' must be a list of texts"):
        images.image_grid(three, 3, labels="abc")
    with pytest.raises(ValueError, match="taught='zwx' must be a list of words"):
        unknown_words("a zwx", taught="zwx")
    with pytest.raises(ValueError, match="values='123' must be a list of numbers"):
        mean("123")
    with pytest.raises(ValueError, match="flags='10' must be a list of True and False"):
        share("10")
    assert clip_scorer().embed_texts("a cat").shape[0] == 1


def test_a_damaged_file_of_settings_is_one_sentence(tmp_path: Path) -> None:
    _truncated(tmp_path)
    with pytest.raises(ValueError, match=r"picture\.png is damaged, or no picture"):
        images.read_settings(tmp_path / "picture.png")


@pytest.mark.parametrize("path", [5, None, "a\0.png", b"a.png"])
def test_what_is_no_path_is_one_sentence(path: Any) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        images.check_output(path)


@pytest.mark.parametrize("name", ["a" * 260 + ".png", "é" * 130 + ".png", "a\0.png"])
def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(ValueError, match=r"cannot write .*choose another folder or name"):
        images.check_output(tmp_path / name)
