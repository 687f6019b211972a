"""The page as it is served: over HTTP by many at once, by hostile visitors, and clicked through in a browser."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from oracle.app import words
from oracle.app.gate import BUSY
from oracle.app.service import Service
from tracr_tasks.errors import WeightOracleError
from zoo.store import Zoo

pytest.importorskip("gradio", reason="the extra `app` is not installed")

QUEUE = 200
QUESTIONS = ("How was this model made?", "Does the program use aggregate?")
HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True)
class Served:
    """A process that serves the page."""

    url: str
    pid: int
    temporary: Path
    """Where it makes its temporary folders."""

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.fixture(scope="module")
def served(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`weight-oracle app`, in a process of its own, stopped as a user would at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = tmp_path_factory.mktemp("temporary")
    log = temporary.with_suffix(".log")
    options = ["--zoo", str(zoo.directory), "--port", str(port), "--queue", str(QUEUE), "--max-upload-mb", "1"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "oracle.cli", "app", *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        try:
            while "http" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield Served(f"http://127.0.0.1:{port}", process.pid, temporary)
        finally:
            process.terminate()
            status = process.wait(30)
    assert status == 143, log.read_text()
    assert list(temporary.iterdir()) == [], "temporary folders stayed"
    assert "oracle/app" not in log.read_text(), "an error of ours"


class Busy(Exception):
    """The queue is full."""


def ask(served: Served, client: httpx.Client, key: str, question: str) -> str:
    """The answers as the page's own event gives them: HTML."""
    place = f"{served.url}/gradio_api/call/ask"
    joined = client.post(place, json={"data": [key, question]})
    if joined.status_code == 503:
        assert joined.content == BUSY
        raise Busy
    told = client.get(f"{place}/{joined.json()['event_id']}").text
    event, data = told.strip().split("\n\n")[-1].split("\n", 1)
    assert event == "event: complete", told
    html: str = json.loads(data.removeprefix("data: "))[0]
    return html


def all_at_once(served: Served, asked: list[tuple[str, str]]) -> list[str | None]:
    """What each of many visitors is told who ask at one moment; None where the queue is full."""
    gate = threading.Barrier(len(asked))
    limits = httpx.Limits(max_connections=len(asked), max_keepalive_connections=0)
    with httpx.Client(timeout=600, limits=limits, verify=False) as client, ThreadPoolExecutor(len(asked)) as pool:

        def visit(pair: tuple[str, str]) -> str | None:
            gate.wait()
            try:
                return ask(served, client, *pair)
            except Busy:
                return None

        return list(pool.map(visit, asked))


@pytest.mark.timeout(900)  # on a machine whose cores are all taken by others
def test_many_at_once_are_all_answered_and_right(served: Served, service: Service, zoo: Zoo) -> None:
    rows = [row for kind in ("rasp", "flowchart") for row in zoo.rows(kind=kind)[:3]]
    pairs = [(f"zoo#{row.id}", question) for row in rows for question in QUESTIONS]
    asked = [pairs[i % len(pairs)] for i in range(200)]
    random.Random(3).shuffle(asked)
    expected = {pair: words.answers(service.ask(*pair)) for pair in pairs}
    assert len(set(expected.values())) == len(pairs)
    resident = list[int]()
    for _ in range(2):
        assert all_at_once(served, asked) == [expected[pair] for pair in asked]
        resident.append(served.resident)
    print(f"resident {resident[0] / 1e6:.0f} MB, after 200 more {resident[1] / 1e6:.0f} MB")
    assert resident[1] < 1.05 * resident[0]
    more = [pairs[i % len(pairs)] for i in range(QUEUE + 300)]  # many more than are answered while they come
    told = all_at_once(served, more)
    assert None in told  # some came when the queue was full, were told so politely, and nobody else was harmed
    assert [t for t in told if t is not None] == [expected[p] for p, t in zip(more, told, strict=True) if t is not None]
    assert sum(t is not None for t in told) >= QUEUE


@pytest.mark.parametrize(
    "path",
    [
        *("/file=/etc/passwd", "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../../etc/passwd"),
        *("/gradio_api/file/etc/passwd", "/static/../../../../etc/passwd", "/assets/..%2f..%2f..%2fetc/passwd"),
        *("/gradio_api/proxy=http://127.0.0.1/", "/monitoring", "/gradio_api/runs", "/docs", "/gradio_api/vibe-code"),
    ],
)
def test_no_file_and_no_side_door_is_served(served: Served, path: str) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:  # a client library would tidy the path
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 404") and b"root:" not in reply


def upload(served: Served, name: str, content: bytes) -> httpx.Response:
    with httpx.Client(timeout=60) as client:
        return client.post(f"{served.url}/gradio_api/upload", files={"files": (name, content)})


def test_an_oversize_upload_is_refused_and_leaves_nothing(served: Served) -> None:
    reply = upload(served, "model.safetensors", bytes(3_000_000))
    assert reply.status_code == 413 and len(reply.text) < 200
    assert not [path for path in served.temporary.rglob("*") if path.is_file() and path.stat().st_size > 100_000]

    def unannounced() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="model.safetensors"\r\n\r\n'
        for _ in range(30):
            yield bytes(100_000)
        yield b"\r\n--x--\r\n"

    with httpx.Client(timeout=60) as client:
        kind = {"content-type": "multipart/form-data; boundary=x"}
        reply = client.post(f"{served.url}/gradio_api/upload", content=unannounced(), headers=kind)
        assert reply.status_code in (400, 413)
        reply = client.post(f"{served.url}/gradio_api/queue/join", content=bytes(1_000_000), headers=HEADERS)
        assert reply.status_code == 413
        assert client.get(served.url).status_code == 200


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/etc/cron.d/evil", "..\\..\\evil", "a/../../evil", "%2e%2e%2fevil"]
)
def test_an_uploaded_name_cannot_leave_the_folder(served: Served, name: str) -> None:
    reply = upload(served, name, b"x")
    places = [Path(path) for path in reply.json()] if reply.status_code == 200 else []
    assert all(place.resolve().is_relative_to(served.temporary.resolve()) for place in places)
    assert not list(Path("/etc/cron.d").glob("evil*")) and not list(served.temporary.parent.glob("evil*"))


def test_only_what_was_uploaded_can_be_handed_in(served: Served) -> None:
    """A visitor who claims that a file of the server's is his upload gets an error, and none of the file."""
    with httpx.Client(timeout=60) as client:
        config = client.get(f"{served.url}/config").json()
        number = next(d["id"] for d in config["dependencies"] if d["api_name"] == "upload")
        for claimed in ("/etc/passwd", "../../../etc/passwd", "http://127.0.0.1:1/x"):
            session = f"s{random.getrandbits(40)}"
            file = {"path": claimed, "meta": {"_type": "gradio.FileData"}, "orig_name": "config.json"}
            body = {"data": [[file]], "fn_index": number, "session_hash": session}
            reply = client.post(f"{served.url}/gradio_api/queue/join", json=body)
            if "://" in claimed:
                assert reply.status_code == 400 and "uploaded" in reply.text
                continue
            assert reply.status_code == 200
            told = finished(served, client, session)
            assert told["success"] is False and "root:" not in json.dumps(told)


def finished(served: Served, client: httpx.Client, session: str) -> dict[str, Any]:
    """The last message of a session's only event."""
    with client.stream("GET", f"{served.url}/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and (found := json.loads(line[5:]))["msg"] == "process_completed":
                return found  # type: ignore[no-any-return]
    raise AssertionError("the event never ended")


@pytest.mark.parametrize(
    ("key", "question"),
    [("zoo#nobody", "Why?"), ("../../etc#x", "Why?"), ("", "Why?"), ("zoo#trained-000000", ""), (None, "Why?")],
)
def test_what_cannot_be_asked_is_said_in_a_line(served: Served, service: Service, key: str, question: str) -> None:
    with httpx.Client(timeout=60) as client:
        html = ask(served, client, key, question)
    with pytest.raises(WeightOracleError) as caught:
        service.ask(key or "", question)
    assert html == words.notice(caught.value)


# In a browser


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (path := chromium()) is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any, served: Served) -> Iterator[Any]:
    """The page, on a wide screen and on a phone's; it loads nothing from elsewhere and complains of nothing."""
    page = browser.new_page(viewport={"width": getattr(request, "param", 1280), "height": 900})
    page.set_default_timeout(60_000)
    elsewhere, complaints, refused = list[str](), list[str](), list[str]()
    own = (served.url, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(own) else elsewhere.append(r.url))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("dialog", lambda d: complaints.append(f"dialog {d.message}") or d.dismiss())
    page.on("response", lambda r: refused.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.goto(served.url)
    page.wait_for_selector("#wo-shape .wo-facts")
    yield page
    assert (elsewhere, refused, complaints) == ([], [], [])
    page.close()


def fits(page: Any) -> bool:
    """Nothing is wider than the screen, and no two of the answer's boxes overlap."""
    return bool(
        page.evaluate(
            """() => {
        const wide = document.documentElement.scrollWidth > window.innerWidth;
        const boxes = [...document.querySelectorAll(".wo-card, .wo-truth, .wo-program, .wo-parts")]
            .map(e => e.getBoundingClientRect());
        const overlap = boxes.some((a, i) => boxes.slice(i + 1).some(b =>
            a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
        const cut = boxes.some(b => b.left < 0 || b.right > window.innerWidth);
        return !wide && !overlap && !cut;
    }"""
        )
    )


@pytest.mark.parametrize("page", [1280, 400], indirect=True)
def test_click_through(page: Any, served: Served, service: Service, zoo: Zoo) -> None:
    """Choose a target, click an example, ask: answer, truth, another target's answer, and what it rests on."""
    key = f"zoo#{zoo.rows(kind='flowchart')[1].id}"
    page.click("#wo-target input")
    page.fill("#wo-target input", key)
    page.get_by_role("option").filter(has_text=key).click()
    question = service.look(key).examples[0]
    page.wait_for_function(  # a click on the examples of the target before would be lost
        """texts => { const shown = [...document.querySelectorAll("#wo-examples *")].map(e => e.textContent.trim());
            return texts.every(text => shown.includes(text)); }""",
        arg=list(service.look(key).examples),
    )
    page.locator("#wo-examples").get_by_text(service.look(key).examples[-1], exact=True).click()
    page.wait_for_function(
        "text => document.querySelector('#wo-question textarea').value === text", arg=service.look(key).examples[-1]
    )
    page.locator("#wo-examples").get_by_text(question, exact=True).click()
    page.wait_for_function("text => document.querySelector('#wo-question textarea').value === text", arg=question)
    page.click("#wo-ask")
    page.wait_for_selector("#wo-rests .wo-parts")
    asked = service.ask(key, question)
    assert asked.own.truth is not None and asked.other is not None
    assert page.inner_text(".wo-own pre >> nth=0") == asked.own.said.text
    assert page.inner_text(".wo-other pre >> nth=0") == asked.other.said.text
    assert page.inner_text(".wo-truth pre") == asked.own.truth
    assert f"{asked.own.said.confidence:.2f}" == page.inner_text(".wo-own .wo-confidence")
    assert page.locator(".wo-own .wo-verdict").count() == 1 and page.locator(".wo-leaf").count() > 0
    assert page.locator(".wo-bar").count() > 2 and page.locator(".wo-circuits img").count() > 0
    assert fits(page)


def test_upload_in_the_browser(page: Any, own_files: list[Path], tmp_path: Path) -> None:
    """A bad upload gives one polite line, a good one a target that can be asked about; hostile words stay words."""
    mark = tmp_path / "executed"
    bad = tmp_path / "model.safetensors"
    bad.write_bytes(pickle.dumps(Hostile(mark)))
    rest = [str(path) for path in own_files if path.name != bad.name]
    page.click("text=Upload your own")
    page.set_input_files("#wo-files input[type=file]", [str(bad), *rest])
    page.wait_for_selector("#wo-uploaded .wo-notice")
    line = page.inner_text("#wo-uploaded .wo-notice")
    assert line.startswith("model.safetensors: ") and "\n" not in line and "expected" in line
    assert not mark.exists()
    page.set_input_files("#wo-files input[type=file]", [str(path) for path in own_files])
    page.wait_for_selector("#wo-examples :text('What is the output on')")
    page.fill("#wo-question textarea", "What is the output on a a b?")
    page.press("#wo-question textarea", "Enter")
    page.wait_for_selector("#wo-rests .wo-parts")
    assert page.inner_text(".wo-truth pre") == "2 2 1"
    assert page.locator(".wo-other pre").count() > 0 and fits(page)
    said = "<img src=x onerror=alert(1)> ${alert(2)} {{constructor}} `</pre><script>alert(3)</script>"
    page.fill("#wo-question textarea", said)
    page.click("#wo-ask")
    page.wait_for_function("text => document.querySelector('.wo-question')?.innerText === text", arg=said)
    assert page.locator("#wo-answer img[src=x]").count() == 0


class Hostile:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_uploads_are_gone_from_the_disk(served: Served) -> None:
    """After all that was uploaded above; an upload that is never handed in stays for some minutes."""
    left = [path for path in served.temporary.rglob("*.json") if path.is_file()]
    assert left == []
