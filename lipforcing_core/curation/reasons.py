"""Why a piece of video did not become a clip, and at which stage of the funnel."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The stages of the funnel, in order."""

    DECODE = "decode"
    UNIQUE = "unique"
    SOUND = "sound"
    LENGTH = "length"
    FACE = "face"
    QUALITY = "quality"
    SYNC = "sync"


class Step(StrEnum):
    """What is done to a source, in order: measuring steps, and the cuts between them."""

    READ = "read"
    SPEECH = "speech"
    FINGERPRINT = "fingerprint"
    IDENTITY = "identity"
    QUALITY = "quality"
    SYNC = "sync"
    SPLIT = "split"


class RejectReason(StrEnum):
    """Reason codes.

    ``failed_this_time``, ``inaccessible``, ``unreadable``, ``truncated`` and ``annotation_unusable`` put a whole source
    into quarantine; the first says nothing about the source. The last, ``left_out_by_corpus`` and ``consent_denied``
    are said without decoding the file.
    """

    FAILED_THIS_TIME = "failed_this_time"
    INACCESSIBLE = "inaccessible"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    ANNOTATION_UNUSABLE = "annotation_unusable"
    LEFT_OUT_BY_CORPUS = "left_out_by_corpus"
    CONSENT_DENIED = "consent_denied"
    NO_VIDEO = "no_video"
    OVER_LIMITS = "over_limits"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    HELD_OUT_PERSON = "held_out_person"
    NO_AUDIO = "no_audio"
    AUDIO_MISSING = "audio_missing"
    SILENT_AUDIO = "silent_audio"
    NO_SPEECH = "no_speech"
    OUTSIDE_RANGES = "outside_ranges"
    TOO_SHORT = "too_short"
    NO_FACE = "no_face"
    FACE_LOST = "face_lost"
    FACE_TOO_SMALL = "face_too_small"
    SEVERAL_FACES = "several_faces"
    TURNED_AWAY = "turned_away"
    TURNED_UP_OR_DOWN = "turned_up_or_down"
    LIPS_CUT_OFF = "lips_cut_off"
    FROZEN_PICTURE = "frozen_picture"
    REPEATED_FRAMES = "repeated_frames"
    OCCLUDED = "occluded"
    SYNC_CONFIDENCE_LOW = "sync_confidence_low"
    AV_OFFSET_TOO_LARGE = "av_offset_too_large"
    AV_OFFSET_UNSTABLE = "av_offset_unstable"
    QUALITY_LOW = "quality_low"

    @property
    def stage(self) -> Stage:
        """The stage that gives this reason."""
        return _STAGES[self]

    @property
    def explanation(self) -> str:
        """One plain clause for reports."""
        return _EXPLANATIONS[self]


_STAGES = {
    RejectReason.FAILED_THIS_TIME: Stage.DECODE,
    RejectReason.INACCESSIBLE: Stage.DECODE,
    RejectReason.UNREADABLE: Stage.DECODE,
    RejectReason.TRUNCATED: Stage.DECODE,
    RejectReason.ANNOTATION_UNUSABLE: Stage.DECODE,
    RejectReason.LEFT_OUT_BY_CORPUS: Stage.DECODE,
    RejectReason.CONSENT_DENIED: Stage.DECODE,
    RejectReason.NO_VIDEO: Stage.DECODE,
    RejectReason.OVER_LIMITS: Stage.DECODE,
    RejectReason.DUPLICATE: Stage.UNIQUE,
    RejectReason.NEAR_DUPLICATE: Stage.UNIQUE,
    RejectReason.HELD_OUT_PERSON: Stage.UNIQUE,
    RejectReason.NO_AUDIO: Stage.SOUND,
    RejectReason.AUDIO_MISSING: Stage.SOUND,
    RejectReason.SILENT_AUDIO: Stage.SOUND,
    RejectReason.NO_SPEECH: Stage.SOUND,
    RejectReason.OUTSIDE_RANGES: Stage.LENGTH,
    RejectReason.TOO_SHORT: Stage.LENGTH,
    RejectReason.NO_FACE: Stage.FACE,
    RejectReason.FACE_LOST: Stage.FACE,
    RejectReason.FACE_TOO_SMALL: Stage.FACE,
    RejectReason.SEVERAL_FACES: Stage.FACE,
    RejectReason.TURNED_AWAY: Stage.FACE,
    RejectReason.TURNED_UP_OR_DOWN: Stage.FACE,
    RejectReason.LIPS_CUT_OFF: Stage.FACE,
    RejectReason.FROZEN_PICTURE: Stage.FACE,
    RejectReason.REPEATED_FRAMES: Stage.FACE,
    RejectReason.OCCLUDED: Stage.FACE,
    RejectReason.SYNC_CONFIDENCE_LOW: Stage.SYNC,
    RejectReason.AV_OFFSET_TOO_LARGE: Stage.SYNC,
    RejectReason.AV_OFFSET_UNSTABLE: Stage.SYNC,
    RejectReason.QUALITY_LOW: Stage.QUALITY,
}

_EXPLANATIONS = {
    RejectReason.FAILED_THIS_TIME: "the machine failed (memory, space, a killed process); run again to have it judged",
    RejectReason.INACCESSIBLE: "the file cannot be read (a dangling link, no permission, a failing disk)",
    RejectReason.UNREADABLE: "the file cannot be decoded",
    RejectReason.TRUNCATED: "the file ends before its declared end",
    RejectReason.ANNOTATION_UNUSABLE: "what is said of the file cannot be used (file, line, field); it was not opened",
    RejectReason.LEFT_OUT_BY_CORPUS: "the corpus does not count the file as a source; it was not opened",
    RejectReason.CONSENT_DENIED: "the side information says that a person in it does not agree to its use",
    RejectReason.NO_VIDEO: "the file has no video, only sound perhaps",
    RejectReason.OVER_LIMITS: "the file is longer, or its pictures are larger, than the settings allow",
    RejectReason.DUPLICATE: "the same bytes are in the corpus under another name",
    RejectReason.NEAR_DUPLICATE: "the same footage or sound is in another clip (distance of the fingerprints)",
    RejectReason.HELD_OUT_PERSON: "the person, by name or by face, is one of another, official split",
    RejectReason.NO_AUDIO: "the file has no sound",
    RejectReason.AUDIO_MISSING: "the picture goes on after the sound has ended",
    RejectReason.SILENT_AUDIO: "the sound is silent (loudness in dBFS)",
    RejectReason.NO_SPEECH: "too little of the sound is speech (share of the time)",
    RejectReason.OUTSIDE_RANGES: "the corpus names other times of this file",
    RejectReason.TOO_SHORT: "the shot is shorter than a clip may be (seconds)",
    RejectReason.NO_FACE: "no face was found, or in too few frames (share)",
    RejectReason.FACE_LOST: "the face is missing for too long (frames)",
    RejectReason.FACE_TOO_SMALL: "the face is too small (height in pixels)",
    RejectReason.SEVERAL_FACES: "several faces, and no sync expert that says which of them speaks (faces)",
    RejectReason.TURNED_AWAY: "the head is turned to the side (degrees)",
    RejectReason.TURNED_UP_OR_DOWN: "the head looks far down or up (degrees, down is positive)",
    RejectReason.LIPS_CUT_OFF: "the lips lie beyond the border of the picture, or under a bar (share of their area)",
    RejectReason.FROZEN_PICTURE: "the picture stands still for too long (frames)",
    RejectReason.REPEATED_FRAMES: "too many frames repeat the one before, as in a slow source (share)",
    RejectReason.OCCLUDED: "something covers the mouth for half a second (correlation with its usual picture)",
    RejectReason.SYNC_CONFIDENCE_LOW: "lips and sound do not belong together (Sync-C)",
    RejectReason.AV_OFFSET_TOO_LARGE: "sound and picture are too far apart (frames)",
    RejectReason.AV_OFFSET_UNSTABLE: "an offset remains after the sound was shifted (frames)",
    RejectReason.QUALITY_LOW: "the picture quality is too low (scale of the scorer)",
}
