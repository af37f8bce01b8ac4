"""The text encoders: which there are, what each needs, and how wide its rows are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.models.precision import BFLOAT16, FLOAT32, Precision

if TYPE_CHECKING:
    from lipforcing_core.models.text_encoders.protocol import TextEncoder


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """What the transformer takes: ``text_len`` rows of width ``text_dim`` for every prompt."""

    text_len: int
    text_dim: int


@dataclass(frozen=True, kw_only=True)
class TextEncoderEntry(Entry):
    """One text encoder.

    text_dim: the width of its rows; None where it takes any. dtype: the type it runs in. load: from its entry, the
    shape that is asked for, the weights folder and the device.
    """

    text_dim: int | None
    load: Callable[[TextEncoderEntry, TextShape, Path | None, str], TextEncoder]
    dtype: Precision = FLOAT32


def load_text_encoder(
    name: str, shape: TextShape, weights_dir: Path | None = None, device: str = "cpu"
) -> TextEncoder:
    """The encoder called ``name``; ``BadInputError`` for an unknown one, else as ``load_network`` does."""
    entry = TEXT_ENCODERS[name]
    return entry.load(entry, shape, weights_dir, device)


def _load_hash(
    entry: TextEncoderEntry, shape: TextShape, weights_dir: Path | None, device: str
) -> TextEncoder:
    from lipforcing_core.models.text_encoders.hashed import HashTextEncoder

    return HashTextEncoder(text_len=shape.text_len, text_dim=shape.text_dim)


def _load_umt5(
    entry: TextEncoderEntry, shape: TextShape, weights_dir: Path | None, device: str
) -> TextEncoder:
    from lipforcing_core.models.text_encoders.umt5 import load_umt5
    from lipforcing_core.weights.registered import find_registered

    return load_umt5(
        find_registered(entry, weights_dir), device, dtype=entry.dtype.on(device), text_len=shape.text_len
    )


TEXT_ENCODERS = Catalogue[TextEncoderEntry](
    kind="text encoder",
    entries=(
        TextEncoderEntry(
            name="hash",
            summary="A fixed random direction for every word: tells prompts apart, knows no language",
            text_dim=None,
            load=_load_hash,
        ),
        TextEncoderEntry(
            name="umt5",
            summary="UMT5-XXL, the text encoder of Wan 2.1",
            weights=("umt5-xxl",),
            text_dim=4096,
            load=_load_umt5,
            dtype=BFLOAT16,
        ),
    ),
)
