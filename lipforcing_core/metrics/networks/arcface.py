"""ArcFace (Deng et al. 2019), from two ONNX files of InsightFace, on ONNX Runtime with one thread.

``glintr100.onnx`` (antelopev2) is a ResNet-100, the identity embedding behind CSIM; ``w600k_r50.onnx`` (buffalo_l) a
ResNet-50 of the same signature and input range. Their vectors do not compare with each other.

Legend: F frames, C channels, H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.onnx_session import open_session, signature
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.pictures import to_unit_range

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SIZE = 112
NUM_FEATURES = 512
_BATCH_FRAMES = 16


class ArcFaceFeatures:
    """Per-frame identity vectors, not normalised: ``[F, 512]``.

    The whole frame is resized to 112 x 112 (area), without a second detection or alignment, as the code behind the
    published CSIM seems to do (method G.2); pass crops of faces. ``network`` comes from ``open_arcface``.
    """

    def __init__(self, network: InferenceSession, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network
        entry = network.get_inputs()[0]
        self._input = entry.name
        self._batch = entry.shape[0] if isinstance(entry.shape[0], int) else _BATCH_FRAMES

    @classmethod
    def load(cls, path: Path | None) -> ArcFaceFeatures:
        """From ``glintr100.onnx``; raises as ``open_arcface`` does."""
        assert path is not None, "the catalogue gives the file of a learned network"
        return cls(open_arcface(path), arcface_id(file_sha256(path)))

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """``[F, H, W, 3] uint8 RGB`` to ``[F, 512] float32``; pixels enter as (value - 127.5) / 127.5."""
        images_FCHW = to_unit_range(frames, SIZE)
        parts = [
            self._network.run(None, {self._input: batch.contiguous().numpy()})[0]
            for batch in images_FCHW.split(self._batch)  # type: ignore[no-untyped-call]
        ]
        return np.concatenate(parts)


def arcface_id(sha256: str) -> str:
    """The id of the network in a file ``glintr100.onnx`` with this hash."""
    return f"arcface-r100@sha256:{sha256[:12]}"


def open_arcface(path: Path) -> InferenceSession:
    """The network in an ONNX file: images ``[N or 1, 3, 112, 112] float`` to vectors ``[N, 512]``.

    Reads both ``glintr100.onnx`` and ``w600k_r50.onnx``; give ``ArcFaceFeatures`` an id that tells which.

    Raises ``IncompatibleCheckpointError`` for a file that is no ONNX model or has other inputs or outputs.
    """
    try:  # quiet, since the public files declare one output row and warn at every larger batch
        network = open_session(path, quiet=True)
    except Exception as error:  # onnxruntime has one exception class per failure, without a common base
        raise IncompatibleCheckpointError(f"{path} is not a usable ONNX model: {error}") from error
    inputs, outputs = network.get_inputs(), network.get_outputs()
    if not _is_arcface(inputs, outputs):
        raise IncompatibleCheckpointError(
            f"{path} is no ArcFace network of this kind: it maps {signature(inputs)} to {signature(outputs)}, "
            f"not images [N, 3, {SIZE}, {SIZE}] to vectors [N, {NUM_FEATURES}]"
        )
    return network


def _is_arcface(inputs: list[Any], outputs: list[Any]) -> bool:
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        return False
    batch, *image = inputs[0].shape
    one_or_any = batch == 1 or not isinstance(batch, int)
    return one_or_any and image == [3, SIZE, SIZE] and outputs[0].shape[1:] == [NUM_FEATURES]
