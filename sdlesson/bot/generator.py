"""Requests in, pictures out: the protocol, and the generator that draws with a pipeline."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from torch import Tensor

from sdlesson import safety
from sdlesson.bot.requests import GROWTH, MAX_SHAPE, Defaults, Request
from sdlesson.copies import independent_copy
from sdlesson.diffusion import embed, fresh_scheduler
from sdlesson.drawing import Drawing, decode_and_check, unread
from sdlesson.editing import load_controlnet, outline, outpaint
from sdlesson.hub import CONTROL_FOLDER
from sdlesson.images import encode_png
from sdlesson.photos import open_photo
from sdlesson.pipelines import is_pocket, model_name
from sdlesson.prompts import Unknown

NEW_SEEDS = 1_000_000  # short enough to tell a friend
PREVIEW_EVERY_S = 2.0  # the pocket model is done before; on a large one they cost a tenth of it
PREVIEW_CELLS = 2  # a side; of 4, the probe still reads the subject off every other one
POCKET_GUIDANCE = 5.0

# (steps done, steps in all, pictures on the way by the number of their request)
OnStep: TypeAlias = Callable[[int, int, dict[int, Image.Image]], object]
# Whether the request of this number is to be drawn no further.
IsCancelled: TypeAlias = Callable[[int], bool]


@dataclass(frozen=True, eq=False)
class Result:
    """A picture, and all that is needed to draw it again.

    Attributes:
        drawing: The picture and its settings; black if it was flagged.
        request: What was asked, with the seed that was used.
        unknown: Words of the prompt that the model does not know.
        cut: The end of the prompt, which the model did not read.
        seconds: How long it took, its share of the batch; 0 where nothing was drawn.
        weights: Names the numbers that drew it, where whoever drew it has taken that down.
    """

    drawing: Drawing
    request: Request
    unknown: tuple[Unknown, ...] = ()
    cut: str = ""
    seconds: float = 0.0
    weights: str = ""

    @property
    def image(self) -> Image.Image:
        """The picture; black if it was flagged."""
        return self.drawing.image

    @property
    def flagged(self) -> bool:
        """Whether the safety checker withholds the picture."""
        return self.drawing.flagged

    @property
    def settings(self) -> dict[str, str]:
        """Everything but the pictures, as text for a file."""
        request = self.request
        edit = {
            "strength": str(request.strength) if request.redraws else "",
            "control": request.control,
            "widen": request.widen,
        }
        return self.drawing.settings | {name: value for name, value in edit.items() if value}

    def png(self) -> bytes:
        """Pack the picture with its settings as a file; slow enough to keep off an event loop."""
        return encode_png(self.image, self.settings)


class ImageGenerator(Protocol):
    """Whatever can draw requests: a pipeline here, a machine elsewhere, a painter in a test.

    Attributes:
        model: What it is called.
        defaults: The settings that suit the model.
        size: Pixels a side of its pictures; photos are made this size.
        has_control: Whether it can follow the outline of a photo.
    """

    model: str
    defaults: Defaults
    size: int
    has_control: bool

    def batch_key(self, request: Request) -> Hashable:
        """Requests with equal keys may be drawn in one batch."""

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> Sequence[Result | None]:
        """Draw a batch, each picture as if alone; None for a request that was cancelled."""


class PipelineGenerator:
    """Draws with a pipeline of diffusers, and its safety checker always looks.

    Args:
        pipe: Stable Diffusion 1.x, which a notebook may go on using meanwhile.
        controlnet: One for outlines; by default the pocket model's own, where that is here.
        preview_every_s: How long to wait from one picture on the way to the next.

    Raises:
        ValueError: The pipeline has no safety checker.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        *,
        controlnet: ControlNetModel | None = None,
        preview_every_s: float = PREVIEW_EVERY_S,
    ) -> None:
        self._text = independent_copy(pipe)
        if pipe.safety_checker is None:
            raise ValueError("a bot needs the safety checker; load the model with load_pipeline()")
        self._photo = StableDiffusionImg2ImgPipeline(**self._text.components)
        # Going back up the schedule, as widening does, needs a scheduler without memory.
        self._steady = StableDiffusionPipeline(
            **self._text.components | {"scheduler": fresh_scheduler(pipe, "DDIMScheduler")}
        )
        self._along = _controlled(self._text, controlnet)
        self.has_control = self._along is not None
        for ours in filter(None, (self._text, self._photo, self._along)):
            ours.set_progress_bar_config(disable=True)
        self._preview_every_s = preview_every_s
        self.model = model_name(pipe)
        self.size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        self.defaults = Defaults(guidance_scale=POCKET_GUIDANCE) if is_pocket(pipe) else Defaults()

    @staticmethod
    def batch_key(request: Request) -> Hashable:
        """What requests must have in common, since a pipeline takes one value for a batch.

        A photo that is widened has a shape of its own, and is alone.
        """
        if request.widen:
            return object()
        strength = request.strength if request.redraws else None
        return (request.num_inference_steps, request.guidance_scale, strength, request.control)

    @torch.no_grad()
    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> list[Result | None]:
        """Draw requests of one batch key, and stop at the next step once all are cancelled."""
        started_s = time.perf_counter()
        seeded = [_seeded(request) for request in requests]
        if seeded[0].widen:
            widened = self._widen(seeded[0], on_step, is_cancelled)
            seconds = time.perf_counter() - started_s
            return [widened and self._result(seeded[0], *widened, seconds)]
        latents = self._denoise(seeded, on_step, is_cancelled)
        # One by one: the decoder takes far more memory than the U-Net, and a batch no less time.
        pictures = [
            None
            if is_cancelled(number)
            else decode_and_check(self._text, latents[number : number + 1])
            for number in range(len(seeded))
        ]
        seconds = (time.perf_counter() - started_s) / len(seeded)
        return [
            picture and self._result(request, *picture, seconds)
            for request, picture in zip(seeded, pictures, strict=True)
        ]

    def _denoise(
        self, requests: list[Request], on_step: OnStep, is_cancelled: IsCancelled
    ) -> Tensor:
        """Walk from noise, or from photos, to latents, (B, 4, H/8, W/8)."""
        first = requests[0]
        pipe, start = self._start(requests)
        return pipe(
            prompt_embeds=embed(pipe, [request.prompt for request in requests]),
            negative_prompt_embeds=embed(pipe, [request.negative_prompt for request in requests]),
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            generator=[_noise_source(request) for request in requests],
            output_type="latent",
            callback_on_step_end=_StepCallback(
                len(requests), on_step, is_cancelled, self._preview_every_s
            ),
            **start,
        ).images

    def _start(self, requests: list[Request]) -> tuple[Any, dict[str, Any]]:
        """Choose the pipeline, and what it starts from besides noise."""
        photos = [request.photo for request in requests if request.photo is not None]
        if not photos:
            return self._text, {}
        images = [open_photo(photo, size=self.size, name="the photo") for photo in photos]
        if not requests[0].control:
            return self._photo, {"image": images, "strength": requests[0].strength}
        if self._along is None:
            raise ValueError(f"there is no ControlNet for {self.model}; ask without control")
        return self._along, {"image": [outline(image) for image in images]}

    def _widen(
        self, request: Request, on_step: OnStep, is_cancelled: IsCancelled
    ) -> tuple[Image.Image, bool] | None:
        """Paint on beyond one side of a photo; None if that was cancelled meanwhile."""
        assert request.photo is not None
        photo = open_photo(
            request.photo, size=self.size, name="the photo", longest=MAX_SHAPE * self.size
        )
        flags: list[str] = []

        def note(step: int, steps: int) -> None:
            if is_cancelled(0):
                raise _CancelledError
            on_step(step, steps, {})

        try:
            image = outpaint(
                self._steady,
                photo,
                request.prompt,
                **{request.widen: round(GROWTH * self.size)},
                negative_prompt=request.negative_prompt,
                guidance_scale=request.guidance_scale,
                num_inference_steps=request.num_inference_steps,
                generator=_noise_source(request),
                report=flags.append,
                on_step=note,
            )
        except _CancelledError:
            return None
        # The checker looks at a square: at each end, and not only at what is new.
        ends = [_square(image, end) for end in (0, 1)]
        flagged = bool(flags) or any(flag.flagged for flag in safety.flags(self._text, ends))
        return (Image.new("RGB", image.size) if flagged else image), flagged

    def _result(
        self, request: Request, image: Image.Image, flagged: bool, seconds: float
    ) -> Result:
        drawing = Drawing(
            image=image,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=_seed_of(request),
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            scheduler=type(self._text.scheduler).__name__,
            model=self.model,
            flagged=flagged,
        )
        unknown, cut = unread(self._text, request.prompt)
        return Result(drawing, request, tuple(unknown), cut, seconds)


class _CancelledError(Exception):
    """Ends a drawing that nobody waits for any more."""


def _controlled(
    pipe: StableDiffusionPipeline, controlnet: ControlNetModel | None
) -> StableDiffusionControlNetPipeline | None:
    """Make the pipeline that follows outlines, where there is a ControlNet."""
    if controlnet is None and is_pocket(pipe) and CONTROL_FOLDER.is_dir():
        controlnet = load_controlnet(pipe)
    if controlnet is None:
        return None
    return StableDiffusionControlNetPipeline(**pipe.components, controlnet=controlnet)


def _square(image: Image.Image, end: int) -> Image.Image:
    """The square at the left or upper end of a picture, or at its other one."""
    side = min(image.size)
    left, top = (end * (length - side) for length in image.size)
    return image.crop((left, top, left + side, top + side))


class _StepCallback:
    """Called by diffusers after each step: stops it, or shows how far it is."""

    def __init__(
        self, count: int, on_step: OnStep, is_cancelled: IsCancelled, preview_every_s: float
    ) -> None:
        self._count, self._on_step, self._is_cancelled = count, on_step, is_cancelled
        self._preview_every_s, self._last_preview_s = preview_every_s, time.perf_counter()
        self._previews = 0

    def __call__(
        self, pipe: Any, index: int, _timestep: Any, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        active = [number for number in range(self._count) if not self._is_cancelled(number)]
        pipe._interrupt = not active  # the way diffusers documents: what is left does no work
        previews = self._preview(pipe, tensors["latents"], active)
        self._on_step(index + 1, pipe.num_timesteps, previews)
        return {}

    def _preview(self, pipe: Any, latents: Tensor, active: list[int]) -> dict[int, Image.Image]:
        """Show one picture on the way, each of the batch in turn, if it is time and it may be."""
        if not active or time.perf_counter() - self._last_preview_s < self._preview_every_s:
            return {}
        number = active[self._previews % len(active)]
        image, flagged = decode_and_check(pipe, latents[number : number + 1])
        self._previews, self._last_preview_s = self._previews + 1, time.perf_counter()
        return {} if flagged else {number: _blurred(image)}


def _blurred(image: Image.Image) -> Image.Image:
    """Keep a picture's colours and no more: whether the checker will pass it is not known yet."""
    few = image.resize((PREVIEW_CELLS, PREVIEW_CELLS), Image.Resampling.BOX)
    return few.resize(image.size, Image.Resampling.BICUBIC)


def _seeded(request: Request) -> Request:
    """The same request with a seed, chosen here if it has none."""
    if request.seed is not None:
        return request
    return replace(request, seed=secrets.randbelow(NEW_SEEDS))


def _noise_source(request: Request) -> torch.Generator:
    """Where a picture's noise comes from: on the CPU, so it is the same for every device."""
    return torch.Generator("cpu").manual_seed(_seed_of(request))


def _seed_of(request: Request) -> int:
    if request.seed is None:
        raise ValueError("this request has no seed yet; `_seeded` gives it one")
    return request.seed
