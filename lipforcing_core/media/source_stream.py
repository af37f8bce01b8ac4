"""A source read once, from its first packet to its last: pictures on the 25 fps time line, and all of its sound.

Nothing is written and nothing is decoded twice. The pictures are decoded frames as they come, so whoever reads them
converts only what is needed; the sound of every track is collected as one channel at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.media.decode import decoder_words, open_container, open_video, refuse_surroundings
from lipforcing_core.media.deinterlace import Deinterlacer
from lipforcing_core.media.picture_form import Forms, PictureForm
from lipforcing_core.media.soundtrack import SoundTrack
from lipforcing_core.media.streams import PresentationStamps, start_s
from lipforcing_core.media.timeline import USUAL_GAPS, GapLimits, Jumps, Placed, StreamClock, Timeline

DEFAULT_FRAME_S = Fraction(1, 25)
LEAST_FRAME_S = Fraction(1, 1000)
"""No camera that films people is faster; what declares more has no rate."""
USELESS_STAMPS = "has useless time stamps"
USELESS_SHARE = Fraction(9, 10)
"""Where more of the pictures than this are stamped no later than one before them, the time stamps say nothing."""
LONG_S = 600
LEAST_RATE = Fraction(1, 2)
"""A file that declares more than ten minutes and less than a frame in two seconds has a wrong header."""
MAX_TRACKS = 8
"""More sound tracks than this are those of a disc image or a broadcast, of which the first are enough."""

_OF_THE_DECODER = (av.error.FFmpegError, MemoryError, OSError, ValueError)


@dataclass(frozen=True)
class Shown:
    """One decoded frame and the form that it has."""

    frame: Any
    form: PictureForm


Picture = Placed[Shown]


class SourceStream:
    """Reads one source; use as a context manager, go through ``pictures()`` once, then ask for the rest.

    sound_path: the file that has the sound, where it is not that of the picture. gaps: which holes in the time stamps
    are filled. Raises MediaError where there is no
    picture or the file cannot be opened, and SurroundingsError for a failure of the machine.
    """

    def __init__(
        self, path: Path | str, *, sound_path: Path | None = None, gaps: GapLimits = USUAL_GAPS
    ) -> None:
        self.path = Path(path)
        self._gaps = gaps
        self.complaint = ""
        self.num_damaged = 0
        self.num_dropped = 0
        self._is_read = False
        self._container, self._video = open_video(self.path)
        self._beside = None
        try:
            self._refuse_nonsense()
            if sound_path is not None:
                self._beside = open_container(sound_path)
            audio = self._beside or self._container
            streams = [s for s in audio.streams.audio if s.codec_context is not None][:MAX_TRACKS]
            self._open_tracks(streams)
        except BaseException:
            self.close()
            raise

    def _refuse_nonsense(self) -> None:
        """Refuse a header that declares hours for a handful of frames, or no time from one frame to the next.

        One changed byte is enough for that. The rate counts as well as the duration, for in MP4 it comes from the
        lengths of the frames in ``stts``. Where those are all 0, libav makes lengths up, such as that of the whole file
        for every frame; the index of the file tells that it has none itself.
        """
        frames, rate = self._video.frames, self._video.average_rate
        declared_s = max(self.declared_s, frames / Fraction(rate) if rate else Fraction(0))
        if frames and declared_s > LONG_S and declared_s * LEAST_RATE > frames:
            raise MediaError(
                self.path,
                f"declares {float(declared_s) / 3600:.1f} hours for {frames} frames; its header is wrong",
            )
        index: Any = getattr(self._video, "index_entries", ())  # PyAV 16 does not tell it
        if 2 <= frames == len(index) and index[0].timestamp == index[len(index) - 1].timestamp:
            raise MediaError(self.path, f"{USELESS_STAMPS}: all of its {frames} frames are due at once")

    def _open_tracks(self, streams: list[Any]) -> None:
        jumps = Jumps(max_gap_s=self._gaps.max_gap_s)
        own = [] if self._beside else streams
        zero_s = min(start_s(stream) for stream in (self._video, *own))
        sound_zero_s = (
            min((start_s(stream) for stream in streams), default=zero_s) if self._beside else zero_s
        )
        self._clock = StreamClock("picture", jumps, zero_s=zero_s)
        self.tracks = [
            SoundTrack(stream, StreamClock(f"sound {stream.index}", jumps, zero_s=sound_zero_s))
            for stream in streams
        ]
        self._track_of = {stream.index: track for stream, track in zip(streams, self.tracks, strict=True)}

    @property
    def frame_s(self) -> Fraction:
        """The usual time from one frame to the next, in seconds."""
        rate = self._video.average_rate or self._video.guessed_rate
        return 1 / Fraction(rate) if rate else DEFAULT_FRAME_S

    @property
    def declared_s(self) -> Fraction:
        """How long the header says that the picture is, in seconds; 0 if it does not say, or nonsense."""
        if self._video.duration:
            return max(Fraction(self._video.duration * Fraction(self._video.time_base)), Fraction(0))
        return max(Fraction(self._container.duration or 0, av.time_base), Fraction(0))

    @property
    def sounding_frames(self) -> int | None:
        """How many frames the longest sound track covers, once everything has been read; None before."""
        if not self._is_read:
            return None
        lengths = [len(track.folded.waveform_S) for track in self.tracks if track.folded is not None]
        return -(-max(lengths, default=0) // SAMPLES_PER_FRAME)

    def pictures(self) -> Iterator[Picture]:
        """Every picture of the 25 fps time line in order; the sound is collected on the way.

        Damaged packets are left out and counted. The frame of a picture belongs to the reader until the next one is
        asked for, and as long as it is kept. Raises MediaError at the end of a source whose time stamps are useless.
        """
        timeline: Timeline[Shown] = Timeline(self._gaps.max_hole_frames)
        forms = Forms(self._video)
        form: PictureForm | None = None
        end_s = latest_s = Fraction(0)
        num_stamped = num_late = 0
        for frame in self._frames():
            length_s = frame.duration * Fraction(frame.time_base) if frame.duration else self.frame_s
            # Otherwise it is a wrong header, or a still that is shown until the next picture comes.
            length_s = length_s if length_s <= self._gaps.max_gap_s else DEFAULT_FRAME_S
            if frame.pts is None:
                placed_s, jumped = end_s, False
            else:
                placed_s, jumped = self._clock.place(frame.pts * Fraction(frame.time_base), length_s)
                num_late += num_stamped > 0 and placed_s <= latest_s
                num_stamped += 1
                latest_s = max(latest_s, placed_s)
            end_s = placed_s + length_s
            found = forms.of(frame)
            changed = form is not None and found != form
            form = found
            yield from timeline.add(Shown(frame, found), placed_s, breaks=jumped or changed)
        self._refuse_useless_stamps(num_stamped, num_late, latest_s)
        yield from timeline.finish(end_s)
        self.num_dropped = timeline.num_dropped
        if self._beside is not None:
            self._read_beside()
        for track in self.tracks:
            track.finish()
        self._is_read = True

    def _refuse_useless_stamps(self, num_stamped: int, num_late: int, latest_s: Fraction) -> None:
        """Refuse pictures of which nearly all have the time of another, so that nobody knows when they are due.

        Pictures of a fast camera that are stamped by a slow clock last as long as the rate says, and are read.
        """
        usual_s = num_stamped * max(self.frame_s, LEAST_FRAME_S)
        if num_late > USELESS_SHARE * num_stamped and 2 * latest_s < usual_s:
            raise MediaError(
                self.path,
                f"{USELESS_STAMPS}: {num_late} of its {num_stamped} pictures are stamped no later than one before",
                self.complaint,
            )

    def _frames(self) -> Iterator[Any]:
        deinterlacer = Deinterlacer(self._video)
        stamps = PresentationStamps(self._container, self._video)
        for packet in self._packets(self._container, [self._video, *self._own_streams()]):
            frames = self._decoded(packet)
            # The index of an empty packet, the last one of every stream, is always 0.
            if packet.stream.index != self._video.index:
                self._hear(packet.stream.index, frames)
            else:
                for frame in frames:
                    stamps.correct(frame)
                    yield from deinterlacer.add(frame)
        yield from deinterlacer.finish()

    def _read_beside(self) -> None:
        streams = [track.stream for track in self.tracks]
        for packet in self._packets(self._beside, streams):
            self._hear(packet.stream.index, self._decoded(packet))

    def _own_streams(self) -> list[Any]:
        return [] if self._beside else [track.stream for track in self.tracks]

    def _hear(self, index: int, frames: list[Any]) -> None:
        for frame in frames:
            try:
                self._track_of[index].add(frame)
            except _OF_THE_DECODER as error:
                self.num_damaged += 1
                self._complain(error)

    def _packets(self, container: Any, streams: list[Any]) -> Iterator[Any]:
        """All packets, up to the first place that cannot be read."""
        if not streams:
            return
        try:
            yield from container.demux(*streams)
        except _OF_THE_DECODER as error:
            self._complain(error)

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except _OF_THE_DECODER as error:
            self.num_damaged += 1
            self._complain(error)
            return []

    def _complain(self, error: Exception) -> None:
        refuse_surroundings(error, self.path)
        self.complaint = self.complaint or decoder_words(error)

    def close(self) -> None:
        """Close the files."""
        for container in (self._container, self._beside):
            if container is not None:
                container.close()

    def __enter__(self) -> SourceStream:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
