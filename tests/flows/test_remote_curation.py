"""A corpus at a URI is curated as the same folder here is, and its data set goes to another URI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from flows.catalogue import run_flow
from lipforcing_core.base.errors import BadInputError
from tasks import curation
from tests.tasks.in_process import convey

SOURCE, TARGET = "memory://bucket/talks", "memory://bucket/set"


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two files that are no videos, with side information; curated in this process."""
    monkeypatch.setattr(curation, "convey", convey)
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in ("a.mp4", "sub/b.mp4"):
        system.pipe(f"/bucket/talks/{name}", b"no video " + name.encode())
    system.pipe("/bucket/talks/sources.csv", b"path,identity\nsub/b.mp4,ben\n")
    yield system
    system.store.clear()


def curate(place: Path, **request: Any) -> Any:
    return run_flow("curate", {"workspace": str(place), **request})


def test_a_corpus_at_a_uri_is_that_of_the_folder(bucket: Any, tmp_path: Path) -> None:
    there = curate(tmp_path / "a", source=SOURCE, publish=TARGET)
    bucket.get("/bucket/talks", str(tmp_path / "talks"), recursive=True)
    here = curate(tmp_path / "b", source=str(tmp_path / "talks"))
    assert (there.run_id, there.name, there.sources_quarantined) == (here.run_id, "talks", 2)
    found = {path.removeprefix("/bucket/set/") for path in bucket.find("/bucket/set")}
    assert {"manifest.parquet", "decisions.parquet", "sources.parquet", "data_docs.html"} <= found
    assert not any(path.endswith(".log") for path in found)


def test_an_unchanged_corpus_is_answered_and_a_lost_copy_is_made_again(bucket: Any, tmp_path: Path) -> None:
    first = curate(tmp_path, source=SOURCE, publish=TARGET)
    bucket.rm("/bucket/set/decisions.parquet")
    again = curate(tmp_path, source=SOURCE, publish=TARGET)
    assert (again.run_id, again.sources_reused) == (first.run_id, 2)
    assert bucket.exists("/bucket/set/decisions.parquet")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"source": "memory://bucket/none"}, "memory://bucket/none: there is nothing there"),
        ({"source": SOURCE, "publish": "out/set"}, "publish: must be a URI, such as s3://bucket/talks"),
        ({"source": ""}, "source: must not be empty; '.' is the current folder"),
    ],
)
def test_a_place_that_cannot_be_is_said(request_: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=words):
        curate(tmp_path, **request_)
