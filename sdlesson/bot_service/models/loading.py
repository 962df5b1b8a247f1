"""Models in memory: each is loaded once, and no more of them at once than the operator allows."""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import torch
from diffusers import StableDiffusionPipeline

from sdlesson.bot.generator import IsCancelled, OnStep, PipelineGenerator, Result
from sdlesson.bot.requests import Request
from sdlesson.bot_service.models.cards import ModelCard, weights_of
from sdlesson.bot_service.models.catalogue import Catalogue, OfferedLora, full_name
from sdlesson.editing import load_controlnet
from sdlesson.finetuning.lora_loading import load_lora
from sdlesson.pipelines import load_pipeline

MOST_LOADED = 2
OWN_CONTROLNET = "default"
DIGEST_CHARS = 16
PARTS = ("text_encoder", "unet", "vae")

log = logging.getLogger(__name__)


class LoadedModel:
    """A model in memory, with all of its LoRAs, of which at most one is on.

    Args:
        name: What users know it by.
        pipe: The model.
        loras: The LoRAs to load with it, by name.
        controlnet: The folder of its ControlNet, or "default"; "" for none but the pocket model's.

    Raises:
        LoraError: One of them does not fit.
        ModelError: The ControlNet cannot be loaded.
        ValueError: The model has no safety checker.
    """

    def __init__(
        self,
        name: str,
        pipe: StableDiffusionPipeline,
        loras: dict[str, OfferedLora],
        controlnet: str = "",
    ) -> None:
        weights = weights_digest(pipe)
        self._pipe, self._loras = pipe, loras
        for lora, offered in loras.items():
            load_lora(pipe, offered.file, name=lora, scale=offered.scale)
        folder = None if controlnet == OWN_CONTROLNET else controlnet
        control = load_controlnet(pipe, folder) if controlnet else None
        self.generator = PipelineGenerator(pipe, controlnet=control)
        self.card = ModelCard(
            name,
            self.generator.size,
            self.generator.defaults,
            self.generator.has_control,
            weights,
            {lora: _lora_digest(offered) for lora, offered in loras.items()},
        )
        self.switch_to("")

    def switch_to(self, lora: str) -> None:
        """Draw with this LoRA from now on, or with none."""
        if lora:
            self._pipe.enable_lora()
            self._pipe.set_adapters(lora, adapter_weights=self._loras[lora].scale)
        elif self._loras:
            self._pipe.disable_lora()


class ModelGenerator:
    """Draws each batch with the model that it names, which is loaded if it is not in memory.

    Where no more may be in memory, the one that was not used for longest makes room. At the start
    every model is loaded once, so that what does not load, or a LoRA that does not fit, is known
    before any user asks for it.

    Args:
        catalogue: The models.
        most: How many may be in memory at once.
        load: Makes a model's pipeline.

    Attributes:
        model, defaults: Those of the first model.
        size: Of the largest pictures; a photo of this size is made smaller for other models.
        has_control: Whether any of them can follow the outline of a photo.
        cards: What is known of each model.
        loads: How often a model was loaded.

    Raises:
        ModelError: A model cannot be loaded.
        LoraError: A LoRA cannot be loaded.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        most: int = MOST_LOADED,
        load: Callable[[str], StableDiffusionPipeline] = load_pipeline,
    ) -> None:
        self._catalogue, self._most, self._load = catalogue, most, load
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._drawing = threading.Lock()  # a LoRA is switched on for everybody who draws
        self._cards: dict[str, ModelCard] = {}
        self.loads = 0
        for name in reversed(list(catalogue.sources)):  # the first stays in memory
            self._find(name)
        cards = {name: self._cards[name] for name in catalogue.sources}
        self.cards, self.model = cards, catalogue.default
        self.defaults = cards[self.model].defaults
        self.size = max(card.size for card in cards.values())
        self.has_control = any(card.has_control for card in cards.values())

    @property
    def in_memory(self) -> list[str]:
        """The models in memory, the one used last at the end."""
        return list(self._loaded)

    @staticmethod
    def batch_key(request: Request) -> Hashable:
        """Requests of one model, one LoRA and equal settings may be drawn in one batch."""
        return (request.model, request.lora, PipelineGenerator.batch_key(request))

    def draw(
        self, requests: Sequence[Request], *, on_step: OnStep, is_cancelled: IsCancelled
    ) -> list[Result | None]:
        """Draw a batch, after loading its model if it is not in memory.

        Raises:
            ValueError: The requests are for several models, or for one that is not offered.
        """
        model, lora = self._named(requests)
        with self._drawing:
            loaded = self._find(model)
            loaded.switch_to(lora)
            results = loaded.generator.draw(requests, on_step=on_step, is_cancelled=is_cancelled)
        name = full_name(model, lora)
        weights = weights_of(self.cards, Request("-", model=model, lora=lora))
        return [
            result and replace(result, drawing=replace(result.drawing, model=name), weights=weights)
            for result in results
        ]

    def _named(self, requests: Sequence[Request]) -> tuple[str, str]:
        pairs = {(request.model or self.model, request.lora) for request in requests}
        if len(pairs) > 1:
            raise ValueError(f"a batch is drawn by one model, not by {sorted(pairs)}")
        ((model, lora),) = pairs
        if model not in self._catalogue.sources:
            offered = ", ".join(self._catalogue.sources)
            raise ValueError(f"model={model!r} is not offered; there are {offered}")
        if lora and lora not in self._catalogue.loras_of(model):
            fitting = ", ".join(self._catalogue.loras_of(model)) or "none"
            raise ValueError(f"lora={lora!r} is not offered for {model!r}; there are: {fitting}")
        return model, lora

    def _find(self, name: str) -> LoadedModel:
        """Return a model from memory, or load it."""
        if name not in self._loaded:
            while len(self._loaded) >= self._most:
                self._unload_oldest()
            log.info("the model %s is being loaded", name)
            fitting = {one: self._catalogue.loras[one] for one in self._catalogue.loras_of(name)}
            pipe = self._load(self._catalogue.sources[name])
            controlnet = self._catalogue.controlnets.get(name, "")
            self._loaded[name] = LoadedModel(name, pipe, fitting, controlnet)
            self._cards[name] = self._loaded[name].card
            self.loads += 1
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def _unload_oldest(self) -> None:
        """Give back the memory of the model that was not used for longest."""
        name = next(iter(self._loaded))
        del self._loaded[name]
        gc.collect()  # a pipeline and its parts refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info("the model %s is unloaded", name)


def weights_digest(pipe: StableDiffusionPipeline) -> str:
    """Name all numbers that decide what a pipeline draws, besides a request's own."""
    digest = hashlib.sha256(repr(type(pipe.scheduler)).encode())
    digest.update(repr(sorted(pipe.scheduler.config.items(), key=str)).encode())
    digest.update(repr(pipe.unet.config.sample_size).encode())
    for part in PARTS:
        for name, tensor in sorted(getattr(pipe, part).state_dict().items()):
            digest.update(f"{part}.{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()[:DIGEST_CHARS]


def _lora_digest(offered: OfferedLora) -> str:
    digest = hashlib.sha256(offered.file.read_bytes() + str(offered.scale).encode())
    return digest.hexdigest()[:DIGEST_CHARS]
