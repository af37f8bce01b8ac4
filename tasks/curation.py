"""Curation as steps: sources in shards, clips fanned out over Ray workers that keep their models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import Costs, TimedSteps, sum_of
from lipforcing_core.curation.backends import CurationBackends, curation_detector, load_backends
from lipforcing_core.curation.pipeline import curate_source, failed_source, read_ahead, redecide_source
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile, source_name
from tasks.dispatch import Station, convey
from tasks.recording import of_the_outside, step_task
from tasks.resources import Work, needed

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector

SHARD_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Source:
    """A video, the folder that its name is relative to, and what its corpus says of it; None: what lies beside it."""

    path: Path
    root: Path
    facts: SourceFacts | None = None


def shards(sources: Sequence[Source], size: int = SHARD_SIZE) -> list[list[Source]]:
    """Sources in groups: one Prefect task run each, so that 30 000 clips cost hundreds of task runs."""
    return [list(sources[start : start + size]) for start in range(0, len(sources), size)]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of a source, and what its steps cost."""

    outcome: SourceOutcome
    costs: Costs


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A source that has been read and has clips to be measured, and what its reading cost."""

    source: Source
    file: SourceFile
    costs: Costs


@step_task(retries=1, retry_condition_fn=of_the_outside)
def curate_shard(
    sources: Sequence[Source],
    settings: CurationSettings,
    store: StepStore,
    on_done: Callable[[Source, Judged], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> list[SourceOutcome]:
    """Curate the sources of one shard; finished steps are taken from the store. ``on_done`` hears of every source.

    A source is read by one worker and measured by another, which may have a GPU. Clips go from one to the other through
    the store, not through memory. ``on_wait`` is called now and then while they are at work.
    """
    stations = [
        Station(
            function=partial(_read_one, settings=settings, store=store), name="read-source", work=Work.CLIPS
        ),
        Station(
            function=partial(
                _measure_one, settings=settings, store=store, on_gpu=needed(Work.MEASURE).gpus > 0
            ),
            name="measure-source",
            work=Work.MEASURE,
        ),
    ]
    told = None if on_done is None else lambda index, judged: on_done(sources[index], judged)
    try:
        made: list[Judged] = convey(
            sources,
            stations,
            is_final=lambda value: isinstance(value, Judged),
            on_done=told,
            on_wait=on_wait,
            lost=_lost,
        )
    except BaseException:
        store.sweep()
        raise
    outcomes = [judged.outcome for judged in made]
    if any(outcome.failed_this_time for outcome in outcomes):
        store.sweep()  # what a worker that died was writing would keep a full disk full
    return outcomes


def redecided(
    sources: Sequence[Source], hashes: Sequence[str], settings: CurationSettings, store: StepStore
) -> list[SourceOutcome | None]:
    """The outcomes that follow from stored measurements alone; None where something is to be measured.

    So other thresholds are applied in seconds: no worker is started and no video is opened.
    """
    return [
        redecide_source(
            SourceFile(path=source.path, name=source_name(source.path, source.root), sha256=sha256),
            settings=settings,
            backends=_backends(settings),
            store=store,
            root=source.root,
            facts=source.facts,
        )
        for source, sha256 in zip(sources, hashes, strict=True)
    ]


def _lost(source: Source, problem: str) -> Judged:
    return Judged(outcome=failed_source(source.path, source.root, problem), costs={})


def _read_one(source: Source, *, settings: CurationSettings, store: StepStore) -> _Read | Judged:
    timed = TimedSteps(store.root)
    found = read_ahead(
        source.path,
        settings=settings,
        detector=_detector(settings),
        store=timed,
        root=source.root,
        facts=source.facts,
    )
    if isinstance(found, SourceFile):
        return _Read(source=source, file=found, costs=timed.costs)
    return Judged(outcome=found, costs=timed.costs)


def _measure_one(read: _Read, *, settings: CurationSettings, store: StepStore, on_gpu: bool) -> Judged:
    timed = TimedSteps(store.root)
    outcome = curate_source(
        read.source.path,
        settings=settings,
        backends=_backends(settings, on_gpu),
        store=timed,
        root=read.source.root,
        facts=read.source.facts,
        read=read.file,
    )
    return Judged(outcome=outcome, costs=sum_of([read.costs, timed.costs]))


@lru_cache(maxsize=1)
def _detector(settings: CurationSettings) -> FaceDetector:
    """The detector of a worker process that reads, loaded once."""
    return curation_detector(settings)


@lru_cache(maxsize=1)
def _backends(settings: CurationSettings, on_gpu: bool = False) -> CurationBackends:
    """The models of this worker process, loaded once."""
    return load_backends(settings, on_gpu=on_gpu)
