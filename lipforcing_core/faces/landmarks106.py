"""106 landmarks of a face through InsightFace's ``2d106det.onnx``, on ONNX Runtime with one thread.

The network sees 192 x 192 pixels, an upright square around the box that is 1.5 times its longer side and black
outside the frame, and gives x and y of every landmark as fractions of half that square, from -1 to 1. The
model pack is licensed for non-commercial research only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.onnx_session import open_session, signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NUM_LANDMARKS = 106
SIZE = 192


class Landmarks106:
    """The landmark network. Raises ``BadInputError`` where the file is another model, or none."""

    def __init__(self, path: Path) -> None:
        from insightface.model_zoo import Landmark

        try:
            session = open_session(path)
        except Exception as error:  # onnxruntime has one exception class per failure, without a common base
            raise BadInputError(f"{path} is not a usable ONNX model: {error}") from error
        _check_signature(path, session)
        self._model = Landmark(model_file=str(path), session=session)

    def locate(self, frame: np.ndarray, box_xyxy: tuple[float, float, float, float]) -> np.ndarray:
        """Landmarks of the face in the box: [106, 2] float64 (x, y), in pixels of the frame.

        ``frame`` is [H, W, 3] uint8, whose channels the network takes for blue, green, red.
        """
        from insightface.app.common import Face as InsightFace

        face = InsightFace(bbox=np.array(box_xyxy, dtype=np.float32))
        points: np.ndarray = self._model.get(np.ascontiguousarray(frame), face).astype(np.float64)
        return points


def _check_signature(path: Path, session: InferenceSession) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = (
        len(inputs) == len(outputs) == 1
        and inputs[0].type == "tensor(float)"
        and inputs[0].shape[1:] == [3, SIZE, SIZE]
        and outputs[0].shape[1:] == [2 * NUM_LANDMARKS]
    )
    if not fits:
        raise BadInputError(
            f"{path} is no network of {NUM_LANDMARKS} landmarks: it maps {signature(inputs)} to "
            f"{signature(outputs)}, not [1, 3, {SIZE}, {SIZE}] to [1, {2 * NUM_LANDMARKS}]; give 2d106det.onnx"
        )
