import gc
import platform
import sys
import weakref
from importlib import metadata
from types import ModuleType

import psutil
import pytest
import torch

from sdlesson.language import set_language
from sdlesson.runtime import (
    best_device,
    best_dtype,
    describe,
    device_name,
    free_memory_bytes,
    in_colab,
    installed_version,
    release_memory,
    requirements,
    used_memory_bytes,
    versions,
)


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def tesla_t4(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (14 * 2**30, 15 * 2**30))


def test_a_laptop_is_not_colab():
    assert not in_colab()


def test_a_colab_notebook_is_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert in_colab()


def test_a_command_started_from_a_colab_notebook_is_in_colab(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260819")
    assert in_colab()


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_chosen(monkeypatch, cuda, mps, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == device


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cuda", torch.float16),
        ("cuda:1", torch.float16),
        ("mps", torch.float32),
        ("cpu", torch.float32),
    ],
)
def test_half_precision_is_for_cuda_only(device, dtype):
    assert best_dtype(device) == dtype


def test_free_memory_of_the_cpu_is_what_the_system_says_is_available():
    free = free_memory_bytes("cpu")
    assert 0 < free < psutil.virtual_memory().total
    assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.usefixtures("tesla_t4")
def test_free_memory_of_cuda_is_the_free_part_and_not_the_whole():
    assert free_memory_bytes("cuda") == 14 * 2**30


def small_tensors(megabytes):
    """Memory in many small pieces, as a model has it, which the C library likes to keep."""
    return [torch.ones(2**14) for _ in range(16 * megabytes)]  # 64 KiB each


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc to hand memory back")
def test_memory_in_use_grows_with_tensors_and_comes_back_when_released():
    release_memory()
    before = used_memory_bytes("cpu")
    tensors = small_tensors(megabytes=256)
    held = used_memory_bytes("cpu") - before
    assert 0.9 * 2**28 < held < 1.2 * 2**28
    del tensors
    release_memory()
    assert used_memory_bytes("cpu") - before < 0.2 * held


def test_released_memory_includes_what_refers_to_itself():
    class Circle:
        pass

    gc.disable()
    try:
        circle = Circle()
        circle.itself, gone = circle, weakref.ref(circle)
        del circle
        assert gone() is not None
        release_memory()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.gpu
def test_on_a_real_gpu_the_memory_in_use_is_that_of_the_tensors():
    before = used_memory_bytes("cuda")
    block = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    assert used_memory_bytes("cuda") - before == len(block)
    free = free_memory_bytes("cuda")
    del block
    assert used_memory_bytes("cuda") == before
    release_memory()
    assert free_memory_bytes("cuda") - free >= 2**28


@pytest.mark.gpu
def test_a_real_gpu_has_a_name_and_loses_memory_to_a_tensor():
    assert device_name("cuda") not in ("", "CPU")
    before = free_memory_bytes("cuda")
    block = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    assert before - free_memory_bytes("cuda") >= len(block)
    assert torch.ones(1, dtype=best_dtype("cuda"), device="cuda").dtype == torch.float16


def test_versions_are_those_of_the_modules_themselves():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["psutil"] == psutil.__version__
    assert found["sdlesson"] == metadata.version("sdlesson")


def test_versions_name_every_package_that_the_course_needs():
    assert {requirement.name for requirement in requirements()} < set(versions())


def test_a_package_that_is_not_there_has_no_version():
    assert installed_version("no-such-package-anywhere") is None


def test_an_extra_adds_to_the_requirements_and_repeats_none():
    base = {requirement.name for requirement in requirements()}
    bot = {requirement.name for requirement in requirements("bot")}
    assert "torch" in base
    assert "python-telegram-bot" in bot
    assert not base & bot


@pytest.mark.usefixtures("tesla_t4")
def test_the_description_names_the_gpu_and_its_free_memory():
    line = describe()
    assert "Tesla T4 with 14.0 GB free" in line
    assert f"torch {torch.__version__}" in line
    assert "\n" not in line


@pytest.mark.usefixtures("no_accelerator")
def test_the_description_speaks_the_language_set():
    set_language("es")
    assert "GB libres" in describe()
    set_language("en")
    assert "GB free" in describe()


@pytest.mark.usefixtures("no_accelerator")
def test_the_description_says_colab_where_it_is(monkeypatch):
    assert describe().startswith(platform.system())
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260819")
    assert describe().startswith("Google Colab")
