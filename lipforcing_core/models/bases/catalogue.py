"""The base checkpoints that ship with the package, each with the codec whose latents it was trained on.

The paper starts from a public base (Wan 2.1). No such base exists at the size of ``nano``, so the project trains its
own (``lipforcing train base``) and ships it. A preset names its base by ``base_checkpoint``. Latents mean nothing
without the codec they were made with, so whoever starts from a base encodes with its codec and fits none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256


@dataclass(frozen=True, kw_only=True)
class BaseEntry(Entry):
    """One shipped base: files ``<name>.safetensors`` and ``<name>-codec.safetensors``, and their SHA-256.

    fits: what a preset must say for the weights to mean the same, by section and key.
    """

    fits: Mapping[str, Mapping[str, Any]]
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
            fits={
                "backends": {"codec": "block-pca", "audio": "log-mel", "text": "hash"},
                "model": {
                    "dim": 128,
                    "ffn_dim": 384,
                    "num_heads": 2,
                    "num_layers": 6,
                    "freq_dim": 64,
                    "text_dim": 32,
                    "text_len": 8,
                    "in_channels": 65,
                    "out_channels": 16,
                    "patch_size": (1, 2, 2),
                    "audio_dim": 320,
                    "audio_hidden": 32,
                    "eps": 1e-6,
                },
            },
            model_sha256="b1358b102351946e8e7c349763b25d3c30adfefef53516b64d653251b1bece71",
            codec_sha256="6cf0f5cceefa2b5386c4245ad5718a6229560b2b76ee5b1e597e954b8b2ee0b5",
        ),
    ),
)
