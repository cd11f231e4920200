"""Downloads from a server on this machine that can break off, lie and refuse."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest
from fedanomaly.data.download import OfficialFile, fetch
from fedanomaly.data.kddcup99 import KDDCup99

CONTENT = bytes(range(256)) * 4_096  # 1 MiB: several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    content = CONTENT
    breaks_after: int | None = None  # bytes of the first answer
    knows_ranges = True
    status: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    def file(self, **changes) -> OfficialFile:
        facts = {"filename": "file.bin", "sha256": SHA256, "size": len(CONTENT)} | changes
        return OfficialFile(url=f"http://127.0.0.1:{self.server_port}/file", **facts)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.status is not None:
            return self.send_error(self.server.status)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        body = self.server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks_after is not None and len(self.server.ranges) == 1:
            body = body[: self.server.breaks_after]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_whole_file_with_progress(server):
    seen = []
    path = fetch(server.file(), Path("d"), progress=lambda *told: seen.append(told))
    assert path.read_bytes() == CONTENT
    assert [name for name, _, _ in seen] == ["file.bin"] * len(seen)
    done = [so_far for _, so_far, _ in seen]
    assert done == sorted(done) and done[-1] == len(CONTENT) and len(done) > 1
    assert not list(Path("d").glob("*.partial"))


def test_second_call_needs_no_server(server):
    fetch(server.file(), Path("d"))
    fetch(server.file(), Path("d"))
    assert len(server.ranges) == 1


def test_a_broken_connection_is_resumed(server):
    server.breaks_after = 300_000
    assert fetch(server.file(), Path("d")).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_an_earlier_download_is_resumed(server):
    Path("d").mkdir()
    Path("d/file.bin.partial").write_bytes(CONTENT[:1_000])
    assert fetch(server.file(), Path("d")).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_starts_over(server):
    server.knows_ranges = False
    Path("d").mkdir()
    Path("d/file.bin.partial").write_bytes(CONTENT[:1_000])
    assert fetch(server.file(), Path("d")).read_bytes() == CONTENT


def test_a_wrong_beginning_is_fetched_anew(server):
    Path("d").mkdir()
    Path("d/file.bin.partial").write_bytes(b"other" * 200)
    assert fetch(server.file(), Path("d")).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_finished_partial_is_only_verified(server):
    Path("d").mkdir()
    Path("d/file.bin.partial").write_bytes(CONTENT)
    assert fetch(server.file(), Path("d")).read_bytes() == CONTENT
    assert server.ranges == []


def test_wrong_checksum_leaves_nothing(server):
    server.content = b"?" + CONTENT[1:]
    with pytest.raises(UserError, match=f"not the published file: its SHA-256 is .* expected {SHA256}"):
        fetch(server.file(), Path("d"))
    assert not [file for file in Path("d").iterdir() if not file.name.endswith(".lock")]


def test_an_endless_answer_is_cut_off(server):
    server.content = CONTENT + b"more"
    with pytest.raises(UserError, match="longer than the expected"):
        fetch(server.file(), Path("d"))
    assert fetch_fails_to_leave("file.bin")


def test_a_short_answer_is_refused(server):
    server.content = CONTENT[:-5]
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch(server.file(), Path("d"))
    assert fetch_fails_to_leave("file.bin")


@pytest.mark.parametrize("status", [404, 416, 500])
def test_http_errors(server, status):
    server.status = status
    with pytest.raises(UserError, match=f"HTTP status {status}"):
        fetch(server.file(), Path("d"))


def test_unreachable():
    file = OfficialFile(url="http://127.0.0.1:9/file", filename="f", sha256=SHA256, size=5)
    with pytest.raises(
        UserError, match=r"http://127\.0\.0\.1:9/file could not be downloaded \(no connection"
    ):
        fetch(file, Path("d"))


def test_a_data_set_is_downloaded_into_the_cache(server, cache_dir, monkeypatch):
    monkeypatch.setattr(KDDCup99, "official", server.file(filename="kdd.gz"))
    seen = []
    path = KDDCup99().locate(DataRequest(progress=lambda *told: seen.append(told)))
    assert path == cache_dir / "downloads" / "kddcup99" / "kdd.gz" and path.read_bytes() == CONTENT
    assert seen
    assert KDDCup99().locate(DataRequest()) == path and len(server.ranges) == 1


def fetch_fails_to_leave(name: str) -> bool:
    return not (Path("d") / name).exists()
