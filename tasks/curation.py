"""Curation as steps: sources in shards, clips fanned out over Ray workers that keep their models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from tasks.dispatch import fan_out
from tasks.progress import Advance

SHARD_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Source:
    """A video and the folder that its name is relative to."""

    path: Path
    root: Path


def shards(sources: Sequence[Source], size: int = SHARD_SIZE) -> list[list[Source]]:
    """Sources in groups: one Prefect task run each, so that 30 000 clips cost hundreds of task runs."""
    return [list(sources[start : start + size]) for start in range(0, len(sources), size)]


@task(cache_policy=NO_CACHE, retries=1)
def curate_shard(
    sources: Sequence[Source], settings: CurationSettings, store: StepStore, advance: Advance | None = None
) -> list[SourceOutcome]:
    """Curate the sources of one shard; finished steps are taken from the store."""
    work = partial(_curate_one, settings=settings, store=store)
    return fan_out(work, sources, name="curate-source", advance=advance)


def _curate_one(source: Source, *, settings: CurationSettings, store: StepStore) -> SourceOutcome:
    return curate_source(
        source.path, settings=settings, backends=_backends(settings), store=store, root=source.root
    )


@lru_cache(maxsize=1)
def _backends(settings: CurationSettings) -> CurationBackends:
    """The models of this worker process, loaded once."""
    return load_backends(settings)
