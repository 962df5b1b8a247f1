"""Training in pieces: deadlines, half checkpoints, and the script for a machine that is lent."""

import csv
import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from sdlesson.downloads import ModelError
from sdlesson.pocket.training import __main__ as train
from sdlesson.pocket.training import loop
from sdlesson.pocket.training.loop import OutOfTimeError, Recipe, fit

REPOSITORY = Path(__file__).parent.parent
LEASE = REPOSITORY / "tools/lease.sh"
sys.path.append(str(REPOSITORY / "tools"))  # a script's folder, as when it is run
half_checkpoints = importlib.import_module("half_checkpoints")
pack, unpack = half_checkpoints.pack, half_checkpoints.unpack

RECIPE = Recipe(steps=12, batch=4, learning_rate=0.05, warmup=4, ema_decay=0.9)


def learn(folder: Path, recipe: Recipe, late_at: int | None = None) -> nn.Module:
    """Fit a line to noise as the stage "vae"; optionally meet the deadline during a step."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    recipe = replace(recipe)
    folder.mkdir(exist_ok=True)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(recipe.batch, 3, generator=generator)
        if step == late_at:
            object.__setattr__(recipe, "deadline", 0.0)  # no clock, so no busy machine can fail it
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean(), {}

    return fit("vae", model, step_loss, recipe, folder)


def write_state(folder: Path, stage: str, step: int, average: dict[str, Tensor]) -> None:
    folder.mkdir(exist_ok=True)
    loop.write_checkpoint(
        folder / f"{stage}.pt", {"step": step, "model": average, "average": average}
    )


def read_state(folder: Path, stage: str = "vae") -> dict:
    return torch.load(folder / f"{stage}.pt", weights_only=True)


def test_a_run_cut_by_its_deadline_ends_as_an_unbroken_one(tmp_path):
    unbroken = learn(tmp_path / "unbroken", RECIPE)
    with pytest.raises(OutOfTimeError, match="out of time at step 3 of 12 of vae"):
        learn(tmp_path / "cut", RECIPE, late_at=2)  # in the warm-up
    assert read_state(tmp_path / "cut")["step"] == 3
    resumed = learn(tmp_path / "cut", RECIPE)
    assert torch.equal(resumed.weight, unbroken.weight)


def test_a_deadline_that_has_passed_leaves_the_checkpoint_as_it_is(tmp_path):
    with pytest.raises(OutOfTimeError):
        learn(tmp_path, RECIPE, late_at=5)
    before = (tmp_path / "vae.pt").read_bytes()
    with pytest.raises(OutOfTimeError, match="step 6 of 12"):
        learn(tmp_path, replace(RECIPE, deadline=0.0))
    assert (tmp_path / "vae.pt").read_bytes() == before


def test_training_says_what_is_left_when_its_minutes_are_over(tmp_path, capsys):
    train.main(["--folder", str(tmp_path), "--device", "cpu", "--scenes", "4", "--minutes", "0"])
    said = capsys.readouterr().out
    assert "step 0 of" in said
    assert "left: vae, probe, clip, decoder, denoiser, export." in said
    assert json.loads((tmp_path / "runs.jsonl").read_text())["device"].startswith("CPU")


def test_a_new_optimizer_warms_up_again_and_joins_the_schedule():
    def rates(optimizer_start: int) -> list[float]:
        return [loop._schedule(step, optimizer_start, RECIPE) for step in range(12)]

    assert rates(0)[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates(6)[6] == pytest.approx(rates(0)[6] / 4)
    assert rates(6)[9:] == rates(0)[9:]


def test_training_goes_on_from_half_checkpoints(tmp_path, monkeypatch):
    seen = []
    schedule = loop._schedule
    with pytest.raises(OutOfTimeError):
        learn(tmp_path / "there", RECIPE, late_at=5)
    pack(tmp_path / "there", tmp_path / "half")
    assert unpack(tmp_path / "half", tmp_path / "here") == {"vae": 6}
    ours, theirs = read_state(tmp_path / "here"), read_state(tmp_path / "there")
    for name, value in theirs["average"].items():
        assert torch.equal(ours["average"][name], value.half().float())
        assert torch.equal(ours["model"][name], value.half().float())
    assert (tmp_path / "here/vae.csv").read_text() == (tmp_path / "there/vae.csv").read_text()
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(
        loop,
        "_schedule",
        lambda step, optimizer_start, recipe: (
            seen.append(optimizer_start) or schedule(step, 0, recipe)
        ),
    )
    with pytest.raises(OutOfTimeError):  # cut again, inside the second warm-up
        learn(tmp_path / "here", RECIPE, late_at=6)
    learn(tmp_path / "here", RECIPE)
    assert read_state(tmp_path / "here")["step"] == 12
    assert seen == [6] * 6  # the age of the optimizer is known across checkpoints


def test_large_weights_are_split_into_shards_that_know_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(half_checkpoints, "MAX_SHARD_BYTES", 100)
    average = {f"layer{i}": torch.full((20,), i / 4) for i in range(5)}  # 40 bytes each in half
    average["seen"] = torch.tensor(70_001)  # a whole number stays one
    write_state(tmp_path / "there", "denoiser", 2_310, average)
    pack(tmp_path / "there", tmp_path / "half")
    names = [f"denoiser-{i}-of-3.safetensors" for i in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == [*names, "logs.json"]
    with safe_open(tmp_path / "half" / names[1], "pt") as file:
        about = {"stage": "denoiser", "step": "2310", "shard": "2", "shards": "3"}
        assert file.metadata() == about
    unpack(tmp_path / "half", tmp_path / "here")
    restored = read_state(tmp_path / "here", "denoiser")["average"]
    assert restored.keys() == average.keys()
    for name, value in average.items():
        torch.testing.assert_close(restored[name], value, rtol=0, atol=0)
    write_state(tmp_path / "there", "denoiser", 2_311, {"layer": torch.zeros(20)})
    pack(tmp_path / "there", tmp_path / "half")  # nothing of an earlier packing stays
    assert unpack(tmp_path / "half", tmp_path / "here") == {"denoiser": 2_311}


def test_more_files_than_may_travel_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(half_checkpoints, "MAX_SHARD_BYTES", 4)
    write_state(tmp_path, "vae", 1, {f"layer{i}": torch.zeros(2) for i in range(8)})
    with pytest.raises(ValueError, match="fill 9 files, and 8 may travel"):
        pack(tmp_path, tmp_path / "half")


def test_a_checkpoint_that_is_further_stays_and_a_new_vae_forgets_the_latents(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    for stage in ("vae", "clip"):
        write_state(there, stage, 10, {"weight": torch.ones(1)})
    write_state(here, "clip", 11, {"weight": torch.zeros(1)})
    write_state(here, "vae", 9, {"weight": torch.zeros(1)})
    (here / "latents.pt").touch()
    (there / "runs.jsonl").write_text('{"run": 1}\n{"run": 2}\n')
    (here / "runs.jsonl").write_text('{"run": 1}\n{"run": 3}\n')
    pack(there, tmp_path / "half")
    assert unpack(tmp_path / "half", here) == {"vae": 10}
    assert read_state(here, "clip")["step"] == 11
    assert not (here / "latents.pt").exists()
    runs = [json.loads(line)["run"] for line in (here / "runs.jsonl").read_text().splitlines()]
    assert runs == [1, 3, 2]
    (here / "latents.pt").touch()
    assert unpack(tmp_path / "half", here) == {}  # the same again changes nothing
    assert (here / "latents.pt").exists()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shards of one stage."""
    monkeypatch.setattr(half_checkpoints, "MAX_SHARD_BYTES", 40)
    write_state(tmp_path / "there", "vae", 7, {f"layer{i}": torch.zeros(20) for i in range(3)})
    pack(tmp_path / "there", tmp_path / "half")
    return tmp_path / "half"


def cut_short(folder: Path) -> None:
    path = folder / "vae-2-of-3.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def mix(folder: Path) -> None:
    write_state(folder.parent / "other", "vae", 8, {"layer0": torch.zeros(20)})
    pack(folder.parent / "other", folder.parent / "later")
    shutil.copy(folder.parent / "later/vae-1-of-1.safetensors", folder)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "vae-2-of-3.safetensors").unlink(), "vae-2-of-3.* is missing"),
        (lambda folder: (folder / "vae-3-of-3.safetensors").unlink(), "vae-3-of-3.* is missing"),
        (cut_short, "vae-2-of-3.* is damaged"),
        (lambda folder: (folder / "vae-1-of-3.safetensors").write_bytes(b""), "is damaged"),
        (lambda folder: (folder / "logs.json").write_text("{"), "logs.json is damaged"),
        (mix, "several packings, at steps 7, 8"),
        (shutil.rmtree, "holds no half checkpoints"),
    ],
)
def test_half_checkpoints_that_are_not_whole_are_refused_in_one_sentence(
    packed, tmp_path, harm, reason
):
    harm(packed)
    with pytest.raises(ModelError, match=reason) as refusal:
        unpack(packed, tmp_path / "here")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "here").exists()


def test_the_command_line_packs_unpacks_and_refuses(packed, tmp_path, capsys):
    half_checkpoints.main(["unpack", str(packed), str(tmp_path / "here")])
    assert capsys.readouterr().out == "vae goes on from step 7\n"
    half_checkpoints.main(["pack", str(tmp_path / "here"), str(tmp_path / "again")])
    assert len(list((tmp_path / "again").glob("vae-*"))) == 3
    cut_short(packed)
    with pytest.raises(SystemExit, match="is damaged"):
        half_checkpoints.main(["unpack", str(packed), str(tmp_path / "here")])


def lease(home: Path, out: Path, *options: str) -> None:
    """Run the script as on a new machine, with the half checkpoints in `home` carried along."""
    where = {"PYTHON": sys.executable, "WHEELS": str(home / "none"), "OUT": str(out)}
    folders = {"CHECKPOINTS": str(out.parent / f"{out.name}-work"), "HALF_CHECKPOINTS": str(home)}
    subprocess.run(
        ["sh", str(LEASE), "--device", "cpu", "--scenes", "8", *options],
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, **where, **folders},
    )


def test_a_second_lent_machine_goes_on_where_the_first_one_stopped(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    lease(tmp_path / "nothing", first, "--stages", "vae", "--scale", "0.00017")
    lease(first, second, "--stages", "vae", "--scale", "0.00025")
    for folder, step in ((first, 2), (second, 3)):
        with safe_open(folder / "vae-1-of-1.safetensors", "pt") as file:
            assert file.metadata()["step"] == str(step)
    logs = json.loads((second / "logs.json").read_text())
    assert len(logs["runs.jsonl"].splitlines()) == 2
    # Only steps that were taken are in the curve: step 0 by the first machine alone.
    assert [row["step"] for row in csv.DictReader(logs["vae.csv"].splitlines())] == ["0.0"]
