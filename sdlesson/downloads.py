"""Fetch files from the Hub, and check that files are what they claim to be."""

import hashlib
import os
import re
import ssl
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

from sdlesson.files import atomic_write, is_there
from sdlesson.language import Text, say

CHECKSUM_FILE = "SHA256SUMS"
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")  # which no user puts in a folder
WEIGHTS_SUFFIX = ".safetensors"
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROXY_VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")  # in letters of either size
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


class ModelError(RuntimeError):
    """A model that cannot be had or cannot be trusted; the message says why and what to do."""


class RefusedError(ModelError):
    """The Hub answered and did not give the repository: another source may still do."""


class Source(NamedTuple):
    """A repository on the Hub, at one revision (None is the newest)."""

    repo_id: str
    revision: str | None = None


def fetch(source: Source, patterns: list[str]) -> Path:
    """Download the files of a repository that match, verified, and return their folder.

    Raises:
        ModelError: The repository is gated, gone or out of reach; the download broke off; or
            weights arrived damaged.
    """
    _check_token()
    trouble = _find_trouble(source)
    try:
        folder = snapshot_download(
            source.repo_id,
            revision=source.revision,
            allow_patterns=patterns,
            local_files_only=trouble is not None,
        )
    except Exception as error:  # where a proxy or certificate is wrong, of any class
        raise _explain(error, source, trouble) from error
    verify_downloads(source, Path(folder))
    return Path(folder)


def verify_downloads(source: Source, folder: Path) -> None:
    """Compare weights in the Hub's cache with the SHA-256 that the Hub names, once a download.

    What was compared is recorded beside the weights, so that the next load need not read them.

    Raises:
        ModelError: A file is damaged; it is removed, and the next attempt downloads it again.
    """
    record = folder / CHECKSUM_FILE
    verified: dict[str, str] = {}
    with suppress(FileNotFoundError, ModelError):  # without a record, or a whole one, read all
        verified = _read_checksums(record)
    fresh, damaged = {}, []
    for path in sorted(folder.rglob(f"*{WEIGHTS_SUFFIX}")):
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


def can_be_sent(token: str) -> bool:
    """Whether a header of HTTP can carry a token; the client's error would quote any other."""
    return bool(re.fullmatch("[!-~]+", token))


def write_checksums(folder: Path) -> None:
    """Record the SHA-256 of each file in a folder, in the format of the command sha256sum."""
    digests = {name: _sha256(folder / name) for name in _file_names(folder)}
    _write_checksums(folder / CHECKSUM_FILE, digests)


def verify_folder(folder: Path) -> None:
    """Check that a packaged folder holds the files recorded in it, unchanged, and no others.

    Raises:
        ModelError: The record or a file is missing, a file differs, or one is not recorded.
    """
    mend = say(
        f"restore it with `git checkout -- {folder}`, or reinstall sdlesson",
        f"recupéralo con `git checkout -- {folder}` o reinstala sdlesson",
    )
    if not (folder / CHECKSUM_FILE).is_file():
        raise _missing(folder / CHECKSUM_FILE, mend)
    _compare(folder, mend)
    if strange := sorted(set(_file_names(folder)) - set(_read_checksums(folder / CHECKSUM_FILE))):
        path = folder / strange[0]
        raise ModelError(
            say(
                f"{path} does not belong to the model; take it out",
                f"{path} no es del modelo; quítalo",
            )
        )


def verify_saved(folder: Path) -> None:
    """Check the files that are recorded in a folder, where `write_checksums` has recorded any.

    Others may lie beside them: a model card, say, or LoRAs.

    Raises:
        ModelError: A recorded file is missing or differs, or the record is damaged.
    """
    if (folder / CHECKSUM_FILE).is_file():
        _compare(
            folder,
            say(
                "save or download the model again; if you changed it yourself, delete "
                f"{CHECKSUM_FILE} in its folder",
                "vuelve a guardar o a descargar el modelo; si lo cambiaste tú, borra "
                f"{CHECKSUM_FILE} en su carpeta",
            ),
        )


def unlisted_files(folder: Path, *, mark: str = "model_index.json") -> list[str]:
    """List what a folder holds beyond the model that was saved in it, hidden files too.

    Where no such model is recorded in it, all of it is strange, whatever it looks like.

    Args:
        mark: A file that is recorded with every model of this kind; a pipeline has its index.
    """
    recorded: set[str] = set()
    with suppress(OSError, ModelError):
        recorded = {*_read_checksums(folder / CHECKSUM_FILE), CHECKSUM_FILE}
    if mark not in recorded:
        recorded = set()
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in found if path.name not in SYSTEM_FILES)
    return sorted(name for name in names if name not in recorded)


def _compare(folder: Path, mend: str) -> None:
    """Compare the files that are recorded in a folder with their SHA-256."""
    for name, digest in sorted(_read_checksums(folder / CHECKSUM_FILE).items()):
        if not (folder / name).is_file():
            raise _missing(folder / name, mend)
        if _sha256(folder / name) != digest:
            raise ModelError(
                say(
                    f"{folder / name} is damaged: its SHA-256 is not the recorded one; {mend}",
                    f"{folder / name} está dañado: su SHA-256 no es el registrado; {mend}",
                )
            )


def _missing(path: Path, mend: str) -> ModelError:
    return ModelError(say(f"{path} is missing; {mend}", f"falta {path}; {mend}"))


def _check_token() -> None:
    try:
        token = get_token()
    except OSError as error:  # the folder's name is too long, or the file may not be read
        raise ModelError(
            f"no token can be read where HF_HOME or HF_TOKEN_PATH says ({error.strerror}): "
            "correct that variable, or take it away"
        ) from error
    if token and not can_be_sent(token):
        raise ModelError(
            "your Hugging Face token has characters that no token has; copy it again from "
            f"{TOKENS_PAGE}, or take it away"
        )


def what_to_check(error: Exception | None) -> Text:
    """Say what keeps this machine from the Hub: what its variables say first, else the network."""
    if constants.HF_HUB_OFFLINE:
        name = next((name for name in OFFLINE_VARIABLES if os.environ.get(name)), "HF_HUB_OFFLINE")
        return Text(
            f"the variable {name} keeps it from being asked: take that away",
            f"la variable {name} impide preguntarle: quítala",
        )
    if not constants.ENDPOINT.startswith(("http://", "https://")):
        return Text(
            "the variable HF_ENDPOINT must begin with https://",
            "la variable HF_ENDPOINT debe empezar por https://",
        )
    for name in CERTIFICATE_VARIABLES:
        path = os.environ.get(name)
        if path and (isinstance(error, ssl.SSLError) or not is_there(path)):
            return Text(
                f"the variable {name} names no certificates that can be read: correct it, or take "
                "it away",
                f"la variable {name} no indica certificados legibles: corrígela o quítala",
            )
    proxies = [name for name in os.environ if name.upper() in PROXY_VARIABLES and os.environ[name]]
    if isinstance(error, ImportError):
        return Text(
            f"a SOCKS proxy ({', '.join(proxies)}) needs a package: pip install socksio",
            f"un proxy SOCKS ({', '.join(proxies)}) necesita un paquete: pip install socksio",
        )
    if proxies:
        return Text(
            f"check the network, and the proxy in {', '.join(proxies)}",
            f"comprueba la red y el proxy de {', '.join(proxies)}",
        )
    return Text("check the network", "comprueba la red")


def _find_trouble(source: Source) -> Exception | None:
    """Return why the Hub gives no answer in time; the client would wait for a listing for ever."""
    with suppress(CachedRepoTreeNotFoundError):
        if source.revision and get_cached_repo_tree(source.repo_id, revision=source.revision):
            return None  # nothing to list
    try:
        HfApi().model_info(
            source.repo_id, revision=source.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except (HfHubHTTPError, HFValidationError):  # an answer, for `fetch` to explain
        return None
    except Exception as error:  # where a proxy or certificate is wrong, of any class
        return error
    return None


def _explain(error: Exception, source: Source, trouble: Exception | None) -> ModelError:
    """Say in one sentence why there was no download, and what to do about it."""
    link = f"https://huggingface.co/{source.repo_id}"
    if isinstance(error, GatedRepoError):
        return RefusedError(
            f"{source.repo_id} is gated: accept its licence on {link}, then call sdlesson.login()"
        )
    if isinstance(error, HTTPError) and re.search("Invalid credentials|is expired", str(error)):
        return ModelError(
            "the Hub refuses your token: call sdlesson.login() with a new one from "
            f"{TOKENS_PAGE}, or take the old one away"
        )
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | HFValidationError):
        return RefusedError(
            f"{source.repo_id} is neither a folder here nor a repository you can see on the Hub: "
            f"check the name on {link}, and if it is private, call sdlesson.login()"
        )
    advice = what_to_check(trouble or error).en
    if trouble or isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return ModelError(
            f"{source.repo_id} is not on this machine and the Hub cannot be reached; "
            f'{advice} and try again, or use "pocket", which needs none'
        )
    return ModelError(
        f"the download of {source.repo_id} broke off ({type(error).__name__}); {advice} "
        "and the free disk space and try again: the files that are whole are kept"
    )


def _named_digest(source: Source, folder: Path, name: str) -> str | None:
    """Return the SHA-256 that the Hub names for a file; None where it names none, or is away."""
    path, etag = folder / name, None
    if path.is_symlink():  # to what the cache calls by its etag: the SHA-256, for a large file
        etag = path.readlink().name
    else:  # as on Windows, where the content lies here and the etag is not kept
        with suppress(Exception):
            etag = get_hf_file_metadata(hf_hub_url(source.repo_id, name, revision=folder.name)).etag
    return etag if etag and re.fullmatch("[0-9a-f]{64}", etag) else None


def _file_names(folder: Path) -> list[str]:
    """List the files in a folder and below, but for its record and what starts with a dot."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name != CHECKSUM_FILE and not name.startswith("."))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_checksums(record: Path) -> dict[str, str]:
    """Map the names in a record to their SHA-256.

    Raises:
        ModelError: A line of it is none of sha256sum's, or leads out of the folder.
    """
    digests = {}
    for line in record.read_bytes().decode(errors="replace").split("\n"):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line.rstrip("\r"))
        if found and ".." not in Path(found[2]).parts and not Path(found[2]).is_absolute():
            digests[found[2]] = found[1]
        elif line.strip():
            raise ModelError(
                f"{record} is damaged in the line {line[:80]!r}; save or download the model again"
            )
    return digests


def _write_checksums(record: Path, digests: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in digests.items()]
    with atomic_write(record) as partial:
        partial.write_text("".join(lines), encoding="utf-8", newline="\n")
