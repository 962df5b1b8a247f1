"""Teach a pipeline something new from a few photos: DreamBooth, in full or as a LoRA.

`train` does it; `load_photos` reads the photos and `TrainingSettings` says how. A LoRA is saved,
loaded and exported as a file; `estimate_memory` says beforehand what a training will take.
"""

from sdlesson.finetuning.adapters import adapters_disabled, trainable_parameters
from sdlesson.finetuning.dreambooth import TrainingResult, train
from sdlesson.finetuning.history import History, TrainingStep
from sdlesson.finetuning.lora_format import LoraError
from sdlesson.finetuning.lora_loading import LoadedLora, load_lora
from sdlesson.finetuning.lora_saving import export_kohya, save_lora
from sdlesson.finetuning.losses import training_loss
from sdlesson.finetuning.memory import DoesNotFitError, MemoryEstimate, estimate_memory
from sdlesson.finetuning.trainer import DivergedError
from sdlesson.finetuning.training_job import PhotoError, load_photos
from sdlesson.finetuning.training_settings import TrainingSettings

__all__ = [
    "DivergedError",
    "DoesNotFitError",
    "History",
    "LoadedLora",
    "LoraError",
    "MemoryEstimate",
    "PhotoError",
    "TrainingResult",
    "TrainingSettings",
    "TrainingStep",
    "adapters_disabled",
    "estimate_memory",
    "export_kohya",
    "load_lora",
    "load_photos",
    "save_lora",
    "train",
    "trainable_parameters",
    "training_loss",
]
