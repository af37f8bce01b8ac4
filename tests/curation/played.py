"""A source whose pictures and sound are made by hand, and a detector that sees in them what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.picture_form import PictureForm
from lipforcing_core.media.source_stream import Picture, Shown
from lipforcing_core.media.timeline import Placed
from lipforcing_core.sound.fold import Folded

SIZE = 96
STREAM = SimpleNamespace(sample_aspect_ratio=Fraction(1))


def picture(index: int, *, level: int | None = None, width: int = SIZE, height: int = SIZE) -> np.ndarray:
    """A picture of ramps that nowhere look alike; its first pixel holds its index, and ``level`` its brightness."""
    y, x = np.mgrid[:height, :width]
    brightness = brightness_of(index) if level is None else level
    frame = np.stack([brightness + x // 4, brightness + y // 4, np.full_like(x, brightness)], axis=2)
    frame[0, 0] = (index // 256, index % 256, 0)
    return frame.astype(np.uint8)


def brightness_of(index: int) -> int:
    """Up and down by one level from frame to frame, so that no two neighbours are alike and none is a cut."""
    return 40 + abs(index % 128 - 64)


def index_of(frame_HW3: np.ndarray) -> int:
    return int(frame_HW3[0, 0, 0]) * 256 + int(frame_HW3[0, 0, 1])


def shown(frame_HW3: np.ndarray) -> Shown:
    frame = av.VideoFrame.from_ndarray(frame_HW3, format="rgb24")
    return Shown(frame, PictureForm.of(frame, STREAM))


def sound_track(waveform_S: np.ndarray, **changes: Any) -> Any:
    """What is asked of a track after reading; its samples are as loud as given."""
    values: dict[str, Any] = {"stream": SimpleNamespace(index=1), "is_default": False, "language": None}
    folded = Folded(waveform_S=waveform_S, how="mono", notes=("silent",), opposed=0.0)
    return SimpleNamespace(**(values | {"folded": folded} | changes))


class Played:
    """Stands for ``SourceStream``: so many frames, a sound track for the first ``sounding``, and what is noted."""

    def __init__(
        self,
        num_frames: int,
        *,
        sounding: int | None = None,
        invented: Sequence[int] = (),
        breaks: Sequence[int] = (),
        make: Callable[[int], np.ndarray] = picture,
        **notes: Any,
    ) -> None:
        self.path = Path("a.mp4")
        self.declared_s = Fraction(num_frames, 25)
        self.complaint, self.num_damaged, self.num_dropped = "", 0, 0
        length = num_frames if sounding is None else sounding
        self.tracks = [sound_track(ramp(0, length))]
        self.read = 0
        self._num_frames, self._invented, self._breaks, self._make = num_frames, invented, breaks, make
        self.__dict__.update(notes)

    def pictures(self) -> Iterator[Picture]:
        last: np.ndarray | None = None
        for index in range(self._num_frames):
            invented = index in self._invented
            last = last if invented and last is not None else self._make(index)
            self.read += 1
            yield Placed(index=index, shown=shown(last), invented=invented, breaks=index in self._breaks)
        self.read = -1

    @property
    def sounding_frames(self) -> int | None:
        if self.read != -1:
            return None
        return max((-(-len(t.folded.waveform_S) // 640) for t in self.tracks if t.folded), default=0)


def ramp(start: int, stop: int) -> np.ndarray:
    """Sound of which every sample tells its place: that of frames ``start`` to ``stop``."""
    return (np.arange(start * 640, stop * 640) % 30011 / 32768).astype(np.float32)


BOX = (20.0, 16.0, 76.0, 80.0)


class NoEncoder:
    """Stands for ``VideoWriter`` where nobody looks at the clips: an empty file, and as quick."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._path = path

    def __enter__(self) -> NoEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.touch()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Sees:
    """Finds the faces that a function of the frame's index names; keeps the indices that it was asked about."""

    backend_id = "sees-v1"

    def __init__(self, faces: Callable[[int], Sequence[Face | tuple[float, float, float, float]]]) -> None:
        self._faces = faces
        self.asked: list[int] = []

    def detect(self, frame: np.ndarray) -> list[Face]:
        index = index_of(frame)
        if index == 127 * 256 + 127:  # the second look, inside a grey margin
            return []
        self.asked.append(index)
        return [f if isinstance(f, Face) else Face(box_xyxy=f, score=1.0) for f in self._faces(index)]


def everywhere(index: int) -> list[tuple[float, float, float, float]]:
    return [BOX]
