"""Every setting: its default, its bounds, and that it is described; and the scorers that settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lipforcing_core.curation import backends
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.protocol import FaceFilter

DEFAULTS = {
    "detector": "lbp",
    "detector_model": None,
    "sync_expert": "nano",
    "sync_weights": None,
    "quality": "piqe",
    "quality_weights": None,
    "activity": "silero",
    "identity_model": None,
    "max_source_hours": 12.0,
    "max_megapixels": 40.0,
    "max_hole_frames": 12,
    "max_time_gap_s": 10.0,
    "shot_threshold": 2.0,
    "shot_min_content_change": 15.0,
    "min_segment_s": 5.0,
    "max_segment_s": 10.0,
    "detect_stride": 5,
    "max_gap_frames": 25,
    "clip_crf": 13,
    "silence_dbfs": -50.0,
    "min_speech_share": 0.2,
    "max_absent_frames": 0,
    "min_detected_fraction": 0.3,
    "min_face_height_px": 64.0,
    "max_yaw_deg": 50.0,
    "max_pitch_deg": 40.0,
    "max_lips_outside": 0.1,
    "min_mouth_likeness": 0.45,
    "max_repeat_frames": 12,
    "max_repeated_fraction": 0.3,
    "sync_filter": True,
    "sync_confidence_min": 3.0,
    "max_abs_offset_frames": 6,
    "quality_threshold": 85.0,
    "near_duplicates": "mark",
    "same_person_cosine": 0.45,
    "val_fraction": 0.05,
    "drift": "warn",
    "drift_max_change": 0.5,
    "drift_max_share": 0.1,
    "drift_max_ks": 0.2,
}


def test_defaults_are_those_of_the_embedded_tier() -> None:
    """A changed default makes another data set of the same corpus, so it changes only on purpose."""
    assert CurationSettings().model_dump() == DEFAULTS


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_every_setting_takes_its_default_and_is_described_in_a_sentence(name: str) -> None:
    assert CurationSettings(**{name: DEFAULTS[name]}) == CurationSettings()
    words = CurationSettings.model_fields[name].description
    assert words is not None
    assert words[0].isupper() or words.startswith("x264")
    assert words.endswith(".")


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("shot_threshold", [0.01], [0.0, -1.0]),
        ("shot_min_content_change", [0.0, 255.0], [-0.1, 255.1]),
        ("min_segment_s", [0.04], [0.0]),
        ("detect_stride", [1], [0]),
        ("max_gap_frames", [0], [-1]),
        ("clip_crf", [0, 51], [-1, 52]),
        ("silence_dbfs", [0.0, -120.0], [0.1]),
        ("max_absent_frames", [0], [-1]),
        ("min_detected_fraction", [0.0, 1.0], [-0.01, 1.01]),
        ("min_face_height_px", [0.0], [-0.1]),
        ("max_abs_offset_frames", [0, 15], [-1, 16]),
        ("max_source_hours", [0.01], [0.0]),
        ("max_megapixels", [0.1], [0.0]),
        ("max_hole_frames", [0, 250], [-1]),
        ("max_time_gap_s", [0.04, 3600.0], [0.0, 3600.1]),
        ("min_speech_share", [0.0, 1.0], [-0.01, 1.01]),
        ("max_yaw_deg", [0.0, 90.0], [-0.1, 90.1]),
        ("max_pitch_deg", [0.0, 90.0], [-0.1, 90.1]),
        ("max_lips_outside", [0.0, 1.0], [-0.01, 1.01]),
        ("min_mouth_likeness", [-1.0, 1.0], [-1.01, 1.01]),
        ("max_repeat_frames", [0], [-1]),
        ("max_repeated_fraction", [0.0, 1.0], [-0.01, 1.01]),
        ("near_duplicates", ["off", "reject"], ["delete"]),
        ("val_fraction", [0.0, 0.99], [-0.01, 1.0]),
        ("sync_confidence_min", [-5.0], ["high"]),
        ("unknown", [], [1]),
    ],
)
def test_bounds(name: str, accepted: list[Any], refused: list[Any]) -> None:
    for value in accepted:
        assert getattr(CurationSettings(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            CurationSettings(**{name: value})


def test_the_longest_clip_lasts_a_moment_at_least() -> None:
    assert CurationSettings(min_segment_s=0.04, max_segment_s=0.04).max_frames == 1
    with pytest.raises(ValidationError, match="max_segment_s"):
        CurationSettings(min_segment_s=0.04, max_segment_s=0.0)


def test_lengths_in_frames_are_rounded() -> None:
    settings = CurationSettings(min_segment_s=2.03, max_segment_s=3.99)
    assert (settings.min_frames, settings.max_frames) == (51, 100)
    assert CurationSettings(min_segment_s=5.0, max_segment_s=5.0).min_frames == 125


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CurationSettings().clip_crf = 3  # type: ignore[misc]


def test_every_scorer_gets_its_name_and_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load_detector", "load_sync_expert", "load_quality", "load_activity"):
        monkeypatch.setattr(
            backends, name, lambda *given, kind=name, **options: (kind, *given, *options.values())
        )
    settings = CurationSettings(
        detector="yunet",
        detector_model=Path("d"),
        sync_expert="syncnet-v2",
        sync_weights=Path("s"),
        quality="hyperiqa",
        quality_weights=Path("q"),
    )
    assert load_backends(settings) == CurationBackends(
        detector=("load_detector", "yunet", Path("d"), FaceFilter(small_ones=True)),  # type: ignore[arg-type]
        sync_expert=("load_sync_expert", "syncnet-v2", Path("s")),  # type: ignore[arg-type]
        quality=("load_quality", "hyperiqa", Path("q")),  # type: ignore[arg-type]
        activity=("load_activity", "silero"),  # type: ignore[arg-type]
    )
