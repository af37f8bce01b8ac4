"""What a video is generated from: before (``Conditions``) and after (``EncodedConditions``) encoding.

Letters: B batch, C latent channels, T latent frames, N video frames (N = 4T-3), H W latent height and width,
L text tokens, D width, P audio projections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError

KeyValue = tuple[Tensor, Tensor]

V = TypeVar("V")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Inputs of one batch of clips or chunks (method A.3); a field the model does not use stays ``None``.

    text_BLD: text features ``[B, text_len, text_dim]``, zero beyond the prompt (see ``pad_text``); batch 1
        is shared by all samples.
    audio_BND: audio features per video frame.
    reference_BC1HW: one clean latent of the person.
    keep_mask_HW: ``[H, W]``, one per sample ``[B, H, W]``, or one per latent ``[B, T, H, W]``; file
        convention, 1 = keep, 0 = generate.
    masked_video_BCTHW: latents of the video with the mouth blanked.
    reference_sequence_BCTHW: latents of the same person, elsewhere or unmasked (method D.2).
    """

    text_BLD: Tensor
    audio_BND: Tensor | None = None
    reference_BC1HW: Tensor | None = None
    keep_mask_HW: Tensor | None = None
    masked_video_BCTHW: Tensor | None = None
    reference_sequence_BCTHW: Tensor | None = None

    def null(self, negative_text_BLD: Tensor) -> Conditions:
        """The unconditional side of guidance: negative text and zero audio together; pictures stay (D.5).

        ``negative_text_BLD`` is the embedding of the empty string, batch 1 or B.
        """
        return replace(
            self,
            text_BLD=negative_text_BLD.to(self.text_BLD),
            audio_BND=_map(torch.zeros_like, self.audio_BND),
        )


@dataclass(frozen=True, kw_only=True)
class EncodedConditions:
    """Conditions after everything that does not depend on the noise level: computed once, used by every call.

    y_BCTHW: condition channels in input order, ``[B, 49, T, H, W]`` of the 65-channel model; ``None``: text to video.
    context_BLD: text after the text MLP, ``[B, text_len, dim]``, or batch 1 for one text shared by all samples.
    audio_BPTD: audio to add to every token of a latent, one slice per injected block; ``None`` without audio.
    text_kv: per block, keys and values of the text (``WanTransformer.cache_text``); ``None``: made in each call.
    """

    y_BCTHW: Tensor | None
    context_BLD: Tensor
    audio_BPTD: Tensor | None
    text_kv: tuple[KeyValue, ...] | None = None

    @property
    def num_latents(self) -> int | None:
        """T, where anything here depends on time."""
        if self.y_BCTHW is not None:
            return self.y_BCTHW.shape[2]
        return None if self.audio_BPTD is None else self.audio_BPTD.shape[2]

    def chunk(self, start: int, stop: int) -> EncodedConditions:
        """Latents ``[start, stop)``; the text is shared. Views, no copies."""
        return replace(
            self,
            y_BCTHW=_map(lambda y: y[:, :, start:stop], self.y_BCTHW),
            audio_BPTD=_map(lambda a: a[:, :, start:stop], self.audio_BPTD),
        )

    def select(self, samples: Sequence[int] | Tensor) -> EncodedConditions:
        """Only the given samples of the batch, in that order."""
        index = torch.as_tensor(samples, dtype=torch.long, device=self.context_BLD.device)
        return replace(
            self,
            y_BCTHW=_map(lambda y: y[index], self.y_BCTHW),
            context_BLD=_pick(self.context_BLD, index),
            audio_BPTD=_map(lambda a: a[index], self.audio_BPTD),
            text_kv=_map(lambda kv: tuple((_pick(k, index), _pick(v, index)) for k, v in kv), self.text_kv),
        )


def pad_text(text_BLD: Tensor, text_len: int) -> Tensor:
    """Zero rows up to ``text_len``, which the model attends to like any other (no key mask, A.2.4)."""
    missing = text_len - text_BLD.shape[1]
    if missing < 0:
        raise BadInputError(
            f"{text_BLD.shape[1]} text tokens do not fit into text_len={text_len}: shorten the text"
        )
    return torch.nn.functional.pad(text_BLD, (0, 0, 0, missing))


def condition_channels(cond: Conditions, *, latent_channels: int, num_channels: int) -> Tensor | None:
    """The channels after the noisy latent, in checkpoint order: reference, mask, masked video, reference sequence.

    ``num_channels`` (0, C+1, 2C+1 or 3C+1) says how many of them the model takes. The mask channel is
    inverted (1 = generate). Returns ``[B, num_channels, T, H, W]`` or ``None`` for 0 channels. Raises
    ``BadInputError`` naming the first missing or misshapen condition.
    """
    if num_channels == 0:
        return None
    reference = _require(cond.reference_BC1HW, "reference_BC1HW")
    keep_mask = _require(cond.keep_mask_HW, "keep_mask_HW")
    masked = _require(cond.masked_video_BCTHW, "masked_video_BCTHW")
    batch, _, num_latents, height, width = masked.shape
    video_shape = (batch, latent_channels, num_latents, height, width)
    _check_shape("masked_video_BCTHW", masked, video_shape)
    _check_shape("reference_BC1HW", reference, (batch, latent_channels, 1, height, width))
    if keep_mask.shape in ((height, width), (batch, height, width)):
        keep_mask = keep_mask.expand(batch, height, width)[:, None].expand(batch, num_latents, height, width)
    _check_shape("keep_mask_HW", keep_mask, (batch, num_latents, height, width))
    generate = 1 - keep_mask.to(masked)
    parts = [reference.expand(video_shape), generate[:, None], masked]
    if num_channels > 2 * latent_channels + 1:
        sequence = _require(cond.reference_sequence_BCTHW, "reference_sequence_BCTHW")
        _check_shape("reference_sequence_BCTHW", sequence, video_shape)
        parts.append(sequence)
    return torch.cat(parts, dim=1)


def _require(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise BadInputError(f"this model needs the condition {name}, which was not given")
    return value


def _check_shape(name: str, value: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(value.shape) != expected:
        raise BadInputError(f"{name} is {list(value.shape)}, expected {list(expected)}")


def _pick(text: Tensor, index: Tensor) -> Tensor:
    return text if text.shape[0] == 1 else text[index]


def _map(function: Callable[[V], R], value: V | None) -> R | None:
    return None if value is None else function(value)
