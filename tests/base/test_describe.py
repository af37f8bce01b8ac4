"""Settings in words agree with the model that they describe, and the commented file holds what it shows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.describe import describe, meaning, toml_value, values_by_name
from lipforcing_core.base.describe_toml import commented_toml
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.presets import Preset, load_preset, preset_names

THINGS = Catalogue[Entry](
    kind="thing", entries=(Entry(name="one", summary=""), Entry(name="two", summary=""))
)


class Inner(BaseModel):
    rate: Annotated[float, Field(gt=0, lt=2), meaning("How fast.", "per second")] = 0.5
    sizes: Annotated[tuple[int, int], meaning("Two sizes.")] = (1, 2)


class Outer(BaseModel):
    count: Annotated[int, Field(ge=1, multiple_of=2), meaning("How many.")]
    gap_s: float = Field(3.0, description="Pause.")
    mode: Annotated[Literal["a", "b"], meaning("Which way.")] = "a"
    thing: Annotated[str, THINGS.choice, meaning("Which thing.")] = "one"
    where: Annotated[Path | None, meaning("A file.")] = None
    levels: Annotated[tuple[Annotated[float, Field(ge=0)], ...], meaning("Levels.")] = ()
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_types_units_and_bounds_in_words() -> None:
    rows = {row.name: row for row in describe(Outer)}
    assert list(rows) == [
        *("count", "gap_s", "mode", "thing", "where", "levels"),
        *("inner.rate", "inner.sizes", "maybe.rate", "maybe.sizes"),
    ]
    assert rows["count"].type == "whole number, 1 or more, a multiple of 2"
    assert (rows["count"].is_required, rows["count"].default) == (True, None)
    assert (rows["gap_s"].unit, rows["gap_s"].default, rows["gap_s"].meaning) == ("seconds", 3.0, "Pause.")
    assert rows["mode"].type == "a or b"
    assert rows["thing"].type == "one or two"
    assert (rows["where"].type, rows["where"].is_required) == ("path", False)
    assert rows["levels"].type == "list of numbers"
    assert (rows["inner.rate"].unit, rows["inner.rate"].type) == ("per second", "number, above 0, below 2")
    assert rows["inner.sizes"].type == "list of 2 whole numbers"


def test_meanings_reach_the_schema_of_forms_and_leave_dumps_alone() -> None:
    schema = Outer.model_json_schema()["$defs"]["Inner"]["properties"]["rate"]
    assert (schema["description"], schema["unit"]) == ("How fast.", "per second")
    assert Outer(count=2).model_dump()["inner"] == {"rate": 0.5, "sizes": (1, 2)}


@pytest.mark.parametrize("model", [Preset, CurationSettings])
def test_every_setting_says_what_it_means(model: type[BaseModel]) -> None:
    for row in describe(model):
        assert row.meaning.endswith("."), row.name
        assert row.meaning[0].isupper() or row.meaning.startswith(("x264", "per_sample")), row.name
        assert row.type != "value", row.name


@pytest.mark.parametrize("name", preset_names())
def test_every_value_of_a_preset_is_described(name: str) -> None:
    described = {row.name for row in describe(Preset)}
    assert set(values_by_name(load_preset(name))) <= described


@pytest.mark.parametrize(
    "value", [True, 3, -0.25, 1e-06, 1e22, float("inf"), 'a "b" \\ \n \x7f é \x00', [1, 2], [], ["a", [True]]]
)
def test_values_survive_toml(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_toml_holds_no_none() -> None:
    with pytest.raises(TypeError):
        toml_value(None)


def uncommented(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("##") and "# not set" not in line]
    return "\n".join(line.removeprefix("# ") for line in lines)


@pytest.mark.parametrize("name", preset_names())
def test_the_commented_preset_holds_the_preset(name: str) -> None:
    preset = load_preset(name)
    values = values_by_name(preset)
    text = commented_toml(describe(Preset), values)
    assert " = " not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    set_sections = {part for part in preset.model_dump(exclude_none=True) if part in ("codec", "base")}
    assert {part for part in tomllib.loads(text) if part in ("codec", "base")} == set_sections
    whole = uncommented(text)
    if name == "nano":
        assert Preset.model_validate(tomllib.loads(whole)) == preset


def test_the_commented_curation_settings_hold_the_defaults() -> None:
    defaults = values_by_name(CurationSettings())
    text = commented_toml(describe(CurationSettings), defaults, table="curation")
    assert tomllib.loads(text) == {"curation": {}}
    assert CurationSettings(**tomllib.loads(uncommented(text))["curation"]) == CurationSettings()
    assert all(len(line) <= 120 for line in text.splitlines())
