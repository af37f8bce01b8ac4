"""The video whose lips are redrawn: frames by output position, each with its face alignment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import Alignment, align_track, aligned_already
from lipforcing_core.faces.choice import FaceChoice, ShotFaces, faces_words
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.faces.second_look import SecondLook
from lipforcing_core.faces.track import track_face
from lipforcing_core.media.clock import ping_pong_index
from lipforcing_core.media.decode import FrameReader
from lipforcing_core.media.shots import detect_shots


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """One frame of the source and where its face is.

    frame: ``[H, W, 3] uint8 RGB``. matrix: ``[2, 3]`` from the frame to the 420x560 crop; for a frame without a
    face it is that of the nearest frame with one, and ``has_face`` is False (such a frame is passed through).
    """

    frame: np.ndarray
    matrix: np.ndarray
    has_face: bool


class SourceFace:
    """A 25 fps video read in bounded memory, ping-ponged when the output is longer than it is.

    Frames are decoded in runs; only one run is in memory. The face is tracked once, before the first frame is
    asked for. Raises ``BadInputError`` if no frame shows a face, or none the chosen one.
    """

    def __init__(
        self,
        cfr_video: Path,
        detector: FaceDetector | None,
        *,
        max_frames: int | None = None,
        choice: FaceChoice | None = None,
    ) -> None:
        """detector: None for a video of aligned crops, as curation makes them, in which nothing is looked for.

        choice: which of several faces; None for the largest.
        """
        self.shots: tuple[ShotFaces, ...] = ()
        self._reader = FrameReader(cfr_video)
        self._span = self._reader.num_frames
        if max_frames is not None:
            self._span = min(self._span, max_frames)
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._alignment = (
                self._whole()
                if detector is None
                else self._tracked(detect_shots(cfr_video), SecondLook(detector), choice)
            )
            on_failure.pop_all()

    def _whole(self) -> Alignment:
        (frame,) = self._reader.read(0, 1)
        return aligned_already(self._span, frame.shape[1], frame.shape[0])

    def _tracked(
        self, shots: Sequence[tuple[int, int]], detector: FaceDetector, choice: FaceChoice | None
    ) -> Alignment:
        cuts = [start for start, _ in shots]
        frames = self._reader.frames(0, self._span)
        track = track_face(frames, detector, shot_starts=cuts, choice=choice)
        self.shots = track.shots
        known = [shot for shot in track.shots if shot.boxes_xyxy]
        if not known:
            raise BadInputError(f"no face was found in any of the {self._span} frames of the source video")
        if not track.usable.any():
            where = "number" if choice is not None and choice.point_xy is None else "at"
            raise BadInputError(
                f"the source video has no face {where} {choice}; its faces, the largest first, are "
                f"{faces_words(known, of=len(track.shots))} (x,y of two corners in pixels)"
            )
        return align_track(track, shot_starts=cuts)

    def read(self, start: int, stop: int) -> list[SourceFrame]:
        """Frames for the output positions ``[start, stop)``."""
        indices = [ping_pong_index(position, self._span) for position in range(start, stop)]
        low, high = min(indices), max(indices) + 1
        frames = self._reader.read(low, high)
        return [
            SourceFrame(
                frame=frames[i - low],
                matrix=self._alignment.matrices_F23[i],
                has_face=bool(self._alignment.usable_F[i]),
            )
            for i in indices
        ]

    def close(self) -> None:
        """Release the decoder."""
        self._reader.close()
