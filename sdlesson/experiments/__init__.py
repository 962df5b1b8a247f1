"""Experiments: every combination of some settings drawn, in a table and side by side in a grid."""

from sdlesson.experiments.sweep_results import Sweep
from sdlesson.experiments.sweeping import sweep

__all__ = ["Sweep", "sweep"]
