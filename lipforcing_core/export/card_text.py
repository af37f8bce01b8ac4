"""A data-set card as Markdown, in plain English."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lipforcing_core.base.licences import licence_address
from lipforcing_core.base.names import printable
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.export.card import Card, Share, known

HOW_IT_WAS_MADE = (
    "Each source was brought to 25 frames per second, and its sound to 16 kHz mono.",
    "Each source was split at every cut, and each shot was divided into pieces.",
    "A face detector followed the face, and every frame was warped to one canonical pose of 512 x 512 pixels. The "
    "alignment of each clip holds the transforms, so the crop can be mapped back into the source.",
    "A scorer rated the picture quality, and a sync expert measured how well lips and sound belong together and how "
    "far they are apart. Where the settings allow it, the sound was shifted by that offset and measured again.",
    "Every piece was then accepted or rejected by thresholds on the stored values. Sources with the same bytes count "
    "once.",
)
LIMITS = (
    "Identity, licence, language and consent are what the sources' side files say of them. Nobody has verified them "
    "here, and a statement that is absent is not a permission.",
    "The clips show the faces and hold the voices of people. Both are personal data, and biometric data in some "
    "countries, whatever the licence of the footage says.",
    "The filters favour frontal, well lit, well recorded faces whose lips the sync expert can read. People, languages "
    "and situations for which the detector or the sync expert works less well are under-represented.",
    "Scores of two different backends are not on one scale and must not be compared.",
)
COMMERCIAL = {
    True: "yes",
    False: "no",
    None: "not known",
}
NOT_STATED = "not stated"


def card_text(card: Card, *, name: str, usage: str) -> str:
    """The card of a data set called ``name``; ``usage`` is the Markdown that says how its files are read."""
    sections = [
        f"# {plain(name)}",
        _opening(card),
        usage.strip(),
        _section("Licences and commercial use", _licences(card)),
        _section("People", _people(card)),
        _section("Languages", _values(card.languages, "language")),
        _section("Consent", _values(card.consents, "consent")),
        *([_section("Corpora", _values(card.corpora, "corpus"))] if known(card.corpora) else []),
        _section("Splits", _values(card.splits, "split")),
        _section("Funnel", _funnel(card)),
        _section("Scores", _scores(card)),
        _section("How it was made", _made(card)),
        _section("Limits", [_bullets((*LIMITS, *_limits_of(card)))]),
    ]
    return "\n\n".join(sections) + "\n"


def plain(text: str) -> str:
    """Foreign text as one line of Markdown that is shown as it is written: no markup, no HTML, no table cell ends."""
    line = " ".join(printable(text).split())
    for mark in ("\\", "`", "*", "_", "[", "]", "#", "|", "<"):
        line = line.replace(mark, "&lt;" if mark == "<" else f"\\{mark}")
    return line


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def length(seconds: float) -> str:
    """A length for people: hours from one hour on, else minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def count(number: int, unit: str, plural: str = "") -> str:
    """A number with its unit: ``1 clip``, ``2 clips``."""
    return f"{number:,} {unit if number == 1 else plural or unit + 's'}"


def summary(card: Card) -> str:
    """The data set in one sentence."""
    people = count(card.num_identities, "named person", "named people")
    filters = (
        "picture quality" if ("sync_filter", "False") in card.settings else "synchrony and picture quality"
    )
    return (
        f"{count(card.num_clips, 'clip')} ({length(card.seconds)}) of talking faces from "
        f"{count(card.num_sources, 'source')} with {people}, 512 x 512 pixels at 25 frames per second with 16 kHz "
        f"mono sound, aligned to one pose and filtered for {filters}."
    )


def commercial_sentence(card: Card) -> str:
    """What may be said of commercial use of the whole set."""
    return {
        True: "Every clip may be used commercially by what its licence and its side files say.",
        False: "The set as a whole may not be used commercially, since at least one clip may not.",
        None: "Whether the set as a whole may be used commercially is not known, since not every clip says so.",
    }[card.commercial_ok]


def _section(title: str, paragraphs: Iterable[str]) -> str:
    return "\n\n".join([f"## {title}", *paragraphs])


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _opening(card: Card) -> str:
    languages = ", ".join(map(plain, known(card.languages))) or NOT_STATED
    licences = ", ".join(map(plain, known(card.licences))) or NOT_STATED
    rows = [
        ("clips", f"{card.num_clips:,}"),
        ("hours", f"{card.hours:,.2f}"),
        ("frames", f"{card.num_frames:,}"),
        ("sources", f"{card.num_sources:,}"),
        ("identities", _identities(card.num_identities, card.num_unnamed)),
        ("languages", languages),
        ("licences", licences),
        ("commercial use", COMMERCIAL[card.commercial_ok]),
    ]
    return f"{summary(card)}\n\n{table(('fact', 'value'), rows)}"


def _identities(named: int, unnamed: int) -> str:
    return f"{named:,}" + (f" (and {count(unnamed, 'clip')} without a name)" if unnamed else "")


def _licences(card: Card) -> Iterator[str]:
    yield commercial_sentence(card)
    rows = []
    for share in card.licences:
        address = licence_address(share.value)
        words = plain(share.value) if share.value else NOT_STATED
        rows.append((words, address or "", COMMERCIAL[share.commercial_ok], *_amounts(share)))
    yield table(("licence", "terms", "commercial use", "clips", "length"), rows)
    yield (
        "A clip counts as commercially usable where its licence allows that use, or where the side file of its source "
        "says so and the licence does not exclude it. A licence that excludes commercial use wins over any claim."
    )


def _people(card: Card) -> Iterator[str]:
    yield (
        f"{count(card.num_identities, 'identity', 'identities')} named by the side files of the sources; "
        f"{count(card.num_unnamed, 'clip')} without a name."
    )
    if card.leaking:
        names = ", ".join(map(plain, card.leaking[:5]))
        more = " and others" if len(card.leaking) > 5 else ""
        yield (
            f"**{count(len(card.leaking), 'identity appears', 'identities appear')} in more than one split:** "
            f"{names}{more}. A measurement on one split does not speak of unseen people."
        )
    elif card.num_identities:
        yield "No named identity appears in more than one split."


def _values(shares: Sequence[Share], column: str) -> Iterator[str]:
    if not known(shares):
        yield f"The {column} is {NOT_STATED} for any clip."
        return
    rows = [
        (plain(s.value) if s.value else NOT_STATED, *_amounts(s), f"{s.num_identities:,}") for s in shares
    ]
    yield table((column, "clips", "length", "identities"), rows)


def _amounts(share: Share) -> tuple[str, str]:
    return f"{share.num_clips:,}", length(share.seconds)


def _funnel(card: Card) -> Iterator[str]:
    if not card.funnel:
        yield "No `funnel.json` stood beside the manifest, so what was left out is not told here."
        return
    yield "What was left after each stage, in order. The last row is this data set."
    yield table(
        ("stage", "sources", "pieces", "length"),
        [
            (
                plain(str(row.get("stage"))),
                f"{int(row.get('sources', 0)):,}",
                f"{int(row.get('segments', 0)):,}",
                length(float(row.get("seconds", 0.0))),
            )
            for row in card.funnel
        ],
    )
    if not card.reasons:
        yield "Nothing was left out."
        return
    yield "What was left out, by reason:"
    yield table(
        ("reason", "meaning", "sources", "pieces", "length"),
        [
            (
                f"`{row.get('reason')}`",
                plain(explanation(str(row.get("reason")))),
                f"{int(row.get('sources', 0)):,}",
                f"{int(row.get('pieces', 0)):,}",
                length(float(row.get("seconds", 0.0))),
            )
            for row in card.reasons
        ],
    )


def explanation(reason: str) -> str:
    """The meaning of a reason code; empty for one that this version does not know."""
    return RejectReason(reason).explanation if reason in set(RejectReason) else ""


def _scores(card: Card) -> Iterator[str]:
    rows = [
        (f"`{spread.score}`", f"{spread.lowest:.2f}", f"{spread.middle:.2f}", f"{spread.highest:.2f}")
        for spread in card.scores
    ]
    yield table(("score", "lowest", "median", "highest"), rows)
    yield f"They were measured with {', '.join(f'`{name}`' for name in card.backends)}."


def _made(card: Card) -> Iterator[str]:
    yield "\n".join(f"{number}. {step}" for number, step in enumerate(HOW_IT_WAS_MADE, start=1))
    if card.num_checks is not None:
        verdict = f"{card.num_failed_checks} of them failed" if card.num_failed_checks else "all of them hold"
        yield f"The manifest was checked against a contract of {card.num_checks} checks, and {verdict}."
    if card.settings:
        yield "The settings were:"
        yield table(("setting", "value"), [(f"`{name}`", plain(value)) for name, value in card.settings])


def _limits_of(card: Card) -> Iterator[str]:
    if card.num_unnamed:
        yield (
            f"{count(card.num_unnamed, 'clip has', 'clips have')} no named identity, so the same person may appear in "
            "several splits."
        )
    if card.num_failed_checks:
        yield "The contract of the manifest is broken; `data_docs.html` of the curation run says where."
