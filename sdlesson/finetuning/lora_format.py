"""What is inside a LoRA file, whichever trainer wrote it.

For one and the same layer diffusers writes `unet.mid_block.attentions.0.proj_in`, and kohya's
scripts, A1111 and ComfyUI `lora_unet_mid_block_attentions_0_proj_in`: the same with the dots
flattened. So layers go by kohya's names here, which all of them can be turned into.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sdlesson.language import say

SUFFIX = ".safetensors"
COMPONENTS = ("unet", "text_encoder")

# diffusers' name of a layer and half of it: `.lora_A` today, `.lora.down` and `_lora.down` before,
# `.lora_linear_layer.down` in text encoders; kohya's: `.lora_down`, with `.alpha` beside. In the
# weights as peft holds them the adapter's name follows: `.lora_A.default_0`.
_KEY = re.compile(
    r"(?P<layer>.+?)(?:\.alpha|[._]lora(?:_linear_layer)?[._](?P<half>A|B|down|up)"
    r"(?:\.(?P<adapter>[^.]+))?\.weight)"
)
_HALVES = {"A": "down", "down": "down", "B": "up", "up": "up", None: "alpha"}
_PREFIXES = {
    "unet_": "lora_unet_",
    "text_encoder_": "lora_te_",
    "lora_te1_": "lora_te_",
    # Without the name of the part: diffusers' first files, and peft's.
    **{f"{start}_": f"lora_unet_{start}_" for start in ("down_blocks", "mid_block", "up_blocks")},
    **{f"{start}_": f"lora_unet_{start}_" for start in ("conv_in", "conv_out", "time_embedding")},
    "text_model_": "lora_te_text_model_",
    "encoder_layers_": "lora_te_encoder_layers_",
}
_PEFT = "base_model.model."
PEFT_CONFIG = "adapter_config.json"
_COMFYUI = ("diffusion_model.", "model.diffusion_model.", "text_encoders.", "clip_l.")
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_DAMAGES = (AttributeError, OverflowError, RecursionError, TypeError, ValueError, re.error)
# peft takes the names in its patterns for regular expressions; nearly all are plain names.
_PLAIN_NAME = re.compile(r"[\w.-]+")
_REPEATED = re.compile(r"\)[*+?{]")  # a group that repeats, or may
_MAX_CHOICES = 3
_MAX_PATTERN_CHARS = 200
_LFS = b"version https://git-lfs"


class LoraError(ValueError):
    """A LoRA that cannot be read, does not fit, or would change nothing; says what to do."""


@dataclass(frozen=True, eq=False)
class LoraLayer:
    """What a LoRA adds to one layer's weights: alpha / rank * up @ down.

    Attributes:
        down: (rank, in, ...), with the size of the kernel behind it for a convolution.
        up: (out, rank, ...).
        alpha: Divided by the rank it is the scale.

    Source: Hu et al. 2021, section 4.1, arXiv:2106.09685.
    """

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """How many numbers the layer's input is squeezed into."""
        return len(self.down)


@dataclass(frozen=True, eq=False)
class Lora:
    """The content of a LoRA file.

    Attributes:
        layers: By kohya's name.
        word: The word that calls what it was taught, where the file says it.
        class_noun: What kind of thing that is, likewise.
    """

    layers: dict[str, LoraLayer]
    word: str | None = None
    class_noun: str | None = None


def kohya_name(layer: str) -> str:
    """Turn any trainer's name of a layer into kohya's.

    The text encoder's has `text_model` in it, also where transformers has left that out (>= 5.6).
    """
    name = layer.removeprefix(_PEFT).replace(".processor.", ".").replace(".", "_")
    for prefix, kohya in _PREFIXES.items():
        if name.startswith(prefix):
            name = kohya + name.removeprefix(prefix)
            break
    if name.startswith("lora_te_") and not name.startswith("lora_te_text_model_"):
        name = name.replace("lora_te_", "lora_te_text_model_", 1)
    return name + "_0" * name.endswith("_to_out")  # as diffusers called it before 2024


def read_lora(path: str | os.PathLike[str]) -> Lora:
    """Read a LoRA of diffusers, kohya's scripts, or any trainer that writes as one of them.

    Raises:
        LoraError: There is no such file, it is a pickle, damaged, or no plain LoRA.
    """
    if not isinstance(path, str | os.PathLike):
        raise LoraError(f"path={path!r} must be the name of a {SUFFIX} file")
    path = _check_file(Path(path))
    halves: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for key, (layer, half) in _parse_keys(path, list(file.keys())).items():
                halves.setdefault(layer, {})[half] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise _explain(path, error) from error
    config = metadata.get(LORA_ADAPTER_METADATA_KEY)
    if config is None and any(layer.startswith(_PEFT) for layer in halves):
        config = _read_peft_config(path)
    alphas = _find_alphas(path, halves, config)
    layers = {
        kohya_name(layer): _make_layer(path, layer, halves[layer], alpha)
        for layer, alpha in alphas.items()
    }
    return Lora(layers, metadata.get("word"), metadata.get("class_noun"))


def lora_config(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """Describe layers in peft's words, in no more of them than every version of it knows."""
    ranks = {module: layer.rank for module, layer in layers.items()}
    alphas = {module: layer.alpha for module, layer in layers.items()}
    rank, alpha = (Counter(found.values()).most_common(1)[0][0] for found in (ranks, alphas))
    return {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(layers),
        "rank_pattern": {module: r for module, r in ranks.items() if r != rank},
        "alpha_pattern": {module: a for module, a in alphas.items() if a != alpha},
    }


def _check_file(path: Path) -> Path:
    try:
        if path.is_file():
            return path
    except OSError as error:  # a name that is too long, or a folder that is not for us
        raise LoraError(f"{path} cannot be read ({error.strerror}); check its name") from error
    folder = path if path.is_dir() else path.parent
    names = sorted(found.name for found in folder.glob(f"*{SUFFIX}"))[:5]
    there = f"{folder} has {', '.join(names)}" if names else f"{folder} has no {SUFFIX} file"
    raise LoraError(f"{path} is {'a folder' if path.is_dir() else 'not there'}; {there}")


def _parse_keys(path: Path, keys: list[str]) -> dict[str, tuple[str, str]]:
    """Tell for each key of a file which layer it belongs to, and which of its parts it is."""
    foreign = [key for key in keys if key.startswith(_COMFYUI)]
    if foreign:
        raise LoraError(
            f"{path} names its layers as ComfyUI saves them, such as {foreign[0]}, which is not "
            "read here; save it for kohya's scripts or diffusers, or ask its author for that file"
        )
    found = {key: _KEY.fullmatch(key) for key in keys}
    adapters = sorted({match["adapter"] for match in found.values() if match and match["adapter"]})
    if len(adapters) > 1:
        raise LoraError(
            f"{path} holds several LoRAs, {', '.join(adapters)}; save each in a file of its own"
        )
    strange = [key for key, match in found.items() if match is None]
    if strange or not keys:
        example = f", such as {strange[0]}" if strange else ""
        raise LoraError(
            f"{path} is no plain LoRA: {len(strange)} of its {len(keys)} tensors belong to none"
            f"{example}; load_pipeline loads a whole model, and DoRA and LyCORIS are not read"
        )
    return {key: (match["layer"], _HALVES[match["half"]]) for key, match in found.items() if match}


def _explain(path: Path, error: Exception) -> LoraError:
    if isinstance(error, OSError) and error.errno is not None:
        return LoraError(f"{path} cannot be read ({error.strerror}); check who may read it")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_LFS):
        return LoraError(
            f"{path} is a pointer of git-lfs, which stands for a file that was not downloaded; "
            "run `git lfs pull` in its folder, or download the file itself"
        )
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return LoraError(
            f"{path} is a web page, not the file that was to be downloaded; download it again, "
            "logged in if its site asks for that"
        )
    start = start[:9]
    if start.startswith(_PICKLES) and not start.endswith(b"{"):  # where safetensors has its header
        return LoraError(
            say(
                f"{path} is a pickle, which can run any program when it is opened, so it stays "
                f"closed; ask its author for a {SUFFIX} file",
                f"{path} es un pickle, que al abrirse puede ejecutar cualquier programa, así que "
                f"se queda cerrado; pide a quien lo hizo un archivo {SUFFIX}",
            )
        )
    return LoraError(f"{path} is cut off or damaged ({error}); save or download it again")


def _find_alphas(
    path: Path, halves: Mapping[str, Mapping[str, Tensor]], text: str | None
) -> dict[str, float | None]:
    """Look up each layer's alpha: beside it, as kohya has it, or in diffusers' metadata."""
    try:
        config = json.loads(text or "{}")
        return {layer: _find_alpha(layer, found, config) for layer, found in halves.items()}
    except _DAMAGES as error:
        raise LoraError(
            f"{path} has damaged metadata, so its scale is not known ({error}); "
            "save or download it again"
        ) from error


def _find_alpha(layer: str, found: Mapping[str, Tensor], config: Mapping[str, Any]) -> float | None:
    if "alpha" in found:
        numbers = _widen(found["alpha"]).flatten()
        if len(numbers) != 1 or not numbers.isfinite().all():
            raise ValueError(f"{layer}.alpha={numbers[:4].tolist()}")
        return numbers.item() or None  # kohya takes 0 for the rank
    if layer.startswith(_PEFT):
        component, module = _PEFT[:-1], layer.removeprefix(_PEFT)
    else:
        component, _, module = layer.partition(".")
    alpha: Any = config.get(f"{component}.lora_alpha")
    patterns = config.get(f"{component}.alpha_pattern") or {}
    alpha = next((patterns[p] for p in patterns if _fits(p, module)), alpha)  # as peft: the first
    if config.get(f"{component}.use_rslora"):  # which divides by the root of the rank instead
        alpha = alpha * math.sqrt(len(found["down"]))
    if alpha is not None and (isinstance(alpha, bool) or not math.isfinite(alpha)):
        raise ValueError(f"alpha={alpha}")
    return alpha


def _fits(pattern: str, module: str) -> bool:
    """Whether a pattern of peft's means this module: the end of its name, or a regular expression.

    An expression of many choices can take longer than the universe to fail, so few are read.
    """
    if _PLAIN_NAME.fullmatch(pattern):
        return module == pattern or module.endswith(f".{pattern}")
    choices = sum(pattern.count(sign) for sign in "*+?{|")
    if choices > _MAX_CHOICES or len(pattern) > _MAX_PATTERN_CHARS or _REPEATED.search(pattern):
        raise ValueError(f"the pattern {pattern[:40]!r} is too intricate to be read safely")
    return re.fullmatch(rf"(.*\.)?({pattern})", module[-_MAX_PATTERN_CHARS:]) is not None


def _make_layer(
    path: Path, layer: str, found: Mapping[str, Tensor], alpha: float | None
) -> LoraLayer:
    """Put a layer together; without an alpha its scale is 1."""
    down, up = found.get("down"), found.get("up")
    if down is None or up is None or min(down.ndim, up.ndim) < 2 or len(down) != up.shape[1]:
        shapes = {half: tuple(tensor.shape) for half, tensor in found.items()}
        raise LoraError(
            f"{path} is damaged: its layer {layer} has {shapes}, and must have a down (rank, in) "
            "and an up (out, rank); download it again"
        )
    if not (down.is_floating_point() and up.is_floating_point()):
        raise LoraError(
            f"{path} has whole numbers in {layer} ({down.dtype}), which need a scale to be read; "
            "get it in float16, bfloat16 or float32"
        )
    down, up = _widen(down), _widen(up)
    if not (down.isfinite().all() and up.isfinite().all()):
        raise LoraError(
            f"{path} holds NaN or infinity in {layer}: its training diverged, or it is damaged; "
            "train again with a lower learning rate, or get another copy"
        )
    return LoraLayer(down, up, len(down) if alpha is None else alpha)


def _widen(tensor: Tensor) -> Tensor:
    """Numbers of 8 bits in 32, of which they are some; torch can do little with 8."""
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def _read_peft_config(path: Path) -> str:
    """Read the file that peft writes beside a LoRA, in the words of diffusers' metadata."""
    config = path.with_name(PEFT_CONFIG)
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        settings = {key: found.get(key) for key in ("lora_alpha", "alpha_pattern", "use_rslora")}
    except FileNotFoundError as error:
        raise LoraError(
            f"{path} is a LoRA of peft, whose scale stands in {PEFT_CONFIG}; "
            "put that file beside it"
        ) from error
    except (AttributeError, OSError, ValueError) as error:
        raise LoraError(f"{config} is damaged ({error}); get it again") from error
    return json.dumps({f"{_PEFT[:-1]}.{key}": value for key, value in settings.items()})
