"""Show what was measured: curves with the pictures behind them, bars, strips and animations."""

from sdlesson.figures.charts import Chart, bars, curves
from sdlesson.figures.strips import Animation, animation, enlarged, grid, strip

__all__ = ["Animation", "Chart", "animation", "bars", "curves", "enlarged", "grid", "strip"]
