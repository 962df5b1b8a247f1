"""Where in the picture is each word looked at? Cross-attention, read from a U-Net while it draws.

In a cross-attention layer each place of the latents shares out one unit of attention among the
tokens of the text. This keeps the shares, and adds them up for each word.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from PIL import Image
from torch import Generator, Tensor

from sdlesson.copies import check_loaded
from sdlesson.diffusion import decode, denoise
from sdlesson.settings import DEFAULT_STEPS, check_prompt, check_seed

CROSS = "attn2"  # what diffusers calls the layers that look at the text; attn1 looks at itself


class WordMaps(NamedTuple):
    """A picture, and how much each place of its latents looked at each word of its prompt.

    Attributes:
        picture: What was drawn.
        maps: By the word, (H/8, W/8); at each place the words' shares add up to less than 1, since
            the tokens of start, end and padding get the rest.
    """

    picture: Image.Image
    maps: dict[str, Tensor]


def word_maps(
    pipe: StableDiffusionPipeline,
    prompt: str,
    *,
    seed: int = 0,
    num_inference_steps: int = DEFAULT_STEPS,
    guidance_scale: float = 7.5,
) -> WordMaps:
    """Draw a square picture, and average its cross-attention over layers, heads and steps.

    Raises:
        ValueError: The pipe is not loaded, or a setting is outside its range.

    Source: the idea is that of Hertz et al. 2022 (prompt-to-prompt), arXiv:2208.01626.
    """
    check_prompt(prompt)
    generator = Generator("cpu").manual_seed(check_seed(seed))
    check_loaded(pipe)
    with _recording(pipe.unet) as shares:
        *_, last = denoise(
            pipe,
            prompt,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            generator=generator,
        )
    side = pipe.unet.config.sample_size
    by_token = torch.stack([_as_square(share, side) for share in shares]).mean(dim=0)
    maps: dict[str, Tensor] = {}
    for word, tokens in _tokens_of_words(pipe, prompt).items():
        maps[word] = by_token[tokens].sum(dim=0)
    return WordMaps(decode(pipe, last.latents)[0], maps)


class _Recorder:
    """A cross-attention layer as diffusers' plain `AttnProcessor` computes it, its shares kept."""

    def __init__(self, kept: list[Tensor]) -> None:
        self.kept = kept

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        query = attention.head_to_batch_dim(attention.to_q(hidden_states))
        key = attention.head_to_batch_dim(attention.to_k(encoder_hidden_states))
        value = attention.head_to_batch_dim(attention.to_v(encoder_hidden_states))
        shares = attention.get_attention_scores(query, key, attention_mask)
        # (B * heads, places, tokens); with guidance the half of the prompt comes last in B.
        by_picture = shares.view(len(hidden_states), -1, *shares.shape[1:]).mean(dim=1)
        self.kept.append(by_picture[-1].float().cpu())
        mixed = attention.batch_to_head_dim(shares @ value)
        project, drop_out = attention.to_out
        return drop_out(project(mixed))


@contextmanager
def _recording(unet: UNet2DConditionModel) -> Iterator[list[Tensor]]:
    """Let every cross-attention layer keep its shares, and put the layers back at the end."""
    before, kept = unet.attn_processors, []  # type: ignore[var-annotated]
    unet.set_attn_processor(
        {name: _Recorder(kept) if CROSS in name else old for name, old in before.items()}
    )
    try:
        yield kept
    finally:
        unet.set_attn_processor(before)


def _as_square(shares: Tensor, side: int) -> Tensor:
    """Bring shares, (places, tokens), to (tokens, side, side); deep layers have fewer places."""
    own = math.isqrt(len(shares))
    square = shares.T.reshape(1, -1, own, own)
    return torch.nn.functional.interpolate(square, (side, side), mode="bilinear")[0]


def _tokens_of_words(pipe: StableDiffusionPipeline, prompt: str) -> dict[str, list[int]]:
    """The places in the tokenizer's window of each word's pieces, in order."""
    encoded = pipe.tokenizer(prompt, truncation=True, return_offsets_mapping=True)
    words: dict[str, list[int]] = {}
    last_end, word = -1, ""
    for place, (start, end) in enumerate(encoded.offset_mapping):
        if start == end:  # the start or the end of the text
            continue
        if start != last_end:
            word = prompt[start:].split()[0].strip(",.;:!?¡¿")
        last_end = end
        words.setdefault(word, []).append(place)
    return words
