"""Whose weights these are, where they lie, and whether they are to be trusted."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdlesson.configurations import find_fault
from sdlesson.downloads import (
    WEIGHTS_SUFFIX,
    ModelError,
    RefusedError,
    Source,
    fetch,
    verify_folder,
    verify_saved,
)
from sdlesson.language import say
from sdlesson.pocket.paths import CONTROL_FOLDER as CONTROL_FOLDER
from sdlesson.pocket.paths import POCKET_FOLDER as POCKET_FOLDER
from sdlesson.pocket.paths import SCORER_FOLDER as SCORER_FOLDER

# A folder from someone else is data, and must stay data: diffusers and transformers import what an
# index names, so an index may name nothing but these.
PARTS: dict[str, tuple[tuple[str | None, str | None], ...]] = {
    "vae": (("diffusers", "AutoencoderKL"),),
    "text_encoder": (("transformers", "CLIPTextModel"),),
    "tokenizer": (("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")),
    "unet": (("diffusers", "UNet2DConditionModel"),),
    "scheduler": tuple(
        ("diffusers", f"{name}Scheduler")
        for name in (
            "DDIM",
            "DDIMParallel",
            "DDPM",
            "DDPMParallel",
            "DEISMultistep",
            "DPMSolverMultistep",
            "DPMSolverSDE",
            "DPMSolverSinglestep",
            "EulerAncestralDiscrete",
            "EulerDiscrete",
            "HeunDiscrete",
            "KDPM2AncestralDiscrete",
            "KDPM2Discrete",
            "LCM",
            "LMSDiscrete",
            "PNDM",
            "SASolver",
            "TCD",
            "UniPCMultistep",
        )
    ),
    "safety_checker": (("stable_diffusion", "StableDiffusionSafetyChecker"), (None, None)),
    "feature_extractor": (
        ("transformers", "CLIPImageProcessor"),
        ("transformers", "CLIPImageProcessorFast"),
        ("transformers", "CLIPImageProcessorPil"),
        ("transformers", "CLIPFeatureExtractor"),
        (None, None),
    ),
    "image_encoder": (("transformers", "CLIPVisionModelWithProjection"), (None, None)),
}
"""The parts of a pipeline, and the (library, class) that each may be."""
REMARKS = frozenset(
    {"_class_name", "_diffusers_version", "_name_or_path", "requires_safety_checker"}
)
"""What else an index may say."""
KNOWN_SUFFIXES = frozenset(
    {"", ".json", ".txt", WEIGHTS_SUFFIX, ".md", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".yaml"}
)
"""The kinds of files that a folder may hold; none of them is ever run."""
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
CODE_KEYS = frozenset(
    [
        "attn_implementation",
        "_attn_implementation",
        "auto_map",
        "custom_pipelines",
        "quantization_config",
        "transformers_weights",
        "vocab_file",
        "merges_file",
        "tokenizer_file",
    ]
)
"""What in a configuration names code to run, or files to read in place of the part's own."""
PLAIN_ATTENTION = ("eager", "sdpa", None)
ADAPTER_FILE = "adapter_config.json"
"""Where transformers finds it beside a model, it loads the model that this names instead."""
MAX_JSON_BYTES = 64 * 2**20
LFS_POINTER = b"version https://git-lfs"

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)

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
    if is_folder(name):
        folder = check_folder(Path(name))
        verify_saved(folder)
        return folder, name
    if HUB_ID.fullmatch(name):
        return download(Source(name), half=half), name
    names = ", ".join(("pocket", *sorted(MODELS)))
    raise ModelError(
        f"there is no model {name!r}: it is neither {names}, nor a folder here, "
        f"nor a Hub id such as {MODELS['sd15'][0].repo_id}"
    )


def is_folder(name: str) -> bool:
    """Say whether a name is that of a folder here; one that no folder can have is not."""
    try:
        return bool(name) and Path(name).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return False


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
    check_pipeline(folder)
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
    """Return the folder if it holds a Stable Diffusion pipeline, and nothing that could be run.

    Raises:
        ModelError: It holds a pickle, a file of a kind that no pipeline has, or something else
            than such a pipeline.
    """
    check_pipeline(folder)
    for path in _walk(folder):
        name, suffix = path.relative_to(folder).as_posix(), path.suffix.lower()
        if suffix in PICKLE_SUFFIXES:
            raise ModelError(
                say(
                    f"{folder} holds the pickle {name}, which can run any code when it is opened; "
                    "only safetensors are loaded: convert it where you trust it, or take it out",
                    f"{folder} contiene el pickle {name}, que al abrirse puede ejecutar cualquier "
                    "código; solo se cargan safetensors: conviértelo si te fías, o quítalo",
                )
            )
        if suffix not in KNOWN_SUFFIXES:
            raise ModelError(f"{folder} holds {name}, which belongs in no pipeline; take it out")
    return folder


def check_pipeline(folder: Path) -> Path:
    """Return the folder if its index names a `StableDiffusionPipeline` of known parts.

    Raises:
        ModelError: The index is missing, unreadable, names another pipeline or an unknown part;
            or a part is not to be trusted, as `check_parts` says.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{folder} is no pipeline: it has no model_index.json; "
            "give the folder that pipe.save_pretrained(folder) wrote"
        )
    _check_links(folder)
    _check_no_pointer(index)
    found = read_json(index)
    if "_class_name" not in found:
        raise ModelError(f"{index} is damaged; save or download the model again")
    if found["_class_name"] != "StableDiffusionPipeline":
        raise ModelError(
            f"{folder} holds a {found['_class_name']}; this course loads a "
            f"StableDiffusionPipeline, such as {MODELS['sd15'][0].repo_id}"
        )
    for name in sorted(found.keys() - REMARKS):
        allowed = [list(pair) for pair in PARTS.get(name, ())]
        if found[name] not in allowed:
            raise ModelError(
                f"{index} says that {name} is {json.dumps(found[name])}, which this course does "
                "not load, since loading it could run any code; choose another model"
            )
    check_parts(folder)
    return folder


def check_parts(folder: Path) -> None:
    """Check that what configures models in a folder, and just below it, names no code.

    Raises:
        ModelError: A configuration names code or foreign files, or sets a value that no model can
            have; an index of weights names anything but safetensors beside it, a link leads out
            of the folder, or a file is a pointer of git-lfs.
    """
    _check_links(folder)
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        name = path.name.lower()  # as some file systems see it
        if name == ADAPTER_FILE:
            raise ModelError(f"{path} would put another model in this one's place; take it out")
        if name.endswith((".json", ".txt", WEIGHTS_SUFFIX)) and path.is_file():
            _check_no_pointer(path)
        if name.endswith(".json") and ".index." in name:
            _check_shards(path, read_json(path))
        elif name == "config.json" or name.endswith("_config.json"):
            found = read_json(path)
            _check_configuration(path, found)
            if fault := find_fault(path.parent.name.lower(), found):
                raise ModelError(f"{path} {fault}; correct it, or choose another model")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ModelError: It is missing, too large or damaged, or holds anything else.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path} is larger than any that a model needs; take it out")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged; save or download the model again") from error
    if not isinstance(found, dict):
        raise ModelError(
            f"{path} holds a {type(found).__name__} where a JSON object belongs; "
            "save or download the model again"
        )
    return found


def _check_links(folder: Path) -> None:
    """Refuse links out of a folder; those of the Hub's cache lead to blobs beside it."""
    home = folder.resolve()
    inside = [home]
    if home.parent.name == "snapshots":
        inside.append((home.parents[1] / "blobs").resolve())
    for path in _walk(folder, hidden=True):
        try:
            target = path.resolve() if path.is_symlink() else path
        except (OSError, RuntimeError) as error:  # the latter of links in a circle
            raise ModelError(f"{path} is a link that leads nowhere; take it out") from error
        if path.is_symlink() and not any(target.is_relative_to(place) for place in inside):
            raise ModelError(
                f"{path} is a link that leads out of the folder; put the file itself in its place"
            )
        if target.exists() and not target.is_file() and not target.is_dir():
            raise ModelError(f"{path} is neither a file nor a folder; take it out")


def _walk(folder: Path, *, hidden: bool = False) -> Iterator[Path]:
    """List what is in a folder and below, files, links and special files.

    Names with a dot in front, such as git's own folder, are no part of a model.
    """
    for parent, folders, files in os.walk(folder):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*linked, *files):
            if hidden or not name.startswith("."):
                yield Path(parent) / name


def _check_no_pointer(path: Path) -> None:
    with path.open("rb") as file:
        is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    if is_pointer:
        raise ModelError(
            f"{path} is a pointer of git-lfs, not the file itself: run `git lfs install` and "
            f"`git lfs pull` in {path.parent}, or download the model again"
        )


def _check_configuration(path: Path, found: Any) -> None:
    """Refuse a configuration that names code, or files in place of the part's own."""
    if isinstance(found, list):
        for item in found:
            _check_configuration(path, item)
    if not isinstance(found, dict):
        return
    for key, value in found.items():
        harmless: tuple[Any, ...] = (
            PLAIN_ATTENTION if key.endswith("attn_implementation") else (None, {}, [])
        )
        if key in CODE_KEYS and value not in harmless:
            raise ModelError(
                f"{path} sets {key} to {json.dumps(value)[:80]}, which could run code or read "
                "files from elsewhere; take it out, or choose another model"
            )
        _check_configuration(path, value)


def _check_shards(path: Path, found: dict[str, Any]) -> None:
    """Refuse an index of weights that names anything but safetensors that lie beside it."""
    shards = found.get("weight_map")
    names = shards.values() if isinstance(shards, dict) else [shards]
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(rf"\w[\w.-]*\{WEIGHTS_SUFFIX}", name):
            raise ModelError(
                f"{path} names {json.dumps(name)[:80]} for weights, which must be a plain "
                f"*{WEIGHTS_SUFFIX} beside it; choose another model"
            )


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
        made_by_diffusers = "_diffusers_version" in read_json(config)
        stem = "diffusion_pytorch_model" if made_by_diffusers else "model"
        if not any((config.parent / f"{stem}{suffix}").is_file() for suffix in (HALF, PLAIN)):
            stems[config.parent.name] = stem
    return stems
