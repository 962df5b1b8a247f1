"""From checkpoints to what is committed: the pipeline's folder and the scorer's."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from sdlesson.downloads import unlisted_files, write_checksums
from sdlesson.files import atomic_folder
from sdlesson.pipelines import amend_json, forget_origin, save_pipeline
from sdlesson.pocket.paths import POCKET_FOLDER, SCORER_FOLDER, VOCABULARY_FILE
from sdlesson.pocket.training.autoencoder import latents_std, new_autoencoder
from sdlesson.pocket.training.denoiser import Denoiser, new_scheduler, new_text_encoder, new_unet
from sdlesson.pocket.training.loop import Model, read_checkpoint
from sdlesson.pocket.training.safety_checker import make_safety_checker
from sdlesson.pocket.training.scorer import IMAGE_MEAN, IMAGE_STD, LABELS, new_clip
from sdlesson.pocket.world.grammar import LANGUAGES, vocabulary
from sdlesson.pocket.world.scenes import SIZE_PX
from sdlesson.probe import Probe

PROBE_FILE = "probe.safetensors"


def export_model(
    checkpoints: Path,
    bank: np.ndarray,
    tokenizer: CLIPTokenizer,
    device: str,
    scene_seed: int,
    output: Path,
) -> None:
    """Write `model/`, `scorer/` and the vocabulary into `output`.

    A stage without a checkpoint keeps random weights.
    """
    vae = _load_average(checkpoints / "vae.pt", new_autoencoder())
    _load_decoder(checkpoints / "decoder.pt", vae)
    vae.register_to_config(scaling_factor=1 / latents_std(vae.to(device), bank, device))
    denoiser = _load_average(
        checkpoints / "denoiser.pt", Denoiser(new_text_encoder(tokenizer), new_unet())
    )
    clip = _load_average(checkpoints / "clip.pt", new_clip(tokenizer))
    probe = _load_average(checkpoints / "probe.pt", Probe(LABELS))
    processor = CLIPImageProcessor(
        size={"shortest_edge": SIZE_PX},
        crop_size={"height": SIZE_PX, "width": SIZE_PX},
        image_mean=list(IMAGE_MEAN),
        image_std=list(IMAGE_STD),
    )
    pipe = StableDiffusionPipeline(
        vae=vae.cpu(),
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=new_scheduler(),
        safety_checker=make_safety_checker(clip, bank, device, scene_seed),
        feature_extractor=processor,
    )
    save_in_half_precision(pipe, output / POCKET_FOLDER.name)
    save_scorer(clip.cpu(), probe, tokenizer, processor, output / SCORER_FOLDER.name)
    write_vocabulary(output / VOCABULARY_FILE.name)


def save_in_half_precision(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Save in half precision, with the tokenizer's files as CLIP's own too."""
    with _in_place_of(folder, "model_index.json") as new:
        save_pipeline(pipe.to(dtype=torch.float16), new)
        # transformers loads in the dtype of the configuration, diffusers in fp32: make it one.
        for part in ("text_encoder", "safety_checker"):
            amend_json(new / part / "config.json", dtype="float32")
        _write_merges(pipe.tokenizer, new / "tokenizer")
        write_checksums(new)


def save_scorer(
    clip: CLIPModel,
    probe: Probe,
    tokenizer: CLIPTokenizer,
    processor: CLIPImageProcessor,
    folder: Path,
) -> None:
    """Save the CLIP pair with its tokenizer and image processor, and the probe beside it."""
    with _in_place_of(folder, PROBE_FILE) as new:
        clip.half().save_pretrained(new / "clip", safe_serialization=True)
        tokenizer.save_pretrained(new / "clip")
        processor.save_pretrained(new / "clip")
        amend_json(new / "clip/config.json", dtype="float32")
        amend_json(new / "clip/preprocessor_config.json", image_processor_type="CLIPImageProcessor")
        probe.save(new / PROBE_FILE)
        forget_origin(new)
        write_checksums(new)


def write_vocabulary(path: Path) -> None:
    """Write every word of both grammars, for those who name unknown words."""
    words = {language: vocabulary(language) for language in LANGUAGES}
    path.write_text(json.dumps(words, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _load_average(checkpoint: Path, model: Model) -> Model:
    if checkpoint.exists():
        model.load_state_dict(read_checkpoint(checkpoint)["average"])
    return model.eval()


def _load_decoder(checkpoint: Path, vae: AutoencoderKL) -> None:
    """Put in the decoder that learnt against a discriminator, where there is one."""
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
        for part in ("decoder", "post_quant_conv"):
            weights = {
                name.removeprefix(f"{part}."): value
                for name, value in state.items()
                if name.startswith(f"{part}.")
            }
            vae.get_submodule(part).load_state_dict(weights)


def _in_place_of(folder: Path, mark: str) -> AbstractContextManager[Path]:
    """Replace what was packaged there before, and nothing else.

    Raises:
        ValueError: The folder holds anything else, which would be lost.
    """
    if folder.is_dir() and (others := unlisted_files(folder, mark=mark)):
        raise ValueError(
            f"{folder} holds {others[0]}, which was not packaged there; move it, or choose another "
            "output"
        )
    return atomic_folder(folder)


def _write_merges(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Also write the vocabulary and merges as CLIP's own two files: readable, and read by all."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary_text = json.dumps(model["vocab"], ensure_ascii=False, indent=0)
    (folder / "vocab.json").write_text(vocabulary_text + "\n", encoding="utf-8")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8"
    )
