"""Teach a pipeline something new from a few photos: DreamBooth, in full or as a LoRA.

`train` does it; `load_photos` reads the photos and `TrainingSettings` says how. A LoRA is saved,
loaded and exported as a file; `estimate_memory` says beforehand what a training will take.
"""

from sdlesson.finetuning.adapters import adapter_off, trained_parameters
from sdlesson.finetuning.history import History, Step
from sdlesson.finetuning.kohya import export_kohya
from sdlesson.finetuning.lora_files import LoadedLora, load_lora, save_lora
from sdlesson.finetuning.lora_format import LoraError
from sdlesson.finetuning.losses import training_loss
from sdlesson.finetuning.memory import DoesNotFitError, MemoryEstimate, estimate_memory
from sdlesson.finetuning.photos import PhotoError, load_photos
from sdlesson.finetuning.run import DivergedError
from sdlesson.finetuning.settings import TrainingSettings
from sdlesson.finetuning.training import Training, train

__all__ = [
    "DivergedError",
    "DoesNotFitError",
    "History",
    "LoadedLora",
    "LoraError",
    "MemoryEstimate",
    "PhotoError",
    "Step",
    "Training",
    "TrainingSettings",
    "adapter_off",
    "estimate_memory",
    "export_kohya",
    "load_lora",
    "load_photos",
    "save_lora",
    "train",
    "trained_parameters",
    "training_loss",
]
