"""One item, with measures and files that are made up: which rows there are, and what each says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.metrics import item as item_module
from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.crops import UnscorableClip
from lipforcing_core.metrics.item import evaluate_item
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction, Features, SetMeasure
from lipforcing_core.metrics.scored import ScoredPicture
from tests.metrics.drawn import PRECROPPED

ITEM = EvalItem(clip_id="c", identity="p", truth_video=Path("t.mp4"), driving_audio=Path("d.wav"))


class FakeBackends:
    ids = {"detector": "none"}  # noqa: RUF012
    detector = "the detector"

    def id_of(self, backend: Backend) -> str:
        return f"{backend.value}@9"


BACKENDS = FakeBackends()


def brightness(picture: ScoredPicture) -> float:
    return float(picture.frames.mean())


BRIGHT = ClipMeasure(
    name="bright",
    summary="How bright.",
    label="Bright",
    direction=Direction.NONE,
    backend=Backend.PIXELS,
    compute=brightness,
)
GIVEN = ClipMeasure(
    name="given",
    summary="Of a control.",
    label="Given",
    direction=Direction.NONE,
    backend=Backend.SYNC_EXPERT,
    applies=lambda record, item: record.driven_by is DrivenBy.UNRELATED and item is ITEM,
    compute=lambda clip: float("nan"),
)
SET = SetMeasure(
    name="set",
    summary="Of a set.",
    label="Set",
    direction=Direction.LOWER,
    backend=Backend.IMAGE_FEATURES,
    features=Features(name="twice", vector_of="frames", embed=lambda frames, backends: frames * 2),
    statistic=lambda truths, others, origin: lambda weights: 0.0,
)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called by a number hold as many frames of that brightness; others are broken."""

    def truth_of(item: EvalItem, protocol: object, backends: object) -> ScoredPicture:
        if item.truth_video.name == "broken":
            raise MediaError(item.truth_video, "cannot be read")
        truth = ScoredPicture(np.full(4, 100.0), backends)
        truth.window = "the window"
        return truth

    def frames_of(path: Path, window: object, protocol: object, detector: object) -> np.ndarray:
        assert (window, protocol, detector) == ("the window", PRECROPPED, "the detector")
        if not path.stem.isdigit():
            raise UnscorableClip("it is too short")
        return np.full(int(path.stem), float(path.stem))

    monkeypatch.setattr(item_module, "ScoredTruth", truth_of)
    monkeypatch.setattr(item_module, "cut_prediction", frames_of)
    monkeypatch.setattr(
        item_module, "verified_path", lambda record: None if record.path.stem == "gone" else record.path
    )
    monkeypatch.setattr(item_module, "clip_measures", lambda: [BRIGHT, GIVEN])
    monkeypatch.setattr(item_module, "set_measures", lambda: [SET])


def record(
    system: str, path: str, driven_by: DrivenBy = DrivenBy.DRIVING, clip: str = "c"
) -> PredictionRecord:
    return PredictionRecord(
        clip_id=clip, system=system, path=Path(path), sha256="0" * 64, driven_by=driven_by
    )


def test_every_measure_that_applies_has_a_row() -> None:
    records = [
        record("a", "7.mp4"),
        record("a", "3.mp4", DrivenBy.UNRELATED),
        record("b", "gone.mp4"),
        record("b", "short.mp4", DrivenBy.UNRELATED),
        record("a", "9.mp4", clip="another"),
    ]
    result = evaluate_item(ITEM, records, PRECROPPED, BACKENDS)
    assert (result.clip_id, result.identity) == ("c", "p")
    assert [(v.system, v.metric, v.value, v.n, v.backend) for v in result.values] == [
        ("a", "bright", 7.0, 7, "pixels@9"),
        ("a+unrelated_audio", "bright", 3.0, 3, "pixels@9"),
    ]
    assert {(v.clip_id, v.protocol_id) for v in (*result.values, *result.unavailable)} == {
        ("c", PRECROPPED.id)
    }
    short = "the prediction cannot be scored: it is too short"
    assert [(u.system, u.metric, u.because, u.backend) for u in result.unavailable] == [
        ("a+unrelated_audio", "given", "its value is not a number", "sync expert@9"),
        ("b", "bright", "the prediction gone.mp4 does not exist", "pixels@9"),
        ("b+unrelated_audio", "bright", short, "pixels@9"),
        ("b+unrelated_audio", "given", short, "sync expert@9"),
    ]
    assert result.truth_features["twice"].tolist() == [200.0] * 4
    assert {s: f["twice"].tolist() for s, f in result.features.items()} == {
        "a": [14.0] * 7,
        "a+unrelated_audio": [6.0] * 3,
    }


def test_without_a_truth_every_row_says_so() -> None:
    item = EvalItem(clip_id="c", identity="p", truth_video=Path("broken"), driving_audio=Path("d.wav"))
    result = evaluate_item(item, [record("a", "7.mp4"), record("b", "8.mp4")], PRECROPPED, BACKENDS)
    assert [(u.system, u.metric) for u in result.unavailable] == [("a", "bright"), ("b", "bright")]
    assert {u.because for u in result.unavailable} == {"the truth cannot be scored: broken: cannot be read"}
    assert (result.values, result.truth_features, result.features) == ((), {}, {})


def test_requests_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(BadInputError, match="two predictions of a"):
        evaluate_item(ITEM, [record("a", "7.mp4"), record("a", "8.mp4")], PRECROPPED, BACKENDS)
    other = SimpleNamespace(ids={"detector": "lbp"}, detector=None)
    with pytest.raises(BadInputError, match="precropped aligns with none, the detector is lbp"):
        evaluate_item(ITEM, [], PRECROPPED, other)
