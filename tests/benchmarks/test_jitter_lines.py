"""The benchmark of jitter on a tiny clip with a still face: its lines and its result file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import jitter
from lipforcing_core.base.products import read_json
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.encode import VideoWriter


class _Still:
    """Finds one face that does not move in pictures that are not black."""

    backend_id = "still-v1"

    def detect(self, frame: np.ndarray) -> list[Face]:
        points = np.array([[60.0, 45.0], [100.0, 45.0], [80.0, 60.0], [65.0, 80.0], [95.0, 80.0]])
        face = Face(box_xyxy=(45.0, 20.0, 115.0, 105.0), score=1.0, points=points)
        return [face] if frame.mean() > 50 and frame.shape[0] == 120 else []


def test_a_line_for_each_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jitter, "load_detector", lambda name, path: _Still())
    clips = [str(tmp_path / "grey.mp4"), str(tmp_path / "black.mp4")]
    for clip, level in zip(clips, (120, 0), strict=True):
        with VideoWriter(Path(clip), width=160, height=120) as writer:
            for _ in range(30):
                writer.write(np.full((120, 160, 3), level, np.uint8))
    jitter.main([*clips, "--output", str(tmp_path), "--frames", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "still-v1, a look every 5 frames; pixels of the 512 crop"
    assert lines[2].split() == ["0.00", "0.00", "0.00", clips[0]]
    assert lines[3].strip() == f"{clips[1]}: the face is missing in 20 of 20 frames"
    (result,) = tmp_path.glob("jitter_*.json")
    assert read_json(result)["clips"][clips[0]] == {"every_frame": 0.0, "raw": 0.0, "smoothed": 0.0}
    with pytest.raises(SystemExit):
        jitter.main([clips[0], "--stride", "0"])
