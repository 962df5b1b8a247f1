"""Whose weights these are, where they lie, and whether they are to be trusted."""

import json
import os
import re
from pathlib import Path

from sdlesson.downloads import (
    WEIGHTS_SUFFIX,
    ModelError,
    RefusedError,
    Source,
    fetch,
    verify_folder,
)

POCKET_FOLDER = Path(__file__).parent / "pocket" / "model"
SCORER_FOLDER = Path(__file__).parent / "pocket" / "scorer"
CONTROL_FOLDER = Path(__file__).parent / "pocket" / "control"
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})

# Suffixes of the files that hold the weights: in half precision, or as they were trained.
HALF, PLAIN = f".fp16{WEIGHTS_SUFFIX}", WEIGHTS_SUFFIX

# Every model of the Hub that the course names, with the sources to try in order. Repositories
# vanish (runwayml in 2024, Stable Diffusion 2 in 2025): this table is the one place to mend.
MODELS: dict[str, tuple[Source, ...]] = {
    "sd15": (
        Source(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        Source("CompVis/stable-diffusion-v1-4", "133a221b8aa7292a167afc5127cb63fb5005638b"),
    ),
}

CONTROLNET = Source(
    "lllyasviel/control_v11p_sd15_canny", "115a470d547982438f70198e353a921996e2e819"
)
"""The published ControlNet for the outlines of Stable Diffusion 1.5's pictures."""


def find_model(model: str | os.PathLike[str], *, half: bool) -> tuple[Path, str]:
    """Find a model's folder, downloading it where need be, and its name for the record.

    Args:
        model: "pocket", a name in `MODELS`, a Hub id ("owner/name"), or a folder.
        half: Whether to prefer weights in half precision.

    Raises:
        ModelError: There is no such model, it cannot be had, or it is not to be trusted.
    """
    name = os.fspath(model)
    if name == "pocket":
        verify_folder(POCKET_FOLDER)
        return check_folder(POCKET_FOLDER), name
    if name in MODELS:
        return _first_available(name, half=half)
    if Path(name).is_dir():
        return check_folder(Path(name)), name
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        return download(Source(name), half=half), name
    names = ", ".join(("pocket", *sorted(MODELS)))
    raise ModelError(
        f"there is no model {name!r}: it is neither {names}, nor a folder here, "
        f"nor a Hub id such as {MODELS['sd15'][0].repo_id}"
    )


def download(source: Source, *, half: bool) -> Path:
    """Fetch a pipeline's configuration and safetensors into the Hub's cache; never a pickle.

    Raises:
        ModelError: As from `fetch`, or the repository holds no safetensors.
    """
    folder = fetch(source, ["*.json", "*.txt"])
    missing = _without_weights(check_pipeline(folder))
    for suffix in (HALF, PLAIN) if half else (PLAIN, HALF):
        wanted = [f"{name}/{stem}{suffix}" for name, stem in missing.items()]
        if wanted:
            fetch(source, wanted)
        missing = _without_weights(folder)
    if missing:
        raise ModelError(
            f"{source.repo_id} has no safetensors for {', '.join(missing)}; what else it may hold "
            "are pickles, which can run any code; choose another model"
        )
    return folder


def download_controlnet(*, half: bool) -> Path:
    """Fetch the published ControlNet into the Hub's cache.

    Raises:
        ModelError: As from `fetch`.
    """
    weights = f"diffusion_pytorch_model{HALF if half else PLAIN}"
    return fetch(CONTROLNET, ["config.json", weights])


def controlnet_variant(folder: Path, *, half: bool) -> str | None:
    """Name the variant of a ControlNet's weights to load: "fp16", or None for plain files."""
    return "fp16" if half and (folder / f"diffusion_pytorch_model{HALF}").is_file() else None


def weights_variant(folder: Path, *, half: bool) -> str | None:
    """Name the variant of the weights to load from a folder: "fp16", or None for plain files."""
    halves = {path.parent for path in folder.glob(f"*/*{HALF}")}
    plains = {path.parent for path in folder.glob("*/*") if path.suffixes == [PLAIN]}
    return "fp16" if halves and (half or halves - plains) else None


def check_folder(folder: Path) -> Path:
    """Return the folder if it holds a Stable Diffusion pipeline and no pickle.

    Raises:
        ModelError: It holds a pickle, or something else than such a pipeline.
    """
    check_pipeline(folder)
    pickles = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in PICKLE_SUFFIXES
    )
    if pickles:
        raise ModelError(
            f"{folder} holds the pickle {pickles[0]}, which can run any code when it is opened; "
            "only safetensors are loaded: convert it where you trust it, or take it out"
        )
    return folder


def check_pipeline(folder: Path) -> Path:
    """Return the folder if its index names a `StableDiffusionPipeline`.

    Raises:
        ModelError: The index is missing, unreadable, or names another pipeline.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{folder} is no pipeline: it has no model_index.json; "
            "give the folder that pipe.save_pretrained(folder) wrote"
        )
    try:
        class_name = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index} is damaged; save or download the model again") from error
    if class_name != "StableDiffusionPipeline":
        raise ModelError(
            f"{folder} holds a {class_name}; this course loads a StableDiffusionPipeline, "
            f"such as {MODELS['sd15'][0].repo_id}"
        )
    return folder


def _first_available(name: str, *, half: bool) -> tuple[Path, str]:
    """Download the first source of a named model that its owner still gives out."""
    refusals = []
    for source in MODELS[name]:
        try:
            return download(source, half=half), source.repo_id
        except RefusedError as error:
            refusals.append(str(error))
    raise ModelError("; ".join(refusals))


def _without_weights(folder: Path) -> dict[str, str]:
    """Map each part of a pipeline that lacks weights to the name its weights would have."""
    stems = {}
    for config in sorted(folder.glob("*/config.json")):  # only models have a config.json
        made_by_diffusers = "_diffusers_version" in json.loads(config.read_text(encoding="utf-8"))
        stem = "diffusion_pytorch_model" if made_by_diffusers else "model"
        if not any((config.parent / f"{stem}{suffix}").is_file() for suffix in (HALF, PLAIN)):
            stems[config.parent.name] = stem
    return stems
