"""`make demo-live`: the live demos on a page of this machine, driven by one key, that cannot fail.

Space shows the question of a demo, then draws it here and now, then goes on to the next. Where
drawing fails, for whatever reason, or takes too long, the page shows the prepared pictures under a
bar that says so. They are in the page from the start, so even a dead server leaves them there.
Nothing on the page comes from the network.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import threading
import time
import traceback
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

from demos import DEMOS, PREPARED, Show, prepared
from sdlesson.language import LANGUAGES, Text

PAGE = Path(__file__).parent / "live.html"
PATIENCE_S = 20
"""How long a class waits for a picture before it sees the prepared one."""
SHOWN_PX = 128

WORDS = {
    "live": Text(
        "Drawn just now, on this computer, in", "Dibujada ahora mismo, en este equipo, en"
    ),
    "fallback": Text(
        "PREPARED picture, not drawn now. Why:", "Imagen PREPARADA, no dibujada ahora. Motivo:"
    ),
    "drawing": Text("drawing …", "dibujando …"),
    "slow": Text(
        f"it took longer than {PATIENCE_S} seconds", f"tardaba más de {PATIENCE_S} segundos"
    ),
    "dead": Text("the server does not answer", "el servidor no responde"),
    "missing": Text("no prepared picture either", "tampoco hay imagen preparada"),
    "key": Text("Space: on · Backspace: back", "Espacio: seguir · Retroceso: atrás"),
    "end": Text("That was the last demo.", "Era la última demo."),
}


class Artist:
    """Draws demos with a model that is loaded once, in the background; one demo at a time."""

    def __init__(self, load: Callable[[], Any]) -> None:
        """Begin to load the model."""
        self._load, self._pipe = load, None
        self._lock = threading.Lock()
        threading.Thread(target=self._warm_up, daemon=True).start()

    def draw(self, name: str, language: str) -> Show:
        """Draw a demo from the words of one language; whatever goes wrong is raised."""
        with self._lock:
            return DEMOS[name].draw(self._loaded(), language)

    def _loaded(self) -> Any:
        if self._pipe is None:
            self._pipe = self._load()
        return self._pipe

    def _warm_up(self) -> None:
        try:
            with self._lock:
                self._loaded()
        except Exception as error:  # the page will say it where it matters
            print(f"The model cannot be loaded: {error}", flush=True)


def load_pocket() -> Any:
    """Load the pocket model; its files are checked first."""
    from sdlesson.pipelines import load_pipeline

    pipe = load_pipeline("pocket", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def page(language: str, *, folder: Path = PREPARED) -> str:
    """The whole page: style, script, questions, prepared pictures."""
    demos = [_demo_data(name, language, folder) for name in DEMOS]
    words = {name: getattr(text, language) for name, text in WORDS.items()}
    data = {"demos": demos, "words": words, "patience": PATIENCE_S * 1000}
    filled = PAGE.read_text(encoding="utf-8").replace("LANGUAGE", language)
    return filled.replace("{/* data */}", json.dumps(data, ensure_ascii=False))


def serve(
    artist: Artist, language: str, *, port: int = 0, folder: Path = PREPARED
) -> ThreadingHTTPServer:
    """Make a server on this machine only; `serve_forever` runs it."""
    html = page(language, folder=folder).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self._answer(404, "text/plain", b"nothing here")
                return
            self._answer(200, "text/html; charset=utf-8", html)

        def do_POST(self) -> None:
            name = self.path.removeprefix("/draw/")
            if name not in DEMOS:
                self._answer(404, "application/json", b'{"why": "no such demo"}')
                return
            started = time.monotonic()
            try:
                show = artist.draw(name, language)
                answer = {
                    "seconds": round(time.monotonic() - started, 1),
                    "pictures": [_data_url(image) for image in show.images],
                }
                self._answer(200, "application/json", json.dumps(answer).encode())
            except Exception as error:  # anything at all: the class sees the prepared picture
                traceback.print_exc()
                why = str(error).strip() or type(error).__name__
                self._answer(503, "application/json", json.dumps({"why": why}).encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Serve the demos and open the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="only say the address")
    asked = parser.parse_args()
    server = serve(Artist(load_pocket), asked.language, port=asked.port)
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    print(f"Live demos: {address}  (Space goes on; Ctrl+C stops)", flush=True)
    if not asked.no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nStopped.")


def _demo_data(name: str, language: str, folder: Path) -> dict[str, Any]:
    demo = DEMOS[name]
    try:
        images = [_data_url(image) for image in prepared(name, language, folder=folder).images]
    except OSError:
        images = []
    return {
        "name": name,
        "title": getattr(demo.title, language),
        "question": getattr(demo.question, language),
        "prompt": getattr(demo.prompt, language),
        "labels": [getattr(label, language) for label in demo.labels],
        "columns": demo.columns,
        "prepared": images,
    }


def _data_url(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


if __name__ == "__main__":
    main()
