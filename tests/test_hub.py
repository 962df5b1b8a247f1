import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import constants

from sdlesson import hub
from sdlesson.hub import ModelError, Source
from sdlesson.pipelines import load_pipeline

FIRST, SECOND = (source.repo_id for source in hub.MODELS["sd15"])


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of a pipeline that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "pipeline")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        _point_the_client_at(server.url, tmp_path / "cache", monkeypatch)
        yield server


def _point_the_client_at(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_ENDPOINT sets, which the client reads once, on import.
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def _add_half_weights(folder: Path, *, keep_plain: bool) -> None:
    for plain in list(folder.glob("*/*.safetensors")):
        half = plain.with_name(plain.stem + hub.HALF)
        shutil.copy(plain, half) if keep_plain else plain.rename(half)


def test_a_hub_id_loads_over_http_and_keeps_its_name(server: HubServer, folder: Path) -> None:
    server.folders["ana/tiny"] = folder
    pipe = load_pipeline("ana/tiny", device="cpu")
    assert pipe.name_or_path == "ana/tiny"
    assert pipe.unet.dtype == torch.float32


def test_a_second_load_needs_no_network(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.folders["ana/tiny"] = folder
    hub.find_model("ana/tiny", half=False)
    _point_the_client_at(_closed_url(), tmp_path / "cache", monkeypatch)
    found, _ = hub.find_model("ana/tiny", half=False)
    assert (found / "model_index.json").is_file()


def test_half_precision_fetches_only_the_half_weights(server: HubServer, folder: Path) -> None:
    _add_half_weights(folder, keep_plain=True)
    server.folders["ana/tiny"] = folder
    found, _ = hub.find_model("ana/tiny", half=True)
    weights = [name for name in server.requested if name.endswith(".safetensors")]
    assert len(weights) == 4
    assert all(name.endswith(hub.HALF) for name in weights)
    assert hub.weights_variant(found, half=True) == "fp16"


def test_half_precision_falls_back_to_plain_weights(server: HubServer, folder: Path) -> None:
    server.folders["ana/tiny"] = folder
    found, _ = hub.find_model("ana/tiny", half=True)
    assert hub.weights_variant(found, half=True) is None
    assert (found / "unet" / "diffusion_pytorch_model.safetensors").is_file()


def test_a_folder_of_half_weights_alone_still_loads_in_full_precision(folder: Path) -> None:
    _add_half_weights(folder, keep_plain=False)
    assert load_pipeline(folder, device="cpu").unet.dtype == torch.float32


def test_pickles_of_a_repository_are_never_fetched(server: HubServer, folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    server.folders["ana/tiny"] = folder
    hub.find_model("ana/tiny", half=False)
    assert not [name for name in server.requested if name.endswith(".bin")]


def test_a_repository_of_pickles_alone_is_refused(server: HubServer, folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    server.folders["ana/tiny"] = folder
    with pytest.raises(ModelError, match="no safetensors for unet"):
        hub.find_model("ana/tiny", half=False)


def test_a_gated_repository_says_where_to_accept_its_licence(
    server: HubServer, folder: Path
) -> None:
    server.folders["ana/tiny"] = folder
    server.gated.add("ana/tiny")
    with pytest.raises(ModelError, match=r"gated.*https://huggingface.co/ana/tiny.*login"):
        hub.find_model("ana/tiny", half=False)


def test_a_repository_that_is_gone_is_named_with_its_link(server: HubServer) -> None:
    with pytest.raises(ModelError, match=r"neither a folder.*https://huggingface.co/ana/gone"):
        hub.find_model("ana/gone", half=False)


def test_sd15_falls_back_to_its_second_source(server: HubServer, folder: Path) -> None:
    server.folders[SECOND] = folder
    assert hub.find_model("sd15", half=True)[1] == SECOND


def test_sd15_prefers_its_first_source(server: HubServer, folder: Path) -> None:
    server.folders |= {FIRST: folder, SECOND: folder}
    assert hub.find_model("sd15", half=True)[1] == FIRST


def test_sd15_gone_everywhere_names_every_source(server: HubServer) -> None:
    with pytest.raises(ModelError, match=rf"{FIRST}.*{SECOND}"):
        hub.find_model("sd15", half=True)


def test_no_network_is_said_and_offers_the_pocket_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _point_the_client_at(_closed_url(), tmp_path / "cache", monkeypatch)
    with pytest.raises(ModelError, match=r"cannot be reached.*pocket"):
        hub.find_model("ana/tiny", half=False)  # the client does not retry for a moving revision


def test_every_source_in_the_table_is_pinned_to_a_revision() -> None:
    sources = [source for model in hub.MODELS.values() for source in model]
    assert sources
    assert all(re.fullmatch("[0-9a-f]{40}", source.revision or "") for source in sources)


@pytest.mark.parametrize("name", ["pokcet", "./nothing", "a/b/c", "/no/such/folder"])
def test_an_unknown_name_lists_what_is_allowed(name: str) -> None:
    with pytest.raises(ModelError, match=r"there is no model.*pocket, sd15.*folder.*Hub id"):
        hub.find_model(name, half=False)


@pytest.mark.parametrize("name", ["unet/weights.bin", "model.CKPT", "scheduler/deep/optimizer.pt"])
def test_a_folder_with_a_pickle_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"pickle")
    with pytest.raises(ModelError, match=f"pickle {name}"):
        hub.find_model(folder, half=False)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index.json"):
        hub.find_model(tmp_path, half=False)


def test_another_kind_of_pipeline_is_refused_by_name(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(ModelError, match="holds a FluxPipeline"):
        hub.find_model(folder, half=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_index_is_named(folder: Path, text: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ModelError, match=r"model_index.json is damaged"):
        hub.find_model(folder, half=False)


def test_damaged_weights_are_a_model_error(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="missing or damaged"):
        load_pipeline(folder, device="cpu")


def test_the_pocket_model_is_as_it_was_recorded() -> None:
    hub.verify_folder(hub.POCKET_FOLDER)
    assert hub.find_model("pocket", half=False) == (hub.POCKET_FOLDER, "pocket")


def test_a_recorded_folder_verifies_and_its_record_is_in_the_format_of_sha256sum(
    folder: Path,
) -> None:
    hub.write_checksums(folder)
    hub.verify_folder(folder)
    lines = (folder / hub.CHECKSUM_FILE).read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)
    assert any(line.endswith("  unet/config.json") for line in lines)


def test_a_changed_file_is_found_and_named_with_its_mend(folder: Path) -> None:
    hub.write_checksums(folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"vae/diffusion_pytorch_model.*damaged.*git checkout"):
        hub.verify_folder(folder)


def test_a_missing_file_is_found(folder: Path) -> None:
    hub.write_checksums(folder)
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"unet/config.json is missing"):
        hub.verify_folder(folder)


def test_a_file_that_was_not_recorded_is_found(folder: Path) -> None:
    hub.write_checksums(folder)
    (folder / "unet" / "extra.json").write_text("{}")
    with pytest.raises(ModelError, match=r"extra.json does not belong"):
        hub.verify_folder(folder)


def test_a_missing_record_is_found(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"SHA256SUMS is missing"):
        hub.verify_folder(folder)


def test_a_source_without_a_revision_is_the_newest() -> None:
    assert Source("ana/tiny").revision is None


def _closed_url() -> str:
    """Name an address on this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
