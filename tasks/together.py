"""The outcomes of a corpus, read from the store one at a time and put together; of a large one in a process apart.

What is put together of 30 000 sources takes 300 MB for a minute, and the libraries that check it (Great Expectations
and pandas) 190 MB for good. The process that schedules has neither where the corpus is large.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipforcing_core.base.apart import apart
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.records import SourceOutcome
from tasks.outcomes import find_outcome

LARGE = 2_000
"""From so many sources on a process of its own is worth the two seconds that it takes to start."""


@dataclass(frozen=True, kw_only=True)
class StoredOutcomes:
    """The outcomes of sources with these keys and contents, in this order.

    passing: those that are not in the store, by their number. omitted: those of files that the corpus leaves out.
    """

    store: StepStore
    keys: Sequence[str]
    hashes: Sequence[str]
    passing: Mapping[int, SourceOutcome] = field(default_factory=dict)
    omitted: Sequence[SourceOutcome] = ()

    def __iter__(self) -> Iterator[SourceOutcome]:
        for number, key in enumerate(self.keys):
            outcome = self.passing.get(number) or find_outcome(self.store, key)
            assert outcome is not None, "every source has an outcome"
            yield outcome
        yield from self.omitted


def put_together(outcomes: StoredOutcomes, *given: Any, **options: Any) -> tuple[CurationReport, bool]:
    """``assemble_manifest`` of these outcomes, and whether the same files will always come to the same.

    That is so where no machine failed, and no file changed between the survey and the work.
    """
    settled: list[bool] = []

    def noted() -> Iterator[SourceOutcome]:
        for outcome, sha256 in zip(
            outcomes, [*outcomes.hashes, *(o.sha256 for o in outcomes.omitted)], strict=True
        ):
            settled.append(outcome.sha256 == sha256 and not outcome.failed_this_time)
            yield outcome

    report = assemble_manifest(noted(), *given, store=outcomes.store, **options)
    return report, all(settled[: len(outcomes.keys)])


def put_together_where_it_fits(
    outcomes: StoredOutcomes, *given: Any, **options: Any
) -> tuple[CurationReport, bool]:
    """``put_together``, in a process apart where there are many sources."""
    if len(outcomes.keys) < LARGE:
        return put_together(outcomes, *given, **options)
    return apart(put_together, outcomes, *given, **options)
