"""The base checkpoints that ship with the package, each with the codec whose latents it was trained on.

The paper starts from a public base (Wan 2.1). No such base exists at the size of ``nano``, so the project trains its
own (``lipforcing train base``) and ships it. A preset names its base by ``base_checkpoint``. Latents mean nothing
without the codec they were made with, so whoever starts from a base encodes with its codec and fits none.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256


@dataclass(frozen=True, kw_only=True)
class BaseEntry(Entry):
    """One shipped base: files ``<name>.safetensors`` and ``<name>-codec.safetensors``, and their SHA-256.

    codec: the name of the codec, as in ``models/codecs/catalogue.py``.
    """

    codec: str
    model_sha256: str
    codec_sha256: str

    @property
    def model_file(self) -> Path:
        """The weights of the bidirectional transformer, under their native names."""
        return _shipped(f"{self.name}.safetensors")

    @property
    def codec_file(self) -> Path:
        """The fitted codec."""
        return _shipped(f"{self.name}-codec.safetensors")

    def check(self) -> BaseEntry:
        """The same entry; raises ``IncompatibleCheckpointError`` if a file is missing or was changed."""
        for path, expected in ((self.model_file, self.model_sha256), (self.codec_file, self.codec_sha256)):
            if not path.is_file():
                raise IncompatibleCheckpointError(f"{path} is missing; install the package again")
            if (found := file_sha256(path)) != expected:
                raise IncompatibleCheckpointError(
                    f"{path} has SHA-256 {found}, not {expected}: it was changed; install the package again"
                )
        return self


def _shipped(name: str) -> Path:
    return Path(str(files(__package__).joinpath("weights", name)))


BASES = Catalogue(
    kind="base checkpoint",
    entries=(
        BaseEntry(
            name="nano-base",
            summary="the nano transformer after an hour of one core on puppets of two public-domain portraits",
            codec="block-pca",
            model_sha256="TODO",
            codec_sha256="TODO",
        ),
    ),
)
