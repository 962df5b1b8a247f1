"""Schedulers as paths in a plane, where the noise of every point is known exactly.

A picture of the pocket model is a point in 1024 dimensions, which nobody can draw. Here pictures
are points in two, gathered around a few spots, and no network has to guess: the mean noise in a
point follows from the formula, so what differs between two paths is the scheduler alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import matplotlib
import torch
from diffusers import DDIMScheduler, SchedulerMixin
from matplotlib.axes import Axes
from torch import Generator, Tensor

from sdlesson.diffusion import alpha_bar_at, guide
from sdlesson.figures.charts import COLOURS, FAINT, INK, STYLE, Chart
from sdlesson.language import say

SPOTS = ((0.0, 0.95), (-0.95, -0.55), (0.95, -0.55), (0.15, -0.35))
"""Where the pictures of this small world are."""
SPREAD = 0.13
START = (-1.2, -0.9)
MANY_STEPS = 250
PANEL_INCHES, HEIGHT = 2.1, 1.25  # how wide a panel is, and how many times as high
X_LIMITS, Y_LIMITS = (-1.75, 1.45), (-1.15, 2.85)
NOISE_SEED = 3


def known_noise(
    points: Tensor, alpha_bar: Tensor, spots: Sequence[tuple[float, float]] = SPOTS
) -> Tensor:
    """The mean noise in points of the plane, (N, 2), which a perfect U-Net would name.

    Around each spot the data are normal, so under noise they still are, and the mean clean point
    behind a noisy one is a weighted sum over the spots.
    """
    centres = alpha_bar.sqrt() * torch.tensor(spots, dtype=points.dtype)  # (K, 2)
    variance = alpha_bar * SPREAD**2 + 1 - alpha_bar
    away = points[:, None] - centres  # (N, K, 2)
    weights = (-(away**2).sum(-1) / (2 * variance)).softmax(-1)  # (N, K)
    return (1 - alpha_bar).sqrt() * (weights[..., None] * away).sum(1) / variance


def trajectory(
    scheduler: SchedulerMixin,
    steps: int,
    *,
    guidance_scale: float = 1.0,
    start: Sequence[float] = START,
) -> Tensor:
    """Walk from a noisy point to a clean one, (steps + 1, 2): where the walk was at each step."""
    scheduler = deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    point = torch.tensor([start], dtype=torch.float64) * scheduler.init_noise_sigma
    generator = Generator("cpu").manual_seed(NOISE_SEED)  # for a scheduler that adds noise
    passed = []
    for index, timestep in enumerate(scheduler.timesteps):
        shown = scheduler.scale_model_input(point, timestep)
        passed.append(shown)
        alpha_bar = alpha_bar_at(scheduler, index)
        asked = known_noise(shown, alpha_bar, SPOTS[:1])  # the prompt asks for the first spot
        noise = guide(known_noise(shown, alpha_bar), asked, guidance_scale)
        options = {"generator": generator} if "Ancestral" in type(scheduler).__name__ else {}
        point = scheduler.step(noise, timestep, point, **options).prev_sample
    return torch.cat([*passed, point])


def scheduler_paths(
    schedulers: Mapping[str, SchedulerMixin],
    steps: int = 5,
    *,
    guidance_scales: Sequence[float] = (1.0, 5.0),
    title: str = "",
) -> Chart:
    """Draw each scheduler's path from the same noise, over the path of very many steps.

    Args:
        schedulers: By the name that stands over their column.
        steps: How many each may take.
        guidance_scales: One row for each; the prompt asks for the spot at the top.
        title: What there is to see.
    """
    size = (len(schedulers) * PANEL_INCHES, len(guidance_scales) * PANEL_INCHES * HEIGHT + 0.8)
    with matplotlib.rc_context(STYLE):
        chart = Chart(size)
        grid = chart.subplots(len(guidance_scales), len(schedulers), squeeze=False)
        for row, (panels, scale) in enumerate(zip(grid, guidance_scales, strict=True)):
            ddim = DDIMScheduler.from_config(next(iter(schedulers.values())).config)
            many = trajectory(ddim, MANY_STEPS, guidance_scale=scale)
            for axes, (name, scheduler) in zip(panels, schedulers.items(), strict=True):
                walked = trajectory(scheduler, steps, guidance_scale=scale)
                _draw_path(axes, walked, many)
                if row == 0:
                    axes.set_title(name, fontsize=12, fontweight="bold")
            panels[0].set_ylabel(f"{say('guidance', 'guía')} {scale:g}", fontsize=12)
        legend = say(
            "discs: where pictures are · grey: very many steps · star: where this path ends",
            "discos: donde hay imágenes · gris: muchísimos pasos · estrella: el final de este",
        )
        chart.text(0.5, 0.02, legend, ha="center", color="#666666", fontsize=10.5)
        chart.suptitle(title, fontsize=13, fontweight="bold", color=INK)
        chart.subplots_adjust(
            left=0.05, right=0.99, bottom=0.08, top=0.86, wspace=0.04, hspace=0.04
        )
        return chart


def _draw_path(axes: Axes, walked: Tensor, many: Tensor) -> None:
    xs, ys = zip(*SPOTS, strict=True)
    axes.scatter(xs, ys, s=330, color=FAINT, linewidths=0)
    axes.plot(*many.T, color="#9a9a9a", linewidth=5, alpha=0.5, solid_capstyle="round")
    axes.plot(*walked.T, color=COLOURS[0], marker="o", markersize=4.5, linewidth=2)
    axes.plot(*walked[-1], color=COLOURS[1], marker="*", markersize=15)
    axes.set(xlim=X_LIMITS, ylim=Y_LIMITS, aspect="equal", xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
