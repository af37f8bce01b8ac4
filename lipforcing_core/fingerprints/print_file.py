"""Fingerprints in a temporary file, read one at a time: those of 60 000 clips would take 200 MB of memory."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lipforcing_core.fingerprints.clips import Fingerprint
from lipforcing_core.fingerprints.picture import NUM_BLOCKS, PictureFingerprint


class PrintFile:
    """Takes fingerprints and gives back what stands for them. folder: where the file lies, which has no name there."""

    def __init__(self, folder: Path) -> None:
        self._stream: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  lives as long as the prints
        self._size = 0

    def add(self, print_: Fingerprint) -> FiledFingerprint:
        """Write a fingerprint, and return it as one that is read when somebody looks at it."""
        picture, codes_N = print_.picture, print_.codes_N
        parts = picture.motion_TB.astype("<i1").tobytes(), codes_N.astype("<u4").tobytes()
        filed = FiledFingerprint(
            stream=self._stream,
            look=picture.look,
            start=self._size,
            motion_bytes=len(parts[0]),
            code_bytes=len(parts[1]),
        )
        self._stream.write(b"".join(parts))
        self._size += sum(map(len, parts))
        return filed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FiledFingerprint:
    """A fingerprint in a ``PrintFile``: its look, and where the rest lies."""

    stream: IO[bytes]
    look: int
    start: int
    motion_bytes: int
    code_bytes: int

    @property
    def picture(self) -> PictureFingerprint:
        """The fingerprint of the picture."""
        motion_TB = np.frombuffer(self._read(self.start, self.motion_bytes), dtype="<i1")
        return PictureFingerprint(look=self.look, motion_TB=motion_TB.reshape(-1, NUM_BLOCKS))

    @property
    def codes_N(self) -> np.ndarray:
        """The codes of the sound, uint32 [N]."""
        return np.frombuffer(self._read(self.start + self.motion_bytes, self.code_bytes), dtype="<u4")

    def _read(self, start: int, num_bytes: int) -> bytes:
        self.stream.flush()
        return os.pread(self.stream.fileno(), num_bytes, start)
