"""What a lesson shows to work with: the playground, photos to choose, a training to watch."""

from sdlesson.widgets.photos import PhotoUpload
from sdlesson.widgets.playground import Playground
from sdlesson.widgets.training import TrainingPanel

__all__ = ["PhotoUpload", "Playground", "TrainingPanel"]
