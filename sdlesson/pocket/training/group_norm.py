"""Group norm for bf16 pictures in channels-last memory, where PyTorch's own is slow on a CPU.

Every sum runs over whole rows of channels, so each pass over memory is a plain vector operation.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def use_fast_group_norms(model: nn.Module) -> None:
    """Let every group norm of a model run this way, where a CPU is in bf16."""
    for norm in model.modules():
        if isinstance(norm, nn.GroupNorm):
            norm.forward = partial(_forward, norm)  # type: ignore[method-assign]


def _forward(norm: nn.GroupNorm, inputs: Tensor) -> Tensor:
    if inputs.ndim == 4 and inputs.dtype == torch.bfloat16 and inputs.device.type == "cpu":
        return FastGroupNorm.apply(inputs, norm.weight, norm.bias, norm.num_groups, norm.eps)
    return F.group_norm(inputs, norm.num_groups, norm.weight, norm.bias, norm.eps)


class FastGroupNorm(torch.autograd.Function):
    """y = w (x - mean) / std + b, mean and std over each group (Wu & He 2018, arXiv:1803.08494)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        """Normalise pictures (B, C, H, W)."""
        x = _rows(inputs)  # (B, H W, C)
        sums, squares = x.sum(1, dtype=torch.float32), (x * x).sum(1, dtype=torch.float32)
        mean = _over_groups(sums, groups, x.shape[1])  # (B, C), equal within a group
        variance = _over_groups(squares, groups, x.shape[1]) - mean * mean
        scale = (variance.clamp_min(0) + eps).rsqrt()
        ctx.save_for_backward(x, scale, mean, weight)
        ctx.groups = groups
        y = torch.addcmul(_row(bias - mean * scale * weight, x), x, _row(scale * weight, x))
        return _pictures(y, inputs.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Send the gradient back to pictures, weight and bias."""
        x, scale, mean, weight = ctx.saved_tensors
        g = _rows(gradients[0])
        of_bias = g.sum(1, dtype=torch.float32)  # (B, C)
        of_weight = scale * ((g * x).sum(1, dtype=torch.float32) - mean * of_bias)
        # What the mean and the std, which depend on every x of the group, send back.
        by_mean = scale * _over_groups(of_bias * weight, ctx.groups, x.shape[1])
        by_std = scale * scale * _over_groups(of_weight * weight, ctx.groups, x.shape[1])
        constant = _row(by_std * mean - by_mean, x)
        of_x = torch.addcmul(
            torch.addcmul(constant, g, _row(scale * weight, x)), x, _row(-by_std, x)
        )
        shape = gradients[0].shape
        return _pictures(of_x, shape), of_weight.sum(0), of_bias.sum(0), None, None


def _rows(pictures: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H W, C); a view of what lies channels-last."""
    return pictures.permute(0, 2, 3, 1).flatten(1, 2)


def _pictures(rows: Tensor, shape: torch.Size) -> Tensor:
    b, c, h, w = shape
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def _over_groups(sums: Tensor, groups: int, rows: int) -> Tensor:
    """Sums of single channels (B, C) to means over their groups, one for each channel again."""
    b, c = sums.shape
    means = sums.view(b, groups, c // groups).sum(2) / (rows * c // groups)
    return means.repeat_interleave(c // groups, dim=1)


def _row(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[:, None]
