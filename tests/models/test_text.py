"""Hash embeddings: unit rows for words, an end token, zeros beyond."""

from __future__ import annotations

import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.text_encoders.hashed import HashTextEncoder


def test_rows_are_unit_then_zero() -> None:
    text = HashTextEncoder(text_len=8, text_dim=32).encode(["a person talking"])
    torch.testing.assert_close(text[0].norm(dim=1), torch.tensor([1.0] * 4 + [0.0] * 4))


def test_the_empty_prompt_is_an_embedding_of_its_own() -> None:
    encoder = HashTextEncoder(text_len=4, text_dim=16)
    empty, word = encoder.encode(["", "person"])
    assert empty[0].norm() == pytest.approx(1)
    assert torch.equal(empty[0], word[1])  # the end token
    assert not torch.equal(empty, word)


def test_words_are_the_same_everywhere() -> None:
    first = HashTextEncoder(text_len=4, text_dim=16).encode(["Person  talking"])
    again = HashTextEncoder(text_len=4, text_dim=16).encode(["x", "person talking"])
    assert torch.equal(first[0], again[1])
    assert not torch.equal(first[0, 0], first[0, 1])


def test_long_prompts_keep_their_end() -> None:
    encoder = HashTextEncoder(text_len=3, text_dim=16)
    long, short = encoder.encode(["one two three four", "one two"])
    assert torch.equal(long, short)


def test_refuses_empty_sizes() -> None:
    with pytest.raises(BadInputError, match="positive"):
        HashTextEncoder(text_len=0, text_dim=16)
