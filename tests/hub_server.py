"""A Hub on localhost: enough of its HTTP for the real client to list and download repositories."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves folders under Hub ids; without an entry, a repository does not exist."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.requested: list[str] = []  # paths of the files that were downloaded
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, url: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of one request."""
        path = unquote(urlsplit(url).path).strip("/")
        repo_id = "/".join(path.removeprefix("api/models/").split("/")[:2])
        if repo_id not in self.folders:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        folder, rest = self.folders[repo_id], path.split(repo_id + "/", 1)[-1].split("/")
        sha = rest[1] if re.fullmatch("[0-9a-f]{40}", rest[1]) else _sha(repo_id)
        if rest[0] == "revision":
            return 200, {}, _json({"id": repo_id, "sha": sha, "siblings": []})
        if rest[0] == "tree":
            return 200, {}, _json(_tree(folder))
        if repo_id in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        content = (folder / Path(*rest[2:])).read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        if method == "GET":
            self.requested.append("/".join(rest[2:]))
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": sha}, content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = hub.answer(self.command, self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _sha(repo_id: str) -> str:
    return hashlib.sha1(repo_id.encode()).hexdigest()


def _tree(folder: Path) -> list[dict[str, object]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }
        for path in files
    ]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
