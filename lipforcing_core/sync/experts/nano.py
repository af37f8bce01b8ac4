"""NanoSyncNet: a small sync expert for puppets, trained by ``train.py`` and shipped with the package.

Two towers as in SyncNet, one of 0.2 s of lips (five frames) and one of the same 0.2 s of sound (twenty log-mel
columns). The lip tower sees the mouth region of the aligned crop and nothing else, reduced to few pixels, so that a
sharp and a blurry mouth look alike to it. Embeddings have length ``EMBEDDING_SCALE``: two unrelated ones are about
1.4 times that apart, which puts distances in the range of SyncNet's. It knows puppets only.

Legend: B clips, F frames, N windows, C channels, M mel bands, T columns, D width of embeddings, H W pixels.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.models.state import fill_network
from lipforcing_core.sync.experts.protocol import check_crops, num_windows
from lipforcing_core.sync.mfcc import NUM_FILTERS, filterbank
from lipforcing_core.sync.offset import Edges, SyncScore, offset_search

EMBEDDING_WIDTH = 64
EMBEDDING_SCALE = 10.0
RECOMMENDED_MIN_CONFIDENCE = 3.5
"""Sync-C that separates puppets in sync from foreign sound in clips of 81 frames and more (see MODEL_CARD.md)."""
MOUTH_REGION = (0.1875, 0.4375, 0.8125, 0.875)
"""x0, y0, x1, y1 as shares of the aligned crop's side."""
MOUTH_HEIGHT, MOUTH_WIDTH = 40, 48

_WINDOW_COLUMNS, _STEP_COLUMNS = 20, 4
_LOUDNESS = 0.1  # root mean square that a waveform is scaled to
_SILENT = 1e-3  # below this root mean square a waveform is amplified no further
_MEL_FLOOR = 1e4  # on the power scale of ``filterbank``
_MEL_CENTRE, _MEL_SPREAD = 13.0, 3.0


class NanoSyncNet(nn.Module):
    """The two towers; both end in embeddings of length ``EMBEDDING_SCALE``."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            *_conv2d(3, 16), *_conv2d(16, 32), *_conv2d(32, 48), nn.Flatten(), nn.Linear(48 * 5 * 6, 64)
        )
        self.lips = nn.Sequential(
            nn.BatchNorm1d(64), nn.ReLU(), *_conv1d(64, 128, 3), *_conv1d(128, 128, 3), nn.Conv1d(128, 64, 1)
        )
        self.sound = nn.Sequential(
            *_conv1d(NUM_FILTERS, 64, 3),
            *_conv1d(64, 96, 4, stride=2),
            *_conv1d(96, 96, 4, stride=2),
            *_conv1d(96, 128, 3),
            nn.Conv1d(128, EMBEDDING_WIDTH, 1),
        )

    def embed_lips(self, mouth_BFCHW: Tensor) -> Tensor:
        """Embeddings [B, F - 4, 64] of standardised mouths [B, F, 3, 40, 48] (see ``standardise``)."""
        frame_BFD = self.frame(mouth_BFCHW.flatten(0, 1)).unflatten(0, mouth_BFCHW.shape[:2])
        return _to_sphere(self.lips(frame_BFD.transpose(1, 2)))

    def embed_sound(self, mel_BMT: Tensor) -> Tensor:
        """Embeddings [B, N, 64] of log-mel columns [B, 26, 4 N + 16]; window n sees columns 4 n to 4 n + 19."""
        return _to_sphere(self.sound(mel_BMT))


class NanoExpert:
    """NanoSyncNet as a sync expert; shifts are searched over the overlap, so 33 frames give a useful score."""

    def __init__(self, network: NanoSyncNet, backend_id: str) -> None:
        self._network = network.eval()
        self._backend_id = backend_id

    @classmethod
    def load(cls, weights: Path | None = None) -> NanoExpert:
        """The shipped weights, or those of a file written by ``train_sync_expert``.

        Raises ``IncompatibleCheckpointError`` for a file that does not fit the network.
        """
        path = shipped_weights() if weights is None else Path(weights)
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise IncompatibleCheckpointError(f"{path}: not a safetensors file ({error})") from error
        network = NanoSyncNet()
        fill_network(network, state, path)
        return cls(network, f"syncnet-nano-v1@sha256:{file_sha256(path)[:12]}")

    @property
    def backend_id(self) -> str:
        """``syncnet-nano-v1@sha256:`` and 12 digits of the file's hash."""
        return self._backend_id

    @torch.inference_mode()
    def embed_video(self, frames: np.ndarray) -> np.ndarray:
        """[F - 4, 64] float32 of aligned crops [F, S, S, 3] uint8."""
        check_crops(frames)
        mouth_FHWC = np.stack([mouth_region(frame) for frame in frames])
        mouth_FCHW = torch.from_numpy(mouth_FHWC).permute(0, 3, 1, 2).float()
        return self._network.embed_lips(standardise(mouth_FCHW[None]))[0].numpy()

    @torch.inference_mode()
    def embed_audio(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """[min(num_frames, samples // 640) - 5, 64] float32."""
        count = num_windows(num_frames, len(waveform))
        mel_MT = torch.from_numpy(log_mel(waveform)).T[:, : columns_of(count)]
        return self._network.embed_sound(mel_MT[None])[0].numpy()

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        """Sync-C, Sync-D and offset with shortened shifts of up to 15 frames."""
        audio_ND = self.embed_audio(waveform, len(frames))
        return offset_search(self.embed_video(frames), audio_ND, backend=self.backend_id, edges=Edges.OVERLAP)

    def reward_score(self, frames: np.ndarray, waveform: np.ndarray) -> float:
        """Sync-C alone."""
        return self.score(frames, waveform).confidence


def shipped_weights() -> Path:
    """The weights that come with the package."""
    return Path(str(files("lipforcing_core.sync").joinpath("weights", "nano.safetensors")))


def mouth_region(frame: np.ndarray) -> np.ndarray:
    """The mouth of an aligned crop [S, S, 3] uint8, area-averaged to [40, 48, 3] uint8."""
    side = frame.shape[0]
    x0, y0, x1, y1 = (round(share * side) for share in MOUTH_REGION)
    return cv2.resize(frame[y0:y1, x0:x1], (MOUTH_WIDTH, MOUTH_HEIGHT), interpolation=cv2.INTER_AREA)


def standardise(mouth_BFCHW: Tensor) -> Tensor:
    """Zero mean and unit deviation per clip and colour: lighting and contrast carry no information."""
    deviation, mean = torch.std_mean(mouth_BFCHW, dim=(1, 3, 4), keepdim=True)
    return (mouth_BFCHW - mean) / (deviation + 1.0)


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Log-mel columns [T, 26] float32, about -1 to 2, of a waveform scaled to a fixed loudness."""
    loudness = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    power_TM, _ = filterbank(waveform * np.float32(_LOUDNESS / max(loudness, _SILENT)))
    return ((np.log(power_TM + _MEL_FLOOR) - _MEL_CENTRE) / _MEL_SPREAD).astype(np.float32)


def columns_of(count: int) -> int:
    """Log-mel columns that ``count`` windows cover."""
    return _STEP_COLUMNS * (count - 1) + _WINDOW_COLUMNS


def _to_sphere(embedding_BDN: Tensor) -> Tensor:
    return EMBEDDING_SCALE * functional.normalize(embedding_BDN.transpose(1, 2), dim=2)


def _conv2d(in_channels: int, out_channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def _conv1d(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv1d(in_channels, out_channels, kernel, stride=stride, bias=False)
    return [conv, nn.BatchNorm1d(out_channels), nn.ReLU()]
