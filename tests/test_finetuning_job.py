"""What a training is told, before it begins."""

from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

from fixtures_finetuning import make_photos, make_settings
from sdlesson.finetuning.training_job import make_training_job


@pytest.mark.parametrize(
    ("prompt", "class_prompt"),
    [
        ("zwx robot", "robot"),
        ("Zwx  robot", "robot"),
        ("robot zwx", "robot"),
        ("a zwx", "a robot"),
        ("a robotzwx zwx", "a robotzwx robot"),
        ("two zwx robots", "two robots"),
        ("a zwx on robotic", "a robot on robotic"),
        ("zwx robot-car", "robot robot-car"),
    ],
)
def test_the_prior_is_asked_for_the_same_scene_with_any_other_of_the_class(
    tiny: StableDiffusionPipeline, tmp_path: Path, prompt: str, class_prompt: str
) -> None:
    job = make_training_job(tiny, make_photos(2), make_settings(), tmp_path, ["zwx robot", prompt])
    assert job.class_prompts == ["robot", class_prompt]


def test_by_default_the_prior_is_asked_for_the_class(
    tiny: StableDiffusionPipeline, tmp_path: Path
) -> None:
    settings = make_settings()
    job = make_training_job(tiny, make_photos(2), settings, tmp_path, None)
    assert job.class_prompts == [settings.class_prompt] * 2
