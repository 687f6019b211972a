"""What the server lets through, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oracle.app.gate import BUSY, FORM, MAX_REQUEST, POLICY, Gate

LIMIT = 1_000


def through(
    path: str, body: tuple[bytes, ...] = (b"",), status: int = 200, length: bytes | None = None
) -> tuple[int, bytes, dict[bytes, bytes], bool]:
    """Status, body and headers that a request gets, and whether the application behind the gate read all of it."""
    sent, read_all = list[dict[str, Any]](), False
    parts = [{"type": "http.request", "body": part, "more_body": i + 1 < len(body)} for i, part in enumerate(body)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal read_all
        while (await receive()).get("more_body"):
            pass
        read_all = True
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"inner"})

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", length)]
    asyncio.run(Gate(app, LIMIT)({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send))
    said = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], said, dict(sent[0]["headers"]), read_all


@pytest.mark.parametrize(
    "path", ["/", "/config", "/theme.css", "/assets/index-1.js", "/static/js/a.js", "/gradio_api/queue/join"]
)
def test_what_the_page_needs_is_served_under_a_policy(path: str) -> None:
    status, said, headers, _ = through(path)
    assert (status, said) == (200, b"inner")
    assert headers[b"content-security-policy"] == POLICY.encode() and "default-src 'self'" in POLICY


ELSEWHERE = (
    *(
        "/file=/etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://x/",
    ),
    *("/static/../../etc/passwd", "/assets/..", "/monitoring", "/gradio_api/runs", "/gradio_api/vibe-edit", "//"),
    *("/gradio_api/component_server", "/docs", "/openapi.json", "/gradio_api/dev/reload", "/gradio_api/run/ask"),
    *("/x\n", "/gradio_api/stream/a/b/c/playlist.m3u8", "/gradio_api/process_recording", "/gradio_api/deep_link"),
)


@pytest.mark.parametrize("path", ELSEWHERE)
def test_nothing_else_is(path: str) -> None:
    status, said, _, read_all = through(path)
    assert (status, said, read_all) == (404, b"not found\n", False)


@pytest.mark.parametrize(
    ("path", "limit"), [("/gradio_api/upload", LIMIT + FORM), ("/gradio_api/queue/join", MAX_REQUEST)]
)
def test_requests_have_a_largest_size_announced_or_not(path: str, limit: int) -> None:
    half = b"x" * (limit // 2)
    assert through(path, (half, half))[0] == 200
    assert through(path, (half, half, b"xx"))[0] == 413
    assert through(path, length=str(limit).encode())[0] == 200
    for length in (str(limit + 1).encode(), b"-1", b"many"):
        status, _, _, read_all = through(path, length=length)
        assert status == 413 and not read_all


def test_the_application_gets_the_whole_body() -> None:
    got = list[bytes]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        got.append(message["body"])
        assert not message.get("more_body") and (await receive())["type"] == "http.disconnect"

    messages = [{"type": "http.request", "body": part, "more_body": part != b"c"} for part in (b"a", b"b", b"c")]
    messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(Gate(app, LIMIT)(scope, receive, send))
    assert got == [b"abc"]


@pytest.mark.parametrize("address", ["http://example.org/x", "https://127.0.0.1/", "HTTP:\\u002f/x", "ftp://x"])
@pytest.mark.parametrize("around", ["%s", "[%s]", '{"data": [[%s]], "fn_index": 3}'])
def test_no_file_is_fetched_from_an_address(address: str, around: str) -> None:
    file = f'{{"path": "{address}", "meta": {{"_type": "gradio.FileData"}}}}'
    status, _, _, read_all = through("/gradio_api/queue/join", ((around % file).encode(),))
    assert status == 400 and not read_all


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"path": "/tmp/x", "url": "http://127.0.0.1/file"}', b'{"data": ["see http://x"]}'],
)
def test_other_bodies_pass(body: bytes) -> None:
    assert through("/gradio_api/queue/join", (body,))[0] == 200


def test_a_full_queue_is_said_politely() -> None:
    status, said, headers, _ = through("/gradio_api/queue/join", status=503)
    assert status == 503 and said == BUSY and b"Please" in BUSY
    assert headers[b"content-length"] == str(len(BUSY)).encode() and b"retry-after" in headers


def test_what_is_no_request_passes() -> None:
    seen = list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*args: Any) -> dict[str, Any]:
        return {}

    asyncio.run(Gate(app, LIMIT)({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
