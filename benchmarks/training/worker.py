"""One training in a process of its own, timed and weighed from outside: ours, or diffusers' script.

Both trainers run unchanged. PyTorch calls a hook after each step of any optimizer, which notes the
time and the memory. Memory counts from where the libraries are loaded and nothing else is.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")  # Linux only
STAND_IN = Path(__file__).parent / "stand_in"
# What the two import between them, so that both are weighed from the same start.
LIBRARIES = (
    "accelerate",
    "diffusers.loaders",
    "diffusers.optimization",
    "diffusers.pipelines.stable_diffusion",
    "diffusers.training_utils",
    "peft",
    "transformers.models.auto",
    "transformers.models.clip",
    "sdlesson.finetuning.dreambooth",
)


def main() -> None:
    """Train as told, and write down what it took."""
    parser = argparse.ArgumentParser(description="One training, measured.")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--script", type=Path, help="diffusers' script; what follows is for it")
    parser.add_argument("--settings", type=json.loads, help="of our trainer, as JSON")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path)
    known, rest = parser.parse_known_args()
    for name in LIBRARIES:
        importlib.import_module(name)
    meter = Meter()
    if known.script:
        _run_script(known.script, rest)
    else:
        _run_ours(known.photos, known.settings, known.folder)
    known.report.write_text(json.dumps(meter.report()), encoding="utf-8")


class Meter:
    """The moment of each step, and the most memory up to the last one.

    On a CPU a moment is the processor's time, which runs for this process alone: what else the
    machine does does not count.
    """

    def __init__(self) -> None:
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self._cuda = torch.cuda if torch.cuda.is_available() else None
        self._moments: list[float] = []
        self._peak = 0
        self._baseline = 0 if self._cuda else _status("VmRSS")
        register_optimizer_step_post_hook(self._note)

    def report(self) -> dict[str, Any]:
        """Moments in seconds, one a step, and bytes above the libraries."""
        return {"moments_s": self._moments, "memory_bytes": self._peak - self._baseline}

    def _note(self, *step: Any) -> None:
        if self._cuda:
            self._cuda.synchronize()
            self._moments.append(time.perf_counter())
            self._peak = self._cuda.max_memory_allocated()
        else:
            self._moments.append(time.process_time())
            self._peak = _status("VmHWM")


def _run_script(script: Path, arguments: list[str]) -> None:
    if importlib.util.find_spec("torchvision") is None:
        sys.path.insert(0, str(STAND_IN))
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def _run_ours(photos: Path, settings: dict[str, Any], folder: Path) -> None:
    import torch
    from PIL import Image

    from sdlesson.finetuning.dreambooth import train
    from sdlesson.finetuning.training_settings import TrainingSettings
    from sdlesson.pipelines import load_pipeline

    images = [Image.open(path).convert("RGB") for path in sorted(photos.iterdir())]
    pipe = load_pipeline("pocket", dtype=torch.float32)
    training = train(pipe, images, TrainingSettings(**settings), folder)
    training.save(folder / "pytorch_lora_weights.safetensors")


def _status(name: str) -> int:
    """A figure of this process's memory in bytes: VmRSS is now, VmHWM the most so far."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
