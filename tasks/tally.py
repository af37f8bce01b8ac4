"""How far a curation is: seconds of video done and left, at which pace, what is at work, and what became of the pieces
so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.timed_steps import Costs, sum_of
from lipforcing_core.curation.records import Status
from tasks.curation import Judged, Source
from tasks.progress import Step

_LONGEST_S = 86_400.0
_REASONS = 3


class Tally:
    """Progress in seconds of video, since one long file is more work than many short ones.

    ``sources`` are those given, the longest first: the short ones fill the gaps at the end. ``costs`` adds up what
    their steps took.
    """

    def __init__(self, sources: Iterable[Source], shown: Step) -> None:
        seconds = {source: _length_s(source.path) for source in sources}
        self.sources = sorted(seconds, key=lambda source: -seconds[source])
        self.costs: Costs = {}
        self._shown = shown
        self._left = {source: seconds[source] for source in self.sources}
        self._total_s, self._done_s = sum(seconds.values()), 0.0
        self._started_s = time.monotonic()
        self._clips = 0
        self._reasons: Counter[str] = Counter()
        self.show()

    def done(self, source: Source, judged: Judged) -> None:
        """One source is finished."""
        self._done_s += self._left.pop(source)
        self._clips += len(judged.outcome.clips)
        self._reasons.update(
            decision.reason.value
            for decision in judged.outcome.decisions
            if decision.status is not Status.ACCEPTED and decision.reason is not None
        )
        self.costs = sum_of([self.costs, judged.costs])
        self.show()

    def show(self) -> None:
        """Tell how far it is, how fast it goes, what came of it, and the files that are next or at work."""
        files = f"{len(self.sources) - len(self._left)}/{len(self.sources)} files"
        names = ", ".join(shown_name(source.path.name) for source in islice(self._left, 2))
        parts = (files, self._pace(), self._funnel(), f"now {names}")
        self._shown.at_work("; ".join(part for part in parts if part))
        self._shown(round(self._done_s), max(1, round(self._total_s)))

    def _pace(self) -> str:
        """Seconds of video for each second since the start; empty before anything is done."""
        elapsed_s = time.monotonic() - self._started_s
        return f"{self._done_s / elapsed_s:.1f} x real time" if self._done_s and elapsed_s > 0 else ""

    def _funnel(self) -> str:
        turned_away = self._reasons.total()
        if not self._clips and not turned_away:
            return ""
        words = f"{self._clips} clips"
        if turned_away:
            most = ", ".join(f"{count} {reason}" for reason, count in self._reasons.most_common(_REASONS))
            words += f", {turned_away} turned away ({most}{', ...' if len(self._reasons) > _REASONS else ''})"
        return words


def _length_s(path: Path) -> float:
    """How long a file says that it is; a second for one that does not, so that it counts as some work."""
    import av

    from lipforcing_core.media.decode import open_container

    try:
        with open_container(path) as container:
            declared_s = (container.duration or 0) / av.time_base
    except (LipForcingError, OSError):
        return 1.0
    return min(declared_s, _LONGEST_S) if declared_s > 0 else 1.0
