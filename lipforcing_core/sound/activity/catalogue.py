"""The voice activity detectors that exist. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry

if TYPE_CHECKING:
    from lipforcing_core.sound.activity.protocol import ActivityRule, VoiceActivityDetector


@dataclass(frozen=True, kw_only=True)
class ActivityEntry(Entry):
    """One voice activity detector.

    load: makes it with the rule that turns probabilities into stretches of speech, or with the usual one.
    package, module: the distribution that ships its model, and the module that is there if that is installed; empty
    where it needs none.
    """

    load: Callable[[ActivityRule | None], VoiceActivityDetector]
    package: str = ""
    module: str = ""

    @property
    def lacks(self) -> str:
        """The package that ships the model, where it is not installed."""
        return f"the package {self.package}" if self.module and find_spec(self.module) is None else ""


def _silero(rule: ActivityRule | None) -> VoiceActivityDetector:
    from lipforcing_core.sound.activity.silero import SileroDetector

    return SileroDetector(rule=rule)


ACTIVITY_DETECTORS = Catalogue(
    kind="voice activity detector",
    entries=(
        ActivityEntry(
            name="silero",
            summary="Silero VAD: speech probability every 32 ms, from a network that comes with its package",
            load=_silero,
            package="silero-vad",
            module="silero_vad",
        ),
    ),
)


def load_activity(
    name: str = ACTIVITY_DETECTORS.default, *, rule: ActivityRule | None = None
) -> VoiceActivityDetector:
    """The detector called ``name``; ``rule`` replaces the usual ``ActivityRule()``.

    Raises ``BadInputError`` for an unknown name, and ``LipForcingError`` where a package that it needs is absent.
    """
    return ACTIVITY_DETECTORS[name].load(rule)
