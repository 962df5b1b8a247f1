"""How far one set of pictures is from another, seen as clouds of features."""

from __future__ import annotations

import torch
from torch import Tensor

SPLITS = 8
"""How many times the sets are halved at random; more make the answer steadier."""


def frechet_distance(features: Tensor, reference_features: Tensor) -> float:
    """How far two sets of features are apart, each taken for a Gaussian: 0 or more.

    |mu - mu_r|^2 + trace(C + C_r - 2 (C C_r)^(1/2)), in double precision, for any number of
    rows. With the features of an Inception network it is the FID; with those of a CLIP its values
    are others, and only those of the same features compare.

    It is biased upward, the more the fewer the pictures: two small sets of the very same
    distribution are far apart. Never compare it between sets of different sizes; see
    `unbiased_frechet_distance`. And it sees no more than mean and covariance.

    Args:
        features: (N, D), such as `clip_scorer().embed_images(images)`.
        reference_features: (M, D), of real pictures.

    Raises:
        ValueError: A set has fewer than two rows, or their shapes do not fit.

    Source: Heusel et al. 2017, section 2, arXiv:1706.08500; Dowson & Landau 1982,
    doi:10.1016/0047-259X(82)90077-X.
    """
    _check_features(features, reference_features)
    mean, covariance = _gaussian(features)
    mean_r, covariance_r = _gaussian(reference_features)
    # (C C_r)^(1/2) has the trace of (R C_r R)^(1/2), R = C^(1/2), which is symmetric: stable.
    root = _square_root(covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ covariance_r @ root)
    cross = eigenvalues.clamp(min=0).sqrt().sum()  # rounding may leave -1e-17 for 0
    apart = (mean - mean_r).square().sum() + covariance.trace() + covariance_r.trace() - 2 * cross
    return max(0.0, apart.item())


def unbiased_frechet_distance(
    features: Tensor, reference_features: Tensor, *, generator: torch.Generator | None = None
) -> float:
    """The Fréchet distance that infinitely many pictures would have, to first order in 1/N.

    The bias falls as 1/N, so half the pictures have twice the bias, and twice the distance of
    the whole less that of its halves has none. It can fall below 0 where the truth is near 0: that
    is chance, not an error. With fewer pictures than twice the dimensions of the features, the
    bias does not fall as 1/N yet, and there is no answer.

    Args:
        features: (N, D).
        reference_features: (M, D).
        generator: Halves the sets; a fresh one by default, so that the answer repeats.

    Raises:
        ValueError: A set has fewer rows than 2 * D, or their shapes do not fit.

    Source: Chong & Forsyth 2020, section 3, arXiv:1911.07023 (FID at infinity, by a line through
    many sizes; here through two); Quenouille 1949 (taking twice the whole less the halves).
    """
    _check_features(features, reference_features)
    needed = max(4, 2 * features.shape[1])
    if min(len(features), len(reference_features)) < needed:
        raise ValueError(
            f"sets of {len(features)} and {len(reference_features)} are too small for features "
            f"of {features.shape[1]} dimensions; give {needed} pictures or more of each"
        )
    if not isinstance(generator, torch.Generator | None):
        raise ValueError(f"generator={generator!r} must be a torch.Generator, or left out")
    generator = generator or torch.Generator().manual_seed(0)
    halves = []
    for _ in range(SPLITS):
        ours, theirs = (
            rows[torch.randperm(len(rows), generator=generator)].tensor_split(2)
            for rows in (features, reference_features)
        )
        halves += [frechet_distance(a, b) for a, b in zip(ours, theirs, strict=True)]
    return 2 * frechet_distance(features, reference_features) - sum(halves) / len(halves)


def _check_features(features: Tensor, reference_features: Tensor) -> None:
    both = (features, reference_features)
    if not all(isinstance(rows, Tensor) and not rows.is_complex() for rows in both):
        kinds = " and ".join(type(rows).__name__ for rows in both)
        raise ValueError(f"features are {kinds}, must be tensors of real numbers; try torch.tensor")
    shapes = [tuple(rows.shape) for rows in both]
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or not (
        shapes[0][1] == shapes[1][1] > 0
    ):
        raise ValueError(f"features have shapes {shapes}, must be (N, D) and (M, D), N and M > 1")
    if not all(rows.isfinite().all() for rows in both):
        raise ValueError("features hold NaN or infinities; look for broken pictures among them")


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D), in double precision."""
    rows = features.double()
    return rows.mean(0), torch.atleast_2d(rows.T.cov())  # cov of one dimension is a scalar


def _square_root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric matrix whose eigenvalues are 0 or more."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
