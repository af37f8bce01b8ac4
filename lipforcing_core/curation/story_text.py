"""The story of a source as plain text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from lipforcing_core.base.names import printable
from lipforcing_core.curation.limits import NOT_RECORDED, Direction, Judged
from lipforcing_core.curation.records import Status
from lipforcing_core.curation.results import Reading, TrackFacts, Undecodable
from lipforcing_core.curation.sound_words import Stretches, sound_notes
from lipforcing_core.curation.stored_costs import costs_line
from lipforcing_core.curation.story import PieceStory, Story
from lipforcing_core.media.clock import FPS

COLUMNS = 100
_LABEL = 14
_MAX_SHOTS = 12
_MAX_SILENCES = 24
_MARKS = {True: "ok", False: "MISSED", None: ""}
_GOOD = {
    Direction.HIGHER: "higher",
    Direction.LOWER: "lower",
    Direction.ZERO: "near 0",
    Direction.UNKNOWN: "?",
    Direction.NONE: "",
}


def story_text(story: Story) -> str:
    """The whole story, line by line."""
    parts = [_head(story), _reading(story)]
    parts += [_piece(number, piece) for number, piece in enumerate(story.pieces, 1)]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _head(story: Story) -> list[str]:
    run = story.run
    lines = [*_wrapped(f"{story.source}: {verdict(story)}"), ""]
    lines += _field("file", story.path)
    lines += _field("sha256", story.sha256 or f"{story.source_id}... (the rest is {NOT_RECORDED})")
    lines += _field("facts", facts_line(story))
    lines += _field(
        "run", f"{run.run_id}, started {run.started or NOT_RECORDED}, ended {run.finished or NOT_RECORDED}"
    )
    return lines


def verdict(story: Story) -> str:
    """What became of the source, in a clause."""
    if story.status is Status.QUARANTINED:
        return "quarantined"
    accepted = [p for p in story.pieces if p.decision.status is Status.ACCEPTED]
    if not accepted:
        return "rejected"
    total = sum(piece.decision.seconds for piece in accepted)
    clips = "1 clip" if len(accepted) == 1 else f"{len(accepted)} clips"
    return f"accepted, {clips} of {total:.2f} s in all; {len(story.pieces)} rows"


def facts_line(story: Story) -> str | None:
    """What the corpus says of the source; None where that is not recorded."""
    if story.facts is None:
        return None
    told = [f"{name} {_fact(value)}" for name, value in story.facts.items()]
    return ", ".join(told) or "the corpus says nothing of it"


def _fact(value: Any) -> str:
    """A fact in words; one that has parts, such as a crop, with those that say something."""
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_fact(part)}' for name, part in value.items() if part is not None)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_fact, value))}]"
    return str(value)


def reading_lines(story: Story) -> list[tuple[str, str]]:
    """The stages before the pieces, a title and what happened there."""
    reading = story.reading
    if reading is None:
        lines = [
            ("reading", f"{NOT_RECORDED} (not read to its end, removed from the step store, or an older run)")
        ]
        if story.frames_in:
            lines.append(("length", f"{_s(story.frames_in)} at 25 frames a second"))
    elif isinstance(reading, Undecodable):
        declared = "" if reading.declared_s is None else f"; declares {float(reading.declared_s):.2f} s"
        lines = [("reading", f"{reading.problem}{declared}")]
    else:
        lines = read_lines(reading)
    complaint = reading.decoder_message if isinstance(reading, Undecodable) else story.decoder_message
    if complaint:
        lines.append(("decoder", printable(complaint)))
    lines.append(("time", costs_line(story.costs)))
    if story.frames_trimmed:
        lines.append(("trimmed", f"{story.frames_trimmed} frames at the end outlast the sound"))
    return lines


def read_lines(reading: Reading) -> list[tuple[str, str]]:
    """How a source was read: a title and words for each stage."""
    read = f"{reading.num_frames} frames ({_s(reading.num_frames)}), {reading.width} x {reading.height}"
    read += f"; the header says {float(reading.declared_s):.2f} s"
    repairs = {
        "damaged packets": reading.num_damaged,
        "frames invented": reading.num_invented,
        "frames dropped": reading.num_dropped,
    }
    read += "".join(f"; {count} {what}" for what, count in repairs.items() if count)
    read += f"; {reading.tone_mapped} brought to standard range" if reading.tone_mapped else ""
    shots = [f"{_time(shot.start)}-{_time(shot.stop)}" for shot in reading.shots[:_MAX_SHOTS]]
    more = len(reading.shots) - len(shots)
    told = f"{', '.join(shots)}{f' and {more} more' if more else ''}"
    pieces = f"{len(reading.pieces)} cut out"
    pieces += f", {len(reading.short)} too short" if reading.short else ""
    pieces += f", {len(reading.outside)} outside the times that the corpus names" if reading.outside else ""
    return [
        ("reading", read),
        *([("size", _sizes(reading))] if reading.size_changes else []),
        ("sound", _sound(reading)),
        ("shots", f"{len(reading.shots)}: {told} s" if shots else "none"),
        ("pieces", pieces),
    ]


def _sizes(reading: Reading) -> str:
    words = f"{reading.width} x {reading.height}"
    for change in reading.size_changes[:_MAX_SHOTS]:
        words += f", from {_time(change.frame)} s on {change.width} x {change.height}"
    more = len(reading.size_changes) - _MAX_SHOTS
    return f"{words}{f' and {more} more changes' if more > 0 else ''}; the source is cut there"


def _sound(reading: Reading) -> str:
    if reading.sound is None:
        return "none"
    sound = reading.sound
    notes = "".join(f"; {note}" for note in sound.notes)
    return f"{reading.num_samples / 16_000:.2f} s, track {sound.track} ({sound.why}), {sound.how}{notes}"


def _reading(story: Story) -> list[str]:
    return [line for title, words in reading_lines(story) for line in _field(title, words)]


def piece_title(number: int, piece: PieceStory) -> str:
    """Place and decision of a piece in one line."""
    decision = piece.decision
    kind = "piece" if decision.level == "segment" else "source"
    place = f"{_time(decision.start_frame)} to {_time(decision.stop_frame)} s"
    return f"{kind} {number}, {place}: {decision.status}{f' as {decision.reason}' if decision.reason else ''}"


def piece_lines(piece: PieceStory) -> list[tuple[str, str]]:
    """What is known of a piece beside its scores: a title and words for each."""
    decision, lines = piece.decision, []
    if decision.reason is not None:
        why = decision.reason.explanation
        if decision.measured is not None:
            why += f"; measured {decision.measured:.4g}"
        if decision.threshold is not None:
            why += f", limit {decision.threshold:.4g}"
        lines.append(("because", f"{why} (stage {decision.reason.stage})"))
    others = [line for line in piece.missed if line.measure.reason is not decision.reason]
    if others:
        lines.append(("also missed", ", ".join(line.measure.label for line in others)))
    if decision.message:
        lines.append(("message", printable(decision.message)))
    if piece.record is not None:
        record = piece.record
        lines.append(("clip", f"{record.clip_id}, {record.split}, {record.clip_path}"))
    elif decision.clip_id is not None:
        lines.append(("clip", decision.clip_id))
    if piece.scores:
        lines.append(("time", costs_line(piece.costs)))
        lines.append(("silences", _silences(piece.silences)))
        lines += [("sound", note) for note in sound_notes(decision.scores)]
    for track in piece.piece.tracks if piece.piece is not None else ():
        lines.append(("face", _face(track, is_scored=track.number == piece.face)))
    return lines


def _silences(silences: Stretches | None) -> str:
    if not silences:
        return NOT_RECORDED if silences is None else "none"
    shown = [f"{start:.2f}-{end:.2f}" for start, end in silences[:_MAX_SILENCES]]
    more = len(silences) - len(shown)
    total = sum(end - start for start, end in silences)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''} s of the piece; {total:.2f} s in all"


def _face(track: TrackFacts, *, is_scored: bool) -> str:
    box = ", ".join(f"{edge:.0f}" for edge in track.box_xyxy)
    scored = ", the one scored" if is_scored else ""
    return f"{track.number}: box {box}, seen in {100 * track.detected_fraction:.0f} % of the frames{scored}"


def _piece(number: int, piece: PieceStory) -> list[str]:
    asked = "  <- the clip asked for" if piece.is_asked else ""
    lines = _wrapped(f"{piece_title(number, piece)}{asked}")
    lines += [line for title, words in piece_lines(piece) for line in _field(title, words)]
    if piece.scores:
        lines.append(f"  {'stage':<8} {'score':<28} {'value':<12} {'good':<6} limit (its setting)")
    for stage, scores in groupby(piece.scores, key=lambda line: line.measure.stage):
        lines += [f"  {stage.value}", *map(_score, scores)]
    if not piece.scores:
        lines += _field("scores", "none: it was not measured")
    return lines


def _score(score: Judged) -> str:
    good = _GOOD[score.direction]
    line = (
        f"    {_MARKS[score.passed]:<6} {score.measure.label:<28} {score.words:<12} {good:<6} {score.asked}"
    )
    return line.rstrip()[:COLUMNS]


def _field(title: str, words: str | None) -> list[str]:
    return _wrapped(f"  {title:<{_LABEL - 2}}{words or NOT_RECORDED}", indent=_LABEL)


def _wrapped(text: str, indent: int = 4) -> list[str]:
    """Lines of at most ``COLUMNS``; words longer than a line, such as names, are cut into pieces."""
    parts = text.splitlines() or [""]
    lines = textwrap.wrap(
        parts[0], COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True
    )
    for part in parts[1:]:
        lines += textwrap.wrap(
            part, COLUMNS, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
        )
    return lines


def _s(frames: int) -> str:
    return f"{frames / int(FPS):.2f} s"


def _time(frame: int) -> str:
    return f"{frame / int(FPS):.2f}"
