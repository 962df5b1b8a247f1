"""Whose weights these are, where they lie, and whether they are what they claim to be."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import (
    HfApi,
    constants,
    get_cached_repo_tree,
    get_hf_file_metadata,
    get_token,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

POCKET_FOLDER = Path(__file__).parent / "pocket" / "model"
SCORER_FOLDER = Path(__file__).parent / "pocket" / "scorer"
CHECKSUM_FILE = "SHA256SUMS"
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})

# Suffixes of the files that hold the weights: in half precision, or as they were trained.
HALF, PLAIN = ".fp16.safetensors", ".safetensors"


class ModelError(RuntimeError):
    """A model that cannot be had or cannot be trusted; the message says why and what to do."""


class RefusedError(ModelError):
    """The Hub answered and did not give the repository: another source may still do."""


class Source(NamedTuple):
    """A repository on the Hub, at one revision (None is the newest)."""

    repo_id: str
    revision: str | None = None


# Every model of the Hub that the course names, with the sources to try in order. Repositories
# vanish (runwayml in 2024, Stable Diffusion 2 in 2025): this table is the one place to mend.
MODELS: dict[str, tuple[Source, ...]] = {
    "sd15": (
        Source(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        Source("CompVis/stable-diffusion-v1-4", "133a221b8aa7292a167afc5127cb63fb5005638b"),
    ),
}


def find_model(model: str | os.PathLike[str], *, half: bool) -> tuple[Path, str]:
    """Find a model's folder, downloading it where need be, and its name for the record.

    Args:
        model: "pocket", a name in `MODELS`, a Hub id ("owner/name"), or a folder.
        half: Whether to prefer weights in half precision.

    Raises:
        ModelError: There is no such model, it cannot be had, or it is not to be trusted.
    """
    name = os.fspath(model)
    if name == "pocket":
        verify_folder(POCKET_FOLDER)
        return check_folder(POCKET_FOLDER), name
    if name in MODELS:
        return _first_available(name, half=half)
    if Path(name).is_dir():
        return check_folder(Path(name)), name
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        return download(Source(name), half=half), name
    names = ", ".join(("pocket", *sorted(MODELS)))
    raise ModelError(
        f"there is no model {name!r}: it is neither {names}, nor a folder here, "
        f"nor a Hub id such as {MODELS['sd15'][0].repo_id}"
    )


def download(source: Source, *, half: bool) -> Path:
    """Fetch a pipeline's configuration and safetensors into the Hub's cache; never a pickle.

    Raises:
        ModelError: As from `fetch`, or the repository holds no safetensors.
    """
    folder = fetch(source, ["*.json", "*.txt"])
    missing = _without_weights(check_pipeline(folder))
    for suffix in (HALF, PLAIN) if half else (PLAIN, HALF):
        wanted = [f"{name}/{stem}{suffix}" for name, stem in missing.items()]
        if wanted:
            fetch(source, wanted)
        missing = _without_weights(folder)
    if missing:
        raise ModelError(
            f"{source.repo_id} has no safetensors for {', '.join(missing)}; what else it may hold "
            "are pickles, which can run any code; choose another model"
        )
    return folder


def fetch(source: Source, patterns: list[str]) -> Path:
    """Download the files of a repository that match, verified, and return their folder.

    Raises:
        ModelError: The repository is gated, gone or out of reach; the download broke off; or
            weights arrived damaged.
    """
    _check_token()
    try:
        folder = snapshot_download(
            source.repo_id,
            revision=source.revision,
            allow_patterns=patterns,
            local_files_only=not _hub_answers(source),
        )
    except (HTTPError, OSError, HFValidationError) as error:
        raise _explain(error, source) from error
    verify_downloads(source, Path(folder))
    return Path(folder)


def verify_downloads(source: Source, folder: Path) -> None:
    """Compare weights in the Hub's cache with the SHA-256 that the Hub names, once a download.

    What was compared is recorded beside the weights, so that the next load need not read them.

    Raises:
        ModelError: A file is damaged; it is removed, and the next attempt downloads it again.
    """
    record = folder / CHECKSUM_FILE
    verified = _read_checksums(record) if record.is_file() else {}
    fresh, damaged = {}, []
    for path in sorted(folder.rglob(f"*{PLAIN}")):
        name = path.relative_to(folder).as_posix()
        if name in verified and path.stat().st_mtime <= record.stat().st_mtime:
            continue
        digest = _named_digest(source, folder, name)
        if digest and _sha256(path) == digest:
            fresh[name] = digest
        elif digest:
            damaged.append(name)
            for copy in (path.resolve(), folder.parents[1] / "blobs" / digest, path):
                copy.unlink(missing_ok=True)
    if fresh:
        with suppress(OSError):  # a cache that a class shares may be read-only
            _write_checksums(record, verified | fresh)
    if damaged:
        raise ModelError(
            f"{', '.join(damaged)} of {source.repo_id} arrived damaged (its SHA-256 is not the one "
            "that the Hub names) and was removed; load the model again to download it again"
        )


def weights_variant(folder: Path, *, half: bool) -> str | None:
    """Name the variant of the weights to load from a folder: "fp16", or None for plain files."""
    halves = {path.parent for path in folder.glob(f"*/*{HALF}")}
    plains = {path.parent for path in folder.glob("*/*") if path.suffixes == [PLAIN]}
    return "fp16" if halves and (half or halves - plains) else None


def check_folder(folder: Path) -> Path:
    """Return the folder if it holds a Stable Diffusion pipeline and no pickle.

    Raises:
        ModelError: It holds a pickle, or something else than such a pipeline.
    """
    check_pipeline(folder)
    pickles = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in PICKLE_SUFFIXES
    )
    if pickles:
        raise ModelError(
            f"{folder} holds the pickle {pickles[0]}, which can run any code when it is opened; "
            "only safetensors are loaded: convert it where you trust it, or take it out"
        )
    return folder


def check_pipeline(folder: Path) -> Path:
    """Return the folder if its index names a `StableDiffusionPipeline`.

    Raises:
        ModelError: The index is missing, unreadable, or names another pipeline.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{folder} is no pipeline: it has no model_index.json; "
            "give the folder that pipe.save_pretrained(folder) wrote"
        )
    try:
        class_name = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index} is damaged; save or download the model again") from error
    if class_name != "StableDiffusionPipeline":
        raise ModelError(
            f"{folder} holds a {class_name}; this course loads a StableDiffusionPipeline, "
            f"such as {MODELS['sd15'][0].repo_id}"
        )
    return folder


def write_checksums(folder: Path) -> None:
    """Record the SHA-256 of each file in a folder, in the format of the command sha256sum."""
    digests = {name: _sha256(folder / name) for name in _file_names(folder)}
    _write_checksums(folder / CHECKSUM_FILE, digests)


def verify_folder(folder: Path) -> None:
    """Check that a packaged folder holds the files recorded in it, unchanged, and no others.

    Raises:
        ModelError: The record or a file is missing, a file differs, or one is not recorded.
    """
    mend = f"restore it with `git checkout -- {folder}`, or reinstall sdlesson"
    if not (folder / CHECKSUM_FILE).is_file():
        raise ModelError(f"{folder / CHECKSUM_FILE} is missing; {mend}")
    recorded = _read_checksums(folder / CHECKSUM_FILE)
    present = _file_names(folder)
    for name in sorted({*recorded, *present}):
        if name not in present:
            raise ModelError(f"{folder / name} is missing; {mend}")
        if name not in recorded:
            raise ModelError(f"{folder / name} does not belong to the model; take it out")
        if _sha256(folder / name) != recorded[name]:
            raise ModelError(f"{folder / name} is damaged: its SHA-256 is not the recorded; {mend}")


def _first_available(name: str, *, half: bool) -> tuple[Path, str]:
    """Download the first source of a named model that its owner still gives out."""
    refusals = []
    for source in MODELS[name]:
        try:
            return download(source, half=half), source.repo_id
        except RefusedError as error:
            refusals.append(str(error))
    raise ModelError("; ".join(refusals))


def _check_token() -> None:
    """Refuse a token that no HTTP header can carry: the client's error would quote it."""
    if not re.fullmatch("[!-~]*", get_token() or ""):
        raise ModelError(
            "your Hugging Face token has characters that no token has; copy it again from "
            "https://huggingface.co/settings/tokens, or take it away"
        )


def _hub_answers(source: Source) -> bool:
    """Say whether the Hub answers in time, where the client would wait for a listing for ever."""
    with suppress(CachedRepoTreeNotFoundError):
        if source.revision and get_cached_repo_tree(source.repo_id, revision=source.revision):
            return True  # nothing to list
    try:
        HfApi().model_info(
            source.repo_id, revision=source.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except (HfHubHTTPError, HFValidationError):  # an answer, for `fetch` to explain
        return True
    except (HTTPError, OSError):
        return False
    return True


def _explain(error: Exception, source: Source) -> ModelError:
    """Say in one sentence why there was no download, and what to do about it."""
    link = f"https://huggingface.co/{source.repo_id}"
    if isinstance(error, GatedRepoError):
        return RefusedError(
            f"{source.repo_id} is gated: accept its licence on {link}, then call sdlesson.login()"
        )
    if isinstance(error, HTTPError) and re.search("Invalid credentials|is expired", str(error)):
        return ModelError(
            "the Hub refuses your token: call sdlesson.login() with a new one from "
            "https://huggingface.co/settings/tokens, or take the old one away"
        )
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | HFValidationError):
        return RefusedError(
            f"{source.repo_id} is neither a folder here nor a repository you can see on the Hub: "
            f"check the name on {link}, and if it is private, call sdlesson.login()"
        )
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return ModelError(
            f"{source.repo_id} is not on this machine and the Hub cannot be reached; "
            'check the network and try again, or use "pocket", which needs none'
        )
    return ModelError(
        f"the download of {source.repo_id} broke off ({type(error).__name__}); check the network "
        "and the free disk space and try again: the files that are whole are kept"
    )


def _named_digest(source: Source, folder: Path, name: str) -> str | None:
    """Return the SHA-256 that the Hub names for a file; None where it names none, or is away."""
    path, etag = folder / name, None
    if path.is_symlink():  # to what the cache calls by its etag: the SHA-256, for a large file
        etag = path.readlink().name
    else:  # as on Windows, where the content lies here and the etag is not kept
        with suppress(HTTPError, OSError):
            etag = get_hf_file_metadata(hf_hub_url(source.repo_id, name, revision=folder.name)).etag
    return etag if etag and re.fullmatch("[0-9a-f]{64}", etag) else None


def _without_weights(folder: Path) -> dict[str, str]:
    """Map each part of a pipeline that lacks weights to the name its weights would have."""
    stems = {}
    for config in sorted(folder.glob("*/config.json")):  # only models have a config.json
        made_by_diffusers = "_diffusers_version" in json.loads(config.read_text(encoding="utf-8"))
        stem = "diffusion_pytorch_model" if made_by_diffusers else "model"
        if not any((config.parent / f"{stem}{suffix}").is_file() for suffix in (HALF, PLAIN)):
            stems[config.parent.name] = stem
    return stems


def _file_names(folder: Path) -> list[str]:
    """List the files in a folder and below, but for its record and what starts with a dot."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name != CHECKSUM_FILE and not name.startswith("."))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_checksums(record: Path) -> dict[str, str]:
    """Map the names in a record to their SHA-256."""
    lines = record.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _write_checksums(record: Path, digests: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in digests.items()]
    record.write_text("".join(lines), encoding="utf-8", newline="\n")
