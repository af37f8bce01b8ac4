"""What the SCRFD model is given, on a stand-in for it: the channels in its order, the pixels untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.faces.detectors.protocol import FaceFilter
from lipforcing_core.faces.detectors.scrfd import ScrfdDetector


class _Model:
    use_kps = True
    seen: np.ndarray

    def prepare(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen = picture
        return np.zeros((0, 5)), np.zeros((0, 5, 2))


@pytest.mark.parametrize(("to_bgr", "order"), [(True, [30, 20, 10]), (False, [10, 20, 30])])
@pytest.mark.parametrize("step", [1, 2])
def test_the_model_sees_blue_first_unless_told_otherwise(
    to_bgr: bool, order: list[int], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a frame that is a view of a larger one, as parts of pictures are."""
    model = _Model()
    monkeypatch.setattr("insightface.model_zoo.SCRFD", lambda **_named: model)
    monkeypatch.setattr("lipforcing_core.faces.detectors.scrfd.open_session", lambda _path: None)
    detector = ScrfdDetector(Path("model.onnx"), sha256="0" * 64, face_filter=FaceFilter(), to_bgr=to_bgr)
    frame = np.zeros((8, 6, 3), dtype=np.uint8)
    frame[:] = (10, 20, 30)
    frame[4, 2] = (1, 2, 3)
    part = frame[::step, ::step]
    assert detector.detect(part) == []
    assert model.seen.flags.c_contiguous
    assert model.seen[0, 0].tolist() == order
    assert model.seen[4 // step, 2 // step].tolist() == ([3, 2, 1] if to_bgr else [1, 2, 3])
