"""Control: a ControlNet shows the U-Net an outline, and the picture follows it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from PIL import Image, ImageFilter
from torch import Generator, Tensor

from sdlesson import downloads, hub
from sdlesson.copies import check_loaded
from sdlesson.diffusion import NoisePredictor, denoise
from sdlesson.editing.pictures import (
    Report,
    check_room,
    decode_edit,
    padded_pixels,
    picture_to_edit,
)
from sdlesson.pipelines import DTYPE_ARGUMENT, is_pocket
from sdlesson.settings import DEFAULT_STEPS, check_function, is_number, list_texts

MAX_SCALE = 2
"""How much of what a ControlNet says may be added; beyond it the picture breaks up."""
EDGE = 0.1
"""How steep a change of colour counts as an edge, in [0, 1] a pixel."""


def outline(image: Image.Image, *, edge: float = EDGE) -> Image.Image:
    """Draw the edges of a picture in white on black, one or two pixels wide.

    The first steps of Canny's method: blur, slopes, and of each slope its steepest pixels.

    Args:
        image: Of any mode and size.
        edge: The lower, the more lines.

    Raises:
        ValueError: The picture cannot be read, or the edge is outside its range.

    Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851, without its hysteresis.
    """
    if not is_number(edge) or not 0 < edge <= 1:
        raise ValueError(f"edge={edge!r} must be a number above 0 and at most 1; try {EDGE}")
    blurred = picture_to_edit(image).filter(ImageFilter.GaussianBlur(1))
    levels = np.asarray(blurred, dtype=np.float32) / 255
    down, across = np.gradient(levels, axis=(0, 1))  # (H, W, 3)
    slope = np.hypot(down, across)
    channel = slope.argmax(2)[..., None]
    steepest, down, across = (
        np.take_along_axis(values, channel, 2)[..., 0] for values in (slope, down, across)
    )
    padded = np.pad(steepest, 1)
    beside = np.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
    above = np.maximum(padded[:-2, 1:-1], padded[2:, 1:-1])
    neighbours = np.where(np.abs(across) > np.abs(down), beside, above)
    lines = (steepest > edge) & (steepest >= neighbours)
    return Image.fromarray(np.where(lines, 255, 0).astype(np.uint8)).convert("RGB")


def outline_kept(lines: Image.Image, image: Image.Image) -> float:
    """Say which share of an outline a picture has, as an edge of its own at most 2 pixels away.

    Raises:
        ValueError: The two are not of one size, or the outline has no line.
    """
    lines = picture_to_edit(lines)  # upright, as the picture's own outline is
    wanted = np.asarray(lines.convert("L")) >= 128
    edges = outline(image).filter(ImageFilter.MaxFilter(5)).convert("L")
    if edges.size != lines.size or not wanted.any():
        raise ValueError(
            f"the outline is {lines.size} and the picture {edges.size}; take one size, and an "
            "outline with a line in it"
        )
    return float((np.asarray(edges)[wanted] > 0).mean())


def load_controlnet(
    pipe: StableDiffusionPipeline, folder: str | os.PathLike[str] | None = None
) -> ControlNetModel:
    """Load the ControlNet for outlines that belongs to a pipeline, in its dtype, on its device.

    Args:
        pipe: The pocket model, or Stable Diffusion 1.5.
        folder: Another ControlNet, as `save_pretrained` wrote it.

    Raises:
        ModelError: It cannot be had, or is damaged.
    """
    if folder is None and is_pocket(check_loaded(pipe)):
        if not hub.CONTROL_FOLDER.is_dir():
            raise downloads.ModelError(
                "the pocket model's ControlNet is not here; train it: "
                "python -m sdlesson.pocket.training.controlnet"
            )
        downloads.verify_folder(hub.CONTROL_FOLDER)
        folder = hub.CONTROL_FOLDER
    if not isinstance(folder, str | os.PathLike | None) or folder == "":
        raise downloads.ModelError(f"folder={folder!r} must be the path of a folder")
    half = check_loaded(pipe).unet.dtype == torch.float16
    folder = hub.download_controlnet(half=half) if folder is None else Path(folder)
    if not hub.is_folder(os.fspath(folder)):
        raise downloads.ModelError(f"there is no folder {str(folder)!a}; check its name")
    hub.check_parts(folder)
    try:
        controlnet = ControlNetModel.from_pretrained(
            folder,
            variant=hub.controlnet_variant(folder, half=half),
            use_safetensors=True,
            **{DTYPE_ARGUMENT: pipe.unet.dtype},
        ).to(pipe.unet.device)
    except Exception as error:  # libraries read these files, each with errors of its own
        raise downloads.ModelError(
            f"{folder} holds no ControlNet that loads ({str(error).splitlines()[0]})"
        ) from error
    return controlnet.eval().requires_grad_(False)


class Controlled:
    """A U-Net with a ControlNet at its side, to be asked like the U-Net alone.

    The ControlNet is a copy of the U-Net's first half. It reads the same noisy latents, and the
    outline; what it makes of them is added to what the U-Net's own first half hands on to the
    second. It goes through convolutions that are zero before training, so at first it adds nothing.

    Source: Zhang et al. 2023, section 3.1, arXiv:2302.05543.
    """

    def __init__(
        self,
        unet: NoisePredictor,
        controlnet: ControlNetModel,
        lines: Tensor,
        scale: float = 1.0,
    ) -> None:
        """Take an outline as pixels in [0, 1], (1, 3, H, W) or one for each picture."""
        self.unet, self.controlnet, self.scale = unet, controlnet, scale
        self.lines = lines.to(controlnet.device, controlnet.dtype)

    def __call__(
        self, model_input: Tensor, timestep: Tensor, *, encoder_hidden_states: Tensor
    ) -> UNet2DConditionOutput:
        """Predict the noise as the U-Net does when the ControlNet whispers to it."""
        repeats = len(model_input) // len(self.lines)  # with guidance, the batch comes twice
        down, middle = self.controlnet(
            model_input,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            controlnet_cond=self.lines.repeat(repeats, 1, 1, 1),
            conditioning_scale=self.scale,
            return_dict=False,
        )
        return self.unet(
            model_input,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )


def draw_along(
    pipe: StableDiffusionPipeline,
    lines: Image.Image,
    prompt: str,
    *,
    controlnet: ControlNetModel,
    scale: float = 1.0,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = DEFAULT_STEPS,
    generator: Generator | None = None,
    report: Report = print,
) -> Image.Image:
    """Draw a prompt along an outline, as large as the outline is.

    Args:
        pipe: Any pipeline of Stable Diffusion's first generation.
        lines: White on black, as `outline` makes them or as you draw them.
        prompt: What the picture shows.
        controlnet: One that was trained for this pipeline's U-Net.
        scale: How much of what the ControlNet says is added; 0 is nothing.
        negative_prompt: What to keep out.
        guidance_scale: How closely to follow the prompt; 1.0 is no guidance.
        num_inference_steps: How many times noise is removed.
        generator: By default a new one on the CPU, which makes the same noise at each call.
        report: Is told if the safety checker flags the picture, which is then black.

    Raises:
        ValueError: The outline cannot be used, or a setting is outside its range.
    """
    picture = picture_to_edit(lines)
    check_room(pipe, picture.size)
    check_function(report=report)
    _check_fits(pipe, controlnet)
    if len(list_texts(prompt=prompt)) != 1:
        raise ValueError(f"{len(prompt)} prompts for 1 outline; draw them one after the other")
    if not is_number(scale) or not 0 <= scale <= MAX_SCALE:
        raise ValueError(f"scale={scale!r} must be a number from 0 to {MAX_SCALE}; try 1.0")
    pixels = padded_pixels([picture])
    height, width = pixels.shape[-2:]
    *_, last = denoise(
        pipe,
        prompt,
        negative_prompt=negative_prompt,
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
        generator=generator,
        height=height,
        width=width,
        unet=Controlled(pipe.unet, controlnet, pixels / 2 + 0.5, float(scale)),
    )
    return decode_edit(pipe, last.latents, picture.size, report)


def _check_fits(pipe: StableDiffusionPipeline, controlnet: ControlNetModel) -> None:
    if not isinstance(controlnet, ControlNetModel):
        raise ValueError(f"controlnet={controlnet!r} must be loaded; try load_controlnet(pipe)")
    unet = check_loaded(pipe).unet
    for name in ("block_out_channels", "cross_attention_dim", "layers_per_block"):
        theirs, ours = controlnet.config[name], unet.config[name]
        if theirs != ours:
            raise ValueError(
                f"this ControlNet belongs to another U-Net: its {name} is {theirs}, this one's "
                f"{ours}; try load_controlnet(pipe)"
            )
    if (controlnet.dtype, controlnet.device) != (unet.dtype, unet.device):
        raise ValueError(
            f"the ControlNet is in {controlnet.dtype} on {controlnet.device} and the U-Net in "
            f"{unet.dtype} on {unet.device}; try controlnet.to(pipe.device, pipe.dtype)"
        )
