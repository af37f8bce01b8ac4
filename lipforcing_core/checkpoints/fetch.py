"""Downloads that resume: a file appears under its name only when its size and hash are right.

Of a file without a public hash the header must at least be whole: it names all tensors and fits the size. JSON and the
mouth mask must be readable.

Bytes go to ``FILE.part``. Beside it, ``FILE.part.json`` notes the address and what the server calls this version of
the file (ETag or date); a later attempt asks for the rest on the condition that it is still that version
(``Range`` with ``If-Range``, RFC 9110), and starts again where it is not.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import lzma
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from lipforcing_core.base.errors import (
    BadInputError,
    IncompatibleCheckpointError,
    LipForcingError,
    MissingWeightsError,
)
from lipforcing_core.base.products import ByteProgress, atomic_path, read_json, write_json
from lipforcing_core.checkpoints.form import check_form
from lipforcing_core.weights.formats import read_header
from lipforcing_core.weights.spec import WeightFile, WeightSpec

HUB = "https://huggingface.co"

_BLOCK = 1 << 20
_TIMEOUT_S = 60.0
_FIRST_ATTEMPTS = 3  # while nothing has come: without a network the answer should not take long
_ATTEMPTS = 6  # since the last byte
_LONGEST_PAUSE_S = 30.0
_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG}
_UNREADABLE_ZIP = (RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError)
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}


def fetch_weights(
    spec: WeightSpec,
    weights_dir: Path,
    *,
    mirror: str | None = None,
    on_progress: ByteProgress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Download the files of a checkpoint that are not here yet, and check size and hash; returns all paths.

    ``mirror`` replaces ``https://huggingface.co`` in addresses. ``on_progress`` follows each file; bytes in all are 0
    while the server has not said them. ``pause(seconds)`` waits between attempts. The archive of a pack is used, and
    stays, where it lies beside the files already; one that is downloaded is removed. A file that has no direct address
    and is not needed is left out. Raises ``MissingWeightsError`` if a needed one has no address or a file cannot be
    reached, ``IncompatibleCheckpointError`` for content that is not what is registered, ``BadInputError`` if the disk
    is too small or the download is under way in another process. Whatever is raised, no file stands under its name
    that was not checked.
    """
    require_address(spec, weights_dir)
    missing = [
        file for file in spec.files if (spec.archive or file.url) and not (weights_dir / file.path).is_file()
    ]
    if missing and spec.archive is not None:
        archive = spec.path(weights_dir).parent / Path(spec.archive).name
        own = archive.is_file()
        if not own:
            pack = WeightFile(path=archive.name, url=spec.archive, tensors=False)
            fetch_file(pack, archive, on_progress=on_progress, pause=pause)
        try:
            for file in missing:
                _extract(archive, file, weights_dir / file.path, origin=str(archive) if own else spec.archive)
        finally:
            if not own:
                archive.unlink()
        return spec.paths(weights_dir)
    for file in missing:
        fetch_file(file, weights_dir / file.path, mirror=mirror, on_progress=on_progress, pause=pause)
    return spec.paths(weights_dir)


def require_address(spec: WeightSpec, weights_dir: Path) -> None:
    """Raise ``MissingWeightsError`` for a checkpoint that is not here and can only be got by hand, saying where."""
    if not spec.fetchable and spec.missing(weights_dir):
        raise MissingWeightsError(spec.without_address(weights_dir))


def fetch_file(
    file: WeightFile,
    target: Path,
    *,
    mirror: str | None = None,
    on_progress: ByteProgress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download ``file`` to ``target``, from where an interrupted download stopped; errors as ``fetch_weights``."""
    assert file.url is not None
    url = file.url
    if mirror and url.startswith(f"{HUB}/"):
        url = mirror.rstrip("/") + url.removeprefix(HUB)
    _require_web_address(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    part, note = _part(target), _note(target)
    for path in (target, part, note):
        if path.is_dir():
            raise BadInputError(f"{path} is a folder where a file is to be written: move it away")
    with open(part, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInputError(f"{target} is being fetched by another process") from None
        try:
            _download(url, stream, target, on_progress, pause)
        except BaseException:
            if not stream.seek(0, 2):
                part.unlink()
                note.unlink(missing_ok=True)
            raise
        try:
            file.check_content(part)
            check_form(file, part)
            if file.tensors:
                read_header(part, suffix=target.suffix)  # without a hash, a login page would pass until here
        except IncompatibleCheckpointError as error:
            part.unlink()
            note.unlink(missing_ok=True)
            problem = str(error).removeprefix(f"{part}: ")
            raise IncompatibleCheckpointError(
                f"{url} is not the registered file ({problem}); what came was removed: try again, or look at the page"
            ) from error
        part.replace(target)
        note.unlink(missing_ok=True)


def _download(
    url: str, stream: BinaryIO, target: Path, on_progress: ByteProgress | None, pause: Callable[[float], None]
) -> None:
    """Append to ``stream`` until the file is complete, with new attempts as long as bytes keep coming."""
    attempt, allowed, reached, problem = 0, _FIRST_ATTEMPTS, stream.seek(0, 2), ""
    while attempt < allowed:
        if attempt:
            pause(min(2.0 ** (attempt - 1), _LONGEST_PAUSE_S))
        try:
            if _receive(url, stream, target, on_progress):
                return
            problem = "the connection was cut"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code not in _RETRIED_STATUS:
                break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, "errno", None) in _DISK_ERRNOS:
                raise
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        now = stream.seek(0, 2)
        if now > reached:
            attempt, allowed = 1, _ATTEMPTS
        else:
            attempt += 1
        reached = now
    kept = f" ({reached / 1e6:.1f} MB are kept, and the same command continues there)" if reached else ""
    raise MissingWeightsError(
        f"cannot get {url}: {problem}{kept}; or get the file by hand (`lipforcing weights show` has its address) and "
        f"put it at {target}"
    )


def _receive(url: str, stream: BinaryIO, target: Path, on_progress: ByteProgress | None) -> bool:
    """One request for what is missing; whether the file is complete now."""
    done, (version, noted_total) = stream.seek(0, 2), _noted(target, url)
    if done and version and done == noted_total:
        return True  # the last attempt ended between the last byte and the new name
    resume = {"Range": f"bytes={done}-", "If-Range": version} if done and version else {}
    headers = {"User-Agent": "lipforcing", "Accept-Encoding": "identity", **resume}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
    except ValueError as error:  # the address asked for is one, see _require_web_address
        raise http.client.HTTPException(
            f"the server redirects to what is no web address ({error})"
        ) from error
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        _restart(stream, target)  # the noted part is longer than the file, or all of it: it cannot be trusted
        return False
    with response:
        if response.status != 206 or not _continues(response.headers, done):
            done = 0
            _restart(stream, target)
        left = _length(response.headers)
        total = done + left if left else 0
        _require_space(target, total - done)
        write_json(_note(target), {"url": url, "version": _version(response.headers), "total": total})
        while block := response.read(_BLOCK):
            stream.write(block)
            done += len(block)
            if on_progress is not None:
                on_progress(done, total)
        stream.flush()
    return done == total if total else True


def _restart(stream: BinaryIO, target: Path) -> None:
    stream.truncate(0)
    stream.seek(0)
    _note(target).unlink(missing_ok=True)


def _continues(headers: Mapping[str, str], start: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _length(headers: Mapping[str, str]) -> int | None:
    """Bytes that follow; None where the server does not say."""
    said = headers.get("Content-Length")
    if said and not (said.isascii() and said.isdecimal() and len(said) < 20):
        raise http.client.HTTPException(f"the server gives no number as Content-Length ({said[:40]!r})")
    return int(said) if said else None


def _version(headers: Mapping[str, str]) -> str | None:
    """A strong ETag, else the date of the file; None where the server gives neither, so that nothing is resumed."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _noted(target: Path, url: str) -> tuple[str | None, int]:
    """Version and size of the file whose beginning is in the part; None and 0 where that is not known."""
    try:
        noted = read_json(_note(target))
        version, total = (noted["version"], noted["total"]) if noted["url"] == url else (None, 0)
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None, 0
    known = isinstance(version, str) and version.isascii() and version.isprintable()
    return (version, total) if known and isinstance(total, int) else (None, 0)


def _require_web_address(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        proper = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # brackets, or a port that is no number
        raise BadInputError(f"{url} is no web address ({error})") from error
    if not proper:
        raise BadInputError(f"{url} is no web address")
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise BadInputError(
            f"{url} is no web address: spaces and letters beyond ASCII must be written as %20, %C3%BC"
        )


def _require_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise BadInputError(
            f"{target.name} needs {needed / 1e9:.1f} GB more and {target.parent} has {free / 1e9:.1f} GB free"
        )


def _extract(archive: Path, file: WeightFile, target: Path, *, origin: str) -> None:
    """Take the member with the file's base name out of a zip, which errors call ``origin``."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [name for name in content.namelist() if Path(name).name == target.name]
            if len(members) != 1:
                raise IncompatibleCheckpointError(f"{origin} holds {len(members)} files {target.name}")
            with atomic_path(target) as temporary:
                with content.open(members[0]) as source, open(temporary, "wb") as out:
                    shutil.copyfileobj(source, out, _BLOCK)
                try:
                    file.check_content(temporary)
                except IncompatibleCheckpointError as error:
                    problem = str(error).removeprefix(f"{temporary}: ")
                    raise IncompatibleCheckpointError(
                        f"{origin}: {target.name} in it is not the registered file ({problem})"
                    ) from error
    except zipfile.BadZipFile as error:
        raise IncompatibleCheckpointError(
            f"{origin} is no zip archive, or a damaged one ({error})"
        ) from error
    except LipForcingError:
        raise
    except _UNREADABLE_ZIP as error:  # an unknown or broken compression, a password
        problem = str(error).replace(str(archive), archive.name) or type(error).__name__
        raise IncompatibleCheckpointError(
            f"{origin}: {target.name} in it cannot be unpacked ({problem})"
        ) from error


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")
