"""Is a picture good? Figures that say so, each with what it means and when it lies.

The probe says what a picture shows, likeness whether an eye would find it there, a CLIP how well it
fits its words, a Fréchet distance how far a whole set is from another, and pixels whether colours
are broken. A figure from few pictures is worth its interval, so shares and means carry theirs;
`measured` opens what was counted on many.
"""

from sdlesson.metrics.frechet import frechet_distance, unbiased_frechet_distance
from sdlesson.metrics.intervals import (
    Mean,
    Share,
    mean,
    mean_change,
    share,
    share_change,
    wilson_interval,
)
from sdlesson.metrics.likeness import CLEAR, Likeness, likeness
from sdlesson.metrics.pixels import (
    PixelStatistics,
    fine_detail,
    pixel_statistics,
    seam_ratio,
)
from sdlesson.metrics.scorers import (
    ClipScorer,
    clip_score,
    clip_scorer,
    diversity,
    image_similarity,
    pocket_probe,
)
from sdlesson.metrics.tables import Table, measured, write_table

__all__ = [
    "CLEAR",
    "ClipScorer",
    "Likeness",
    "Mean",
    "PixelStatistics",
    "Share",
    "Table",
    "clip_score",
    "clip_scorer",
    "diversity",
    "fine_detail",
    "frechet_distance",
    "image_similarity",
    "likeness",
    "mean",
    "mean_change",
    "measured",
    "pixel_statistics",
    "pocket_probe",
    "seam_ratio",
    "share",
    "share_change",
    "unbiased_frechet_distance",
    "wilson_interval",
    "write_table",
]
