from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

import pytest

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.curation import sources
from lipforcing_core.curation.backends import require_backends
from lipforcing_core.curation.facts import read_facts
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import (
    find_sources,
    source_name,
    source_sha256,
    why_inaccessible,
)
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.quality.catalogue import QUALITY_SCORERS
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.weights.registry import find_weight


def test_settings_come_from_a_toml_table(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[curation]\nmin_segment_s = 6.5\ndetector = 'scrfd'\n")
    settings = CurationSettings.from_toml(path)
    assert (settings.min_frames, settings.max_frames, settings.detector) == (162, 250, "scrfd")
    path.write_text("[curation]\n")
    assert CurationSettings.from_toml(path) == CurationSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[curation]\nmin_segmnt_s = 3",
            ["unknown key 'min_segmnt_s' (did you mean 'min_segment_s'?)", "clip_crf"],
        ),
        ("[curation]\nclip_crf = 99\ndetect_stride = 0", ["clip_crf: should be", "(got 99)", "(got 0)\n"]),
        ("[curation]\nclip_crf = 99", ["clip_crf", "99"]),
        ("[curation]\nmin_segment_s = 20", ["min_segment_s (20.0) is larger than max_segment_s (10.0)"]),
        ("[curation", ["not valid TOML"]),
        ("curation = 3", ["has no table [curation]"]),
        ("min_segment_s = 3", ["has no table [curation]"]),
    ],
)
def test_wrong_settings_name_the_key(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        CurationSettings.from_toml(path)
    for word in [*words, str(path)]:
        assert word in str(caught.value)


def test_a_setting_goes_by_the_name_that_the_user_knows() -> None:
    values = {"min_segment_s": -3, "max_segment_s": 5}
    with pytest.raises(BadInputError, match=r"^curate: --min-seconds: should be greater than 0 \(got -3\)$"):
        CurationSettings.from_mapping(values, "curate", names={"min_segment_s": "--min-seconds"})


@pytest.mark.parametrize(
    ("chosen", "key"),
    [({"sync_expert": "syncnet-v2"}, "sync_weights"), ({"quality": "hyperiqa"}, "quality_weights")],
)
def test_a_missing_file_is_asked_for_by_its_key(chosen: dict[str, str], key: str, tmp_path: Path) -> None:
    for given in ({}, {key: tmp_path / "none.pth"}):
        with pytest.raises(MissingWeightsError, match=rf"^{key} in the \[curation\] table of --settings: "):
            require_backends(CurationSettings(**chosen, **given))


def test_all_missing_files_are_asked_for_at_once(tmp_path: Path) -> None:
    given = tmp_path / "none.pth"
    settings = CurationSettings(
        detector="buffalo_l", sync_expert="syncnet-v2", quality="hyperiqa", quality_weights=given
    )
    detector, sync, quality = map(find_weight, ("insightface-buffalo-l", "syncnet-v2", "hyperiqa"))
    needed = [
        path for file, path in zip(detector.files, detector.paths(tmp_path), strict=True) if file.needed
    ]
    table = "in the [curation] table of --settings"
    with pytest.raises(MissingWeightsError) as caught:
        require_backends(settings, weights_dir=tmp_path)
    assert str(caught.value) == (
        "3 checkpoints are needed and not here: "
        f"{', '.join(map(str, needed))} ({detector.name}, {detector.size_mb:g} MB, licence: {detector.licence}); "
        f"syncnet-v2 ({sync.size_mb:g} MB, licence: {sync.licence}; give its path as sync_weights {table}, "
        "or use 'nano', which needs no file); "
        f"{given} (hyperiqa, {quality.size_mb:g} MB, licence: {quality.licence}; give its path as quality_weights "
        f"{table}, or use 'piqe', which needs no file). "
        "Get them with `lipforcing weights fetch insightface-buffalo-l syncnet-v2 hyperiqa --accept-licence`, or by "
        "hand from the places that `lipforcing weights show NAME` tells"
    )
    with pytest.raises(MissingWeightsError) as caught:
        require_backends(settings)
    assert "insightface-buffalo-l (" in str(caught.value)
    assert "; use 'lbp', which needs no file)" in str(caught.value)
    with pytest.raises(MissingWeightsError, match="insightface-buffalo-l: no file was given"):
        require_backends(CurationSettings(detector="buffalo_l"))
    with pytest.raises(
        MissingWeightsError, match=f"^insightface-buffalo-l is needed .* {needed[0]} does not"
    ):
        require_backends(CurationSettings(detector="buffalo_l"), weights_dir=tmp_path)


def test_a_shipped_file_that_was_named_and_is_absent_is_in_the_list(tmp_path: Path) -> None:
    settings = CurationSettings(sync_weights=tmp_path / "gone.safetensors", quality="hyperiqa")
    with pytest.raises(MissingWeightsError) as caught:
        require_backends(settings)
    message = str(caught.value)
    assert message.startswith(
        "2 checkpoints are needed and not here: sync_weights in the [curation] table of --settings: "
        f"{tmp_path}/gone.safetensors does not exist; without it the sync expert 'nano' uses the file that is shipped; "
        "hyperiqa ("
    )
    assert "Get those with an address with `lipforcing weights fetch hyperiqa" in message


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("detector", f"unknown face detector 'other'; known: {', '.join(DETECTORS.names)}"),
        ("sync_expert", f"unknown sync expert 'other'; known: {', '.join(SYNC_EXPERTS.names)}"),
        ("quality", f"unknown quality scorer 'other'; known: {', '.join(QUALITY_SCORERS.names)}"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_list(key: str, known: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"[curation]\n{key} = 'other'\n")
    with pytest.raises(BadInputError) as caught:
        CurationSettings.from_toml(path)
    assert str(caught.value) == f"{path} [curation]: {key}: {known} (got 'other')"


def test_the_threshold_belongs_to_the_scorer() -> None:
    assert CurationSettings().quality_threshold == 85
    assert CurationSettings(quality="piqe").quality_threshold == 85
    assert CurationSettings(quality="hyperiqa").quality_threshold == 40
    assert CurationSettings(quality="hyperiqa", quality_threshold=55.5).quality_threshold == 55.5
    for end in (0, 100):
        assert CurationSettings(quality_threshold=end).quality_threshold == end
    for wrong in (-0.1, 100.1):
        with pytest.raises(
            BadInputError, match=r"is not on the scale of piqe: 0 is best, 100 is worst, 85 is usual"
        ):
            CurationSettings.from_mapping({"quality_threshold": wrong})


def test_a_file_that_is_no_detector_is_said_before_any_work(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    with pytest.raises(BadInputError, match=r"junk\.onnx is not a usable YuNet model"):
        require_backends(CurationSettings(detector="yunet", detector_model=junk))
    with pytest.raises(BadInputError, match="'lbp' takes no file"):
        require_backends(CurationSettings(detector_model=junk))


def test_missing_settings_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="there is no such file"):
        CurationSettings.from_toml(tmp_path / "a.toml")


def test_videos_are_found_sorted_whatever_their_suffix_looks_like(tmp_path: Path) -> None:
    for name in ["b.MP4", "a/ü.mkv", "a/notes.txt", ".hidden/c.mp4", "a/.d.mp4", "c.mov"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_sources(tmp_path).sources]
    assert found == ["a/ü.mkv", "b.MP4", "c.mov"]
    assert list(find_sources(tmp_path / "a/notes.txt").sources) == [tmp_path / "a/notes.txt"]


def test_linked_folders_are_entered_but_not_in_circles(tmp_path: Path) -> None:
    store, corpus = tmp_path / "store", tmp_path / "corpus"
    (store / "deep").mkdir(parents=True)
    (store / "deep/a.mp4").touch()
    corpus.mkdir()
    (corpus / "linked").symlink_to(store)
    (store / "deep/back").symlink_to(store)
    (corpus / "self").symlink_to(tmp_path)
    assert list(find_sources(corpus).sources) == [corpus / "linked/deep/a.mp4"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "secret").mkdir()
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadInputError, match=r"secret: this folder cannot be read \(Permission denied\)"):
        find_sources(tmp_path)


def test_what_cannot_be_opened_is_found_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dangling.mp4").symlink_to("gone.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "secret.mp4").write_bytes(b"1")
    (tmp_path / "fine.mp4").write_bytes(b"2")
    (tmp_path / "folder.mp4").mkdir()

    def opened(path: Path, mode: str) -> IO[bytes]:
        if path.name == "secret.mp4":
            raise PermissionError(13, "Permission denied")
        return open(path, mode)

    monkeypatch.setattr(sources, "open", opened, raising=False)
    found = list(find_sources(tmp_path).sources)
    assert {path.name: why_inaccessible(path) for path in found} == {
        "dangling.mp4": "a link to gone.mp4, which is not there",
        "fine.mp4": None,
        "loop.mp4": "a link to loop.mp4, which is not there",
        "pipe.mp4": "no regular file",
        "secret.mp4": "Permission denied",
    }
    assert len({source_sha256(path, tmp_path) for path in found}) == 5
    assert source_sha256(tmp_path / "fine.mp4", tmp_path) == hashlib.sha256(b"2").hexdigest()


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no videos here"):
        find_sources(tmp_path)
    with pytest.raises(BadInputError, match="no such file or folder"):
        find_sources(tmp_path / "x")


def test_facts_come_from_the_sidecar_or_the_table(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a.mp4.meta.json").write_text('{"identity": "anna", "commercial_ok": true, "other": 1}')
    (tmp_path / "sources.csv").write_text("path,identity,licence,commercial_ok\nsub/c.mp4,carl,CC0-1.0,\n")
    assert read_facts(tmp_path / "a.mp4", tmp_path) == SourceFacts(identity="anna", commercial_ok=True)
    assert read_facts(tmp_path / "b.mp4", tmp_path) == SourceFacts()
    assert read_facts(tmp_path / "sub/c.mp4", tmp_path) == SourceFacts(identity="carl", licence="CC0-1.0")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.mp4.meta.json", "{", "JSON"),
        ("a.mp4.meta.json", "[1]", "must hold an object"),
        ("a.mp4.meta.json", '{"commercial_ok": "perhaps"}', "commercial_ok"),
        ("sources.csv", "name,identity\nx.mp4,anna\n", r"column path missing .* \(found: name, identity\)"),
        ("sources.csv", "path;identity\nx.mp4;anna\n", "look separated by ';', but commas are needed"),
    ],
)
def test_malformed_facts_are_refused(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=words):
        read_facts(tmp_path / "a.mp4", tmp_path)


def test_a_source_outside_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(BadInputError, match="outside"):
        source_name(tmp_path / "a.mp4", tmp_path / "corpus")
    with pytest.raises(BadInputError, match="outside"):
        source_name(tmp_path / "corpus" / ".." / "a.mp4", tmp_path / "corpus")
    assert source_name(tmp_path / "corpus" / "é" / "a.mp4", tmp_path / "corpus") == "é/a.mp4"


def test_a_link_to_a_file_elsewhere_is_a_source_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "store.mp4").touch()
    link = tmp_path / "corpus" / "a.mp4"
    link.symlink_to(tmp_path / "store.mp4")
    assert list(find_sources(tmp_path / "corpus").sources) == [link]
    assert source_name(link, tmp_path / "corpus") == "a.mp4"


def test_every_reason_has_a_stage_and_an_explanation() -> None:
    for reason in RejectReason:
        assert reason.stage
        assert reason.explanation
