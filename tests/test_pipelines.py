import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from sdlesson import hub, pipelines
from sdlesson.downloads import ModelError, verify_folder
from sdlesson.drawing import draw
from sdlesson.images import read_settings
from sdlesson.pipelines import load_pipeline, save_pipeline


def test_the_pocket_model_is_a_plain_pipeline_in_float32(pocket: StableDiffusionPipeline) -> None:
    assert type(pocket) is StableDiffusionPipeline
    parts = (pocket.unet, pocket.vae, pocket.text_encoder, pocket.safety_checker)
    assert {part.dtype for part in parts} == {torch.float32}
    assert {part.device.type for part in parts} == {"cpu"}


def test_loading_warns_of_nothing(tiny_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_pipeline(tiny_folder, device="cpu", dtype=torch.float32)


def test_a_saved_pipeline_loads_again_under_names_that_every_version_has(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    save_pipeline(tiny, tmp_path / "saved")
    verify_folder(tmp_path / "saved")
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    assert index["feature_extractor"] == ["transformers", "CLIPImageProcessor"]
    again = load_pipeline(tmp_path / "saved", device="cpu")
    assert torch.equal(again.unet.conv_in.weight, tiny.unet.conv_in.weight)


def test_a_saved_pipeline_does_not_say_where_it_was_loaded_from(
    tiny_folder: Path, tmp_path: Path
) -> None:
    pipe = load_pipeline(tiny_folder, device="cpu")
    assert str(tiny_folder) in pipe.vae.config._name_or_path  # what diffusers would save
    save_pipeline(pipe, tmp_path / "saved")
    texts = [path.read_text() for path in (tmp_path / "saved").rglob("*.json")]
    assert texts
    assert not [text for text in texts if tiny_folder.parent.name in text or "is_local" in text]
    verify_folder(tmp_path / "saved")


@pytest.mark.parametrize(("device", "model"), [("cuda", "sd15"), ("mps", "pocket")])
def test_the_default_model_follows_the_machine(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, device: str, model: str
) -> None:
    monkeypatch.setattr(pipelines, "best_device", lambda: device)
    with pytest.raises(ModelError):
        load_pipeline()
    assert asked == [model]


def test_on_a_cpu_the_default_is_the_pocket_model(asked: list[str]) -> None:
    with pytest.raises(ModelError):
        load_pipeline(device="cpu")
    assert asked == ["pocket"]


def test_the_environment_chooses_the_default_and_the_argument_beats_it(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDLESSON_MODEL", "ana/from-environment")
    for model in (None, "ana/argument"):
        with pytest.raises(ModelError):
            load_pipeline(model)
    assert asked == ["ana/from-environment", "ana/argument"]


def test_sd15_without_a_gpu_is_refused_before_any_download(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "best_device", lambda: "cpu")
    with pytest.raises(ModelError, match=r"sd15 needs a GPU.*'pocket'.*Runtime"):
        load_pipeline("sd15")
    assert asked == []


def test_sd15_on_a_cpu_by_name_is_allowed_and_says_how_slow_it_is(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="nothing here"):
        load_pipeline("sd15", device="cpu")
    assert "minutes" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
def test_cuda_without_a_gpu_is_one_sentence(device: str | torch.device) -> None:
    with pytest.raises(ValueError, match=r"device='cuda.*not on this machine, which has cpu"):
        load_pipeline("pocket", device=device)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="device='gpu' is not on this machine"):
        load_pipeline("pocket", device="gpu")


@pytest.mark.parametrize("dtype", ["float16", "fp16", torch.int8, torch.float64])
def test_a_dtype_that_would_be_ignored_is_refused(dtype: object) -> None:
    with pytest.raises(ValueError, match=r"must be one of torch\.float32"):
        load_pipeline("pocket", device="cpu", dtype=dtype)  # type: ignore[arg-type]


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch\.float16 needs device='cuda'"):
        load_pipeline("pocket", device="cpu", dtype=torch.float16)


@pytest.mark.parametrize("device", ["cpu:x", "cpu:1", "cpu:", "cpu:-1", "cpu:0:0", "", 5, "CPU"])
def test_a_device_that_torch_does_not_know_is_one_sentence(device: Any) -> None:
    with pytest.raises(ValueError, match=f"device='{device}' is not on this machine"):
        load_pipeline("pocket", device=device)


@pytest.mark.parametrize("dtype", [["float32"], {}, 32])
def test_what_is_no_dtype_is_one_sentence(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"must be one of torch\.float32"):
        load_pipeline("pocket", device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("pocket", "pocket"),
        (str(hub.POCKET_FOLDER), "pocket"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5",) * 2,
        ("/home/ana/secret/mine", "mine"),
        ("/home/ana/secret/mine/", "mine"),
        ("../ana/mine", "mine"),
        ("ana/models/mine", "mine"),
        (r"C:\Users\ana\mine", "mine"),
        ("/home/ana/mine + zwx", "mine + zwx"),
        ("./mine", "mine"),
    ],
)
def test_a_record_calls_a_folder_by_its_last_name(name: str, short: str) -> None:
    assert pipelines.short_name(name) == short


def test_no_picture_says_where_its_model_lies(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ana").mkdir()
    shutil.copytree(tiny_folder, tmp_path / "ana" / "mine")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "ana" / "mine", "ana/mine", "./ana/../ana/mine"):
        drawing = draw("a", pipe=folder, num_inference_steps=1)
        drawing.save(tmp_path / "a.png")
        assert read_settings(tmp_path / "a.png")["model"] == "mine"
        assert os.fsencode(tmp_path) not in (tmp_path / "a.png").read_bytes()


def test_a_load_says_nothing_and_leaves_the_libraries_as_talkative_as_they_were():
    code = """
import sdlesson
pipe = sdlesson.load_pipeline("pocket")
from sdlesson.metrics import clip_scorer
clip_scorer("pocket")
from diffusers.utils import logging
assert logging.is_progress_bar_enabled()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae", "safety_checker"])
@pytest.mark.parametrize("damage", ["one weight is gone", "all names are others"])
def test_weights_that_no_file_holds_are_not_made_up(tmp_path: Path, part: str, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hub.POCKET_FOLDER, folder)
    (folder / "SHA256SUMS").unlink()
    (path,) = (folder / part).glob("*.safetensors")
    weights = load_file(path)
    if damage == "one weight is gone":
        largest = max(weights, key=lambda name: weights[name].numel())
        del weights[largest]
    else:
        weights = {f"x.{name}": value for name, value in weights.items()}
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"does not load|lacks weights of its model"):
        load_pipeline(folder, device="cpu")


def test_links_in_a_circle_and_endless_names_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hub.POCKET_FOLDER, folder)
    (folder / "unet" / "loop.txt").symlink_to("loop.txt")
    with pytest.raises(ModelError, match=r"loop\.txt is a link that leads nowhere"):
        load_pipeline(folder, device="cpu")
    for name in ("a" * 5_000, "a\0b"):
        with pytest.raises(ModelError):
            load_pipeline(name, device="cpu")
