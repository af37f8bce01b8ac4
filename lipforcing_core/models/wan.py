"""The bidirectional Wan 2.1 transformer with OmniAvatar's audio branch (method A): teacher and critic.

Letters: B batch, C channels, T latent frames, H W latent height and width, P tokens of a latent frame (rows x
columns), S frames with their own noise level (T or 1), L text tokens, D width, N heads, E head width, A audio
projections.

State-dict names and shapes are those of the original Wan 2.1 release plus ``audio_proj.*`` and
``audio_cond_projs.*`` (method A.9), so official checkpoints load without a key map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.attention import attention
from lipforcing_core.models.conditions import Conditions, EncodedConditions, KeyValue, condition_channels
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.layers import AudioPack, Block, Head, time_sinusoid
from lipforcing_core.models.rope import RotaryTables, Rotation, rotate

Time = float | Tensor
"""Noise level t in 0..1 (1 = noise): one number, one per sample ``[B]``, or one per latent ``[B, T]``."""

LayerMixer = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""A ``layers.Mixer`` that is told the layer first."""


class WanTransformer(nn.Module):
    """Predicts the velocity of rectified flow, v = noise - x0, for all latents of a clip at once."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        if config.audio_dim is not None:
            self.audio_proj = AudioPack(config.audio_dim, config.audio_hidden)
            self.audio_cond_projs = nn.ModuleList(
                nn.Linear(config.audio_hidden, dim) for _ in range(config.num_audio_projections)
            )
        self.rope = RotaryTables(config.head_dim)

    def encode_conditions(
        self, cond: Conditions, *, starts_clip: bool = True, text_from: EncodedConditions | None = None
    ) -> EncodedConditions:
        """Everything that does not depend on the noise level; differentiable in the encoders' weights.

        ``starts_clip``: the conditions begin with latent 0 (audio has 4T-3 frames); otherwise they are a
        later chunk (4T frames). ``text_from``: reuse the encoded text of an earlier chunk instead of
        ``cond.text_BLD``. Raises ``BadInputError`` for missing or misshapen conditions.
        """
        config, dtype = self.config, self.patch_embedding.weight.dtype
        y = condition_channels(
            cond, latent_channels=config.out_channels, num_channels=config.condition_channels
        )
        if text_from is None:
            if cond.text_BLD.shape[1:] != (config.text_len, config.text_dim):
                raise BadInputError(
                    f"text_BLD is {list(cond.text_BLD.shape)}, expected [B, {config.text_len}, {config.text_dim}]: "
                    "pad it with conditions.pad_text"
                )
            context, text_kv = self.text_embedding(cond.text_BLD.to(dtype)), None
        else:
            context, text_kv = text_from.context_BLD, text_from.text_kv
        audio = None
        if config.audio_dim is not None:
            if cond.audio_BND is None or cond.audio_BND.shape[-1] != config.audio_dim:
                got = None if cond.audio_BND is None else list(cond.audio_BND.shape)
                raise BadInputError(f"audio_BND is {got}, expected [B, frames, {config.audio_dim}]")
            packed = self.audio_proj(cond.audio_BND.to(dtype), starts_clip=starts_clip)
            audio = torch.stack([project(packed) for project in self.audio_cond_projs], dim=1)
        lengths = {v.shape[2] for v in (y, audio) if v is not None}
        if len(lengths) > 1:
            raise BadInputError(f"pictures and audio cover different numbers of latents: {sorted(lengths)}")
        return EncodedConditions(y_BCTHW=y, context_BLD=context, audio_BPTD=audio, text_kv=text_kv)

    def cache_text(self, encoded: EncodedConditions) -> EncodedConditions:
        """The same conditions with the text's keys and values: once per clip instead of in every call."""
        return replace(
            encoded, text_kv=tuple(self._text_kv(layer, encoded) for layer in range(len(self.blocks)))
        )

    def forward(self, x_BCTHW: Tensor, t: Time, encoded: EncodedConditions) -> Tensor:
        """Velocity ``[B, out_channels, T, H, W]`` of the noisy latents ``x_BCTHW`` at noise level ``t``."""
        rotation = self.rope(range(x_BCTHW.shape[2]), *self._grid(x_BCTHW))
        return self._denoise(x_BCTHW, t, encoded, partial(_attend_all, rotation))

    def init_weights(self, generator: torch.Generator | int) -> WanTransformer:
        """Fresh weights for training from scratch; the same generator state (or seed) gives the same weights.

        Linear layers Xavier-uniform with zero bias, norms at one, text embedding normal(0.02), modulation
        normal / sqrt(dim) and a zero output layer, as in Wan 2.1. Two departures: the learned base of both
        gates is one, so that blocks begin as ordinary residual blocks, and the time embedding is
        Xavier-uniform too, so that a small model tells noise levels apart from the first step.
        """
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        _init_weights(self, generator)
        return self

    # Shared with the causal student

    def _denoise(self, x_BCTHW: Tensor, t: Time, encoded: EncodedConditions, mix: LayerMixer) -> Tensor:
        x_BTPD = self._embed(x_BCTHW, encoded)
        time_BSD, time_BS6D = self._embed_time(t, x_BTPD)
        for layer in range(len(self.blocks)):
            x_BTPD = self._run_block(layer, x_BTPD, time_BS6D, encoded, partial(mix, layer))
        return self._unpatchify(self.head(x_BTPD, time_BSD), *self._grid(x_BCTHW))

    def _run_block(
        self,
        layer: int,
        x_BTPD: Tensor,
        time_BS6D: Tensor,
        encoded: EncodedConditions,
        mix: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        x_BTPD = self._add_audio(layer, x_BTPD, encoded)
        text = encoded.context_BLD if encoded.text_kv is None else encoded.text_kv[layer]
        out_BTPD: Tensor = self.blocks[layer](x_BTPD, time_BS6D, text, mix)
        return out_BTPD

    def _add_audio(self, layer: int, x_BTPD: Tensor, encoded: EncodedConditions) -> Tensor:
        index = self.config.audio_index(layer)
        if index is None or encoded.audio_BPTD is None:
            return x_BTPD
        return x_BTPD + encoded.audio_BPTD[:, index, :, None]

    def _text_kv(self, layer: int, encoded: EncodedConditions) -> KeyValue:
        block = self.blocks[layer]
        assert isinstance(block, Block)
        return block.cross_attn.keys_values(encoded.context_BLD)

    def _grid(self, x_BCTHW: Tensor) -> tuple[int, int]:
        return self.config.token_grid(x_BCTHW.shape[-2], x_BCTHW.shape[-1])

    def _embed(self, x_BCTHW: Tensor, encoded: EncodedConditions) -> Tensor:
        """Tokens ``[B, T, P, D]``: a convolution whose stride is its size, as one matrix product."""
        if encoded.num_latents not in (None, x_BCTHW.shape[2]):
            raise BadInputError(
                f"{x_BCTHW.shape[2]} noisy latents but conditions for {encoded.num_latents}: slice them with chunk()"
            )
        weight = self.patch_embedding.weight
        x = x_BCTHW.to(weight.dtype)
        if encoded.y_BCTHW is not None:
            x = torch.cat([x, encoded.y_BCTHW.to(weight.dtype)], dim=1)
        _, patch_h, patch_w = self.config.patch_size
        columns = torch.unflatten(x, 4, (-1, patch_w))
        patches = torch.unflatten(columns, 3, (-1, patch_h))  # B C T row ph column pw
        patches_BTPK = patches.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(2, 3)
        return F.linear(patches_BTPK, weight.flatten(1), self.patch_embedding.bias)

    def _embed_time(self, t: Time, like: Tensor) -> tuple[Tensor, Tensor]:
        """Time embedding ``[B or 1, S, D]`` and its six modulation vectors ``[B or 1, S, 6, D]``."""
        if not isinstance(t, Tensor):
            t = torch.full((1,), t, dtype=torch.float64, device=like.device)
        t_BS = t.double() if t.ndim == 2 else t.double().reshape(-1, 1)
        batch, num_latents = like.shape[:2]
        if t_BS.shape[0] not in (1, batch) or t_BS.shape[1] not in (1, num_latents):
            raise BadInputError(
                f"t is {list(t.shape)}, expected a number, [{batch}] or [{batch}, {num_latents}]"
            )
        sinusoid = time_sinusoid(1000.0 * t_BS, self.config.freq_dim)
        time_BSD = self.time_embedding(sinusoid.to(like.dtype))
        return time_BSD, self.time_projection(time_BSD).unflatten(-1, (6, -1))

    def _unpatchify(self, patches_BTPK: Tensor, rows: int, columns: int) -> Tensor:
        """Token outputs ordered (row, column, channel), channel fastest, to ``[B, C, T, H, W]``."""
        _, patch_h, patch_w = self.config.patch_size
        split_BTPK = torch.unflatten(patches_BTPK, 3, (patch_h, patch_w, -1))
        grid = torch.unflatten(split_BTPK, 2, (rows, columns))
        return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def _attend_all(rotation: Rotation, _layer: int, q_BTPNE: Tensor, k_BTPNE: Tensor, v_BTPNE: Tensor) -> Tensor:
    """Every token sees every token of the clip."""
    q, k = rotate(q_BTPNE, rotation), rotate(k_BTPNE, rotation)
    return attention(q.flatten(1, 2), k.flatten(1, 2), v_BTPNE.flatten(1, 2)).view_as(q)


@torch.no_grad()
def _init_weights(model: WanTransformer, generator: torch.Generator) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            weight = module.weight.view(module.weight.shape[0], -1)
            if name.startswith("text_embedding"):
                nn.init.normal_(weight, std=0.02, generator=generator)
            elif name == "head.head":
                nn.init.zeros_(weight)
            else:
                nn.init.xavier_uniform_(weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Block | Head):
            nn.init.normal_(module.modulation, std=model.config.dim**-0.5, generator=generator)
            if isinstance(module, Block):
                module.modulation[:, [2, 5]] = 1.0
