"""Three hundred damaged files: each ends with a row or a clip, and none runs away."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.names import printable
from lipforcing_core.base.products import StepStore, read_json
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import load_detector
from lipforcing_core.media.probe import probe
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sync.offset import SyncScore
from tests.mutants.changes import NUM_FILES, Mutant, mutants
from tests.mutants.clips import NUM_FRAMES

from .conftest import EverySoundSpeaks

SETTINGS = CurationSettings(
    min_segment_s=0.8, max_segment_s=1.2, min_face_height_px=30, quality_threshold=100, sync_filter=False
)
EVERY = 7
"""The quick test takes one file in so many, 43 in all."""
LONGEST_S = 60
MOST_BYTES_OF_A_SOURCE = 30
MOST_BYTES = 5_000_000
MOST_FRAMES_OF_ONE = 250
"""A frame or a block of sound may be shown for ten seconds, and what lies further apart than that is a jump."""


class Middling:
    """Rates every picture, and every match of lips and sound, the same."""

    backend_id = "middling-v1"

    def score(self, frames_FHW3: np.ndarray, *sound_S: np.ndarray) -> Any:
        if not sound_S:
            return QualityScore(value=50.0, backend=self.backend_id, higher_is_better=False)
        return SyncScore(
            confidence=5.0,
            distance=5.0,
            offset_frames=0,
            num_windows=1,
            backend=self.backend_id,
            distances=(),
        )


@pytest.fixture(scope="module")
def quick() -> CurationBackends:
    return CurationBackends(
        detector=load_detector("lbp", None),
        sync_expert=Middling(),  # type: ignore[arg-type]
        quality=Middling(),  # type: ignore[arg-type]
        activity=EverySoundSpeaks(),
    )


def mutant_id(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", mutants(EVERY), ids=mutant_id)
def test_a_damaged_file_is_accounted_for(mutant: Mutant, quick: CurationBackends, tmp_path: Path) -> None:
    look_at(mutant, quick, tmp_path)


def look_at(mutant: Mutant, backends: CurationBackends, folder: Path) -> SourceOutcome:
    """Curate a damaged file twice, and check everything that was promised about it."""
    path, store = folder / mutant.name, StepStore(folder / "store")
    path.write_bytes(mutant.data)

    def curate() -> SourceOutcome:
        return curate_source(path, settings=SETTINGS, backends=backends, store=store, root=folder)

    outcome = curate()
    assert_accounted_for(outcome)
    assert_within_bounds(outcome, mutant, store)
    assert_only_finished_steps(store)
    assert_decoder_is_quoted(outcome, store)
    assert curate() == outcome, "the verdict is a property of the file"
    assert_progress_can_be_told(path)
    return outcome


def assert_accounted_for(outcome: SourceOutcome) -> None:
    """Every frame has one row, but for the few that outlast the sound; every rejection has a reason."""
    assert not outcome.failed_this_time, outcome.decoder_message
    spans = sorted((d.start_frame, d.stop_frame) for d in outcome.decisions)
    edges = [0, *(edge for span in spans for edge in span), outcome.frames_in]
    assert edges == sorted(edges), "rows do not overlap and lie within the source"
    assert sum(stop - start for start, stop in spans) + outcome.frames_trimmed == outcome.frames_in
    assert outcome.frames_trimmed < 12
    for decision in outcome.decisions:
        assert (decision.reason is None) == (decision.status is Status.ACCEPTED)
        assert decision.message or decision.status is not Status.QUARANTINED


def assert_within_bounds(outcome: SourceOutcome, mutant: Mutant, store: StepStore) -> None:
    written = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    assert written <= MOST_BYTES_OF_A_SOURCE * len(mutant.data) + MOST_BYTES
    assert outcome.frames_in <= MOST_FRAMES_OF_ONE * NUM_FRAMES * 2


def assert_only_finished_steps(store: StepStore) -> None:
    for folder in store.root.glob("*/*"):
        if folder.is_dir():
            assert (folder / StepStore.RESULT).is_file(), folder
        else:
            assert folder.suffix == ".lock", folder
    assert not [path for path in store.root.rglob("*") if ".tmp" in path.name]


def assert_decoder_is_quoted(outcome: SourceOutcome, store: StepStore) -> None:
    for path in store.root.glob("read/*/result.json"):
        result = read_json(path)
        words = result.get("complaint") or result.get("decoder_message") or ""
        assert printable(words) in outcome.decoder_message


def assert_progress_can_be_told(path: Path) -> None:
    """The progress line asks every file for its length, and takes these errors for an answer."""
    with suppress(LipForcingError, OSError, ValueError):
        probe(path)


def test_all_files_differ_and_are_the_same_every_time() -> None:
    found = {mutant.name: mutant.data for mutant in mutants()}
    assert len(found) == len(set(found.values())) == NUM_FILES == 300
    assert found == {mutant.name: mutant.data for mutant in mutants()}
    assert all(mutant.data != mutant.origin for mutant in mutants())


def _in_a_child(mutant: Mutant, backends: CurationBackends, folder: Path, answer: Any) -> None:
    try:
        answer.send(look_at(mutant, backends, folder).status.value)
    except BaseException:
        answer.send(traceback.format_exc())


@pytest.fixture(scope="module")
def embedded() -> Iterator[CurationBackends]:
    import cv2
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # threads of a pool do not survive a fork
    cv2.setNumThreads(1)
    yield load_backends(SETTINGS)
    torch.set_num_threads(before)
    cv2.setNumThreads(os.cpu_count() or 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_hundred_damaged_files_with_the_embedded_models(
    embedded: CurationBackends, tmp_path: Path
) -> None:
    """Each in a process of its own, so that a crash of a decoder or an endless loop is a finding and not the end."""
    context = multiprocessing.get_context("fork")
    statuses: dict[str, list[str]] = {}
    problems = []
    for number, mutant in enumerate(mutants()):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_in_a_child, args=(mutant, embedded, folder, there))
        child.start()
        there.close()
        try:
            words = here.recv() if here.poll(LONGEST_S) else f"not ready after {LONGEST_S} s"
        except EOFError:
            words = "the process died"
        child.kill()
        child.join()
        if words in {status.value for status in Status}:
            statuses.setdefault(words, []).append(mutant.name)
        else:
            problems.append(f"{mutant.name}: {words}")
    assert not problems, "\n".join(problems)
    assert {status.value for status in Status} == set(statuses)
