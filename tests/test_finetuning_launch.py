import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fixtures_finetuning import make_photos
from sdlesson.finetuning import checkpoints
from sdlesson.finetuning.__main__ import main
from sdlesson.language import set_language

NAME = "sdlesson.finetuning"
OPTIONS = ["--word", "zwx", "--class-noun", "robot", "--size", "32"]
OPTIONS += ["--steps", "3", "--batch-size", "4", "--warmup", "1"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(make_photos()):
        photo.resize((96, 96)).save(folder / f"{number}.png")
    return folder


def arguments(photos: Path, model: Path, output: Path, *more: str) -> list[str]:
    places = ["--photos", str(photos), "--model", str(model), "--output", str(output)]
    return [*places, *OPTIONS, *more]


def launch(arguments: list[str]) -> None:
    """Train in two processes, as in a terminal."""
    # Without a GPU to be seen, accelerate's launcher for several starts processes on the CPU.
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    how += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", NAME, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Saved") == 1


def test_it_trains_and_saves_a_lora(
    photos: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(photos, tiny_folder, tmp_path / "out", "--prior", "none")) == 0
    assert "step 3/3  loss " in capsys.readouterr().out
    assert (tmp_path / "out" / "zwx.safetensors").is_file()


def test_bad_input_is_one_sentence(
    photos: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(photos, tiny_folder, tmp_path / "out", "--rank", "0")) == 2
    assert capsys.readouterr().err.startswith("sdlesson: rank=0 must be a whole number from 1")
    assert main(arguments(photos, tiny_folder, tmp_path / "out", "--rank", "none")) == 2
    assert "full DreamBooth overwrites" in capsys.readouterr().err
    assert main(arguments(tmp_path / "none", tiny_folder, tmp_path / "out")) == 2
    assert "none cannot be opened (No such file" in capsys.readouterr().err
    set_language("es")
    assert main(arguments(tmp_path / "none", tiny_folder, tmp_path / "out")) == 2
    assert "none no se puede abrir (No such file" in capsys.readouterr().err
    set_language("en")
    (tmp_path / "out" / "zwx").mkdir(parents=True)
    (tmp_path / "out" / "zwx" / "mine.txt").touch()
    full = ["--rank", "none", "--prior", "none"]
    assert main(arguments(photos, tiny_folder, tmp_path / "out", *full)) == 2
    assert "is not empty and holds no pipeline, such as mine.txt" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["zwx"]  # nothing was spent


@pytest.mark.parametrize(
    "options",
    [
        ["--prior", "own_prediction", "--gradient-accumulation", "2"],
        pytest.param(
            ["--prior", "class_images", "--class-images", "4", "--min-snr-gamma", "5"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_give_the_weights_of_one(
    photos: Path, tiny_folder: Path, tmp_path: Path, options: list[str]
) -> None:
    assert main(arguments(photos, tiny_folder, tmp_path / "one", *options)) == 0
    launch(arguments(photos, tiny_folder, tmp_path / "two", *options))
    one, two = (
        torch.load(tmp_path / name / checkpoints.CHECKPOINT_NAME, weights_only=True)
        for name in ("one", "two")
    )
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=2e-5, rtol=1e-3)
    assert len(two["history"]) == 3
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second[4] == first[4]  # the timesteps, in order
        assert second[5] == pytest.approx(first[5], rel=1e-3)  # the errors
        assert second[2:4] == pytest.approx(first[2:4], rel=1e-3, abs=1e-6)  # the losses
