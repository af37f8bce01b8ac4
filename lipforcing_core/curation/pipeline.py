"""Curation of one source: read it, decide about its pieces; or say why that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lipforcing_core.base.errors import MediaError, SurroundingsError
from lipforcing_core.base.failures import surroundings_problem
from lipforcing_core.base.names import printable
from lipforcing_core.base.products import FinishedSteps, NotStoredError, StepStore
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.decide import Verdict
from lipforcing_core.curation.facts import read_facts
from lipforcing_core.curation.pieces import curate_pieces
from lipforcing_core.curation.reading import OverLimitsError
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import Decision, SourceFacts, SourceOutcome, Status
from lipforcing_core.curation.results import Reading, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import (
    SourceChangedError,
    SourceFile,
    SourceLostError,
    identify_source,
    lost_sha256,
    source_name,
)
from lipforcing_core.curation.wanted import Wanted
from lipforcing_core.media.clock import FPS, seconds
from lipforcing_core.media.decode import NO_VIDEO

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector

T = TypeVar("T")

# A file counts as truncated if the decoder complained and this much of its declared length is missing.
TRUNCATED_SHARE = Fraction(1, 20)
TRUNCATED_S = Fraction(1, 2)

MAX_ATTEMPTS = 2


def curate_source(
    path: Path | str,
    *,
    settings: CurationSettings,
    backends: CurationBackends,
    store: StepStore,
    root: Path | str,
    facts: SourceFacts | None = None,
    read: SourceFile | None = None,
) -> SourceOutcome:
    """Turn one video into aligned clips, or say of every frame why not.

    Finished steps are taken from ``store``; a killed run repeats only the step in flight. ``root`` is the corpus
    folder that source names are relative to; ``facts`` are what its corpus says, or else what lies beside the file.
    ``read`` is what ``read_ahead`` gave, where that has been done. A file that cannot be read or decoded becomes a
    quarantine row. So does one on which the machine failed twice (memory, space, a killed child), but nothing of that
    is stored: the next run tries again. Raises BadInputError only for a path outside ``root`` or malformed side
    information.
    """
    known = read_facts(path, root) if facts is None else facts

    def work(file: SourceFile) -> SourceOutcome:
        return _curated(file, Wanted.of(known, root), settings, backends, store)

    return _attempted(work, path, root, store, read)


def read_ahead(
    path: Path | str,
    *,
    settings: CurationSettings,
    detector: FaceDetector,
    store: StepStore,
    root: Path | str,
    facts: SourceFacts | None = None,
) -> SourceFile | SourceOutcome:
    """Do only the step ``read`` of a source; the outcome where that decides about it, so that nothing else is to do.

    The arguments and errors are those of ``curate_source``, of whose models only the detector is needed.
    """
    known = read_facts(path, root) if facts is None else facts

    def work(file: SourceFile) -> SourceFile | SourceOutcome:
        source = _opened(file, Wanted.of(known, root), settings, detector, store)
        return source if isinstance(source, SourceOutcome) else file

    return _attempted(work, path, root, store, None)


def _attempted(
    work: Callable[[SourceFile], T],
    path: Path | str,
    root: Path | str,
    store: StepStore,
    file: SourceFile | None,
) -> T | SourceOutcome:
    """``work`` on a source, once more where the machine failed; the outcome of a source that cannot be read.

    file: the source where it has been identified already.
    """
    name = source_name(path, root)
    for _ in range(MAX_ATTEMPTS):
        try:
            file = file or identify_source(Path(path), root)
        except SourceLostError as error:
            return _inaccessible(name, error.problem)
        try:
            with steps.one_at_a_time(store, file.sha256):
                return work(file)
        except SourceChangedError as error:
            outcome = _inaccessible(name, error.problem)
        except SourceLostError as error:
            return _inaccessible(name, error.problem)
        except (SurroundingsError, MediaError, MemoryError, OSError, RuntimeError) as error:
            problem = _not_of_the_source(error, store)
            if problem is None:
                raise
            outcome = _failed(file, problem)
        file = None
    return outcome


def redecide_source(
    file: SourceFile,
    *,
    settings: CurationSettings,
    backends: CurationBackends,
    store: StepStore,
    root: Path | str,
    facts: SourceFacts | None = None,
) -> SourceOutcome | None:
    """The outcome of a source that follows from what is stored of it, without opening it; None where that is not all.

    The arguments are those of ``curate_source``.
    """
    known = read_facts(file.path, root) if facts is None else facts
    try:
        return _curated(file, Wanted.of(known, root), settings, backends, FinishedSteps(store.root))
    except (NotStoredError, OSError):  # not all of it is stored, or a separate sound cannot be read
        return None


def _not_of_the_source(error: Exception, store: StepStore) -> str | None:
    """What failed around the source, in a clause; None for what may be a mistake of this program.

    A finished product that has become unreadable is removed, so that the next attempt makes it again.
    """
    if isinstance(error, MediaError):
        return str(error) if steps.forget_damaged(store, error.path) else None
    if isinstance(error, SurroundingsError):
        return str(error)
    return surroundings_problem(error) or (printable(str(error)) if isinstance(error, OSError) else None)


def _curated(
    file: SourceFile,
    wanted: Wanted,
    settings: CurationSettings,
    backends: CurationBackends,
    store: StepStore,
) -> SourceOutcome:
    source = _opened(file, wanted, settings, backends.detector, store)
    if isinstance(source, SourceOutcome):
        return source
    result = source.result
    assert isinstance(result, Reading), "a source that gives no picture has an outcome already"
    pieces = curate_pieces(source, result, wanted.facts, settings, backends)
    return SourceOutcome(
        source=file.name,
        source_id=file.source_id,
        sha256=file.sha256,
        frames_in=result.num_frames,
        frames_trimmed=pieces.frames_trimmed,
        clips=tuple(pieces.clips),
        decisions=tuple(pieces.decisions),
        decoder_message=printable(result.complaint),
    ).check_balance()


def _opened(
    file: SourceFile, wanted: Wanted, settings: CurationSettings, detector: FaceDetector, store: StepStore
) -> steps.ReadSource | SourceOutcome:
    """A source that has been read; the outcome of one that can have no clips, whatever its pieces are like."""
    if wanted.facts.consent_denied:
        verdict = Verdict(reason=RejectReason.CONSENT_DENIED, measured=None, threshold=None)
        return _whole(file, 0, Status.REJECTED, verdict, f"consent: {wanted.facts.consent}")
    try:
        source = steps.read_source(file, wanted, settings, detector, store)
    except OverLimitsError as error:
        return _over_limits(file, error)
    result = source.result
    if isinstance(result, Undecodable):
        return _refused(file, result)
    missing_s = result.declared_s - seconds(result.num_frames)
    if result.complaint and missing_s > max(TRUNCATED_S, result.declared_s * TRUNCATED_SHARE):
        return _truncated(file, result)
    if result.num_samples == 0:
        verdict = Verdict(reason=RejectReason.NO_AUDIO, measured=None, threshold=None)
        return _whole(file, result.num_frames, Status.REJECTED, verdict, result.complaint)
    return source


def _over_limits(file: SourceFile, error: OverLimitsError) -> SourceOutcome:
    verdict = Verdict(reason=RejectReason.OVER_LIMITS, measured=error.measured, threshold=error.limit)
    return _whole(file, 0, Status.REJECTED, verdict, str(error))


def _truncated(file: SourceFile, result: Reading) -> SourceOutcome:
    verdict = Verdict(
        reason=RejectReason.TRUNCATED,
        measured=float(seconds(result.num_frames)),
        threshold=float(result.declared_s),
    )
    frames_in = round(result.declared_s * FPS)
    return _whole(file, frames_in, Status.QUARANTINED, verdict, result.complaint)


def _refused(file: SourceFile, result: Undecodable) -> SourceOutcome:
    """The outcome of a source that gives no picture: whole, but without one, or broken."""
    words = result.decoder_message
    status, reason = Status.QUARANTINED, RejectReason.UNREADABLE
    if result.problem == NO_VIDEO:
        status, reason = Status.REJECTED, RejectReason.NO_VIDEO
    elif _is_cut_off(file.path):
        reason = RejectReason.TRUNCATED
    verdict = Verdict(reason=reason, measured=None, threshold=None)
    message = f"{result.problem}: {words}" if words else result.problem
    return _whole(file, round((result.declared_s or 0) * FPS), status, verdict, message)


def _failed(file: SourceFile, problem: str) -> SourceOutcome:
    """The outcome of a source on which the machine failed."""
    verdict = Verdict(reason=RejectReason.FAILED_THIS_TIME, measured=None, threshold=None)
    return _whole(file, 0, Status.QUARANTINED, verdict, problem)


def _inaccessible(name: str, problem: str) -> SourceOutcome:
    verdict = Verdict(reason=RejectReason.INACCESSIBLE, measured=None, threshold=None)
    return _whole(_lost(name), 0, Status.QUARANTINED, verdict, problem)


def failed_source(path: Path | str, root: Path | str, problem: str) -> SourceOutcome:
    """The outcome of a source whose worker died at it, so that nothing is known of it."""
    return _failed(_lost(source_name(path, root)), problem)


def omitted_source(path: Path | str, root: Path | str, reason: RejectReason, message: str) -> SourceOutcome:
    """The outcome of a media file that its corpus leaves out; the file is not opened."""
    verdict = Verdict(reason=reason, measured=None, threshold=None)
    mendable = reason is RejectReason.ANNOTATION_UNUSABLE
    status = Status.QUARANTINED if mendable else Status.REJECTED
    return _whole(_lost(source_name(path, root)), 0, status, verdict, message)


def _lost(name: str) -> SourceFile:
    """A source of which nothing but its name is known."""
    return SourceFile(path=Path(name), name=name, sha256=lost_sha256(name))


def _whole(
    file: SourceFile, num_frames: int, status: Status, verdict: Verdict, message: str
) -> SourceOutcome:
    """An outcome with one row, about the whole source."""
    decision = Decision(
        source=file.name,
        source_id=file.source_id,
        level="source",
        start_frame=0,
        stop_frame=num_frames,
        seconds=float(seconds(num_frames)),
        status=status,
        reason=verdict.reason,
        measured=verdict.measured,
        threshold=verdict.threshold,
        message=printable(message),
    )
    return SourceOutcome(
        source=file.name,
        source_id=file.source_id,
        sha256=file.sha256,
        frames_in=num_frames,
        decisions=(decision,),
        decoder_message=printable(message),
    ).check_balance()


def _is_cut_off(path: Path) -> bool:
    """Whether an MP4 file ends inside one of its boxes (ISO/IEC 14496-12: size, type, content)."""
    length = path.stat().st_size
    position = 0
    with open(path, "rb") as stream:
        while position + 8 <= length:
            stream.seek(position)
            head = stream.read(16)
            if position == 0 and head[4:8] != b"ftyp":
                return False
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size == 0:  # reaches to the end of the file, wherever that is
                return False
            if size < 8 or position + size > length:
                return position + size > length
            position += size
    return False
