"""How much of a machine each kind of work takes on Ray: settings of a request, not constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Work(StrEnum):
    """Kinds of work that are sent to Ray."""

    CLIPS = "clips"
    MEASURE = "measure"
    TRAIN = "train"
    GENERATE = "generate"
    SCORE = "score"


class Need(BaseModel):
    """What one piece of work takes; fractions share a device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float = Field(1, ge=0, description="CPU cores of one piece of work.", examples=[1, 4])
    gpus: float = Field(0, ge=0, description="GPUs of one piece of work.", examples=[0, 0.5, 1])


class Resources(BaseModel):
    """What each kind of work takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Need = Field(Need(), description="Reading a source, rendering or encoding a clip.")
    measure: Need = Field(
        Need(), description="Measuring the clips of a source: sync, quality, speech, likeness."
    )
    train: Need = Field(Need(cpus=2), description="One training stage.")
    generate: Need = Field(Need(), description="Making one video.")
    score: Need = Field(Need(), description="Scoring one held-out item.")

    def of(self, work: Work) -> Need:
        """The need of one kind of work."""
        need: Need = getattr(self, work.value)
        return need


_current: ContextVar[Resources] = ContextVar("resources", default=Resources())  # noqa: B039 - it is frozen


@contextmanager
def using(resources: Resources) -> Iterator[None]:
    """Send the work of this block to Ray with these needs."""
    token = _current.set(resources)
    try:
        yield
    finally:
        _current.reset(token)


def needed(work: Work) -> Need:
    """What a piece of this work takes now."""
    return _current.get().of(work)
