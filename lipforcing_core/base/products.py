"""Products on disk: content keys, atomic writes, and steps that are done once.

Three rules of the house live here. A step's key is the hash of its input content, its settings and its
version. A product appears under its final name only when it is complete. A finished step is never repeated.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import LipForcingError

KEY_LENGTH = 16


ByteProgress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

_BLOCK = 1 << 24

_known_hashes: dict[tuple[int, ...], str] = {}
"""Of this process, by what changes with a file: its place, size and times."""


def file_sha256(path: Path | str, on_progress: ByteProgress | None = None) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if on_progress is not None:
                on_progress(done, size)
    return digest.hexdigest()


def file_identity(path: Path) -> tuple[int, ...]:
    """Place, size and times (ns) of a file, of content and of status last; a file that keeps them is unchanged.

    Raises ``FileNotFoundError`` if there is no file.
    """
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def sha256_once(path: Path, on_progress: ByteProgress | None = None) -> str:
    """Hex SHA-256 of a file, read (``on_progress`` follows) at most once in this process while it does not change.

    ``file_identity`` says what counts as unchanged. Raises ``FileNotFoundError`` if there is no file.
    """
    identity = file_identity(path)
    if identity not in _known_hashes:
        _known_hashes[identity] = file_sha256(path, on_progress)
    return _known_hashes[identity]


def content_key(*parts: Any) -> str:
    """A short, file-name-safe key of settings and content hashes.

    Accepts JSON values, dataclasses, pydantic models, fractions, paths and nested containers of them.
    Equal content gives an equal key on every machine; the order of mapping keys does not matter.
    """
    return hashlib.sha256(as_json(list(parts)).encode()).hexdigest()[:KEY_LENGTH]


def as_json(value: Any) -> str:
    """Canonical JSON of whatever ``content_key`` accepts: sorted keys, no spaces; always valid UTF-8.

    A file name that is not UTF-8 comes back from it unchanged: JSON has an escape for the surrogates in it.
    """
    return _valid_utf8(json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def _valid_utf8(text: str) -> str:
    """JSON text in which lone surrogates are written as ``\\udcXX``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path | Fraction):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    raise TypeError(f"cannot make a content key of {type(value).__name__}")


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; rename it into place on success, remove it on failure.

    The temporary name keeps the suffix, since encoders choose their container by it, and tells which process writes it
    (see ``is_abandoned``). Works for files and for folders (create the folder at the yielded path).
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    unique = f".{short_name(final.stem)}.{mark_of_process(os.getpid())}.{uuid.uuid4().hex[:8]}"
    temporary = final.with_name(f"{unique}.tmp{final.suffix}")
    superseded = final.with_name(f"{unique}.old{final.suffix}")
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
        elif temporary.is_dir() and final.is_dir():  # moved aside: a kill amid removal would leave half of it
            os.replace(final, superseded)
        os.replace(temporary, final)
        shutil.rmtree(superseded, ignore_errors=True)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def is_abandoned(path: Path, *, unused_s: float) -> bool:
    """Whether the process that was writing a temporary path of ``atomic_path`` has come to its end.

    Of a process of another machine (or container) that cannot be known; then a path counts as abandoned that nobody has
    touched for ``unused_s``. False for a path that is not there.
    """
    found = _MARK.search(path.name)
    if found and found["machine"] == _machine():
        return mark_of_process(int(found["pid"])) != found.group()
    try:
        return time.time() - path.stat().st_mtime > unused_s
    except FileNotFoundError:
        return False


def temporary_name_of(final: Path) -> re.Pattern[str]:
    """What names the temporary paths of ``atomic_path(final)`` have, for those who look for abandoned ones."""
    stem, suffix = re.escape(short_name(final.stem)), re.escape(final.suffix)
    return re.compile(rf"\.{stem}\.(?:{_MARK.pattern}\.)?[0-9a-f]{{8}}\.tmp{suffix}", re.DOTALL)


_MARK = re.compile(r"p(?P<pid>\d+)-(?P<start>\d+)-(?P<machine>[0-9a-f]{6})")


def mark_of_process(pid: int) -> str:
    """Text that names one process for good: its number, its start in clock ticks since boot, and where it ran.

    The start is 0 for a process that is not there, and the same for all where the system does not tell it.
    """
    try:
        start = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        start = 0
    return f"p{pid}-{start}-{_machine()}"


@lru_cache(maxsize=1)
def _machine() -> str:
    """A short hash of this start of this machine and the space its process numbers belong to (its container)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux: never equal to that of another process
        return uuid.uuid4().hex[:6]
    return hashlib.sha256(f"{boot}{space}".encode()).hexdigest()[:6]


def short_name(name: str) -> str:
    """A name cut so that one with a mark or a key behind it stays below the 255 bytes that a file system takes."""
    return os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])


_LONGEST_NAME = 120


def link_or_copy(origin: Path, final: Path) -> None:
    """Give a finished file a second name, atomically: a hard link, or a copy where links are impossible."""
    with atomic_path(final) as temporary:
        second_name(origin, temporary)


def second_name(origin: Path, path: Path) -> None:
    """As ``link_or_copy``, but not atomic: for a ``path`` that an enclosing ``atomic_path`` has yielded."""
    try:
        os.link(origin, path)
    except OSError:  # another file system, or one without links
        shutil.copyfile(origin, path)


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON file atomically: sorted keys, UTF-8, newline at the end."""
    with atomic_path(path) as temporary:
        text = json.dumps(_plain(value), indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(_valid_utf8(text) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a finished step left: its folder, its JSON result, and whether it was there before."""

    folder: Path
    result: Any
    reused: bool


_PARTIAL = ".partial"


class StepStore:
    """Finished steps under one root: ``<root>/<step>/<key>/`` with a ``result.json`` beside the products.

    A step works in a temporary folder that is renamed when complete, so a killed step leaves nothing behind
    that could be mistaken for a product, and starting again repeats only what was in flight.
    """

    RESULT = "result.json"

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, step: str, key: str) -> Path:
        """Where the products of this step and key live once it is finished."""
        return self.root / step / key

    def find(self, step: str, key: str, *, also: Sequence[str] = ()) -> StepResult | None:
        """The finished step, or None.

        also: older keys that the same result may be stored under, looked up in this order after ``key``.
        """
        for name in (key, *also):
            folder = self.folder(step, name)
            try:
                return StepResult(folder=folder, result=read_json(folder / self.RESULT), reused=True)
            except (FileNotFoundError, json.JSONDecodeError):
                continue
        return None

    def run(
        self,
        step: str,
        key: str,
        work: Callable[[Path], Any],
        *,
        resumable: bool = False,
        also: Sequence[str] = (),
    ) -> StepResult:
        """Return the finished step, doing ``work(folder)`` first if it has not been done, see ``find``.

        ``work`` writes its products into the folder it is given, and returns a JSON value that refers to
        them by names relative to that folder. With ``resumable`` the folder survives a failure or a kill and
        the next call gets it back with what is in it, so long work can continue from its own checkpoints.
        """
        if found := self.find(step, key, also=also):
            return found
        final = self.folder(step, key)
        if resumable:
            with one_process(final.with_name(f".{key}.lock")):
                if found := self.find(step, key):  # another process finished it while this one waited
                    return found
                partial = final.with_name(f".{key}{_PARTIAL}")
                partial.mkdir(exist_ok=True)
                try:
                    result = work(partial)
                except BaseException:
                    with suppress(OSError):
                        partial.rmdir()  # succeeds where there is nothing in it to go on from
                    raise
                _remove_all(partial.rglob(".*.tmp*"))  # what earlier, killed attempts were writing
                write_json(partial / self.RESULT, result)
                os.replace(partial, final)
        else:
            with suppress(_FinishedElsewhereError), atomic_path(final) as temporary:
                temporary.mkdir()
                write_json(temporary / self.RESULT, work(temporary))
                if self.find(step, key):  # what others may be reading is left where it is
                    raise _FinishedElsewhereError
        return StepResult(folder=final, result=read_json(final / self.RESULT), reused=False)

    def sweep(self, *, unused_s: float = 86_400) -> int:
        """Remove what killed steps left half-done; returns how many.

        What a process of this machine left that has ended goes at once; what another machine may still be writing, when
        nobody has touched it for ``unused_s``.
        """
        left = [f for pattern in ("*/.*.tmp", "*/.*.old") for f in self.root.glob(pattern)]
        stale = [f for f in left if is_abandoned(f, unused_s=unused_s)]
        _remove_all(stale)
        return len(stale)

    def sweep_unfinished(self, step: str, *, unused_s: float) -> int:
        """Remove unfinished folders of a resumable step that nobody works on or has touched for ``unused_s``.

        Returns how many. A run that could go on from such a folder starts again from nothing, so this is only for steps
        whose work is cheap against the space that orphans take: those of inputs that have changed and never come again.
        """
        removed = 0
        for partial in list((self.root / step).glob(f".*{_PARTIAL}")):
            if not _untouched(partial, unused_s):
                continue
            with _if_free(partial.with_suffix(".lock")) as free:
                if free and _untouched(partial, unused_s):
                    shutil.rmtree(partial, ignore_errors=True)
                    removed += 1
        return removed

    def forget(self, step: str, key: str) -> None:
        """Remove a finished step. The result goes first, so that a kill leaves nothing that looks finished."""
        (self.folder(step, key) / self.RESULT).unlink(missing_ok=True)
        shutil.rmtree(self.folder(step, key), ignore_errors=True)


class _FinishedElsewhereError(Exception):
    """Another process has finished the same step meanwhile."""


class NotStoredError(LipForcingError):
    """A step has not been done before."""


class FinishedSteps(StepStore):
    """A store that does no work: ``run`` gives what is finished, and raises ``NotStoredError`` for what is not."""

    def run(
        self,
        step: str,
        key: str,
        work: Callable[[Path], Any],
        *,
        resumable: bool = False,
        also: Sequence[str] = (),
    ) -> StepResult:
        """The finished step."""
        if found := self.find(step, key, also=also):
            return found
        raise NotStoredError(f"the step {step} has not been done for {key}")


def _remove_all(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def one_process(lock: Path) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when the process ends, however that happens."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _if_free(lock: Path) -> Iterator[bool]:
    """Hold a lock file if nobody else does, and say whether that is so.

    The file stays: whoever waits for the lock of a file that was removed would no longer wait for the others.
    """
    with open(lock, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _untouched(folder: Path, unused_s: float) -> bool:
    """Whether a folder and all in it were last changed more than ``unused_s`` ago; False for one that is not there."""
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return False
    return time.time() - newest > unused_s
