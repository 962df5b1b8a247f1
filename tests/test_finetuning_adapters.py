import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fixtures_finetuning import make_settings, weights_of
from sdlesson.finetuning.adapters import (
    adapter_names,
    adapters_disabled,
    prepare_weights,
    start_from_base,
    trainable_parameters,
)

ADD_A_LORA = """
import sys
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from sdlesson.finetuning.adapters import check_peft
sys.path.insert(0, sys.argv[2])  # late: diffusers would look into the package, which is empty
if sys.argv[1] == "checked":
    check_peft()
model = nn.Sequential(nn.Linear(4, 4))
inject_adapter_in_model(LoraConfig(target_modules=["0"]), model, "zwx")
print("added", "torchao" in sys.modules)
"""


@pytest.mark.parametrize("convolutions", [False, True])
def test_the_adapter_is_on_the_layers_asked_for_and_starts_without_effect(
    tiny: StableDiffusionPipeline, convolutions: bool
) -> None:
    latents, text = torch.randn(1, 4, 4, 4), torch.randn(1, 16, 32)
    before = tiny.unet(latents, 500, text).sample
    prepare_weights(tiny, make_settings(rank=2, convolutions=convolutions))
    weights = trainable_parameters(tiny)
    ends = {re.split(r"\.\d+\.|attn\d\.", name.split(".lora_")[0])[-1] for name in weights}
    assert ends == {"to_q", "to_k", "to_v", "to_out.0"} | ({"conv2"} if convolutions else set())
    assert all(2 in weight.shape for weight in weights.values())
    torch.testing.assert_close(tiny.unet(latents, 500, text).sample, before)
    assert not any(weight.requires_grad for weight in tiny.vae.parameters())


def test_the_seed_decides_where_an_adapter_starts(tiny_folder: Path) -> None:
    from sdlesson.pipelines import load_pipeline

    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))
        pipe = load_pipeline(tiny_folder, device="cpu")
        prepare_weights(pipe, make_settings(seed=seed))
        found.append(next(iter(weights_of(pipe).values())))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adapter_weights_are_float32_on_any_base(
    tiny: StableDiffusionPipeline, dtype: torch.dtype
) -> None:
    tiny.to(dtype)
    prepare_weights(tiny, make_settings(train_text_encoder=True))
    weights = trainable_parameters(tiny)
    assert {name.split(".")[0] for name in weights} == {"unet", "text_encoder"}
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert tiny.unet.conv_in.weight.dtype == dtype


def test_alpha_over_rank_is_the_scale_of_every_layer(tiny: StableDiffusionPipeline) -> None:
    settings = make_settings(rank=4, alpha=1.0)
    prepare_weights(tiny, settings)
    scales = [layer.scaling for layer in tiny.unet.modules() if hasattr(layer, "scaling")]
    assert scales
    assert all(scale == {"zwx": settings.scale} for scale in scales)


def test_full_dreambooth_trains_all_of_the_unet(tiny: StableDiffusionPipeline) -> None:
    prepare_weights(tiny, make_settings(rank=None, prior="none"))
    assert len(trainable_parameters(tiny)) == len(list(tiny.unet.parameters()))
    assert adapter_names(tiny) == set()


def test_an_adapter_that_was_off_for_a_while_is_on_again_and_trains(
    tiny: StableDiffusionPipeline,
) -> None:
    prepare_weights(tiny, make_settings())
    start_from_base(tiny, make_settings(word="qvb"))
    prepare_weights(tiny, make_settings(word="qvb"))
    before = set(trainable_parameters(tiny))
    with adapters_disabled(tiny.unet):
        assert trainable_parameters(tiny) == {}
    assert set(trainable_parameters(tiny)) == before
    assert all(".qvb." in name for name in before)


def test_an_old_torchao_as_on_colab_breaks_peft_until_it_is_checked(tmp_path: Path) -> None:
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").touch()
    record = tmp_path / "torchao-0.10.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n")
    broken, mended = (
        subprocess.run(
            [sys.executable, "-c", ADD_A_LORA, how, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        for how in ("unchecked", "checked")
    )
    assert "incompatible version of torchao" in broken.stderr
    assert mended.stdout == "added False\n", mended.stderr
