"""Models in memory: loaded once, bounded, given back; LoRAs that fit, and those that do not."""

import gc
import weakref
from pathlib import Path

import psutil
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from fixtures_lora import add_lora, unit_lora
from sdlesson.bot.requests import Request
from sdlesson.bot_service.models.cards import pack_cards, unpack_cards, weights_of
from sdlesson.bot_service.models.catalogue import Catalogue, OfferedLora
from sdlesson.bot_service.models.loading import ModelGenerator, weights_digest
from sdlesson.bot_service.workers.memory import SmallerBatches
from sdlesson.diffusion import embed
from sdlesson.downloads import ModelError
from sdlesson.finetuning.lora_format import LoraError
from sdlesson.finetuning.lora_saving import save_lora

NAMES = ("oil", "ink", "wax")
STEPS = 2


class Shelf:
    """Gives out models of which each has weights of its own, and watches what becomes of them."""

    def __init__(self, fresh) -> None:
        self._fresh, self.taken, self.alive = fresh, [], []

    def __call__(self, source: str):
        pipe = self._fresh()
        with torch.no_grad():
            pipe.unet.conv_out.bias.fill_(NAMES.index(source) / 10)
        self.taken.append(source)
        self.alive.append(weakref.ref(pipe.unet))
        return pipe

    def in_memory(self) -> int:
        gc.collect()
        return sum(one() is not None for one in self.alive)


@pytest.fixture
def shelf(fresh) -> Shelf:
    return Shelf(fresh)


def test_a_model_may_be_given_a_controlnet(shelf: Shelf, tmp_path: Path) -> None:
    ControlNetModel.from_unet(shelf._fresh().unet).save_pretrained(tmp_path / "lines")
    offered = Catalogue({"oil": "oil", "ink": "ink"}, controlnets={"ink": f"{tmp_path}/lines"})
    generator = ModelGenerator(offered, load=shelf)
    assert [card.has_control for card in generator.cards.values()] == [False, True]
    photo = Image.new("RGB", (generator.size,) * 2, "red")
    assert draw(generator, ask(model="ink", photo=photo, control="outline"))[0].image
    wrong = Catalogue({"ink": "ink"}, controlnets={"ink": f"{tmp_path}/nothing"})
    with pytest.raises(ModelError, match="there is no folder"):
        ModelGenerator(wrong, load=shelf)


def catalogue(*names: str, **loras: OfferedLora) -> Catalogue:
    return Catalogue({name: name for name in names}, loras)


def ask(prompt: str = "a cat", **named) -> Request:
    return Request(prompt, num_inference_steps=STEPS, **{"seed": 1} | named)


def draw(generator, *requests: Request):
    return generator.draw(requests, on_step=lambda *_: None, is_cancelled=lambda _: False)


def colours(generator, request: Request) -> bytes:
    return draw(generator, request)[0].image.tobytes()


def test_each_model_is_loaded_once_and_draws_what_it_alone_would(shelf: Shelf) -> None:
    generator = ModelGenerator(catalogue("oil", "ink"), load=shelf)
    assert sorted(shelf.taken) == ["ink", "oil"]
    for name in ("oil", "ink"):
        alone = ModelGenerator(catalogue(name), load=shelf)
        (result,) = draw(generator, ask(model=name))
        assert result.image.tobytes() == colours(alone, ask(model=name))
        assert result.drawing.model == name, "a picture's own settings name its model"
    assert colours(generator, ask(model="oil")) != colours(generator, ask(model="ink"))
    assert colours(generator, ask()) == colours(generator, ask(model="oil")), "the first is usual"
    assert generator.loads == 2


def test_no_more_models_than_allowed_are_in_memory_and_the_unused_go(shelf: Shelf) -> None:
    generator = ModelGenerator(catalogue(*NAMES), most=2, load=shelf)
    assert shelf.in_memory() == 2
    assert generator.in_memory == ["ink", "oil"]
    draw(generator, ask(model="ink"))  # so oil is the one that was not used for longest
    draw(generator, ask(model="wax"))
    assert generator.in_memory == ["ink", "wax"]
    assert shelf.in_memory() == 2
    draw(generator, ask(model="oil"))
    assert generator.in_memory == ["wax", "oil"]
    assert generator.loads == 5
    assert list(generator.cards) == list(NAMES), "what is known of a model outlives it"


def test_memory_does_not_grow_with_models_that_come_and_go(shelf: Shelf) -> None:
    def load(source: str):
        pipe = shelf(source)
        pipe.unet.ballast = torch.nn.Parameter(torch.ones(12_000_000))  # 48 MB that are touched
        return pipe

    generator = ModelGenerator(catalogue("oil", "ink"), most=1, load=load)
    process = psutil.Process()
    used = []
    for turn in range(8):
        draw(generator, ask(model=("oil", "ink")[turn % 2]))
        used.append(process.memory_info().rss / 1e6)
    assert generator.loads >= 9
    assert max(used) - min(used[:2]) < 2 * 48, f"{used} MB"


def test_requests_for_different_models_and_for_none_are_no_batch(shelf: Shelf) -> None:
    generator = ModelGenerator(catalogue("oil", "ink"), load=shelf)
    assert generator.batch_key(ask(model="oil")) != generator.batch_key(ask(model="ink"))
    assert generator.batch_key(ask(lora="a")) != generator.batch_key(ask(lora="b"))
    with pytest.raises(ValueError, match="drawn by one model"):
        draw(generator, ask(model="oil"), ask(model="ink"))
    with pytest.raises(ValueError, match=r"'chalk' is not offered; there are oil, ink"):
        draw(generator, ask(model="chalk"))
    with pytest.raises(ValueError, match=r"lora='hat' is not offered for 'oil'"):
        draw(generator, ask(lora="hat"))


# LoRAs.


@pytest.fixture
def loras(fresh, tmp_path: Path) -> dict[str, OfferedLora]:
    """Two LoRAs for oil: one of the U-Net alone, one of the text encoder too."""
    offered = {}
    for number, name in enumerate(("hat", "scarf")):
        pipe = fresh()
        add_lora(pipe, name, text_encoder=bool(number), strength=0.5, seed=number)
        path = save_lora(pipe, tmp_path / f"{name}.safetensors")
        offered[name] = OfferedLora(path, "oil")
    return offered


def test_a_lora_is_on_for_those_who_ask_for_it_and_for_nobody_else(shelf, loras) -> None:
    generator = ModelGenerator(catalogue("oil", "ink", **loras), load=shelf)
    plain = colours(generator, ask(model="oil"))
    without = ModelGenerator(catalogue("oil"), load=shelf)
    assert plain == colours(without, ask(model="oil"))
    found = {}
    for name in ("hat", "scarf", "hat", "", "scarf"):
        request = ask(model="oil", lora=name)
        (result,) = draw(generator, request)
        assert found.setdefault(name, result.image.tobytes()) == result.image.tobytes(), name
        assert result.drawing.model == ("oil + " + name if name else "oil")
    assert found[""] == plain
    assert len(set(found.values())) == 3
    alone = ModelGenerator(catalogue("oil", scarf=loras["scarf"]), load=shelf)
    assert found["scarf"] == colours(alone, ask(model="oil", lora="scarf"))


def test_a_lora_that_does_not_fit_is_refused_at_the_start_in_one_sentence(shelf, tmp_path) -> None:
    unit_lora(tmp_path / "sd15.safetensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    faults = {"sd15": "Stable Diffusion 1.x", "empty": "empty", "no": "is not there"}
    for name, sentence in faults.items():
        offered = OfferedLora(tmp_path / f"{name}.safetensors", "oil")
        with pytest.raises(LoraError) as refused:
            ModelGenerator(catalogue("oil", hat=offered), load=shelf)
        assert "\n" not in str(refused.value)
        assert name in str(refused.value)
        assert sentence in str(refused.value)


# What names the weights.


def test_the_digest_changes_with_any_weight_and_with_nothing_else(fresh, shelf, loras) -> None:
    first = weights_digest(fresh())
    assert weights_digest(fresh()) == first
    for part in ("unet", "vae", "text_encoder"):
        pipe = fresh()
        with torch.no_grad():
            next(iter(getattr(pipe, part).parameters())).flatten()[0] += 1e-3
        assert weights_digest(pipe) != first, part
    generator = SmallerBatches(ModelGenerator(catalogue("oil", **loras), load=shelf))
    digests = {
        weights_of(generator.cards, ask(model="oil", lora=lora)) for lora in ("", "hat", "scarf")
    }
    assert len(digests) == 3
    assert "" not in digests
    assert {draw(generator, ask(model="oil", lora=one))[0].weights for one in ("", "hat")} < digests


def test_cards_survive_the_way_through_redis(shelf, loras) -> None:
    cards = ModelGenerator(catalogue("oil", "ink", **loras), load=shelf).cards
    assert unpack_cards(pack_cards(cards.values()).encode()) == cards
    assert list(unpack_cards(pack_cards(cards.values()).encode())) == ["oil", "ink"]


def test_the_tokenizer_takes_capitals_and_spaces_for_the_same(pocket) -> None:
    """So that the cache may, too."""
    plain, written = (
        embed(pocket, ["un árbol en la nieve"]),
        embed(pocket, ["Un  ÁRBOL en la Nieve"]),
    )
    assert torch.equal(plain, written)
