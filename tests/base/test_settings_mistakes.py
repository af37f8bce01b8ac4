"""Mistakes in settings: the key by the name that the user knows, the value as the user wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lipforcing_core.base.settings_mistakes import mistakes


class Face(BaseModel):
    model_config = ConfigDict(extra="forbid")

    detector: str
    detector_model: str = ""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min_s: float = 1
    max_s: float = 2
    face: Face | None = None
    faces: list[Face] = []
    pairs: tuple[Face, ...] = ()
    named: dict[str, Face] = {}
    either: Face | dict[str, int] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError("min_s is larger than max_s, and face.detector_model is not face or detector")
        return self


def told(values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return mistakes(caught.value, Settings, names=names)


def test_the_value_of_the_user_stays_as_it_is() -> None:
    (line,) = told({"min_s": "min_s"}, {"min_s": "--min"})
    assert line.startswith("--min: should be a valid number")
    assert line.endswith("(got 'min_s')")


def test_every_line_has_the_name_that_the_user_knows() -> None:
    names = {"min_s": "--min", "face": "--face", "face.detector": "--detector"}
    assert told({"face": {}}, names) == ["missing key '--detector'"]
    assert told({"face": 3}, names) == ["--face: must be a table [--face] (got 3)"]
    (line,) = told({"mins": 3}, names)
    assert line == (
        "unknown key 'mins' (did you mean '--min'?); known keys: --face, --min, either, faces, max_s, named, pairs"
    )
    (line,) = told({"face": {"detectr": "x"}}, names)
    assert (
        line
        == "unknown key 'face.detectr' (did you mean '--detector'?); known keys: --detector, detector_model"
    )


@pytest.mark.parametrize("keys", permutations(["face", "face.detector_model", "detector"]))
def test_keys_in_the_words_of_a_validator_are_replaced_once(keys: tuple[str, ...]) -> None:
    """Whatever the order: no key within a longer one, and none within a name that was put in."""
    known = {"face": "--detector", "face.detector_model": "--model of face", "detector": r"\1"}
    (line,) = told({"min_s": 3}, {key: known[key] for key in keys})
    assert line == r"min_s is larger than max_s, and --model of face is not --detector or \1"


def test_a_key_within_a_longer_one_is_not_replaced() -> None:
    (line,) = told({"min_s": 3}, {"face": "--face", "detector_model": "--model", "s": "--s"})
    assert line == "min_s is larger than max_s, and face.detector_model is not --face or detector"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"faces": [{"detector": "x"}, {"detector": "x", "detectors": 1}]}, "faces.1.detectors"),
        ({"pairs": [{"detector": "x", "detectors": 1}]}, "pairs.0.detectors"),
        ({"named": {"a": {"detector": "x", "detectors": 1}}}, "named.a.detectors"),
    ],
)
def test_an_unknown_key_below_many_sections_is_told_without_a_suggestion(
    values: dict[str, Any], key: str
) -> None:
    assert told(values) == [f"unknown key {key!r}"]


def test_an_unknown_key_of_one_kind_of_several_is_told() -> None:
    assert "unknown key 'either.Face.detectors'" in told({"either": {"detector": "x", "detectors": 1}})


def test_a_misspelt_key_is_not_missing_as_well() -> None:
    (line,) = told({"face": {"detectr": "x"}})
    assert line.startswith("unknown key 'face.detectr' (did you mean 'face.detector'?)")
    assert told({"face": {"x": 1}})[0] == "missing key 'face.detector'"
