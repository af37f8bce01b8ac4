"""A source made ready: brought to 25 fps, its face found, the speech read; all that needs no model.

It comes before a model of many gigabytes is loaded, so that a source without the wanted face costs seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.choice import FaceChoice, several_faces_words
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.media.clock import SAMPLE_RATE, frames_for_samples
from lipforcing_core.media.decode import read_audio
from lipforcing_core.media.normalise import normalise
from lipforcing_core.streaming.files import check_files
from lipforcing_core.streaming.source import SourceFace


@dataclass(frozen=True, kw_only=True)
class PreparedSource:
    """A source that is ready to be redrawn.

    waveform_S: the driving speech at 16 kHz, of ``num_frames`` frames. width, height: of the picture at 25 fps in
    pixels. choice: the face that was asked for, None for the largest. scratch: a folder for the time being.
    prepare_s: the seconds that it took.
    """

    source: Path
    audio: Path
    waveform_S: np.ndarray
    num_frames: int
    width: int
    height: int
    face: SourceFace
    choice: FaceChoice | None
    scratch: Path
    prepare_s: float

    @property
    def several_faces(self) -> str:
        """A line for people where there is a choice of faces; empty where there is none."""
        return several_faces_words(self.face.shots)


@contextmanager
def prepared(
    source: Path,
    audio: Path,
    output: Path,
    *,
    detector: FaceDetector | None,
    choice: FaceChoice | None = None,
) -> Iterator[PreparedSource]:
    """Make a source ready to be redrawn to ``audio`` into ``output``, of which nothing is written yet.

    Without a detector the source is a video of aligned crops. Raises ``BadInputError`` for unusable files, and where
    no frame shows a face, or none the chosen one; then the message lists the faces there are.
    """
    started = time.perf_counter()
    check_files(source, audio, output)
    waveform_S = read_audio(audio)
    num_frames = frames_for_samples(len(waveform_S))
    if num_frames < 1:
        raise BadInputError(
            f"{audio}: {len(waveform_S) / SAMPLE_RATE:.3f} s of audio is less than one video frame"
        )
    with TemporaryDirectory(prefix="lipforcing-") as scratch:
        cfr = Path(scratch) / "source.mp4"
        info = normalise(source, cfr, None)
        with closing(SourceFace(cfr, detector, max_frames=num_frames, choice=choice)) as face:
            yield PreparedSource(
                source=source,
                audio=audio,
                waveform_S=waveform_S,
                num_frames=num_frames,
                width=info.width,
                height=info.height,
                face=face,
                choice=choice,
                scratch=Path(scratch),
                prepare_s=time.perf_counter() - started,
            )
