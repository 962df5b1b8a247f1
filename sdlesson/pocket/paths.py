"""Where the files of the pocket model lie, for all who read or write them.

Nothing is imported here, so a module of any row may ask.
"""

from pathlib import Path

HOME = Path(__file__).parent

POCKET_FOLDER = HOME / "model"
"""The pipeline, as `StableDiffusionPipeline.from_pretrained` loads it."""
SCORER_FOLDER = HOME / "scorer"
"""The probe, and the CLIP pair in `clip/`."""
CONTROL_FOLDER = HOME / "control"
"""The ControlNet, once it is trained."""
VOCABULARY_FILE = HOME / "vocabulary.json"
"""Every word of the world's captions: {language: words}."""
MEASURED_FOLDER = HOME / "measured"
"""The tables that lessons show, each made by a script in `benchmarks/`."""

EVALUATION_FILE = HOME / "evaluation.json"
"""The table that this set of weights is judged by."""
PREVIOUS_EVALUATION_FILE = HOME / "evaluation-before.json"
"""The table of the weights before these, on the same scenes."""
CARD_FILE = HOME / "README.md"
CARD_PICTURES = HOME / "card"
TRAINING_NOTES_FILE = HOME / "training.md"
LOOKED_AT_FILE = HOME / "looked_at.md"
"""What a person saw, prompt by prompt: the one part of the card that no program writes."""
