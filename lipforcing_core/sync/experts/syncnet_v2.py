"""SyncNet-v2 of Chung and Zisserman: two towers of 0.2 s of lips and of sound (method F.5).

Attribute names follow the public checkpoint (``netcnnaud.N``, ``netfcaud.N``, ``netcnnlip.N``, ``netfclip.N``).
Embeddings are not normalised. Legend: N windows, F frames, C channels, T columns of MFCC, H W pixels.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lipforcing_core.base.products import file_sha256
from lipforcing_core.sync.experts.protocol import WINDOW_FRAMES, check_crops, num_windows
from lipforcing_core.sync.mfcc import mfcc
from lipforcing_core.sync.offset import Edges, SyncScore, offset_search
from lipforcing_core.weights.load import load_network

INPUT_SIZE = 224
MFCC_WINDOW = 20
MFCC_STEP = 4
_LIP_BATCH = 16
_AUDIO_BATCH = 256


class SyncNetV2(nn.Module):
    """The network; inputs are BGR pixels 0 to 255 and MFCC, both unscaled."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64, 3, padding=1),
            nn.MaxPool2d(1, stride=1),
            *_conv2d(64, 192, 3, padding=1),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_conv2d(192, 384, 3, padding=1),
            *_conv2d(384, 256, 3, padding=1),
            *_conv2d(256, 256, 3, padding=1),
            nn.MaxPool2d(3, stride=2),
            *_conv2d(256, 512, (5, 4)),
        )
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(256, 512, (1, 6, 6)),
        )
        self.netfcaud = _head()
        self.netfclip = _head()

    def lip_features(self, frames_NCFHW: Tensor) -> Tensor:
        """Features [N, 512] before the head, of windows [N, 3, 5, 224, 224] float."""
        features_ND: Tensor = self.netcnnlip(frames_NCFHW).flatten(1)
        return features_ND

    def forward_lip(self, frames_NCFHW: Tensor) -> Tensor:
        """Embeddings [N, 1024] of windows [N, 3, 5, 224, 224] float, BGR, 0 to 255."""
        embedding_ND: Tensor = self.netfclip(self.lip_features(frames_NCFHW))
        return embedding_ND

    def forward_audio(self, mfcc_N1CT: Tensor) -> Tensor:
        """Embeddings [N, 1024] of windows [N, 1, 13, 20] float."""
        embedding_ND: Tensor = self.netfcaud(self.netcnnaud(mfcc_N1CT).flatten(1))
        return embedding_ND


class SyncNetV2Expert:
    """SyncNet-v2 as a sync expert.

    The whole crop is resized to 224 pixels, as the reward scorer of the method does. For the face-track crop of the
    public evaluation (method F.4) pass those crops instead; at 224 pixels they are used unchanged.
    """

    def __init__(self, network: SyncNetV2, backend_id: str) -> None:
        self._network = network.eval()
        self._backend_id = backend_id
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Work on this device from now on; embeddings still come as arrays."""
        self._network.to(device)
        self._device = device

    @classmethod
    def load(cls, path: Path) -> SyncNetV2Expert:
        """From the public ``syncnet_v2.model`` file.

        Raises ``IncompatibleCheckpointError`` for a file that does not fit the network.
        """
        with torch.device("meta"):
            network = SyncNetV2()
        load_network(network, path, dtype=torch.float32)
        return cls(network, f"syncnet-v2@sha256:{file_sha256(path)[:12]}")

    @property
    def backend_id(self) -> str:
        """``syncnet-v2@sha256:`` and 12 digits of the file's hash."""
        return self._backend_id

    @torch.inference_mode()
    def embed_video(self, frames: np.ndarray) -> np.ndarray:
        """[F - 4, 1024] float32; windows pass through the network in small batches, so memory is bounded."""
        check_crops(frames)
        bgr_FHWC = torch.from_numpy(np.stack([_to_input(frame) for frame in frames]))
        bgr_FCHW = bgr_FHWC.to(self._device).permute(0, 3, 1, 2)
        windows_NCHWF = bgr_FCHW.unfold(0, WINDOW_FRAMES, 1)
        batches = [
            self._network.forward_lip(windows_NCHWF[start:stop].permute(0, 1, 4, 2, 3).float())
            for start, stop in _batches(len(windows_NCHWF), _LIP_BATCH)
        ]
        return torch.cat(batches).cpu().numpy()

    @torch.inference_mode()
    def embed_audio(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        """[min(num_frames, samples // 640) - 5, 1024] float32."""
        windows_N1CT = mfcc_windows(waveform, num_windows(num_frames, len(waveform)))
        batches = [
            self._network.forward_audio(windows_N1CT[start:stop].to(self._device))
            for start, stop in _batches(len(windows_N1CT), _AUDIO_BATCH)
        ]
        return torch.cat(batches).cpu().numpy()

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        """The public evaluation: zero-padded shifts of up to 15 frames."""
        return self._search(frames, waveform, Edges.ZERO_PADDED)

    def reward_score(self, frames: np.ndarray, waveform: np.ndarray) -> float:
        """Sync-C with shortened shifts (method D.5)."""
        return self._search(frames, waveform, Edges.OVERLAP).confidence

    def _search(self, frames: np.ndarray, waveform: np.ndarray, edges: Edges) -> SyncScore:
        audio_ND = self.embed_audio(waveform, len(frames))
        return offset_search(self.embed_video(frames), audio_ND, backend=self.backend_id, edges=edges)


def mfcc_windows(waveform: np.ndarray, count: int) -> Tensor:
    """The first ``count`` sound windows [count, 1, 13, 20] float32: columns 4i to 4i + 19."""
    cepstra_CT = torch.from_numpy(mfcc(waveform).T.astype(np.float32))
    return cepstra_CT.unfold(1, MFCC_WINDOW, MFCC_STEP)[:, :count].permute(1, 0, 2)[:, None]


def _conv2d(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], *, padding: int = 0
) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def _conv3d(
    in_channels: int, out_channels: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    conv = nn.Conv3d(
        in_channels, out_channels, kernel, stride=(1, stride, stride), padding=(0, padding, padding)
    )
    return [conv, nn.BatchNorm3d(out_channels), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def _to_input(frame: np.ndarray) -> np.ndarray:
    if frame.shape[0] != INPUT_SIZE:
        frame = cv2.resize(frame, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR)
    turned: np.ndarray = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    return turned


def _batches(count: int, size: int) -> list[tuple[int, int]]:
    return list(pairwise([*range(0, count, size), count]))
