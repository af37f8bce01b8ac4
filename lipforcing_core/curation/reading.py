"""One reading of a source: shots, faces, aligned clips and sound from a single pass over its frames.

Frames wait three times, each time for a bounded number of frames: until it is certain whether a shot begins, until
the places of its faces are certain, and, as small crops, until their segment is certain. So the memory does not
depend on the length of a source, and nothing but the products is written.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipforcing_core.base.errors import LipForcingError, MediaError
from lipforcing_core.curation.crops import CropRow, cut_out, write_track
from lipforcing_core.curation.hearing import hear, wide_sound
from lipforcing_core.curation.results import Piece, Reading, Shot, SizeChange, Undecodable, piece_folder
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.wanted import Wanted
from lipforcing_core.faces.detectors.protocol import Face, FaceDetector
from lipforcing_core.faces.follow import FaceFollower, Placement
from lipforcing_core.faces.second_look import faces_in, moved
from lipforcing_core.media.bars import Margins, margins, within_bars
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.encode import write_flac
from lipforcing_core.media.picture import Box, in_eight_bits, region
from lipforcing_core.media.picture_form import refuse_unknown_colours
from lipforcing_core.media.segments import Segment, SegmentPlanner
from lipforcing_core.media.shots import CutDetector, ShotPicture, divide
from lipforcing_core.media.source_stream import Picture, Shown, SourceStream

SOUND = "sound.flac"
LARGE_PIXELS = 4_000_000


class OverLimitsError(LipForcingError):
    """A source is longer or larger than the settings allow."""

    def __init__(self, measured: float, limit: float, unit: str) -> None:
        self.measured, self.limit = measured, limit
        super().__init__(f"{measured:.3g} {unit}, and the limit is {limit:g}")


def require_within_limits(result: Reading | Undecodable, settings: CurationSettings) -> None:
    """Raise ``OverLimitsError`` where a stored reading tells that the source passes a limit of the settings.

    It says what ``read`` would say of that source under these settings, since the limits are no part of a reading's
    key. A source of an older version whose pictures grow is judged by its first picture.
    """
    _require_length(result.declared_s or Fraction(0), settings)
    if isinstance(result, Reading):
        _require_size(result.largest_pixels or result.width * result.height, settings)
        if result.num_frames > (first_beyond := math.ceil(_longest_frames(settings))):
            raise _too_long(first_beyond, settings)


def _longest_frames(settings: CurationSettings) -> float:
    return settings.max_source_hours * 3600 * int(FPS)


def _require_length(declared_s: Fraction, settings: CurationSettings) -> None:
    if declared_s * FPS > _longest_frames(settings):
        raise OverLimitsError(float(declared_s) / 3600, settings.max_source_hours, "hours")


def _require_size(num_pixels: int, settings: CurationSettings) -> None:
    megapixels = num_pixels / 1e6
    if megapixels > settings.max_megapixels:
        raise OverLimitsError(megapixels, settings.max_megapixels, "megapixels")


def _too_long(num_frames: int, settings: CurationSettings) -> OverLimitsError:
    return OverLimitsError(num_frames / 3600 / int(FPS), settings.max_source_hours, "hours")


@dataclass
class _Seen:
    """What the pictures of a source gave: its shots, its pieces, and what was too short to be one."""

    num_frames: int = 0
    shots: list[Shot] = field(default_factory=list)
    outside: list[Shot] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    short: list[Segment] = field(default_factory=list)
    num_invented: int = 0
    size: tuple[int, int] | None = None
    size_changes: list[SizeChange] = field(default_factory=list)
    largest_pixels: int = 0
    tone_mapped: str | None = None

    def note_size(self, frame: int, size: tuple[int, int]) -> None:
        """Note the size of the next picture."""
        if self.size is None:
            self.size = size
        changed = self.size_changes
        latest = (changed[-1].width, changed[-1].height) if changed else self.size
        if size != latest:
            changed.append(SizeChange(frame=frame, width=size[0], height=size[1]))

    def leave_out(self, frame: int) -> None:
        """Note that a frame lies outside what the corpus wants of the source."""
        if self.outside and self.outside[-1].stop == frame:
            self.outside[-1] = Shot(start=self.outside[-1].start, stop=frame + 1)
        else:
            self.outside.append(Shot(start=frame, stop=frame + 1))


def read(
    source: SourceStream, folder: Path, wanted: Wanted, settings: CurationSettings, detector: FaceDetector
) -> Reading:
    """Read a source from end to end; write every face of every segment and its sound into ``folder``.

    Of a source without sound only the pictures are counted. Raises MediaError where colours cannot be converted, or
    where there is no picture at all, and ``OverLimitsError`` where a limit of the settings is passed.
    """
    seen = _see(source, folder, wanted, settings, detector) if source.tracks else _count(source, settings)
    heard = hear(source.tracks)
    for piece in seen.pieces:
        wide_S = wide_sound(heard.waveform_S, Segment(piece.start, piece.stop))
        write_flac(folder / piece.folder / SOUND, wide_S)
    assert seen.size is not None, "a source without a picture is refused"
    width, height = seen.size
    return Reading(
        num_frames=seen.num_frames,
        num_samples=len(heard.waveform_S),
        width=width,
        height=height,
        declared_s=source.declared_s,
        complaint=source.complaint,
        num_damaged=source.num_damaged,
        num_invented=seen.num_invented,
        num_dropped=source.num_dropped,
        tone_mapped=seen.tone_mapped,
        sound=heard.taken,
        shots=tuple(seen.shots),
        pieces=tuple(seen.pieces),
        outside=tuple(seen.outside),
        short=tuple(Shot(start=segment.start, stop=segment.stop) for segment in seen.short),
        largest_pixels=seen.largest_pixels,
        size_changes=tuple(seen.size_changes),
    )


def _see(
    source: SourceStream, folder: Path, wanted: Wanted, settings: CurationSettings, detector: FaceDetector
) -> _Seen:
    seen = _Seen()
    cuts = CutDetector(threshold=settings.shot_threshold, min_content_change=settings.shot_min_content_change)
    shot: _Shot | None = None
    for shown in _within(divide(_checked(source, settings, seen), cuts), wanted, seen):
        if shown.starts:
            shot = _Shot(shown.picture.index, len(seen.shots), folder, wanted, settings, detector)
        assert shot is not None, "the first picture starts a shot"
        shot.add(shown)
        if shown.ends:
            shot.finish(seen, source.sounding_frames)
    return _not_empty(seen, source)


def _count(source: SourceStream, settings: CurationSettings) -> _Seen:
    seen = _Seen()
    for shown in _checked(source, settings, seen):
        seen.num_frames = shown.index + 1
    return _not_empty(seen, source)


def _not_empty(seen: _Seen, source: SourceStream) -> _Seen:
    if not seen.num_frames:
        raise MediaError(source.path, "has no frame that can be decoded", source.complaint)
    return seen


def _within(pictures: Iterable[ShotPicture], wanted: Wanted, seen: _Seen) -> Iterator[ShotPicture]:
    """The pictures that count; a shot also begins and ends with a range. Counts those that do not."""
    before = None
    for shown in pictures:
        index = shown.picture.index
        here, after = wanted.range_of(index), wanted.range_of(index + 1)
        seen.num_frames = index + 1
        if here is None:
            seen.leave_out(index)
        else:
            seen.num_invented += shown.picture.invented
            starts, ends = shown.starts or before != here, shown.ends or after != here
            yield ShotPicture(picture=shown.picture, starts=starts, ends=ends)
        before = here


def _checked(source: SourceStream, settings: CurationSettings, seen: _Seen) -> Iterator[Picture]:
    """The pictures, as long as they keep within the limits and their colours can be converted."""
    longest = _longest_frames(settings)
    _require_length(source.declared_s, settings)
    for shown in source.pictures():
        form = shown.shown.form
        refuse_unknown_colours(form, source.path)
        num_pixels = form.size[0] * form.size[1]
        _require_size(num_pixels, settings)
        if shown.index >= longest:
            raise _too_long(shown.index, settings)
        seen.largest_pixels = max(seen.largest_pixels, num_pixels)
        seen.note_size(shown.index, form.size)
        seen.tone_mapped = seen.tone_mapped or form.tone_mapped
        yield shown


def _lighter(shown: Picture) -> Picture:
    """A picture as it waits until its faces are certain: in 8 bits, where it is large and no more are needed.

    About 35 pictures wait, which at 4K are 860 MB in 10 bits. In smaller ones the conversion would cost more than
    the memory is worth.
    """
    frame, form = shown.shown.frame, shown.shown.form
    if form.size[0] * form.size[1] < LARGE_PIXELS:
        return shown
    return replace(shown, shown=Shown(*in_eight_bits(frame, form)))


class _Shot:
    """One shot while it is read."""

    def __init__(
        self,
        start: int,
        number: int,
        folder: Path,
        wanted: Wanted,
        settings: CurationSettings,
        detector: FaceDetector,
    ) -> None:
        self._start, self._number, self._folder, self._wanted = start, number, folder, wanted
        self._settings, self._detector = settings, detector
        self._follower = FaceFollower(
            start, stride=settings.detect_stride, max_gap_frames=settings.max_gap_frames
        )
        self._planner = SegmentPlanner(start, min_frames=settings.min_frames, max_frames=settings.max_frames)
        self._waiting: deque[Picture] = deque()
        self._rows: list[CropRow] = []
        self._invented: deque[bool] = deque()
        self._margins: deque[tuple[int, Margins]] = deque()
        self._written = start
        self._pieces: list[Piece] = []

    def add(self, shown: ShotPicture) -> None:
        """Take the next picture: look for faces if it is its turn, and settle what has become certain."""
        index = shown.picture.index
        self._waiting.append(_lighter(shown.picture))
        self._invented.append(shown.picture.invented)
        if self._follower.wants(index) or shown.ends:
            self._follower.look(index, self._faces(shown.picture))
            self._settle(index - self._follower.delay)
            for segment in self._planner.certain(self._settled):
                self._write(segment)

    def _faces(self, shown: Picture) -> list[Face]:
        """What the detector finds in a picture, or in the part of it that counts."""
        frame, form = shown.shown.frame, shown.shown.form
        box = self._wanted.box(shown.index, form.size)
        view = region(frame, form, (0, 0, *form.size) if box is None else box)
        self._margins.append((shown.index, margins(view, form.size)))
        return [moved(face, *view.offset_xy) for face in faces_in(view.rgb_HW3, self._detector)]

    def finish(self, seen: _Seen, sounding_frames: int | None) -> None:
        """The shot has ended: settle and write the rest, and tell what came of it.

        sounding_frames: how far the sound goes, once that is known; there is no segment beyond it.
        """
        stop = self._waiting[-1].index + 1
        self._settle(stop, ended=True)
        heard = stop if sounding_frames is None else min(stop, max(sounding_frames, self._start))
        kept, short = self._planner.finish(heard)
        for segment in kept:
            self._write(segment)
        seen.shots.append(Shot(start=self._start, stop=stop))
        seen.pieces += self._pieces
        seen.short += short

    @property
    def _settled(self) -> int:
        return self._waiting[0].index if self._waiting else self._start

    def _settle(self, stop: int, *, ended: bool = False) -> None:
        first = self._settled
        if stop <= first:
            return
        tracks = self._follower.settle(stop, ended=ended)
        while len(self._rows) < len(tracks):
            row = CropRow(len(self._rows), self._written)
            for _ in range(self._written, first):
                row.add(None)
            self._rows.append(row)
        for position in range(stop - first):
            shown = self._waiting.popleft().shown
            for row, places in zip(self._rows, tracks, strict=True):
                place: Placement | None = places[position]
                row.add(None if place is None else cut_out(shown, place, row.last))

    def _picture_of(self, segment: Segment) -> Box | None:
        """The picture within its bars, by the frames of the segment that were looked at."""
        while self._margins and self._margins[0][0] < segment.start:
            self._margins.popleft()
        return within_bars([found for index, found in self._margins if index < segment.stop])

    def _write(self, segment: Segment) -> None:
        folder = self._folder / piece_folder(segment.start, segment.stop)
        folder.mkdir(exist_ok=True)
        picture_xyxy = self._picture_of(segment)
        tracks = [
            write_track(row, segment, folder, crf=self._settings.clip_crf, picture_xyxy=picture_xyxy)
            for row in self._rows
        ]
        invented = [self._invented.popleft() for _ in range(segment.num_frames)]
        self._pieces.append(
            Piece(
                start=segment.start,
                stop=segment.stop,
                shot=self._number,
                num_invented=int(np.sum(invented)),
                tracks=tuple(track for track in tracks if track is not None),
                picture_xyxy=picture_xyxy,
            )
        )
        self._written = segment.stop
        for row in self._rows:
            row.drop(segment.stop)
