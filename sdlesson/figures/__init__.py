"""Show what was measured, and why: curves, bars, strips, animations, diagrams."""

from sdlesson.figures.charts import Chart, bars, curves
from sdlesson.figures.diagrams import (
    equation,
    guidance_arrow,
    heat_maps,
    pipeline_diagram,
    unet_diagram,
)
from sdlesson.figures.strips import Animation, animation, enlarged, grid, strip

__all__ = [
    "Animation",
    "Chart",
    "animation",
    "bars",
    "curves",
    "enlarged",
    "equation",
    "grid",
    "guidance_arrow",
    "heat_maps",
    "pipeline_diagram",
    "strip",
    "unet_diagram",
]
