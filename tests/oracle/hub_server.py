"""A Hugging Face Hub on this machine, as far as oracles need one: the real client talks to it over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


class FakeHub:
    """Repositories as lists of commits, each all its files; what was asked for is remembered."""

    def __init__(self) -> None:
        self.commits: dict[str, list[Files]] = {}
        self.fetched: list[str] = []
        self.refuse = False
        """Whether every commit is refused, as to one without the right to write."""
        self.url = ""

    def add(self, repo_id: str, files: Files) -> str:
        """Commit files to a repository beside those that it has; the name of the commit."""
        history = self.commits.setdefault(repo_id, [])
        history.append({**(history[-1] if history else {}), **files})
        return self.sha(repo_id, len(history) - 1)

    def files(self, repo_id: str, revision: str = "main") -> Files | None:
        """Files of a revision; None if there is none."""
        history = self.commits[repo_id]
        names = {self.sha(repo_id, i): files for i, files in enumerate(history)}
        return history[-1] if revision == "main" else names.get(revision)

    def sha(self, repo_id: str, index: int) -> str:
        """The name of a commit."""
        return hashlib.sha1(f"{repo_id} {index}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The routes that the client uses."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            told = json.loads(body)
            repo_id = f"{told['organization']}/{told['name']}"
            fresh = repo_id not in self.hub.commits
            if fresh:
                self.hub.add(repo_id, {".gitattributes": b""})
            return self.say({"url": f"{self.hub.url}/{repo_id}"}, 200 if fresh else 409)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/(.+)", path)
        assert found, path
        if self.hub.refuse:
            return self.say({"error": "you have no right to write here"}, 403)
        if found[2] == "preupload":
            files = [f | {"uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return self.say({"files": files})
        return self.commit(found[1], [json.loads(line) for line in body.splitlines()])

    def commit(self, repo_id: str, operations: list[dict[str, Any]]) -> None:
        added = {o["value"]["path"]: base64.b64decode(o["value"]["content"]) for o in operations if o["key"] == "file"}
        sha = self.hub.add(repo_id, added)
        for gone in (o["value"]["path"] for o in operations if o["key"] == "deletedFile"):
            del self.hub.commits[repo_id][-1][gone]
        self.say({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        assert api or file, path
        repo_id, revision = (api[1], api[3] or "main") if api else (file[1], file[2])
        if repo_id not in self.hub.commits:
            return self.say({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        files = self.hub.files(repo_id, revision)
        if files is None:
            return self.say({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        sha = self.hub.sha(repo_id, next(i for i, f in enumerate(self.hub.commits[repo_id]) if f is files))
        if file:
            return self.send(repo_id, file[3], files, sha)
        if api[2] == "tree":
            tree = [{"type": "file", "path": p, "size": len(b), "oid": oid(b)} for p, b in files.items()]
            return self.say(tree)
        return self.say({"id": repo_id, "sha": sha, "siblings": [{"rfilename": name} for name in files]})

    def send(self, repo_id: str, name: str, files: Files, sha: str) -> None:
        if name not in files:
            return self.say({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        self.hub.fetched.append(f"{repo_id}/{name}")
        return self.reply(files[name], 200, {"X-Repo-Commit": sha, "ETag": f'"{oid(files[name])}"'})

    def say(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def reply(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def oid(content: bytes) -> str:
    """The name that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that is up while the context lasts."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
