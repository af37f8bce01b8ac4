"""The UMT5-XXL text encoder of Wan 2.1 (method A.8): a prompt to the rows that cross-attention reads.

Letters: B batch, L tokens, D width, N heads, E head width, K buckets of relative positions.

The network is written out here and not taken from transformers, for it is short and is then the one of the
checkpoint: same names without a map, no second copy of the embedding, and Wan's types (its weights are
bfloat16, softmax and the statistics of the norms are float32). Files in the naming of transformers load through
``weights.keymaps.umt5_key``. XXL has 5.68 billion weights, 11.4 GB in bfloat16: build it on the meta device and
assign the file's tensors. Use bfloat16 or float32: in float16 the residual stream of T5 models overflows, which Wan
clamps and this code does not.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.models.layers import RMSNorm
from lipforcing_core.weights.registered import RegisteredNetwork

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_ID = 1
PAD_ID = 0


@dataclass(frozen=True, kw_only=True)
class UMT5Config:
    """Size of the encoder; ``dim_attn`` is the width of all heads together. Raises ``BadInputError``."""

    vocab_size: int
    dim: int
    dim_attn: int
    dim_ffn: int
    num_heads: int
    num_layers: int
    num_buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.dim_attn % self.num_heads:
            raise BadInputError(f"dim_attn={self.dim_attn} must be a multiple of num_heads={self.num_heads}")
        if not 1 <= self.num_buckets // 4 < self.max_distance:
            raise BadInputError(
                f"num_buckets={self.num_buckets} must be at least 4, and a quarter of it less than "
                f"max_distance={self.max_distance}"
            )


UMT5_XXL = UMT5Config(
    vocab_size=256_384, dim=4096, dim_attn=4096, dim_ffn=10_240, num_heads=64, num_layers=24
)


class UMT5Network(nn.Module):
    """Token ids to prompt embeddings. Attribute names follow ``models_t5_umt5-xxl-enc-bf16.pth``."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList([_Block(config) for _ in range(config.num_layers)])
        self.norm = RMSNorm(config.dim, config.eps)

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """``[B, L, dim]`` in the type of the weights, zero where the mask is.

        ids_BL: int64. mask_BL: 1 or True for tokens, 0 for padding, which no token attends to.
        """
        valid_BL = mask_BL.bool()
        buckets_LL = position_buckets(
            ids_BL.shape[1], self.config.num_buckets, self.config.max_distance, ids_BL.device
        )
        x_BLD = self.token_embedding(ids_BL)
        for block in self.blocks:
            x_BLD = block(x_BLD, valid_BL, buckets_LL)
        features_BLD: Tensor = self.norm(x_BLD).masked_fill(~valid_BL[..., None], 0.0)
        return features_BLD


class _Block(nn.Module):
    """Self-attention and feed-forward, each on the normed stream; every block has its own position table."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.dim, config.eps)
        self.attn = _Attention(config)
        self.norm2 = RMSNorm(config.dim, config.eps)
        self.ffn = _FeedForward(config)
        self.pos_embedding = _PositionBias(config)

    def forward(self, x_BLD: Tensor, valid_BL: Tensor, buckets_LL: Tensor) -> Tensor:
        bias_1NLL = self.pos_embedding(buckets_LL)
        bias_BNLL = bias_1NLL.masked_fill(~valid_BL[:, None, None], -torch.inf)
        x_BLD = x_BLD + self.attn(self.norm1(x_BLD), bias_BNLL)
        out_BLD: Tensor = x_BLD + self.ffn(self.norm2(x_BLD))
        return out_BLD


class _Attention(nn.Module):
    """softmax(q k^T + bias) v: T5 does not divide by sqrt(E), which its initial weights take care of."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.k = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.v = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.o = nn.Linear(config.dim_attn, config.dim, bias=False)

    def forward(self, x_BLD: Tensor, bias_BNLL: Tensor) -> Tensor:
        q_BNLE, k_BNLE, v_BNLE = (
            part(x_BLD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        out_BNLE = F.scaled_dot_product_attention(q_BNLE, k_BNLE, v_BNLE, attn_mask=bias_BNLL, scale=1.0)
        attended_BLD: Tensor = self.o(out_BNLE.transpose(1, 2).flatten(2))
        return attended_BLD


class _FeedForward(nn.Module):
    """GELU-gated: fc2(fc1(x) * gelu(gate(x))), with the tanh form of GELU."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(config.dim, config.dim_ffn, bias=False), nn.GELU(approximate="tanh")
        )
        self.fc1 = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        out_BLD: Tensor = self.fc2(self.fc1(x_BLD) * self.gate(x_BLD))
        return out_BLD


class _PositionBias(nn.Module):
    """What each head adds to its scores, by bucket of relative position."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.num_buckets, config.num_heads)

    def forward(self, buckets_LL: Tensor) -> Tensor:
        bias_1NLL: Tensor = self.embedding(buckets_LL).permute(2, 0, 1)[None]
        return bias_1NLL


def position_buckets(length: int, num_buckets: int, max_distance: int, device: torch.device) -> Tensor:
    """``[L, L]`` int64: the bucket of every query (row) and key (column)."""
    positions_L = torch.arange(length, device=device)
    return relative_bucket(positions_L[None, :] - positions_L[:, None], num_buckets, max_distance)


def relative_bucket(key_minus_query: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Buckets 0 to num_buckets - 1 of int64 offsets (T5, Raffel et al. 2020, section 2.1; both directions).

    The upper half of the buckets is for keys after the query. In each half the first half are single
    distances and the others grow in proportion to the distance, up to ``max_distance``, beyond which all share
    the last. The logarithm is float32, as in the original.
    """
    per_side = num_buckets // 2
    num_exact = per_side // 2
    distance = key_minus_query.abs()
    ratio = torch.log(distance.clamp(min=num_exact).float() / num_exact) / math.log(max_distance / num_exact)
    coarse = (num_exact + (ratio * (per_side - num_exact)).long()).clamp(max=per_side - 1)
    return torch.where(distance < num_exact, distance, coarse) + per_side * (key_minus_query > 0)


class UMT5Encoder:
    """``UMT5Network`` with its tokeniser as the project's text encoder."""

    def __init__(
        self, network: UMT5Network, tokenizer: Tokenizer, *, backend_id: str, text_len: int = 512
    ) -> None:
        """``tokenizer`` is that of ``load_tokenizer``; its truncation is set to ``text_len``.

        Raises ``IncompatibleCheckpointError`` if the tokeniser has more tokens than the network.
        """
        if text_len < 1:
            raise BadInputError(f"text_len must be positive; got {text_len}")
        if tokenizer.get_vocab_size() > network.config.vocab_size:
            raise IncompatibleCheckpointError(
                f"the tokeniser has {tokenizer.get_vocab_size()} tokens, the text encoder "
                f"{network.config.vocab_size}: they do not belong together"
            )
        self._network = network.eval()
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(text_len)
        self.backend_id = backend_id
        self.text_len, self.text_dim = text_len, network.config.dim

    @torch.no_grad()  # and not inference mode: training passes the result through layers that learn
    def encode(self, prompts: list[str]) -> Tensor:
        """Features ``[B, text_len, text_dim]`` float32, zero beyond each prompt's end token.

        Prompts that are too long lose their last tokens, but not the end token. The network runs at the length
        of the longest prompt, which changes nothing: no token attends to padding.
        """
        out_BLD = torch.zeros(len(prompts), self.text_len, self.text_dim)
        if not prompts:
            return out_BLD
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch([clean_prompt(p) for p in prompts])]
        longest = max(len(row) for row in rows)
        ids_BL = torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in rows])
        mask_BL = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        device = self._network.token_embedding.weight.device
        out_BLD[:, :longest] = self._network(ids_BL.to(device), mask_BL.to(device)).float().cpu()
        return out_BLD


def load_umt5(
    registered: RegisteredNetwork, device: str, *, dtype: torch.dtype, text_len: int
) -> UMT5Encoder:
    """The encoder of a registered checkpoint of UMT5-XXL, with the tokenizer beside it."""
    (tokenizer,) = registered.other_files
    network = registered.build(lambda: UMT5Network(UMT5_XXL), dtype=dtype, device=device)
    return UMT5Encoder(
        network, load_tokenizer(tokenizer), backend_id=registered.backend_id, text_len=text_len
    )


def clean_prompt(prompt: str) -> str:
    """What Wan does to a prompt: mend its encoding (ftfy), undo HTML escapes twice, collapse white space."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokeniser in a ``tokenizer.json`` of ``google/umt5-xxl``, which Wan ships beside its weights; no padding.

    Raises ``MissingWeightsError`` without the file, and ``IncompatibleCheckpointError`` for one that is not a
    tokeniser or does not close a prompt with UMT5's end token.
    """
    if not path.is_file():
        raise MissingWeightsError(
            f"{path}: no such tokeniser. Get tokenizer.json of google/umt5-xxl (Apache-2.0) from "
            "https://huggingface.co/google/umt5-xxl, or from the folder of that name beside Wan 2.1's weights."
        )
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise IncompatibleCheckpointError(f"{path}: not a tokeniser ({error})") from error
    tokenizer.no_padding()
    if tokenizer.encode("a").ids[-1:] != [END_ID]:
        raise IncompatibleCheckpointError(f"{path}: not UMT5's tokeniser (no end token, id {END_ID})")
    return tokenizer
