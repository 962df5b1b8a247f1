"""The Bot API over HTTP: reads a call, lets it fail where that is wanted, and writes the answer."""

from __future__ import annotations

import asyncio
import hmac
import inspect
import json
import time

from sdlesson.bot_api import account_methods, message_methods
from sdlesson.bot_api.errors import ApiError, Json, bad_request
from sdlesson.bot_api.faults import Fault
from sdlesson.bot_api.guard import GuardedHandler
from sdlesson.bot_api.media import MAX_DOWNLOAD_BYTES, MAX_UPLOAD_BYTES, Upload
from sdlesson.bot_api.parameters import Parameters, read_json
from sdlesson.bot_api.state import ApiCall, ServerState

METHODS = account_methods.METHODS | message_methods.METHODS
BY_LOWER_NAME = {name.lower(): name for name in METHODS}
MAX_LOGGED_CHARACTERS = 40_000  # of a parameter
MAX_BODY_BYTES = MAX_UPLOAD_BYTES + 2**20  # a multipart body is a little more than its file


class CallHandler(GuardedHandler):
    """What both kinds of requests have in common."""

    def initialize(self, state: ServerState) -> None:
        """Take what the server keeps from the routes."""
        self.state = state
        self._poll: asyncio.Future[object] | None = None
        self._is_gone = False

    def on_connection_close(self) -> None:
        """A bot that hangs up waits no more, and so does not seem to run."""
        self._is_gone = True
        if self._poll:
            self._poll.cancel()

    async def _answer(self, token: str, method: str, call: Parameters) -> None:
        """Do what is asked, and write the result or the error."""
        sizes = {name: len(upload.data) for name, upload in call.uploads.items()}
        values = {name: text[:MAX_LOGGED_CHARACTERS] for name, text in call.values.items()}
        entry = ApiCall(method, values, sizes)
        self.state.log(entry)
        fault = self.state.faults.take(method, call.text("chat_id")) or Fault(method)
        try:
            result = await self._do(token, method, call) if fault.has_effect else b""
            error = fault.error if fault.status != 200 else None
        except ApiError as refusal:
            result, error = b"", refusal
        except asyncio.CancelledError:
            if not self._is_gone:  # the server stops
                raise
            entry.status = 0
            return
        except Exception:
            entry.status = 500
            raise
        await asyncio.sleep(fault.delay_s)
        entry.answered_at = time.monotonic()
        entry.status = 0 if fault.drop else error.status if error else 200
        if fault.drop:
            self.detach().close()
        elif error:
            self._refuse(error)
        else:
            self.finish(result)

    async def _do(self, token: str, method: str, call: Parameters) -> bytes:
        raise NotImplementedError

    def _check_token(self, token: str) -> None:
        if not hmac.compare_digest(token.encode(), self.state.token.encode()):
            raise ApiError(401, "Unauthorized")

    def _refuse(self, error: ApiError) -> None:
        self.set_status(error.status)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(error.answer))


class MethodHandler(CallHandler):
    """Calls of a method: /bot<token>/<method>."""

    async def get(self, token: str, method: str) -> None:
        """Answer a call."""
        await self.post(token, method)

    async def post(self, token: str, method: str) -> None:
        """Answer a call."""
        try:
            call = self._read()
        except ApiError as error:
            self._refuse(error)
            return
        await self._answer(token, BY_LOWER_NAME.get(method.lower(), method), call)

    async def _do(self, token: str, method: str, call: Parameters) -> bytes:
        self._check_token(token)
        if method not in METHODS:
            raise ApiError(404, "Not Found: method not found")
        result = METHODS[method](self.state.telegram, call)
        if inspect.isawaitable(result):
            self._poll = asyncio.ensure_future(result)
            result = await self._poll
        self.set_header("Content-Type", "application/json")
        return json.dumps({"ok": True, "result": result}).encode()

    def _read(self) -> Parameters:
        request = self.request
        if len(request.body) > MAX_BODY_BYTES:
            raise ApiError(413, "Request Entity Too Large")
        try:
            values = {name: given[-1].decode() for name, given in request.arguments.items()}
        except UnicodeDecodeError as error:
            raise bad_request("strings must be encoded in UTF-8") from error
        if request.headers.get("Content-Type", "").startswith("application/json"):
            values |= _strings(read_json(request.body or b"{}", "request"))
        uploads = {
            name: Upload(file.body, file.filename, file.content_type)
            for name, files in request.files.items()
            for file in files
        }
        return Parameters(values, uploads)


class FileHandler(CallHandler):
    """Downloads of files: /file/bot<token>/<path>."""

    async def get(self, token: str, path: str) -> None:
        """Answer with a file."""
        await self._answer(token, "file", Parameters({"path": path}))

    async def _do(self, token: str, method: str, call: Parameters) -> bytes:
        self._check_token(token)
        kept = self.state.telegram.media.at(call.text("path"))
        if len(kept.data) > MAX_DOWNLOAD_BYTES:
            raise bad_request("file is too big")
        self.set_header("Content-Type", "application/octet-stream")
        return kept.data


def _strings(body: Json) -> dict[str, str]:
    """What a JSON body says, as a form would say it.

    Raises:
        ApiError: It is no object.
    """
    if not isinstance(body, dict):
        raise bad_request("can't parse request JSON object")
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in body.items()
        if value is not None
    }
