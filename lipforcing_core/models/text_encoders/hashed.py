"""The embedded text encoder: a fixed random direction for each word, and no knowledge of language.

That is enough for the few prompts in use to be told apart, and for the empty prompt to have its own embedding.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.text_encoders.protocol import END_TOKEN


class HashTextEncoder:
    """Every lower-case word becomes a Gaussian direction of unit length, seeded by the word's SHA-256.

    Each prompt ends with an end token, so the empty prompt is one row that is not zero; rows beyond are zero, as with
    UMT5 (the transformer attends to them all the same). Prompts that are too long lose their last words.
    """

    def __init__(self, *, text_len: int, text_dim: int) -> None:
        if text_len < 1 or text_dim < 1:
            raise BadInputError(f"text_len and text_dim must be positive; got {text_len} and {text_dim}")
        self.text_len, self.text_dim = text_len, text_dim
        self.backend_id = f"hash-text-v1@{text_len}x{text_dim}"

    def encode(self, prompts: list[str]) -> Tensor:
        """Features ``[B, text_len, text_dim]`` of the prompts."""
        out = torch.zeros(len(prompts), self.text_len, self.text_dim)
        for row, prompt in zip(out, prompts, strict=True):
            tokens = [*prompt.lower().split()[: self.text_len - 1], END_TOKEN]
            for index, token in enumerate(tokens):
                row[index] = self._direction(token)
        return out

    def _direction(self, token: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(token.encode("utf-8")).digest()[:8], "big", signed=True)
        vector = torch.randn(self.text_dim, generator=torch.Generator().manual_seed(seed))
        direction: Tensor = vector / vector.norm()
        return direction
