"""A corpus from end to end: which sources are new, their work on Ray, and the data set put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.records import SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import discover_sources, read_facts
from tasks.curation import Source, curate_shard, shards
from tasks.digests import source_digests
from tasks.outcomes import code_digest, find_outcome, keep_outcome, outcome_key, settings_digest
from tasks.progress import Step, step
from tasks.workspace import Workspace


class ContractError(LipForcingError):
    """The curated manifest does not hold what it promises."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Sources with the hashes of their content, and the keys of their outcomes."""

    sources: tuple[Source, ...]
    hashes: tuple[str, ...]
    keys: tuple[str, ...]

    def listing(self) -> list[tuple[str, str]]:
        """Name and hash of every source, as run ids are made of them."""
        return [(source.path.name, sha256) for source, sha256 in zip(self.sources, self.hashes, strict=True)]


def find_sources(given: Path) -> list[Source]:
    """The videos of a folder or the one file; a malformed side file is said here, before hours of work.

    Raises ``BadInputError`` as ``discover_sources`` and ``read_facts`` do.
    """
    root = given if given.is_dir() else given.parent
    sources = [Source(path=path, root=root) for path in discover_sources(given)]
    for source in sources:
        read_facts(source.path, source.root)
    return sources


def survey(workspace: Workspace, sources: Sequence[Source], settings: CurationSettings) -> Corpus:
    """Hash what is new or changed, and say which outcome each source has under these settings."""
    by_root: dict[Path, list[Path]] = {}
    for source in sources:
        by_root.setdefault(source.root, []).append(source.path)
    hashes: dict[tuple[Path, Path], str] = {}
    for root, paths in by_root.items():
        digests = source_digests(paths, root, workspace.state)
        hashes |= {(root, path): sha256 for path, sha256 in zip(paths, digests, strict=True)}
    code, chosen = code_digest(), settings_digest(settings)
    keys = [
        outcome_key(
            s.path, s.root, hashes[s.root, s.path], read_facts(s.path, s.root), settings=chosen, code=code
        )
        for s in sources
    ]
    return Corpus(
        sources=tuple(sources), hashes=tuple(hashes[s.root, s.path] for s in sources), keys=tuple(keys)
    )


@dataclass(frozen=True, kw_only=True)
class Curated:
    """The report of a curation, and how many sources were taken from earlier work."""

    report: CurationReport
    num_reused: int


def curate_corpus(workspace: Workspace, corpus: Corpus, settings: CurationSettings, folder: Path) -> Curated:
    """Curate what is new, in shards, and put the data set together in ``folder``; the warehouse is left alone."""
    store = workspace.store
    found = [find_outcome(store, key) for key in corpus.keys]
    new = [index for index, outcome in enumerate(found) if outcome is None]
    num_reused = len(found) - len(new)
    if new:
        title = f"curate {len(new)} new sources ({num_reused} reused)"
        with step(title, "s of video") as shown:
            tally = _Tally([corpus.sources[index] for index in new], shown)
            made: list[SourceOutcome] = []
            for shard in shards(tally.sources):
                made += curate_shard(shard, settings, store, on_done=tally.done)
        for index, outcome in zip(new, made, strict=True):
            keep_outcome(store, corpus.keys[index], outcome)
            found[index] = outcome
    with step(f"put {len(found)} sources together"):
        outcomes = [outcome for outcome in found if outcome is not None]
        report = assemble_manifest(outcomes, folder, settings, store=store)
    return Curated(report=report, num_reused=num_reused)


class _Tally:
    """Progress in seconds of video, since one long file is more work than many short ones."""

    def __init__(self, sources: list[Source], shown: Step) -> None:
        self.sources = sources
        self._shown = shown
        self._seconds = {source.path: _length_s(source.path) for source in sources}
        self._left = [source.path for source in sources]
        self._show()

    def done(self, source: Source) -> None:
        """One source is finished."""
        self._left.remove(source.path)
        self._show()

    def _show(self) -> None:
        total = sum(self._seconds.values())
        left = sum(self._seconds[path] for path in self._left)
        names = ", ".join(path.name for path in self._left[:2])
        self._shown.at_work(f"{len(self.sources) - len(self._left)}/{len(self.sources)} files; now {names}")
        self._shown(round(total - left), max(1, round(total)))


def _length_s(path: Path) -> float:
    """How long a video says it is; a second for one that does not, so that it counts as some work."""
    from lipforcing_core.media.probe import probe

    try:
        declared = probe(path).duration_s
        return min(float(declared), 86_400.0) if declared else 1.0
    except (LipForcingError, OSError, ValueError):
        return 1.0


def require_contract(report: CurationReport) -> None:
    """Raise ``ContractError`` if the manifest breaks its contract."""
    if not report.contract.success:
        raise ContractError(f"the manifest breaks its contract; {report.data_docs} lists what and where")
