import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from huggingface_hub import file_download
from PIL import Image

from hub_server import HubServer, closed_url, point_the_client_at, user
from sdlesson import downloads, hub
from sdlesson.downloads import ModelError, Source
from sdlesson.images import same_picture
from sdlesson.language import set_language
from sdlesson.pipelines import load_pipeline

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

FIRST, SECOND = (source.repo_id for source in hub.MODELS["sd15"])
UNET = "unet/diffusion_pytorch_model.safetensors"
TOKEN = "hf_" + "onlyForTests" * 3

DRAW_SD15 = """
import sys, torch, sdlesson
pipe = sdlesson.load_pipeline("sd15", device="cpu")
pipe.set_progress_bar_config(disable=True)
noise = torch.Generator("cpu").manual_seed(0)
pipe("a red car", num_inference_steps=2, generator=noise).images[0].save(sys.argv[1])
"""


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of a pipeline that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "pipeline")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        point_the_client_at(server.url, tmp_path / "cache", monkeypatch)
        yield server


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
    point_the_client_at(closed_url(), tmp_path / "cache", monkeypatch)
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


@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_gated_repository_says_where_to_accept_its_licence(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    server.folders["ana/tiny"] = folder
    server.gated.add("ana/tiny")
    server.users[TOKEN] = user("ana", "read")
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match=r"gated.*https://huggingface.co/ana/tiny.*sdlesson.login"):
        hub.find_model("ana/tiny", half=False)
    assert {request.authorization for request in server.requests} == {token and f"Bearer {token}"}


def test_a_gated_repository_loads_once_its_licence_is_accepted(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.folders["ana/tiny"] = folder
    server.gated.add("ana/tiny")
    server.users[TOKEN] = user("ana", "read")
    server.licensed.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.find_model("ana/tiny", half=False)[1] == "ana/tiny"


@pytest.mark.parametrize("token", ["", TOKEN])  # the Hub answers 401 to one and 404 to the other
def test_a_repository_that_is_gone_is_named_with_its_link(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    server.users[TOKEN] = user("ana", "read")
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match=r"neither a folder.*https://huggingface.co/ana/gone"):
        hub.find_model("ana/gone", half=False)


@pytest.mark.parametrize("expired", [False, True])
def test_a_token_that_the_hub_refuses_is_named_as_the_reason(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, expired: bool
) -> None:
    server.folders["ana/tiny"] = folder  # which needs no token: a wrong one is worse than none
    server.expired |= {TOKEN} if expired else set()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ModelError, match=r"refuses your token.*sdlesson.login.*settings/tokens"):
        hub.find_model("ana/tiny", half=False)


@pytest.mark.parametrize("token", [TOKEN + "ñ", TOKEN + "\x0c" + TOKEN, "hf token"])
def test_a_token_that_no_header_can_carry_is_refused_before_it_is_sent(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match=r"characters that no token has.*settings/tokens"):
        hub.find_model("ana/tiny", half=False)
    assert not server.requests


def test_a_large_file_comes_from_another_host_which_never_sees_the_token(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.folders["ana/tiny"] = folder
    server.users[TOKEN] = user("ana", "read")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found, _ = hub.find_model("ana/tiny", half=False)
    assert (found / UNET).read_bytes() == (folder / UNET).read_bytes()
    seen = {
        (request.path.startswith("storage/"), request.authorization) for request in server.requests
    }
    assert seen == {(True, ""), (False, f"Bearer {TOKEN}")}


def test_sd15_arrives_in_half_precision_and_draws_the_picture_of_the_weights_it_is_given(
    server: HubServer, tmp_path: Path, pocket: "StableDiffusionPipeline"
) -> None:
    """In a process of its own, so that the client reads HF_ENDPOINT itself."""
    folder = shutil.copytree(hub.POCKET_FOLDER, tmp_path / "sd15")
    (folder / downloads.CHECKSUM_FILE).unlink()
    _add_half_weights(folder, keep_plain=False)
    server.folders[FIRST] = folder
    picture = tmp_path / "car.png"
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", DRAW_SD15, str(picture)]
    subprocess.run(command, env=os.environ | home, check=True, capture_output=True, timeout=250)
    weights = {name for name in server.requested if name.endswith(".safetensors")}
    assert len(weights) == 4
    assert all(name.endswith(hub.HALF) for name in weights)
    noise = torch.Generator("cpu").manual_seed(0)
    expected = pocket("a red car", num_inference_steps=2, generator=noise).images[0]
    with Image.open(picture) as drawn:
        assert same_picture(drawn, expected)


@pytest.fixture(params=["links", "copies"])
def cache_layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the cache keeps content: behind links named by etag, or, as on Windows, in place."""
    if request.param == "copies":
        monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_: False)
    return request.param


def test_a_file_that_arrives_damaged_is_refused_removed_and_downloaded_again(
    server: HubServer, folder: Path, cache_layout: str
) -> None:
    server.folders["ana/tiny"] = folder
    server.corrupted.add(UNET)
    with pytest.raises(ModelError, match=rf"{UNET} of ana/tiny arrived damaged.*load the model"):
        hub.find_model("ana/tiny", half=False)
    server.corrupted.clear()
    found, _ = hub.find_model("ana/tiny", half=False)
    assert (found / UNET).is_symlink() == (cache_layout == "links")
    assert (found / UNET).read_bytes() == (folder / UNET).read_bytes()
    assert server.requested.count(UNET) == 2


def test_a_download_is_compared_once_and_a_file_put_in_its_place_is_compared_again(
    server: HubServer, folder: Path, cache_layout: str
) -> None:
    server.folders["ana/tiny"] = folder
    path = hub.find_model("ana/tiny", half=False)[0] / UNET
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    hub.find_model("ana/tiny", half=False)  # as old as it was: gigabytes are not read at each load
    os.utime(path)
    with pytest.raises(ModelError, match=rf"{UNET} .*damaged"):
        hub.find_model("ana/tiny", half=False)


def test_what_cannot_be_compared_offline_is_compared_at_the_next_chance(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_: False)
    server.folders["ana/tiny"] = folder
    record = hub.find_model("ana/tiny", half=False)[0] / downloads.CHECKSUM_FILE
    record.unlink()
    point_the_client_at(closed_url(), tmp_path / "cache", monkeypatch)
    hub.find_model("ana/tiny", half=False)
    assert not record.exists()
    point_the_client_at(server.url, tmp_path / "cache", monkeypatch)
    hub.find_model("ana/tiny", half=False)
    assert UNET in record.read_text()


def test_a_connection_that_breaks_half_way_goes_on_from_there(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = 1000  # the client keeps whole ones, of 10 MB, which is more than this model has
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", chunk)
    server.folders["ana/tiny"] = folder
    server.breaks[UNET] = 1
    found, _ = hub.find_model("ana/tiny", half=False)
    assert (found / UNET).read_bytes() == (folder / UNET).read_bytes()
    digest = hashlib.sha256((folder / UNET).read_bytes()).hexdigest()
    ranges = [
        request.range
        for request in server.requests
        if (request.method, request.path) == ("GET", f"storage/{digest}")
    ]
    half = (folder / UNET).stat().st_size // 2
    assert ranges == ["", f"bytes={half // chunk * chunk}-"]


def test_a_connection_that_always_breaks_is_said_and_the_next_attempt_mends_it(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # what the client does between attempts
    server.folders["ana/tiny"] = folder
    server.breaks[UNET] = 1000
    with pytest.raises(ModelError, match=r"download of ana/tiny broke off.*network.*try again"):
        hub.find_model("ana/tiny", half=False)
    server.breaks.clear()
    assert hub.find_model("ana/tiny", half=False)


def test_a_file_that_does_not_come_is_said(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    server.folders["ana/tiny"] = folder
    server.slow.add(UNET)
    with pytest.raises(ModelError, match=r"download of ana/tiny broke off \(ReadTimeout\)"):
        hub.find_model("ana/tiny", half=False)


def test_a_hub_that_does_not_answer_is_said_in_time(
    server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    server.folders["ana/tiny"] = folder
    server.slow.add("api/models/ana/tiny")
    with pytest.raises(ModelError, match=r"cannot be reached.*pocket"):
        hub.find_model("ana/tiny", half=False)


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
    point_the_client_at(closed_url(), tmp_path / "cache", monkeypatch)
    with pytest.raises(ModelError, match=r"cannot be reached.*pocket"):
        hub.find_model("ana/tiny", half=False)


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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "holds a list where a JSON object belongs"),
        ("{}", "is damaged"),
    ],
)
def test_a_damaged_index_is_named(folder: Path, text: str, fault: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ModelError, match=rf"model_index\.json {fault}; save or download"):
        hub.find_model(folder, half=False)


def test_damaged_weights_are_a_model_error(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="missing or damaged"):
        load_pipeline(folder, device="cpu")


def test_the_pocket_model_is_as_it_was_recorded() -> None:
    downloads.verify_folder(hub.POCKET_FOLDER)
    assert hub.find_model("pocket", half=False) == (hub.POCKET_FOLDER, "pocket")


def test_a_recorded_folder_verifies_and_its_record_is_in_the_format_of_sha256sum(
    folder: Path,
) -> None:
    downloads.write_checksums(folder)
    downloads.verify_folder(folder)
    lines = (folder / downloads.CHECKSUM_FILE).read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)
    assert any(line.endswith("  unet/config.json") for line in lines)


def test_a_changed_file_is_found_and_named_with_its_mend(folder: Path) -> None:
    downloads.write_checksums(folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"vae/diffusion_pytorch_model.*damaged.*git checkout"):
        downloads.verify_folder(folder)
    set_language("es")
    with pytest.raises(ModelError, match=r"vae/diffusion_pytorch_model.*dañado.*o reinstala"):
        downloads.verify_folder(folder)


def test_a_missing_file_is_found(folder: Path) -> None:
    downloads.write_checksums(folder)
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"unet/config.json is missing"):
        downloads.verify_folder(folder)


def test_a_file_that_was_not_recorded_is_found(folder: Path) -> None:
    downloads.write_checksums(folder)
    (folder / "unet" / "extra.json").write_text("{}")
    with pytest.raises(ModelError, match=r"extra.json does not belong"):
        downloads.verify_folder(folder)


def test_a_missing_record_is_found(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"SHA256SUMS is missing"):
        downloads.verify_folder(folder)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_a_flipped_bit_of_a_saved_model_is_found_when_it_is_loaded(folder: Path, name: str) -> None:
    downloads.write_checksums(folder)
    (folder / "README.md").write_text("mine, and no part of the model")
    hub.find_model(folder, half=False)
    content = bytearray((folder / name).read_bytes())
    content[-9] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} is damaged.*save or download the model again"):
        load_pipeline(folder, device="cpu")
    (folder / downloads.CHECKSUM_FILE).unlink()
    if name.endswith(".safetensors"):  # a configuration that is no JSON is noticed all the same
        hub.find_model(folder, half=False)


@pytest.mark.parametrize("line", ["no checksum", f"{'0' * 64}  ../secret", f"{'0' * 64}  "])
def test_a_damaged_record_is_one_sentence_and_read_no_further(folder: Path, line: str) -> None:
    downloads.write_checksums(folder)
    record = folder / downloads.CHECKSUM_FILE
    record.write_text(record.read_text() + line + "\n")
    for look in (downloads.verify_folder, downloads.verify_saved):
        with pytest.raises(ModelError, match="SHA256SUMS is damaged in the line"):
            look(folder)


def test_a_source_without_a_revision_is_the_newest() -> None:
    assert Source("ana/tiny").revision is None
