import dataclasses
import json

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.manifest import (
    DrivenBy,
    PredictionRecord,
    read_predictions,
    record_prediction,
    verified_path,
    write_predictions,
)
from lipforcing_core.metrics.protocol import CropMode, gt_box_aligned
from lipforcing_core.metrics.values import MetricValue

SHA = "a" * 64


def test_manifest_survives_a_round_trip(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "\u00e9 1.mp4").write_bytes(b"video")
    records = [
        record_prediction("c1", "student", tmp_path / "videos" / "\u00e9 1.mp4"),
        record_prediction(
            "c1", "student", tmp_path / "videos" / "\u00e9 1.mp4", driven_by=DrivenBy.UNRELATED
        ),
    ]
    write_predictions(tmp_path / "predictions.json", records)
    assert json.loads((tmp_path / "predictions.json").read_text())[0]["path"] == "videos/\u00e9 1.mp4"
    assert read_predictions(tmp_path / "predictions.json") == records
    assert [record.label for record in records] == ["student", "student+unrelated_audio"]


@pytest.mark.parametrize(("separator", "name"), [(";", "';'"), ("\t", "tabs")])
def test_another_separator_is_recognised(tmp_path, separator, name):
    header = separator.join(["clip_id", "system", "path", "sha256"])
    (tmp_path / "p.csv").write_text(f"{header}\n{separator.join(['c1', 'wav2lip', 'c1.mp4', SHA])}\n")
    words = f"columns clip_id, system, path, sha256 missing in its first line; the columns look separated by {name}"
    with pytest.raises(BadInputError, match=words):
        read_predictions(tmp_path / "p.csv")


def test_csv_manifest_and_its_defaults(tmp_path):
    (tmp_path / "p.csv").write_text(f"clip_id,system,path,sha256\nc1,wav2lip,out/c1.mp4,{SHA.upper()}\n")
    (record,) = read_predictions(tmp_path / "p.csv")
    assert record.path == (tmp_path / "out" / "c1.mp4").resolve()
    assert (record.driven_by, record.sha256) == (DrivenBy.DRIVING, SHA)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"c1,s,../x.mp4,{SHA},", "leaves"),
        (f"c1,s,/etc/passwd,{SHA},", "leaves"),
        ("c1,s,x.mp4,12ab,", "not a SHA-256"),
        (f"c1,,x.mp4,{SHA},", "row 1: system missing"),
        (f"c1,s,x.mp4,{SHA},music", "unknown driven_by 'music'; known: driving"),
        (f"c1,s,x.mp4,{SHA},\nc1,s,y.mp4,{SHA},", "two predictions of s for clip c1"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row: str, message: str):
    (tmp_path / "p.csv").write_text(f"clip_id,system,path,sha256,driven_by\n{row}\n")
    with pytest.raises(BadInputError, match=message):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "[1]", "not json"])
def test_files_that_are_no_manifest_are_refused(tmp_path, text: str):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(BadInputError, match=r"p\.json"):
        read_predictions(tmp_path / "p.json")
    with pytest.raises(BadInputError, match="does not exist"):
        read_predictions(tmp_path / "other.json")
    with pytest.raises(BadInputError, match="is a folder, and a file is wanted"):
        read_predictions(tmp_path)


def test_a_file_that_changed_is_refused_and_an_absent_one_is_known(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"one")
    record = record_prediction("c", "s", path)
    assert verified_path(record) == path
    path.write_bytes(b"two")
    with pytest.raises(BadInputError, match="sha256"):
        verified_path(record)
    path.unlink()
    assert verified_path(record) is None
    with pytest.raises(BadInputError, match="does not exist"):
        record_prediction("c", "s", path)
    assert PredictionRecord(clip_id="c", system="s", path=path, sha256=SHA).label == "s"


def test_protocols_differ_in_id_wherever_they_differ():
    protocol = gt_box_aligned(detector_id="lbp")
    assert protocol.id == gt_box_aligned(detector_id="lbp").id
    changes = {"size": 512, "num_frames": 81, "alignment": "scrfd", "scored_codec": "lossless", "version": 2}
    changed = [dataclasses.replace(protocol, **{name: value}) for name, value in changes.items()]
    assert len({protocol.id, *(other.id for other in changed)}) == 1 + len(changes)
    assert protocol.frame_window == "0:end"
    assert changed[1].frame_window == "0:81"
    assert "256 px" in protocol.description


@pytest.mark.parametrize(
    "change",
    [
        {"size": 100},
        {"num_frames": 0},
        {"num_frames": 24},
        {"start_frame": -1},
        {"crop_mode": CropMode.PRECROPPED},
    ],
)
def test_impossible_protocols_are_refused(change: dict):
    with pytest.raises(BadInputError):
        dataclasses.replace(gt_box_aligned(detector_id="lbp"), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"ci_low": float("nan")},
        {"ci_high": float("inf")},
        {"n": 0},
    ],
)
def test_no_sentinel_passes_for_a_value(change: dict):
    good = MetricValue(
        system="s", clip_id=None, metric="ssim", value=0.5, n=3, protocol_id="p", backend="pixels-v1"
    )
    with pytest.raises(ValueError, match="ssim of s"):
        dataclasses.replace(good, **change)
