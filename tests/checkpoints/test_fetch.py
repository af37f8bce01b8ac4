"""Downloads from a server that misbehaves: nothing unchecked appears, and nothing is fetched twice in vain."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.checkpoints import fetch as fetching
from lipforcing_core.checkpoints.fetch import fetch_file, fetch_weights
from lipforcing_core.weights.registry import WeightFile, WeightSpec
from tests.checkpoints.full_size import write_sparse

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
HASH = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and the byte ranges that it was asked for."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the cut, one entry a request
    ignore_range: bool = False
    status: list[int] = field(default_factory=list)  # answers before any content
    asked: list[str | None] = field(default_factory=list)
    redirect: str | None = None
    length: str | None = None  # what it says instead of the true one
    address: str = ""


@pytest.fixture
def server() -> Iterator[Behaviour]:
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted, condition = self.headers["Range"], self.headers["If-Range"]
            behaviour.asked.append(wanted)
            if behaviour.status:
                self.send_error(behaviour.status.pop(0))
                return
            if behaviour.redirect is not None:
                self.send_response(302)
                self.send_header("Location", behaviour.redirect)
                self.end_headers()
                return
            start = 0
            if wanted and not behaviour.ignore_range and condition == behaviour.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body, size = behaviour.content[start:], len(behaviour.content)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            if behaviour.etag:
                self.send_header("ETag", behaviour.etag)
            self.send_header("Content-Length", behaviour.length or str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the client may have had enough
                self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        behaviour.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield behaviour
        running.shutdown()
        thread.join()


def data_file(path: str, url: str | None = None, **known: object) -> WeightFile:
    """A registered file that holds no tensors."""
    return WeightFile(path=path, url=url, tensors=False, **known)  # type: ignore[arg-type]


def get(
    server: Behaviour, target: Path, *, sha256: str | None = HASH, size: int | None = None
) -> list[float]:
    """Fetch; returns the pauses that were asked for, without making them."""
    pauses: list[float] = []
    file = data_file(target.name, f"{server.address}/net.pth", sha256=sha256, size=size)
    fetch_file(file, target, pause=pauses.append)
    return pauses


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(server: Behaviour, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = data_file("net", f"{server.address}/x", sha256=HASH)
    fetch_file(file, tmp_path / "net", on_progress=lambda *done: seen.append(done))
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert names(tmp_path) == ["net"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_cut_connections_are_continued_in_one_call(server: Behaviour, tmp_path: Path) -> None:
    server.cut_after = [1_000_000, 500_000, 0]
    pauses = get(server, tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-"]
    assert pauses == [1, 1, 2]  # longer where nothing came
    assert names(tmp_path) == ["net"]


def test_an_interrupted_download_is_continued_by_the_next_call(server: Behaviour, tmp_path: Path) -> None:
    server.cut_after = [1_000_000]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    file = data_file("net", f"{server.address}/net.pth", sha256=HASH)
    with pytest.raises(KeyboardInterrupt):
        fetch_file(file, tmp_path / "net", pause=interrupt)
    assert names(tmp_path) == ["net.part", "net.part.json"]
    get(server, tmp_path / "net")
    assert server.asked == [None, "bytes=1000000-"]
    assert (tmp_path / "net").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["content", "address", "no range", "no version"])
def test_what_cannot_be_continued_starts_again(server: Behaviour, tmp_path: Path, change: str) -> None:
    if change == "no version":
        server.etag = None
    server.cut_after = [1_000_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(MissingWeightsError, match="connection was cut"):
        get(server, tmp_path / "net")
    server.cut_after = []
    server.asked.clear()
    wanted = CONTENT
    if change == "content":
        wanted = bytes(reversed(CONTENT))
        server.content, server.etag = wanted, '"two"'
    elif change == "address":
        server.address = server.address.replace("127.0.0.1", "localhost")
    elif change == "no range":
        server.ignore_range = True
    get(server, tmp_path / "net", sha256=hashlib.sha256(wanted).hexdigest())
    assert (tmp_path / "net").read_bytes() == wanted
    resumes = change in ("content", "no range")
    assert server.asked[0] == ("bytes=1000000-" if resumes else None)


def test_a_complete_part_needs_no_server(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "net.part").write_bytes(CONTENT)
    note = f'{{"url": "{server.address}/net.pth", "version": "one", "total": {len(CONTENT)}}}'
    (tmp_path / "net.part.json").write_text(note)
    get(server, tmp_path / "net")
    assert server.asked == []
    assert names(tmp_path) == ["net"]


@pytest.mark.parametrize("wrong", ["hash", "prefix", "size"])
def test_wrong_content_is_removed(server: Behaviour, tmp_path: Path, wrong: str) -> None:
    file = data_file(
        "net",
        f"{server.address}/net.pth",
        sha256="0" * 64 if wrong == "hash" else None,
        sha256_prefix="00000000" if wrong == "prefix" else None,
        size=17 if wrong == "size" else None,
    )
    with pytest.raises(IncompatibleCheckpointError, match="not the registered file"):
        fetch_file(file, tmp_path / "net")
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_without_a_hash_the_header_must_be_whole(server: Behaviour, tmp_path: Path, suffix: str) -> None:
    file = WeightFile(path="net", url=f"{server.address}/net")
    target = tmp_path / f"net.{suffix}"
    server.content = b"<html>please log in</html>"
    with pytest.raises(IncompatibleCheckpointError, match="not the registered file"):
        fetch_file(file, target)
    assert names(tmp_path) == []
    write_sparse(tmp_path / f"whole.{suffix}", {"a": [3, 2]})
    server.content = (tmp_path / f"whole.{suffix}").read_bytes()
    fetch_file(file, target)
    assert target.read_bytes() == server.content


@pytest.mark.parametrize(
    "address",
    [
        "http://[bad",
        "http://",
        "http://host:port",
        "ftp://host",
        "host",
        "http://127.0.0.1:9/\u00fc",
        "http://a b",
    ],
)
def test_a_mirror_that_is_no_address(tmp_path: Path, address: str) -> None:
    file = data_file("net", "https://huggingface.co/x/net")
    with pytest.raises(BadInputError, match="is no web address"):
        fetch_file(file, tmp_path / "net", mirror=address, pause=lambda _: None)
    assert names(tmp_path) == []


@pytest.mark.parametrize("address", ["http://[bad", "file:///etc/passwd", "http://127.0.0.1:9/\u00fc"])
def test_a_redirect_to_nowhere(server: Behaviour, tmp_path: Path, address: str) -> None:
    server.redirect = address
    with pytest.raises(MissingWeightsError, match="cannot get "):
        get(server, tmp_path / "net")
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000])
def test_a_length_that_is_no_number(server: Behaviour, tmp_path: Path, length: str) -> None:
    server.length = length
    with pytest.raises(MissingWeightsError, match="gives no number as Content-Length"):
        get(server, tmp_path / "net")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "note",
    [b"\xff\xfe", b"[" * 100_000, b"[]", b'{"url": "URL", "version": ["x"], "total": 9}',
     b'{"url": "URL", "version": "a\\nb", "total": 9}', b'{"url": "URL", "version": "\\u20ac", "total": 9}'],
)  # fmt: skip
def test_a_damaged_note_starts_again(server: Behaviour, tmp_path: Path, note: bytes) -> None:
    (tmp_path / "net.part").write_bytes(b"some")
    (tmp_path / "net.part.json").write_bytes(note.replace(b"URL", f"{server.address}/net.pth".encode()))
    get(server, tmp_path / "net")
    assert server.asked == [None]
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert names(tmp_path) == ["net"]


@pytest.mark.parametrize("name", ["net", "net.part", "net.part.json"])
def test_a_folder_in_the_way_is_told_before_anything_is_asked(
    server: Behaviour, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BadInputError, match=f"/{name} is a folder"):
        get(server, tmp_path / "net")
    assert server.asked == []
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["config.json", "mask.png"])
def test_a_login_page_is_no_json_and_no_mask(server: Behaviour, tmp_path: Path, name: str) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(IncompatibleCheckpointError, match="not the registered file") as caught:
        fetch_file(data_file(name, f"{server.address}/{name}"), tmp_path / name)
    assert ".part" not in str(caught.value)
    assert names(tmp_path) == []


def test_errors_of_the_server(server: Behaviour, tmp_path: Path) -> None:
    server.status = [404]
    with pytest.raises(MissingWeightsError, match=r"answers 404 .* by hand .* put it at"):
        get(server, tmp_path / "net")
    assert len(server.asked) == 1  # asking again would not help
    assert names(tmp_path) == []
    server.status = [503, 429]
    assert get(server, tmp_path / "net") == [1, 2]
    assert (tmp_path / "net").read_bytes() == CONTENT


def test_no_network(tmp_path: Path) -> None:
    file = data_file("net", "http://127.0.0.1:9/net.pth")  # the port of discard: nobody listens
    with pytest.raises(MissingWeightsError, match=r"cannot get http.*Connection refused.*by hand") as caught:
        fetch_file(file, tmp_path / "net", pause=lambda _: None)
    assert str(tmp_path / "net") in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_told_beforehand(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BadInputError, match=r"needs 0\.0 GB more"):
        get(server, tmp_path / "net")
    assert names(tmp_path) == []


def test_two_processes_do_not_write_one_file(server: Behaviour, tmp_path: Path) -> None:
    server.cut_after = [1_000_000]
    file = data_file("net", f"{server.address}/net.pth")

    def meanwhile(_: float) -> None:
        with pytest.raises(BadInputError, match="another process"):
            fetch_file(file, tmp_path / "net")

    fetch_file(file, tmp_path / "net", pause=meanwhile)
    assert (tmp_path / "net").read_bytes() == CONTENT


def spec(**changes: object) -> WeightSpec:
    settings = {
        "name": "w", "source": "s", "page": "http://page", "size_mb": 1, "licence": "MIT", "commercial_ok": True,
        "used_by": "tests", "files": (),
    }  # fmt: skip
    return WeightSpec(**(settings | changes))  # type: ignore[arg-type]


def test_only_missing_files_are_fetched_and_hub_addresses_go_to_the_mirror(
    server: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"here")
    hub = "https://huggingface.co/x/resolve/main"
    files = (data_file("a", f"{hub}/a"), data_file("sub/b", f"{hub}/b", sha256=HASH))
    paths = fetch_weights(spec(files=files), tmp_path, mirror=server.address)
    assert paths == [tmp_path / "a", tmp_path / "sub" / "b"]
    assert (tmp_path / "sub" / "b").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_weights_without_an_address_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no direct address: get net .* by hand from http://page"):
        fetch_weights(spec(files=(data_file("net"),)), tmp_path)
    (tmp_path / "net").touch()
    assert fetch_weights(spec(files=(data_file("net"),)), tmp_path) == [tmp_path / "net"]


def test_a_file_without_an_address_that_is_not_needed_is_left_out(server: Behaviour, tmp_path: Path) -> None:
    spare = data_file("spare", needed=False)
    (tmp_path / "net").write_bytes(b"here")
    assert fetch_weights(spec(files=(data_file("net"), spare)), tmp_path) == [
        tmp_path / "net",
        tmp_path / "spare",
    ]
    other = data_file("other", f"{server.address}/other", sha256=HASH, needed=False)
    fetch_weights(spec(files=(data_file("net"), spare, other)), tmp_path)
    assert names(tmp_path) == ["net", "other"]


def test_a_pack_is_taken_out_of_its_archive(server: Behaviour, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pack/one.onnx", b"one")
        archive.writestr("pack/../../two.onnx", b"two")
        archive.writestr("pack/unused.onnx", b"unused")
    server.content = packed.getvalue()
    files = tuple(
        data_file(f"faces/{name}.onnx", sha256=hashlib.sha256(name.encode()).hexdigest())
        for name in ("one", "two")
    )
    pack = spec(files=files, archive=f"{server.address}/pack.zip")
    fetch_weights(pack, tmp_path)
    assert names(tmp_path / "faces") == ["one.onnx", "two.onnx"]
    assert (tmp_path / "faces" / "two.onnx").read_bytes() == b"two"
    (tmp_path / "faces" / "one.onnx").unlink()
    server.content = b"no zip"
    with pytest.raises(IncompatibleCheckpointError, match="no zip archive"):
        fetch_weights(pack, tmp_path)
    assert names(tmp_path / "faces") == ["two.onnx"]


def packed(content: bytes = b"one" * 100, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("pack/one.onnx", content)
    return stream.getvalue()


def with_fields(archive: bytes, *, flags: int | None = None, method: int | None = None) -> bytes:
    """The zip with other flags or another compression method in both headers of its one file."""
    changed = bytearray(archive)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = archive.index(magic) + offset
        for value, place in ((flags, start), (method, start + 2)):
            if value is not None:
                changed[place : place + 2] = value.to_bytes(2, "little")
    return bytes(changed)


def broken_stream(archive: bytes) -> bytes:
    start = archive.index(b"one.onnx") + len("one.onnx")
    return archive[:start] + b"\xff" * 4 + archive[start + 4 :]


@pytest.mark.parametrize("own", [False, True], ids=["fetched", "own"])
@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        (b"no zip", "is no zip archive"),
        (with_fields(packed(), method=77), "cannot be unpacked"),
        (with_fields(packed(), flags=1), "cannot be unpacked"),
        (broken_stream(packed()), "cannot be unpacked"),
        (packed(b"two"), r"one\.onnx in it is not the registered file \(sha256 is"),
    ],
    ids=["no zip", "unknown method", "encrypted", "broken", "another content"],
)
def test_an_archive_that_cannot_be_read_is_named(
    server: Behaviour, tmp_path: Path, archive: bytes, problem: str, own: bool
) -> None:
    """By its address, or by its path where the user put it there; nothing is left half-written."""
    server.content = archive
    url = f"{server.address}/pack.zip"
    digest = hashlib.sha256(b"one" * 100).hexdigest()
    pack = spec(files=(data_file("one.onnx", sha256=digest),), archive=url)
    if own:
        (tmp_path / "pack.zip").write_bytes(archive)
    with pytest.raises(IncompatibleCheckpointError, match=problem) as caught:
        fetch_weights(pack, tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "pack.zip") if own else url)
    assert ".tmp" not in str(caught.value)
    assert names(tmp_path) == (["pack.zip"] if own else [])


def test_an_archive_that_was_put_there_by_hand_is_used_and_stays(tmp_path: Path) -> None:
    """As the error without a network advises: the place it names is the place that is looked at."""
    digest = hashlib.sha256(b"one" * 100).hexdigest()
    file = data_file("metrics/one.onnx", sha256=digest)
    pack = spec(files=(file,), archive="http://127.0.0.1:9/pack.zip")
    with pytest.raises(MissingWeightsError) as caught:
        fetch_weights(pack, tmp_path, pause=lambda _: None)
    place = Path(str(caught.value).rpartition("put it at ")[2])
    place.write_bytes(packed())
    fetch_weights(pack, tmp_path)
    assert (tmp_path / "metrics" / "one.onnx").read_bytes() == b"one" * 100
    assert names(tmp_path / "metrics") == ["one.onnx", "pack.zip"]
