"""OmniAvatar's audio features: every state of a wav2vec2 transformer, one vector per video frame (method A.5).

Letters: B batch, S samples at 16 kHz, U steps of the convolutions (one per 20 ms), N video frames at 25 fps,
C channels of the convolutions, D width of the transformer, L its layers.

The network is the ``Wav2Vec2Model`` of transformers with one step put between its parts: the output of the
convolutions is interpolated to the video's 25 Hz before it is projected, so the transformer runs at 25 Hz.
Names of weights are those of the official files after ``weights.keymaps.wav2vec2_key``.

Type: float32. Attention is eager, as in OmniAvatar. Everything needs the whole clip (a mean and a group norm over
time, attention between all frames), so a clip is run at once: memory grows with its length in the convolutions
(some 20 MB per second of sound for the base model) and with the square of it in the attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.weights.registered import RegisteredNetwork

if TYPE_CHECKING:
    from transformers import Wav2Vec2Config

_VARIANCE_FLOOR = 1e-7


def base_960h_config() -> Wav2Vec2Config:
    """The size of ``facebook/wav2vec2-base-960h``: 94.4 million weights, 14 x 768 = 10752 features."""
    ensure_torchvision()
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        do_stable_layer_norm=False,
        conv_dim=(512,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        conv_bias=False,
        feat_extract_norm="group",
        feat_extract_activation="gelu",
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
        mask_time_prob=0.05,  # unused here, but the official files hold the mask vector of training
    )


class Wav2Vec2Features(nn.Module):
    """Normalised sound to features per video frame. Build it on the meta device to fill it from a file."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        ensure_torchvision()
        from transformers import Wav2Vec2Model

        self.feature_dim = (config.num_hidden_layers + 2) * config.hidden_size
        self.model = Wav2Vec2Model(config)
        self.model.set_attn_implementation("eager")

    def forward(self, waveform_BS: Tensor, num_frames: int) -> Tensor:
        """Features ``[B, N, (L + 2) D]`` of normalised, padded sound, for N = ``num_frames``.

        Along channels: the last state, then state 0 (the transformer's input) to state L. The last state and
        state L are the same, so the final D channels repeat the first.
        """
        x_BNC = interpolate(self.conv_features(waveform_BS), num_frames)
        states = self.hidden_states(x_BNC)
        return torch.cat([states[-1], *states], dim=-1)

    def conv_features(self, waveform_BS: Tensor) -> Tensor:
        """``[B, S]`` -> ``[B, U, C]``; S is at least 400 (25 ms)."""
        features_BUC: Tensor = self.model.feature_extractor(waveform_BS).transpose(1, 2)
        return features_BUC

    def hidden_states(self, x_BNC: Tensor) -> list[Tensor]:
        """The L + 1 states ``[B, N, D]`` of the transformer: its input, then the output of every layer.

        Files with ``do_stable_layer_norm`` (the large models) norm the last output in place of the input.
        """
        encoder, norm_last = self.model.encoder, self.model.config.do_stable_layer_norm
        x_BND, _ = self.model.feature_projection(x_BNC)
        x_BND = x_BND + encoder.pos_conv_embed(x_BND)
        states = [x_BND if norm_last else encoder.layer_norm(x_BND)]
        for layer in encoder.layers:
            states.append(layer(states[-1]))
        if norm_last:
            states[-1] = encoder.layer_norm(states[-1])
        return states


class Wav2Vec2Encoder:
    """``Wav2Vec2Features`` as the project's audio encoder; ``network`` is filled with float32 weights.

    ``lookahead_s`` is infinite: every frame listens to the whole clip. To serve chunk after chunk without
    running the transformer for each, ``encode_range`` keeps the last waveform and its features, and no more:
    about 1 MB per second of sound for the base model.
    """

    lookahead_s = math.inf

    def __init__(self, network: Wav2Vec2Features, *, backend_id: str) -> None:
        self._network = network.eval()
        self.backend_id = backend_id
        self.feature_dim = network.feature_dim
        self._last: _Encoded | None = None

    def encode(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """Features ``[num_frames, feature_dim]`` float32 of a mono waveform ``[S]`` at 16 kHz.

        The clip is encoded at its own length of ceil(S / 640) frames, or at ``num_frames`` with silence at the end
        if that is more, then cut. Raises ``BadInputError`` if it is not mono or ``num_frames`` is negative.
        """
        if num_frames < 0:
            raise BadInputError(f"num_frames must not be negative; got {num_frames}")
        return self._run(waveform, _frames_to_run(waveform, num_frames))[:num_frames]

    def encode_range(self, waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Features of the frames ``[start, stop)``: exactly those rows of ``encode(waveform, stop)``.

        Ranges within the clip share one run. A range past its end lengthens the run by silence, which changes
        the features a little everywhere. Raises ``BadInputError`` as ``encode`` does, and for a range that is
        not 0 <= start <= stop.
        """
        if not 0 <= start <= stop:
            raise BadInputError(
                f"the frames [{start}, {stop}) are no range: wav2vec2 needs 0 <= start <= stop"
            )
        frames_run = _frames_to_run(waveform, stop)
        last = self._last
        if last is None or len(last.features) != frames_run or not np.array_equal(last.waveform, waveform):
            last = self._last = _Encoded(waveform.copy(), self._run(waveform, frames_run))
        return last.features[start:stop].copy()

    @torch.inference_mode()
    def _run(self, waveform: np.ndarray, frames_run: int) -> np.ndarray:
        if frames_run == 0:
            return np.zeros((0, self.feature_dim), np.float32)
        padded_S = np.zeros(frames_run * SAMPLES_PER_FRAME, np.float32)
        padded_S[: len(waveform)] = normalise(waveform)
        device = next(self._network.parameters()).device
        waveform_1S = torch.from_numpy(padded_S)[None].to(device)
        features_FD: Tensor = self._network(waveform_1S, frames_run)[0]
        return features_FD.cpu().numpy()


def load_wav2vec2(registered: RegisteredNetwork, device: str, *, dtype: torch.dtype) -> Wav2Vec2Encoder:
    """The encoder of a registered checkpoint of wav2vec2-base-960h."""
    config = base_960h_config()
    network = registered.build(lambda: Wav2Vec2Features(config), dtype=dtype, device=device)
    return Wav2Vec2Encoder(network, backend_id=registered.backend_id)


@dataclass(frozen=True)
class _Encoded:
    """A waveform, copied so that later changes to it are noticed, and the features of its whole run."""

    waveform: np.ndarray
    features: np.ndarray


def normalise(waveform: np.ndarray) -> np.ndarray:
    """``[S]`` -> zero mean and unit variance over the whole clip, (x - mean) / sqrt(var + 1e-7), float32."""
    if not len(waveform):
        return waveform.astype(np.float32)
    x = waveform.astype(np.float64)
    normalised: np.ndarray = ((x - x.mean()) / np.sqrt(x.var() + _VARIANCE_FLOOR)).astype(np.float32)
    return normalised


def interpolate(x_BUC: Tensor, num_frames: int) -> Tensor:
    """``[B, U, C]`` -> ``[B, num_frames, C]``: linear in time, the first and last steps kept in place."""
    x_BCN = F.interpolate(x_BUC.transpose(1, 2), size=num_frames, mode="linear", align_corners=True)
    return x_BCN.transpose(1, 2)


def _frames_to_run(waveform: np.ndarray, num_frames: int) -> int:
    """max(ceil(S / 640), num_frames); ``BadInputError`` for sound that is not mono."""
    if waveform.ndim != 1:
        raise BadInputError(f"the audio encoder takes a mono waveform [S]; got shape {waveform.shape}")
    return max(-(-len(waveform) // SAMPLES_PER_FRAME), num_frames)
