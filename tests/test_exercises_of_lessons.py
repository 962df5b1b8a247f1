"""What each check says to a right answer, to nothing, and to the usual wrong ones."""

import pytest
import torch
from PIL import Image, ImageDraw

from sdlesson.diffusion import add_noise, ddim_step, guide
from sdlesson.drawing import draw
from sdlesson.exercises import lesson_00, lesson_01, lesson_02
from sdlesson.language import set_language
from sdlesson.pipelines import load_pipeline
from sdlesson.safety import Flag

BARS = torch.linspace(0.999, 0.005, 1000)
CLEAN, NOISE = torch.randn(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def bar(t):
    return BARS[t]


def jump(answer):
    return lesson_02.jump(answer, CLEAN, NOISE, BARS)


def step(answer):
    return lesson_02.my_step(answer, CLEAN, NOISE, BARS, pairs=[(961, 921), (481, 441)])


def flags(answer):
    five = [Flag(0, cosine, threshold=0.2) for cosine in (0.3, 0.3, 0.1, 0.1, 0.25)]
    return lesson_01.false_alarms(answer, five, [True, False, True, False, False])


def spoil(answer):
    picture = Image.new("RGB", (16, 16), "white")
    ImageDraw.Draw(picture).rectangle((0, 0, 8, 16), "red")
    return lesson_02.spoil(answer, picture)


def clean(x, eps, t):
    return (x - (1 - bar(t)).sqrt() * eps) / bar(t).sqrt()


def grey(image):
    return Image.new("RGB", image.size, "gray")


CHECKS = [
    (
        jump,
        lambda c, n, t: add_noise(c, n, torch.tensor([t]), BARS),
        [
            (lambda c, n, t: bar(t) * c + (1 - bar(t)) * n, "square roots are missing"),
            (lambda c, n, t: bar(t).sqrt() * n + (1 - bar(t)).sqrt() * c, "are swapped"),
            (lambda c, n, t: bar(t).sqrt() * c - (1 - bar(t)).sqrt() * n, "A sign"),
            (lambda c, n, t: bar(t).sqrt() * c, "With t=500: a tensor of 1 x 3 x 8 x 8"),
        ],
    ),
    (
        lesson_02.my_guide,
        guide,
        [
            (lambda u, t, s: t + s * (u - t), "swapped"),
            (lambda u, t, s: u + s * (u - t), "A sign"),
            (lambda u, t, s: s * t, "in no direction"),
            (lambda u, t, s: u + (t - u), "guidance_scale=7.5: 3 came, 16 was expected"),
        ],
    ),
    (
        step,
        lambda x, eps, t, end: ddim_step(x, eps, bar(t), bar(end)),
        [
            (lambda x, eps, t, end: clean(x, eps, t), "now put noise back"),
            (lambda x, eps, t, end: ddim_step(x, eps, bar(end), bar(t)), "are swapped"),
            (lambda x, eps, t, end: ddim_step(x, eps, bar(t), bar(t - 1)), "not t - 1"),
            (
                lambda x, eps, t, end: bar(end).sqrt() * clean(x, eps, t),
                "With t=961, next_t=921",
            ),
        ],
    ),
    (
        flags,
        lambda flags, truths: [1, 4],
        [
            (lambda flags, truths: [0, 1, 4], "rightly or not"),
            (lambda flags, truths: [2], "other kind of error"),
            (lambda flags, truths: [1, 2, 4], "both kinds"),
            (lambda flags, truths: [2, 5], "Count from 0"),
            (lambda flags, truths: [1], "[1] came, [1, 4] was expected"),
        ],
    ),
    (
        spoil,
        lambda image, amount: Image.blend(image, grey(image), amount),
        [
            (lambda image, amount: image, "never changes"),
            (lambda image, amount: Image.blend(image, grey(image), 1 - amount), "wrong way round"),
            (lambda image, amount: grey(image), "At 0 it must change nothing"),
            (lambda image, amount: grey(image) if amount else image, "0.5 and 1 do the same"),
        ],
    ),
    (
        lambda answers: lesson_01.tokens(*answers),
        ["none", "read", "write"],
        [
            (["write"] * 3, "needs no token at all"),
            (["none", "none", "write"], "who you are"),
            (["none", "write", "write"], "nothing has to be changed"),
            (["None", "read", "write"], "between quotes"),
        ],
    ),
    (
        lesson_00.my_prompt,
        "un gato en el bosque",
        [
            ("a kitten in the jungle", "It does not know: kitten, jungle"),
            ("a robot in the forest", "where is the kitten"),
            ("a cat on the beach", "where is the jungle"),
            ("", "between quotes"),
        ],
    ),
]


@pytest.mark.parametrize(("check", "right", "wrong"), CHECKS, ids=range(len(CHECKS)))
def test_a_check_accepts_the_right_answer_and_names_the_usual_wrong_ones(check, right, wrong):
    assert check(right).solved
    for answer, said in wrong:
        verdict = check(answer)
        assert not verdict.solved
        assert said in verdict.message
        assert "Hint" in verdict.message
    set_language("es")
    assert "Pista" in check(wrong[0][0]).message
    assert "Todavía no" in check(wrong[0][0]).message


class Part(torch.nn.Linear):
    """A network of a known size."""

    def num_parameters(self):
        return self.weight.numel() + self.bias.numel()


PARTS = {"unet": Part(999, 600), "vae": Part(99, 500), "safety_checker": Part(9, 9_000)}
WEIGHTS = sum(part.num_parameters() for part in PARTS.values())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (16 * WEIGHTS / 10**9, "bits"),
        (4 * WEIGHTS / 10**9, "float32"),
        (2 * WEIGHTS / 2**30, "gibibytes"),
        (2 * PARTS["unet"].num_parameters() / 10**9, "U-Net alone"),
        (2 * WEIGHTS, "bytes"),
        (..., "Fill in"),
    ],
)
def test_a_wrong_size_is_told_what_it_is_the_size_of(monkeypatch, answer, said):
    monkeypatch.setattr(lesson_01, "WITHIN_GB", 1e-6)  # these parts are tiny
    assert lesson_01.gigabytes(2 * WEIGHTS / 10**9, PARTS).solved
    verdict = lesson_01.gigabytes(answer, PARTS)
    assert not verdict.solved
    assert said in verdict.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda model: len(list(model.parameters())), "counts tensors"),
        (lambda model: sum(p.nbytes for p in model.parameters()), "bytes"),
        (lambda model: sum(len(p) for p in model.parameters()), "first side"),
        (lambda model: None, "Fill in"),
    ],
)
def test_a_wrong_count_is_told_what_it_counts(answer, said):
    right = lesson_01.count_parameters(Part.num_parameters, PARTS)
    assert right.solved
    assert said in lesson_01.count_parameters(answer, PARTS).message


def test_a_picture_of_ones_own_has_something_in_it():
    pipe = load_pipeline("pocket")
    pipe.set_progress_bar_config(disable=True)
    drawing = draw("a robot in the snow", pipe=pipe, seed=1, num_inference_steps=15)
    other = draw("a cat in the forest", pipe=pipe, seed=1, num_inference_steps=15)
    seen = [other.image]
    black = Image.new("RGB", (128, 128))
    empty = draw("on the beach", pipe=pipe, seed=1, num_inference_steps=12).image
    assert lesson_00.my_picture(drawing.image, seen).solved
    for answer, said in [
        (black, "all of one colour"),
        (drawing, "the picture in it is .image"),
        ("a robot", "That is a text"),
        (other.image, "has been drawn above"),
        (empty, "finds no subject"),
    ]:
        verdict = lesson_00.my_picture(answer, seen)
        assert not verdict.solved, said
        assert said in verdict.message
