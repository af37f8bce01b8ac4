"""What a training set tells of its references, and which of its keys the plan of windows moves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.manifest import write_manifest
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.training.dataset import ClipSource
from tasks import training_sets
from tasks.training_keys import training_set, training_set_before
from tasks.training_windows import any_replanned, count_references, references_line
from tests.curation.runs import piece, record


def clip(num_frames: int, folder: Path = Path(), name: str = "a") -> ClipSource:
    return ClipSource(
        clip_id=name, num_frames=num_frames, clip_path=folder / "a.mp4", audio_path=folder / "a.wav"
    )


def windows_of(preset: str, **changes: int) -> Preset:
    chosen = load_preset(preset)
    return chosen.model_copy(update={"video": chosen.video.model_copy(update=changes)})


def test_references_are_counted_window_by_window() -> None:
    """Two windows of 125 frames, two of 162, four of 250; two of 92 share 70 frames; 80 frames hold none."""
    clips = [clip(length) for length in (125, 162, 250, 92, 80)]
    counts = count_references(clips, load_preset("1.3b").video)
    assert counts == {"windows_disjoint": 6, "windows_partial": 2, "windows_none": 2}
    assert references_line(counts) == (
        "10 training windows: 6 with a disjoint reference, 2 with a partial one, 2 without any"
    )


@pytest.mark.parametrize(("preset", "expected"), [("nano", False), ("1.3b", True), ("14b", True)])
def test_clips_of_5_to_10_seconds_have_new_windows_in_the_large_presets_alone(
    preset: str, expected: bool
) -> None:
    video = load_preset(preset).video
    assert any(any_replanned([clip(n)], video) for n in range(125, 251)) is expected
    assert not any_replanned([clip(162), clip(243)], video)
    assert any_replanned([clip(162), clip(125)], video) is expected
    assert not any_replanned([], video)


class _Seen(Exception):
    pass


class _Store(StepStore):
    """Takes note of the keys that are looked for."""

    key = ""
    also: Sequence[str] = ()

    def run(
        self, step: str, key: str, work: Any, *, resumable: bool = False, also: Sequence[str] = ()
    ) -> Any:
        self.key, self.also = key, also
        raise _Seen


@pytest.mark.parametrize(("num_frames", "is_new"), [(162, False), (161, True)])
def test_a_set_has_a_new_key_where_its_windows_are_new(num_frames: int, is_new: bool, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    preset = windows_of("nano", window_frames=81, window_stride_frames=81)
    preset = preset.model_copy(update={"base_checkpoint": None})
    store = _Store(tmp_path)
    with pytest.raises(_Seen):
        training_sets.prepare_training_set.fn(store, [clip(num_frames, tmp_path)], preset)
    sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of the letter x
    hashes = [("a", sha256, sha256)]
    assert training_set(hashes, preset) != training_set(hashes, preset, replanned=True)
    assert store.key == training_set(hashes, preset, replanned=is_new)
    assert list(store.also) == ([] if is_new else [training_set_before(hashes, preset)])


def test_the_counts_are_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    told: list[str] = []
    monkeypatch.setattr(training_sets, "note", told.append)
    monkeypatch.setattr(training_sets, "encode_clips", lambda _store, clips, *_: [clips[0].clip_path])
    store = StepStore(tmp_path / "steps")
    for _ in range(2):
        data = training_sets.prepare_training_set.fn(store, [clip(125, tmp_path)], load_preset("nano"))
    line = "12 training windows: 12 with a disjoint reference, 0 with a partial one, 0 without any"
    assert told == [line, line], "a set that was encoded before is told of as well"
    result = (data.folder / "result.json").read_text()
    assert '"windows_disjoint": 12' in result


@pytest.mark.parametrize(
    ("ids", "words"), [(["../a"], "cannot be part of a file name"), (["a", "a"], "in 2 rows")]
)
def test_ids_that_are_no_file_names_or_stand_twice_are_refused(
    ids: list[str], words: str, tmp_path: Path
) -> None:
    """Encoded clips are files of these names."""
    rows = [
        record(piece(f"{n}.mp4", n + 1), n + 1).model_copy(update={"clip_id": name})
        for n, name in enumerate(ids)
    ]
    write_manifest(tmp_path / "manifest.parquet", rows)
    with pytest.raises(BadInputError, match=words):
        training_sets.training_clips(tmp_path / "manifest.parquet")
