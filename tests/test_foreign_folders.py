"""A model folder from someone else is data: it runs nothing and reads nothing outside itself."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import sdlesson
from hub_server import HubServer, point_the_client_at
from sdlesson import hub
from sdlesson.downloads import ModelError
from sdlesson.metrics import clip_scorer
from sdlesson.pipelines import load_pipeline

UNET = "unet/diffusion_pytorch_model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 3438167540\n"


@pytest.fixture
def gift(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "gift")


def amend(path: Path, **fields: object) -> None:
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(found | fields))


def link_out(folder: Path, name: str) -> None:
    """Put a link in a file's or a folder's place, to the same thing beside the folder."""
    outside = folder.parent / "elsewhere"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside, target_is_directory=outside.is_dir())


def shard(folder: Path, name: str) -> None:
    """Write the U-Net as one shard, which an index calls by this name."""
    weights = load_file(folder / UNET)
    (folder / UNET).unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, name)}
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))
    if "/" not in name:
        save_file(weights, folder / "unet" / name, {"format": "pt"})


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("unet", ["gift.unet.helper", "UNet2DConditionModel"]),
        ("unet", ["helper", "UNet2DConditionModel"]),
        ("unet", ["diffusers", "UNet2DModel"]),
        ("unet", ["diffusers.models", "UNet2DConditionModel"]),
        ("unet", [None, None]),
        ("unet", "diffusers"),
        ("vae", ["transformers", "AutoModel"]),
        ("tokenizer", ["transformers", "AutoTokenizer"]),
        ("scheduler", ["os", "system"]),
        ("scheduler", ["diffusers", "FlaxDDIMScheduler"]),
        ("safety_checker", ["gift.checker", "StableDiffusionSafetyChecker"]),
        ("feature_extractor", ["diffusers", None]),
        ("helper", ["gift.unet.helper", "X"]),
        ("_module", "gift.unet.helper"),
        ("custom_pipeline", "gift"),
    ],
)
def test_an_index_may_name_the_known_parts_only(gift: Path, part: str, named: object) -> None:
    amend(gift / "model_index.json", **{part: named})
    with pytest.raises(ModelError, match=rf"says that {part} is .*does not load") as caught:
        load_pipeline(gift, device="cpu")
    assert "\n" not in str(caught.value)


def test_code_beside_a_folder_is_never_imported(gift: Path) -> None:
    """As an attacker would send it, from the directory in which a student unpacks it."""
    shutil.copytree(gift / "unet", gift / "spare")
    for package in (gift, gift / "unet"):
        (package / "__init__.py").touch()
    trace = gift.parent / "it-ran"
    (gift / "unet" / "helper.py").write_text(
        f"open({str(trace)!r}, 'w')\nfrom diffusers import UNet2DConditionModel"
    )
    amend(gift / "model_index.json", unet=["gift.unet.helper", "UNet2DConditionModel"])
    done = subprocess.run(
        [sys.executable, "-c", "import sdlesson; sdlesson.load_pipeline('gift', device='cpu')"],
        cwd=gift.parent,
        env={**os.environ, "PYTHONPATH": f"{Path(sdlesson.__file__).parents[1]}{os.pathsep}."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModelError" in done.stderr
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["unet/helper.py", "x.so", "unet/weights.PYD", "a.pyc", "run.sh", "chat.jinja", "a.h5"]
)
def test_a_file_of_a_kind_that_no_pipeline_has_is_refused(gift: Path, name: str) -> None:
    (gift / name).touch()
    with pytest.raises(ModelError, match=f"holds {name}, which belongs in no pipeline"):
        load_pipeline(gift, device="cpu")


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "grid.png", ".gitattributes", ".git/x.py"]
)
def test_what_comes_with_a_clone_is_no_hindrance(gift: Path, name: str) -> None:
    (gift / name).parent.mkdir(exist_ok=True)
    (gift / name).touch()
    assert hub.check_folder(gift) == gift


@pytest.mark.parametrize(
    "name",
    [
        "weights.bin",
        "../../elsewhere.safetensors",
        "/etc/weights.safetensors",
        "..\\elsewhere.safetensors",
        "sub/weights.safetensors",
        ".safetensors",
        "weights.safetensors\n",
        "weights.pt",
        None,
        3,
    ],
)
def test_a_shard_is_safetensors_beside_its_index(gift: Path, name: Any) -> None:
    weights = load_file(gift / UNET)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (gift / f"{UNET}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"must be a plain \*\.safetensors beside it"):
        load_pipeline(gift, device="cpu")


def test_an_index_without_a_map_and_one_of_pickles_are_refused(gift: Path) -> None:
    (gift / "text_encoder" / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(ModelError, match="must be a plain"):
        load_pipeline(gift, device="cpu")


def test_honest_shards_still_load(gift: Path) -> None:
    shard(gift, "diffusion_pytorch_model-00001-of-00001.safetensors")
    assert load_pipeline(gift, device="cpu").unet.config.sample_size == 4


@pytest.mark.parametrize(
    "name", ["unet", UNET, "model_index.json", "tokenizer/tokenizer_config.json", "vae"]
)
def test_a_link_out_of_the_folder_is_refused(gift: Path, name: str) -> None:
    link_out(gift, name)
    with pytest.raises(ModelError, match="is a link that leads out of the folder"):
        load_pipeline(gift, device="cpu")


def test_links_inside_the_folder_and_to_it_are_followed(gift: Path) -> None:
    (gift / "unet").rename(gift / "unet_v2")
    (gift / "unet").symlink_to("unet_v2")
    (gift.parent / "latest").symlink_to(gift)
    assert load_pipeline(gift.parent / "latest", device="cpu").unet.config.sample_size == 4


@pytest.mark.parametrize(
    ("file", "fields", "key"),
    [
        ("unet/config.json", {"auto_map": {"AutoModel": "helper.X"}}, "auto_map"),
        (
            "vae/config.json",
            {"quantization_config": {"quant_method": "gguf"}},
            "quantization_config",
        ),
        ("text_encoder/config.json", {"attn_implementation": "a/kernel"}, "attn_implementation"),
        ("text_encoder/config.json", {"transformers_weights": "x.bin"}, "transformers_weights"),
        (
            "safety_checker/config.json",
            {"vision_config": {"_attn_implementation": "a/kernel"}},
            "_attn_implementation",
        ),
        ("tokenizer/tokenizer_config.json", {"vocab_file": "/etc/passwd"}, "vocab_file"),
        ("tokenizer/tokenizer_config.json", {"tokenizer_file": "../../x.json"}, "tokenizer_file"),
    ],
)
def test_a_configuration_that_names_code_or_foreign_files_is_refused(
    gift: Path, file: str, fields: dict[str, object], key: str
) -> None:
    amend(gift / file, **fields)
    with pytest.raises(ModelError, match=rf"sets {key} to .*choose another model"):
        load_pipeline(gift, device="cpu")


def test_an_adapter_that_names_another_model_is_refused(gift: Path) -> None:
    amend(gift / "text_encoder" / "adapter_config.json", base_model_name_or_path="../../evil")
    with pytest.raises(ModelError, match="another model in this one's place"):
        load_pipeline(gift, device="cpu")


@pytest.mark.parametrize("name", [UNET, "unet/config.json", "model_index.json"])
def test_a_pointer_of_git_lfs_is_called_what_it_is(gift: Path, name: str) -> None:
    (gift / name).write_text(POINTER.format("0" * 64))
    with pytest.raises(ModelError, match=r"is a pointer of git-lfs.*`git lfs pull`"):
        load_pipeline(gift, device="cpu")


UNET_CONFIG, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
PROCESSOR = "feature_extractor/preprocessor_config.json"
TOKENIZER = "tokenizer/tokenizer_config.json"


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        (UNET_CONFIG, "sample_size", "x"),
        (UNET_CONFIG, "sample_size", None),
        (UNET_CONFIG, "sample_size", 10**6),
        (UNET_CONFIG, "sample_size", True),
        (UNET_CONFIG, "sample_size", [4, 4]),
        (UNET_CONFIG, "layers_per_block", 10**5),
        (UNET_CONFIG, "block_out_channels", [10**7, 10**7]),
        (UNET_CONFIG, "num_class_embeds", 10**12),
        ("vae/config.json", "scaling_factor", None),
        ("vae/config.json", "scaling_factor", "0.18"),
        ("vae/config.json", "scaling_factor", 0),
        ("vae/config.json", "scaling_factor", float("inf")),
        ("vae/config.json", "scaling_factor", float("nan")),
        (SCHEDULER, "num_train_timesteps", 1),
        (SCHEDULER, "num_train_timesteps", 10**9),
        (SCHEDULER, "prediction_type", "zigzag"),
        (SCHEDULER, "timestep_spacing", "zigzag"),
        (SCHEDULER, "timestep_spacing", ["leading"]),
        (SCHEDULER, "beta_start", 5),
        (SCHEDULER, "steps_offset", 10**6),
        (PROCESSOR, "crop_size", 10**6),
        (PROCESSOR, "crop_size", "x"),
        (PROCESSOR, "image_std", [0, 0, 0]),
        (TOKENIZER, "model_max_length", "x"),
        (TOKENIZER, "model_max_length", 10**30),
        (TOKENIZER, "model_max_length", 2),
        ("text_encoder/config.json", "vocab_size", 10**9),
        ("text_encoder/config.json", "eos_token_id", None),
    ],
)
def test_a_number_that_no_model_can_have_is_named(
    gift: Path, file: str, name: str, value: object
) -> None:
    amend(gift / file, **{name: value})
    with pytest.raises(ModelError, match=rf"{file} sets {name} to .*, which must be ") as caught:
        hub.check_folder(gift)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sides", [{"height": 10**6, "width": 16}, {"shortest_edge": "x"}])
def test_a_number_deep_inside_is_named_too(gift: Path, sides: dict[str, object]) -> None:
    amend(gift / PROCESSOR, size=sides)
    with pytest.raises(ModelError, match=r"which must be .* \(in size\)"):
        hub.check_folder(gift)


def test_a_model_without_the_size_of_its_pictures_is_named(gift: Path) -> None:
    found = json.loads((gift / UNET_CONFIG).read_text())
    del found["sample_size"]
    (gift / UNET_CONFIG).write_text(json.dumps(found))
    with pytest.raises(ModelError, match="sets sample_size to null"):
        hub.check_folder(gift)


@pytest.mark.parametrize(
    ("file", "fields", "sentence"),
    [
        (TOKENIZER, {"pad_token": "<|zigzag|>"}, r"its tokenizer's last token is \d+, and may be"),
        (TOKENIZER, {"model_max_length": 77}, "its tokenizer's window is 77, and may be 16"),
        (SCHEDULER, {"trained_betas": [0.1]}, "its list of betas is 1, must be 1000"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(
    gift: Path, file: str, fields: dict[str, object], sentence: str
) -> None:
    amend(gift / file, **fields)
    with pytest.raises(ModelError, match=f"do not fit each other: {sentence}"):
        load_pipeline(gift, device="cpu")


@pytest.mark.parametrize("name", ["model_index.json", UNET_CONFIG, SCHEDULER, TOKENIZER])
@pytest.mark.parametrize(
    ("text", "sentence"), [("[]", "holds a list where a JSON object"), ("5", "holds a int where")]
)
def test_json_without_names_is_called_what_it_is(
    gift: Path, name: str, text: str, sentence: str
) -> None:
    (gift / name).write_text(text)
    with pytest.raises(ModelError, match=sentence):
        hub.check_folder(gift)


def test_a_mark_of_byte_order_is_damage(gift: Path) -> None:
    (gift / UNET_CONFIG).write_bytes(b"\xef\xbb\xbf" + (gift / UNET_CONFIG).read_bytes())
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        hub.check_folder(gift)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"weight_map": ', "\xff", ""])
def test_a_broken_configuration_is_one_sentence(gift: Path, text: str) -> None:
    (gift / "unet" / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_pipeline(gift, device="cpu")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_would_keep_a_reader_waiting_for_ever_is_refused(gift: Path) -> None:
    (gift / "unet" / "config.json").unlink()
    os.mkfifo(gift / "unet" / "config.json")
    with pytest.raises(ModelError, match="neither a file nor a folder"):
        load_pipeline(gift, device="cpu")


def _other_class(folder: Path) -> None:
    amend(folder / "model_index.json", unet=["gift.unet.helper", "X"])


def _foreign_shards(folder: Path) -> None:
    shard(folder, "../../elsewhere.safetensors")


@pytest.mark.parametrize("spoil", [_other_class, _foreign_shards])
def test_a_repository_of_the_hub_is_looked_at_as_well(
    gift: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    spoil(gift)
    with HubServer() as server:
        point_the_client_at(server.url, tmp_path / "cache", monkeypatch)
        server.folders["ana/gift"] = gift
        with pytest.raises(ModelError, match=r"does not load|must be a plain"):
            load_pipeline("ana/gift", device="cpu")
        assert not [name for name in server.requested if name.endswith(".safetensors")]


def test_a_clip_from_someone_else_is_looked_at_as_well(tmp_path: Path) -> None:
    clip = shutil.copytree(hub.SCORER_FOLDER / "clip", tmp_path / "clip")
    assert clip_scorer(str(clip)).model.config.model_type == "clip"
    other = shutil.copytree(clip, tmp_path / "other")
    amend(other / "config.json", auto_map={"AutoModel": "helper.X"})
    with pytest.raises(ModelError, match="sets auto_map"):
        clip_scorer(str(other))


@pytest.mark.parametrize("model", [5, 0, b"pocket", ["pocket"], 0.5, False])
def test_what_names_no_model_is_one_sentence(model: Any) -> None:
    with pytest.raises(ModelError, match=r"must be a name or a folder; try 'pocket'"):
        load_pipeline(model, device="cpu")
