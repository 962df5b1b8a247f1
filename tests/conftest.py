"""What every test runs under: no network, a clean environment, English, one thread of torch."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sdlesson.language import set_language

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

# Read once by huggingface_hub, torch and matplotlib when they are first imported.
HF_HOME = tempfile.mkdtemp(prefix="sdlesson-hf-")
os.environ["HF_HOME"] = HF_HOME
os.environ["MPLBACKEND"] = "agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # here and in what tests start: two on busy cores crawl

PRIVATE_VARIABLES = (
    "COLAB_RELEASE_TAG",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "LANG",  # the command line speaks the language of the terminal
    "LC_ALL",
    "LC_MESSAGES",
    "SDLESSON_MODEL",
    "TELEGRAM_BOT_TOKEN",
    "TQDM_DISABLE",
)
for name in PRIVATE_VARIABLES:
    os.environ.pop(name, None)

# What `make check` leaves out, and `make test` does not: files that train, draw many pictures, or
# start one Python after the other; and whatever draws with the pocket model, executes a notebook or
# opens a browser, which a test asks for by the name of a fixture.
LONG_FILES = (
    "test_attention",
    "test_bot_ends",
    "test_cli",
    "test_copies",
    "test_editing",
    "test_editing_control",
    "test_evaluation",
    "test_experiments",
    "test_failures",
    "test_finetuning_launch",
    "test_finetuning_memory",
    "test_finetuning_training",
    "test_foreign_folders",
    "test_half_checkpoints",
    "test_kohya",
    "test_likeness",
    "test_lora_files",
    "test_service_directory",
    "test_service_enrol",
    "test_service_login",
    "test_service_outages",
    "test_service_restart",
    "test_service_workers",
    "test_subject",
    "test_training",
    "test_versions",
    "test_widgets",
    "test_widgets_training",
)
LONG_FIXTURES = {"pocket", "tools", "built", "in_class", "screen", "toy_course"}


class NetworkRefusedError(OSError):
    """A test reached beyond this machine."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Save what a worker measured: it is ended soon after, and may not come to it."""
    if hasattr(session.config, "workerinput"):
        from coverage import Coverage

        if measuring := Coverage.current():
            measuring.stop()
            measuring.save()


def pytest_unconfigure() -> None:
    shutil.rmtree(HF_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.path.stem in LONG_FILES or not LONG_FIXTURES.isdisjoint(fixtures):
            item.add_marker(pytest.mark.long)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs CUDA")


@pytest.fixture(autouse=True)
def refuse_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test talk to this machine only, unless it is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_remote(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start each test in English and without anyone's token, and undo what it sets."""
    for name in PRIVATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    set_language("en")
    yield
    set_language("en")


# Pipelines are made inside the fixtures, so that tests of light modules stay light.


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of random weights as `save_pretrained` leaves it; not to be changed."""
    from fixtures_pipeline import make_tiny_pipeline

    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_pipeline(tmp_path_factory.mktemp("letters")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def unspoilt(tiny_folder: Path) -> StableDiffusionPipeline:
    """The tiny pipeline; not to be changed."""
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline(tiny_folder, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def fresh(unspoilt: StableDiffusionPipeline) -> Callable[[], StableDiffusionPipeline]:
    """Makes tiny pipelines that a test may spoil."""
    return lambda: deepcopy(unspoilt)


@pytest.fixture
def tiny(fresh: Callable[[], StableDiffusionPipeline]) -> StableDiffusionPipeline:
    """A pipeline that a test may spoil."""
    return fresh()


@pytest.fixture(scope="session")
def pocket() -> StableDiffusionPipeline:
    """The pocket model; not to be changed."""
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline("pocket", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were looked for; none of them is found."""
    from sdlesson import downloads, hub

    names: list[str] = []

    def find_nothing(model: str, *, half: bool) -> tuple[Path, str]:
        names.append(model)
        raise downloads.ModelError("nothing here")

    monkeypatch.setattr(hub, "find_model", find_nothing)
    return names


def _local_only(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_remote(address[0])
        return connect(self, address)

    return guarded


def _refuse_remote(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        local = False
    if not local:
        raise NetworkRefusedError(
            f"a test tried to reach {name}: tests stay on localhost; use a local server, or mark "
            "the test with @pytest.mark.network, which `make test` leaves out"
        )
