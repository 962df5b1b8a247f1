"""The panel of a training and the upload of photos: what they show, in a real kernel too."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode, v4
from PIL import Image

from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.finetuning.training_job import load_photos
from sdlesson.language import set_language
from sdlesson.widgets import PhotoUpload, TrainingPanel
from sdlesson.widgets import training_panel as panels
from sdlesson.widgets.training_panel import DRAWING_SHARE, MAX_COLUMNS, MAX_POINTS, WINDOW

VERSION = int(ipywidgets.__version__.split(".")[0])


@dataclass(frozen=True)
class Step:
    """As much of `finetuning.TrainingStep` as the panel needs."""

    index: int
    steps: int
    loss: float
    seconds: float
    images: tuple[Image.Image, ...] = ()


def plain(colour: str = "red", size: tuple[int, int] = (128, 128)) -> Image.Image:
    return Image.new("RGB", size, colour)


def watched(
    panel: TrainingPanel, steps: range, of: int, sample_every: int = 0, a_step_s: float = 0.1
) -> TrainingPanel:
    for done, index in enumerate(steps, start=1):
        draws = sample_every and (index + 1) % sample_every == 0
        images = (plain("red"), plain("blue")) if draws else ()
        panel(Step(index, of, 1 / (1 + index), done * a_step_s, images))
    return panel


def line(panel: TrainingPanel) -> np.ndarray:
    """The points of the curve, (points, 2)."""
    return panel.chart().axes[0].lines[0].get_xydata()


# The panel.


def test_the_panel_takes_the_steps_of_a_training() -> None:
    panel = TrainingPanel()
    panel(TrainingStep(0, 2, 0.5, 0.0, (10,), (0.5,), 0.1, (plain(),)))
    panel(TrainingStep(1, 2, 0.3, 0.0, (10,), (0.3,), 0.2))
    assert panel.status == "2 steps in 0 s · loss 0.4000"


def test_the_curve_is_the_running_mean_of_the_history() -> None:
    losses = np.random.default_rng(0).random(200).tolist()
    panel, history = TrainingPanel(), History()
    for index, loss in enumerate(losses):
        step = TrainingStep(index, 200, loss, 0.0, (), (), index / 10)
        panel(step)
        history.steps.append(step)
    points = line(panel)
    smooth = history.smooth(WINDOW)
    assert len(points) == MAX_POINTS
    assert points[[0, -1], 0].tolist() == [1, 200]
    wanted = [smooth[int(x) - 1] for x in points[:, 0]]
    np.testing.assert_allclose(points[:, 1], wanted)


def test_samples_stand_below_the_step_that_drew_them() -> None:
    panel = watched(TrainingPanel(), range(100), 100, sample_every=25)
    windows = panel.chart().axes[0].child_axes
    assert [axes.get_title() for axes in windows] == ["25", "50", "75", "100"]
    first = windows[0].images[0].get_array()
    assert tuple(first[5, 5]) == (255, 0, 0)
    assert tuple(first[-5, 5]) == (0, 0, 255)


def test_of_many_or_large_samples_the_chart_shows_few_and_small_ones() -> None:
    panel = TrainingPanel()
    for index in range(30):
        panel(Step(index, 30, 0.1, index / 10, (plain("red", (512, 512)),)))
    windows = panel.chart().axes[0].child_axes
    assert len(windows) == MAX_COLUMNS
    assert [windows[0].get_title(), windows[-1].get_title()] == ["1", "30"]
    assert max(axes.images[0].get_array().shape[0] for axes in windows) <= 128


def test_the_time_left_follows_from_the_steps_of_this_run() -> None:
    panel = watched(TrainingPanel(), range(100), 400)
    assert panel.status.startswith("Step 100 of 400 · loss 0.0")
    assert panel.status.endswith("about 30 s left")
    resumed = watched(TrainingPanel(), range(300, 310), 400, a_step_s=2.0)
    assert resumed.status.endswith("about 3:00 min left")


def test_one_step_says_nothing_of_the_time_and_none_says_so() -> None:
    assert TrainingPanel().status == "No step yet."
    assert watched(TrainingPanel(), range(1), 9).status == "Step 1 of 9 · loss 1.0000"


def test_a_training_that_goes_on_keeps_its_curve_and_forgets_what_was_lost() -> None:
    panel = watched(TrainingPanel(), range(57), 100, sample_every=20)
    watched(panel, range(50, 100), 100, sample_every=20)  # from the checkpoint of step 50
    points = line(panel)
    assert points[[0, -1], 0].tolist() == [1, 100]
    assert len(set(points[:, 0])) == len(points)
    titles = [axes.get_title() for axes in panel.chart().axes[0].child_axes]
    assert titles == ["20", "40", "60", "80", "100"]
    assert panel.status.startswith("100 steps in 5 s")


def test_the_panel_speaks_the_readers_language() -> None:
    set_language("es")
    panel = watched(TrainingPanel(), range(50), 100)
    assert panel.status.startswith("Paso 50 de 100 · pérdida 0.0")
    assert panel.status.endswith("quedan unos 5 s")
    texts = [text.get_text() for text in panel.chart().axes[0].texts]
    assert "pérdida, media de 25 pasos" in texts


def test_outside_a_notebook_nothing_is_drawn_or_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingPanel, "chart", lambda _: pytest.fail("drawn for nobody"))
    watched(TrainingPanel(), range(20), 20)
    assert capsys.readouterr().out == ""


def test_drawing_takes_no_more_than_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock of its own: 100 ms a step, and drawings that take longer than was guessed."""
    clock, drawings = [0.0], []

    def show(thing: object, _: object) -> None:
        cost = 0.001 if isinstance(thing, dict) else 0.2
        drawings.append((clock[0], cost))
        clock[0] += cost

    monkeypatch.setattr(panels, "_show", show)
    monkeypatch.setattr(panels, "in_notebook", lambda: True)
    monkeypatch.setattr(panels.time, "perf_counter", lambda: clock[0])
    panel = TrainingPanel()
    for index in range(600):
        clock[0] += 0.1
        panel(Step(index, 601, 0.1, clock[0]))
    assert sum(cost for _, cost in drawings) <= 0.02 * clock[0]
    charts = [at for at, cost in drawings if cost > 0.01]
    assert len(charts) >= 4
    assert charts[0] < 0.15 / DRAWING_SHARE
    panel(Step(600, 601, 0.1, clock[0]))
    assert drawings[-1][1] == 0.2  # the last is drawn whatever it costs


# Both in a real kernel, as a lesson runs them.


LESSON = (
    """
import time
from PIL import Image
from sdlesson.finetuning.history import TrainingStep
from sdlesson.widgets import PhotoUpload, TrainingPanel

def train(indices, steps, watch, pause_s):
    for done, index in enumerate(indices):
        time.sleep(pause_s)
        images = (Image.new("RGB", (128, 128), "red"),) if index % 10 == 9 else ()
        watch(TrainingStep(index, steps, 0.1, 0.0, (5,), (0.1,), done * 0.1, images))
""",
    "panel = TrainingPanel()\ntrain(range(12), 40, panel, 0.1)  # and an interruption",
    "train(range(12, 40), 40, panel, 0.0)",
    """
cost_s, panel = 0.0, TrainingPanel()

def timed(step):
    global cost_s
    before = time.thread_time()
    panel(step)
    cost_s += time.thread_time() - before

began = time.perf_counter()
train(range(120), 121, timed, 0.1)
print(cost_s / (time.perf_counter() - began))
""",
    "upload = PhotoUpload()\nupload",
    "print(upload.photos(128))",
)


def test_broken_samples_do_not_end_the_training_and_floats_are_not_black(tmp_path: Path) -> None:
    panel = TrainingPanel()
    path = tmp_path / "cut.png"
    plain().save(path)
    path.write_bytes(path.read_bytes()[:120])
    closed, cut = Image.open(io.BytesIO(file(0))), Image.open(path)
    closed.close()
    floats = Image.fromarray(np.full((128, 128), 0.5, dtype=np.float32))
    clear = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    panel(Step(0, 2, 0.1, 0.1, (closed, cut, floats, clear, plain(size=(64, 200)))))
    shown = np.asarray(panel._samples[0])
    greys = [int(shown[64 + index * (128 + 4), 64].mean()) for index in range(4)]
    assert greys == [128, 128, 128, 255]


@pytest.fixture(scope="module")
def lesson() -> NotebookNode:
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in LESSON])
    quiet = ["--log-level=ERROR"]
    NotebookClient(notebook, timeout=240, kernel_name="python3", extra_arguments=quiet).execute()
    return notebook


def test_a_saved_notebook_keeps_the_last_curve_and_how_long_it_took(
    lesson: NotebookNode, tmp_path: Path
) -> None:
    status, chart = lesson.cells[2].outputs
    assert status["data"]["text/plain"].startswith("40 steps in 3 s · loss 0.1000")
    assert '<progress value="40" max="40">' in status["data"]["text/html"]
    picture = Image.open(io.BytesIO(base64.b64decode(chart["data"]["image/png"])))
    assert min(picture.size) > 250
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (abs(pixels - (255, 0, 0)).max(axis=2) < 9).mean() > 0.02  # the samples
    path = tmp_path / "saved.ipynb"
    nbformat.write(lesson, path)
    assert path.stat().st_size < 150_000


def test_what_an_interrupted_training_showed_stays_in_its_own_cell(lesson: NotebookNode) -> None:
    (status,) = lesson.cells[1].outputs
    assert re.match(r"Step \d+ of 40 · loss 0.1000", status["data"]["text/plain"])


@pytest.mark.alone
def test_the_panel_costs_less_than_two_per_cent_of_steps_of_100_ms(lesson: NotebookNode) -> None:
    *shown, printed = lesson.cells[3].outputs
    assert 0 < float(printed["text"]) < 0.02
    assert any("image/png" in output["data"] for output in shown)


def test_the_upload_is_shown_and_waits_for_nothing(lesson: NotebookNode) -> None:
    (shown,), (printed,) = (cell.outputs for cell in lesson.cells[4:])
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    assert printed["text"] == "[]\n"


# The upload.


def file(seed: int, size: tuple[int, int] = (200, 160), form: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, form)
    return data.getvalue()


def choose(upload: PhotoUpload, files: dict[str, bytes] | list[tuple[str, bytes]]) -> None:
    """What the browser does when files are chosen."""
    chosen = list(files.items() if isinstance(files, dict) else files)
    if VERSION < 8:
        upload.upload.metadata = [{"name": name} for name, _ in chosen]
        upload.upload.data = [data for _, data in chosen]
        upload.upload._counter += 1
    else:
        sent = [
            {"name": name, "type": "", "size": len(data), "content": data, "last_modified": 0}
            for name, data in chosen
        ]
        upload.upload.set_state({"value": sent})


def sentences(upload: PhotoUpload) -> list[str]:
    return re.findall("<div>(.*?)</div>", upload.status.value)


def thumbnails(upload: PhotoUpload) -> Image.Image | None:
    if upload.thumbnails.layout.display == "none":
        return None
    return Image.open(io.BytesIO(upload.thumbnails.value))


def test_nothing_chosen_is_an_empty_list_and_a_sentence() -> None:
    upload = PhotoUpload()
    assert upload.photos(128) == []
    assert sentences(upload)[0].startswith("Choose three to five photos")
    assert thumbnails(upload) is None


def test_chosen_photos_are_those_that_load_photos_gives() -> None:
    files = {f"{seed}.png": file(seed) for seed in range(3)}
    upload = PhotoUpload()
    choose(upload, files)
    assert sentences(upload) == ["3 photos are ready."]
    for size in (64, 128):
        theirs = load_photos(files.values(), size=size)
        ours = upload.photos(size)
        assert [one.tobytes() for one in ours] == [other.tobytes() for other in theirs]


@pytest.mark.parametrize(
    "value",
    [
        {"a.png": {"metadata": {"name": "a.png"}, "content": file(0)}},
        ({"name": "a.png", "type": "image/png", "content": memoryview(file(0))},),
    ],
    ids=["ipywidgets 7", "ipywidgets 8"],
)
def test_the_values_of_both_versions_are_understood(value: object) -> None:
    upload = PhotoUpload()
    upload._take(value)
    assert [photo.size for photo in upload.photos(64)] == [(64, 64)]


def test_thumbnails_show_the_good_photos_side_by_side() -> None:
    upload = PhotoUpload()
    choose(upload, {"a.png": file(0), "b.png": file(1)})
    assert thumbnails(upload).width > 2 * 128
    choose(upload, {"c.png": file(2)})
    assert thumbnails(upload).width > 3 * 128


def test_bad_files_are_named_one_by_one_and_good_ones_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_language("es")
    upload = PhotoUpload()
    files = {
        "bien.jpg": file(0, form="JPEG"),
        "vacía.jpg": b"",
        "IMG_1.HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(50),
        "cortada.png": file(1)[:9000],
        "<b>nota</b>.txt": b"hola",
        "otra vez.jpg": file(0, form="JPEG"),
        "mini.png": file(2, (30, 20)),
    }
    choose(upload, files)
    count, *bad = sentences(upload)
    assert count.startswith("Fotos por ahora: 1.")
    starts = (
        "vacía.jpg está vacío", "IMG_1.HEIC está", "cortada.png está dañado",
        "&lt;b&gt;nota&lt;/b&gt;.txt no es una imagen", "otra vez.jpg es el mismo archivo que bien",
        "mini.png es demasiado pequeña",
    )  # fmt: skip
    assert len(bad) == len(starts)
    for sentence, start in zip(bad, starts, strict=True):
        assert sentence.startswith(start)
    assert len(upload.photos(128)) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(starts)


def test_a_photo_too_small_for_the_size_asked_for_is_named_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    upload = PhotoUpload()
    choose(upload, {"a.png": file(0), "b.png": file(1, (600, 600))})
    assert len(upload.photos(512)) == 1
    assert capsys.readouterr().out.startswith("a.png is too small: 200 x 160 pixels, and for 512")


def test_photos_chosen_one_after_the_other_add_up_and_start_again_forgets_them() -> None:
    upload = PhotoUpload()
    for seed in range(3):
        choose(upload, {f"{seed}.png": file(seed)})
    assert len(upload.photos(64)) == 3
    upload.again.click()
    assert upload.photos(64) == []
    assert thumbnails(upload) is None
    choose(upload, {"2.png": file(2)})  # the same file as before the start
    assert len(upload.photos(64)) == 1


def test_photos_of_one_name_all_count_as_phones_call_every_photo_image_jpg(
    capsys: pytest.CaptureFixture[str],
) -> None:
    upload = PhotoUpload()
    choose(upload, [("image.jpg", file(0)), ("image.jpg", file(1)), ("image.jpg", b"")])
    choose(upload, [("image.jpg", file(2)), ("image.jpg", file(1))])  # the last is there already
    theirs = load_photos([file(0), file(1), file(2)], size=64)
    assert [one.tobytes() for one in upload.photos(64)] == [one.tobytes() for one in theirs]
    assert capsys.readouterr().out.startswith("image.jpg (3) is empty")
    choose(upload, [("image.jpg (2)", file(0))])
    upload.photos(64)
    assert "image.jpg (2) (2) is the same file as image.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, -64, 12.5, "64", None, True])
def test_a_size_that_is_none_is_refused_with_photos_and_without(size: object) -> None:
    upload = PhotoUpload()
    with pytest.raises(ValueError, match="must be a whole number of pixels"):
        upload.photos(size)
    choose(upload, {"a.png": file(0)})
    with pytest.raises(ValueError, match="must be a whole number of pixels"):
        upload.photos(size)


def test_labels_are_in_the_readers_language() -> None:
    set_language("es")
    upload = PhotoUpload()
    assert upload.upload.description == "Elegir fotos"
    assert upload.again.description == "Empezar de nuevo"
    assert sentences(upload)[0].startswith("Elige de tres a cinco fotos")
