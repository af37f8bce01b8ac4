"""A corpus from end to end: which sources are new, their work on Ray, and the data set put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.packed_rows import batches
from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.base.timed_steps import Costs
from lipforcing_core.corpora.catalogue import CORPORA, read_corpus
from lipforcing_core.curation.assemble import CurationReport
from lipforcing_core.curation.contract_text import failure_lines
from lipforcing_core.curation.drift import EarlierRun
from lipforcing_core.curation.facts import read_facts
from lipforcing_core.curation.pipeline import omitted_source
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import IgnoredFiles, source_name
from tasks.curation import SHARD_SIZE, Source, curate_shard, redecided, shards
from tasks.datasets import DataSet
from tasks.digests import source_digests
from tasks.outcomes import (
    code_digest,
    find_outcome,
    keep_outcome,
    outcome_key,
    settings_digest,
    was_measured,
)
from tasks.progress import step
from tasks.tally import Tally
from tasks.together import StoredOutcomes, put_together_where_it_fits
from tasks.workspace import Workspace


class ContractError(LipForcingError):
    """The curated manifest does not hold what it promises. ``summary`` is that of the flow, where it has one."""

    summary: Any = None


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Sources with the hashes of their content, and the keys of their outcomes.

    ``sounds`` are names and hashes of separate sound files, ``facts`` what is known of each source, by its name.
    """

    sources: tuple[Source, ...]
    hashes: tuple[str, ...]
    keys: tuple[str, ...]
    sounds: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, SourceFacts] | None = None

    def told(self, index: int) -> Source:
        """A source with what is known of it."""
        source = self.sources[index]
        facts = (self.facts or {}).get(source_name(source.path, source.root))
        return replace(source, facts=facts)

    def listing(self) -> list[tuple[str, str]]:
        """Name below the folder and hash of every file, as run ids are made of them."""
        names = [source_name(source.path, source.root) for source in self.sources]
        return [*zip(names, self.hashes, strict=True), *self.sounds]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a corpus holds: videos, what is known of them by name, other files by kind, what has no effect, and the rows
    of its annotations that cannot be used."""

    sources: list[Source]
    facts: dict[str, SourceFacts]
    ignored: tuple[IgnoredFiles, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = ()
    corpus: str = CORPORA.default
    omitted: tuple[tuple[Source, SourceOutcome], ...] = ()
    """Media files that the corpus leaves out, with their rows."""

    def identity(self) -> dict[str, Any]:
        """The part of a run's configuration that the corpus and its facts are; empty for a folder without any.

        The annotations of a published corpus are as large as the corpus, so a key stands for them, and for the files
        that are left out.
        """
        rows = [outcome for _, outcome in self.omitted]
        omitted = {"omitted": content_key(rows)} if rows else {}
        if self.corpus != CORPORA.default:
            return {"corpus": self.corpus, "facts": content_key(self.facts)} | omitted
        return ({"facts": self.facts} if self.facts else {}) | omitted

    def told(self) -> str:
        """A key of everything that the page of a run tells of the corpus besides its sources."""
        return content_key(self.ignored, self.warnings, self.problems)


def discover(given: Path, corpus: str = CORPORA.default, test_list: Path | None = None) -> Found:
    """The videos of a corpus; a layout or a side file that cannot be used is said here, before hours of work.

    Raises ``BadInputError`` as ``lipforcing_core.corpora.catalogue.read_corpus`` does.
    """
    listing = read_corpus(corpus, given, test_list)
    return Found(
        sources=[Source(path=source.path, root=listing.root) for source in listing.sources],
        facts=listing.facts(),
        ignored=listing.ignored,
        warnings=listing.lines(),
        problems=tuple(map(str, listing.problems)),
        corpus=corpus,
        omitted=tuple(
            (
                Source(path=path, root=listing.root),
                omitted_source(path, listing.root, why.reason, why.message),
            )
            for path, why in sorted(listing.omitted.items())
        ),
    )


def survey(
    workspace: Workspace,
    sources: Sequence[Source],
    settings: CurationSettings,
    facts: Mapping[str, SourceFacts] | None = None,
) -> Corpus:
    """Hash what is new or changed, and say which outcome each source has under these settings.

    facts: those of each source by its name, as the corpus says them; None where they are side information only.
    """
    known = {
        s: read_facts(s.path, s.root)
        if facts is None
        else facts.get(source_name(s.path, s.root), SourceFacts())
        for s in sources
    }
    sounds = {s: s.root / sound for s in sources if (sound := known[s].audio)}
    by_root: dict[Path, list[Path]] = {}
    for source in sources:
        by_root.setdefault(source.root, []).append(source.path)
        if source in sounds:
            by_root[source.root].append(sounds[source])
    hashes: dict[tuple[Path, Path], str] = {}
    for root, paths in by_root.items():
        digests = source_digests(paths, root, workspace.state)
        hashes |= {(root, path): sha256 for path, sha256 in zip(paths, digests, strict=True)}
    code, chosen = code_digest(), settings_digest(settings)
    heard = {s: hashes[s.root, path] for s, path in sounds.items()}
    keys = [
        outcome_key(
            s.path,
            s.root,
            f"{hashes[s.root, s.path]}+{heard[s]}" if s in heard else hashes[s.root, s.path],
            known[s],
            settings=chosen,
            code=code,
        )
        for s in sources
    ]
    return Corpus(
        sources=tuple(sources),
        hashes=tuple(hashes[s.root, s.path] for s in sources),
        keys=tuple(keys),
        sounds=tuple((source_name(path, s.root), heard[s]) for s, path in sounds.items()),
        facts={source_name(s.path, s.root): known[s] for s in sources},
    )


@dataclass(frozen=True, kw_only=True)
class Curated:
    """The report of a curation, and how many sources were taken from earlier work."""

    report: CurationReport
    num_reused: int
    costs: Costs
    """What the steps of this run took of the workers."""

    is_settled: bool
    """Whether the same files will always come to this: no machine failed, and no file changed or could not be read any
    more between the survey and the work."""


def curate_corpus(
    workspace: Workspace,
    corpus: Corpus,
    settings: CurationSettings,
    folder: Path,
    beside: Found | None = None,
    dataset: DataSet | None = None,
    earlier: EarlierRun | None = None,
) -> Curated:
    """Curate what is new, in shards, and put the data set together in ``folder``; the warehouse is left alone.

    ``beside``: what was found beside the sources, to be told in the report. ``dataset``: its name, and what it is held
    against; ``earlier``: the run of it before this one.
    """
    store = workspace.store
    new = [index for index, key in enumerate(corpus.keys) if find_outcome(store, key) is None]
    num_reused = len(corpus.keys) - len(new)
    passing: dict[int, SourceOutcome] = {}  # outcomes that are not kept; a run of days cannot hold all others
    decided: set[int] = set()
    known = [index for index in new if was_measured(store, corpus.hashes[index])]
    if known:
        with step(f"decide about {len(known)} sources anew"):
            for some in batches(known, SHARD_SIZE):
                told = [corpus.told(index) for index in some]
                outcomes = redecided(told, [corpus.hashes[index] for index in some], settings, store)
                for index, outcome in zip(some, outcomes, strict=True):
                    if outcome is not None:
                        _keep(store, corpus, passing, index, outcome)
                        decided.add(index)
        new = [index for index in new if index not in decided]
    costs: Costs = {}
    if new:
        title = f"curate {len(new)} new sources ({num_reused} reused"
        title += f", {len(decided)} decided anew)" if decided else ")"
        with step(title, "s of video") as shown:
            places = {corpus.told(index): index for index in new}
            tally = Tally(places, shown)
            for shard in shards(tally.sources):
                made = curate_shard(shard, settings, store, on_done=tally.done, on_wait=tally.show)
                for source, outcome in zip(shard, made, strict=True):
                    _keep(store, corpus, passing, places[source], outcome)
        costs = tally.costs
    with step(f"put {len(corpus.keys)} sources together"):
        omitted = beside.omitted if beside else ()
        report, is_settled = put_together_where_it_fits(
            StoredOutcomes(
                store=store,
                keys=corpus.keys,
                hashes=corpus.hashes,
                passing=passing,
                omitted=[outcome for _, outcome in omitted],
            ),
            folder,
            settings,
            ignored=beside.ignored if beside else (),
            warnings=beside.warnings if beside else (),
            problems=beside.problems if beside else (),
            facts=corpus.facts,
            folders={
                source_name(s.path, s.root): s.root for s in (*corpus.sources, *(s for s, _ in omitted))
            },
            against=dataset.against if dataset else (),
            name=dataset.name if dataset else None,
            earlier=earlier,
        )
    return Curated(report=report, num_reused=num_reused, is_settled=is_settled, costs=costs)


def _keep(
    store: StepStore, corpus: Corpus, passing: dict[int, SourceOutcome], index: int, outcome: SourceOutcome
) -> None:
    """Store the outcome of a source; one that is not to be kept for other runs goes to ``passing``."""
    keep_outcome(store, corpus.keys[index], outcome)
    if not outcome.is_final:
        passing[index] = outcome


def require_contract(report: CurationReport, summary: Any = None) -> None:
    """Raise ``ContractError``, which lists the checks that fail, if the manifest breaks its contract."""
    contract, counts = report.contract, report.balance
    if contract.success:
        return
    broken = f"{contract.num_failed} of {contract.num_checks} checks fail{'s' * (contract.num_failed == 1)}"
    lines = [f"the manifest breaks its contract: {broken}"]
    lines += [f"  {line}" for line in failure_lines(contract.failures)]
    lines.append(
        f"{counts.sources_in} sources: {counts.sources_accepted} accepted ({counts.clips} clips), "
        f"{counts.sources_rejected} rejected, {counts.sources_quarantined} quarantined; everything has been written, "
        f"and {report.data_docs} shows it"
    )
    error = ContractError("\n".join(lines))
    error.summary = summary
    raise error
