"""What needs the real Hub and a real GPU; run by `make test-real`, never by `make test`."""

import numpy as np
import pytest
import torch

from sdlesson import draw, load_pipeline

pytestmark = [pytest.mark.network, pytest.mark.gpu]


def test_stable_diffusion_15_loads_in_half_precision_and_draws():
    pipe = load_pipeline("sd15")
    assert pipe.unet.dtype == torch.float16
    assert pipe.device.type == "cuda"
    drawing = draw("an astronaut riding a horse on Mars", pipe=pipe, seed=1, num_inference_steps=20)
    assert drawing.image.size == (512, 512)
    assert drawing.flagged or np.asarray(drawing.image).std() > 20


def test_the_pocket_model_draws_the_same_picture_on_the_gpu():
    from sdlesson.images import same_picture

    prompt = "an astronaut riding a horse on Mars"
    on_gpu, on_cpu = (
        draw(prompt, pipe=load_pipeline("pocket", device=device, dtype=torch.float32), seed=1).image
        for device in ("cuda", "cpu")
    )
    assert same_picture(on_gpu, on_cpu)
