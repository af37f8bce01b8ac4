"""The files of a chosen implementation, on a table of fakes that reads registered weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.catalogue import Catalogue, FileEntry
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.quality.catalogue import QUALITY_SCORERS
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.weights.chosen import checked_files, files_beside, registered_file, weights_to_find
from lipforcing_core.weights.registry import find_weight

PACK = FileEntry(name="pack", summary="", weights=("insightface-buffalo-l",), files=("a.onnx", "b.onnx"))
SHIPPED = FileEntry(name="shipped", summary="", files=("s.bin",))
PLAIN = FileEntry(name="plain", summary="")
TABLE = Catalogue(kind="thing", entries=(PACK, SHIPPED, PLAIN))


@pytest.mark.parametrize("catalogue", [DETECTORS, SYNC_EXPERTS, QUALITY_SCORERS], ids=lambda c: c.kind)
def test_files_of_the_entries_are_those_of_the_registry(catalogue: Catalogue[FileEntry]) -> None:
    """The first file is the one whose path a user gives; all that the registry calls needed are named."""
    for entry in catalogue:
        if entry.weights:
            spec = find_weight(entry.weights[0])
            assert list(entry.files) == [Path(file.path).name for file in spec.files if file.needed]
            assert bool(entry.licence) or spec.commercial_ok


def test_what_must_be_found_and_where(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    assert weights_to_find(PACK, None) == ("insightface-buffalo-l",)
    assert weights_to_find(PACK, own) == ()
    assert weights_to_find(PLAIN, None) == ()
    assert registered_file(PACK, own, tmp_path) == own
    assert registered_file(PLAIN, None, tmp_path) is None
    assert registered_file(SHIPPED, None, tmp_path) is None
    with pytest.raises(MissingWeightsError, match=r"faces/buffalo_l/det_10g\.onnx does not exist"):
        registered_file(PACK, None, tmp_path)
    for name in ("det_10g.onnx", "2d106det.onnx"):
        path = tmp_path / "faces" / "buffalo_l" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert registered_file(PACK, None, tmp_path) == tmp_path / "faces" / "buffalo_l" / "det_10g.onnx"


def test_files_beside_the_given_one() -> None:
    assert files_beside(PACK, Path("x/own.onnx")) == (Path("x/own.onnx"), Path("x/b.onnx"))
    assert files_beside(SHIPPED, Path("x/own.bin")) == (Path("x/own.bin"),)
    assert files_beside(PACK, None) == ()


def test_files_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    with pytest.raises(
        MissingWeightsError, match=r"no file was given.*or use 'shipped', which needs no file"
    ):
        checked_files(TABLE, "pack", None)
    with pytest.raises(MissingWeightsError, match=r"own\.onnx does not exist: get"):
        checked_files(TABLE, "pack", own)
    own.write_bytes(b"x")
    with pytest.raises(
        MissingWeightsError, match=r"pack reads b\.onnx beside own\.onnx, and .*b\.onnx does not"
    ):
        checked_files(TABLE, "pack", own)
    (tmp_path / "b.onnx").write_bytes(b"x")
    assert checked_files(TABLE, "pack", own) == (own, tmp_path / "b.onnx")


def test_files_of_choices_that_need_none(tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    assert checked_files(TABLE, "plain", None) == checked_files(TABLE, "shipped", None) == ()
    with pytest.raises(BadInputError, match=r"the thing 'plain' takes no file, but .*own\.bin was given"):
        checked_files(TABLE, "plain", own)
    with pytest.raises(
        MissingWeightsError, match=r"own\.bin does not exist; without it the thing 'shipped' uses"
    ):
        checked_files(TABLE, "shipped", own)
    own.write_bytes(b"x")
    assert checked_files(TABLE, "shipped", own) == (own,)
    with pytest.raises(BadInputError, match="unknown thing 'other'"):
        checked_files(TABLE, "other", None)
