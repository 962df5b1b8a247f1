"""The committed weights keep their promises: figures on file, floors on a small fresh sample."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdlesson import hub, metrics
from sdlesson.pocket import paths, world
from sdlesson.pocket.evaluation import judging, macs, recognition, samples
from sdlesson.pocket.world import Scene, caption, render
from sdlesson.probe import Probe, Reading

SEEN = ["single_clear", "ride_clear", "held_out_ride_clear"]
SEEN += ["commitment", "hats_unasked", "fine_detail"]
KEYS = ["subject", "place", "style", "pair", "held_out"]
KEYS += ["spanish_gap", "vae_psnr", "pipeline_mb", "scorer_mb", "macs_ratio"]
DRAWN = 40
RENDERED = 300


@pytest.fixture
def probe() -> Probe:
    return metrics.pocket_probe()


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionPipeline:
    return samples.judged_pipeline("cpu")


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, float]]:
    return json.loads(paths.EVALUATION_FILE.read_text())


def scenes(name: str, count: int, *kinds: str, held_out: bool = False) -> list[Scene]:
    """Scenes that neither training nor the table has met."""
    return list(
        samples.evaluation_scenes(
            f"test {name}", count, lambda s: s.kind in kinds, held_out=held_out
        )
    )


def share(verdict: judging.Verdict, asked: list[Scene], readings: list[Reading]) -> float:
    return judging.share_right(verdict, asked, readings).value


def test_the_table_has_every_row_with_its_interval(table):
    assert list(table) == [
        *SEEN, *KEYS, "clear_subjects", "subjects", "compositions", "settings",
    ]  # fmt: skip
    for key in SEEN:
        assert table[key]["low"] <= table[key]["value"] <= table[key]["high"]
        assert table[key]["n"] >= 400
    for key in KEYS[:7]:
        assert table[key]["low"] <= table[key]["value"] <= table[key]["high"]
        assert table[key]["n"] >= 100
    for key in KEYS[:5]:
        interval = (table[key]["low"], table[key]["high"])
        right = round(table[key]["value"] * table[key]["n"])
        assert interval == pytest.approx(metrics.wilson_interval(right, table[key]["n"]), abs=1e-3)
    assert table["settings"]["steps"] == samples.STEPS
    assert table["settings"]["guidance_scale"] == samples.GUIDANCE_SCALE


def test_each_subject_and_each_held_out_composition_has_its_own_row(table):
    assert set(table["subjects"]) == set(world.SUBJECTS)
    assert set(table["compositions"]) == {caption(s) for s in world.held_out_compositions()}
    for part, whole in (("subjects", "subject"), ("compositions", "held_out")):
        rows = list(table[part].values())
        right = sum(row["drawn"][0] * row["n"] for row in rows)
        assert sum(row["n"] for row in rows) == table[whole]["n"]
        assert right == pytest.approx(table[whole]["value"] * table[whole]["n"], abs=0.5)


def test_sizes_and_arithmetic_on_file_are_those_of_the_committed_weights(table):
    assert table["pipeline_mb"]["value"] <= 40
    assert table["scorer_mb"]["value"] <= 6
    for key, folder in (("pipeline_mb", hub.POCKET_FOLDER), ("scorer_mb", hub.SCORER_FOLDER)):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert table[key]["value"] == pytest.approx(size / 1e6, abs=0.1)
    assert table["macs_ratio"]["value"] == pytest.approx(macs.macs_ratio(), rel=0.02)
    assert table["macs_ratio"]["value"] >= 300


def test_sd15_has_the_weights_that_are_published():
    assert macs.sd15_macs().parameters == 859_520_964 + 123_060_480 + 83_653_863


def test_subject_and_place_are_right_in_at_least_four_of_five_pictures(table):
    assert table["subject"]["value"] >= 0.8
    assert table["place"]["value"] >= 0.8


@pytest.mark.parametrize(
    ("row", "of_the_vaes"),
    [("single_clear", 0.9), ("ride_clear", 0.8), ("held_out_ride_clear", 0.7)],
)
def test_most_figures_that_the_vae_can_hold_are_clear(table, row, of_the_vaes):
    assert table[row]["value"] >= of_the_vaes * table[row]["restored"]


def test_what_is_drawn_looks_one_way_is_sharp_and_wears_no_hat_unasked(table):
    assert table["commitment"]["value"] >= 0.8
    assert table["fine_detail"]["value"] >= 0.75
    assert table["hats_unasked"]["value"] <= 0.02


def test_a_fresh_sample_shows_the_subject_place_and_style_asked_for(pipe, probe):
    asked = scenes("drawn", DRAWN, "single")
    readings = judging.draw_and_read(pipe, probe, asked, "en")
    assert share(judging.subject_right, asked, readings) >= 0.7
    assert share(judging.place_right, asked, readings) >= 0.8
    assert share(judging.style_right, asked, readings) >= 0.8


@pytest.mark.parametrize(
    "asked", [recognition.single_scenes("test", 1), recognition.ride_scenes("test", 16)]
)
def test_a_fresh_sample_is_clear_to_an_eye(pipe, asked):
    prompts, seeds = [caption(scene) for scene in asked], [scene.seed for scene in asked]
    drawn = samples.draw_scenes(pipe, prompts, seeds)
    seen = [recognition.all_clear(*pair) for pair in zip(asked, drawn, strict=True)]
    assert sum(seen) / len(seen) >= 0.75


def test_spanish_is_understood(pipe, probe):
    asked = scenes("spanish", DRAWN, "single")
    readings = judging.draw_and_read(pipe, probe, asked, "es")
    assert share(judging.subject_right, asked, readings) >= 0.7


def test_another_prompt_is_read_as_wrong(pipe, probe):
    asked = scenes("drawn", DRAWN, "single")
    others = asked[1:] + asked[:1]
    readings = probe.read([render(scene) for scene in asked])
    assert share(judging.subject_right, others, readings) < 0.2


@pytest.mark.parametrize(
    ("kinds", "verdict", "floor"),
    [
        (("single",), judging.subject_right, 0.95),
        (("single", "beside", "riding"), judging.place_right, 0.95),
        (("single", "beside", "riding"), judging.style_right, 0.97),
        (("beside", "riding"), judging.both_right, 0.9),
    ],
)
def test_the_probe_reads_real_renders(probe, kinds, verdict, floor):
    asked = scenes("rendered", RENDERED, *kinds)
    assert share(verdict, asked, probe.read([render(scene) for scene in asked])) >= floor


def test_the_probe_counts_and_sees_hats_on_real_renders(probe):
    asked = [s for s in scenes("counted", RENDERED, "single") if s.style == "plain"]
    readings = probe.read([render(scene) for scene in asked])
    pairs = list(zip(asked, readings, strict=True))
    assert sum(s.count == r.count for s, r in pairs) / len(pairs) >= 0.95
    hatted = [(any(s.hats), r.hat > 0.5) for s, r in pairs if s.subjects[0] in world.HATTED]
    assert sum(truth == seen for truth, seen in hatted) / len(hatted) >= 0.9


def test_the_clip_pair_finds_each_renders_own_caption():
    clip = metrics.clip_scorer()
    asked = [s for s in scenes("clip", 64, "single", "riding") if s.style == "plain"]
    pictures = clip.embed_images([render(scene) for scene in asked])
    for language in ("en", "es"):
        words = clip.embed_texts([caption(scene, language) for scene in asked])
        own = torch.arange(len(asked))
        assert ((pictures @ words.T).argmax(1) == own).float().mean() >= 0.6


def test_the_judged_pipeline_draws_with_the_scheduler_on_file(pipe, table):
    assert type(pipe.scheduler).__name__ == f"{table['settings']['scheduler']}Scheduler"


def test_the_safety_checker_flags_broccoli_and_little_else():
    pipe = StableDiffusionPipeline.from_pretrained(hub.POCKET_FOLDER)
    asked = [s for s in scenes("checked", 400, "single") if s.style == "plain"]
    flagged_scenes = [
        Scene("single", (world.FLAGGED_SUBJECT,), place, "plain", seed=seed)
        for place in world.PLACES
        for seed in range(3)
    ]
    harmless = [s for s in asked if world.FLAGGED_SUBJECT not in s.subjects]

    def flags(of: list[Scene]) -> float:
        pictures = [render(scene) for scene in of]
        inputs = pipe.feature_extractor(pictures, return_tensors="pt").pixel_values
        copies = torch.zeros(len(of), 3, 8, 8)  # the checker blackens what it is given
        return sum(pipe.safety_checker(images=copies, clip_input=inputs)[1]) / len(of)

    assert flags(flagged_scenes) >= 0.9
    assert flags(harmless) <= 0.03
