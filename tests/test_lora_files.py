import json
import math
from decimal import Decimal
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open

from fixtures_finetuning import largest_file
from fixtures_lora import add_lora, predict, unit_lora
from sdlesson.finetuning.adapters import trainable_parameters
from sdlesson.finetuning.lora_format import LoraError, read_lora
from sdlesson.finetuning.lora_loading import load_lora
from sdlesson.finetuning.lora_saving import export_kohya, save_lora, write_lora
from sdlesson.images import same_picture
from sdlesson.language import set_language
from sdlesson.pipelines import load_pipeline

METADATA = "lora_adapter_metadata"  # diffusers' name for it


def metadata_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def copy_of(path, to, *, metadata=None, tensors=None):
    """The same file with other metadata, or other tensors."""
    tensors = safetensors.torch.load_file(path) if tensors is None else tensors
    metadata = metadata_of(path) if metadata is None else metadata
    safetensors.torch.save_file(tensors, to, metadata=metadata)
    return to


@pytest.fixture
def lora_path(tiny, tmp_path):
    """A LoRA of the U-Net and the text encoder whose alpha is not its rank."""
    add_lora(tiny, "zwx", alpha=6, text_encoder=True)
    return save_lora(tiny, tmp_path / "zwx.safetensors", word="zwx", class_noun="robot")


# There and back


@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_loaded_lora_predicts_as_the_saved_one(tiny, fresh, tmp_path, text_encoder):
    add_lora(tiny, "zwx", alpha=6, text_encoder=text_encoder)
    path = save_lora(tiny, tmp_path / "zwx.safetensors")
    pipe = fresh()
    loaded = load_lora(pipe, path)
    assert (loaded.matched, loaded.unmatched) == (40 if text_encoder else 32, ())
    assert torch.equal(predict(pipe), predict(tiny))


@pytest.mark.parametrize("text_encoder", [False, True])
def test_plain_diffusers_loads_the_file_at_the_right_scale(tiny, fresh, tmp_path, text_encoder):
    add_lora(tiny, "zwx", alpha=6, text_encoder=text_encoder)
    path = save_lora(tiny, tmp_path / "zwx.safetensors", word="zwx")
    pipe = fresh()
    pipe.load_lora_weights(path)
    torch.testing.assert_close(predict(pipe), predict(tiny))


def test_without_the_metadata_plain_diffusers_loads_it_at_the_wrong_scale(tiny, fresh, lora_path):
    pipe = fresh()
    pipe.load_lora_weights(copy_of(lora_path, lora_path.with_name("bare.safetensors"), metadata={}))
    assert not torch.allclose(predict(pipe), predict(tiny), rtol=0.01)


def test_the_picture_of_a_loaded_lora_is_that_of_the_saved_one(pocket_copy, tmp_path):
    add_lora(pocket_copy, "zwx", alpha=6)
    trained = draw(pocket_copy)
    path = save_lora(pocket_copy, tmp_path / "zwx.safetensors")
    pocket_copy.unload_lora_weights()
    pocket_copy.load_lora_weights(path, adapter_name="plain")
    assert same_picture(draw(pocket_copy), trained)


def test_saving_what_was_loaded_gives_the_same_bytes(fresh, lora_path):
    pipe = fresh()
    load_lora(pipe, lora_path)
    again = save_lora(pipe, lora_path.with_name("b.safetensors"), word="zwx", class_noun="robot")
    assert again.read_bytes() == lora_path.read_bytes()


def test_ranks_and_alphas_may_differ_between_layers(tiny, fresh, tmp_path):
    add_lora(tiny, "zwx", alpha=6, rank_pattern={"to_q": 2}, alpha_pattern={"attn2.to_v": 1.5})
    path = save_lora(tiny, tmp_path / "zwx.safetensors")
    ours, plain = fresh(), fresh()
    load_lora(ours, path)
    plain.load_lora_weights(path)
    assert torch.equal(predict(ours), predict(tiny))
    torch.testing.assert_close(predict(plain), predict(tiny))


def test_a_scale_by_the_root_of_the_rank_is_kept(tiny, fresh, tmp_path):
    add_lora(tiny, "zwx", alpha=6, use_rslora=True)
    pipe = fresh()
    load_lora(pipe, save_lora(tiny, tmp_path / "zwx.safetensors"))
    torch.testing.assert_close(predict(pipe), predict(tiny))


def test_convolutions_are_kept_as_well(tiny, fresh, tmp_path):
    add_lora(tiny, "zwx", alpha=6, targets=["conv1", "proj_in", "ff.net.2"])
    pipe = fresh()
    load_lora(pipe, save_lora(tiny, tmp_path / "zwx.safetensors"))
    assert torch.equal(predict(pipe), predict(tiny))


@pytest.mark.parametrize("names", ["of diffusers' scripts", "of diffusers before 2024"])
def test_a_file_under_other_names_of_diffusers_loads(tiny, fresh, tmp_path, names):
    add_lora(tiny, "zwx", alpha=4, text_encoder=True)  # those names came without an alpha
    unet, text_encoder = (
        convert_state_dict_to_diffusers(get_peft_model_state_dict(part, adapter_name="zwx"))
        for part in (tiny.unet, tiny.text_encoder)
    )
    if names == "of diffusers before 2024":
        unet = {
            key.replace(".to_", ".processor.to_")
            .replace(".0.lora.", "_lora.")
            .replace(".lora.", "_lora."): tensor
            for key, tensor in unet.items()
        }
        assert any(".processor.to_out_lora.up." in key for key in unet)
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet, text_encoder)
    pipe = fresh()
    loaded = load_lora(pipe, tmp_path / "pytorch_lora_weights.safetensors")
    assert (loaded.matched, loaded.unmatched) == (40, ())
    torch.testing.assert_close(predict(pipe), predict(tiny))


def test_the_metadata_is_what_both_version_sets_know_and_tells_nothing_of_this_machine(lora_path):
    config = json.loads(metadata_of(lora_path)[METADATA])
    known = {"r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern"}
    assert {key.partition(".")[2] for key in config} == known
    assert (config["unet.r"], config["text_encoder.lora_alpha"]) == (4, 6)
    assert str(Path.home()) not in str(metadata_of(lora_path))
    assert str(lora_path.parent) not in str(metadata_of(lora_path))


def test_a_file_says_the_word_and_the_class(fresh, lora_path):
    loaded = load_lora(fresh(), lora_path)
    assert (loaded.word, loaded.class_noun) == ("zwx", "robot")


def test_a_file_that_says_no_word_has_none(tiny, tmp_path):
    add_lora(tiny, "zwx")
    lora = read_lora(save_lora(tiny, tmp_path / "zwx.safetensors"))
    assert (lora.word, lora.class_noun) == (None, None)


# Precision


def test_a_base_in_half_precision_keeps_the_lora_in_full_precision_after_every_load(
    tiny_folder, lora_path
):
    pipe = load_pipeline(tiny_folder, device="cpu", dtype=torch.bfloat16)
    for _ in range(2):
        load_lora(pipe, lora_path)
        for part in (pipe.unet, pipe.text_encoder):
            dtypes = {"lora_" in name: p.dtype for name, p in part.named_parameters()}
            assert dtypes == {True: torch.float32, False: torch.bfloat16}
        assert predict(pipe).dtype == torch.bfloat16
    again = save_lora(pipe, lora_path.with_name("b.safetensors"), word="zwx", class_noun="robot")
    assert again.read_bytes() == lora_path.read_bytes()


def test_loading_leaves_the_global_seed_alone(fresh, lora_path):
    pipe = fresh()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_lora(pipe, lora_path)
    assert torch.equal(torch.rand(1), expected)


def test_a_loaded_lora_outlives_its_file(fresh, lora_path):
    pipe = fresh()
    load_lora(pipe, lora_path)
    before = predict(pipe)
    lora_path.write_bytes(bytes(lora_path.stat().st_size))
    assert torch.equal(predict(pipe), before)


# What a load says


def test_a_load_says_what_it_matched_and_changed_in_the_readers_language(fresh, lora_path):
    loaded = load_lora(fresh(), lora_path, name="zwx")
    assert str(loaded).startswith("LoRA 'zwx': 40 of its 40 layers are in this model")
    assert loaded.change > 0.001
    set_language("es")
    assert str(loaded).startswith("LoRA 'zwx': 40 de sus 40 capas están")


def test_the_change_is_that_of_the_prediction_at_any_scale(fresh, lora_path):
    changes = {load_lora(fresh(), lora_path, scale=scale).change for scale in (0.0, 0.5, 1.0)}
    assert len(changes) == 1


def test_layers_that_the_model_lacks_are_counted_and_named(fresh, lora_path, tmp_path):
    tensors = safetensors.torch.load_file(lora_path)
    extra = {f"unet.no_such.layer.lora_{half}.weight": torch.ones(4, 4) for half in "AB"}
    path = copy_of(lora_path, tmp_path / "more.safetensors", tensors=tensors | extra)
    loaded = load_lora(fresh(), path)
    assert (loaded.matched, loaded.unmatched) == (40, ("lora_unet_no_such_layer",))
    assert "40 of its 41 layers" in str(loaded)


# Other trainers' names


def as_peft(tensors):
    """The U-Net's part, as `PeftModel.save_pretrained` names it."""
    return {f"base_model.model.{key.removeprefix('unet.')}": t for key, t in tensors.items()}


def as_attn_procs(tensors):
    """As diffusers' first LoRAs, which had no name for the part."""
    names = {".to_": ".processor.to_", ".lora_A": "_lora.down", ".lora_B": "_lora.up"}
    renamed = {}
    for key, tensor in tensors.items():
        key = key.removeprefix("unet.").replace(".to_out.0", ".to_out")
        for new, old in names.items():
            key = key.replace(new, old)
        renamed[key] = tensor
    return renamed


def as_held_by_peft(tensors):
    """As the weights are called in a model that a LoRA was added to."""
    return {
        key.replace(".lora_A", ".lora_A.default_0").replace(".lora_B", ".lora_B.default_0"): t
        for key, t in tensors.items()
    }


@pytest.fixture
def unet_tensors(tiny, tmp_path):
    """The tensors of a LoRA of the U-Net alone, whose alpha is its rank."""
    add_lora(tiny, "zwx")
    return safetensors.torch.load_file(save_lora(tiny, tmp_path / "zwx.safetensors"))


@pytest.mark.parametrize("rename", [as_attn_procs, as_held_by_peft])
def test_names_without_their_part_or_with_the_adapters_load(
    tiny, fresh, tmp_path, unet_tensors, rename
):
    renamed = rename(unet_tensors)
    assert renamed.keys() != unet_tensors.keys()
    path = write_lora(tmp_path / "other.safetensors", renamed, {})
    pipe = fresh()
    assert load_lora(pipe, path).matched == 32
    assert torch.equal(predict(pipe), predict(tiny))


def test_a_lora_of_peft_loads_at_the_scale_that_stands_beside_it(fresh, tmp_path, unet_tensors):
    path = write_lora(tmp_path / "adapter_model.safetensors", as_peft(unet_tensors), {})
    pipe, scaled = fresh(), fresh()
    refuse(pipe, path, "is a LoRA of peft, whose scale stands in adapter_config.json; put")
    config = {"lora_alpha": 8, "alpha_pattern": {"attn2.to_k": 2}, "use_rslora": False}
    path.with_name("adapter_config.json").write_text(json.dumps(config))
    load_lora(pipe, path)
    add_lora(scaled, "zwx", alpha=8, alpha_pattern={"attn2.to_k": 2})
    assert torch.equal(predict(pipe), predict(scaled))
    path.with_name("adapter_config.json").write_text("[")
    refuse(pipe, path, "adapter_config.json is damaged")


def test_a_lora_in_comfyuis_names_is_named_as_one(fresh, tmp_path):
    layer = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    tensors = {f"{layer}.lora_{half}.weight": torch.ones(4, 4) for half in ("down", "up")}
    path = write_lora(tmp_path / "comfy.safetensors", tensors, {})
    refuse(fresh(), path, "names its layers as ComfyUI saves them, such as diffusion_model")


def test_a_file_of_several_loras_is_refused(fresh, tmp_path, unet_tensors):
    two = {
        key.replace(".weight", f".{name}.weight"): tensor.clone()
        for key, tensor in unet_tensors.items()
        for name in ("a", "b")
    }
    refuse(fresh(), write_lora(tmp_path / "two.safetensors", two, {}), "holds several LoRAs, a, b")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_8_bits_load_as_they_are(fresh, tmp_path, unet_tensors, dtype):
    eighths = {key: tensor.to(dtype) for key, tensor in unet_tensors.items()}
    exact = {key: tensor.float() for key, tensor in eighths.items()}
    predictions = []
    for tensors in (eighths, exact):
        pipe = fresh()
        load_lora(pipe, write_lora(tmp_path / "eight.safetensors", tensors, {}))
        predictions.append(predict(pipe))
    assert torch.equal(*predictions)


def test_whole_numbers_are_refused(fresh, tmp_path, unet_tensors):
    tensors = {key: tensor.to(torch.int8) for key, tensor in unet_tensors.items()}
    path = write_lora(tmp_path / "int8.safetensors", tensors, {})
    refuse(fresh(), path, r"has whole numbers in .*\(torch.int8\)")


@pytest.mark.parametrize("alpha", [torch.ones(4), torch.tensor(math.nan), torch.ones(0)])
def test_an_alpha_that_is_not_one_number_is_refused(fresh, tmp_path, unet_tensors, alpha):
    layers = {key.rpartition(".lora_")[0] for key in unet_tensors}
    tensors = unet_tensors | {f"{layer}.alpha": alpha.clone() for layer in layers}
    path = write_lora(tmp_path / "four.safetensors", tensors, {})
    refuse(fresh(), path, "its scale is not known .*alpha=")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "of git-lfs"),
        (b"\n<!DOCTYPE html><html lang='en'>", "is a web page"),
    ],
)
def test_what_stands_for_a_file_that_was_not_downloaded_is_named(
    fresh, tmp_path, content, sentence
):
    (tmp_path / "zwx.safetensors").write_bytes(content)
    refuse(fresh(), tmp_path / "zwx.safetensors", sentence)


# Names and scales


def test_a_name_that_is_there_is_replaced(tiny, fresh, lora_path, tmp_path):
    tiny.unload_lora_weights()
    add_lora(tiny, "other", alpha=2, rank=3, seed=5)
    other = save_lora(tiny, tmp_path / "other.safetensors")
    pipe = fresh()
    for path in (lora_path, other):
        load_lora(pipe, path, name="mine")
    assert pipe.get_list_adapters() == {"unet": ["mine"]}
    assert torch.equal(predict(pipe), predict(tiny))


def test_the_newest_is_on_alone_and_the_others_stay(tiny, fresh, lora_path, tmp_path):
    with_zwx = predict(tiny)
    tiny.unload_lora_weights()
    add_lora(tiny, "other", seed=5)
    other = save_lora(tiny, tmp_path / "other.safetensors")
    pipe = fresh()
    load_lora(pipe, lora_path, name="zwx")
    load_lora(pipe, other, name="other")
    assert torch.equal(predict(pipe), predict(tiny))
    pipe.set_adapters("zwx")
    assert torch.equal(predict(pipe), with_zwx)


def test_a_lora_loads_onto_a_pipeline_whose_loras_were_switched_off(fresh, lora_path, tiny):
    pipe = fresh()
    load_lora(pipe, lora_path, name="a")
    pipe.disable_lora()
    load_lora(pipe, lora_path, name="b")
    assert torch.equal(predict(pipe), predict(tiny))


@pytest.mark.parametrize("name", ["lora", "a", "zwx robot", "ñandú"])
def test_any_name_without_a_dot_will_do(fresh, lora_path, tiny, name):
    pipe = fresh()
    load_lora(pipe, lora_path, name=name)
    assert torch.equal(predict(pipe), predict(tiny))
    save_lora(pipe, lora_path.with_name("again.safetensors"), name=name)


@pytest.mark.parametrize(
    "setting",
    [
        {"name": ""},
        {"name": "a.b"},
        {"name": "\ud800"},
        {"scale": math.nan},
        {"scale": 10**400},
        {"scale": -(10**5000)},
        {"scale": "1"},
        {"scale": 1j},
        {"scale": Decimal("1.5")},
    ],
)
def test_a_name_or_scale_that_is_none_is_refused(fresh, lora_path, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        load_lora(fresh(), lora_path, **setting)


def test_a_scale_of_zero_is_the_base(fresh, lora_path):
    pipe = fresh()
    base = predict(pipe)
    load_lora(pipe, lora_path, scale=0.0)
    assert torch.equal(predict(pipe), base)


# Bad files, each refused in a sentence, with the pipeline as it was


def refuse(pipe, path, match):
    before = predict(pipe)
    adapters = pipe.get_list_adapters()
    with pytest.raises(LoraError, match=match) as caught:
        load_lora(pipe, path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + 2 * len(str(path))
    assert pipe.get_list_adapters() == adapters
    assert torch.equal(predict(pipe), before)


def test_a_lora_of_stable_diffusion_15_is_refused_on_the_pocket_model(pocket, tmp_path):
    path = unit_lora(tmp_path / "sd15.safetensors")
    with pytest.raises(LoraError, match=r"width 768 \(Stable Diffusion 1.x\).* of width 160"):
        load_lora(pocket, path)
    assert pocket.get_list_adapters() == {}


def test_a_lora_of_random_tiny_shapes_is_refused_on_the_pocket_model(pocket, lora_path):
    with pytest.raises(LoraError, match="width 32, and this model's are of width 160"):
        load_lora(pocket, lora_path)


def test_other_widths_within_the_network_are_refused(fresh, lora_path, tmp_path):
    tensors = safetensors.torch.load_file(lora_path)
    key = next(key for key in tensors if "attn1.to_q.lora_B" in key)
    tensors[key] = torch.ones(24, 4)
    path = copy_of(lora_path, tmp_path / "wide.safetensors", tensors=tensors)
    refuse(fresh(), path, r"layer unet\..*attn1.to_q has shape \(24, 16\).*\(16, 16\)")


def test_a_lora_that_matches_nothing_is_refused(fresh, tmp_path):
    tensors = {f"transformer.blocks.0.lora_{half}.weight": torch.ones(4, 4) for half in "AB"}
    path = write_lora(tmp_path / "other.safetensors", tensors, {"format": "pt"})
    refuse(fresh(), path, "none of its 1 layers, such as transformer_blocks_0")


def test_a_lora_that_was_never_trained_is_refused(tiny, fresh, tmp_path):
    add_lora(tiny, "zwx", strength=0.0)
    path = save_lora(tiny, tmp_path / "zwx.safetensors")
    pipe = fresh()
    refuse(pipe, path, "up matrices are all zero")


def test_a_lora_that_holds_nan_is_refused(lora_path, fresh, tmp_path):
    tensors = safetensors.torch.load_file(lora_path)
    tensors[next(iter(tensors))][0, 0] = math.nan
    path = copy_of(lora_path, tmp_path / "nan.safetensors", tensors=tensors)
    refuse(fresh(), path, "NaN or infinity")


def overflowing(tensors):
    return {key: torch.full_like(tensor, 1e30) for key, tensor in tensors.items()}


def acting_nowhere(tensors):
    """Not zero, but too little to change any number."""
    return {key: torch.full_like(tensor, 1e-30) for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (overflowing, "NaN or infinity: its numbers are too large; get it anew or find another$"),
        (acting_nowhere, "does not change what this model predicts; train it for longer"),
    ],
)
def test_a_refused_lora_leaves_the_loaded_one_of_its_name_its_scale_and_the_others(
    tiny, fresh, unet_tensors, tmp_path, spoil, sentence
):
    path = write_lora(tmp_path / "bad.safetensors", spoil(unet_tensors), {})
    pipe = fresh()
    add_lora(pipe, "default", alpha=6, text_encoder=True, use_dora=True)
    add_lora(pipe, "other", seed=3)
    pipe.set_adapters(["default", "other"], [0.5, 2.0])
    weights = {name: weight for name, weight in pipe.unet.named_parameters() if "lora_" in name}
    learning = {name: weight.requires_grad for name, weight in weights.items()}
    refuse(pipe, path, sentence)
    assert pipe.get_active_adapters() == ["default", "other"]
    found = {name: weight for name, weight in pipe.unet.named_parameters() if "lora_" in name}
    assert all(found[name] is weight for name, weight in weights.items())
    assert {name: weight.requires_grad for name, weight in found.items()} == learning
    pipe.disable_lora()
    refuse(pipe, path, sentence)
    pipe.enable_lora()
    pipe.set_adapters("other")
    load_lora(pipe, save_lora(tiny, tmp_path / "good.safetensors"))  # and goes on to work
    assert torch.equal(predict(pipe), predict(tiny))


def test_a_stop_while_a_lora_is_tried_leaves_the_loaded_one(tiny, lora_path):
    def stop(*_):
        raise KeyboardInterrupt

    before = predict(tiny)
    with tiny.unet.register_forward_pre_hook(stop), pytest.raises(KeyboardInterrupt):
        load_lora(tiny, lora_path, name="zwx")
    assert tiny.get_list_adapters() == {"text_encoder": ["zwx"], "unet": ["zwx"]}
    assert torch.equal(predict(tiny), before)


@pytest.mark.parametrize("pipe", ["pocket", Path("pocket"), None, 5, torch.nn.Linear(2, 2)])
def test_what_is_no_pipeline_is_refused_at_the_door(pipe, lora_path, tmp_path):
    for use in (
        lambda: load_lora(pipe, lora_path),
        lambda: save_lora(pipe, tmp_path / "new.safetensors"),
        lambda: trainable_parameters(pipe),
    ):
        with pytest.raises(ValueError, match=r"pipe.*load_pipeline\("):
            use()


@pytest.mark.parametrize("path", [None, 5, b"zwx.safetensors"])
def test_what_is_no_path_is_refused(tiny, lora_path, path):
    for write in (save_lora, export_kohya):
        with pytest.raises(LoraError, match=r"must be the name of a \.safetensors file"):
            write(tiny if write is save_lora else lora_path, path)
    refuse(tiny, path, "must be the name of a .safetensors file")


@pytest.mark.parametrize("name", ["type", "forward", "keys", 5, None])
def test_a_name_that_torch_needs_is_refused(fresh, lora_path, name):
    pipe = fresh()
    with pytest.raises(ValueError, match="name="):
        load_lora(pipe, lora_path, name=name)
    assert pipe.get_list_adapters() == {}


def test_a_lora_loaded_before_survives_a_bad_file(tiny, lora_path, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors at all")
    refuse(tiny, tmp_path / "bad.safetensors", "cut off or damaged")
    assert tiny.get_list_adapters()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["lora.bin", "lora.pt", "lora.ckpt", "lora.safetensors"])
def test_a_pickle_is_refused_unopened(fresh, tmp_path, name, zipped):
    trap = tmp_path / "it_ran"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trap,)

    torch.save(Trap(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    refuse(fresh(), tmp_path / name, "is a pickle, which can run any program")
    assert not trap.exists()
    set_language("es")
    refuse(fresh(), tmp_path / name, "es un pickle, que al abrirse puede ejecutar")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(fresh, lora_path, share):
    content = lora_path.read_bytes()
    lora_path.write_bytes(content[: int(len(content) * share)])
    refuse(fresh(), lora_path, "cut off or damaged")


def test_a_whole_model_is_refused(fresh, tiny_folder):
    path = tiny_folder / "unet" / "diffusion_pytorch_model.safetensors"
    refuse(fresh(), path, "is no plain LoRA: .*load_pipeline loads a whole model")


def test_a_file_without_tensors_is_refused(fresh, tmp_path):
    path = write_lora(tmp_path / "empty.safetensors", {}, {"format": "pt"})
    refuse(fresh(), path, "0 of its 0 tensors")


def test_a_dora_is_refused(tiny, lora_path, tmp_path):
    tensors = safetensors.torch.load_file(lora_path)
    tensors |= {"unet.conv_in.lora_magnitude_vector": torch.ones(8)}
    path = copy_of(lora_path, tmp_path / "dora.safetensors", tensors=tensors)
    refuse(tiny, path, "such as unet.conv_in.lora_magnitude_vector.*DoRA")


def test_a_missing_file_is_named_beside_those_that_are_there(tiny, lora_path):
    refuse(tiny, lora_path.with_name("zwy.safetensors"), "is not there; .* has zwx.safetensors")


def test_a_folder_is_refused_with_what_is_in_it(tiny, lora_path):
    refuse(tiny, lora_path.parent, "is a folder; .* has zwx.safetensors")


@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_half_a_layer_is_refused(tiny, lora_path, tmp_path, half):
    tensors = safetensors.torch.load_file(lora_path)
    del tensors[next(key for key in tensors if half in key)]
    path = copy_of(lora_path, tmp_path / "half.safetensors", tensors=tensors)
    refuse(tiny, path, "is damaged: its layer")


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        "[1, 2]",
        '"text"',
        '{"unet.lora_alpha": "four"}',
        '{"unet.lora_alpha": NaN}',
        '{"unet.lora_alpha": 4, "unet.alpha_pattern": [1]}',
        '{"unet.lora_alpha": 4, "unet.alpha_pattern": {"(": 1}}',
    ],
)
def test_malformed_metadata_is_refused_rather_than_guessed(tiny, lora_path, tmp_path, text):
    path = copy_of(lora_path, tmp_path / "bad.safetensors", metadata={METADATA: text})
    refuse(tiny, path, "damaged metadata")


HANGING = [
    "(a+)+x",
    "(?:[a-z_0-9.]+)+!",
    "(.*)*(.*)*!",
    ".*" * 12 + "!",
    "a?" * 40 + "a" * 40,
    "|".join("ab") * 30,
    "(a|a)" * 40 + "!",
    "([a-z_.0-9]|[a-z_.0-9])*!",
    "(.*){30}!",
    "a" * 100_000 + "*",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("key", ["alpha_pattern", "rank_pattern"])
@pytest.mark.parametrize("pattern", HANGING)
def test_a_pattern_that_would_take_for_ever_is_refused_or_left_unread(
    tiny, fresh, lora_path, tmp_path, pattern, key
):
    metadata = metadata_of(lora_path)
    config = json.loads(metadata[METADATA]) | {f"unet.{key}": {pattern: 2}}
    path = copy_of(
        lora_path, tmp_path / "slow.safetensors", metadata={METADATA: json.dumps(config)}
    )
    pipe = fresh()
    if key == "rank_pattern":  # ranks are read off the matrices
        load_lora(pipe, path)
        assert torch.equal(predict(pipe), predict(tiny))
    else:
        refuse(pipe, path, "its scale is not known .*is too intricate to be read safely")


@pytest.mark.parametrize(
    "patterns",
    [
        {"to_k": 1.5, "attn2.to_k": 3.0},  # the first that fits counts
        {"attn2.to_k": 3.0, "to_k": 1.5},
        {".*attn2.*to_[kq]": 2.0, "to_v": 5.0},
        {"(to_k|to_q)": 2.0},
        {"to_ou": 7.0},  # the end of no name
    ],
)
def test_patterns_mean_what_they_mean_to_plain_diffusers(
    tiny, fresh, lora_path, tmp_path, patterns
):
    metadata = metadata_of(lora_path)
    config = json.loads(metadata[METADATA]) | {"unet.alpha_pattern": patterns}
    path = copy_of(
        lora_path, tmp_path / "patterns.safetensors", metadata={METADATA: json.dumps(config)}
    )
    ours, theirs = fresh(), fresh()
    load_lora(ours, path)
    theirs.load_lora_weights(path)
    torch.testing.assert_close(predict(ours), predict(theirs))
    assert not torch.equal(predict(ours), predict(tiny)) or "to_ou" in patterns


def test_a_file_of_another_version_with_settings_unknown_here_loads(tiny, fresh, lora_path):
    metadata = metadata_of(lora_path)
    config = json.loads(metadata[METADATA]) | {"unet.of_a_later_peft": True}
    path = lora_path.with_name("later.safetensors")
    pipe = fresh()
    load_lora(pipe, copy_of(lora_path, path, metadata=metadata | {METADATA: json.dumps(config)}))
    assert torch.equal(predict(pipe), predict(tiny))


# Saving


def test_the_one_lora_is_saved_without_being_named(tiny, tmp_path):
    with pytest.raises(LoraError, match="no LoRA of this pipeline, which holds none"):
        save_lora(tiny, tmp_path / "a.safetensors")
    add_lora(tiny, "a")
    save_lora(tiny, tmp_path / "a.safetensors")
    add_lora(tiny, "b")
    with pytest.raises(LoraError, match="which holds 'a', 'b'"):
        save_lora(tiny, tmp_path / "a.safetensors")
    with pytest.raises(LoraError, match="name='c' is no LoRA"):
        save_lora(tiny, tmp_path / "a.safetensors", name="c")
    save_lora(tiny, tmp_path / "b.safetensors", name="b")


@pytest.mark.parametrize("word", [5, b"zwx", ["zwx"], {"a": 1}, 1.5, "a\ud800", True])
@pytest.mark.parametrize("name", ["word", "class_noun"])
def test_a_word_that_is_no_text_is_not_saved(tiny, tmp_path, name, word):
    add_lora(tiny, "a")
    with pytest.raises(ValueError, match=f"{name}="):
        save_lora(tiny, tmp_path / "a.safetensors", **{name: word})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["a\0b", "\ud800", "a" * 300])
def test_a_path_that_no_system_takes_is_refused_in_a_sentence(tiny, lora_path, stem):
    path = lora_path.with_name(f"{stem}.safetensors")
    for write in (
        lambda: save_lora(tiny, path, name="zwx"),
        lambda: export_kohya(lora_path, path),
    ):
        with pytest.raises(LoraError, match=r"cannot write .*: name a file that ends in"):
            write()
    refuse(tiny, path, r"is not there|cannot be read .File name too long")


def test_a_path_that_is_none_for_a_lora_is_refused(tiny, tmp_path):
    add_lora(tiny, "a")
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("a.bin", "a", "no_such_folder/a.safetensors", "folder.safetensors"):
        with pytest.raises(LoraError, match=r"name a file that ends in \.safetensors"):
            save_lora(tiny, tmp_path / name)


def test_a_dora_is_not_saved_as_a_plain_lora(tiny, tmp_path):
    add_lora(tiny, "zwx", use_dora=True)
    with pytest.raises(LoraError, match="DoRA"):
        save_lora(tiny, tmp_path / "zwx.safetensors")


def test_a_disk_that_fills_up_leaves_the_file_that_was_there(lora_path):
    before = lora_path.read_bytes()
    full = pytest.raises(OSError, match=r"cannot write .*; make room or choose another folder")
    with largest_file(50_000), full:
        write_lora(lora_path, {"a": torch.ones(100_000)}, {})
    assert lora_path.read_bytes() == before
    assert list(lora_path.parent.iterdir()) == [lora_path]


# diffusers' own words on the pocket model, as lesson 07 uses them


def draw(pipe):
    generator = torch.Generator("cpu").manual_seed(1)
    prompt = "a robot on the beach"
    return pipe(prompt, num_inference_steps=4, guidance_scale=5.0, generator=generator).images[0]


@pytest.fixture(scope="module")
def own_pocket():
    pipe = load_pipeline("pocket", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pocket_copy(own_pocket):
    """A pocket model that a test may put LoRAs on; they are taken off again."""
    yield own_pocket
    own_pocket.unload_lora_weights()


@pytest.fixture
def pocket_pair(pocket_copy):
    """The base's picture, and the pipeline with two LoRAs, `a` and `b`; both are on."""
    base = draw(pocket_copy)
    add_lora(pocket_copy, "a", alpha=6, text_encoder=True, seed=1)
    add_lora(pocket_copy, "b", alpha=6, seed=2)
    pocket_copy.set_adapters(["a", "b"])
    return base, pocket_copy


def test_a_scale_of_zero_draws_the_bases_picture(pocket_pair):
    base, pipe = pocket_pair
    assert not same_picture(draw(pipe), base)
    pipe.set_adapters(["a", "b"], [0.0, 0.0])
    assert same_picture(draw(pipe), base)


def test_two_loras_combine_by_the_sum_of_what_they_add(pocket_pair):
    _, pipe = pocket_pair
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_q
    x = torch.randn(2, layer.in_features, generator=torch.Generator().manual_seed(0))
    added = {}
    for weights in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.7, 0.4)):
        pipe.set_adapters(["a", "b"], list(weights))
        added[weights] = layer(x)
    plain = added[0.0, 0.0]
    expected = 0.7 * (added[1.0, 0.0] - plain) + 0.4 * (added[0.0, 1.0] - plain)
    torch.testing.assert_close(added[0.7, 0.4] - plain, expected, rtol=1e-4, atol=1e-4)


def test_a_combination_is_neither_picture_alone(pocket_pair):
    _, pipe = pocket_pair
    both = draw(pipe)
    for name in ("a", "b"):
        pipe.set_adapters(name)
        assert not same_picture(draw(pipe), both)


def test_fusing_keeps_the_picture_and_unfusing_too(pocket_pair):
    base, pipe = pocket_pair
    before = draw(pipe)
    pipe.fuse_lora()
    assert same_picture(draw(pipe), before)
    pipe.unfuse_lora()
    assert same_picture(draw(pipe), before)
    pipe.set_adapters(["a", "b"], [0.0, 0.0])
    assert same_picture(draw(pipe), base)


def test_unloading_returns_the_bases_picture(pocket_pair):
    base, pipe = pocket_pair
    pipe.unload_lora_weights()
    assert pipe.get_list_adapters() == {}
    assert same_picture(draw(pipe), base)


def test_fusing_and_then_unloading_leaves_the_weights_merged(tiny, fresh, lora_path):
    before = predict(tiny)
    tiny.fuse_lora()
    tiny.unload_lora_weights()
    assert tiny.get_list_adapters() == {}
    torch.testing.assert_close(predict(tiny), before, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(predict(tiny), predict(fresh()), rtol=0.01)


def test_deleting_one_leaves_the_other(pocket_pair):
    _, pipe = pocket_pair
    pipe.set_adapters("b")
    only_b = draw(pipe)
    pipe.delete_adapters("a")
    assert pipe.get_list_adapters() == {"unet": ["b"]}
    assert same_picture(draw(pipe), only_b)


def test_deleting_all_returns_the_base(fresh, lora_path):
    pipe = fresh()
    base = predict(pipe)
    for name in ("a", "b"):
        load_lora(pipe, lora_path, name=name)
    pipe.delete_adapters(["a", "b"])
    assert torch.equal(predict(pipe), base)
    load_lora(pipe, lora_path, name="a")  # and takes a new one


def test_loading_beside_a_fused_lora_is_refused_until_it_is_unfused(pocket_pair, tmp_path):
    _, pipe = pocket_pair
    path = save_lora(pipe, tmp_path / "a.safetensors", name="a")
    pipe.fuse_lora()
    fused = draw(pipe)
    with pytest.raises(LoraError, match=r"call pipe.unfuse_lora\(\) first"):
        load_lora(pipe, path, name="c")
    assert same_picture(draw(pipe), fused)
    pipe.unfuse_lora()
    assert load_lora(pipe, path, name="c").matched == 68
