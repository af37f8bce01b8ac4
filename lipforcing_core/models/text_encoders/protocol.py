"""What a text encoder is: a prompt to the rows that cross-attention reads."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

END_TOKEN = "</s>"


class TextEncoder(Protocol):
    """What the rest of the project asks of a text encoder."""

    backend_id: str
    text_len: int
    text_dim: int

    def encode(self, prompts: list[str]) -> Tensor:
        """Features ``[B, text_len, text_dim]`` float32, zero beyond each prompt's length."""
        ...
