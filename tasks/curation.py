"""Curation as steps: sources in shards, clips fanned out over Ray workers that keep their models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source, failed_source, redecide_source
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile, source_name
from tasks.dispatch import fan_out
from tasks.recording import of_the_outside, step_task

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


@step_task(retries=1, retry_condition_fn=of_the_outside)
def curate_shard(
    sources: Sequence[Source],
    settings: CurationSettings,
    store: StepStore,
    on_done: Callable[[Source], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> list[SourceOutcome]:
    """Curate the sources of one shard; finished steps are taken from the store. ``on_done`` hears of every source.

    ``on_wait`` is called now and then while they are at work.
    """
    work = partial(_curate_one, settings=settings, store=store)
    told = None if on_done is None else lambda index: on_done(sources[index])
    try:
        outcomes = fan_out(work, sources, name="curate-source", on_done=told, on_wait=on_wait, lost=_lost)
    except BaseException:
        store.sweep()
        raise
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


def _lost(source: Source, problem: str) -> SourceOutcome:
    return failed_source(source.path, source.root, problem)


def _curate_one(source: Source, *, settings: CurationSettings, store: StepStore) -> SourceOutcome:
    return curate_source(
        source.path,
        settings=settings,
        backends=_backends(settings),
        store=store,
        root=source.root,
        facts=source.facts,
    )


@lru_cache(maxsize=1)
def _backends(settings: CurationSettings) -> CurationBackends:
    """The models of this worker process, loaded once."""
    return load_backends(settings)
