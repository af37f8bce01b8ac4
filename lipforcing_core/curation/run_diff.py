"""Two curations compared: which pieces appeared, vanished or changed their decision, and why.

A piece is the same in both if it has the same source and the same place in it. Content that moved to another name is
followed by its hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lipforcing_core.curation.limits import MEASURES, NOT_RECORDED, judged
from lipforcing_core.curation.records import CLIP_FACTS, SCORE_NAMES, Decision
from lipforcing_core.curation.settings import reasons_of
from lipforcing_core.curation.stored_run import StoredRun

PieceKey = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class SettingChange:
    """A setting that differs; ``not recorded`` on the side of a run that did not know it."""

    setting: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class PieceChange:
    """A piece that appeared, vanished, changed its decision, or kept it with another clip.

    before, after: the decision in words; None where the piece is not in that run. why: a clause for each cause found.
    """

    source: str
    start_frame: int
    stop_frame: int
    before: str | None
    after: str | None
    clip_before: str | None
    clip_after: str | None
    why: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``appeared``, ``vanished``, ``gained`` or ``lost`` a clip, ``decision`` (another reason), or ``remade``."""
        if self.before is None:
            return "appeared"
        if self.after is None:
            return "vanished"
        if self.clip_before and self.clip_after:
            return "remade"
        if self.clip_after:
            return "gained"
        return "lost" if self.clip_before else "decision"


@dataclass(frozen=True, kw_only=True)
class FactChange:
    """A fact of a clip that stayed a clip: ``split``, or one of ``CLIP_FACTS``."""

    clip_id: str
    source: str
    fact: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class RunDiff:
    """What became of the older run in the newer one. older_name, newer_name: of the data sets; empty if unknown.

    facts: what is said of clips that are in both runs and was said otherwise before.
    """

    older: str
    newer: str
    older_finished: str | None
    newer_finished: str | None
    clips_before: int
    clips_after: int
    num_unchanged: int
    settings: tuple[SettingChange, ...]
    renamed: tuple[tuple[str, str], ...]
    changes: tuple[PieceChange, ...]
    facts: tuple[FactChange, ...] = ()
    older_name: str = ""
    newer_name: str = ""

    @property
    def are_two_sets(self) -> bool:
        """Whether the runs are of data sets with different names."""
        return bool(self.older_name and self.newer_name) and self.older_name != self.newer_name


def compare_runs(one: StoredRun, other: StoredRun) -> RunDiff:
    """Compare two runs, the older against the newer whatever the order they are given in."""
    older, newer = in_order(one, other)
    renamed = _renamed(older, newer)
    before, after = _pieces(older, renamed), _pieces(newer, {})
    settings = _setting_changes(older.settings, newer.settings)
    hashes = {
        name: (older.sha256_of(was), newer.sha256_of(name))
        for was, name in _same_names(older, newer, renamed)
    }
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if (
            was is not None
            and now is not None
            and _verdict(was) == _verdict(now)
            and was.clip_id == now.clip_id
        ):
            continue
        why = _why(was, now, older, newer, settings, hashes.get(key[0]), key[0])
        changes.append(
            PieceChange(
                source=key[0],
                start_frame=key[1],
                stop_frame=key[2],
                before=None if was is None else _verdict(was),
                after=None if now is None else _verdict(now),
                clip_before=was.clip_id if was else None,
                clip_after=now.clip_id if now else None,
                why=tuple(why),
            )
        )
    return RunDiff(
        older=older.run_id,
        newer=newer.run_id,
        older_finished=older.finished,
        newer_finished=newer.finished,
        clips_before=len(older.clips),
        clips_after=len(newer.clips),
        num_unchanged=len(before.keys() | after.keys()) - len(changes),
        settings=tuple(settings),
        renamed=tuple(sorted(renamed.items())),
        changes=tuple(changes),
        facts=tuple(_fact_changes(older, newer)),
        older_name=older.name,
        newer_name=newer.name,
    )


def _fact_changes(older: StoredRun, newer: StoredRun) -> Iterator[FactChange]:
    for clip_id, now in newer.clip_of_id.items():
        was = older.clip_of_id.get(clip_id)
        for fact in () if was is None else ("split", *CLIP_FACTS):
            before, after = getattr(was, fact), getattr(now, fact)
            if before != after:
                yield FactChange(clip_id=clip_id, source=now.source, fact=fact, before=before, after=after)


def in_order(one: StoredRun, other: StoredRun) -> tuple[StoredRun, StoredRun]:
    """The older run and the newer one, by when they ended or else by the age of their decisions."""
    return (one, other) if _age(one) <= _age(other) else (other, one)


def _age(run: StoredRun) -> tuple[str, float, str]:
    written = run.folder / "decisions.parquet"
    moment = written.stat().st_mtime if written.is_file() else 0.0
    return run.finished or _as_text(moment), moment, run.run_id


def _as_text(moment: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


def _renamed(older: StoredRun, newer: StoredRun) -> dict[str, str]:
    """Sources that are gone, with the new source of the same content; only where both are the only ones."""
    gone, new = defaultdict(list), defaultdict(list)
    for source in older.decisions_of_source.keys() - newer.decisions_of_source.keys():
        gone[older.sha256_of(source)].append(source)
    for source in newer.decisions_of_source.keys() - older.decisions_of_source.keys():
        new[newer.sha256_of(source)].append(source)
    return {
        names[0]: new[sha256][0]
        for sha256, names in gone.items()
        if sha256 is not None and len(names) == len(new.get(sha256, [])) == 1
    }


def _same_names(older: StoredRun, newer: StoredRun, renamed: Mapping[str, str]) -> list[tuple[str, str]]:
    """Sources that are in both, each with its name before and after."""
    names = [(was, renamed.get(was, was)) for was in older.decisions_of_source]
    return [(was, name) for was, name in names if name in newer.decisions_of_source]


def _pieces(run: StoredRun, renamed: Mapping[str, str]) -> dict[PieceKey, Decision]:
    return {(renamed.get(d.source, d.source), d.start_frame, d.stop_frame): d for d in run.decisions}


def _verdict(decision: Decision) -> str:
    return f"{decision.status}: {decision.reason}" if decision.reason else str(decision.status)


def _setting_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[SettingChange]:
    if not before or not after:
        return []
    return [
        SettingChange(
            setting=name, before=before.get(name, NOT_RECORDED), after=after.get(name, NOT_RECORDED)
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name, NOT_RECORDED) != after.get(name, NOT_RECORDED)
    ]


def _why(
    was: Decision | None,
    now: Decision | None,
    older: StoredRun,
    newer: StoredRun,
    settings: Sequence[SettingChange],
    hashes: tuple[str | None, str | None] | None,
    source: str,
) -> list[str]:
    """The causes of a change, the nearest first: the file, the score and its limit, the settings."""
    if hashes is None:
        return ["the source is new" if was is None else "the source is gone"]
    if None not in hashes and hashes[0] != hashes[1]:
        return ["the file has other content"]
    if was is None or now is None:
        if found := _as_a_whole(source, older, newer, settings):
            return found
        cutting = [c for c in settings if c.setting in _CUTTING]
        return [_set(change) for change in cutting] or ["the source was cut into other pieces"]
    if was.clip_id and now.clip_id:
        return _remade(was, now, older, newer, settings)
    found = _crossed(was, now, older.settings, newer.settings)
    if not found:
        found = [_message(now)] if now.message and now.message != was.message else []
    if not found:
        reasons = {d.reason for d in (was, now)}
        measures = [m.setting for m in MEASURES if m.reason in reasons and m.setting is not None]
        changed = [c for c in settings if c.setting in (*measures, "sync_filter")]
        found = [_set(change) for change in changed] or _backend_changes(was, now)
    return found or [_unexplained(settings)]


def _as_a_whole(
    source: str, older: StoredRun, newer: StoredRun, settings: Sequence[SettingChange]
) -> list[str]:
    """Why a source that one of the runs turned away as a whole has no pieces in common; nothing where none did."""
    for run, when in ((older, "before"), (newer, "now")):
        rows = run.decisions_of_source.get(source, [])
        whole = [row for row in rows if row.level == "source" and row.reason is not None]
        if len(rows) == len(whole) == 1:
            reason = whole[0].reason
            changed = [_set(c) for c in settings if reason in reasons_of(c.setting)]
            return changed or [f"{when} the whole source is turned away as {reason}"]
    return []


_CUTTING = (
    "min_segment_s",
    "max_segment_s",
    "shot_threshold",
    "shot_min_content_change",
    "detector",
    "detect_stride",
    "max_gap_frames",
)
_MAKING = ("clip_crf", "sync_filter", "sync_expert", "sync_weights")


def _remade(
    was: Decision, now: Decision, older: StoredRun, newer: StoredRun, settings: Sequence[SettingChange]
) -> list[str]:
    """What is new in a clip that was accepted in both runs."""
    old, new = older.clip_of_id.get(was.clip_id or ""), newer.clip_of_id.get(now.clip_id or "")
    found = _backend_changes(was, now)
    if old is not None and new is not None:
        found += ["the aligned picture has other bytes"] if old.clip_sha256 != new.clip_sha256 else []
        found += ["the sound has other bytes"] if old.audio_sha256 != new.audio_sha256 else []
    return found + [_set(change) for change in settings if change.setting in (*_CUTTING, *_MAKING)]


def _crossed(was: Decision, now: Decision, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Scores that lie on the other side of their limits than before, and whether the score or the limit moved."""
    found = []
    for measure in MEASURES:
        old, new = judged(measure, was, before), judged(measure, now, after)
        if old.passed is None or new.passed is None or old.passed == new.passed:
            continue
        name = measure.label
        if old.value == new.value:
            words = f"{name} {new.words} is as before"
        else:
            words = f"{name} went from {old.words} to {new.words}"
        if old.limit == new.limit:
            words += f", {'past' if not new.passed else 'inside'} its limit {new.limit:g}"
        else:
            words += f", its limit went from {old.limit:g} to {new.limit:g}"
        found.append(f"{words} ({measure.setting or 'a fixed limit'}; {new.direction})")
    return found


def _backend_changes(was: Decision, now: Decision) -> list[str]:
    """Models that were exchanged."""
    return [
        f"{name.replace('_', ' ')} went from {old} to {new}"
        for name in SCORE_NAMES
        if name.endswith("_backend")
        and (old := getattr(was.scores, name)) is not None
        and (new := getattr(now.scores, name)) is not None
        and old != new
    ]


def _message(decision: Decision) -> str:
    return f"now it says: {decision.message}"


def _set(change: SettingChange) -> str:
    return f"{change.setting} went from {change.before} to {change.after}"


def _unexplained(settings: Sequence[SettingChange]) -> str:
    if settings:
        return f"settings that changed: {', '.join(change.setting for change in settings)}"
    return f"the cause is {NOT_RECORDED}"
