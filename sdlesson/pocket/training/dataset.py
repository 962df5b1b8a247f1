"""The training scenes, rendered once into one memory-mapped file that every stage reads."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sdlesson.files import atomic_write
from sdlesson.pocket.world.rendering import render
from sdlesson.pocket.world.scenes import SIZE_PX, scene_at

CHUNK = 250


def render_scenes(folder: Path, count: int, seed: int, *, held_out: bool = False) -> np.ndarray:
    """Render scenes 0 to `count` into `folder`, or open them where that was done before.

    Returns:
        (count, 128, 128, 3), uint8, memory-mapped.
    """
    path = folder / f"{'held-out' if held_out else 'scenes'}-{seed}-{count}.npy"
    if not path.exists():
        shape = (count, SIZE_PX, SIZE_PX, 3)
        starts = range(0, count, CHUNK)
        with atomic_write(path) as partial_bank, ProcessPoolExecutor(os.cpu_count()) as pool:
            bank = np.lib.format.open_memmap(partial_bank, "w+", np.uint8, shape)
            chunks = pool.map(
                partial(_render_chunk, count=count, seed=seed, held_out=held_out), starts
            )
            for start, chunk in zip(starts, tqdm(chunks, "scenes", len(starts)), strict=True):
                bank[start : start + len(chunk)] = chunk
            bank.flush()
    return np.load(path, mmap_mode="r")


def to_unit_pixels(bank: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, H, W, 3) to pixels (B, 3, H, W) in [-1, 1], channels last in memory."""
    pixels = torch.from_numpy(np.array(bank)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def _render_chunk(start: int, count: int, seed: int, held_out: bool) -> np.ndarray:
    scenes = (scene_at(i, seed, held_out=held_out) for i in range(start, min(start + CHUNK, count)))
    return np.stack([np.asarray(render(scene)) for scene in scenes])
