"""Cutting aligned crops: where the face is is decided once, on the truth, and holds for every system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.align import align_track, warp_face
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.faces.track import track_face
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.decode import iter_frames
from lipforcing_core.media.probe import probe
from lipforcing_core.metrics.protocol import MIN_SCORED_FRAMES, CropMode, Protocol


class UnscorableClip(Exception):
    """The clip cannot be scored; the message says why."""


@dataclass(frozen=True, kw_only=True)
class CropWindow:
    """The scored frames ``start`` to ``stop`` of a clip and where its face is in each.

    matrices_F23 maps frame pixels to the template crop, None for files that are crops already.
    frame_size: (width, height) that every video of the clip must have.
    """

    start: int
    stop: int
    matrices_F23: np.ndarray | None
    frame_size: tuple[int, int]

    @property
    def num_frames(self) -> int:
        """Number of scored frames."""
        return self.stop - self.start

    def until(self, stop: int) -> CropWindow:
        """The window without the frames from ``stop`` on."""
        if stop >= self.stop:
            return self
        kept = max(0, stop - self.start)
        matrices = None if self.matrices_F23 is None else self.matrices_F23[:kept]
        return replace(self, stop=self.start + kept, matrices_F23=matrices)


def find_window(truth_video: Path, protocol: Protocol, detector: FaceDetector | None) -> CropWindow:
    """Place the crop on the truth: the longest stretch inside the protocol's window with a face in every frame.

    Raises ``UnscorableClip`` where the truth is shorter than the window, is not at 25 fps, or shows a face for less
    than 25 frames in a row, and ``MediaError`` where it cannot be read.
    """
    info = probe(truth_video)
    if info.frame_rate != FPS or info.is_variable_rate:
        raise UnscorableClip(
            f"{truth_video.name} runs at {_rate(info.frame_rate)}, not at a constant 25 frames/s"
        )
    wanted = protocol.num_frames
    stop = None if wanted is None else protocol.start_frame + wanted
    frames = iter_frames(truth_video, protocol.start_frame, stop)
    size = (info.width, info.height)
    if protocol.crop_mode is CropMode.PRECROPPED:
        num_frames, matrices = sum(1 for _ in frames), None
        first, last = 0, num_frames
    else:
        matrices, usable_F = _align(frames, detector)
        num_frames = len(matrices)
        first, last = _longest_run(usable_F)
        matrices = matrices[first:last]
    if wanted is not None and num_frames < wanted:
        raise UnscorableClip(f"the truth has {num_frames} frames in a window of {wanted}")
    if last - first < MIN_SCORED_FRAMES:
        raise UnscorableClip(
            f"the truth shows a face for {last - first} frames in a row, at least {MIN_SCORED_FRAMES} are needed"
        )
    start = protocol.start_frame
    return CropWindow(start=start + first, stop=start + last, matrices_F23=matrices, frame_size=size)


def cut_truth(video: Path, window: CropWindow, size: int) -> np.ndarray:
    """The aligned crops ``[F, size, size, 3] uint8 RGB`` of the window's frames."""
    return _cut(video, window, window.matrices_F23, size)


def cut_prediction(
    video: Path, window: CropWindow, protocol: Protocol, detector: FaceDetector | None
) -> np.ndarray:
    """The crops of a prediction over the same frames, cut as the protocol says.

    Raises ``UnscorableClip`` where the prediction is shorter, of another frame size or rate, or (aligned on its
    own) shows no face; and ``MediaError`` where it cannot be read.
    """
    info = probe(video)
    if info.frame_rate != FPS or info.is_variable_rate:
        raise UnscorableClip(f"it runs at {_rate(info.frame_rate)}, not at a constant 25 frames/s")
    if (info.width, info.height) != window.frame_size:
        width, height = window.frame_size
        raise UnscorableClip(
            f"its frames are {info.width} x {info.height}, those of the truth {width} x {height}"
        )
    matrices = window.matrices_F23
    if protocol.crop_mode is CropMode.INDEPENDENT_ALIGNED:
        matrices, usable_F = _align(iter_frames(video, window.start, window.stop), detector)
        if not usable_F.all():
            raise UnscorableClip(
                f"no face was found in {int((~usable_F).sum())} of its {len(usable_F)} frames"
            )
    return _cut(video, window, matrices, protocol.size)


def _cut(video: Path, window: CropWindow, matrices_F23: np.ndarray | None, size: int) -> np.ndarray:
    crops = np.empty((window.num_frames, size, size, 3), dtype=np.uint8)
    count = 0
    for index, frame in enumerate(iter_frames(video, window.start, window.stop)):
        if matrices_F23 is None:
            crops[index] = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
        else:
            crops[index] = warp_face(frame, matrices_F23[index], size)
        count = index + 1
    if count < window.num_frames:
        raise UnscorableClip(f"it ends at frame {window.start + count}, the scored window at {window.stop}")
    return crops


def _align(frames: Iterable[np.ndarray], detector: FaceDetector | None) -> tuple[np.ndarray, np.ndarray]:
    """Transforms and usable flags of every frame; raises ``UnscorableClip`` where no face is found at all."""
    if detector is None:
        raise BadInputError("this protocol aligns faces, so it needs a face detector")
    try:
        alignment = align_track(track_face(frames, detector))
    except BadInputError as error:
        raise UnscorableClip(str(error)) from error
    return alignment.matrices_F23, alignment.usable_F


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Start and stop of the longest (first, if equal) stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if len(edges) == 0:
        return 0, 0
    starts, stops = edges[::2], edges[1::2]
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


def _rate(frame_rate: Fraction) -> str:
    return f"{float(frame_rate):g} frames/s"
