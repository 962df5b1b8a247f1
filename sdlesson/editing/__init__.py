"""A picture changed: redrawn, painted in, painted beyond, in between, enlarged, along an outline.

Each takes a pipeline, a PIL image, a prompt and a generator, and returns a PIL image. All are the
loop of lesson 02, begun somewhere else or asked of something else than the U-Net alone.
"""

from sdlesson.editing.control import (
    Controlled,
    draw_along,
    load_controlnet,
    outline,
    outline_kept,
)
from sdlesson.editing.inpainting import inpaint, outpaint
from sdlesson.editing.interpolating import interpolate, slerp
from sdlesson.editing.pictures import box_mask, shrink_to_fit
from sdlesson.editing.redrawing import DEFAULT_STRENGTH, image_to_image, redraw
from sdlesson.editing.upscaling import Tiled, upscale

__all__ = [
    "DEFAULT_STRENGTH",
    "Controlled",
    "Tiled",
    "box_mask",
    "draw_along",
    "image_to_image",
    "inpaint",
    "interpolate",
    "load_controlnet",
    "outline",
    "outline_kept",
    "outpaint",
    "redraw",
    "shrink_to_fit",
    "slerp",
    "upscale",
]
