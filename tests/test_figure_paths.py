import math

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from sdlesson import figures
from sdlesson.figures.finetuning import dreambooth_batch, lora_matrices
from sdlesson.figures.paths import SPOTS, SPREAD, known_noise, scheduler_paths, trajectory

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture
def ddim():
    return DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


@pytest.fixture
def pndm():
    return PNDMScheduler(**SCHEDULE, skip_prk_steps=True, steps_offset=1)


def texts(chart):
    return [text.get_text() for text in chart.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_the_known_noise_is_the_mean_of_the_noise_that_leads_to_a_point():
    generator = torch.Generator().manual_seed(0)
    alpha_bar = torch.tensor(0.3, dtype=torch.float64)
    kinds = torch.randint(len(SPOTS), (400_000,), generator=generator)
    noise = torch.randn((2, len(kinds), 2), generator=generator, dtype=torch.float64)
    clean = torch.tensor(SPOTS, dtype=torch.float64)[kinds] + SPREAD * noise[0]
    noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise[1]
    point = torch.tensor([0.4, -0.5], dtype=torch.float64)
    near = (noisy - point).norm(dim=1) < 0.1
    sampled = noise[1][near].mean(0)
    torch.testing.assert_close(known_noise(point[None], alpha_bar)[0], sampled, atol=0.03, rtol=0)


def test_a_path_of_many_steps_ends_where_pictures_are(ddim):
    *_, end = trajectory(ddim, 250)
    assert min(math.dist(end.tolist(), spot) for spot in SPOTS) < 3 * SPREAD


def test_more_steps_come_nearer_to_the_path_of_very_many(ddim):
    *_, goal = trajectory(ddim, 500)
    far, near = (float((trajectory(ddim, steps)[-1] - goal).norm()) for steps in (5, 50))
    assert near < far / 3


def test_guidance_throws_a_scheduler_off_that_leans_on_earlier_steps(ddim, pndm):
    def miss(scheduler, scale):
        goal = trajectory(ddim, 250, guidance_scale=scale)[-1]
        return float((trajectory(scheduler, 5, guidance_scale=scale)[-1] - goal).norm())

    assert miss(pndm, 1) < miss(ddim, 1), "without guidance, its history helps it"
    assert miss(pndm, 5) > 5 * miss(ddim, 5)


def test_paths_leave_the_scheduler_as_it_was(pndm):
    pndm.set_timesteps(7)
    before = pndm.timesteps.tolist()
    trajectory(pndm, 5)
    assert pndm.timesteps.tolist() == before
    assert pndm.ets == []


def test_every_scheduler_has_a_panel_for_each_guidance(ddim, pndm):
    chart = scheduler_paths({"DDIM": ddim, "PNDM": pndm}, 5, guidance_scales=(1, 5), title="Paths")
    assert len(chart.axes) == 4
    assert {"DDIM", "PNDM", "Paths", "guidance 1", "guidance 5"} <= set(texts(chart))
    assert isinstance(chart, figures.Chart)


def test_a_batch_needs_a_noisy_picture_for_each():
    tile = Image.new("RGB", (8, 8))
    with pytest.raises(ValueError, match="3 noisy pictures for 4"):
        dreambooth_batch([tile] * 2, [tile] * 2, noisy=[tile] * 3, words=("a", "b"))


def test_a_batch_shows_its_pictures_over_their_noise_and_its_loss():
    colours = ["red", "green", "blue", "white"]
    tiles = [Image.new("RGB", (8, 8), colour) for colour in colours]
    chart = dreambooth_batch(tiles[:2], tiles[2:], noisy=tiles[::-1], words=("zwx", "robot"))
    shown = [axes.images[0].get_array()[0, 0].tolist() for axes in chart.axes]
    assert shown == [list(tile.getpixel((0, 0))) for tile in tiles + tiles[::-1]]
    assert "prior_weight × mean error" in texts(chart)


def test_the_matrices_of_a_lora_are_drawn_to_scale_with_their_numbers():
    A, B = torch.randn(16, 160), torch.randn(128, 16)
    chart = lora_matrices(torch.randn(128, 160), A, B)
    FigureCanvasAgg(chart).draw()
    boxes = [axes.get_window_extent() for axes in chart.axes]
    w, b, a, product = boxes
    assert (w.width, w.height) == pytest.approx((product.width, product.height))
    assert a.height / w.height == pytest.approx(16 / 128, rel=0.05)
    assert a.width == pytest.approx(w.width)
    assert b.height == pytest.approx(w.height)
    assert "BA  (128, 160)\n20,480\nas large as W" in texts(chart)
