"""UMT5: agreement with transformers, padding, prompts, and a tokeniser file of a few words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.models.text_encoders.umt5 import (
    END_ID,
    UMT5Config,
    UMT5Encoder,
    UMT5Network,
    clean_prompt,
    load_tokenizer,
    position_buckets,
    relative_bucket,
)
from lipforcing_core.weights.keymaps import umt5_key

TINY = UMT5Config(
    vocab_size=16, dim=12, dim_attn=16, dim_ffn=20, num_heads=2, num_layers=3, num_buckets=8, max_distance=10
)
WORDS = ("<pad>", "</s>", "<unk>", "a", "person", "talking", "singing")


@pytest.fixture(scope="module")
def network() -> UMT5Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UMT5Network(TINY).eval()


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer.json", end_token=True)


def write_tokenizer(path: Path, *, end_token: bool) -> Path:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if end_token:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", END_ID)]
        )
    tokenizer.enable_padding(length=9)  # as saved by some; the encoder pads by itself
    tokenizer.save(str(path))
    return path


@pytest.fixture
def encoder(network: UMT5Network, tokenizer_file: Path) -> UMT5Encoder:
    return UMT5Encoder(network, load_tokenizer(tokenizer_file), backend_id="umt5-tiny@test", text_len=6)


@torch.no_grad()
def test_agrees_with_transformers() -> None:
    """transformers fixes the width of heads and keeps its own code of the buckets."""
    ensure_torchvision()
    import transformers

    config = transformers.UMT5Config(
        vocab_size=16, d_model=12, d_kv=8, d_ff=20, num_heads=2, num_layers=3, dropout_rate=0.0
    )
    theirs = transformers.UMT5EncoderModel(config).eval()
    renamed = [(umt5_key(name), value) for name, value in theirs.state_dict().items()]
    state = {name: value for name, value in renamed if name is not None}
    mine = UMT5Network(UMT5Config(vocab_size=16, dim=12, dim_attn=16, dim_ffn=20, num_heads=2, num_layers=3))
    mine.load_state_dict(state)
    ids, mask = random_ids(2, 150), torch.ones(2, 150, dtype=torch.int64)
    mask[1, 40:] = 0
    want = theirs(ids, attention_mask=mask).last_hidden_state * mask[..., None]
    torch.testing.assert_close(mine(ids, mask), want, rtol=0, atol=1e-4)


def random_ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(2, 16, (batch, length), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_padding_does_not_leak(network: UMT5Network) -> None:
    ids = random_ids(2, 9)
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    padded = network(ids, mask)
    assert not padded[1, 4:].any()
    torch.testing.assert_close(padded[1:, :4], network(ids[1:, :4], mask[1:, :4]))
    other = ids.clone()
    other[1, 4:] = 3
    assert torch.equal(network(other, mask), padded)


@torch.no_grad()
def test_batches_equal_singles(network: UMT5Network) -> None:
    ids, mask = random_ids(3, 7), torch.ones(3, 7, dtype=torch.int64)
    together = network(ids, mask)
    for index in range(3):
        torch.testing.assert_close(together[index : index + 1], network(ids[index : index + 1], mask[:1]))


def test_buckets_by_hand() -> None:
    """8 buckets to distance 10, 4 a side: 0 and 1 by themselves, then 2 + floor(2 ln(d/2) / ln 5), at most 3."""
    offsets = torch.tensor([0, -1, -2, -4, -5, -10, -99, 1, 2, 5])
    assert relative_bucket(offsets, 8, 10).tolist() == [0, 1, 2, 2, 3, 3, 3, 5, 6, 7]
    buckets = position_buckets(12, 8, 10, torch.device("cpu"))
    assert buckets[3].tolist() == relative_bucket(torch.arange(12) - 3, 8, 10).tolist()


@torch.no_grad()
def test_bfloat16_on_meta_then_filled(network: UMT5Network) -> None:
    with torch.device("meta"):
        empty = UMT5Network(TINY)
    state = {name: value.bfloat16() for name, value in network.state_dict().items()}
    empty.load_state_dict(state, assign=True)
    ids, mask = random_ids(1, 6), torch.ones(1, 6, dtype=torch.int64)
    got = empty(ids, mask)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), network(ids, mask), rtol=0.1, atol=0.1)


def test_prompts_end_with_the_end_token_and_zeros(encoder: UMT5Encoder, network: UMT5Network) -> None:
    features = encoder.encode(["a person talking", ""])
    assert features.shape == (2, 6, 12) == (2, encoder.text_len, encoder.text_dim)
    assert features.dtype == torch.float32
    assert features.abs().sum(dim=2).gt(0).sum(dim=1).tolist() == [4, 1]
    with torch.no_grad():
        want = network(torch.tensor([[3, 4, 5, END_ID]]), torch.ones(1, 4))
    torch.testing.assert_close(features[:1, :4], want)
    torch.testing.assert_close(encoder.encode([""])[0], features[1])
    assert encoder.encode([]).shape == (0, 6, 12)


def test_long_prompts_keep_their_end(encoder: UMT5Encoder) -> None:
    long, short = encoder.encode(["a person talking a person talking", "a person talking a person"])
    torch.testing.assert_close(long, short)
    assert long.abs().sum(dim=1).gt(0).all()


def test_the_result_can_feed_layers_that_learn(encoder: UMT5Encoder) -> None:
    layer = torch.nn.Linear(12, 3)
    layer(encoder.encode(["a person"])).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize(
    ("prompt", "clean"),
    [
        ("  a\tperson \n\n talking ", "a person talking"),
        ("rock &amp;amp; roll", "rock & roll"),
        ("1 < 2 &amp;amp; 3", "1 < 2 & 3"),  # where ftfy takes the text for HTML and leaves it alone
        ("caf\u00c3\u00a9", "caf\u00e9"),  # UTF-8 read as Latin-1
        ("a&nbsp;person\u3000talking", "a person talking"),
        ("", ""),
    ],
)
def test_prompts_are_cleaned(prompt: str, clean: str) -> None:
    assert clean_prompt(prompt) == clean


def test_encoding_cleans(encoder: UMT5Encoder) -> None:
    untidy, tidy = (encoder.encode([prompt]) for prompt in (" a \n person&#32;talking", "a person talking"))
    assert torch.equal(untidy, tidy)


def test_refuses_wrong_tokenisers(network: UMT5Network, tmp_path: Path, tokenizer_file: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"google/umt5-xxl"):
        load_tokenizer(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(IncompatibleCheckpointError, match="not a tokeniser"):
        load_tokenizer(tmp_path / "broken.json")
    endless = write_tokenizer(tmp_path / "endless.json", end_token=False)
    with pytest.raises(IncompatibleCheckpointError, match="end token"):
        load_tokenizer(endless)
    small = UMT5Network(UMT5Config(vocab_size=4, dim=4, dim_attn=4, dim_ffn=4, num_heads=1, num_layers=1))
    with pytest.raises(IncompatibleCheckpointError, match="7 tokens"):
        UMT5Encoder(small, load_tokenizer(tokenizer_file), backend_id="x")
    with pytest.raises(BadInputError, match="positive"):
        UMT5Encoder(network, load_tokenizer(tokenizer_file), backend_id="x", text_len=0)


def test_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(BadInputError, match="dim_attn"):
        UMT5Config(vocab_size=4, dim=4, dim_attn=5, dim_ffn=4, num_heads=2, num_layers=1)
    with pytest.raises(BadInputError, match="num_buckets"):
        UMT5Config(vocab_size=4, dim=4, dim_attn=4, dim_ffn=4, num_heads=2, num_layers=1, num_buckets=3)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("blocks.3.ffn.gate.0.weight", "blocks.3.ffn.gate.0.weight"),
        ("encoder.block.11.layer.1.DenseReluDense.wi_0.weight", "blocks.11.ffn.gate.0.weight"),
        ("shared.weight", "token_embedding.weight"),
        ("encoder.embed_tokens.weight", None),
        ("decoder.block.0.layer.0.SelfAttention.q.weight", "decoder.block.0.layer.0.SelfAttention.q.weight"),
        ("encoder.block.0.layer.2.odd.weight", "encoder.block.0.layer.2.odd.weight"),
    ],
)
def test_key_map(name: str, ours: str | None) -> None:
    assert umt5_key(name) == ours
