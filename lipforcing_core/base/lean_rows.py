"""Pydantic models of which a process holds a hundred thousand at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from pydantic import BaseModel


class LeanRow(BaseModel):
    """A model whose instances share one set of field names.

    Pydantic gives each instance a set of the names that it was made with, which weighs more than the values of a row of
    forty columns. Here ``model_fields_set`` says all names, however an instance was made.
    """

    def model_post_init(self, context: Any, /) -> None:
        _share_names(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _share_names(self)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        _share_names(copied)
        return copied


@lru_cache
def _all_names(model: type[BaseModel]) -> set[str]:
    """All field names of a model; ``model_copy`` adds some of them again, which changes nothing."""
    return set(model.model_fields)


def _share_names(model: BaseModel) -> None:
    object.__setattr__(model, "__pydantic_fields_set__", _all_names(type(model)))
