"""Load a Stable Diffusion pipeline, whichever model it is and wherever this runs."""

import json
import math
import os
import re
from pathlib import Path

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from packaging.version import Version
from safetensors import safe_open
from torch import Tensor, nn

from sdlesson import downloads, hub
from sdlesson.language import say
from sdlesson.runtime import best_device, best_dtype, quiet_libraries

MODEL_VARIABLE = "SDLESSON_MODEL"
LEARNED = " + "
"""Between the name of a model and each word that it was taught in full."""
BEGINNING = 8
"""Numbers at the head of a weight by which it is known again."""
ORIGIN_KEYS = {"_name_or_path", "name_or_path", "is_local", "local_files_only"}
"""Under which libraries write down where, or how, they found a part."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# diffusers renamed the argument: the new name is not read before 0.42, the old one warns since.
DTYPE_ARGUMENT = "dtype" if Version(diffusers.__version__) >= Version("0.42") else "torch_dtype"


def load_pipeline(
    model: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> StableDiffusionPipeline:
    """Load a Stable Diffusion pipeline onto the device.

    Args:
        model: "pocket", "sd15", a Hub id ("owner/name") or a folder. The default is the
            environment's SDLESSON_MODEL, else "sd15" on a CUDA GPU and "pocket" elsewhere.
        device: "cuda", "mps" or "cpu"; the best there is by default.
        dtype: By default torch.float16 on CUDA and torch.float32 elsewhere.

    Raises:
        ValueError: The device is not there, or the dtype is none or does not run on it.
        ModelError: The model cannot be had, is damaged, is no pipeline, or needs a GPU.
    """
    place = _choose_device(device)
    number_type = _choose_dtype(dtype, place)
    default = "sd15" if place.startswith("cuda") else "pocket"
    wanted = _choose_model(os.environ.get(MODEL_VARIABLE) or default if model is None else model)
    if wanted in hub.MODELS and place == "cpu":
        _check_patience(wanted, insists=device is not None)
    folder, name = hub.find_model(wanted, half=number_type == torch.float16)
    pipe = _load_folder(folder, number_type)
    pipe.register_to_config(_name_or_path=name)  # a folder in full; see `model_name`
    if os.environ.get("TQDM_DISABLE"):  # tqdm's own switch, which diffusers overrules
        pipe.set_progress_bar_config(disable=True)
    return pipe.to(place)


def is_pocket(pipe: StableDiffusionPipeline) -> bool:
    """Say whether this is the pocket model, with or without words that it was taught."""
    return str(pipe.name_or_path).split(LEARNED)[0] in ("pocket", str(hub.POCKET_FOLDER))


def model_name(pipe: StableDiffusionPipeline) -> str:
    """Return what a record calls a pipeline's model; see `short_name`."""
    return short_name(str(pipe.name_or_path))


def short_name(name: str) -> str:
    """Return a model's name without the way to its folder, which is nobody else's business."""
    base, *taught = name.split(LEARNED)
    if base == str(hub.POCKET_FOLDER):
        base = "pocket"
    elif Path(base).is_dir() or not hub.HUB_ID.fullmatch(base):
        parts = [part for part in re.split(r"[/\\]", base) if part.strip(".")]
        base = parts[-1] if parts else Path(base).resolve().name or "/"
    return LEARNED.join([base, *taught])


def save_pipeline(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Save under names that every supported version loads, with the checksums of all files."""
    pipe.save_pretrained(folder, safe_serialization=True)
    if pipe.feature_extractor is not None:
        # Without torchvision the class saved is a variant that older versions do not have.
        name = "CLIPImageProcessor"
        amend_json(folder / "model_index.json", feature_extractor=["transformers", name])
        processor = folder / "feature_extractor" / "preprocessor_config.json"
        amend_json(processor, image_processor_type=name)
    forget_origin(folder)
    downloads.write_checksums(folder)


def forget_origin(folder: Path) -> None:
    """Take out of the configurations where a part was loaded from: a path on somebody's computer.

    A part of random weights has none, but one that was read from a folder keeps that folder's name.
    """
    for path in sorted(folder.rglob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and ORIGIN_KEYS & found.keys():
            kept = {key: value for key, value in found.items() if key not in ORIGIN_KEYS}
            path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def amend_json(path: Path, **fields: object) -> None:
    """Set fields of a JSON file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(found | fields, indent=2) + "\n", encoding="utf-8")


def _choose_model(model: object) -> str:
    """Return what names a model, a folder as text."""
    name = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise downloads.ModelError(f"model={model!r} must be a name or a folder; try 'pocket'")
    return name


def _choose_device(device: str | torch.device | None) -> str:
    if device is None:
        return best_device()
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    kind, *_ = str(device).partition(":")
    if not count.get(kind):
        names = ", ".join(name for name, how_many in count.items() if how_many)
        raise ValueError(
            f"device={str(device)!r} is not on this machine, which has {names}; "
            "in Colab, choose a GPU under Runtime > Change runtime type"
        )
    if str(device) not in (kind, *(f"{kind}:{index}" for index in range(count[kind]))):
        raise ValueError(f"device={str(device)!r} is not on this machine; try {kind!r}")
    return str(device)


def _choose_dtype(dtype: torch.dtype | None, device: str) -> torch.dtype:
    if dtype is None:
        return best_dtype(device.partition(":")[0])
    # diffusers would take a string as float32 without a word.
    if not isinstance(dtype, torch.dtype) or dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} must be one of {', '.join(map(str, DTYPES))}")
    if dtype == torch.float16 and not device.startswith("cuda"):
        raise ValueError(f"dtype=torch.float16 needs device='cuda', not {device!r}; leave it out")
    return dtype


def _check_patience(model: str, *, insists: bool) -> None:
    """Refuse a large model on a CPU, unless the caller asked for the CPU by name."""
    if not insists:
        raise downloads.ModelError(
            f"{model} needs a GPU and this machine has none: use the model 'pocket', or in Colab "
            "choose a GPU under Runtime > Change runtime type (device='cpu' works, in minutes)"
        )
    print(
        say(
            f"{model} on a CPU takes minutes for each picture; the model 'pocket' takes a second.",
            f"{model} en CPU tarda minutos por imagen; el modelo 'pocket' tarda un segundo.",
        )
    )


def _load_folder(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    try:
        with quiet_libraries():
            pipe = StableDiffusionPipeline.from_pretrained(
                folder,
                variant=hub.weights_variant(folder, half=dtype == torch.float16),
                use_safetensors=True,
                local_files_only=True,
                **{DTYPE_ARGUMENT: dtype},
            )
    except Exception as error:  # three libraries read these files, each with errors of its own
        reason = str(error).strip().split("\n")[0]
        raise downloads.ModelError(
            f"{folder} does not load: a file in it is missing or damaged ({reason}); "
            "delete the folder and download or save the model again"
        ) from error
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            _check_all_loaded(part, folder / name)
    _check_fit(pipe, folder)
    return pipe


def _check_fit(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Refuse parts that each load, and fail with each other at the first picture."""
    text, unet, scheduler = pipe.text_encoder, pipe.unet.config, pipe.scheduler
    tokens = text.get_input_embeddings().num_embeddings
    at_most = (
        ("tokenizer's last token", max(pipe.tokenizer.get_vocab().values()), tokens - 1),
        (
            "tokenizer's window",
            pipe.tokenizer.model_max_length,
            text.config.max_position_embeddings,
        ),
    )
    equal = (
        ("U-Net's cross_attention_dim", unet.cross_attention_dim, text.config.hidden_size),
        ("U-Net's out_channels", unet.out_channels, pipe.vae.config.latent_channels),
        ("list of betas", len(scheduler.alphas_cumprod), scheduler.config.num_train_timesteps),
    )
    faults = [
        *(f"its {name} is {has}, and may be {most}" for name, has, most in at_most if has > most),
        *(f"its {name} is {has}, must be {must}" for name, has, must in equal if has != must),
    ]
    if faults:
        raise downloads.ModelError(
            f"the parts of {folder} do not fit each other: {'; '.join(faults)}; "
            "choose another model"
        )


def _check_all_loaded(part: nn.Module, folder: Path) -> None:
    """Refuse a part whose weights are not all in its files: libraries make the rest up in silence.

    Names change between versions of the libraries, so weights are known by their size and by how
    they begin.
    """
    state = part.state_dict()
    dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
    found = set()
    for path in folder.glob(f"*{downloads.WEIGHTS_SUFFIX}"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                weights = file.get_slice(name)
                shape = weights.get_shape()
                head = weights[:BEGINNING] if shape else file.get_tensor(name)
                found |= {(math.prod(shape), _beginning(head.to(dtype))) for dtype in dtypes}
    for name, value in state.items():
        if not value.is_floating_point() or not value.numel():
            continue
        if value.is_meta or (value.numel(), _beginning(value)) not in found:
            raise downloads.ModelError(
                f"{folder} lacks weights of its model, {name} for one; "
                "delete the folder and download or save the model again"
            )


def _beginning(weights: Tensor) -> tuple[float, ...]:
    return tuple(weights.flatten()[:BEGINNING].float().tolist())
