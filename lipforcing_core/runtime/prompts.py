"""The encoded prompts of a preset."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipforcing_core.models.text_encoders.protocol import TextEncoder


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Encoded prompt and negative prompt (the empty string), each ``[1, text_len, text_dim]``."""

    text_BLD: Tensor
    negative_text_BLD: Tensor


def encode_prompts(encoder: TextEncoder, prompt: str) -> Prompts:
    """The prompt of the preset beside the empty string, which stands for "no text" (H.1)."""
    text = encoder.encode([prompt, ""])
    return Prompts(text_BLD=text[:1], negative_text_BLD=text[1:])
