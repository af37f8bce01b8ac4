"""What all sections of a preset share: they are frozen, and refuse keys that they do not know."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

BoundedCount = Annotated[int, Field(ge=1, le=100_000)]
"""A count of what is held in memory at once: an absurd one is refused before anything is built."""

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of a preset. Every field says what it means and in which unit (``base.describe.meaning``).

    Its ``_newer`` options came after presets had been stored. A newer option is left out of a dump while it has its
    default, so the content keys of older presets do not move.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
    _newer: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_newer_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        for name in self._newer:
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values
