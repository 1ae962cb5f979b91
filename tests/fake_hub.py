"""A file server and a Hugging Face Hub on loopback, with the faults that real ones have."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class File:
    """One body and how it is served."""

    body: bytes
    etag: str | None = '"v1"'
    ranges: bool = True  # False: a Range header is ignored
    cuts: list[int] = field(default_factory=list)  # bytes sent before each of the next responses breaks off
    statuses: list[int] = field(default_factory=list)  # statuses of the next responses, before any 200
    redirect: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    delay: float = 0.0  # seconds before every 64 KiB


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case


class FakeServer:
    """Files by path, and every request that was made."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.requests: list[Request] = []
        self.bytes_sent = 0
        outer = self

        class Handler(_Handler):
            fake = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.other_url = f"http://localhost:{self.port}"  # another host, as far as a client can tell
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, path: str, body: bytes, **how: Any) -> str:
        """Serve `body` at `path`; returns the URL."""
        self.files[path] = File(body, **how)
        return self.url + path

    def asked(self, method: str, path: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == method and path in request.path]

    def handle(self, handler: _Handler, path: str, body: bytes) -> None:
        file = self.files.get(path)
        if file is None:
            handler.answer(404, b"nothing here")
        else:
            handler.serve(file)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def log_message(self, *_: object) -> None:
        return

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.requests.append(Request(self.command, self.path, headers))
        self.fake.handle(self, unquote(urlsplit(self.path).path), self._body())

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        return data

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, data: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(data).encode(), Content_Type="application/json")

    def serve(self, file: File) -> None:
        if file.statuses:
            self.answer(file.statuses.pop(0))
            return
        if file.redirect:
            self.answer(302, Location=file.redirect)
            return
        start = self._start(file)
        if start and start >= len(file.body):
            self.answer(416, Content_Range=f"bytes */{len(file.body)}")
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(file.body) - 1}/{len(file.body)}")
        if file.etag:
            self.send_header("ETag", file.etag)
        for name, value in file.headers.items():
            self.send_header(name, value)
        rest = file.body[start:]
        self.send_header(*(("Transfer-Encoding", "chunked") if file.chunked else ("Content-Length", str(len(rest)))))
        self.end_headers()
        if self.command != "HEAD":
            self._send(rest, file)

    def _start(self, file: File) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range", file.etag) == file.etag
        return int(match[1]) if match and file.ranges and unchanged else 0

    def _send(self, rest: bytes, file: File) -> None:
        cut = file.cuts.pop(0) if file.cuts else None
        sent = rest if cut is None else rest[:cut]
        try:
            for start in range(0, len(sent), 1 << 16):
                time.sleep(file.delay)
                block = sent[start : start + (1 << 16)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if file.chunked else block)
                self.fake.bytes_sent += len(block)
            if file.chunked and cut is None:
                self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.close_connection = True  # the client went away
        if cut is not None:
            self.close_connection = True


COMMIT = re.compile(r"[0-9a-f]{40}")


class FakeHub(FakeServer):
    """Repositories by name and revision, LFS storage on another host, and uploads."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}  # repository → commit → path → body
        self.branches: dict[tuple[str, str], str] = {}
        self.gated: set[str] = set()
        self.forbidden: set[str] = set()
        self.moved: dict[str, str] = {}  # repository → its name now
        self.corrupt: dict[str, bytes] = {}  # path in a repository → what is sent in its place
        self.uploads: dict[str, bytes] = {}  # LFS objects by SHA-256

    def add_model(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """A commit with `files`; returns its hash."""
        content = json.dumps({path: hashlib.sha256(body).hexdigest() for path, body in sorted(files.items())})
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.repositories.setdefault(repository, {})[commit] = files
        self.branches[repository, branch] = commit
        return commit

    def storage(self, body: bytes) -> File:
        """The LFS object of `body`, to be cut or slowed."""
        path = f"/storage/{hashlib.sha256(body).hexdigest()}"
        return self.files.setdefault(path, File(body, etag=f'"{hashlib.sha256(body).hexdigest()}"'))

    def handle(self, handler: _Handler, path: str, body: bytes) -> None:
        routes: list[tuple[str, Callable[..., None]]] = [
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self._info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            (r"/api/repos/(create)", self._create),
            (r"/api/(validate-yaml)", self._validate_yaml),
            (r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self._preupload),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/put/(.+)", self._put),
            (r"/api/models/([^/]+/[^/]+)/commit/(.+)", self._commit),
        ]
        for before, now in self.moved.items():
            if f"/{before}/" in path:
                handler.answer(307, Location=handler.path.replace(f"/{before}/", f"/{now}/"))
                return
        for pattern, route in routes:
            if match := re.fullmatch(pattern, path):
                route(handler, body, *match.groups())
                return
        super().handle(handler, path, body)

    def _find(self, handler: _Handler, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(commit, files), or None once the right refusal is sent."""
        commit = revision if COMMIT.fullmatch(revision) else self.branches.get((repository, revision), "")
        if repository in self.gated:
            handler.answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to it is restricted.")
        elif repository in self.forbidden:
            handler.answer(403, X_Error_Message="Your token may not do this.")
        elif repository not in self.repositories:
            handler.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif commit not in self.repositories[repository]:
            handler.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        else:
            return commit, self.repositories[repository][commit]
        return None

    def _info(self, handler: _Handler, _: bytes, repository: str, revision: str) -> None:
        if found := self._find(handler, repository, revision):
            commit, files = found
            siblings = [_sibling(path, body) for path, body in files.items()]
            handler.json({"id": repository, "sha": commit, "siblings": siblings})

    def _resolve(self, handler: _Handler, _: bytes, repository: str, revision: str, path: str) -> None:
        found = self._find(handler, repository, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            handler.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        body = files[path]
        if not _is_lfs(path):
            headers = {"X-Repo-Commit": commit}
            handler.serve(File(self.corrupt.get(path, body), etag=f'"{_blob_id(body)}"', headers=headers))
            return
        stored = self.storage(body)
        stored.body = self.corrupt.get(path, body)
        digest = hashlib.sha256(body).hexdigest()
        handler.answer(
            302,
            Location=f"{self.other_url}/storage/{digest}",
            X_Repo_Commit=commit,
            X_Linked_Etag=f'"{digest}"',
            X_Linked_Size=str(len(body)),
        )

    def _create(self, handler: _Handler, body: bytes, _: str) -> None:
        wanted = json.loads(body)
        repository = f"{wanted['organization']}/{wanted['name']}"
        if repository in self.forbidden:
            handler.answer(403, X_Error_Message="Your token may not do this.")
            return
        if repository not in self.repositories:
            self.add_model(repository, {".gitattributes": b"*.safetensors filter=lfs\n"})
        handler.json({"url": f"{self.url}/{repository}", "name": repository})

    def _validate_yaml(self, handler: _Handler, body: bytes, _: str) -> None:
        if "license: nonsense" in json.loads(body)["content"]:
            handler.json({"errors": [{"message": "license is not one of them"}], "warnings": []}, 400)
            return
        handler.json({"errors": [], "warnings": []})

    def _preupload(self, handler: _Handler, body: bytes, _: str, __: str) -> None:
        files = [
            {"path": file["path"], "uploadMode": "lfs" if _is_lfs(file["path"]) else "regular", "shouldIgnore": False}
            for file in json.loads(body)["files"]
        ]
        handler.json({"files": files})

    def _batch(self, handler: _Handler, body: bytes, _: str) -> None:
        objects = [
            {**thing, "actions": {"upload": {"href": f"{self.other_url}/put/{thing['oid']}"}}}
            for thing in json.loads(body)["objects"]
        ]
        handler.json({"transfer": "basic", "objects": objects})

    def _put(self, handler: _Handler, body: bytes, oid: str) -> None:
        self.uploads[oid] = body
        handler.answer(200)

    def _commit(self, handler: _Handler, body: bytes, repository: str, branch: str) -> None:
        files = dict(self.repositories[repository][self.branches[repository, branch]])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.uploads[value["oid"]]
        commit = self.add_model(repository, files, branch)
        handler.json({"commitUrl": f"{self.url}/{repository}/commit/{commit}", "commitOid": commit})


def _is_lfs(path: str) -> bool:
    return path.endswith((".safetensors", ".ckpt", ".pth", ".pt"))


def _blob_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _sibling(path: str, body: bytes) -> dict[str, Any]:
    if not _is_lfs(path):
        return {"rfilename": path, "size": len(body), "blobId": _blob_id(body)}
    lfs = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return {"rfilename": path, "size": len(body), "blobId": "0" * 40, "lfs": lfs}
