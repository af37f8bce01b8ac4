"""The table of detectors: what it says agrees with the registry of weights, and what loading by it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.faces.detectors.catalogue import DETECTORS, load_detector
from lipforcing_core.weights.chosen import files_beside


def test_unknown_detector_names_the_known_ones() -> None:
    with pytest.raises(BadInputError, match=", ".join(DETECTORS.names)):
        load_detector("mtcnn")


def test_lbp_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"face detector 'lbp' takes no file, but .*model\.onnx was given"
    ):
        load_detector("lbp", tmp_path / "model.onnx")


@pytest.mark.parametrize(("name", "licence"), [("scrfd", "non-commercial"), ("yunet", "Apache-2.0")])
def test_missing_model_says_what_to_get(tmp_path: Path, name: str, licence: str) -> None:
    absent = tmp_path / "absent.onnx"
    for path in (None, absent):
        with pytest.raises(MissingWeightsError) as caught:
            load_detector(name, path)
        message = str(caught.value)
        assert licence in message
        assert "https://" in message
        assert ".onnx" in message
    assert str(absent) in message
    assert "or use 'lbp', which needs no file" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_junk_model_is_a_user_error(tmp_path: Path, name: str) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a model at all" * 10)
    with pytest.raises(BadInputError, match=r"junk\.onnx"):
        load_detector(name, junk)


def test_wrong_hash_is_found_before_loading(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"other bytes")
    with pytest.raises(BadInputError, match=hashlib.sha256(b"other bytes").hexdigest()):
        load_detector("scrfd", junk, sha256="0" * 64)


def test_files_of_a_detector() -> None:
    model = Path("weights/det_10g.onnx")
    assert files_beside(DETECTORS["buffalo_l"], model) == (model, Path("weights/2d106det.onnx"))
    assert files_beside(DETECTORS["scrfd"], model) == (model,)
    assert files_beside(DETECTORS["lbp"], None) == ()
