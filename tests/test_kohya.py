import re

import diffusers
import pytest
import torch
from diffusers.utils import convert_state_dict_to_kohya
from packaging.version import Version
from safetensors import safe_open
from safetensors.torch import load_file

from fixtures_lora import add_lora, predict, unit_lora
from sdlesson.finetuning.lora_format import LoraError, kohya_name, read_lora
from sdlesson.finetuning.lora_loading import load_lora
from sdlesson.finetuning.lora_saving import export_kohya, save_lora, write_lora

# What the readers make of it. Facts from AUTOMATIC1111/stable-diffusion-webui,
# extensions-builtin/Lora/lora.py, and comfyanonymous/ComfyUI, comfy/lora.py.
A1111_NAMES = re.compile(
    r"lora_unet_(down|up)_blocks_\d+_(attentions|resnets)_\d+_.+"
    r"|lora_unet_mid_block_(attentions|resnets)_\d+_.+"
    r"|lora_te_text_model_encoder_layers_\d+_(self_attn_(q|k|v|out)_proj|mlp_fc[12])"
)


def export(pipe, tmp_path, **settings):
    saved = save_lora(pipe, tmp_path / "zwx.safetensors", **settings)
    return export_kohya(saved, tmp_path / "kohya.safetensors")


@torch.no_grad()
def merge_as_its_readers_do(pipe, path):
    """Add alpha / rank * up @ down to each weight, found by its flattened name, as they do."""
    tensors = load_file(path)
    prefixes = {"lora_unet_": pipe.unet, "lora_te_text_model_": pipe.text_encoder}
    weights = {
        prefix + name.replace(".", "_"): module.weight
        for prefix, part in prefixes.items()
        for name, module in part.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    for name in {key.partition(".")[0] for key in tensors}:
        down, up = (tensors[f"{name}.lora_{half}.weight"] for half in ("down", "up"))
        scale = tensors[f"{name}.alpha"].item() / down.shape[0]
        added = up.flatten(1) @ down.flatten(1)
        weights[name] += scale * added.view(weights[name].shape)


@pytest.mark.parametrize("text_encoder", [False, True])
def test_what_a1111_and_comfyui_compute_from_it_is_the_same_prediction(
    tiny, fresh, tmp_path, text_encoder
):
    add_lora(tiny, "zwx", alpha=6, text_encoder=text_encoder, alpha_pattern={"attn2.to_k": 1.5})
    pipe = fresh()
    merge_as_its_readers_do(pipe, export(tiny, tmp_path))
    torch.testing.assert_close(predict(pipe), predict(tiny), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text_encoder", [False, True])
def test_load_lora_reads_it_back_exactly(tiny, fresh, tmp_path, text_encoder):
    add_lora(tiny, "zwx", alpha=6, text_encoder=text_encoder)
    pipe = fresh()
    load_lora(pipe, export(tiny, tmp_path))
    assert torch.equal(predict(pipe), predict(tiny))


@pytest.mark.parametrize("text_encoder", [False, True])
def test_plain_diffusers_reads_it_back_exactly(tiny, fresh, tmp_path, text_encoder):
    if text_encoder and Version(diffusers.__version__) < Version("0.42"):
        pytest.skip("diffusers before 0.42 cannot read kohya's names of a flattened text encoder")
    add_lora(tiny, "zwx", alpha=6, text_encoder=text_encoder)
    pipe = fresh()
    pipe.load_lora_weights(export(tiny, tmp_path))
    assert torch.equal(predict(pipe), predict(tiny))


def test_the_tensors_are_those_of_the_lora(tiny, tmp_path):
    add_lora(tiny, "zwx", alpha=6, text_encoder=True)
    there = read_lora(save_lora(tiny, tmp_path / "zwx.safetensors"))
    back = read_lora(export(tiny, tmp_path))
    assert there.layers.keys() == back.layers.keys()
    for name, layer in there.layers.items():
        again = back.layers[name]
        assert torch.equal(layer.down, again.down)
        assert torch.equal(layer.up, again.up)
        assert layer.alpha == again.alpha == 6


def test_exporting_an_export_changes_nothing(tiny, tmp_path):
    add_lora(tiny, "zwx", alpha=6, text_encoder=True)
    once = export(tiny, tmp_path, word="zwx", class_noun="robot")
    twice = export_kohya(once, tmp_path / "again.safetensors")
    assert once.read_bytes() == twice.read_bytes()


def test_an_alpha_stands_beside_each_layer(tiny, tmp_path):
    add_lora(tiny, "zwx", alpha=6, alpha_pattern={"attn2.to_k": 1.5})
    alphas = {key: t.item() for key, t in load_file(export(tiny, tmp_path)).items() if t.ndim == 0}
    assert {alpha for key, alpha in alphas.items() if "attn2_to_k" in key} == {1.5}
    assert {alpha for key, alpha in alphas.items() if "attn2_to_k" not in key} == {6.0}


@pytest.mark.parametrize(
    "layer",
    [
        "text_encoder.encoder.layers.0.self_attn.q_proj",  # transformers >= 5.6
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",  # diffusers' own export
    ],
)
def test_the_text_encoders_names_are_one_whatever_wrote_them(layer):
    assert kohya_name(layer) == "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def test_an_older_text_encoders_file_is_exported_like_a_new_ones(tiny, tmp_path):
    add_lora(tiny, "zwx", alpha=6, text_encoder=True)
    new = save_lora(tiny, tmp_path / "new.safetensors")
    with safe_open(new, framework="pt") as file:
        metadata = file.metadata()
    tensors = {
        key.replace("text_encoder.encoder", "text_encoder.text_model.encoder"): tensor
        for key, tensor in load_file(new).items()
    }
    old = write_lora(tmp_path / "old.safetensors", tensors, metadata)
    assert tensors.keys() != load_file(new).keys()
    exports = [load_file(export_kohya(path, tmp_path / "k.safetensors")) for path in (new, old)]
    assert exports[0].keys() == exports[1].keys()
    for key, tensor in exports[0].items():
        assert torch.equal(tensor, exports[1][key])


def test_every_name_is_one_that_a1111_knows(tiny, tmp_path):
    add_lora(tiny, "zwx", text_encoder=True)
    names = {key.partition(".")[0] for key in load_file(export(tiny, tmp_path))}
    assert names
    assert all(A1111_NAMES.fullmatch(name) for name in names)


def test_the_unets_names_are_those_of_diffusers_own_export(tiny, tmp_path):
    add_lora(tiny, "zwx", text_encoder=True)
    reference = convert_state_dict_to_kohya(load_file(save_lora(tiny, tmp_path / "a.safetensors")))
    ours = load_file(export(tiny, tmp_path))
    # That export names the text encoder as SDXL's first, and leaves `text_model` out.
    expected = {
        re.sub("^lora_te1_(text_model_)?", "lora_te_text_model_", key): tensor
        for key, tensor in reference.items()
    }
    assert ours.keys() == expected.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, expected[key].to(tensor.dtype))


def test_the_names_for_stable_diffusion_15_are_the_128_that_every_trainer_writes(tmp_path):
    blocks = [f"down_blocks_{i}_attentions_{j}" for i in range(3) for j in range(2)]
    blocks += ["mid_block_attentions_0"]
    blocks += [f"up_blocks_{i}_attentions_{j}" for i in range(1, 4) for j in range(3)]
    expected = {
        f"lora_unet_{block}_transformer_blocks_0_attn{k}_{part}"
        for block in blocks
        for k in (1, 2)
        for part in ("to_q", "to_k", "to_v", "to_out_0")
    }
    path = export_kohya(unit_lora(tmp_path / "sd15.safetensors"), tmp_path / "kohya.safetensors")
    tensors = load_file(path)
    assert {key.partition(".")[0] for key in tensors} == expected
    assert len(expected) == 128
    assert {key.partition(".")[2] for key in tensors} == {
        "lora_down.weight",
        "lora_up.weight",
        "alpha",
    }
    # The count that diffusers' documentation gives for rank 4.
    assert sum(tensor.numel() for tensor in tensors.values() if tensor.ndim) == 797_184


def test_the_file_tells_its_rank_alpha_and_word_to_those_who_list_it(tiny, tmp_path):
    add_lora(tiny, "zwx", alpha=6)
    with safe_open(export(tiny, tmp_path, word="zwx", class_noun="robot"), "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_network_alpha"] == "6.0"
    assert metadata["modelspec.trigger_phrase"] == "zwx robot"


def test_an_alpha_of_zero_is_the_rank_as_its_trainers_take_it(tiny, fresh, tmp_path):
    add_lora(tiny, "zwx", alpha=4)
    path = export(tiny, tmp_path)
    tensors = {k: t * 0 if k.endswith(".alpha") else t for k, t in load_file(path).items()}
    pipe = fresh()
    load_lora(pipe, write_lora(tmp_path / "zero.safetensors", tensors, {}))
    assert torch.equal(predict(pipe), predict(tiny))


def test_what_is_no_lora_is_not_exported(tiny_folder, tmp_path):
    path = tiny_folder / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(LoraError, match="no plain LoRA"):
        export_kohya(path, tmp_path / "kohya.safetensors")
    assert not list(tmp_path.iterdir())
