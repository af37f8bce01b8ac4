"""``croissant.json`` is valid by ``mlcroissant``, offline, and its record sets hold the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.manifest import read_manifest
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export

from .conftest import CLIPS, NAME

COMPLETE = ExportSettings(
    name=NAME, url="https://example.org/clips", creator="A laboratory", published="2026-11-29"
)


@pytest.fixture
def folder(curated_once: Path, tmp_path: Path) -> Path:
    write_export(curated_once, tmp_path / "out", form="croissant", settings=COMPLETE)
    return tmp_path / "out"


@pytest.fixture
def described(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def opened(folder: Path, no_network: None) -> Any:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant: pip install -e '.[dev]'")
    return mlcroissant.Dataset(folder / "croissant.json")


def test_it_is_valid(opened: Any) -> None:
    issues = opened.metadata.ctx.issues
    assert not issues.errors
    assert [warning for warning in issues.warnings if "citeAs" not in warning] == []
    assert opened.metadata.name == NAME
    assert [str(licence) for licence in opened.metadata.license] == [
        "https://creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org/licenses/by-nc/4.0/",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ]
    assert opened.metadata.personal_sensitive_information


def test_every_row_and_column_of_the_manifest_can_be_iterated(opened: Any, curated_once: Path) -> None:
    clips = read_manifest(curated_once)
    records = list(opened.records("clips"))
    assert len(records) == len(clips) == 5
    for record, clip in zip(records, clips, strict=True):
        for column, value in clip.model_dump(mode="json").items():
            found = record[f"clips/{column}"]
            assert (found.decode() if isinstance(found, bytes) else found) == value, column


def test_the_tables_of_the_card_are_record_sets(opened: Any) -> None:
    def rows(name: str, *columns: str) -> list[tuple[Any, ...]]:
        return [tuple(record[f"{name}/{c}"] for c in columns) for record in opened.records(name)]

    assert rows("licences", "licence", "commercial_use", "clips", "seconds") == [
        ("CC-BY-4.0", "yes", 2, 4.0),
        ("CC BY-NC 4.0", "no", 1, 2.0),
        ("CC0-1.0", "yes", 1, 2.0),
        ("not stated", "not known", 1, 2.0),
    ]
    funnel = rows("funnel", "stage", "sources", "segments", "seconds")
    assert funnel[0] == ("found", 5, 10, 12.0)
    assert funnel[-1] == ("sync", 5, 5, 10.0)
    assert rows("reasons", "reason", "pieces", "seconds") == [("too_short", 5, 2.0)]


def test_a_changed_table_is_noticed_by_the_library(folder: Path, no_network: None) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant: pip install -e '.[dev]'")
    manifest = folder / "manifest.parquet"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(Exception, match=r"Download\(manifest\.parquet\)"):
        list(mlcroissant.Dataset(folder / "croissant.json").records("clips"))


def test_files_and_their_hashes(folder: Path, described: dict[str, Any], curated_once: Path) -> None:
    files = {entry["@id"]: entry for entry in described["distribution"]}
    tables = ["manifest.parquet", "decisions.parquet", "fingerprints.parquet"]
    assert list(files) == [*tables, "pictures", "sounds", "alignments"]
    for name in tables:
        assert files[name]["sha256"] == file_sha256(folder / name)
        assert files[name]["contentSize"] == f"{(folder / name).stat().st_size} B"
    assert files["sounds"]["includes"] == "clips/*.wav"
    assert len(list((folder / "clips").glob("*.wav"))) == len(CLIPS)
    for clip in read_manifest(folder / "manifest.parquet"):
        assert file_sha256(folder / clip.clip_path) == clip.clip_sha256


def test_clips_are_second_names_and_tables_are_copies(folder: Path, curated_once: Path) -> None:
    """A table that is changed here does not change that of curation; clips take no space twice."""
    clip = read_manifest(curated_once)[0].clip_path
    assert (folder / clip).samefile(curated_once.parent / clip)
    assert not (folder / "manifest.parquet").samefile(curated_once)


def test_what_is_not_known_is_left_out(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> None:
    write_export(curated_once, tmp_path / "plain", form="croissant", settings=settings)
    told = json.loads((tmp_path / "plain" / "croissant.json").read_text(encoding="utf-8"))
    assert not {"url", "creator", "datePublished", "citeAs", "inLanguage"} & set(told)


def test_facts_for_people_who_decide(described: dict[str, Any]) -> None:
    assert described["conformsTo"][0] == "http://mlcommons.org/croissant/1.0"
    assert described["creator"] == {"@type": "sc:Organization", "name": "A laboratory"}
    assert described["datePublished"] == "2026-11-29"
    assert "may not be used commercially" in described["description"]
    assert described["rai:machineAnnotationTools"] == ["lbp@1", "piqe@1", "puppet@1"]
    assert "Consent: not stated." in described["rai:personalSensitiveInformation"]


def test_the_context_is_the_published_one(described: dict[str, Any]) -> None:
    pytest.importorskip("mlcroissant", reason="needs mlcroissant: pip install -e '.[dev]'")
    from mlcroissant._src.core.rdf import make_context

    assert described["@context"] == make_context()


def test_clips_that_were_changed_are_refused(manifest: Path, tmp_path: Path) -> None:
    clip = read_manifest(manifest)[2]
    with open(manifest.parent / clip.audio_path, "ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BadInputError, match=rf"{clip.clip_id}\.wav: its sha256 is .* changed after curation"):
        write_export(manifest, tmp_path / "out", form="croissant", settings=COMPLETE)
    assert not (tmp_path / "out").exists()
