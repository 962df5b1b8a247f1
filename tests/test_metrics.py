"""Figures are what their papers say, and are seen to lie where their docstrings say so."""

import colorsys
import hashlib
import json
import math
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from hub_server import HubServer, point_the_client_at
from sdlesson import downloads, hub, metrics
from sdlesson.images import to_pixels
from sdlesson.language import set_language
from sdlesson.metrics import Mean, Share, scorers, tables
from sdlesson.pocket.evaluation.judging import subject_right
from sdlesson.pocket.evaluation.samples import evaluation_scenes
from sdlesson.pocket.training.scorer import clip_pixels
from sdlesson.pocket.world import PLACES, Scene, caption, render

PAIRS = 24


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(evaluation_scenes("test metrics", PAIRS, lambda scene: True))


@pytest.fixture(scope="module")
def renders(scenes: list[Scene]) -> list[Image.Image]:
    return [render(scene) for scene in scenes]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        point_the_client_at(server.url, tmp_path / "cache", monkeypatch)
        yield server


# Shares and means


def test_wilson_gives_the_published_interval():
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20 and 1/29.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metrics.wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert metrics.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert metrics.wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_covers_the_truth_19_times_in_20_even_of_16_pictures():
    n, covered = 16, []
    intervals = [metrics.wilson_interval(k, n) for k in range(n + 1)]
    for p in np.linspace(0.01, 0.99, 99):
        chances = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        covered.append(
            sum(c for c, (low, high) in zip(chances, intervals, strict=True) if low <= p <= high)
        )
    assert 0.94 < sum(covered) / len(covered) < 0.97


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_cannot_be_counted(successes, n):
    with pytest.raises(ValueError, match="must be from 0 to n"):
        metrics.wilson_interval(successes, n)


@pytest.mark.parametrize(
    "flags",
    [
        [True, True, True, False],
        (n != 3 for n in range(4)),
        np.array([1, 1, 1, 0], dtype=bool),
        torch.tensor([True, True, True, False]),
    ],
    ids=["list", "generator", "numpy", "torch"],
)
def test_a_share_counts_whatever_is_true_or_false(flags):
    counted = metrics.share(flags)
    assert counted == Share(0.75, *metrics.wilson_interval(3, 4), 4)
    assert all(type(number) is float for number in counted[:3])


@pytest.mark.parametrize("flags", [[0.7, 0.2], ["yes"], [None], [math.nan], []])
def test_a_share_refuses_what_is_neither_true_nor_false_and_nothing_at_all(flags):
    with pytest.raises(ValueError, match=r"True or False|at least 1"):
        metrics.share(flags)


def test_a_share_and_a_mean_read_as_a_sentence_in_the_readers_language():
    counted, averaged = metrics.share([True] * 12 + [False] * 4), metrics.mean([1, 2, 3, 4, 5])
    assert f"{counted}" == repr(counted) == "75% (51 to 90%, n=16)"
    assert f"{averaged}" == repr(averaged) == "3 (1.04 to 4.96, n=5)"
    set_language("es")
    assert str(counted) == "75% (51 a 90%, n=16)"
    assert str(averaged) == "3 (1.04 a 4.96, n=5)"


@pytest.mark.parametrize(
    # Student's t, two-sided 95%, from the table in Abramowitz & Stegun 1964, page 990.
    ("n", "quantile"),
    [(2, 12.706), (4, 3.182), (6, 2.571), (11, 2.228), (21, 2.086), (61, 2.000), (1001, 1.962)],
)
def test_a_mean_has_students_interval(n, quantile):
    values = [float(i) for i in range(n)]
    middle, deviation = (n - 1) / 2, math.sqrt(n * (n + 1) / 12)
    averaged = metrics.mean(values)
    assert averaged.value == pytest.approx(middle)
    half = quantile * deviation / math.sqrt(n)
    assert averaged.high - middle == pytest.approx(half, rel=2e-3)
    assert middle - averaged.low == pytest.approx(half, rel=2e-3)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_a_mean_refuses_what_shows_no_spread(values):
    with pytest.raises(ValueError, match=r"a finite number|must be 2 or more"):
        metrics.mean(values)


# The probe and CLIP


def test_the_probe_reads_most_real_renders(scenes, renders):
    readings = metrics.pocket_probe().read(renders)
    pairs = list(zip(scenes, readings, strict=True))
    assert metrics.share(s.place == r.place for s, r in pairs).value >= 0.9
    singles = [(s, r) for s, r in pairs if s.kind == "single"]
    assert metrics.share(subject_right(s, r) for s, r in singles).value >= 0.8


def test_the_probe_answers_even_where_there_is_nothing_to_see():
    (reading,) = metrics.pocket_probe().read([Image.effect_noise((64, 64), 80)])
    assert reading.place
    assert reading.subjects


def test_probe_and_clip_are_loaded_once():
    assert metrics.pocket_probe() is metrics.pocket_probe()
    assert metrics.clip_scorer() is metrics.clip_scorer("pocket")


@pytest.mark.parametrize("load", [metrics.pocket_probe, scorers._load_clip])
def test_damaged_scorers_are_refused(load, monkeypatch, tmp_path):
    (tmp_path / "probe.safetensors").write_bytes(b"other")
    (tmp_path / downloads.CHECKSUM_FILE).write_text(f"{'0' * 64}  probe.safetensors\n")
    monkeypatch.setattr(hub, "SCORER_FOLDER", tmp_path)
    arguments = ("pocket",) if load is scorers._load_clip else ()
    with pytest.raises(downloads.ModelError, match="damaged"):
        load.__wrapped__(*arguments)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_picture_fits_its_own_caption_better_than_anothers(scenes, renders, language):
    captions = [caption(scene, language) for scene in scenes]
    own = metrics.clip_score(renders, captions)
    others = metrics.clip_score(renders, captions[1:] + captions[:1])
    assert sum(mine > other for mine, other in zip(own, others, strict=True)) >= PAIRS - 2
    assert all(0 <= score <= 100 for score in own + others)


def test_the_score_is_that_of_the_models_own_forward_pass(scenes, renders):
    clip = metrics.clip_scorer()
    captions = [caption(scene) for scene in scenes]
    inputs = clip.tokenizer(captions, padding=True, return_tensors="pt").to(clip.model.device)
    pixels = clip_pixels(to_pixels(renders)).to(clip.model.device)
    with torch.no_grad():
        output = clip.model(**inputs, pixel_values=pixels)
    cosines = (output.image_embeds * output.text_embeds).sum(1)
    scores = metrics.clip_score(renders, captions)
    torch.testing.assert_close(torch.tensor(scores) / 100, cosines.clamp(min=0).cpu())


def test_naming_counts_for_more_than_who_rides_whom():
    rides = list(evaluation_scenes("test rides", PAIRS, lambda s: s.kind == "riding"))
    pictures = [render(scene) for scene in rides]
    right = metrics.clip_score(pictures, [caption(s) for s in rides])
    swapped = metrics.clip_score(pictures, [_swapped(s) for s in rides])
    renamed = metrics.clip_score(pictures, [caption(s) for s in rides[1:] + rides[:1]])
    lost_by_swapping = np.mean(right) - np.mean(swapped)
    lost_by_renaming = np.mean(right) - np.mean(renamed)
    assert lost_by_swapping < lost_by_renaming / 3


def _swapped(scene: Scene) -> str:
    """The caption of the mount riding its rider."""
    return caption(replace(scene, subjects=scene.subjects[::-1], hats=scene.hats[::-1]))


def test_vectors_have_unit_length_and_do_not_depend_on_their_batch(scenes, renders):
    clip = metrics.clip_scorer()
    many = (renders * 2)[: scorers.BATCH + 3]
    texts = [caption(scene) for scene in scenes * 2][: scorers.BATCH + 3]
    for all_at_once, one in [
        (clip.embed_images(many), clip.embed_images(many[-1:])),
        (clip.embed_texts(texts), clip.embed_texts(texts[-1:])),
    ]:
        assert all_at_once.shape == (scorers.BATCH + 3, clip.model.config.projection_dim)
        torch.testing.assert_close(all_at_once.norm(dim=1), torch.ones(scorers.BATCH + 3))
        torch.testing.assert_close(all_at_once[-1:], one, atol=1e-4, rtol=0)


def test_a_text_longer_than_the_window_is_cut(renders):
    start = "a cat on the beach " * 20
    assert metrics.clip_score(renders[:1], start + "in space") == pytest.approx(
        metrics.clip_score(renders[:1], start)
    )
    assert metrics.clip_score(renders[:1], "")[0] >= 0


@pytest.mark.parametrize(("mode", "size"), [("L", (40, 300)), ("RGBA", (512, 512)), ("P", (1, 1))])
def test_a_picture_of_any_size_and_mode_can_be_scored(mode, size):
    (score,) = metrics.clip_score([Image.new(mode, size)], "a cat")
    assert 0 <= score <= 100


def test_one_prompt_serves_all_pictures_and_none_gives_none(renders):
    one = metrics.clip_score(renders[:3], "a cat")
    assert one == metrics.clip_score(renders[:3], ["a cat"] * 3)
    assert metrics.clip_score([], []) == []
    with pytest.raises(ValueError, match="2 prompts for 3 images"):
        metrics.clip_score(renders[:3], ["a cat", "a dog"])


def test_openais_clip_takes_the_same_call_and_comes_without_a_pickle(
    server: HubServer, tmp_path: Path, renders: list[Image.Image]
):
    name = scorers.OPENAI_CLIP.repo_id
    server.folders[name] = shutil.copytree(hub.SCORER_FOLDER / "clip", tmp_path / "clip")
    (tmp_path / "clip" / "pytorch_model.bin").write_bytes(b"a pickle")
    scores = metrics.clip_score(renders[:2], "a cat", scorer=name)
    assert scores == metrics.clip_score(renders[:2], "a cat", scorer="pocket")
    assert "clip/model.safetensors" in server.requested
    assert "clip/pytorch_model.bin" not in server.requested
    assert any(f"/resolve/{scorers.OPENAI_CLIP.revision}/" in r.path for r in server.requests)
    scorers._load_clip.cache_clear()


def test_a_clip_that_the_hub_does_not_have_is_a_sentence(server: HubServer):
    with pytest.raises(downloads.ModelError, match="ana/clip"):
        metrics.clip_scorer("ana/clip")


def test_a_clip_can_lie_in_a_folder(renders):
    folder = str(hub.SCORER_FOLDER / "clip")
    assert metrics.clip_score(renders[:1], "a cat", scorer=folder) == metrics.clip_score(
        renders[:1], "a cat"
    )
    with pytest.raises(downloads.ModelError, match="no CLIP"):
        metrics.clip_scorer(str(hub.POCKET_FOLDER))


@pytest.mark.network
@pytest.mark.gpu
def test_openais_own_clip_prefers_a_pictures_own_caption(scenes, renders):
    captions = [caption(scene) for scene in scenes]
    own = metrics.clip_score(renders, captions, scorer=scorers.OPENAI_CLIP.repo_id)
    others = metrics.clip_score(
        renders, captions[1:] + captions[:1], scorer=scorers.OPENAI_CLIP.repo_id
    )
    assert np.mean(own) > np.mean(others)


def test_pictures_of_one_prompt_are_less_diverse_than_pictures_of_many(scenes, renders):
    astronauts = [
        render(Scene("single", ("astronaut",), "mars", "plain", seed=seed)) for seed in range(8)
    ]
    assert metrics.diversity([renders[0]] * 3) == pytest.approx(0, abs=1e-6)
    assert 0 < metrics.diversity(astronauts) < metrics.diversity(renders[:8]) / 2
    with pytest.raises(ValueError, match="at least 2"):
        metrics.diversity(renders[:1])


def test_a_picture_is_most_like_references_of_its_own_subject():
    def pictures(subject: str, seeds: range) -> list[Image.Image]:
        scenes = [Scene("single", (subject,), PLACES[s % 8], "plain", seed=s) for s in seeds]
        return [render(scene) for scene in scenes]

    references = pictures("panda", range(8))
    pandas = metrics.image_similarity(pictures("panda", range(8, 16)), references)
    pizzas = metrics.image_similarity(pictures("pizza", range(8, 16)), references)
    assert len(pandas) == 8
    assert np.mean(pandas) > np.mean(pizzas) + 0.2


def test_similarity_is_the_mean_cosine_and_agrees_with_diversity(renders):
    assert metrics.image_similarity(renders[:1], renders[:1]) == pytest.approx([1], abs=1e-5)
    apart = metrics.image_similarity(renders[:1], [renders[1], renders[2]])
    each = [metrics.image_similarity(renders[:1], [other])[0] for other in renders[1:3]]
    assert apart == pytest.approx([np.mean(each)], abs=1e-5)
    assert 1 - metrics.diversity(renders[:2]) == pytest.approx(each[0], abs=1e-5)


def test_similarity_needs_references_and_of_no_picture_is_none(renders):
    assert metrics.image_similarity([], renders[:1]) == []
    with pytest.raises(ValueError, match="references"):
        metrics.image_similarity(renders[:1], [])


# The Fréchet distance


def _exactly(mean: Tensor, covariance: Tensor, n: int, seed: int) -> Tensor:
    """Features (n, D) whose sample mean and covariance are the given ones."""
    noise = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed)).double()
    noise -= noise.mean(0)
    white = noise @ torch.linalg.inv(torch.linalg.cholesky(noise.T.cov())).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def _gaussians(n: int, seed: int) -> tuple[Tensor, Tensor, float]:
    """Samples of two Gaussians in 24 dimensions, and the distance between the Gaussians."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.arange(1, 25).double() ** -0.5
    samples = torch.randn(2, n, 24, generator=generator).double() * scales
    truth = (0.1**2 * scales.square().sum() + (1.2 - 1) ** 2 * scales.square().sum()).item()
    return samples[0], 1.2 * samples[1] + 0.1 * scales, truth


def test_frechet_has_its_closed_form_on_a_line():
    ours = torch.tensor([[-1.0], [3.0]])  # mean 1, variance 8
    theirs = torch.tensor([[3.0], [4.0]])  # mean 3.5, variance 0.5
    assert metrics.frechet_distance(ours, theirs) == pytest.approx(
        (3.5 - 1) ** 2 + (math.sqrt(8) - math.sqrt(0.5)) ** 2
    )


def test_frechet_has_its_closed_form_where_covariances_do_not_commute():
    a = torch.tensor([[2.0, 0.6], [0.6, 1.0]]).double()
    b = torch.tensor([[1.0, -0.4], [-0.4, 3.0]]).double()
    assert not torch.allclose(a @ b, b @ a)
    mean = torch.tensor([0.5, -1.0]).double()
    # In two dimensions, trace (AB)^(1/2) = (trace AB + 2 det(AB)^(1/2))^(1/2): Cayley-Hamilton.
    cross = math.sqrt(torch.trace(a @ b) + 2 * math.sqrt(torch.det(a @ b)))
    truth = mean.square().sum() + torch.trace(a) + torch.trace(b) - 2 * cross
    ours, theirs = _exactly(mean, a, 60, 0), _exactly(0 * mean, b, 40, 1)
    assert metrics.frechet_distance(ours, theirs) == pytest.approx(truth.item())
    assert metrics.frechet_distance(theirs, ours) == pytest.approx(truth.item())


def test_frechet_is_stable_with_fewer_rows_than_dimensions():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 6, 96, generator=generator)
    assert metrics.frechet_distance(ours, ours) == pytest.approx(0, abs=1e-6)
    distance = metrics.frechet_distance(ours, theirs)
    assert math.isfinite(distance)
    assert distance == pytest.approx(metrics.frechet_distance(theirs, ours))
    moved = metrics.frechet_distance(ours, ours + 2)  # the same cloud, moved
    assert moved == pytest.approx(4 * 96, rel=1e-6)


def test_frechet_of_few_is_biased_and_the_bias_is_mended():
    plain, mended, truth = [], [], 0.0
    for seed in range(12):
        ours, theirs, truth = _gaussians(60, seed)
        plain.append(metrics.frechet_distance(ours, theirs))
        mended.append(metrics.unbiased_frechet_distance(ours, theirs))
    assert np.mean(plain) > 2 * truth
    averaged = metrics.mean(mended)
    assert averaged.low < truth < averaged.high
    assert averaged.high - averaged.low < (np.mean(plain) - truth) / 3, "the claim can fail"


def test_the_bias_falls_as_the_sample_grows_and_sizes_may_differ():
    few, many = _gaussians(60, 0), _gaussians(960, 1)
    assert metrics.frechet_distance(*few[:2]) > 1.5 * metrics.frechet_distance(*many[:2])
    mended = metrics.unbiased_frechet_distance(_gaussians(200, 2)[0], many[1])
    assert mended == pytest.approx(many[2], rel=0.35)


def test_real_scenes_are_no_distance_from_real_scenes_once_the_bias_is_mended():
    n = 300
    pictures = [render(scene) for scene in evaluation_scenes("test frechet", 2 * n, lambda s: True)]
    ours, theirs = metrics.clip_scorer().embed_images(pictures).split(n)
    plain, mended = (
        distance(ours, theirs)
        for distance in (metrics.frechet_distance, metrics.unbiased_frechet_distance)
    )
    assert abs(mended) < plain / 3
    blurred = [picture.filter(ImageFilter.GaussianBlur(3)) for picture in pictures[:n]]
    of_blurred = metrics.clip_scorer().embed_images(blurred)
    assert metrics.unbiased_frechet_distance(of_blurred, theirs) > 3 * abs(mended)


def test_unbiased_frechet_repeats_and_refuses_sets_that_are_too_small():
    ours, theirs, _ = _gaussians(60, 0)
    first = metrics.unbiased_frechet_distance(ours, theirs)
    assert first == metrics.unbiased_frechet_distance(ours, theirs)
    with pytest.raises(ValueError, match="give 48 pictures or more"):
        metrics.unbiased_frechet_distance(ours[:47], theirs)


@pytest.mark.parametrize("shape", [(1, 3), (5, 4), (5,)])
def test_frechet_refuses_shapes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"must be \(N, D\)"):
        metrics.frechet_distance(torch.zeros(5, 3), torch.zeros(shape))


# Pixels


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((128, 128, 128), (0, 0, 0)),
        ((0, 0, 0), (0, 1, 0)),
        ((255, 255, 255), (0, 1, 0)),
        ((254, 127, 127), (0.5, 0, 0)),
        ((255, 0, 0), (1, 1, 0)),
    ],
)
def test_flat_pictures_have_the_statistics_of_their_colour(colour, expected):
    image = Image.new("RGB", (4, 4), colour)
    assert metrics.pixel_statistics(image) == pytest.approx(expected, abs=1e-9)


def test_black_and_white_halves_have_the_most_contrast():
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 4, 8))
    assert metrics.pixel_statistics(image) == pytest.approx((0, 1, 0.5))


def test_saturation_and_luma_are_those_of_colorsys_and_pillow():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    found = metrics.pixel_statistics(image)
    reference = [colorsys.rgb_to_hsv(*pixel / 255)[1] for pixel in noise.reshape(-1, 3)]
    assert found.saturation == pytest.approx(np.mean(reference))
    assert found.contrast == pytest.approx(np.asarray(image.convert("L")).std() / 255, abs=1e-3)


def test_an_overshot_picture_is_clipped_and_has_more_contrast(scenes, renders):
    plain = [im for s, im in zip(scenes, renders, strict=True) if s.style == "plain"]
    overshot = [image.point(lambda level: 128 + 2 * (level - 128)) for image in plain]

    def average(images: list[Image.Image]) -> np.ndarray:
        return np.mean([metrics.pixel_statistics(image) for image in images], 0)

    before, after = average(plain), average(overshot)
    assert before[1] < 0.15
    assert after[1] > 3 * before[1]
    assert after[2] > 1.3 * before[2]
    assert after[0] > before[0]


def test_real_pixel_art_is_clipped_though_nothing_is_broken():
    styles = {
        style: metrics.mean(
            metrics.pixel_statistics(render(Scene("single", ("fox",), place, style))).clipped
            for place in PLACES
        ).value
        for style in ("plain", "pixel")
    }
    assert styles["pixel"] > 2 * styles["plain"]


# Committed tables


@pytest.fixture
def rows() -> list[dict[str, object]]:
    places = {1: metrics.share([True, False]), 5: metrics.share([True] * 5 + [False])}
    return [{"guidance_scale": g, "place": places[g], "clip": Mean(g, 0, 9, 7)} for g in places]


@pytest.fixture
def table(rows, tmp_path) -> metrics.Table:
    headings = {"place": ("place right", "lugar correcto")}
    metrics.write_table("guidance", rows, 6, headings=headings, device="CPU", folder=tmp_path)
    return metrics.measured("guidance", folder=tmp_path)


def test_a_table_comes_back_as_it_was_written(table, rows):
    assert table.column("guidance_scale") == [1, 5]
    for found, written in zip(table.column("place"), rows, strict=True):
        assert isinstance(found, Share)
        assert found == pytest.approx(written["place"], abs=1e-6)
    assert table.column("clip") == [Mean(1, 0, 9, 7), Mean(5, 0, 9, 7)]
    assert (table.name, table.n, table.device) == ("guidance", 6, "CPU")
    assert table.date.startswith("20")
    assert not table.stale


def test_a_file_has_a_line_a_row_and_figures_of_plain_numbers(table, tmp_path):
    text = (tmp_path / "guidance.json").read_text(encoding="utf-8")
    assert '    {"guidance_scale": 5, "place": [0.833333, 0.436497, 0.969947, 6], ' in text
    assert json.loads(text)["rows"][0]["clip"] == [1, 0, 9, 7]
    assert text.endswith("\n")


def test_a_column_may_lack_a_figure(tmp_path):
    rows = [{"real": ""}, {"real": metrics.share([True])}]
    metrics.write_table("x", rows, 1, folder=tmp_path)
    missing, counted = metrics.measured("x", folder=tmp_path).column("real")
    assert missing == ""
    assert isinstance(counted, Share)


def test_three_plain_numbers_are_a_figure_over_the_tables_n(tmp_path):
    metrics.write_table("steps", [{"steps": 1, "psnr": [2, 1.5, 2.5]}], 40, folder=tmp_path)
    assert metrics.measured("steps", folder=tmp_path).column("psnr") == [Mean(2, 1.5, 2.5, 40)]


def test_a_table_is_shown_in_the_readers_language(table):
    shown = table._repr_html_()
    assert "<th>guidance scale</th><th>place right</th>" in shown
    assert "<td><b>83%</b> <small>(44 to 97%)</small></td>" in shown
    assert "6 pictures a row" in shown
    assert "<small>(0 to 9, n=7)</small>" in shown, "a figure over another n says so"
    set_language("es")
    shown = table._repr_html_()
    assert "<th>lugar correcto</th>" in shown
    assert "<small>(44 a 97%)</small>" in shown
    assert "6 imágenes por fila" in shown
    assert "guidance: 2" in repr(table)


def test_a_table_shows_the_words_of_its_first_column_in_one_language(tmp_path):
    rows = [{"prompt": "a cat", "spanish": "un gato", "right": metrics.share([True])}]
    metrics.write_table("x", rows, 1, folder=tmp_path)
    table = metrics.measured("x", folder=tmp_path)
    shown = table._repr_html_()
    assert "<td>a cat</td>" in shown
    assert "un gato" not in shown
    set_language("es")
    shown = table._repr_html_()
    assert "<td>un gato</td>" in shown
    assert "a cat" not in shown
    assert shown.count("<th>") == 2


@pytest.mark.parametrize("name", ["details", "counting", "bias", "held_out", "editing_strength"])
def test_what_a_row_is_about_stands_in_both_languages(name):
    for row in metrics.measured(name).rows:
        assert list(row)[1] == "spanish"
        assert not re.search(r"\b(the|an|two|pencil|monet)\b", row["spanish"]), row


def test_a_table_of_earlier_weights_says_so(table, tmp_path, monkeypatch):
    assert "earlier weights" not in table._repr_html_()
    (tmp_path / downloads.CHECKSUM_FILE).write_text("other weights")
    monkeypatch.setattr(hub, "POCKET_FOLDER", tmp_path)
    assert table.stale
    assert "earlier weights" in table._repr_html_()
    set_language("es")
    assert "pesos anteriores" in table._repr_html_()


def test_what_stands_in_a_table_cannot_inject_html(tmp_path):
    metrics.write_table("x", [{"<a>": "<b>"}], 1, device="<i>", folder=tmp_path)
    shown = metrics.measured("x", folder=tmp_path)._repr_html_()
    for tag in ("a", "b", "i"):
        assert f"<{tag}>" not in shown
        assert f"&lt;{tag}&gt;" in shown


@pytest.mark.parametrize(
    "bad", [[], [{"a": 1}, {"b": 1}], [{"a": math.nan}], [{"a": Mean(1, math.nan, 2, 3)}]]
)
def test_a_table_that_could_not_be_read_is_not_written(bad, tmp_path):
    with pytest.raises(ValueError, match=r"same columns|JSON compliant"):
        metrics.write_table("x", bad, 1, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_table_or_column_is_answered_with_those_there_are(table, tmp_path):
    with pytest.raises(ValueError, match="there are guidance"):
        metrics.measured("guidence", folder=tmp_path)
    with pytest.raises(ValueError, match="guidance_scale, place, clip"):
        table.column("subject")


FEWER = {
    # These train, or are timed.
    "dreambooth": 48, "dreambooth_steps": 48, "bot_batching": 64, "bot_workers": 5,
    # Measured in passing; the next weights get all of their pictures.
    "schedulers": 96, "overshoot": 96,
    "hats": 64, "counting": 64, "held_out": 64, "languages": 64, "bias": 64, "details": 64,
    "editing_leak": 48, "editing_control": 96, "editing_seams": 48, "editing_strength": 48,
}  # fmt: skip
"""Pictures a row, of tables that have fewer than a hundred."""


def test_no_committed_table_is_stale():
    names = sorted(path.stem for path in tables.MEASURED_FOLDER.glob("*.json"))
    stale = [name for name in names if metrics.measured(name).stale]
    assert not stale, "the pocket model's weights have changed: run `make bench` and commit these"
    for name in names:
        opened = metrics.measured(name)
        assert opened.name == name
        assert opened.n >= FEWER.get(name, 100)
        assert opened._repr_html_()


def test_the_digest_is_that_of_the_command_line():
    record = (hub.POCKET_FOLDER / downloads.CHECKSUM_FILE).read_bytes()
    assert tables.weights_digest() == hashlib.sha256(record).hexdigest()[:12]


def test_a_paired_change_is_shown_where_intervals_side_by_side_still_overlap():
    before = [True] * 26 + [False] * 14
    after = [True] * 36 + [False] * 4  # ten more, and none lost
    first, second = metrics.share(before), metrics.share(after)
    assert first.high > second.low, "side by side they overlap"
    change = metrics.share_change(after, before)
    assert change.value == pytest.approx(10 / 40)
    assert change.low > 0


def test_pairs_that_agree_do_not_move_a_change_and_turning_it_round_turns_its_sign():
    gained, lost = [True, False, False], [False, True, True]
    change = metrics.share_change(gained + [True] * 9, lost + [True] * 9)
    back = metrics.share_change(lost + [True] * 9, gained + [True] * 9)
    assert change.value == pytest.approx(-1 / 12)
    assert (change.low, change.high) == pytest.approx((-back.high, -back.low))


def test_no_change_at_all_has_an_interval_that_narrows_with_the_pairs():
    few, many = (metrics.share_change([True] * n, [True] * n) for n in (8, 200))
    assert few.value == many.value == 0
    assert few.low < -0.1 < -0.02 < many.low < 0 < many.high < 0.02


def test_the_interval_of_a_change_covers_the_truth_about_19_times_in_20():
    rng = random.Random(0)
    gain, loss, n, hits = 0.25, 0.05, 40, 0
    for _ in range(2000):
        kinds = rng.choices(["gain", "loss", "same"], [gain, loss, 1 - gain - loss], k=n)
        after = [kind != "loss" for kind in kinds]
        before = [kind != "gain" for kind in kinds]
        change = metrics.share_change(after, before)
        hits += change.low <= gain - loss <= change.high
    assert 0.93 < hits / 2000 < 0.98


def test_a_mean_change_takes_each_value_with_its_own_pair():
    change = metrics.mean_change([1.1, 5.1, 9.1, 3.1], [1.0, 5.0, 9.0, 3.0])
    assert change.value == pytest.approx(0.1)
    assert change.high - change.low < 1e-6 < 0.1 < metrics.mean([1.0, 5.0, 9.0, 3.0]).high - 4.5


@pytest.mark.parametrize("change", [metrics.share_change, metrics.mean_change])
def test_a_change_refuses_lists_that_are_not_pairs(change):
    with pytest.raises(ValueError, match="give one of each pair in both lists"):
        change([True, False, True], [True])
    with pytest.raises(ValueError, match="0 values against 0"):
        change([], [])


def test_a_seam_that_is_only_blurred_is_one_over_several_pixels() -> None:
    noise = Image.effect_noise((64, 64), 20)
    steep = np.clip((np.arange(64) - 28) * 12, 0, 96)[None] + np.asarray(noise, float) / 2
    blurred = Image.fromarray(steep.clip(0, 255).astype(np.uint8))
    assert metrics.seam_ratio(blurred, column=32) < 2
    assert metrics.seam_ratio(blurred, column=32, span=8) > 4
    assert metrics.seam_ratio(noise, column=32, span=8) == pytest.approx(1, abs=0.3)
    for wrong in (0, 1.5, 65):
        with pytest.raises(ValueError, match="must be a whole number from 1 to 64"):
            metrics.seam_ratio(noise, column=32, span=wrong)
    with pytest.raises(ValueError, match="leaves no step that does not cross the seam"):
        metrics.seam_ratio(noise, column=32, span=40)


def test_a_seam_is_told_from_the_pictures_own_steps() -> None:
    levels = np.random.default_rng(0).integers(100, 120, (40, 60, 3)).astype(np.uint8)
    smooth = Image.fromarray(levels)
    assert metrics.seam_ratio(smooth, column=30) == pytest.approx(1, abs=0.2)
    levels[:, 30:] += 100
    cut = Image.fromarray(levels)
    assert metrics.seam_ratio(cut, column=30) > 10
    assert metrics.seam_ratio(cut.transpose(Image.Transpose.TRANSPOSE), row=30) > 10
    assert metrics.seam_ratio(cut, column=31) < 1
    for where in ({}, {"column": 1, "row": 1}, {"column": 0}, {"column": 60}, {"row": 40}):
        with pytest.raises(ValueError, match=r"column= or row=|must be a whole number from 1"):
            metrics.seam_ratio(cut, **where)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_frechet_refuses_numbers_that_are_none(broken: float) -> None:
    features = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="NaN or infinities"):
        metrics.frechet_distance(torch.full((3, 2), broken), features)
