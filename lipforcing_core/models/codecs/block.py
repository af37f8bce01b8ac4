"""The embedded video codec: a linear principal-component code of 4 x 8 x 8 space-time blocks.

It is fitted on the corpus it is used with. Like the Wan VAE it codes frame 0 alone and then four frames per latent, so
F = 4T - 3.

Shape letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.base.user_file import require_regular
from lipforcing_core.models.codecs.checks import check_latent, check_video
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE, TIME_STRIDE, StreamDecoder, StreamEncoder

_BLOCK_SIZE = 3 * TIME_STRIDE * SPACE_STRIDE * SPACE_STRIDE


@dataclass(frozen=True, kw_only=True)
class CodecFit:
    """How ``BlockCodec.fit`` weighs what it sees.

    ``motion_weight`` multiplies the part of a block that changes within its four frames before the
    principal components are taken: a mouth moves in few blocks, and plain PCA would spend every channel on
    still texture. ``whitening`` is the power w of each channel's standard deviation by which the channel is
    divided: 1 gives every channel unit variance, 0 keeps the PCA spectrum. In between, strong channels stay
    above the unit noise of the diffusion for longer than weak ones, as in natural image latents. The mean
    variance over channels is always 1.
    """

    num_channels: int = 16
    motion_weight: float = 2.0
    whitening: float = 0.5


class BlockCodec:
    """Linear code of 4 x 8 x 8 RGB blocks: ``z = A (x - centre) / scale``, ``x = centre + B (z * scale)``.

    The first latent codes frame 0 repeated four times and decodes to the average of its four frames. Every
    latent is computed on its own, so that streaming gives exactly the bits of the one-shot call.
    """

    def __init__(self, *, analysis: Tensor, synthesis: Tensor, centre: Tensor, scale: Tensor) -> None:
        """``analysis [C, 768]``, ``synthesis [768, C]``, ``centre [768]``, ``scale [C]``, all float32."""
        self.analysis, self.synthesis = analysis.contiguous(), synthesis.contiguous()
        self.centre, self.scale = centre.contiguous(), scale.contiguous()
        self.latent_channels = analysis.shape[0]
        self.backend_id = f"block-pca-v1@sha256:{self._digest()[:12]}"

    @staticmethod
    def fit(clips: Iterable[np.ndarray], settings: CodecFit | None = None) -> BlockCodec:
        """Fit on clips ``[F, H, W, 3]`` uint8 RGB (F >= 4; H and W multiples of 8).

        Bounded memory: one clip and one 768 x 768 covariance in float64. The result depends on the clips
        and their order only. Raises ``BadInputError`` if the clips hold too little to fit on.
        """
        settings = settings or CodecFit()
        count, total, products = 0, np.zeros(_BLOCK_SIZE), np.zeros((_BLOCK_SIZE, _BLOCK_SIZE))
        for frames in clips:
            blocks = _clip_blocks(frames)
            count += len(blocks)
            total += blocks.sum(axis=0, dtype=np.float64)
            products += (blocks.T @ blocks).astype(np.float64)
        if count < _BLOCK_SIZE:
            raise BadInputError(f"the block codec needs at least {_BLOCK_SIZE} blocks to fit on; got {count}")
        centre = total / count
        covariance = products / count - np.outer(centre, centre)
        weigh, unweigh = _motion_metric(settings.motion_weight)
        _, vectors = np.linalg.eigh(weigh @ covariance @ weigh)
        basis = vectors[:, ::-1][:, : settings.num_channels]
        basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
        analysis, synthesis = basis.T @ weigh, unweigh @ basis
        deviation = np.sqrt(np.maximum(np.einsum("ci,ij,cj->c", analysis, covariance, analysis), 1e-12))
        scale = deviation**settings.whitening
        scale *= np.sqrt(np.mean((deviation / scale) ** 2))
        return BlockCodec(
            analysis=torch.from_numpy(analysis).float(),
            synthesis=torch.from_numpy(synthesis).float(),
            centre=torch.from_numpy(centre).float(),
            scale=torch.from_numpy(scale).float(),
        )

    def encode(self, video_BCFHW: Tensor) -> Tensor:
        """``[B, 3, 4T-3, H, W]`` in [-1, 1] to latents ``[B, C, T, H/8, W/8]``; ``BadInputError`` on other sizes."""
        return self.stream_encoder().push(video_BCFHW)

    def decode(self, latent_BCTHW: Tensor) -> Tensor:
        """Latents ``[B, C, T, h, w]`` to ``[B, 3, 4T-3, 8h, 8w]``, clamped; ``BadInputError`` on other channels."""
        return self.stream_decoder().push(latent_BCTHW)

    def stream_encoder(self) -> StreamEncoder:
        """A new encoding stream."""
        return _BlockEncoder(self)

    def stream_decoder(self) -> StreamDecoder:
        """A new decoding stream."""
        return _BlockDecoder(self)

    def save(self, path: Path | str) -> None:
        """Write the codec to a safetensors file, atomically."""
        with atomic_path(path) as temporary:
            save_file(self._tensors(), temporary, metadata={"format": "block-pca-v1"})

    @staticmethod
    def load(path: Path | str) -> BlockCodec:
        """Read a codec; raises ``IncompatibleCheckpointError`` if the file is not one."""
        require_regular(Path(path))
        try:
            with safe_open(path, framework="pt") as stored:
                if (stored.metadata() or {}).get("format") != "block-pca-v1":
                    raise IncompatibleCheckpointError(f"{path}: not a block codec (format block-pca-v1)")
                return BlockCodec(**{key: stored.get_tensor(key) for key in stored.keys()})  # noqa: SIM118
        except (SafetensorError, OSError, TypeError) as error:
            raise IncompatibleCheckpointError(f"{path}: cannot be read as a block codec ({error})") from error

    def to(self, device: torch.device | str) -> BlockCodec:
        """The same codec with its tensors on ``device``."""
        return BlockCodec(**{key: value.to(device) for key, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {
            "analysis": self.analysis,
            "synthesis": self.synthesis,
            "centre": self.centre,
            "scale": self.scale,
        }

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for tensor in self._tensors().values():
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _encode_block(self, video_BCFHW: Tensor) -> Tensor:
        """Four frames to one latent ``[B, C, 1, h, w]``."""
        batch, _, _, height, width = video_BCFHW.shape
        rows, columns = height // SPACE_STRIDE, width // SPACE_STRIDE
        blocks = video_BCFHW.reshape(batch, 3, TIME_STRIDE, rows, SPACE_STRIDE, columns, SPACE_STRIDE)
        blocks = blocks.permute(0, 3, 5, 1, 2, 4, 6).reshape(batch * rows * columns, _BLOCK_SIZE)
        code = (blocks - self.centre) @ self.analysis.T / self.scale
        return code.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2).unsqueeze(2)

    def _decode_block(self, latent_BCHW: Tensor) -> Tensor:
        """One latent to four frames ``[B, 3, 4, H, W]``."""
        batch, channels, rows, columns = latent_BCHW.shape
        code = latent_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
        blocks = self.centre + (code * self.scale) @ self.synthesis.T
        blocks = blocks.reshape(batch, rows, columns, 3, TIME_STRIDE, SPACE_STRIDE, SPACE_STRIDE)
        video = blocks.permute(0, 3, 4, 1, 5, 2, 6)
        return video.reshape(batch, 3, TIME_STRIDE, rows * SPACE_STRIDE, columns * SPACE_STRIDE)


class _BlockEncoder:
    def __init__(self, codec: BlockCodec) -> None:
        self._codec = codec
        self._started = False

    def push(self, video_BCFHW: Tensor) -> Tensor:
        check_video(video_BCFHW, starts_clip=not self._started)
        latents = []
        if not self._started:
            first = video_BCFHW[:, :, :1].expand(-1, -1, TIME_STRIDE, -1, -1)
            latents.append(self._codec._encode_block(first))
            video_BCFHW = video_BCFHW[:, :, 1:]
            self._started = True
        groups = torch.split(video_BCFHW, TIME_STRIDE, dim=2) if video_BCFHW.shape[2] else ()
        latents += [self._codec._encode_block(group) for group in groups]
        return torch.cat(latents, dim=2)


class _BlockDecoder:
    def __init__(self, codec: BlockCodec) -> None:
        self._codec = codec
        self._started = False

    def push(self, latent_BCTHW: Tensor) -> Tensor:
        check_latent(latent_BCTHW, self._codec.latent_channels)
        parts = []
        for latent_BCHW in latent_BCTHW.unbind(dim=2):
            video = self._codec._decode_block(latent_BCHW)
            if not self._started:
                video = video.mean(dim=2, keepdim=True)
                self._started = True
            parts.append(video)
        return torch.cat(parts, dim=2).clamp(-1, 1)


def _clip_blocks(frames: np.ndarray) -> np.ndarray:
    """All non-overlapping blocks of a clip, ``[n, 768]`` float32 in [-1, 1], in the codec's element order."""
    num_frames, height, width, _ = frames.shape
    if num_frames < TIME_STRIDE or height % SPACE_STRIDE or width % SPACE_STRIDE:
        raise BadInputError(
            f"the block codec is fitted on clips of at least {TIME_STRIDE} frames with sides that are "
            f"multiples of {SPACE_STRIDE}; got {num_frames} frames of {width}x{height}"
        )
    groups, rows, columns = num_frames // TIME_STRIDE, height // SPACE_STRIDE, width // SPACE_STRIDE
    video = frames[: groups * TIME_STRIDE].astype(np.float32) / 127.5 - 1.0
    video = video.reshape(groups, TIME_STRIDE, rows, SPACE_STRIDE, columns, SPACE_STRIDE, 3)
    return np.ascontiguousarray(video.transpose(0, 2, 4, 6, 1, 3, 5)).reshape(-1, _BLOCK_SIZE)


def _motion_metric(weight: float) -> tuple[np.ndarray, np.ndarray]:
    """The symmetric matrix that multiplies a block's change over time by ``weight``, and its inverse."""
    average = np.full((TIME_STRIDE, TIME_STRIDE), 1.0 / TIME_STRIDE)
    change = np.eye(TIME_STRIDE) - average
    colour, pixels = np.eye(3), np.eye(SPACE_STRIDE * SPACE_STRIDE)
    weigh = np.kron(colour, np.kron(average + weight * change, pixels))
    unweigh = np.kron(colour, np.kron(average + change / weight, pixels))
    return weigh, unweigh
