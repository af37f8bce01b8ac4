"""The audio encoders: which there are, what each needs, and how wide its features are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.models.precision import FLOAT32, Precision

if TYPE_CHECKING:
    from lipforcing_core.models.audio_encoders.protocol import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class AudioEncoderEntry(Entry):
    """One audio encoder.

    feature_dim: the width of its features per video frame. dtype: the type it runs in. load: from its entry, the
    weights folder and the device.
    """

    feature_dim: int
    load: Callable[[AudioEncoderEntry, Path | None, str], AudioEncoder]
    dtype: Precision = FLOAT32


def load_audio_encoder(name: str, weights_dir: Path | None = None, device: str = "cpu") -> AudioEncoder:
    """The encoder called ``name``; ``BadInputError`` for an unknown one, else as ``load_network`` does."""
    entry = AUDIO_ENCODERS[name]
    return entry.load(entry, weights_dir, device)


def _load_log_mel(entry: AudioEncoderEntry, weights_dir: Path | None, device: str) -> AudioEncoder:
    from lipforcing_core.models.audio_encoders.log_mel import LogMelEncoder

    return LogMelEncoder()


def _load_wav2vec2(entry: AudioEncoderEntry, weights_dir: Path | None, device: str) -> AudioEncoder:
    from lipforcing_core.models.audio_encoders.wav2vec2 import load_wav2vec2
    from lipforcing_core.weights.registered import find_registered

    return load_wav2vec2(find_registered(entry, weights_dir), device, dtype=entry.dtype.on(device))


AUDIO_ENCODERS = Catalogue[AudioEncoderEntry](
    kind="audio encoder",
    entries=(
        AudioEncoderEntry(
            name="log-mel",
            summary="Log-mel energies in and around each video frame",
            feature_dim=320,
            load=_load_log_mel,
        ),
        AudioEncoderEntry(
            name="wav2vec2",
            summary="All hidden states of wav2vec2-base-960h, as the released models were trained with",
            weights=("wav2vec2-base-960h",),
            feature_dim=10_752,
            load=_load_wav2vec2,
        ),
    ),
)
