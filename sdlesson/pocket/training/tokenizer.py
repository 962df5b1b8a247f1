"""A CLIP tokenizer for the pocket world: byte-pair merges learned from its captions."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

from sdlesson.pocket.world.grammar import LANGUAGES, loose_caption
from sdlesson.pocket.world.scenes import scene_at

WINDOW_TOKENS = 32
"""Start and end included; SD 1.5 has 77."""
VOCABULARY_SIZE = 1_400
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts text into words before it merges bytes (Radford et al. 2021)."""


def train_tokenizer(captions: int = 20_000, seed: int = 0) -> CLIPTokenizer:
    """Learn merges from `captions` captions of training scenes, both languages in turn.

    Every byte is in the vocabulary, alone and as the end of a word, so any text can be encoded.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_captions(captions, seed), trainer)
    return _as_clip(tokenizer, alphabet)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids padded and cut to the window, (B, 32)."""
    return tokenizer(
        captions,
        padding="max_length",
        truncation=True,
        max_length=WINDOW_TOKENS,
        return_tensors="pt",
    ).input_ids


def _captions(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for i in range(count):
        yield loose_caption(scene_at(i, seed), LANGUAGES[i % len(LANGUAGES)], rng)


def _as_clip(trained: Tokenizer, alphabet: list[str]) -> CLIPTokenizer:
    """CLIP's order of the vocabulary: bytes, bytes that end a word, merges, start and end."""
    merges = [tuple(merge) for merge in _merges(trained)]
    tokens = [*alphabet, *(f"{byte}</w>" for byte in alphabet)]
    tokens += ["".join(merge) for merge in merges]
    ordered = list(dict.fromkeys([*tokens, START, END]))
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(ordered)},
        merges=merges,
        model_max_length=WINDOW_TOKENS,
    )


def _merges(trained: Tokenizer) -> list[list[str]]:
    return json.loads(trained.to_str())["model"]["merges"]
