"""The folder opens with ``datasets.load_dataset``, offline, as video and sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from lipforcing_core.export import huggingface, protocol
from lipforcing_core.export.huggingface_header import hub_licence, language_codes, size_category
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export

from .conftest import CLIPS, NAME, clip_id_of


@pytest.fixture
def folder(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> Path:
    write_export(curated_once, tmp_path / "out", form="huggingface", settings=settings)
    return tmp_path / "out"


def test_the_library_reads_the_same_rows_and_bytes(
    folder: Path, curated_once: Path, tmp_path: Path, no_network: None
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs datasets: pip install -e '.[dev]'")
    found: Any = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 4, "validation": 1}
    for rows in found.values():
        assert isinstance(rows.features["video"], datasets.Video)
        assert rows.features["audio"] == datasets.Audio(sampling_rate=16_000)
    encoded = found.cast_column("video", datasets.Video(decode=False))
    encoded = encoded.cast_column("audio", datasets.Audio(decode=False))
    assert [row["source"] for row in encoded["train"]] == [CLIPS[index][0] for index in (0, 1, 2, 4)]
    for row in [*encoded["train"], *encoded["validation"]]:
        stem = curated_once.parent / "clips" / row["clip_id"]
        for column, suffix in (("video", ".mp4"), ("audio", ".wav")):
            assert row[column]["bytes"] == stem.with_suffix(suffix).read_bytes()
            assert row[column]["path"] == f"{row['clip_id']}{suffix}"
        assert row["alignment"] == stem.with_suffix(".npz").read_bytes()
        assert "clip_path" not in row
    (held_out,) = encoded["validation"]
    assert (held_out["identity"], held_out["licence"], held_out["commercial_ok"]) == ("carla", None, None)


def test_the_files_are_recognised_without_the_card(folder: Path, tmp_path: Path, no_network: None) -> None:
    """The features stand in the Parquet files too, so that a single file can be opened."""
    datasets = pytest.importorskip("datasets", reason="needs datasets: pip install -e '.[dev]'")
    file = folder / "data" / "train-00000-of-00001.parquet"
    rows: Any = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows.features["video"], datasets.Video)
    assert isinstance(rows.features["audio"], datasets.Audio)


def test_the_header_is_what_the_hub_expects(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["pretty_name"] == NAME
    assert told["license"] == ["cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0", "unknown"]
    assert told["size_categories"] == ["n<1K"]
    assert told["configs"][0]["data_files"][1] == {"split": "validation", "path": "data/validation-*"}
    info = told["dataset_info"]
    assert info["features"][:2] == [
        {"name": "video", "dtype": "video"},
        {"name": "audio", "dtype": {"audio": {"sampling_rate": 16_000}}},
    ]
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [
        ("train", 4),
        ("validation", 1),
    ]
    size = sum(path.stat().st_size for path in (folder / "data").iterdir())
    assert info["download_size"] == size
    assert body.startswith("\n# Five \\| clips\n")


def test_the_hub_library_takes_the_card(folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard.load(folder / "README.md")
    assert card.data.pretty_name == NAME
    assert card.data.language is None


def test_shards_are_numbered_and_rows_come_in_groups(
    curated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SMALLEST_SHARD_BYTES", 1)
    monkeypatch.setattr(huggingface, "ROW_GROUP_BYTES", 100_000)
    small = ExportSettings(name=NAME, max_shard_bytes=300_000)
    write_export(curated_once, tmp_path / "out", form="huggingface", settings=small)
    data = tmp_path / "out" / "data"
    assert sorted(path.name for path in data.iterdir()) == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.parquet",
    ]
    groups = pq.ParquetFile(data / "train-00000-of-00002.parquet").metadata
    assert (groups.num_rows, groups.num_row_groups) == (3, 3)
    told = json.loads(pq.read_schema(data / "train-00001-of-00002.parquet").metadata[b"huggingface"])
    assert told["info"]["features"]["video"] == {"_type": "Video"}
    rows = pq.read_table(data / "train-00001-of-00002.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == [clip_id_of(4)]
    assert np.frombuffer(rows[0]["audio"]["bytes"][44:], dtype="<i2").shape == (50 * 640,)


def test_equal_input_gives_equal_bytes(
    folder: Path, curated_once: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    write_export(curated_once, tmp_path / "again", form="huggingface", settings=settings)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes(), path.name


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [
        (None, "unknown"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/4.0/", "cc-by-nc-sa-4.0"),
        ("ODbL", "odbl"),
        ("ask us", "other"),
        ("CC BY-SA 2.0", "other"),
    ],
)
def test_licences_of_the_hub(licence: str | None, identifier: str) -> None:
    assert hub_licence(licence) == identifier


def test_languages_of_the_hub_are_codes() -> None:
    assert language_codes(["en-US", "de", "EN_gb", "English", "yue"]) == ["de", "en", "yue"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (30_000, "10K<n<100K"), (2_000_000, "n>1M")],
)
def test_sizes_of_the_hub(rows: int, words: str) -> None:
    assert size_category(rows) == words
