"""Names of files that are no plain text: processed, and shown escaped wherever they get to."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import pytest

from lipforcing_core.base.names import real_name
from lipforcing_core.base.products import StepStore, content_key, read_json
from lipforcing_core.corpora.catalogue import read_corpus
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.facts import side_warnings
from lipforcing_core.curation.manifest import read_decisions
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import find_sources, source_name, source_sha256
from lipforcing_core.media.ffmpeg import run_ffmpeg

from .conftest import SquareDetector

SETTINGS = CurationSettings(min_segment_s=2.0, max_segment_s=4.0)
NAMES = {
    b"caf\xe9.mp4": r"caf\xe9.mp4",
    b"two\nlines.mp4": r"two\nlines.mp4",
    b"-i %03d {x}*?.mp4": "-i %03d {x}*?.mp4",
    b"\x1b]0;own\x07\x1b[2J.mp4": r"\x1b]0;own\x07\x1b[2J.mp4",
    b"<b>&'\".mp4": "<b>&'\".mp4",
    b"back\\xe9.mp4": r"back\\xe9.mp4",
    "übung 話 😀.mp4".encode(): "übung 話 😀.mp4",
    ("n" * 251 + ".mp4").encode(): "n" * 251 + ".mp4",
}


def unlike(data: bytes, number: int) -> bytes:
    """The same video in other bytes: an empty box at its end."""
    return data + struct.pack(">I4s", 8 + number, b"free") + bytes(number)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, reel: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    video = reel("mute short", ["grey"], sound="none", shot_frames=12)
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(unlike(video.read_bytes(), number))
    gif = folder / "moving %d.gif"
    run_ffmpeg(ffmpeg.input(str(video)).output(str(folder / "a.gif"), vframes=5), video)
    (folder / "a.gif").rename(gif)
    return folder


@pytest.fixture(scope="module")
def report(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> CurationReport:
    folder = tmp_path_factory.mktemp("out")
    backends = CurationBackends(detector=SquareDetector(), sync_expert=None, quality=None, activity=None)  # type: ignore[arg-type]
    store = StepStore(os.fsdecode(os.fsencode(folder) + b"/store \xe9\n"))
    outcomes = [
        curate_source(path, settings=SETTINGS, backends=backends, store=store, root=corpus)
        for path in find_sources(corpus).sources
    ]
    out = Path(os.fsdecode(os.fsencode(folder) + b"/run \xe9"))
    return assemble_manifest(outcomes, out, SETTINGS, store=store)


def test_every_name_is_processed_and_shown(report: CurationReport, corpus: Path) -> None:
    decisions = read_decisions(report.decisions)
    assert {d.source: d.reason for d in decisions} == dict.fromkeys(
        [*NAMES.values(), "moving %d.gif"], "no_audio"
    )
    for shown in NAMES.values():
        assert (corpus / real_name(shown)).is_file()
    assert report.contract.success, report.contract.failures


def test_what_is_written_is_utf8_without_control_characters(report: CurationReport) -> None:
    page = report.data_docs.read_bytes().decode("utf-8")
    assert r"caf\xe9.mp4" in page
    assert "&lt;b&gt;" in page
    assert "\x1b" not in page
    assert "\x1b" not in report.funnel_json.read_bytes().decode("utf-8")


def test_names_are_part_of_keys_whatever_their_bytes(corpus: Path) -> None:
    paths = find_sources(corpus).sources
    assert len({content_key(path) for path in paths}) == len(paths)
    assert len({content_key(path.name, source_sha256(path, corpus)) for path in paths}) == len(paths)


def test_side_information_finds_a_name_by_its_shown_form(corpus: Path, tmp_path: Path) -> None:
    for name in (b"caf\xe9.mp4", b"back\\xe9.mp4", b"two\nlines.mp4"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    (tmp_path / "sources.csv").write_text(
        'path,identity\ncaf\\xe9.mp4,eve\nback\\xe9.mp4,ben\n"two\nlines.mp4",tim\n'
    )
    found = find_sources(tmp_path)
    assert side_warnings(found) == ()
    known = read_corpus("folder", tmp_path).facts()
    assert {name: facts.identity for name, facts in known.items()} == {
        r"caf\xe9.mp4": "eve",
        r"back\\xe9.mp4": "ben",
        r"two\nlines.mp4": "tim",
    }
    assert all(source_name(path, tmp_path) in known for path in found.sources)


def test_a_store_under_a_name_that_is_no_text_works(report: CurationReport) -> None:
    assert read_json(report.funnel_json)["balance"]["sources_in"] == len(NAMES) + 1
