"""A Hub on localhost: what the real one answers to the real client, and how it fails."""

import hashlib
import json
import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import pytest

STALL_S = 30  # how long a slow answer keeps a client waiting that has no patience of its own


class Request(NamedTuple):
    """One request, as it reached the server."""

    method: str
    path: str
    authorization: str
    range: str


class Reply(NamedTuple):
    """An answer; one that is cut off ends half-way through its body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    is_cut_off: bool = False


def point_the_client_at(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what HF_ENDPOINT sets, which the client reads once, on import."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(constants + "ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", url)
    monkeypatch.setattr(constants + "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants + "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants + "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants + "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants + "HF_STORED_TOKENS_PATH", str(cache / "stored_tokens"))


def closed_url() -> str:
    """Name an address on this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def user(name: str, role: str) -> dict[str, object]:
    """What whoami says of a user's token."""
    token = {"displayName": f"{name}'s {role} token", "role": role}
    return {"type": "user", "name": name, "auth": {"type": "access_token", "accessToken": token}}


class HubServer:
    """Serves folders under Hub ids; without an entry, a repository does not exist.

    As on the real Hub, *.safetensors lie in large-file storage: `resolve` names their SHA-256 and
    redirects to another host, which here is a second port.
    """

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.users: dict[str, dict[str, object]] = {}  # what whoami says of each valid token
        self.expired: set[str] = set()
        self.licensed: set[str] = set()  # tokens whose owner has accepted every licence
        self.statuses: dict[str, int] = {}  # HTTP errors, by the path that answers with them
        # Files by folder and name, such as "unet/config.json", that fail on their way:
        self.corrupted: set[str] = set()  # arrive with a wrong byte
        self.breaks: dict[str, int] = {}  # how often the connection breaks half-way
        self.slow: set[str] = set()  # keep the client waiting; also paths
        self.requests: list[Request] = []
        self.requested: list[str] = []  # the files whose content was asked for
        self._blobs: dict[str, Path] = {}  # large files by their SHA-256
        self._stopped = Event()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in range(2)]
        self.url, self.storage_url = (
            f"http://127.0.0.1:{server.server_port}" for server in self._servers
        )

    def __enter__(self) -> Self:
        for server in self._servers:
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        """Return the reply to one request."""
        path = unquote(urlsplit(url).path).strip("/")
        authorization = headers.get("Authorization", "")
        self.requests.append(Request(method, path, authorization, headers.get("Range", "")))
        if path in self.slow:
            self._stopped.wait(STALL_S)
        if path in self.statuses:
            return Reply(self.statuses[path], {})
        if path.startswith("storage/"):
            return self._send(method, self._blobs[path.split("/")[1]], headers.get("Range", ""))
        token = authorization.removeprefix("Bearer ")
        if token and token not in self.users:
            return self._refuse(token, path)
        if path == "api/whoami-v2":
            return Reply(200, {}, _json(self.users[token])) if token else Reply(401, {})
        return self._answer_repository(method, path, token, headers.get("Range", ""))

    def _answer_repository(self, method: str, path: str, token: str, wanted: str) -> Reply:
        repo_id = "/".join(path.removeprefix("api/models/").split("/")[:2])
        if repo_id not in self.folders:
            return Reply(404 if token else 401, {"X-Error-Code": "RepoNotFound"})
        folder = self.folders[repo_id]
        rest = path.partition(repo_id)[2].strip("/").split("/")  # such as resolve/main/config.json
        is_commit = len(rest) > 1 and re.fullmatch("[0-9a-f]{40}", rest[1])
        commit = rest[1] if is_commit else _git_oid(repo_id.encode())
        if rest[0] in ("", "revision"):
            return Reply(200, {}, _json({"id": repo_id, "sha": commit, "siblings": []}))
        if rest[0] == "tree":
            return Reply(200, {}, _json([_entry(file, folder) for file in _files(folder)]))
        if repo_id in self.gated and token not in self.licensed:
            return Reply(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        file = folder / Path(*rest[2:])
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_entry(file, folder)["oid"]}"'}
        if not _is_large(file):
            return self._send(method, file, wanted, headers)
        digest = _sha256(file, file.stat().st_mtime_ns)
        self._blobs[digest] = file
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(file.stat().st_size)}
        place = {"Location": f"{self.storage_url}/storage/{digest}"}
        return Reply(302, headers | linked | place)

    def _send(
        self, method: str, file: Path, wanted: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Return a file, from the byte on that a Range names."""
        name, content = f"{file.parent.name}/{file.name}", bytearray(file.read_bytes())
        if method == "HEAD":
            return Reply(200, dict(headers or {}), bytes(content))
        self.requested.append(name)
        if name in self.slow:
            self._stopped.wait(STALL_S)
        if name in self.corrupted:
            content[-1] ^= 1
        is_cut_off = self.breaks.get(name, 0) > 0
        self.breaks[name] = self.breaks.get(name, 0) - is_cut_off
        first = re.fullmatch(r"bytes=(\d+)-", wanted)
        if not first:
            return Reply(200, dict(headers or {}), bytes(content), is_cut_off)
        start, size = int(first[1]), len(content)
        span = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        return Reply(206, {**(headers or {}), **span}, bytes(content[start:]), is_cut_off)

    def _refuse(self, token: str, path: str) -> Reply:
        reason = "Invalid credentials in Authorization header"
        if token in self.expired:
            reason = 'User Access Token "course" is expired'
        elif path == "api/whoami-v2":
            reason = "Invalid username or password."
        return Reply(401, {"X-Error-Message": reason}, _json({"error": reason}))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reply = hub.answer(self.command, self.path, self.headers)
                size = len(reply.body)
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(size)}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(reply.body[: size // 2 if reply.is_cut_off else size])

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_large(file: Path) -> bool:
    return file.suffix == ".safetensors"


def _entry(file: Path, folder: Path) -> dict[str, object]:
    """One line of a repository's listing; a large file stands there as a pointer to its content."""
    name, size = file.relative_to(folder).as_posix(), file.stat().st_size
    entry: dict[str, object] = {"type": "file", "path": name, "size": size}
    if not _is_large(file):
        return entry | {"oid": _git_oid(file.read_bytes())}
    digest = _sha256(file, file.stat().st_mtime_ns)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    large = {"oid": digest, "size": size, "pointerSize": len(pointer)}
    return entry | {"oid": _git_oid(pointer.encode()), "lfs": large}


@lru_cache
def _sha256(file: Path, _changed: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
