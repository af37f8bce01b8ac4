"""Clips with something wrong or unusual, and what curation should say about each."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lipforcing_core.puppets.packaging import Packaging
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.recording import ClipPlan, Shot
from lipforcing_core.puppets.rig import PuppetScript
from lipforcing_core.puppets.seeds import child_seed
from lipforcing_core.puppets.truth import Outcome

OFFSETS = (7, -4, 3, -10)
"""Injected audio-visual offsets in frames; each gets a clip of its own."""
CORRECTABLE_OFFSET = 6
"""Largest offset that curation corrects by default (LatentSync's limit); beyond it a clip is rejected."""

_FRAMES = 170
_SHORT_FRAMES = 75
_BLUR_SHARE = 1 / 80
_EXPECTED = {
    "blurred": (Outcome.REJECT, "quality_low"),
    "faceless": (Outcome.REJECT, "no_face"),
    "no_audio": (Outcome.REJECT, "no_audio"),
    "silent_audio": (Outcome.REJECT, "silent_audio"),
    "too_short": (Outcome.REJECT, "too_short"),
    "truncated": (Outcome.QUARANTINE, "truncated"),
}


def defect_plans(seed: int, *, size: int = 320) -> dict[str, ClipPlan]:
    """Plans of all defects by file name without ``.mp4``; each clip is one shot of 6.8 s, save the short one.

    ``odd_size`` comes with a name that is not ASCII.
    """
    plans = {}
    for offset in OFFSETS:
        name = f"offset_{'early' if offset > 0 else 'late'}_{abs(offset):02d}"
        plans[name] = _offset(_plain(seed, name, size), offset)
    broken = {
        "blurred": replace(_plain(seed, "blurred", size), blur_sigma=size * _BLUR_SHARE),
        "faceless": replace(_plain(seed, "faceless", size), faceless=True),
        "no_audio": replace(_plain(seed, "no_audio", size), sample_rate=None),
        "silent_audio": replace(_plain(seed, "silent_audio", size), silent=True),
        "too_short": _plain(seed, "too_short", size, num_frames=_SHORT_FRAMES),
        "truncated": replace(_plain(seed, "truncated", size), packaging=Packaging.TRUNCATED),
    }
    for name, plan in broken.items():
        outcome, reason = _EXPECTED[name]
        plans[name] = replace(plan, defects=(name,), expected_outcome=outcome, expected_reason=reason)
    plans["variable_rate"] = replace(
        _plain(seed, "variable_rate", size, num_frames=_FRAMES * 6 // 5, frame_rate=Fraction(30)),
        packaging=Packaging.VARIABLE_RATE,
    )
    plans["rotated"] = replace(_plain(seed, "rotated", size), packaging=Packaging.ROTATED)
    plans["odd_size_gr\u00f6\u00dfe_\u5947\u6570"] = replace(
        _plain(seed, "odd_size", size), packaging=Packaging.ODD_SIZE, sample_rate=44100
    )
    return plans


def _plain(
    seed: int, name: str, size: int, *, num_frames: int = _FRAMES, frame_rate: Fraction = Fraction(25)
) -> ClipPlan:
    own = child_seed(seed, "defect", name)
    names = portrait_names()
    script = PuppetScript.varied(
        portrait=names[own % len(names)], seed=own, num_frames=num_frames, size=size, frame_rate=frame_rate
    )
    shot = Shot(script=script, speech_seed=child_seed(own, "speech"))
    return ClipPlan(kind=name, seed=seed, shots=(shot,))


def _offset(plan: ClipPlan, offset: int) -> ClipPlan:
    if abs(offset) <= CORRECTABLE_OFFSET:
        return replace(plan, kind="offset", av_offset_frames=offset, defects=("offset",))
    return replace(
        plan,
        kind="offset",
        av_offset_frames=offset,
        defects=("offset",),
        expected_outcome=Outcome.REJECT,
        expected_reason="av_offset_too_large",
    )
