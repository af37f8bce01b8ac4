"""Mistakes in settings: the key by the name that the user knows, the value as the user wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lipforcing_core.base.settings_mistakes import mistakes


class Face(BaseModel):
    model_config = ConfigDict(extra="forbid")

    detector: str
    detector_model: str = ""


class Square(BaseModel):
    form: Literal["square"] = "square"
    side: float = 1


class Disc(BaseModel):
    form: Literal["disc"] = "disc"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min_s: float = 1
    max_s: float = 2
    face: Face | None = None
    faces: list[Face] = []
    pairs: tuple[Face, ...] = ()
    named: dict[str, Face] = {}
    either: Face | dict[str, int] | None = None
    preset: str | dict[str, Any] = ""
    video: Path | None = None
    count: int = Field(1, ge=1, le=9)
    exact: bool = False
    names: list[str] = Field([], max_length=2)
    kind: Literal["a", "b"] = "a"
    shape: Annotated[Square | Disc, Field(discriminator="form")] = Disc()

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
    assert line.startswith("--min: should be a number")
    assert line.endswith("(got 'min_s')")


def test_every_line_has_the_name_that_the_user_knows() -> None:
    names = {"min_s": "--min", "face": "--face", "face.detector": "--detector"}
    assert told({"face": {}}, names) == ["missing key '--detector'"]
    assert told({"face": 3}, names) == ["--face: must be a table [--face] (got 3)"]
    (line,) = told({"mins": 3}, names)
    assert line == (
        "unknown key 'mins' (did you mean '--min'?); known keys: --face, --min, count, either, exact, faces, kind, "
        "max_s, named, names, pairs, preset, shape, video"
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
    assert told({"either": {"detector": "x", "detectors": 1}}) == [
        "unknown key 'either.detectors' (did you mean 'either.detector'?); known keys: detector, detector_model",
        "either.detector: should be a whole number (got 'x')",
    ]


def test_a_misspelt_key_is_not_missing_as_well() -> None:
    (line,) = told({"face": {"detectr": "x"}})
    assert line.startswith("unknown key 'face.detectr' (did you mean 'face.detector'?)")
    assert told({"face": {"x": 1}})[0] == "missing key 'face.detector'"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"video": 5}, "video: should be a path, written as a text (got 5)"),
        ({"video": {}}, "video: should be a path, written as a text"),
        ({"preset": [1]}, "preset: should be a text or a table (got [1])"),
        ({"preset": None}, "preset: should be a text or a table (got null)"),
        ({"either": 3}, "either: should be a table (got 3)"),
        ({"named": [1]}, "named: should be a table (got [1])"),
        ({"count": None}, "count: should be a whole number (got null)"),
        ({"count": "three"}, "count: should be a whole number (got 'three')"),
        ({"count": 1.5}, "count: should be a whole number (got 1.5)"),
        ({"count": 0}, "count: should be greater than or equal to 1 (got 0)"),
        ({"max_s": True, "min_s": []}, "min_s: should be a number (got [])"),
        ({"max_s": "x" * 99}, f"max_s: should be a number (got '{'x' * 56}...)"),
        ({"exact": "perhaps"}, "exact: should be true or false (got 'perhaps')"),
        ({"face": {"detector": False}}, "face.detector: should be a text (got false)"),
        ({"names": "a"}, "names: should be a list (got 'a')"),
        ({"names": ["a", 2]}, "names.1: should be a text (got 2)"),
        ({"names": ["a", "b", "c"]}, "names: should have at most 2 items, not 3 (got ['a', 'b', 'c'])"),
        ({"kind": "c"}, "kind: should be 'a' or 'b' (got 'c')"),
        ({"shape": None}, "shape: should be a table (got null)"),
        ({"shape": {}}, "missing key 'shape.form'"),
        ({"shape": {"form": None}}, "shape.form: unknown form null; known: square, disc"),
        ({"shape": {"form": "squares"}},
         "shape.form: unknown form 'squares' (did you mean 'square'?); known: square, disc"),
        ({"shape": {"form": "square", "side": "x"}}, "shape.side: should be a number (got 'x')"),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_told_in_the_words_of_their_file(
    values: dict[str, Any], line: str
) -> None:
    """Once for each field, and without the names of classes and of Python's types."""
    assert told(values) == [line]
