"""Training: the loop's promises, and every stage once at its smallest."""

import csv
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPModel

from sdlesson.downloads import verify_folder
from sdlesson.pocket.paths import POCKET_FOLDER, SCORER_FOLDER, VOCABULARY_FILE
from sdlesson.pocket.training import __main__ as train
from sdlesson.pocket.training import autoencoder, dataset, denoiser, export, loop, sharpening
from sdlesson.pocket.training.group_norm import FastGroupNorm
from sdlesson.pocket.training.loop import Recipe, fit
from sdlesson.pocket.training.tokenizer import train_tokenizer
from sdlesson.pocket.world import SIZE_PX
from sdlesson.probe import load_probe

RECIPE = Recipe(steps=12, batch=4, learning_rate=0.05, warmup=2, ema_decay=0.9)


def regress(folder: Path, recipe: Recipe, break_at: int | None = None) -> nn.Module:
    """Fit a line to noise, so that chance matters; optionally fail at a step."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(recipe.batch, 3, generator=generator)
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        return loss * (float("nan") if step == break_at else 1.0), {"twice": 2 * loss.item()}

    return fit("line", model, step_loss, recipe, folder)


def test_a_resumed_run_gives_the_weights_of_an_unbroken_one(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)
    (tmp_path / "unbroken").mkdir()
    (tmp_path / "broken").mkdir()
    unbroken = regress(tmp_path / "unbroken", RECIPE)
    with pytest.raises(FloatingPointError, match="nan at step 7"):
        regress(tmp_path / "broken", RECIPE, break_at=7)
    resumed = regress(tmp_path / "broken", RECIPE)
    for ours, theirs in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)
    with pytest.raises(FloatingPointError):
        regress(tmp_path, RECIPE, break_at=7)
    state = torch.load(tmp_path / "line.pt", weights_only=True)
    assert state["step"] == 5
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_flipped_bit_in_a_checkpoint_is_not_trained_on(tmp_path):
    regress(tmp_path, replace(RECIPE, steps=3))
    path = tmp_path / "line.pt"
    content = bytearray(path.read_bytes())
    average = torch.load(path, weights_only=True)["average"]["weight"]
    content[content.index(average.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"line\.pt is damaged"):
        regress(tmp_path, RECIPE)


def test_another_seed_gives_other_weights(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    one = regress(tmp_path / "0", RECIPE)
    other = regress(tmp_path / "1", replace(RECIPE, seed=1))
    assert not torch.equal(one.weight, other.weight)


def test_the_curve_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CURVE_EVERY", 4)
    regress(tmp_path, RECIPE)
    rows = list(csv.DictReader((tmp_path / "line.csv").open()))
    assert [float(row["step"]) for row in rows] == [0, 4, 8]
    for row in rows:
        assert float(row["twice"]) == pytest.approx(2 * float(row["loss"]))


def take_part(rank: int, folder: str) -> None:
    """Be one of two processes that share a training."""
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    regress(Path(folder), RECIPE)
    dist.destroy_process_group()


def test_two_processes_learn_what_one_learns_from_both_their_batches(tmp_path):
    mp.spawn(take_part, (str(tmp_path),), nprocs=2)
    shared = torch.load(tmp_path / "line.pt", weights_only=True)["model"]
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        other = torch.Generator().manual_seed(generator.initial_seed() + (1 << 40))
        inputs = torch.cat([torch.randn(4, 3, generator=g) for g in (generator, other)])
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean(), {}

    (tmp_path / "one").mkdir()
    fit("line", model, step_loss, RECIPE, tmp_path / "one")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(shared[name], value)
    steps = [row["step"] for row in csv.DictReader((tmp_path / "line.csv").open())]
    assert len(steps) == len(set(steps))  # one of the two writes the curve


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_moves_as_far_in_every_direction_and_a_bias_in_every_element(tmp_path, layout):
    model = nn.Conv2d(2, 6, 3).to(memory_format=layout)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scales = torch.logspace(-1, 0, 6).view(1, 6, 1, 1)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(4, 2, 9, 9, generator=generator)
        return (model(inputs) * scales).square().sum(), {}

    recipe = Recipe(steps=1, batch=4, learning_rate=0.01, warmup=0, weight_decay=0.0)
    fit("kernel", model, step_loss, recipe, tmp_path)
    moved = {name: value - before[name] for name, value in model.state_dict().items()}
    directions = torch.linalg.svdvals(moved["weight"].reshape(6, -1))
    assert directions.min() > 0.5 * directions.max()
    torch.testing.assert_close(moved["bias"].abs(), torch.full((6,), 0.01), rtol=1e-3, atol=0)


def test_crops_begin_where_a_latent_does():
    rows, columns = np.indices((SIZE_PX, SIZE_PX))
    within = (rows % 8 * 8 + columns % 8).astype(np.uint8)  # where in its 8 x 8 cell a pixel lies
    bank = np.repeat(within[None, :, :, None], 3, axis=3)
    crops = autoencoder._batch(bank, 16, False, torch.Generator().manual_seed(0))
    assert crops.shape == (16, 3, 64, 64)
    assert (crops[:, :, ::8, ::8] == -1).all()


def test_levels_where_noise_prevails_count_more_than_min_snr_says_and_no_more_than_six_times():
    snr = torch.tensor([20.0, 5.0, 1.0, 0.25, 0.0625, 1e-4])
    expected = torch.tensor([0.25, 1.0, 1.0, 2.0, 4.0, 6.0])
    torch.testing.assert_close(denoiser.loss_weights(snr), expected)


def test_stratified_timesteps_cover_the_schedule_evenly():
    timesteps = denoiser.stratified_timesteps(50, 1_000, torch.Generator().manual_seed(0))
    assert (timesteps // 20 == torch.arange(50)).all()
    assert timesteps.unique().numel() == 50
    many = denoiser.stratified_timesteps(4_000, 1_000, torch.Generator().manual_seed(1))
    assert many.bincount(minlength=1_000).eq(4).float().mean() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fast_group_norm_is_group_norm(dtype):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 32, 6, 5)
    inputs = (2 + torch.randn(shape, generator=generator)).to(dtype)
    inputs = inputs.to(memory_format=torch.channels_last).requires_grad_()
    weight, bias = (torch.randn(32, generator=generator, requires_grad=True) for _ in range(2))
    gradient = torch.randn(shape, generator=generator)
    reference = nn.functional.group_norm(inputs.float(), 8, weight, bias, 1e-5)
    expected = torch.autograd.grad(reference, (inputs, weight, bias), gradient)
    ours = FastGroupNorm.apply(inputs, weight, bias, 8, 1e-5)
    found = torch.autograd.grad(ours, (inputs, weight, bias), gradient.to(dtype))
    near = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.02}
    torch.testing.assert_close(ours.float(), reference, **near)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), other.float(), **near)


def test_the_critic_sees_what_a_blur_would_take_away():
    flat, checks = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    checks[..., ::2, 1::2] = checks[..., 1::2, ::2] = 0.1
    of_flat, of_checks = map(sharpening.WithFinePart(), (flat, checks))
    assert of_flat.abs().max() == 0
    torch.testing.assert_close(of_checks[:, :3], checks)
    assert of_checks[:, 3:].std() > 5 * checks.std()


def test_a_finished_decoder_learns_and_leaves_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(sharpening, "DISCRIMINATOR_ONLY_STEPS", 1)
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    bank = dataset.render_scenes(tmp_path, 4, seed=0)
    latents = autoencoder.encode_scenes(vae, bank, "cpu")
    recipe = replace(sharpening.RECIPE, steps=3, batch=2, warmup=1, ema_decay=0.1)
    finished = sharpening.sharpen_decoder(vae, bank, latents, tmp_path, "cpu", recipe)
    changed = {
        name.split(".")[0]
        for name, value in finished.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"decoder", "post_quant_conv"}
    rows = list(csv.DictReader((tmp_path / "decoder.csv").open()))
    assert [float(row["weight"]) for row in rows] == [0]


def test_training_captions_are_sometimes_empty_and_in_both_languages():
    chance = random.Random(0)
    captions = [denoiser.training_caption(i, 0, chance) for i in range(2_000)]
    share = sum(not text for text in captions) / len(captions)
    assert abs(share - denoiser.CAPTION_DROPOUT) < 0.03
    assert any(" en la playa" in text for text in captions)
    assert any(" on the beach" in text for text in captions)


def test_the_tokenizer_reads_any_text_and_makes_one_token_of_each_of_its_words():
    tokenizer = train_tokenizer(captions=4_000)
    assert tokenizer.tokenize("An astronaut riding a horse") == [
        "an</w>", "astronaut</w>", "riding</w>", "a</w>", "horse</w>",
    ]  # fmt: skip
    for text in ("quokka", "¿Qué?", "画像", "🎈", "naïve\x00café"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids[1:-1], text
        assert len(ids) > 2
    assert tokenizer("a", padding="max_length").input_ids[-1] == tokenizer.eos_token_id


def run_smallest(checkpoints: Path, output: Path, *more: str) -> None:
    """Train on 40 scenes, one or two steps a stage."""
    where = ["--folder", str(checkpoints), "--output", str(output), "--device", "cpu"]
    train.main([*where, "--scenes", "40", "--scale", "0.0003", *more])


@pytest.fixture(scope="module")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Every stage, once: (checkpoints, output)."""
    checkpoints, output = tmp_path_factory.mktemp("checkpoints"), tmp_path_factory.mktemp("pocket")
    run_smallest(checkpoints, output)
    return checkpoints, output


def test_every_stage_runs_from_nothing_to_a_pipeline_that_draws(smallest):
    checkpoints, output = smallest
    for name in ("vae", "probe", "clip", "decoder", "denoiser"):
        assert (checkpoints / f"{name}.pt").exists()
    verify_folder(output / "model")
    verify_folder(output / "scorer")
    pipe = StableDiffusionPipeline.from_pretrained(output / "model")
    assert {p.dtype for p in pipe.text_encoder.parameters()} == {torch.float32}
    assert {p.dtype for p in pipe.safety_checker.parameters()} == {torch.float32}
    noise = torch.Generator().manual_seed(0)
    image = pipe("a cat", num_inference_steps=1, generator=noise).images[0]
    assert image.size == (128, 128)
    reading = load_probe(output / "scorer" / "probe.safetensors").read([image])[0]
    assert len(reading.subjects) >= 40


def test_a_finished_training_is_not_done_again(smallest):
    checkpoints, output = smallest
    before = {path.name: path.stat().st_mtime_ns for path in checkpoints.glob("*.pt")}
    run_smallest(checkpoints, output, "--stages", "vae", "denoiser")
    after = {path.name: path.stat().st_mtime_ns for path in checkpoints.glob("*.pt")}
    assert after == before
    runs = [json.loads(line) for line in (checkpoints / "runs.jsonl").read_text().splitlines()]
    assert [run["stages"] for run in runs][-1] == ["vae", "denoiser"]


def test_the_vae_scaling_factor_makes_latents_of_unit_deviation(smallest):
    checkpoints, output = smallest
    latents = torch.load(checkpoints / "latents.pt", weights_only=True)
    scaled = latents["means"].float() * latents["scaling_factor"]
    noise = latents["stds"].float() * latents["scaling_factor"]
    assert (scaled.var() + noise.square().mean()).sqrt().item() == pytest.approx(1.0, abs=0.1)
    assert VOCABULARY_FILE.name in {path.name for path in output.iterdir()}


LOCAL_PATH = re.compile(r"(?:[A-Za-z]:)?[\\/~][\w.-]*[\\/]")
"""How a path that means something on one machine alone begins."""


def texts_in(found: object) -> Iterator[str]:
    """Every text that stands for a value in what JSON holds."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict | list):
        for item in found.values() if isinstance(found, dict) else found:
            yield from texts_in(item)


def local_paths(folder: Path) -> list[str]:
    """Where the JSON of a folder names a place on somebody's machine: "file: path"."""
    return [
        f"{path.relative_to(folder)}: {text}"
        for path in sorted(folder.rglob("*.json"))
        for text in texts_in(json.loads(path.read_text(encoding="utf-8")))
        if LOCAL_PATH.match(text)
    ]


def test_what_is_exported_from_a_folder_does_not_name_that_folder(tmp_path):
    shutil.copytree(POCKET_FOLDER, tmp_path / "found")
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "found")
    assert str(tmp_path) in pipe.vae.config._name_or_path  # what diffusers would save
    export.save_in_half_precision(pipe, tmp_path / "model")
    assert not local_paths(tmp_path / "model")
    verify_folder(tmp_path / "model")
    clip = CLIPModel.from_pretrained(SCORER_FOLDER / "clip")
    probe = load_probe(SCORER_FOLDER / "probe.safetensors")
    export.save_scorer(clip, probe, pipe.tokenizer, pipe.feature_extractor, tmp_path / "scorer")
    assert not local_paths(tmp_path / "scorer")
    verify_folder(tmp_path / "scorer")


@pytest.mark.parametrize("folder", [POCKET_FOLDER, SCORER_FOLDER], ids=lambda path: path.name)
def test_what_is_committed_names_no_folder_of_a_machine(folder):
    assert list(folder.rglob("*.json"))
    assert not local_paths(folder)


@pytest.mark.parametrize(
    "name", ["/tmp/tmpssyk4gb4/found/vae", "C:\\Users\\ana\\model", "~/model/vae", "\\\\lab\\model"]
)
def test_a_path_of_a_machine_is_found(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps({"a": ["pocket", {"_name_or_path": name}]}))
    assert local_paths(tmp_path) == [f"config.json: {name}"]
