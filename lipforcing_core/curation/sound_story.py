"""What the sound of a piece is like in words: where nobody speaks in it, and what somebody should know of it.

Nothing here rejects a piece. A note is what a score says beyond a constant that stands here, with its grounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from lipforcing_core.base.value_words import plural
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import SpeechResult
from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME

Stretches = tuple[tuple[float, float], ...]
"""Pairs of seconds (start, end), in order."""
