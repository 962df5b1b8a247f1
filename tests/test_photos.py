"""A student's photos, as files really are: turned, see-through, damaged, and not photos at all."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdlesson.finetuning.training_job import load_photos
from sdlesson.language import set_language
from sdlesson.photos import PhotoError, open_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112  # the EXIF tag
HEIC_HEAD = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1" + bytes(64)


def saved(image: Image.Image, form: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def scene(size: tuple[int, int] = (160, 160), seed: int = 0) -> Image.Image:
    """Noise, which no two photos share and no encoder makes small."""
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )


def corners(size: tuple[int, int] = (160, 160)) -> Image.Image:
    """Red, green, blue and white, clockwise from the upper left."""
    image = Image.new("RGB", size, RED)
    half = (size[0] // 2, size[1] // 2)
    image.paste(GREEN, (half[0], 0, size[0], half[1]))
    image.paste(WHITE, (0, half[1], half[0], size[1]))
    image.paste(BLUE, (*half, *size))
    return image


def seen(image: Image.Image) -> list[tuple[int, ...]]:
    """The four corners of a picture, clockwise from the upper left, as 0 or 255."""
    side = image.width - 9
    places = ((8, 8), (side, 8), (side, side), (8, side))
    return [tuple(255 * (v > 127) for v in image.getpixel(place)) for place in places]


def opened(data: bytes, size: int = 64) -> Image.Image:
    image = open_photo(data, size=size, name="photo")
    assert (image.mode, image.size) == ("RGB", (size, size))
    return image


def refusal(source: object, size: int = 64) -> str:
    with pytest.raises(PhotoError) as caught:
        load_photos(source, size=size)
    message = str(caught.value)
    assert message.count("\n") == 0
    return message


def big_png(width: int, height: int) -> bytes:
    """A real PNG of black pixels, whole, a thousand times smaller than what it unpacks to."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer, row = zlib.compressobj(9), bytes(1 + -(-width // 8))
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# What is a photo.


@pytest.mark.parametrize(
    ("orientation", "lies"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),  # mirrored
        (3, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, WHITE, BLUE, GREEN]),  # mirrored and turned
        (6, [WHITE, RED, GREEN, BLUE]),
        (8, [GREEN, BLUE, WHITE, RED]),
    ],
)
def test_a_photo_is_turned_as_its_camera_says(
    orientation: int, lies: list[tuple[int, ...]]
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for form in ("JPEG", "PNG", "WEBP"):
        assert seen(opened(saved(corners(), form, exif=exif))) == lies


def test_a_turned_photo_keeps_its_middle() -> None:
    """As phones save an upright photo: lying, with a note to turn it."""
    wide = Image.new("RGB", (300, 160), BLUE)
    wide.paste(RED, (70, 0, 230, 160))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    assert set(seen(opened(saved(wide, "JPEG", exif=exif)))) == {RED}


def test_damaged_camera_notes_leave_the_photo_as_it_lies() -> None:
    data = saved(corners(), "JPEG", exif=b"Exif\x00\x00II*\x00" + b"\xff" * 40)
    assert seen(opened(data)) == [RED, GREEN, BLUE, WHITE]


def test_what_is_see_through_lies_on_white() -> None:
    clear = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (40, 40, 120, 120))
    for form in ("PNG", "WEBP"):
        image = opened(saved(clear, form, **({"lossless": True} if form == "WEBP" else {})))
        assert seen(image) == [WHITE] * 4
        assert image.getpixel((32, 32)) == RED


def test_a_palette_with_a_see_through_colour_lies_on_white() -> None:
    palette = Image.new("P", (160, 160), 0)
    palette.putpalette([*BLUE, *RED])
    palette.paste(1, (40, 40, 120, 120))
    for form in ("PNG", "GIF"):
        image = opened(saved(palette, form, transparency=0))
        assert seen(image) == [WHITE] * 4
        assert image.getpixel((32, 32)) == RED


def test_half_see_through_grey_is_half_white() -> None:
    grey = Image.new("LA", (160, 160), (0, 128))
    assert opened(saved(grey, "PNG")).getpixel((5, 5)) == pytest.approx((127,) * 3, abs=1)


def test_sixteen_bits_keep_their_greys() -> None:
    ramp = np.tile(np.linspace(0, 65535, 160).astype(np.uint16), (160, 1))
    image = opened(saved(Image.fromarray(ramp), "PNG"))
    left, middle, right = (image.getpixel((x, 32))[0] for x in (1, 32, 62))
    assert left < 10
    assert middle == pytest.approx(128, abs=4)
    assert right > 245


def test_a_cmyk_jpeg_has_its_colours() -> None:
    assert seen(opened(saved(corners().convert("CMYK"), "JPEG"))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("mode", ["1", "L", "P", "F", "LAB", "HSV", "YCbCr"])
def test_any_kind_of_pixels_becomes_rgb(mode: str) -> None:
    image = corners().convert("L" if mode == "F" else "RGB").convert(mode)
    photo = open_photo(image, size=64, name="photo")
    assert photo.mode == "RGB"
    assert photo.getpixel((8, 8)) != photo.getpixel((8, 55))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (96, 96), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    assert seen(opened(data)) == [RED] * 4


def test_a_long_picture_is_cropped_in_its_middle() -> None:
    wide = Image.new("RGB", (480, 160), BLUE)
    wide.paste(RED, (160, 0, 320, 160))
    assert set(seen(opened(saved(wide, "PNG")))) == {RED}
    assert set(seen(opened(saved(wide.transpose(Image.Transpose.ROTATE_90), "PNG")))) == {RED}


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="pillow-heif is not installed")
def test_heic_is_opened_where_its_package_is_installed() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    assert seen(opened(saved(corners(), "HEIF"))) == [RED, GREEN, BLUE, WHITE]


def test_a_picture_given_stays_as_it_was() -> None:
    image = corners((300, 200)).convert("P")
    before = image.copy()
    open_photo(image, size=64, name="photo")
    assert (image.mode, image.tobytes()) == (before.mode, before.tobytes())


# What is not.


def test_a_truncated_jpeg_is_damaged() -> None:
    data = saved(scene(), "JPEG", quality=95)
    assert refusal([data, data[: len(data) // 2]]).startswith("photo 2 is damaged (")


def test_no_damage_gives_anything_but_a_photo_or_the_one_error() -> None:
    chance = random.Random(0)
    messages: list[str] = []
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        whole = saved(scene((80, 80)), form)
        for _ in range(25):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 3, 30))):
                data[chance.randrange(min(len(data), chance.choice((64, 600, 10**6))))] = (
                    chance.randrange(256)
                )
            try:
                opened(bytes(data))
            except PhotoError as error:
                messages.append(str(error))
    assert len(messages) > 30
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_a_decompression_bomb_is_refused_unopened(side: int) -> None:
    bomb = big_png(side, side)
    assert len(bomb) < side * side / 5000
    started = time.process_time()
    assert "unpacks to more than 89 million pixels" in refusal([bomb, bomb])
    assert time.process_time() - started < 0.5


def test_a_photo_of_a_large_camera_is_no_bomb() -> None:
    assert opened(big_png(9_000, 6_000)).getpixel((9, 9)) == (0, 0, 0)


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="pillow-heif is installed")
def test_heic_says_how_to_open_it(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(HEIC_HEAD)
    message = refusal(tmp_path)
    assert message.startswith("IMG_0.HEIC is in HEIC")
    assert "pip install pillow-heif" in message
    assert "export it as JPEG" in message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "bad is empty"),
        (b"Dear diary, today I took no photo.\n" * 9, "bad is not a picture that can be read"),
        (b"%PDF-1.7\n" + bytes(99), "bad is not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "bad is not a picture"),
        (saved(scene((30, 20)), "PNG"), "bad is too small: 30 x 20 pixels"),
        (saved(scene((4000, 31)), "PNG"), "bad is too small: 4000 x 31 pixels"),
    ],
    ids=["empty", "text", "pdf", "eps", "tiny", "thin"],
)
def test_a_bad_file_is_named_and_says_why(data: bytes, sentence: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad"
    good.write_bytes(saved(scene(), "PNG"))
    bad.write_bytes(data)
    assert refusal([good, bad]).startswith(sentence)


def test_the_smallest_side_that_will_do_depends_on_the_size_asked_for() -> None:
    photo = saved(scene((150, 100)), "PNG")
    assert opened(photo, size=128)
    assert "for 512 x 512 each side needs at least 256" in refusal([photo, photo], size=512)


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    assert refusal([gone, gone]).startswith("gone.jpg cannot be opened (No such file")
    assert refusal([tmp_path, tmp_path]).startswith(f"{tmp_path.name} cannot be opened (Is a dir")


def test_the_sentence_speaks_the_readers_language_and_the_exception_english() -> None:
    set_language("es")
    with pytest.raises(PhotoError, match="photo 1 is empty") as caught:
        load_photos([b"", b""], size=64)
    assert caught.value.sentence.startswith("photo 1 está vacío")


@pytest.mark.parametrize("source", [None, 7, np.zeros((64, 64, 3))])
def test_what_is_no_file_at_all_says_what_is_allowed(source: object) -> None:
    assert "give a path, bytes, an open file or a PIL image" in refusal([source, source])


@pytest.mark.parametrize(
    ("mode", "top"), [("F", 1.0), ("F", 255.0), ("F", 65535.0), ("I", 255), ("I", 65535)]
)
def test_pictures_of_wide_numbers_keep_their_greys_whatever_their_range(
    mode: str, top: float
) -> None:
    ramp = np.tile(np.linspace(0, top, 160), (160, 1))
    image = Image.fromarray(ramp.astype(np.float32 if mode == "F" else np.int32))
    assert image.mode == mode
    photo = open_photo(image, size=64, name="photo")
    left, middle, right = (photo.getpixel((x, 32))[0] for x in (1, 32, 62))
    assert (left < 10, right > 245) == (True, True)
    assert middle == pytest.approx(128, abs=4)
    assert opened(saved(image, "TIFF")).tobytes() == photo.tobytes()


@pytest.mark.parametrize("top", [np.nan, np.inf, -1.0, 1e6])
def test_numbers_that_are_none_of_a_pictures_are_named(top: float) -> None:
    image = Image.fromarray(np.linspace(0, top, 64 * 64).reshape(64, 64).astype(np.float32))
    with np.errstate(all="ignore"):
        assert refusal([image, image]).startswith("photo 1 has numbers from ")


def test_a_picture_that_is_closed_or_cut_off_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "closed.png"
    scene().save(path)
    with Image.open(path) as closed:
        pass
    data = saved(scene(), "PNG")
    cut = Image.open(io.BytesIO(data[: len(data) // 2]))
    for image in (closed, cut):
        assert "is closed or damaged (" in refusal([image, scene(seed=1)])
    with path.open("rb") as file:
        pass
    assert refusal([file, scene()]).startswith("closed.png cannot be opened (")
    with path.open(encoding="latin-1") as text:
        assert "is of type TextIOWrapper" in refusal([text, scene()])
    set_language("es")
    with pytest.raises(PhotoError) as caught:
        open_photo(closed, size=64, name="foto 1")
    assert caught.value.sentence.startswith("foto 1 está cerrada o dañada")


def test_a_file_that_was_read_before_is_read_again(tmp_path: Path) -> None:
    first, second, _ = write_three(tmp_path)
    with first.open("rb") as file:
        file.read()
        assert len(load_photos([file, second], size=64)) == 2


def test_a_folder_or_photo_that_is_not_there_is_not_the_only_photo(tmp_path: Path) -> None:
    for wrong in (tmp_path / "my_photos", str(tmp_path / "my_photos"), [tmp_path / "my_photos"]):
        assert refusal(wrong).startswith("my_photos cannot be opened (No such file")
    assert refusal([b"no photo"]).startswith("photo 1 is not a picture")


@pytest.mark.parametrize("source", [None, 7, 0.5])
def test_what_is_no_list_of_photos_says_what_is_allowed(source: object) -> None:
    assert "give a path, bytes, an open file or a PIL image" in refusal(source)


@pytest.mark.parametrize("size", [0, "64", 64.0, True, None, 63])
def test_a_size_that_is_none_is_refused_before_a_photo_is_opened(size: object) -> None:
    with pytest.raises(ValueError, match="size="):
        load_photos([b"", b""], size=size)


# All photos of a training.


def write_three(folder: Path) -> list[Path]:
    paths = [folder / name for name in ("c.jpg", "a.png", "b.webp")]
    for seed, path in enumerate(paths):
        scene(seed=seed).save(path)
    return paths


def test_photos_may_come_in_any_way_and_keep_their_order(tmp_path: Path) -> None:
    paths = write_three(tmp_path)
    by_path = load_photos(paths, size=64)
    with paths[1].open("rb") as file, Image.open(paths[2]) as image:
        mixed = load_photos([str(paths[0]), file, image], size=64)
    by_bytes = load_photos((path.read_bytes() for path in paths), size=64)
    for one, other, third in zip(by_path, mixed, by_bytes, strict=True):
        assert one.tobytes() == other.tobytes() == third.tobytes()


def test_a_folder_gives_its_pictures_by_name_and_no_stray_file(tmp_path: Path) -> None:
    c, a, b = write_three(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(99))
    (tmp_path / "._a.png").write_bytes(b"\x00\x05\x16\x07" + bytes(99))
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(99))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "old.png").mkdir()
    for folder in (tmp_path, str(tmp_path)):
        photos = load_photos(folder, size=64)
        wanted = load_photos([a, b, c], size=64)
        assert [photo.tobytes() for photo in photos] == [photo.tobytes() for photo in wanted]


def test_a_damaged_picture_of_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    write_three(tmp_path)
    (tmp_path / "d.jpg").write_bytes(b"half a photo")
    assert refusal(tmp_path).startswith("d.jpg is not a picture")


def test_no_photos_is_one_sentence(tmp_path: Path) -> None:
    assert refusal([]) == "there are no photos: give three to five of one thing"
    assert refusal(tmp_path).startswith(f"there are no photos in {tmp_path}")


def test_one_photo_is_too_few_however_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    scene().save(path)
    ways: list[Callable[[], object]] = [
        lambda: path, lambda: [path], lambda: str(path), lambda: tmp_path,
    ]  # fmt: skip
    for way in ways:
        assert refusal(way()).startswith("me.png is the only photo")
    with path.open("rb") as file:
        assert "take three to five" in refusal(file)
    for one in (path.read_bytes(), scene()):
        assert refusal(one).startswith("photo 1 is the only photo")


def test_the_same_photo_twice_is_named(tmp_path: Path) -> None:
    first, _, third = write_three(tmp_path)
    (tmp_path / "d.jpg").write_bytes(first.read_bytes())
    assert refusal(tmp_path).startswith("d.jpg shows the same as c.jpg")
    assert refusal([scene(), third, scene()]).startswith("photo 3 shows the same as photo 1")


def test_reading_photos_loads_no_torch() -> None:
    code = "import sdlesson.photos, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
