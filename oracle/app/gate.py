"""What the server lets through, around everything that Gradio serves: a short list of paths, requests of bounded
size, and a policy that keeps browsers from loading anything from elsewhere.

Gradio has routes that the page does not need: files by their path, a proxy, histories, recordings, code editing. None
of them is reachable here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

SERVED = re.compile(
    r"/|/(static|assets)/.+|/(config|favicon\.ico|manifest\.json|robots\.txt|theme\.css)/?"
    r"|/gradio_api/(info|config|upload|upload_progress|startup-events|app_id|theme\.css|reset|cancel|login_check)/?"
    r"|/gradio_api/run/predict/?"
    r"|/gradio_api/(queue/(join|data)|heartbeat/[\w-]+|call/[\w-]+(/[\w-]+)?)/?"
)
"""Paths that the page, or a program that asks over HTTP, needs."""
UPLOAD = "/gradio_api/upload"
MAX_REQUEST = 1 << 18
"""Bytes of a request that is no upload: a question has at most 10,000 characters."""
FORM = 1 << 16
"""Bytes of an upload that are not its files."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
"""What a browser may load for the page: Gradio builds its own templates at run time, hence unsafe-eval."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
BUSY = b'{"detail":"Many questions are waiting already. Please ask again in a minute."}'

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class TooLarge(Exception):
    """A request is longer than its limit."""


class Gate:
    """ASGI middleware."""

    def __init__(self, app: App, max_upload: int):
        self.app, self.max_upload = app, max_upload

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it in a line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if not SERVED.fullmatch(path) or ".." in path:
            await _refuse(send, 404, "not found")
            return
        is_upload = path.rstrip("/") == UPLOAD
        limit = self.max_upload + FORM if is_upload else MAX_REQUEST
        too_large = f"request of more than {limit:,} bytes, which is the most that is taken"
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await _refuse(send, 413, too_large)
            return
        reply, counted = Reply(send), _counted(receive, limit)
        try:
            if scope.get("method") == "POST" and not is_upload:
                body, counted = await _whole(counted)
                if asks_for_address(body):
                    await _refuse(send, 400, "a file by its address, expected one that was uploaded")
                    return
            await self.app(scope, counted, reply)
        except TooLarge:
            if not reply.started:
                await _refuse(send, 413, too_large)


class Reply:
    """`send` that adds the headers, and says politely that the queue is full where Gradio says it in numbers."""

    def __init__(self, send: Send):
        self.send, self.started, self.busy = send, False, False

    async def __call__(self, message: Message) -> None:
        """Send a part of a reply."""
        if message["type"] == "http.response.start":
            self.started, self.busy = True, message["status"] == 503
            kept = [(name, value) for name, value in message.get("headers", []) if not self._replaced(name)]
            added = [(b"content-length", str(len(BUSY)).encode()), (b"retry-after", b"30")] if self.busy else []
            message = {**message, "headers": [*kept, *HEADERS, *added]}
        elif self.busy and message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {**message, "body": BUSY}
        await self.send(message)

    def _replaced(self, name: bytes) -> bool:
        return self.busy and name.lower() == b"content-length"


def _counted(receive: Receive, limit: int) -> Receive:
    """`receive` that stops after so many bytes."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise TooLarge
        return message

    return counted


async def _whole(receive: Receive) -> tuple[bytes, Receive]:
    """The body of a request, and a `receive` that gives it once more."""
    parts, more = list[bytes](), True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    body = b"".join(parts)
    again = [{**message, "body": body}]

    async def repeated() -> Message:
        return again.pop() if again else await receive()

    return body, repeated


def asks_for_address(body: bytes) -> bool:
    """Whether a request names a file by an address on the network: Gradio would fetch it."""
    try:
        found = [json.loads(body)]
    except (ValueError, RecursionError):  # whoever is behind the gate refuses what is no JSON
        return False
    while found:
        value = found.pop()
        if isinstance(value, dict):
            if "://" in str(value.get("path", "")):
                return True
            found += value.values()
        elif isinstance(value, list):
            found += value
    return False


async def _refuse(send: Send, status: int, text: str) -> None:
    """Reply with a line of text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode() + b"\n"})
