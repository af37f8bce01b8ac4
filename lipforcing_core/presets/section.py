"""What all sections of a preset share: they are frozen, and refuse keys that they do not know."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Few = Annotated[int, Field(ge=1, le=100_000)]
"""A count of what is held in memory at once: an absurd one is refused before anything is built."""

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of a preset. Every field says what it means and in which unit (``base.describe.meaning``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
