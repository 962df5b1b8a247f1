"""Independent copies of what remembers things, so that threads can share a pipeline.

Weights are only read while a picture is drawn, and are shared. The rest of a pipeline remembers:
the pipeline itself its last guidance, a scheduler its steps, a tokenizer how long its last texts
were cut and padded. Two threads that share one of these draw each other's pictures, without a word.
"""

import copy
import threading
from weakref import WeakKeyDictionary

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin, StableDiffusionPipeline
from torch import nn
from transformers import PreTrainedTokenizerBase


class _OfThisThread(threading.local):
    """The copies of tokenizers that belong to one thread, by what each was copied from."""

    def __init__(self) -> None:
        self.tokenizers: WeakKeyDictionary[
            PreTrainedTokenizerBase, tuple[str, PreTrainedTokenizerBase]
        ] = WeakKeyDictionary()


_copies = _OfThisThread()


def independent_copy(pipe: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Return a pipeline of the same weights that remembers nothing of the other, or for it.

    Texts are left to `diffusion.embed`, which has a tokenizer of its own in each thread.

    Raises:
        ValueError: It is no loaded pipeline.
    """
    copied = copy.copy(check_loaded(pipe))
    copied.scheduler = copy_scheduler(pipe.scheduler)
    return copied


def copy_scheduler(scheduler: SchedulerMixin) -> SchedulerMixin:
    """Make the same scheduler anew, as before its first step."""
    return type(scheduler).from_config(scheduler.config)


def own_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return this thread's own copy, made once: a third of a second for Stable Diffusion 1.5's.

    Raises:
        ValueError: It is no tokenizer, such as the name of a model.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(f"tokenizer={tokenizer!r} must be a loaded tokenizer; try pipe.tokenizer")
    state = repr(tokenizer)  # with the words that were added to it since
    known_state, own = _copies.tokenizers.get(tokenizer, ("", tokenizer))
    if known_state != state:
        own = copy.deepcopy(tokenizer)
        _copies.tokenizers[tokenizer] = (state, own)
    return own


def in_float32(vae: AutoencoderKL) -> AutoencoderKL:
    """Return the VAE, or a copy of one in half precision: others go on decoding with that one."""
    if vae.dtype == torch.float32:
        return vae
    return nn.Module.to(copy.deepcopy(vae), torch.float32)  # diffusers' own `to` warns of casts


def check_loaded(pipe: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Return a pipeline that is loaded; a name would have to be loaded at every call.

    Raises:
        ValueError: It is something else, such as the name of a model.
    """
    if not isinstance(pipe, DiffusionPipeline):
        name = repr(pipe) if isinstance(pipe, str) else ""
        raise ValueError(
            f"pipe={pipe!r} must be a loaded pipeline; try pipe = sdlesson.load_pipeline({name})"
        )
    return pipe
