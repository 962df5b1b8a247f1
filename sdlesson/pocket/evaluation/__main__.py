"""`make pocket-eval`: measure the pocket model, and write what was measured and its card.

`evaluation.json` gets the rows of the table, and one for each subject and held-out composition; the
model card is made from it.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime

from sdlesson.metrics import pocket_probe
from sdlesson.pocket.evaluation.card import write_card
from sdlesson.pocket.evaluation.failures import by_composition, by_subject
from sdlesson.pocket.evaluation.judging import composition_right, subject_right
from sdlesson.pocket.evaluation.recognition import clear_by_subject
from sdlesson.pocket.evaluation.samples import GUIDANCE_SCALE, STEPS, judged_pipeline
from sdlesson.pocket.evaluation.table import (
    draw_likeness_sample,
    draw_probe_sample,
    evaluate_by_probe,
    evaluate_likeness,
)
from sdlesson.pocket.paths import EVALUATION_FILE
from sdlesson.runtime import best_device, device_name


def main(arguments: list[str] | None = None) -> None:
    """Measure, write `evaluation.json`, and write the model card."""
    parser = argparse.ArgumentParser(prog="python -m sdlesson.pocket.evaluation")
    parser.add_argument("--n", type=int, default=1_000, help="pictures a row")
    parser.add_argument("--n-clear", type=int, default=500, help="pictures a row of likeness")
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--card-only", action="store_true", help="keep the figures there are")
    options = parser.parse_args(arguments)
    pipe = judged_pipeline(options.device)
    if not options.card_only:
        started = datetime.now(UTC)
        probe = pocket_probe()
        likeness_sample = draw_likeness_sample(pipe, options.n_clear)
        probe_sample = draw_probe_sample(pipe, probe, options.n)
        rows = {
            name: {k: v for k, v in vars(figure).items() if v is not None}
            for name, figure in (
                evaluate_likeness(probe, likeness_sample) | evaluate_by_probe(pipe, probe_sample)
            ).items()
        }
        parts = {
            "clear_subjects": clear_by_subject(likeness_sample.singles),
            "subjects": by_subject(probe_sample.singles, subject_right),
            "compositions": by_composition(probe_sample.held_out, composition_right),
        }
        settings = {
            "scheduler": type(pipe.scheduler).__name__.removesuffix("Scheduler"),
            "steps": STEPS, "guidance_scale": GUIDANCE_SCALE,
            "device": device_name(options.device), "date": started.date().isoformat(),
            "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
        }  # fmt: skip
        EVALUATION_FILE.write_text(
            json.dumps({**rows, **parts, "settings": settings}, indent=1) + "\n"
        )
    write_card(pipe)


if __name__ == "__main__":
    main()
